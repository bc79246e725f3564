"""The data of this policy: what is asked for, and who answers for what."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any, Final, Literal, Self, TypeVar

import tomli
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rmabridge.model import Case, EvidenceKind, Issue

Fact = Literal[
    "proof",
    "damage_scan",
    "loss_scan",
    "no_damage_scan",
    "other_sku",
    "delivered",
    "complete",
    "shown",
    "cause_customer",
]
OF_CARRIER: Final = frozenset({"proof", "damage_scan", "loss_scan"})
PICTURES: Final = (EvidenceKind.PHOTO, EvidenceKind.VIDEO)


class Piece(BaseModel):
    """One thing to hand in; its words are the templates' ``need_NAME``."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    name: str = Field(pattern="^[a-z][a-z_]*$")
    kinds: tuple[EvidenceKind, ...] = PICTURES
    count: int = Field(1, ge=0)


class Ask(BaseModel):
    """What a case of these issues (and sub-causes, where named) is to be proven with."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    id: str = Field(pattern="^[a-z][a-z_]*$")
    issues: frozenset[Issue]
    subs: frozenset[str] = frozenset()
    needs: tuple[Piece, ...]
    days: int = Field(3, gt=0)

    def fits(self, case: Case) -> bool:
        """Whether it is for this case."""
        if self.subs and case.sub not in self.subs:
            return False
        return case.issue in self.issues


class Rule(BaseModel):
    """Who answers for it when all these facts hold, and what is done next."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    id: str
    issues: frozenset[Issue] = frozenset()
    when: tuple[Fact, ...] = Field(min_length=1)
    liable: str
    cause: str
    confidence: float = Field(gt=0, le=1)
    steps: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _proven(self) -> Self:
        if self.liable == "carrier" and not OF_CARRIER & set(self.when):
            raise ValueError(f"{self.id}: a carrier is liable only by its proof or its scan: {sorted(OF_CARRIER)}")
        return self

    def concerns(self, case: Case) -> bool:
        """Whether it is about this case."""
        return not self.issues or case.issue in self.issues


T = TypeVar("T", bound="Ask | Rule")


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    return tomli.loads((resources.files("rmabridge_evidence") / "evidence.toml").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def shipped_asks() -> tuple[Ask, ...]:
    """The asks that come with this policy."""
    return tuple(Ask.model_validate(one) for one in _data()["asks"])


@lru_cache(maxsize=1)
def shipped_rules() -> tuple[Rule, ...]:
    """The rules that come with this policy."""
    return tuple(Rule.model_validate(one) for one in _data()["liability"])


def merged(own: tuple[T, ...], shipped: tuple[T, ...]) -> tuple[T, ...]:
    """A shop's own first; one of the same id replaces the shipped one."""
    names = {one.id for one in own}
    left: list[T] = [one for one in shipped if one.id not in names]
    return (*own, *left)
