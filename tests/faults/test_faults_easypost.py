"""EasyPost under every fault: a claim is filed once, a tracker made once, and webhooks tell what they tell once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, a_buyer_asks, account, hears, survives

from rmabridge.testing.simulators.easypost import EasyPostSim
from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.sink import Sink

CODE = "9400100208303109500669"


def configure(config: dict[str, Any], sim: EasyPostSim) -> None:
    config["carriers"] = {"ep": account(sim)}
    config["shops"]["one"] |= {"carrier": "ep", "claims": {"default": "ep"}}
    sim.hook = "{bridge}/hooks/ep"
    sim.do_ship(CODE, "USPS", insured="100.00")


async def claimed(stage: Stage) -> None:
    amount = {"amount": "80.00", "currency": "USD"}
    facts = {"waybill": CODE, "carrier": "USPS", "claim": "loss", "amount": amount, "external": stage.case.id}
    await stage.act(type="claim.file", description="Silent for ten days.", **facts)


async def tracked(stage: Stage) -> None:
    await stage.act(type="parcel.track", waybill=CODE, carrier="USPS")


async def followed(stage: Stage) -> None:
    await a_buyer_asks(stage)
    await tracked(stage)
    await stage.world.until(lambda: stage.case.parcels)
    await stage.later(minutes=1)


async def moved(stage: Stage) -> None:
    await stage.sim.do_scan(CODE, "in_transit", "Arrived at facility", "HOUSTON")


async def delivered(stage: Stage) -> None:
    await stage.sim.do_scan(CODE, "delivered", "Delivered", "HOUSTON")


CLAIM = Does(
    EasyPostSim, configure, claimed, key=f"claim:USPS:{CODE}:loss", settled="find", says="Silent for ten days",
    happened=lambda sim: len(sim.books["claims"]), shown=lambda case: case.claims[0].status == "submitted",
)  # fmt: skip
TRACK = Does(
    EasyPostSim, configure, tracked, key=f"parcel:track:{CODE}", settled="again",
    happened=lambda sim: len(sim.books["trackers"]), shown=lambda case: bool(case.parcels),
)  # fmt: skip
SCAN = Tells(
    EasyPostSim, configure, moved, delivered, opens=followed, entries="parcel.seen",
    shown=lambda case: case.parcels[0].status, after=("in_transit", "delivered"),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_claim_is_filed_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(CLAIM, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", DOORS)
async def test_a_tracker_is_made_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(TRACK, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_scan_counts_once_and_undoes_nothing_newer(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(SCAN, fault, tmp_path, sink)
