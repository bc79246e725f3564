"""Returns, inquiries, cases and notifications as events, under the same keys whichever way they came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from rmabridge.model import (
    Author,
    Buyer,
    CaseKind,
    CaseRequested,
    Direction,
    Event,
    Form,
    Issue,
    Line,
    Message,
    MessageReceived,
    Money,
    Noted,
    ParcelSeen,
    ParcelStatus,
    Ref,
    RefKind,
    RefundSeen,
    RequestChanged,
    RequestStatus,
)
from rmabridge.wire.bodies import dig, text

from .orders import parcel
from .terms import CASE, INQUIRY, id_of, issue, moment, money, rows, status, table, whole, word

OPEN: Final = frozenset({RequestStatus.REQUESTED, RequestStatus.APPROVED})
_STEPS: Final = (RequestStatus.REQUESTED, RequestStatus.DECLINED, RequestStatus.APPROVED)
DELETION: Final = "MARKETPLACE_ACCOUNT_DELETION"
_ERASE: Final = "eBay asks that all data of this buyer be deleted, because the account is closed"


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the objects of one seller, with the operator's own words before the shipped ones."""

    locale: str | None = None
    states: Mapping[str, RequestStatus] = field(default_factory=dict)
    reasons: Mapping[str, Issue] = field(default_factory=dict)

    def events(self, body: dict[str, Any], at: datetime) -> Iterator[Event]:
        """What a stored thing tells."""
        if isinstance(body.get("return"), dict):
            yield from self.returned(body, at)
        elif isinstance(body.get("inquiry"), dict):
            yield from self.missing(body["inquiry"], at)
        elif isinstance(body.get("case"), dict):
            yield from self.escalated(body["case"], at)
        elif word(dig(body, "metadata", "topic")) == DELETION:
            yield from _deletion(dig(body, "notification"), at)

    def returned(self, held: dict[str, Any], at: datetime, *, opens: bool = True) -> Iterator[Event]:
        """A return as eBay shows it now, in full where that was read; an ended one opens no case."""
        node, detail = held.get("return") or held.get("detail"), held.get("detail")
        id_ = id_of(dig(node, "returnId"))
        if not id_:
            return
        history = rows(detail, "responseHistory")
        newest = max((seen for one in history if (seen := moment(one.get("creationDate")))), default=None)
        now, refs = status(dig(node, "state"), self.states), _refs(id_, node)
        when = (newest or at) + _further(now)
        lines = tuple(_lines(node, detail))
        if opens and now in OPEN:
            yield self._requested(id_, node, refs, lines, at)
        if now:
            asked, due = _asked(node), moment(dig(node, "sellerResponseDue", "respondByDate"))
            yield RequestChanged(
                key=f"return:{id_}:{word(dig(node, 'state')).lower()}:{now}{_with(newest, asked, due)}"[:200],
                at=when,
                refs=refs,
                status=now,
                lines=lines,
                amount=asked,
                due_at=due,
            )
        if case := id_of(dig(node, "escalationInfo", "caseId")):
            told = f"eBay has stepped in: case {case}"
            yield Noted(key=f"return:{id_}:{CASE}{case}", at=when, refs=refs, text=told, by="ebay")
        yield from self._written(id_, node, history, refs)
        yield from _coming_back(id_, detail, refs, when)
        yield from _refund(id_, node, refs, when)

    def _requested(
        self, id_: str, node: Any, refs: tuple[Ref, ...], lines: tuple[Line, ...], at: datetime
    ) -> CaseRequested:
        made = dig(node, "creationInfo")
        kind = table("kinds").get(word(dig(node, "currentType")) or word(dig(made, "type")), CaseKind.RETURN)
        return CaseRequested(
            key=f"return:{id_}:requested",
            at=moment(dig(made, "creationDate")) or at,
            refs=refs,
            kind=CaseKind(kind),
            issue=issue(dig(made, "reason"), self.reasons),
            reason=text(dig(made, "reason")),
            note=text(dig(made, "comments", "content")),
            lines=lines,
            amount=_asked(node),
            buyer=self._who(dig(node, "buyerLoginName"), id_),
        )

    def _who(self, login: Any, thread: str) -> Buyer:
        return Buyer(id=text(login), thread=thread, locale=self.locale)

    def _written(
        self, id_: str, node: Any, history: list[dict[str, Any]], refs: tuple[Ref, ...]
    ) -> Iterator[MessageReceived]:
        """What the buyer wrote after the request itself."""
        first, seen = text(dig(node, "creationInfo", "comments", "content")), set()
        for one in history:
            at, words = moment(one.get("creationDate")), text(one.get("notes"))
            if word(one.get("author")) != "BUYER" or not at or not words or words == first:
                continue
            name = f"return:{id_}:note:{at.isoformat()}"
            if name in seen:
                continue
            seen.add(name)
            said = Message(id=name, author=Author.BUYER, form=Form.THREAD, text=words, at=at)
            who = self._who(dig(node, "buyerLoginName"), id_)
            yield MessageReceived(key=name, at=at, refs=refs, message=said, buyer=who)

    def missing(self, node: dict[str, Any], at: datetime) -> Iterator[Event]:
        """An inquiry: the buyer says that the item never came."""
        if not (id_ := id_of(node.get("inquiryId"))):
            return
        name, refs = f"{INQUIRY}{id_}", _refs(f"{INQUIRY}{id_}", node)
        state = word(node.get("inquiryStatusEnum") or node.get("inquiryStatus") or node.get("status"))
        ended, asked = "CLOSED" in state, money(node.get("claimAmount"))
        if not ended:
            yield CaseRequested(
                key=f"{name}:requested",
                at=moment(node.get("creationDate")) or at,
                refs=refs,
                kind=CaseKind.REFUND,
                issue=Issue.LOST_PARCEL,
                reason="ITEM_NOT_RECEIVED",
                amount=asked,
                buyer=self._who(node.get("buyer"), name),
            )
        yield _standing(name, node, refs, state, asked, at)

    def escalated(self, node: dict[str, Any], at: datetime) -> Iterator[Event]:
        """A case: eBay itself decides, and nothing about it can be done by call."""
        if not (id_ := id_of(node.get("caseId"))):
            return
        name = f"{CASE}{id_}"
        refs = (Ref(kind=RefKind.CLAIM, value=name), *_refs("", node))
        state = word(node.get("caseStatusEnum") or node.get("caseStatus") or node.get("status"))
        kind, asked = word(node.get("caseType")), money(node.get("claimAmount"))
        if "CLOSED" not in state:
            yield CaseRequested(
                key=f"{name}:requested",
                at=moment(node.get("creationDate")) or at,
                refs=refs,
                kind=CaseKind.COMPLAINT,
                issue=Issue.LOST_PARCEL if kind == "INR" else Issue.NOT_AS_DESCRIBED if kind else None,
                reason=f"eBay case {kind}".strip(),
                amount=asked,
                buyer=Buyer(id=text(node.get("buyer")), locale=self.locale),
            )
        yield _standing(name, node, refs, state, asked, at)


