"""``rmabridge backup`` and ``restore``: the whole store in one file, taken while it is served, put back into an empty
one of either kind."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..errors import CommandError
from . import PROBLEM
from .app import App, command
from .output import dumped, stamp

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ..config import Bridge
    from ..store.vault import Vault
    from .archive import Reading, Writing

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=FILE)
@click.option("--with-key", is_flag=True, help="Put the master key in too: whoever has the file can then read it all.")
@command
def backup(app: App, file: Path, with_key: bool) -> None:
    """Write everything the bridge keeps into FILE, while it is served; only the master key is left out."""
    from .archive import Writing
    from .copying import at_one_instant

    settings = app.config.bridge
    with Writing(file) as archive:
        job = partial(_written, app, settings, archive, with_key)
        manifest, lost, broken = at_one_instant(settings, file.resolve().parent, job)
    told = {**_summed(manifest), "file": str(file), "key": with_key, "missing_files": lost, "broken_chains": broken}
    _tell(app, told, f"{file}: {_counts(manifest)}", _about_key(settings, file, with_key=with_key))
    _end(lost, broken)


def _written(
    app: App, settings: Bridge, archive: Writing, with_key: bool, conn: Connection
) -> tuple[dict[str, Any], list[str], list[str]]:
    from ..store.migrations import HEAD
    from .rows import TABLES, broken_chains, files, lines, missing

    ring = key_ring(settings, conn) if with_key else b""
    for table in TABLES:
        names = [one.name for one in table.c]
        tally = archive.table(table.name, names, lines(conn, table, names))
        _progress(app)(table.name, tally.rows)
    for one in files(settings.folder):
        archive.file(f"{one.parent.name}/{one.name}", one)
    facts = {
        "release": version("rmabridge"),
        "revision": HEAD,
        "made_at": stamp(datetime.now(UTC)),
        "from": "postgresql" if settings.shared else "sqlite",
        "key": archive.small("key", ring) if with_key else None,
    }
    lost = missing(conn, archive.has)
    return archive.finish(**facts), lost, broken_chains(conn)


def key_ring(settings: Bridge, conn: Connection) -> bytes:
    """The master keys as a key file has them; raises where they are not those of the store."""
    from ..store.vault import Vault as Opening
    from ..store.vault import key_ring as ring_of

    ring, file = ring_of([one.get_secret_value() for one in settings.keys], settings.path), _key_file(settings)
    if not ring:
        raise CommandError(f"--with-key: no [bridge] keys are set, and there is no key file {file} that can be read")
    _readable(conn, Opening(ring))
    return b"".join(b64encode(one) + b"\n" for one in ring)


def _key_file(settings: Bridge) -> Path:
    return settings.path.with_suffix(".key")


def _about_key(settings: Bridge, file: Path, *, with_key: bool) -> str:
    if with_key:
        return f"the master key IS in {file}: whoever has this file can read every buyer's data; keep it accordingly"
    where = "[bridge] keys" if settings.keys else str(_key_file(settings))
    return f"the master key ({where}) is NOT in it, and without that nobody can read it: keep a copy somewhere else"


@click.command()
@click.argument("file", type=FILE)
@click.option("--check", is_flag=True, help="Only check that FILE is whole.")
@click.option("--moved", is_flag=True, help="The old bridge was stopped before the backup: no account is paused.")
@command
def restore(app: App, file: Path, check: bool, moved: bool) -> None:
    """Put a backup into the store of the configuration, SQLite or PostgreSQL, which must be empty.

    Accounts that pay, give or claim are paused: what they did after the backup is not known in it.
    """
    from .archive import Reading
    from .copying import filled

    settings = app.config.bridge
    with Reading(file) as archive:
        archive.check()
        told = {**_summed(archive.manifest), "file": str(file)}
        if check:
            _tell(app, told, f"{file}: whole; {_counts(archive.manifest)}, made {archive.manifest['made_at']}")
            return
        ring, new = _ring(settings, archive)
        if new:  # before the rows, so that no store is ever without its key
            _keep_key(settings, ring)
        try:
            broken, paused = filled(settings, partial(_loaded, app, settings, archive, ring, moved))
        except BaseException:
            if new:
                _key_file(settings).unlink(missing_ok=True)
            raise
    more = f"paused, until you have looked what was paid after it: {', '.join(paused)}" if paused else ""
    told |= {"broken_chains": broken, "paused": paused}
    _tell(app, told, f"{settings.shown}: {_counts(archive.manifest)} restored", more)
    _end([], broken)


def _ring(settings: Bridge, archive: Reading) -> tuple[list[str], bool]:
    """The master keys to read it with, and whether they are the backup's own, to be written beside the database."""
    given, file = [one.get_secret_value() for one in settings.keys], _key_file(settings)
    if given or file.exists():
        return given or file.read_text(encoding="ascii").split(), False
    if archive.key is None:
        raise CommandError(f"the master key is not in {archive.path}; put the key file of its bridge at {file} first")
    return archive.key.decode().split(), True


def _keep_key(settings: Bridge, ring: list[str]) -> None:
    path = _key_file(settings)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(ring) + "\n")


