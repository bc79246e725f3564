"""What the documents say is so: their tables come from the code, their snippets run, their commands exist."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from rmabridge.abilities import Inbound, ReceivesWebhooks, WebRequest
from rmabridge.cli import COMMANDS, EPILOG, HIDDEN, main
from rmabridge.cli.init import TEMPLATE
from rmabridge.config import DEFAULT_POLICIES, read
from rmabridge.core import days
from rmabridge.errors import Unverified
from rmabridge.model import CaseRequested
from rmabridge.registry import Registry, build
from rmabridge.testing.contexts import NOON
from rmabridge.testing.simulators.sink import Sink
from worlds import SECRET, ago, running, sign

ROOT = Path(__file__).resolve().parents[2]
README, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
DESIGN = ROOT / "docs" / "design.md"
OPERATIONS, OPERATIONS_ZH = (ROOT / "docs" / f"operations{one}.md" for one in ("", ".zh-CN"))
HANDLING, HANDLING_ZH = (ROOT / "docs" / f"handling{one}.md" for one in ("", ".zh-CN"))
DOCUMENTS = (README, CHINESE, OPERATIONS, OPERATIONS_ZH, DESIGN, HANDLING, HANDLING_ZH)
TRANSLATED = (CHINESE, HANDLING_ZH, OPERATIONS_ZH)
SPAN = re.compile(r"(`+)(.+?)\1")
HAN = re.compile(r"[\u4e00-\u9fff]")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A file of a shop's own that a configuration names, shown beside it.
NAMED = re.compile(r"^<!-- file: (\S+\.toml) -->\n```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    return [code for name, code in FENCE.findall(text(path)) if name == language]


def snippets(language: str) -> list[Any]:
    """Every snippet of a language, with where it stands; translations have the English ones."""
    return [
        pytest.param(code, id=f"{path.name}-{number}")
        for path in DOCUMENTS
        if path not in TRANSLATED
        for number, code in enumerate(blocks(path, language), 1)
        if code not in dict(NAMED.findall(text(path))).values()
    ]


def headings(path: Path) -> list[str]:
    return re.findall(r"^(#+) ", FENCE.sub("", text(path)), re.MULTILINE)


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda one: one.name)
def test_tables_from_the_code_are_up_to_date(path):
    assert text(path) == generator().generated(text(path)), "run: make docs"


def test_every_default_that_is_shown_can_be_written_into_the_configuration():
    section = text(OPERATIONS).split("\n## Configuration\n")[1].replace("\\|", "/")
    shown = re.findall(r"^\| `\w+` \| [^|]+ \| `([^|]+)` \|", section, re.MULTILINE)
    assert len(shown) > 300
    for one in shown:
        tomllib.loads(f"setting = {one}")


def test_every_generated_table_is_used_somewhere():
    used = {name for path in generator().documents() for _, name, _ in generator().BLOCK.findall(text(path))}
    assert used == set(generator().BLOCKS)


@pytest.mark.parametrize("path", [README, CHINESE], ids=lambda one: one.name)
def test_every_plugin_stands_in_the_readmes_tables(path):
    declared = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["entry-points"]["rmabridge"]
    handling = HANDLING_ZH if path == CHINESE else HANDLING
    found = re.findall(
        r"<!-- generated: (?:plugins|policies)(?:-zh)? -->\n(.*?)<!-- end -->", text(path) + text(handling), re.DOTALL
    )
    tables = "".join(found)
    assert sorted(set(re.findall(r"^\| `(\w+)` \|", tables, re.MULTILINE))) == sorted(declared)


@pytest.mark.parametrize(
    ("doc", "phrase"),
    [
        ("A: b.\n\nNot verified: the header (seen\nonce); the ``id``.", "the header …"),
        ("A: b.\n\nNot verified with a server: that relays wait.", "that relays wait"),
        ("A: b.\n\nNot verified: nothing; it is what you say.", ""),
        ("A: b; B 6 was not tried. More.", "B 6 was not tried"),
        ("A: b.", ""),
    ],
)
def test_the_phrase_for_what_is_not_verified_is_the_docstrings_first(doc, phrase):
    assert generator().unverified(doc) == phrase


# -- both languages ----------------------------------------------------------------------------------------------------


BOTH = pytest.mark.parametrize(
    ("english", "chinese"),
    [(README, CHINESE), (HANDLING, HANDLING_ZH), (OPERATIONS, OPERATIONS_ZH)],
    ids=["readme", "handling", "operations"],
)


@BOTH
def test_both_languages_have_the_same_code_and_the_same_sections(english, chinese):
    assert FENCE.findall(text(english)) == FENCE.findall(text(chinese))
    assert headings(english) == headings(chinese)


@BOTH
def test_both_languages_have_tables_of_the_same_length(english, chinese):
    assert text(english).count("\n| ") == text(chinese).count("\n| ")


@BOTH
def test_both_languages_name_the_same_settings_and_commands(english, chinese):
    named, told = ({one for _, one in SPAN.findall(FENCE.sub("", text(path)))} for path in (english, chinese))
    assert named == told


@BOTH
def test_each_language_leads_to_the_other_at_the_top(english, chinese):
    for path, other in ((english, chinese), (chinese, english)):
        assert f"]({other.name})" in text(path).splitlines()[2]


@pytest.mark.parametrize("path", [*sorted(ROOT.glob("docs/**/*.zh-CN.md")), CHINESE], ids=lambda one: one.name)
def test_chinese_pages_lead_to_chinese_pages_where_there_are_any(path):
    own = path.name.replace(".zh-CN.md", ".md")
    targets = re.findall(r"\]\(([^)#:]+)\.md[)#]", FENCE.sub("", text(path)))
    elsewhere = {one for one in targets if f"{one}.md" != own and not one.endswith(".zh-CN")}
    assert {one for one in elsewhere if (path.parent / f"{one}.zh-CN.md").exists()} == set()


def test_the_chinese_manual_says_what_the_code_says():
    docs = generator()
    for part in docs.BOTH.values():
        part(True)
    assert docs.HEARD - set(docs.SAID) == set(), f"say in {docs.WORDS.name} what these mean"
    assert set(docs.SAID) - docs.HEARD == set(), f"the code does not say these any more: out of {docs.WORDS.name}"
    assert {one for one, chinese in docs.SAID.items() if not HAN.search(chinese)} == set()


# -- commands and links ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [README, CHINESE], ids=lambda one: one.name)
def test_the_overview_names_every_command_once(path):
    section = re.split(r"^## (?:Commands|命令)$", text(path), flags=re.MULTILINE)[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert sorted(re.findall(r"`([\w-]+)`", "\n".join(rows))) == sorted(set(COMMANDS) - HIDDEN)


def test_exit_codes_are_the_programs():
    told = dict(re.findall(r"^\| (\d) \| (.*) \|$", text(OPERATIONS), re.MULTILINE))
    assert told == dict(re.findall(r"^  (\d)  (.*)$", EPILOG, re.MULTILINE))
    assert re.findall(r"^\| (\d) \| ", text(OPERATIONS_ZH), re.MULTILINE) == list(told)


def calls(path: Path) -> Iterator[str]:
    """What readers are told to type: lines of console snippets, and calls in running text."""
    for code in blocks(path, "console"):
        yield from code.splitlines()
    yield from re.findall(r"`(rmabridge [a-z][^`]*|make \w+)`", FENCE.sub("", text(path)).replace("\\|", "|"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda one: one.name)
def test_commands_that_readers_are_told_to_type_exist(path):
    for call in calls(path):
        program, *arguments = shlex.split(call)
        if program == "make":
            assert re.search(rf"^{arguments[0]}:", text(ROOT / "Makefile"), re.MULTILINE), call
        elif program == "rmabridge":
            check_call(call, arguments)
        else:
            assert program in {"pip", "uv", "pytest", "sqlite3"}, call


def check_call(call: str, arguments: list[str]) -> None:
    found: click.Command = main
    context = click.Context(main)
    while isinstance(found, click.Group) and arguments:
        following = found.get_command(context, arguments[0])
        assert following is not None, f"{call}: there is no {arguments[0]}"
        found, arguments = following, arguments[1:]
    known = {name for one in found.params for name in one.opts}
    assert {one for one in arguments if one.startswith("--")} <= known, call


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda one: one.name)
def test_links_inside_the_repository_lead_somewhere(path):
    for target, _, anchor in (one.partition("#") for one in re.findall(r"\]\(([^)]+)\)", FENCE.sub("", text(path)))):
        if "://" in target:
            continue
        there = path.parent / target if target else path
        assert there.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", text(there), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in titles}, anchor


# -- TOML --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A directory as a reader would have it, and all secrets in the environment."""
    for given, content in (one for path in DOCUMENTS for one in NAMED.findall(text(path))):
        (tmp_path / given).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for code in (code for path in DOCUMENTS for code in blocks(path, "toml")):
        for name in re.findall(r'env = "(\w+)"', code):
            monkeypatch.setenv(name, SECRET)
    return tmp_path


