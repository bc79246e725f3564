"""Configuration: every mistake is named as ``[section] field: reason``, all at once, and secrets are never shown."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmabridge.config import load, read
from rmabridge.errors import ConfigError
from rmabridge.registry import build
from worlds import document


def problems(config: dict[str, Any]) -> list[str]:
    """What is wrong with a configuration."""
    with pytest.raises(ConfigError) as caught:
        build(read(config))
    return list(caught.value.problems)


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """A configuration that is right."""
    return document(tmp_path, "http://127.0.0.1:1")


def test_a_right_configuration_is_taken(config: dict[str, Any]) -> None:
    registry = build(read(config))
    assert set(registry.accounts) == {"shop", "desk", "mail"}
    assert registry.policies[0].name == "routing"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("bridge", "port"), 99999, "[bridge] port: "),
        (("bridge", "databse"), "x", "[bridge] databse: no such setting"),
        (("bridge", "database"), "mysql://x", "[bridge] database: write sqlite:///FILE or postgresql:"),
        (("shops", "one", "timezone"), "Mars/Base", "[shops.one] timezone: 'Mars/Base' is not an IANA time zone"),
        (("shops", "one", "helpdesk"), "nobody", "[shops.one] 'nobody': no account of that name"),
        (("shops", "one", "helpdesk"), "shop", "[shops.one] helpdesk: [marketplaces.shop] keeps no tickets"),
        (("shops", "one", "labels"), "shop", "[shops.one] labels: [marketplaces.shop] prints no labels"),
        (
            ("shops", "one", "reach"),
            "amazn",
            "[shops.one] reach: no rules for 'amazn'; there are amazon, taobao and none",
        ),
        (("shops", "one", "channels"), ["shop"], "[shops.one] channels: 'shop' sends no messages"),
        (("helpdesks", "desk", "plugin"), "zendusk", "[helpdesks.desk] plugin: 'zendusk' is not installed; there are "),
        (("helpdesks", "desk", "plugin"), "smtp", "[helpdesks.desk] plugin: 'smtp' offers no helpdesks"),
        (("helpdesks", "desk", "tries"), 0, "[helpdesks.desk] tries: "),
        (("marketplaces", "shop", "secret"), {"env": "NOT_SET_ANYWHERE"}, "the environment has no NOT_SET_ANYWHERE"),
        (("marketplaces", "shop", "secret"), {"file": "/no/such/file"}, "cannot read the file /no/such/file"),
        (("markets",), {}, "[markets]: no such section; known are bridge, "),
        (("routes",), {"when": {}}, "[routes]: write [[routes]] with double brackets"),
        (("channels", "a b"), {"plugin": "http"}, "[channels.a b]: not a name for an account"),
        (("channels", "desk"), {"plugin": "http"}, "[channels.desk]: the name is taken by [helpdesks.desk]"),
    ],
)
def test_each_wrong_field_is_named_with_its_section_and_reason(
    config: dict[str, Any], path: tuple[str, ...], value: Any, told: str
) -> None:
    place: Any = config
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    found = problems(config)
    assert any(told in one for one in found), found
    assert all(one.startswith("[") for one in found)


def test_all_mistakes_are_told_at_once(config: dict[str, Any]) -> None:
    config["helpdesks"]["desk"]["nonsense"] = 1
    config["channels"]["mail"]["rate"] = "often"
    found = problems(config)
    assert any("[helpdesks.desk] nonsense: no such setting" in one for one in found)


def test_secrets_come_from_the_environment_and_are_not_in_errors(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESK_TOKEN", "s3cret-value")
    config["helpdesks"]["desk"]["bearer"] = {"env": "DESK_TOKEN"}
    registry = build(read(config))
    assert "s3cret-value" not in repr(registry.accounts["desk"])
    config["helpdesks"]["desk"]["in_flight"] = "many"
    assert all("s3cret-value" not in one for one in problems(config))


def test_a_file_that_is_no_toml_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "rmabridge.toml"
    path.write_bytes(b"[bridge\nport = ")
    with pytest.raises(ConfigError, match=str(path)):
        load(path)
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "absent.toml")


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("webhook") | st.just("http")
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SECTIONS = st.sampled_from(
    ["bridge", "shops", "marketplaces", "helpdesks", "carriers", "channels", "routes", "policies"]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(SECTIONS, TREES | st.dictionaries(st.sampled_from(["a", "b"]), TREES, max_size=2), max_size=4))
def test_any_document_is_taken_or_refused_with_named_sections(config: dict[str, Any]) -> None:
    found: tuple[str, ...] = ()
    try:
        build(read(config))
    except ConfigError as error:
        found = error.problems
    assert all(one.startswith("[") for one in found), found


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_configuration_or_a_clear_error(raw: bytes) -> None:
    with suppress(ConfigError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        read(tomllib.loads(raw.decode()))


def test_relative_paths_are_relative_to_the_configuration_file(tmp_path: Path) -> None:
    path = tmp_path / "rmabridge.toml"
    path.write_text('[bridge]\ndatabase = "sqlite:///data/one.db"\nplugins_dir = "own"\n')
    bridge = load(path).bridge
    assert bridge.path == tmp_path / "data" / "one.db"
    assert bridge.plugins_dir == tmp_path / "own"


HOLDER = """
from pathlib import Path
from pydantic import BaseModel, FilePath
from rmabridge import hookimpl
from rmabridge.abilities import Plugin
class Page(BaseModel):
    at: Path
