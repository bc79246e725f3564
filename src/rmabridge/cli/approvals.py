"""``rmabridge approvals``: actions that wait for a person's word."""

from __future__ import annotations

from typing import Any

import click

from .app import App, command
from .asking import Order, ask, asks
from .output import table, when
from .values import ROW

COLUMNS = ("id", "case", "delivery", "action", "account", "asked", "rules", "reason")


@click.group()
def approvals() -> None:
    """Actions that wait for a person's word."""


@approvals.command("list")
@command
def list_(app: App) -> None:
    """Waiting approvals, the oldest first."""
    table(app, waiting(app), COLUMNS, empty="nothing waits for an approval")


def waiting(app: App) -> list[dict[str, Any]]:
    """Waiting approvals with the actions they are asked for."""
    from ..store import cases, outbox

    found = []
    for one in app.read(cases.pending_approvals):
        row = app.read(lambda conn, i=one.outbox_id: outbox.one(conn, i))  # type: ignore[misc]
        facts = {"id": one.id, "case": one.case_id, "delivery": one.outbox_id, "asked": when(one.asked_at)}
        what = {"action": row.key, "type": row.type, "account": row.account} if row else {}
        found.append({**facts, **what, "rules": one.rules, "reason": one.reason})
    return found


def _case_of(app: App, number: int) -> str:
    from sqlalchemy import select

    from ..errors import CommandError
    from ..store.tables import approvals as stored

    found = app.read(lambda conn: conn.execute(select(stored.c.case_id).where(stored.c.id == number)).scalar())
    if found is None:
        raise CommandError(f"approval {number}: no such approval")
    return str(found)


@approvals.command()
@click.argument("approval", type=ROW)
@click.option("--note", help="Why, for the record.")
@asks
@command
def approve(app: App, approval: int, note: str | None, by: str | None, no_wait: bool) -> None:
    """Let the action happen, exactly as it was shown."""
    _answer(app, "approve", approval, note=note, by=by, no_wait=no_wait)


@approvals.command()
@click.argument("approval", type=ROW)
@click.option("--note", help="Why, for the record.")
@asks
@command
def deny(app: App, approval: int, note: str | None, by: str | None, no_wait: bool) -> None:
    """Do not let the action happen."""
    _answer(app, "deny", approval, note=note, by=by, no_wait=no_wait)


def _answer(app: App, word: str, number: int, *, note: str | None, by: str | None, no_wait: bool) -> None:
    ask(app, Order(word, {"approval": number, "note": note}, _case_of(app, number)), by, no_wait=no_wait)