@pytest.mark.parametrize("code", snippets("toml"))
def test_toml_snippets_are_good_configurations(code, place):
    document = tomllib.loads(code)
    made = build(read(document))
    assert set(made.accounts) == {name for kind in made.kinds.values() for name in document[kind]}


def relay() -> str:
    (code, *_) = blocks(README, "toml")
    return code


def test_the_relay_is_ten_lines():
    assert len(relay().splitlines()) == 10


def test_the_relay_understands_a_signed_webhook_and_refuses_another(place):
    made: Registry = build(read(tomllib.loads(relay())))
    door = made.accounts["webhook"]
    assert isinstance(door, ReceivesWebhooks)
    body = json.dumps({"id": "e-1", "time": "2026-01-02T11:00:00Z", "data": {"order": "1001", "note": "太小"}}).encode()
    headers = sign(SECRET, "msg_1", int(NOON.timestamp()), body)
    receipt = door.verify(WebRequest("POST", "/hooks/webhook", {}, headers, body), NOON)
    (event,) = door.parse(Inbound("webhook", body, receipt.meta, NOON + timedelta(seconds=1)))
    assert isinstance(event, CaseRequested)
    assert (event.note, event.key, event.refs[0].value) == ("太小", "case.requested:e-1", "1001")
    with pytest.raises(Unverified):
        door.verify(WebRequest("POST", "/hooks/webhook", {}, headers, body + b" "), NOON)


