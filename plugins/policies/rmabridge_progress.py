"""Progress: tells the buyer each finished step once, and only the newest where several came together.

Working days are those of the shop's calendar, in its time zone: weekdays without its public holidays, and make-up days.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, Final

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, Shop, Timer, View
from rmabridge.core.calendars import calendar_of
from rmabridge.core.lifecycle import DECIDED, answering, asked_again
from rmabridge.core.reach import tell
from rmabridge.model import (
    NEWS,
    Case,
    CaseKind,
    DeadlineReached,
    Direction,
    Event,
    Money,
    Parcel,
    Refund,
    RefundSeen,
    RefundStatus,
    RequestChanged,
    RequestStatus,
    SendMessage,
    Status,
)

LATE: Final = "refund-late"
STEPS: Final = {
    Status.APPROVED: "approved",
    Status.DECLINED: "declined",
    Status.RECEIVED: "received",
    Status.REFUNDING: "refund_started",
    Status.REFUNDED: "refunded",
    Status.CANCELLED: "cancelled",
}
# A step is not told any more once one of these was.
_MONEY = frozenset({"refund_started", "refund_late", "refunded"})
OUTDATED_BY: Final = {
    "approved": frozenset({"received", "exchange_shipped"}) | _MONEY,
    "declined": _MONEY,
    "cancelled": _MONEY,
    "received": frozenset({"exchange_shipped"}) | _MONEY,
    "refund_started": frozenset({"refund_late", "refunded"}),
    "refund_late": frozenset({"refunded"}),
}


class Progress(Policy):
    """One message for each step."""

    title: ClassVar[str] = "Progress"
    requires: ClassVar[tuple[str, ...]] = ("order",)
    hears: ClassVar[frozenset[type[Any]]] = NEWS | {DeadlineReached}

    steps: tuple[str, ...] = Field(
        (*STEPS.values(), "exchange_shipped", "refund_late"), description="the steps that are told"
    )

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """The message of the step the case is at, and the clock that watches a refund."""
        if case.merged_into or (case.status is Status.CLOSED and not _of_money(event)):
            return
        yield from _watch(case, view)
        if "refunded" in self.steps and (again := _once_more(case, event, view)):
            yield again
            return
        step, now_approved = _step(case, view), _approved_after_money(case, event)
        if now_approved:  # a gesture was paid before: where to send the goods is told all the same
            step = "approved"
        if step is None or step not in self.steps:
            return
        if view.proposed(_key(case, step)) if now_approved else _told(case, view, step):
            return
        template = "approved_refund" if step == "approved" and case.kind is CaseKind.REFUND else step
        values = _values(case, event, view, template)
        message = tell(case, view, _key(case, step), f"progress.{template}", **values)
        if message:
            yield message.model_copy(update={"replaces": f"progress:{case.round}"})


def _once_more(case: Case, event: Event, view: View) -> SendMessage | None:
    """The message of a further refund of this round: the first one was told by itself, and says nothing of this one."""
    if not isinstance(event, RefundSeen):
        return None
    paid, first = _paid(case), f"progress:refunded:{case.round}"
    known = next((one for one in paid if one.id == event.refund), None)
    key = f"{first}:{len(paid)}"
    if known is None or len(paid) < 2 or not view.proposed(first) or view.proposed(key):
        return None
    alone = case.model_copy(update={"refunds": (known,)})
    values = {"amount": _amount(alone), "expected": expected(alone, view.shop)}
    return tell(case, view, key, "progress.refunded", **values)


def _paid(case: Case) -> list[Refund]:
    """The refunds of this round that arrived."""
    since = case.reopenings[-1] if case.reopenings else None
    return [one for one in case.refunds if one.status is RefundStatus.DONE and (since is None or one.at > since)]


def _of_money(event: Event) -> bool:
    """Whether the event matters to a closed case too: the buyer still waits for the money."""
    return isinstance(event, RefundSeen) or (isinstance(event, DeadlineReached) and event.name == LATE)


def _approved_after_money(case: Case, event: Event) -> bool:
    """Whether the request is approved now, and what was paid, was paid before."""
    approved = isinstance(event, RequestChanged) and event.status is RequestStatus.APPROVED
    current = case.request is not None and case.request.status is RequestStatus.APPROVED
    return approved and current and bool(case.refunds) and all(one.at < event.at for one in case.refunds)


def _step(case: Case, view: View) -> str | None:
    status = _status(case)
    if status is Status.REFUNDING and (due := expected(case, view.shop)) and view.now >= due:
        return "refund_late"
    if status not in {Status.REFUNDING, Status.REFUNDED} and exchange_parcel(case):
        return "exchange_shipped"
    return STEPS.get(status)


def _status(case: Case) -> Status:
    if case.status is not Status.CLOSED:
        return case.status
    pending = any(one.status is RefundStatus.PENDING for one in case.refunds)
    done = any(one.status is RefundStatus.DONE for one in case.refunds)
    return Status.REFUNDING if pending else Status.REFUNDED if done else Status.CLOSED


def _told(case: Case, view: View, step: str) -> bool:
    """Whether the step was told in this round, or before it and nothing of the kind has happened since."""
    later = OUTDATED_BY.get(step, frozenset())
    if view.proposed(_key(case, step)) or any(view.proposed(_later(case, one)) for one in later):
        return True
    earlier = any(view.proposed(f"progress:{step}:{number}") for number in range(1, case.round))
    return earlier and not any(at > case.reopenings[-1] for at in _times(case, step))


def _key(case: Case, step: str) -> str:
    """One message for each step of a round; what was declined and asked for again is decided once more, and after a
    gesture the steps of a return begin anew.
    """
    again = asked_again(case) if step in DECIDED else 0
    gestures = 0 if step == "refunded" else _gestures(case)
    return f"progress:{step}:{case.round}" + (f":{again}" if again else "") + (f":+{gestures}" if gestures else "")


def _later(case: Case, step: str) -> str:
    """The message of a step that makes earlier ones outdated: not that of a gesture, which was paid before."""
    gestures = _gestures(case)
    return f"progress:refunded:{case.round}:{gestures + 1}" if step == "refunded" and gestures else _key(case, step)


def _gestures(case: Case) -> int:
    return len(case.refunds) - len(answering(case))


def _times(case: Case, step: str) -> list[datetime]:
    """When the facts behind a step happened; a request's own steps are told once a case."""
    if step in _MONEY:
        return [one.at for one in case.refunds]
    if step == "received":
        back = [one for one in case.parcels if one.direction is Direction.BACK]
        return [at for one in back if (at := one.delivered_at or (one.last.at if one.last else None))]
    sent = exchange_parcel(case) if step == "exchange_shipped" else None
    return [at] if sent and (at := _shipped(sent)) else []


