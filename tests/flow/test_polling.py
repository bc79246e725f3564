"""Polling and comparing: cursors are fenced, items and cursor are one commit, a sick feed harms nobody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import insert
from toybox import alerts, cases, event, requested, send, shift, stop_loop, timeline, toybox

from rmabridge.flow.bridge import ROLES
from rmabridge.store import ops
from rmabridge.store.inbox import Conflict
from rmabridge.store.tables import cursors
from rmabridge.testing.simulators.server import Simulator
from rmabridge.testing.simulators.sink import Sink
from worlds import World, running


class Feed(Simulator):
    """Pages by cursor; ``broken`` answers 503, ``hangs`` never."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[list[dict[str, Any]]] = []
        self.listed: list[dict[str, Any]] = []
        self.broken, self.hangs = False, asyncio.Event()
        self.hangs.set()
        self.books |= {"asked": [], "confirmed": []}

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/poll", self._poll), web.get("/listing", self._list), web.post("/confirm", self._confirm)]

    async def _poll(self, request: web.Request) -> web.Response:
        await self.hangs.wait()
        cursor = int(request.query["cursor"] or 0)
        self.books["asked"].append(cursor)
        if self.broken:
            return web.Response(status=503)
        page = self.pages[cursor] if cursor < len(self.pages) else []
        after = min(cursor + 1, len(self.pages))
        return web.json_response({"items": page, "cursor": str(after), "more": after < len(self.pages)})

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"items": self.listed, "cursor": ""})

    async def _confirm(self, request: web.Request) -> web.Response:
        self.books["confirmed"].append(await request.json())
        return web.Response()


@pytest.fixture
async def feed() -> AsyncIterator[Feed]:
    async with Feed() as one:
        yield one


def item(id_: str, *events: dict[str, Any]) -> dict[str, Any]:
    return {"id": id_, "body": json.dumps({"events": events})}


def polled(tmp_path: Path, sink: Sink, feed: Feed) -> dict[str, Any]:
    config = toybox(tmp_path, sink.url)
    config["marketplaces"]["shop"] |= {"url": feed.url, "poll_every": "PT60S"}
    return config


def cursor(world: World) -> Any:
    return world.bridge.store.read(lambda conn: ops.cursor(conn, "shop", "poll"))


async def test_pages_are_fetched_to_the_end_and_confirmed_after_they_are_on_disk(
    tmp_path: Path, sink: Sink, feed: Feed
) -> None:
    feed.pages = [[item("a", requested(1)), item("b", requested(2))], [item("c", requested(3))]]
    async with running(polled(tmp_path, sink, feed), sink) as world:
        await world.until(lambda: len(cases(world)) == 3)
        assert cursor(world).cursor == "2"
        await world.until(lambda: feed.books["confirmed"] == [["a", "b"], ["c"]])
        feed.pages.append([item("a", requested(1)), item("d", requested(4))])
        shift(world, seconds=61)
        await world.until(lambda: len(cases(world)) == 4)
        assert world.rows("SELECT count(*) FROM inbox") == [(4,)]


async def test_a_page_whose_cursor_was_moved_by_another_is_not_stored(tmp_path: Path, sink: Sink, feed: Feed) -> None:
    async with running(polled(tmp_path, sink, feed), sink) as world:
        await world.until(lambda: cursor(world))
        await stop_loop(world, "Pollers.run")
        feed.pages = [[item("a", requested(1))]]
        feed.hangs.clear()
        turn = asyncio.create_task(world.bridge.pollers.turn("shop", "poll"))
        await asyncio.sleep(0)
        read = cursor(world).version
        await world.bridge.store.write(lambda conn: ops.move_cursor(conn, "shop", "poll", read, {"cursor": "0"}))
        feed.hangs.set()
        with pytest.raises(Conflict):
            await turn
        assert world.rows("SELECT count(*) FROM inbox") == [(0,)]
        assert feed.books["confirmed"] == []
        await world.bridge.pollers.turn("shop", "poll")
        await world.until(lambda: len(cases(world)) == 1)


async def test_a_failing_poll_is_told_waits_and_is_well_again(tmp_path: Path, sink: Sink, feed: Feed) -> None:
    feed.broken = True
    async with running(polled(tmp_path, sink, feed), sink) as world:
        await world.until(lambda: "poll:shop" in alerts(world))
        row = cursor(world)
        assert "503" in row.cause and row.due_at > world.bridge.store.clock.micros() + 60_000_000
        asked = len(feed.books["asked"])
        feed.broken, feed.pages = False, [[item("a", requested(1))]]
        shift(world, seconds=61)
        await asyncio.sleep(0)
        assert len(feed.books["asked"]) == asked
        shift(world, seconds=61)
        await world.until(lambda: len(cases(world)) == 1)
        assert "poll:shop" not in alerts(world)
        assert cursor(world).cause is None


