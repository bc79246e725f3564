"""Kuaidi100 on a running bridge: a parcel is subscribed, pushed into its case, handed to another carrier, given up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rmabridge.testing.simulators.kuaidi100 import Kuaidi100Sim

CODE = "YT0000000000001"
TRACK = {"type": "parcel.track", "waybill": CODE, "carrier": "YTO"}


@asynccontextmanager
async def followed(carried: Any) -> AsyncIterator[tuple[Any, Kuaidi100Sim]]:
    """A case whose parcel Kuaidi100 was asked to follow."""
    async with Kuaidi100Sim() as sim:
        settings: dict[str, Any] = {"customer": sim.customer, "api_key": sim.api_key, "salt": "salt-of-the-shop"}
        settings |= {"secret": sim.secret, "ticket_types": {"damage": 901}}
        sim.do_ship(CODE, "yuantong", ordered=True)
        async with carried(sim, "kuaidi100", **settings) as world:
            await world.act(**TRACK)
            yield world, sim


async def test_a_subscribed_parcel_is_pushed_into_its_case_until_it_is_delivered(carried: Any) -> None:
    async with followed(carried) as (world, sim):
        assert world.row(f"parcel:track:{CODE}")[:2] == ("done", f"yuantong:{CODE}")
        assert await sim.do_scan(CODE, "103", "已揽收", "上海市")
        await world.later(60)
        assert await sim.do_scan(CODE, "209", "快件外包装破损", "杭州市")
        assert await sim.do_redeliver(CODE)
        await world.world.settle()
        assert (world.parcel.carrier, world.parcel.status, world.parcel.exception) == ("YTO", "exception", "damaged")
        assert world.seen() == 2, "a push that comes twice counts once"
        await world.later(60)
        assert await sim.do_scan(CODE, "301", "已签收", "杭州市")
        await world.world.settle()
        assert [scan.status for scan in world.parcel.scans] == ["picked_up", "exception", "delivered"]
        assert world.parcel.delivered_at == world.parcel.scans[-1].at
        assert {push["status"] for push in sim.books["pushes"]} == {200}


async def test_another_carrier_takes_over_and_a_silent_number_expires(carried: Any) -> None:
    async with followed(carried) as (world, sim):
        assert await sim.do_correct_carrier(CODE, "zhongtong")
        await world.world.settle()
        await world.later(10)
        assert await sim.do_scan(CODE, "1002", "运输中")
        await world.world.settle()
        assert (world.parcel.carrier, world.parcel.status) == ("ZTO", "in_transit")
        await world.later(60)
        assert await sim.do_give_up(CODE)
        await world.world.settle()
        assert (world.parcel.status, len(world.parcel.scans)) == ("expired", 1)


async def test_a_push_signed_with_another_salt_stays_outside(carried: Any) -> None:
    async with followed(carried) as (world, sim):
        sim.books["subscriptions"][CODE]["salt"] = "guessed"
        assert not await sim.do_scan(CODE, "301", "已签收")
        assert world.world.rows("SELECT count(*) FROM inbox WHERE account = 'ca' AND kind = 'webhook'") == [(0,)]
        assert {push["status"] for push in sim.books["pushes"]} == {401}


async def test_a_query_in_a_busy_hour_comes_through_later(carried: Any) -> None:
    async with followed(carried) as (world, sim):
        await sim.do_scan(CODE, "501", "已到驿站")
        sim.do_fail_next("502")
        await world.act(type="parcel.query", waybill=CODE, carrier="YTO")
        assert "502" in world.row(f"parcel:query:{CODE}:1")[2]
        await world.later(5)
        assert world.row(f"parcel:query:{CODE}:1")[0] == "done"
        assert (world.parcel.status, len(sim.books["queries"])) == ("available_for_pickup", 1)


CLAIM = {"type": "claim.file", "waybill": CODE, "carrier": "YTO", "claim": "damage", "description": "外包装破损"}


@pytest.mark.parametrize("lost", [False, True])
async def test_a_ticket_is_opened_once_and_one_whose_answer_was_lost_waits_for_a_person(
    lost: bool, carried: Any
) -> None:
    async with followed(carried) as (world, sim):
        if lost:
            sim.faults.add("lost answer")
        claim = {**CLAIM, "external": world.case.id, "amount": {"amount": "80.00", "currency": "CNY"}}
        for _ in range(2):
            await world.act(**claim)
        await world.later(90)
        state, ref, _ = world.row(f"claim:YTO:{CODE}:damage")
        assert (state, ref) == (("uncertain", None) if lost else ("done", "1"))
        assert len(sim.books["tickets"]) == 1, "Kuaidi100 knows no key of ours: nothing is sent twice"
        if not lost:
            (filed,) = world.case.claims
            assert (filed.id, filed.status, filed.carrier, str(filed.amount)) == ("1", "submitted", "YTO", "80.00 CNY")
