"""Intake: what is acknowledged is on disk, under a key that is on disk too."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from toybox import cases, push, requested, send, shift, stop_loop, toybox

from rmabridge.store import inbox as inbox_store
from rmabridge.store.postgres import address
from rmabridge.testing.simulators.sink import Sink
from stores import POSTGRES, database
from worlds import World, running


async def _thirty(world: World) -> list[int]:
    return await asyncio.gather(*(send(world, requested(number)) for number in range(30)))


async def test_requests_that_wait_share_a_commit(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await stop_loop(world, "Router.run")
        assert await send(world, requested("warm")) == 200
        before = world.bridge.store.writer.commits
        assert set(await _thirty(world)) == {200}
        assert world.bridge.store.writer.commits - before < 30
        assert world.rows("SELECT count(*) FROM inbox") == [(31,)]


async def test_a_new_days_key_is_on_disk_before_the_first_body_that_needs_it(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url)
    async with running(config, sink) as world:
        await stop_loop(world, "Router.run")
        await stop_loop(world, "Timers.run")
        shift(world, days=1)
        world.bridge.store.day_key()  # a writer that fails after this loses nothing of the others
        assert await send(world, requested(1)) == 200
        shift(world, days=1)
        assert set(await _thirty(world)) == {200}
        unreadable = world.rows("SELECT count(*) FROM inbox WHERE key_id NOT IN (SELECT id FROM buyer_keys)")
        assert unreadable == [(0,)]
    async with running(config, sink) as world:
        await world.settle()
        assert len(cases(world)) == 30


async def test_what_was_acknowledged_before_a_stop_is_routed_after_the_start(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url)
    async with running(config, sink) as world:
        await stop_loop(world, "Router.run")
        assert set(await _thirty(world)) == {200}
        assert cases(world) == []
    async with running(config, sink) as world:
        await world.settle()
        assert len(cases(world)) == 30


async def test_the_same_delivery_is_stored_once_however_often_and_at_once_it_comes(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        sent = [send(world, requested(), **{"X-Id": "d-1"}) for _ in range(10)]
        sent += [push(world, {"events": [requested(2)]}) for _ in range(10)]
        assert set(await asyncio.gather(*sent)) == {200}
        await world.settle()
        assert world.rows("SELECT count(*) FROM inbox") == [(2,)]
        assert len(cases(world)) == 2


@pytest.mark.skipif(not POSTGRES, reason="needs a PostgreSQL server: make test-postgresql")
async def test_a_delivery_that_another_process_is_just_writing_is_refused_and_holds_up_no_other(
    tmp_path: Path, sink: Sink
) -> None:
    columns = "account, digest, lane, kind, received_at, due_at, depth, key_id, body"
    twin = f"INSERT INTO inbox (dedupe, {columns}) SELECT $1, {columns} FROM inbox"
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await stop_loop(world, "Router.run")
        assert await send(world, requested(1), **{"X-Id": "d-1"}) == 200
        other = await asyncpg.connect(address(database(tmp_path)))
        transaction = other.transaction()
        await transaction.start()
        await other.execute(twin, inbox_store.digest(b"id:d-2"))
        sent = [send(world, requested(number), **{"X-Id": f"d-{number}"}) for number in (2, 3, 4)]
        assert await asyncio.gather(*sent) == [503, 200, 200]
        await transaction.rollback()
        await other.close()
        assert await send(world, requested(2), **{"X-Id": "d-2"}) == 200
        assert world.rows("SELECT count(*) FROM inbox") == [(4,)]
