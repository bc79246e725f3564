"""The Feishu robot under every fault: colleagues are told once; in doubt a person who sees the group says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, account, survives

from rmabridge.testing.simulators.faults import DOORS
from rmabridge.testing.simulators.feishu import FeishuSim
from rmabridge.testing.simulators.sink import Sink


def configure(config: dict[str, Any], sim: FeishuSim) -> None:
    config["channels"]["fs"] = account(sim)
    config["shops"]["one"]["staff"] = ["fs"]


async def alerted(stage: Stage) -> None:
    words = {"form": "chat", "to": "staff", "audience": "staff", "text": "A new case"}
    await stage.act(type="message.send", account="fs", purpose="alert:1", **words)


ALERT = Does(
    FeishuSim, configure, alerted, key="alert:1", settled="person",
    happened=lambda sim: len(sim.books["posts"]),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_colleagues_are_told_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(ALERT, fault, tmp_path, sink)
