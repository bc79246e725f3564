"""``rmabridge buyers``: what is kept of a buyer: find it, export it, erase it, or hold it for a court."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from .app import App, command
from .asking import Answer, Order, asks, carry_out, tell
from .output import dumped, said, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..model import Case
    from ..store.buyers import Person

CHUNK: Final = 500
DIGITS: Final = 7  # fewer are no telephone number


@click.group()
def buyers() -> None:
    """What is kept of a buyer: find it, export it, erase it, hold it.

    TERM is an order's or a case's number, the buyer's mail address, telephone number or id.
    """


@buyers.command()
@click.argument("term")
@command
def find(app: App, term: str) -> None:
    """Whose this is: each buyer's cases, and whether they are held."""
    found = [
        {"buyer": number, "cases": sorted(one.cases), "held": one.held} for number, one in enumerate(_people(app, term))
    ]
    table(app, found, ("buyer", "cases", "held"), empty=f"{term}: nobody, or erased before")


@buyers.command()
@click.argument("term")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="A folder, for the files too.")
@asks
@command
def export(app: App, term: str, out: Path | None, by: str | None, no_wait: bool) -> None:
    """Everything that is kept of a buyer, as JSON."""
    from .exporting import kept

    whose = _one(app, term)
    [answer] = _ordered(app, "export", whose, by, no_wait=no_wait)
    if not answer.well:
        tell(app, [answer])
        return
    doc = {"held": whose.held, "cases": [kept(app, one, out) for one in sorted(whose.cases)]}
    if out is None:
        click.echo(dumped(doc))
        return
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    (out / "buyer.json").write_text(dumped(doc), encoding="utf-8")
    said(app, f"{len(whose.cases)} cases are in {out / 'buyer.json'}", cases=sorted(whose.cases), file=str(out))


@buyers.command()
@click.argument("term")
@click.option("--force", is_flag=True, help="Close and erase open cases too.")
@asks
@command
def erase(app: App, term: str, force: bool, by: str | None, no_wait: bool) -> None:
    """Erase a buyer for good: nobody can read it again. What accounting needs stays."""
    from ..store.buyers import clean_up

    whose = _one(app, term)
    answers = _ordered(app, "erase", whose, by, no_wait=no_wait, force=force)
    if answers[0].state == "done":
        bridge = app.config.bridge
        clean_up(app.store.blobs, whose.keys, None if bridge.shared else bridge.path)
    tell(app, answers)


@buyers.command()
@click.argument("term")
@click.option("--reason", required=True, help="For the audit log, e.g. the court's file number; name nobody.")
@asks
@command
def hold(app: App, term: str, reason: str, by: str | None, no_wait: bool) -> None:
    """Keep a buyer's data whatever anybody asks, until it is released."""
    tell(app, _ordered(app, "hold", _one(app, term), by, no_wait=no_wait, reason=reason))


@buyers.command()
@click.argument("term")
@click.option("--reason", required=True, help="For the audit log; name nobody.")
@asks
@command
def release(app: App, term: str, reason: str, by: str | None, no_wait: bool) -> None:
    """End a legal hold."""
    tell(app, _ordered(app, "release", _one(app, term), by, no_wait=no_wait, reason=reason))


def _ordered(app: App, name: str, whose: Person, by: str | None, *, no_wait: bool, **args: Any) -> list[Answer]:
    return carry_out(app, [Order(name, {"cases": sorted(whose.cases), **args})], by, wait=not no_wait)


def _one(app: App, term: str) -> Person:
    """The buyer that is meant; a term that two have is refused."""
    from ..errors import CommandError

    found = _people(app, term)
    if not found:
        raise CommandError(f"{term}: nobody, or erased before")
    if len(found) > 1:
        told = "; ".join(min(one.cases) for one in found)
        raise CommandError(f"{term}: {len(found)} buyers have it; name one of them by a case: {told}")
    return found[0]


def _people(app: App, term: str) -> list[Person]:
    """The buyers that a term may mean, each once; by keyed hashes, and a telephone number by looking at every case."""
    from ..store import buyers as store

    bridge = app.config
    shops, accounts = [*bridge.shops], [*bridge.accounts]
    ids = app.read(lambda conn: store.find(conn, app.store.vault, shops, accounts, term.strip()))
    if len(wanted := _digits(term)) >= DIGITS and not any(one.isalpha() for one in term):
        ids |= {one.id for one in _readable(app) if any(_same(wanted, each) for each in _phones(one))}
    found: list[Person] = []
    for one in sorted(ids):
        if not any(one in each.cases for each in found):
            found.append(app.read(lambda conn, one=one: store.person(conn, [one])))  # type: ignore[misc]
    return [one for one in found if one.keys]


def _digits(text: str) -> str:
    return "".join(one for one in text if one.isdecimal()).lstrip("0")


def _same(wanted: str, phone: str) -> bool:
    """With or without the country's code."""
    kept = _digits(phone)
    short, long = sorted((wanted, kept), key=len)
    return len(short) >= DIGITS and long.endswith(short)


def _phones(case: Case) -> Iterator[str]:
    places = (case.buyer, case.buyer and case.buyer.address, case.order and case.order.ship_to)
    yield from (one.phone for one in places if one and one.phone)


def _readable(app: App) -> Iterator[Case]:
    """Every case that can still be read, in portions."""
    from sqlalchemy import select

    from ..model import Case
    from ..store.tables import cases

    last = ""
    columns = (cases.c.id, cases.c.key_id, cases.c.doc)
    while True:
        query = select(*columns).where(cases.c.id > last).order_by(cases.c.id).limit(CHUNK)
        rows = app.read(lambda conn, query=query: conn.execute(query).all())  # type: ignore[misc]
        app.store.keys_for({one.key_id for one in rows})
        for one in rows:
            if app.store.vault.knows(one.key_id):
                yield Case.model_validate_json(app.store.vault.open(one.key_id, one.doc))
        if len(rows) < CHUNK:
            return
        last = rows[-1].id
