"""Bridges that are killed again and again, and senders that go on sending."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, Self

import aiohttp

from serving import Child
from stores import database as database_of
from stores import rows_of

KEY = "cm1hYnJpZGdlLXRlc3RzLW1hc3Rlci1rZXktMDAwMDE="
ZYGOTE = Path(__file__).with_name("zygote.py")
TOYS = Path(__file__).parent.parent / "flow" / "toys"


def configuration(folder: Path, sink: str, bank: str, database: str | None = None) -> dict[str, Any]:
    """A toy marketplace; each request gets a ticket, a mail and a refund, each note a mail. The bank does not know a
    repeated key."""
    out = {"plugin": "http", "url": sink, "allow_private": True, "breaker": 1000}
    again = {"repeatable": True}
    shop = {"marketplace": "shop", "helpdesk": "desk", "channels": ["mail"], "timezone": "UTC", "locale": "en"}
    return {
        "bridge": {
            "database": database or database_of(folder),
            "port": 0,
            "plugins_dir": str(TOYS),
            "policies": ["payer", "scripted"],
            "keys": [KEY],
            "blobs": str(folder / "blobs"),
        },
        "shops": {"one": shop},
        "marketplaces": {"shop": {"plugin": "toy", "allow_private": True}},
        "helpdesks": {"desk": {**out, "calls": {"ticket.open": again}}},
        "channels": {"mail": {**out, "carries_forms": ["mail"], "calls": {"message.send": again}}},
        "services": {"bank": {**out, "url": bank, "calls": {"refund.pay": {}}}},
        "policies": {"payer": {}, "scripted": {}},
    }


class Zygote:
    """A warm process that forks serving ones, so that a restart takes a tenth of the time."""

    def __init__(self, log: Path, prefix: tuple[str, ...] = ()) -> None:
        self.log, self.prefix = log, prefix  # what is put before the command

    async def __aenter__(self) -> Self:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*self.prefix, sys.executable, str(ZYGOTE)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert await self._line() == b"warm\n", self.log.read_text()[-3000:]
        return self

    async def _line(self) -> bytes:
        assert self._process.stdout
        return await self._process.stdout.readline()

    async def fork(self, **order: Any) -> int:
        """A serving process; its id."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return int(await self._line())

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()  # what it forked ends with it
        await self._process.wait()


class Forked(Child):
    """A ``Child`` that a zygote forks."""

    pid = 0

    def __init__(self, config: dict[str, Any], folder: Path, zygote: Zygote) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(config, folder)
        self.zygote, self.more = zygote, dict[str, Any]()
        self.beside = str(config["bridge"]["database"])  # the database's own address, where a proxy stands before it

    async def spawn(self) -> None:
        """Fork."""
        self.ready.unlink(missing_ok=True)
        self.url = ""
        self.pid = await self.zygote.fork(config=str(self.file), ready=str(self.ready), **self.more)

    async def start(self, seconds: float = 120) -> None:
        """Fork, and wait until webhooks are taken."""
        await self.spawn()
        await self.listening(seconds)

    async def listening(self, seconds: float = 120) -> None:
        """Wait until the process takes webhooks."""
        async with asyncio.timeout(seconds):
            while not self.ready.exists():
                if not self.alive:
                    raise Died(self.zygote.log.read_text()[-3000:])
                await asyncio.sleep(0.002)
        self.url = json.loads(self.ready.read_text())["url"]

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        if not self.pid:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def tell(self, which: signal.Signals) -> None:
        """Send a signal."""
        if self.alive:  # a process that was never started has the number of this one's whole group
            with suppress(ProcessLookupError):
                os.kill(self.pid, which)

    def slay(self) -> None:
        """kill -9, and do not wait."""
        self.tell(signal.SIGKILL)

    async def gone(self, seconds: float = 120) -> None:
        """Wait until the process is gone."""
        async with asyncio.timeout(seconds):
            while self.alive:
                await asyncio.sleep(0.002)

    async def kill(self, which: signal.Signals = signal.SIGKILL) -> None:
        """End the process, and wait until it is gone."""
        self.tell(which)
        await self.gone()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query on the database, read beside the process."""
        return rows_of(self.beside, query)


class Died(AssertionError):
    """A process ended before it listened."""


class Listens(Protocol):
    """What webhooks are sent to."""

    url: str


class Senders:
    """Vendors that send each event until it is acknowledged, and keep a list of what was; each request is followed by
    so many ``notes``. ``refused`` counts what was answered badly or not at all, ``took`` each answer's
    seconds, ``at`` when each request was acknowledged."""

    def __init__(
        self, to: Listens, at_once: int, pause: float, notes: int = 0, patience: float = 5, first: int = 0
    ) -> None:
        self.to, self.at_once, self.pause, self.notes, self.patience = to, at_once, pause, notes, patience
        self.acknowledged: list[int] = []
        self.noted: list[tuple[int, int]] = []
        self.refused: Counter[str] = Counter()
        self.took: list[float] = []
        self.at: dict[int, float] = {}
        self.sent = first
        self.posts = 0
        self.stopping = False
        self._start = datetime.now(UTC) - timedelta(hours=1)

    async def run(self) -> None:
        """Send until stopped."""
        connector = aiohttp.TCPConnector(force_close=True, limit=0)  # as vendors do: a connection for each webhook
        timeout = aiohttp.ClientTimeout(total=self.patience)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as client:
            await asyncio.gather(*(self._one(client) for _ in range(self.at_once)))

    async def reach(self, number: int, seconds: float = 120) -> None:
        """Wait until so many are acknowledged."""
        async with asyncio.timeout(seconds):
            while len(self.acknowledged) < number:
                await asyncio.sleep(0.01)

    async def _one(self, client: aiohttp.ClientSession) -> None:
        while not self.stopping:
            self.sent += 1
            number = self.sent
            await self._insist(client, number, {"type": "case.requested", "key": f"asked-{number}", "kind": "return"})
            self.acknowledged.append(number)
            self.at[number] = monotonic()
            for note in range(1, self.notes + 1):
                text = {"type": "noted", "key": f"note-{number}-{note}", "text": f"say R{number}/{note}"}
                await self._insist(client, number, text)
                self.noted.append((number, note))
            await asyncio.sleep(self.pause)

    async def _insist(self, client: aiohttp.ClientSession, number: int, event: dict[str, Any]) -> None:
        refs = [{"kind": "return", "value": f"R{number}"}, {"kind": "order", "value": f"O{number}"}]
        at = (self._start + timedelta(seconds=number)).isoformat()
        body = json.dumps({"events": [{**event, "refs": refs, "at": at}]})
        while not await self._send(client, body, f"R{number}"):
            await asyncio.sleep(0.05)

    async def _send(self, client: aiohttp.ClientSession, body: str, lane: str) -> bool:
        self.posts += 1
        began = monotonic()
        try:
            async with client.post(f"{self.to.url}/hooks/shop", data=body, headers={"X-Lane": lane}) as answer:
                self.took.append(monotonic() - began)
                if 200 <= answer.status < 300:
                    return True
                self.refused[str(answer.status)] += 1
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.refused[type(error).__name__] += 1
        return False
