"""Many rows at once: a statement is compiled once for each set of columns, then the driver takes plain tuples.

Measured: for the rows of one event, SQLAlchemy's own executemany costs more than SQLite does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Table, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import UpdateBase

Ready = tuple[str, Callable[[Mapping[str, Any]], Any], Mapping[str, Any]]
_READY: dict[tuple[UpdateBase, str, tuple[str, ...]], Ready] = {}
_DIALECTS: dict[str, Any] = {"postgresql": postgresql, "sqlite": sqlite}


@lru_cache(maxsize=64)
def adding(table: Table) -> UpdateBase:
    """A plain INSERT."""
    return insert(table)


@lru_cache(maxsize=64)
def _ignoring(dialect: str, table: Table) -> UpdateBase:
    made: UpdateBase = _DIALECTS[dialect].insert(table).on_conflict_do_nothing()
    return made


@lru_cache(maxsize=64)
def _replacing(dialect: str, table: Table, key: tuple[str, ...]) -> UpdateBase:
    made = _DIALECTS[dialect].insert(table)
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
    tuples = [pick({**fixed, **row}) for row in rows] if fixed else [pick(row) for row in rows]
    return conn.exec_driver_sql(text, tuples).rowcount


def _compiled(conn: Connection, statement: UpdateBase, columns: tuple[str, ...]) -> Ready:
    compiled: Any = statement.compile(dialect=conn.dialect, column_keys=list(columns) if statement.is_insert else None)
    names = list(compiled.positiontup)
    fixed = {name: compiled.params[name] for name in names if name not in columns}
    pick = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
    return str(compiled), pick, fixed
