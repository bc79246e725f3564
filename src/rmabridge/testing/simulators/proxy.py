"""A small TCP proxy that spoils what passes through it: for anything that speaks over a socket, also a database."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

from .faults import NoSuchFault, cut

FAULTS: Final = {
    "latency": "everything comes later by ``seconds``",
    "slow": "everything comes in pieces of ``size`` bytes, ``seconds`` apart",
    "stop": "connections are taken, and nothing is ever said",
    "reset": "connections are reset after ``after`` bytes from the client",
    "cut": "connections are closed after ``after`` bytes of the answer",
    "refuse": "new connections are reset at once",
}
CHUNK: Final = 1 << 16


class FaultProxy:
    """Stands before ``target`` (``http://host:port/path``, ``postgresql://…@host:port/db`` or ``host:port``).

    ::

        async with FaultProxy(simulator.url) as proxy:
            proxy.fault = "reset"          # one of FAULTS; None: everything passes
            ...                            # talk to proxy.url instead of simulator.url

    A fault holds for connections that are open already, too. It lets the first ``spare`` connections that carry
    something pass, strikes ``times`` others (0: all) and counts them in ``struck``; ``connections`` counts all that
    were made.
    """

    def __init__(self, target: str, *, host: str = "127.0.0.1") -> None:
        self._bare = "//" not in target
        self._target = urlsplit(f"//{target}" if self._bare else target)
        if self._target.hostname is None or self._target.port is None:
            raise ValueError(f"{target!r} names no host and port")
        self._host = host
        self.after, self.size, self.seconds, self.times, self.spare = 0, 1, 0.01, 0, 0
        self.connections = 0
        self._fault: str | None = None
        self._struck: set[Link] = set()
        self._spared: set[Link] = set()
        self._changed = asyncio.Event()
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None

    @property
    def fault(self) -> str | None:
        """What goes wrong now."""
        return self._fault

    @fault.setter
    def fault(self, name: str | None) -> None:
        if name is not None and name not in FAULTS:
            raise NoSuchFault(f"{name!r} is not a fault; there are {', '.join(FAULTS)}")
        self._fault, self._struck, self._spared = name, set(), set()
        self._changed.set()  # what a stop holds back looks again
        self._changed = asyncio.Event()

    @property
    def struck(self) -> int:
        """How many connections the fault has struck since it was set."""
        return len(self._struck)

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """The target's address with the proxy's host and port."""
        login, at, _ = self._target.netloc.rpartition("@")
        netloc = f"{login}{at}{self._host}:{self.port}"
        return netloc if self._bare else urlunsplit(self._target._replace(netloc=netloc))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self._host, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server:
            self._server.close()
        tasks = [*self._links.values()]
        self.drop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def drop(self) -> None:
        """Reset every open connection now."""
        for link in tuple(self._links):
            link.reset()

    async def strikes(self, link: Link) -> str | None:
        """What is wrong with this connection now; waits as long as it is stopped."""
        while self._fault == "stop" and self._counts(link):
            await self._changed.wait()
        return self._fault if self._fault and self._counts(link) else None

    def _counts(self, link: Link) -> bool:
        if link not in self._struck and len(self._spared) < self.spare:
            self._spared.add(link)
        if link in self._spared:
            return False
        if link not in self._struck and self.times and len(self._struck) >= self.times:
            return False
        if link not in self._struck:
            link.passed = 0
        self._struck.add(link)
        return True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link, task = Link(self, writer), asyncio.current_task()
        assert task is not None
        self._links[link] = task
        self.connections += 1
        try:
            if self._fault == "refuse" and self._counts(link):
                link.reset()
                return
            with suppress(OSError):
                there, away = await asyncio.open_connection(self._target.hostname, self._target.port)
                await link.join(reader, there, away)
        finally:
            link.close()
            del self._links[link]


class Link:
    """One connection through the proxy; ``passed`` counts bytes since the fault began, on the way it concerns."""

    def __init__(self, proxy: FaultProxy, client: asyncio.StreamWriter) -> None:
        self.proxy, self.client = proxy, client
        self.server: asyncio.StreamWriter | None = None
        self.passed = 0

    async def join(
        self, asked: asyncio.StreamReader, answered: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        """Carry bytes both ways until both ends are through, or one of them broke."""
        self.server = server
        ways = [self._pump(asked, server, "reset"), self._pump(answered, self.client, "cut")]
        tasks = [asyncio.ensure_future(one) for one in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def reset(self) -> None:
        """End both sides rudely."""
        for writer in filter(None, (self.client, self.server)):
            cut(writer.transport)

    def close(self) -> None:
        """End both sides."""
        for writer in filter(None, (self.client, self.server)):
            writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, ends: str) -> None:
        while data := await source.read(CHUNK):
            stopped = self.proxy.fault == "stop"
            fault = await self.proxy.strikes(self)
            if stopped and source.at_eof():  # who hung up meanwhile is not heard any more
                raise ConnectionAbortedError
            if fault == ends:
                await self._up_to(data, sink, fault)
            elif fault == "slow":
                await self._drip(data, sink)
            else:
                await asyncio.sleep(self.proxy.seconds if fault == "latency" else 0)
                await self._write(data, sink)
        sink.write_eof()

    async def _up_to(self, data: bytes, sink: asyncio.StreamWriter, fault: str) -> None:
        """Let ``after`` bytes through, then end the connection."""
        room = self.proxy.after - self.passed
        self.passed += len(data)
        await self._write(data[: max(room, 0)], sink)
        if len(data) < room:
            return
        if fault == "reset":
            self.reset()
        raise ConnectionAbortedError

    async def _drip(self, data: bytes, sink: asyncio.StreamWriter) -> None:
        for start in range(0, len(data), self.proxy.size):
            await self._write(data[start : start + self.proxy.size], sink)
            await asyncio.sleep(self.proxy.seconds)

    async def _write(self, data: bytes, sink: asyncio.StreamWriter) -> None:
        sink.write(data)
        await sink.drain()
