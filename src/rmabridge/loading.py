"""Where plugins come from: found by name, held against the plugin API, imported when they are asked for."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from . import __version__
from .abilities import Plugin
from .errors import RmabridgeError
from .hookspecs import API, OLDEST

GROUP: Final = "rmabridge"
# Where a plugin names the version of the plugin API that it was written for.
IN_MODULE: Final = "rmabridge_api"
IN_CLASS: Final = "api"


class OtherApi(RmabridgeError):
    """A plugin was written for another version of the plugin API than this bridge has."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a plugin of a name can be imported from."""

    name: str
    module: str
    origin: str
    path: Path | None = None


def sources(plugins_dir: Path | None = None) -> dict[str, Source]:
    """Every plugin that could be loaded, by name; nothing is imported. The shop's own directory wins."""
    found: dict[str, Source] = {}
    named: dict[Distribution | None, str] = {None: "?"}  # a distribution reads all its metadata to tell its name
    for one in entry_points(group=GROUP):
        if one.dist is not None and one.dist not in named:
            named[one.dist] = one.dist.name
        found[one.name] = Source(one.name, one.value.partition(":")[0], f"installed ({named[one.dist]})")
    for path in sorted(plugins_dir.glob("rmabridge_*.py")) if plugins_dir and plugins_dir.is_dir() else ():
        name = path.stem.removeprefix("rmabridge_")
        found[name] = Source(name, f"rmabridge_{name}", str(path), path)
    return found


def load(source: Source) -> ModuleType:
    """Import a plugin's module; ``OtherApi`` where it was written for a plugin API that is not here."""
    try:
        module = _imported(source)
    except Exception:
        # What a newer plugin imports may not exist here: then the version it names says more than the missing name.
        for wanted in _written(source):
            check_api(source.name, wanted)
        raise
    for wanted in _named(module):
        check_api(source.name, wanted)
    return module


def check_api(name: str, wanted: Any) -> None:
    """Refuse a plugin whose version of the plugin API is not here, with the way out."""
    text = str(wanted)
    if isinstance(wanted, bool) or not (text.isascii() and text.isdecimal()):
        raise OtherApi(f"plugin {name!r} names {wanted!r} as its plugin API; that is a whole number, such as {API}")
    span = str(API) if OLDEST == API else f"{OLDEST} to {API}"
    told = f"plugin {name!r} wants plugin API {text}, rmabridge {__version__} has {span}"
    if int(text) > API:
        raise OtherApi(f"{told}: upgrade rmabridge, or install an older version of the plugin")
    if int(text) < OLDEST:
        raise OtherApi(f"{told}: install a newer version of the plugin")


def _named(module: ModuleType) -> Iterator[Any]:
    """The versions that the module and its classes name."""
    own = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Plugin)]
    found = [getattr(module, IN_MODULE, None), *(getattr(one, IN_CLASS, None) for one in own)]
    return (one for one in found if one is not None)


def _written(source: Source) -> Iterator[Any]:
    """The versions that the module and its classes name, read without importing it."""
    spec = None if source.path else importlib.util.find_spec(source.module)
    path = source.path or (Path(spec.origin) if spec and spec.origin else None)
    try:
        body = ast.parse(path.read_bytes()).body if path else []
    except (SyntaxError, ValueError):
        return
    yield from _values(body, IN_MODULE)
    for one in body:
        if isinstance(one, ast.ClassDef):
            yield from _values(one.body, IN_CLASS)


def _values(body: list[ast.stmt], name: str) -> Iterator[Any]:
    for one in body:
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            value = getattr(one, "value", None)
            if isinstance(value, ast.Constant):
                yield value.value


def _imported(source: Source) -> ModuleType:
    if source.path is None:
        return importlib.import_module(source.module)
    spec = importlib.util.spec_from_file_location(source.module, source.path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{source.path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[source.module] = module
    spec.loader.exec_module(module)
    return module
