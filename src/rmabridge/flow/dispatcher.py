"""The dispatcher: claims due actions, has plugins carry them out, and records how it ended. Sent or not is recorded."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from time import perf_counter
from typing import Any, Final, Literal, cast
from uuid import UUID, uuid5

import structlog
from pydantic_core import to_json
from sqlalchemy import Connection

from ..abilities import Context, Finding, Handler
from ..core.masking import masked
from ..model import ACTIONS, Action, Event, Settled
from ..registry import Registry
from ..store import inbox as inbox_store
from ..store import ops
from ..store import outbox as outbox_store
from ..store.store import Store
from ..store.tables import micros, moment
from ..store.vault import Erased
from .attempt import Outcome, attempt, next_pause, schedule
from .client import Flight, Sessions, exchange, flying
from .gate import Gate
from .metrics import Metrics
from .router import event_row
from .tokens import StoredTokens

log = structlog.get_logger("dispatcher")
NAMESPACE: Final = UUID("6f8d3c1e-0d5b-5d0e-9a53-6f0b7f0f3b11")
MOST: Final = 200
TOGETHER: Final = 0.003
GRACE: Final = timedelta(seconds=30)
LONGEST: Final = timedelta(minutes=5)  # no deadline of an attempt is longer
GIVE_UP_LOOKING: Final = timedelta(hours=24)
NEVER: Final = 1 << 62
OutcomeName = Literal["done", "rejected", "dead", "uncertain", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a claimed row ended, ready to be written."""

    end: dict[str, Any]
    tried: dict[str, Any]
    result: dict[str, Any] | None


def idempotency_key(case_id: str, key: str) -> str:
    """The same for every try of one action."""
    return str(uuid5(NAMESPACE, f"{case_id}\x1f{key}"))


