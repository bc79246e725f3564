"""Requests and orders as events, under the same keys whichever way they came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from rmabridge.errors import Malformed
from rmabridge.model import (
    Buyer,
    CaseRequested,
    Event,
    EvidenceAdded,
    EvidenceKind,
    Issue,
    Line,
    Noted,
    OrderSeen,
    Parcel,
    ParcelSeen,
    Ref,
    RefKind,
    RefundSeen,
    RefundStatus,
    RequestChanged,
    RequestStatus,
)
from rmabridge.wire.bodies import dig, read_object
from rmabridge.wire.signing import digest_hex

from .facts import Facts, pushed
from .orders import buyer, order, parcels
from .terms import OPEN, code, issue, moment, number, table

_CHANGED_MIND: Final = "208"
_PAID: Final = "3"


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads Doudian's objects; ``tags`` are the operator's own meanings of pushed messages."""

    shop: str = ""
    locale: str | None = None
    own: Mapping[str, Issue] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def messages(self, pushed_: list[Any], at: datetime) -> Iterator[Event]:
        """The events of a batch of pushed messages, each once; one that cannot be read takes no other with it."""
        seen: set[str] = set()
        known = table("tags") | dict(self.tags)
        unread: Malformed | None = None
        for one in pushed_:
            try:
                told = list(self._message(one, known, at))
            except Malformed as error:
                unread = error
                continue
            for event in told:
                if event.key not in seen:
                    seen.add(event.key)
                    yield event
        if unread is not None and not seen:
            raise unread

    def _message(self, message: Any, known: Mapping[str, str], at: datetime) -> Iterator[Event]:
        tag = code(dig(message, "tag"))
        if tag not in known:
            return
        data = dig(message, "data")
        data = read_object(data.encode("utf-8", "replace")) if isinstance(data, str) else data
        if not isinstance(data, dict):
            raise Malformed("a message holds no data")
        if number(data.get("shop_id")) not in ("", self.shop) or not (facts := pushed(data)).id:
            return
        told = RequestStatus(known[tag]) if known[tag] else facts.status
        if tag == _CHANGED_MIND:
            facts = replace(facts, applied=facts.changed)
        if told is RequestStatus.CLOSED:
            facts = replace(facts, refund=_PAID)
        again = facts.changed.isoformat() if tag == _CHANGED_MIND and facts.changed else ""
        yield from self.request(facts, at, told, opens=known[tag] == RequestStatus.REQUESTED, again=again)
        if note := table("notes").get(tag):
            yield self._noted(facts, at, f"{tag}:{facts.arbitration}", note)

    def request(
        self,
        facts: Facts,
        at: datetime,
        told: RequestStatus | None = None,
        *,
        opens: bool = True,
        again: str = "",
        read: str = "",
    ) -> Iterator[Event]:
        """A request as it stands; an ended one opens no case. ``again`` and ``read`` tell statements of it apart."""
        # Times are whole seconds, and a request may pass several statuses in one: the further one is the later.
        when = (facts.changed or at) + timedelta(microseconds=int(facts.state[:3] or 0))
        now = told or facts.status
        if opens and now in OPEN:
            yield self.requested(facts, at, again or read)
            yield from self._pictures(facts, at)
        if now:
            yield self.changed(facts, when, now, read)
        if facts.back:
            yield _returned(facts, facts.back, when)
        if found := table("refunds").get(facts.refund):
            yield self._money(facts, when, RefundStatus(found))

    def requested(self, facts: Facts, at: datetime, again: str = "") -> CaseRequested:
        """A buyer asks; asking for something else on the same request counts anew, and so does a fuller reading."""
        line = Line(
            id=facts.line,
            order_line=facts.line,
            sku=facts.sku,
            quantity=facts.pieces,
            reason=facts.reason,
            note=facts.note,
        )
        return CaseRequested(
            key=f"{_key(facts)}:requested" + (f":{again}" if again else ""),
            at=facts.applied or facts.changed or at,
            refs=_refs(facts),
            kind=facts.kind,
            issue=Issue.PRICE_ADJUSTMENT if facts.price_kept else issue(facts.reason, self.own),
            reason=facts.reason,
            note=facts.note,
            lines=(line,) if facts.line else (),
            amount=facts.amount,
            buyer=Buyer(locale=self.locale),
        )

    def full(self, facts: Facts, at: datetime) -> Iterator[Event]:
        """A listed request that was read in full; one that was changed since is a new statement of what is asked."""
        if facts.changed and facts.changed != facts.applied:
            yield from self.request(replace(facts, applied=facts.changed), at, again=facts.changed.isoformat())
        else:
            yield from self.request(facts, at)

    def read(self, facts: Facts, at: datetime, key: str) -> Iterator[Event]:
        """A request read again after a push told of it: a push has no reason and no deadline, so this goes before."""
        fuller = replace(facts, applied=(facts.applied or at) + timedelta(microseconds=1))
        yield from self.request(fuller, at, read=key)
        if words := table("arbitration").get(facts.arbitration):
            yield self._noted(facts, at, f"status:{facts.arbitration}", words)

    def changed(self, facts: Facts, when: datetime, now: RequestStatus, read: str = "") -> RequestChanged:
        """Where the request stands, and until when the seller must act."""
        stamp = facts.changed.isoformat() if facts.changed else ""
        return RequestChanged(
            key=f"{_key(facts)}:{now}:{facts.state}:{stamp}" + (f":{read}" if read else ""),
            at=when,
            refs=_refs(facts),
            status=now,
            amount=facts.amount,
            due_at=facts.due if now is RequestStatus.REQUESTED else None,
        )

    def _pictures(self, facts: Facts, at: datetime) -> Iterator[EvidenceAdded]:
        for url in dict.fromkeys(facts.pictures):
            name = digest_hex(url.encode("utf-8", "replace"))[:16]
            yield EvidenceAdded(
                key=f"{_key(facts)}:picture:{name}",
                at=facts.applied or at,
                refs=_refs(facts),
                evidence=f"{facts.id}-{name}",
                kind=EvidenceKind.PHOTO,
                url=url,
            )

    def _money(self, facts: Facts, when: datetime, status: RefundStatus) -> RefundSeen:
        refund = Ref(kind=RefKind.REFUND, value=facts.id)
        return RefundSeen(
            key=f"{_key(facts)}:money:{status}",
            at=when + timedelta(microseconds=int(facts.refund[:3] or 0)),
            refs=(*_refs(facts), refund),
            refund=facts.id,
            amount=facts.amount,
            status=status,
        )

    def _noted(self, facts: Facts, at: datetime, stage: str, words: str) -> Noted:
        key = f"{_key(facts)}:arbitration:{stage}"
        return Noted(key=key, at=facts.changed or at, refs=_refs(facts), text=words, by="douyin")

    def order(self, node: Any, key: str, at: datetime) -> OrderSeen | None:
        """The order as it is now, with buyer and parcels."""
        if not (id_ := number(dig(node, "order_id"))):
            return None
        return OrderSeen(
            key=key,
            at=moment(node, "update_time", "create_time") or at,
            refs=(Ref(kind=RefKind.ORDER, value=id_),),
            order=order(id_, node),
            buyer=buyer(node, self.locale),
            parcels=tuple(parcels(node)),
        )


def _returned(facts: Facts, made: Parcel, when: datetime) -> ParcelSeen:
    """The buyer sent the goods back."""
    waybill = Ref(kind=RefKind.WAYBILL, value=made.waybill)
    key, at = f"{_key(facts)}:parcel:{made.waybill}", made.shipped_at or when
    return ParcelSeen(key=key, at=at, refs=(*_refs(facts), waybill), parcel=made)


def _key(facts: Facts) -> str:
    return f"aftersale:{facts.id}"


def _refs(facts: Facts) -> tuple[Ref, ...]:
    """The request's name, then the order's."""
    named = (Ref(kind=RefKind.RETURN, value=facts.id),)
    return (*named, Ref(kind=RefKind.ORDER, value=facts.order)) if facts.order else named
