"""What all simulators share: a server, books, a clock that can be shifted, and webhooks out."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

from aiohttp import web

from .faults import Faults, NoSuchFault
from .posting import Post, Webhook, accepted


class Simulator:
    """One vendor on loopback.

    ``books`` is what the vendor believes, as JSON at ``GET /_books``. Methods named ``do_<something>`` are the world
    acting (a buyer asks for a return, an agent answers): call them, or ``POST /_do/<something>`` with their arguments
    as a JSON object. ``POST /_clock {"offset": seconds}`` shifts the simulator's clock.

    ``faults`` says what goes wrong: ``faults.add("lost answer", times=2, path="/tickets")``, or ``POST /_fault`` with
    the same as a JSON object (``GET`` shows them, ``DELETE`` clears them and sends what was held back).
    """

    name: ClassVar[str] = ""
    plugin: ClassVar[str] = ""  # whose accounts it serves, where that is not its own name

    def __init__(self, *, hook: str | None = None) -> None:
        self.hook = hook
        self.books: dict[str, Any] = {"webhooks": []}
        self.offset = timedelta()
        self.faults = Faults()
        self.outgoing = Post(self.faults, self._note_webhook)
        self.url = ""
        self._runner: web.AppRunner | None = None

    def routes(self) -> list[web.RouteDef]:
        """The vendor's own doors."""
        return []

    def now(self) -> datetime:
        """The simulator's clock."""
        return datetime.now(UTC) + self.offset - timedelta(seconds=self.faults.behind())

    def account_settings(self) -> dict[str, Any]:
        """Settings of an account that uses this simulator; where they are not all, what its plugin calls as we do is
        added."""
        return {"url": self.url, "allow_private": True}

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> Self:
        """Listen; ``url`` holds the address afterwards."""
        app = web.Application(client_max_size=64 << 20, middlewares=[self.faults.middleware])
        app.add_routes(
            [
                web.get("/_books", self._show_books),
                web.post("/_clock", self._set_clock),
                web.post("/_do/{what}", self._do),
                web.route("*", "/_fault", self._set_fault),
                *self.routes(),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound = self._runner.addresses[0]
        self.url = f"http://{host}:{bound[1]}"
        self.outgoing.open()
        return self

    async def stop(self) -> None:
        """Close the server and the webhooks' client."""
        await self.outgoing.close()
        if self._runner:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return self if self.url else await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def deliver(
        self,
        body: bytes,
        headers: dict[str, str],
        *,
        url: str | None = None,
        tries: int = 1,
        taken: Callable[[int, bytes], bool] = accepted,
        pause: float = 0.4,
    ) -> int:
        """POST a webhook to the hook; answers its status, 0 where nobody listens. ``tries`` repeats until it is taken.

        ``taken`` judges status and body of the answer, where a good status is not enough for the vendor.
        """
        target = url or self.hook
        if target is None:
            return 0
        return await self.outgoing.send(Webhook(target, body, headers, tries, taken, pause))

    def _note_webhook(self, entry: dict[str, Any]) -> None:
        self.books["webhooks"].append(entry)

    async def _set_fault(self, request: web.Request) -> web.Response:
        """Switch faults on and off."""
        if request.method == "DELETE":
            self.faults.clear(request.query.get("name"))
            await self.outgoing.release()
        elif request.method == "POST":
            try:
                self.faults.add(**(await request.json()))
            except (NoSuchFault, TypeError, ValueError) as error:
                return web.json_response({"error": str(error)}, status=400)
        return web.json_response(self.faults.shown())

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
