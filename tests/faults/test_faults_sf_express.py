"""SF Express under every fault: a parcel is asked for once, and pushes tell what they tell once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, a_buyer_asks, account, hears, survives

from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.sf_express import SfExpressSim
from rmabridge.testing.simulators.sink import Sink

NUMBER = "SF1234567890123"


def configure(config: dict[str, Any], sim: SfExpressSim) -> None:
    config["bridge"]["public_url"] = "https://rma.example.com"
    config["carriers"] = {"ca": account(sim, push_token="push-token")}
    config["shops"]["one"]["carrier"] = "ca"
    sim.hook = "{bridge}/hooks/ca?token=push-token"
    sim.do_ship(NUMBER, "5678", ordered=True)


async def asked(stage: Stage) -> None:
    await stage.act(type="parcel.query", waybill=NUMBER, carrier="SF", phone_tail="5678")


async def followed(stage: Stage) -> None:
    await a_buyer_asks(stage)
    await asked(stage)
    await stage.world.until(lambda: stage.row(f"parcel:query:{NUMBER}:1").get("state") == "done")
    await stage.later(minutes=1)


async def moved(stage: Stage) -> None:
    await stage.sim.do_scan(NUMBER, "50", "顺丰速运 已收取快件", "深圳市")


async def delivered(stage: Stage) -> None:
    await stage.sim.do_scan(NUMBER, "80", "已签收", "深圳市")


ASK = Does(
    SfExpressSim, configure, asked, key=f"parcel:query:{NUMBER}:1", settled="again",
    happened=lambda sim: min(len(sim.books["queries"]), 1),
)  # fmt: skip
PUSH = Tells(
    SfExpressSim, configure, moved, delivered, opens=followed, entries="parcel.seen",
    shown=lambda case: case.parcels[0].status if case.parcels else None, after=("picked_up", "delivered"),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_parcel_is_asked_for_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(ASK, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_push_counts_once_and_undoes_nothing_newer(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(PUSH, fault, tmp_path, sink)
