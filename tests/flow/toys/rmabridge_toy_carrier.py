"""Toy carrier: gives proof, takes enquiries and says where it delivers; for tests of policies."""

from __future__ import annotations

from rmabridge import hookimpl
from rmabridge.abilities import (
    AnswersEnquiries,
    Context,
    GivesProof,
    KnowsCoverage,
    Plugin,
    Result,
    ShipsReplacements,
    TracksParcels,
)
from rmabridge.model import (
    AskCarrier,
    CheckCoverage,
    CoverageSeen,
    EvidenceAdded,
    EvidenceKind,
    QueryParcel,
    RequestProof,
    Reship,
)


class ToyCarrier(Plugin, TracksParcels, GivesProof, AnswersEnquiries, KnowsCoverage, ShipsReplacements):
    """Enquiries are POSTed to ``url``; nobody in ``unserved`` gets a parcel."""

    url: str = ""
    unserved: tuple[str, ...] = ()

    async def query(self, action: QueryParcel, ctx: Context) -> Result:
        return Result()

    async def request_proof(self, action: RequestProof, ctx: Context) -> Result:
        paper = f"proof of damage {action.waybill}".encode()
        seen = EvidenceAdded(
            key=f"proof:{action.waybill}",
            at=ctx.now(),
            evidence=f"proof:{action.waybill}",
            kind=EvidenceKind.PROOF,
            name="proof.txt",
            media_type="text/plain",
            size=len(paper),
            sha256=await ctx.keep(paper),
            source="carrier",
        )
        return Result(id=seen.evidence, events=(seen,))

    async def ask(self, action: AskCarrier, ctx: Context) -> Result:
        answer = await ctx.http.post(self.url, json=action.model_dump(mode="json"))
        answer.raise_for_status()
        return Result(id=f"Q-{action.waybill}")

    async def reship(self, action: Reship, ctx: Context) -> Result:
        return Result(id=f"S-{action.external}")

    async def check_coverage(self, action: CheckCoverage, ctx: Context) -> Result:
        served = action.carrier not in self.unserved
        seen = CoverageSeen(key=f"coverage:{action.carrier}", at=ctx.now(), carrier=action.carrier, served=served)
        return Result(events=(seen,))


@hookimpl
def register_carriers() -> list[type[Plugin]]:
    return [ToyCarrier]
