"""Cases of several processes on one PostgreSQL: each routes what comes of its own, and what another leaves."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
from bank import act, message
from sqlalchemy import Connection, update
from test_limits import cases
from test_shared_limits import beside
from toybox import stop_loop, toybox

from rmabridge.store import queue
from rmabridge.store.tables import outbox
from rmabridge.testing.simulators.sink import Sink
from stores import POSTGRES
from worlds import World

pytestmark = pytest.mark.skipif(not POSTGRES, reason="a SQLite file is served by one process")


async def sharing(*worlds: World) -> None:
    """Wait until all know of each other."""
    for one in worlds:
        await one.until(partial(lambda store: store._share[0] == len(worlds), one.bridge.store), 30)


async def test_each_process_routes_what_comes_of_the_cases_that_it_opened(tmp_path: Path, sink: Sink) -> None:
    """Each has other cases at hand, though either may have sent their messages and written down how that ended."""
    async with AsyncExitStack() as stack:
        worlds = [await beside(stack, toybox(tmp_path, sink.url), sink) for _ in range(2)]
        await sharing(*worlds)
        ids = await cases(worlds[0], 40)
        for one in ids:
            await act(worlds[0], one, message("m1"))
        await worlds[0].until(lambda: worlds[0].rows("SELECT count(*) FROM outbox WHERE state = 'done'") == [(40,)])
        await worlds[0].settle()
        first, second = ({*one.bridge.router.loader.cache} for one in worlds)
        assert first | second == set(ids)
        assert len(first & second) <= 10, "but for what was left for seconds on a slow machine"


async def test_what_a_silent_process_leaves_is_routed_by_the_others(tmp_path: Path, sink: Sink) -> None:
    async with AsyncExitStack() as stack:
        worlds = [await beside(stack, toybox(tmp_path, sink.url), sink) for _ in range(2)]
        await sharing(*worlds)
        ids = await cases(worlds[0], 20)
        await stop_loop(worlds[1], "Router.run")
        for one in ids:
            await act(worlds[0], one, message("m1"))
        await worlds[0].until(lambda: worlds[0].rows("SELECT count(*) FROM outbox WHERE state = 'done'") == [(20,)], 30)


async def test_what_a_process_proposed_it_sends_and_the_others_what_it_left(tmp_path: Path, sink: Sink) -> None:
    async with AsyncExitStack() as stack:
        worlds = [await beside(stack, toybox(tmp_path, sink.url), sink) for _ in range(2)]
        await sharing(*worlds)
        for one in worlds:
            await stop_loop(one, "Dispatcher.run")
        for one in await cases(worlds[0], 20):
            await act(worlds[0], one, message("m1"))
        count = "SELECT count(*) FROM outbox WHERE state = '{}'".format
        await worlds[0].until(lambda: worlds[0].rows(count("due")) == [(20,)])
        ((due, owner),) = worlds[0].rows("SELECT due_at, owner FROM outbox ORDER BY due_at DESC, id LIMIT 1")
        store = worlds[0].bridge.store
        assert owner in {one.bridge.store.me for one in worlds}

        def finds(conn: Connection, now: int, who: str) -> bool:
            conn.execute(update(outbox).values(owner=owner, due_at=due))
            return queue.any_due(conn, now, who, ["mail"])

        for now, who, found in ((due, owner, True), (due, "another", False), (due + queue.LEFT + 1, "another", True)):
            assert await store.write(partial(finds, now=now, who=who)) is found
        gone = next(one for one in worlds if one.bridge.store.me == owner)
        other = next(one for one in worlds if one is not gone)
        sending = asyncio.create_task(other.bridge.dispatcher.run())
        await other.until(lambda: other.rows(count("done")) == [(20,)], 30)
        sending.cancel()
