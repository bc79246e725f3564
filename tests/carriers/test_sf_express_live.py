"""SF Express on a running bridge: pushed routes gather in the case, and a query fills what no push brought."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rmabridge.testing.simulators.sf_express import SfExpressSim

CODE = "SF1234567890123"
TOKEN = "long-and-random"


@asynccontextmanager
async def followed(carried: Any, *, ordered: bool = True, **more: Any) -> AsyncIterator[tuple[Any, SfExpressSim]]:
    """A case that knows its parcel at SF."""
    async with SfExpressSim() as sim:
        settings = {"partner_id": sim.partner_id, "check_word": sim.check_word, "push_token": TOKEN}
        sim.do_ship(CODE, "5678", ordered=ordered)
        async with carried(sim, "sf_express", **settings, **more) as world:
            sim.hook = f"{sim.hook}?token={TOKEN}"
            await world.act(type="parcel.query", waybill=CODE, carrier="SF", phone_tail="5678")
            yield world, sim


@pytest.mark.parametrize("way", ["json", "xml", "signed"])
async def test_pushed_routes_gather_in_the_case(way: Any, carried: Any) -> None:
    async with followed(carried) as (world, sim):
        assert world.parcel.status == "pending"
        sim.do_push_as(way)
        for code, words in (("50", "顺丰速运 已收取快件"), ("33", "快件外包装破损"), ("80", "已签收")):
            await world.later(30)
            assert await sim.do_scan(CODE, code, words, "深圳市") == 200
        assert await sim.do_redeliver() == 200
        assert await sim.do_push_all(CODE) == 200
        await world.world.settle()
        assert [scan.status for scan in world.parcel.scans] == ["picked_up", "attempt_failed", "delivered"]
        assert [scan.exception for scan in world.parcel.scans] == [None, "damaged", None]
        assert (world.parcel.status, world.seen()) == ("delivered", 4), "the query and three nodes"
        assert all(push["accepted"] for push in sim.books["pushes"])


async def test_a_parcel_that_was_ordered_elsewhere_is_registered_and_then_pushed(carried: Any) -> None:
    async with followed(carried, ordered=False, register_routes=True) as (world, sim):
        await world.act(type="parcel.track", waybill=CODE, carrier="SF", phone_tail="5678")
        assert world.row(f"parcel:track:{CODE}")[:2] == ("done", CODE)
        await world.later(60)
        assert await sim.do_scan(CODE, "44", "派送中", "深圳市") == 200
        await world.world.settle()
        assert world.parcel.status == "out_for_delivery"


async def test_a_late_node_does_not_undo_a_newer_one(carried: Any) -> None:
    async with followed(carried) as (world, sim):
        await world.later(60)
        sim.faults.add("out of order")
        assert await sim.do_scan(CODE, "44", "派送中") == 0
        await world.later(60)
        assert await sim.do_scan(CODE, "80", "已签收") == 200
        await world.world.settle()
        assert [scan.status for scan in world.parcel.scans] == ["out_for_delivery", "delivered"]
        assert world.parcel.status == "delivered"


async def test_a_query_shows_what_is_not_pushed(carried: Any) -> None:
    async with followed(carried, ordered=False) as (world, sim):
        await world.later(60)
        assert await sim.do_scan(CODE, "50", "已收取快件") == 0
        sim.do_fail_next()
        await world.act(type="parcel.query", waybill=CODE, carrier="SF", phone_tail="5678", round=2)
        assert "系统繁忙" in world.row(f"parcel:query:{CODE}:2")[2]
        await world.later(5)
        assert (world.row(f"parcel:query:{CODE}:2")[0], world.parcel.status) == ("done", "picked_up")


async def test_a_push_without_the_token_stays_outside(carried: Any) -> None:
    async with followed(carried) as (world, sim):
        sim.hook = str(sim.hook).partition("?")[0]
        assert await sim.do_scan(CODE, "80", "已签收") == 401
        assert world.world.rows("SELECT count(*) FROM inbox WHERE account = 'ca' AND kind = 'webhook'") == [(0,)]
