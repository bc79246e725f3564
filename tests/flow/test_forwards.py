"""Outgoing webhooks: every change of a case reaches the integrator, signed, in order, once, also after an outage."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from rmabridge.testing.simulators.sink import Sink
from worlds import SECRET, World, a_return, ago, document, running


def a_message(number: int) -> dict[str, object]:
    """The buyer of the first return writes again."""
    data = {"order": "O1", "text": f"message {number}", "buyer": {"id": "B1"}}
    return {"id": f"evt-m{number}", "type": "message", "time": ago(seconds=30 - number), "data": data}


def all_sent(world: World, integrator: Sink) -> bool:
    """Let a minute pass (but none while a signed request is under way); whether every forward is done."""
    if not world.rows("SELECT 1 FROM outbox WHERE state = 'sending'"):
        world.bridge.store.clock.offset += timedelta(minutes=1)
    integrator.offset = world.bridge.store.clock.offset
    world.bridge.dispatcher.wake.set()
    return world.rows("SELECT DISTINCT state FROM outbox WHERE type = 'event.forward'") == [("done",)]


@pytest.mark.row("P28")
async def test_an_integrator_that_was_down_misses_no_change_and_gets_them_in_order(tmp_path: Path, sink: Sink) -> None:
    async with Sink(secret=SECRET) as integrator:
        config = document(tmp_path, sink.url)
        config["services"] = {"out": {"plugin": "http", "url": integrator.url, "secret": SECRET, "allow_private": True}}
        config["shops"]["one"]["forwards"] = ["out"]
        async with running(config, sink) as world:
            integrator.do_answer(status=503, times=3)
            assert (await world.post(a_return()))[0] == 200
            for number in range(1, 4):
                assert (await world.post(a_message(number)))[0] == 200
                await world.until(lambda: world.rows("SELECT count(*) FROM inbox WHERE state = 'new'") == [(0,)])
            await world.until(lambda: integrator.books["refused"] == 1)
            assert integrator.books["posts"] == []
            assert world.rows("SELECT count(*) FROM outbox WHERE type = 'event.forward'")[0][0] >= 2
            await world.until(lambda: all_sent(world, integrator))
        posts = integrator.books["posts"]
        assert len(posts) >= 2
        assert len({one["id"] for one in posts}) == len(posts)
        stamps = [one["body"]["timestamp"] for one in posts]
        assert stamps == sorted(stamps)
        assert posts[-1]["body"]["data"]["talk"]["last_text"] == "message 3"
