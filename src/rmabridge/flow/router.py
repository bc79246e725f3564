"""The router: the one writer of cases. It takes a batch of inbox rows, computes, and writes what follows at once."""

from __future__ import annotations

import asyncio
import secrets
import traceback
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import perf_counter
from typing import Annotated, Any, Final

import structlog
from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from ..abilities import Inbound, Shop
from ..config import Bridge, explain
from ..core.identity import opens
from ..core.judge import Judge
from ..core.masking import mask
from ..errors import CommandError
from ..model import (
    EVENTS,
    Buyer,
    Case,
    CaseRequested,
    Commanded,
    DeadlineReached,
    Event,
    MessageReceived,
    OrderSeen,
    RefKind,
    Settled,
)
from ..registry import Registry
from ..store import cases as case_store
from ..store import inbox as inbox_store
from ..store import ops
from ..store import outbox as outbox_store
from ..store.store import Store
from ..store.tables import micros, moment
from ..store.vault import Erased, Vault, store_keys
from . import commands
from .absorb import absorb
from .metrics import Metrics
from .work import Changes, Entry, Work, World, event_marks

log = structlog.get_logger("router")
MANY: Final[TypeAdapter[list[Event]]] = TypeAdapter(list[Annotated[Event, Field(discriminator="type")]])
OWN: Final = (Settled, DeadlineReached, Commanded)
BATCH: Final = 50
CACHED: Final = 1_000
SLICE: Final = 0.005
ALONE_FROM: Final = 3
PARKED_FROM: Final = 8  # several of them alone: a process that is often killed from outside must not blame an event
LOOKED_AGAIN: Final = 2_000_000
IDENTIFYING: Final = (RefKind.RETURN, RefKind.REFUND, RefKind.CLAIM, RefKind.ORDER)


@dataclass(slots=True)
class Row:
    """An inbox row with the events that were read out of it."""

    id: int
    account: str
    kind: str
    received_at: int
    depth: int
    claims: int
    case_id: str | None
    events: list[Event] = field(default_factory=list)
    marks: list[list[tuple[Any, bytes]]] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """Everything that routing some inbox rows writes."""

    now: int
    changes: Changes = field(default_factory=Changes)
    done: list[dict[str, Any]] = field(default_factory=list)
    parked: list[dict[str, Any]] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)
    key_rows: list[dict[str, Any]] = field(default_factory=list)
    linked: list[dict[str, Any]] = field(default_factory=list)
    waits: list[tuple[int, list[bytes]]] = field(default_factory=list)
    later: list[dict[str, Any]] = field(default_factory=list)
    inbox: list[dict[str, Any]] = field(default_factory=list)
    extra: list[Callable[[Connection], Any]] = field(default_factory=list)
    works: dict[str, Work] = field(default_factory=dict)
    by_mark: dict[bytes, list[str]] = field(default_factory=dict)
    buyers: dict[bytes, str] = field(default_factory=dict)
    earlier: dict[bytes, list[str]] = field(default_factory=dict)
    known: set[bytes] = field(default_factory=set)
    effects: set[tuple[str, str]] = field(default_factory=set)

    def settle(self, row: Row, case_id: str | None, note: str | None = None, state: str = "done") -> None:
        """The row is routed."""
        self.done.append({"row": row.id, "to": state, "case": case_id, "said": note, "now": self.now})


