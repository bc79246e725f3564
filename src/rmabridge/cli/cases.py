"""``rmabridge cases``: list, read, change, export and verify cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import PROBLEM
from .app import App, command
from .asking import Order, ask, asks
from .output import document, dumped, said, stamp, table, when
from .values import pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..model import Case, Parcel

COLUMNS = ("id", "shop", "status", "kind", "issue", "level", "opened", "updated", "flag")
QUEUED = ("id", "shop", "priority", "urgency", "importance", "queue", "state", "issue", "level", "due", "opened")
MOST_OPEN = 10_000


@click.group()
def cases() -> None:
    """List, read and change cases."""


@cases.command("list")
@click.option("--shop", help="Only of this shop.")
@click.option("--status", help="Only in this status.")
@click.option("--open/--all", "only_open", default=True, show_default=True, help="Open cases, or closed ones too.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@command
def list_(app: App, shop: str | None, status: str | None, only_open: bool, limit: int) -> None:
    """Cases, the latest changed first."""
    from ..store import cases as store

    open_ = True if only_open and status != "closed" else None
    found = app.read(lambda conn: store.listed(conn, shop=shop, status=status, open_=open_, most=limit, before=None))
    table(app, [_row(one) for one in found], COLUMNS, empty="no cases")


def _row(one: Any) -> dict[str, Any]:
    facts = {name: getattr(one, name) for name in ("id", "shop", "status", "kind", "issue", "level", "flag")}
    return {**facts, "opened": when(one.opened_at), "updated": when(one.updated_at), "open": bool(one.open)}


def load(app: App, text: str) -> Case:
    """A case, decrypted."""
    from ..errors import CommandError
    from ..model import Case
    from ..store import cases as store

    case_id = app.case(text)
    row = app.read(lambda conn: store.rows(conn, [case_id]))[0]
    doc = app.open(row.key_id, row.doc)
    if doc is None:
        raise CommandError(f"{case_id}: the buyer's data was erased; 'cases timeline' and 'cases verify' still work")
    return Case.model_validate_json(doc)


@cases.command()
@click.option("--shop", help="Only of this shop.")
@click.option("--queue", help="Only of this queue.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@command
def queue(app: App, shop: str | None, queue: str | None, limit: int) -> None:
    """Open cases in the order in which they should be handled: by priority, then by the nearest deadline."""
    from ..core.ranking import place

    found = [one for one in _open(app, shop) if queue is None or _rank(one).get("queue") == queue]
    rows = [_queued(one) for one in sorted(found, key=place)[:limit]]
    table(app, rows, QUEUED, empty="nothing waits")


def _open(app: App, shop: str | None) -> Iterator[Case]:
    """The open cases that can be read."""
    from ..model import Case
    from ..store import cases as store

    rows = app.read(lambda conn: store.listed(conn, shop=shop, status=None, open_=True, most=MOST_OPEN, before=None))
    for row in rows:
        if (doc := app.open(row.key_id, row.doc)) is not None:
            yield Case.model_validate_json(doc)


def _rank(case: Case) -> dict[str, Any]:
    return case.play.rank.model_dump() if case.play and case.play.rank else {}


def _queued(case: Case) -> dict[str, Any]:
    from ..core.clocks import nearest

    due = nearest(case)
    facts = {"id": case.id, "shop": case.shop, "issue": case.issue, "level": case.level, **_rank(case)}
    facts["state"] = case.play.state if case.play else None
    return {**facts, "due": stamp(due.due_at) if due else None, "opened": stamp(case.opened_at)}


@cases.command()
@click.argument("case")
@command
def show(app: App, case: str) -> None:
    """The case as it stands."""
    loaded = load(app, case)
    found = loaded.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"stamps"})
    for shown, parcel in zip(found.get("parcels", ()), loaded.parcels, strict=False):
        shown.update(_age(app, parcel))
    document(app, found)


def _age(app: App, parcel: Parcel) -> dict[str, Any]:
    """When the carrier was last heard of the parcel, and whether that is too long ago to go by."""
    from ..core.freshness import FRESH, known_at, stale

    policies = {one.name: one.policy for one in app.registry.policies}
    fresh = getattr(policies.get("tracking"), "fresh", FRESH)
    at = known_at(parcel)
    return {"known_at": at.isoformat() if at else None, "stale": stale(parcel, app.store.clock.now(), fresh)}


@cases.command()
@click.argument("case")
@command
def timeline(app: App, case: str) -> None:
    """Everything that happened, in order."""
    table(app, entries(app, app.case(case)), ("seq", "at", "type", "account", "by", "event"))


def entries(app: App, case_id: str) -> list[dict[str, Any]]:
    """The timeline, decrypted; an erased entry says so."""
    from pydantic_core import from_json

    from ..store import cases as store

    found = []
    for one in app.read(lambda conn: store.entries(conn, case_id)):
        doc = app.open(one.key_id, one.doc)
        event = "erased" if doc is None else _told(from_json(doc))
        facts = {name: getattr(one, name) for name in ("seq", "type", "account", "by")}
        found.append({**facts, "at": when(one.at), "recorded_at": when(one.recorded_at), "event": event})
    return found


def _told(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what the row says already."""
    return {name: one for name, one in event.items() if name not in {"type", "at", "schema"} and one not in (None, [])}


@cases.command()
@click.argument("case")
@command
def explain(app: App, case: str) -> None:
    """Why the bridge did what it did: every rule that spoke, in order, with its reason."""
    from .explain import tell

    tell(app, case)


@cases.command()
@click.argument("case")
@click.argument("text")
@asks
@command
def note(app: App, case: str, text: str, by: str | None, no_wait: bool) -> None:
    """Put a note on the timeline."""
    ask(app, Order("note", {"text": text}, app.case(case)), by, no_wait=no_wait)


