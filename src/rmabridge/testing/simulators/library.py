"""Which simulators there are: those of this package, and those that plugin packages bring along.

A plugin package names its own in the entry point group ``rmabridge.simulators``, as ``module`` or ``module:Class``.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Final

from .server import Simulator

GROUP: Final = "rmabridge.simulators"
PACKAGE: Final = __package__ or ""


class NoSimulator(LookupError):
    """There is no simulator of this name, or it cannot be loaded."""


def simulators() -> dict[str, str]:
    """The names of all, and which distribution each comes from."""
    found = {}
    for one in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__):
        if not one.name.startswith("_") and _defines(f"{PACKAGE}.{one.name}"):
            found[one.name] = "rmabridge"
    return dict(sorted((found | {name: _origin(one) for name, one in _entries().items()}).items()))


def simulator(name: str) -> type[Simulator]:
    """The simulator of this name; that of a plugin package goes before one of the same name here."""
    entry = _entries().get(name)
    where, _, wanted = entry.value.partition(":") if entry else (f"{PACKAGE}.{name}", "", "")
    if entry is None and not (name.isidentifier() and importlib.util.find_spec(where)):
        raise NoSimulator(f"{name}: no such simulator; there are {', '.join(simulators())}")
    module = _import(where)
    found = getattr(module, wanted, None) if wanted else _own(module)
    if not (isinstance(found, type) and issubclass(found, Simulator)):
        raise NoSimulator(f"{name}: {entry.value if entry else where} is no simulator")
    return found


def _entries() -> dict[str, EntryPoint]:
    return {one.name: one for one in entry_points(group=GROUP)}


def _origin(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "?"


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise NoSimulator(f"{module}: {error}; is rmabridge[testing] installed?") from error


def _defines(module: str) -> bool:
    try:
        return _own(_import(module)) is not None
    except NoSimulator:  # it is one, and needs what is not installed: starting it says what
        return True


def _own(module: ModuleType) -> type[Simulator] | None:
    """The simulator that a module defines: its one class that has a ``name``."""
    own = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    named = [one for one in own if issubclass(one, Simulator) and vars(one).get("name")]
    return named[0] if len(named) == 1 else None
