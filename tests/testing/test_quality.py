"""Quality levels: computed from what a test run saw, lost with it, and never claimed."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rmabridge.cli import main
from rmabridge.loading import Source
from rmabridge.testing import quality as levels
from rmabridge.testing.quality import ACCEPTED, CHANGED, CONTRACT, LIVE, SAMPLE, SHIPPED, fingerprint, judged, quality
from rmabridge.testing.quality.collecting import marked

pytest_plugins = ["pytester"]

Ran = Callable[..., str]
ROOT = Path(__file__).parents[2]
PLUGIN = '''
"""Pigeon: messages by carrier pigeon. Reference: https://pigeon.example/api

Not verified: whether pigeons read.
"""

from rmabridge import hookimpl
from rmabridge.abilities import Plugin


class Pigeon(Plugin):
    """One loft."""

    title = "Pigeon"


@hookimpl
def register_services():
    return [Pigeon]
'''.lstrip()
TESTS = """
import pytest
from rmabridge_pigeon import Pigeon

from rmabridge.testing.contract import Contract


class TestPigeon(Contract):
    plugin = Pigeon


@pytest.mark.evidence("pigeon", "vendor_sample")
@pytest.mark.parametrize("sample", ["coo", "croo"])
def test_sample(sample):
    assert sample.startswith("c")


@pytest.mark.evidence("pigeon", "end_to_end")
def test_live(): ...


@pytest.mark.evidence("pigeon", "accepted")
def test_real(): ...


