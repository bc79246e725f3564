"""What a carrier wants of a claim: when, with which documents, how much it pays at most. The data: ``claims.toml``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import Literal

import tomli
from pydantic import BaseModel, ConfigDict, Field

from rmabridge.abilities import Shop
from rmabridge.model import Case, ClaimKind, EvidenceKind, Money, Parcel
from rmabridge.wire import carriers


class Rule(BaseModel):
    """One rule of ``claims.toml``, or of an operator's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    carriers: tuple[str, ...] = Field((), description="codes or names; none: all")
    kinds: tuple[ClaimKind, ...] = Field((), description="kinds of claims; none: all")
    scope: Literal["any", "domestic", "international"] = "any"
    start: Literal["delivered", "shipped"] = "shipped"
    earliest: int = Field(0, ge=0, description="days after the start before which no claim is taken")
    days: int = Field(gt=0, description="days after the start until which a claim is taken")
    documents: tuple[EvidenceKind, ...] = Field((), description="kinds of evidence that the carrier wants to see")
    cap: Money | None = Field(None, description="most that is paid without a declared value")
    freight: Money | None = Field(
        None, description="what a parcel's carriage costs, for a cap that is a multiple of it"
    )
    freight_times: int | None = Field(None, gt=0, description="cap as a multiple of the freight")
    basis: tuple[str, ...] = ()
    source: str = Field("", description="where the rule was read")
    verified: bool = True

    def serves(self, carrier: str | None, kind: ClaimKind, scope: str | None) -> bool:
        """Whether the rule is about such a claim; a scope that is not known fits every rule."""
        if self.kinds and kind not in self.kinds:
            return False
        if scope and self.scope not in {"any", scope}:
            return False
        return not self.carriers or (carrier is not None and _code(carrier) in {_code(one) for one in self.carriers})

    @property
    def most(self) -> Money | None:
        """The cap: the amount itself, or the multiple of the freight, whichever is less."""
        if self.freight is None or self.freight_times is None:
            return self.cap
        multiple = Money(amount=self.freight.amount * self.freight_times, currency=self.freight.currency)
        known = self.cap is not None and self.cap.currency == multiple.currency
        return min(self.cap, multiple) if known and self.cap else multiple

    def window(self, case: Case, parcel: Parcel) -> tuple[datetime, datetime]:
        """The first and the last moment for the claim."""
        start = _started(self.start, case, parcel)
        return start + timedelta(days=self.earliest), start + timedelta(days=self.days)


@cache
def shipped_rules() -> tuple[Rule, ...]:
    """The rules that come with the policy."""
    text = (resources.files(__package__) / "claims.toml").read_text(encoding="utf-8")
    return tuple(Rule.model_validate(one) for one in tomli.loads(text)["rules"])


def rule_for(own: Iterable[Rule], case: Case, shop: Shop, parcel: Parcel, kind: ClaimKind) -> Rule:
    """The rule of this claim: an operator's own before the shipped ones; of equals the one with less time."""
    scope = _scope(case, shop)
    fitting = [one for one in (*own, *shipped_rules()) if one.serves(parcel.carrier, kind, scope)]
    first = fitting[0]
    same = [one for one in fitting if one.carriers == first.carriers and one.start == first.start]
    return min(same, key=lambda one: one.days) if scope is None and first.scope != "any" else first


def expected(value: Money | None, cap: Money | None) -> Money | None:
    """What the carrier is likely to pay: the loss, up to its cap."""
    if value is None or cap is None or value.currency != cap.currency:
        return value
    return min(value, cap)


def _scope(case: Case, shop: Shop) -> str | None:
    here = shop.return_address.country if shop.return_address else None
    there = case.order.ship_to.country if case.order and case.order.ship_to else None
    if not here or not there:
        return None
    return "domestic" if here.casefold() == there.casefold() else "international"


def _started(start: str, case: Case, parcel: Parcel) -> datetime:
    last = parcel.last.at if parcel.last else None
    placed = case.order.placed_at if case.order else None
    if start == "delivered":
        return parcel.delivered_at or last or parcel.shipped_at or placed or case.opened_at
    first = parcel.scans[0].at if parcel.scans else None
    return parcel.shipped_at or first or placed or case.opened_at


@cache
def _code(carrier: str) -> str:
    known = carriers.carrier(carrier)
    return known.code if known else carrier.casefold()
