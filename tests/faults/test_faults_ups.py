"""UPS under every fault: a parcel is asked for once, and pushes tell what they tell once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, a_buyer_asks, account, hears, survives

from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.ups import UpsSim

NUMBER = "1Z999AA10123456784"


def configure(config: dict[str, Any], sim: UpsSim) -> None:
    config["bridge"]["public_url"] = "https://rma.example.com"
    config["carriers"] = {"ca": account(sim, credential=sim.credential, client_secret=sim.secret)}
    config["shops"]["one"]["carrier"] = "ca"
    sim.hook = "{bridge}/hooks/ca"
    sim.do_ship(NUMBER)


async def asked(stage: Stage) -> None:
    await stage.act(type="parcel.track", waybill=NUMBER, carrier="UPS")


async def followed(stage: Stage) -> None:
    await a_buyer_asks(stage)
    await stage.act(type="parcel.query", waybill=NUMBER, carrier="UPS")
    await stage.world.until(lambda: stage.case.parcels)
    await asked(stage)
    await stage.world.until(lambda: stage.row(f"parcel:track:{NUMBER}").get("state") == "done")
    await stage.later(minutes=1)


async def moved(stage: Stage) -> None:
    await stage.sim.do_scan(NUMBER, "I", "OR", "On the Way", "005")


async def delivered(stage: Stage) -> None:
    await stage.sim.do_scan(NUMBER, "D", "FS", "Delivered", "011")


ASK = Does(
    UpsSim, configure, asked, key=f"parcel:track:{NUMBER}", settled="again", says="subscription",
    happened=lambda sim: len(sim.books["subscriptions"]),
)  # fmt: skip
PUSH = Tells(
    UpsSim, configure, moved, delivered, opens=followed, entries="parcel.seen",
    shown=lambda case: case.parcels[0].status if case.parcels else None, after=("in_transit", "delivered"),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_parcel_is_asked_for_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(ASK, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_push_counts_once_and_undoes_nothing_newer(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(PUSH, fault, tmp_path, sink)
