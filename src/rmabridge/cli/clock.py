"""``rmabridge clock``: move the virtual clock of tests and the demo."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click

from .app import App, command
from .output import said, stamp

if TYPE_CHECKING:
    from ..store.store import Peek

SPAN: Final = re.compile(r"^(\d{1,9}(?:\.\d{1,6})?)\s*(s|m|h|d)$")
UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@click.group()
def clock() -> None:
    """Move the virtual clock (tests and demo)."""


@clock.command()
@command
def show(app: App) -> None:
    """What time it is for the bridge."""
    store = _virtual(app)
    said(app, stamp(store.clock.now()), offset=store.clock.offset.total_seconds())


@clock.command()
@click.argument("duration")
@command
def advance(app: App, duration: str) -> None:
    """Put the clock forward by 90s, 15m, 2h or 3d."""
    from ..store import ops
    from ..store.store import CLOCK

    found = SPAN.match(duration.strip())
    if found is None:
        raise click.UsageError(f"{duration!r} is not a duration such as 90s, 15m, 2h or 3d")
    store = _virtual(app)
    try:
        total = store.clock.offset + timedelta(**{UNITS[found[2]]: float(found[1])})
        now = store.clock.now() - store.clock.offset + total
    except OverflowError as error:
        raise click.UsageError(f"{duration!r} is too far") from error
    row = app.read(lambda conn: ops.cursor(conn, *CLOCK))
    values = {"cursor": str(total.total_seconds())}
    store.write(lambda conn: ops.move_cursor(conn, *CLOCK, row.version if row else 0, values))
    said(app, stamp(now), offset=total.total_seconds())


def _virtual(app: App) -> Peek:
    from ..errors import CommandError

    if not app.config.bridge.virtual_clock:
        raise CommandError("[bridge] virtual_clock: is not true, so the bridge follows the system's clock")
    return app.store
