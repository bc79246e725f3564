"""The claim dossier: all that a carrier without an API is told of a claim, as one JSON object. Pure.

The policy puts it into its mail or note as text, twice: as JSON, and as the PDF that ``wire.documents`` makes of it
when it is sent. Evidence is named by its hash, so that nobody can swap a photo; the files go beside it. Persons are
left out but for the town: the carrier has the address, and a claim passes through many hands.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from ..abilities import Shop
from ..model import Attachment, Case, Claim, Evidence, Money, Parcel
from .masking import mask

VERSION: Final = 1
MOST_SCANS: Final = 20
MOST_GOODS: Final = 50


def dossier(
    case: Case,
    shop: Shop,
    claim: Claim,
    *,
    title: str,
    now: datetime,
    expected: Money | None = None,
    cap: Money | None = None,
    basis: tuple[str, ...] = (),
    contact: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The dossier of one claim of the case."""
    parcel = next((one for one in case.parcels if one.waybill == claim.waybill), Parcel(waybill=claim.waybill))
    order, name = case.order, shop.title or shop.name
    amounts = {"goods_value": order.total if order else None, "claimed": claim.amount, "expected": expected, "cap": cap}
    return {
        "title": title,
        "dossier_version": VERSION,
        "case_id": case.id,
        "claim_type": claim.kind.value,
        "carrier": {"code": claim.carrier, "name": parcel.carrier_name},
        "waybill": _waybill(case, parcel),
        "parties": {"sender": name, "claimant": "sender"},
        "goods": [
            {"sku": one.sku, "title": one.title, "qty": one.quantity, "unit_value": _money(one.price)}
            for one in (order.lines if order else ())[:MOST_GOODS]
        ],
        "amounts": {key: _money(one) for key, one in amounts.items()},
        "incident": {
            "reported_at": _time(case.opened_at),
            "description": mask((case.request and case.request.note) or case.talk.last_text or ""),
            "tracking_excerpt": [
                {
                    "time": _time(one.at),
                    "status": one.exception or one.status,
                    "text": mask(one.text),
                    "place": one.place,
                }
                for one in parcel.scans[-MOST_SCANS:]
            ],
        },
        "evidence": [_evidence(one) for one in case.evidence],
        "requested": {"remedy": "payment"},
        "deadline_at": _time(claim.due_at),
        "legal_basis": list(basis),
        "contact": contact or {},
        "signed_by": name,
        "made_at": _time(now),
    }


def as_files(document: dict[str, Any], name: str) -> tuple[Attachment, ...]:
    """The dossier as the two files that go out: one for people, one for programs."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return (
        Attachment(name=f"{name}.pdf", media_type="application/pdf", text=text),
        Attachment(name=f"{name}.json", media_type="application/json", text=text),
    )


def evidence_files(case: Case, id_: str | None = None) -> tuple[Attachment, ...]:
    """The case's evidence, or the one piece of that id, as attachments, by hash or address."""
    return tuple(
        Attachment(
            name=one.name or one.id,
            media_type=one.media_type or "application/octet-stream",
            url=one.url,
            sha256=one.sha256,
            size=one.size,
        )
        for one in case.evidence
        if (one.sha256 or one.url) and id_ in (None, one.id)
    )


def _waybill(case: Case, parcel: Parcel) -> dict[str, Any]:
    to = case.order.ship_to if case.order else None
    return {
        "number": parcel.waybill,
        "status": parcel.exception or parcel.status,
        "shipped_at": _time(parcel.shipped_at),
        "delivered_at": _time(parcel.delivered_at),
        "promised_at": _time(parcel.eta),
        "destination": " ".join(filter(None, (to.country, to.region, to.city, to.postcode))) if to else None,
    }


def _evidence(one: Evidence) -> dict[str, Any]:
    return {
        "type": one.kind,
        "filename": one.name or one.id,
        "sha256": one.sha256,
        "source": one.source,
        "taken_at": _time(one.at),
        "url": one.url,
    }


def _money(amount: Money | None) -> str | None:
    return str(amount.rounded()) if amount else None


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None
