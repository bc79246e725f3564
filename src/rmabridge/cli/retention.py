"""``rmabridge retention``: what is forgotten by age (the settings seen_for, raw_for, …), and what would go now."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from .app import App, command
from .output import said, stamp, table

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ..config import Bridge
    from ..store.uploads import Uploads

WHAT: Final = {
    "seen_for": "keys of events that counted; forgotten, such an event would count again",
    "raw_for": "raw bodies of what was routed or refused",
    "unmatched_for": "events without a case; they are parked, not deleted",
    "uploads_for": "files that never arrived whole",
}
COLUMNS: Final = ("setting", "keeps", "older_than", "now", "what")


@click.group()
def retention() -> None:
    """What is forgotten by age, and what would go now."""


@retention.command()
@command
def show(app: App) -> None:
    """The settings, and how many there are now that are older. (Cases stay until their buyer is erased.)"""
    table(app, listed(app), COLUMNS)


@retention.command()
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@command
def run(app: App, dry_run: bool) -> None:
    """Forget now what is old; a running bridge does it by itself each hour."""
    if dry_run:
        table(app, listed(app), COLUMNS)
        return
    from ..flow.timers import forget

    settings, now = app.config.bridge, app.store.clock.now()
    gone = app.store.write(lambda conn: forget(conn, settings, now))
    if not app.store.serving():  # files on their way belong to the process that writes them
        gone["uploads_for"] = app.read(lambda conn: _uploads(app).clean(conn, _before(settings, "uploads_for", now)))
    said(app, ", ".join(f"{name}: {number}" for name, number in gone.items()), **gone)


def listed(app: App) -> list[dict[str, Any]]:
    """A row for each setting."""
    settings, now = app.config.bridge, app.store.clock.now()
    numbers = app.read(lambda conn: _old(conn, settings, now))
    numbers["uploads_for"] = app.read(lambda conn: _late(app, conn, _before(settings, "uploads_for", now)))
    return [
        {
            "setting": name,
            "keeps": str(getattr(settings, name)),
            "older_than": stamp(now - getattr(settings, name)),
            "now": numbers[name],
            "what": what,
        }
        for name, what in WHAT.items()
    ]


def _before(settings: Bridge, name: str, now: datetime) -> int:
    from ..store.tables import micros

    return micros(now - getattr(settings, name))


def _uploads(app: App) -> Uploads:
    from ..store.uploads import Uploads as Kept

    return Kept(app.store.blobs)


def _late(app: App, conn: Connection, before: int) -> int:
    """How many uploads were begun before then, or can no longer be read."""
    uploads = _uploads(app)
    found = [uploads.find(conn, one.stem) for one in uploads.folder.glob("*.facts")]
    return sum(one is None or one.at < before for one in found)


def _old(conn: Connection, settings: Bridge, now: datetime) -> dict[str, int]:
    """How many rows ``forget`` would take."""
    from sqlalchemy import and_, func, select

    from ..store.inbox import settled_before
    from ..store.tables import inbox, seen

    settled = inbox.c.settled_at
    old = {
        "seen_for": (seen, seen.c.at < _before(settings, "seen_for", now)),
        "raw_for": (inbox, and_(*settled_before(_before(settings, "raw_for", now)))),
        "unmatched_for": (inbox, (inbox.c.state == "unmatched") & (settled < _before(settings, "unmatched_for", now))),
    }
    return {
        name: conn.execute(select(func.count()).select_from(one).where(which)).scalar_one()
        for name, (one, which) in old.items()
    }