def _standing(
    name: str, node: dict[str, Any], refs: tuple[Ref, ...], state: str, asked: Money | None, at: datetime
) -> RequestChanged:
    due, now = moment(node.get("respondByDate")), RequestStatus.CLOSED if "CLOSED" in state else RequestStatus.REQUESTED
    return RequestChanged(
        key=f"{name}:{state.lower()}{_with(asked, due)}"[:200],
        at=(moment(node.get("lastModifiedDate")) or at) + _further(now),
        refs=refs,
        status=now,
        amount=asked,
        due_at=due,
    )


def _further(now: RequestStatus | None) -> timedelta:
    """A return may take several steps in one moment, after that of asking: the further one is the later."""
    return timedelta(microseconds=1 + (_STEPS.index(now) if now in _STEPS else len(_STEPS)))


def _with(*told: Money | datetime | None) -> str:
    """Another step, amount or deadline in the same state is news, too."""
    return "".join(f":{one.isoformat() if isinstance(one, datetime) else one}" for one in told if one)


def _refs(name: str, node: Any) -> tuple[Ref, ...]:
    """The request's name, which is its thread's too, the case that it became, and the order's."""
    found = [Ref(kind=kind, value=name) for kind in (RefKind.RETURN, RefKind.THREAD)] if name else []
    if case := id_of(dig(node, "escalationInfo", "caseId")):
        found.append(Ref(kind=RefKind.CLAIM, value=f"{CASE}{case}"))
    item, sale = id_of(dig(node, "itemId")), id_of(dig(node, "transactionId"))
    if order := id_of(dig(node, "orderId")) or (f"{item}-{sale}" if item and sale else None):
        found.append(Ref(kind=RefKind.ORDER, value=order))
    return tuple(found)


