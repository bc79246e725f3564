"""Limits and breakers of several processes on one PostgreSQL: the vendor sees one bridge."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from bank import act, message
from clocked import Clocked
from test_limits import cases, two_channels
from toybox import command, requested, send, shift

from rmabridge.testing.simulators.sink import Sink
from serving import Child
from stores import POSTGRES
from worlds import World, running

pytestmark = pytest.mark.skipif(not POSTGRES, reason="a SQLite file is served by one process")
DONE = "SELECT count(*) FROM outbox WHERE state = 'done'"


async def beside(stack: AsyncExitStack, config: dict[str, Any], sink: Sink) -> World:
    """One more bridge on the same database."""
    return await stack.enter_async_context(running(config, sink))


async def messages(world: World, ids: list[str], account: str) -> None:
    """A message for each case."""
    await command(world, "pause", account=account)
    await asyncio.gather(*(act(world, one, message(f"{account}:{one}", account=account)) for one in ids))
    await command(world, "resume", account=account)


@pytest.mark.row("P18")
async def test_three_processes_together_never_exceed_the_limit_while_one_joins_and_one_is_killed(
    tmp_path: Path, sink: Sink, vendor: Clocked
) -> None:
    """120 calls where 20 a second may go; the third process comes in the middle, and the second is killed."""
    config = two_channels(tmp_path, sink.url, vendor.url, rate="20/s", in_flight=50)
    config["services"]["other"]["calls"] = {"message.send": {"repeatable": True}}
    second = Child(config, tmp_path)
    async with AsyncExitStack() as stack:
        world = await beside(stack, config, sink)
        await second.start(60)
        ids = await cases(world, 120)
        try:
            await messages(world, ids, "other")
            await world.until(lambda: len(vendor.came) >= 30, 30)
            await beside(stack, config, sink)
            await world.until(lambda: len(vendor.came) >= 70, 30)
        finally:
            await second.kill()
        await world.until(lambda: world.rows(DONE) == [(120,)], 60)
    took = vendor.came[-1] - vendor.came[0]
    print(f"{len(vendor.came)} calls in {took:.1f} s, at most {vendor.most_within(1.0)} in any second")
    assert vendor.most_within(1.0) <= 20
    assert len(vendor.keys) == 120


async def test_what_has_no_turn_for_long_is_given_back_and_burns_no_try(
    tmp_path: Path, sink: Sink, vendor: Clocked
) -> None:
    config = two_channels(tmp_path, sink.url, vendor.url, rate="15/min", in_flight=50)
    async with AsyncExitStack() as stack:
        world, other = [await beside(stack, config, sink) for _ in range(2)]
        await messages(world, await cases(world, 16), "other")
        await world.until(lambda: len(vendor.came) == 15)
        await world.until(lambda: not world.rows("SELECT 1 FROM outbox WHERE state = 'sending'"))
        assert dict(world.rows("SELECT state, count(*) FROM outbox GROUP BY 1")) == {"done": 15, "due": 1}
        assert dict(world.rows("SELECT state, tries FROM outbox")) == {"done": 1, "due": 0}
        assert {one.bridge.dispatcher.gates["other"].failures for one in (world, other)} == {0}


@pytest.mark.row("P19")
async def test_a_breaker_that_opens_in_one_process_is_open_in_the_others_and_one_alone_probes(
    tmp_path: Path, sink: Sink
) -> None:
    async with Sink() as bad, AsyncExitStack() as stack:
        bad.do_answer(503, times=10_000)
        config = two_channels(tmp_path, sink.url, bad.url, breaker=3, in_flight=1)
        worlds = [await beside(stack, config, sink) for _ in range(3)]
        gates = [one.bridge.dispatcher.gates["other"] for one in worlds]
        world = worlds[0]
        await messages(world, await cases(world, 30), "other")
        await world.until(lambda: all(one.open_until for one in gates))
        before = bad.books["refused"]
        assert before <= 3 * 3
        for number in range(1, 4):
            for one in worlds:
                shift(one, seconds=31)
            await world.until(lambda n=number: bad.books["refused"] == before + n)
            await world.until(lambda: all(one.open_until > world.bridge.store.clock.now() for one in gates))
            await asyncio.sleep(0.1)
            assert bad.books["refused"] == before + number
        late = await beside(stack, config, sink)
        shift(late, seconds=93)
        gates.append(late.bridge.dispatcher.gates["other"])
        await world.until(lambda: gates[-1].open_until)
        bad._answers.clear()
        for one in [*worlds, late]:
            shift(one, seconds=31)
        await world.until(lambda: not any(one.open_until for one in gates))
        while world.rows(DONE) != [(30,)]:
            for one in [*worlds, late]:
                shift(one, minutes=3)  # less than a lease, or what is just being sent would count as left behind
            await world.until(lambda: not world.rows("SELECT 1 FROM outbox WHERE state = 'sending'"))
            await asyncio.sleep(0.1)
        assert {one["times"] for one in bad.books["ids"].values()} == {1}


@pytest.mark.row("P55")
async def test_two_processes_share_the_calls_that_may_be_under_way_and_one_that_sends_nothing_has_no_part(
    tmp_path: Path, sink: Sink, vendor: Clocked
) -> None:
    config = two_channels(tmp_path, sink.url, vendor.url, in_flight=4)
    async with AsyncExitStack() as stack:
        worlds = [await beside(stack, config, sink) for _ in range(2)]
        await stack.enter_async_context(running(config, sink, roles=("intake",)))
        gates = [one.bridge.dispatcher.gates["other"] for one in worlds]
        await worlds[0].until(lambda: [one.among for one in gates] == [2, 2])
        await messages(worlds[0], await cases(worlds[0], 40), "other")
        await worlds[0].until(lambda: worlds[0].rows(DONE) == [(40,)], 30)
    assert vendor.most <= 4
    assert len(vendor.keys) == len(vendor.came) == 40


async def test_two_processes_together_take_no_more_webhooks_than_the_intake_rate(tmp_path: Path, sink: Sink) -> None:
    config = two_channels(tmp_path, sink.url, sink.url)
    config["marketplaces"]["shop"]["intake_rate"] = "20/s"
    async with AsyncExitStack() as stack:
        worlds = [await beside(stack, config, sink) for _ in range(2)]
        for one in worlds:
            await one.until(partial(_knows, one, 2))
        began = monotonic()
        asked = (send(one, requested(f"{number}-{at}")) for at, one in enumerate(worlds) for number in range(60))
        taken = (await asyncio.gather(*asked)).count(200)
        # a second's worth may have been saved up
        assert 1 <= taken <= 20 * (monotonic() - began) + 20 + len(worlds)


def _knows(world: World, number: int) -> bool:
    world.bridge.intake.admit()
    return world.bridge.intake._living == number
