"""Actions towards carriers and insurers: claims, proof, questions, coverage."""

from typing import ClassVar, Literal

from .acting import Base
from .message import Attachment
from .money import Money
from .people import Address
from .words import ClaimKind


class FileClaim(Base):
    """File a claim, once for each carrier, waybill and kind. ``attachments`` name the evidence by hash."""

    kind: ClassVar[str] = "claim.file"
    type: Literal["claim.file"] = "claim.file"
    waybill: str
    carrier: str | None = None
    claim: ClaimKind
    amount: Money | None = None
    external: str
    order: str | None = None
    description: str = ""
    contact: str | None = None
    attachments: tuple[Attachment, ...] = ()

    @property
    def key(self) -> str:
        return f"claim:{self.carrier or ''}:{self.waybill}:{self.claim}"

    @property
    def stream(self) -> str:
        return f"claim:{self.waybill}"

    @property
    def effect(self) -> str | None:
        return self.key


class OfClaim(Base):
    """What is done about a filed claim: ``claim`` is the carrier's id of it."""

    claim: str
    waybill: str

    @property
    def stream(self) -> str:
        return f"claim:{self.waybill}"


class AnswerClaim(OfClaim):
    """Give the carrier what it asked for; ``origin`` names the question."""

    kind: ClassVar[str] = "claim.answer"
    type: Literal["claim.answer"] = "claim.answer"
    origin: str
    text: str
    attachments: tuple[Attachment, ...] = ()

    @property
    def key(self) -> str:
        return f"claim:answer:{self.claim}:{self.origin}"


class AppealClaim(OfClaim):
    """Object to a claim that was rejected or paid in part."""

    kind: ClassVar[str] = "claim.appeal"
    type: Literal["claim.appeal"] = "claim.appeal"
    text: str
    attachments: tuple[Attachment, ...] = ()

    @property
    def key(self) -> str:
        return f"claim:appeal:{self.claim}"


class QueryClaim(OfClaim):
    """Ask where a claim stands; ``round`` counts the times asked."""

    kind: ClassVar[str] = "claim.query"
    type: Literal["claim.query"] = "claim.query"
    round: int = 1

    @property
    def key(self) -> str:
        return f"claim:query:{self.claim}:{self.round}"


class RequestProof(Base):
    """Ask the carrier for its written proof of damage, loss or refusal."""

    kind: ClassVar[str] = "proof.request"
    type: Literal["proof.request"] = "proof.request"
    waybill: str
    carrier: str | None = None
    claim: ClaimKind = ClaimKind.DAMAGE
    note: str | None = None

    @property
    def key(self) -> str:
        return f"proof:{self.waybill}:{self.claim}"

    @property
    def stream(self) -> str:
        return f"parcel:{self.waybill}"


class AskCarrier(Base):
    """Open an enquiry at the carrier for the buyer; its answer comes back into the case."""

    kind: ClassVar[str] = "carrier.ask"
    type: Literal["carrier.ask"] = "carrier.ask"
    waybill: str
    carrier: str | None = None
    topic: Literal["silent", "damaged", "lost", "refused", "address", "pickup", "other"] = "other"
    external: str
    text: str

    @property
    def key(self) -> str:
        return f"carrier:ask:{self.waybill}:{self.topic}"

    @property
    def stream(self) -> str:
        return f"parcel:{self.waybill}"


class CheckCoverage(Base):
    """Ask whether the carrier serves an address."""

    kind: ClassVar[str] = "coverage.check"
    type: Literal["coverage.check"] = "coverage.check"
    carrier: str
    address: Address

    @property
    def key(self) -> str:
        return f"coverage:{self.carrier}:{self.address.postcode or self.address.city or self.address.region}"
