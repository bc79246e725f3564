"""Shopify under every fault: one decision, one refund, and what the shop tells counts once and undoes nothing newer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, account, hears, survives

from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.shopify import ShopifySim
from rmabridge.testing.simulators.sink import Sink

MONEY = {"amount": "21.00", "currency": "USD"}


def configure(config: dict[str, Any], sim: ShopifySim) -> None:
    config["marketplaces"] = {"shopify": account(sim)}
    config["shops"]["one"] |= {"marketplace": "shopify"}
    sim.hook = "{bridge}/hooks/shopify"


def return_id(stage: Stage) -> str:
    (found,) = stage.sim.books["returns"]
    return str(found)


async def requested(stage: Stage) -> None:
    order = stage.sim.do_place_order()["order"]
    await stage.sim.do_request_return(order)


async def approved(stage: Stage) -> None:
    await stage.act(type="return.approve", request=return_id(stage))


async def let_in(stage: Stage) -> None:
    await requested(stage)
    await stage.settle()
    await approved(stage)
    await stage.world.until(lambda: stage.sim.books["returns"][return_id(stage)]["status"] == "OPEN")


async def paid(stage: Stage) -> None:
    await stage.act(type="refund.pay", request=return_id(stage), amount=MONEY)


async def dearer(stage: Stage) -> None:
    (order,) = stage.sim.books["orders"]
    await stage.sim.do_update_order(order, total="30.00")


async def dearer_still(stage: Stage) -> None:
    (order,) = stage.sim.books["orders"]
    await stage.sim.do_update_order(order, total="40.00")


def decided(sim: ShopifySim) -> int:
    return sum(one["status"] == "OPEN" for one in sim.books["returns"].values())


APPROVE = Does(
    ShopifySim, configure, approved, key="return:decide:930000111", settled="find", says="returnApproveRequest",
    opens=requested, happened=decided,
    shown=lambda case: case.request is not None and case.request.status == "approved",
)  # fmt: skip
REFUND = Does(
    ShopifySim, configure, paid, key="refund:930000111:all", settled="find", says="returnProcess", money=True,
    opens=let_in, happened=lambda sim: len(sim.books["refunds"]),
    shown=lambda case: [str(one.amount) for one in case.refunds] == ["21.00 USD"],
)  # fmt: skip
UPDATE = Tells(
    ShopifySim, configure, dearer, dearer_still, opens=requested, entries="order.seen",
    shown=lambda case: str(case.order.total) if case.order else None, after=("30.00 USD", "40.00 USD"),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_return_is_approved_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(APPROVE, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", DOORS)
async def test_a_refund_is_paid_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(REFUND, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_changed_order_counts_once_and_undoes_nothing_newer(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(UPDATE, fault, tmp_path, sink)
