"""RMA operations: what is done step by step once a remedy is agreed, as ``operations.toml`` and the settings say."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from rmabridge.model import Money, RemedyKind

from .rules import Offer

ON_TOP: Final = {"coupon": RemedyKind.COUPON, "gift_card": RemedyKind.GIFT_CARD, "store_credit": RemedyKind.GIFT_CARD}
Goods = Literal["ordered", "same", "other", "missing"]


class Step(BaseModel):
    """One thing that an operation does."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    do: Literal["approve", "await", "refund", "credit", "reship", "tag", "close"]
    credit: Literal["coupon", "gift_card", "store_credit"] = "coupon"
    share: Decimal | None = Field(None, gt=0, le=1, description="share of what the goods are worth, on top")
    amount: Money | None = Field(None, description="a fixed amount, on top")
    most: Money | None = None
    least_order: Money | None = Field(None, description="the order value from which a coupon counts; none: any")
    valid_days: int = Field(90, gt=0)
    goods: Goods = "ordered"
    sku: str | None = Field(None, description="send this article, whatever was ordered")
    back: bool = Field(False, description="the old goods come back, so only the difference costs anything")
    by: str | None = Field(None, description="the carrier for the new parcel")
    note: str | None = None
    tag: str = "priority"
    instead: Step | None = Field(None, description="the step that is taken where this one fails")

    @property
    def on_top(self) -> bool:
        """Whether it costs something beside what was agreed."""
        return self.amount is not None or self.share is not None

    def extra(self) -> RemedyKind | None:
        """What it adds to the remedy that gives the operation its name."""
        if self.do == "credit" and self.on_top:
            return ON_TOP[self.credit]
        return RemedyKind.PRIORITY if self.do == "tag" else None

    def offer(self) -> Offer:
        """What it costs on top, as an offer is worked out."""
        return Offer(operation="", share=self.share, amount=self.amount, most=self.most)


class Operation(BaseModel):
    """A remedy as a sequence of steps."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    remedy: RemedyKind
    steps: tuple[Step, ...]

    @property
    def refunds(self) -> bool:
        """Whether money is paid back."""
        return any(one.do == "refund" for one in self.steps)

    @property
    def priced(self) -> bool:
        """Whether an amount is agreed: money or credit, and no goods that come back first."""
        first = [one.do for one in self.steps if not one.on_top]
        return ("refund" in first or "credit" in first) and "await" not in first

    def extras(self) -> tuple[RemedyKind, ...]:
        """What is given on top."""
        found = [one.extra() for one in self.steps]
        return tuple(dict.fromkeys(one for one in found if one and one is not self.remedy))
