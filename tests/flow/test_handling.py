"""Handling on a running bridge: a case stays the shop's while a carrier is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toybox import START, cases, event, ledger, send, shift, toybox

from rmabridge.model import Case, Status
from rmabridge.testing.simulators.sink import Sink
from worlds import World, running

BUYER = {"id": "B1", "name": "李雷", "email": "li@example.com", "locale": "zh-CN"}
REFS = [{"kind": "order", "value": "O1"}, {"kind": "return", "value": "R1"}]
POLICIES = ("routing", "returns", "helpdesk_sync", "logistics", "claims", "clocks", "wording")


@pytest.fixture
def config(tmp_path: Path, sink: Sink) -> dict[str, Any]:
    """A shop whose carrier takes questions, and whose cases go to a group."""
    found = toybox(tmp_path, sink.url, *POLICIES, shop={"carrier": "toy", "locale": "zh-CN"})
    found["carriers"] = {"toy": {"plugin": "toy_carrier", "url": sink.url, "allow_private": True}}
    found["routes"] = [{"name": "front", "when": {}, "then": {"group": "front"}}]
    return found


def happened(world: World, type_: str, key: str, **fields: Any) -> dict[str, Any]:
    """An event of this very moment."""
    return {"type": type_, "key": key, "at": world.bridge.store.clock.now().isoformat(), "refs": REFS, **fields}


def says(world: World, text: str, key: str, author: str = "buyer") -> dict[str, Any]:
    """Somebody writes at this very moment."""
    now = world.bridge.store.clock.now().isoformat()
    said = {"id": key, "author": author, "form": "mail", "text": text, "at": now}
    return happened(world, "message.received", key, message=said)


async def tell(world: World, *events: dict[str, Any]) -> Case:
    """Events come in; the case they made."""
    assert await send(world, *events) == 200
    await world.settle()
    return cases(world)[0]


async def pass_days(world: World, days: int) -> Case:
    """Let days pass; the case as it is then."""
    for _ in range(days):
        shift(world, days=1, seconds=1)
        now = world.bridge.store.clock.micros()
        await world.until(lambda now=now: not world.rows(f"SELECT 1 FROM deadlines WHERE due_at <= {now}"))
        await world.settle()
    return cases(world)[0]


async def asked(world: World) -> Case:
    """A case about a parcel under way, whose buyer wants help with the carrier."""
    parcel = {"waybill": "YT1", "carrier": "YTO", "status": "in_transit", "direction": "out"}
    order = happened(world, "order.seen", "o1", order={"id": "O1"}, buyer=BUYER, parcels=[parcel])
    await tell(world, happened(world, "case.requested", "r1", kind="refund", buyer=BUYER), order)
    return await tell(world, says(world, "麻烦帮我联系快递，一直没有动静", "m1"))


async def refund(world: World) -> Case:
    """The money is paid."""
    return await tell(world, happened(world, "refund.seen", "f1", refund="F1", status="done"))


def solved(world: World) -> list[str]:
    """What the help desk was told of the ticket's status."""
    bodies = [one["body"] for one in world.sink.books["posts"]]
    return [one["status"] for one in bodies if one.get("type") == "ticket.update"]


@pytest.mark.row("S059")
async def test_the_case_stays_the_shops_until_the_carrier_has_answered(config: dict[str, Any], sink: Sink) -> None:
    async with running(config, sink) as world:
        case = await asked(world)
        assert ledger(world)["carrier:ask:YT1:other"] == "done"
        assert (case.enquiries[0].waybill, case.enquiries[0].ref) == ("YT1", "Q-YT1")
        assert {"due:first_response", "due:solution:1"} <= {one.name for one in case.deadlines}
        case = await pass_days(world, 1)
        late = [key for key in ledger(world) if key.startswith("ticket:comment:clock:") and ":breach:" in key]
        assert {one.split(":")[3] for one in late} >= {"first_response", "solution"}
        assert (case.open, case.route.group, solved(world)) == (True, "front", [])
        await refund(world)
        case = await pass_days(world, 2)
        assert (case.status, case.route.group, solved(world)) == (Status.REFUNDED, "front", [])
        case = await tell(world, says(world, "快件已找到，明天派送", "c1", author="carrier"))
        assert case.talk.carrier and any(key == "ticket:comment:carrier:c1" for key in ledger(world))
        case = await pass_days(world, 1)
        assert (case.status, case.result, solved(world)) == (Status.CLOSED, "refunded", ["solved"])


@pytest.mark.row("S059")
async def test_the_case_stays_the_shops_until_the_claim_is_decided(config: dict[str, Any], sink: Sink) -> None:
    config["policies"] = {"logistics": {"enquire": False, "help_buyers": False}}
    async with running(config, sink) as world:
        await asked(world)
        claim = {"waybill": "YT1", "carrier": "YTO", "kind": "loss"}
        await tell(world, happened(world, "claim.seen", "k1", **claim, status="submitted"))
        await refund(world)
        case = await pass_days(world, 3)
        assert (case.status, case.route.group, solved(world)) == (Status.REFUNDED, "front", [])
        await tell(world, happened(world, "claim.seen", "k2", **claim, status="rejected"))
        case = await pass_days(world, 1)
        assert (case.status, solved(world)) == (Status.CLOSED, ["solved"])


async def test_all_that_was_written_before_the_order_was_known_is_on_the_ticket(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "helpdesk_sync"), sink) as world:
        for number, text in enumerate(("it is the wrong colour", "hello?", "are you there?"), 1):
            said = {"id": f"m{number}", "author": "buyer", "form": "chat", "text": text, "at": START.isoformat()}
            await send(world, event("message.received", f"m{number}", number, {"order": "O1"}, message=said))
        await world.until(lambda: len(world.rows("SELECT 1 FROM messages")) == 3)
        await send(world, event("order.seen", "o", 9, {"order": "O1"}, order={"id": "O1"}))
        await world.settle()
        shown = " ".join(one["body"]["text"] for one in sink.books["posts"])
        assert all(text in shown for text in ("it is the wrong colour", "hello?", "are you there?"))
