"""Slack on a running bridge: alerts into the channel, and what colleagues answer back into the case."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.slack import SlackSim, signature
from worlds import World, a_return, document, running

pytestmark = pytest.mark.evidence("slack", "end_to_end")


@asynccontextmanager
async def slack_world(tmp_path: Path, sink: Sink, sim: SlackSim, **more: Any) -> AsyncIterator[World]:
    """A bridge that tells colleagues in Slack of new cases."""
    config = document(tmp_path, sink.url, policies=["routing", "helpdesk_sync"])
    config["channels"]["slack"] = {"plugin": "slack", **sim.account_settings(), **more}
    config["shops"]["one"] |= {"staff": ["slack"], "sources": ["slack"]}
    async with running(config, sink) as world:
        sim.hook = f"{world.bridge.url}/hooks/slack"
        yield world


def alert(world: World) -> tuple[Any, ...]:
    """State and vendor's id of the alert."""
    (row,) = world.rows("SELECT state, ref FROM outbox WHERE account = 'slack' AND type = 'message.send'")
    return row


def entries(world: World, kind: str) -> list[str]:
    """The cases that have an entry of this type."""
    return [one for (one,) in world.rows(f"SELECT case_id FROM timeline WHERE type = '{kind}'")]


async def test_a_new_case_is_told_in_the_channel_and_a_colleagues_reply_joins_the_case(
    tmp_path: Path, sink: Sink
) -> None:
    async with SlackSim() as sim, slack_world(tmp_path, sink, sim) as world:
        await world.post(a_return())
        await world.until(lambda: sim.books["messages"])
        await world.settle()
        ((case,),) = world.rows("SELECT id FROM cases")
        (message,) = sim.books["messages"]
        assert case in message["text"]
        assert alert(world) == ("done", f"{sim.channel}/{message['ts']}")
        assert entries(world, "message.delivered") == [case]

        assert await sim.do_reply("Ich habe angerufen, 客户同意 & 退款") == 200
        assert await sim.do_reply("a bot's own words", bot_id="B1") == 200
        assert await sim.do_press() == 200
        await world.settle()
        assert entries(world, "message.received") == [case]
        assert world.rows("SELECT count(*) FROM cases") == [(1,)]
        assert world.rows("SELECT count(*) FROM inbox WHERE state NOT IN ('done', 'new')") == [(0,)]
        # It is an internal note: the buyer is told nothing of it.
        assert world.rows("SELECT count(*) FROM outbox WHERE account = 'mail'") == [(0,)]


async def test_a_redelivered_reply_counts_once(tmp_path: Path, sink: Sink) -> None:
    async with SlackSim() as sim, slack_world(tmp_path, sink, sim) as world:
        await world.post(a_return())
        await world.until(lambda: sim.books["messages"] and alert(world)[0] == "done")
        sim.faults.add("duplicate")
        assert await sim.do_reply("done") == 200
        await world.settle()
        assert len(entries(world, "message.received")) == 1


async def test_the_challenge_is_answered_without_storing_anything(tmp_path: Path, sink: Sink) -> None:
    async with SlackSim() as sim, slack_world(tmp_path, sink, sim) as world:
        body, stamp = b'{"type":"url_verification","challenge":"3eZbrw1aBm2rZgRN"}', str(int(sim.now().timestamp()))
        headers = {"Content-Type": "application/json", "X-Slack-Request-Timestamp": stamp}
        headers["X-Slack-Signature"] = signature(sim.secret, stamp, body)
        async with world.client.post(sim.hook or "", data=body, headers=headers) as answer:
            assert (answer.status, await answer.text()) == (200, "3eZbrw1aBm2rZgRN")
        assert await sim.do_challenge() == 200
        sim.secret = "guessed"
        assert await sim.do_challenge() == 401
        assert world.rows("SELECT count(*) FROM inbox") == [(0,)]


async def test_who_is_asked_to_wait_waits_and_posts_once(tmp_path: Path, sink: Sink) -> None:
    async with SlackSim() as sim, slack_world(tmp_path, sink, sim) as world:
        sim.do_limit(30)
        await world.post(a_return())
        await world.until(lambda: not sim._busy)
        await world.settle()
        assert sim.books["messages"] == []
        world.bridge.store.clock.offset += timedelta(minutes=2)
        await world.until(lambda: alert(world)[0] == "done")
        assert len(sim.books["messages"]) == 1


async def test_an_alert_whose_answer_was_lost_is_looked_up_and_its_thread_is_known(tmp_path: Path, sink: Sink) -> None:
    async with SlackSim() as sim, slack_world(tmp_path, sink, sim, look_up=True) as world:
        sim.do_lose_answer(502)
        await world.post(a_return())
        await world.until(lambda: sim.books["messages"] and alert(world)[0] == "uncertain")
        world.bridge.store.clock.offset += timedelta(minutes=2)
        sim.offset += timedelta(minutes=2)
        await world.until(lambda: alert(world)[0] == "done")
        assert len(sim.books["messages"]) == 1
        assert await sim.do_reply("I have it") == 200
        await world.settle()
        assert entries(world, "message.received") == [world.rows("SELECT id FROM cases")[0][0]]


async def test_an_incoming_webhook_tells_of_a_new_case_too(tmp_path: Path, sink: Sink) -> None:
    async with SlackSim() as sim:
        hook = {"token": None, "channel": None, "secret": None, "webhook": sim.webhook}
        async with slack_world(tmp_path, sink, sim, **hook) as world:
            await world.post(a_return())
            await world.until(lambda: sim.books["messages"])
            await world.settle()
            assert alert(world) == ("done", None)
            assert world.rows("SELECT id FROM cases")[0][0] in sim.books["messages"][0]["text"]
