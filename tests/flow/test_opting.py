"""What a buyer says of the ways to them holds in all their cases, in whichever order and case it is heard."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from bank import act, message
from toybox import cases, event, requested, send, timeline, toybox

from rmabridge.model import Commanded, Form, OptedOut
from rmabridge.store import inbox as inbox_store
from rmabridge.testing.simulators.sink import Sink
from worlds import World, running

SAID = (("buyer.opted_out", 10), ("buyer.opted_in", 20), ("buyer.opted_out", 30), ("buyer.opted_in", 40))


def said(buyer: str, number: int, type_: str, minute: int) -> dict[str, Any]:
    return event(type_, f"{buyer}:{minute}", minute, {"return": f"R{buyer}-{number}"}, form="sms")


def asks(buyer: str, number: int) -> dict[str, Any]:
    return requested(f"{buyer}-{number}", number, buyer={"id": buyer})


def closed(world: World, buyer: str, number: int) -> tuple[str, ...]:
    (case,) = [one for one in cases(world) if one.ref("return") == f"R{buyer}-{number}"]
    return case.talk.closed


@pytest.mark.parametrize("last", [3, 4])
async def test_the_last_word_counts_in_a_later_case_however_the_words_come_and_in_whichever_case(
    last: int, tmp_path: Path, sink: Sink
) -> None:
    orders = list(permutations(SAID[:last]))
    async with running(toybox(tmp_path, sink.url), sink) as world:
        for number, order in enumerate(orders):
            buyer = f"B{number}"
            words = [said(buyer, 1 + place % 2, *one) for place, one in enumerate(order)]
            for one in (asks(buyer, 1), asks(buyer, 2), *words, asks(buyer, 3)):
                assert await send(world, one) == 200
        await world.settle(60)
        expected = ("shop/sms",) if last == 3 else ()
        assert {closed(world, f"B{number}", 3) for number in range(len(orders))} == {expected}


async def test_what_waits_in_the_buyers_other_case_is_cancelled_by_the_word_alone(tmp_path: Path, sink: Sink) -> None:
    """The mail vendor asks for a pause; no further event of the other cases comes."""
    sink.do_answer(429, times=10_000, headers={"Retry-After": "600"})
    async with running(toybox(tmp_path, sink.url), sink) as world:
        for one in (asks("B1", 1), asks("B1", 2), asks("B2", 3)):
            assert await send(world, one) == 200
        await world.settle()
        first, second, other = (one.id for one in cases(world))
        for case in (second, other):
            await act(world, case, message("late"))
        states = "SELECT case_id, state FROM outbox WHERE attempt > 0 AND type = 'message.send'"
        await world.until(lambda: dict(world.rows(states)) == {second: "due", other: "due"})
        word = OptedOut(key="stop", at=world.bridge.store.clock.now(), form=Form.MAIL)
        heard = world.bridge.router.event_row([word], "mail", "stop", case_id=first)
        await world.bridge.store.write(lambda conn: inbox_store.add(conn, [heard]))
        world.bridge.router.wake.set()
        await world.until(lambda: dict(world.rows(states)) == {second: "cancelled", other: "due"})
        assert "buyer.opted_out" in timeline(world, second)
        assert "buyer.opted_out" not in timeline(world, other)


async def test_what_is_proposed_in_the_same_batch_as_the_word_is_cancelled_too(tmp_path: Path, sink: Sink) -> None:
    sink.do_answer(429, times=10_000, headers={"Retry-After": "600"})
    async with running(toybox(tmp_path, sink.url), sink) as world:
        for one in (asks("B1", 1), asks("B1", 2)):
            assert await send(world, one) == 200
        await world.settle()
        (first, second), bridge = (one.id for one in cases(world)), world.bridge
        now = bridge.store.clock.now()
        order = Commanded(key="act", at=now, command="act", by="tester", args={"action": message("late")})
        word = OptedOut(key="stop", at=now, form=Form.MAIL)
        rows = [
            bridge.router.event_row([order], "bridge", "act", case_id=second, kind="command"),
            bridge.router.event_row([word], "mail", "stop", case_id=first),
        ]
        await bridge.store.write(lambda conn: inbox_store.add(conn, rows))
        bridge.router.wake.set()
        states = "SELECT state FROM outbox WHERE type = 'message.send'"
        await world.until(lambda: world.rows(states) == [("cancelled",)])


async def test_another_buyers_word_and_another_form_close_nothing(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        for one in (asks("B1", 1), said("B1", 1, "buyer.opted_out", 5), asks("B2", 1), asks("B1", 2)):
            assert await send(world, one) == 200
        await world.settle()
        assert [closed(world, "B2", 1), closed(world, "B1", 2)] == [(), ("shop/sms",)]
