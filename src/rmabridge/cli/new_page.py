"""What a plugin's code says of itself, read without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

COLUMNS = ("setting", "type", "default", "meaning")


def facts(source: str) -> dict[str, str]:
    """What it does, its abilities, reference, settings and version of the plugin API."""
    tree = ast.parse(source)
    plugin = next(one for one in tree.body if isinstance(one, ast.ClassDef))
    constants = dict(_constants([*tree.body, *plugin.body]))
    first = (ast.get_docstring(tree) or "").partition("\n")[0]
    abilities = [f"`{ast.unparse(one)}`" for one in plugin.bases if ast.unparse(one) != "Plugin"]
    return {
        "does": _sentence(first.partition(": ")[2] or first),
        "abilities": ", ".join(abilities),
        "reference": constants.get("reference", "–"),
        "api": constants.get("rmabridge_api", "1"),
        "settings": "\n".join(_table(plugin)),
    }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _constants(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for one in body:
        target = (
            one.targets[0] if isinstance(one, ast.Assign) else one.target if isinstance(one, ast.AnnAssign) else None
        )
        value = getattr(one, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            yield target.id, str(value.value)


def _table(plugin: ast.ClassDef) -> Iterator[str]:
    yield f"| {' | '.join(COLUMNS)} |"
    yield f"| {' | '.join('---' for _ in COLUMNS)} |"
    for one in plugin.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.value, ast.Call):
            given = {key.arg: key.value for key in one.value.keywords}
            described = given.get("description")
            meaning = str(described.value) if isinstance(described, ast.Constant) else ""
            cells = (f"`{ast.unparse(one.target)}`", f"`{ast.unparse(one.annotation)}`", _default(one.value), meaning)
            yield f"| {' | '.join(one.replace('|', chr(92) + '|') for one in cells)} |"


def _default(field: ast.Call) -> str:
    made = next((one.value for one in field.keywords if one.arg == "default_factory"), None)
    if isinstance(made, ast.Lambda):
        return f"`{ast.unparse(made.body)}`"
    return f"`{ast.unparse(field.args[0])}`" if field.args else "needed"
