"""A vendor that looks at its watch, in a thread of its own: a busy bridge must not make it look too late."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from aiohttp import web

from rmabridge.testing.simulators.server import Simulator


class Clocked(Simulator):
    """A vendor that notes when each request came, and how many there are at once."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[float] = []
        self.keys: set[str] = set()
        self.here = self.most = 0

    def routes(self) -> list[web.RouteDef]:
        """Any path."""
        return [web.post("/{path:.*}", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        self.came.append(monotonic())
        self.keys.add(request.headers["Idempotency-Key"])
        self.here += 1
        self.most = max(self.most, self.here)
        await asyncio.sleep(0.02)
        self.here -= 1
        return web.json_response({"id": "1"})

    def most_within(self, span: float) -> int:
        """The most requests in any span of this length."""
        window: deque[float] = deque()
        most = 0
        for one in self.came:
            window.append(one)
            while one - window[0] >= span:
                window.popleft()
            most = max(most, len(window))
        return most


@contextmanager
def clocked() -> Iterator[Clocked]:
    """Such a vendor, listening."""
    made, ready, over = Clocked(), threading.Event(), threading.Event()

    async def serve() -> None:
        async with made:
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(10)
    try:
        yield made
    finally:
        over.set()
        thread.join()
