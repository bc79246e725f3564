"""Compensation and logistics together on a running bridge: one of them offers, and the buyer hears of it once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from approvers import approving, given, later
from rmabridge.model import Case, Issue, RemedyKind
from rmabridge.testing.simulators.sink import Sink
from worlds import World, running

pytestmark = pytest.mark.evidence("logistics", "end_to_end")

TOYS = Path(__file__).parents[1] / "flow" / "toys"
ORDERS = (["compensation", "logistics"], ["logistics", "compensation"])


def configured(tmp_path: Path, sink: Sink, policies: list[str], **logistics: Any) -> dict[str, Any]:
    config = approving(tmp_path, sink.url)
    config["bridge"] |= {"plugins_dir": str(TOYS), "policies": policies}
    config["marketplaces"] = {"shop": {"plugin": "toy", "allow_private": True}}
    config["policies"] = {"logistics": logistics}
    return config


async def tell(world: World, type_: str, **facts: Any) -> None:
    at = world.bridge.store.clock.now().isoformat()
    key, refs = f"{type_}:{at}", [{"kind": "order", "value": "O1"}]
    await world.post({"events": [{"type": type_, "key": key, "at": at, "refs": refs, **facts}]})
    await world.settle()


async def asks(world: World, placed: datetime, *parcels: dict[str, Any]) -> None:
    """The buyer greets, and the shop shows the order."""
    at = world.bridge.store.clock.now().isoformat()
    await tell(
        world, "message.received", message={"id": "m1", "author": "buyer", "form": "chat", "text": "hi", "at": at}
    )
    money = {"amount": "120.00", "currency": "CNY"}
    lines = [{"id": "L1", "sku": "S-1", "title": "shoes", "quantity": 1, "price": money}]
    order = {"id": "O1", "placed_at": placed.isoformat(), "total": money, "lines": lines}
    buyer = {"id": "B1", "name": "Ann", "email": "ann@example.com", "locale": "en"}
    await tell(world, "order.seen", order=order, buyer=buyer, parcels=list(parcels))


def the_case(world: World) -> Case:
    store = world.bridge.store
    ((key, doc),) = world.rows("SELECT key_id, doc FROM cases")
    store.keys_for({key})
    return Case.model_validate_json(store.vault.open(key, doc))


def words(sink: Sink) -> list[str]:
    """What the buyer was written, by purpose."""
    return [one["body"]["purpose"] for one in sink.books["posts"] if one["body"]["type"] == "message.send"]


def offers(world: World) -> int:
    return int(world.rows("SELECT count(*) FROM timeline WHERE type = 'remedy.offered'")[0][0])


def on_its_way() -> dict[str, Any]:
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    return {
        "waybill": "YT0000000000001",
        "carrier": "YTO",
        "scans": [{"at": at, "status": "in_transit", "text": "离开"}],
    }


@pytest.mark.parametrize("policies", ORDERS)
async def test_a_lost_parcel_gets_one_offer_and_one_message(tmp_path: Path, sink: Sink, policies: list[str]) -> None:
    async with running(configured(tmp_path, sink, policies), sink) as world:
        await asks(world, datetime.now(UTC) - timedelta(days=1), on_its_way() | {"status": "in_transit"})
        assert (words(sink), offers(world)) == ([], 0)
        await later(world, days=8)
        case = the_case(world)
        assert case.issue is Issue.LOST_PARCEL and case.offered is not None
        assert {one.remedy for one in case.offered.choices} == {RemedyKind.RESHIP, RemedyKind.REFUND_ONLY}
        assert offers(world) == len(words(sink)) == 1
        await later(world, days=3)
        assert offers(world) == len(words(sink)) == 1
        assert given(world) == []


async def test_a_late_dispatch_gets_one_offer_one_coupon_and_one_message(tmp_path: Path, sink: Sink) -> None:
    async with running(configured(tmp_path, sink, ORDERS[0], coupon="5 CNY"), sink) as world:
        await asks(world, datetime.now(UTC) - timedelta(hours=47))
        assert (words(sink), offers(world)) == ([], 0)
        await later(world, hours=2)
        assert the_case(world).sub == "late_dispatch"
        assert (words(sink), offers(world)) == (["offer:1"], 1)
        await tell(world, "remedy.accepted", remedy="coupon")
        await later(world, days=1)
        assert [one["type"] for one in given(world)] == ["credit.give"]
        told = [one for one in words(sink) if not one.startswith("code:")]
        assert (told, offers(world)) == (["offer:1"], 1)


async def test_without_compensation_the_late_dispatch_is_told_with_its_own_coupon(tmp_path: Path, sink: Sink) -> None:
    async with running(configured(tmp_path, sink, ["logistics"], coupon="5 CNY"), sink) as world:
        await asks(world, datetime.now(UTC) - timedelta(hours=47))
        await later(world, hours=2)
        await later(world, minutes=30)
        assert words(sink)[:1] == ["logistics:late_dispatch:O1"]
        assert [one["type"] for one in given(world)] == ["credit.give"]


async def test_a_coupon_for_a_slow_parcel_is_no_answer_to_its_loss(tmp_path: Path, sink: Sink) -> None:
    async with running(configured(tmp_path, sink, ORDERS[0]), sink) as world:
        await asks(world, datetime.now(UTC) - timedelta(days=1), on_its_way() | {"status": "in_transit"})
        await later(world, days=3)
        assert (words(sink), offers(world), the_case(world).sub) == (["offer:1"], 1, "slow")
        await later(world, days=5)
        offered = the_case(world).offered
        assert offered is not None and offered.kind is RemedyKind.RESHIP
        assert (words(sink), offers(world)) == (["offer:1", "logistics:lost:YT0000000000001"], 2)
