"""Douyin under every fault: a refund is paid once, and what is pushed counts once and undoes nothing newer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, account, hears, survives

from rmabridge.testing.simulators.douyin import DouyinSim
from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.sink import Sink

MONEY = {"amount": "19.90", "currency": "CNY"}


def configure(config: dict[str, Any], sim: DouyinSim) -> None:
    config["marketplaces"] = {"dou": account(sim)}
    config["shops"]["one"] |= {"marketplace": "dou", "channels": []}
    sim.hook = "{bridge}/hooks/dou"


def request(stage: Stage) -> str:
    (found,) = stage.sim.books["requests"]
    return str(found)


async def requested(stage: Stage) -> None:
    await stage.sim.do_open(stage.sim.do_place_order()["order"])
    await stage.settle()
    await stage.later(minutes=1)


async def paid(stage: Stage) -> None:
    await stage.act(type="refund.pay", request=request(stage), amount=MONEY)


async def cheaper(stage: Stage) -> None:
    await stage.sim.do_modify(request(stage), fen=1500)


async def cheaper_still(stage: Stage) -> None:
    await stage.sim.do_modify(request(stage), fen=1200)


PAY = Does(
    DouyinSim, configure, paid, key="refund:7061011234567890123:all", settled="find", money=True,
    says="afterSale/operate", opens=requested, happened=lambda sim: len(sim.books["paid"]),
)  # fmt: skip
CHANGE = Tells(
    DouyinSim, configure, cheaper, cheaper_still, opens=requested, entries="request.changed",
    shown=lambda case: str(case.request.amount), after=("15.00 CNY", "12.00 CNY"),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_refund_is_paid_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(PAY, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_changed_request_counts_once_and_undoes_nothing_newer(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(CHANGE, fault, tmp_path, sink)
