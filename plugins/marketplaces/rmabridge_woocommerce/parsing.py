"""Orders as events: what webhooks, the comparison and a fetch show is read in one way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from functools import lru_cache
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
from rmabridge.wire.amounts import number as amount
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.ids import digits
from rmabridge.wire.times import maybe_instant

Meaning = Literal["return", "refund", "exchange", "approved", "declined", "cancelled"]
_UNITS: Final = Decimal(0)
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
    rows, currency = listed(node, "refunds"), dig(node, "currency")
    found = [(number(one.get("id")), amount(one.get("total"))) for one in rows]
    told = [(id_, maybe_major(abs(paid), currency)) for id_, paid in found if id_ and paid is not None]
    return [(id_, paid) for id_, paid in told if paid]


def left(node: Any) -> Money | None:
    """What may still be refunded of an order."""
    total = maybe_major(dig(node, "total"), dig(node, "currency"))
    return total - refunded(given_back(node), total.currency) if total else None


def refunded(refunds: list[tuple[str, Money]], currency: str) -> Money:
    """What was refunded in all."""
    return Money(amount=sum((one.amount for _, one in refunds), Decimal()), currency=currency)


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
        refunds = given_back(node)
        bought, buyer = order(id_, node, at, refunds), self.buyer(id_, node)
        yield from self._asked(status, node, at, bought, buyer)
        for refund, paid in refunds:
            yield refund_seen(refund, paid, id_, at, node.get("payment_method"))
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


def order(id_: str, node: Any, at: datetime, refunds: list[tuple[str, Money]]) -> Order:
    """The order itself. WooCommerce knows when it was completed, not when it was delivered."""
    currency = dig(node, "currency")
    total = maybe_major(dig(node, "total"), currency)
    return Order(
        id=id_,
        number=text(dig(node, "number")),
        placed_at=utc(node, "date_created"),
        cancelled_at=at if dig(node, "status") == "cancelled" else None,
        paid_by=text(dig(node, "payment_method")),
        total=total,
        refunded=refunded(refunds, total.currency) if total else None,
        lines=tuple(made for one in listed(node, "line_items") if (made := _line(one, currency))),
        ship_to=_address(dig(node, "shipping")),
        note=text(dig(node, "customer_note")),
        tags=tuple(one for one in (text(dig(node, "status")),) if one),
    )


def _line(one: dict[str, Any], currency: Any) -> OrderLine | None:
    if not (id_ := number(one.get("id"))):
        return None
    pieces, variation = int(number(one.get("quantity")) or 1), number(one.get("variation_id"))
    return OrderLine(
        id=id_,
        sku=text(one.get("sku")),
        title=text(one.get("name")) or "",
        quantity=pieces,
        price=_price(one, currency, pieces),
        variant=variation,
    )


def _price(one: dict[str, Any], currency: Any, pieces: int) -> Money | None:
    """What was paid for a piece, tax and discounts counted in, as finely as the line says it; never more."""
    net, tax = one.get("total"), one.get("total_tax") or "0"
    if type(net) is type(tax) is type(currency) is str:
        return _paid(net, tax, currency, pieces)
    return _paid.__wrapped__(net, tax, currency, pieces)


@lru_cache(maxsize=4096)  # every change of an order brings all its lines again
def _paid(told: Any, taxed: Any, currency: Any, pieces: int) -> Money | None:
    net, tax = amount(told), amount(taxed)
    if net is None or tax is None:
        return None
    return maybe_major(((net + tax) / pieces).quantize(net + _UNITS, ROUND_DOWN), currency)


def _name(node: Any) -> str | None:
    parts = [text(dig(node, name)) for name in ("first_name", "last_name")]
    return " ".join(one for one in parts if one) or None


def _address(node: Any) -> Address | None:
    if not isinstance(node, dict):
        return None
    lines = tuple(line for name in ("address_1", "address_2") if (line := text(node.get(name))))
    if not lines and not text(node.get("city")):
        return None
    return Address(
        name=_name(node),
        phone=text(node.get("phone")),
        country=text(node.get("country")),
        region=text(node.get("state")),
        city=text(node.get("city")),
        lines=lines,
        postcode=text(node.get("postcode")),
    )
