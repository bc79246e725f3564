"""How tries of deliveries ended: what becomes of the row, the ledger's entry, the event that tells the case."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, Final, Literal, cast
from uuid import UUID, uuid5

import structlog
from pydantic_core import to_json
from sqlalchemy.exc import DataError, DBAPIError

from ..abilities import Handler, Result
from ..core.masking import masked
from ..model import Event, SendMessage, Settled
from ..store import outbox as outbox_store
from ..store.store import Store
from .attempt import Outcome, legible, next_pause
from .batch import event_row
from .client import Flight, exchange
from .traces import Traces

log = structlog.get_logger("dispatcher")
NAMESPACE: Final = UUID("6f8d3c1e-0d5b-5d0e-9a53-6f0b7f0f3b11")
GRACE: Final = timedelta(seconds=30)
LATER: Final = "endings could not be recorded; they are tried again"
OutcomeName = Literal["done", "rejected", "dead", "uncertain", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a claimed row ended, ready to be written."""

    end: dict[str, Any]
    tried: dict[str, Any]
    result: dict[str, Any] | None
    bare: Callable[[Exception], Ended] | None = None  # the same without what the vendor told


def idempotency_key(row: Any) -> str:
    """The same for every try of one action, also after its case was absorbed by another one."""
    return str(uuid5(NAMESPACE, f"{row.id}\x1f{row.created_at}\x1f{row.key}"))


