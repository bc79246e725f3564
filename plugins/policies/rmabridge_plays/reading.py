"""The shipped tables of this package, and the shop's own over them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import tomli
from pydantic import BaseModel, ConfigDict, Field

from rmabridge.core.plays import Flow, has, problems
from rmabridge.core.terms import Tier
from rmabridge.model import Case, Issue

ROLES: Final = ("legal", "pr")


class Solution(BaseModel):
    """A solution that agents are shown: the template ``solution.ID``, by the buyer's words or the case's issue."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    id: str
    issues: frozenset[Issue] = frozenset()
    words: tuple[str, ...] = ()

    def fits(self, issues: Collection[Issue | None], text: str) -> bool:
        """Whether it is for a case of these issues, or for what was just said."""
        return not self.issues.isdisjoint(issues) or has(text, self.words)


class IncidentRule(BaseModel):
    """What makes an incident: similar cases, words of the buyer, or a level; ``topic`` is the issue where left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    id: str
    topic: str | None = None
    similar: int | None = Field(None, ge=2, description="so many cases of one issue inside the window")
    issues: frozenset[Issue] = Field(frozenset(), description="only these issues; left out, any")
    words: tuple[str, ...] = ()
    level: int | None = None
    roles: tuple[str, ...] = ROLES


class Grant(BaseModel):
    """A tier of customers, and the operations that may be offered to them."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    words: tuple[str, ...] = ()
    most_orders: int | None = None
    offers: tuple[str, ...] = ()

    def holds(self, case: Case) -> bool:
        """Whether the case's buyer belongs to the tier."""
        return self._tier.holds(case)

    @cached_property
    def _tier(self) -> Tier:
        return Tier(words=self.words, most_orders=self.most_orders)


@cache
def shipped(name: str) -> dict[str, Any]:
    """A data file of this package."""
    return tomli.loads((files(__package__) / name).read_text(encoding="utf-8"))


def flows(own: Path | None) -> tuple[Flow, ...]:
    """The shipped workflows with the shop's own over them, by id; one that is no machine raises ``ValueError``."""
    found = {one.id: one for one in (_flow(text) for text in _texts(own))}
    if wrong := [problem for one in found.values() for problem in problems(one)]:
        raise ValueError("; ".join(wrong))
    return tuple(found[name] for name in sorted(found))


def _flow(text: str) -> Flow:
    return Flow.model_validate(tomli.loads(text))


def _texts(own: Path | None) -> Iterator[str]:
    for one in sorted((files(__package__) / "workflows").iterdir(), key=lambda file: file.name):
        if one.name.endswith(".toml"):
            yield one.read_text(encoding="utf-8")
    for path in sorted(own.glob("*.toml")) if own else ():
        yield path.read_text(encoding="utf-8")
