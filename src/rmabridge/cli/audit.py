"""``rmabridge audit``: the log of who did what."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import click

from . import PROBLEM
from .app import App, command
from .output import dumped, table, when

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..model import Case


@click.group()
def audit() -> None:
    """The log of who did what."""


@audit.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@command
def list_(app: App, limit: int) -> None:
    """Commands that were carried out, the latest first."""
    from sqlalchemy import select

    from ..store.tables import audit as stored

    query = select(stored).order_by(stored.c.id.desc()).limit(limit)
    rows = app.read(lambda conn: conn.execute(query).all())
    found = [{"at": when(one.at), "who": one.who, "what": one.what, "detail": one.detail} for one in rows]
    table(app, found, ("at", "who", "what", "detail"), empty="nobody did anything yet")


@audit.command()
@command
def verify(app: App) -> None:
    """Check the hash chain of every day; exit 1 when an entry was changed."""
    from sqlalchemy import select

    from ..store.tables import audit as stored

    rows = app.read(lambda conn: conn.execute(select(stored).order_by(stored.c.id)).all())
    broken = broken_entries(rows)
    if app.as_json:
        click.echo(dumped({"checked": len(rows), "broken": broken}))
    else:
        days = len({one.day for one in rows})
        told = f"broken at entries {', '.join(map(str, broken))}" if broken else "nothing was changed"
        click.echo(f"{len(rows)} entries of {days} days checked: {told}", err=bool(broken))
    if broken:
        click.get_current_context().exit(PROBLEM)


@audit.command()
@click.option("--shop", help="Only of this shop.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=10_000, show_default=True, help="Newest cases first.")
@command
def plays(app: App, shop: str | None, limit: int) -> None:
    """Closed cases that skipped a step of their handling play; exit 1 where there are any."""
    from ..core.plays import skipped

    checked, found = 0, []
    for case in _closed(app, shop, limit):
        checked += case.play is not None
        if missing := skipped(case):
            facts = {"case": case.id, "play": case.play.id if case.play else None, "skipped": " ".join(missing)}
            found.append({**facts, "result": case.result})
    if app.as_json:
        click.echo(dumped({"checked": checked, "skipped": found}))
    else:
        table(
            app,
            found,
            ("case", "play", "skipped", "result"),
            empty=f"{checked} closed cases checked: none skipped a step",
        )
    if found:
        click.get_current_context().exit(PROBLEM)


def _closed(app: App, shop: str | None, limit: int) -> Iterator[Case]:
    """The closed cases that can still be read."""
    from ..model import Case
    from ..store import cases as store

    rows = app.read(lambda conn: store.listed(conn, shop=shop, status="closed", open_=None, most=limit, before=None))
    for row in rows:
        if (doc := app.open(row.key_id, row.doc)) is not None:
            yield Case.model_validate_json(doc)


def broken_entries(rows: Any) -> list[int]:
    """The entries that do not fit the chain of their day."""
    chains: dict[str, bytes] = {}
    broken = []
    for one in rows:
        parts = (
            chains.get(one.day, b""),
            str(one.at).encode(),
            one.who.encode(),
            one.what.encode(),
            one.detail.encode(),
        )
        if sha256(b"\x1f".join(parts)).digest() != one.chain:
            broken.append(one.id)
        chains[one.day] = one.chain
    return broken
