"""A promotion's peak: nothing is lost, what is refused comes again, and severe cases do not wait behind the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from toybox import alerts, event, requested, send, toybox

from rmabridge.flow.places import OLDEST_EVERY, Places
from rmabridge.testing.simulators.server import Simulator
from rmabridge.testing.simulators.sink import Sink
from worlds import World, running


class Clerk(Simulator):
    """A vendor that serves one call at each turn that the test gives."""

    def __init__(self) -> None:
        super().__init__()
        self.turns, self.served = asyncio.Semaphore(0), list[str]()

    def routes(self) -> list[web.RouteDef]:
        """Any path."""
        return [web.post("/{path:.*}", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.json()
        await self.turns.acquire()
        self.served.append(body["text"])
        return web.json_response({"id": str(len(self.served))})

    def serve(self, turns: int) -> None:
        """Give so many turns."""
        for _ in range(turns):
            self.turns.release()


@pytest.fixture
async def clerk() -> AsyncIterator[Clerk]:
    """A vendor that waits for the test."""
    async with Clerk() as one:
        yield one


def crowded(tmp_path: Path, sink: str, clerk: str, **bridge: Any) -> dict[str, Any]:
    """Each request is followed by a mail, and the mail's account takes one call at a time."""
    config = toybox(tmp_path, sink, "payer", **bridge)
    config["policies"] = {"payer": {"also": ["mail"]}}
    config["channels"]["mail"] |= {"url": clerk, "in_flight": 1}
    config["services"] = {"bank": {"plugin": "http", "url": sink, "allow_private": True, "calls": {"refund.pay": {}}}}
    return config


def level(number: int, level: int) -> dict[str, Any]:
    """The case turns out to be of this level."""
    return event("case.classified", f"level-{number}", 2, {"return": f"R{number}"}, level=level)


async def insist(world: World, *events: dict[str, Any]) -> int:
    """Send until it is taken, as platforms do; how often it was refused."""
    refused = 0
    while (status := await send(world, *events)) != 200:
        assert status == 503
        refused += 1
        await asyncio.sleep(0.02)
    return refused


def waiting(world: World) -> int:
    return int(world.rows("SELECT count(*) FROM outbox WHERE account = 'mail' AND state = 'due'")[0][0])


async def turns_until_served(tmp_path: Path, sink: Sink, clerk: Clerk, load: int) -> dict[str, int]:
    """So many requests, the last three of them severe; at which turn each of these was served."""
    folder = tmp_path / str(load)
    folder.mkdir()
    clerk.served.clear()
    async with running(crowded(folder, sink.url, clerk.url), sink) as world:
        for number in range(1, load + 1):
            await send(world, requested(number), *([level(number, 3)] if number > load - 3 else []))
        await world.until(lambda: waiting(world) == load - 1)
        clerk.serve(load)
        await world.until(lambda: len(clerk.served) == load, 60)
        assert sorted(clerk.served) == sorted(f"R{number}" for number in range(1, load + 1)), "nothing is lost"
        return {f"R{number}": clerk.served.index(f"R{number}") for number in range(load - 2, load + 1)}


@pytest.mark.row("S046")
async def test_at_ten_times_the_load_severe_cases_are_served_at_the_same_turn(
    tmp_path: Path, sink: Sink, clerk: Clerk
) -> None:
    normal = await turns_until_served(tmp_path, sink, clerk, 12)
    peak = await turns_until_served(tmp_path, sink, clerk, 120)
    assert max(peak.values()) <= max(normal.values()) <= 5


@pytest.mark.row("S046")
async def test_what_a_full_queue_refuses_is_told_when_to_come_again_and_nothing_is_lost(
    tmp_path: Path, sink: Sink, clerk: Clerk
) -> None:
    clerk.serve(1000)
    config = crowded(tmp_path, sink.url, clerk.url, most_waiting=20)
    async with running(config, sink) as world:
        wanted = range(1, 301)
        refused = await asyncio.gather(*(insist(world, requested(one)) for one in wanted))
        assert sum(refused) > 0
        world.bridge.intake._backlog, world.bridge.intake._count_at = 20, float("inf")
        async with world.client.post(f"{world.bridge.url}/hooks/shop", json={"events": []}) as answer:
            assert answer.status == 503
            assert 0 < int(answer.headers["Retry-After"]) <= 60
        world.bridge.intake._count_at = 0.0
        await world.until(lambda: len(clerk.served) == len(wanted), 60)
        assert world.rows("SELECT count(*) FROM cases") == [(len(wanted),)]
        assert len(set(clerk.served)) == len(wanted)
        async with world.client.get(f"{world.bridge.url}/metrics") as answer:
            text = await answer.text()
        assert f'rmabridge_refused_total{{account="shop",status="503"}} {float(sum(refused) + 1)}' in text
        assert "rmabridge_inbox_waiting" in text
        assert "full" in alerts(world)["full"]


async def test_severe_cases_do_not_starve_the_others(tmp_path: Path, sink: Sink, clerk: Clerk) -> None:
    async with running(crowded(tmp_path, sink.url, clerk.url), sink) as world:
        for number in range(1, 41):
            await send(world, requested(number), *([level(number, 2)] if number > 10 else []))
        await world.until(lambda: waiting(world) == 39)
        clerk.serve(40)
        await world.until(lambda: len(clerk.served) == 40, 30)
        mild = [clerk.served.index(f"R{number}") for number in range(1, 11)]
        assert mild == sorted(mild)
        assert max(mild) <= 10 * OLDEST_EVERY


def test_every_fourth_place_of_a_crowded_account_is_the_oldests() -> None:
    places, room = Places(), {"mail": 1, "desk": 8}
    urgent = []
    for _ in range(12):
        urgent.append(places.first(room).get("mail"))
        places.took(room, [SimpleNamespace(account="mail"), SimpleNamespace(account="desk")])
        assert "desk" not in places.first(room), "what is not crowded takes all it has"
    assert urgent == [None, 1, 1, None, 1, 1, 1, None, 1, 1, 1, None]
    places.took(room, [])
    assert places.first(room) == {}
