"""A refund is not paid twice when the money went back by another way while ours waited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bank import Bank, act, banking, held, reaches, refund, row
from toybox import START, cases, command, event, send, shift

from rmabridge.testing.simulators.sink import Sink
from worlds import World, running

KEY = "refund:R1:all"
WHOLE = {"amount": "900.00", "currency": "CNY"}


@pytest.fixture
async def bank() -> AsyncIterator[Bank]:
    async with Bank() as found:
        yield found


async def asked(world: World) -> str:
    """A request for the money of an order of 900 CNY; its case."""
    line = {"id": "L1", "sku": "A", "quantity": 1, "price": WHOLE}
    order = {"id": "O1", "total": WHOLE, "placed_at": START.isoformat(), "lines": [line]}
    refs = {"return": "R1", "order": "O1"}
    await send(
        world,
        event("case.requested", "a1", 0, refs, kind="refund", amount=WHOLE, buyer={"id": "B1", "name": "x"}),
        event("order.seen", "o1", 0, {"order": "O1"}, order=order),
    )
    await world.settle()
    return cases(world)[0].id


def paid(amount: str = "900.00", **fields: Any) -> dict[str, Any]:
    """A colleague pays at the marketplace itself."""
    money = {"amount": amount, "currency": "CNY"}
    return event("refund.seen", f"paid:{amount}", 31, {"return": "R1"}, refund="F1", amount=money, **fields)


NEWS = {
    "paid": paid(),
    "on its way": paid(status="pending"),
    "cancelled": event("request.changed", "c", 31, {"return": "R1"}, status="cancelled"),
    "declined": event("request.changed", "d", 31, {"return": "R1"}, status="declined"),
}


@pytest.mark.parametrize("policies", [("returns",), ("compensation",), ("returns", "compensation")])
@pytest.mark.parametrize("news", NEWS)
async def test_an_approval_from_before_the_news_does_not_pay_what_went_back_already(
    tmp_path: Path, sink: Sink, bank: Bank, news: str, policies: tuple[str, ...]
) -> None:
    async with running(banking(tmp_path, sink.url, bank.url, *policies), sink) as world:
        case = await asked(world)
        await act(world, case, refund(1, "900.00", order="O1"))
        assert row(world, KEY)["state"] == "held"
        await send(world, NEWS[news])
        await world.settle()
        state, said = await command(world, "approve", approval=1)
        assert (state, bank.times_paid) == ("done", 0)
        assert said and said.startswith(f"{KEY}: held: bridge.refunded: ")
        [(number,)] = world.rows("SELECT id FROM approvals WHERE state = 'waiting'")
        assert (await command(world, "approve", approval=number))[0] == "done"
        await reaches(world, KEY, "done")
        assert bank.times_paid == 1


async def test_what_waits_for_a_paused_account_is_held_when_the_money_went_back_meanwhile(
    tmp_path: Path, sink: Sink, bank: Bank
) -> None:
    async with running(banking(tmp_path, sink.url, bank.url), sink) as world:
        case = await asked(world)
        await command(world, "pause", account="bank")
        await act(world, case, refund(1, "900.00", order="O1"))
        await send(world, paid())
        await command(world, "resume", account="bank")
        found = await reaches(world, KEY, "held")
        assert "900.00 CNY went back to the buyer already; 0 CNY is left" in found["cause"]
        assert bank.times_paid == 0


async def test_what_is_left_is_paid(tmp_path: Path, sink: Sink, bank: Bank) -> None:
    async with running(banking(tmp_path, sink.url, bank.url), sink) as world:
        case = await asked(world)
        await command(world, "pause", account="bank")
        await act(world, case, refund(1, "400.00", order="O1"))
        await send(world, paid("500.00"))
        await command(world, "resume", account="bank")
        await reaches(world, KEY, "done")


async def test_the_news_of_our_own_refund_does_not_stop_it(tmp_path: Path, sink: Sink, bank: Bank) -> None:
    async with running(banking(tmp_path, sink.url, bank.url), sink) as world:
        case = await asked(world)
        async with held(bank):
            await act(world, case, refund(1, "900.00", order="O1"))
            await world.until(lambda: bank.times_paid)
            message = {"type": "message.send", "account": "mail", "form": "mail", "to": "b@example.com", "text": "paid"}
            await act(world, case, message | {"purpose": "after", "needs": KEY})
            await send(world, paid())
            await world.until(lambda: cases(world)[0].status == "refunded")
        await reaches(world, KEY, "done")
        await reaches(world, "after", "done")
        assert bank.times_paid == 1


async def test_a_refund_that_an_earlier_try_may_have_paid_is_looked_up_when_the_money_is_seen(
    tmp_path: Path, sink: Sink, bank: Bank
) -> None:
    call = {"repeatable": True, "find": {"path": "payments/{key}", "found": "id"}}
    async with running(banking(tmp_path, sink.url, bank.url, call=call), sink) as world:
        case = await asked(world)
        bank.answers.append(503)
        await act(world, case, refund(1, "900.00", order="O1"))
        await world.until(lambda: row(world, KEY)["state"] == "due" and row(world, KEY)["tries"] == 1)
        await send(world, paid())
        await world.settle()
        shift(world, hours=1)
        await reaches(world, KEY, "done", seconds=30)
        assert (bank.times_paid, bank.books["looked"] > 0) == (1, True)
