"""Arguments: numbers of rows, and ``key=value``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import click

ROW: Final = click.IntRange(0, (1 << 63) - 1)


def pairs(given: Iterable[str]) -> dict[str, Any]:
    """``key=value`` as a dict: JSON lists, objects, booleans and null are read, everything else is text."""
    found: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.strip():
            raise click.UsageError(f"{one!r} is not of the form key=value")
        found[name.strip()] = read(value)
    return found


def read(text: str) -> Any:
    """The value of one argument."""
    if text[:1] in {"[", "{"} or text in {"true", "false", "null"}:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise click.UsageError(f"{text!r} is not JSON") from error
    return text
