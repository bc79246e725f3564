"""Alibaba Cloud SMS under every fault: a text message is sent once, and receipts and replies count once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from faulty import Does, Stage, Tells, a_buyer_asks, account, hears, survives

from rmabridge.testing.simulators.aliyun_sms import AliyunSmsSim
from rmabridge.testing.simulators.faults import DOORS, HOOKS
from rmabridge.testing.simulators.sink import Sink

PHONE = "13812345678"


def configure(config: dict[str, Any], sim: AliyunSmsSim) -> None:
    templates = {"first_reply.return": {"code": "SMS_100000001", "params": ["case"]}}
    config["channels"] = {"sms": account(sim, push_token="push-token", templates=templates)}
    config["shops"]["one"] |= {"channels": ["sms"], "sources": ["sms"], "prefer": ["sms"]}
    sim.hook = "{bridge}/hooks/sms?token=push-token"


async def replied(stage: Stage) -> None:
    await stage.sim.do_reply(PHONE, "好的")


async def replied_again(stage: Stage) -> None:
    await stage.sim.do_reply(PHONE, "什么时候退款？")


async def told(stage: Stage) -> None:
    await a_buyer_asks(stage)
    await stage.world.until(lambda: stage.sim.books["sent"])
    await stage.sim.do_receipt()  # it tells the case the number
    await stage.later(minutes=1)


async def not_yet(stage: Stage) -> None:
    """The buyer asks when the fault is on."""


SEND = Does(
    AliyunSmsSim, configure, a_buyer_asks, key="reply:first:1", settled="find", says="SendSms", opens=not_yet,
    happened=lambda sim: len(sim.books["sent"]), policies=("first_reply",),
)  # fmt: skip
REPLY = Tells(
    AliyunSmsSim, configure, replied, replied_again, opens=told, entries="message.received", policies=("first_reply",),
    shown=lambda case: case.talk.last_text, after=("好的", "什么时候退款？"),
)  # fmt: skip


@pytest.mark.parametrize("fault", DOORS)
async def test_a_text_message_is_sent_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(SEND, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", HOOKS)
async def test_a_buyers_reply_counts_once(fault: str, tmp_path: Path, sink: Sink) -> None:
    await hears(REPLY, fault, tmp_path, sink)
