"""Database users with no more rights than their part needs, on a real PostgreSQL, by the commands they give."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import structlog
from asyncpg.exceptions import RaiseError
from cli_desk import run, write
from click.testing import CliRunner, Result
from sqlalchemy import Connection, make_url
from sqlalchemy.exc import DBAPIError

import stores
from rmabridge.cli import main
from rmabridge.config import load
from rmabridge.flow.bridge import Running
from rmabridge.store.postgres import Aside, forbidden
from rmabridge.store.tables import metadata
from rmabridge.testing.simulators.sink import Sink
from serving import Child
from worlds import KEY, World, a_return, document

ROLES = ("bridge", "operator", "reader", "auditor")
SERVED = ("accounts", "alerts", "cases", "inbox", "lanes", "outbox", "tokens")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the package with the PostgreSQL server is for Linux")


@dataclass
class House:
    """A database with an owner and a user for each role."""

    name: str

    def user(self, role: str) -> str:
        """The user of a role."""
        return f"{self.name}_{role}"

    def address(self, role: str) -> str:
        """The database, as that user."""
        url = make_url(stores.server()).set(username=self.user(role), password="pw", database=self.name)
        return url.render_as_string(hide_password=False)

    def script(self) -> str:
        """What ``roles sql`` prints for these users."""
        named = [part for role in ROLES for part in (f"--{role}", self.user(role))]
        result = CliRunner().invoke(main, ["roles", "sql", *named])
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    def granted(self) -> None:
        """Run it as a superuser, as psql would, and let the users log in."""
        boss = make_url(stores.server()).set(database=self.name).render_as_string(hide_password=False)
        passwords = "".join(f"ALTER ROLE {self.user(one)} PASSWORD 'pw';" for one in ROLES)
        psql(boss, self.script() + passwords)

    def doc(self, folder: Path, role: str, sink: str = "http://127.0.0.1:9/") -> dict[str, Any]:
        """A configuration as the person in this role has it; an auditor has no master key."""
        keys = {} if role == "auditor" else {"keys": [KEY]}
        found = document(folder, sink, database=self.address(role), blobs=str(folder / "blobs"))
        found["bridge"].pop("keys", None)
        found["bridge"] |= keys
        return found

    def file(self, folder: Path, role: str) -> Path:
        """The same in a file."""
        return write(folder / f"{role}.toml", self.doc(folder, role))

    def may(self, role: str, statement: str) -> bool:
        """Whether the server lets this user do it; nothing of it stays."""
        aside = Aside(self.address(role), 1)
        try:
            aside.run(lambda conn: _undone(conn, statement), write=True)
        except DBAPIError as error:
            if not forbidden(error):
                raise
            return False
        finally:
            aside.close()
        return True


def _undone(conn: Connection, statement: str) -> None:
    with conn.begin_nested() as inner:
        conn.exec_driver_sql(statement)
        inner.rollback()


def psql(address: str, script: str) -> None:
    """Run several statements."""
    aside = Aside(address, 1)
    try:
        aside.run(lambda conn: conn.connection.dbapi_connection.run_async(lambda raw: raw.execute(script)))  # type: ignore[union-attr]
    finally:
        aside.close()


def founded() -> House:
    """An empty database of an owner who is no superuser."""
    house = House(f"t_{uuid4().hex[:12]}")
    for one in (
        f"CREATE ROLE {house.user('owner')} LOGIN PASSWORD 'pw'",
        f"CREATE DATABASE {house.name} OWNER {house.user('owner')} TEMPLATE template0",
    ):
        stores.boss().run(lambda conn, one=one: conn.exec_driver_sql(one))
    return house


def torn_down(house: House) -> None:
    """Users belong to the whole server."""
    users = [house.user(one) for one in (*ROLES, "owner")]
    stores.boss().run(lambda conn: conn.exec_driver_sql(f"DROP DATABASE {house.name} WITH (FORCE)"))
    stores.boss().run(lambda conn: conn.exec_driver_sql(f"DROP ROLE IF EXISTS {', '.join(users)}"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Migrated by its owner, and each role with its rights."""
    made = founded()
    told = run(made.file(tmp_path_factory.mktemp("owner"), "owner"), "migrate", json_=True)
    assert (told.exit_code, json.loads(told.stdout)["changed"]) == (0, True)
    made.granted()
    yield made
    torn_down(made)


