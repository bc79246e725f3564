"""Orders: goods, what was paid, the buyer's address behind a mask, and the parcel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rmabridge.model import Address, Buyer, Direction, Order, OrderLine, Parcel
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.carriers import carrier
from rmabridge.wire.waybills import normalise

from .terms import code, moment, pieces, rows, yuan

_CANCELLED: Final = "2"


def parcel(waybill: Any, company: str | None, **facts: Any) -> Parcel | None:
    """A parcel, where there is a waybill at all."""
    made = normalise(text(waybill) or "")
    known = carrier(company) if company else None
    facts |= {"carrier": known.code if known else None, "carrier_name": company}
    return Parcel(waybill=made, **facts) if made else None


def back(detail: Any) -> Parcel | None:
    """The parcel by which the buyer sends goods back."""
    return parcel(dig(detail, "express_no"), text(dig(detail, "shipping_name")), direction=Direction.BACK)


def outward(node: Any, carriers: Mapping[str, str]) -> Parcel | None:
    """The parcel to the buyer; its carrier is a number of Pinduoduo's."""
    company = carriers.get(code(dig(node, "logistics_id")))
    facts = {"shipped_at": moment(node, "shipping_time"), "delivered_at": moment(node, "receive_time")}
    return parcel(dig(node, "tracking_number"), company, **facts)


def buyer(node: Any, locale: str | None) -> Buyer:
    """Who gets the goods; Pinduoduo names no buyer and shows a number only behind a mask."""
    return Buyer(locale=locale, phone=text(dig(node, "receiver_phone")), address=_address(node))


def order(number: str, node: Any) -> Order:
    """The order itself; its amounts are yuan."""
    cancelled = code(dig(node, "confirm_status")) == _CANCELLED
    return Order(
        id=number,
        number=number,
        placed_at=moment(node, "created_time", "confirm_time"),
        delivered_at=moment(node, "receive_time"),
        cancelled_at=moment(node, "updated_at") if cancelled else None,
        paid_by=(text(dig(node, "pay_type")) or "").lower() or None,
        total=yuan(dig(node, "pay_amount")),
        lines=tuple(line for one in rows(node, "item_list") if (line := _line(one))),
        ship_to=_address(node),
        note=text(dig(node, "buyer_memo")),
    )


def _line(node: dict[str, Any]) -> OrderLine | None:
    if not (id_ := code(node.get("sku_id")) or code(node.get("goods_id"))):
        return None
    return OrderLine(
        id=id_,
        sku=text(node.get("outer_id")) or text(node.get("outer_goods_id")),
        title=text(node.get("goods_name")) or "",
        quantity=pieces(node.get("goods_count")),
        price=yuan(node.get("goods_price")),
        variant=text(node.get("goods_spec")),
    )


def _address(node: Any) -> Address | None:
    line = text(dig(node, "receiver_address")) or text(dig(node, "address"))
    if not line and not text(dig(node, "province")):
        return None
    return Address(
        name=text(dig(node, "receiver_name")),
        phone=text(dig(node, "receiver_phone")),
        country=text(dig(node, "country")),
        region=text(dig(node, "province")),
        city=text(dig(node, "city")),
        district=text(dig(node, "town")),
        lines=(line,) if line else (),
    )
