"""Before and at dispatch: late orders get an apology and a coupon, far regions their days and the weather."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field

from rmabridge.abilities import Policy, Proposal, Timer, View
from rmabridge.core.reach import tell
from rmabridge.model import Case, CaseKind, DeadlineReached, Direction, Event, GiveCredit, Money, Parcel

from .legs import Leg, leg_of
from .regions import Journey
from .watching import FRESH, dispatched_at

LATE: Final = "late-dispatch"
WAIT: Final = "late-dispatch-coupon"
UNDER_WAY: Final = frozenset({"waiting", "due", "sending", "uncertain"})
UNSENT: Final = frozenset({CaseKind.QUESTION, CaseKind.COMPLAINT})


class Dispatching(Policy):
    """Late dispatch, and the days until the door."""

    watch_dispatch: bool = Field(
        True, description="watch for orders that leave late; off for marketplaces that never show parcels"
    )
    dispatch_within: timedelta = Field(timedelta(hours=48), description="promise: from the order to its dispatch")
    dispatch_window: timedelta = Field(timedelta(days=14), description="how long after the promise an order is watched")
    coupon: Money | None = Field(None, description="given once for a late dispatch, e.g. '5 CNY'; none: words only")
    coupon_patience: timedelta = Field(timedelta(minutes=15), description="how long the apology waits for its coupon")
    tell_days: bool = Field(True, description="tell buyers in far regions at dispatch how long it takes")

    def dispatch(self, case: Case, event: Event, view: View, *, heard: bool) -> Iterable[Proposal]:
        """Apologise, once all have ``heard`` of it, for an order that is late; start the clock for one not late yet."""
        due = self.promised(case)
        if due is None:
            return
        if view.now < due:
            yield Timer(LATE, due)
        elif heard and self.is_late(case, view):
            yield from self._apologise(case, event, view)

    def promised(self, case: Case) -> datetime | None:
        """When the order must have left; None where it has, or need not."""
        order = case.order
        if not self.watch_dispatch or order is None or order.placed_at is None or case.kind not in UNSENT:
            return None
        over = order.cancelled_at or order.delivered_at or order.refunded or case.refunds or case.request
        out = [one for one in case.parcels if one.direction is Direction.OUT]
        if over or any(leg_of(one) is not Leg.PICKUP for one in out):
            return None
        return order.placed_at + self.dispatch_within

    def is_late(self, case: Case, view: View) -> bool:
        """Whether the order has not left though it was promised."""
        due = self.promised(case)
        return due is not None and due <= view.now < due + self.dispatch_window

    def _apologise(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        assert case.order is not None  # noqa: S101 (narrows the type)
        order, purpose = case.order, f"logistics:late_dispatch:{case.order.id}"
        credit = self._credit(case)
        given = next((one for one in case.given if credit and one.action == credit.key), None)
        if case.offered and not view.proposed(purpose) and not (credit and view.proposed(credit.key)):
            return  # another policy has offered something for it, and said so
        if view.proposed(purpose):
            yield from _tell_coupon(case, view, purpose, given.ref if given else None, credit)
            return
        if credit and not view.proposed(credit.key) and view.can(credit):
            yield credit
            yield Timer(WAIT, view.now + self.coupon_patience)
            return
        waited = isinstance(event, DeadlineReached) and event.name == WAIT
        running = any(one.name == WAIT for one in case.deadlines)
        if credit and given is None and running and not waited and view.ledger.get(credit.key) in UNDER_WAY:
            return
        code = given.ref if given else None
        message = tell(
            case, view, purpose, "logistics.late_dispatch", coupon=code, worth=self.coupon if given else None
        )
        if message:
            yield message.model_copy(update={"once": f"late_dispatch:{order.id}"})
        yield Timer(WAIT, None)

    def _credit(self, case: Case) -> GiveCredit | None:
        if self.coupon is None or case.order is None:
            return None
        return GiveCredit(
            credit="coupon",
            external=case.order.id,
            amount=self.coupon,
            buyer=case.buyer.id if case.buyer else None,
            part="late_dispatch",
            reason="late_dispatch",
        )

    def days(self, case: Case, parcel: Parcel, way: Journey, view: View) -> Iterable[Proposal]:
        """Tell a far region's days, and what holds parcels up there, when the parcel has left."""
        sent, worth = dispatched_at(parcel), way.notice is not None or (way.region is not None and way.region.notice)
        if not self.tell_days or way.days is None or not worth or parcel.final or sent is None:
            return
        purpose = f"logistics:eta:{parcel.waybill}"
        if view.proposed(purpose) or view.now - sent > FRESH:
            return
        low, high = way.days
        about = {"waybill": parcel.waybill, "carrier": parcel.carrier_name or parcel.carrier, "low": low, "high": high}
        weather = f"weather_{way.notice.kind}" if way.notice else None
        message = tell(case, view, purpose, "logistics.eta", **about, weather=weather)
        if message:
            yield message.model_copy(update={"once": f"eta:{parcel.waybill}", "not_after": sent + FRESH})


def _tell_coupon(
    case: Case, view: View, purpose: str, code: str | None, credit: GiveCredit | None
) -> Iterable[Proposal]:
    """The coupon that came after the apology."""
    said, later = view.action(purpose), f"{purpose}:coupon"
    if code is None or credit is None or view.proposed(later) or said is None or code in getattr(said, "text", ""):
        return
    if message := tell(case, view, later, "logistics.coupon", coupon=code, worth=credit.amount):
        yield message
