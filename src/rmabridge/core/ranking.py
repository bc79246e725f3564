"""Which case comes first: by signs of the case, its cell in the matrix of urgency and importance, and its queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..model import Case, CaseKind, Issue, Rank
from .clocks import DUE

Grade = Literal["high", "medium", "low"]
GRADES: Final[tuple[Grade, ...]] = ("high", "medium", "low")
PRIORITIES: Final = ("urgent", "high", "normal", "low")
LATE: Final = datetime.max.replace(tzinfo=UTC)


class Looks(NamedTuple):
    """All that a rank depends on: most events of a case leave it as it is. ``due``: the spans in which a clock ends."""

    level: int
    anger: int
    issues: tuple[Issue | None, ...]
    kind: CaseKind
    tier: str | None
    due: frozenset[timedelta]
    worth: tuple[str, Decimal] | None
    agent: str | None


class Sign(BaseModel):
    """What a case is like: everything named must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    level: int | None = Field(None, description="at least this level")
    anger: int | None = Field(None, description="at least this angry")
    issues: frozenset[Issue] = Field(frozenset(), description="the issue, or one that comes with it, is among these")
    kinds: frozenset[CaseKind] = frozenset()
    tiers: frozenset[str] = Field(frozenset(), description="the customer's tier is among these")
    due_within: timedelta | None = Field(None, description="a clock of the case runs out in no more than this")
    over: dict[str, Decimal] = Field(default_factory=dict, description="the order is worth more, by currency")

    def fits(self, looks: Looks) -> bool:
        """Whether the case looks like this."""
        if self.level is not None and looks.level < self.level:
            return False
        if self.anger is not None and looks.anger < self.anger:
            return False
        if self.issues and self.issues.isdisjoint(looks.issues):
            return False
        if (self.kinds and looks.kind not in self.kinds) or (self.tiers and looks.tier not in self.tiers):
            return False
        if self.due_within is not None and self.due_within not in looks.due:
            return False
        return not self.over or _worth_more(looks.worth, self.over)


class Queue(BaseModel):
    """Cases like this go to a queue of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    queue: str
    when: Sign


class Ranking(BaseModel):
    """The tables by which cases are ranked."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

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
        first = min((one.due_at for one in case.deadlines if one.name.startswith(DUE)), default=None)
        due = frozenset(one for one in self._spans if first is not None and first <= now + one)
        total, issues = case.order.total if case.order else None, (case.issue, *case.also)
        worth = (total.currency, total.amount) if total else None
        return self._ranked(Looks(case.level, case.anger, issues, case.kind, tier, due, worth, case.agent))

    @cached_property
    def _spans(self) -> frozenset[timedelta]:
        signs = (sign for table in (self.urgency, self.importance) for many in table.values() for sign in many)
        queues = (one.when for one in self.queues)
        return frozenset(one.due_within for one in (*signs, *queues) if one.due_within is not None)

    @cached_property
    def _ranked(self) -> Callable[[Looks], Rank]:
        return lru_cache(maxsize=4096)(self._look_up)

    def _look_up(self, looks: Looks) -> Rank:
        urgency, importance = _grade(self.urgency, looks), _grade(self.importance, looks)
        fitting = (one.queue for one in self.queues if one.when.fits(looks))
        return Rank(
            urgency=urgency,
            importance=importance,
            priority=self.matrix[urgency][importance],
            queue=next((one for one in fitting if one != looks.agent), None),
        )


def _grade(table: Mapping[Grade, tuple[Sign, ...]], looks: Looks) -> Grade:
    return next((one for one in GRADES if any(sign.fits(looks) for sign in table.get(one, ()))), "low")


def _worth_more(worth: tuple[str, Decimal] | None, over: Mapping[str, Decimal]) -> bool:
    return worth is not None and worth[0] in over and worth[1] > over[worth[0]]


def place(case: Case) -> tuple[int, datetime, datetime]:
    """Sorts the queue: by priority, then by the nearest deadline, then by age."""
    priority = case.play.rank.priority if case.play and case.play.rank else "normal"
    number = PRIORITIES.index(priority) if priority in PRIORITIES else PRIORITIES.index("normal")
    due = min((one.due_at for one in case.deadlines if one.name.startswith(DUE)), default=LATE)
    return number, due, case.opened_at
