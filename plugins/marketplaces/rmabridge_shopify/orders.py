"""Orders, buyers and parcels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rmabridge.model import Address, Buyer, Money, Order, OrderLine, Parcel, ParcelStatus
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.carriers import carrier
from rmabridge.wire.waybills import normalise

from .terms import first, money, nodes, number, strings, whole, word

PARCELS: Final = {
    "ATTEMPTED_DELIVERY": ParcelStatus.ATTEMPT_FAILED,
    "CANCELED": ParcelStatus.CANCELLED,
    "CARRIER_PICKED_UP": ParcelStatus.PICKED_UP,
    "CONFIRMED": ParcelStatus.INFO_RECEIVED,
    "DELAYED": ParcelStatus.DELAYED,
    "DELIVERED": ParcelStatus.DELIVERED,
    "FAILURE": ParcelStatus.EXCEPTION,
    "IN_TRANSIT": ParcelStatus.IN_TRANSIT,
    "LABEL_PRINTED": ParcelStatus.INFO_RECEIVED,
    "LABEL_PURCHASED": ParcelStatus.INFO_RECEIVED,
    "NOT_DELIVERED": ParcelStatus.EXCEPTION,
    "OUT_FOR_DELIVERY": ParcelStatus.OUT_FOR_DELIVERY,
    "PICKED_UP": ParcelStatus.DELIVERED,
    "READY_FOR_PICKUP": ParcelStatus.AVAILABLE_FOR_PICKUP,
}


def parcel(number_: Any, company: Any, url: Any, **facts: Any) -> Parcel | None:
    """A parcel, where there is a waybill at all."""
    waybill = normalise(str(number_)) if text(number_) else ""
    known = carrier(str(company)) if text(company) else None
    if not waybill:
        return None
    name = text(company)
    return Parcel(waybill=waybill, carrier=known.code if known else None, carrier_name=name, url=text(url), **facts)


def outward(node: dict[str, Any]) -> Iterator[Parcel]:
    """The parcels of one fulfilment."""
    delivered = first(node, "deliveredAt")
    status = PARCELS.get(word(dig(node, "displayStatus") or dig(node, "shipmentStatus")), ParcelStatus.PENDING)
    if status is ParcelStatus.DELIVERED and not delivered:
        delivered = first(node, "updatedAt")
    facts = {
        "status": ParcelStatus.DELIVERED if delivered else status,
        "shipped_at": first(node, "createdAt"),
        "delivered_at": delivered,
        "eta": first(node, "estimatedDeliveryAt"),
    }
    shown = [(dig(one, "number"), dig(one, "company"), dig(one, "url")) for one in nodes(node, "trackingInfo")]
    company, url = dig(node, "trackingCompany"), dig(node, "trackingUrl")
    numbers = strings(dig(node, "trackingNumbers")) or strings(dig(node, "trackingNumber"))
    shown += [(waybill, company, url) for waybill in numbers]
    for one in shown:
        if made := parcel(*one, **facts):
            yield made


def tracking(value: Any) -> tuple[Any, Any, Any] | None:
    """The waybill, carrier and address of a return label, wherever in the object they are."""
    if isinstance(value, list):
        return next((found for one in value if (found := tracking(one))), None)
    if not isinstance(value, dict):
        return None
    carrier_name = value.get("carrierName") or value.get("company") or value.get("trackingCompany")
    if text(value.get("trackingNumber")):
        return value["trackingNumber"], carrier_name, value.get("trackingUrl")
    if text(value.get("number")) and (carrier_name or "url" in value):
        return value["number"], carrier_name, value.get("url")
    return next((found for key, one in value.items() if key != "order" and (found := tracking(one))), None)


def order(id_: str, node: Any) -> Order:
    """The order itself."""
    delivered = [one.delivered_at for made in nodes(node, "fulfillments") for one in outward(made)]
    delivered += [first(made, "deliveredAt") for made in nodes(node, "fulfillments")]
    return Order(
        id=id_,
        number=text(dig(node, "name")),
        placed_at=first(node, "createdAt"),
        delivered_at=max((one for one in delivered if one), default=None),
        cancelled_at=first(node, "cancelledAt"),
        paid_by=next(iter(strings(dig(node, "paymentGatewayNames"))), None),
        total=money(node, "totalPrice"),
        refunded=money(node, "totalRefunded"),
        lines=tuple(line for one in nodes(node, "lineItems") if (line := _order_line(one, dig(node, "currency")))),
        ship_to=_address(dig(node, "shippingAddress")),
        note=text(dig(node, "note")),
        tags=tuple(strings(dig(node, "tags"))),
    )


def buyer(node: Any, locale: str | None, tiers: tuple[str, ...]) -> Buyer:
    """Who bought; ``tiers`` are customer tags, the best first."""
    customer, address = dig(node, "customer"), _address(dig(node, "shippingAddress"))
    tags = strings(dig(customer, "tags"))
    parts = [text(dig(customer, name)) for name in ("firstName", "lastName")]
    name = text(dig(customer, "displayName")) or " ".join(part for part in parts if part)
    orders = number(dig(customer, "numberOfOrders")) or number(dig(customer, "ordersCount"))
    return Buyer(
        id=number(dig(customer, "id")),
        name=name or (address.name if address else None),
        email=text(dig(node, "email")) or text(dig(customer, "email")),
        phone=text(dig(node, "phone")) or text(dig(customer, "phone")) or (address.phone if address else None),
        locale=text(dig(node, "customerLocale")) or text(dig(customer, "locale")) or locale,
        tier=next((tag for tag in tiers if tag in tags), None),
        orders=int(orders) if orders else None,
        address=address,
    )


def _order_line(node: dict[str, Any], currency: Any) -> OrderLine | None:
    if not (id_ := number(dig(node, "id"))):
        return None
    return OrderLine(
        id=id_,
        sku=text(dig(node, "sku")),
        title=text(dig(node, "title")) or "",
        quantity=whole(dig(node, "quantity"), 1),
        price=_price(node, currency),
        variant=text(dig(node, "variantTitle")),
    )


def _price(node: Any, currency: Any) -> Money | None:
    """What the buyer paid for one piece: its share of every discount is off, which Shopify tells beside the price.

    None where the pieces of a line did not cost the same.
    """
    pieces, listed = whole(dig(node, "quantity"), 1), money(node, "originalUnitPrice") or money(node, "price", currency)
    off = [
        money(one, "allocatedAmount") or money(one, "amount", currency) for one in nodes(node, "discountAllocations")
    ]
    if listed is None or not off:
        return listed
    if any(one is None or one.currency != listed.currency for one in off):
        return None
    left = listed.amount * pieces - sum(one.amount for one in off if one)
    return Money(amount=left, currency=listed.currency).each(pieces) if left >= 0 else None


def _address(node: Any) -> Address | None:
    if not isinstance(node, dict):
        return None
    return Address(
        name=text(node.get("name")),
        phone=text(node.get("phone")),
        country=text(node.get("countryCodeV2")) or text(node.get("countryCode")),
        region=text(node.get("province")),
        city=text(node.get("city")),
        lines=tuple(line for line in (text(node.get("address1")), text(node.get("address2"))) if line),
        postcode=text(node.get("zip")),
    )
