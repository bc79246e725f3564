"""SECURITY.md names every door there is, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from rmabridge.web.app import make
from worlds import World

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
GUARDS = sorted(set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", TEXT)))
DOORS = (
    *("Hooks", "Signing in", "Signed links", "Inside", "The command line", "The database", "The key file"),
    *("The directory of files", "Calls to the outside", "The directory of plugins"),
)


@cache
def named_in(path: str) -> set[str]:
    """The names of the tests in a file, those of classes too."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("path", "name"), GUARDS, ids=lambda one: str(one).rpartition("/")[2])
def test_every_test_that_is_named_exists(path: str, name: str) -> None:
    assert name in named_in(path)


def test_every_threat_has_a_test() -> None:
    rows = [one for one in TEXT.splitlines() if one.startswith("| ") and one.count(" | ") == 2]
    threats = [one for one in rows if not one.startswith(("| threat", "| ---", "| who", "| anybody"))]
    guarded = [one for one in threats if "::test_" in one]
    people = ("| a platform", "| a buyer (", "| a colleague", "| who can", "| an operator")
    assert [one for one in threats if one not in guarded and not one.startswith(people)] == []
    assert len(guarded) >= 30


def test_every_door_has_a_chapter() -> None:
    assert [one for one in DOORS if not re.search(f"^### {one}", TEXT, re.MULTILINE)] == []


async def test_every_route_of_the_application_is_named(world: World) -> None:
    routes = {one.canonical for one in make(world.bridge).router.resources()}
    assert [one for one in sorted(routes) if f"`{one}`" not in TEXT] == []


def test_the_check_of_a_clone_asks_for_known_vulnerabilities() -> None:
    assert "\n.ci/audit\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "pip-audit" in (ROOT / ".ci" / "audit").read_text(encoding="utf-8")
