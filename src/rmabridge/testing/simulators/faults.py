"""What goes wrong at a simulator, how often and where: on the way in at its doors, on the way out with its webhooks.

The faults live in the base class, so every simulator has them, also one that knows nothing of them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final

from aiohttp import StreamReader, web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

DOORS: Final = {
    "slow": "the answer comes late and in small pieces",
    "reset": "the connection is cut before the request is handled",
    "lost answer": "the request is handled and booked, the connection is cut before the answer",
    "429": "too many requests, with Retry-After; not handled",
    "500": "a server error; not handled",
    "wrong content": "a page that is no answer of the vendor's, with status 200; not handled",
}
HOOKS: Final = {
    "duplicate": "a webhook is delivered twice",
    "out of order": "a webhook is held back and delivered after the next one",
    "stale": "a webhook is made and signed with a clock that is hours behind",
    "lost": "a webhook is never delivered",
    "garbled": "a webhook's body arrives as something else, under the headers of the right one",
}
KINDS: Final = {**DOORS, **HOOKS}
PAGE: Final = "<!doctype html><html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>"
SECONDS: Final = {"slow": 1.0, "429": 2.0, "stale": 6 * 3600.0}
PIECES: Final = 8


class NoSuchFault(ValueError):
    """There is no such fault."""


@dataclass(slots=True)
class Fault:
    """One fault that is switched on.

    It strikes ``times`` requests or webhooks (0: until it is cleared) whose address holds ``path`` and which say
    ``says`` in request line, headers or body, each with ``chance``. ``seconds`` is how slow, how long to wait or how
    far behind; ``content`` what the wrong page says.
    """

    name: str
    times: int = 1
    path: str = ""
    says: str = ""
    chance: float = 1.0
    seconds: float = 0.0
    content: str = PAGE
    struck: int = 0

    def __post_init__(self) -> None:
        self.name = " ".join(self.name.replace("-", " ").replace("_", " ").split())
        if self.name not in KINDS:
            raise NoSuchFault(f"{self.name!r} is not a fault; there are {', '.join(KINDS)}")
        if self.times < 0 or not 0 < self.chance <= 1:
            raise NoSuchFault("times is 0 or more, chance above 0 and at most 1")
        self.seconds = self.seconds or SECONDS.get(self.name, 0.0)

    def meant(self, path: str, said: bytes) -> bool:
        """Whether it is about this request or webhook."""
        return self.path in path and self.says.encode() in said


class Faults:
    """The faults of one simulator; ``on`` are those still to come, ``struck`` what happened, in order."""

    def __init__(self) -> None:
        self.on: list[Fault] = []
        self.struck: list[dict[str, str]] = []
        self.chance = Random()  # noqa: S311 - a die, not a secret

    def add(self, name: str, times: int = 1, **more: Any) -> Fault:
        """Switch a fault on; ``more`` are the other fields of ``Fault``."""
        fault = Fault(name, times, **more)
        self.on.append(fault)
        return fault

    def clear(self, name: str | None = None) -> None:
        """Switch faults of this name off, or all."""
        self.on = [one for one in self.on if name not in {None, one.name}]

    def take(self, names: dict[str, str], path: str, said: bytes) -> Fault | None:
        """The fault that strikes now, counted."""
        for one in self.on:
            if one.name in names and one.meant(path, said) and self.chance.random() < one.chance:
                one.struck += 1
                self.struck.append({"fault": one.name, "path": path})
                if one.struck == one.times:
                    self.on.remove(one)
                return one
        return None

    def behind(self) -> float:
        """Seconds by which the simulator's clock is behind for the next webhook; its doors keep the right time."""
        if (now := DOOR.get()) is not None and now.open:
            return 0.0
        return next((one.seconds for one in self.on if one.name == "stale"), 0.0)

    def shown(self) -> dict[str, Any]:
        """What is on and what happened, for JSON."""
        return {"on": [asdict(one) for one in self.on], "struck": self.struck}

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle a request of the vendor's doors, or let it fail."""
        if request.path.startswith("/_"):
            return await handler(request)
        with at_the_door():
            fault = self.take(DOORS, request.path_qs, await self._said(request))
            if fault is None:
                return await handler(request)
            return await WAYS[fault.name](fault, request, handler)

    async def _said(self, request: web.Request) -> bytes:
        """All of the request, where a fault asks for it; the handler can still read it."""
        if not any(one.says for one in self.on):
            return b""
        body = await request.read()
        again = StreamReader(request.protocol, max(len(body), 1), loop=asyncio.get_running_loop())
        again.feed_data(body)
        again.feed_eof()
        request._payload, request._read_bytes = again, None  # noqa: SLF001 - forms and can_read_body want it unread
        line = f"{request.method} {request.path_qs}".encode()
        return b"\n".join([line, *(name + b": " + value for name, value in request.raw_headers), b"", body])


@dataclass(slots=True)
class Door:
    """A request under way."""

    open: bool = True


# What a door starts and leaves behind inherits this note, and finds it closed.
DOOR: ContextVar[Door | None] = ContextVar("door", default=None)


@contextmanager
def at_the_door() -> Iterator[None]:
    """Inside, the simulator answers a request."""
    door = Door()
    token = DOOR.set(door)
    try:
        yield
    finally:
        door.open = False
        DOOR.reset(token)


async def _slow(fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
    answer = await _answer(request, handler)
    body = answer.body if isinstance(answer, web.Response) and isinstance(answer.body, bytes) else b""
    pause, size = fault.seconds / PIECES, max(1, -(-len(body) // PIECES))
    if not body:
        await asyncio.sleep(fault.seconds)
        return answer
    dripping = web.StreamResponse(status=answer.status, headers=answer.headers)
    dripping.content_length = len(body)
    await dripping.prepare(request)
    for start in range(0, len(body), size):
        await asyncio.sleep(pause)
        await dripping.write(body[start : start + size])
    await dripping.write_eof()
    return dripping


async def _reset(_: Fault, request: web.Request, __: Handler) -> web.StreamResponse:
    await request.read()
    return _cut(request)


async def _lost(_: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
    await _answer(request, handler)
    return _cut(request)


async def _busy(fault: Fault, request: web.Request, _: Handler) -> web.StreamResponse:
    await request.read()
    return web.Response(status=429, text="Too many requests\n", headers={"Retry-After": f"{fault.seconds:.0f}"})


async def _broken(_: Fault, request: web.Request, __: Handler) -> web.StreamResponse:
    await request.read()
    return web.Response(status=500, text="Internal server error\n")


async def _wrong(fault: Fault, request: web.Request, _: Handler) -> web.StreamResponse:
    await request.read()
    return web.Response(body=fault.content.encode(), content_type="text/html", charset="utf-8")


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        return web.Response(status=refusal.status, text=refusal.text, headers=refusal.headers)


def _cut(request: web.Request) -> web.Response:
    """Cut the connection; the answer that is given back finds nobody."""
    if request.transport is not None:
        cut(request.transport)
    return web.Response(status=500)


def cut(transport: asyncio.BaseTransport) -> None:
    """End a connection with a reset, not with a polite end."""
    if transport.is_closing():
        return
    if (sock := transport.get_extra_info("socket")) is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(transport, asyncio.Transport):
        transport.abort()


WAYS: Final[dict[str, Callable[[Fault, web.Request, Handler], Awaitable[web.StreamResponse]]]] = {
    "slow": _slow,
    "reset": _reset,
    "lost answer": _lost,
    "429": _busy,
    "500": _broken,
    "wrong content": _wrong,
}
