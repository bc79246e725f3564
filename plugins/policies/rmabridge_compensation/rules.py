"""Which remedies a case may be offered: rules read from ``remedies.toml`` and the operator's settings."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from typing import Any, Final

import tomli
from pydantic import BaseModel, ConfigDict, Field

from rmabridge.model import Case, CaseKind, ClaimStatus, Direction, EvidenceKind, Issue, Money, ParcelStatus

PLAIN: Final = (CaseKind.REFUND, CaseKind.REPAIR, CaseKind.COMPLAINT, CaseKind.QUESTION)
OPEN_CLAIM: Final = frozenset(
    {ClaimStatus.SUBMITTED, ClaimStatus.IN_REVIEW, ClaimStatus.INFO_REQUESTED, ClaimStatus.APPEALED}
)
SHOWING: Final = frozenset({EvidenceKind.PHOTO, EvidenceKind.VIDEO})


class Offer(BaseModel):
    """One remedy that may be offered: an operation, and how much of the goods' worth it may cost."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    operation: str
    share: Decimal | None = Field(None, gt=0, le=1, description="share of what the goods are worth")
    amount: Money | None = Field(None, description="a fixed amount instead of a share")
    most: Money | None = Field(None, description="never more than this")
    least: Money | None = Field(None, description="not offered where it would be less than this")


class Wanted(BaseModel):
    """What a case must be for a rule to fit."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    id: str
    issues: frozenset[Issue] = frozenset()
    subs: frozenset[str] = frozenset()
    kinds: frozenset[CaseKind] = frozenset(PLAIN)
    levels: frozenset[int] = Field(frozenset({1, 2}), description="grave cases get no offer from a rule")
    tiers: frozenset[str] = frozenset()
    within: timedelta | None = Field(None, description="asked no longer than this after delivery")
    after: timedelta | None = Field(None, description="asked later than this after delivery")
    evidence: bool = Field(False, description="the buyer handed in photos or films, in time where 'within' is set")

    def fits(self, case: Case) -> bool:
        """Whether the case is what the rule is for."""
        if case.kind not in self.kinds or case.level not in self.levels:
            return False
        if self.issues and case.issue not in self.issues:
            return False
        if self.subs and case.sub not in self.subs:
            return False
        return self._of_tier(case) and self._in_time(case)

    def _of_tier(self, case: Case) -> bool:
        said = (case.buyer.tier if case.buyer else None) or ""
        return not self.tiers or said.casefold() in {one.casefold() for one in self.tiers}

    def _in_time(self, case: Case) -> bool:
        began = delivered_at(case)
        if self.evidence and not self._shown(case, began):
            return False
        if self.within is None and self.after is None:
            return True
        if began is None:
            return False
        passed = case.opened_at - began
        return (self.within is None or passed <= self.within) and (self.after is None or passed > self.after)

    def _shown(self, case: Case, began: datetime | None) -> bool:
        latest = began + self.within if began and self.within else None
        return any(
            one.kind in SHOWING and (latest is None or one.at is None or one.at <= latest) for one in case.evidence
        )


class Rule(Wanted):
    """What may be offered to a case; ``refuse`` declines what was asked for and offers the first instead."""

    offers: tuple[Offer, ...]
    waits: bool = Field(False, description="not while a claim against carrier or insurer is open")
    refuse: bool = False
    over: bool = Field(False, description="only where more is asked for than is left of the order")


class Interim(Wanted):
    """What is given at once while it is open who is liable."""

    offer: Offer


def delivered_at(case: Case) -> datetime | None:
    """When the goods arrived, as the order or a parcel shows it; None where nobody knows."""
    if case.order and case.order.delivered_at:
        return case.order.delivered_at
    out = [one for one in case.parcels if one.direction is Direction.OUT and one.status is ParcelStatus.DELIVERED]
    seen = [at for one in out if (at := one.delivered_at or (one.last.at if one.last else None))]
    return max(seen) if seen else None


def liability_open(case: Case) -> bool:
    """Whether a claim is filed and not decided."""
    return any(one.status in OPEN_CLAIM for one in case.claims)


def wrong_sku(case: Case) -> tuple[str, str] | None:
    """(ordered, shipped) where a line names another article than its order line; an exchange names the wanted one."""
    if case.kind is CaseKind.EXCHANGE or case.request is None or case.order is None:
        return None
    ordered = {one.id: one.sku for one in case.order.lines if one.sku}
    for line in case.request.lines:
        was = ordered.get(line.order_line or "")
        if was and line.sku and line.sku != was:
            return was, line.sku
    return None


@lru_cache(maxsize=4)
def shipped(name: str) -> dict[str, Any]:
    """A data file of this package."""
    return tomli.loads((resources.files("rmabridge_compensation") / name).read_text(encoding="utf-8"))


def first(rules: Iterable[Rule], case: Case, *, over: bool) -> Rule | None:
    """The first rule that fits the case now."""
    for one in rules:
        if one.fits(case) and (over or not one.over) and not (one.waits and liability_open(case)):
            return one
    return None
