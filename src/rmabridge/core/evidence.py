"""Pieces of evidence by what they answer: an id is the need and the beginning of the file's hash. Pure."""

from __future__ import annotations

from typing import Final

from ..model import Case, Evidence, EvidenceKind

# The source of a file that was handed in before, for another buyer's case.
REUSED: Final = "buyer.reused"
FROM_BUYER: Final = frozenset({"buyer", REUSED})
HASHED: Final = 24


def evidence_id(need: str, sha256: str) -> str:
    """The id of a file that was handed in for a need."""
    return f"{need}:{sha256[:HASHED]}"


def need_of(piece: Evidence) -> str:
    """The need that the piece was handed in for; of what came on another way, the first part of its id."""
    return piece.id.partition(":")[0]


def proven(case: Case) -> bool:
    """Whether a carrier has given its written proof."""
    return any(one.kind is EvidenceKind.PROOF and one.source not in FROM_BUYER for one in case.evidence)
