"""``rmabridge check``: what is wrong with the configuration, and do the accounts answer?"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from . import PROBLEM
from .app import App, command
from .output import dumped, table

if TYPE_CHECKING:
    from ..abilities import Plugin, Shop
    from ..model import Action

ADDRESSES: Final = ("url", "host", "shop", "subdomain")


@click.command()
@click.option("--offline", is_flag=True, help="Contact nobody.")
@command
def check(app: App, offline: bool) -> None:
    """Check the configuration and try every account; exit 1 when something is wrong."""
    problems, warnings = list(found_wrong(app)), list(found_odd(app))
    contacts = [_contact(app, name) for name in app.registry.accounts]
    if not offline:
        problems += _try(app, contacts)
    if app.as_json:
        click.echo(dumped({"ok": not problems, "problems": problems, "warnings": warnings, "contacts": contacts}))
    else:
        _print(app, problems, warnings, contacts)
    if problems:
        click.get_current_context().exit(PROBLEM)


def _print(app: App, problems: list[str], warnings: list[str], contacts: list[dict[str, Any]]) -> None:
    for one in warnings:
        click.echo(f"warning: {one}")
    table(app, contacts, ("account", "plugin", "contacts", "ok", "answer"), empty="no accounts are configured")
    for one in problems:
        click.echo(one, err=True)
    if not problems:
        click.echo("the configuration is good")


def _contact(app: App, name: str) -> dict[str, Any]:
    plugin = app.registry.accounts[name]
    return {"account": name, "plugin": plugin.plugin or name, "contacts": host(plugin)}


def host(plugin: Plugin) -> str:
    """Whom the account would contact, as far as its settings say."""
    for name in ADDRESSES:
        given = getattr(plugin, name, None)
        if isinstance(given, str) and given:
            return urlsplit(given).hostname or given
    return ""


def _try(app: App, contacts: list[dict[str, Any]]) -> Iterator[str]:
    from .accounts import probes

    for row, found in zip(contacts, asyncio.run(probes(app, tuple(app.registry.accounts))), strict=True):
        row.update(ok=found["ok"], answer=found["answer"])
        if found["ok"] is False:
            hint = f"; {found['hint']}" if found["hint"] else ""
            yield f"[{app.registry.kinds[row['account']]}.{row['account']}] self-test: {found['answer']}{hint}"


def found_wrong(app: App) -> Iterator[str]:
    """Everything that keeps the bridge from doing what it is configured to do."""
    from ..core.templates import Catalogue

    for one in app.registry.policies:
        for problem in getattr(one.policy, "problems", list)():
            yield f"[{'routes' if one.policy.plugin == 'routing' else f'policies.{one.name}'}] {problem}"
    yield from _channels(app)
    yield from (str(one) for one in Catalogue(app.config.bridge.templates_dir).lint())
    for shop in app.registry.shops.values():
        yield from _forwards(app, shop)
        yield from _classifier(app, shop)
    yield from _key_file(app)


def _channels(app: App) -> Iterator[str]:
    for number, rule in enumerate(app.config.routes, 1):
        then = rule.get("then")
        for name in then.get("channels", ()) if isinstance(then, dict) else ():
            if name not in app.registry.accounts:
                yield f"[routes] rule {number} then.channels: {name!r}: no account of that name"


def _forwards(app: App, shop: Shop) -> Iterator[str]:
    from ..model import Forward

    for name in shop.forwards:
        if app.registry.handler(name, Forward(account=name, origin="check", event="check", body="{}")) is None:
            yield f"[shops.{shop.name}] forwards: {name!r} cannot take events"


def _classifier(app: App, shop: Shop) -> Iterator[str]:
    from ..model import ClassifyText

    name = shop.classifier
    if name and app.registry.handler(name, ClassifyText(event="e", asked_at=datetime.now(UTC), text="check")) is None:
        yield f"[shops.{shop.name}] classifier: {name!r} classifies no texts"


def _key_file(app: App) -> Iterator[str]:
    path = app.config.bridge.path.with_suffix(".key")
    if not app.config.bridge.keys and path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield f"[bridge] keys: {path} can be read by others; run: chmod 600 {path}"


def found_odd(app: App) -> Iterator[str]:
    """What may be meant, but should be known."""
    if not app.registry.shops:
        yield "[shops]: no shop is configured, so no event opens a case"
    if not app.config.bridge.public_url:
        yield "[bridge] public_url: not set; platforms need it to reach the bridge's webhooks"
    for shop in app.registry.shops.values():
        yield from _unable(app, shop)
        yield from _too_long(app, shop)


def _unable(app: App, shop: Shop) -> Iterator[str]:
    from ..core.resolve import SLOTS, account_for

    if not shop.ways:
        yield f"[shops.{shop.name}] channels: nothing reaches buyers"
    without: dict[str, list[str]] = {}
    for action in _samples():
        name = account_for(action, shop)
        if name is None:
            without.setdefault(f"{SLOTS[type(action)]}: not set", []).append(action.kind)
        elif app.registry.handler(name, action) is None:
            without.setdefault(f"{SLOTS[type(action)]}: {name!r} does not do it", []).append(action.kind)
    for why, kinds in without.items():
        yield f"[shops.{shop.name}] {why}; nobody carries out {', '.join(kinds)}"


def _samples() -> list[Action]:
    from ..model import (
        ApproveReturn,
        CommentTicket,
        DeclineReturn,
        FetchOrder,
        Money,
        OpenTicket,
        PayRefund,
        QueryParcel,
        TrackParcel,
        UpdateTicket,
    )

    return [
        OpenTicket(external="C", subject="check", text="check"),
        CommentTicket(origin="check", text="check"),
        UpdateTicket(origin="check"),
        TrackParcel(waybill="1"),
        QueryParcel(waybill="1"),
        FetchOrder(order="1"),
        ApproveReturn(request="1"),
        DeclineReturn(request="1"),
        PayRefund(order="1", amount=Money.of("1 CNY")),
    ]


def _too_long(app: App, shop: Shop) -> Iterator[str]:
    from ..core.templates import Catalogue

    catalogue = Catalogue(app.config.bridge.templates_dir)
    for way in shop.ways:
        for id_ in catalogue.ids() if way.limit else ():
            if way.form in catalogue.text(id_).forms and (over := _over(catalogue.longest(id_, way.form), way.limit)):
                yield f"[shops.{shop.name}] {id_} by {way.account}/{way.form}: {over}"


def _over(size: Any, limit: Any) -> str | None:
    for unit in ("bytes", "characters"):
        most, longest = getattr(limit, unit), getattr(size, unit)
        if most is not None and longest > most:
            return f"can have {longest} {unit}, the channel takes {most}"
    return None
