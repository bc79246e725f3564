"""Notifications and returns as events, under the same keys whichever way they came."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

import tomli

from rmabridge.model import (
    Buyer,
    CaseKind,
    CaseRequested,
    Direction,
    Event,
    Issue,
    Line,
    Money,
    Noted,
    Parcel,
    ParcelSeen,
    ParcelStatus,
    Ref,
    RefKind,
    RefundSeen,
    RequestChanged,
    RequestStatus,
)
from rmabridge.wire.amounts import maybe_major
from rmabridge.wire.bodies import dig, read_object, text
from rmabridge.wire.carriers import carrier
from rmabridge.wire.times import maybe_instant
from rmabridge.wire.waybills import normalise

from .notes import Note, folded, id_of
from .orders import buyer, order, order_seen, whole

Row = dict[str, str]
_DAY = re.compile(r"([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
OPEN: Final = frozenset({RequestStatus.REQUESTED, RequestStatus.APPROVED})


@cache
def table(name: str) -> dict[str, str]:
    """One table of the data file."""
    found: dict[str, str] = tomli.loads((files(__package__) / "terms.toml").read_text("utf-8"))[name]
    return found


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the objects of one account, with the operator's own words before the shipped ones."""

    locale: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    statuses: Mapping[str, RequestStatus] = field(default_factory=dict)
    reasons: Mapping[str, Issue] = field(default_factory=dict)
    seller: str | None = None
    marketplace: str | None = None

    def events(self, body: dict[str, Any], at: datetime) -> Iterator[Event]:
        """What a stored thing tells: a return's rows, a notification with its order, or a message of SNS."""
        if "return" in body:
            listed = body["return"]
            rows = [_texts(one) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
            known = [one for one in rows if id_of(one.get("order"))]
            yield from self.returned(known, maybe_instant(body.get("told_at")) or at)
            return
        if "TopicArn" in body and body.get("Type") != "Notification":
            return
        told = body.get("Message") if "TopicArn" in body else body.get("notification", body)
        read = read_object(told.encode("utf-8", "replace")) if isinstance(told, str) else told
        note = Note(folded(read if isinstance(read, dict) else {}))
        if note.order and (self.seller is None or note.ours(self.seller, self.marketplace or "")):
            yield from self.changed(note, body, at)

    def changed(self, note: Note, held: dict[str, Any], at: datetime) -> Iterator[Event]:
        """An order changed: the buyer asks to cancel it, it was cancelled, its parcel comes back."""
        id_, when = note.order or "", maybe_instant(note.at) or at
        refs = (Ref(kind=RefKind.ORDER, value=id_),)
        whose = text(dig(held, "order", "AmazonOrderId")) == id_
        if lines := tuple(_to_cancel(note)):
            reason = next((one for one in _why(held.get("items")) if one), None)
            yield CaseRequested(
                key=f"order:{id_}:cancel",
                at=when,
                refs=refs,
                kind=CaseKind.REFUND,
                issue=Issue.CANCEL_ORDER,
                reason=reason
                or text(dig(note.body, "payload", "orderchangenotification", "orderchangetrigger", "changereason")),
                lines=lines,
                order=order(id_, held) if whose else None,
                buyer=buyer(id_, held.get("order"), self.locale),
            )
        if note.status == "canceled" and (seen := order_seen(held, f"order:{id_}:cancelled", when, self.locale)):
            yield seen
        if words := table("easy_ship").get(note.easy_ship):
            yield Noted(key=f"order:{id_}:easy_ship:{note.easy_ship}", at=when, refs=refs, text=words, by="amazon")

    def named(self, row: Row) -> Row:
        """A row of the report under our own names; what is empty is left out."""
        headings = {**table("columns"), **self.columns}
        return {name: told for name, heading in headings.items() if (told := row.get(heading.lower(), ""))}

    def returned(self, rows: list[Row], at: datetime) -> Iterator[Event]:
        """A return of a seller-fulfilled order, one row for each line; an ended one opens no case."""
        if not rows:
            return
        first = rows[0]
        id_, refs = _name(first), _refs(first)
        now, asked = self._status(first.get("status")), _day(first.get("asked_at"))
        lines = tuple(_line(place, row) for place, row in enumerate(rows, 1))
        if now in OPEN:
            yield CaseRequested(
                key=f"return:{id_}:requested",
                at=asked or at,
                refs=refs,
                kind=CaseKind(table("resolutions").get(_plain(first.get("resolution")), CaseKind.RETURN)),
                issue=self._issue(first.get("reason")),
                reason=first.get("reason"),
                lines=lines,
                buyer=Buyer(thread=first["order"], locale=self.locale),
            )
        if now:
            yield RequestChanged(key=f"return:{id_}:{now}", at=at, refs=refs, status=now, lines=lines)
        yield from _parcel(first, id_, refs, asked or at)
        yield from _refund(rows, id_, refs, at)
        if _plain(first.get("claimed")) in {"y", "yes", "true"}:
            told = "Amazon handles an A-to-z claim about this order"
            yield Noted(key=f"return:{id_}:a-to-z", at=at, refs=refs, text=told, by="amazon")

    def _status(self, told: str | None) -> RequestStatus | None:
        own = {_plain(name): value for name, value in self.statuses.items()}
        found = own.get(_plain(told)) or table("statuses").get(_plain(told))
        return RequestStatus(found) if found else None

    def _issue(self, code: str | None) -> Issue | None:
        """What is wrong, by the code of the reason; the longest part that is found counts, the operator's own first."""
        told = (code or "").upper().replace("-", "_")
        for words in (self.reasons, table("issues")):
            if found := max((one for one in words if one and one.upper() in told), key=len, default=None):
                return Issue(words[found])
        return None


def _texts(row: dict[str, Any]) -> Row:
    return {name: told for name, one in row.items() if isinstance(one, str) and (told := one.strip())}


def _plain(told: str | None) -> str:
    return "".join((told or "").lower().split()).replace("_", "")


def _day(told: str | None) -> datetime | None:
    """``10-Jul-2025`` or a date in any other common form; Amazon gives no hour."""
    found = _DAY.fullmatch(told or "")
    if not found or found[2].lower() not in _MONTHS:
        return maybe_instant(told, "UTC")
    try:
        return datetime(int(found[3]), _MONTHS.index(found[2].lower()) + 1, int(found[1]), tzinfo=UTC)
    except ValueError:
        return None


def _name(row: Row) -> str:
    return id_of(row.get("rma")) or f"{row['order']}:{row.get('asked_at', '')[:40]}"


def _refs(row: Row) -> tuple[Ref, ...]:
    named = (Ref(kind=RefKind.ORDER, value=row["order"]),)
    rma = id_of(row.get("rma"))
    return (Ref(kind=RefKind.RETURN, value=rma), *named) if rma else named


def _line(place: int, row: Row) -> Line:
    return Line(
        id=row.get("line") or f"{place}",
        order_line=row.get("line"),
        sku=row.get("sku") or row.get("asin"),
        quantity=whole(row.get("quantity")),
        reason=row.get("reason"),
    )


def _parcel(row: Row, id_: str, refs: tuple[Ref, ...], at: datetime) -> Iterator[ParcelSeen]:
    """The goods on their way back, and their arrival."""
    if not (waybill := normalise(row.get("waybill", ""))):
        return
    name, back = row.get("carrier"), _day(row.get("delivered_at"))
    known = carrier(name) if name else None
    parcel = Parcel(
        waybill=waybill,
        carrier=known.code if known else None,
        carrier_name=name,
        direction=Direction.BACK,
        status=ParcelStatus.DELIVERED if back else ParcelStatus.PENDING,
        delivered_at=back,
    )
    yield ParcelSeen(
        key=f"return:{id_}:parcel:{waybill}:{parcel.status}",
        at=back or at,
        refs=(*refs, Ref(kind=RefKind.WAYBILL, value=waybill)),
        parcel=parcel,
    )


def _refund(rows: list[Row], id_: str, refs: tuple[Ref, ...], at: datetime) -> Iterator[RefundSeen]:
    """What Amazon says was paid back so far."""
    paid = [one for row in rows if (one := maybe_major(row.get("refunded"), row.get("currency"))) and one.amount > 0]
    if paid and len({one.currency for one in paid}) == 1:
        total = Money.total(paid)
        yield RefundSeen(
            key=f"return:{id_}:refunded:{total.amount:f}", at=at, refs=refs, refund=f"{id_}:refund", amount=total
        )


def _to_cancel(note: Note) -> Iterator[Line]:
    for place, one in enumerate(note.to_cancel, 1):
        id_ = text(one.get("orderitemid"))
        yield Line(
            id=id_ or f"{place}",
            order_line=id_,
            sku=text(one.get("sellersku")),
            quantity=whole(one.get("quantity")),
        )


def _why(items: Any) -> Iterator[str | None]:
    for one in items if isinstance(items, list) else ():
        yield text(dig(one, "BuyerRequestedCancel", "BuyerCancelReason"))
