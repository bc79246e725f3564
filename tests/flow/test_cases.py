"""Which case an event belongs to, and what is kept of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from bank import Bank, a_case, act, banking, reaches
from toybox import cases, command, event, inbox, requested, send, timeline, toybox

from rmabridge.model import Status
from rmabridge.testing.simulators.sink import Sink
from worlds import running


def message(number: int, order: str | None = None, buyer: str = "B1", author: str = "buyer") -> dict[str, object]:
    """A message of a buyer, with no name of a return."""
    refs = {"order": order} if order else {}
    one = event("message.received", f"m{number}", number, {"buyer": buyer, **refs})
    said = {"id": f"m{number}", "author": author, "form": "chat", "text": "你好", "at": one["at"]}
    return one | {"message": said, "buyer": {"id": buyer}}


async def test_an_order_means_its_open_case_and_after_it_was_closed_a_new_one(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, message(1, "O1"))
        await send(world, message(2, "O1"))
        await world.settle()
        (case,) = cases(world)
        assert case.talk.count == 2
        await command(world, "close", case.id)
        await send(world, message(3, "O1"))
        await world.settle()
        assert len(cases(world)) == 2
        assert cases(world)[1].previous == (case.id,)


async def test_two_returns_of_one_order_are_two_cases(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, requested(1), event("case.requested", "x", 1, {"return": "R2", "order": "O1"}, kind="return"))
        await world.settle()
        assert len(cases(world)) == 2


async def test_an_agents_words_about_a_closed_case_join_it(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, message(1, "O1"))
        await world.settle()
        await command(world, "close", cases(world)[0].id)
        await send(world, message(2, "O1", author="agent"))
        await world.settle()
        (case,) = cases(world)
        assert timeline(world, case.id)[-1] == "message.received"
        assert case.status is Status.CLOSED


async def test_a_late_event_never_undoes_a_newer_state(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        mine = {"return": "R1"}
        await send(world, requested())
        await send(world, event("request.changed", "new", 9, mine, status="approved"))
        await send(world, event("request.changed", "old", 2, mine, status="declined"))
        await world.settle()
        assert cases(world)[0].status is Status.APPROVED
        assert timeline(world, cases(world)[0].id) == ["case.requested", "request.changed", "request.changed"]


async def test_buyers_of_two_shops_are_two_people(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url)
    config["marketplaces"]["other"] = {"plugin": "toy", "allow_private": True}
    config["shops"]["two"] = {"marketplace": "other"}
    async with running(config, sink) as world:
        await send(world, message(1))
        await send(world, message(1), account="other")
        await world.settle()
        assert sorted((one.shop, one.previous) for one in cases(world)) == [("one", ()), ("two", ())]


async def test_an_event_that_says_no_shop_at_an_account_of_two_is_parked_with_the_way_out(
    tmp_path: Path, sink: Sink
) -> None:
    config = toybox(tmp_path, sink.url)
    config["shops"]["two"] = {"marketplace": "shop"}
    async with running(config, sink) as world:
        await send(world, requested(1))
        await send(world, requested(2) | {"shop": "two"})
        await world.settle()
        assert [one[1] for one in inbox(world)] == ["parked", "done"]
        assert "serves: one, two" in (inbox(world)[0][3] or "")
        assert [one.shop for one in cases(world)] == ["two"]


async def test_a_body_of_thousands_of_events_is_routed_whole(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        many = [
            event("parcel.seen", f"p{n}", n, {"return": "R1"}, parcel={"waybill": f"SF{n:06d}"}) for n in range(1_500)
        ]
        assert await send(world, requested(), *many) == 200
        await world.settle(120)
        assert len(timeline(world, cases(world)[0].id)) == 1_501
        assert [one[1] for one in inbox(world)] == ["done"]


@pytest.mark.parametrize("helpdesk", [True, False])
async def test_a_closed_case_goes_on_when_its_buyer_asks_again(tmp_path: Path, sink: Sink, helpdesk: bool) -> None:
    refs, config = {"return": "R1"}, toybox(tmp_path, sink.url, "helpdesk_sync", "returns")
    config["shops"]["one"] |= {"auto_approve": False}
    if not helpdesk:
        del config["shops"]["one"]["helpdesk"]
    async with running(config, sink) as world:
        case = await a_case(world)
        await send(world, event("order.seen", "o", 0, {"order": "O1"}, order={"id": "O1"}))
        await send(world, event("request.changed", "no", 1, refs, status="declined"))
        await command(world, "close", case, result="declined")
        await send(world, event("request.changed", "late", 0.5, refs, status="requested"))
        await world.settle()
        assert (cases(world)[0].status, cases(world)[0].round) == (Status.CLOSED, 1)
        await send(world, event("request.changed", "again", 60, refs, status="requested"))
        await world.settle()
        assert (cases(world)[0].status, cases(world)[0].round) == (Status.REQUESTED, 2)


async def test_what_was_declined_and_is_asked_for_again_is_decided_again(tmp_path: Path, sink: Sink) -> None:
    refs, decide = {"return": "R1"}, {"account": "bank", "request": "R1"}
    async with Bank() as bank:
        config = banking(tmp_path, sink.url, bank.url, "helpdesk_sync")
        config["services"]["bank"]["calls"] |= {f"return.{one}": {"path": "pay"} for one in ("approve", "decline")}
        async with running(config, sink) as world:
            case = await a_case(world)
            await act(world, case, {"type": "return.decline", **decide})
            await reaches(world, "return:decide:R1", "done")
            assert "already: done" in await act(world, case, {"type": "return.decline", **decide})
            await send(world, event("request.changed", "no", 1, refs, status="declined"))
            await send(world, event("request.changed", "again", 2, refs, status="requested"))
            await world.settle()
            await act(world, case, {"type": "return.approve", **decide})
            await reaches(world, "return:decide:R1:1", "done")
            assert "already: done" in await act(world, case, {"type": "return.approve", **decide})
            # What was approved can be declined all the same, when the goods are not what was sent.
            await send(world, event("request.changed", "yes", 3, refs, status="approved"))
            await act(world, case, {"type": "return.decline", **decide})
            await reaches(world, "return:decide:R1:2", "done")
            assert len(bank.books["asked"]) == 3
            assert len({one["key"] for one in bank.books["asked"]}) == 3
