"""What policies are told beside the case: facts of other cases, loaded for all and stored with the verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from ..abilities import Fact, Shop
from ..model import EVENTS, Case, Event, Incident, Merged, Money, RefKind
from ..registry import Registry
from ..store import cases as case_store
from ..store import outbox as outbox_store
from ..store.store import Store
from ..store.tables import micros
from .batch import Batch

MOST_EARLIER: Final = 5


class Supplied(Mapping[str, Any]):
    """The facts of one case, found when they are asked for."""

    __slots__ = ("_case", "_facts", "_now", "_shop")

    def __init__(self, facts: Facts, case: Case, shop: Shop, now: datetime) -> None:
        self._facts, self._case, self._shop, self._now = facts, case, shop, now

    def __getitem__(self, name: str) -> Any:
        return self._facts.find(self._facts.declared[name], self._case, self._shop, self._now)

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts.declared)

    def __len__(self) -> int:
        return len(self._facts.declared)


class Facts:
    """Looks into the store and into the ``batch`` that is being computed."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store = store
        self.batch = Batch(0)
        self.declared = {fact.name: fact for one in registry.policies for fact in one.policy.facts}
        self._rates: dict[tuple[str, str, int, int], dict[str, int]] = {}

    def effect_taken(self, account: str, effect: str) -> bool:
        """Whether a money-moving effect is in the ledger of any case."""
        pair = (account, effect)
        if any(one["account"] == account and one["effect"] == effect for one in self.batch.changes.outbox):
            return True
        return bool(self.store.read(lambda conn: outbox_store.effects_taken(conn, {pair})))

    def messages(self, case_id: str) -> list[Event]:
        """What was written to the case: policies that waited for a fact have not seen it. (A single message that opened
        the case is on it in full.)"""
        stored = self.store.read(lambda conn: case_store.entries(conn, case_id))
        rows = [(one.seq, one.type, one.key_id, one.doc) for one in stored]
        fresh = [one for one in self.batch.changes.timeline if one["case_id"] == case_id]
        rows += [(one["seq"], one["type"], one["key_id"], one["doc"]) for one in fresh]
        vault = self.store.vault
        told = [one for one in rows if one[1] in {"message.received", "case.merged"}]
        if len(told) == 1 and told[0][0] == 1:
            return []
        self.store.keys_for({key for _, _, key, _ in told})
        events = [EVENTS.validate_json(vault.open(key, doc)) for _, _, key, doc in told]
        absorbed = {one.case for one in events if isinstance(one, Merged) and one.key == f"merged:{one.case}"}
        theirs = [event for one in sorted(absorbed) for event in self.messages(one)]
        return [*theirs, *(one for one in events if not isinstance(one, Merged))]

    def supplied(self, case: Case, shop: Shop, now: datetime) -> Mapping[str, Any]:
        """The facts that the policies declared, for one case."""
        return Supplied(self, case, shop, now)

    def find(self, fact: Fact, case: Case, shop: Shop, now: datetime) -> Any:
        """One of them."""
        hours = fact.hours or 24
        match fact.name:
            case "buyer_history":
                return list(case.previous)
            case "given":
                return partial(self._given, case.id, micros(now - timedelta(hours=hours)))
            case "earlier":
                return partial(self._cases, case.previous[:MOST_EARLIER])
            case "incidents":
                return partial(self._incidents, shop.name)
            case "case_rate":
                return self._rate(shop.name, fact.by or "issue", hours, now)
            case _:
                raise KeyError(fact.name)

    def _given(self, case_id: str, since: int, proposer: str, but: str = "") -> list[Money]:
        """What the proposer gives in all cases, this batch included; ``but`` is the action that is being judged."""
        stored = self.store.read(lambda conn: outbox_store.spent(conn, proposer, since))
        if "@" not in proposer:  # a person, whose limit holds for all processes together, to the cent
            self.batch.given[proposer, since] = frozenset(map(tuple, stored))
        fresh = [
            (one["case_id"], one["key"], one["amount"], one["currency"])
            for one in self.batch.changes.outbox
            if one["money"] and one["proposer"] == proposer and one["state"] in outbox_store.SPENT
        ]
        found = {(case, key): (amount, currency) for case, key, amount, currency in (*stored, *fresh)}
        found.pop((case_id, but), None)
        return [Money(amount=Decimal(amount), currency=currency) for amount, currency in found.values() if amount]

    def _cases(self, ids: Sequence[str]) -> list[Case]:
        """These cases, as far as they can still be read, in the order of the ids."""
        fresh = {one: self.batch.works[one].case for one in ids if one in self.batch.works}
        rows = self.store.read(lambda conn: case_store.rows(conn, [one for one in ids if one not in fresh]))
        self.store.keys_for({one.key_id for one in rows})
        vault = self.store.vault
        stored = {
            one.id: Case.model_validate_json(vault.open(one.key_id, one.doc)) for one in rows if vault.knows(one.key_id)
        }
        known = fresh | stored
        return [known[one] for one in ids if one in known]

    def _incidents(self, shop: str, topic: str) -> list[Incident]:
        """The newest incidents of a topic in the shop, those of this batch included."""
        name = self.store.vault.mark(f"shop:{shop}", RefKind.INCIDENT, topic)
        ids = self.store.read(lambda conn: case_store.latest_by_key(conn, name, MOST_EARLIER))
        fresh = [one.case for one in self.batch.works.values() if one.shop.name == shop]
        found = {
            one.incident.id: one.incident
            for one in (*fresh, *self._cases(ids))
            if one.incident and one.incident.topic == topic
        }
        return sorted(found.values(), key=lambda one: (one.opened_at, one.id), reverse=True)

    def _rate(self, shop: str, by: str, hours: int, now: datetime) -> dict[str, int]:
        """Counted once a minute for each shop, not once for each case."""
        slot = (shop, by, hours, micros(now) // 60_000_000)
        if slot not in self._rates:
            since = micros(now - timedelta(hours=hours))
            self._rates = {slot: self.store.read(lambda conn: case_store.rate(conn, shop, since, by))}
        return self._rates[slot]
