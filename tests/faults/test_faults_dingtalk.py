"""The DingTalk robot under every fault: colleagues are told once; in doubt a person who sees the group says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, account, survives

from rmabridge.testing.simulators.dingtalk import DingTalkSim
from rmabridge.testing.simulators.faults import DOORS
from rmabridge.testing.simulators.sink import Sink


def configure(config: dict[str, Any], sim: DingTalkSim) -> None:
    config["channels"]["ding"] = account(sim)
    config["shops"]["one"]["staff"] = ["ding"]


async def alerted(stage: Stage) -> None:
    words = {"form": "chat", "to": "staff", "audience": "staff", "text": "A new case"}
    await stage.act(type="message.send", account="ding", purpose="alert:1", **words)


ALERT = Does(
    DingTalkSim, configure, alerted, key="alert:1", settled="person",
    happened=lambda sim: len(sim.books["messages"]),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_colleagues_are_told_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(ALERT, fault, tmp_path, sink)
