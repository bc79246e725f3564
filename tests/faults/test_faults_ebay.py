"""eBay under every fault: what is searched becomes one case, and a return is decided once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, account, survives

from rmabridge.testing.simulators.ebay import EbaySim
from rmabridge.testing.simulators.faults import DOORS
from rmabridge.testing.simulators.sink import Sink


def configure(config: dict[str, Any], sim: EbaySim) -> None:
    config["marketplaces"] = {"us": account(sim, locale="en-US", verification_token="verification-token-" + "0" * 20)}
    config["shops"]["one"] |= {"marketplace": "us", "channels": []}
    sim.do_open_return(sim.do_place_order()["order"], reason="NO_LONGER_NEED_ITEM")


async def found(stage: Stage) -> None:
    await stage.world.until(lambda: stage.world.rows("SELECT 1 FROM cases"))


async def approved(stage: Stage) -> None:
    await stage.act(type="return.approve", request=next(iter(stage.sim.books["returns"])))


def decided(sim: EbaySim) -> int:
    return sum(one["state"] != "RETURN_REQUESTED" for one in sim.books["returns"].values())


APPROVE = Does(
    EbaySim, configure, approved, key="return:decide:%", settled="find", says="/decide", opens=found, happened=decided,
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_return_is_approved_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(APPROVE, fault, tmp_path, sink)
