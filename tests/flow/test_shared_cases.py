"""Cases of several processes on one PostgreSQL: each routes what comes of its own, and what another leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bank import act, message
from sqlalchemy import Connection, update
from test_limits import cases
from test_shared_limits import beside
from toybox import START, event, requested, send, stop_loop, toybox
from toybox import cases as open_cases

from approvers import a_case as approvers_case
from approvers import approving, given
from rmabridge.model import Commanded
from rmabridge.store import inbox as inbox_store
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


@asynccontextmanager
async def slow_writer(world: World) -> AsyncIterator[tuple[asyncio.Event, asyncio.Event]]:
    """Between its look and its commit this process waits for the second event; the first one tells that it looked."""
    router = world.bridge.router
    looked, go, compute = asyncio.Event(), asyncio.Event(), router._compute

    async def slow(rows: Any) -> Any:
        batch = await compute(rows)
        looked.set()
        await go.wait()
        return batch

    router._compute = slow  # type: ignore[method-assign]
    yield looked, go
    go.set()


async def test_a_scan_that_finds_no_case_while_another_process_opens_it_reaches_that_case(
    tmp_path: Path, sink: Sink
) -> None:
    async with AsyncExitStack() as stack:
        a, b = [await beside(stack, toybox(tmp_path, sink.url), sink) for _ in range(2)]
        await stop_loop(b, "Router.run")
        async with slow_writer(a) as (looked, _):
            scan = event("parcel.seen", "scan", 9, {"return": "R1"}, parcel={"waybill": "SF1"})
            await send(a, scan, **{"X-Lane": "scans"})
            await looked.wait()
            await send(b, requested(1), **{"X-Lane": "requests"})
            await b.bridge.router.turn()
        await a.until(lambda: [one.parcels for one in open_cases(a) if one.parcels])
        assert a.rows("SELECT count(*) FROM waiting") == [(0,)]


async def test_two_processes_that_hear_of_one_order_at_the_same_moment_open_one_case(
    tmp_path: Path, sink: Sink
) -> None:
    said = {"id": "m1", "author": "buyer", "form": "chat", "text": "where?", "at": START.isoformat()}
    async with AsyncExitStack() as stack:
        a, b = [await beside(stack, toybox(tmp_path, sink.url), sink) for _ in range(2)]
        await stop_loop(b, "Router.run")
        async with slow_writer(a) as (looked, _):
            await send(a, event("message.received", "m1", 1, {"order": "O1"}, message=said), **{"X-Lane": "chats"})
            await looked.wait()
            await send(b, requested(1), **{"X-Lane": "requests"})
            await b.bridge.router.turn()
        await a.settle()
        (case,) = open_cases(a)
        assert {one.kind.value for one in case.refs} >= {"order", "return"}


async def test_what_an_agent_gives_in_a_day_is_limited_for_all_processes_together(tmp_path: Path, sink: Sink) -> None:
    config = approving(tmp_path, sink.url)
    config["policies"]["compensation"] = {"daily": "1000 CNY", "limit": "5000 CNY"}
    async with AsyncExitStack() as stack:
        a, b = [await beside(stack, config, sink) for _ in range(2)]
        await sharing(a, b)
        await stop_loop(b, "Router.run")
        ours = await approvers_case(a, 1)
        await stop_loop(a, "Router.run")
        routing = [asyncio.create_task(b.bridge.router.run())]
        theirs = await approvers_case(a, 2)
        routing.append(asyncio.create_task(a.bridge.router.run()))
        async with slow_writer(a) as (looked, _):
            await give_at(a, ours)
            await looked.wait()
            await give_at(b, theirs)
            await b.until(lambda: len(given(b)) == 1)
        await a.until(lambda: a.rows("SELECT count(*) FROM outbox WHERE money AND state = 'held'") == [(1,)])
        await a.settle()
        assert len(given(a)) == 1
        for one in routing:
            one.cancel()


async def give_at(world: World, case: str) -> None:
    """An agent's order of a coupon of 600 CNY."""
    action = {"type": "credit.give", "credit": "coupon", "external": case, "amount": "600 CNY", "part": "all"}
    now = world.bridge.store.clock.now()
    order = Commanded(key=f"give:{case}", at=now, command="act", by="ann", args={"action": action})
    row = world.bridge.router.event_row([order], "bridge", order.key, case_id=case, kind="command")
    await world.bridge.store.write(lambda conn: inbox_store.add(conn, [row]))
    world.bridge.router.wake.set()


async def test_what_comes_while_its_buyer_is_erased_elsewhere_is_sealed_with_a_key_that_lasts(
    tmp_path: Path, sink: Sink
) -> None:
    buyer = {"id": "B1", "name": "李雷"}
    async with AsyncExitStack() as stack:
        a, b = [await beside(stack, toybox(tmp_path, sink.url), sink) for _ in range(2)]
        await stop_loop(b, "Router.run")
        await send(a, requested(1, buyer=buyer))
        await a.settle()
        [(first,)] = a.rows("SELECT id FROM cases")
        async with slow_writer(a) as (looked, _):
            await send(a, requested(2, buyer=buyer), **{"X-Lane": "second"})
            await looked.wait()
            key, store = "erase:1", b.bridge.store
            given = Commanded(
                key=key, at=store.clock.now(), command="erase", by="x", args={"cases": [first], "force": True}
            )
            row = b.bridge.router.event_row([given], "bridge", key, kind="command")
            await store.write(lambda conn: inbox_store.add(conn, [row]))
            await b.bridge.router.turn()
            assert b.rows("SELECT state FROM inbox WHERE kind = 'command'") == [("done",)]
        await a.settle()
        [(second, sealed)] = a.rows(f"SELECT id, key_id FROM cases WHERE id != '{first}'")
        assert a.rows(f"SELECT 1 FROM buyer_keys WHERE id = '{sealed}'") == [(1,)]
        assert second