class Dispatcher:
    """Runs until it is stopped; ``wake`` it when something became due."""

    def __init__(
        self, store: Store, registry: Registry, sessions: Sessions, metrics: Metrics, public_url: str = ""
    ) -> None:
        self.store, self.registry, self.sessions, self.metrics = store, registry, sessions, metrics
        self.me = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"
        self.wake = asyncio.Event()
        self.gates = {name: Gate.of(one, store.clock.now) for name, one in registry.accounts.items()}
        self.clients = {name: sessions.client(one, self.gates[name]) for name, one in registry.accounts.items()}
        self.schedules = {name: schedule(one.tries, one.over) for name, one in registry.accounts.items()}
        self.on_written: list[Callable[[], None]] = []
        self._public_url = public_url
        self._chance = Random()  # noqa: S311 - jitter, not a secret
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[Ended] = []
        self._flushing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Claim and deliver whatever is due, then wait for more."""
        await self.recover(None)
        while True:
            self.wake.clear()
            if not await self.turn():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), self._pause())
            elif self._tasks:
                await asyncio.sleep(TOGETHER)  # endings and new rows of the next moments share one claim

    def _pause(self) -> float:
        now, accounts = self.store.clock.micros(), list(self.registry.accounts)
        due = self.store.read(lambda conn: outbox_store.next_due(conn, accounts, now))
        return 1.0 if due is None else max(0.005, min(1.0, (due - now) / 1e6))

    async def turn(self) -> int:
        """Claim one batch; the number of deliveries begun."""
        now = self.store.clock.micros()
        paused = self.store.read(ops.paused)
        room = {name: free for name, gate in self.gates.items() if name not in paused and (free := gate.room())}
        if not room or not self.store.read(lambda conn: outbox_store.any_due(conn, now, list(room))):
            return await self._look_up(now)
        lease = now + micros_of(GRACE + LONGEST)
        claimed, stale = await self.store.write(
            lambda conn: outbox_store.claim(conn, now, lease, self.me, dict(room), MOST)
        )
        for row in stale:
            await self._expire(row)
        for row in claimed:
            self.gates[row.account].enter()
            task = asyncio.create_task(self._deliver(row))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return len(claimed) + len(stale)

    async def drain(self, seconds: float) -> None:
        """Wait for deliveries under way, and for their records."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        while self._flushing is not None:
            await self._flushing

    # -- one delivery ---------------------------------------------------------------------------------------------

    async def _deliver(self, row: Any) -> None:
        started, flight = perf_counter(), Flight()
        gate = self.gates[row.account]
        try:
            outcome, repeatable = await self._try(row, flight)
        except asyncio.CancelledError:
            gate.leave(None)
            raise
        gate.leave(outcome.healthy)
        took = perf_counter() - started
        self.metrics.deliveries.labels(row.account, outcome.kind).inc()
        self.metrics.delivery_seconds.labels(row.account).observe(took)
        if outcome.kind == "unauthorised":
            await self._pause_account(row.account, outcome)
        self._end(self._ending(row, outcome, flight, took, repeatable))

    async def _try(self, row: Any, flight: Flight) -> tuple[Outcome, bool]:
        try:
            self.store.keys_for({row.key_id})
            action = ACTIONS.validate_json(self.store.vault.open(row.key_id, row.doc))
        except Erased:
            return Outcome("dead", cause="its content was erased"), False
        handler = self.registry.handler(row.account, action)
        if handler is None:
            plugin = self.registry.accounts[row.account].plugin
            hint = f"[{self.registry.kinds[row.account]}.{row.account}] plugin {plugin!r} does not do {row.type}"
            return Outcome("dead", cause=f"the account cannot carry out {row.type}", hint=hint), False
        repeatable = self._repeatable(handler, row)
        ctx = self.context(row.account, idempotency_key(row.case_id, row.key), row.case_id)
        return await attempt(handler, action, ctx, flight, repeatable=repeatable), repeatable

    def _repeatable(self, handler: Handler, row: Any) -> bool:
        if handler.repeatable or handler.remembers is None:
            return handler.repeatable
        return row.sent_at is None or self.store.clock.now() - moment(row.sent_at) < handler.remembers

    def context(self, account: str, key: str, case: str | None) -> Context:
        """What the account is lent for one call."""
        return Context(
            account,
            self.clients[account],
            key,
            self.store.clock.now,
            StoredTokens(self.store, account),
            case=case,
            public_url=self._public_url,
        )

    async def _pause_account(self, account: str, outcome: Outcome) -> None:
        now, reason = self.store.clock.micros(), f"{outcome.cause}; {outcome.hint}"
        text = f"{account} is paused: {reason}. Mend it, then: rmabridge accounts resume {account}"
        log.error("account paused", account=account, cause=outcome.cause)

        def pause(conn: Connection) -> None:
            ops.set_paused(conn, account, on=True, reason=reason, now=now)
            ops.alert(conn, f"unauthorised:{account}", text, now, account=account)

        await self.store.write(pause)

    # -- endings --------------------------------------------------------------------------------------------------

    def _ending(self, row: Any, outcome: Outcome, flight: Flight, took: float, repeatable: bool) -> Ended:
        now, tries = self.store.clock.micros(), row.tries + 1
        state: str = outcome.kind
        due, refund = now, 0
        sent_at = row.sent_at if row.sent_at is not None else (now if flight.sent else None)
        if outcome.kind == "unauthorised":
            state, refund = "due", 1
        elif outcome.kind == "retry":
            pause = next_pause(self.schedules[row.account], tries, outcome.retry_after, self._chance)
            state, due = ("dead", now) if pause is None else ("due", now + int(pause * 1e6))
        elif outcome.kind == "uncertain":
            due = now + micros_of(timedelta(seconds=30))
        settled = now if state in {"done", "dead"} else None
        end = {
            "row": row.id,
            "n": row.attempt + 1,
            "me": self.me,
            "to": state,
            "due": due,
            "refund": refund,
            "sent": sent_at,
            "sure": None,
            "settled": settled,
            "found": outcome.result.id,
            "link": outcome.result.url,
            "why": outcome.cause or outcome.result.note,
            "help": outcome.hint,
        }
        tried = self._tried(row, outcome, flight, took, now)
        if state not in {"done", "dead", "uncertain"}:
            return Ended(end, tried, None)
        return Ended(end, tried, self._result(row, state, outcome, now))

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

    def _result(self, row: Any, state: str, outcome: Outcome, now: int) -> dict[str, Any]:
        settled = Settled(
            key=f"settled:{row.id}:{row.attempt + 1}",
            at=moment(now),
            action=row.key,
            action_type=row.type,
            account=row.account,
            outcome=cast("OutcomeName", state),
            ref=outcome.result.id,
            url=outcome.result.url,
            cause=outcome.cause,
        )
        # What was brought comes first: an order must be on the case before its fetch counts as over.
        return self._event_row([*outcome.result.events, settled], row, settled.key)

    def _event_row(self, events: list[Event], row: Any, dedupe: str) -> dict[str, Any]:
        key_id, now = self.store.day_key(), self.store.clock.micros()
        return event_row(self.store.vault, key_id, events, row.account, dedupe, now, row.depth + 1, row.case_id)

    def _end(self, ended: Ended) -> None:
        """Endings that come while a commit is under way share the next one."""
        self._ended.append(ended)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        try:
            while self._ended:
                taken, self._ended = self._ended, []
                ends, tried = [one.end for one in taken], [one.tried for one in taken]
                results = [one.result for one in taken if one.result]
                try:
                    await self.store.write(lambda conn, e=ends, t=tried, r=results: outbox_store.finish(conn, e, t, r))  # type: ignore[misc]
                except Exception:
                    log.exception("endings could not be recorded; they are tried again")
                    self._ended = taken + self._ended
                    await asyncio.sleep(1)
                for tell in self.on_written:
                    tell()
                self.wake.set()
        finally:
            self._flushing = None

    async def _expire(self, row: Any) -> None:
        now = self.store.clock.micros()
        cause = f"its time was over at {moment(row.not_after).isoformat()}"
        event = self._result(row, "expired", Outcome("dead", cause=cause), now)

        def expire(conn: Connection) -> None:
            if outbox_store.set_state(conn, row.id, ("due",), {"state": "expired", "settled_at": now, "cause": cause}):
                inbox_store.add(conn, [event])

        await self.store.write(expire)
        for tell in self.on_written:
            tell()

    # -- uncertain ------------------------------------------------------------------------------------------------

    async def recover(self, me: str | None) -> None:
        """Rows that a dead process left in ``sending``: sent again only where repeating does no harm, else uncertain.

        With ``me`` None all of them (at start-up, holding the lock); else those whose lease ran out.
        """
        now = self.store.clock.micros()
        for row in self.store.read(lambda conn: outbox_store.lost(conn, now, me)):
            handler = self._handler_of(row)
            if handler is not None and handler.repeatable:
                values: dict[str, Any] = {"state": "due", "due_at": now, "owner": None, "lease_until": None}
                await self.store.write(
                    lambda conn, r=row, v=values: outbox_store.set_state(conn, r.id, ("sending",), v)
                )  # type: ignore[misc]
                continue
            outcome = Outcome(
                "uncertain",
                cause="the process ended during the call",
                hint="look it up at the vendor, then 'deliveries resolve'",
            )
            result = self._result(row, "uncertain", outcome, now)
            values = {
                "state": "uncertain",
                "due_at": now,
                "sent_at": row.sent_at or now,
                "cause": outcome.cause,
                "hint": outcome.hint,
            }
            await self.store.write(lambda conn, r=row, v=values, e=result: _uncertain(conn, r.id, v, e))  # type: ignore[misc]

    def _handler_of(self, row: Any) -> Handler | None:
        action = self._action_of(row)
        return self.registry.handler(row.account, action) if action and row.account in self.registry.accounts else None

    def _action_of(self, row: Any) -> Action | None:
        try:
            self.store.keys_for({row.key_id})
            return ACTIONS.validate_json(self.store.vault.open(row.key_id, row.doc))
        except Erased:
            return None

    async def _look_up(self, now: int) -> int:
        """Ask the vendors what uncertain deliveries did."""
        rows = self.store.read(lambda conn: outbox_store.uncertain_due(conn, now))
        for row in rows:
            handler, action = self._handler_of(row), self._action_of(row)
            gate = self.gates.get(row.account)
            if gate is None or handler is None or action is None or handler.find is None:
                await self._leave_to_a_person(row, None)
            elif gate.room():
                await self._find(row, handler, action, gate)
            else:
                await self._look_again(row, now + micros_of(timedelta(seconds=5)))
        return len(rows)

    async def _find(self, row: Any, handler: Handler, action: Action, gate: Gate) -> None:
        now, sent = self.store.clock.now(), moment(row.sent_at or row.created_at)
        if now < sent + handler.settles_after and self.store.clock.offset == timedelta():
            await self._look_again(row, micros(sent + handler.settles_after))
            return
        ctx = self.context(row.account, idempotency_key(row.case_id, row.key), row.case_id)
        gate.enter()
        finding = await self._ask(handler, action, ctx)
        gate.leave(None if finding is None else True)
        if finding is not None and finding.happened:
            await self._settle(row, finding)
        elif finding is not None and finding.happened is False:
            await self._absent(row, handler)
        else:
            await self._unknown(row, now, sent)

    async def _ask(self, handler: Handler, action: Action, ctx: Context) -> Finding | None:
        if handler.find is None:
            return None
        try:
            async with asyncio.timeout(handler.deadline):
                with flying(Flight()):
                    return await handler.find(action, ctx)
        except Exception as error:  # noqa: BLE001 - not known: asked again later
            log.warning("find failed", account=ctx.account, error=type(error).__name__)
            return None

    async def _settle(self, row: Any, finding: Finding) -> None:
        now = self.store.clock.micros()
        event = self._result(_after(row), "done", Outcome("done", finding.result), now)
        values = {
            "state": "done",
            "ref": finding.result.id,
            "url": finding.result.url,
            "settled_at": now,
            "cause": None,
            "hint": None,
        }
        await self.store.write(lambda conn: _uncertain(conn, row.id, values, event, ("uncertain",)))
        for tell in self.on_written:
            tell()

    async def _absent(self, row: Any, handler: Handler) -> None:
        """It did not happen. Money is sent again only where the vendor still remembers our key; else a person decides."""
        if row.money and not (handler.remembers and self._repeatable(handler, row)):
            await self._leave_to_a_person(row, "the vendor has no trace of it; a person decides whether to pay again")
            return
        values = {
            "state": "due",
            "due_at": self.store.clock.micros(),
            "cause": "looked up: it had not happened",
            "hint": None,
        }
        await self.store.write(lambda conn: outbox_store.set_state(conn, row.id, ("uncertain",), values))
        self.wake.set()

    async def _unknown(self, row: Any, now: datetime, sent: datetime) -> None:
        age = now - sent
        if age > GIVE_UP_LOOKING:
            await self._leave_to_a_person(row, None)
        else:
            await self._look_again(row, micros(now + max(age, timedelta(seconds=30))))

    async def _look_again(self, row: Any, due: int) -> None:
        await self.store.write(lambda conn: outbox_store.set_state(conn, row.id, ("uncertain",), {"due_at": due}))

    async def _leave_to_a_person(self, row: Any, cause: str | None) -> None:
        values: dict[str, Any] = {"due_at": NEVER, "hint": "a person settles it: 'deliveries resolve'"}
        if cause:
            values["cause"] = cause
        await self.store.write(lambda conn: outbox_store.set_state(conn, row.id, ("uncertain",), values))


def _uncertain(
    conn: Connection, row_id: int, values: dict[str, Any], event: dict[str, Any], was: tuple[str, ...] = ("sending",)
) -> None:
    if outbox_store.set_state(conn, row_id, was, values):
        inbox_store.add(conn, [event])


@dataclass(frozen=True, slots=True)
class _After:
    """A row whose result event must not repeat the key of its attempt's."""

    id: int
    attempt: int
    key: str
    type: str
    account: str
    case_id: str
    depth: int


def _after(row: Any) -> _After:
    return _After(row.id, row.attempt + 1_000_000, row.key, row.type, row.account, row.case_id, row.depth)


def micros_of(span: timedelta) -> int:
    """A length of time as the schema keeps it."""
    return span // timedelta(microseconds=1)
