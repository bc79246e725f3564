"""What a plugin's source says: names it uses, addresses it holds, failures it swallows."""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

ADDRESS: Final = re.compile(r"https?://[\w-]+(\.[\w-]+)+")


def module_of(plugin: type) -> ModuleType:
    """The plugin's module; of a package its outermost one."""
    return importlib.import_module(plugin.__module__.partition(".")[0])


def trees(plugin: type) -> dict[str, ast.Module]:
    """The syntax trees of the plugin's files by file name."""
    return _parsed(Path(inspect.getsourcefile(module_of(plugin)) or ""))


@cache
def _parsed(path: Path) -> dict[str, ast.Module]:
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    return {one.name: ast.parse(one.read_text(encoding="utf-8")) for one in files}


@cache
def _nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree))


@cache
def names(tree: ast.Module) -> frozenset[str]:
    """The dotted names that the code imports or uses, import aliases resolved."""
    known, nodes = _aliases(tree), _nodes(tree)
    used = (_dotted(one) for one in nodes if isinstance(one, ast.Name | ast.Attribute))
    return frozenset({*_imports(nodes), *(one for dotted in used if (one := _resolved(dotted, known)))})


def _imports(nodes: tuple[ast.AST, ...]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{one.name}" for one in node.names)


def _resolved(dotted: str, known: dict[str, str]) -> str | None:
    first, dot, rest = dotted.partition(".")
    return (known.get(first) or first) + dot + rest if first in known or hasattr(builtins, first) else None


def _aliases(tree: ast.Module) -> dict[str, str]:
    known: dict[str, str] = {}
    for node in _nodes(tree):
        if isinstance(node, ast.Import):
            known |= {one.asname or one.name.partition(".")[0]: one.name if one.asname else "" for one in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return known


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def used(plugin: type, forbidden: re.Pattern[str]) -> list[str]:
    """The names in the plugin's source that match, as ``file: name``."""
    found = ((file, one) for file, tree in trees(plugin).items() for one in names(tree))
    return sorted({f"{file}: {one}" for file, one in found if forbidden.match(one)})


def imported(tree: ast.Module) -> Iterator[str]:
    """The modules that a file imports, but for its own package's."""
    for node in _nodes(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from _modules(node.module or "", [one.name for one in node.names])


def _modules(module: str, taken: list[str]) -> Iterator[str]:
    # ``from rmabridge import wire`` imports a module of the package, ``from rmabridge import hookimpl`` does not.
    for one in taken:
        holds = module in {"rmabridge", "rmabridge.core"} and importlib.util.find_spec(f"{module}.{one}")
        yield f"{module}.{one}" if holds else module


def blocking(tree: ast.Module, forbidden: re.Pattern[str], methods: frozenset[str]) -> Iterator[str]:
    """Calls in async functions that make all other accounts wait, as ``line: name``; what runs in a thread may."""
    known = _aliases(tree)
    for node in _nodes(tree):
        if isinstance(node, ast.AsyncFunctionDef):
            for call in _calls(node):
                first, dot, rest = _dotted(call.func).partition(".")
                name = (known.get(first) or first) + dot + rest
                if forbidden.match(name) or (isinstance(call.func, ast.Attribute) and call.func.attr in methods):
                    yield f"{call.lineno}: {name or ast.unparse(call.func)}"


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    for inner in ast.iter_child_nodes(node):
        if not isinstance(inner, ast.FunctionDef | ast.Lambda | ast.AsyncFunctionDef):
            if isinstance(inner, ast.Call):
                yield inner
            yield from _calls(inner)


def swallowed(tree: ast.Module) -> Iterator[int]:
    """Lines of handlers that catch everything and do not raise again."""
    for node in _nodes(tree):
        if isinstance(node, ast.ExceptHandler) and _broad(node.type) and not _raises(node):
            yield node.lineno


def _raises(node: ast.ExceptHandler) -> bool:
    return any(isinstance(inner, ast.Raise) for inner in ast.walk(node))


def _broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(_broad(one) for one in caught.elts)
    return caught is None or _dotted(caught) in {"Exception", "BaseException"}


def addresses(tree: ast.Module) -> Iterator[str]:
    """Addresses written into functions, where no setting reaches them; texts for people (errors) may name some."""
    for node in _nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:
                yield from _addresses(statement)


def _addresses(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and ADDRESS.search(node.value):
        yield node.value
    for inner in ast.iter_child_nodes(node):
        yield from _addresses(inner)
