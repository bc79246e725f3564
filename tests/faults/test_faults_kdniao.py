"""Kdniao under every fault: a subscription is made once, and pushes tell what they tell once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, a_buyer_asks, account, hears, survives

from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.kdniao import KdniaoSim
from rmabridge.testing.simulators.sink import Sink

NUMBER = "YT1234567890123"


def configure(config: dict[str, Any], sim: KdniaoSim) -> None:
    config["carriers"] = {"kd": account(sim, push_token="push-token", carrier="YTO")}
    config["shops"]["one"]["carrier"] = "kd"
    sim.hook = "{bridge}/hooks/kd?token=push-token"
    sim.do_ship(NUMBER, "YTO")


async def subscribed(stage: Stage) -> None:
    await stage.act(type="parcel.track", waybill=NUMBER, carrier="YTO")


async def followed(stage: Stage) -> None:
    await a_buyer_asks(stage)
    await subscribed(stage)
    await stage.world.until(lambda: stage.sim.books["subscriptions"])


async def collected(stage: Stage) -> None:
    await stage.sim.do_scan(NUMBER, "1", "已揽收", "杭州")


async def delivered(stage: Stage) -> None:
    await stage.sim.do_scan(NUMBER, "3", "已签收", "上海")


TRACK = Does(
    KdniaoSim, configure, subscribed, key=f"parcel:track:{NUMBER}", settled="again",
    happened=lambda sim: len(sim.books["subscriptions"]),
)  # fmt: skip
PUSH = Tells(
    KdniaoSim, configure, collected, delivered, opens=followed, entries="parcel.seen",
    shown=lambda case: case.parcels[0].status if case.parcels else None, after=("picked_up", "delivered"),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_subscription_is_made_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(TRACK, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_push_counts_once_and_undoes_nothing_newer(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(PUSH, fault, tmp_path, sink)