def _watch(case: Case, view: View) -> Iterable[Proposal]:
    running = any(one.name == LATE for one in case.deadlines)
    due = expected(case, view.shop) if _status(case) is Status.REFUNDING else None
    if due and due > view.now and not running:
        yield Timer(LATE, due)
    if due is None and running:
        yield Timer(LATE, None)


def _values(case: Case, event: Event, view: View, template: str) -> dict[str, Any]:
    exchange = case.kind is CaseKind.EXCHANGE
    match template:
        case "approved":
            return {"exchange": exchange, "address": view.shop.return_address, "days": view.shop.dispatch_days}
        case "received":
            return {"exchange": exchange, "days": view.shop.dispatch_days}
        case "approved_refund":
            return {"amount": case.request.amount if case.request else None}
        case "declined":
            declined = isinstance(event, RequestChanged) and event.status is RequestStatus.DECLINED
            return {"reason": event.reason if declined and isinstance(event, RequestChanged) else None}
        case "exchange_shipped":
            return _shipment(exchange_parcel(case))
        case "cancelled":
            return {}
    return {"amount": _amount(case), "expected": expected(case, view.shop)}


def _shipment(parcel: Parcel | None) -> dict[str, Any]:
    if parcel is None:
        return {}
    carrier = parcel.carrier_name or parcel.carrier
    facts = {"waybill": parcel.waybill, "carrier": carrier, "url": parcel.url, "eta": parcel.eta}
    return facts | {"shipped_at": _shipped(parcel)}


def exchange_parcel(case: Case) -> Parcel | None:
    """The parcel with the new goods: one to the buyer that left after the exchange was asked for."""
    if case.kind is not CaseKind.EXCHANGE or case.request is None:
        return None
    if case.request.status not in {RequestStatus.APPROVED, RequestStatus.CLOSED}:
        return None
    sent = [(at, one) for one in case.parcels if one.direction is Direction.OUT and (at := _shipped(one))]
    later = [(at, one) for at, one in sent if at > case.opened_at]
    return min(later, key=lambda pair: (pair[0], pair[1].waybill))[1] if later else None


def _shipped(parcel: Parcel) -> datetime | None:
    return parcel.shipped_at or (parcel.scans[0].at if parcel.scans else None)


def _of_now(case: Case) -> list[Refund]:
    pending = [one for one in case.refunds if one.status is RefundStatus.PENDING]
    return pending or [one for one in case.refunds if one.status is RefundStatus.DONE]


def _amount(case: Case) -> Money | None:
    amounts = [one.amount for one in _of_now(case) if one.amount]
    if not amounts or len({one.currency for one in amounts}) != 1:
        return None
    return sum(amounts[1:], start=amounts[0])


def expected(case: Case, shop: Shop) -> datetime | None:
    """By when the newest refund has arrived: the end of its last working day, by payment method."""
    refunds = _of_now(case)
    if not refunds:
        return None
    newest = max(refunds, key=lambda one: (one.at, one.id))
    days = shop.refund_days
    paid_by = newest.method or (case.order.paid_by if case.order else None) or "default"
    known = {name.casefold(): number for name, number in days.items()}
    return calendar_of(shop).workdays(newest.at, known.get(paid_by.casefold(), known.get("default", 5)))


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [Progress]
