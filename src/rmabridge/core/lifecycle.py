"""Where a case stands. The status is worked out from the facts, so events in any order end in the same one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from ..model import (
    Case,
    CaseKind,
    Direction,
    Issue,
    Parcel,
    ParcelStatus,
    Refund,
    RefundStatus,
    RemedyKind,
    RequestStatus,
    Status,
)

_REQUEST: Final = {
    RequestStatus.REQUESTED: Status.REQUESTED,
    RequestStatus.APPROVED: Status.APPROVED,
    RequestStatus.DECLINED: Status.DECLINED,
    RequestStatus.CANCELLED: Status.CANCELLED,
    RequestStatus.CLOSED: Status.APPROVED,
}
# Remedies for which the goods come back first.
BACK_FIRST: Final = frozenset(
    {RemedyKind.RETURN_REFUND, RemedyKind.RETURN_ONLY, RemedyKind.EXCHANGE, RemedyKind.REPAIR}
)
UNDECIDED: Final = frozenset({RequestStatus.REQUESTED, RequestStatus.APPROVED})
CLOCKS: Final = timedelta(minutes=15)
# What becomes of a request, as the case shows it.
DECIDED: Final = frozenset({Status.APPROVED, Status.DECLINED, Status.CANCELLED})
_MOVING: Final = frozenset(
    set(ParcelStatus)
    - {ParcelStatus.PENDING, ParcelStatus.INVALID_NUMBER, ParcelStatus.INFO_RECEIVED, ParcelStatus.CANCELLED}
)

# What may follow what, by a command or by a later fact. A request once made is never unmade, so nothing that rests on
# one goes back to new; what rests on parcels and refunds alone does, when they fail.
_REQUESTED: Final = frozenset(_REQUEST.values())
TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    one: frozenset(set(Status) - {one} - ({Status.NEW} if one in _REQUESTED else set())) for one in Status
}


def status(case: Case) -> Status:
    """The status that the case's facts amount to."""
    if case.closings and (not case.reopenings or case.closings[-1] >= case.reopenings[-1]):
        return Status.CLOSED
    refunds = {one.status for one in answering(case)}
    if RefundStatus.PENDING in refunds:
        return Status.REFUNDING
    if RefundStatus.DONE in refunds:
        return Status.REFUNDED
    asked = _REQUEST[case.request.status] if case.request else Status.NEW
    if asked in {Status.DECLINED, Status.CANCELLED}:
        return asked
    back = [one for one in case.parcels if one.direction is Direction.BACK]
    if any(one.status is ParcelStatus.DELIVERED for one in back):
        return Status.RECEIVED
    if any(one.status in _MOVING for one in back):
        return Status.RETURNING
    return asked


def answering(case: Case) -> tuple[Refund, ...]:
    """The refunds that may be the answer to what is asked for: a gesture that was paid before was for something else.

    A quarter of an hour is left to clocks that differ.
    """
    request = case.request
    if request is None or request.status not in UNDECIDED or request.asked_at is None:
        return case.refunds
    since = request.asked_at - CLOCKS
    return tuple(one for one in case.refunds if one.at >= since)


def asked_again(case: Case) -> int:
    """How often the request was made again: each time it is decided anew, and the buyer and colleagues are told so."""
    return case.request.again if case.request else 0


def came_back(case: Case) -> datetime | None:
    """When the returned goods arrived, as their carrier tells."""
    back = [one for one in case.parcels if one.direction is Direction.BACK and one.status is ParcelStatus.DELIVERED]
    seen = [at for one in back if (at := one.delivered_at or (one.last.at if one.last else None))]
    return min(seen, default=None)


def enquiry(case: Case) -> bool:
    """Whether the buyer only asks about goods: an answer is owed, but there is nothing to settle and no complaint."""
    return case.kind is CaseKind.QUESTION and case.issue is Issue.PRODUCT_QUESTION and case.request is None


def awaited(case: Case, parcel: Parcel) -> bool:
    """Whether goods of an approved or agreed return are on this parcel, and nothing was paid or sent for them yet: that
    matters though an agent has closed the case.
    """
    request, agreed = case.request, case.agreed
    due = request.status is RequestStatus.APPROVED if request else agreed is not None and agreed.kind in BACK_FIRST
    return due and parcel.direction is Direction.BACK and not answering(case) and not case.given
