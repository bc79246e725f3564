"""The bench's own scripts run and tell what they should; no figure is asserted, for it belongs to the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import pytest

from rmabridge.abilities import Parses
from rmabridge.loading import load, sources
from rmabridge.registry import classes

BENCH = Path(__file__).parents[2] / "bench"
KINDS = ("marketplaces", "helpdesks", "carriers", "channels", "services")


@pytest.fixture
def parsing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import parsing as found

    monkeypatch.setattr(found, "ROUNDS", 1)
    monkeypatch.setattr(found, "ROUND_SECONDS", 0.0)
    return found


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import starting as found

    monkeypatch.setattr(found, "STARTS", 1)
    return found


@pytest.mark.slow
def test_every_bundled_plugin_that_parses_is_timed(parsing):
    bundled = [load(sources()[one.name]) for one in entry_points(group="rmabridge")]
    known = {one for module in bundled for kind in KINDS for one in classes(module, kind)}
    names = {one.__module__.partition(".")[0].removeprefix("rmabridge_") for one in known if issubclass(one, Parses)}
    found = parsing.rows()
    assert {one["plugin"] for one in found} == names
    assert all(one["events"] and one["parse_us"] > 0 for one in found)
    assert [one["parse_us"] for one in found] == sorted((one["parse_us"] for one in found), reverse=True)
    told = parsing.table(found).splitlines()
    assert [line.split()[0] for line in told[1:]] == [one["plugin"] for one in found]


def test_a_body_grows_by_rows_by_words_and_by_fields_that_nobody_reads(parsing):
    body = b'{"id": 123456, "text": "broken", "lines": [{"id": 5001, "at": "2026-01-02 10:00:59"}]}'
    rows, words, noise = (list(grow(body)) for grow in (parsing._by_rows, parsing._by_words, parsing._by_noise))
    assert [len(one) for one in (rows, words, noise)] == [1, 1, 1]
    assert all(1900 < len(one[0]) <= 2200 for one in (rows, words, noise))
    lines = json.loads(rows[0])["lines"]
    assert lines[:2] == [{"id": 5001, "at": "2026-01-02 10:00:59"}, {"id": 5002, "at": "2026-01-02 10:00:00"}]


def test_what_is_inside_a_forms_json_grows_too(parsing):
    (grown,) = parsing._by_rows(
        b"param=%7B%22data%22%3A%5B%7B%22time%22%3A%222026-01-02%2010%3A00%3A01%22%7D%5D%7D&sign=x"
    )
    assert grown.startswith(b"param=%7B%22data%22")
    assert grown.endswith(b"&sign=x")


@pytest.mark.slow
def test_a_start_with_ten_accounts_is_timed(starting):
    found = starting.measured()
    assert found["accounts"] == starting.CONFIG.count("\n[") - starting.CONFIG.count("\n[shops") - 1 == 10
    assert found["wall_s"]["best"] > 0
    assert found["cpu_s"]["best"] > 0
    assert found["imports"][0]["ms"] >= found["imports"][-1]["ms"] > 0


def test_an_unknown_part_of_the_bench_is_named_with_those_there_are():
    given = [sys.executable, str(BENCH / "run.py"), "--only", "praising"]
    told = subprocess.run(given, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "no part praising" in told.stderr
    assert "parsing" in told.stderr


def test_serving_imports_only_the_plugins_of_the_configuration(tmp_path):
    (tmp_path / "rmabridge.toml").write_text(
        f'[bridge]\ndatabase = "sqlite:///{tmp_path}/a.db"\n[carriers.kdniao]\nbusiness_id = "1"\napp_key = "k"\n'
    )
    script = (
        "import sys; from pathlib import Path; from rmabridge.config import load; from rmabridge.flow.bridge import "
        "Running; Running(load(Path(sys.argv[1]))); print(*sorted(one for one in sys.modules if '.' not in one))"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "rmabridge.toml")], capture_output=True, text=True, check=True
    )
    imported = set(told.stdout.split())
    of_accounts = {one.value for one in entry_points(group="rmabridge") if _has_accounts(one.name)}
    assert imported & of_accounts == {"rmabridge_kdniao"}


def _has_accounts(name: str) -> bool:
    return any(classes(load(sources()[name]), kind) for kind in KINDS)
