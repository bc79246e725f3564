"""The command line without a running bridge: arguments, exit codes, help, completion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from cli_desk import config, run, write
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.cli import COMMANDS, main
from stores import POSTGRES
from worlds import document

OURS = [name for name in COMMANDS if name not in {"demo", "new"}]


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something."""
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name in OURS if group is main else group.commands:
        one = group.get_command(click.Context(group), name)
        assert one is not None
        found += leaves(one, (*path, name)) if isinstance(one, click.Group) else [((*path, name), one)]
    return found


__all__ = ["config"]
OWN = [(path, one) for path, one in leaves(main)]


@pytest.mark.row("P26")
def test_every_command_takes_config_and_json() -> None:
    for path, one in OWN:
        options = {option for parameter in one.params for option in parameter.opts}
        assert {"--config", "--json"} <= options, path
        assert one.help, path


@pytest.mark.row("P26")
def test_the_exit_codes_stand_in_the_help() -> None:
    told = CliRunner().invoke(main, ["--help"]).output
    for line in ("0  done", "1  carried out", "2  wrong arguments", "3  the configuration", "4  it cannot"):
        assert line in told


@pytest.mark.row("P26")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_completion_script(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_RMABRIDGE_COMPLETE={shell}_complete" in result.output


@pytest.mark.row("P26")
def test_completion_knows_the_subcommands() -> None:
    words = {"COMP_WORDS": "rmabridge cases ", "COMP_CWORD": "2", "_RMABRIDGE_COMPLETE": "bash_complete"}
    result = CliRunner(env=words).invoke(main, prog_name="rmabridge", complete_var="_RMABRIDGE_COMPLETE")
    assert "plain,timeline" in result.output


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from rmabridge.cli import main; main(['--help'], standalone_mode=False);"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & "
        "{'aiohttp', 'sqlalchemy', 'pydantic', 'rich', 'httpx', 'alembic', 'structlog', 'jinja2'}))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told.endswith("\n[]\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nope"], 2, "No such command 'nope'"),
        (["cases", "show"], 2, "Missing argument 'CASE'"),
        (["cases", "list", "--limit", "none"], 2, "--limit"),
        (["cases", "verify"], 2, "name a case, or give --all"),
        (["deliveries", "resolve", "1"], 2, "either --happened REF or --did-not-happen"),
        (["deadletters", "edit", "1", "nonsense"], 2, "not of the form key=value"),
        (["deadletters", "replay"], 2, "name deliveries, a filter, or --all"),
        (["cases", "list"], 4, "not a database of" if POSTGRES else "no database yet"),
        (["cases", "list", "--config", "/nowhere/x.toml"], 3, "no such file"),
        (["clock", "show"], 4, "virtual_clock"),
        (["accounts", "pause", "nobody"], 4, "nobody: no such account; there are desk, mail, shop"),
        (["reconcile", "mail"], 4, "lists nothing"),
        (["trigger", "mail", "x"], 4, "has no samples"),
        (["accounts", "connect", "mail"], 4, "needs no connecting"),
        (["templates", "preview", "nope"], 4, "no such template"),
        (["plugins", "show", "nope"], 4, "no such plugin"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line_with_its_exit_code(
    config: Path, arguments: list[str], code: int, words: str
) -> None:
    given_config = [] if "--config" in arguments else ["--config", str(config)] if arguments != ["nope"] else []
    result = CliRunner().invoke(main, [*arguments, *given_config])
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_every_wrong_setting_is_named(tmp_path: Path) -> None:
    doc = document(tmp_path, "http://127.0.0.1:9/")
    doc["bridge"] |= {"port": "many", "colour": "red"}
    result = run(write(tmp_path / "rmabridge.toml", doc), "check")
    assert result.exit_code == 3
    assert "[bridge] colour: no such setting" in result.stderr
    assert "[bridge] port:" in result.stderr


words_ = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
NAMES = sorted({word for path, _ in OWN for word in path} - {"serve", "listen", "init"})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(NAMES), words_, st.sampled_from(["--json", "--all", "--", "-h"])), max_size=6)
)
def test_whatever_is_typed_gives_no_traceback(arguments: list[str]) -> None:
    result = CliRunner(env={"RMABRIDGE_CONFIG": "/nowhere/rmabridge.toml"}).invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.exit_code in {0, 1, 2, 3, 4}