@pytest.fixture
async def served(house: House, tmp_path: Path, sink: Sink) -> AsyncIterator[World]:
    """Served by the user for it, with a case."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    path = write(tmp_path / "bridge.toml", house.doc(tmp_path, "bridge", sink.url))
    async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
        world = World(bridge, sink, client)
        assert (await world.post(a_return()))[0] == 200
        await world.settle()
        yield world
    structlog.reset_defaults()


async def as_(house: House, world: World, role: str, *arguments: str) -> Result:
    """A command of somebody in this role, beside the process that serves; CASE and DELIVERY are filled in."""
    real = {
        "CASE": world.rows("SELECT max(id) FROM cases")[0][0],
        "DELIVERY": str(world.rows("SELECT max(id) FROM outbox")[0][0]),
    }
    path = house.file(world.bridge.config.bridge.folder.parent, role)
    return await asyncio.to_thread(run, path, *(real.get(one, one) for one in arguments))


READING = (
    *(("cases", one, "CASE") for one in ("show", "timeline", "record", "explain", "export", "evidence", "verify")),
    *(("cases", one) for one in ("list", "queue")),
    ("cases", "verify", "--all"),
    ("explain", "CASE"),
    ("deliveries", "list"),
    ("deliveries", "show", "DELIVERY"),
    *((one, "list") for one in ("approvals", "deadletters", "accounts", "audit", "keys", "templates")),
    *(("inbox", one) for one in ("parked", "unmatched")),
    *(("audit", one) for one in ("verify", "export", "plays")),
    ("alerts",),
    ("buyers", "find", "B1"),
    ("retention", "show"),
    ("retention", "run", "--dry-run"),
    ("check", "--offline"),
)
ORDERS = (
    ("cases", "note", "CASE", "called"),
    ("cases", "close", "CASE"),
    ("cases", "reply", "CASE", "hello"),
    ("accounts", "resume", "shop"),
    ("deliveries", "cancel", "DELIVERY"),
    ("accounts", "pause", "shop"),
    ("alerts", "--resolve", "full"),
    ("keys", "rotate"),
    ("buyers", "export", "B1"),
    ("retention", "run"),
)


@pytest.mark.row("S161")
async def test_a_reader_reads_with_every_reading_command_and_nothing_is_written(house: House, served: World) -> None:
    before = stores.dumped(house.address("bridge"))
    for one in READING:
        result = await as_(house, served, "reader", *one)
        assert result.exit_code == 0, (one, result.output)
    assert "李雷" in (await as_(house, served, "reader", "cases", "show", "CASE")).stdout
    assert stores.dumped(house.address("bridge")) == before


@pytest.mark.row("S161")
async def test_every_order_of_a_reader_is_refused_in_a_line_that_says_what_to_do(house: House, served: World) -> None:
    before = stores.dumped(house.address("bridge"))
    for one in ORDERS:
        result = await as_(house, served, "reader", *one)
        assert (result.exit_code, len(result.stderr.splitlines())) == (4, 1), (one, result.output)
        assert "permission denied for table" in result.stderr and "'rmabridge roles list'" in result.stderr, one
    assert stores.dumped(house.address("bridge")) == before


@pytest.mark.row("S161")
async def test_orders_of_an_operator_are_carried_out_and_the_record_is_out_of_reach(
    house: House, served: World
) -> None:
    assert (await as_(house, served, "operator", "cases", "note", "CASE", "called", "--as", "mei")).exit_code == 0
    assert "called" in (await as_(house, served, "operator", "cases", "timeline", "CASE")).stdout
    assert (await as_(house, served, "operator", "keys", "rotate")).exit_code == 0
    kept = ("cases", "timeline", "messages", "outbox", "attempts", "approvals", "evidence", "audit", "alerts")
    for table in kept:
        assert not house.may("operator", f"DELETE FROM {table}"), table
        column = next(iter(metadata.tables[table].c)).name
        assert not house.may("operator", f"UPDATE {table} SET {column} = {column}"), table
    assert not house.may("operator", "DELETE FROM buyer_keys")
    assert (await as_(house, served, "operator", "retention", "run")).exit_code == 4
    assert (await as_(house, served, "bridge", "retention", "run")).exit_code == 0
    copy = str(served.bridge.config.bridge.folder.parent / "a.backup")
    assert (await as_(house, served, "operator", "backup", copy)).exit_code == 0


@pytest.mark.row("S161")
async def test_an_auditor_verifies_and_exports_the_log_without_a_master_key(house: House, served: World) -> None:
    assert (await as_(house, served, "operator", "cases", "note", "CASE", "李雷 called", "--as", "mei")).exit_code == 0
    assert "nothing was changed" in (await as_(house, served, "auditor", "audit", "verify")).stdout
    told = await as_(house, served, "auditor", "audit", "export")
    entries = [json.loads(one) for one in told.stdout.splitlines()]
    assert told.exit_code == 0 and ("mei", "note") in {(one["who"], one["what"]) for one in entries}
    assert "李雷" not in told.stdout
    head = json.loads((await as_(house, served, "auditor", "audit", "verify", "--json")).stdout)["head"]
    assert chained(entries) == [one["chain"] for one in entries] and entries[-1]["chain"] == head
    folder = served.bridge.config.bridge.folder.parent
    assert not list(folder.rglob("*.key")), "nobody without a key makes one"


def chained(entries: list[dict[str, Any]]) -> list[str]:
    """The hashes that the entries must have, worked out from the export alone."""
    found, last = [], b""
    for one in entries:
        parts = [last, *(str(one[name]).encode() for name in ("at", "who", "what", "detail"))]
        last = hashlib.sha256(b"".join(str(len(part)).encode() + b":" + part for part in parts)).digest()
        found.append(last.hex())
    return found


@pytest.mark.row("S161")
async def test_an_auditor_sees_nothing_else(house: House, served: World) -> None:
    for table in metadata.tables:
        assert house.may("auditor", f"SELECT 1 FROM {table}") == (table in {"audit", "cursors"}), table
    refused = await as_(house, served, "auditor", "cases", "list")
    assert refused.exit_code == 4 and "permission denied for table cases" in refused.stderr
    refused = await as_(house, served, "auditor", "accounts", "pause", "shop")
    assert refused.exit_code == 3 and refused.stderr.startswith("[bridge] keys: none are set")
    assert not house.may("auditor", "INSERT INTO cursors (account, kind) VALUES ('bridge', 'audit')")


@pytest.mark.row("S161")
async def test_who_serves_adds_to_the_log_and_to_timelines_and_changes_neither(house: House, served: World) -> None:
    for table in ("audit", "timeline"):
        assert house.may("bridge", f"SELECT 1 FROM {table}")
        for crime in (f"DELETE FROM {table}", f"UPDATE {table} SET chain = chain", f"TRUNCATE {table}"):
            assert not house.may("bridge", crime), crime
    for crime in ("CREATE TABLE own (a int)", "DROP TABLE audit", "ALTER TABLE audit ADD COLUMN own int"):
        assert not house.may("bridge", crime), crime
    assert all(house.may("bridge", f"DELETE FROM {one} WHERE false") for one in SERVED)


def test_a_reader_has_the_end_of_an_account_s_token_and_not_the_token(house: House) -> None:
    assert house.may("reader", "SELECT expires FROM tokens")
    assert not house.may("reader", "SELECT value FROM tokens")
    assert not house.may("reader", "SELECT nextval('inbox_id_seq')")


def test_run_again_it_takes_back_what_was_given_meanwhile(house: House) -> None:
    psql(house.address("owner"), f"GRANT UPDATE ON audit TO {house.user('reader')}")
    assert house.may("reader", "UPDATE audit SET who = 'eve'")
    house.granted()
    assert not house.may("reader", "UPDATE audit SET who = 'eve'")
    assert house.may("reader", "SELECT 1 FROM cases")


def test_an_owner_is_no_role_and_keeps_its_rights(house: House) -> None:
    script = house.script().replace(house.user("auditor"), house.user("owner"))
    with pytest.raises(RaiseError, match="owns the tables has all rights"):
        psql(house.address("owner"), script)
    assert house.may("owner", "UPDATE audit SET who = 'eve'")


def test_every_table_of_the_schema_is_in_the_script() -> None:
    script = CliRunner().invoke(main, ["roles", "sql"]).stdout
    for table in (*metadata.tables, "alembic_version"):
        assert f'ON {table} TO "rmabridge_bridge"' in script, table
    twice = CliRunner().invoke(main, ["roles", "sql", "--reader", "same", "--auditor", "same"])
    assert twice.exit_code == 2 and "a user of its own" in twice.stderr
    assert CliRunner().invoke(main, ["roles", "sql", "--reader", "a'b"]).exit_code == 2


async def test_serve_without_rights_to_the_schema_serves_what_the_owner_migrated(
    house: House, tmp_path: Path, sink: Sink
) -> None:
    child = Child(house.doc(tmp_path, "bridge", sink.url), tmp_path)
    await child.start()
    assert "permission denied" not in child.log.read_text()
    assert await child.stop() == 0


async def test_serve_says_who_must_migrate(tmp_path: Path, sink: Sink) -> None:
    empty = founded()
    try:
        run(empty.file(tmp_path, "owner"), "migrate")
        empty.granted()
        psql(empty.address("owner"), "UPDATE alembic_version SET version_num = '0001'")
        child = Child(empty.doc(tmp_path, "bridge", sink.url), tmp_path)
        await child.spawn()
        assert child.process and await asyncio.wait_for(child.process.wait(), 30) == 3
        told = child.log.read_text()
        assert "run 'rmabridge migrate' as the user that owns the tables" in told and "Traceback" not in told
    finally:
        torn_down(empty)