def _asked(node: Any) -> Money | None:
    """What the seller is to pay, as eBay reckons it."""
    return money(dig(node, "sellerTotalRefund", "estimatedRefundAmount"))


def _lines(node: Any, detail: Any) -> Iterator[Line]:
    made, shown = dig(node, "creationInfo", "item"), dig(detail, "itemDetail")
    sale = id_of(dig(made, "transactionId")) or id_of(dig(shown, "transactionId"))
    item = id_of(dig(made, "itemId")) or id_of(dig(shown, "itemId"))
    if sale or item:
        yield Line(
            id=sale or item or "",
            sku=text(dig(shown, "sku")),
            quantity=whole(dig(made, "returnQuantity")),
            reason=text(dig(node, "creationInfo", "reason")),
        )


def _coming_back(id_: str, detail: Any, refs: tuple[Ref, ...], at: datetime) -> Iterator[ParcelSeen]:
    seen: set[str] = set()
    for one in rows(detail, "returnShipmentInfo", "allShipmentTrackings"):
        back, sent = moment(one.get("actualDeliveryDate")), moment(one.get("actualShipDate"))
        arrived = back or word(one.get("deliveryStatus")) == "DELIVERED"
        state = ParcelStatus.DELIVERED if arrived else ParcelStatus.PENDING
        made = parcel(
            one.get("trackingNumber"),
            one.get("carrierName") or one.get("carrierUsed"),
            direction=Direction.BACK,
            status=state,
            shipped_at=sent,
            delivered_at=back,
        )
        if made and made.waybill not in seen:
            seen.add(made.waybill)
            named = (*refs, Ref(kind=RefKind.WAYBILL, value=made.waybill))
            key = f"return:{id_}:parcel:{made.waybill[:80]}:{state}"
            yield ParcelSeen(key=key, at=back or sent or at, refs=named, parcel=made)


def _refund(id_: str, node: Any, refs: tuple[Ref, ...], at: datetime) -> Iterator[RefundSeen]:
    paid = money(dig(node, "sellerTotalRefund", "actualRefundAmount"))
    if paid and paid.amount > 0:
        key = f"return:{id_}:refunded:{paid.amount:f}"
        yield RefundSeen(key=key, at=at, refs=refs, refund=f"return:{id_}", amount=paid)


def _deletion(node: Any, at: datetime) -> Iterator[Noted]:
    """A buyer closed the account: no case is opened, but somebody must erase what is held."""
    id_, names = id_of(dig(node, "notificationId")), [id_of(dig(node, "data", one)) for one in ("username", "userId")]
    if id_ and any(names):
        yield Noted(
            key=f"deletion:{id_}",
            at=moment(dig(node, "eventDate")) or at,
            refs=tuple(Ref(kind=RefKind.BUYER, value=one) for one in names if one),
            text=_ERASE,
            by="ebay",
        )
