"""Taobao under every fault: a refund is paid once, words stand in the thread once, the queue loses nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faulty import SLOW, Does, Stage, account, staged, survives

from rmabridge.testing.simulators.faults import DOORS
from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.taobao import TaobaoSim

MONEY = {"amount": "19.90", "currency": "CNY"}


def configure(config: dict[str, Any], sim: TaobaoSim) -> None:
    config["marketplaces"] = {"tmall": account(sim, poll_every="P1D")}
    config["shops"]["one"] |= {"marketplace": "tmall", "locale": "zh-CN", "channels": []}


def refund(stage: Stage) -> str:
    (found,) = stage.sim.books["refunds"]
    return str(found)


async def asked_for(stage: Stage) -> None:
    await first_poll(stage)
    stage.sim.do_open_refund(stage.sim.do_place_order()["tid"])
    await polled(stage)


async def polled(stage: Stage) -> None:
    bridge = stage.world.bridge
    await bridge.pollers._visit("tmall", bridge.registry.accounts["tmall"], "poll")
    await stage.settle()


async def first_poll(stage: Stage) -> None:
    await stage.world.until(lambda: stage.world.rows("SELECT 1 FROM cursors WHERE kind = 'poll'"))


async def paid(stage: Stage) -> None:
    await stage.act(type="refund.pay", request=refund(stage), amount=MONEY)


async def said(stage: Stage) -> None:
    words = {"form": "thread", "to": refund(stage), "text": "您好，退款已受理"}
    await stage.act(type="message.send", account="tmall", purpose="m1", **words)


def ours(sim: TaobaoSim) -> int:
    return sum(one["owner_role"] == "2" for told in sim.books["messages"].values() for one in told)


PAY = Does(
    TaobaoSim, configure, paid, key="refund:987654321:all", settled="find", says="taobao.rp.refunds.agree", money=True,
    opens=asked_for, happened=lambda sim: sum(sim.books["paid"].values()) // 1990,
)  # fmt: skip
SAY = Does(
    TaobaoSim, configure, said, key="m1", settled="find", says="taobao.refund.message.add", opens=asked_for,
    happened=ours,
)  # fmt: skip
METHODS = ("taobao.tmc.messages.consume", "taobao.tmc.messages.confirm", "taobao.refund.get")


@pytest.mark.parametrize("fault", DOORS)
async def test_a_refund_is_paid_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(PAY, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", DOORS)
async def test_words_are_left_once_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    await survives(SAY, fault, tmp_path, sink)


@pytest.mark.parametrize("fault", DOORS)
async def test_a_polled_request_becomes_one_case_whatever_goes_wrong(fault: str, tmp_path: Path, sink: Sink) -> None:
    async with staged(replace(PAY, opens=first_poll), tmp_path, sink) as stage:
        stage.sim.do_open_refund(stage.sim.do_place_order()["tid"])
        for method in METHODS:
            stage.sim.faults.add(fault, says=method, seconds=SLOW if fault == "slow" else 0)
        for _ in range(len(METHODS) + 1):
            await polled(stage)
        assert [one["fault"] for one in stage.sim.faults.struck] == [fault] * len(METHODS)
        assert stage.case.request is not None and stage.case.request.id == refund(stage)
        assert stage.world.rows("SELECT count(*) FROM messages WHERE author = 'buyer'") == [(1,)]
        assert stage.sim.books["queue"] == [] and stage.parked() == []
