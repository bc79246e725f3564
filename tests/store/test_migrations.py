"""Every older schema comes up to this release's with what is stored in it; both stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config as Alembic
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, Column, Connection, LargeBinary, MetaData, Table, insert, inspect, select

from rmabridge.config import Bridge
from rmabridge.store import cases as case_store
from rmabridge.store import migrations
from rmabridge.store.migrations import HEAD
from rmabridge.store.store import current, make, peek
from rmabridge.store.tables import buyer_keys, cases, metadata, outbox, timeline
from rmabridge.store.vault import Vault, master_keys
from stores import POSTGRES, empty, outside

KEY = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
OLDER = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")


def alembic(conn: Connection) -> Alembic:
    """The steps, in this transaction."""
    settings = Alembic()
    settings.set_main_option("script_location", str(Path(migrations.__file__).parent))
    settings.attributes["connection"] = conn
    return settings


@pytest.fixture
def address(tmp_path: Path) -> str:
    """A database with nothing in it."""
    return empty(tmp_path)


def settings(address: str, folder: Path) -> Bridge:
    """The settings of a bridge on it."""
    return Bridge.model_validate({"database": address, "keys": [KEY], "blobs": str(folder / "blobs")})


def test_these_are_all_the_revisions_there_are() -> None:
    found = ScriptDirectory(str(Path(migrations.__file__).parent)).walk_revisions()
    assert {one.revision for one in found} == {*OLDER, HEAD}


def filled(table: Table, number: int) -> dict[str, Any]:
    """A value for each column that an old release wrote, told apart by a number."""
    return {one.name: _value(one, number) for one in table.c}


def _value(column: Any, number: int) -> Any:
    if isinstance(column.type, Boolean):
        return bool(number % 2)
    if isinstance(column.type, LargeBinary):
        return bytes([number]) * 16
    return number if column.type.python_type is int else f"{column.name} {number} 退货"


def as_it_was(conn: Connection, revision: str) -> dict[str, list[dict[str, Any]]]:
    """Build the schema of an older release with two rows in each table; the rows."""
    command.upgrade(alembic(conn), revision)
    old = MetaData()
    old.reflect(conn)
    known = {name: old.tables[name] for name in metadata.tables if name in old.tables}
    typed = {name: _typed(table) for name, table in known.items()}
    rows = {name: [filled(table, number) for number in (1, 2)] for name, table in typed.items()}
    for name, table in typed.items():
        conn.execute(insert(table), rows[name])
    return rows


def _typed(reflected: Table) -> Table:
    """The columns that there were, with the types of today: SQLite's own types say less."""
    now = metadata.tables[reflected.name]
    return Table(reflected.name, MetaData(), *(Column(one.name, now.c[one.name].type) for one in reflected.c))


@pytest.mark.row("P55")
@pytest.mark.parametrize("revision", OLDER)
def test_every_row_of_an_older_release_is_there_after_the_steps_up(address: str, revision: str) -> None:
    rows = outside(address, lambda conn: as_it_was(conn, revision))

    def upgraded(conn: Connection) -> dict[str, list[Any]]:
        assert not current(conn)
        command.upgrade(alembic(conn), "head")
        assert current(conn)
        return {name: [dict(one) for one in conn.execute(select(metadata.tables[name])).mappings()] for name in rows}

    found = outside(address, upgraded)
    for name, before in rows.items():
        kept = [{column: one[column] for column in before[0]} for one in found[name]]
        assert sorted(kept, key=str) == sorted(before, key=str), name


@pytest.mark.parametrize("revision", OLDER)
def test_the_schema_after_the_steps_is_the_one_of_this_release(address: str, revision: str) -> None:
    outside(address, lambda conn: as_it_was(conn, revision))

    def compared(conn: Connection) -> None:
        command.upgrade(alembic(conn), "head")
        seen = inspect(conn)
        for name, table in metadata.tables.items():
            assert {one["name"] for one in seen.get_columns(name)} == {one.name for one in table.c}, name
            wanted = {one.name for one in table.indexes if POSTGRES or one.name != "inbox_lane"}
            assert {one["name"] for one in seen.get_indexes(name)} >= wanted, name

    outside(address, compared)


@pytest.mark.row("P55")
@pytest.mark.parametrize("revision", OLDER)
async def test_a_bridge_opens_an_older_database_and_reads_on_where_it_stood(
    address: str, tmp_path: Path, revision: str
) -> None:
    outside(address, lambda conn: a_case_as_it_was(conn, revision))
    store = make(settings(address, tmp_path)).open()
    try:
        entries = store.read(lambda conn: case_store.entries(conn, "C1"))
        store.keys_for({"b"})
        assert [store.vault.open(one.key_id, one.doc) for one in entries] == [b"asked 1", b"asked 2"]
        assert store.read(lambda conn: case_store.broken_links(conn, "C1")) == []
        rows = store.read(lambda conn: conn.execute(select(outbox.c.id, outbox.c.key, outbox.c.trace)).all())
        assert [tuple(one) for one in rows] == [(1, "key 1 退货", "trace 1 退货" if revision >= "0004" else None)]
        more = without_number(outbox, 2)
        added = await store.write(lambda conn: conn.execute(insert(outbox).returning(outbox.c.id), more).scalar())
        assert added == 2, "numbers go on where they stood"
    finally:
        await store.close()
    beside = peek(settings(address, tmp_path))
    assert not beside.serving()
    beside.close()


def without_number(table: Table, number: int) -> dict[str, Any]:
    """Values for a row that the database numbers."""
    return {name: value for name, value in filled(table, number).items() if name != "id"}


def a_case_as_it_was(conn: Connection, revision: str) -> None:
    """One case with two entries and an action, as that release wrote them."""
    command.upgrade(alembic(conn), revision)
    old = MetaData()
    old.reflect(conn)
    vault = Vault(master_keys([KEY], Path()))
    keys = [*vault.start(conn), vault.make("b", None, 1)]
    chain, entries = b"", []
    for seq in (1, 2):
        doc = vault.seal("b", f"asked {seq}".encode())
        chain = case_store.link(chain, seq, "noted", 5, "shop", doc)
        facts = {"case_id": "C1", "seq": seq, "at": 5, "type": "noted", "account": "shop", "key_id": "b"}
        entries.append(filled(timeline, seq) | facts | {"doc": doc, "chain": chain})
    case = filled(cases, 1) | {"id": "C1", "seq": 2, "chain": chain, "merged_into": None}
    action = without_number(_typed(old.tables["outbox"]), 1) | {"state": "done", "effect": None}
    for table, rows in ((buyer_keys, keys), (timeline, entries), (cases, [case])):
        conn.execute(insert(table), rows)
    conn.execute(insert(_typed(old.tables["outbox"])), action)
