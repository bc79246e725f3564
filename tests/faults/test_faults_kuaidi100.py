"""Kuaidi100 under every fault: a parcel is asked for once, and pushes tell what they tell once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, a_buyer_asks, account, hears, survives

from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.kuaidi100 import Kuaidi100Sim
from rmabridge.testing.simulators.sink import Sink

NUMBER = "YT0000000000001"


def configure(config: dict[str, Any], sim: Kuaidi100Sim) -> None:
    config["bridge"]["public_url"] = "https://rma.example.com"
    config["carriers"] = {"ca": account(sim, salt="salt-of-the-shop")}
    config["shops"]["one"]["carrier"] = "ca"
    sim.hook = "{bridge}/hooks/ca"
    sim.do_ship(NUMBER, "yuantong")


async def asked(stage: Stage) -> None:
    await stage.act(type="parcel.track", waybill=NUMBER, carrier="YTO")


async def followed(stage: Stage) -> None:
    await a_buyer_asks(stage)
    await asked(stage)
    await stage.world.until(lambda: stage.row(f"parcel:track:{NUMBER}").get("state") == "done")
    await stage.later(minutes=1)


async def moved(stage: Stage) -> None:
    await stage.sim.do_scan(NUMBER, "103", "已揽收", "上海市")


async def delivered(stage: Stage) -> None:
    await stage.sim.do_scan(NUMBER, "301", "已签收", "杭州市")


ASK = Does(
    Kuaidi100Sim, configure, asked, key=f"parcel:track:{NUMBER}", settled="again",
    happened=lambda sim: len(sim.books["subscriptions"]),
)  # fmt: skip
PUSH = Tells(
    Kuaidi100Sim, configure, moved, delivered, opens=followed, entries="parcel.seen",
    shown=lambda case: case.parcels[0].status if case.parcels else None, after=("picked_up", "delivered"),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_parcel_is_asked_for_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(ASK, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_push_counts_once_and_undoes_nothing_newer(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(PUSH, fault, tmp_path, sink)
