"""``rmabridge deliveries``: the ledger of what the bridge does outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .app import App, command
from .asking import Order, ask, asks
from .output import document, table, when
from .values import ROW, pairs

if TYPE_CHECKING:
    from collections.abc import Collection

COLUMNS = ("id", "case", "type", "key", "account", "state", "attempt", "due", "cause", "hint")


@click.group()
def deliveries() -> None:
    """What the bridge does outside, and how it went."""


@deliveries.command("list")
@click.option("--state", "states", multiple=True, help="Only in this state; may be given again.")
@click.option("--account", help="Only of this account.")
@click.option("--type", "type_", help="Only of this type of action.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@command
def list_(app: App, states: tuple[str, ...], account: str | None, type_: str | None, limit: int) -> None:
    """Deliveries, the newest first."""
    table(app, listed(app, states or None, account=account, type_=type_, most=limit), COLUMNS, empty="no deliveries")


def listed(
    app: App,
    states: Collection[str] | None,
    *,
    account: str | None,
    type_: str | None,
    most: int,
    cause: str | None = None,
) -> list[dict[str, Any]]:
    """Ledger rows as a table shows them."""
    from ..store import outbox

    found = app.read(lambda conn: outbox.listed(conn, states, account, most, type_=type_, cause=cause))
    return [brief(one) for one in found]


def brief(row: Any) -> dict[str, Any]:
    """A ledger row without its action."""
    names = ("id", "type", "key", "account", "state", "attempt", "proposer", "ref", "url", "cause", "hint")
    times = {"created": when(row.created_at), "due": when(row.due_at) if row.due_at < 1 << 60 else None}
    return {**{name: getattr(row, name) for name in names}, "case": row.case_id, **times}


@deliveries.command()
@click.argument("delivery", type=ROW)
@click.option("--clear", is_flag=True, help="Show personal data.")
@command
def show(app: App, delivery: int, clear: bool) -> None:
    """One delivery: the action, its verdicts, and every attempt with the masked exchange."""
    document(app, shown(app, stored(app, delivery), clear=clear))


def stored(app: App, number: int) -> Any:
    """A ledger row."""
    from ..errors import CommandError
    from ..store import outbox

    row = app.read(lambda conn: outbox.one(conn, number))
    if row is None:
        raise CommandError(f"delivery {number}: no such delivery")
    return row


def shown(app: App, row: Any, *, clear: bool) -> dict[str, Any]:
    """All that is known of a delivery."""
    from pydantic_core import from_json

    from ..core.masking import masked
    from ..store import outbox

    doc = app.open(row.key_id, row.doc)
    action = "erased" if doc is None else from_json(doc)
    tries = [_attempt(app, one) for one in app.read(lambda conn: outbox.tries_of(conn, row.id))]
    verdicts = from_json(row.verdicts)
    return {
        **brief(row),
        "settled": when(row.settled_at),
        "taken_back": row.withdrawn,
        "action": action if clear else masked(action),
        "verdicts": [{name: one for name, one in each.items() if one is not None} for each in verdicts],
        "attempts": tries,
    }


def _attempt(app: App, row: Any) -> dict[str, Any]:
    from pydantic_core import from_json

    doc = app.open(row.key_id, row.doc) if row.doc else None
    facts = {"attempt": row.attempt, "at": when(row.at), "outcome": row.outcome, "sent": bool(row.sent)}
    return {**facts, "milliseconds": row.took // 1000, "cause": row.cause, "exchange": from_json(doc) if doc else None}


@deliveries.command()
@click.argument("delivery", type=ROW)
@click.argument("fields", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--anyway", is_flag=True, help="Also a refund or goods against which something speaks by now.")
@asks
@command
def retry(app: App, *, delivery: int, fields: tuple[str, ...], anyway: bool, by: str | None, no_wait: bool) -> None:
    """Send a dead, denied, expired or cancelled delivery again, as it is or with changed fields."""
    ask(app, revive(app, delivery, pairs(fields), anyway=anyway), by, no_wait=no_wait)


def revive(app: App, delivery: int, edited: dict[str, Any], *, anyway: bool = False) -> Order:
    """The command that sends a delivery again."""
    args: dict[str, Any] = {"delivery": delivery} | ({"anyway": True} if anyway else {})
    return Order("retry", args | ({"action": edited} if edited else {}), stored(app, delivery).case_id)


@deliveries.command()
@click.argument("delivery", type=ROW)
@asks
@command
def cancel(app: App, delivery: int, by: str | None, no_wait: bool) -> None:
    """Take a delivery back; what is being sent may still arrive, and is not tried again."""
    ask(app, Order("cancel", {"delivery": delivery}, stored(app, delivery).case_id), by, no_wait=no_wait)


@deliveries.command()
@click.argument("delivery", type=ROW)
@click.option("--happened", "ref", metavar="REF", help="It did happen; the vendor's id of it.")
@click.option("--did-not-happen", "absent", is_flag=True, help="It did not happen: it is sent again.")
@asks
@command
def resolve(app: App, *, delivery: int, ref: str | None, absent: bool, by: str | None, no_wait: bool) -> None:
    """Say what an uncertain delivery did, after looking it up at the vendor."""
    if absent == (ref is not None):
        raise click.UsageError("give either --happened REF or --did-not-happen")
    args = {"delivery": delivery, "happened": not absent, "ref": ref}
    ask(app, Order("resolve", args, stored(app, delivery).case_id), by, no_wait=no_wait)
