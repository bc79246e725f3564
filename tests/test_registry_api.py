"""The plugin API has a version: an old plugin goes on working, or is refused with a line that says what to do."""

import hashlib
import hmac
import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import rmabridge
from rmabridge import hookspecs, loading
from rmabridge.cli import main
from rmabridge.config import read
from rmabridge.errors import ConfigError
from rmabridge.registry import build
from worlds import document, running

OLD = Path(__file__).parent / "data" / "api_1"
FROZEN = "e706fd0e83184127dfd642048babc8d492a11c4989424671215a4a5eaf5df7fe"
TOY = '''
"""Toy: nothing. Reference: https://toy.example"""
from typing import ClassVar
{first}
from rmabridge import hookimpl
from rmabridge.abilities import Context, Plugin, Result, SendsMessages
from rmabridge.model import Form

class Toy(Plugin, SendsMessages):
    forms: ClassVar[frozenset[Form]] = frozenset({{Form.CHAT}})
    {inside}

    async def send(self, action, ctx):
        return Result()

@hookimpl
def register_channels():
    return [Toy]
'''


@pytest.fixture(autouse=True)
def _forgotten():
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("rmabridge_"):
            del sys.modules[name]


def toy(folder: Path, name: str, first: str = "", inside: str = "") -> None:
    """A plugin of one file; ``first`` stands in its module, ``inside`` in its class."""
    (folder / f"rmabridge_{name}.py").write_text(TOY.format(first=first, inside=inside), encoding="utf-8")


def configured(folder: Path, *names: str) -> dict:
    """A configuration with a channel of each of these plugins."""
    config = document(folder, "http://127.0.0.1:1", plugins_dir=str(folder))
    config["channels"] |= {name: {"plugin": name} for name in names}
    return config


def problems(folder: Path, *names: str) -> list[str]:
    """What is said against a configuration that uses these plugins."""
    try:
        build(read(configured(folder, *names)))
    except ConfigError as error:
        return list(error.problems)
    return []


SAID = [
    ("", ""),
    ("rmabridge_api = 1", ""),
    ("rmabridge_api: int = 1", ""),
    ("", 'api: ClassVar[str] = "1"'),
    ("", "api: ClassVar[int] = 1"),
    ("", "api: str = 'a setting of that name is none'"),
]


@pytest.mark.parametrize(("first", "inside"), SAID)
def test_a_plugin_that_says_nothing_or_one_is_taken(first, inside, tmp_path):
    toy(tmp_path, "toy", first, inside)
    assert problems(tmp_path, "toy") == []


NEWER = [
    ("rmabridge_api = 2", ""),
    ('rmabridge_api = "2"', ""),
    ("", 'api: ClassVar[str] = "2"'),
    # What a newer plugin imports or registers may be unknown here: its version is the reason all the same.
    ("rmabridge_api = 2\nfrom rmabridge.abilities import BendsTime", ""),
    ("from rmabridge.abilities import BendsTime", "api: ClassVar[int] = 2"),
    ("rmabridge_api = 2\nfrom rmabridge import hookimpl\n@hookimpl\ndef register_robots():\n    return []", ""),
]


@pytest.mark.row("P60")
@pytest.mark.parametrize(("first", "inside"), NEWER)
def test_a_plugin_for_a_newer_api_is_refused_in_a_line_that_says_what_to_do(first, inside, tmp_path):
    toy(tmp_path, "toy", first, inside)
    (told,) = problems(tmp_path, "toy")
    assert told == (
        f"[channels.toy] plugin: plugin 'toy' wants plugin API 2, rmabridge {rmabridge.__version__} has 1: "
        "upgrade rmabridge, or install an older version of the plugin"
    )


@pytest.mark.row("P60")
def test_a_plugin_for_an_api_that_is_gone_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "API", 3)
    monkeypatch.setattr(loading, "OLDEST", 2)
    toy(tmp_path, "old", "rmabridge_api = 1")
    toy(tmp_path, "new", "rmabridge_api = 2")
    (told,) = problems(tmp_path, "old", "new")
    assert "'old' wants plugin API 1" in told
    assert told.endswith("has 2 to 3: install a newer version of the plugin")


@pytest.mark.parametrize("said", ["'one'", "True", "1.5", "-1", "'²'", "''", "(1, 2)"])
def test_what_is_no_version_is_refused_with_an_example(said, tmp_path):
    toy(tmp_path, "toy", f"rmabridge_api = {said}")
    (told,) = problems(tmp_path, "toy")
    assert told.endswith("that is a whole number, such as 1")


