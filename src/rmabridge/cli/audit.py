"""``rmabridge audit``: the log of who did what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from . import PROBLEM
from .app import App, command
from .output import dumped, table, when

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..model import Case

EXPORTED: Final = ("id", "at", "who", "what", "detail", "chain")


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
@click.option("--head", metavar="HASH", help="A head that was noted earlier: the chain must still contain it.")
@command
def verify(app: App, head: str | None) -> None:
    """Check the hash chain; exit 1 when an entry was changed, removed or put in."""
    from sqlalchemy import select

    from ..store.ops import audit_head
    from ..store.tables import audit as stored

    query = select(stored).order_by(stored.c.id)
    rows, end = app.read(lambda conn: (conn.execute(query).all(), audit_head(conn)))
    broken = broken_entries(rows)
    cut = (rows[-1].chain if rows else b"") != end
    lost = head is not None and head.lower() not in {one.chain.hex() for one in rows}
    if app.as_json:
        click.echo(dumped({"checked": len(rows), "broken": broken, "cut": cut, "lost": lost, "head": end.hex()}))
    else:
        click.echo(f"{len(rows)} entries checked: {_finding(broken, cut, lost)}", err=bool(broken or cut or lost))
        click.echo(f"head: {end.hex()}")
    if broken or cut or lost:
        click.get_current_context().exit(PROBLEM)


def _finding(broken: list[int], cut: bool, lost: bool) -> str:
    told = [f"broken at entries {', '.join(map(str, broken))}"] if broken else []
    told += ["the end is missing, or something was put behind it"] if cut else []
    told += ["the head that was noted is not in it"] if lost else []
    return "; ".join(told) or "nothing was changed"


@audit.command()
@command
def export(app: App) -> None:
    """The whole log, an entry a line, the oldest first, with what its hash chain is made of; needs no master key."""
    from sqlalchemy import select

    from ..store.tables import audit as stored

    query = select(*(stored.c[one] for one in EXPORTED)).order_by(stored.c.id)
    rows = app.read(lambda conn: conn.execute(query).all())
    found = [{**one._asdict(), "time": when(one.at), "chain": one.chain.hex()} for one in rows]
    if app.as_json:
        click.echo(dumped(found))
    else:
        click.echo("".join(f"{dumped(one, indent=None)}\n" for one in found), nl=False)


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
    """The entries that do not fit the chain."""
    from ..store.ops import audit_link

    chain, broken = b"", []
    for one in rows:
        if audit_link(chain, one.at, one.who, one.what, one.detail) != one.chain:
            broken.append(one.id)
        chain = one.chain
    return broken
