"""Ask the policies: what to do (``decide``), in which words (``amend``), and whether it may be done (``review``).

One policy's failure stays its own: a raising ``decide`` is reported and the others are heard; a raising ``amend`` or
``review`` holds the action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any, Final

from ..abilities import Policy, Proposal, View
from ..model import (
    Action,
    Case,
    Classified,
    Event,
    PlayMoved,
    RemedyOffered,
    Routed,
    Ruling,
    SendMessage,
    Settled,
    Verdict,
)
from .masking import mask
from .paid import doubts

Caller = Callable[..., Any]
Heard = type[Any] | str
# What changes the case and tells nothing else: who sees the case after it knows all of it.
STATES: Final = (Classified, PlayMoved, RemedyOffered, Routed)
STRICTNESS: Final = {Ruling.ALLOW: 0, Ruling.HOLD: 1, Ruling.DENY: 2}


@dataclass(slots=True)
class Asked:
    """One policy with its cached hook callers; a caller is None where the policy has no such method."""

    name: str
    policy: Policy
    decide: Caller | None
    amend: Caller | None
    review: Caller | None
    seconds: float = 0.0
    calls: int = 0
    by: str = field(init=False)  # name and version, as they are stored beside what the policy said

    def __post_init__(self) -> None:
        self.by = f"{self.name}@{self.policy.version}"


@dataclass(frozen=True, slots=True)
class Failure:
    """A policy's ``decide`` raised."""

    policy: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Weighed:
    """An action in its final words, with all verdicts and the ruling they amount to."""

    action: Action
    verdicts: tuple[Verdict, ...]
    ruling: Ruling
    amended_by: tuple[str, ...] = ()

    @property
    def holds(self) -> list[Verdict]:
        """The verdicts that hold the action."""
        return [one for one in self.verdicts if one.ruling is Ruling.HOLD]


def _heard(event: Event) -> Heard:
    """What decides who is asked of the event: its type, or the type of the action that was settled."""
    return event.action_type if isinstance(event, Settled) else type(event)


def available(case: Case, fact: str) -> bool:
    """Whether a required fact is on the case, or known not to come."""
    return fact in case.missing or getattr(case, fact, None) is not None