@cases.command()
@click.argument("case")
@click.argument("waybill")
@click.argument("kind")
@click.argument("status")
@click.option("--carrier", help="Where the parcel has more than one.")
@click.option("--amount", help="What was granted, e.g. '120 CNY'.")
@click.option("--paid", help="What came, e.g. '120 CNY'.")
@click.option("--reason", help="The carrier's words.")
@asks
@command
def claim(app: App, case: str, by: str | None, no_wait: bool, **told: str | None) -> None:
    """Record what a carrier said of a claim: 'cases claim C1 YT1 damage paid --paid "120 CNY"'."""
    ask(app, Order("claim", dict(told), app.case(case)), by, no_wait=no_wait)


@cases.command()
@click.argument("case")
@click.argument("text")
@asks
@command
def reply(app: App, case: str, text: str, by: str | None, no_wait: bool) -> None:
    """Answer the buyer on the best way that reaches them."""
    ask(app, Order("reply", {"text": text}, app.case(case)), by, no_wait=no_wait)


@cases.command()
@click.argument("case")
@click.argument("type_", metavar="TYPE")
@click.argument("fields", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--agreed", is_flag=True, help="The buyer has agreed to this refund.")
@asks
@command
def act(
    app: App, *, case: str, type_: str, fields: tuple[str, ...], agreed: bool, by: str | None, no_wait: bool
) -> None:
    """Propose an action, for example: cases act C… refund.pay amount="500.01 CNY"."""
    from .acting import built

    action = built(load(app, case), type_, pairs(fields))
    args = {"action": action, "agreed": True} if agreed else {"action": action}
    ask(app, Order("act", args, app.case(case)), by, no_wait=no_wait)


@cases.command()
@click.argument("case")
@click.option("--result", default="", help="How it ended.")
@asks
@command
def close(app: App, case: str, result: str, by: str | None, no_wait: bool) -> None:
    """Close a case."""
    ask(app, Order("close", {"result": result}, app.case(case)), by, no_wait=no_wait)


@cases.command()
@click.argument("case")
@click.argument("step")
@click.argument("text", required=False, default="")
@asks
@command
def step(app: App, case: str, step: str, text: str, by: str | None, no_wait: bool) -> None:
    """Record a step of the handling play, for example: cases step C… investigated "cracked in the kiln"."""
    ask(app, Order("step", {"step": step, "note": text}, app.case(case)), by, no_wait=no_wait)


@cases.command()
@click.argument("case")
@asks
@command
def reopen(app: App, case: str, by: str | None, no_wait: bool) -> None:
    """Open a closed case again: its next round."""
    ask(app, Order("reopen", {}, app.case(case)), by, no_wait=no_wait)


@cases.command()
@click.argument("case")
@command
def export(app: App, case: str) -> None:
    """The whole record as JSON: the problem, the process and the result."""
    from .exporting import exported

    click.echo(dumped(exported(app, load(app, case))))


@cases.command()
@click.argument("case")
@click.option(
    "--save", type=click.Path(file_okay=False, path_type=Path), help="Write the stored files into a directory."
)
@command
def evidence(app: App, case: str, save: Path | None) -> None:
    """The evidence of a case, with its hashes; --save writes the files out to be looked at."""
    from . import recording

    found = [recording.piece(one) for one in load(app, case).evidence]
    if save is not None:
        recording.save(app, app.case(case), found, save)
    table(app, found, ("id", "kind", "name", "size", "source", "at", "sha256", *(("file",) if save else ())))


@cases.command()
@click.argument("case")
@click.option(
    "--format", "form", type=click.Choice(("csv", "pdf", "json")), help="csv where left out, json with --json."
)
@click.option("--locale", help="Language of the headings; the shop's where it is left out.")
@click.option("--output", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="A file; none: stdout.")
@command
def record(app: App, case: str, form: str | None, locale: str | None, output: Path | None) -> None:
    """The communication record: time, side, words, cause, action and result of everything that was said and done."""
    from ..core.templates import nearest
    from . import recording

    form = form or ("json" if app.as_json else "csv")
    if app.as_json and output is None and form != "json":
        raise click.UsageError(f"--json prints JSON; for {form} name a file with --output")
    found = load(app, case)
    shop = app.config.shops.get(found.shop)
    data = recording.rendered(recording.record(app, found), form, nearest(locale or (shop.locale if shop else "en")))
    if output is None:
        click.echo(data, nl=False)
    else:
        output.write_bytes(data)
        said(app, f"{output}: {len(data)} bytes", file=str(output))


@cases.command()
@click.argument("case", required=False)
@click.option("--all", "every", is_flag=True, help="Every case.")
@command
def verify(app: App, case: str | None, every: bool) -> None:
    """Check the hash chain of a case's timeline; exit 1 when an entry was changed."""
    from ..store import cases as store

    if every == (case is not None):
        raise click.UsageError("name a case, or give --all")
    ids = _all_ids(app) if case is None else [app.case(case)]
    broken = {one: links for one in ids if (links := app.read(lambda conn, i=one: store.broken_links(conn, i)))}  # type: ignore[misc]
    if app.as_json:
        click.echo(dumped({"checked": len(ids), "broken": broken}))
    for name, links in () if app.as_json else broken.items():
        click.echo(f"{name}: broken at {', '.join(map(str, links))}", err=True)
    if broken:
        click.get_current_context().exit(PROBLEM)
    if not app.as_json:
        click.echo(f"{len(ids)} checked, nothing was changed")


def _all_ids(app: App) -> list[str]:
    from sqlalchemy import select

    from ..store.tables import cases as stored

    return list(app.read(lambda conn: conn.execute(select(stored.c.id).order_by(stored.c.id)).scalars().all()))
