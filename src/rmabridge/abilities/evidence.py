"""What a policy that asks buyers for evidence tells the page on which they hand it in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..model import Case, EvidenceKind


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that is asked for: ``name`` is a word of the templates (``need_NAME``), ``have`` is what came of it."""

    name: str
    kinds: tuple[EvidenceKind, ...]
    count: int = 1
    have: int = 0

    @property
    def left(self) -> int:
        """How many are still missing."""
        return max(0, self.count - self.have)


class AsksForEvidence(ABC):
    """A policy that knows what a case is to be proven with, and how much may be handed in for it."""

    most_files: int
    most_bytes: int

    @abstractmethod
    def needs(self, case: Case, subject: str) -> tuple[Need, ...]:
        """What the link of this ``subject`` asks for, as the case stands; empty where it asks for nothing."""

    @abstractmethod
    def item(self, case: Case) -> str:
        """What it is about, in a few words."""
