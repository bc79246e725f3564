"""Clocks of cases, housekeeping, and the watch for what other processes change."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import Any, Final

import structlog
from sqlalchemy import Connection, delete

from ..config import Bridge
from ..model import DeadlineReached
from ..store import cases as case_store
from ..store import inbox as inbox_store
from ..store import ops
from ..store.store import Store
from ..store.tables import deadlines, inbox, micros, moment
from ..store.uploads import Uploads
from .batch import event_row
from .metrics import Metrics

log = structlog.get_logger("timers")
LOOKED_EVERY: Final = 0.05
KEPT_EVERY: Final = 3600.0
STUCK_AFTER: Final = 30.0


class Timers:
    """Turns deadlines that ran out into events, and notices what other processes put into the database."""

    def __init__(self, store: Store, settings: Bridge, metrics: Metrics) -> None:
        self.store, self.settings, self.metrics = store, settings, metrics
        self.wake = asyncio.Event()
        self.on_written: list[Callable[[], None]] = []

    async def run(self) -> None:
        """Fire what is due, then sleep until the next."""
        while True:
            self.wake.clear()
            if await self.turn():
                continue
            due = await self.store.ask(case_store.next_deadline)
            wait = 1.0 if due is None else max(0.001, min(1.0, (due - self.store.clock.micros()) / 1e6))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.wake.wait()
            await asyncio.sleep(LOOKED_EVERY)  # what is set in the next moments is looked at together

    async def turn(self) -> int:
        """Put every deadline that ran out into the inbox; how many there were."""
        now = self.store.clock.micros()
        rows = await self.store.ask(lambda conn: case_store.due_deadlines(conn, now))
        if not rows:
            return 0
        key_id = self.store.day_key()
        found = [self._event(one, key_id, now) for one in rows]

        def fire(conn: Connection) -> None:
            for one in rows:
                conn.execute(
                    delete(deadlines).where(
                        deadlines.c.case_id == one.case_id,
                        deadlines.c.name == one.name,
                        deadlines.c.generation == one.generation,
                    )
                )
            inbox_store.add(conn, found)

        await self.store.write(fire)
        for tell in self.on_written:
            tell()
        return len(rows)

    def _event(self, row: Any, key_id: str, now: int) -> dict[str, Any]:
        key = f"timer:{row.case_id}:{row.name}:{row.generation}"
        event = DeadlineReached(key=key, at=moment(row.due_at), name=row.name, generation=row.generation)
        return event_row(self.store.vault, key_id, [event], "bridge", key, now, row.depth + 1, row.case_id)

    async def watch(self) -> None:
        """Wake everybody when another process has written, and measure how late the loop runs."""
        version = self.store.data_version()
        while True:
            before = monotonic()
            await asyncio.sleep(LOOKED_EVERY)
            self.metrics.loop_lag.set(max(0.0, monotonic() - before - LOOKED_EVERY))
            current = self.store.data_version()
            if current != version:
                version = current
                self.store.reload_clock()
                for tell in self.on_written:
                    tell()
                self.wake.set()

    async def keep_house(self) -> None:
        """Forget event keys and raw bodies whose time is over."""
        while True:
            await self.clean()
            await asyncio.sleep(KEPT_EVERY)

    async def clean(self) -> None:
        """Forget what is old, and give up what waited too long for a case."""
        now, kept = self.store.clock.now(), self.settings
        await self.store.write(lambda conn: forget(conn, kept, now))
        self.store.read(lambda conn: Uploads(self.store.blobs).clean(conn, micros(now - kept.uploads_for)))


def forget(conn: Connection, kept: Bridge, now: datetime) -> dict[str, int]:
    """Forget what the settings say is old, and give up what waited too long for a case; how many rows each."""
    seen, raw, patient = (micros(now - one) for one in (kept.seen_for, kept.raw_for, kept.unmatched_for))
    gone = {"seen_for": ops.prune_seen(conn, seen)}
    gone["raw_for"] = conn.execute(delete(inbox).where(*inbox_store.settled_before(raw))).rowcount
    ops.prune_days(conn, now - kept.raw_for - kept.unmatched_for)
    given_up = inbox_store.give_up(conn, patient)
    for account in {one.account for one in given_up}:
        text = f"events of {account} found no case in time and are parked"
        ops.alert(conn, f"unmatched:{account}", text, micros(now), account=account)
    return {**gone, "unmatched_for": len(given_up)}


class Watchdog:
    """Ends the process, with all stacks on stderr, when the event loop stands still: a supervisor starts it again."""

    def __init__(self, seconds: float = STUCK_AFTER) -> None:
        self.seconds = seconds
        self.beat = monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watchdog", daemon=True)

    async def run(self) -> None:
        """Beat from the loop."""
        self._thread.start()
        try:
            while True:
                self.beat = monotonic()
                await asyncio.sleep(min(1.0, self.seconds / 4))
        finally:
            self._over.set()

    def _look(self) -> None:
        pause, looked = min(1.0, self.seconds / 4), monotonic()
        while not self._over.wait(pause):
            before, looked = looked, monotonic()
            if looked - before > 2 * pause:
                continue  # this thread stood still, too: the whole process was stopped, and the loop beats soon
            if looked - self.beat > self.seconds:
                print(f"the event loop stands still for {self.seconds:.0f} s; ending the process", file=sys.stderr)  # noqa: T201
                faulthandler.dump_traceback()
                os._exit(70)
