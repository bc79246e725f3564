"""DingTalk on a running bridge: a new case is told of in the group, once; a muted robot later; by the app in person."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rmabridge.testing.simulators.dingtalk import DingTalkSim
from rmabridge.testing.simulators.feishu import FeishuSim
from rmabridge.testing.simulators.sink import Sink
from worlds import World, a_return, document, running


@asynccontextmanager
async def alerted(tmp_path: Path, sink: Sink, sim: DingTalkSim, **more: Any) -> AsyncIterator[World]:
    """A shop whose colleagues read of new cases in a DingTalk group."""
    config = document(tmp_path, sink.url, policies=["routing"])
    config["channels"]["ding"] = {"plugin": "dingtalk", **sim.account_settings(), **more}
    config["shops"]["one"]["staff"] = ["ding"]
    async with running(config, sink) as world:
        yield world


def state(world: World) -> str | None:
    """How far the only alert is."""
    return next((str(one) for (one,) in world.rows("SELECT state FROM outbox WHERE account = 'ding'")), None)


async def test_the_group_hears_of_a_new_case_signed_with_keyword_and_mentions(tmp_path: Path, sink: Sink) -> None:
    async with (
        DingTalkSim(keywords=("售后",)) as sim,
        alerted(tmp_path, sink, sim, format="markdown", mention_mobiles=["13800001111"]) as world,
    ):
        await world.post(a_return())
        await world.settle()
        ((case,),) = world.rows("SELECT id FROM cases")
        (message,) = sim.books["messages"]
        assert case in message["markdown"]["text"]
        assert message["mentioned"] == ["13800001111"]
        assert state(world) == "done"
        assert sim.books["refusals"] == []


async def test_a_muted_robot_is_asked_again_after_ten_minutes(tmp_path: Path, sink: Sink) -> None:
    async with DingTalkSim() as sim, alerted(tmp_path, sink, sim) as world:
        sim.do_fail_next(130101, "send too fast, exceed 20 times per minute")
        await world.post(a_return())
        await world.until(lambda: sim.books["refusals"])
        await world.settle()
        world.bridge.store.clock.offset += timedelta(minutes=9)
        await world.settle()
        assert (state(world), sim.books["messages"]) == ("due", [])
        world.bridge.store.clock.offset += timedelta(minutes=4)
        await world.until(lambda: sim.books["messages"])
        await world.settle()
        assert (state(world), len(sim.books["messages"])) == ("done", 1)


async def test_a_wrong_secret_pauses_the_account_and_loses_no_alert(tmp_path: Path, sink: Sink) -> None:
    async with DingTalkSim() as sim, alerted(tmp_path, sink, sim, secret="SECanother") as world:
        await world.post(a_return())
        ((told,),) = await world.until(lambda: world.rows("SELECT text FROM alerts WHERE key = 'unauthorised:ding'"))
        assert sim.books["refusals"] == [310000]
        await world.until(lambda: state(world) == "due")
        assert "安全设置" in told
        assert "SECanother" not in told


async def test_an_alert_whose_answer_was_lost_is_not_posted_twice(tmp_path: Path, sink: Sink) -> None:
    async with DingTalkSim() as sim, alerted(tmp_path, sink, sim) as world:
        sim.faults.add("lost answer", times=1, path="/robot/send")
        await world.post(a_return())
        await world.until(lambda: state(world) == "uncertain")
        await world.settle()
        assert len(sim.books["messages"]) == 1


async def test_the_app_tells_a_colleague_and_a_lost_answer_leaves_the_alert_for_a_person(
    tmp_path: Path, sink: Sink
) -> None:
    async with DingTalkSim(as_app=True) as sim:
        config = document(tmp_path, sink.url, policies=["routing"])
        config["channels"]["ding"] = {"plugin": "dingtalk", **sim.account_settings()}
        config["shops"]["one"] |= {"staff": ["ding"], "staff_to": "manager1234"}
        async with running(config, sink) as world:
            await world.post(a_return())
            await world.until(lambda: state(world) == "done")
            ((case,),) = world.rows("SELECT id FROM cases")
            (told,) = sim.books["sent"]
            assert told["to"] == "manager1234"
            assert case in told["content"]

            sim.faults.add("lost answer", times=1, path="/v1.0/robot")
            await world.post(a_return(2))
            uncertain = "SELECT count(*) FROM outbox WHERE account = 'ding' AND state = 'uncertain'"
            await world.until(lambda: world.rows(uncertain) == [(1,)])
            assert (len(sim.books["sent"]), sim.books["tokens"]) == (2, 1)


@pytest.mark.row("S010")
async def test_a_new_case_fans_out_to_two_groups_and_one_that_fails_does_not_stop_the_other(
    tmp_path: Path, sink: Sink
) -> None:
    async with DingTalkSim() as ding, FeishuSim() as feishu:
        config = document(tmp_path, sink.url, policies=["routing"])
        config["channels"]["ding"] = {"plugin": "dingtalk", **ding.account_settings()}
        config["channels"]["fs"] = {"plugin": "feishu", **feishu.account_settings()}
        config["shops"]["one"]["staff"] = ["ding", "fs"]
        ding.do_fail_next(130101, "send too fast, exceed 20 times per minute")
        async with running(config, sink) as world:
            await world.post(a_return())
            await world.until(lambda: feishu.books["posts"])
            await world.settle()
            assert (ding.books["messages"], ding.books["refusals"]) == ([], [130101])
            world.bridge.store.clock.offset += timedelta(minutes=13)
            await world.until(lambda: ding.books["messages"])
            await world.settle()
            assert (len(feishu.books["posts"]), len(ding.books["messages"])) == (1, 1)
