"""The requests that a plugin makes, as its contract classes list them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from rmabridge.testing.contract import CallContract, ConnectContract, FetchContract
from rmabridge.testing.contract.calling import Calling, Vendor

TESTS = Path(__file__).parents[1]


def requests_of(plugin: str) -> list[httpx.Request]:
    """Every request of every call, lookup, fetch, probe and exchange of the plugin's contract classes."""
    seen: list[httpx.Request] = []
    answer = Vendor.__call__

    def noted(self: Vendor, request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return answer(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Vendor, "__call__", noted)
        for contract in contracts(plugin):
            asked(contract())
    return seen


def asked(contract: Any) -> None:
    """Have the contract's account do all that the contract lists."""
    if isinstance(contract, CallContract):
        for call in contract.calls():
            contract.attempt(call, *call.answers)
            for answers in (call.found, call.absent):
                if answers:
                    contract.look(call, *answers)
    if isinstance(contract, FetchContract):
        for fetch in contract.fetches():
            contract.page(fetch)
    if isinstance(contract, ConnectContract) and contract.probed:
        contract.probe(*contract.probed)


def contracts(plugin: str) -> Iterator[type[Calling]]:
    """The contract classes of the plugin, from whichever test file they are in."""
    module = f"rmabridge_{plugin}"
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if f"from {module} import" in text and "Contract):" in text:
            own = [one for one in vars(loaded(path)).values() if getattr(one, "__module__", "") == f"specs_{path.stem}"]
            found = [one for one in own if isinstance(one, type) and issubclass(one, Calling)]
            yield from (one for one in found if one.plugin.__module__.partition(".")[0] == module)


@cache
def loaded(path: Path) -> ModuleType:
    """A test file under another name, so that it is not run twice."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(f"specs_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
