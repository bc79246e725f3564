"""Feishu on a running bridge: alerts by robot, and an app that people write to and are answered by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rmabridge.testing.simulators.feishu import FeishuSim
from rmabridge.testing.simulators.sink import Sink
from worlds import World, a_return, document, running

pytestmark = pytest.mark.evidence("feishu", "end_to_end")

STAFF = "oc_a0553eda9014c201e6969b478895c230"
CHAT = "oc_5ce6d572455d361153b7"


@asynccontextmanager
async def talking(tmp_path: Path, sink: Sink, sim: FeishuSim, *policies: str, **more: Any) -> AsyncIterator[World]:
    """A shop whose colleagues and buyers are in Feishu."""
    config = document(tmp_path, sink.url, policies=list(policies))
    config["channels"]["fs"] = {"plugin": "feishu", "rate": "50/s", **sim.account_settings(), **more}
    slots: dict[str, Any] = {"staff": ["fs"], "staff_to": STAFF}
    if sim.as_app:
        slots |= {"channels": ["fs"], "sources": ["fs"], "prefer": ["chat"]}
    config["shops"]["one"] |= slots
    async with running(config, sink) as world:
        sim.hook = f"{world.bridge.url}/hooks/fs"
        yield world


def states(world: World) -> list[str]:
    """How far the account's messages are."""
    return [str(one) for (one,) in world.rows("SELECT state FROM outbox WHERE account = 'fs' ORDER BY id")]


async def test_the_robot_tells_of_a_new_case_and_again_after_a_limit(tmp_path: Path, sink: Sink) -> None:
    async with FeishuSim(keywords=("售后",)) as sim, talking(tmp_path, sink, sim, "routing") as world:
        sim.do_fail_next(11232, "frequency limited")
        await world.post(a_return())
        await world.until(lambda: sim.books["refusals"])
        await world.settle()
        assert sim.books["posts"] == []
        world.bridge.store.clock.offset += timedelta(minutes=2)
        await world.until(lambda: sim.books["posts"])
        await world.settle()
        ((case,),) = world.rows("SELECT id FROM cases")
        (post,) = sim.books["posts"]
        assert case in str(post["content"])
        assert states(world) == ["done"]


async def test_a_person_writes_to_the_app_and_is_answered_in_the_same_chat(tmp_path: Path, sink: Sink) -> None:
    async with FeishuSim(as_app=True) as sim, talking(tmp_path, sink, sim, "first_reply", "routing") as world:
        assert await sim.do_verify_address()
        assert await sim.do_message("屏幕碎了，我要退货", chat=CHAT, times=2) == 200
        assert await sim.do_other_event() == 200
        await world.until(lambda: len(sim.books["messages"]) == 2)
        await world.settle()
        ((case,),) = world.rows("SELECT id FROM cases")
        told = {one["to"]: str(one["content"]) for one in sim.books["messages"].values()}
        assert set(told) == {CHAT, STAFF}
        assert case in told[STAFF]
        assert sim.books["tokens"] <= 2
        assert world.rows("SELECT count(*) FROM inbox WHERE state NOT IN ('done', 'new')") == [(0,)]


async def test_a_reply_whose_answer_was_lost_is_sent_again_and_read_once(tmp_path: Path, sink: Sink) -> None:
    async with FeishuSim(as_app=True) as sim, talking(tmp_path, sink, sim, "first_reply") as world:
        sim.do_lose_answers(1)
        await sim.do_message("屏幕碎了", chat=CHAT)
        await world.until(lambda: sim.books["repeats"])
        await world.settle()
        assert len(sim.books["messages"]) == 1
        assert states(world) == ["done"]


async def test_a_stranger_stays_outside(tmp_path: Path, sink: Sink) -> None:
    async with FeishuSim(as_app=True) as sim, talking(tmp_path, sink, sim) as world:
        sim.encrypt_key = "guessed"
        assert await sim.do_message() == 401
        assert not await sim.do_verify_address()
        assert world.rows("SELECT count(*) FROM inbox") == [(0,)]


async def test_a_wrong_app_secret_pauses_the_account_and_loses_no_message(tmp_path: Path, sink: Sink) -> None:
    async with (
        FeishuSim(as_app=True) as sim,
        talking(tmp_path, sink, sim, "first_reply", app_secret="changed") as world,
    ):
        await sim.do_message(chat=CHAT)
        ((told,),) = await world.until(lambda: world.rows("SELECT text FROM alerts WHERE key = 'unauthorised:fs'"))
        assert "app_secret" in told
        assert "changed" not in told
        await world.until(lambda: states(world) == ["due"])
