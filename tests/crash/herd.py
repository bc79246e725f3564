"""Several serving processes on one PostgreSQL, and the balancer that stands before them."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from load import Forked, Senders, Zygote, configuration
from sqlalchemy import make_url

from rmabridge.testing.simulators.proxy import FaultProxy
from rmabridge.testing.simulators.sink import Sink

BUSY = (
    "SELECT (SELECT count(*) FROM inbox WHERE state = 'new')"
    " + (SELECT count(*) FROM outbox WHERE state IN ('due', 'sending'))"
)
UNDONE = "SELECT id, kind, state, lane, case_id, due_at, received_at, claims, note FROM inbox WHERE state != 'done'"
ACTIVITY = (
    "SELECT pid, state, wait_event_type, wait_event, now() - xact_start, now() - state_change, pg_blocking_pids(pid),"
    " left(query, 150) FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()"
)


class Balancer:
    """Carries each new connection to the next place that takes it; a place is an HTTP address or a socket's path."""

    def __init__(self, places: Callable[[], Sequence[str]]) -> None:
        self.places, self.turn = places, 0
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        for one in [*self._links]:
            one.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        behind: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        with suppress(OSError, asyncio.CancelledError):
            if (behind := await self._open()) is not None:
                await asyncio.gather(_pump(reader, behind[1]), _pump(behind[0], writer))
        for one in (writer, behind and behind[1]):
            if one:
                one.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        places = self.places()
        for _ in places:
            self.turn += 1
            with suppress(OSError):
                return await _connection(places[self.turn % len(places)])
        return None


async def _connection(place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if place.startswith("/"):
        return await asyncio.open_unix_connection(place)
    parts = urlsplit(place)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def _pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(1 << 16):
            to.write(data)
            await to.drain()
        if to.can_write_eof():
            to.write_eof()
    except OSError:
        to.transport.abort()


@asynccontextmanager
async def over_tcp(database: str) -> AsyncIterator[str]:
    """The database's address by way of TCP, where its server listens on a socket of the file system."""
    url = make_url(database)
    if not isinstance(folder := url.query.get("host"), str):
        yield database
        return
    async with Balancer(lambda: [f"{folder}/.s.PGSQL.{url.port or 5432}"]) as door:
        bare = url.set(host="127.0.0.1", port=door.port).difference_update_query(["host"])
        yield bare.render_as_string(hide_password=False)


class Herd:
    """``members`` serve one database, the last of them by way of ``proxy``; ``url`` is the balancer before them."""

    def __init__(self, members: list[Forked], proxy: FaultProxy, balancer: Balancer) -> None:
        self.members, self.proxy, self.balancer = members, proxy, balancer
        self.url = balancer.url

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of the database, read beside them all."""
        return self.members[0].rows(query)

    async def until(self, query: str, wanted: list[tuple[Any, ...]], seconds: float = 240) -> None:
        """Wait until the query gives these rows."""
        await self.members[0].until(query, wanted, seconds)

    async def moved(self, sink: Sink, more: int, seconds: float = 240) -> float:
        """Wait until so many more things were delivered; the seconds that took."""
        loop = asyncio.get_running_loop()
        began, before = loop.time(), len(sink.books["posts"])
        while len(sink.books["posts"]) < before + more:
            if loop.time() > began + seconds:
                raise AssertionError(await asyncio.to_thread(self.picture))
            await asyncio.sleep(0.01)
        return loop.time() - began

    def picture(self) -> str:
        """What stands in the way: what is not done, what the database's connections do, what the processes said."""
        found = [*self.rows(UNDONE), *self.rows(ACTIVITY), [(one.alive, one.url) for one in self.members]]
        return "\n".join([*map(str, found), self.members[0].zygote.log.read_text()[-6000:]])


@asynccontextmanager
async def herd(
    folder: Path,
    database: str,
    sink: str,
    bank: str,
    change: Callable[[dict[str, Any]], None] | None = None,
) -> AsyncIterator[Herd]:
    """Three started processes; ``change`` alters their configuration."""
    async with AsyncExitStack() as stack:
        zygote = await stack.enter_async_context(Zygote(folder / "serve.log"))
        address = await stack.enter_async_context(over_tcp(database))
        proxy, members = await stack.enter_async_context(FaultProxy(address)), []
        for number in range(3):
            config = configuration(folder, sink, bank, proxy.url if number == 2 else database)
            if change:
                change(config)
            member = Forked(config, folder / f"member{number}", zygote)
            member.beside = database
            await member.start()
            members.append(member)
        balancer = await stack.enter_async_context(Balancer(lambda: [one.url for one in members if one.url]))
        try:
            yield Herd(members, proxy, balancer)
        finally:
            for one in members:
                one.tell(signal.SIGKILL)


@asynccontextmanager
async def load(to: Any, **how: Any) -> AsyncIterator[Senders]:
    """Senders at work, until all that they began is acknowledged."""
    senders = Senders(to, **how)
    task = asyncio.create_task(senders.run())
    try:
        yield senders
        senders.stopping = True
        await asyncio.wait_for(task, 240)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def told(sink: Sink, kind: str, field: str) -> Counter[str]:
    """How often each thing was asked for."""
    return Counter(one["body"][field] for one in sink.books["posts"] if one["body"]["type"] == kind)


def disorder(sink: Sink) -> list[str]:
    """The cases whose mails came first in another order than that of their notes."""
    seen: dict[str, list[int]] = {}
    for one in sink.books["posts"]:
        case, _, note = str(one["body"].get("text", "")).partition("/")
        if note and int(note) not in seen.setdefault(case, []):
            seen[case].append(int(note))
    return [case for case, notes in seen.items() if notes != sorted(notes)]
