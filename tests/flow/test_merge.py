"""Two open cases turn out to be one: the older absorbs the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from toybox import (
    all_cases,
    cases,
    command,
    event,
    inbox,
    ledger,
    noted,
    requested,
    said,
    send,
    shift,
    timeline,
    toybox,
)

from rmabridge.store import cases as case_store
from rmabridge.testing.simulators.sink import Sink
from worlds import World, running


def same(*numbers: int, key: str = "same") -> dict[str, Any]:
    """An event that names several returns: they are one."""
    refs = [{"kind": "return", "value": f"R{number}"} for number in numbers]
    return event("ticket.seen", key, 30, status="open") | {"refs": refs}


async def two(world: World) -> None:
    await send(world, requested(1))
    await send(world, requested(2, 5))
    await world.settle()
    assert len(cases(world)) == 2


async def test_the_older_absorbs_the_other_which_stays_as_a_pointer(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await two(world)
        await send(world, event("parcel.seen", "p", 9, {"return": "R2"}, parcel={"waybill": "SF1"}))
        await send(world, same(1, 2))
        await world.settle()
        winner, loser = all_cases(world)
        assert (winner.merged_into, loser.merged_into) == (None, winner.id)
        assert [one.waybill for one in winner.parcels] == ["SF1"]
        assert {one.value for one in winner.refs} >= {"R1", "R2", "O1", "O2", "SF1"}
        assert timeline(world, winner.id) == ["case.requested", "case.merged", "ticket.seen"]
        assert timeline(world, loser.id) == ["case.requested", "parcel.seen", "case.merged"]
        assert world.rows(f"SELECT count(*) FROM case_keys WHERE case_id = '{loser.id}'") == [(0,)]
        for one in (winner, loser):
            assert world.bridge.store.read(lambda conn, case=one.id: case_store.broken_links(conn, case)) == []
        await send(world, event("request.changed", "yes", 31, {"return": "R2"}, status="approved"))
        await world.settle()
        assert cases(world)[0].status == "approved"
        assert await command(world, "note", loser.id, text="found by its old name") == ("done", "noted")
        assert timeline(world, winner.id)[-2:] == ["request.changed", "noted"]


async def test_what_is_pending_moves_and_of_two_that_do_the_same_one_is_cancelled(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url, "scripted")
    config["policies"] = {"scripted": {"window": (datetime.now(UTC) + timedelta(hours=8)).isoformat()}}
    async with running(config, sink) as world:
        await two(world)
        await send(world, noted("say both", 1, "n1"), noted("say both", 2, "n2"), noted("say mine", 2))
        await world.settle()
        winner, loser = cases(world)
        await send(world, same(1, 2))
        await world.settle()
        rows = world.rows("SELECT case_id, key, state FROM outbox ORDER BY id")
        assert rows == [
            (winner.id, "say:both", "held"),
            (loser.id, "say:both", "cancelled"),
            (winner.id, "say:mine", "held"),
        ]
        shift(world, hours=9)
        await world.until(lambda: sorted(said(world)) == ["both", "mine"])


async def test_an_approval_of_what_moved_is_still_good(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        await two(world)
        await send(world, noted("say ask", 2))
        await world.settle()
        await send(world, same(1, 2))
        await world.settle()
        assert await command(world, "approve", approval=1) == ("done", "say:ask: due")
        await world.until(lambda: said(world) == ["ask"])


async def test_clocks_of_the_absorbed_case_go_on(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        await two(world)
        soon = (datetime.now(UTC) + timedelta(hours=1)).timestamp()
        await send(world, noted(f"timer remind {soon}", 2))
        await world.settle()
        await send(world, same(1, 2))
        await world.settle()
        (winner,) = cases(world)
        assert [one.name for one in winner.deadlines] == ["remind"]
        shift(world, hours=2)
        await world.until(lambda: "deadline.reached" in timeline(world, winner.id))


async def test_a_case_that_absorbed_others_is_absorbed_with_all_it_knows(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await two(world)
        await send(world, requested(3, 10))
        await send(world, event("parcel.seen", "p", 12, {"return": "R3"}, parcel={"waybill": "SF3"}))
        await send(world, same(2, 3, key="first"))
        await world.settle()
        await send(world, same(1, 2, key="second"))
        await world.settle()
        (winner,) = cases(world)
        assert [one.waybill for one in winner.parcels] == ["SF3"]
        absorbed = [one for one in all_cases(world) if one.id != winner.id]
        assert len(absorbed) == 2
        assert {one.merged_into for one in absorbed} < {winner.id, *(one.id for one in absorbed)}
        await send(world, event("request.changed", "yes", 31, {"return": "R3"}, status="approved"))
        await world.settle()
        assert cases(world)[0].status == "approved"


@pytest.mark.parametrize("together", [True, False])
async def test_a_closed_case_is_not_absorbed(tmp_path: Path, sink: Sink, together: bool) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await two(world)
        older = cases(world)[0]
        assert await command(world, "close", older.id) == ("done", "closed")
        await send(world, same(1, 2) if together else same(2))
        await world.settle()
        assert len(cases(world)) == 2
        assert timeline(world, cases(world)[1].id)[-1] == "ticket.seen"


async def test_three_become_one_in_one_batch_and_nothing_is_parked(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        await send(world, requested(1), requested(2, 1), noted("say two", 2), requested(3, 2), same(3, 2, 1))
        await world.settle()
        (winner,) = cases(world)
        assert timeline(world, winner.id).count("case.merged") == 2
        assert [one[1] for one in inbox(world)] == ["done"] * len(inbox(world))
        assert ledger(world) == {"say:two": "done"}