async def test_the_relay_relays(place):
    async with Sink() as sink:
        document = tomllib.loads(relay())
        document["services"]["http"] |= {"url": sink.url, "allow_private": True}
        document["bridge"] = {"database": f"sqlite:///{place / 'relay.db'}", "port": 0}
        async with running(document, sink) as world:
            note = {"id": "e-1", "time": ago(minutes=1), "data": {"order": "1001", "note": "too small"}}
            status, _ = await world.post(note, account="webhook")
            assert status == 200
            (post,) = await world.until(lambda: sink.books["posts"])
    assert post["body"]["data"]["request"]["note"] == "too small"
    given = {name: post["headers"][f"webhook-{name}"] for name in ("id", "timestamp", "signature")}
    raw = json.dumps(post["body"], ensure_ascii=False, separators=(",", ":")).encode()
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    mark = hmac.new(key, f"{given['id']}.{given['timestamp']}.".encode() + raw, hashlib.sha256).digest()
    assert given["signature"] == f"v1,{base64.b64encode(mark).decode()}"


# -- the handling guide ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [HANDLING, HANDLING_ZH], ids=lambda one: one.name)
def test_the_guide_goes_through_the_policies_in_their_order(path):
    rows = [line.split("|")[1] for line in text(path).splitlines() if line.startswith("| `")]
    named = [one for row in rows for one in re.findall(r"`(\w+)`", row)]
    assert tuple(one for one in named if one in DEFAULT_POLICIES)[: len(DEFAULT_POLICIES)] == DEFAULT_POLICIES


def test_the_configuration_of_init_names_the_policies_in_their_order():
    (named,) = re.findall(r"in this order: ([\w, ]+)\.", TEMPLATE.replace("\n# ", " "))
    assert tuple(named.split(", ")) == DEFAULT_POLICIES


def test_the_guides_calendar_can_be_read(place):
    assert days.read(place / "days.toml").years == {2027}


@pytest.mark.parametrize("path", [HANDLING, HANDLING_ZH], ids=lambda one: one.name)
def test_the_guide_names_every_shipped_operation(path):
    shipped = tomllib.loads(text(ROOT / "plugins/policies/rmabridge_compensation/operations.toml"))["operations"]
    assert len(shipped) == 15
    assert {one for one in shipped if f"`{one}`" not in text(path)} == set()


@pytest.mark.parametrize("path", [HANDLING, HANDLING_ZH], ids=lambda one: one.name)
def test_the_data_files_that_the_guide_names_are_there(path):
    known = {one.name for one in (*ROOT.glob("plugins/**/*"), *ROOT.glob("src/**/*"))}
    known |= {name for name, _ in NAMED.findall(text(path))}
    assert set(re.findall(r"`(?:[\w/]+/)?(\w+\.(?:toml|txt|csv|bin))`", text(path))) <= known


# -- what must be there ------------------------------------------------------------------------------------------------


def test_both_readmes_tell_the_same_figures():
    told = [
        re.findall(r"\d[\d,.]*\d", text(one).split("`make bench`")[-1].split("\n## ")[0]) for one in (README, CHINESE)
    ]
    assert len(told[0]) > 10
    assert sorted(told[0]) == sorted(told[1])


@pytest.mark.parametrize("path", [README, CHINESE], ids=lambda one: one.name)
def test_the_readme_stays_short(path):
    assert len(text(path).splitlines()) < 280


@pytest.mark.parametrize("path", [OPERATIONS, OPERATIONS_ZH], ids=lambda one: one.name)
def test_every_alert_that_the_code_raises_is_explained(path):
    section = re.split(r"^## (?:Alerts|告警)$", text(path), flags=re.MULTILINE)[1].split("\n## ")[0]
    told = set(re.findall(r"`([a-z.]+)(?::[A-Z]+)?`", section))
    source = "\n".join(text(one) for one in (ROOT / "src" / "rmabridge" / "flow").glob("*.py"))
    raised = set(re.findall(r'alert\(\s*(?:conn, )?f?"([a-z.]+):?', source)) | set(
        re.findall(r'"key": f"(parked):', source)
    )
    assert raised, "the pattern finds nothing any more"
    assert raised <= told
