"""Parcels on their way: what stalls is told, what is silent counts as lost, what is refused comes back as a return."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import Field

from rmabridge.abilities import Policy, Proposal, Timer, View
from rmabridge.core.colleagues import tell_colleagues
from rmabridge.core.reach import note, tell
from rmabridge.model import (
    AskCarrier,
    Case,
    CaseKind,
    CaseRequested,
    Classified,
    Direction,
    Form,
    Line,
    Money,
    Parcel,
    ParcelException,
    ParcelSeen,
    ParcelStatus,
    RefundStatus,
    RemedyKind,
    RemedyOffered,
)
from rmabridge.model.parcel import Silence as Presumed

from .legs import Limit, Silence, Trouble, heard, lost_at, stalls_at, troubles
from .regions import Journey

REFUSED_RULE: Final = "logistics.refused"
FRESH: Final = timedelta(days=2)
INSPECT_WITHIN: Final = timedelta(hours=24)
PROMISED_DAY: Final = timedelta(days=1)  # most carriers promise a day, and all of it is theirs
# What still matters of a parcel whose journey is over.
LASTING: Final = frozenset({"damaged", "partial_loss", "lost", "refused"})
GOES_BACK: Final = frozenset({ParcelStatus.RETURNING, ParcelStatus.RETURNED})


class Watching(Policy):
    """Legs, silence, reminders and refusals."""

    limits: tuple[Limit, ...] = Field((), description="your own patience by leg and carrier; goes first")
    silences: tuple[Silence, ...] = Field((), description="your own days of silence until a parcel counts as lost")
    remind: bool = Field(True, description="remind buyers to look at the goods before they sign")
    refund_refused: bool = Field(True, description="refund what was refused at the door when it is back, by rule")
    enquire: bool = Field(True, description="ask the carrier about a stalled parcel where it takes enquiries")

    def watch(self, case: Case, parcel: Parcel, way: Journey, view: View) -> Iterable[Proposal]:
        """Tell what is wrong on the parcel's leg, presume it lost when the time has come, and keep the clock."""
        if not _followed(case, parcel, view):
            return
        stall = stalls_at(case, parcel, self.limits, way.extra)
        gone = lost_at(case, parcel, self.silences, way.extra)
        if gone and self.is_gone(case, parcel, way, view):
            yield _presumed(case, parcel, gone, view.now)
            return
        for one in troubles(case, parcel, view.now, self.limits, way.extra):
            if parcel.final and one.type not in LASTING:
                continue
            yield from self._report(case, parcel, one, view)
        yield from _clock(case, parcel, [stall, gone, arrives_by(case, parcel, way)], view)

    def is_gone(self, case: Case, parcel: Parcel, way: Journey, view: View) -> bool:
        """Whether the parcel is lost, or silent for so long that it counts as lost."""
        gone = lost_at(case, parcel, self.silences, way.extra)
        silent = gone is not None and view.now >= gone and _followed(case, parcel, view)
        return silent or parcel.status is ParcelStatus.LOST

    def _report(self, case: Case, parcel: Parcel, one: Trouble, view: View) -> Iterable[Proposal]:
        about: dict[str, Any] = {"waybill": parcel.waybill, "carrier": _name(parcel)}
        about |= {"leg": f"leg_{one.leg}", "trouble": one.type, "since": one.since}
        origin = f"exception:{parcel.waybill}:{one.name}:{int(one.since.timestamp())}"
        yield from tell_colleagues(case, view, origin, "logistics.exception", **about)
        if one.type == "stalled" and self.enquire:
            yield from enquiry(case, parcel, "pickup" if one.leg == "pickup" else "silent", view)

    def remember(self, case: Case, parcel: Parcel, view: View) -> Iterable[Proposal]:
        """Out for delivery: look first, then sign."""
        out = [one.at for one in parcel.scans if one.status is ParcelStatus.OUT_FOR_DELIVERY]
        if not self.remind or parcel.status is not ParcelStatus.OUT_FOR_DELIVERY or not out:
            return
        purpose = f"logistics:inspect:{parcel.waybill}"
        if view.proposed(purpose) or view.now - out[-1] > INSPECT_WITHIN:
            return
        message = tell(case, view, purpose, "logistics.inspect", waybill=parcel.waybill, carrier=_name(parcel))
        if message:
            update = {"once": f"inspect:{parcel.waybill}", "not_after": out[-1] + INSPECT_WITHIN}
            yield message.model_copy(update=update)

    def refused(self, case: Case, parcel: Parcel, view: View) -> Iterable[Proposal]:
        """A parcel refused at the door is a return: it goes back under its own number, and is paid when it is back."""
        if not was_refused(parcel):
            return
        at = next((one.at for one in parcel.scans if one.exception is ParcelException.REFUSED), heard(case, parcel))
        if parcel.direction is Direction.OUT and parcel.status in GOES_BACK:
            back = Parcel(waybill=parcel.waybill, direction=Direction.BACK)
            yield ParcelSeen(key=f"refused:{case.id}:{parcel.waybill}", at=at, parcel=back)
        elif _is_home(parcel):
            about = {"status": ParcelStatus.DELIVERED, "direction": Direction.BACK, "turns": False}
            home = Parcel(waybill=parcel.waybill, **about)
            came = max(view.now, heard(case, parcel) + timedelta(microseconds=1))  # a carrier's clock may be ahead
            yield ParcelSeen(key=f"home:{case.id}:{parcel.waybill}", at=came, parcel=home)
        if case.request is None:
            yield from self._returned(case, parcel, at, view)
        elif self.refund_refused and case.request.reason == "refused_at_door" and case.offered is None:
            key = f"offer:{REFUSED_RULE}:{case.id}"
            amount = case.request.amount
            kind = RemedyKind.RETURN_REFUND
            yield RemedyOffered(key=key, at=view.now, remedy=kind, amount=amount, automatic=REFUSED_RULE)

    def _returned(self, case: Case, parcel: Parcel, at: datetime, view: View) -> Iterable[Proposal]:
        order = case.order
        goods = order.lines if order else ()
        yield CaseRequested(
            key=f"return:refused:{case.id}:{parcel.waybill}",
            at=at,
            kind=CaseKind.RETURN,
            reason="refused_at_door",
            lines=tuple(Line(id=one.id, order_line=one.id, sku=one.sku, quantity=one.quantity) for one in goods),
            amount=left_of(case),
        )
        if case.kind is not CaseKind.RETURN:
            yield Classified(key=f"refused:kind:{case.id}", at=view.now, kind=CaseKind.RETURN)
        about: dict[str, Any] = {"waybill": parcel.waybill, "carrier": _name(parcel)}
        yield from tell_colleagues(case, view, f"refused:{parcel.waybill}", "logistics.refused", **about)


