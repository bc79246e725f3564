"""``rmabridge alerts``: what an operator should look at."""

from __future__ import annotations

import click

from .app import App, command
from .output import table, when


@click.command()
@command
def alerts(app: App) -> None:
    """What an operator should look at, the latest first."""
    from ..store import ops

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
    table(app, found, ("last", "times", "account", "case", "text"), empty="no alerts")
