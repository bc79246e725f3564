"""What carriers and insurers can do beyond tracking: claims, written proof, answers, coverage."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..model import AnswerClaim, AppealClaim, AskCarrier, CheckCoverage, FileClaim, QueryClaim, RequestProof
from .context import Context, Finding, Result
from .plugin import performs


class TakesClaims(ABC):
    """A carrier or insurer that takes claims by call. Filed once: never sent twice, looked up when in doubt."""

    @performs(FileClaim, find="find_claim")
    @abstractmethod
    async def file_claim(self, action: FileClaim, ctx: Context) -> Result:
        """File it; ``Result.id`` is the claim's id and ``Result.events`` holds a ``ClaimSeen``."""

    @performs(QueryClaim, repeatable=True)
    async def query_claim(self, action: QueryClaim, ctx: Context) -> Result:
        """Where the claim stands: ``Result.events`` holds one ``ClaimSeen``."""
        raise TypeError("this plugin cannot ask where a claim stands")

    @performs(AnswerClaim)
    async def answer_claim(self, action: AnswerClaim, ctx: Context) -> Result:
        """Hand in what was asked for."""
        raise TypeError("this plugin cannot answer a claim")

    @performs(AppealClaim)
    async def appeal_claim(self, action: AppealClaim, ctx: Context) -> Result:
        """Object to the decision."""
        raise TypeError("this plugin cannot appeal")

    async def find_claim(self, action: FileClaim, ctx: Context) -> Finding:
        """Look whether the claim was filed."""
        return Finding(None)


class GivesProof(ABC):
    """A carrier that gives written proof of what happened to a parcel."""

    @performs(RequestProof, repeatable=True)
    @abstractmethod
    async def request_proof(self, action: RequestProof, ctx: Context) -> Result:
        """Ask for it; ``Result.events`` holds an ``EvidenceAdded`` where the answer carries the document."""


class AnswersEnquiries(ABC):
    """A carrier that takes questions about a parcel; its answers come back as messages."""

    @performs(AskCarrier)
    @abstractmethod
    async def ask(self, action: AskCarrier, ctx: Context) -> Result:
        """Open the enquiry; ``Result.id`` is its number."""


class KnowsCoverage(ABC):
    """A carrier that says which addresses it serves."""

    @performs(CheckCoverage, repeatable=True)
    @abstractmethod
    async def check_coverage(self, action: CheckCoverage, ctx: Context) -> Result:
        """``Result.events`` holds one ``CoverageSeen``."""
