"""Which simulators there are: those of this package, those that plugin packages bring along, and the shop's own.

A plugin package names its own in the entry point group ``rmabridge.simulators``, as ``module`` or ``module:Class``. A
plugin that is one file in ``plugins_dir`` has it in ``simulator_NAME.py`` beside it. A module alone means its one class
that has a ``name``.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from .server import Simulator

GROUP: Final = "rmabridge.simulators"
PACKAGE: Final = __package__ or ""
FILE: Final = "simulator_"


class NoSimulator(LookupError):
    """There is no simulator of this name, or it cannot be loaded."""


def simulators(plugins_dir: Path | None = None) -> dict[str, str]:
    """The names of all, and where each comes from."""
    found = {}
    for one in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__):
        if not one.name.startswith("_") and _defines(f"{PACKAGE}.{one.name}"):
            found[one.name] = "rmabridge"
    found |= {name: _origin(one) for name, one in _entries().items()}
    found |= {name: str(path) for name, path in _files(plugins_dir).items()}
    return dict(sorted(found.items()))


def simulator(name: str, plugins_dir: Path | None = None) -> type[Simulator]:
    """The simulator of this name: the shop's own file goes before a plugin package's, and that before one from here."""
    if path := _files(plugins_dir).get(name):
        return _simulator(name, str(path), _own(_read(path)))
    entry = _entries().get(name)
    where, _, wanted = entry.value.partition(":") if entry else (f"{PACKAGE}.{name}", "", "")
    if entry is None and not (name.isidentifier() and importlib.util.find_spec(where)):
        raise NoSimulator(f"{name}: no such simulator; there are {', '.join(simulators(plugins_dir))}")
    module = _import(where)
    return _simulator(name, entry.value if entry else where, getattr(module, wanted, None) if wanted else _own(module))


def _simulator(name: str, where: str, found: Any) -> type[Simulator]:
    if not (isinstance(found, type) and issubclass(found, Simulator)):
        raise NoSimulator(f"{name}: {where} is no simulator")
    return found


def _files(plugins_dir: Path | None) -> dict[str, Path]:
    found = sorted(plugins_dir.glob(f"{FILE}*.py")) if plugins_dir and plugins_dir.is_dir() else ()
    return {one.stem.removeprefix(FILE): one for one in found}


def _read(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError) as error:
        raise NoSimulator(f"{path}: {error}") from error
    return module


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
