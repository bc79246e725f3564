"""A carrier that the shop's own system stands for: parcels, claims, enquiries and coverage by calls of its own."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any, ClassVar, Final

import httpx
from pydantic import Field, TypeAdapter, ValidationError

from rmabridge.abilities import (
    AnswersEnquiries,
    Context,
    GivesProof,
    Handler,
    KnowsCoverage,
    Result,
    TakesClaims,
    TracksParcels,
)
from rmabridge.model import (
    Action,
    AnswerClaim,
    AppealClaim,
    AskCarrier,
    CheckCoverage,
    ClaimSeen,
    CoverageSeen,
    EvidenceAdded,
    FileClaim,
    ParcelSeen,
    QueryClaim,
    QueryParcel,
    Ref,
    RefKind,
    RequestProof,
    TrackParcel,
)
from rmabridge.wire.bodies import dump_json
from rmabridge.wire.waybills import normalise

from .calls import Call, read
from .labels import Labels
from .system import KINDS

TELLS: Final[TypeAdapter[Any]] = TypeAdapter(
    Annotated[ParcelSeen | ClaimSeen | CoverageSeen | EvidenceAdded, Field(discriminator="type")]
)


class HttpCarrier(Labels, TracksParcels, TakesClaims, GivesProof, AnswersEnquiries, KnowsCoverage):
    """Any system with an HTTP interface as a shop's carrier. Besides queries it does what ``calls`` names."""

    title: ClassVar[str] = "HTTP"
    kinds: ClassVar[dict[str, Any]] = KINDS | {QueryParcel.kind: QueryParcel}

    def route(self, action: Action) -> Handler | None:
        """The handler for a query, and for what a call is configured for."""
        asked = isinstance(action, QueryParcel | TrackParcel)
        return super().route(action) if asked or action.kind in self.calls else None

    async def query(self, action: QueryParcel, ctx: Context) -> Result:
        """Make the call for ``parcel.query``; the answer's ``events`` hold what is known of the parcel."""
        return await self.perform(action, ctx)

    async def track(self, action: TrackParcel, ctx: Context) -> Result | None:
        """Subscribe, where a call for ``parcel.track`` is configured; else the bridge asks from time to time."""
        return await self.perform(action, ctx) if action.kind in self.calls else None

    async def file_claim(self, action: FileClaim, ctx: Context) -> Result:
        """Make the call for ``claim.file``; the answer's id is the claim's."""
        return await self.perform(action, ctx)

    async def query_claim(self, action: QueryClaim, ctx: Context) -> Result:
        """Make the call for ``claim.query``; the answer's ``events`` hold how the claim stands."""
        return await self.perform(action, ctx)

    async def answer_claim(self, action: AnswerClaim, ctx: Context) -> Result:
        """Make the call for ``claim.answer``."""
        return await self.perform(action, ctx)

    async def appeal_claim(self, action: AppealClaim, ctx: Context) -> Result:
        """Make the call for ``claim.appeal``."""
        return await self.perform(action, ctx)

    async def request_proof(self, action: RequestProof, ctx: Context) -> Result:
        """Make the call for ``proof.request``; the answer's ``events`` may hold where the document is."""
        return await self.perform(action, ctx)

    async def ask(self, action: AskCarrier, ctx: Context) -> Result:
        """Make the call for ``carrier.ask``; the answer comes as a message."""
        return await self.perform(action, ctx)

    async def check_coverage(self, action: CheckCoverage, ctx: Context) -> Result:
        """Make the call for ``coverage.check``; the answer's ``events`` hold whether the address is served."""
        return await self.perform(action, ctx)

    def result(self, call: Call, action: Action, response: httpx.Response, ctx: Context) -> Result:
        """What the answer tells, with its events; a query without one has not been answered."""
        made = super().result(call, action, response, ctx)
        told = isinstance(action, QueryParcel) or "json" in response.headers.get("Content-Type", "")
        rows = call.events.search(read(response)) if told else None
        if rows is None and isinstance(action, QueryParcel):
            raise ValueError(f"the answer names no {call.events.root}")
        events = tuple(_event(one, ctx) for one in rows or () if isinstance(one, dict))
        return Result(id=made.id, url=made.url, events=events)


def _event(given: dict[str, Any], ctx: Context) -> Any:
    """An event in the bridge's own words; its key follows from what it tells, its time from its newest scan.

    What tells no time is news by each question: a state may come back.
    """
    told = {name: value for name, value in given.items() if name not in {"key", "refs", "schema"}}
    mark = sha256(dump_json(told).encode()).hexdigest()[:32]
    parcel = told.get("parcel")
    timed = "at" in told or (isinstance(parcel, dict) and parcel.get("scans"))
    asked = "" if timed else f":{ctx.idempotency_key}"
    waybill = (parcel if isinstance(parcel, dict) else told).get("waybill")
    try:
        made = TELLS.validate_python({"at": ctx.now(), **told, "key": f"{told.get('type')}:{mark}{asked}"})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"an event that cannot be read: {first['loc']}: {first['msg']}") from error
    number = normalise(waybill) if isinstance(waybill, str) else ""
    update: dict[str, Any] = {"refs": (Ref(kind=RefKind.WAYBILL, value=number),) if number else ()}
    if isinstance(made, ParcelSeen):
        scans = tuple(sorted(made.parcel.scans, key=lambda one: one.at))
        update["parcel"] = made.parcel.model_copy(update={"waybill": number, "scans": scans})
        update["at"] = scans[-1].at if scans and "at" not in told else made.at
    elif isinstance(made, ClaimSeen):
        update["waybill"] = number
    return made.model_copy(update=update)
