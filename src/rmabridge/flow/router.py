"""The router: the one writer of cases. It takes a batch of inbox rows, computes, and writes what follows at once."""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from ..config import Bridge
from ..core.judge import Judge
from ..core.links import Links
from ..errors import CommandError
from ..model import Commanded, Event, OptedOut
from ..registry import Registry
from ..store import inbox as inbox_store
from ..store import outbox as outbox_store
from ..store.store import Store
from ..store.tables import moment
from ..store.vault import Erased
from . import commands, opting
from .absorb import note_double
from .batch import Batch, Row, RowFailed, Waiting, event_row, told
from .facts import Facts
from .forgetting import Forgetting
from .loader import Loader
from .matching import Matcher
from .metrics import Metrics
from .pace import Pace
from .tap import NO_TAP
from .traces import OFF, Traces
from .work import Work
from .world import World
from .writing import park, write

log = structlog.get_logger("router")
BATCH: Final = 20  # read and written at a stretch, while the doors wait; shared lanes are locked until it is written
ALONE_FROM: Final = 3
PARKED_FROM: Final = 8  # several of them alone: a process that is often killed from outside must not blame an event
LOOKED_AGAIN: Final = 2_000_000


class Router:
    """Routes until it is stopped; ``wake`` it when something was put into the inbox."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        settings: Bridge,
        render: Callable[..., Any],
        metrics: Metrics,
        traces: Traces = OFF,
    ) -> None:
        self.store, self.registry, self.settings, self.metrics = store, registry, settings, metrics
        self.traces, self.judge, self.tap = traces, Judge(registry.policies), NO_TAP
        self.wake = asyncio.Event()
        self.on_written: list[Callable[[], None]] = []
        self.on_proposed: list[Callable[[], None]] = []
        self._looked, self._left, self.pace = 0, False, Pace()
        self.facts = Facts(store, registry)
        self._failures: Counter[int] = Counter()
        self.world = World(
            judge=self.judge,
            shops=registry.shops,
            vault=store.vault,
            render=render,
            fetch_patience=settings.fetch_patience,
            hourly_budget=settings.hourly_budget,
            daily_budget=settings.daily_budget,
            effect_taken=self.facts.effect_taken,
            messages=self.facts.messages,
            can=lambda account, action: registry.handler(account, action) is not None,
            facts=self.facts.supplied,
            links=Links(store.vault.mark, settings.public_url),
            traces=traces,
            sender=store.me if store.shared and "dispatcher" in store.roles else None,
        )
        self.loader = Loader(store, registry, self.world)
        self.matcher = Matcher(store, registry, self.loader)
        self.forgetting = Forgetting(store, self.loader.cache.clear)

    async def run(self) -> None:
        """Route whatever is there, then wait for more."""
        while True:
            self.wake.clear()
            await self.turn()
            if not self._left and not self.wake.is_set():
                due = await self.store.ask(lambda conn: inbox_store.next_due(conn, self._looked))
                wait = 1.0 if due is None else max(0.0, min(1.0, (due - self.store.clock.micros()) / 1e6))
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):  # wait_for would swallow a cancellation that comes with the wake
                        await self.wake.wait()

    async def turn(self) -> int:
        """Route one batch; the number of rows taken."""
        await self.forgetting.look()
        async with self.store.lanes() as lanes:
            return await self._take(lanes)

    async def _take(self, lanes: list[int] | None) -> int:
        now = self._looked = self.store.clock.micros()
        rows = await self.store.ask(lambda conn: inbox_store.batch(conn, now, BATCH, lanes))
        self._left = len(rows) == BATCH or (bool(rows) and lanes is not None)  # not all lanes were taken
        if not rows:
            return 0
        if suspects := [one for one in rows if one.claims >= ALONE_FROM]:
            rows, self._left = suspects[:1], True
        if rows[0].claims >= PARKED_FROM:
            await self._park(rows[0], "route", f"routing it did not end {rows[0].claims} times", "")
        elif not await self.route(rows):
            self._left = True
        return len(rows)

    async def route(self, rows: Sequence[Any]) -> bool:
        """Compute and write; when the write fails the rows are halved until the guilty one is alone.

        False where a row has to be read again: what came after it must not overtake it.
        """
        ids = [one.id for one in rows]
        try:
            await self.store.note_routing(ids)
            batch = await self._compute(rows)
            await self.store.note_routing([])  # whoever pulls the plug while it is written: the rows are not to blame
            await self.store.write(lambda conn: self._write(conn, batch))
        except RowFailed as failed:
            self.loader.cache.clear()
            await self.store.release(ids)
            guilty = next(one for one in rows if one.id == failed.row)
            trace = "".join(traceback.format_exception(failed.error))
            await self._park(guilty, "route", told(failed.error), trace, failed.cases)
            rest = [one for one in rows if one.id != failed.row]
            return await self.route(rest) if rest else True
        except Exception as error:
            self.loader.cache.clear()
            await self.store.release(ids)
            if len(rows) > 1:
                half = len(rows) // 2
                return await self.route(rows[:half]) and await self.route(rows[half:])
            if isinstance(error, inbox_store.Conflict):
                return False  # somebody else routed or changed it
            if isinstance(error, OperationalError) and self.store.shared:
                raise  # the database is away: nobody's fault, however often
            self._failures[rows[0].id] += 1
            if self._failures[rows[0].id] < PARKED_FROM:
                if isinstance(error, OperationalError):
                    raise  # the disk or a lock, not the event: it stays where it is
                if isinstance(error, DBAPIError) and self.store.shared:
                    return False  # another process wrote the same name, or waited for what waited here
            await self._park(rows[0], "write", told(error), traceback.format_exc())
            return True
        self._written(batch)
        if batch.proposes:
            for tell in self.on_proposed:
                tell()
        return True

    def _written(self, batch: Batch) -> None:
        for one in batch.done:
            self._failures.pop(one["row"], None)
        for work in batch.works.values():
            work.version += work.dirty
            self.loader.remember(work)
        for event, account, case in batch.told:
            self.tap.meant(account, event, case)
        self.metrics.routed(batch)
        for tell in self.on_written:
            tell()
        if batch.inbox or batch.called or batch.extra:
            self.wake.set()

    async def _park(self, row: Any, stage: str, reason: str, trace: str, cases: Sequence[str] = ()) -> None:
        now = self.store.clock.micros()
        parked = self._parked(row, stage, reason, trace, now)
        log.error("parked", inbox=row.id, account=row.account, stage=stage, reason=reason)
        flagged = [one for one in {row.case_id, *cases} if one]
        await self.store.write(lambda conn: park(conn, [parked], row.account, now, flagged))

    def _parked(self, row: Any, stage: str, reason: str, trace: str, now: int) -> dict[str, Any]:
        self.store.keys_for({row.key_id})
        sealed = (
            self.store.vault.seal(row.key_id, trace.encode()) if trace and self.store.vault.knows(row.key_id) else None
        )
        return {
            "row": row.id,
            "to": "parked",
            "at_stage": stage,
            "said": reason[:1000],
            "tb": sealed,
            "now": now,
            "case": row.case_id,
        }

    # -- compute --------------------------------------------------------------------------------------------------

    async def _compute(self, stored: Sequence[Any]) -> Batch:
        batch = Batch(self.store.clock.micros())
        self.facts.batch = batch
        self.pace.start()
        rows = await self.store.using(lambda: self._loaded(batch, stored))
        by_id = {one.id: one for one in stored}
        for row in rows:
            with self.traces.routed(row) as note:
                note(case=await self._route_row(batch, row, by_id[row.id]))
        await self.store.using(lambda: self._finish(batch))
        self.pace.stop()
        return batch

    def _loaded(self, batch: Batch, stored: Sequence[Any]) -> list[Row]:
        self.store.keys_for({one.key_id for one in stored})
        rows = [row for one in stored if (row := self._read(one, batch))]
        self.loader.load(batch, rows)
        return rows

    def _finish(self, batch: Batch) -> None:
        for work in batch.works.values():
            if work.dirty and work.case.merged_into is None:
                work.tell_held()
                work.forward()

    def _read(self, stored: Any, batch: Batch) -> Row | None:
        try:
            return self.loader.read(stored)
        except Erased:
            batch.done.append(
                {"row": stored.id, "to": "done", "case": None, "said": "erased before it was routed", "now": batch.now}
            )
        except Exception as error:  # noqa: BLE001 - a plugin's fault parks its row, never the others
            self._park_in(batch, stored, "parse", error)
        return None

    def _park_in(self, batch: Batch, stored: Any, stage: str, error: Exception) -> None:
        reason = told(error)
        log.error("parked", inbox=stored.id, account=stored.account, stage=stage, reason=type(error).__name__)
        batch.parked.append(self._parked(stored, stage, reason, traceback.format_exc(), batch.now))
        batch.changes.alerts.append(
            {
                "key": f"parked:{stored.account}:{stage}",
                "text": f"events of {stored.account} are parked ({stage}): {reason[:200]}",
                "account": stored.account,
                "case_id": stored.case_id,
            }
        )

    # -- route one row --------------------------------------------------------------------------------------------

    async def _route_row(self, batch: Batch, row: Row, stored: Any) -> str | None:
        case_id: str | None = row.case_id
        note = None
        try:
            for event, marks in zip(row.events, row.marks, strict=True):
                await self.pace.turn()
                try:
                    if isinstance(event, Commanded):
                        case_id, note = await self.store.using(partial(commands.carry_out, self, batch, row, event))
                    else:
                        routed = partial(self._route_event, batch, row, event, marks)
                        case_id = await self.store.using(routed) or case_id
                except Waiting as waiting:
                    if not event.waits:
                        continue
                    self._wait(batch, row, stored, event, waiting)
        except CommandError as error:
            batch.settle(row, row.case_id, str(error), "refused")
        except Exception as error:
            touched = [one.case.id for one in batch.works.values() if one.inbox_id == row.id and one.version]
            raise RowFailed(row.id, error, touched) from error
        else:
            if row.id not in {*(one for one, _ in batch.waits), *(one["row"] for one in batch.later)}:
                batch.settle(row, case_id, note)
        return case_id

    def _wait(self, batch: Batch, row: Row, stored: Any, event: Event, waiting: Waiting) -> None:
        """The event stays until a case gets one of its names; one of several events of a row gets a row of its own."""
        if len(row.events) == 1 and waiting.again:
            batch.later.append({"row": row.id, "due": batch.now + LOOKED_AGAIN})
        elif len(row.events) == 1:
            batch.parked.append({**self._parked(stored, "match", str(waiting), "", batch.now), "to": "unmatched"})
            batch.waits.append((row.id, waiting.keys))
        else:
            alone = self.event_row([event], row.account, f"alone:{row.id}:{event.key}", depth=row.depth)
            batch.inbox.append({**alone, "due_at": batch.now})

    def event_row(
        self,
        events: Sequence[Event],
        account: str,
        dedupe: str,
        *,
        depth: int = 0,
        case_id: str | None = None,
        kind: str = "event",
    ) -> dict[str, Any]:
        """An inbox row of normalised events, sealed with the day's key."""
        key_id, now, here = self.store.day_key(), self.store.clock.micros(), self.traces.here()
        return event_row(self.store.vault, key_id, events, account, dedupe, now, depth, case_id, kind, here)

    def _route_event(self, batch: Batch, row: Row, event: Event, marks: list[tuple[Any, bytes]]) -> str | None:
        key = self.loader.event_key(row, event)
        if key is not None and (key in batch.known or key in batch.seen):
            return self.matcher.named(batch, marks)  # told again: whoever erases the buyer finds this body, too
        work = self.matcher.find(batch, row, event, marks)
        if work is None and row.case_id:
            return None  # it was about a case whose buyer was erased since
        if work is None:
            work = self.matcher.open(batch, row, event)
            batch.missed.update(mark for _, mark in marks)
        work.begin(batch.changes, moment(batch.now), row.depth, row.id)
        self.matcher.know_buyer(batch, work, event)
        opting.learn(batch, work)
        keys_before = len(batch.changes.keys)
        note_double(batch, work, row.case_id, event)
        work.apply(event, row.account)
        if opting.tell(batch, work, event) and isinstance(event, OptedOut):
            self._stop_others(batch, row, work, event)
        for one in batch.changes.keys[keys_before:]:
            if one["strong"] and self.matcher.names_another(batch, work, one["k"]):
                batch.changes.keys.remove(one)
            else:
                batch.by_mark.setdefault(one["k"], []).insert(0, work.case.id)
        if key is not None:
            batch.seen.add(key)
        if self.tap.on:
            batch.told.append((event, row.account, work.case.id))
        return work.case.id

    def _stop_others(self, batch: Batch, row: Row, work: Work, event: OptedOut) -> None:
        """What waits in the buyer's other cases hears of it now, not at their next event."""
        stored = self.store.read(lambda conn: outbox_store.with_words(conn, work.buyer))
        here = (one.case.id for one in batch.works.values() if one.buyer == work.buyer)  # not written yet
        for case in sorted({*stored, *here} - {work.case.id}):
            told = opting.spread(event, case)
            batch.inbox.append(self.event_row([told], row.account, told.key, depth=row.depth, case_id=case))

    def _write(self, conn: Connection, batch: Batch) -> None:
        self.pace.start()
        write(conn, batch, self.store.vault)
        self.pace.stop()
