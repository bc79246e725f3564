"""``rmabridge carriers``: who is listed, what others call them, and whose number this is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from .app import App, command
from .output import table

if TYPE_CHECKING:
    from ..wire.carriers import Carrier

SHOWN: Final = ("code", "name", "country", "kdniao", "kuaidi100", "seventeentrack", "shopify")


@click.group()
@click.option(
    "--list",
    "lists",
    metavar="VENDOR=FILE",
    multiple=True,
    help="A vendor's own list beside the shipped one, such as seventeentrack=apicarrier.all.json; own=FILE is yours.",
)
def carriers(lists: tuple[str, ...]) -> None:
    """Which carriers are listed, and whose a waybill is."""
    from ..wire import carrierlists

    if lists:
        carrierlists.use(dict(_list(one) for one in lists))


def _list(text: str) -> tuple[str, Path]:
    vendor, _, file = text.partition("=")
    if not file:
        raise click.UsageError(f"--list {text}: give it as VENDOR=FILE")
    return vendor, Path(file)


@carriers.command("list")
@click.option("--country", help="Only carriers of this country (ISO 3166, two letters).")
@click.option("--of", "vendor", help="Only carriers that this vendor has a code for.")
@command
def list_(app: App, country: str | None, vendor: str | None) -> None:
    """Every carrier with the codes that vendors give it."""
    from ..wire import carriers

    if vendor and vendor not in carriers.VENDORS:
        raise click.UsageError(f"--of {vendor}: there are {', '.join(carriers.VENDORS)}")
    chosen = [one for one in carriers.everyone() if not country or one.country == country.upper()]
    table(app, [_told(one) for one in chosen if not vendor or getattr(one, vendor)], SHOWN)


@carriers.command()
@click.argument("text")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Show at most so many.")
@command
def find(app: App, text: str, limit: int) -> None:
    """Carriers by a code or a part of a name, best first."""
    from ..wire import carriers

    table(app, [_told(one) for one in carriers.find(text, limit)], SHOWN, empty=f"no carrier is listed as {text}")


@carriers.command()
@click.argument("number")
@command
def recognise(app: App, number: str) -> None:
    """Carriers that a waybill number may belong to, best first, and why."""
    from ..wire.carriers import carrier
    from ..wire.waybills import candidates, normalise

    found = [
        {
            "code": one.carrier,
            "name": known.name if (known := carrier(one.carrier)) else one.carrier,
            "confidence": one.confidence,
            "proved": one.proved,
            "why": one.why,
        }
        for one in candidates(number)
    ]
    columns = ("code", "name", "confidence", "proved", "why")
    table(app, found, columns, empty=f"no carrier has numbers like {normalise(number)}")


@carriers.command()
@command
def sources(app: App) -> None:
    """Where the list comes from, as of when, under which licence; and which lists do not travel with the bridge."""
    from ..wire import carrierlists

    found = [{**one, "as_of": one["as_of"].isoformat()} for one in carrierlists.sources()]
    table(app, found, ("vendor", "codes", "source", "as_of", "licence", "shipped"))


def _told(carrier: Carrier) -> dict[str, Any]:
    facts = {name: value for name, value in carrier._asdict().items() if value}
    return {"code": carrier.code, "name": carrier.name, **facts}
