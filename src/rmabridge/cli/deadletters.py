"""``rmabridge deadletters``: deliveries that failed for good. (Events that failed are ``inbox parked``.)"""

from __future__ import annotations

import click

from .app import App, command
from .asking import ask, asks, carry_out, tell
from .deliveries import COLUMNS, listed, revive, shown, stored
from .output import document, table
from .values import ROW, pairs

MOST = 10_000


@click.group()
def deadletters() -> None:
    """Deliveries that failed for good: read, edit, replay."""


@deadletters.command("list")
@click.option("--account", help="Only of this account.")
@click.option("--type", "type_", help="Only of this type of action.")
@click.option("--cause", help="Only those whose cause has this text.")
@click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True)
@command
def list_(app: App, account: str | None, type_: str | None, cause: str | None, limit: int) -> None:
    """Dead letters, the newest first."""
    table(
        app,
        listed(app, ("dead",), account=account, type_=type_, cause=cause, most=limit),
        COLUMNS,
        empty="no dead letters",
    )


@deadletters.command()
@click.argument("delivery", type=ROW)
@click.option("--clear", is_flag=True, help="Show personal data.")
@command
def show(app: App, delivery: int, clear: bool) -> None:
    """Cause, hint, the masked request and answer, and every attempt."""
    document(app, shown(app, stored(app, delivery), clear=clear))


@deadletters.command()
@click.argument("delivery", type=ROW)
@click.argument("fields", nargs=-1, required=True, metavar="KEY=VALUE...")
@asks
@command
def edit(app: App, delivery: int, fields: tuple[str, ...], by: str | None, no_wait: bool) -> None:
    """Change fields of the action and send it again; it is reviewed like any other."""
    ask(app, revive(app, delivery, pairs(fields)), by, no_wait=no_wait)


@deadletters.command()
@click.argument("numbers", type=ROW, nargs=-1, metavar="[DELIVERY]...")
@click.option("--account", help="Those of this account.")
@click.option("--type", "type_", help="Those of this type of action.")
@click.option("--cause", help="Those whose cause has this text.")
@click.option("--all", "every", is_flag=True, help="All of them.")
@click.option("--dry-run", is_flag=True, help="Only show which ones it would be.")
@asks
@command
def replay(
    app: App,
    *,
    numbers: tuple[int, ...],
    account: str | None,
    type_: str | None,
    cause: str | None,
    every: bool,
    dry_run: bool,
    by: str | None,
    no_wait: bool,
) -> None:
    """Send dead letters again: by number, by filter, or all."""
    from ..errors import CommandError

    if not (numbers or account or type_ or cause or every):
        raise click.UsageError("name deliveries, a filter, or --all")
    found = [
        one
        for one in listed(app, ("dead",), account=account, type_=type_, cause=cause, most=MOST)
        if not numbers or one["id"] in numbers
    ]
    if others := set(numbers).difference(one["id"] for one in found):
        raise CommandError(f"delivery {min(others)}: no such dead letter")
    if dry_run or not found:
        table(app, found, COLUMNS, empty="no dead letters match")
        return
    orders = [revive(app, one["id"], {}) for one in reversed(found)]
    tell(app, carry_out(app, orders, by, wait=not no_wait))
