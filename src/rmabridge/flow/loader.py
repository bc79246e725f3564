"""Reading for a batch: events out of inbox rows, and the cases, keys and buyers that they name."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from ..abilities import Inbound, Shop
from ..model import (
    Buyer,
    Case,
    CaseRequested,
    ClaimSeen,
    Commanded,
    CoverageSeen,
    DeadlineReached,
    Event,
    MessageReceived,
    OrderSeen,
    ParcelSeen,
    RefKind,
    Settled,
)
from ..registry import Registry
from ..store import buyers as buyer_store
from ..store import cases as case_store
from ..store import inbox as inbox_store
from ..store import outbox as outbox_store
from ..store.buyers import ERASED, newest, words
from ..store.store import Store
from ..store.tables import moment
from ..store.vault import Erased
from .batch import MANY, Batch, Row
from .work import Work
from .world import Entry, World, event_marks

OWN: Final = (Settled, DeadlineReached, Commanded)
ASKED_FOR: Final = (ParcelSeen, ClaimSeen, CoverageSeen)
CACHED: Final = 400


class Loader:
    """Reads in bulk, and keeps the latest cases at hand; their version says whether they are still right."""

    def __init__(self, store: Store, registry: Registry, world: World) -> None:
        self.store, self.registry, self.world = store, registry, world
        self.cache: OrderedDict[str, Work] = OrderedDict()

    def read(self, stored: Any) -> Row:
        """The row with its events and their names; a raw body goes through its account's ``parse``."""
        row = Row(
            stored.id, stored.account, stored.kind, stored.received_at, stored.depth, stored.claims, stored.case_id
        )
        meta, body = inbox_store.unpack(self.store.vault.open(stored.key_id, stored.body))
        row.trace = meta.pop(inbox_store.TRACE, None)
        if stored.kind in {"event", "command"}:
            row.events = MANY.validate_json(body)
        else:
            inbound = Inbound(stored.account, body, meta, moment(stored.received_at))
            row.events = list(self.registry.parser(stored.account).parse(inbound))
        row.marks = [
            event_marks(self.store.vault, one, row.account, self.registry.shop_of(row.account, one.shop))
            for one in row.events
        ]
        return row

    def load(self, batch: Batch, rows: list[Row]) -> None:
        """What the rows name: cases, known events, buyers; a few queries for the whole batch."""
        marks = list({mark for row in rows for many in row.marks for _, mark in many})
        keys = [key for row in rows for one in row.events if (key := self.event_key(row, one))]
        found, batch.known = self.store.read(
            lambda conn: (case_store.by_keys(conn, marks), case_store.known_events(conn, list(set(keys))))
        )
        batch.found.update((one.k, one.case_id) for one in found)
        for one in sorted(found, key=lambda each: (each.open, each.opened_at), reverse=True):
            batch.by_mark.setdefault(one.k, []).append(one.case_id)
        wanted = {one.case_id for one in found} | {row.case_id for row in rows if row.case_id}
        wanted |= {ref.value for row in rows for many in row.marks for ref, _ in many if ref.kind is RefKind.CASE}
        self.cases(batch, wanted)
        buyers = {
            self.buyer_mark(shop, buyer)
            for row in rows
            for one in row.events
            if (buyer := buyer_of(one)) and (shop := self.registry.shop_of(row.account, one.shop))
        }
        named = [one for one in buyers if one]
        self._load_buyers(batch, named, [*{*named, *(one.buyer for one in batch.works.values() if one.buyer)}])

    def _load_buyers(self, batch: Batch, named: list[bytes], marks: list[bytes]) -> None:
        if named:
            batch.earlier = self.store.read(lambda conn: case_store.history(conn, named))
        if marks:
            keys = self.store.read(lambda conn: buyer_store.keys(conn, marks))
            batch.buyers = {one.buyer: one.id for one in keys}
            for one in keys:
                if one.ways:
                    batch.words[one.buyer] = newest(batch.words.get(one.buyer, {}), words(one.ways))
            self.store.keys_for(set(batch.buyers.values()))

    def cases(self, batch: Batch, ids: set[str]) -> None:
        """Have these cases, and those that absorbed them, in the batch."""
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
        sealed = (one.sealed[0] for work in batch.works.values() for one in work.entries.values() if one.sealed)
        self.store.keys_for({*sealed, *(one.key_id for one in batch.works.values())} - {ERASED})
        merged = {one.case.merged_into for one in batch.works.values() if one.case.merged_into}
        self.cases(batch, {one for one in merged if one})

    def _load_stored(self, batch: Batch, ids: list[str]) -> None:
        rows, ledger = self.store.read(lambda conn: (case_store.rows(conn, ids), outbox_store.ledgers(conn, ids)))
        self.store.keys_for({one.key_id for one in rows} - {ERASED})
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
                back = one.withdrawn is not None and one.state in {"sending", "due"}
                work.entries[one.key] = Entry(
                    "cancelled" if back else one.state,
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

    def living(self, batch: Batch, case_id: str) -> Work | None:
        """The case, or the one that absorbed it."""
        work = batch.works.get(case_id)
        while work is not None and work.case.merged_into:
            work = batch.works.get(work.case.merged_into)
        return work

    def remember(self, work: Work) -> None:
        """Keep a written case at hand: its results are soon to come."""
        work.dirty = False
        for entry in work.entries.values():
            entry.rest()
        self.cache[work.case.id] = work
        self.cache.move_to_end(work.case.id)
        if len(self.cache) > CACHED:
            self.cache.popitem(last=False)

    def event_key(self, row: Row, event: Event) -> bytes | None:
        """What makes the event count once; the bridge's own events are unique by their inbox row."""
        if isinstance(event, OWN):
            return None
        # What a case asked for is its own news, though another case of the same parcel heard the same before.
        asked = row.case_id if row.case_id and isinstance(event, ASKED_FOR) else ""
        return self.store.vault.mark("event", row.account, f"{asked}:{event.key}" if asked else event.key)

    def buyer_mark(self, shop: str, buyer: Buyer | None) -> bytes | None:
        """The keyed hash by which a shop's buyer is found again."""
        name = buyer and (buyer.id or (buyer.email or "").casefold() or buyer.phone)
        return self.store.vault.mark("buyer", shop, name) if name else None


def buyer_of(event: Event) -> Buyer | None:
    """The buyer that an event tells of."""
    return event.buyer if isinstance(event, CaseRequested | MessageReceived | OrderSeen) else None
