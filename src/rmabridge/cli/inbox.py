"""``rmabridge inbox``: events that could not be read, or that no case knows."""

from __future__ import annotations

from typing import Any

import click

from .app import App, command
from .asking import Order, ask, asks
from .output import document, table, when
from .values import ROW

COLUMNS = ("id", "account", "kind", "received", "stage", "case", "note")


@click.group()
def inbox() -> None:
    """Events that are parked or match no case."""


@inbox.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@command
def parked(app: App, limit: int) -> None:
    """Events that could not be parsed or routed, the oldest first."""
    table(app, _stuck(app, "parked", limit), COLUMNS, empty="nothing is parked")


@inbox.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@command
def unmatched(app: App, limit: int) -> None:
    """Events that wait for their case, the oldest first."""
    table(app, _stuck(app, "unmatched", limit), COLUMNS, empty="nothing is unmatched")


def _stuck(app: App, state: str, most: int) -> list[dict[str, Any]]:
    from sqlalchemy import select

    from ..store.tables import inbox as stored

    query = select(stored).where(stored.c.state == state).order_by(stored.c.received_at).limit(most)
    return [brief(one) for one in app.read(lambda conn: conn.execute(query).all())]


def brief(row: Any) -> dict[str, Any]:
    """An inbox row without its body."""
    names = ("id", "account", "kind", "state", "stage", "note")
    facts = {name: getattr(row, name) for name in names}
    return {**facts, "case": row.case_id, "received": when(row.received_at)}


@inbox.command()
@click.argument("number", type=ROW, metavar="ROW")
@click.option("--clear", is_flag=True, help="Show personal data.")
@command
def show(app: App, number: int, clear: bool) -> None:
    """One event as it came in, with the trace of what went wrong."""
    from sqlalchemy import select

    from ..core.masking import mask, masked
    from ..errors import CommandError
    from ..store.inbox import unpack
    from ..store.tables import inbox as stored

    row = app.read(lambda conn: conn.execute(select(stored).where(stored.c.id == number)).first())
    if row is None:
        raise CommandError(f"{number}: no such row in the inbox")
    packed = app.open(row.key_id, row.body)
    meta, body = unpack(packed) if packed is not None else ({}, b"erased")
    text = body.decode("utf-8", "replace")
    trace = app.open(row.key_id, row.trace) if row.trace else None
    told = {"meta": meta, "body": text} if clear else {"meta": masked(meta), "body": mask(text)}
    document(app, {**brief(row), **told, "trace": trace.decode("utf-8", "replace") if trace else None})


@inbox.command()
@click.argument("numbers", type=ROW, nargs=-1, metavar="[ROW]...")
@click.option("--all", "every", is_flag=True, help="Everything that is parked.")
@asks
@command
def replay(app: App, numbers: tuple[int, ...], every: bool, by: str | None, no_wait: bool) -> None:
    """Route parked or unmatched events again."""
    from ..errors import CommandError
    from ..store.inbox import stuck

    if every == bool(numbers):
        raise click.UsageError("name rows, or give --all")
    if others := set(numbers).difference(app.read(lambda conn: stuck(conn, numbers))):
        raise CommandError(f"{min(others)}: no such event is parked or unmatched")
    rows = [one["id"] for one in _stuck(app, "parked", 10_000)] if every else list(numbers)
    ask(app, Order("replay", {"rows": rows}), by, no_wait=no_wait)
