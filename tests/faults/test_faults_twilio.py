"""Twilio under every fault: a message is sent once, and what buyers write counts once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, a_buyer_asks, account, hears, survives

from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.twilio import TwilioSim

DOOR = "https://bridge.example/hooks/twilio"
BUYER = "+8613812345678"


class Proxied(TwilioSim):
    """Twilio in front of a proxy: it signs the public address, and the proxy hands the request on."""

    async def deliver(self, body: bytes, headers: dict[str, str], **more: Any) -> int:
        url = str(more.pop("url", None) or self.hook)
        return await super().deliver(body, headers, url=url.replace(DOOR, self.books["inner"]), **more)


def configure(config: dict[str, Any], sim: Proxied) -> None:
    config["channels"] = {"twilio": account(sim, webhook_url=DOOR)}
    config["shops"]["one"] |= {"channels": ["twilio"], "sources": ["twilio"], "prefer": ["chat", "sms"]}


async def not_yet(stage: Stage) -> None:
    """The buyer asks when the fault is on."""
    stage.sim.hook, stage.sim.books["inner"] = DOOR, f"{stage.world.bridge.url}/hooks/twilio"


async def told(stage: Stage) -> None:
    await not_yet(stage)
    await a_buyer_asks(stage)
    await stage.world.until(lambda: stage.row("reply:first:1").get("state") == "done")
    await stage.sim.do_status("delivered")  # it tells the case the number
    await stage.later(minutes=1)


async def wrote(stage: Stage) -> None:
    await stage.sim.do_write(BUYER, "好的")


async def wrote_again(stage: Stage) -> None:
    await stage.sim.do_write(BUYER, "什么时候退款？")


SEND = Does(
    Proxied, configure, a_buyer_asks, key="reply:first:1", settled="find", says="POST /2010-04-01", opens=not_yet,
    happened=lambda sim: len(sim.books["messages"]), policies=("first_reply",),
)  # fmt: skip
REPLY = Tells(
    Proxied, configure, wrote, wrote_again, opens=told, entries="message.received", policies=("first_reply",),
    undated=True, shown=lambda case: case.talk.last_text, after=("好的", "什么时候退款？"),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_message_is_sent_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(SEND, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_buyers_words_count_once(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(REPLY, fault, tmp_path, sink)
