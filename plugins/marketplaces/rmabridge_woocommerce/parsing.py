"""Orders as events: what webhooks, the comparison and a fetch show is read in one way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final, Literal

from rmabridge.errors import Malformed
from rmabridge.model import (
    Address,
    Buyer,
    CaseKind,
    CaseRequested,
    Event,
    Money,
    Order,
    OrderLine,
    OrderSeen,
    Ref,
    RefKind,
    RefundSeen,
    RequestChanged,
    RequestStatus,
)
from rmabridge.wire.amounts import maybe_major
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.ids import digits
from rmabridge.wire.times import maybe_instant

Meaning = Literal["return", "refund", "exchange", "approved", "declined", "cancelled"]
ASKED: Final = {"return": CaseKind.RETURN, "refund": CaseKind.REFUND, "exchange": CaseKind.EXCHANGE}


def number(given: Any) -> str | None:
    """An id of theirs; zero stands for none."""
    found = digits(given)
    return found if found.strip("0") else None


def utc(node: Any, name: str) -> datetime | None:
    """A time of the ``…_gmt`` fields, which carry no zone."""
    return maybe_instant(text(dig(node, f"{name}_gmt")), "UTC")


def listed(node: Any, name: str) -> list[dict[str, Any]]:
    """The objects below a name."""
    found = dig(node, name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def given_back(node: Any) -> list[tuple[str, Money]]:
    """The refunds of an order; their totals are negative there."""
    found = [
        (number(one.get("id")), maybe_major(one.get("total"), dig(node, "currency"))) for one in listed(node, "refunds")
    ]
    return [(id_, Money(amount=abs(one.amount), currency=one.currency)) for id_, one in found if id_ and one]


def left(node: Any) -> Money | None:
    """What may still be refunded of an order."""
    total = maybe_major(dig(node, "total"), dig(node, "currency"))
    return total - refunded(node, total.currency) if total else None


def refunded(node: Any, currency: str) -> Money:
    """What was refunded of an order."""
    return Money(amount=sum((one.amount for _, one in given_back(node)), Decimal()), currency=currency)


def refund_seen(id_: str, amount: Money, order: str | None, at: datetime, method: Any = None) -> RefundSeen:
    """A refund under the one key that all ways of hearing of it share."""
    refs = (Ref(kind=RefKind.REFUND, value=id_), *((Ref(kind=RefKind.ORDER, value=order),) if order else ()))
    return RefundSeen(key=f"refund:{id_}", at=at, refs=refs, refund=id_, amount=amount, method=text(method))


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the orders of one shop; ``statuses`` are those that stand for a request or an answer to it."""

    statuses: Mapping[str, Meaning]
    whole_order: bool = False
    locale: str | None = None

    def events(self, node: dict[str, Any], received: datetime, key: str | None = None) -> Iterator[Event]:
        """The order as it is now, what its status asks for, and its refunds."""
        if not (id_ := number(node.get("id"))):
            raise Malformed("an order without an id")
        at, status = utc(node, "date_modified") or received, text(node.get("status"))
        bought, buyer = order(id_, node, at), self.buyer(id_, node)
        yield from self._asked(status, node, at, bought, buyer)
        for refund, amount in given_back(node):
            yield refund_seen(refund, amount, id_, at, node.get("payment_method"))
        # Several changes fall into one second, so what they change belongs to the key.
        changed = text(node.get("date_modified_gmt")) or ""
        yield OrderSeen(
            key=key or f"order:{id_}:{changed}:{status}:{len(listed(node, 'refunds'))}"[:500],
            at=at,
            refs=(Ref(kind=RefKind.ORDER, value=id_),),
            order=bought,
            buyer=buyer,
        )

    def matters(self, node: dict[str, Any]) -> bool:
        """Whether the order is a matter of after-sales at all."""
        return bool(listed(node, "refunds")) or text(node.get("status")) in {*self.statuses, "refunded", "cancelled"}

    def _asked(
        self, status: str | None, node: dict[str, Any], at: datetime, bought: Order, buyer: Buyer
    ) -> Iterator[Event]:
        meaning, key = self.statuses.get(status or ""), f"order:{bought.id}:status:{status}"[:500]
        refs = (Ref(kind=RefKind.ORDER, value=bought.id),)
        if meaning in ASKED:
            yield CaseRequested(
                key=key,
                at=at,
                refs=refs,
                kind=ASKED[meaning],
                reason=status,
                amount=left(node) if self.whole_order else None,
                order=bought,
                buyer=buyer,
            )
        elif meaning:
            yield RequestChanged(key=key, at=at, refs=refs, status=RequestStatus(meaning))

    def buyer(self, order_id: str, node: Any) -> Buyer:
        """Who bought; guests have no number. Notes on the order reach them."""
        billing = dig(node, "billing")
        return Buyer(
            id=number(dig(node, "customer_id")),
            name=_name(billing) or _name(dig(node, "shipping")),
            email=text(dig(billing, "email")),
            phone=text(dig(billing, "phone")),
            thread=order_id,
            locale=self.locale,
        )


def order(id_: str, node: Any, at: datetime) -> Order:
    """The order itself. WooCommerce knows when it was completed, not when it was delivered."""
    currency, total = dig(node, "currency"), maybe_major(dig(node, "total"), dig(node, "currency"))
    return Order(
        id=id_,
        number=text(dig(node, "number")),
        placed_at=utc(node, "date_created"),
        cancelled_at=at if dig(node, "status") == "cancelled" else None,
        paid_by=text(dig(node, "payment_method")),
        total=total,
        refunded=refunded(node, total.currency) if total else None,
        lines=tuple(made for one in listed(node, "line_items") if (made := _line(one, currency))),
        ship_to=_address(dig(node, "shipping")),
        note=text(dig(node, "customer_note")),
        tags=tuple(one for one in (text(dig(node, "status")),) if one),
    )


def _line(one: dict[str, Any], currency: Any) -> OrderLine | None:
    if not (id_ := number(one.get("id"))):
        return None
    pieces, variation = number(one.get("quantity")), number(one.get("variation_id"))
    return OrderLine(
        id=id_,
        sku=text(one.get("sku")),
        title=text(one.get("name")) or "",
        quantity=int(pieces or 1),
        price=_price(one, currency, int(pieces or 1)),
        variant=variation,
    )


def _price(one: dict[str, Any], currency: Any, pieces: int) -> Money | None:
    """What was paid for a piece, tax and discounts counted in; never more than the line has."""
    net, tax = maybe_major(one.get("total"), currency), maybe_major(one.get("total_tax") or "0", currency)
    if net is None or tax is None:
        return None
    step = Decimal(1).scaleb(min(int(net.amount.as_tuple().exponent), 0))
    return Money(amount=((net.amount + tax.amount) / pieces).quantize(step, ROUND_DOWN), currency=net.currency)


def _name(node: Any) -> str | None:
    parts = [text(dig(node, name)) for name in ("first_name", "last_name")]
    return " ".join(one for one in parts if one) or None


def _address(node: Any) -> Address | None:
    lines = tuple(line for name in ("address_1", "address_2") if (line := text(dig(node, name))))
    if not lines and not text(dig(node, "city")):
        return None
    return Address(
        name=_name(node),
        phone=text(dig(node, "phone")),
        country=text(dig(node, "country")),
        region=text(dig(node, "state")),
        city=text(dig(node, "city")),
        lines=lines,
        postcode=text(dig(node, "postcode")),
    )