async def test_an_account_that_hangs_keeps_no_other_from_being_polled(tmp_path: Path, sink: Sink, feed: Feed) -> None:
    feed.hangs.clear()
    async with Feed() as other:
        other.pages = [[item("a", requested(7))]]
        config = polled(tmp_path, sink, feed)
        config["marketplaces"]["zeta"] = {"plugin": "toy", "url": other.url, "allow_private": True}
        config["shops"]["two"] = {"marketplace": "zeta"}
        async with running(config, sink) as world:
            await world.until(lambda: [one.shop for one in cases(world)] == ["two"])
            feed.hangs.set()


async def test_a_paused_account_is_not_asked(tmp_path: Path, sink: Sink, feed: Feed) -> None:
    async with running(polled(tmp_path, sink, feed), sink) as world:
        await world.until(lambda: feed.books["asked"])
        await world.bridge.store.write(lambda conn: ops.set_paused(conn, "shop", on=True, reason="holiday", now=1))
        asked, feed.pages = len(feed.books["asked"]), [[item("a", requested(1))]]
        shift(world, hours=1)
        await world.settle()
        assert len(feed.books["asked"]) == asked
        await world.bridge.store.write(lambda conn: ops.set_paused(conn, "shop", on=False, reason="", now=2))
        shift(world, seconds=61)
        await world.until(lambda: len(cases(world)) == 1)


async def test_a_comparison_finds_a_dropped_webhook_as_the_same_case_and_nothing_twice(
    tmp_path: Path, sink: Sink, feed: Feed
) -> None:
    changed = event("request.changed", "yes-1", 5, {"return": "R1"}, status="approved")
    async with running(polled(tmp_path, sink, feed), sink) as world:
        await send(world, requested(1))
        await world.settle()
        feed.listed = [item("list-1", requested(1), changed), item("list-2", requested(2))]
        await world.until(lambda: world.rows("SELECT 1 FROM cursors WHERE kind = 'reconcile'"))
        shift(world, hours=7)
        await world.until(lambda: len(cases(world)) == 2)
        await world.settle()
        first = cases(world)[0]
        assert timeline(world, first.id) == ["case.requested", "request.changed"]
        await send(world, changed)
        await world.settle()
        assert timeline(world, first.id) == ["case.requested", "request.changed"]


async def test_two_turns_of_one_account_at_once_follow_each_other(tmp_path: Path, sink: Sink, feed: Feed) -> None:
    feed.listed = [item("list-1", requested(1))]
    async with running(polled(tmp_path, sink, feed), sink, [one for one in ROLES if one != "pollers"]) as world:
        pollers, plugin = world.bridge.pollers, world.bridge.registry.accounts["shop"]
        await asyncio.gather(pollers.turn("shop", "reconcile"), pollers._visit("shop", plugin, "reconcile"))
        await world.until(lambda: len(cases(world)) == 1)
        assert alerts(world) == {} and world.rows("SELECT count(*) FROM inbox") == [(1,)]


async def test_a_comparison_that_is_asked_for_before_the_first_was_put_off_is_made(
    tmp_path: Path, sink: Sink, feed: Feed
) -> None:
    feed.listed = [item("list-1", requested(1))]
    async with running(polled(tmp_path, sink, feed), sink, [one for one in ROLES if one != "pollers"]) as world:
        pollers, plugin, store = world.bridge.pollers, world.bridge.registry.accounts["shop"], world.bridge.store
        asked = {"account": "shop", "kind": "reconcile", "version": 0, "due_at": 0}
        asking = store.write(lambda conn: conn.execute(insert(cursors), asked))
        await asyncio.gather(pollers._visit("shop", plugin, "reconcile"), asking)
        await pollers._visit("shop", plugin, "reconcile")
        await world.until(lambda: len(cases(world)) == 1)


async def test_an_account_is_polled_on_when_a_clock_that_was_ahead_is_set_back(
    tmp_path: Path, sink: Sink, feed: Feed
) -> None:
    async with running(polled(tmp_path, sink, feed), sink) as world:
        shift(world, hours=1)
        await world.until(lambda: cursor(world) and cursor(world).due_at > world.bridge.store.clock.micros())
        feed.pages = [[item("a", requested(1))]]
        shift(world, hours=-1)
        await world.until(lambda: len(cases(world)) == 1)