@pytest.mark.evidence("hawk", "accepted")
def test_of_a_plugin_that_is_not_there(): ...
"""


@pytest.fixture
def loft(pytester: pytest.Pytester) -> Path:
    """A plugin of one file with its tests, as a shop writes it for itself."""
    (pytester.path / "rmabridge_pigeon.py").write_text(PLUGIN, encoding="utf-8")
    (pytester.path / "test_pigeon.py").write_text(TESTS, encoding="utf-8")
    options = "addopts = --strict-markers\npythonpath = .\nasyncio_default_fixture_loop_scope = function\n"
    (pytester.path / "pytest.ini").write_text(f"[pytest]\n{options}", encoding="utf-8")
    return pytester.path


@pytest.fixture
def ran(pytester: pytest.Pytester) -> Ran:
    """The tests of the plugin, run by themselves, with their evidence written down beside the plugin."""

    def run(*more: str) -> str:
        shutil.rmtree(pytester.path / "__pycache__", ignore_errors=True)
        written = ["--evidence", "rmabridge_pigeon.evidence.json"]
        done = pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", *written, *more)
        return f"{done.stdout}{done.stderr}"

    return run


def pigeon(loft: Path) -> Source:
    return Source("pigeon", "rmabridge_pigeon", "shop", loft / "rmabridge_pigeon.py")


def worth(loft: Path) -> tuple[str, str]:
    """The level, and the first reason why it is no higher, as they are read anew."""
    levels._read.cache_clear()
    found = quality(pigeon(loft))
    return found.level, next(iter(found.lacking), "")


def changed(loft: Path, old: str, new: str, name: str = "test_pigeon.py") -> None:
    text = (loft / name).read_text(encoding="utf-8")
    assert old in text
    (loft / name).write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.row("P31")
def test_a_run_of_the_tests_gives_the_level_and_a_failing_one_takes_it_away(loft: Path, ran: Ran) -> None:
    assert worth(loft)[0] == ""
    ran()
    assert worth(loft) == ("gold", "")
    changed(loft, "def test_real(): ...", "def test_real(): assert False")
    assert "1 failed" in ran()
    level, why = worth(loft)
    assert level == "silver" and "test_pigeon.py::test_real" in why
    changed(loft, '"croo"', '"hoot"')
    ran()
    assert worth(loft)[0] == "bronze", "one of two samples fails"
    changed(loft, '    title = "Pigeon"', "    colour: str", "rmabridge_pigeon.py")
    ran()
    level, why = worth(loft)
    assert level == "" and "test_every_setting_has_a_description" in why


@pytest.mark.row("P31")
def test_what_did_not_run_or_was_skipped_is_no_evidence(loft: Path, ran: Ran) -> None:
    changed(loft, "def test_live(): ...", 'def test_live(): pytest.skip("no loft")')
    ran()
    assert worth(loft) == ("bronze", "for silver: no test in a running bridge passed")
    ran("-k", "not test_every_setting_has_a_description")
    assert worth(loft)[0] == "", "a contract of which a check was left out"


@pytest.mark.row("P31")
def test_a_plugin_that_changed_since_is_not_vouched_for(loft: Path, ran: Ran) -> None:
    ran()
    changed(loft, "One loft", "One big loft", "rmabridge_pigeon.py")
    assert worth(loft) == ("", CHANGED)
    assert quality(pigeon(loft)).shown == CHANGED


@pytest.mark.row("P31")
def test_evidence_that_is_removed_takes_the_level_along_and_a_written_level_has_no_effect(loft: Path, ran: Ran) -> None:
    ran()
    path = loft / "rmabridge_pigeon.evidence.json"
    held = json.loads(path.read_text(encoding="utf-8"))
    assert list(held["plugins"]) == ["pigeon"]
    for kind, level in ((ACCEPTED, "silver"), (SAMPLE, "bronze"), (CONTRACT, "")):
        del held["plugins"]["pigeon"]["seen"][kind]
        held["plugins"]["pigeon"] |= {"level": "gold", "quality": "gold"}
        path.write_text(json.dumps(held), encoding="utf-8")
        assert worth(loft)[0] == level
    path.unlink()
    assert worth(loft)[0] == ""


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"plugins": []}', '{"plugins": {"pigeon": 5}}', "\x00"])
def test_a_broken_file_is_no_evidence(loft: Path, text: str) -> None:
    (loft / "rmabridge_pigeon.evidence.json").write_text(text, encoding="utf-8")
    assert worth(loft)[0] == ""


@pytest.mark.parametrize("said", [("pigeon", "gold"), ("pigeon",), (5, "accepted"), ("pigeon", "contract")])
def test_a_mark_of_another_kind_stops_the_run(said: tuple[Any, ...]) -> None:
    with pytest.raises(pytest.UsageError, match="name a plugin, and one of vendor_sample, end_to_end, accepted"):
        marked(pytest.mark.evidence(*said).mark)


def test_limits_must_be_written_for_gold(loft: Path, ran: Ran) -> None:
    changed(loft, "Not verified: whether pigeons read.", "Pigeons read.", "rmabridge_pigeon.py")
    ran()
    assert worth(loft) == ("silver", "for gold: the docstring names nothing that is not verified or not built")


def seen(*kinds: str, **more: Any) -> dict[str, Any]:
    return {"seen": {one: {"t": 1} for one in kinds}, **more}


@pytest.mark.parametrize(
    ("notes", "level"),
    [
        ({}, ""),
        (seen(SAMPLE, LIVE, ACCEPTED), ""),
        (seen(CONTRACT), "bronze"),
        (seen(CONTRACT, LIVE), "bronze"),
        (seen(CONTRACT, SAMPLE), "bronze"),
        (seen(CONTRACT, SAMPLE, LIVE), "silver"),
        (seen(CONTRACT, ACCEPTED), "bronze"),
        (seen(CONTRACT, ACCEPTED, LIVE), "gold"),
        (seen(CONTRACT, ACCEPTED, LIVE, failed={LIVE: ["t"]}), "bronze"),
        (seen(CONTRACT, LIVE, policy=True), "silver"),
        (seen(CONTRACT, SAMPLE, LIVE, ACCEPTED, policy=True), "silver"),
        (seen(CONTRACT, SAMPLE, policy=True), "bronze"),
    ],
)
def test_each_level_asks_for_what_is_written(notes: dict[str, Any], level: str) -> None:
    assert judged(notes, limits=True).level == level


@pytest.mark.row("P31")
def test_plugins_shows_the_level_and_why_it_is_no_higher(loft: Path, ran: Ran, tmp_path: Path) -> None:
    changed(loft, "def test_real(): ...", 'def test_real(): pytest.skip("no server")')
    ran()
    config = tmp_path / "rmabridge.toml"
    config.write_text(f'[bridge]\nplugins_dir = "{loft}"\n', encoding="utf-8")

    def told(*words: str) -> Any:
        done = CliRunner().invoke(main, [*words, "--config", str(config), "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    (line,) = [one for one in told("plugins", "list") if one["name"] == "pigeon"]
    assert line["level"] == "silver"
    (shown,) = told("plugins", "show", "pigeon")["plugins"]
    why = ["for gold: no test against the vendor's description or a real server passed"]
    assert (shown["level"], shown["no higher level because"]) == ("silver", why)
    assert shown["evidence"]["vendor_sample"] == ["test_pigeon.py::test_sample (2)"]
    sys.modules.pop("rmabridge_pigeon", None)


def test_the_fingerprint_is_of_code_and_data_and_of_nothing_else(tmp_path: Path) -> None:
    home = tmp_path / "rmabridge_x" / "__init__.py"
    (home.parent / "__pycache__").mkdir(parents=True)
    home.write_text("", encoding="utf-8")
    first = fingerprint(home)
    (home.parent / ".cache").mkdir()
    for name in ("__pycache__/x.pyc", "notes.md", "evidence.json", ".cache/x.json", ".x.swp"):
        (home.parent / name).write_text("x", encoding="utf-8")
        assert fingerprint(home) == first, name
    (home.parent / "terms.toml").write_text("x", encoding="utf-8")
    assert fingerprint(home) != first


@cache
def marks(path: Path) -> frozenset[str]:
    """The names of the tests and test classes of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    )


@pytest.mark.row("P31")
def test_the_shipped_file_tells_of_bundled_plugins_and_of_tests_that_there_are() -> None:
    plugins = json.loads(SHIPPED.read_text(encoding="utf-8"))["plugins"]
    assert set(plugins) <= {one.name for one in entry_points(group="rmabridge")}
    for name, notes in plugins.items():
        for kind, tests in notes["seen"].items():
            for test in tests:
                file, _, rest = test.partition("::")
                known = rest.partition("::")[0] in marks(ROOT / file)
                assert known, f"{name}, {kind}: {test}; run pytest --evidence again"


def test_levels_are_read_without_importing_a_plugin() -> None:
    code = "import sys; from rmabridge.loading import sources; from rmabridge.testing.quality import quality\n"
    code += "[quality(one) for one in sources().values()]\n"
    code += "print([one for one in sys.modules if one.startswith('rmabridge_') or one == 'pytest'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
