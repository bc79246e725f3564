"""The three legs of a parcel (揽收, 中转, 派送), and what goes wrong on each. The times are data: ``legs.toml``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final, NamedTuple

import tomli
from pydantic import BaseModel, ConfigDict, Field

from rmabridge.core.clocks import written
from rmabridge.model import Case, Parcel, ParcelException, ParcelStatus
from rmabridge.wire import carriers


class Leg(StrEnum):
    """Where on its way a parcel is."""

    PICKUP = "pickup"
    TRANSIT = "transit"
    DELIVERY = "delivery"


LEGS: Final = {
    ParcelStatus.PENDING: Leg.PICKUP,
    ParcelStatus.INFO_RECEIVED: Leg.PICKUP,
    ParcelStatus.PICKED_UP: Leg.TRANSIT,
    ParcelStatus.IN_TRANSIT: Leg.TRANSIT,
    ParcelStatus.CUSTOMS: Leg.TRANSIT,
    ParcelStatus.FORWARDED: Leg.TRANSIT,
    ParcelStatus.ARRIVED_DESTINATION: Leg.DELIVERY,
    ParcelStatus.OUT_FOR_DELIVERY: Leg.DELIVERY,
    ParcelStatus.AVAILABLE_FOR_PICKUP: Leg.DELIVERY,
    ParcelStatus.ATTEMPT_FAILED: Leg.DELIVERY,
}
# Where a parcel may rest: with the customs or in a locker it waits for somebody else than the carrier.
RESTING: Final = frozenset({ParcelStatus.CUSTOMS, ParcelStatus.AVAILABLE_FOR_PICKUP, ParcelStatus.RETURNING})
STALLED: Final = "stalled"
LOST: Final = ParcelStatus.LOST


class Limit(BaseModel):
    """How long a parcel may rest on a leg."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    leg: Leg
    hours: float = Field(gt=0)
    carriers: tuple[str, ...] = ()


class Silence(BaseModel):
    """How long a carrier may say nothing before its parcel is presumed lost."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    days: float = Field(gt=0)
    carriers: tuple[str, ...] = ()


class Trouble(NamedTuple):
    """Something that went wrong on a leg: ``stalled``, or what the carrier's scan says; since when."""

    leg: Leg
    type: str
    since: datetime

    @property
    def name(self) -> str:
        """Leg and type: ``transit.stalled``, ``delivery.refused``."""
        return f"{self.leg}.{self.type}"


@cache
def shipped() -> dict[str, Any]:
    """The times that come with the policy."""
    data = tomli.loads((resources.files(__package__) / "legs.toml").read_text(encoding="utf-8"))
    return {
        "limits": tuple(Limit.model_validate(one) for one in data["limits"]),
        "silences": tuple(Silence.model_validate(one) for one in data["silences"]),
    }


def leg_of(parcel: Parcel) -> Leg:
    """The leg of the newest scan that says where the parcel is."""
    for scan in reversed(parcel.scans):
        if scan.status in LEGS:
            return LEGS[scan.status]
    return LEGS.get(parcel.status, Leg.TRANSIT if parcel.scans or parcel.shipped_at else Leg.PICKUP)


def heard(case: Case, parcel: Parcel) -> datetime:
    """When the parcel was last heard of."""
    if parcel.last:
        at = parcel.last.at
    else:
        placed = case.order.placed_at if case.order else None
        at = parcel.shipped_at or max(filter(None, (placed, case.opened_at)))
    # Presumed lost once, and then the carrier said something else without a scan: that was heard when it was said.
    spoke = parcel.silence and at <= parcel.silence.since and parcel.status not in {parcel.silence.status, LOST}
    return max(at, written(case, f"parcel.{parcel.waybill}.status")) if spoke else at


def stalls_at(case: Case, parcel: Parcel, own: Iterable[Limit], extra: timedelta) -> datetime | None:
    """When the parcel has rested too long on its leg; None where it may rest."""
    if parcel.final or parcel.status in RESTING:
        return None
    rest = _rest(tuple(own), leg_of(parcel), parcel.carrier)
    return heard(case, parcel) + rest + extra if rest else None


def lost_at(case: Case, parcel: Parcel, own: Iterable[Silence], extra: timedelta) -> datetime | None:
    """When the parcel is presumed lost; None where the carrier never had it, or it may rest."""
    if parcel.final or parcel.status in RESTING or leg_of(parcel) is Leg.PICKUP:
        return None
    quiet = _quiet(tuple(own), parcel.carrier)
    return heard(case, parcel) + quiet + extra if quiet else None


@lru_cache(maxsize=1024)
def _rest(own: tuple[Limit, ...], leg: Leg, carrier: str | None) -> timedelta | None:
    found = (one for one in (*own, *shipped()["limits"]) if one.leg is leg and serves(one.carriers, carrier))
    return next((timedelta(hours=one.hours) for one in found), None)


@lru_cache(maxsize=1024)
def _quiet(own: tuple[Silence, ...], carrier: str | None) -> timedelta | None:
    found = (one for one in (*own, *shipped()["silences"]) if serves(one.carriers, carrier))
    return next((timedelta(days=one.days) for one in found), None)


def troubles(case: Case, parcel: Parcel, now: datetime, own: Iterable[Limit], extra: timedelta) -> Iterator[Trouble]:
    """What is wrong with the parcel now, by leg."""
    leg = leg_of(parcel)
    if (due := stalls_at(case, parcel, own, extra)) and now >= due:
        yield Trouble(leg, STALLED, heard(case, parcel))
    reported: dict[ParcelException, datetime] = {}
    for scan in parcel.scans:
        if scan.exception:
            reported.setdefault(scan.exception, scan.at)
    if parcel.exception and parcel.exception not in reported:
        reported[parcel.exception] = heard(case, parcel)
    for exception, since in reported.items():
        yield Trouble(_leg_at(parcel, since) or leg, exception.value, since)


def _leg_at(parcel: Parcel, at: datetime) -> Leg | None:
    """The leg on which the parcel was at that time."""
    before = [LEGS[one.status] for one in parcel.scans if one.at <= at and one.status in LEGS]
    return before[-1] if before else None


def serves(names: tuple[str, ...], carrier: str | None) -> bool:
    """Whether an entry for these carriers is about this one; an entry without names is about all."""
    return not names or (carrier is not None and code(carrier) in {code(one) for one in names})


@cache
def code(carrier: str) -> str:
    """The bridge's code of a carrier, by its code or any of its names."""
    known = carriers.carrier(carrier)
    return known.code if known else carrier.casefold()
