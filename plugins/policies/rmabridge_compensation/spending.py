"""What a case has cost, what is left of its order, and what more may be promised."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from rmabridge.abilities import View
from rmabridge.core.rates import NoRate, Rates, floored
from rmabridge.model import Case, Line, Money, Order, OrderLine, RefundStatus

from .rules import Offer

GIVING_KEYS: Final = ("refund:", "credit:", "reship:")
INTERIM: Final = "interim"
LIVE: Final = frozenset({"waiting", "due", "sending", "uncertain", "done"})


def given(case: Case, view: View, but: str = "") -> list[Money]:
    """What was given in the case or is about to be; what is held counts when it is released."""
    return [one for key, one in _given(case, view).items() if key != but and one is not None]


def interim(case: Case, view: View) -> list[Money]:
    """What was given while it was open who is liable."""
    return [one for key, one in _given(case, view).items() if key.rpartition(":")[2] == INTERIM and one is not None]


def _given(case: Case, view: View) -> dict[str, Money | None]:
    found = {one.action: one.amount for one in case.given}
    for key, state in view.ledger.items():
        if state in LIVE and key.startswith(GIVING_KEYS) and found.get(key) is None:
            action = view.action(key)
            found[key] = action.worth if action else None
    return found


def left(case: Case, view: View) -> Money | None:
    """What is left of the order to give back; None where its total is not known."""
    order = case.order
    if order is None or order.total is None:
        return None
    currency = order.total.currency
    ours = {key: one for key, one in _given(case, view).items() if key.startswith("refund:") and one}
    coming = _sum((one for key, one in ours.items() if view.ledger.get(key, "done") != "done"), currency)
    seen = [one.amount for one in case.refunds if one.amount and one.status is not RefundStatus.FAILED]
    told = [order.refunded] if order.refunded else []
    # What the marketplace shows as paid may or may not hold our own refunds already; what is on its way it cannot.
    paid = max(_sum(ours.values(), currency) - coming, _sum(seen, currency), _sum(told, currency)) + coming
    return Money(amount=max(Decimal(0), order.total.amount - paid), currency=currency)


def _sum(amounts: Iterable[Money], currency: str) -> Decimal:
    return sum((one.amount for one in amounts if one.currency == currency), Decimal(0))


def worth(case: Case) -> Money | None:
    """What the goods of the request are worth: its amount, its lines at the order's prices (None unless each has one),
    or the whole order where no lines are told."""
    request, order = case.request, case.order
    if request and request.amount:
        return request.amount
    if order is None:
        return None
    if request and request.lines:
        return cost(order, tuple((line, line.quantity) for line in request.lines))
    return order.total


def cost(order: Order, lines: tuple[tuple[Line, int], ...]) -> Money | None:
    """Lines at the order's prices; None unless each has one, in one currency."""
    found: Money | None = None
    for line, pieces in lines:
        goods = ordered(order, line)
        if goods is None or goods.price is None or (found and found.currency != goods.price.currency):
            return None
        part = Money(amount=goods.price.amount * pieces, currency=goods.price.currency)
        found = found + part if found else part
    return found


def ordered(order: Order, line: Line) -> OrderLine | None:
    """The order line that a line of the request is about."""
    by_id = [one for one in order.lines if line.order_line and one.id == line.order_line]
    alike = by_id or [one for one in order.lines if line.sku and one.sku == line.sku]
    return alike[0] if len(alike) == 1 else None


@dataclass(frozen=True, slots=True)
class Purse:
    """What may still be promised in a case, in the order's currency: the floor under which no offer goes.

    ``limit`` is what a case may cost without an approval, ``floor`` the share of the order that a rule may give.
    """

    rates: Rates
    limit: Money
    floor: Decimal
    on: date

    def room(self, case: Case, view: View) -> Money | None:
        """The most that may be promised now, all in all; None where it cannot be worked out."""
        order = case.order
        if order is None or order.total is None:
            return None
        currency = order.total.currency
        try:
            spent = self.rates.total(given(case, view), currency, self.on)
            allowed = self.rates.convert(self.limit, currency, self.on) - spent
        except NoRate:
            return None
        share = Money(amount=order.total.amount * self.floor, currency=currency) - spent
        most = min(allowed, share)
        return floored(most) if most.amount > 0 else Money(amount=Decimal(0), currency=currency)

    def amount(self, offer: Offer, basis: Money, taken: Money, room: Money) -> Money | None:
        """What an offer comes to, ``taken`` off and never above the room; None where it is not worth offering."""
        try:
            wanted = self._wanted(offer, basis, room.currency)
            if wanted is None:
                return None
            wanted = floored(min(wanted - taken, room))
            least = self.rates.convert(offer.least, room.currency, self.on) if offer.least else None
        except NoRate:
            return None
        return None if wanted.amount <= 0 or (least and wanted < least) else wanted

    def _wanted(self, offer: Offer, basis: Money, currency: str) -> Money | None:
        if offer.amount is not None:
            found = self.rates.convert(offer.amount, currency, self.on)
        elif offer.share is not None:
            found = self.rates.convert(
                Money(amount=basis.amount * offer.share, currency=basis.currency), currency, self.on
            )
        else:
            return None
        return min(found, self.rates.convert(offer.most, currency, self.on)) if offer.most else found
