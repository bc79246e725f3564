"""What a buyer says of the ways to them holds in all their cases, in whichever order and case it is heard."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from toybox import cases, event, requested, send, toybox

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


async def test_another_buyers_word_and_another_form_close_nothing(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        for one in (asks("B1", 1), said("B1", 1, "buyer.opted_out", 5), asks("B2", 1), asks("B1", 2)):
            assert await send(world, one) == 200
        await world.settle()
        assert [closed(world, "B2", 1), closed(world, "B1", 2)] == [(), ("shop/sms",)]
