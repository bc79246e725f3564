"""What UPS tells, as events: the packages of an answer, and one pushed activity. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rmabridge.model import Parcel, ParcelException, ParcelSeen, ParcelStatus, Ref, RefKind, Scan
from rmabridge.wire import vocabulary
from rmabridge.wire.bodies import text
from rmabridge.wire.times import maybe_instant, midday
from rmabridge.wire.waybills import normalise

CARRIER: Final = "UPS"
# The days of a delivery: the one it was put off to counts before the one that was planned first.
SCHEDULED: Final = ("RDD", "SDD")
CLOCK: Final = re.compile(r"[0-9]{4,6}")

Word = Annotated[str | None, BeforeValidator(text)]


def _words(given: Any) -> Any:
    """A JSON number among codes: UPS's own examples write ``021`` without quotes, which other writers make 21."""
    return f"{given:03}" if isinstance(given, int) and not isinstance(given, bool) else text(given)


class Told(BaseModel):
    """A document of UPS's; what is not named here is left alone."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Place(Told):
    """Where an activity was."""

    city: Word = None
    stateProvince: Word = None  # noqa: N815 - UPS's own names
    countryCode: Word = None  # noqa: N815
    country: Word = None

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.city, self.stateProvince, self.countryCode or self.country)))


class Location(Told):
    """Where an activity was, in an answer."""

    address: Place | None = None


class Status(Told):
    """What an activity means, coarse (``type``) and fine (``code``); the detail has two names."""

    type: Word = None
    code: Annotated[str | None, BeforeValidator(_words)] = None
    description: Word = None
    statusCode: Annotated[str | None, BeforeValidator(_words)] = None  # noqa: N815
    descriptionCode: Annotated[str | None, BeforeValidator(_words)] = None  # noqa: N815


class Activity(Told):
    """One line of a package's history."""

    location: Location | None = None
    status: Status | None = None
    date: Word = None
    time: Word = None
    gmtDate: Word = None  # noqa: N815
    gmtTime: Word = None  # noqa: N815
    gmtOffset: Word = None  # noqa: N815


class Day(Told):
    """A day of delivery and what kind it is."""

    type: Word = None
    date: Word = None


class Package(Told):
    """A package with its history, the newest activity first."""

    trackingNumber: Word = None  # noqa: N815
    deliveryDate: Annotated[tuple[Day, ...], BeforeValidator(lambda given: given or ())] = ()  # noqa: N815
    activity: Annotated[tuple[Activity, ...], BeforeValidator(lambda given: given or ())] = ()


class Alert(Told):
    """A pushed activity of one package."""

    trackingNumber: Annotated[str, Field(max_length=60)]  # noqa: N815
    localActivityDate: Word = None  # noqa: N815
    localActivityTime: Word = None  # noqa: N815
    gmtActivityDate: Word = None  # noqa: N815
    gmtActivityTime: Word = None  # noqa: N815
    activityLocation: Place | None = None  # noqa: N815
    activityStatus: Status | None = None  # noqa: N815
    scheduledDeliveryDate: Word = None  # noqa: N815

    @property
    def activity(self) -> Activity:
        """The activity as an answer writes it."""
        return Activity(
            location=Location(address=self.activityLocation),
            status=self.activityStatus,
            date=self.localActivityDate,
            time=self.localActivityTime,
            gmtDate=self.gmtActivityDate,
            gmtTime=self.gmtActivityTime,
        )


def _clock(day: str | None, time: str | None, offset: str = "") -> datetime | None:
    """``20240423`` and ``74700``: the hour loses its zero in some answers."""
    digits = (time or "").replace(":", "")
    if not day or not CLOCK.fullmatch(digits):
        return None
    return maybe_instant(f"{day}T{digits.zfill(6)}{offset}", "UTC")


def _at(activity: Activity) -> datetime | None:
    """When it was: by Greenwich's time, else by local time with its offset, or where UPS tells none as if in UTC."""
    greenwich = _clock(activity.gmtDate, activity.gmtTime)
    return greenwich or _clock(activity.date, activity.time, activity.gmtOffset or "")


def _meaning(status: Status) -> tuple[ParcelStatus, ParcelException | None]:
    """What a status means: its code where that says what went wrong, then its detail, then its type."""
    codes = (
        ("ups_activity", status.code),
        ("ups_detail", status.statusCode or status.descriptionCode),
        ("ups", status.type),
    )
    found = (vocabulary.listed(source, code) for source, code in codes if code)
    known = next((one for one in found if one), None)
    if known is None:
        return ParcelStatus.IN_TRANSIT, None
    unclear = known.status is ParcelStatus.EXCEPTION and known.exception is None
    return known.status, vocabulary.hint(status.description or "") if unclear else known.exception


def _scan(activity: Activity, at: datetime) -> Scan:
    told = activity.status or Status()
    status, exception = _meaning(told)
    place = str(activity.location.address or "") if activity.location else ""
    code = ":".join(filter(None, (told.type, told.code)))
    words = told.description or ""
    return Scan(at=at, status=status, exception=exception, text=words, place=place or None, code=code or None)


def _parcel(waybill: str, activities: tuple[Activity, ...], scheduled: str | None, *, turns: bool) -> Parcel:
    timed = [(at, one) for one in reversed(activities) if (at := _at(one))]
    scans = tuple(_scan(one, at) for at, one in sorted(timed, key=lambda pair: pair[0]))
    last = scans[-1] if scans else None
    return Parcel(
        waybill=waybill,
        carrier=CARRIER,
        carrier_name=CARRIER,
        status=last.status if last else ParcelStatus.PENDING,
        exception=last.exception if last else None,
        eta=midday(maybe_instant(scheduled, "UTC")),
        delivered_at=next((one.at for one in reversed(scans) if one.status is ParcelStatus.DELIVERED), None),
        scans=scans,
        turns=turns,
    )


def _seen(parcel: Parcel, otherwise: datetime, kind: str) -> ParcelSeen:
    last = parcel.last
    stamp, code = (last.at.isoformat(), last.code or "") if last else ("", "")
    refs = (Ref(kind=RefKind.WAYBILL, value=parcel.waybill),)
    key = f"ups:{kind}:{parcel.waybill}:{stamp}:{code}:{len(parcel.scans)}"
    return ParcelSeen(key=key, at=parcel.dated(otherwise), refs=refs, parcel=parcel)


def snapshot(waybill: str, package: Package, otherwise: datetime, *, turns: bool = True) -> ParcelSeen:
    """All activities so far as one event, dated from the newest."""
    days = {one.type: one.date for one in reversed(package.deliveryDate) if one.date}
    scheduled = next((days[kind] for kind in SCHEDULED if kind in days), None)
    return _seen(_parcel(waybill, package.activity, scheduled, turns=turns), otherwise, "all")


def news(alert: Alert, otherwise: datetime, *, turns: bool = True) -> list[ParcelSeen]:
    """One activity as an event; none where there is no number."""
    waybill = normalise(alert.trackingNumber)
    parcel = _parcel(waybill, (alert.activity,), alert.scheduledDeliveryDate, turns=turns)
    return [_seen(parcel, otherwise, "one")] if waybill else []
