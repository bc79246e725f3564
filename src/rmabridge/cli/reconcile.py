"""``rmabridge reconcile``: compare an account with its platform now."""

from __future__ import annotations

import click

from .app import App, command
from .asking import RECORDED
from .output import said


@click.command()
@click.argument("account")
@command
def reconcile(app: App, account: str) -> None:
    """Compare an account with its platform now, so that events whose webhook never came are found."""
    from sqlalchemy import Connection, update

    from ..abilities import Plugin, Reconciles
    from ..errors import CommandError
    from ..store.bulk import ignoring
    from ..store.tables import cursors

    plugin: Plugin = app.account(account)
    if not isinstance(plugin, Reconciles) or plugin.reconcile_every is None:
        raise CommandError(f"{account}: {plugin.plugin} lists nothing that could be compared")

    def due(conn: Connection) -> None:
        conn.execute(ignoring(conn, cursors), {"account": account, "kind": "reconcile", "version": 0, "due_at": 0})
        conn.execute(
            update(cursors).where(cursors.c.account == account, cursors.c.kind == "reconcile").values(due_at=0)
        )

    app.store.write(due)
    note = "the comparison begins now" if app.store.serving() else RECORDED
    said(app, note, account=account)
