"""``rmabridge accounts``: test, connect, pause and resume accounts."""

from __future__ import annotations

import asyncio
import json
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from . import PROBLEM
from .app import App, command
from .asking import Order, ask, asks
from .output import dumped, plain, table, when
from .values import pairs

if TYPE_CHECKING:
    from ..abilities import Connects

SIGN_IN_LIVES: Final = timedelta(minutes=15)


@click.group()
def accounts() -> None:
    """Test, connect, pause and resume accounts."""


@accounts.command("list")
@command
def list_(app: App) -> None:
    """Every account, and whether it is paused."""
    columns = ("account", "kind", "plugin", "does", "dry_run", "paused", "token")
    table(app, [_row(app, name) for name in app.registry.accounts], columns, empty="no accounts")


def _row(app: App, name: str) -> dict[str, Any]:
    from ..store import ops

    plugin = app.registry.accounts[name]
    paused = app.read(ops.paused) if app.has_store else {}
    token = app.read(lambda conn: ops.token_end(conn, name)) if app.has_store else None
    until = (f"until {when(token.expires)}" if token.expires else "stored") if token else ""
    facts = {"account": name, "kind": app.registry.kinds[name], "plugin": plugin.plugin or name}
    does = sorted(one.kind for one in plugin.performs())
    return {**facts, "does": does, "dry_run": plugin.dry_run, "paused": paused.get(name), "token": until}


@accounts.command()
@click.argument("names", nargs=-1, metavar="[ACCOUNT]...")
@command
def test(app: App, names: tuple[str, ...]) -> None:
    """Make each account's cheapest call: are address and credentials right?"""
    for one in names:
        app.account(one)
    found = asyncio.run(probes(app, names or tuple(app.registry.accounts)))
    table(app, found, ("account", "ok", "answer", "hint"), empty="no accounts")
    if any(one["ok"] is False for one in found):
        click.get_current_context().exit(PROBLEM)


async def probes(app: App, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The self-tests of accounts, side by side."""
    from .lending import probe, sessions

    async with sessions() as shared:
        return list(await asyncio.gather(*(probe(app, one, shared) for one in names)))


@accounts.command()
@click.argument("account")
@click.option("--reason", default="", help="Why, for whoever finds it paused.")
@asks
@command
def pause(app: App, account: str, reason: str, by: str | None, no_wait: bool) -> None:
    """Send nothing through this account; events are still taken and nothing is lost."""
    app.account(account)
    ask(app, Order("pause", {"account": account, "reason": reason}), by, no_wait=no_wait)


@accounts.command()
@click.argument("account")
@click.option("--reason", default="", help="Why, for the record.")
@asks
@command
def resume(app: App, account: str, reason: str, by: str | None, no_wait: bool) -> None:
    """Go on with a paused account; what waited leaves now."""
    app.account(account)
    ask(app, Order("resume", {"account": account, "reason": reason}), by, no_wait=no_wait)


@accounts.command()
@click.argument("account")
@click.option("--token", "tokens", multiple=True, metavar="KEY=VALUE", help="A token got elsewhere; may be repeated.")
@click.option("--url", help="How the outside reaches the bridge; [bridge] public_url if left out.")
@command
def connect(app: App, account: str, tokens: tuple[str, ...], url: str | None) -> None:
    """Get the account's credentials and register its webhooks."""
    from ..abilities import Connects
    from ..errors import CommandError
    from .lending import base_url, put_token

    plugin = app.account(account)
    if not isinstance(plugin, Connects):
        raise CommandError(f"{account}: {plugin.plugin} needs no connecting; its settings are enough")
    base = base_url(app, url)
    if tokens:
        put_token(app, account, {name: str(value) for name, value in pairs(tokens).items()})
    elif consent := _consent(app, plugin, account, base):
        _tell(app, account, [f"open this address within 15 minutes and agree: {consent}"], consent)
        return
    left = asyncio.run(_subscribe(app, plugin, account, f"{base}/hooks/{account}"))
    _remember(app, account)
    _tell(app, account, list(left), None)


def _remember(app: App, account: str) -> None:
    """The running bridge registers them again when the vendor has dropped them."""
    from ..store import ops

    known = app.read(lambda conn: ops.cursor(conn, account, ops.CONNECTED))
    if known is None:
        app.store.write(lambda conn: ops.move_cursor(conn, account, ops.CONNECTED, 0, {}))


def _consent(app: App, plugin: Connects, account: str, base: str) -> str | None:
    state = secrets.token_urlsafe(24)
    found = plugin.authorise_url(f"{base}/oauth/{account}", state)
    if found is not None:
        _expect(app, account, state)
    return found


def _expect(app: App, account: str, state: str) -> None:
    """Let the running bridge accept the way back from the consent page, once."""
    from ..store import ops

    until = app.store.clock.micros() + SIGN_IN_LIVES // timedelta(microseconds=1)
    known = app.read(lambda conn: ops.cursor(conn, account, "oauth"))
    values = {"cursor": json.dumps({"state": ops.state_mark(state), "until": until})}
    app.store.write(lambda conn: ops.move_cursor(conn, account, "oauth", known.version if known else 0, values))


async def _subscribe(app: App, plugin: Connects, account: str, url: str) -> tuple[str, ...]:
    from ..core.masking import mask
    from ..errors import CommandError
    from ..flow.attempt import failed
    from ..flow.client import Flight
    from .lending import lent, sessions

    try:
        async with sessions() as shared, lent(app, account, shared) as ctx:
            return await plugin.subscribe(url, ctx)
    except Exception as error:
        outcome = failed(error, Flight(owner=app.account(account)), repeatable=True)
        told = mask("; ".join(filter(None, (outcome.cause, outcome.hint))))
        raise CommandError(f"{account}: the webhooks could not be registered: {told}") from error


def _tell(app: App, account: str, left: list[str], consent: str | None) -> None:
    if app.as_json:
        click.echo(dumped({"account": account, "authorise_url": consent, "left": left}))
        return
    if consent is None:
        click.echo(f"{account} is connected" + (", and by hand is left:" if left else ""))
    for one in left:
        click.echo(plain(f"- {one}" if consent is None else one))
