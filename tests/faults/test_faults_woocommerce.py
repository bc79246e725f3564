"""WooCommerce under every fault: a refund is paid once, and what the shop tells of an order undoes nothing newer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, account, hears, survives

from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.woocommerce import WooCommerceSim

STATUSES = {"refund-requested": "refund", "refund-approved": "approved", "refund-refused": "declined"}
MONEY = {"amount": "10.00", "currency": "EUR"}


def configure(config: dict[str, Any], sim: WooCommerceSim) -> None:
    given = {"consumer_key": sim.key, "consumer_secret": sim.consumer_secret, "secret": sim.secret}
    config["marketplaces"] = {"woo": account(sim, statuses=STATUSES, **given)}
    config["shops"]["one"] |= {"marketplace": "woo", "channels": ["woo"]}


def order(stage: Stage) -> str:
    (found,) = stage.sim.books["orders"]
    return str(found)


async def requested(stage: Stage) -> None:
    bridge = stage.world.bridge
    await bridge.registry.accounts["woo"].subscribe(
        f"{bridge.url}/hooks/woo", bridge.dispatcher.context("woo", "subscribe", None)
    )
    await stage.sim.do_place_order()
    await stage.sim.do_set_status(order(stage), "refund-requested")
    await stage.settle()
    await stage.later(minutes=1)


async def paid(stage: Stage) -> None:
    await stage.act(type="refund.pay", order=order(stage), amount=MONEY)


async def approved(stage: Stage) -> None:
    await stage.sim.do_set_status(order(stage), "refund-approved")


async def refused(stage: Stage) -> None:
    await stage.sim.do_set_status(order(stage), "refund-refused")


PAY = Does(
    WooCommerceSim, configure, paid, key="refund:9004:all", settled="find", money=True,
    says="POST /wp-json/wc/v3/orders/9004/refunds", opens=requested,
    happened=lambda sim: sum(map(len, sim.books["refunds"].values())),
)  # fmt: skip
STATUS = Tells(
    WooCommerceSim, configure, approved, refused, opens=requested, entries="request.changed",
    shown=lambda case: case.request.status, after=("approved", "declined"),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_refund_is_paid_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(PAY, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_changed_status_counts_once_and_undoes_nothing_newer(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(STATUS, fault, tmp_path, sink)
