"""17TRACK on a running bridge: a parcel is registered once and pushed into its case; a query finds what was not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rmabridge.testing.simulators.seventeentrack import SeventeenTrackSim

CODE = "RR123456785CN"


@asynccontextmanager
async def followed(carried: Any) -> AsyncIterator[tuple[Any, SeventeenTrackSim]]:
    """A case whose parcel is registered at 17TRACK."""
    async with SeventeenTrackSim() as sim, carried(sim, "seventeentrack", api_key=sim.api_key) as world:
        sim.do_ship(CODE, 3011)
        await world.act(type="parcel.track", waybill=CODE, carrier="YZPY")
        yield world, sim


async def test_a_registered_parcel_is_pushed_into_its_case(carried: Any) -> None:
    async with followed(carried) as (world, sim):
        assert world.row(f"parcel:track:{CODE}")[:2] == ("done", f"{CODE}:3011")
        assert await sim.do_scan(CODE, "InTransit_PickedUp", "Accepted", "SHANGHAI") == 200
        await world.later(60)
        assert await sim.do_scan(CODE, "Exception_Damage", "Package damaged", "PARIS") == 200
        assert await sim.do_redeliver() == 200
        assert await sim.do_stop(CODE) == 200
        await world.world.settle()
        assert (world.parcel.carrier, world.parcel.status, world.parcel.exception) == ("YZPY", "exception", "damaged")
        assert [scan.status for scan in world.parcel.scans] == ["picked_up", "exception"]
        assert world.seen() == 2, "a webhook that comes twice counts once, the end of a registration not at all"


async def test_a_lost_webhook_is_made_good_by_a_query(carried: Any) -> None:
    async with followed(carried) as (world, sim):
        sim.faults.add("lost")
        assert await sim.do_scan(CODE, "Delivered_Other", "Delivered", "PARIS") == 0
        sim.faults.add("429", seconds=1)
        await world.act(type="parcel.query", waybill=CODE, carrier="YZPY")
        assert world.row(f"parcel:query:{CODE}:1")[0] == "due"
        await world.later(5)
        assert world.row(f"parcel:query:{CODE}:1")[0] == "done"
        assert (world.parcel.status, world.parcel.delivered_at) == ("delivered", world.parcel.scans[-1].at)


async def test_a_registration_whose_answer_was_lost_costs_one_credit(carried: Any) -> None:
    async with SeventeenTrackSim() as sim, carried(sim, "seventeentrack", api_key=sim.api_key) as world:
        sim.do_ship(CODE, 3011)
        sim.faults.add("lost answer")
        await world.act(type="parcel.track", waybill=CODE, carrier="YZPY")
        await world.later(5)
        assert world.row(f"parcel:track:{CODE}")[0] == "done"
        assert list(sim.books["registered"]) == [CODE]
        assert sim.books["refusals"] == [-18019901], "17TRACK knows the number and says so"


async def test_a_webhook_with_another_key_stays_outside(carried: Any) -> None:
    async with followed(carried) as (world, sim):
        sim.api_key = "guessed"
        assert await sim.do_scan(CODE, "Delivered_Other", "Delivered") == 401
        assert world.world.rows("SELECT count(*) FROM inbox WHERE account = 'ca' AND kind = 'webhook'") == [(0,)]
