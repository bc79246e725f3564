"""A buyer who is erased is forgotten: by the process that did it, and by the others that hold the key in memory."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert
from toybox import command, noted, requested, send, toybox

from rmabridge.config import read
from rmabridge.flow.bridge import Running
from rmabridge.flow.timers import forget
from rmabridge.store import erasures
from rmabridge.store.inbox import pack
from rmabridge.store.tables import inbox
from rmabridge.store.vault import Erased
from rmabridge.testing.simulators.sink import Sink
from stores import POSTGRES, outside
from worlds import running

shared = pytest.mark.skipif(not POSTGRES, reason="a SQLite file is served by one process")


async def test_who_erased_a_buyer_keeps_nothing_of_the_case_at_hand(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, requested(1, buyer={"id": "B1", "name": "李雷"}))
        await world.settle()
        ((case, key),) = world.rows("SELECT id, key_id FROM cases")
        at_hand = world.bridge.router.loader.cache
        assert case in at_hand and world.bridge.store.vault.knows(key)
        assert (await command(world, "erase", cases=[case], force=True))[0] == "done"
        await world.until(lambda: not world.bridge.store.vault.knows(key))
        assert case not in at_hand


@shared
async def test_a_buyer_erased_in_one_process_is_forgotten_by_the_others(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url)
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(running(config, sink))
        other = await stack.enter_async_context(running(config, sink))
        deaf = await stack.enter_async_context(Running(read(config), roles=("intake",)))
        buyer = {"id": "B1", "name": "李雷"}
        await send(world, requested(1, buyer=buyer), requested(2, buyer={"id": "B2"}))
        await world.settle()
        ((case, key, doc),) = world.rows(
            "SELECT id, key_id, doc FROM cases WHERE buyer IS NOT NULL ORDER BY opened_at, id LIMIT 1"
        )
        stores = [one.store for one in (world.bridge, other.bridge, deaf)]
        for one in stores:
            one.keys_for({key})
            assert one.vault.open(key, doc)
        assert (await command(world, "erase", cases=[case], force=True))[0] == "done"
        await world.until(lambda: not any(one.vault.knows(key) for one in stores))
        await world.until(lambda: not any(case in one.bridge.router.loader.cache for one in (world, other)))
        for one in stores:
            one.keys_for({key})
            with pytest.raises(Erased):
                one.vault.open(key, doc)
        await send(other, noted("still there", 2))
        await other.settle()
        assert world.rows("SELECT count(*) FROM inbox WHERE state = 'parked'") == [(0,)]


@shared
async def test_who_missed_more_than_the_list_holds_forgets_all_keys(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "MOST", 2)
    config = toybox(tmp_path, sink.url)
    async with running(config, sink) as world:
        store, heard = world.bridge.store, erasures.Erasures()
        assert not store.read(lambda conn: heard.hear(conn, store.vault)), (
            "what was erased before it began it never had"
        )
        store.day_key()
        assert store.vault.held
        outside(config["bridge"]["database"], lambda conn: erasures.note(conn, ["a", "b", "c"]))
        assert store.read(lambda conn: heard.hear(conn, store.vault))
        assert store.vault.held == []
        store.day_key()
        outside(config["bridge"]["database"], lambda conn: erasures.note(conn, ["d"]))
        assert store.read(lambda conn: heard.hear(conn, store.vault))
        assert store.vault.held, "only what was erased is dropped"


async def test_an_event_number_is_not_given_a_second_time(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, requested(1))
        await world.settle()
        store = world.bridge.store
        later = store.clock.now() + timedelta(days=400)
        await store.write(lambda conn: forget(conn, store._settings, later))
        ((last,),) = world.rows("SELECT max(inbox_id) FROM timeline")
        await send(world, requested(2))
        await world.settle()
        assert world.rows(f"SELECT count(*) FROM timeline WHERE inbox_id = {last}") == [(1,)]


async def test_more_is_given_up_than_a_statement_takes_values(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        store, day = world.bridge.store, world.bridge.store.day_key()
        row = {"account": "shop", "digest": b"", "lane": 0, "kind": "import", "state": "unmatched", "received_at": 1}
        row |= {"key_id": day, "body": b"", "settled_at": 1, "due_at": 0, "depth": 0}
        rows = [row | {"dedupe": number.to_bytes(4, "big")} for number in range(33_000)]
        await store.write(lambda conn: conn.execute(insert(inbox), rows))
        await store.write(lambda conn: forget(conn, store._settings, store.clock.now()))
        assert world.rows("SELECT count(*) FROM inbox WHERE state = 'parked'") == [(len(rows),)]


async def test_who_is_erased_is_looked_for_in_all_rows_that_were_set_aside(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, requested(1, buyer={"id": "B1", "email": "lilei@example.com"}))
        await world.settle()
        store = world.bridge.store
        row = {"account": "shop", "digest": b"", "lane": 0, "kind": "hook", "state": "parked", "received_at": 1}
        row |= {"key_id": store.day_key(), "settled_at": 1, "due_at": 0, "depth": 0}
        bodies = [*[b"nothing"] * 1_100, b"from lilei@example.com"]
        sealed = [store.vault.seal(row["key_id"], pack({}, one)) for one in bodies]
        rows = [row | {"dedupe": n.to_bytes(4, "big"), "body": one} for n, one in enumerate(sealed)]
        await store.write(lambda conn: conn.execute(insert(inbox), rows))
        ((case,),) = world.rows("SELECT id FROM cases")
        await command(world, "close", case, result="done")
        state, said = await command(world, "erase", cases=[case])
        assert state == "refused" and said and "are set aside and tell of this buyer" in said
