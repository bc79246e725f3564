"""Which case comes first: by signs of the case, its cell in the matrix of urgency and importance, and its queue."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..model import Case, CaseKind, Issue, Rank
from .clocks import DUE

Grade = Literal["high", "medium", "low"]
GRADES: Final[tuple[Grade, ...]] = ("high", "medium", "low")
PRIORITIES: Final = ("urgent", "high", "normal", "low")
LATE: Final = datetime.max.replace(tzinfo=UTC)


class Sign(BaseModel):
    """What a case is like: everything named must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: int | None = Field(None, description="at least this level")
    anger: int | None = Field(None, description="at least this angry")
    issues: frozenset[Issue] = Field(frozenset(), description="the issue, or one that comes with it, is among these")
    kinds: frozenset[CaseKind] = frozenset()
    tiers: frozenset[str] = Field(frozenset(), description="the customer's tier is among these")
    due_within: timedelta | None = Field(None, description="a clock of the case runs out in no more than this")
    over: dict[str, Decimal] = Field(default_factory=dict, description="the order is worth more, by currency")

    def fits(self, case: Case, tier: str | None, now: datetime) -> bool:
        """Whether the case is like this."""
        if self.level is not None and case.level < self.level:
            return False
        if self.anger is not None and case.anger < self.anger:
            return False
        if self.issues and not self.issues & {case.issue, *case.also}:
            return False
        if (self.kinds and case.kind not in self.kinds) or (self.tiers and tier not in self.tiers):
            return False
        if self.due_within is not None and not _due(case, now + self.due_within):
            return False
        return not self.over or _worth_more(case, self.over)


class Queue(BaseModel):
    """Cases like this go to a queue of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queue: str
    when: Sign


class Ranking(BaseModel):
    """The tables by which cases are ranked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    urgency: dict[Grade, tuple[Sign, ...]]
    importance: dict[Grade, tuple[Sign, ...]]
    matrix: dict[Grade, dict[Grade, str]]
    queues: tuple[Queue, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Ranking:
        lost = [f"{one}.{other}" for one in GRADES for other in GRADES if other not in self.matrix.get(one, {})]
        if lost:
            raise ValueError(f"matrix: no priority for {', '.join(lost)} (urgency.importance)")
        return self

    def rank(self, case: Case, tier: str | None, now: datetime) -> Rank:
        """The case's place; the first queue that fits and is not the concerned agent's own."""
        urgency, importance = (_grade(one, case, tier, now) for one in (self.urgency, self.importance))
        fitting = (one.queue for one in self.queues if one.when.fits(case, tier, now))
        return Rank(
            urgency=urgency,
            importance=importance,
            priority=self.matrix[urgency][importance],
            queue=next((one for one in fitting if one != case.agent), None),
        )


def _grade(table: Mapping[Grade, tuple[Sign, ...]], case: Case, tier: str | None, now: datetime) -> Grade:
    return next((one for one in GRADES if any(sign.fits(case, tier, now) for sign in table.get(one, ()))), "low")


def _due(case: Case, latest: datetime) -> bool:
    return any(one.name.startswith(DUE) and one.due_at <= latest for one in case.deadlines)


def _worth_more(case: Case, over: Mapping[str, Decimal]) -> bool:
    total = case.order.total if case.order else None
    return total is not None and total.currency in over and total.amount > over[total.currency]


def place(case: Case) -> tuple[int, datetime, datetime]:
    """Sorts the queue: by priority, then by the nearest deadline, then by age."""
    priority = case.play.rank.priority if case.play and case.play.rank else "normal"
    number = PRIORITIES.index(priority) if priority in PRIORITIES else PRIORITIES.index("normal")
    due = min((one.due_at for one in case.deadlines if one.name.startswith(DUE)), default=LATE)
    return number, due, case.opened_at
