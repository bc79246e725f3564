"""By which names an event finds its case, and which names it adds to it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from ..model import (
    Author,
    Buyer,
    Case,
    CaseRequested,
    ClaimSeen,
    Event,
    MessageReceived,
    Order,
    OrderSeen,
    ParcelSeen,
    Ref,
    RefKind,
    RefundSeen,
    Settled,
)
from ..model.refs import SHOP_WIDE, WORLD_WIDE

Key = tuple[str, str, str]


def scope(ref: Ref, account: str, shop: str | None) -> str:
    """Where the reference's value is unique: everywhere, in a shop, or at an account."""
    if ref.kind in WORLD_WIDE:
        return ""
    if ref.kind in SHOP_WIDE:
        return f"shop:{shop or ''}"
    return f"account:{ref.account or account}"


def opens(event: Event) -> bool:
    """Whether the event may create a case: a request, or words of the buyer."""
    if isinstance(event, MessageReceived):
        return event.message.author is Author.BUYER
    return event.opener


def names(event: Event, account: str) -> Iterator[Ref]:
    """All references in an event: those it states and those its content holds."""
    for ref in event.refs:
        at = ref.account or ref.kind in SHOP_WIDE or ref.kind in WORLD_WIDE
        yield ref if at else _ref(ref.kind, ref.value, account, ref.url)
    match event:
        case CaseRequested():
            yield from _of_order(event.order)
            yield from _of_buyer(event.buyer)
        case OrderSeen():
            yield from _of_order(event.order)
            yield from _of_buyer(event.buyer)
            for parcel in event.parcels:
                yield _ref(RefKind.WAYBILL, parcel.waybill)
        case MessageReceived():
            yield from _of_buyer(event.buyer)
        case ParcelSeen():
            yield _ref(RefKind.WAYBILL, event.parcel.waybill)
        case ClaimSeen():
            yield _ref(RefKind.WAYBILL, event.waybill)
            if event.claim:
                yield _ref(RefKind.CLAIM, event.claim, account)
        case RefundSeen():
            yield _ref(RefKind.REFUND, event.refund, account)
        case Settled(action_type="ticket.open", outcome="done", ref=str(ticket)):
            yield _ref(RefKind.TICKET, ticket, event.account, event.url)


@lru_cache(maxsize=4096)
def _ref(kind: RefKind, value: str, account: str | None = None, url: str | None = None) -> Ref:
    """References are asked for several times while an event is routed, and are dear to make."""
    return Ref(kind=kind, value=value, account=account, url=url)


def _of_order(order: Order | None) -> Iterator[Ref]:
    if order:
        yield _ref(RefKind.ORDER, order.id)
        if order.number and order.number != order.id:
            yield _ref(RefKind.ORDER, order.number)


def _of_buyer(buyer: Buyer | None) -> Iterator[Ref]:
    if buyer:
        for value in (buyer.id, buyer.email and buyer.email.casefold()):
            if value:
                yield _ref(RefKind.BUYER, value)


def order_ref(case: Case) -> str | None:
    """What the marketplace calls the case's order, as far as it is known."""
    return case.order.id if case.order else case.ref(RefKind.ORDER)
