"""What Kuaidi100 tells, as events: the answer to a query and the content of a push. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict

from rmabridge.model import Parcel, ParcelException, ParcelSeen, ParcelStatus, Ref, RefKind, Scan
from rmabridge.wire import carriers, vocabulary
from rmabridge.wire.bodies import text
from rmabridge.wire.times import CHINA, maybe_instant
from rmabridge.wire.waybills import normalise

CASE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# The bare problem state; what the problem is, its row says.
PROBLEM: Final = "2"

Word = Annotated[str | None, BeforeValidator(text)]


class Told(BaseModel):
    """A document of Kuaidi100's; what is not named here is left alone."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Row(Told):
    """One row of a tracking history."""

    time: Word = None
    ftime: Word = None
    context: Word = None
    statusCode: Word = None  # noqa: N815 - Kuaidi100's own name
    areaName: Word = None  # noqa: N815


class Track(Told):
    """A waybill with all its rows, the newest first: the answer to a query, and the content of a push."""

    com: Word = None
    nu: Word = None
    state: Word = None
    arrivalTime: Word = None  # noqa: N815
    data: Annotated[tuple[Row, ...], BeforeValidator(lambda given: given or ())] = ()

    @property
    def waybill(self) -> str:
        """The number as the bridge writes it."""
        return normalise(self.nu or "")


class Push(Told):
    """A push: ``abort`` gives the number up, ``comNew`` is the carrier that Kuaidi100 found to be the right one."""

    status: Word = None
    comNew: Word = None  # noqa: N815
    lastResult: Track | None = None  # noqa: N815


def _meaning(code: str | None, words: str) -> tuple[ParcelStatus, ParcelException | None]:
    if code is None:
        return ParcelStatus.IN_TRANSIT, None
    known = vocabulary.lookup("kuaidi100", code)
    return known.status, known.exception or (vocabulary.hint(words) if code == PROBLEM else None)


def _scans(track: Track) -> tuple[Scan, ...]:
    """The rows by time. Without detailed states only the newest row has a known meaning: the waybill's own state."""
    timed = [(at, row) for row in track.data if (at := maybe_instant(row.ftime or row.time, CHINA))]
    # Rows of one second come newest first: turned round, they keep the order of their making in the sort.
    timed.reverse()
    timed.sort(key=lambda one: one[0])
    made = []
    for number, (at, row) in enumerate(timed, 1):
        code, words = row.statusCode or (track.state if number == len(timed) else None), row.context or ""
        status, exception = _meaning(code, words)
        made.append(Scan(at=at, status=status, exception=exception, text=words, place=row.areaName, code=code))
    return tuple(made)


def _parcel(track: Track, com: str | None) -> Parcel:
    scans, known = _scans(track), carriers.carrier(com or "")
    status, exception = (scans[-1].status, scans[-1].exception) if scans else (ParcelStatus.PENDING, None)
    if scans and track.state:
        status, exception = _meaning(track.state, scans[-1].text)
        # The state of a waybill may be the bare one while its newest row says more.
        exception = exception or (scans[-1].exception if scans[-1].status is status else None)
    return Parcel(
        waybill=track.waybill,
        carrier=known.code if known else com,
        carrier_name=known.name if known else None,
        status=status,
        exception=exception,
        eta=maybe_instant(track.arrivalTime, CHINA),
        delivered_at=next((one.at for one in reversed(scans) if one.status is ParcelStatus.DELIVERED), None),
        scans=scans,
    )


def parcel_seen(
    track: Track, com: str | None, otherwise: datetime, case: str | None, *, over: bool = False
) -> ParcelSeen:
    """The snapshot as an event; it dates from its newest scan. A number that was given up dates from ``otherwise``."""
    parcel = _parcel(track, com)
    at, stamp = parcel.dated(otherwise), parcel.last.at.isoformat() if parcel.last else ""
    if over:
        at, parcel = otherwise, parcel.model_copy(update={"status": ParcelStatus.EXPIRED, "exception": None})
    refs = [Ref(kind=RefKind.WAYBILL, value=parcel.waybill)]
    if case and CASE.fullmatch(case):
        refs.append(Ref(kind=RefKind.CASE, value=case))
    key = f"kuaidi100:{com or ''}:{parcel.waybill}:{stamp}:{'over' if over else track.state or ''}:{len(parcel.scans)}"
    return ParcelSeen(key=key, at=at, refs=tuple(refs), parcel=parcel)
