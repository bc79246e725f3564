"""``rmabridge alerts``: what an operator should look at."""

from __future__ import annotations

import click

from .app import App, command
from .asking import Order, ask, asks
from .output import table, when


@click.command()
@click.option("--resolve", metavar="KEY", help="The cause is gone: take this alert off the list.")
@asks
@command
def alerts(app: App, resolve: str | None, by: str | None, no_wait: bool) -> None:
    """What an operator should look at, the latest first."""
    from ..store import ops

    if resolve:
        ask(app, Order("settle", {"alert": resolve}), by, no_wait=no_wait)
        return
    found = [
        {
            "key": one.key,
            "text": one.text,
            "account": one.account,
            "case": one.case_id,
            "times": one.times,
            "first": when(one.first_at),
            "last": when(one.last_at),
        }
        for one in app.read(ops.open_alerts)
    ]
    table(app, found, ("last", "times", "key", "account", "case", "text"), empty="no alerts")
