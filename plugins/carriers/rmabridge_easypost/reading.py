"""What EasyPost tells, as events: trackers, claims and the questions about claims. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import tomli
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rmabridge.model import (
    Attachment,
    Author,
    ClaimKind,
    ClaimSeen,
    ClaimStatus,
    Direction,
    Form,
    Message,
    MessageReceived,
    Parcel,
    ParcelException,
    ParcelSeen,
    ParcelStatus,
    Ref,
    RefKind,
    Scan,
)
from rmabridge.wire import carriers, vocabulary
from rmabridge.wire.amounts import maybe_major
from rmabridge.wire.bodies import text
from rmabridge.wire.times import maybe_instant, midday
from rmabridge.wire.waybills import normalise

CURRENCY = "USD"
_GRANTED = frozenset({ClaimStatus.APPROVED, ClaimStatus.PARTIAL, ClaimStatus.PAID})

Word = Annotated[str | None, BeforeValidator(text)]
Name = Annotated[str, BeforeValidator(text), Field(min_length=1, max_length=200)]


@cache
def _terms() -> dict[str, dict[str, str]]:
    return tomli.loads((files(__package__) / "terms.toml").read_text("utf-8"))


def carrier_names() -> dict[str, str]:
    """EasyPost's names of carriers, by the bridge's codes."""
    return _terms()["carriers"]


def claim_status(word: str | None, more: Mapping[str, ClaimStatus]) -> ClaimStatus | None:
    """What a claim's status means; None for a word that nobody knows."""
    known = more.get(word or "") or _terms()["claim_status"].get(word or "")
    return ClaimStatus(known) if known else None


class Told(BaseModel):
    """A document of EasyPost's; what is not named here is left alone."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Place(Told):
    """Where a scan was made."""

    city: Word = None
    state: Word = None
    country: Word = None

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.city, self.state, self.country)))


class Detail(Told):
    """One line of a tracking history."""

    message: Word = None
    status: Word = None
    status_detail: Word = None
    datetime: Word = None
    tracking_location: Place | None = None


class Tracker(Told):
    """A parcel that EasyPost follows."""

    id: Name
    tracking_code: Name
    status: Word = None
    status_detail: Word = None
    carrier: Word = None
    est_delivery_date: Word = None
    is_return: bool | None = None
    public_url: Word = None
    updated_at: Word = None
    tracking_details: Annotated[tuple[Detail, ...], BeforeValidator(lambda given: given or ())] = ()


class Claim(Told):
    """A claim on an insured parcel."""

    id: Name
    tracking_code: Name
    type: Word = None
    status: Word = None
    status_detail: Word = None
    status_timestamp: Word = None
    updated_at: Word = None
    created_at: Word = None
    requested_amount: Word = None
    approved_amount: Word = None
    reference: Word = None


class Question(Told):
    """A message about a claim: ``outbound`` is EasyPost asking, ``inbound`` our own answer."""

    id: Name
    claim_id: Name
    direction: Word = None
    body: Word = None
    created_at: Word = None
    attachments: Annotated[tuple[Any, ...], BeforeValidator(lambda given: given or ())] = ()


def _meaning(status: str | None, words: str) -> tuple[ParcelStatus, ParcelException | None]:
    """What a status means; a bare failure takes its exception from the words."""
    if not status:
        return ParcelStatus.IN_TRANSIT, None
    known = vocabulary.lookup("easypost", status)
    unclear = known.status is ParcelStatus.EXCEPTION and known.exception is None
    return known.status, vocabulary.hint(words) if unclear else known.exception


def _scan(at: datetime, line: Detail) -> Scan:
    words = line.message or ""
    status, exception = _meaning(line.status, words)
    place = str(line.tracking_location) if line.tracking_location else ""
    code = ":".join(filter(None, (line.status, line.status_detail)))
    return Scan(at=at, status=status, exception=exception, text=words, place=place or None, code=code or None)


def parcel(tracker: Tracker) -> Parcel:
    """The parcel in the bridge's words, its scans from the oldest to the newest."""
    timed = [(at, line) for line in tracker.tracking_details if (at := maybe_instant(line.datetime, "UTC"))]
    scans = tuple(_scan(at, line) for at, line in sorted(timed, key=lambda one: one[0]))
    status, exception = _meaning(tracker.status, scans[-1].text if scans else "")
    known = carriers.carrier(tracker.carrier or "")
    return Parcel(
        waybill=normalise(tracker.tracking_code),
        carrier=known.code if known else tracker.carrier,
        carrier_name=known.name if known else tracker.carrier,
        direction=Direction.BACK if tracker.is_return else Direction.OUT,
        status=status,
        exception=exception,
        eta=midday(maybe_instant(tracker.est_delivery_date, "UTC")),
        delivered_at=next((one.at for one in reversed(scans) if one.status is ParcelStatus.DELIVERED), None),
        url=tracker.public_url,
        scans=scans,
    )


def parcel_seen(tracker: Tracker, otherwise: datetime) -> ParcelSeen:
    """The snapshot as an event, dated from its newest scan; a webhook and an answer that show the same have one key."""
    shown, updated = parcel(tracker), maybe_instant(tracker.updated_at, "UTC")
    # EasyPost updates trackers without news of the parcel: such a snapshot must not overtake what came after the scan.
    stamp = updated.isoformat() if updated else ""
    return ParcelSeen(
        key=f"easypost:{tracker.id}:{stamp}:{(tracker.status or '')[:40]}:{len(shown.scans)}",
        at=shown.dated(updated or otherwise),
        refs=(Ref(kind=RefKind.WAYBILL, value=shown.waybill),),
        parcel=shown,
    )


def claim_seen(
    claim: Claim, kind: ClaimKind, status: ClaimStatus, otherwise: datetime, carrier: str | None = None
) -> ClaimSeen:
    """Where the claim stands: what is asked until EasyPost decides, then what it grants; paid when it says so."""
    asked, granted = (maybe_major(one, CURRENCY) for one in (claim.requested_amount, claim.approved_amount))
    told = maybe_instant(claim.status_timestamp or claim.updated_at, "UTC")
    stamp = told.isoformat() if told else ""
    waybill = normalise(claim.tracking_code)
    refs = (Ref(kind=RefKind.CLAIM, value=claim.id), Ref(kind=RefKind.WAYBILL, value=waybill))
    return ClaimSeen(
        key=f"easypost:{claim.id}:{status}:{stamp}:{granted.amount if granted else ''}",
        at=told or otherwise,
        refs=refs,
        claim=claim.id,
        waybill=waybill,
        carrier=carrier,
        kind=kind,
        status=status,
        amount=granted or asked if status in _GRANTED else asked,
        paid=granted or asked if status is ClaimStatus.PAID else None,
        reason=claim.status_detail,
    )


def question_asked(question: Question, otherwise: datetime) -> MessageReceived:
    """A question of EasyPost's as words for the case; the message names its claim and no parcel."""
    at = maybe_instant(question.created_at, "UTC") or otherwise
    files = [one for one in question.attachments if isinstance(one, str) and one.startswith("https://")]
    said = Message(
        id=question.id,
        author=Author.CARRIER,
        form=Form.THREAD,
        text=question.body or "",
        at=at,
        who="EasyPost",
        public=False,
        attachments=tuple(Attachment(name=one.rpartition("/")[2][:200] or "file", url=one) for one in files),
    )
    refs = (Ref(kind=RefKind.CLAIM, value=question.claim_id),)
    return MessageReceived(key=f"easypost:{question.id}", at=at, refs=refs, message=said, source="easypost")
