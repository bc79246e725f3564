"""Running the checks of a contract without pytest, for tools and for the tests of the contract itself."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from .calling import Calling
from .settings import Contract


def checks(contract: type[Contract]) -> list[str]:
    """The names of the contract's checks: those that the kit ships, and the plugin's own."""
    return sorted(one for one in dir(contract) if one.startswith("test_"))


def failures(contract: Contract, names: list[str] | None = None) -> dict[str, str]:
    """The checks that the contract's plugin does not keep, each with the first reason."""
    found: dict[str, str] = {}
    for name in names or checks(type(contract)):
        for arguments in ways(contract, name):
            if (reason := _kept(getattr(contract, name), arguments)) is not None:
                found[name] = reason
                break
    return found


def ways(contract: Contract, name: str) -> Iterator[dict[str, Any]]:
    """The arguments of each time that pytest would run the check."""
    check = getattr(contract, name)
    tables = [_table(mark) for mark in getattr(check, "pytestmark", ()) if mark.name == "parametrize"]
    if "call" in inspect.signature(check).parameters and isinstance(contract, Calling):
        tables.append([{"call": one} for one in contract.calls()])
    for rows in product(*tables):
        yield {key: value for row in rows for key, value in row.items()}


def _table(mark: pytest.Mark) -> list[dict[str, Any]]:
    names = mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0]
    rows = [row if len(names) > 1 else (row,) for row in mark.args[1]]
    return [dict(zip((one.strip() for one in names), row, strict=True)) for row in rows]


def _kept(check: Any, arguments: dict[str, Any]) -> str | None:
    try:
        ran = check(**arguments)
        if inspect.iscoroutine(ran):
            asyncio.run(ran)
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - as pytest does
        return f"{type(error).__name__}: {error}"
    return None
