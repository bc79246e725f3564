"""Handling plays: a state machine for each type of problem, moved by what the case shows and by what people record.

A step is reached once a round, in whatever order; the state is how far the machine gets over the steps that were
reached, so events may come in any order. Flows are data: the policy reads them, this module only walks them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from ..abilities import View
from ..model import (
    Author,
    Case,
    CaseKind,
    Event,
    Issue,
    MessageReceived,
    Play,
    PlayMoved,
    PlayStep,
    RefundStatus,
    SendMessage,
    Settled,
)

# What triage puts where nobody has looked for the cause yet: families of complaints, not causes.
FAMILIES: Final = frozenset({"product", "logistics", "service"})
PROMISED: Final = "promised"
CRISIS: Final = 3


class State(BaseModel):
    """One state: its name for people, and what may follow."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    next: tuple[str, ...] = ()
    title: dict[str, str] = Field(default_factory=dict)


class Sub(BaseModel):
    """One cause inside a problem type: the evidence that it needs and the operations that mend it."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    issue: Issue
    sub: str | None = None
    evidence: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()


class Flow(BaseModel):
    """The workflow of one type of problem.

    ``needs`` are the steps without which a complaint is not closed, ``standard`` those that every closed case of the
    type must have passed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    id: str
    title: dict[str, str] = Field(default_factory=dict)
    issues: frozenset[Issue] = frozenset()
    kinds: frozenset[CaseKind] = frozenset()
    weight: int = Field(0, description="of several flows that fit, the heaviest counts")
    start: str = "opened"
    states: dict[str, State]
    needs: tuple[str, ...] = ()
    standard: tuple[str, ...] = ()
    subs: tuple[Sub, ...] = ()

    def sub(self, case: Case) -> Sub | None:
        """The case's cause in this flow: the finer one where it is named."""
        fitting = [one for one in self.subs if one.issue is case.issue and one.sub in (None, case.sub)]
        return max(fitting, key=lambda one: one.sub is not None, default=None)


def problems(flow: Flow) -> list[str]:
    """What is wrong with a flow: states that nothing leads to, or that lead nowhere that is known."""
    states = flow.states
    if flow.start not in states:
        return [f"{flow.id}: the start {flow.start!r} is no state"]
    found = [
        f"{flow.id}: {name!r} leads to {one!r}, which is no state"
        for name, state in states.items()
        for one in state.next
        if one not in states
    ]
    lost = set(states) - _reachable(flow)
    found += [f"{flow.id}: nothing leads to {one!r}" for one in sorted(lost)]
    steps = set(states) | {PROMISED}
    return found + [f"{flow.id}: {one!r} is no state" for one in (*flow.needs, *flow.standard) if one not in steps]


def _reachable(flow: Flow) -> set[str]:
    found, todo = {flow.start}, [flow.start]
    while todo:
        for one in flow.states[todo.pop()].next:
            if one in flow.states and one not in found:
                found.add(one)
                todo.append(one)
    return found


def walk(flow: Flow, steps: Collection[str]) -> str:
    """How far the machine gets over these steps."""
    state, passed = flow.start, {flow.start}
    while (
        after := next((one for one in flow.states[state].next if one in steps and one not in passed), None)
    ) is not None:
        state = after
        passed.add(after)
    return state


def flow_of(case: Case, flows: Iterable[Flow]) -> Flow | None:
    """The flow of the case's problem, by its issue and what it asks for; a crisis counts wherever it is named."""
    return heaviest(flows, case.kind, named(case))


def named(case: Case) -> tuple[Issue | None, ...]:
    """The issues by which the case's flow is found."""
    return (case.issue, *case.also) if case.level == CRISIS else (case.issue,)


def heaviest(flows: Iterable[Flow], kind: CaseKind, issues: Collection[Issue | None]) -> Flow | None:
    """The flow that counts for cases of this kind and these issues."""
    fitting = [
        one
        for one in flows
        if (not one.kinds or kind in one.kinds) and (not one.issues or not one.issues.isdisjoint(issues))
    ]
    return max(fitting, key=lambda one: one.weight, default=None)


def refusal(case: Case, step: str) -> str | None:
    """Why a person may not record this step now; None where it may follow."""
    play = case.play
    if play is None:
        return f"{case.id} has no handling play; the policy 'plays' gives it one"
    if step in play.next:
        return None
    after = ", ".join(play.next) or "nothing"
    return f"{case.id}: {step!r} does not follow {play.state!r} in the play {play.id!r}; what may follow: {after}"