class Router:
    """Routes until it is stopped; ``wake`` it when something was put into the inbox."""

    def __init__(
        self, store: Store, registry: Registry, settings: Bridge, render: Callable[..., Any], metrics: Metrics
    ) -> None:
        self.store, self.registry, self.settings, self.metrics = store, registry, settings, metrics
        self.judge = Judge(registry.policies)
        self.wake = asyncio.Event()
        self.on_written: list[Callable[[], None]] = []
        self.cache: OrderedDict[str, Work] = OrderedDict()
        self._batch = Batch(0)
        self._failures: Counter[int] = Counter()
        self._facts = {fact.name: fact for one in registry.policies for fact in one.policy.facts}
        self._rates: dict[tuple[str, str, int, int], dict[str, int]] = {}
        self.world = World(
            judge=self.judge,
            shops=registry.shops,
            vault=store.vault,
            render=render,
            fetch_patience=settings.fetch_patience,
            hourly_budget=settings.hourly_budget,
            daily_budget=settings.daily_budget,
            effect_taken=self._effect_taken,
            messages=self._messages,
            can=lambda account, action: registry.handler(account, action) is not None,
            facts=self._facts_for,
        )

    async def run(self) -> None:
        """Route whatever is there, then wait for more."""
        while True:
            self.wake.clear()
            if not await self.turn():
                due = self.store.read(lambda conn: inbox_store.next_due(conn, self.store.clock.micros()))
                wait = 1.0 if due is None else max(0.0, min(1.0, (due - self.store.clock.micros()) / 1e6))
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):  # wait_for would swallow a cancellation that comes with the wake
                        await self.wake.wait()

    async def turn(self) -> int:
        """Route one batch; the number of rows taken."""
        rows = self.store.read(lambda conn: inbox_store.batch(conn, self.store.clock.micros(), BATCH))
        if not rows:
            return 0
        if suspects := [one for one in rows if one.claims >= ALONE_FROM]:
            rows = suspects[:1]
        if rows[0].claims >= PARKED_FROM:
            await self._park(rows[0], "route", f"routing it did not end {rows[0].claims} times", "")
        else:
            await self.route(rows)
        return len(rows)

    async def route(self, rows: Sequence[Any]) -> None:
        """Compute and write; when the write fails the rows are halved until the guilty one is alone."""
        try:
            self.store.note_routing([one.id for one in rows])
            batch = await self._compute(rows)
            self.store.note_routing([])  # whoever pulls the plug while it is written: the rows are not to blame
            await self.store.write(lambda conn: self._write(conn, batch))
        except RowFailed as failed:
            self.cache.clear()
            guilty = next(one for one in rows if one.id == failed.row)
            trace = "".join(traceback.format_exception(failed.error))
            await self._park(guilty, "route", told(failed.error), trace, failed.cases)
            if rest := [one for one in rows if one.id != failed.row]:
                await self.route(rest)
            return
        except Exception as error:
            self.cache.clear()
            if len(rows) > 1:
                half = len(rows) // 2
                await self.route(rows[:half])
                await self.route(rows[half:])
                return
            if isinstance(error, inbox_store.Conflict):
                return  # somebody else routed or changed it: it is read again
            self._failures[rows[0].id] += 1
            if isinstance(error, OperationalError) and self._failures[rows[0].id] < PARKED_FROM:
                raise  # the disk or a lock, not the event: it stays where it is
            await self._park(rows[0], "write", told(error), traceback.format_exc())
            return
        self._written(batch)

    def _written(self, batch: Batch) -> None:
        for one in batch.done:
            self._failures.pop(one["row"], None)
        for work in batch.works.values():
            work.version += work.dirty
            self._remember(work)
        self.metrics.routed(batch)
        for tell in self.on_written:
            tell()
        if batch.inbox or batch.changes.keys:
            self.wake.set()

    def _remember(self, work: Work) -> None:
        work.dirty = False
        for entry in work.entries.values():
            entry.rest()
        self.cache[work.case.id] = work
        self.cache.move_to_end(work.case.id)
        if len(self.cache) > CACHED:
            self.cache.popitem(last=False)

    async def _park(self, row: Any, stage: str, reason: str, trace: str, cases: Sequence[str] = ()) -> None:
        now = self.store.clock.micros()
        parked = self._parked(row, stage, reason, trace, now)
        log.error("parked", inbox=row.id, account=row.account, stage=stage, reason=reason)
        flagged = [one for one in {row.case_id, *cases} if one]
        await self.store.write(lambda conn: _park(conn, [parked], row.account, now, flagged))

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
        self._batch = batch
        self.store.keys_for({one.key_id for one in stored})
        rows = [row for one in stored if (row := self._read_row(one, batch))]
        self._load(batch, rows)
        started = perf_counter()
        by_id = {one.id: one for one in stored}
        for row in rows:
            self._route_row(batch, row, by_id[row.id])
            if perf_counter() - started > SLICE:
                await asyncio.sleep(0)
                started = perf_counter()
        for work in batch.works.values():
            if work.dirty and work.case.merged_into is None:
                work.forward()
        return batch

    def _read_row(self, stored: Any, batch: Batch) -> Row | None:
        row = Row(
            stored.id, stored.account, stored.kind, stored.received_at, stored.depth, stored.claims, stored.case_id
        )
        try:
            meta, body = inbox_store.unpack(self.store.vault.open(stored.key_id, stored.body))
            if stored.kind in {"event", "command"}:
                row.events = MANY.validate_json(body)
            else:
                inbound = Inbound(stored.account, body, meta, moment(stored.received_at))
                row.events = list(self.registry.parser(stored.account).parse(inbound))
            row.marks = [
                event_marks(self.store.vault, one, row.account, self.registry.shop_of(row.account, one.shop))
                for one in row.events
            ]
        except Erased:
            batch.settle(row, None, "the raw body was erased before it was routed")
            return None
        except Exception as error:  # noqa: BLE001 - a plugin's fault parks its row, never the others
            self._park_in(batch, stored, "parse", error)
            return None
        return row

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

    def _load(self, batch: Batch, rows: list[Row]) -> None:
        marks = list({mark for row in rows for many in row.marks for _, mark in many})
        keys = [key for row in rows for one in row.events if (key := self._event_key(row, one))]
        found, batch.known = self.store.read(
            lambda conn: (case_store.by_keys(conn, marks), case_store.known_events(conn, list(set(keys))))
        )
        for one in sorted(found, key=lambda each: (each.open, each.opened_at), reverse=True):
            batch.by_mark.setdefault(one.k, []).append(one.case_id)
        wanted = {one.case_id for one in found} | {row.case_id for row in rows if row.case_id}
        wanted |= {ref.value for row in rows for many in row.marks for ref, _ in many if ref.kind is RefKind.CASE}
        self._load_cases(batch, wanted)
        buyers = {
            self._buyer_mark(shop, buyer)
            for row in rows
            for one in row.events
            if (buyer := _buyer_of(one)) and (shop := self.registry.shop_of(row.account, one.shop))
        }
        buyers |= {one.buyer for one in batch.works.values() if one.buyer}
        self._load_buyers(batch, [one for one in buyers if one])

    def _load_buyers(self, batch: Batch, marks: list[bytes]) -> None:
        if marks:
            batch.buyers, batch.earlier = self.store.read(
                lambda conn: (case_store.keys_of_buyers(conn, marks), case_store.history(conn, marks))
            )
            self.store.keys_for(set(batch.buyers.values()))

    def _load_cases(self, batch: Batch, ids: set[str]) -> None:
        ids -= batch.works.keys()
        if not ids:
            return
        at_hand = {one for one in ids if one in self.cache}
        current = self.store.read(lambda conn: case_store.versions(conn, list(at_hand)))
        for case_id in at_hand:
            if current.get(case_id) == self.cache[case_id].version:
                batch.works[case_id] = self.cache[case_id]
            else:
                del self.cache[case_id]
        if missing := [one for one in ids if one not in batch.works]:
            self._load_stored(batch, missing)
        merged = {one.case.merged_into for one in batch.works.values() if one.case.merged_into}
        self._load_cases(batch, {one for one in merged if one})

    def _load_stored(self, batch: Batch, ids: list[str]) -> None:
        rows, ledger = self.store.read(lambda conn: (case_store.rows(conn, ids), outbox_store.ledgers(conn, ids)))
        self.store.keys_for({one.key_id for one in rows})
        for one in rows:
            try:
                case = Case.model_validate_json(self.store.vault.open(one.key_id, one.doc))
            except Erased:
                continue
            batch.works[one.id] = Work(
                self.world,
                self.registry.shops.get(one.shop) or Shop(name=one.shop),
                case,
                one.version,
                one.seq,
                one.chain,
                one.key_id,
                one.created_at,
                {},
                one.first_reply_at,
                one.flag,
                one.buyer,
            )
        for one in ledger:
            if work := batch.works.get(one.case_id):
                work.entries[one.key] = Entry(
                    one.state,
                    one.type,
                    one.account,
                    one.needs,
                    one.replaces,
                    one.created_at,
                    one.depth,
                    one.proposer,
                    one.digest,
                    None,
                    (one.key_id, one.doc),
                )
        for one in self.store.read(lambda conn: outbox_store.granted(conn, ids)):
            if work := batch.works.get(one.case_id):
                work.granted[one.key] = frozenset(one.rules.split())

    # -- route one row --------------------------------------------------------------------------------------------

    def _route_row(self, batch: Batch, row: Row, stored: Any) -> None:
        case_id: str | None = row.case_id
        note = None
        try:
            for event, marks in zip(row.events, row.marks, strict=True):
                try:
                    if isinstance(event, Commanded):
                        case_id, note = commands.carry_out(self, batch, row, event)
                    else:
                        case_id = self._route_event(batch, row, event, marks) or case_id
                except Waiting as waiting:
                    self._wait(batch, row, stored, event, waiting)
        except CommandError as error:
            batch.settle(row, row.case_id, str(error), "refused")
        except Exception as error:
            touched = [one.case.id for one in batch.works.values() if one.inbox_id == row.id and one.version]
            raise RowFailed(row.id, error, touched) from error
        else:
            if row.id not in {*(one for one, _ in batch.waits), *(one["row"] for one in batch.later)}:
                batch.settle(row, case_id, note)

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
        events: list[Event],
        account: str,
        dedupe: str,
        *,
        depth: int = 0,
        case_id: str | None = None,
        kind: str = "event",
    ) -> dict[str, Any]:
        """An inbox row of normalised events, sealed with the day's key."""
        key_id, now = self.store.day_key(), self.store.clock.micros()
        return event_row(self.store.vault, key_id, events, account, dedupe, now, depth, case_id, kind)

    def _route_event(self, batch: Batch, row: Row, event: Event, marks: list[tuple[Any, bytes]]) -> str | None:
        key = self._event_key(row, event)
        if key is not None and (key in batch.known or key in batch.seen):
            return None
        work = self._find(batch, row, event, marks)
        if work is None and row.case_id:
            return None  # it was about a case whose buyer was erased since
        if work is None:
            work = self._open(batch, row, event)
        work.begin(batch.changes, self._now(batch), row.depth, row.id)
        self._know_buyer(batch, work, event)
        keys_before = len(batch.changes.keys)
        work.apply(event, row.account)
        for one in batch.changes.keys[keys_before:]:
            if one["strong"] and self._names_another(batch, work, one["k"]):
                batch.changes.keys.remove(one)
            else:
                batch.by_mark.setdefault(one["k"], []).insert(0, work.case.id)
        if key is not None:
            batch.seen.add(key)
        return work.case.id

    def _names_another(self, batch: Batch, work: Work, mark: bytes) -> bool:
        """Whether the name belongs to a case that was not absorbed, because it is closed."""
        found = (self._living(batch, one) for one in batch.by_mark.get(mark, ()))
        return any(one is not None and one is not work for one in found)

    def _now(self, batch: Batch) -> datetime:
        return moment(batch.now)

    def _event_key(self, row: Row, event: Event) -> bytes | None:
        """What makes the event count once; the bridge's own events are unique by their inbox row."""
        if isinstance(event, OWN):
            return None
        return self.store.vault.mark("event", row.account, event.key)

    def _find(self, batch: Batch, row: Row, event: Event, marks: list[tuple[Any, bytes]]) -> Work | None:
        if row.case_id:
            return self._living(batch, row.case_id)
        strong = self._strong(batch, marks)
        if len(strong) > 1:
            return absorb(self, batch, strong)
        if strong:
            return strong[0]
        weak = [
            work
            for ref, mark in marks
            if not ref.strong
            for one in batch.by_mark.get(mark, ())
            if (work := self._living(batch, one))
        ]
        fitting = [one for one in weak if not _contradicts(one.case, marks)]
        newest = max((one for one in fitting if one.case.open), key=lambda one: one.case.opened_at, default=None)
        if newest is None and not opens(event):
            newest = max(fitting, key=lambda one: one.case.opened_at, default=None)
        if newest is None and not opens(event):
            raise Waiting(
                [mark for _, mark in marks],
                f"no case knows {', '.join(sorted({ref.kind for ref, _ in marks})) or 'it'} yet",
            )
        return newest

    def _strong(self, batch: Batch, marks: list[tuple[Any, bytes]]) -> list[Work]:
        found: dict[str, Work] = {}
        for ref, mark in marks:
            ids = [ref.value] if ref.kind is RefKind.CASE else batch.by_mark.get(mark, ()) if ref.strong else ()
            for one in ids:
                if work := self._living(batch, one):
                    found.setdefault(work.case.id, work)
        return sorted(found.values(), key=lambda one: (one.case.opened_at, one.case.id))

    def _living(self, batch: Batch, case_id: str) -> Work | None:
        work = batch.works.get(case_id)
        while work is not None and work.case.merged_into:
            work = batch.works.get(work.case.merged_into)
        return work

    def _open(self, batch: Batch, row: Row, event: Event) -> Work:
        shop = self.registry.shop_of(row.account, event.shop)
        if shop is None:
            serving = ", ".join(self.registry.of_account.get(row.account, ())) or "none"
            raise LookupError(
                f"the event does not say which shop it belongs to; "
                f"[{self.registry.kinds.get(row.account, '?')}.{row.account}] serves: {serving}. "
                "Name it as a shop's marketplace or among its sources"
            )
        self._not_ours(batch, row, event)
        case = Case(
            id=new_case_id(self._now(batch)),
            shop=shop,
            marketplace=row.account,
            source=row.account,
            opened_at=event.at,
            updated_at=event.at,
        )
        key_id, key_row = self._case_key(batch, shop, event)
        if key_row:
            batch.key_rows.append(key_row)
        work = Work(self.world, self.registry.shops[shop], case, 0, 0, b"", key_id, batch.now, {})
        batch.works[case.id] = work
        return work

    def _not_ours(self, batch: Batch, row: Row, event: Event) -> None:
        """An unknown object at an account where we may be creating one right now could be our own: it waits."""
        if isinstance(event, MessageReceived) and event.refs:
            busy = self.store.read(lambda conn: outbox_store.creating(conn, {row.account}))
            if busy:
                raise Waiting(
                    [mark for _, mark in event_marks(self.store.vault, event, row.account, None)],
                    "our own write may have made it",
                    again=True,
                )

    def _case_key(self, batch: Batch, shop: str, event: Event) -> tuple[str, dict[str, Any] | None]:
        mark = self._buyer_mark(shop, _buyer_of(event))
        if mark and mark in batch.buyers:
            return batch.buyers[mark], None
        key_id = f"k:{secrets.token_hex(8)}"
        if mark:
            batch.buyers[mark] = key_id
        return key_id, self.store.vault.make(key_id, mark, batch.now)

    def _buyer_mark(self, shop: str, buyer: Buyer | None) -> bytes | None:
        name = buyer and (buyer.id or (buyer.email or "").casefold() or buyer.phone)
        return self.store.vault.mark("buyer", shop, name) if name else None

    def _know_buyer(self, batch: Batch, work: Work, event: Event) -> None:
        mark = self._buyer_mark(work.shop.name, _buyer_of(event))
        if mark is None or work.buyer is not None:
            return
        work.buyer = mark
        batch.linked.append({"key": work.key_id, "mark": mark})
        earlier = tuple(one for one in batch.earlier.get(mark, ()) if one != work.case.id)[:20]
        batch.earlier.setdefault(mark, []).insert(0, work.case.id)
        if earlier:
            work.case = work.case.model_copy(update={"previous": earlier})

    def _effect_taken(self, account: str, effect: str) -> bool:
        pair = (account, effect)
        if any(one["account"] == account and one["effect"] == effect for one in self._batch.changes.outbox):
            return True
        return bool(self.store.read(lambda conn: outbox_store.effects_taken(conn, {pair})))

    def _messages(self, case_id: str) -> list[Event]:
        """What was written to the case after it was opened: policies that waited for a fact have not seen it."""
        stored = self.store.read(lambda conn: case_store.entries(conn, case_id))
        rows = [(one.seq, one.type, one.key_id, one.doc) for one in stored]
        fresh = [one for one in self._batch.changes.timeline if one["case_id"] == case_id]
        rows += [(one["seq"], one["type"], one["key_id"], one["doc"]) for one in fresh]
        vault = self.store.vault
        return [
            EVENTS.validate_json(vault.open(key, doc))
            for seq, type_, key, doc in rows
            if type_ == "message.received" and seq > 1
        ]

    def _facts_for(self, case: Case, shop: Shop, now: datetime) -> Mapping[str, Any]:
        if not self._facts:
            return {}
        found: dict[str, Any] = {}
        for name, fact in self._facts.items():
            if name == "buyer_history":
                found[name] = list(case.previous)
            elif name == "case_rate":
                found[name] = self._rate(shop.name, fact.by or "issue", fact.hours or 24, now)
        return found

    def _rate(self, shop: str, by: str, hours: int, now: datetime) -> dict[str, int]:
        """Counted once a minute for each shop, not once for each case."""
        slot = (shop, by, hours, micros(now) // 60_000_000)
        if slot not in self._rates:
            since = micros(now - timedelta(hours=hours))
            self._rates = {slot: self.store.read(lambda conn: case_store.rate(conn, shop, since, by))}
        return self._rates[slot]

    # -- write ----------------------------------------------------------------------------------------------------

    def _write(self, conn: Connection, batch: Batch) -> None:
        changes = batch.changes
        store_keys(conn, batch.key_rows)
        inbox_store.done(conn, batch.done)
        case_store.add_seen(conn, batch.seen, batch.now)
        self._write_cases(conn, batch)
        case_store.add_keys(conn, list({(one["k"], one["case_id"]): one for one in changes.keys}.values()))
        case_store.link_keys(conn, batch.linked)
        case_store.add_timeline(conn, changes.timeline)
        case_store.add_messages(conn, changes.messages)
        outbox_store.add(conn, changes.outbox)
        outbox_store.change(conn, changes.moved)
        case_store.set_deadlines(conn, changes.deadlines)
        _park(conn, batch.parked, None, batch.now)
        inbox_store.later(conn, batch.later)
        for row_id, keys in batch.waits:
            inbox_store.wait_for(conn, row_id, keys)
        if changes.keys:
            inbox_store.queue_waiting(conn, [one["k"] for one in changes.keys], batch.now)
        inbox_store.add(conn, batch.inbox)
        for one in changes.alerts:
            ops.alert(conn, one["key"], one["text"], batch.now, account=one["account"], case_id=one["case_id"])
        for job in batch.extra:
            job(conn)
        if changes.moved:
            outbox_store.void_approvals(conn, list({one["case"] for one in changes.moved}))
        outbox_store.add_approvals(conn, [dict(one) for one in changes.approvals])

    def _write_cases(self, conn: Connection, batch: Batch) -> None:
        new, changed = [], []
        for work in batch.works.values():
            if not work.dirty:
                continue
            row = self._case_row(work)
            if work.version == 0:
                new.append(row)
            else:
                changed.append(case_store.as_update(row, work.version))
        case_store.write(conn, new, changed)

    def _case_row(self, work: Work) -> dict[str, Any]:
        case = work.case
        return {
            "id": case.id,
            "shop": case.shop,
            "version": work.version + 1,
            "kind": case.kind.value,
            "issue": case.issue.value if case.issue else None,
            "level": case.level,
            "status": case.status.value,
            "open": case.open,
            "opened_at": micros(case.opened_at),
            "updated_at": micros(case.updated_at),
            "created_at": work.created_at,
            "first_reply_at": work.first_reply_at,
            "flag": work.flag,
            "buyer": work.buyer,
            "seq": work.seq,
            "chain": work.chain,
            "merged_into": case.merged_into,
            "key_id": work.key_id,
            "doc": self.store.vault.seal(
                work.key_id, case.model_dump_json(by_alias=True, exclude_defaults=True).encode()
            ),
        }


class RowFailed(Exception):
    """Routing one row failed: the batch is computed again without it."""

    def __init__(self, row: int, error: Exception, cases: Sequence[str]) -> None:
        super().__init__(str(error))
        self.row, self.error, self.cases = row, error, cases


class Waiting(Exception):
    """No case knows the event yet; ``again`` asks to look soon, because no new name may come."""

    def __init__(self, keys: list[bytes], reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.keys, self.again = keys, again


def told(error: Exception) -> str:
    """What went wrong, without the values that pydantic quotes and without personal data."""
    if isinstance(error, ValidationError):
        return "; ".join(explain(error, error.title))
    return f"{type(error).__name__}: {mask(str(error))}"


def _park(
    conn: Connection,
    rows: list[dict[str, Any]],
    account: str | None,
    now: int,
    cases: Sequence[str] = (),
) -> None:
    inbox_store.park(conn, rows)
    for one in rows if cases else ():
        case_store.flag(conn, cases, case_store.parked(one["row"]))
    if account:
        ops.alert(
            conn, f"parked:{account}", f"an event of {account} is parked: {rows[0]['said'][:200]}", now, account=account
        )


def _buyer_of(event: Event) -> Buyer | None:
    return event.buyer if isinstance(event, CaseRequested | MessageReceived | OrderSeen) else None


def _contradicts(case: Case, marks: list[tuple[Any, bytes]]) -> bool:
    """Whether event and case name different objects of a kind that a case has only one of."""
    for kind in IDENTIFYING:
        theirs = {ref.value for ref, _ in marks if ref.kind is kind}
        ours = {ref.value for ref in case.refs if ref.kind is kind}
        if theirs and ours and not theirs & ours:
            return True
    return False


def event_row(
    vault: Vault,
    key_id: str,
    events: list[Event],
    account: str,
    dedupe: str,
    now: int,
    depth: int = 0,
    case_id: str | None = None,
    kind: str = "event",
) -> dict[str, Any]:
    """An inbox row of normalised events."""
    body = MANY.dump_json(events, by_alias=True, exclude_none=True)
    return {
        "account": account,
        "dedupe": inbox_store.digest(dedupe.encode()),
        "digest": inbox_store.digest(body),
        "lane": inbox_store.lane_of(account, case_id),
        "kind": kind,
        "received_at": now,
        "due_at": 0,
        "depth": depth,
        "key_id": key_id,
        "body": vault.seal(key_id, inbox_store.pack({}, body)),
        "case_id": case_id,
    }


ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_case_id(now: datetime) -> str:
    """A short id that sorts by time: ``C`` with six letters of time and five of chance."""
    seconds, chance = int(now.timestamp()) - 1_700_000_000, secrets.randbits(25)
    time = "".join(ALPHABET[(seconds >> shift) & 31] for shift in (25, 20, 15, 10, 5, 0))
    return f"C{time}{''.join(ALPHABET[(chance >> shift) & 31] for shift in (20, 15, 10, 5, 0))}"
