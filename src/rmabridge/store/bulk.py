"""Many rows at once: a statement is compiled once for each set of columns, then the driver takes plain tuples.

Measured: for the rows of one event, SQLAlchemy's own execute and executemany cost more than SQLite does, so that there
the driver is asked itself. ``rows_of`` is for SELECTs that run with every batch; Booleans come as the driver has them.
"""

from __future__ import annotations

import re
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from importlib import import_module
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, Executable, Table, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase

Ready = tuple[str, Callable[[Mapping[str, Any]], Any], Mapping[str, Any]]
_READY: dict[tuple[UpdateBase, str, tuple[str, ...]], Ready] = {}


@lru_cache(maxsize=64)
def adding(table: Table) -> UpdateBase:
    """A plain INSERT."""
    return insert(table).inline()


def _inserting(dialect: str, table: Table) -> Any:
    """The dialect's own INSERT; the module of another database is not imported."""
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)


@lru_cache(maxsize=64)
def _ignoring(dialect: str, table: Table) -> UpdateBase:
    made: UpdateBase = _inserting(dialect, table).inline().on_conflict_do_nothing()
    return made


@lru_cache(maxsize=64)
def _replacing(dialect: str, table: Table, key: tuple[str, ...]) -> UpdateBase:
    made = _inserting(dialect, table).inline()
    changed = {one.name: made.excluded[one.name] for one in table.c if one.name not in key}
    replacing: UpdateBase = made.on_conflict_do_update(index_elements=key, set_=changed)
    return replacing


def ignoring(conn: Connection, table: Table) -> UpdateBase:
    """An INSERT that leaves existing rows as they are."""
    return _ignoring(conn.dialect.name, table)


def replacing(conn: Connection, table: Table, key: tuple[str, ...]) -> UpdateBase:
    """An INSERT that replaces the row of the same key."""
    return _replacing(conn.dialect.name, table, key)


def many(conn: Connection, statement: UpdateBase, rows: Sequence[Mapping[str, Any]]) -> int:
    """Execute the statement for each row, all of the same columns; how many rows it changed."""
    key = (statement, conn.dialect.name, tuple(rows[0]))
    ready = _READY.get(key)
    if ready is None:
        ready = _READY[key] = _compiled(conn, statement, key[2])
    text, pick, fixed = ready
    if conn.dialect.name == "postgresql":
        return _at_once(conn, text, [pick({**fixed, **row}) for row in rows])
    tuples = [pick({**fixed, **row}) for row in rows] if fixed else [pick(row) for row in rows]
    if (driver := _sqlite(conn)) is None:
        return conn.exec_driver_sql(text, tuples).rowcount
    with told(conn, text):
        return driver.executemany(text, tuples).rowcount


def _sqlite(conn: Connection) -> sqlite3.Connection | None:
    """SQLite's own connection, within a transaction that has begun."""
    if conn.dialect.name != "sqlite" or not conn.in_transaction():
        return None
    driver: sqlite3.Connection | None = conn.connection.driver_connection
    return driver


@contextmanager
def told(conn: Connection, text: str) -> Iterator[None]:
    """An error of the driver's becomes SQLAlchemy's, without the values."""
    try:
        yield
    except sqlite3.Error as error:
        raise DBAPIError.instance(
            text, None, error, sqlite3.Error, hide_parameters=True, dialect=conn.dialect
        ) from error


def _compiled(conn: Connection, statement: UpdateBase, columns: tuple[str, ...]) -> Ready:
    compiled: Any = statement.compile(dialect=conn.dialect, column_keys=list(columns) if statement.is_insert else None)
    names = list(compiled.positiontup)
    fixed = {name: compiled.params[name] for name in names if name not in columns}
    pick = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
    return str(compiled), pick, fixed


_PLACE: Final = re.compile(r"\$(\d+)::([A-Z]+)")
_SET_BASED: dict[str, str] = {}


def _at_once(conn: Connection, text: str, tuples: Sequence[tuple[Any, ...]]) -> int:
    """All rows in one statement, from an array for each place, so that the server says how many it changed."""
    ready = _SET_BASED.get(text)
    if ready is None:
        ready = _SET_BASED[text] = _set_based(text)
    arrays = tuple([_clean(value) for value in column] for column in zip(*tuples, strict=True))
    return conn.exec_driver_sql(ready, arrays).rowcount


