"""What 17TRACK tells, as events: an accepted number with its track, in an answer or a webhook. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rmabridge.model import Parcel, ParcelException, ParcelSeen, ParcelStatus, Ref, RefKind, Scan
from rmabridge.wire import carriers, vocabulary
from rmabridge.wire.bodies import text
from rmabridge.wire.times import maybe_instant, midday
from rmabridge.wire.waybills import normalise

CASE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

Word = Annotated[str | None, BeforeValidator(text)]
Number = Annotated[str, BeforeValidator(text), Field(min_length=1, max_length=100)]


class Told(BaseModel):
    """A document of 17TRACK's; what is not named here is left alone."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class RawTime(Told):
    """A time as the carrier wrote it."""

    date: Word = None
    time: Word = None
    timezone: Word = None


class Line(Told):
    """One line of a tracking history."""

    time_utc: Word = None
    time_iso: Word = None
    time_raw: RawTime | None = None
    description: Word = None
    location: Word = None
    sub_status: Word = None

    @property
    def at(self) -> datetime | None:
        """When it was; some deliveries have only the time as the carrier wrote it."""
        raw = self.time_raw or RawTime()
        # Without a zone the time is read as UTC: half a day amiss is better than a delivery that is not dated.
        own = f"{raw.date}T{raw.time or '00:00:00'}{raw.timezone or ''}" if raw.date else None
        return maybe_instant(self.time_utc, "UTC") or maybe_instant(self.time_iso) or maybe_instant(own, "UTC")


class Provider(Told):
    """A carrier's part of the way; there is a second one where the last mile is another's."""

    events: Annotated[tuple[Line, ...], BeforeValidator(lambda given: given or ())] = ()


class Tracking(Told):
    """The histories of all carriers on the way."""

    providers_hash: Word = None
    providers: Annotated[tuple[Provider, ...], BeforeValidator(lambda given: given or ())] = ()


class Status(Told):
    """Where the parcel is, coarse and fine."""

    status: Word = None
    sub_status: Word = None


class Estimate(Told):
    """When it should arrive."""

    to: Word = None


class Metrics(Told):
    """Times that 17TRACK reckons."""

    estimated_delivery_date: Estimate | None = None


class Info(Told):
    """All that is known of a parcel."""

    latest_status: Status | None = None
    time_metrics: Metrics | None = None
    tracking: Tracking | None = None


class Tracked(Told):
    """A registered number; ``tag`` is what we gave it."""

    number: Number
    carrier: Word = None
    tag: Word = None
    track_info: Info | None = None


def _meaning(code: str | None, words: str) -> tuple[ParcelStatus, ParcelException | None]:
    """What a status means; an exception that has no name of its own takes it from the words."""
    if code is None:
        return ParcelStatus.IN_TRANSIT, None
    known = vocabulary.lookup("seventeentrack", code)
    unclear = known.status is ParcelStatus.EXCEPTION and known.exception is None
    return known.status, vocabulary.hint(words) if unclear else known.exception


def _scans(info: Info) -> tuple[Scan, ...]:
    """The lines of all carriers by time; each carrier lists its newest first."""
    lines = [line for one in (info.tracking or Tracking()).providers for line in reversed(one.events)]
    timed = sorted(((line.at, line) for line in lines if line.at), key=lambda one: one[0])
    made = []
    for at, line in timed:
        status, exception = _meaning(line.sub_status, line.description or "")
        words = line.description or ""
        scan = Scan(at=at, status=status, exception=exception, text=words, place=line.location, code=line.sub_status)
        made.append(scan)
    return tuple(made)


def parcel(tracked: Tracked) -> Parcel:
    """The parcel in the bridge's words; one that was only registered is pending."""
    info = tracked.track_info or Info()
    scans, latest = _scans(info), info.latest_status or Status(status="NotFound")
    status, exception = _meaning(latest.sub_status or latest.status, scans[-1].text if scans else "")
    known, estimate = carriers.carrier(tracked.carrier or ""), (info.time_metrics or Metrics()).estimated_delivery_date
    return Parcel(
        waybill=normalise(tracked.number),
        carrier=known.code if known else tracked.carrier,
        carrier_name=known.name if known else None,
        status=status,
        exception=exception,
        eta=midday(maybe_instant(estimate.to, "UTC")) if estimate else None,
        delivered_at=next((one.at for one in reversed(scans) if one.status is ParcelStatus.DELIVERED), None),
        scans=scans,
    )


def parcel_seen(tracked: Tracked, otherwise: datetime) -> ParcelSeen:
    """The snapshot as an event, dated from its newest scan; a webhook and an answer that show the same have one key."""
    shown, info = parcel(tracked), tracked.track_info or Info()
    refs = [Ref(kind=RefKind.WAYBILL, value=shown.waybill)]
    if tracked.tag and CASE.fullmatch(tracked.tag):
        refs.append(Ref(kind=RefKind.CASE, value=tracked.tag))
    latest, history = info.latest_status or Status(), info.tracking or Tracking()
    stamp = shown.last.at.isoformat() if shown.last else ""
    code = (latest.sub_status or latest.status or "")[:60]
    key = f"17track:{tracked.carrier or ''}:{shown.waybill}:{stamp}:{code}:{history.providers_hash or ''}"
    at = shown.dated(otherwise)
    return ParcelSeen(key=f"{key}:{len(shown.scans)}", at=at, refs=tuple(refs), parcel=shown)