def test_a_plugin_that_is_merely_broken_is_told_as_broken(tmp_path):
    toy(tmp_path, "toy", "rmabridge_api = 1\nfrom rmabridge.abilities import BendsTime")
    (told,) = problems(tmp_path, "toy")
    assert "cannot be loaded: ImportError" in told
    (tmp_path / "rmabridge_toy.py").write_text("rmabridge_api = = 2")
    (told,) = problems(tmp_path, "toy")
    assert "cannot be loaded: SyntaxError" in told


@pytest.mark.row("P60")
def test_the_others_are_loaded_all_the_same_and_each_refusal_is_told_once(tmp_path):
    toy(tmp_path, "good")
    toy(tmp_path, "newer", "rmabridge_api = 2")
    toy(tmp_path, "newest", "rmabridge_api = 9")
    told = problems(tmp_path, "newer", "good", "newest")
    assert [re.findall(r"'(\w+)' wants plugin API (\d)", one) for one in told] == [[("newer", "2")], [("newest", "9")]]
    # What nobody uses harms nobody.
    made = build(read(configured(tmp_path, "good")))
    assert "good" in made.accounts


@pytest.mark.row("P60")
def test_plugins_list_says_why_it_is_refused_and_lists_the_others(tmp_path):
    toy(tmp_path, "good")
    toy(tmp_path, "newer", "rmabridge_api = 2")
    path = tmp_path / "rmabridge.toml"
    path.write_text(f'[bridge]\nplugins_dir = "{tmp_path}"\n', encoding="utf-8")

    def said(*arguments: str):
        return CliRunner().invoke(main, ["plugins", *arguments, "--config", str(path)])

    why = json.loads(said("list", "--why", "newer", "--json").stdout)
    assert (why["usable"], why["from"]) == (False, str(tmp_path / "rmabridge_newer.py"))
    assert why["why"].startswith("plugin 'newer' wants plugin API 2, ")
    assert json.loads(said("list", "--why", "good", "--json").stdout)["usable"]
    listed = {one["name"] for one in json.loads(said("list", "--json").stdout)}
    assert {"good", "newer", "smtp"} <= listed
    shown = said("show", "newer")
    assert (shown.exit_code, shown.output.count("\n")) == (4, 1)
    assert "upgrade rmabridge" in shown.output


def test_the_version_is_there_for_plugins_to_ask():
    assert rmabridge.API == hookspecs.API == 1
    assert hookspecs.OLDEST <= hookspecs.API


# A plugin of the first days


def test_the_old_plugin_is_the_one_that_was_written_then():
    digest = hashlib.sha256((OLD / "rmabridge_pigeon_post.py").read_bytes()).hexdigest()
    assert digest == FROZEN, "adapt the bridge, not the plugin: it stands for those of other people"


async def flown(tmp_path, sink, **settings) -> tuple[list[dict], str]:
    """A buyer writes by pigeon: what left for the loft and the help desk, and the state of the answer."""
    policies = ["first_reply", "helpdesk_sync", "pigeon_post"]
    config = document(tmp_path, sink.url, plugins_dir=str(OLD), policies=policies)
    account = {"plugin": "pigeon_post", "secret": "coo", "token": "t-1", "url": sink.url, "allow_private": True}
    config["channels"]["loft"] = account
    config["policies"] = {"pigeon_post": settings}
    config["shops"]["one"] |= {"channels": ["loft"], "sources": ["loft"]}
    async with running(config, sink) as world:
        at = world.bridge.store.clock.now().isoformat()
        body = json.dumps({"id": "p-1", "loft": "L7", "at": at, "words": "坏了 - broken on arrival"}).encode()
        mark = hmac.new(b"coo", body, hashlib.sha256).hexdigest()
        assert (await world.post(body, account="loft", **{"X-Pigeon": "0" * 64}))[0] == 401
        assert (await world.post(body, account="loft", **{"X-Pigeon": mark, "X-Flight": "f-1"}))[0] == 200
        await world.settle()
        ((state,),) = world.rows("SELECT state FROM outbox WHERE type = 'message.send'")
        return world.sink.books["posts"], state


@pytest.mark.row("P60")
async def test_a_plugin_written_for_the_first_api_still_hears_speaks_decides_and_amends(tmp_path, sink):
    posts, state = await flown(tmp_path, sink)
    (flight,) = [one for one in posts if one["path"].endswith("/fly")]
    assert flight["headers"]["authorization"] == "Bearer t-1"
    assert (flight["body"]["to"], flight["body"]["words"].split()[-1]) == ("L7", "Coo!")
    assert "came by pigeon" in [one["body"]["text"] for one in posts if one["body"].get("type") == "ticket.comment"]
    assert state == "done"


@pytest.mark.row("P60")
async def test_a_policy_written_for_the_first_api_still_judges(tmp_path, sink):
    posts, state = await flown(tmp_path, sink, greeting="no cat here")
    assert not [one for one in posts if one["path"].endswith("/fly")]
    assert state == "held"
