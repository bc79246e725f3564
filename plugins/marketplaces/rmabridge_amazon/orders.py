"""Orders as Amazon shows them: lines with the price of one piece, and the buyer, reached by the order's number."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rmabridge.model import Address, Buyer, Money, Order, OrderLine, OrderSeen, Ref, RefKind
from rmabridge.wire.amounts import maybe_major
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.times import maybe_instant


def order_seen(held: Any, key: str, at: datetime, locale: str | None) -> OrderSeen | None:
    """The order as it is now; None where there is none."""
    node = dig(held, "order")
    if not (id_ := text(dig(node, "AmazonOrderId"))):
        return None
    return OrderSeen(
        key=key,
        at=maybe_instant(dig(node, "LastUpdateDate")) or at,
        refs=(Ref(kind=RefKind.ORDER, value=id_),),
        order=order(id_, held),
        buyer=buyer(id_, node, locale),
    )


def order(id_: str, held: Any) -> Order:
    """The order itself; Amazon tells no time of a cancellation but the order's last change."""
    node = dig(held, "order")
    gone = str(dig(node, "OrderStatus")).lower() == "canceled"
    return Order(
        id=id_,
        number=id_,
        placed_at=maybe_instant(dig(node, "PurchaseDate")),
        cancelled_at=maybe_instant(dig(node, "LastUpdateDate")) if gone else None,
        paid_by=text(dig(node, "PaymentMethod")),
        total=money(dig(node, "OrderTotal")),
        lines=tuple(_lines(dig(held, "items"))),
        ship_to=_address(dig(node, "ShippingAddress")),
    )


def buyer(id_: str, node: Any, locale: str | None) -> Buyer:
    """Who bought; the mail address is Amazon's relay, and messages go by the order."""
    return Buyer(
        name=text(dig(node, "BuyerInfo", "BuyerName")),
        email=text(dig(node, "BuyerInfo", "BuyerEmail")),
        thread=id_,
        locale=locale,
        address=_address(dig(node, "ShippingAddress")),
    )


def money(node: Any) -> Money | None:
    """``{"CurrencyCode": "USD", "Amount": "12.34"}``."""
    return maybe_major(dig(node, "Amount"), dig(node, "CurrencyCode"))


def _lines(listed: Any) -> Iterator[OrderLine]:
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and (id_ := text(one.get("OrderItemId"))):
            pieces, paid = whole(one.get("QuantityOrdered")), money(one.get("ItemPrice"))
            yield OrderLine(
                id=id_,
                sku=text(one.get("SellerSKU")),
                title=text(one.get("Title")) or "",
                quantity=pieces,
                price=paid.each(pieces) if paid else None,
            )


def whole(value: Any, default: int = 1) -> int:
    """A count of pieces."""
    digits = str(value)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 7 else default


def _address(node: Any) -> Address | None:
    if not isinstance(node, dict):
        return None
    held = {name: text(node.get(name)) for name in node}
    return Address(
        name=held.get("Name"),
        phone=held.get("Phone"),
        country=held.get("CountryCode"),
        region=held.get("StateOrRegion"),
        city=held.get("City"),
        district=held.get("District") or held.get("County"),
        lines=tuple(line for n in (1, 2, 3) if (line := held.get(f"AddressLine{n}"))),
        postcode=held.get("PostalCode"),
    )
