"""Amazon under every fault: a message to a buyer goes once; where it cannot be looked up, a person says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, account, survives

from rmabridge.testing.simulators.amazon import AmazonSim
from rmabridge.testing.simulators.faults import DOORS
from rmabridge.testing.simulators.sink import Sink


def configure(config: dict[str, Any], sim: AmazonSim) -> None:
    config["marketplaces"]["us"] = account(sim, locale="en-US")
    config["shops"]["one"]["sources"] = ["us"]
    sim.do_place_order()


async def written(stage: Stage) -> None:
    words = {"form": "thread", "to": next(iter(stage.sim.books["orders"])), "text": "Please send a picture."}
    await stage.act(type="message.send", account="us", purpose="m1", **words)


WRITE = Does(
    AmazonSim, configure, written, key="m1", settled="person", says="POST /messaging",
    happened=lambda sim: len(sim.books["messages"]),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_message_goes_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(WRITE, fault, tmp_path, sink)
