"""Pinduoduo under every fault: what is listed becomes one case, and a refund is paid once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, account, survives

from rmabridge.testing.simulators.faults import DOORS
from rmabridge.testing.simulators.pinduoduo import PinduoduoSim
from rmabridge.testing.simulators.sink import Sink

MONEY = {"amount": "19.90", "currency": "CNY"}


def configure(config: dict[str, Any], sim: PinduoduoSim) -> None:
    config["marketplaces"] = {"pdd": account(sim, rate="900/s", poll_every="PT0.5S")}
    config["shops"]["one"] |= {"marketplace": "pdd", "channels": []}
    sim.do_open_refund(sim.do_place_order()["order"], minutes_ago=2)


async def listed(stage: Stage) -> None:
    await stage.world.until(lambda: stage.world.rows("SELECT 1 FROM cases"))


async def paid(stage: Stage) -> None:
    await stage.act(type="refund.pay", request=stage.case.ref("return"), amount=MONEY)


PAY = Does(
    PinduoduoSim, configure, paid, key="refund:%:all", settled="find", money=True, says="pdd.refund.agree",
    opens=listed, happened=lambda sim: len(sim.books["paid"]),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_refund_is_paid_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(PAY, fault, tmp_path, sink)