def test_init_writes_a_file_that_check_accepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rmabridge.toml"
    assert run(path, "init").exit_code == 0
    assert run(path, "check", "--offline").exit_code == 3
    for name in ("SHOPIFY_TOKEN", "SHOPIFY_SECRET", "OWNSHOP_SECRET", "ZENDESK_TOKEN", "ZENDESK_SECRET"):
        monkeypatch.setenv(name, "sample-secret")
    monkeypatch.setenv("KDNIAO_KEY", "sample-secret")
    monkeypatch.setenv("SMTP_PASSWORD", "sample-secret")
    result = run(path, "check", "--offline", json_=True)
    found: dict[str, Any] = json.loads(result.stdout)
    assert (result.exit_code, found["problems"]) == (0, [])
    assert {one["account"] for one in found["contacts"]} == {"shopify", "ownshop", "zendesk", "kdniao", "mail"}
    assert run(path, "init").exit_code == 4
    assert run(path, "init", "--force").exit_code == 0


@pytest.mark.row("P34")
def test_config_show_never_prints_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "env-s3cret")
    monkeypatch.setenv("A_SHOP", "env-shop-name")
    (tmp_path / "secret.txt").write_text("file-s3cret\n", encoding="utf-8")
    doc = document(tmp_path, "http://user:url-s3cret@127.0.0.1:9/")
    doc["helpdesks"]["desk"] |= {
        "bearer": {"env": "A_TOKEN"},
        "headers": {"X-One": {"file": str(tmp_path / "secret.txt")}, "X-Two": "literal-s3cret"},
    }
    doc["shops"]["one"]["title"] = {"env": "A_SHOP"}
    path = write(tmp_path / "rmabridge.toml", doc)
    for as_json in (True, False):
        result = run(path, "config", "show", json_=as_json)
        assert result.exit_code == 0
        assert "s3cret" not in result.output
        assert "env-shop-name" not in result.output
        assert "MDEyMzQ1Njc4OWFiY2RlZg" not in result.output
        assert "*** (env A_TOKEN)" in result.output


def test_check_names_rules_that_never_match_and_channels_that_are_not_there(tmp_path: Path) -> None:
    doc = document(tmp_path, "http://127.0.0.1:9/")
    doc["routes"] = [{"name": "all"}, {"name": "late", "when": {"level": 3}, "then": {"channels": ["nobody"]}}]
    result = run(write(tmp_path / "rmabridge.toml", doc), "check", "--offline", json_=True)
    problems = json.loads(result.stdout)["problems"]
    assert result.exit_code == 1
    assert any("late" in one and "never matches" in one for one in problems)
    assert any("'nobody': no account of that name" in one for one in problems)


def test_check_names_a_classifier_that_classifies_nothing(tmp_path: Path) -> None:
    doc = document(tmp_path, "http://127.0.0.1:9/")
    doc["shops"]["one"]["classifier"] = "mail"
    result = run(write(tmp_path / "rmabridge.toml", doc), "check", "--offline", json_=True)
    assert "[shops.one] classifier: 'mail' classifies no texts" in json.loads(result.stdout)["problems"]


def test_check_tells_which_account_does_not_answer(config: Path) -> None:
    result = run(config, "check", json_=True)
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert {one["account"]: one.get("ok") for one in found["contacts"]} == {"shop": None, "desk": False, "mail": False}
    assert any(one.startswith("[helpdesks.desk] self-test:") for one in found["problems"])
    assert any("'shop' does not do it" in one for one in found["warnings"])


@pytest.mark.skipif(POSTGRES, reason="the tests' key stands in the settings there, not in a file")
def test_check_wants_the_key_file_closed_to_others(config: Path, tmp_path: Path) -> None:
    key = tmp_path / "bridge.key"
    key.write_text("", encoding="utf-8")
    key.chmod(0o644)
    assert "chmod 600" in run(config, "check", "--offline").stderr
    key.chmod(0o600)
    assert "chmod 600" not in run(config, "check", "--offline").stderr