class Holder(Plugin):
    one: Path
    there: FilePath | None = None
    many: list[Path] = []
    named: dict[str, Path] = {}
    page: Page | None = None
    words: str = ""
@hookimpl
def register_services():
    return [Holder]
"""


def test_every_path_of_a_shop_and_of_a_plugin_is_relative_to_the_configuration_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "etc"
    home.mkdir()
    (home / "own").mkdir()
    (home / "own" / "rmabridge_holder.py").write_text(HOLDER)
    (home / "days.toml").write_text("off = []\n")
    (home / "word").write_text("s3cret\n")
    path = home / "rmabridge.toml"
    path.write_text(
        '[bridge]\nplugins_dir = "own"\npolicies = []\n[shops.one]\nholiday_file = "days.toml"\n'
        '[services.holder]\none = "a"\nthere = "days.toml"\nmany = ["b", "/c"]\nnamed = {x = "d"}\n'
        'page = {at = "e"}\nwords = {file = "word"}\n'
    )
    monkeypatch.chdir(tmp_path)
    registry = build(load(path))
    holder: Any = registry.accounts["holder"]
    assert registry.shops["one"].holiday_file == home / "days.toml"
    assert (holder.one, holder.there, holder.words) == (home / "a", home / "days.toml", "s3cret")
    assert (holder.many, holder.named, holder.page.at) == ([home / "b", Path("/c")], {"x": home / "d"}, home / "e")


@pytest.mark.parametrize("name", ["review", "decide", "amend", "route"])
def test_a_setting_that_would_hide_a_hook_is_refused(tmp_path: Path, config: dict[str, Any], name: str) -> None:
    (tmp_path / "rmabridge_hides.py").write_text(
        "import warnings\nfrom rmabridge import hookimpl\nfrom rmabridge.abilities import Policy\n"
        "with warnings.catch_warnings():\n    warnings.simplefilter('ignore')\n"
        f"    class Hides(Policy):\n        {name}: bool = True\n"
        "@hookimpl\ndef register_policies():\n    return [Hides]\n"
    )
    config["bridge"] |= {"plugins_dir": str(tmp_path), "policies": ["hides"]}
    (told,) = problems(config)
    assert f"the setting {name!r} of Hides hides the method of that name; rename it" in told


def test_a_help_desk_or_channel_that_hears_buyers_serves_its_shop_unless_named_elsewhere(
    config: dict[str, Any],
) -> None:
    keys = {"subdomain": "acme", "email": "b@example.com", "token": "t", "secret": "signing-secret"}
    config["helpdesks"]["desk"] = {"plugin": "zendesk", **keys}
    config["channels"]["out"] = {"plugin": "smtp", "host": "mail.example.com", "sender": "a@example.com"}
    config["shops"]["one"]["channels"] = ["out"]
    config["shops"]["two"] = {"marketplace": "shop"}
    assert build(read(config)).of_account["desk"] == ("one",)
    config["shops"]["two"]["sources"] = ["desk"]
    registry = build(read(config))
    assert registry.of_account["desk"] == ("two",)
    assert "out" not in registry.of_account
