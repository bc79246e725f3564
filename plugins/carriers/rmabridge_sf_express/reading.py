"""What SF tells, as events: the routes of an answer, and pushes in JSON and XML. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import unquote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rmabridge.model import Parcel, ParcelException, ParcelSeen, ParcelStatus, Ref, RefKind, Scan
from rmabridge.wire import vocabulary
from rmabridge.wire.bodies import dig, read_form, read_object, read_xml, text
from rmabridge.wire.signing import digest_hex
from rmabridge.wire.times import CHINA, maybe_instant
from rmabridge.wire.vocabulary import Known
from rmabridge.wire.waybills import normalise

CARRIER: Final = "SF"
NAME: Final = "SF Express"
# Where the code leaves open what went wrong, the remark may name it.
UNCLEAR: Final = frozenset(
    {ParcelStatus.EXCEPTION, ParcelStatus.ATTEMPT_FAILED, ParcelStatus.DELAYED, ParcelStatus.ON_HOLD}
)

Word = Annotated[str | None, BeforeValidator(text)]


class Route(BaseModel):
    """One node of a parcel's way; pushes name the waybill in each, and know no status codes."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    mailno: Word = None
    acceptTime: Word = None  # noqa: N815 - SF's own names
    acceptAddress: Word = None  # noqa: N815
    remark: Word = None
    opCode: Word = None  # noqa: N815
    reasonCode: Word = None  # noqa: N815
    firstStatusCode: Word = None  # noqa: N815
    firstStatusName: Word = None  # noqa: N815
    secondaryStatusCode: Word = None  # noqa: N815
    secondaryStatusName: Word = None  # noqa: N815

    @property
    def at(self) -> datetime | None:
        """When it was."""
        return maybe_instant(self.acceptTime, CHINA)


class Routes(BaseModel):
    """All nodes of a waybill so far."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    mailNo: Word = None  # noqa: N815
    routes: Annotated[tuple[Route, ...], BeforeValidator(lambda given: given or ())] = ()


class Push(BaseModel):
    """The new nodes of any waybills, each told once."""

    routes: Annotated[tuple[Route, ...], Field(max_length=1000)] = ()


def _known(route: Route) -> Known | None:
    """What the codes say: an operation with its reason first, then the status, then the operation alone."""
    codes = (
        ("sf_express_op", f"{route.opCode}_{route.reasonCode}"),
        ("sf_express", route.secondaryStatusCode),
        ("sf_express", route.secondaryStatusName),
        ("sf_express", route.firstStatusCode),
        ("sf_express", route.firstStatusName),
        ("sf_express_op", route.opCode),
    )
    found = (vocabulary.listed(source, code) for source, code in codes if code)
    return next((one for one in found if one), None)


def _meaning(route: Route) -> tuple[ParcelStatus, ParcelException | None]:
    """What a node means; the remark is asked last."""
    known = _known(route)
    if known and (known.exception or known.status not in UNCLEAR):
        return known.status, known.exception
    said = vocabulary.hint(route.remark or "")
    if known:
        return known.status, said
    if said is ParcelException.RETURNING:
        return ParcelStatus.RETURNING, said
    return (ParcelStatus.EXCEPTION if said else ParcelStatus.IN_TRANSIT), said


def _scan(route: Route, at: datetime) -> Scan:
    status, exception = _meaning(route)
    code = route.opCode or route.secondaryStatusCode
    return Scan(
        at=at, status=status, exception=exception, text=route.remark or "", place=route.acceptAddress, code=code
    )


def parcel(waybill: str, routes: Iterable[Route], *, turns: bool = True) -> Parcel:
    """The parcel with these nodes, in the bridge's words; without any it is pending."""
    scans = tuple(sorted((_scan(one, at) for one in routes if (at := one.at)), key=lambda one: one.at))
    last = scans[-1] if scans else None
    return Parcel(
        waybill=waybill,
        carrier=CARRIER,
        carrier_name=NAME,
        status=last.status if last else ParcelStatus.PENDING,
        exception=last.exception if last else None,
        delivered_at=next((one.at for one in reversed(scans) if one.status is ParcelStatus.DELIVERED), None),
        scans=scans,
        turns=turns,
    )


def snapshot(waybill: str, routes: Iterable[Route], otherwise: datetime, *, turns: bool = True) -> ParcelSeen:
    """All nodes so far as one event, dated from the newest."""
    shown = parcel(waybill, routes, turns=turns)
    at, stamp = shown.dated(otherwise), shown.last.at.isoformat() if shown.last else ""
    key = f"sf:{waybill}:{stamp}:{len(shown.scans)}"
    return ParcelSeen(key=key, at=at, refs=(Ref(kind=RefKind.WAYBILL, value=waybill),), parcel=shown)


def news(body: bytes, *, turns: bool = True) -> list[ParcelSeen]:
    """The nodes of a push as an event each.

    SF sends a node again under a new id, so what it says makes the key; two that say the same are one.
    """
    events: dict[str, ParcelSeen] = {}
    for route in Push.model_validate({"routes": pushed(body)}).routes:
        waybill, at = normalise(route.mailno or ""), route.at
        if waybill and at:
            said = digest_hex((route.remark or "").encode())[:12]
            key = f"sf:{waybill}:{at.isoformat()}:{route.opCode or ''}:{said}"
            refs = (Ref(kind=RefKind.WAYBILL, value=waybill),)
            events[key] = ParcelSeen(key=key, at=at, refs=refs, parcel=parcel(waybill, [route], turns=turns))
    return list(events.values())


def pushed(body: bytes) -> list[Any]:
    """The nodes in a push: JSON as it is, in a signed form's ``msgData``, or XML in a form's ``content``."""
    document: dict[str, Any]
    if body.lstrip()[:1] == b"{":
        document = read_object(body)
    elif "content" in (form := read_form(body)):
        document = _xml(form["content"])
    else:
        document = read_object(form.get("msgData", "").encode())
    nodes = dig(document, "Body", "WaybillRoute")
    return nodes if isinstance(nodes, list) else [nodes] if isinstance(nodes, dict) else []


def _xml(content: str) -> dict[str, Any]:
    """An XML push as its JSON twin; senders differ in whether the content is escaped once more."""
    plain = content if content.lstrip().startswith("<") else unquote(content)
    nodes = dig(read_xml(plain.encode()), "Request", "Body", "WaybillRoute")
    many = nodes if isinstance(nodes, list) else [nodes]
    named = [{name.lstrip("@"): value for name, value in one.items()} for one in many if isinstance(one, dict)]
    return {"Body": {"WaybillRoute": named}}