def test_plugins_show_the_settings_of_a_plugin(config: Path) -> None:
    [told] = json.loads(run(config, "plugins", "show", "smtp", json_=True).stdout)["plugins"]
    settings_ = {one["setting"]: one for one in told["settings"]}
    assert settings_["password"]["secret"]
    assert settings_["host"]["required"]
    assert (told["kinds"], told["actions"]) == (["channels"], ["message.send"])
    assert "SendsMessages" in told["abilities"]


def test_plugins_say_why_one_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "rmabridge_broken.py").write_text("import nothing_of_that_name\n", encoding="utf-8")
    doc = document(tmp_path, "http://127.0.0.1:9/", plugins_dir=str(tmp_path / "own"))
    path = write(tmp_path / "rmabridge.toml", doc)
    told = json.loads(run(path, "plugins", "list", "--why", "broken", json_=True).stdout)
    assert (told["usable"], "nothing_of_that_name" in told["why"]) == (False, True)
    assert json.loads(run(path, "plugins", "list", "--why", "nope", json_=True).stdout)["usable"] is False


def test_a_template_can_be_read_before_it_is_sent(config: Path) -> None:
    listed = json.loads(run(config, "templates", "list", json_=True).stdout)
    assert "first_reply.question" in {one["id"] for one in listed}
    said = json.loads(
        run(
            config, "templates", "preview", "first_reply.question", "--locale", "zh-CN", "--form", "sms", json_=True
        ).stdout
    )
    assert said["text"]
    assert said["bytes"] == len(said["text"].encode())


FILES = {
    "not UTF-8": '[first_reply.question.zh-CN]\nchat = "您好"\n'.encode("gbk"),
    "house.hello.forms.0": b'[house.hello]\nforms = ["fax"]\n[house.hello.en]\nchat = "hello"\n',
    "house.hello": b'[house]\nhello = "hello"\n',
    "first_reply.question.en.chat": b"[first_reply.question.en]\nchat = 5\n",
    "first_reply.question.version": b'[first_reply.question]\nversion = "two"\n',
    "first_reply.question.complaint": b'[first_reply.question]\ncomplaint = "no"\n',
    "parts.greeting": b'[parts]\ngreeting = "Hi"\n',
    "samples.typical.price": b'[samples.typical]\nprice = { amount = "x", currency = "CNY" }\n',
}


@pytest.mark.parametrize("place", FILES)
@pytest.mark.parametrize("command", [("templates", "list"), ("check", "--offline")])
def test_a_wrong_file_of_templates_is_named_with_the_place(
    tmp_path: Path, place: str, command: tuple[str, ...]
) -> None:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "own.toml").write_bytes(FILES[place])
    words = document(tmp_path, "http://127.0.0.1:9/", templates_dir=str(tmp_path / "words"))
    result = run(write(tmp_path / "rmabridge.toml", words), *command)
    assert result.exit_code == 3
    assert f"own.toml: {place}: " in result.stderr


@pytest.mark.parametrize("name", ["deliveries", "deadletters", "inbox"])
def test_a_number_that_no_row_can_have_is_a_wrong_argument(config: Path, name: str) -> None:
    assert run(config, name, "show", "9" * 23).exit_code == 2


def test_what_is_no_text_is_a_wrong_argument(config: Path) -> None:
    result = run(config, "cases", "show", "\ud800")
    assert (result.exit_code, "encoding" in result.stderr) == (2, True)


def test_a_terminal_gets_what_it_can_show_and_json_is_utf_8_on_any(config: Path) -> None:
    asked = ("templates", "preview", "evidence.request", "--config", str(config))
    shown = CliRunner(charset="ascii").invoke(main, asked)
    assert (shown.exit_code, b"?" in shown.stdout_bytes) == (0, True)
    told = CliRunner(charset="gbk").invoke(main, [*asked, "--json"])
    assert "视频" in json.loads(told.stdout_bytes.decode("utf-8"))["text"]


@pytest.mark.skipif(POSTGRES, reason="a file of SQLite")
def test_a_damaged_database_is_told(config: Path, tmp_path: Path) -> None:
    (tmp_path / "bridge.db").write_bytes(b"no database" * 1000)
    for asked in (("cases", "list"), ("backup", str(tmp_path / "whole.backup"))):
        result = run(config, *asked)
        assert (result.exit_code, "file is not a database" in result.stderr) == (4, True)
