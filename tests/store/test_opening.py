"""Whatever opens a store is known to do so, and CI runs it on SQLite and on PostgreSQL.

But for the vendors' faults, each plugin under each: they take half as long as all others, and are about what lies
before the store. ``make test-postgresql`` runs them as well.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import FunctionType

import pytest

from opening import HERE, _leads, imported, leading
from stores import database, empty

CI = (HERE.parent / ".ci" / "run").read_text(encoding="utf-8")
# These say which store: what they test is SQLite's file itself, or what is run as it is written in the docs.
NAME_A_FILE = {
    "machine": "a process under load and a file that is measured",
    "kills": "both stores, one after the other",
    "stores": "the address for everybody else",
    "test_bench": "a configuration of which nothing is opened",
    "test_config": "addresses that are read and refused",
    "test_docs": "the relay of the docs",
    "test_migrating": "from SQLite to PostgreSQL and back",
    "test_new_package": "what an author of a plugin starts with",
    "test_opening": "this pattern",
    "test_read_only": "a folder in which nobody may write",
    "vendors": "a process under load and a file that is measured",
    "webhook_door": "a fuzzer's own bridge",
}


def test_ci_runs_everything_on_sqlite_and_what_opens_a_store_on_postgresql() -> None:
    runs = dict(re.findall(r'^make (test\S*) TESTS="([^"]*)"$', CI, re.MULTILINE))
    assert set(runs) == {"test", "test-postgresql"}
    for given, chosen in ((runs["test"], ""), (runs["test-postgresql"], "-m store --ignore tests/faults")):
        assert given.removeprefix("-n 2 --dist loadfile").strip() == chosen


def test_this_test_is_marked_because_its_file_imports_what_opens_a_store(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("store")
    assert {"stores", "worlds", "cli_desk", Path(__file__).stem} <= leading()


def test_an_import_is_seen_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text("import a, b as c\nfrom d import e\ndef f():\n    from stores import g\n")
    assert set(imported(file)) == {"a", "b", "d", "stores"}


def test_a_fixture_is_seen_by_what_it_imports_and_by_what_its_file_does() -> None:
    def late() -> None:
        import worlds  # noqa: F401

    for one, globals_, seen in ((late, {}, True), (imported, {}, False), (imported, {"one": database}, True)):
        assert _leads(FunctionType(one.__code__, globals_)) is seen


@pytest.mark.parametrize("make", [database, empty])
def test_a_test_that_was_not_seen_to_open_a_store_cannot(make, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RMABRIDGE_TEST_OPENS", "no")
    with pytest.raises(AssertionError, match=r"opening\.py did not see it"):
        make(tmp_path)


def test_who_names_a_file_of_sqlite_is_known() -> None:
    naming = {one.stem for one in HERE.rglob("*.py") if "sqlite:///" in one.read_text(encoding="utf-8")}
    assert naming == set(NAME_A_FILE)
