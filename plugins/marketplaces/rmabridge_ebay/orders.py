"""Orders of the Fulfillment API: lines with the price of one piece, the buyer, and the parcels on their way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rmabridge.model import Address, Buyer, Money, Order, OrderLine, OrderSeen, Parcel, Ref, RefKind
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.carriers import carrier
from rmabridge.wire.waybills import normalise

from .terms import id_of, moment, money, rows, whole, word


def order_seen(node: Any, shipped: Any, key: str, at: datetime, locale: str | None) -> OrderSeen | None:
    """The order as it is now; None where there is none."""
    if not (id_ := id_of(dig(node, "orderId"))):
        return None
    return OrderSeen(
        key=key,
        at=moment(dig(node, "lastModifiedDate")) or at,
        refs=(Ref(kind=RefKind.ORDER, value=id_),),
        order=_order(id_, node),
        buyer=_buyer(node, locale),
        parcels=tuple(_parcels(shipped)),
    )


def _order(id_: str, node: Any) -> Order:
    gone = word(dig(node, "cancelStatus", "cancelState")) == "CANCELED"
    return Order(
        id=id_,
        number=id_,
        placed_at=moment(dig(node, "creationDate")),
        cancelled_at=moment(dig(node, "cancelStatus", "cancelledDate")) if gone else None,
        paid_by=text(dig(node, "paymentSummary", "payments", 0, "paymentMethod")),
        total=money(dig(node, "pricingSummary", "total")),
        refunded=_refunded(node),
        lines=tuple(line for one in rows(node, "lineItems") if (line := _line(one))),
        ship_to=_address(_step(node)),
        note=text(dig(node, "buyerCheckoutNotes")),
    )


def _refunded(node: Any) -> Money | None:
    paid = [one for row in rows(node, "paymentSummary", "refunds") if (one := money(row.get("amount")))]
    return Money.total(paid) if paid and len({one.currency for one in paid}) == 1 else None


def _line(node: dict[str, Any]) -> OrderLine | None:
    if not (id_ := id_of(node.get("lineItemId"))):
        return None
    pieces, paid = whole(node.get("quantity")), money(node.get("lineItemCost"))
    return OrderLine(
        id=id_,
        sku=text(node.get("sku")),
        title=text(node.get("title")) or "",
        quantity=pieces,
        price=paid.each(pieces) if paid else None,
    )


def _step(node: Any) -> Any:
    return dig(node, "fulfillmentStartInstructions", 0, "shippingStep", "shipTo")


def _buyer(node: Any, locale: str | None) -> Buyer:
    known, ship_to = dig(node, "buyer", "buyerRegistrationAddress"), _step(node)
    return Buyer(
        id=text(dig(node, "buyer", "username")),
        name=text(dig(known, "fullName")) or text(dig(ship_to, "fullName")),
        email=text(dig(known, "email")) or text(dig(ship_to, "email")),
        phone=text(dig(ship_to, "primaryPhone", "phoneNumber")),
        locale=locale,
        address=_address(ship_to),
    )


def _address(node: Any) -> Address | None:
    if not isinstance(held := dig(node, "contactAddress"), dict):
        return None
    return Address(
        name=text(dig(node, "fullName")),
        phone=text(dig(node, "primaryPhone", "phoneNumber")),
        country=text(held.get("countryCode")),
        region=text(held.get("stateOrProvince")),
        city=text(held.get("city")),
        lines=tuple(line for n in (1, 2) if (line := text(held.get(f"addressLine{n}")))),
        postcode=text(held.get("postalCode")),
    )


def parcel(waybill: Any, name: Any, **facts: Any) -> Parcel | None:
    """A parcel, where there is a number at all."""
    made, told = normalise(str(waybill)) if text(waybill) else "", text(name)
    known = carrier(told) if told else None
    return Parcel(waybill=made, carrier=known.code if known else None, carrier_name=told, **facts) if made else None


def _parcels(shipped: Any) -> Iterator[Parcel]:
    for one in rows(shipped, "fulfillments"):
        sent = moment(one.get("shippedDate"))
        if made := parcel(one.get("shipmentTrackingNumber"), one.get("shippingCarrierCode"), shipped_at=sent):
            yield made