def was_refused(parcel: Parcel) -> bool:
    """Whether the buyer did not take the parcel."""
    told = {parcel.exception, *(one.exception for one in parcel.scans)}
    delivered = parcel.status is ParcelStatus.DELIVERED and parcel.direction is Direction.OUT
    return ParcelException.REFUSED in told and not delivered


def _is_home(parcel: Parcel) -> bool:
    """Whether a refused parcel is back; some carriers call it returned at the moment of the refusal."""
    back = parcel.direction is Direction.BACK and parcel.status is ParcelStatus.RETURNED
    return back and parcel.last is not None and parcel.last.exception is not ParcelException.REFUSED


def enquiry(
    case: Case, parcel: Parcel, topic: Literal["silent", "damaged", "pickup", "other"], view: View
) -> Iterable[Proposal]:
    """A question to the carrier, where it takes them."""
    about = {"waybill": parcel.waybill, "carrier": _name(parcel), "topic": f"topic_{topic}"}
    words = note(case, view, "logistics.enquiry", Form.CHAT, **about)
    ask = AskCarrier(waybill=parcel.waybill, carrier=parcel.carrier, topic=topic, external=case.id, text=words.text)
    if not view.proposed(ask.key) and view.can(ask):
        yield ask


def dispatched_at(parcel: Parcel) -> datetime | None:
    """When the carrier took the parcel."""
    moving = [one.at for one in parcel.scans if one.status not in {ParcelStatus.PENDING, ParcelStatus.INFO_RECEIVED}]
    return parcel.shipped_at or (moving[0] if moving else None)


def arrives_by(case: Case, parcel: Parcel, way: Journey) -> datetime | None:
    """When the parcel is late: past its region's days, else past what the carrier said."""
    sent = dispatched_at(parcel)
    if parcel.final or sent is None:
        return None
    if way.days:
        return sent + timedelta(days=way.days[1])
    return parcel.eta + PROMISED_DAY + way.extra if parcel.eta else None


def left_of(case: Case) -> Money | None:
    """What of the order's money was not given back yet."""
    total = case.order.total if case.order else None
    if total is None or case.order is None:
        return None
    paid = [one.amount for one in case.refunds if one.status is not RefundStatus.FAILED and one.amount]
    back = [case.order.refunded] if case.order.refunded else paid
    left = total
    for one in back:
        left = left - one if one.currency == left.currency else left
    return left if left.amount > 0 else None


def _followed(case: Case, parcel: Parcel, view: View) -> bool:
    """Whether silence means anything: somebody tracks the parcel, and nobody has said that it arrived."""
    arrived = case.order is not None and case.order.delivered_at is not None
    return not arrived and bool(parcel.scans or view.shop.carrier)


def _presumed(case: Case, parcel: Parcel, at: datetime, now: datetime) -> ParcelSeen:
    silence = Presumed(since=heard(case, parcel), status=parcel.status)
    key = f"lost:{case.id}:{parcel.waybill}:{int(at.timestamp())}:{parcel.status}"
    return ParcelSeen(key=key, at=now, parcel=Parcel(waybill=parcel.waybill, silence=silence))


def _clock(case: Case, parcel: Parcel, times: list[datetime | None], view: View) -> Iterable[Timer]:
    name = f"leg:{parcel.waybill}"
    ahead = [at for at in times if at and at > view.now]
    if ahead:
        yield Timer(name, min(ahead))
    elif any(one.name == name for one in case.deadlines):
        yield Timer(name, None)


def _name(parcel: Parcel) -> str | None:
    return parcel.carrier_name or parcel.carrier
