"""The token that an account was given: readable whoever stored it first, and whatever failed before."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from toybox import toybox

from rmabridge.config import read
from rmabridge.flow.bridge import Running
from rmabridge.flow.tokens import LEASE, RENEWS, StoredTokens
from rmabridge.store import ops
from rmabridge.testing.simulators.sink import Sink
from stores import POSTGRES
from worlds import running


async def test_a_token_is_read_after_a_restart_though_its_first_write_failed(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toybox(tmp_path, sink.url)
    async with running(config, sink) as world:
        store = world.bridge.store

        async def full(*_: Any) -> None:
            raise OperationalError("INSERT", None, OSError("disk full"))

        with monkeypatch.context() as patched:
            patched.setattr(store, "write", full)
            with pytest.raises(OperationalError):
                await StoredTokens(store, "shop").put({"access_token": "a"})
        await StoredTokens(store, "shop").put({"access_token": "a"})
    async with running(config, sink) as world:
        assert await StoredTokens(world.bridge.store, "shop").get() == {"access_token": "a"}


@pytest.mark.skipif(not POSTGRES, reason="a SQLite file is served by one process")
async def test_of_two_processes_that_store_the_first_token_both_can_read_it(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url)
    async with running(config, sink) as one, Running(read(config), roles=("intake", "dispatcher")) as two:
        both = [StoredTokens(store, "shop") for store in (one.bridge.store, two.store)]
        await asyncio.gather(*(tokens.put({"access_token": str(n)}) for n, tokens in enumerate(both)))
        assert await both[0].get() == await both[1].get()
    async with running(config, sink) as world:
        assert await StoredTokens(world.bridge.store, "shop").get()


async def test_a_token_is_renewed_by_one_at_a_time_in_whichever_process(tmp_path: Path, sink: Sink) -> None:
    config, inside = toybox(tmp_path, sink.url), []

    async def renew(tokens: StoredTokens) -> None:
        async with tokens.renewing():
            inside.append(+1)
            await asyncio.sleep(0.01)
            inside.append(-1)

    async with AsyncExitStack() as stack:
        stores = [(await stack.enter_async_context(running(config, sink))).bridge.store]
        if POSTGRES:
            other = Running(read(config), roles=("intake", "dispatcher"))
            stores.append((await stack.enter_async_context(other)).store)
        await asyncio.gather(*(renew(StoredTokens(store, "shop")) for store in stores * 3))
    assert inside == [+1, -1] * (len(inside) // 2)
    assert len(inside) == 2 * 3 * len(stores)


async def test_who_died_while_renewing_a_token_is_waited_for_no_longer_than_the_lease(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        store = world.bridge.store
        await store.write(lambda conn: ops.take(conn, "shop", RENEWS, "dead", store.clock.micros(), LEASE))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), StoredTokens(store, "shop").renewing():
                pass
        for jump in (2 * LEASE, -4 * LEASE):  # a clock that was ahead keeps nobody out for longer
            await store.write(lambda conn: ops.take(conn, "shop", RENEWS, "dead", store.clock.micros(), LEASE))
            store.clock.offset += timedelta(microseconds=jump)
            async with asyncio.timeout(20), StoredTokens(store, "shop").renewing():
                pass
