"""``rmabridge keys``: the master keys that wrap all data keys, and how one takes over from another.

Put the new key first in ``[bridge] keys`` (or in the key file) and keep the old one behind it; restart the bridge; run
``rmabridge keys rotate``; then take the old key out.
"""

from __future__ import annotations

from time import sleep
from typing import Final

import click

from . import PROBLEM
from .app import App, command
from .asking import Order, carry_out, tell
from .output import dumped, table

FOLLOWED: Final = 3.0


@click.group()
def keys() -> None:
    """The master keys, and how one takes over from another."""


@keys.command("list")
@command
def list_(app: App) -> None:
    """The master keys, newest first, and how many data keys each of them wraps; exit 1 where one is missing."""
    from ..store.vault import wrapped_by

    ring, counts = app.store.vault.ring, app.read(wrapped_by)
    found = [{"key": one, "wraps": counts.get(one, 0), "place": _place(ring, one, counts)} for one in ring]
    missing = [one for one in counts if one not in ring]
    found += [{"key": one, "wraps": counts[one], "place": "missing: what it wraps cannot be read"} for one in missing]
    table(app, found, ("key", "wraps", "place"))
    if missing:
        click.get_current_context().exit(PROBLEM)


def _place(ring: tuple[str, ...], key: str, counts: dict[str, int]) -> str:
    if key == ring[0]:
        return "newest"
    return "old; 'rmabridge keys rotate' replaces it" if counts.get(key) else "old; may be removed"


@keys.command()
@click.option("--batch", type=click.IntRange(1, 10_000), default=200, show_default=True, help="Keys in one commit.")
@click.option("--as", "by", metavar="NAME", help="Whose command it is; the system's user if left out.")
@command
def rotate(app: App, batch: int, by: str | None) -> None:
    """Wrap all data keys with the newest master key, beside the running bridge; may be stopped and started again."""
    from ..errors import CommandError

    newest, serving = app.store.vault.ring[0], app.store.serving()
    [answer] = carry_out(app, [Order("rotate", {"to": newest})], by)
    if not answer.well:
        tell(app, [answer])
        return
    if serving and answer.state != "done":
        raise CommandError("the running bridge did not answer, and nothing was changed; try again")
    done = _rewrap(app, batch)
    while serving and app.store.shared:  # until all processes follow, and what they had in hand is written
        sleep(FOLLOWED)
        if not (late := _rewrap(app, batch)):
            break
        done += late
    if app.as_json:
        click.echo(dumped({"key": newest, "rewrapped": done, "left": 0}))
    else:
        click.echo(f"{done} data keys are wrapped with {newest} now; the other master keys may be removed")


def _rewrap(app: App, batch: int) -> int:
    """Batch by batch, each in a short transaction of its own; how many keys there were."""
    from ..store.vault import rewrap, wrapped_by

    newest, done = app.store.vault.ring[0], 0
    while number := app.store.write(lambda conn: rewrap(conn, app.store.vault, batch)):
        done += number
        left = sum(count for one, count in app.read(wrapped_by).items() if one != newest)
        click.echo(f"{done} done, {left} left", err=True)
    return done
