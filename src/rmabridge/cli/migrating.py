"""``rmabridge migrate`` and ``migrate-store``: this release's schema, and the whole SQLite file, in PostgreSQL."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..errors import CommandError
from .app import App, command
from .backup import _end, _progress
from .output import dumped, said

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ..config import Bridge


@click.command()
@command
def migrate(app: App) -> None:
    """Bring the PostgreSQL schema to this release's, as the user that owns it; 'serve' does so where it may."""
    from .copying import aside

    settings = app.config.bridge
    if not settings.shared:
        raise CommandError(f"{settings.path}: a SQLite file is brought up by 'rmabridge serve' itself")
    with aside(settings) as server:
        changed = server.run(_brought_up, patient=True)
    told = "brought to this release's schema" if changed else "has this release's schema already"
    said(app, f"{settings.shown}: {told}", changed=changed)


def _brought_up(conn: Connection) -> bool:
    from ..store.replicas import OPENING as LOCK
    from ..store.store import current, upgrade
    from .copying import OPENING, UNHURRIED

    conn.exec_driver_sql(UNHURRIED)
    conn.exec_driver_sql(OPENING, (LOCK,))
    if current(conn):
        return False
    upgrade(connection=conn)
    return True


@click.command("migrate-store")
@click.option("--to", required=True, metavar="postgresql://…", help="An empty database that this user may fill.")
@command
def migrate_store(app: App, to: str) -> None:
    """Copy the SQLite file into PostgreSQL, in one transaction, and compare every row; the file stays as it is."""
    from .copying import held_still

    source, target = app.config.bridge, _target(app.config.bridge, to)
    _keep_key(source, target)
    copied, broken = held_still(source.path, partial(_into, app, target))
    settings = _settings(source, target, to)
    facts = {"from": source.shown, "to": target.shown, "rows": copied, "broken_chains": broken, "settings": settings}
    if app.as_json:
        click.echo(dumped(facts))
    else:
        cases = copied.get("cases", 0)
        click.echo(f"{target.shown}: {sum(copied.values())} rows ({cases} cases) copied and compared, row by row")
        click.echo("now write in rmabridge.toml, under [bridge]:")
        click.echo("\n".join(f"  {name} = {value}" for name, value in settings.items()))
    _end([], broken)


def _target(source: Bridge, to: str) -> Bridge:
    from ..config import POSTGRES

    if source.shared:
        raise CommandError(f"{source.shown}: is PostgreSQL already; 'rmabridge backup' and 'restore' move it elsewhere")
    if not to.startswith(POSTGRES):
        raise click.BadParameter("write postgresql://USER:PASSWORD@HOST/DATABASE", param_hint="--to")
    return source.model_copy(update={"database": to})


def _into(app: App, target: Bridge, source: Connection) -> tuple[dict[str, int], list[str]]:
    from .copying import filled

    return filled(target, partial(_copied, app, source))


def _copied(app: App, source: Connection, conn: Connection) -> tuple[dict[str, int], list[str]]:
    from .rows import TABLES, broken_chains, checked, lines, numbered_on, prepared, put

    prepared(conn)
    rows = {}
    for table in TABLES:
        names = [one.name for one in table.c]
        tally = put(conn, table, names, lines(source, table, names), _progress(app))
        checked(conn, table, names, tally)
        rows[table.name] = tally.rows
        if not app.as_json:
            click.echo(f"{table.name}: {tally.rows}", err=True)
    numbered_on(conn)
    return {name: number for name, number in rows.items() if number}, broken_chains(conn)


def _settings(source: Bridge, target: Bridge, to: str) -> dict[str, Any]:
    """What has to stand in the configuration from now on."""
    found = {"database": f'"{_masked(to)}"'}
    if not source.blobs and source.folder != target.folder:
        found["blobs"] = f'"{source.folder}"'
    return found


def _keep_key(source: Bridge, target: Bridge) -> None:
    """Have the key file where the bridge will look for it; raises where another one is there."""
    old, new = (one.path.with_suffix(".key") for one in (source, target))
    if source.keys or old == new:
        return
    if new.exists() and new.read_bytes().split() != old.read_bytes().split():
        raise CommandError(f"{new}: another key is there; the one of {source.path} belongs there")
    if not new.exists():
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(old.read_bytes())


def _masked(to: str) -> str:
    from sqlalchemy import make_url

    return make_url(to).render_as_string(hide_password=True)
