"""A whole store, read at one instant or filled in one transaction, whichever kind it is."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.exc import OperationalError

from ..config import Bridge
from ..errors import CommandError
from ..store.engine import sqlite_engine
from ..store.postgres import Aside
from ..store.store import current
from ..store.tables import lanes
from .rows import TABLES

T = TypeVar("T")
SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
UNHURRIED: Final = "SET LOCAL idle_in_transaction_session_timeout = 0"
OPENING: Final = "SELECT pg_advisory_xact_lock($1)"


def known(conn: Connection, shown: str) -> None:
    """Raise where this is not a database of this release."""
    if not inspect(conn).has_table("buyer_keys"):
        raise CommandError(f"{shown}: not a database of rmabridge; 'rmabridge serve' makes one")
    if not current(conn):
        raise CommandError(f"{shown}: the schema is another release's; start 'rmabridge serve' of this one first")


def at_one_instant(settings: Bridge, beside: Path, job: Callable[[Connection], T]) -> T:
    """Run a reading job on the store as it is at one instant, while it is being served."""
    if settings.shared:
        with aside(settings) as server:
            return server.run(partial(_snapshot, settings.shown, job), patient=True)
    if not settings.path.exists():
        raise CommandError(f"{settings.path}: no database yet; 'rmabridge serve' makes it")
    with TemporaryDirectory(dir=beside, prefix=".backup-") as folder:
        copy = Path(folder) / "copy.db"
        _copied(settings.path, copy)
        with sqlite_engine(copy).connect() as conn:
            known(conn, settings.shown)
            return job(conn)


def _snapshot(shown: str, job: Callable[[Connection], T], conn: Connection) -> T:
    conn.exec_driver_sql(SNAPSHOT)
    conn.exec_driver_sql(UNHURRIED)
    known(conn, shown)
    return job(conn)


def _copied(path: Path, copy: Path) -> None:
    """SQLite's own backup, in one step: a reader that holds up no writer."""
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=15)
    with closing(reader), closing(sqlite3.connect(copy)) as target:
        try:
            reader.backup(target, pages=-1)
        except sqlite3.DatabaseError as error:
            raise CommandError(f"{path}: {error}") from error


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep every 'rmabridge serve' from this file meanwhile."""
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CommandError(f"{path}: a bridge serves it; stop it first") from error
        yield


def held_still(path: Path, job: Callable[[Connection], T]) -> T:
    """Run a reading job on a file that nobody serves or writes meanwhile."""
    if not path.exists():
        raise CommandError(f"{path}: no database yet; there is nothing to copy")
    with alone(path), sqlite_engine(path).begin() as conn:
        known(conn, str(path))
        return job(conn)


@contextmanager
def aside(settings: Bridge) -> Iterator[Aside]:
    """A connection to the server, for as long as a job takes."""
    made = Aside(settings.database, 1)
    try:
        yield made
    except (OperationalError, OSError) as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise CommandError(f"{settings.shown}: {cause}") from error
    finally:
        made.close()


def filled(settings: Bridge, job: Callable[[Connection], T]) -> T:
    """Run a job in one transaction on an empty store; where it fails, the store is as it was."""
    if settings.shared:
        with aside(settings) as server:
            return server.run(partial(_on_server, settings.shown, job), patient=True)
    settings.path.parent.mkdir(parents=True, exist_ok=True)
    with alone(settings.path):
        if settings.path.exists() and settings.path.stat().st_size:
            with sqlite_engine(settings.path, writes=False).connect() as conn:
                emptiness(conn, settings.shown)
        return _new_file(settings.path, job)


def _on_server(shown: str, job: Callable[[Connection], T], conn: Connection) -> T:
    from ..store.replicas import OPENING as LOCK

    conn.exec_driver_sql(UNHURRIED)
    conn.exec_driver_sql(OPENING, (LOCK,))
    emptiness(conn, shown)
    if inspect(conn).has_table("lanes"):
        conn.execute(lanes.delete())
    return job(conn)


def emptiness(conn: Connection, shown: str) -> None:
    """Raise where anything is stored already."""
    there = set(inspect(conn).get_table_names())
    for table in TABLES:
        if table.name in there - {"lanes"} and conn.execute(select(text("1")).select_from(table).limit(1)).first():
            raise CommandError(f"{shown}: not empty ({table.name} has rows); name a database with nothing in it")


def _new_file(path: Path, job: Callable[[Connection], T]) -> T:
    """All of it in another file first, which then takes the name."""
    with TemporaryDirectory(dir=path.parent, prefix=".restore-") as folder:
        made = Path(folder) / path.name
        engine = sqlite_engine(made)
        with engine.begin() as conn:
            result = job(conn)
        with closing(sqlite3.connect(made)) as last:
            last.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for one in (*(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")), path.with_suffix(".routing")):
            one.unlink(missing_ok=True)
        made.replace(path)
    return result
