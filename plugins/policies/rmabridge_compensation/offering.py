"""Offers: what a rule allows, worked out for one case, and never more than there is room for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from rmabridge.abilities import View
from rmabridge.core.rates import NoRate
from rmabridge.model import Case, Choice, Money

from .course import Course
from .operations import Operation
from .rules import Offer
from .spending import Purse, interim, left, worth


def choices(
    rule: str, offers: Iterable[Offer], operations: Mapping[str, Operation], case: Case, view: View, purse: Purse
) -> list[Choice]:
    """The choices that the case has room for, in the rule's order."""
    found = (_choice(rule, one, operations[one.operation], case, view, purse) for one in offers)
    return [one for one in found if one is not None]


def _choice(rule: str, offer: Offer, operation: Operation, case: Case, view: View, purse: Purse) -> Choice | None:
    choice = Choice(remedy=operation.remedy, parts=operation.extras(), rule=f"{rule}/{offer.operation}")
    course = Course(offer.operation, operation, choice, case, view, purse)
    beside = _beside(course)
    room = purse.room(case, view)
    if beside is None or (beside > 0 and (room is None or beside > room.amount)):
        return None
    if not operation.priced:
        return choice
    amount = _amount(offer, case, view, purse, _rest(room, beside, left(case, view)))
    return choice.model_copy(update={"amount": amount}) if amount else None


def _rest(room: Money | None, beside: Decimal, rest: Money | None) -> Money | None:
    """What the agreed amount may be: without what is given beside it, and never more than is left of the order."""
    return min(Money(amount=room.amount - beside, currency=room.currency), rest) if room and rest else None


def _amount(offer: Offer, case: Case, view: View, purse: Purse, room: Money | None) -> Money | None:
    basis = worth(case)
    if basis is None or room is None:
        return None
    try:
        taken = purse.rates.total(interim(case, view), room.currency, purse.on)
        amount = purse.amount(offer, basis, taken, room)
        whole = purse.rates.convert(basis, room.currency, purse.on) - taken if offer.share == 1 else None
    except NoRate:
        return None
    return None if whole and amount and amount < whole and not offer.most else amount


def _beside(course: Course) -> Decimal | None:
    """What the steps cost beside the agreed amount, in the order's currency; None where that cannot be told."""
    found = Decimal(0)
    for amount in _costly(course):
        if amount is None:
            return None
        found += amount.amount
    return found


def _costly(course: Course) -> Iterator[Money | None]:
    order = course.case.order
    currency = order.total.currency if order and order.total else None
    for number, step in enumerate(course.operation.steps):
        if step.do not in {"credit", "reship"} or (step.do == "credit" and not step.on_top):
            continue
        action = course.action(step, number)
        if action is None or (step.do == "reship" and action.amount is None and step.goods != "other"):
            yield None
        elif action.amount is not None:
            yield _as(action.amount, currency, course.purse)


def _as(amount: Money, currency: str | None, purse: Purse) -> Money | None:
    try:
        return purse.rates.convert(amount, currency, purse.on) if currency else None
    except NoRate:
        return None
