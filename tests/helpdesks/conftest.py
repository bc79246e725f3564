"""What the tests of this folder share: a real Request Tracker, and a door like the bridge's."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from rmabridge.abilities import WebRequest
from rmabridge.testing.real_rt import rt_server

__all__ = ["rt_server"]


@pytest.fixture
def listening() -> Callable[..., Any]:
    """Opens a door that verifies and parses what a simulator sends, as the bridge does."""
    return _listening


@asynccontextmanager
async def _listening(sim: Any, plugin: Any, parse: Callable[..., Any]) -> AsyncIterator[tuple[Any, list, list]]:
    events: list[Any] = []
    receipts: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        given = WebRequest("POST", request.path, request.query, request.headers, body)
        receipts.append(plugin.verify(given, sim.now()))
        events.extend(parse(body, plugin))
        return web.json_response({"ok": True})

    app = web.Application()
    app.router.add_post("/hooks/desk", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sim.hook = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/desk"
    try:
        yield plugin, events, receipts
        await sim.settle()
    finally:
        await runner.cleanup()
