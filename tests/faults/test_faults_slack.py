"""Slack under every fault: colleagues are told once, and what they answer counts once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, a_buyer_asks, account, hears, survives

from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.slack import SlackSim


def configure(config: dict[str, Any], sim: SlackSim) -> None:
    config["channels"]["slack"] = account(sim)
    config["shops"]["one"] |= {"staff": ["slack"], "sources": ["slack"]}
    sim.hook = "{bridge}/hooks/slack"


async def alerted(stage: Stage) -> None:
    words = {"form": "chat", "to": "staff", "audience": "staff", "text": "A new case"}
    await stage.act(type="message.send", account="slack", purpose="alert:1", **words)


async def told(stage: Stage) -> None:
    await a_buyer_asks(stage)
    await alerted(stage)
    await stage.world.until(lambda: stage.row("alert:1").get("state") == "done")


async def answered(stage: Stage) -> None:
    await stage.sim.do_reply("I called her.")


async def answered_again(stage: Stage) -> None:
    await stage.sim.do_reply("She agrees.")


ALERT = Does(
    SlackSim, configure, alerted, key="alert:1", settled="person", says="chat.postMessage",
    happened=lambda sim: len(sim.books["messages"]),
)  # fmt: skip
ANSWER = Tells(
    SlackSim, configure, answered, answered_again, opens=told, entries="message.received", dated=True,
    shown=lambda _: None, after=(None, None),  # colleagues' words change nothing but the timeline
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_colleagues_are_told_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(ALERT, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_an_answer_counts_once_and_a_stale_stamp_is_refused(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(ANSWER, fault, tmp_path, sink)
