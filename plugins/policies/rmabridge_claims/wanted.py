"""Whether a parcel is worth a claim, and what the claim still lacks: read off the case, never remembered."""

from __future__ import annotations

from typing import Final

from rmabridge.core.evidence import proven
from rmabridge.model import (
    Case,
    ClaimKind,
    ClaimStatus,
    Direction,
    EvidenceKind,
    Issue,
    Parcel,
    ParcelException,
    ParcelStatus,
)

from .rules import Rule

GONE: Final = frozenset({ParcelStatus.LOST, ParcelStatus.DESTROYED})
OPEN_TO_CHANGE: Final = frozenset({ClaimStatus.DRAFT, ClaimStatus.REJECTED, ClaimStatus.WITHDRAWN})
# What shows the same to a claims desk; a carrier's own proof shows everything.
SHOWS: Final = {EvidenceKind.PHOTO: {EvidenceKind.PHOTO, EvidenceKind.VIDEO}}
FAULTS: Final = {
    ParcelException.DAMAGED: "the carrier's scan says that the parcel is damaged",
    ParcelException.LOST: "the carrier's scan says that the parcel is lost",
    ParcelException.PARTIAL_LOSS: "the carrier's scan says that a part is missing",
}


def wanted(case: Case, parcel: Parcel) -> ClaimKind | None:
    """What the carrier of this parcel is to be held to account for: one thing, and what was claimed stays claimed."""
    kind = _fault(case, parcel)
    filed = (one.kind for one in case.claims if one.waybill == parcel.waybill and one.status not in OPEN_TO_CHANGE)
    return next(filed, kind) if kind else None


def _fault(case: Case, parcel: Parcel) -> ClaimKind | None:
    seen = _seen(parcel)
    if parcel.direction is Direction.BACK and ParcelException.REFUSED not in seen:
        return None  # the buyer's own parcel: the buyer's carrier, the buyer's claim
    if lost(parcel):
        return ClaimKind.LOSS
    if ParcelException.DAMAGED in seen or _said(case, parcel, Issue.DAMAGED_IN_TRANSIT):
        return ClaimKind.DAMAGE
    if ParcelException.PARTIAL_LOSS in seen:
        return ClaimKind.PARTIAL_LOSS
    return ClaimKind.DELAY if ParcelException.DELAYED in seen else None


def lost(parcel: Parcel) -> bool:
    """Whether the parcel is gone, as the carrier says or the bridge presumes."""
    searched = parcel.status is ParcelStatus.EXCEPTION and parcel.exception is ParcelException.LOST
    return searched or parcel.status in GONE


def missing(case: Case, parcel: Parcel, rule: Rule) -> list[EvidenceKind]:
    """The documents that the carrier wants and the case has not; none where the carrier itself recorded the fault."""
    if proven(case) or _seen(parcel) & FAULTS.keys():
        return []
    have = {one.kind for one in case.evidence}
    return [one for one in rule.documents if not have & SHOWS.get(one, {one})]


def caused_by_carrier(case: Case) -> str | None:
    """What makes the carrier liable: its written proof, or its own scan; None where there is neither."""
    if proven(case):
        return "the carrier gave written proof"
    scans = (scan.exception for parcel in case.parcels for scan in parcel.scans)
    return next((FAULTS[one] for one in scans if one in FAULTS), None)


def _seen(parcel: Parcel) -> set[ParcelException]:
    """What the carrier has reported; a loss that the bridge presumes is no report."""
    told = {one.exception for one in parcel.scans if one.exception}
    return told | ({parcel.exception} if parcel.exception and parcel.exception is not ParcelException.LOST else set())


def _said(case: Case, parcel: Parcel, issue: Issue) -> bool:
    """Whether the buyer says so of this parcel: it arrived, and it is the only one."""
    out = [one for one in case.parcels if one.direction is Direction.OUT]
    arrived = parcel.status is ParcelStatus.DELIVERED and len(out) == 1
    return arrived and issue in (case.issue, *case.also)