def _set_based(text: str) -> str:
    types = {int(one[1]): one[2] for one in _PLACE.finditer(text)}
    arrays = ", ".join(f"${number}::{types[number]}[]" for number in sorted(types))
    names = ", ".join(f"c{number}" for number in sorted(types))
    body = _PLACE.sub(lambda one: f"v.c{one[1]}", text)
    source = f"unnest({arrays}) AS v({names})"
    if body.startswith("INSERT"):
        head, _, rest = body.partition(" VALUES (")
        values, _, tail = rest.partition(")")
        return f"{head} SELECT {values} FROM {source}{tail}"  # noqa: S608 - texts of SQLAlchemy's, values stay apart
    head, where, condition = body.partition(" WHERE ")
    if body.startswith("DELETE"):
        return f"{head} USING {source}{where}{condition}"
    return f"{head} FROM {source}{where}{condition}"


def _clean(value: Any) -> Any:
    """PostgreSQL's texts hold no NUL."""
    return value.replace("\x00", "\ufffd") if isinstance(value, str) and "\x00" in value else value


Place = tuple[str, int, Any]
_SELECTS: dict[tuple[Executable, str, tuple[int, ...]], tuple[str, tuple[Place, ...]]] = {}


def rows_of(conn: Connection, statement: Executable, values: Mapping[str, Any]) -> Sequence[Any]:
    """The rows of a SELECT. A list of values (``IN``) is filled to a power of two, so that few texts are compiled; an
    empty one is NULL, which nothing is in (nor, in SQL, not in)."""
    lists = {name: _filled(value) for name, value in values.items() if isinstance(value, list)}
    key = (statement, conn.dialect.name, tuple(len(one) for one in lists.values()))
    ready = _SELECTS.get(key)
    if ready is None:
        ready = _SELECTS[key] = _selecting(conn, statement, {**values, **lists})
    text, places = ready
    bound = {**values, **lists}
    given = tuple([bound.get(name, fixed) if at < 0 else bound[name][at] for name, at, fixed in places])
    if (driver := _sqlite(conn)) is None:
        return conn.exec_driver_sql(text, given).all()
    with told(conn, text):
        found = driver.execute(text, given)
        return [*map(_row(tuple([one[0] for one in found.description])), found)]


@lru_cache(maxsize=256)
def _row(columns: tuple[str, ...]) -> Callable[[tuple[Any, ...]], Any]:
    """What makes a row with named values of a plain one."""
    build: Any = namedtuple  # noqa: PYI024 - the columns are known at run time only
    make: Callable[[tuple[Any, ...]], Any] = build("Row", columns, rename=True)._make
    return make


def _filled(values: list[Any]) -> list[Any]:
    missing = (1 << max(0, len(values) - 1).bit_length()) - len(values)
    return [*values, *values[-1:] * missing] if values else [None]


def _selecting(conn: Connection, statement: Executable, values: Mapping[str, Any]) -> tuple[str, tuple[Place, ...]]:
    """The text, and for each of its places the value's name, its number in a list, and what is fixed."""
    asked: Any = statement
    state = asked.compile(dialect=conn.dialect).construct_expanded_state(values)
    sizes = {name: len(one) for name, one in values.items() if isinstance(one, list)}
    listed = {f"{name}_{at + 1}": (name, at, None) for name, size in sizes.items() for at in range(size)}
    return state.statement, tuple(listed.get(one) or (one, -1, state.parameters[one]) for one in state.positiontup)


def alone(conn: Connection, names: Iterable[bytes]) -> None:
    """Wait until no other process's transaction holds one of these names, and hold them until the end of this one.

    On PostgreSQL; the order is the same for all, so that no two wait for each other.
    """
    if numbers := sorted({int.from_bytes(blake2b(one, digest_size=8).digest(), "big", signed=True) for one in names}):
        conn.exec_driver_sql("SELECT pg_advisory_xact_lock(one) FROM unnest($1::bigint[]) AS one", (numbers,)).all()