class Endings:
    """Records how tries ended, those together that end together; ``told`` is called after each commit."""

    def __init__(
        self, store: Store, schedules: Mapping[str, list[float]], traces: Traces, told: Callable[[], None]
    ) -> None:
        self.store, self.me, self.schedules, self.traces, self._told = store, store.me, schedules, traces, told
        self._chance = Random()  # noqa: S311 - jitter, not a secret
        self._ended: list[Ended] = []
        self._recording: asyncio.Task[None] | None = None

    def add(self, row: Any, outcome: Outcome, flight: Flight, took: float, handler: Handler | None) -> None:
        """A try of a claimed row is over. What ends while a commit is under way shares the next one."""
        outcome = legible(outcome)
        bare = partial(self._bare, row, outcome, flight.sent, took, handler)
        try:
            ended = self._ending(row, outcome, flight, took, handler)
        except Exception as error:  # noqa: BLE001 - whatever the vendor told, the delivery has ended
            ended = bare(error)
        self._ended.append(replace(ended, bare=bare))
        if self._recording is None:
            self._recording = asyncio.create_task(self._record())

    async def recorded(self, seconds: float) -> None:
        """Wait until what has ended is recorded, or for so long."""
        if self._recording is not None:
            await asyncio.wait([self._recording], timeout=seconds)

    def result(self, row: Any, attempt: int, state: str, outcome: Outcome) -> dict[str, Any]:
        """The event by which the case learns how a delivery ended. A try may end twice: uncertain, then known."""
        settled = Settled(
            key=f"settled:{row.id}:{attempt}:{state}",
            at=self.store.clock.now(),
            refs=outcome.result.refs,
            action=row.key,
            action_type=row.type,
            account=row.account,
            outcome=cast("OutcomeName", state),
            ref=outcome.result.id,
            url=outcome.result.url,
            cause=outcome.cause,
            delivery=idempotency_key(row) if row.type == SendMessage.kind else None,
        )
        # What was brought comes first: an order must be on the case before its fetch counts as over.
        return self._event_row([*outcome.result.events, settled], row, settled.key)

    def _ending(self, row: Any, outcome: Outcome, flight: Flight, took: float, handler: Handler | None) -> Ended:
        now, tries = self.store.clock.micros(), row.tries + 1
        state: str = outcome.kind
        due, refund, sure, sent_at = now, 0, None, row.sent_at
        if sent_at is None and (outcome.doubtful or (outcome.kind == "done" and flight.sent)):
            sent_at = now - int(took * 1e6)
        if outcome.kind == "unauthorised":
            state, refund = "due", 1
        elif outcome.free:
            refund, due = 1, now + int((outcome.retry_after or 0) * 1e6)
            state = "due"
        elif outcome.kind == "retry":
            pause = next_pause(self.schedules[row.account], tries, outcome.retry_after, self._chance)
            state, due = ("dead", now) if pause is None else ("due", now + int(pause * 1e6))
        if state == "dead" and sent_at is not None and (row.money or row.effect or (handler and handler.remembers)):
            # What the vendor may have done, and would do again or refuses now because it is done, is never simply dead.
            state = "uncertain"
        if state == "uncertain":
            due = sure = now + settling(handler)
        end = {
            "row": row.id,
            "n": row.attempt + 1,
            "to": state,
            "due": due,
            "refund": refund,
            "sent": sent_at,
            "sure": sure,
            "settled": now if state in {"done", "dead"} else None,
            "found": outcome.result.id,
            "link": outcome.result.url,
            "why": outcome.cause or outcome.result.note,
            "help": outcome.hint,
        }
        tried = self._tried(row, outcome, flight, took, now)
        if state not in {"done", "dead", "uncertain"}:
            return Ended(end, tried, None)
        return Ended(end, tried, self.result(row, row.attempt + 1, state, outcome))

    def _tried(self, row: Any, outcome: Outcome, flight: Flight, took: float, now: int) -> dict[str, Any]:
        doc = None
        if outcome.kind != "done" and (told := exchange(flight)) and self.store.vault.knows(row.key_id):
            doc = self.store.vault.seal(row.key_id, to_json(masked(told)))
        return {
            "outbox_id": row.id,
            "attempt": row.attempt + 1,
            "at": now,
            "took": int(took * 1e6),
            "outcome": outcome.kind,
            "sent": flight.sent,
            "cause": outcome.cause,
            "key_id": row.key_id if doc else None,
            "doc": doc,
        }

    def _event_row(self, events: list[Event], row: Any, dedupe: str) -> dict[str, Any]:
        key_id, now = self.store.day_key(), self.store.clock.micros()
        depth, trace = row.depth + 1, self.traces.here() or row.trace
        return event_row(self.store.vault, key_id, events, row.account, dedupe, now, depth, row.case_id, trace=trace)

    def _bare(
        self, row: Any, outcome: Outcome, sent: bool, took: float, handler: Handler | None, error: Exception
    ) -> Ended:
        """How it ended, without what the vendor told, which cannot be kept."""
        log.error("what a vendor told cannot be kept", account=row.account, delivery=row.id, exc_info=error)
        cause, hint = f"what the vendor told cannot be kept: {type(error).__name__}", "this is a fault to report"
        told = replace(outcome, result=Result(), cause=cause, hint=hint)
        return self._ending(row, told, Flight(sent=sent), took, handler)

    async def _record(self) -> None:
        try:
            while self._ended:
                taken, self._ended = self._ended, []
                try:
                    await self._write(taken)
                except Exception as error:
                    if unwritable(error):
                        self._ended = await self._apart(taken) + self._ended
                    else:
                        log.exception(LATER)
                        self._ended = taken + self._ended
                        await asyncio.sleep(1)
                self._told()
        finally:
            self._recording = None

    async def _write(self, taken: list[Ended]) -> None:
        ends, tried, results = zip(*((one.end, one.tried, one.result) for one in taken), strict=True)
        await self.store.write(partial(outbox_store.finish, me=self.me, ends=ends, tried=tried, results=results))

    async def _apart(self, taken: list[Ended]) -> list[Ended]:
        """One by one, because one of them cannot be written; that one without what the vendor told. What is left."""
        for number, one in enumerate(taken):
            try:
                await self._write([one])
            except Exception as error:
                if not unwritable(error):
                    log.exception(LATER)
                    return taken[number:]
                if one.bare is not None:
                    return [one.bare(error), *taken[number + 1 :]]
                log.exception("an ending cannot be recorded", delivery=one.end["row"])
        return []


def unwritable(error: Exception) -> bool:
    """Whether it is the row itself that the database refuses, whenever it is written again."""
    if isinstance(error, DBAPIError):
        cause = error.orig.__cause__ if error.orig else None
        return isinstance(error, DataError) or type(cause).__name__ == "DataError"  # asyncpg's own
    return isinstance(error, ValueError | TypeError | OverflowError)


def settling(handler: Handler | None) -> int:
    """How long after a try its absence at the vendor says nothing yet."""
    return micros_of(handler.settles_after if handler else GRACE)


def micros_of(span: timedelta) -> int:
    """A length of time as the schema keeps it."""
    return span // timedelta(microseconds=1)
