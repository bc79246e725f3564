"""A door whose vendor publishes its keys: fetched when one is named that is not held, by one call, or not accepted."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from toybox import cases, push, requested, toybox

from rmabridge.testing.simulators.server import Simulator
from rmabridge.testing.simulators.sink import Sink
from worlds import World, running

KEYS = {"k1": b"first", "k2": b"second", "blank": b"?"}


class Publisher(Simulator):
    """Answers keys and counts what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.books["asked"] = []
        self.down = False

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/keys/{name}", self._key)]

    async def _key(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.books["asked"].append(name)
        if self.down:
            return web.Response(status=500)
        return web.Response(body=KEYS[name]) if name in KEYS else web.Response(status=404)


@asynccontextmanager
async def keyed(tmp_path: Path, sink: Sink) -> AsyncIterator[tuple[World, Publisher]]:
    async with Publisher() as publisher:
        config = toybox(tmp_path, sink.url)
        shop = {"plugin": "keyed", "allow_private": True, "keys": f"{publisher.url}/keys"}
        config["marketplaces"]["shop"] = shop
        async with running(config, sink) as world:
            yield world, publisher


async def signed(world: World, body: Any, kid: str) -> int:
    raw = json.dumps({"events": [body]}).encode()
    mark = hmac.digest(KEYS.get(kid, b""), raw, "sha256").hex()
    return await push(world, raw, **{"X-Kid": kid, "X-Mark": mark})


async def test_a_key_is_fetched_once_for_all_who_need_it(tmp_path: Path, sink: Sink) -> None:
    async with keyed(tmp_path, sink) as (world, publisher):
        many = await asyncio.gather(*(signed(world, requested(number), "k1") for number in range(8)))
        assert many == [200] * 8
        assert publisher.books["asked"] == ["k1"]
        await world.until(lambda: len(cases(world)) == 8)


async def test_a_key_that_the_vendor_does_not_know_is_refused(tmp_path: Path, sink: Sink) -> None:
    async with keyed(tmp_path, sink) as (world, _):
        assert await signed(world, requested(), "made-up") == 401
        assert await signed(world, requested(), "blank") == 401
        assert world.rows("SELECT count(*) FROM inbox") == [(0,)]


async def test_a_vendor_that_cannot_tell_the_key_makes_the_sender_come_back(tmp_path: Path, sink: Sink) -> None:
    async with keyed(tmp_path, sink) as (world, publisher):
        publisher.down = True
        assert await signed(world, requested(), "k1") == 503
        publisher.down = False
        assert await signed(world, requested(), "k1") == 200


async def test_made_up_names_do_not_make_the_bridge_call_as_often_as_they_come(tmp_path: Path, sink: Sink) -> None:
    async with keyed(tmp_path, sink) as (world, publisher):
        found = await asyncio.gather(*(signed(world, requested(), f"n{number}") for number in range(40)))
        assert set(found) == {401, 503}
        assert len(publisher.books["asked"]) < 20