@dataclass
class Judge:
    """The configured policies, in order."""

    policies: Sequence[Asked]
    needed: dict[str, None] = field(default_factory=dict)
    _hearing: dict[Heard, list[Asked]] = field(default_factory=dict)
    _later: dict[tuple[Heard, str, type[Any]], frozenset[str]] = field(default_factory=dict)

    def lacking(self, case: Case) -> list[str]:
        """The facts that policies still wait for."""
        return [one for one in self.required if not available(case, one)]

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Every fact that some policy requires."""
        deciding = [one.policy.requires for one in self.policies if one.decide]
        return tuple(dict.fromkeys(fact for many in deciding for fact in many))

    def hearing(self, event: Event) -> list[Asked]:
        """The policies that are asked after such an event."""
        key, kind = _heard(event), type(event)
        if (found := self._hearing.get(key)) is None:
            heard = [one for one in self.policies if one.decide and kind in (one.policy.hears or (kind,))]
            found = [one for one in heard if key is kind or key in (one.policy.settles or (key,))]
            self._hearing[key] = found
        return found

    def later(self, event: Event, by: str, said: Event) -> frozenset[str]:
        """The policies that need not be told what ``by`` ``said`` of ``event``: those that are asked of the event after
        it, and so see it on the case, and ``by`` where it knows.
        """
        key = _heard(event), by, type(said)
        if (found := self._later.get(key)) is None:
            found = self._later[key] = self._found_later(event, by, said)
        return found

    def _found_later(self, event: Event, by: str, said: Event) -> frozenset[str]:
        names = [one.name for one in self.hearing(event) if type(said) not in one.policy.minds]
        found = names[names.index(by) + 1 :] if isinstance(said, STATES) and by in names else []
        knows = (one.name for one in self.policies if one.name == by and type(said) in one.policy.knows)
        return frozenset([*found, *knows])

    def shown(self, case: Case, event: Event, said: Event, skip: frozenset[str]) -> frozenset[str]:
        """The policies that see what was ``said`` before on the case, when they are asked of the event."""
        if not isinstance(said, STATES):
            return frozenset()
        asked, lacking = [one for one in self.hearing(event) if one.name not in skip], set(self.lacking(case))
        found = (one for one in asked if lacking.isdisjoint(one.policy.requires))
        return frozenset(one.name for one in found if type(said) not in one.policy.minds)

    def proposals(
        self, case: Callable[[], Case], event: Event, view: View, skip: frozenset[str] = frozenset()
    ) -> Iterator[tuple[Asked, Proposal | Failure]]:
        """What the policies want done for the case as it is when each is asked: the later ones know what an earlier
        one found out. What they wait for is left in ``needed``.
        """
        lacking = self.lacking(case())
        self.needed = {}
        for asked in self.hearing(event):
            if asked.name in skip:
                continue
            if lacking and (waits := [one for one in asked.policy.requires if one in lacking]):
                self.needed.update(dict.fromkeys(waits))
                continue
            started = perf_counter()
            assert asked.decide is not None  # noqa: S101 - ``hearing`` checked it
            try:
                found = list(asked.decide(case=case(), event=event, view=view) or ())
            except Exception as error:  # noqa: BLE001 - a policy's own fault; told as an alert, run again on demand
                yield asked, Failure(asked.name, error)
                continue
            finally:
                asked.seconds += perf_counter() - started
                asked.calls += 1
            for one in found:
                yield asked, one

    def weigh(self, action: Action, case: Case, view: View, granted: frozenset[str] = frozenset()) -> Weighed:
        """Amend in order, then let all judge the same thing; ``granted`` are rules that a person has approved."""
        verdicts: list[Verdict] = []
        amended: list[str] = []
        for asked in self.policies:
            if asked.amend is None:
                continue
            try:
                changed = asked.amend(action=action, case=case, view=view)
            except Exception as error:  # noqa: BLE001 - held, so that a person sees it
                verdicts.append(_granted(_failed(asked, "amend", error), granted))
                continue
            if changed is not None and changed is not action:
                action = changed
                amended.append(asked.by)
        for asked in self.policies:
            if asked.review is None:
                continue
            try:
                said = asked.review(action=action, case=case, view=view)
            except Exception as error:  # noqa: BLE001 - held, so that a person sees it
                said = _failed(asked, "review", error)
            if said is not None:
                verdicts.append(
                    _granted(said, granted).model_copy(update={"policy": asked.name, "version": asked.policy.version})
                )
        if said := _closed(action, case):
            verdicts.append(said)
        verdicts.extend(_granted(one, granted) for one in doubts(action, case, view))
        return Weighed(action, tuple(verdicts), strictest(verdicts), tuple(amended))


def strictest(verdicts: Sequence[Verdict]) -> Ruling:
    """The ruling that all verdicts together amount to."""
    return max((one.ruling for one in verdicts), key=STRICTNESS.__getitem__, default=Ruling.ALLOW)


def _granted(said: Verdict, granted: frozenset[str]) -> Verdict:
    if said.ruling is Ruling.HOLD and said.rule in granted:
        return said.model_copy(update={"ruling": Ruling.ALLOW, "reason": f"{said.reason}; approved", "until": None})
    return said


def _closed(action: Action, case: Case) -> Verdict | None:
    """Nobody writes to a buyer by a way that the buyer has closed."""
    if not isinstance(action, SendMessage) or action.audience != "buyer":
        return None
    if (way := f"{action.account}/{action.form}") not in case.talk.closed:
        return None
    return Verdict(ruling=Ruling.DENY, rule="bridge.opted_out", reason=f"the buyer opted out of {way}", policy="bridge")


def _failed(asked: Asked, what: str, error: Exception) -> Verdict:
    return Verdict(
        ruling=Ruling.HOLD,
        rule=f"{asked.name}.error",
        reason=f"the policy's {what} failed: {type(error).__name__}: {mask(str(error))}",
        policy=asked.name,
        version=asked.policy.version,
    )
