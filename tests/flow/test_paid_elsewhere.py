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


async def asked(world: World, amount: str = "900.00") -> str:
    """A request for so much of the money of an order of 900 CNY; its case."""
    line = {"id": "L1", "sku": "A", "quantity": 1, "price": WHOLE}
    order = {"id": "O1", "total": WHOLE, "placed_at": START.isoformat(), "lines": [line]}
    refs = {"return": "R1", "order": "O1"}
    await send(
        world,
        event(
            "case.requested",
            "a1",
            0,
            refs,
            kind="refund",
            amount=WHOLE | {"amount": amount},
            buyer={"id": "B1", "name": "x"},
        ),
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
WHY = {
    "paid": "refunded:900.00CNY",
    "on its way": "refunded:900.00CNY",
    "cancelled": "cancelled",
    "declined": "declined",
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
        assert said and said.startswith(f"{KEY}: held: bridge.{WHY[news]}: ")
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


PARTS = {
    "one article of two": ("300.00", {"amount": "300.00", "currency": "CNY"}),
    "no amount told": ("900.00", None),
    "in the buyer's currency": ("900.00", {"amount": "115.00", "currency": "EUR"}),
}


@pytest.mark.parametrize("told", PARTS)
async def test_a_refund_of_this_request_that_a_colleague_paid_is_seen_whatever_is_left_of_the_order(
    tmp_path: Path, sink: Sink, bank: Bank, told: str
) -> None:
    amount, seen = PARTS[told]
    async with running(banking(tmp_path, sink.url, bank.url), sink) as world:
        case = await asked(world, amount)
        await command(world, "pause", account="bank")
        await act(world, case, refund(1, amount, order="O1"))
        fields = {"amount": seen} if seen else {}
        await send(world, event("refund.seen", "by hand", 31, {"return": "R1"}, refund="F1", **fields))
        await command(world, "resume", account="bank")
        found = await reaches(world, KEY, "held")
        assert found["cause"].startswith("bridge.refunded:")
        assert bank.times_paid == 0


@pytest.mark.parametrize("news", ["more", "cancelled"])
async def test_who_approved_of_one_fact_approved_of_no_other(tmp_path: Path, sink: Sink, bank: Bank, news: str) -> None:
    async with running(banking(tmp_path, sink.url, bank.url), sink) as world:
        case = await asked(world)
        await send(world, paid("10.00"))
        await act(world, case, refund(1, "900.00", order="O1"))
        assert row(world, KEY)["state"] == "held"
        more = event("refund.seen", "more", 32, {"return": "R1"}, refund="F2", amount=WHOLE | {"amount": "890.00"})
        await send(world, more if news == "more" else NEWS["cancelled"])
        assert (await command(world, "approve", approval=1))[1].startswith(f"{KEY}: held: ")
        assert bank.times_paid == 0


async def test_a_refund_that_waits_does_not_pay_more_than_is_asked_for_now(
    tmp_path: Path, sink: Sink, bank: Bank
) -> None:
    config = banking(tmp_path, sink.url, bank.url, "payer")
    config["policies"] = {"payer": {"also": []}}
    async with running(config, sink) as world:
        await command(world, "pause", account="bank")
        refs = {"return": "R1", "order": "O1"}
        await send(world, event("case.requested", "a1", 0, refs, kind="refund", amount=WHOLE))
        await world.until(lambda: row(world, KEY).get("state") == "due")
        less = {"amount": "8.00", "currency": "CNY"}
        await send(world, event("request.changed", "less", 32, {"return": "R1"}, status="approved", amount=less))
        await command(world, "resume", account="bank")
        found = await reaches(world, KEY, "held")
        assert found["cause"] == "bridge.asked:8.00CNY: 8.00 CNY is asked for now"
        assert bank.times_paid == 0


async def test_goods_are_not_sent_again_when_the_money_went_back_meanwhile(
    tmp_path: Path, sink: Sink, bank: Bank
) -> None:
    async with running(banking(tmp_path, sink.url, bank.url), sink) as world:
        case = await asked(world)
        await command(world, "pause", account="bank")
        goods = {"type": "goods.reship", "account": "bank", "external": case, "order": "O1", "lines": [["A", 1]]}
        await act(world, case, goods)
        await send(world, paid())
        await command(world, "resume", account="bank")
        assert (await reaches(world, f"reship:{case}:all", "held"))["cause"].startswith("bridge.refunded:900.00CNY: ")


async def test_a_dead_refund_is_not_tried_again_in_passing_when_a_colleague_has_paid_it_since(
    tmp_path: Path, sink: Sink, bank: Bank
) -> None:
    async with running(banking(tmp_path, sink.url, bank.url), sink) as world:
        case = await asked(world)
        bank.answers.append(422)
        await act(world, case, refund(1, "900.00", order="O1"))
        number = (await reaches(world, KEY, "dead"))["id"]
        await send(world, paid())
        await world.settle()
        state, said = await command(world, "retry", delivery=number)
        assert (state, row(world, KEY)["state"]) == ("refused", "dead")
        assert said and "bridge.refunded:900.00CNY: 900.00 CNY went back" in said and "--anyway" in said
        assert (await command(world, "retry", delivery=number, anyway=True))[0] == "done"
        await reaches(world, KEY, "done")
        assert bank.times_paid == 1
