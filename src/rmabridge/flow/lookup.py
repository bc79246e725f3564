"""Uncertain deliveries: vendors are asked what became of them, each account on its own; a person settles the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from ..abilities import Finding, Handler, Result
from ..model import Case, SendMessage
from ..store import cases as case_store
from ..store import ops
from ..store import outbox as outbox_store
from ..store.queue import NEVER
from ..store.vault import Erased
from .attempt import Outcome, legible
from .client import Flight, flying
from .dispatcher import Dispatcher, settle
from .endings import idempotency_key, micros_of

log = structlog.get_logger("lookup")
GIVE_UP: Final = micros_of(timedelta(hours=24))
FIRST_PAUSE: Final = micros_of(timedelta(seconds=30))
PATIENCE: Final = 0.1


class Lookup:
    """Asks until it is stopped; ``wake`` it when the clock was moved or something became uncertain."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher, self.store = dispatcher, dispatcher.store
        self.wake = asyncio.Event()
        self._asked: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Begin a question for each row that is due, as far as its account has room."""
        try:
            while True:
                self.wake.clear()
                await self.turn()
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self.wake.wait()
                await asyncio.sleep(PATIENCE)  # nobody waits for this by the millisecond
        finally:
            for task in self._asked.values():
                task.cancel()
            await asyncio.gather(*self._asked.values(), return_exceptions=True)

    async def turn(self) -> None:
        """One look at what is due."""
        now, asked, gates = self.store.clock.micros(), list(self._asked), self.dispatcher.gates
        full = {name for name, gate in gates.items() if not gate.room()}

        def due(conn: Connection) -> Sequence[Any]:
            return outbox_store.uncertain_due(conn, now, asked, full.union(ops.paused(conn).keys() & gates.keys()))

        for row in await self.store.ask(due):
            gate = gates.get(row.account)
            if gate is not None and not gate.room():
                continue
            if gate is not None:
                gate.enter()
            task = asyncio.create_task(self._look(row))
            self._asked[row.id] = task
            task.add_done_callback(partial(self._answered, row.id))

    def _answered(self, row_id: int, _: asyncio.Task[None]) -> None:
        self._asked.pop(row_id, None)

    async def _look(self, row: Any) -> None:
        gate, well = self.dispatcher.gates.get(row.account), None
        try:
            handler = self.dispatcher.handler_of(row)
            if (told := await self.store.using(partial(self._receipt, row))) is not None:
                await self._found(row, told, self.store.clock.micros())
                return
            if handler is None or handler.find is None:
                await self._leave(row, None)
                return
            finding = await self._ask(row, handler)
            well = True if finding is not None else None
            await self._conclude(row, handler, finding)
        except Exception:
            log.exception("an uncertain delivery could not be looked up", account=row.account, delivery=row.id)
            with suppress(Exception):
                await self._change(row, {"due_at": self.store.clock.micros() + FIRST_PAUSE})
        finally:
            if gate is not None:
                gate.leave(well)

    async def _ask(self, row: Any, handler: Handler) -> Finding | None:
        action = self.dispatcher.action_of(row)
        if handler.find is None or action is None:
            return None
        ctx = self.dispatcher.context(row.account, idempotency_key(row), row.case_id)
        try:
            async with asyncio.timeout(handler.deadline):
                with self.dispatcher.traces.delivery(row, "look up"), flying(Flight()):
                    return await handler.find(action, ctx)
        except Exception as error:  # noqa: BLE001 - not known: asked again later
            log.warning("find failed", account=row.account, error=type(error).__name__)
            return None

    def _receipt(self, row: Any) -> Finding | None:
        """What the channel's own receipt says of a message: it went out, whether or not it arrived."""
        if row.type != SendMessage.kind:
            return None
        (stored,) = self.store.read(lambda conn: case_store.rows(conn, [row.case_id]))
        try:
            self.store.keys_for({stored.key_id})
            case = Case.model_validate_json(self.store.vault.open(stored.key_id, stored.doc))
        except Erased:
            return None
        told = next((one for one in case.talk.arrivals if one.delivery == idempotency_key(row)), None)
        return Finding(True, Result(id=told.message)) if told else None

    async def _conclude(self, row: Any, handler: Handler, finding: Finding | None) -> None:
        now, sure = self.store.clock.micros(), row.sure_after or row.created_at
        if finding is not None and finding.happened:
            await self._found(row, finding, now)
        elif finding is not None and finding.happened is False and now >= sure:
            if handler.looks_back and now - (row.sent_at or row.created_at) > micros_of(handler.looks_back):
                await self._leave(row, "it is too long ago for the vendor to show it; a person decides")
            else:
                await self._absent(row, handler, now)
        elif finding is not None and finding.happened is False:
            await self._change(row, {"due_at": sure})
        elif now - sure > GIVE_UP:
            await self._leave(row, None)
        else:
            await self._change(row, {"due_at": now + max(now - sure, FIRST_PAUSE)})

    async def _found(self, row: Any, finding: Finding, now: int) -> None:
        outcome = legible(Outcome("done", finding.result))
        made = {"ref": outcome.result.id, "url": outcome.result.url, "cause": None, "hint": None}
        event = self.dispatcher.endings.result(row, row.attempt, "done", outcome)
        await self._change(row, {**made, "state": "done", "settled_at": now}, event)
        self.dispatcher.tell()

    async def _absent(self, row: Any, handler: Handler, now: int) -> None:
        """It did not happen. Money goes again only where the vendor would recognise our key; else a person decides.

        What was taken back does not go again, nor what is too late.
        """
        over = row.withdrawn is not None or (row.not_after is not None and row.not_after < now)
        if row.money and not over and not self.dispatcher.repeatable(handler, row.sent_at):
            await self._leave(row, "the vendor has no trace of it; a person decides whether to pay again")
            return
        cause = "looked up: it had not happened"
        await self._change(row, {"state": "due", "due_at": now, "sent_at": None, "cause": cause, "hint": None})
        self.dispatcher.wake.set()

    async def _leave(self, row: Any, cause: str | None) -> None:
        told = {"cause": cause} if cause else {}
        await self._change(row, {**told, "due_at": NEVER, "hint": "a person settles it: 'deliveries resolve'"})

    async def _change(self, row: Any, values: dict[str, Any], event: dict[str, Any] | None = None) -> None:
        await self.store.write(partial(settle, row=row, values=values, event=event))
