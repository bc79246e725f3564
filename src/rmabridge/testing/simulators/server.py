"""What all simulators share: a server, books, a clock that can be shifted, and webhooks out."""

from __future__ import annotations

import asyncio
import inspect
import json
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

import aiohttp
from aiohttp import web


class Simulator:
    """One vendor on loopback.

    ``books`` is what the vendor believes, as JSON at ``GET /_books``. Methods named ``do_<something>`` are the world
    acting (a buyer asks for a return, an agent answers): call them, or ``POST /_do/<something>`` with their arguments
    as a JSON object. ``POST /_clock {"offset": seconds}`` shifts the simulator's clock.
    """

    name: ClassVar[str] = ""

    def __init__(self, *, hook: str | None = None) -> None:
        self.hook = hook
        self.books: dict[str, Any] = {"webhooks": []}
        self.offset = timedelta()
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._client: aiohttp.ClientSession | None = None

    def routes(self) -> list[web.RouteDef]:
        """The vendor's own doors."""
        return []

    def now(self) -> datetime:
        """The simulator's clock."""
        return datetime.now(UTC) + self.offset

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> Self:
        """Listen; ``url`` holds the address afterwards."""
        app = web.Application(client_max_size=64 << 20)
        app.add_routes(
            [
                web.get("/_books", self._show_books),
                web.post("/_clock", self._set_clock),
                web.post("/_do/{what}", self._do),
                *self.routes(),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound = self._runner.addresses[0]
        self.url = f"http://{host}:{bound[1]}"
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15))
        return self

    async def stop(self) -> None:
        """Close the server and the webhooks' client."""
        if self._client:
            await self._client.close()
        if self._runner:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return self if self.url else await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def deliver(self, body: bytes, headers: dict[str, str], *, url: str | None = None, tries: int = 1) -> int:
        """POST a webhook to the hook; answers its status, 0 where nobody listens. ``tries`` repeats until a 2xx."""
        target = url or self.hook
        if target is None or self._client is None:
            return 0
        status = 0
        for attempt in range(tries):
            if attempt:
                await asyncio.sleep(min(0.2 * 2**attempt, 2))
            try:
                async with self._client.post(target, data=body, headers=headers, allow_redirects=False) as answer:
                    status = answer.status
                    await answer.read()
            except (aiohttp.ClientError, TimeoutError):
                status = 0
            self.books["webhooks"].append({"status": status, "bytes": len(body)})
            if 200 <= status < 300:
                break
        return status

    async def _show_books(self, _: web.Request) -> web.Response:
        return web.json_response(self.books, dumps=lambda one: json.dumps(one, default=str, ensure_ascii=False))

    async def _set_clock(self, request: web.Request) -> web.Response:
        self.offset = timedelta(seconds=float((await request.json())["offset"]))
        return web.json_response({"now": self.now().isoformat()})

    async def _do(self, request: web.Request) -> web.Response:
        method = getattr(self, f"do_{request.match_info['what']}", None)
        if method is None:
            raise web.HTTPNotFound(text="no such thing to do")
        result = method(**(await request.json() if request.can_read_body else {}))
        if inspect.isawaitable(result):
            result = await result
        return web.json_response(result, dumps=lambda one: json.dumps(one, default=str, ensure_ascii=False))