def _loaded(
    app: App, settings: Bridge, archive: Reading, ring: list[str], moved: bool, conn: Connection
) -> tuple[list[str], list[str]]:
    from ..store.vault import Vault as Opening
    from ..store.vault import master_keys
    from .rows import broken_chains, checked, numbered_on, prepared, put

    tables = tables_of(archive)
    prepared(conn, archive.manifest["revision"])
    for table, names in tables:
        tally = put(conn, table, names, archive.lines(table.name), _progress(app))
        if tally != archive.wanted(table.name):
            raise CommandError(f"{archive.path}: {table.name} is not what its manifest says")
        checked(conn, table, names, tally)
    _readable(conn, Opening(master_keys(ring, settings.path)))
    prepared(conn)
    numbered_on(conn)
    _put_files(settings.folder, archive)
    paused = [] if moved else _pause(app, conn, archive.manifest["made_at"])
    return broken_chains(conn), paused


def _readable(conn: Connection, vault: Vault) -> None:
    """Raise where a master key is missing that any of the stored keys needs."""
    from sqlalchemy import func, select

    from ..store.tables import buyer_keys

    vault.start(conn)
    vault.fetch(conn, set(conn.execute(select(func.min(buyer_keys.c.id)).group_by(buyer_keys.c.ring)).scalars()))


def _pause(app: App, conn: Connection, made_at: str) -> list[str]:
    """Pause the accounts that pay or give, or have done so: what they did after the backup would be done again."""
    from sqlalchemy import or_, select

    from ..model import AppealClaim, FileClaim, GiveCredit, PayRefund, Reship
    from ..store import ops
    from ..store.tables import micros, outbox

    once = {AppealClaim, FileClaim, GiveCredit, PayRefund, Reship}
    did = or_(outbox.c.money, outbox.c.effect.is_not(None))
    names = {*conn.execute(select(outbox.c.account).where(did).distinct()).scalars()}
    accounts, kinds = app.registry.accounts, app.registry.kinds
    names |= {name for name, one in accounts.items() if kinds.get(name) in PAYING and one.performs() & once}
    for name in sorted(names):
        reason = f"restored from a backup of {made_at}: look what was paid after it, then resume"
        ops.set_paused(conn, name, on=True, reason=reason, now=micros(datetime.now(UTC)))
    return sorted(names)


def tables_of(archive: Reading) -> list[tuple[Any, list[str]]]:
    """(table, columns) of a backup; raises where it is of a newer release."""
    from ..store.migrations import HEAD
    from ..store.tables import metadata

    found, release = archive.manifest["tables"], archive.manifest["release"]
    known = {name: {one.name for one in table.c} for name, table in metadata.tables.items()}
    newer = archive.manifest["revision"] > HEAD
    if newer or any(set(facts["columns"]) - known.get(name, set()) for name, facts in found.items()):
        raise CommandError(f"{archive.path}: made by a newer release ({release}); restore it with that one")
    return [(metadata.tables[name], facts["columns"]) for name, facts in found.items()]


BEGUN: Final = ".tmp"
PAYING: Final = frozenset({"marketplaces", "services", "carriers"})


def _put_files(folder: Path, archive: Reading) -> None:
    """Write the kept files; those that an interrupted restore has written already stay."""
    from .archive import Hashed

    names = {name for name, _, _ in archive.kept()}
    there = {f"{one.parent.name}/{one.name}": one for one in folder.glob("*/*")}
    for begun in {f"{one}{BEGUN}" for one in names} & there.keys():
        there.pop(begun).unlink()
    if odd := [one for name, one in there.items() if name not in names]:
        raise CommandError(f"{folder}: not empty ({odd[0].name}); nothing was changed")
    for name, _, digest in archive.kept():
        final = folder / name
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = final.with_name(f"{final.name}{BEGUN}")
        with archive.file(name) as source, temporary.open("wb") as file:
            hashed = Hashed(source)
            while piece := hashed.read(1 << 20):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if hashed.digest.hexdigest() != digest:
            raise CommandError(f"{archive.path}: {name} was changed meanwhile")
        temporary.replace(final)


def _progress(app: App) -> Callable[[str, int], None]:
    """Says on stderr how far it is."""

    def tell(table: str, rows: int) -> None:
        if not app.as_json and rows and rows % 50_000 == 0:
            click.echo(f"{table}: {rows} rows", err=True)

    return tell


def _summed(manifest: dict[str, Any]) -> dict[str, Any]:
    rows = {name: one["rows"] for name, one in manifest["tables"].items() if one["rows"]}
    files = {name: manifest["files"][name] for name in ("number", "bytes")}
    return {"made_at": manifest["made_at"], "revision": manifest["revision"], "rows": rows, "files": files}


def _counts(manifest: dict[str, Any]) -> str:
    rows = {name: one["rows"] for name, one in manifest["tables"].items()}
    return f"{sum(rows.values())} rows ({rows['cases']} cases), {manifest['files']['number']} files"


def _tell(app: App, facts: dict[str, Any], text: str, more: str = "") -> None:
    click.echo(dumped(facts) if app.as_json else text)
    if more:
        click.echo(more, err=True)


def _end(lost: list[str], broken: list[str]) -> None:
    """What was wrong in the store already is told, and ends with exit 1."""
    if lost:
        click.echo(f"the files of {len(lost)} pieces of evidence are not where they should be: {lost[0]}, …", err=True)
    if broken:
        click.echo(f"the timelines of {len(broken)} cases do not fit their hashes: {', '.join(broken[:5])}", err=True)
    if lost or broken:
        click.get_current_context().exit(PROBLEM)
