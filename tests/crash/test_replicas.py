"""Three processes on one PostgreSQL: what one of them suffers, the others make good, and nothing happens twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from herd import BUSY, Herd, disorder, herd, load, told
from load import Senders

from rmabridge.testing.simulators.server import Simulator
from rmabridge.testing.simulators.sink import Sink
from stores import of_server

pytestmark = pytest.mark.skipif(
    not os.environ.get("RMABRIDGE_REPLICAS"),
    reason="three processes that are killed under load want a machine to themselves: make replicas",
)


@pytest.fixture
async def bank() -> AsyncIterator[Sink]:
    """An account that pays whatever it is asked to, as often as it is asked to."""
    async with Sink() as one:
        yield one


async def judge(group: Herd, senders: Senders, sink: Sink, bank: Sink, uncertain: int = 0) -> None:
    """All that was acknowledged was done, each thing once, in the order of its case."""
    await group.until(BUSY, [(0,)])
    wanted = {f"R{number}" for number in senders.acknowledged}
    mails = {*wanted, *(f"R{number}/{note}" for number, note in senders.noted)}
    paid = told(bank, "refund.pay", "request")
    assert group.rows("SELECT id, kind, state, note FROM inbox WHERE state != 'done'") == []
    assert group.rows("SELECT count(*) FROM cases") == [(len(wanted),)]
    assert set(told(sink, "ticket.open", "subject")) == wanted
    assert set(told(sink, "message.send", "text")) == mails
    assert max(paid.values()) == 1, "money moved twice"
    assert group.rows("SELECT count(*) FROM outbox WHERE state != 'done'")[0][0] <= uncertain
    assert len(paid) >= len(wanted) - uncertain
    assert disorder(sink) == []
    keys = {one["id"] for one in sink.books["posts"]}
    assert len(keys) == len(wanted) + len(mails), "every try of an action carries the same key"


@pytest.mark.slow
async def test_one_of_three_is_killed_stopped_or_cut_off_and_the_others_go_on(
    tmp_path: Path, sink: Sink, bank: Sink
) -> None:
    async with herd(tmp_path, of_server(tmp_path), sink.url, bank.url) as group:
        first, second, third = group.members
        async with load(group, at_once=6, pause=0.02, notes=3, patience=1.5) as senders:
            await group.moved(sink, 60)
            await first.kill()
            await group.moved(sink, 60)
            await first.start()
            second.tell(signal.SIGSTOP)
            await group.moved(sink, 100)
            second.tell(signal.SIGCONT)
            await group.moved(sink, 60)
            group.proxy.fault = "stop"
            await group.moved(sink, 100)
            group.proxy.fault = None
            await group.moved(sink, 60)
        assert third.alive
        await judge(group, senders, sink, bank, uncertain=20)


@pytest.mark.slow
async def test_a_rolling_restart_behind_a_balancer_refuses_no_webhook(tmp_path: Path, sink: Sink, bank: Sink) -> None:
    async with herd(tmp_path, of_server(tmp_path), sink.url, bank.url) as group:
        async with load(group, at_once=6, pause=0.01, notes=1) as senders:
            for one in group.members:
                await group.moved(sink, 30)
                await one.kill(signal.SIGTERM)
                await one.start()
        await judge(group, senders, sink, bank)
        assert senders.refused == {}


class Feed(Simulator):
    """A marketplace that is polled: each process has a path of its own, so that the books tell who polled."""

    def __init__(self) -> None:
        super().__init__()
        self.polls: list[str] = []
        self.item = 0

    def routes(self) -> list[web.RouteDef]:
        """What the toy marketplace asks for."""
        return [web.get("/{who}/poll", self._poll), web.route("*", "/{rest:.*}", self._nothing)]

    async def _poll(self, request: web.Request) -> web.Response:
        self.polls.append(request.match_info["who"])
        self.item += 1
        refs = [{"kind": "return", "value": f"R{self.item}"}]
        event = {"type": "case.requested", "key": f"asked-{self.item}", "kind": "return", "refs": refs}
        body = json.dumps({"events": [{**event, "at": "2026-01-01T00:00:00Z"}]})
        return web.json_response({"items": [{"id": f"I{self.item}", "body": body}], "cursor": str(self.item)})

    async def _nothing(self, _: web.Request) -> web.Response:
        return web.json_response({"items": [], "cursor": ""})

    async def polled(self, more: int) -> None:
        """Wait until it was polled so many times more."""
        before = len(self.polls)
        async with asyncio.timeout(120):
            while len(self.polls) < before + more:
                await asyncio.sleep(0.02)


async def test_one_of_three_polls_an_account_and_another_takes_over_when_it_dies(
    tmp_path: Path, sink: Sink, bank: Sink
) -> None:
    numbers = iter(range(3))
    async with Feed() as feed:

        def change(config: dict[str, Any]) -> None:
            config["marketplaces"]["shop"] |= {"url": f"{feed.url}/{next(numbers)}", "poll_every": 0.2}

        async with herd(tmp_path, of_server(tmp_path), sink.url, bank.url, change) as group:
            await feed.polled(8)
            poller = feed.polls[-1]
            await group.members[int(poller)].kill()
            before = len(feed.polls)
            await feed.polled(8)
            await group.until(BUSY, [(0,)])
        assert set(feed.polls[:before]) == {poller}, "one of three polls"
        assert len(set(feed.polls[before:])) == 1
        assert poller not in feed.polls[before:]
        assert max(told(bank, "refund.pay", "request").values()) == 1
