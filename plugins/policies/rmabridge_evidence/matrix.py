"""What order number, pictures and waybill say of each other: read off the case, never stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from rmabridge.abilities import Need
from rmabridge.core.evidence import FROM_BUYER, REUSED, need_of
from rmabridge.model import (
    Case,
    Direction,
    Identity,
    ParcelException,
    ParcelStatus,
    RefKind,
    RequestStatus,
)
from rmabridge.wire.waybills import normalise

from .rules import PICTURES, Ask

ARRIVED: Final = frozenset({ParcelStatus.DELIVERED, ParcelStatus.RETURNED, ParcelStatus.AVAILABLE_FOR_PICKUP})
DAMAGED: Final = ParcelException.DAMAGED


class Mark(StrEnum):
    """What a source says of the claim."""

    MATCH = "match"
    MISMATCH = "mismatch"
    UNKNOWN = "unknown"


class Told(NamedTuple):
    """A mark and what it rests on."""

    mark: Mark
    why: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Order number, pictures and waybill, each against the rest of the case."""

    order: Told
    photos: Told
    waybill: Told

    def sources(self) -> dict[str, Told]:
        """By name."""
        return {"order": self.order, "photos": self.photos, "waybill": self.waybill}

    @property
    def mismatches(self) -> list[str]:
        """What contradicts the claim."""
        return [f"{name}: {one.why}" for name, one in self.sources().items() if one.mark is Mark.MISMATCH]

    @property
    def code(self) -> str:
        """The marks in short, to tell one outcome from another."""
        return "-".join(one.mark.value for one in self.sources().values())


def matrix(case: Case, ask: Ask | None) -> Matrix:
    """The cross-check of the case as it stands."""
    return Matrix(_order(case), _photos(case, ask), _waybill(case, ask))


def counted(case: Case, ask: Ask) -> tuple[Need, ...]:
    """What is asked for, with what came of it: pieces handed in for a need, then whatever else shows something."""
    pieces = [one for one in case.evidence if one.source in FROM_BUYER or one.source is None]
    names = {one.name for one in ask.needs}
    loose = [one for one in pieces if need_of(one) not in names]
    needs = []
    for rule in ask.needs:
        have = sum(need_of(one) == rule.name for one in pieces)
        while have < rule.count and (fits := next((one for one in loose if one.kind in rule.kinds), None)):
            loose.remove(fits)
            have += 1
        needs.append(Need(rule.name, rule.kinds, rule.count, have))
    return tuple(needs)


def _bare(number: str) -> str:
    """An order's number in one spelling: "#A1001", as the shop writes it, is a buyer's "a1001"."""
    return number.strip().lstrip("#").casefold()


def _order(case: Case) -> Told:
    if case.identity is Identity.MISMATCH:
        return Told(Mark.MISMATCH, "whoever writes is not the buyer of the order")
    if case.order is None:
        return Told(Mark.UNKNOWN, "the order is not known")
    own = {_bare(one) for one in (case.order.id, case.order.number, *(one.id for one in case.order.lines)) if one}
    other = [one.value for one in case.refs if one.kind is RefKind.ORDER and _bare(one.value) not in own]
    if other:
        return Told(Mark.MISMATCH, f"another order is named: {', '.join(other[:3])}")
    asked = {one.order_line for one in case.request.lines if one.order_line} if case.request else set()
    if asked - {one.id for one in case.order.lines}:
        return Told(Mark.MISMATCH, "the request names goods that are not on the order")
    return Told(Mark.MATCH, "the order is the buyer's, and the goods are on it")


def _photos(case: Case, ask: Ask | None) -> Told:
    if any(one.source == REUSED for one in case.evidence):
        return Told(Mark.MISMATCH, "a file was handed in before, for another buyer's case")
    if not any(one.kind in PICTURES for one in case.evidence):
        return Told(Mark.UNKNOWN, "there is no picture")
    left = [one for one in counted(case, ask) if one.left] if ask else []
    if left:
        return Told(Mark.UNKNOWN, f"still missing: {', '.join(one.name for one in left)}")
    return Told(Mark.MATCH, "all pictures that were asked for are there")


def _waybill(case: Case, ask: Ask | None) -> Told:
    out = [one for one in case.parcels if one.direction is Direction.OUT]
    if not out:
        return Told(Mark.UNKNOWN, "no parcel to the buyer is known")
    if strange := list(_strange(case)):
        return Told(Mark.MISMATCH, f"a waybill is named that is not the order's: {', '.join(strange[:3])}")
    seen = [one for one in out if one.scans]
    arrived = case.order is not None and case.order.delivered_at is not None
    if ask and seen and not arrived and not any(one.status in ARRIVED or one.exception for one in out):
        return Told(Mark.MISMATCH, "the goods are complained of, and the parcel has not arrived")
    if not seen and not arrived:
        return Told(Mark.UNKNOWN, "the carrier has shown nothing of the parcel")
    return Told(Mark.MATCH, "the parcel is the order's and has arrived")


def _strange(case: Case) -> Iterator[str]:
    """Waybills that somebody named before goods could be on their way back."""
    if case.request is not None and case.request.status is not RequestStatus.REQUESTED:
        return
    known = {normalise(one.waybill) for one in case.parcels}
    for ref in case.refs:
        if ref.kind is RefKind.WAYBILL and normalise(ref.value) not in known:
            yield ref.value
