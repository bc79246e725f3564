"""The dispatcher: claims due actions, has plugins carry them out, and records how it ended. Sent or not is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cache, partial
from time import monotonic, perf_counter
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from ..abilities import Context, Handler
from ..model import ACTIONS, Action, DeadlineReached
from ..registry import Registry
from ..store import inbox as inbox_store
from ..store import ops, queue
from ..store import outbox as outbox_store
from ..store.store import Store
from ..store.tables import moment
from ..store.vault import Erased
from .attempt import JITTER, LEFT, LONGEST_PAUSE, Outcome, attempt, failed, schedule
from .batch import event_row
from .breakers import Breakers, claim
from .client import Flight, Sessions
from .endings import GRACE, Endings, idempotency_key, micros_of, settling
from .files import Files
from .gate import SKEW, Gate
from .ledger import RELEASE
from .metrics import Metrics
from .pace import Pace
from .places import Places
from .tap import NO_TAP
from .tokens import StoredTokens
from .traces import OFF, Traces

log = structlog.get_logger("dispatcher")
SWEPT_EVERY: Final = 1.0
TOGETHER: Final = 0.003
ABREAST: Final = 4
A_DELIVERY: Final = 0.001  # seconds of CPU, about, from its claim to its record
RECORDED: Final = 5.0
AHEAD: Final = micros_of(SKEW)
DOUBTED: Final = "the case changed while it waited"
LONGEST_UNSURE: Final = micros_of(timedelta(days=3))  # nothing is looked up later than that
LONGEST: Final = timedelta(minutes=5)  # no deadline of an attempt is longer


class Dispatcher:
    """Runs until it is stopped; ``wake`` it when something became due."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        sessions: Sessions,
        metrics: Metrics,
        public_url: str = "",
        traces: Traces = OFF,
    ) -> None:
        self.store, self.registry, self.sessions, self.metrics = store, registry, sessions, metrics
        self.traces, self.tap = traces, NO_TAP
        self.me = store.me
        self.wake = asyncio.Event()
        draws = {name: partial(store.draw, name) if store.shared else None for name in registry.accounts}
        self.gates = {name: Gate.of(one, store.clock.now, draws[name]) for name, one in registry.accounts.items()}
        self.breakers = Breakers(store, self.gates, self._look)
        self.places = Places()
        self.clients = {name: sessions.client(one, self.gates[name]) for name, one in registry.accounts.items()}
        schedules = {name: schedule(one.tries, one.over) for name, one in registry.accounts.items()}
        self.endings = Endings(store, schedules, traces, self._recorded)
        longest = max((LONGEST_PAUSE, *(one for pauses in schedules.values() for one in pauses))) * (1 + JITTER)
        self._longest = int(longest * 1e6) + AHEAD
        self.on_written: list[Callable[[], None]] = []
        self.public_url, self._files = public_url, Files(store)
        self._counter, self._seconds = cache(metrics.deliveries.labels), cache(metrics.delivery_seconds.labels)
        self._tasks: set[asyncio.Task[None]] = set()
        self._swept, self.pace = 0.0, Pace()

    async def run(self) -> None:
        """Claim and deliver whatever is due, then wait for more."""
        await self._tell_gone()
        while True:
            self.wake.clear()
            if not await self.turn() and not self.wake.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(await self.store.using(self._pause)):
                        await self.wake.wait()
            if self._tasks:
                await asyncio.sleep(TOGETHER)  # endings and new rows of the next moments share one claim

    async def _tell_gone(self) -> None:
        """Tell of what is due at accounts that the configuration no longer has: nobody would ever send it."""
        due = await self.store.ask(queue.due_by_account)
        gone = {name: number for name, number in due.items() if name not in self.registry.accounts}
        now = self.store.clock.micros()

        def tell(conn: Connection) -> None:
            for name, number in gone.items():
                text = f"{number} deliveries are due at {name}, which the configuration does not have (any longer)"
                ops.alert(conn, f"gone:{name}", f"{text}; configure it, or take them back", now, account=name)

        if gone:
            await self.store.write(tell)

    def _pause(self) -> float:
        now, accounts = self.store.clock.micros(), list(self.registry.accounts)
        due = self.store.read(lambda conn: queue.next_due(conn, accounts, now))
        return 1.0 if due is None else max(0.005, min(1.0, (due - now) / 1e6))

    async def turn(self) -> int:
        """Claim one batch; the number of rows that moved."""
        await self.pace.give_way()
        now = self.store.clock.micros()
        expired = await self._sweep(now)
        room, taken = await self.store.using(lambda: self._room(now)), monotonic()
        if not room:
            return expired
        claimed = await self._claim(now, room)
        self.pace.worked(len(claimed) * A_DELIVERY)
        for number, row in enumerate(claimed):
            self.gates[row.account].enter()
            task = asyncio.create_task(self._deliver(row, number // ABREAST, taken))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return len(claimed) + expired

    def _room(self, now: int) -> dict[str, int]:
        """How many more deliveries each account takes, where anything is due at all."""
        free = {name: most for name, gate in self.gates.items() if (most := gate.room())}
        if not self._any_due(now, free):
            return {}
        paused = self.store.read(ops.paused)
        room = {name: most for name, most in free.items() if name not in paused}
        return room if len(room) == len(free) or self._any_due(now, room) else {}

    def _any_due(self, now: int, room: dict[str, int]) -> bool:
        return bool(room) and self.store.read(lambda conn: queue.any_due(conn, now, self.me, list(room)))

    async def _claim(self, now: int, room: dict[str, int]) -> Sequence[Any]:
        """Due rows, marked as being sent; given back if this process is to stop before it sends them."""
        lease, probes = now + LEASE, self.breakers.probes() if self.store.shared else {}
        first = self.places.first(room)
        writing = self.store.write(lambda conn: claim(conn, now, lease, self.me, room, first, probes))
        try:
            claimed = await asyncio.shield(writing)
        except asyncio.CancelledError:
            ids = [one.id for one in await writing]
            await self.store.write(lambda conn: queue.give_back(conn, ids, self.me))
            raise
        self.breakers.took(probes, claimed)
        self.places.took(room, claimed)
        return claimed

    def _look(self) -> None:
        """Sweep at once."""
        self._swept = 0.0
        self.wake.set()

    async def _sweep(self, now: int) -> int:
        """Expire what waits past its time, whatever keeps its account from sending."""
        if monotonic() - self._swept < SWEPT_EVERY:
            return 0
        self._swept = monotonic()
        if self.store.shared:
            await self.recover()
            await self.breakers.exchange()
        await self._bring_forward(now)
        await self._judge_again(now)
        stale = await self.store.ask(lambda conn: queue.stale(conn, now))
        if not stale:
            return 0
        ends = [(one, *self._ended(one, now)) for one in stale]

        def end(conn: Connection) -> None:
            for row, values, event in ends:
                settle(conn, row, values, event)

        await self.store.write(end)
        self.tell()
        return len(ends)

    def _ended(self, row: Any, now: int) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """What becomes of a row that was taken back, as its case knows, or whose time is over; and its event.

        What an earlier try may have done is looked up where it moves money or may be done only once (``effect``).
        """
        back = row.withdrawn is not None
        why = row.withdrawn if back else f"its time was over at {moment(row.not_after).isoformat()}"
        if row.sent_at is not None:
            why = f"{'it was taken back: ' if back else ''}{why}; but a try may have done it"
            if row.money or row.effect is not None:
                return self._unsure(row, why, now)
        values = {"state": "cancelled" if back else "expired", "settled_at": now, "cause": why}
        return values, None if back else self.endings.result(row, row.attempt, "expired", Outcome("dead", cause=why))

    def _unsure(self, row: Any, cause: str, now: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The row as uncertain, and what tells its case."""
        values = {"state": "uncertain", "due_at": now, "cause": cause, "hint": LEFT}
        values["sure_after"] = now + settling(self.handler_of(row))
        return values, self.endings.result(row, row.attempt, "uncertain", Outcome("uncertain", cause=cause, hint=LEFT))

    async def _bring_forward(self, now: int) -> None:
        """What was to go at once, or after a pause, while the clock was ahead goes now that it was set back."""
        accounts, soon, late = list(self.registry.accounts), now + AHEAD, now + self._longest
        if ids := await self.store.ask(lambda conn: queue.ahead(conn, soon, late, accounts)):
            await self.store.write(lambda conn: queue.bring_forward(conn, ids, now))
            log.warning("the clock was set back", deliveries=len(ids))
        longest = now + LONGEST_UNSURE
        if await self.store.ask(lambda conn: queue.put_off(conn, longest)):
            await self.store.write(lambda conn: queue.look_sooner(conn, longest, now))

    async def _judge_again(self, now: int) -> None:
        """What waited longer than its verdicts hold (a text past the buyer's hours) is judged again before it goes. Of
        money that an earlier try may have paid it is looked up first what became of it."""
        found = await self.store.ask(lambda conn: queue.outdated(conn, now))
        if not found:
            return
        key_id = self.store.day_key()
        begun = [one for one in found if one.sent_at is not None and (one.money or one.effect is not None)]
        ends = [(one, *self._unsure(one, f"{DOUBTED}; a try may have done it", now)) for one in begun]
        rows = [self._again(one, key_id, now) for one in found if one not in begun]

        def write(conn: Connection) -> None:
            inbox_store.add(conn, rows)
            for row, values, event in ends:
                settle(conn, row, values, event)

        await self.store.write(write)
        self.tell()

    def _again(self, row: Any, key_id: str, now: int) -> dict[str, Any]:
        key = f"again:{row.id}:{row.good_until}"
        event = DeadlineReached(key=key, at=moment(now), name=RELEASE + row.key, generation=0)
        return event_row(self.store.vault, key_id, [event], "bridge", key, now, row.depth + 1, row.case_id)

    def tell(self) -> None:
        """Results are in the inbox."""
        for one in self.on_written:
            one()

    def _recorded(self) -> None:
        self.tell()
        self.wake.set()

    async def drain(self, seconds: float) -> None:
        """Wait for deliveries under way, and for their records; what takes longer is cut off and looked up later."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.endings.recorded(min(seconds, RECORDED))
        for gate in self.gates.values():
            if gate.turns is not None:
                gate.turns.close()

    # -- one delivery ---------------------------------------------------------------------------------------------

    async def _deliver(self, row: Any, turns: int, taken: float) -> None:
        for _ in range(turns):  # so that the doors are heard between the first steps of many
            await asyncio.sleep(0)
        with self.traces.delivery(row) as note:
            note(attempt=row.attempt + 1, outcome=await self._carry_out(row, taken))

    async def _carry_out(self, row: Any, taken: float) -> str:
        started, flight, gate = perf_counter(), Flight(), self.gates[row.account]
        flight.hurried, flight.owner = True, self.registry.accounts[row.account]
        action, handler = None, None
        try:
            action = self.action_of(row)
            handler = self.registry.handler(row.account, action) if action else None
            outcome = await self._try(row, action, handler, flight, taken)
        except asyncio.CancelledError:
            gate.leave(None)
            raise
        except Exception as error:
            log.exception("a delivery failed before its call", account=row.account, delivery=row.id)
            outcome = failed(error, flight, repeatable=False)
        gate.leave(outcome.healthy if flight.sent or flight.response or outcome.kind != "dead" else None)
        took = perf_counter() - started
        self._counter(row.account, outcome.kind).inc()
        self._seconds(row.account).observe(took)
        if outcome.kind == "unauthorised":
            await self._pause_account(row.account, outcome)
        facts = {"case": row.case_id, "type": row.type, "outcome": outcome.kind, "took": round(took, 6)}
        self.tap.went(row.account, action, flight, **facts)
        self.endings.add(row, outcome, flight, took, handler)
        return outcome.kind

    async def _try(
        self, row: Any, action: Action | None, handler: Handler | None, flight: Flight, taken: float
    ) -> Outcome:
        if action is None:
            return Outcome("dead", cause="its content was erased")
        if handler is None:
            plugin = self.registry.accounts[row.account].plugin
            hint = f"[{self.registry.kinds[row.account]}.{row.account}] plugin {plugin!r} does not do {row.type}"
            return Outcome("dead", cause=f"the account cannot carry out {row.type}", hint=hint)
        if monotonic() - taken > LEASE / 1e6 - handler.deadline:
            return Outcome("retry", cause="this process stood still until others took over what it held", ours=True)
        repeatable = self.repeatable(handler, row.sent_at)
        if row.sent_at is not None and not repeatable:
            cause = "an earlier try may have done it, and the vendor no longer knows our key"
            return Outcome("uncertain", cause=cause, hint=LEFT, doubtful=True)
        ctx = self.context(row.account, idempotency_key(row), row.case_id)
        return await attempt(handler, action, ctx, flight, repeatable=repeatable)

    def repeatable(self, handler: Handler, sent_at: int | None) -> bool:
        """Whether doing it again does no harm: as long as the vendor remembers our key, where it forgets."""
        if handler.remembers is None or sent_at is None:
            return handler.repeatable or handler.remembers is not None
        return self.store.clock.now() - moment(sent_at) < handler.remembers

    def context(self, account: str, key: str, case: str | None) -> Context:
        """What the account is lent for one call."""
        ctx = Context(account, self.clients[account], key, self.store.clock.now, StoredTokens(self.store, account))
        ctx.case, ctx.public_url = case, self.public_url
        return self._files.lend(ctx)

    async def _pause_account(self, account: str, outcome: Outcome) -> None:
        now, reason = self.store.clock.micros(), f"{outcome.cause}; {outcome.hint}"
        text = f"{account} is paused: {reason}. Mend it, then: rmabridge accounts resume {account}"
        log.error("account paused", account=account, cause=outcome.cause)

        def pause(conn: Connection) -> None:
            ops.set_paused(conn, account, on=True, reason=reason, now=now)
            ops.alert(conn, f"unauthorised:{account}", text, now, account=account)

        try:
            await self.store.write(pause)
        except Exception:
            log.exception("the pause could not be recorded", account=account)

    # -- after a crash --------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Rows that a dead process left in ``sending``, or one that holds them past its lease: sent again only where
        repeating does no harm, else uncertain.
        """
        now = self.store.clock.micros()
        others = [one for one in await self.store.ask(outbox_store.senders) if one != self.store.me]
        if not others:
            return
        gone = await self.store.using(lambda: self.store.orphaned(others))
        for row in await self.store.ask(outbox_store.sending):
            if row.owner in gone or (row.owner in others and row.lease_until < now):
                await self._recover(row, now)

    async def _recover(self, row: Any, now: int) -> None:
        handler = self.handler_of(row)
        sent = row.sent_at or (row.lease_until or now + LEASE) - LEASE
        values: dict[str, Any] = {"due_at": now, "owner": None, "lease_until": None, "sent_at": sent}
        if handler is not None and self.repeatable(handler, sent):
            await self.store.write(partial(settle, row=row, values={**values, "state": "due"}, event=None))
            return
        doubt, event = self._unsure(row, "the process ended during the call", now)
        await self.store.write(partial(settle, row=row, values={**values, **doubt}, event=event))

    def handler_of(self, row: Any) -> Handler | None:
        """How the row's account would carry it out; None where it has gone, or the action's content has."""
        action = self.action_of(row) if row.account in self.registry.accounts else None
        return self.registry.handler(row.account, action) if action else None

    def action_of(self, row: Any) -> Action | None:
        """The row's action; None where its content was erased."""
        try:
            self.store.keys_for({row.key_id})
            return ACTIONS.validate_json(self.store.vault.open(row.key_id, row.doc))
        except Erased:
            return None


def settle(conn: Connection, row: Any, values: dict[str, Any], event: dict[str, Any] | None) -> None:
    """Change a row that is still as it was read, and tell its case."""
    if outbox_store.set_state(conn, row.id, (row.state,), values, attempt=row.attempt) and event is not None:
        inbox_store.add(conn, [event])


LEASE: Final = micros_of(GRACE + LONGEST)
