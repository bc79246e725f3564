"""UPS on a running bridge: a package is subscribed and pushed into its case, with a token that is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rmabridge.testing.simulators.ups import UpsSim

CODE = "1Z999AA10123456784"


@asynccontextmanager
async def followed(carried: Any, **settings: Any) -> AsyncIterator[tuple[Any, UpsSim]]:
    """A case whose package UPS was asked to follow."""
    async with UpsSim() as sim:
        own = {"client_id": sim.client_id, "client_secret": sim.secret, "credential": sim.credential}
        sim.do_ship(CODE)
        async with carried(sim, "ups", **own, **settings) as world:
            await world.act(type="parcel.query", waybill=CODE, carrier="UPS")
            await world.act(type="parcel.track", waybill=CODE, carrier="UPS")
            yield world, sim


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_subscribed_package_is_pushed_into_its_case(version: str, carried: Any) -> None:
    async with followed(carried, alert_version=version) as (world, sim):
        assert world.row(f"parcel:track:{CODE}")[:2] == ("done", CODE)
        scans = (("I", "OR", "On the Way", "005"), ("X", "HR", "Damaged", "013"), ("D", "FS", "Delivered", "011"))
        for kind, code, words, detail in scans:
            await world.later(60)
            assert await sim.do_scan(CODE, kind, code, words, detail) == 200
        assert await sim.do_redeliver() == 200
        await world.world.settle()
        assert [scan.status for scan in world.parcel.scans] == ["in_transit", "exception", "delivered"]
        assert [scan.exception for scan in world.parcel.scans] == [None, "damaged", None]
        assert (world.parcel.status, world.parcel.exception) == ("delivered", "damaged"), "what was damaged stays so"
        assert world.seen() == 4, "the query and three activities"
        assert sim.books["tokens"] == ["token-1"], "one token for all calls"


async def test_a_query_shows_the_same_scans_as_the_pushes(carried: Any) -> None:
    async with followed(carried) as (world, sim):
        await world.later(60)
        assert await sim.do_scan(CODE, "I", "OT", "Out for Delivery", "021") == 200
        sim.faults.add("lost")
        await world.later(60)
        assert await sim.do_scan(CODE, "D", "FS", "Delivered", "011") == 0
        await world.later(60)
        sim.do_forget_tokens()
        await world.act(type="parcel.query", waybill=CODE, carrier="UPS", round=2)
        assert world.row(f"parcel:query:{CODE}:2")[0] == "done"
        assert [scan.status for scan in world.parcel.scans] == ["out_for_delivery", "delivered"]
        assert sim.books["tokens"] == ["token-1", "token-2"]


async def test_a_push_with_another_credential_stays_outside(carried: Any) -> None:
    async with followed(carried) as (world, sim):
        sim.credential = "guessed"
        assert await sim.do_scan(CODE, "D", "FS", "Delivered", "011") == 401
        assert world.world.rows("SELECT count(*) FROM inbox WHERE account = 'ca' AND kind = 'webhook'") == [(0,)]


async def test_a_number_that_is_none_of_upss_waits_for_a_person(carried: Any) -> None:
    async with followed(carried) as (world, sim):
        await world.act(type="parcel.track", waybill="999999999", carrier="UPS")
        state, _, cause = world.row("parcel:track:999999999")
        assert (state, "VSS210" in cause) == ("dead", True)
        assert list(sim.books["subscriptions"]) == [CODE]
