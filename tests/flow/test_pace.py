"""Webhooks go first; the router and the dispatcher keep a share, so that nothing waits for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic

import pytest
from toybox import cases, requested, send, toybox

from rmabridge.flow import intake as intakes
from rmabridge.flow import pace as paces
from rmabridge.flow.pace import LONGEST, PATIENCE, SLICE, Pace
from rmabridge.testing.simulators.sink import Sink
from worlds import running


@pytest.mark.parametrize(("owed", "waits"), [(SLICE * 2, SLICE * 2 * PATIENCE), (3.0, LONGEST)])
async def test_what_was_worked_is_waited_for_so_many_times_once(
    monkeypatch: pytest.MonkeyPatch, owed: float, waits: float
) -> None:
    pace, asked = Pace(), []

    async def quiet(until: float) -> None:
        asked.append(until - 100.0)

    pace.quiet = quiet
    monkeypatch.setattr(paces, "monotonic", lambda: 100.0)
    pace.worked(owed)
    await pace.give_way()
    await pace.give_way()
    assert asked == [pytest.approx(waits)]


async def test_short_work_gives_way_to_nobody() -> None:
    pace = Pace()

    async def quiet(_: float) -> None:
        raise AssertionError

    pace.quiet = quiet
    pace.worked(SLICE / 2)
    await pace.give_way()


async def test_in_a_burst_webhooks_that_are_on_their_way_to_the_disk_are_waited_for(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intakes, "BURST", 3600.0)
    async with running(toybox(tmp_path, sink.url), sink) as world:
        intake, gate = world.bridge.intake, asyncio.Event()
        commit = intake._commit

        async def held(taken: list[object]) -> None:
            await gate.wait()
            await commit(taken)

        monkeypatch.setattr(intake, "_commit", held)
        sent = asyncio.create_task(send(world, requested(1)))
        while intake._flushing is None:
            await asyncio.sleep(0.01)
        intake._crowded = monotonic()
        waiting = asyncio.create_task(intake.quiet(monotonic() + 3600))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        gate.set()
        await asyncio.gather(waiting, sent)


async def test_single_webhooks_keep_nobody_from_work(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        intake = world.bridge.intake
        intake._flushing = asyncio.create_task(asyncio.sleep(3600))
        await intake.quiet(monotonic() + 3600)
        intake._flushing.cancel()
        intake._flushing = None


async def test_a_burst_that_does_not_end_is_waited_for_no_longer_than_was_said(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intakes, "BURST", 3600.0)
    async with running(toybox(tmp_path, sink.url), sink) as world:
        intake = world.bridge.intake
        intake._crowded = monotonic()
        intake._flushing = asyncio.create_task(asyncio.sleep(3600))
        await intake.quiet(monotonic() + 0.02)
        assert not intake._flushing.done()
        intake._flushing.cancel()
        intake._flushing = None


async def test_after_a_crowd_more_are_waited_for(tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intakes, "LULL", 0.05)
    async with running(toybox(tmp_path, sink.url), sink) as world:
        intake = world.bridge.intake
        sent = [send(world, requested(number)) for number in range(30)]
        assert set(await asyncio.gather(*sent)) == {200}
        assert (crowded := intake._crowded) > 0
        await intake.quiet(monotonic() + 3600)
        assert monotonic() - crowded >= 0.05
        await world.settle()
        assert len(cases(world)) == 30
