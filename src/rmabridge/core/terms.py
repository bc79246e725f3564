"""How long each clock of a case may run, and which customers have deadlines of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from ..model import Case

FIRST: Final = "first_response"
NEXT: Final = "next_response"
CHAT: Final = "chat_reply"
SOCIAL: Final = "social"
THEIRS: Final = "marketplace_reply"
REVIEW: Final = "return_review"
SOLUTION: Final = "solution"
STEP: Final = "step"
MARKETPLACE: Final = "marketplace"


class Tier(BaseModel):
    """A group of customers with deadlines of their own; what is left out is as for everybody."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    words: tuple[str, ...] = Field((), description="what the buyer's tier or a tag of the order says, any of these")
    most_orders: int | None = Field(None, description="buyers with no more orders than this belong to it")
    first_response: timedelta | None = None
    next_response: timedelta | None = None
    return_review: timedelta | None = None
    solution: timedelta | None = None

    def holds(self, case: Case) -> bool:
        """Whether the case's buyer belongs to it."""
        buyer, tags = case.buyer, case.order.tags if case.order else ()
        orders, tier = (buyer.orders, buyer.tier or "") if buyer else (None, "")
        if self.most_orders is not None and orders is not None and orders <= self.most_orders:
            return True
        if not tier and not any(tags):
            return False
        return any(_says(text, self.words) for text in (*tags, tier))


@lru_cache(maxsize=4096)
def _says(text: str, words: tuple[str, ...]) -> bool:
    """Whether a tier or tag is one of the words, or contains one (``VIP2``, ``svip-customer``)."""
    wanted, folded = {one.casefold() for one in words}, text.casefold()
    return folded in wanted or any(one.rstrip("0123456789") in wanted for one in re.findall(r"[^\W_]+", folded))


class Terms(BaseModel):
    """How long each clock runs; the settings of the policy."""

    first_response: timedelta = Field(timedelta(hours=4), description="the first answer by a person")
    next_response: timedelta = Field(timedelta(hours=4), description="each later answer")
    chat_reply: timedelta = Field(timedelta(minutes=5), description="silence in a chat before the holding reply")
    social: timedelta = Field(timedelta(hours=2), description="a private message after a public comment")
    return_review: timedelta = Field(timedelta(hours=6), description="the decision on a return or refund request")
    solution: tuple[timedelta, timedelta, timedelta] = Field(
        (timedelta(minutes=30), timedelta(hours=4), timedelta(hours=2)),
        description="the solution at level 1 and 2, the statement at level 3",
    )
    marketplace_reply: dict[str, timedelta] = Field(
        default_factory=lambda: {"amazon": timedelta(hours=24)},
        description="the marketplace's own time for an answer to the first unanswered message, by its account",
    )
    steps: dict[str, int] = Field(
        default_factory=lambda: {"approve": 1, "refund": 2, "give": 1, "repair": 7},
        description="working days for each step of an agreed solution; 'reship' left out: the shop's dispatch_days",
    )
    tiers: dict[str, Tier] = Field(
        default_factory=lambda: {
            "vip": Tier(words=("vip", "svip", "88vip"), return_review=timedelta(hours=2)),
            "new": Tier(most_orders=1, first_response=timedelta(hours=2)),
        },
        description="groups of customers with deadlines of their own; the first that fits counts",
    )
    social_sources: tuple[str, ...] = Field(
        ("social",), description="sources of messages that are public comments: an account, or what its plugin says"
    )
    warn_at: float = Field(0.75, gt=0, lt=1, description="part of its time after which a clock warns")
    all_hours: tuple[str, ...] = Field(
        (CHAT, "solution:3"), description="clocks that run day and night; the marketplace's own always do"
    )


def tier_of(case: Case, tiers: Mapping[str, Tier]) -> tuple[str | None, Tier | None]:
    """The first group of customers that the buyer belongs to."""
    return next(((name, one) for name, one in tiers.items() if one.holds(case)), (None, None))
