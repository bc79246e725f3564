"""Orders: goods, what was paid in fen, the buyer behind a mask, and the parcels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rmabridge.model import Address, Buyer, Order, OrderLine, Parcel
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.carriers import carrier
from rmabridge.wire.waybills import normalise

from .terms import code, fen, moment, number, pieces, plain, rows, table

_CANCELLED: Final = "4"


def parcel(node: Any, **facts: Any) -> Parcel | None:
    """A parcel, where there is a waybill at all."""
    made, name = normalise(text(dig(node, "tracking_no")) or ""), text(dig(node, "company_name"))
    known = next((one for said in (name, text(dig(node, "company_code"))) if said and (one := carrier(said))), None)
    facts |= {"carrier": known.code if known else None, "carrier_name": name}
    return Parcel(waybill=made, **facts) if made else None


def parcels(node: Any) -> Iterator[Parcel]:
    """The parcels on their way to the buyer, each once."""
    seen: set[str] = set()
    for one in rows(node, "logistics_info"):
        named = one | {"company_code": one.get("company")}
        made = parcel(named, shipped_at=moment(one, "ship_time"))
        if made and made.waybill not in seen:
            seen.add(made.waybill)
            yield made


def buyer(node: Any, locale: str | None) -> Buyer:
    """Who bought: the open id names them; number and address are masked."""
    return Buyer(
        id=text(dig(node, "doudian_open_id")),
        name=plain(dig(node, "mask_post_receiver")),
        phone=text(dig(node, "mask_post_tel")),
        locale=locale,
        address=_address(node),
    )


def order(id_: str, node: Any) -> Order:
    """The order itself."""
    lines = list(rows(node, "sku_order_list"))
    received = [moment(one, "confirm_receipt_time", "logistics_receipt_time") for one in lines]
    cancelled = code(dig(node, "order_status")) == _CANCELLED
    return Order(
        id=id_,
        number=id_,
        placed_at=moment(node, "create_time"),
        delivered_at=max((at for at in received if at), default=None) if all(received) else None,
        cancelled_at=moment(node, "finish_time", "update_time") if cancelled else None,
        paid_by=table("pay_types").get(code(dig(node, "pay_type"))),
        total=fen(dig(node, "pay_amount")),
        lines=tuple(line for one in lines if (line := _line(one))),
        ship_to=_address(node),
        note=text(dig(node, "buyer_words")),
    )


def _line(node: dict[str, Any]) -> OrderLine | None:
    if not (id_ := number(node.get("order_id"))):
        return None
    count = pieces(node.get("item_num"))
    return OrderLine(
        id=id_,
        sku=text(node.get("out_sku_id")) or text(node.get("code")) or number(node.get("sku_id")) or None,
        title=text(node.get("product_name")) or "",
        quantity=count,
        price=paid.each(count) if (paid := fen(node.get("pay_amount"))) else None,
        variant=" ".join(value for one in rows(node, "spec") if (value := text(one.get("value")))) or None,
    )


def _address(node: Any) -> Address | None:
    held = dig(node, "mask_post_addr")
    region, line = text(dig(held, "province", "name")), text(dig(held, "detail"))
    if not region and not line:
        return None
    return Address(
        name=text(dig(node, "mask_post_receiver")),
        phone=text(dig(node, "mask_post_tel")),
        region=region,
        city=text(dig(held, "city", "name")),
        district=text(dig(held, "town", "name")),
        lines=tuple(one for one in (text(dig(held, "street", "name")), line) if one),
    )
