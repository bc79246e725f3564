"""A SQLite file moves into PostgreSQL: every row, the files and the key; the bridge goes on where it stood."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cli_desk import run, write

import stores
from rmabridge.config import load
from rmabridge.flow.bridge import Running
from rmabridge.testing.simulators.sink import Sink
from worlds import World, a_return, document

pytestmark = pytest.mark.skipif(not stores.POSTGRES, reason="needs a PostgreSQL server: make test-postgresql")


def configured(folder: Path, sink: Sink, database: str, **bridge: Any) -> Path:
    """A configuration with this database, whose key and files lie beside it."""
    doc = document(folder, sink.url, database=database, **bridge)
    for name in ("keys", "blobs"):
        if name not in bridge:
            doc["bridge"].pop(name, None)
    return write(folder / "rmabridge.toml", doc)


async def lived(path: Path, sink: Sink, *numbers: int) -> list[tuple[Any, ...]]:
    """Serve the configuration for a while and take these requests; its cases."""
    async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
        world = World(bridge, sink, client)
        for number in numbers:
            assert (await world.post(a_return(number), name=f"msg_{number}"))[0] == 200
        await world.settle()
        return world.rows("SELECT id, version FROM cases ORDER BY created_at, id")


async def moved(path: Path, address: str, *more: str) -> Any:
    """Run the command in another thread, as another process would."""
    return await asyncio.to_thread(run, path, "migrate-store", "--to", address, *more)


@pytest.mark.row("P55")
@pytest.mark.parametrize("name", ["rmabridge", "mine"])
async def test_a_bridge_goes_on_in_postgresql_where_it_stood_in_the_file(tmp_path: Path, sink: Sink, name: str) -> None:
    path = configured(tmp_path, sink, f"sqlite:///{name}.db")
    before = await lived(path, sink, 1, 2)
    address = stores.empty(tmp_path)
    result = await moved(path, address, "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0 and told["rows"]["cases"] == 2
    assert stores.rows_of(address, "SELECT id, version FROM cases ORDER BY created_at, id") == before
    blobs = {"blobs": json.loads(told["settings"]["blobs"])} if "blobs" in told["settings"] else {}
    assert bool(blobs) == (name == "mine")
    path = configured(tmp_path, sink, address, **blobs)
    after = await lived(path, sink, 2, 3)
    assert len(after) == 3 and {one for one, _ in before} < {one for one, _ in after}
    assert stores.rows_of(address, "SELECT count(*) FROM outbox WHERE state = 'dead'") == [(0,)]


async def test_new_rows_are_numbered_on_and_old_numbers_never_come_again(tmp_path: Path, sink: Sink) -> None:
    path = configured(tmp_path, sink, "sqlite:///mine.db")
    await lived(path, sink, 1)
    conn = sqlite3.connect(tmp_path / "mine.db")
    with conn:
        conn.execute("UPDATE timeline SET inbox_id = 900 WHERE seq = 1")
        conn.execute("DELETE FROM inbox")
    conn.close()
    address = stores.empty(tmp_path)
    assert (await moved(path, address)).exit_code == 0
    assert stores.rows_of(address, "SELECT nextval('inbox_id_seq')") == [(901,)]
    ((highest,),) = stores.rows_of(address, "SELECT max(id) FROM outbox")
    assert stores.rows_of(address, "SELECT nextval('outbox_id_seq')") == [(highest + 1,)]
    assert stores.rows_of(address, "SELECT nextval('approvals_id_seq')") == [(1,)]


async def test_while_a_bridge_serves_the_file_nothing_is_copied(tmp_path: Path, sink: Sink) -> None:
    path, address = configured(tmp_path, sink, "sqlite:///mine.db"), stores.empty(tmp_path)
    async with Running(load(path)):
        result = await moved(path, address)
    assert result.exit_code == 4 and "a bridge serves it" in result.stderr
    assert stores.rows_of(address, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


async def test_a_database_with_anything_in_it_is_refused_and_left_alone(tmp_path: Path, sink: Sink) -> None:
    path, address = configured(tmp_path, sink, "sqlite:///mine.db"), stores.empty(tmp_path)
    await lived(path, sink, 1)
    assert (await moved(path, address)).exit_code == 0
    again = await moved(path, address)
    assert again.exit_code == 4 and "not empty" in again.stderr
    assert stores.rows_of(address, "SELECT count(*) FROM cases") == [(1,)]


async def test_what_fails_in_the_middle_leaves_nothing_and_may_be_done_again(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, address = configured(tmp_path, sink, "sqlite:///mine.db"), stores.empty(tmp_path)
    await lived(path, sink, 1)
    with monkeypatch.context() as patch:
        patch.setattr("rmabridge.cli.rows.numbered_on", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await moved(path, address)
    assert stores.rows_of(address, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert (await moved(path, address)).exit_code == 0
    assert stores.rows_of(address, "SELECT count(*) FROM cases") == [(1,)]


async def test_a_nul_in_a_text_does_not_stop_the_copy(tmp_path: Path, sink: Sink) -> None:
    path, address = configured(tmp_path, sink, "sqlite:///mine.db"), stores.empty(tmp_path)
    await lived(path, sink, 1)
    conn = sqlite3.connect(tmp_path / "mine.db")
    with conn:
        conn.execute("UPDATE cases SET flag = ?", ("a\x00b",))
    conn.close()
    assert (await moved(path, address)).exit_code == 0
    assert stores.rows_of(address, "SELECT flag FROM cases") == [("a\ufffdb",)]


async def test_a_broken_chain_comes_along_and_is_told(tmp_path: Path, sink: Sink) -> None:
    path, address = configured(tmp_path, sink, "sqlite:///mine.db"), stores.empty(tmp_path)
    ((case, _),) = await lived(path, sink, 1)
    conn = sqlite3.connect(tmp_path / "mine.db")
    with conn:
        conn.execute("UPDATE timeline SET at = at + 1 WHERE seq = 2")
    conn.close()
    result = await moved(path, address)
    assert result.exit_code == 1 and case in result.stderr
    assert stores.rows_of(address, "SELECT count(*) FROM cases") == [(1,)]


async def test_another_master_key_in_the_new_place_is_told_before_anything_is_copied(
    tmp_path: Path, sink: Sink
) -> None:
    path, address = configured(tmp_path, sink, "sqlite:///mine.db"), stores.empty(tmp_path)
    await lived(path, sink, 1)
    (tmp_path / "rmabridge.key").write_text("another")
    result = await moved(path, address)
    assert result.exit_code == 4 and "another key is there" in result.stderr
    assert stores.rows_of(address, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


@pytest.mark.row("P55")
async def test_backups_of_the_file_are_restored_on_the_server_and_the_other_way_round(
    tmp_path: Path, sink: Sink
) -> None:
    path = configured(tmp_path, sink, "sqlite:///mine.db")
    before = await lived(path, sink, 1, 2)
    there, back = tmp_path / "there", tmp_path / "back"
    for folder in (there, back):
        folder.mkdir()
    server = configured(there, sink, stores.empty(there))
    last = configured(back, sink, "sqlite:///last.db")
    for source, target, file in ((path, server, tmp_path / "1.backup"), (server, last, tmp_path / "2.backup")):
        assert (await asyncio.to_thread(run, source, "backup", str(file), "--with-key")).exit_code == 0
        result = await asyncio.to_thread(run, target, "restore", str(file))
        assert result.exit_code == 0, result.output
    assert await lived(last, sink) == before