def recorded(case: Case, step: str, key: str, now: datetime, by: str, note: str | None) -> PlayMoved:
    """The event of a step that a person records; ``refusal`` was asked before."""
    play = case.play or Play(id="", state="")
    made = PlayStep(name=step, at=now, by=by, note=note)
    return PlayMoved(
        key=key, at=now, play=play.id, state=step, turn=play.turn + 1, round=play.round, steps=(made,), next=()
    )


WANTED: Final = {
    "investigated": "the cause",
    "proposed": "a solution",
    "told": "word to the customer about it",
    PROMISED: "a reply that promises both compensation and rectification",
}


def lacking(case: Case) -> tuple[str, ...]:
    """The steps that a closing still waits for."""
    return case.play.missing if case.play and case.play.round == case.round else ()


def unclosable(case: Case) -> str | None:
    """Why the case cannot be closed yet, in a sentence."""
    missing = lacking(case)
    if not missing:
        return None
    named = "; ".join(f"{WANTED.get(one, one)} ({one})" for one in missing)
    return f"{case.id} cannot be closed yet; not recorded: {named}. 'rmabridge cases step' records a step"


def skipped(case: Case) -> tuple[str, ...]:
    """The standard steps that a case did not pass in its last round."""
    play = case.play
    return tuple(one for one in play.standard if play.step(one) is None) if play else ()


def shown(case: Case, now: datetime) -> dict[str, datetime]:
    """The steps that the case's own facts show, and when each was reached."""
    if case.round == 1:
        return dict(_shown(case, now))
    began = max((case.opened_at, *case.reopenings))
    return {name: at for name, at in _shown(case, now) if at >= began}


def _shown(case: Case, now: datetime) -> Iterator[tuple[str, datetime]]:
    talk, play = case.talk, case.play if case.play and case.play.round == case.round else None
    told = talk.last_out
    if responded := talk.first_out if case.round == 1 else told:
        yield "responded", responded
    if _understood(case):
        yield "understood", now
    if case.liable or (case.cause and case.cause not in FAMILIES):
        yield "investigated", now
    if solved := _solution_at(case, now):
        yield "proposed", solved
    if told and play and (proposed := play.step("proposed")) and told > proposed.at:
        yield "told", told
    if paid := _carried_out(case):
        yield "carried_out", paid
    if told and play and (carried := play.step("carried_out")) and told > carried.at:
        yield "tracked", told


def _understood(case: Case) -> bool:
    return case.issue not in (None, Issue.OTHER) or (case.request is not None and case.kind is not CaseKind.COMPLAINT)


def _solution_at(case: Case, now: datetime) -> datetime | None:
    if case.agreed and case.agreed.accepted_at:
        return case.agreed.accepted_at
    offered = case.offered is not None and not case.offered.interim
    return now if offered or case.refunds or case.given else None


def _carried_out(case: Case) -> datetime | None:
    if not case.refunds and not case.given:
        return None
    paid = [one.at for one in case.refunds if one.status is RefundStatus.DONE]
    return min((*paid, *(one.at for one in case.given)), default=None)


def said(event: Event, view: View) -> tuple[str, datetime, bool] | None:
    """What was said to the buyer in this event: the words, when, and whether a person said them."""
    if isinstance(event, MessageReceived):
        one = event.message
        return (one.text, one.at, True) if one.author is Author.AGENT and one.public else None
    if isinstance(event, Settled) and event.outcome == "done" and event.action_type == SendMessage.kind:
        action = view.action(event.action)
        if isinstance(action, SendMessage) and action.audience == "buyer":
            return action.text, event.at, action.template is None or action.key.startswith("answer:")
    return None


def spoken(event: Event, view: View, phrases: Mapping[str, tuple[str, ...]]) -> dict[str, datetime]:
    """The steps that somebody's words to the buyer are: an answer, an apology, both promises in one reply."""
    if (words := said(event, view)) is None:
        return {}
    text, at, person = words
    names = ["responded"]
    if has(text, phrases["apology"]):
        names.append("apologised")
    if person:
        names.append("answered")
        if not unpromised(text, phrases):
            names += (PROMISED, "proposed", "told")
    return dict.fromkeys(names, at)


def unpromised(text: str, phrases: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Which of the two promises a reply leaves out."""
    return [one for one in ("compensation", "rectification") if not has(text, phrases[one])]


def has(text: str, phrases: Iterable[str]) -> bool:
    """Whether any of the phrases stands in the text."""
    return bool(text) and _found(text, tuple(phrases))


@lru_cache(maxsize=4096)
def _found(text: str, phrases: tuple[str, ...]) -> bool:
    return _among(phrases).search(text.casefold()) is not None


@lru_cache(maxsize=256)
def _among(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """The phrases as one expression; of none, one that finds nothing."""
    return re.compile("|".join(re.escape(one.casefold()) for one in phrases) or "(?!)")
