"""Answers: JSON for programs, folded tables for people."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from rich.console import Console

    from .app import App

PIPED_WIDTH: Final = 160


def when(at: int | None) -> str | None:
    """A stored time as text, UTC."""
    from ..store.tables import moment

    return None if at is None else stamp(moment(at))


def stamp(at: datetime) -> str:
    """A time as text, UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def dumped(value: Any, *, indent: int | None = 2) -> str:
    """JSON text, Chinese left readable."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def plain(value: Any) -> str:
    """A value in a table cell; control characters, with which a buyer could write on the terminal, are taken out."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else dumped(value, indent=None) if _nested(value) else str(value)
    return "".join(one if one == "\n" or unicodedata.category(one) not in {"Cc", "Cf"} else "�" for one in text)


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple | bool)


def table(app: App, rows: Sequence[Mapping[str, Any]], columns: Iterable[str], *, empty: str = "none") -> None:
    """Rows as a JSON array, or as a table of the named columns."""
    if app.as_json:
        click.echo(dumped(list(rows)))
    elif not rows:
        click.echo(empty)
    else:
        _print_table(rows, list(columns))


def _print_table(rows: Sequence[Mapping[str, Any]], columns: list[str]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        made.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        made.add_row(*(Text(plain(row.get(name))) for name in columns))
    console().print(made)


def document(app: App, value: Mapping[str, Any]) -> None:
    """One document as a JSON object, or as names and values."""
    if app.as_json:
        click.echo(dumped(value))
        return
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, one in value.items():
        if one not in (None, "", [], {}, ()):
            made.add_row(name.replace("_", " "), Text(plain(one)))
    console().print(made)


def said(app: App, text: str, **facts: Any) -> None:
    """One sentence, or the facts behind it."""
    click.echo(dumped({**facts, "note": text}) if app.as_json else plain(text))


def console() -> Console:
    """Rich's console on stdout: as wide as the terminal, wide enough for a pipe."""
    from rich.console import Console

    return Console(
        file=sys.stdout, width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False, markup=False, emoji=False
    )
