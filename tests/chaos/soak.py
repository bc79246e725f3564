"""Steady load for a long time: memory, latency and tables must stay flat."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from time import monotonic
from typing import Final

import aiohttp
from herd import told
from load import Forked, Zygote, configuration

from .counting import Receiver
from .kills import fresh
from .tables import Table

WINDOWS: Final = 4
CASES: Final = 2000  # the events are about so many cases, by turns
KEPT: Final = 60  # seconds for which raw bodies and event keys are kept


async def soak(store: str, minutes: float, rate: float) -> list[Table]:
    """So many events a second for so many minutes, told in four windows."""
    table = Table("soak", SOAKED)
    folder = Path(mkdtemp(prefix="soak"))
    async with Receiver() as sink, Receiver() as bank, Zygote(folder / "serve.log") as zygote:
        config = configuration(folder, sink.url, bank.url, fresh(store, folder))
        config["bridge"] |= {"raw_for": KEPT, "seen_for": KEPT, "policies": ["scripted"], "daily_budget": 100_000}
        config["bridge"]["hourly_budget"] = 100_000
        child = Forked(config, folder, zygote)
        child.more = {"house": 10}
        await child.start()
        drive = Drive(child, rate)
        for window in range(WINDOWS):
            await drive.run(minutes * 60 / WINDOWS)
            table.add(store, f"{window + 1} of {WINDOWS}", *drive.told(), *_tables(child), memory(child.pid))
        await child.until("SELECT count(*) FROM inbox WHERE state = 'new'", [(0,)], 600)
        await child.until("SELECT count(*) FROM outbox WHERE state IN ('due', 'sending')", [(0,)], 600)
        mails = told(sink, "message.send", "text")
        table.how = (
            f"{minutes:g} minutes at {rate:g} events a second about {CASES} cases, raw bodies and event keys kept for "
            f"{KEPT} s; {drive.taken} acknowledged, {len(mails)} mails for {drive.notes} notes"
        )
        await child.kill()
    return [table]


SOAKED: Final = [
    "store", "window", "events a second", "acknowledged in, ms (median / 99 %)",
    "waiting", "rows in inbox", "event keys", "resident MB",
]  # fmt: skip


class Drive:
    """Sends at a steady rate, whatever the answers take."""

    def __init__(self, child: Forked, rate: float) -> None:
        self.child, self.rate = child, rate
        self.number, self.taken, self.notes = -1, 0, 0
        self.refused: Counter[int] = Counter()
        self._took: list[float] = []
        self._seconds = 0.0

    async def run(self, seconds: float) -> None:
        """For so long."""
        self._took, began = [], monotonic()
        connector = aiohttp.TCPConnector(limit=200)
        async with aiohttp.ClientSession(connector=connector) as client, asyncio.TaskGroup() as tasks:
            sent = 0
            while (past := monotonic() - began) < seconds:
                while sent < past * self.rate:
                    sent += 1
                    self.number += 1
                    tasks.create_task(self._send(client, self.number))
                await asyncio.sleep(0.01)
        self._seconds = monotonic() - began

    async def _send(self, client: aiohttp.ClientSession, number: int) -> None:
        case, note = number % CASES, number // CASES
        refs = [{"kind": "return", "value": f"R{case}"}]
        event = {"type": "noted", "text": _text(case, note)} if note else {"type": "case.requested", "kind": "return"}
        event |= {"key": f"e{number}", "refs": refs, "at": datetime.now(UTC).isoformat()}
        began = monotonic()
        body = json.dumps({"events": [event]})
        async with client.post(f"{self.child.url}/hooks/shop", data=body, headers={"X-Lane": f"R{case}"}) as answer:
            self._took.append(monotonic() - began)
            self.taken += answer.status == 200
            self.notes += answer.status == 200 and event.get("text", "").startswith("say")
            self.refused[answer.status] += 1

    def told(self) -> tuple[str, str]:
        """Rate and answers of the last window."""
        ordered = sorted(self._took)
        answers = f"{median(ordered) * 1000:.0f} / {ordered[int(len(ordered) * 0.99)] * 1000:.0f}"
        return f"{len(ordered) / self._seconds:.0f}", answers


def _text(case: int, note: int) -> str:
    """Every tenth note becomes a mail; the others stay on the timeline."""
    return f"say R{case}/{note}" if note % 10 == 1 else f"R{case} has waited {note} times"


def _tables(child: Forked) -> tuple[int, int, int]:
    counts = "SELECT (SELECT count(*) FROM inbox WHERE state = 'new'), (SELECT count(*) FROM inbox)"
    waiting, rows, keys = child.rows(f"{counts}, (SELECT count(*) FROM seen)")[0]
    return waiting, rows, keys


def memory(pid: int) -> str:
    """Resident megabytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    kilobytes = next(int(one.split()[1]) for one in lines if one.startswith("VmRSS"))
    return f"{kilobytes / 1024:.0f}"
