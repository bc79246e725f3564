"""Trades as orders: goods, prices after discounts, the buyer behind a mask, and the parcels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rmabridge.model import Address, Buyer, Order, OrderLine, Parcel
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.carriers import carrier
from rmabridge.wire.waybills import normalise

from .terms import moment, number, rows, whole, word, yuan

TRADE: Final = (
    "tid,status,type,created,pay_time,consign_time,end_time,modified,payment,post_fee,buyer_nick,buyer_open_uid,ouid,"
    "buyer_message,alipay_no,receiver_name,receiver_mobile,receiver_phone,receiver_country,receiver_state,"
    "receiver_city,receiver_district,receiver_town,receiver_address,receiver_zip,orders"
)
_RECEIVED: Final = frozenset({"TRADE_FINISHED", "TRADE_BUYER_SIGNED"})


def plain(nick: Any) -> str | None:
    """A nick without Taobao's mask; nobody is greeted as ``t**1``."""
    shown = text(nick)
    return shown if shown and "*" not in shown else None


def buyer(node: Any, locale: str | None) -> Buyer:
    """Who bought, and where the goods went; masked numbers are kept as they are and never dialled."""
    phone = text(dig(node, "receiver_mobile")) or text(dig(node, "receiver_phone"))
    return named(node, locale, phone=phone, address=_address(node))


def named(node: Any, locale: str | None, **more: Any) -> Buyer:
    """The buyer, whom the open id names, and what more is known."""
    id_ = text(dig(node, "buyer_open_uid")) or text(dig(node, "ouid"))
    return Buyer(id=id_, name=plain(dig(node, "buyer_nick")), locale=locale, **more)


def parcel(waybill: Any, company: Any, **facts: Any) -> Parcel | None:
    """A parcel, where there is a waybill at all."""
    made, name = normalise(str(waybill)) if text(waybill) else "", text(company)
    known = carrier(name) if name else None
    return Parcel(waybill=made, carrier=known.code if known else None, carrier_name=name, **facts) if made else None


def parcels(node: Any) -> Iterator[Parcel]:
    """The parcels on their way to the buyer, each once though several lines travel in it."""
    seen: set[str] = set()
    for one in rows(node, "orders", "order"):
        sent = moment(one, "consign_time") or moment(node, "consign_time")
        made = parcel(one.get("invoice_no"), one.get("logistics_company"), shipped_at=sent)
        if made and made.waybill not in seen:
            seen.add(made.waybill)
            yield made


def order(id_: str, node: Any) -> Order:
    """The order itself."""
    ended, state = moment(node, "end_time"), word(dig(node, "status"))
    return Order(
        id=id_,
        number=id_,
        placed_at=moment(node, "created"),
        delivered_at=ended if state in _RECEIVED else None,
        cancelled_at=ended if state == "TRADE_CLOSED_BY_TAOBAO" else None,
        paid_by="alipay" if text(dig(node, "alipay_no")) else None,
        total=yuan(dig(node, "payment")),
        lines=tuple(line for one in rows(node, "orders", "order") if (line := _line(one))),
        ship_to=_address(node),
        note=text(dig(node, "buyer_message")),
    )


def _line(node: dict[str, Any]) -> OrderLine | None:
    if not (id_ := number(node.get("oid"))):
        return None
    pieces, paid = whole(node.get("num")), yuan(node.get("divide_order_fee")) or yuan(node.get("payment"))
    return OrderLine(
        id=id_,
        sku=text(node.get("outer_sku_id")) or text(node.get("outer_iid")) or text(node.get("sku_id")),
        title=text(node.get("title")) or "",
        quantity=pieces,
        price=paid.each(pieces) if paid else None,
        variant=text(node.get("sku_properties_name")),
    )


def _address(node: Any) -> Address | None:
    if not isinstance(node, dict) or not any(text(node.get(f"receiver_{one}")) for one in ("name", "state", "address")):
        return None
    held = {name.removeprefix("receiver_"): text(value) for name, value in node.items() if name.startswith("receiver_")}
    return Address(
        name=held.get("name"),
        phone=held.get("mobile") or held.get("phone"),
        country=held.get("country"),
        region=held.get("state"),
        city=held.get("city"),
        district=held.get("district"),
        lines=tuple(line for line in (held.get("town"), held.get("address")) if line),
        postcode=held.get("zip"),
    )
