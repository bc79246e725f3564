"""Shopify's objects as events: one reader for webhooks (snake_case) and GraphQL answers (camelCase)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from rmabridge.model import (
    CaseKind,
    CaseRequested,
    Direction,
    Event,
    Issue,
    Line,
    Money,
    OrderSeen,
    ParcelSeen,
    Ref,
    RefKind,
    RefundSeen,
    RefundStatus,
    RequestChanged,
    RequestStatus,
)
from rmabridge.wire.bodies import dig, text

from .orders import buyer, order, outward, parcel, tracking
from .terms import DISPUTES, ISSUES, ORDERS, STATUSES, TURNS, camel, first, money, nodes, number, whole, word

_COMES: Final = {RefundStatus.PENDING: 0, RefundStatus.FAILED: 1, RefundStatus.DONE: 2}
_FAILED: Final = frozenset({"FAILURE", "ERROR"})


def _reason(line: dict[str, Any]) -> str | None:
    return word(line.get("returnReason") or dig(line, "returnReasonDefinition", "handle")) or None


def return_line(node: dict[str, Any]) -> Line | None:
    """A line of a return; its id is what ``returnProcess`` names."""
    if not (id_ := number(node.get("id"))):
        return None
    item = dig(node, "fulfillmentLineItem", "lineItem")
    return Line(
        id=id_,
        order_line=number(dig(item, "id")),
        sku=text(dig(item, "sku")),
        quantity=whole(node.get("quantity"), 1),
        reason=_reason(node),
        note=text(node.get("customerNote")) or text(node.get("returnReasonNote")),
    )


def return_lines(node: Any) -> tuple[Line, ...]:
    """All lines of a return; none where only some of them are known, so that those never stand for all."""
    if dig(node, "returnLineItems", "pageInfo", "hasNextPage") is True:
        return ()
    return tuple(line for one in nodes(node, "returnLineItems") if (line := return_line(one)))


def _parent(payment: dict[str, Any]) -> str | None:
    return number(dig(payment, "parentTransaction", "id")) or number(payment.get("parentId"))


def _made_good(one: dict[str, Any], moved: list[dict[str, Any]]) -> bool:
    """Whether a transaction failed, and the same amount of the same payment was then given back by another."""
    parent, amount = _parent(one), money(one, "amount")
    if word(one.get("status")) not in _FAILED or not parent:
        return False
    others = [other for other in moved if word(other.get("status")) not in _FAILED]
    return any(_parent(other) == parent and money(other, "amount") == amount for other in others)


def _issue(lines: tuple[Line, ...]) -> Issue | None:
    named = [issue for line in lines if (issue := ISSUES.get(line.reason or ""))]
    return next((issue for issue in named if issue is not Issue.RETURN_REQUEST), named[0] if named else None)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the objects of one shop; ``locale`` is taken where a buyer has none, ``tiers`` are customer tags."""

    shop: str
    locale: str | None = None
    tiers: tuple[str, ...] = ()

    def order_ref(self, id_: str | None) -> tuple[Ref, ...]:
        """The order's name, with its page in the shop's admin."""
        url = f"https://{self.shop}/admin/orders/{id_}"
        return (Ref(kind=RefKind.ORDER, value=id_, url=url),) if id_ else ()

    def return_refs(self, id_: str | None, order: str | None) -> tuple[Ref, ...]:
        """The return's name, then its order's."""
        return ((Ref(kind=RefKind.RETURN, value=id_),) if id_ else ()) + self.order_ref(order)

    def webhook(self, topic: str, body: dict[str, Any], at: datetime, event_id: str) -> Iterator[Event]:
        """The events of one webhook; ``at`` counts where the object carries no time of its own."""
        node = camel(body)
        order = number(dig(node, "orderId")) or number(dig(node, "order", "id"))
        if topic == "returns/request":
            yield from self.requested(node, order, at)
        elif topic in TURNS:
            yield from self.turned(topic, node, order, at, event_id)
        elif topic == "refunds/create":
            yield from self.refund(node, order, at)
        elif topic in ORDERS:
            yield from self.ordered(node, at)
        elif topic == "reverse_deliveries/attach_deliverable":
            yield from self.attached(node, order, at)
        elif topic == "disputes/create":
            yield from self.dispute(node, order, at)

    def reconciled(self, node: dict[str, Any], at: datetime) -> Iterator[Event]:
        """The events of an order with its returns and refunds, under the keys that their webhooks have."""
        order = number(dig(node, "id"))
        at = first(node, "updatedAt") or at
        for one in nodes(node, "returns"):
            status = STATUSES.get(word(dig(one, "status")))
            if status in {RequestStatus.REQUESTED, RequestStatus.APPROVED}:
                yield from self.requested(one, order, at)
            if status is not RequestStatus.REQUESTED:
                yield from self.changed(one, order, at)
            # Nothing says when a return was opened again. Where money moved, that it is approved is no news.
            if status is RequestStatus.APPROVED and not nodes(node, "refunds"):
                yield from self.reopened(one, order, at)
            yield from self.attached_all(one, order, at)
        for one in nodes(node, "refunds"):
            yield from self.refund(one, order, at)
        yield from self.ordered(node, at)

    def requested(self, node: Any, order: str | None, at: datetime) -> Iterator[CaseRequested]:
        """A buyer asks to send something back."""
        if not (id_ := number(dig(node, "id"))):
            return
        lines = return_lines(node)
        yield CaseRequested(
            key=f"return:{id_}:requested",
            at=first(node, "createdAt", "updatedAt") or at,
            refs=self.return_refs(id_, order),
            kind=CaseKind.EXCHANGE if nodes(node, "exchangeLineItems") else CaseKind.RETURN,
            issue=_issue(lines),
            reason=next((line.reason for line in lines if line.reason), None),
            note="\n".join(dict.fromkeys(line.note for line in lines if line.note)) or None,
            lines=lines,
        )

    def turned(self, topic: str, node: Any, order: str | None, at: datetime, event_id: str) -> Iterator[RequestChanged]:
        """A return moved, as the topic says."""
        status = TURNS[topic]
        if topic == "returns/reopen":
            when = first(node, "updatedAt")
            yield from self.reopened(node, order, when or at, None if when else event_id)
        else:
            yield from self.changed(node, order, at, status=status)

    def reopened(self, node: Any, order: str | None, at: datetime, name: str | None = None) -> Iterator[RequestChanged]:
        """A return is open as of this time, later than it was approved or closed before."""
        key = f"return:{number(dig(node, 'id'))}:reopened:{name or at.isoformat()}"
        for event in self.changed(node, order, at, status=RequestStatus.APPROVED, key=key):
            yield event.model_copy(update={"at": max(at, event.at, first(node, "closedAt") or at)})

    def changed(
        self,
        node: Any,
        order: str | None,
        at: datetime,
        *,
        status: RequestStatus | None = None,
        key: str | None = None,
        amount: Money | None = None,
    ) -> Iterator[RequestChanged]:
        """Where a return stands now."""
        id_, status = number(dig(node, "id")), status or STATUSES.get(word(dig(node, "status")))
        if not id_ or not status:
            return
        since = {"approved": "requestApprovedAt", "closed": "closedAt", "requested": "createdAt"}.get(status, "")
        when = first(node, since)
        # A return may be closed twice, so its own time belongs to the key.
        again = f":{when.isoformat()}" if when and status is RequestStatus.CLOSED else ""
        yield RequestChanged(
            key=key or f"return:{id_}:{status}{again}",
            at=when or first(node, "updatedAt") or at,
            refs=self.return_refs(id_, order),
            status=status,
            reason=text(dig(node, "decline", "note")) or text(dig(node, "decline", "reason")),
            lines=return_lines(node),
            amount=amount,
        )

    def refund(self, node: Any, order: str | None, at: datetime) -> Iterator[RefundSeen]:
        """A refund that moves money; a mere restocking is none."""
        moved = [one for one in nodes(node, "transactions") if word(one.get("kind")) == "REFUND"]
        paid = [one for one in moved if not _made_good(one, moved)]
        told = [word(one.get("status")) for one in paid]
        counted = [one for one, state in zip(paid, told, strict=True) if state not in _FAILED] or paid
        amounts = [amount for one in counted if (amount := money(one, "amount"))]
        total = Money.total(amounts) if amounts else money(node, "totalRefunded")
        if not (id_ := number(dig(node, "id"))) or not total or not total.amount:
            return
        states = set(told)
        failed = bool(states) and states <= _FAILED
        done = RefundStatus.DONE if states == {"SUCCESS"} else RefundStatus.PENDING
        status = RefundStatus.FAILED if failed else done
        items = [
            number(dig(one, "lineItemId")) or number(dig(one, "lineItem", "id"))
            for one in nodes(node, "refundLineItems")
        ]
        # A refund keeps its time while it goes on: what came of it is later than that it was begun.
        since = timedelta(microseconds=_COMES[status])
        yield RefundSeen(
            key=f"refund:{id_}:{status}",
            at=(first(node, "createdAt", "processedAt") or at) + since,
            refs=(
                Ref(kind=RefKind.REFUND, value=id_),
                *self.return_refs(number(dig(node, "return", "id")), order),
            ),
            refund=id_,
            amount=total,
            status=status,
            method=next((gateway for one in paid if (gateway := text(dig(one, "gateway")))), None),
            lines=tuple(item for item in items if item),
        )

    def attached(self, node: Any, order: str | None, at: datetime, back: str | None = None) -> Iterator[ParcelSeen]:
        """A return label got a waybill."""
        held = (dig(node, "return", "id"), dig(node, "returnId"), dig(node, "reverseFulfillmentOrder", "return", "id"))
        back = back or next((id_ for one in held if (id_ := number(one))), None)
        found = tracking(node)
        if found and (made := parcel(*found, direction=Direction.BACK)):
            yield ParcelSeen(
                key=f"return:{back or ''}:parcel:{made.waybill}",
                at=first(node, "updatedAt", "createdAt") or at,
                refs=(*self.return_refs(back, order), Ref(kind=RefKind.WAYBILL, value=made.waybill)),
                parcel=made,
            )

    def attached_all(self, node: Any, order: str | None, at: datetime) -> Iterator[ParcelSeen]:
        """The parcels on their way back for a return."""
        for one in nodes(node, "reverseFulfillmentOrders"):
            for delivery in nodes(one, "reverseDeliveries"):
                yield from self.attached(delivery, order, at, number(dig(node, "id")))

    def dispute(self, node: Any, order: str | None, at: datetime) -> Iterator[CaseRequested]:
        """The buyer's bank took the money back, or asks why it should not."""
        if not (id_ := number(dig(node, "id"))):
            return
        reason, due = word(dig(node, "reason")), first(node, "evidenceDueBy")
        note = f"{text(dig(node, 'type')) or 'dispute'}: {reason.lower() or 'no reason given'}"
        yield CaseRequested(
            key=f"dispute:{id_}:opened",
            at=first(node, "initiatedAt") or at,
            refs=(Ref(kind=RefKind.CLAIM, value=id_), *self.order_ref(order)),
            kind=CaseKind.COMPLAINT,
            issue=DISPUTES.get(reason, Issue.INVOICE_PAYMENT),
            reason=reason or None,
            note=f"{note}; evidence due by {due.isoformat()}" if due else note,
            amount=money(node, "amount"),
        )

    def ordered(self, node: Any, at: datetime, key: str | None = None) -> Iterator[OrderSeen]:
        """The order as it is now, with buyer and outward parcels."""
        if not (id_ := number(dig(node, "id"))):
            return
        when = first(node, "updatedAt") or at
        parcels = [made for one in nodes(node, "fulfillments") for made in outward(one)]
        sent = f":{len(parcels)}" if parcels else ""  # an order may change twice in one second
        yield OrderSeen(
            key=key or f"order:{id_}:{when.isoformat()}{sent}",
            at=when,
            refs=self.order_ref(id_),
            order=order(id_, node),
            buyer=buyer(node, self.locale, self.tiers),
            parcels=tuple(parcels),
        )
