"""Which tests open a store: those whose file or fixtures lead to ``stores`` by what they import. No list is kept."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

HERE: Final = Path(__file__).parent


def opens_store(item: pytest.Item) -> bool:
    """Whether the test's file, or a fixture that it asks for, imports what leads to ``stores``."""
    if not isinstance(item, pytest.Function):
        return False
    fixtures = [inspect.unwrap(defs[-1].func) for defs in item._fixtureinfo.name2fixturedefs.values() if defs]
    return item.path.stem in leading() or any(map(_leads, fixtures))


def _leads(fixture: Any) -> bool:
    """Whether its file imports it when it is loaded, or the fixture itself when it runs."""
    if (code := getattr(fixture, "__code__", None)) is None:
        return False
    loaded = (getattr(one, "__module__", None) for one in fixture.__globals__.values())
    return not leading().isdisjoint({*code.co_names, *filter(None, loaded)})


@cache
def leading() -> frozenset[str]:
    """The files of the tests that import ``stores``, themselves or by way of each other."""
    files = {one.stem: set(imported(one)) for one in HERE.rglob("*.py") if one.stem != "conftest"}
    found = {"stores"}
    while more := {name for name, named in files.items() if named & found} - found:
        found |= more
    return frozenset(found)


def imported(file: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
