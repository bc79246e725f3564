"""A bridge that is killed again and again, and senders that go on sending."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from serving import Child

ZYGOTE = Path(__file__).with_name("zygote.py")
TOYS = Path(__file__).parent.parent / "flow" / "toys"


def configuration(folder: Path, sink: str, bank: str) -> dict[str, Any]:
    """A toy marketplace; each request gets a ticket, a mail and a refund. The bank does not know a repeated key."""
    out = {"plugin": "http", "url": sink, "allow_private": True, "breaker": 1000}
    again = {"repeatable": True}
    shop = {"marketplace": "shop", "helpdesk": "desk", "channels": ["mail"], "timezone": "UTC", "locale": "en"}
    return {
        "bridge": {
            "database": f"sqlite:///{folder / 'bridge.db'}",
            "port": 0,
            "plugins_dir": str(TOYS),
            "policies": ["payer"],
        },
        "shops": {"one": shop},
        "marketplaces": {"shop": {"plugin": "toy", "allow_private": True}},
        "helpdesks": {"desk": {**out, "calls": {"ticket.open": again}}},
        "channels": {"mail": {**out, "carries_forms": ["mail"], "calls": {"message.send": again}}},
        "services": {"bank": {**out, "url": bank, "calls": {"refund.pay": {}}}},
        "policies": {"payer": {}},
    }


class Forked(Child):
    """A ``Child`` that a warm process forks, so that a restart takes a tenth of the time."""

    pid = 0
    alive = True

    async def warm(self) -> None:
        """Start the process that forks."""
        arguments = (str(ZYGOTE), str(self.file), str(self.ready))
        with self.log.open("ab") as log:
            self.zygote = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        assert self.zygote.stdout
        assert await self.zygote.stdout.readline() == b"warm\n", self.log.read_text()[-3000:]

    async def spawn(self) -> None:
        """Fork."""
        self.ready.unlink(missing_ok=True)
        assert self.zygote.stdin
        assert self.zygote.stdout
        self.zygote.stdin.write(b"go\n")
        self.pid = int(await self.zygote.stdout.readline())

    async def listening(self, seconds: float = 30) -> None:
        """Wait until the process takes webhooks."""
        async with asyncio.timeout(seconds):
            while not self.ready.exists():
                os.kill(self.pid, 0)
                await asyncio.sleep(0.002)
        self.url = json.loads(self.ready.read_text())["url"]

    async def kill(self, which: signal.Signals = signal.SIGKILL) -> None:
        """End the process, and wait until it is gone."""
        os.kill(self.pid, which)
        with suppress(ProcessLookupError):
            async with asyncio.timeout(30):
                while True:
                    os.kill(self.pid, 0)
                    await asyncio.sleep(0.002)

    async def cool(self) -> None:
        """End the process that forks; what it forked ends with it."""
        self.zygote.kill()
        await self.zygote.wait()


class Senders:
    """Vendors that send each event until it is acknowledged, and keep a list of what was."""

    def __init__(self, child: Child, at_once: int, pause: float) -> None:
        self.child, self.at_once, self.pause = child, at_once, pause
        self.acknowledged: list[int] = []
        self.sent = 0
        self.posts = 0
        self.stopping = False
        self._start = datetime.now(UTC) - timedelta(hours=1)

    async def run(self) -> None:
        """Send until stopped."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client:
            await asyncio.gather(*(self._one(client) for _ in range(self.at_once)))

    async def _one(self, client: aiohttp.ClientSession) -> None:
        while not self.stopping:
            self.sent += 1
            number = self.sent
            while not await self._send(client, number):
                await asyncio.sleep(0.05)
            self.acknowledged.append(number)
            await asyncio.sleep(self.pause)

    async def _send(self, client: aiohttp.ClientSession, number: int) -> bool:
        refs = [{"kind": "return", "value": f"R{number}"}, {"kind": "order", "value": f"O{number}"}]
        event = {"type": "case.requested", "key": f"asked-{number}", "kind": "return", "refs": refs}
        body = json.dumps({"events": [{**event, "at": (self._start + timedelta(seconds=number)).isoformat()}]})
        self.posts += 1
        try:
            async with client.post(f"{self.child.url}/hooks/shop", data=body) as answer:
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
