"""Plays: how a case is handled, from the first answer to the last check, by a state machine for each type of problem.

Ranks cases by urgency and importance, shows agents the solution that fits, answers the angry in a calmer tone and by
senior colleagues, keeps a service complaint away from the agent whom it concerns, opens one incident for a crisis, and
does not let a complaint close before cause, solution and word to the customer are recorded. Workflows, tables and word
lists are files of this package; a shop's settings go over them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import Field, model_validator

from rmabridge import hookimpl
from rmabridge.abilities import Fact, Policy, Proposal, RuleText, Say, Shop, View
from rmabridge.core.colleagues import tell_colleagues
from rmabridge.core.handled import GIVING
from rmabridge.core.plays import Flow
from rmabridge.core.ranking import Grade, Queue, Ranking, Sign
from rmabridge.core.reach import tell
from rmabridge.core.reduce import reduce
from rmabridge.model import (
    NEWS,
    Action,
    Case,
    Classified,
    DeadlineReached,
    Event,
    IncidentOpened,
    Issue,
    OpenTicket,
    PlayMoved,
    Rank,
    RefKind,
    RemedyAccepted,
    RemedyOffered,
    SendMessage,
    Settled,
    TicketSeen,
    UpdateTicket,
)

from . import noting
from .describing import describe
from .incident import Page, Watch, facts
from .moving import Mover
from .reading import Grant, IncidentRule, Solution, flows, shipped

__all__ = ["Plays"]

OPEN: Final = "ticket:open"
ANGRY: Final = 2
TONES: Final = {"product": "calming.quality", "logistics": "calming.wait", "service": "calming.service"}


class Plays(Policy):
    """The handling of a case, step by step."""

    title: ClassVar[str] = "Plays"
    hears: ClassVar[frozenset[type[Any]]] = NEWS | {
        DeadlineReached,
        IncidentOpened,
        PlayMoved,
        RemedyAccepted,
        RemedyOffered,
        Settled,
        TicketSeen,
    }
    settles: ClassVar[frozenset[str]] = GIVING | {SendMessage.kind}
    minds: ClassVar[frozenset[type[Any]]] = frozenset({Classified})
    knows: ClassVar[frozenset[type[Any]]] = frozenset({PlayMoved})

    workflows: Path | None = Field(None, description="a directory of the shop's own workflows, over the shipped by id")
    urgency: dict[Grade, tuple[Sign, ...]] = Field(default_factory=dict, description="own signs, over the shipped")
    importance: dict[Grade, tuple[Sign, ...]] = Field(default_factory=dict, description="own signs, over the shipped")
    matrix: dict[Grade, dict[Grade, str]] = Field(
        default_factory=dict, description="priorities by urgency and importance, cell by cell over the shipped"
    )
    queues: tuple[Queue, ...] | None = Field(None, description="queues instead of the shipped; empty for none")
    solutions: tuple[Solution, ...] = Field((), description="own solutions, over the shipped by id")
    incidents: tuple[IncidentRule, ...] = Field((), description="own rules of incidents, over the shipped by id")
    phrases: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="further words for 'compensation', 'rectification' and 'apology'"
    )
    tiers: dict[str, Grant] = Field(default_factory=dict, description="own tiers and their offers, over the shipped")
    window: timedelta = Field(
        timedelta(hours=24), description="in which similar cases are counted, and join an incident"
    )
    statement: timedelta = Field(timedelta(hours=2), description="time for the statement on an incident")
    pages: dict[str, Page] = Field(
        default_factory=dict, description="where 'legal', 'pr' and other roles are paged; else the first staff channel"
    )
    promise_from: int = Field(
        2, ge=1, le=4, description="complaints of this level close only after a reply with both promises; 4: never"
    )
    suggest: bool = Field(True, description="put the solution that fits on the ticket, as a note")
    calm: bool = Field(True, description="answer an angry buyer in the calming tone; ask triage before this policy")
    skip_sources: tuple[str, ...] = Field(("operator", "import"), description="sources of cases without a play")

    @property
    def facts(self) -> tuple[Fact, ...]:  # type: ignore[override]
        """How often an issue came inside the window, the buyer's earlier cases, and the incidents that run."""
        hours = max(1, round(self.window.total_seconds() / 3600))
        return (Fact("case_rate", hours=hours, by="issue"), Fact("earlier"), Fact("incidents"))

    @model_validator(mode="after")
    def _readable(self) -> Plays:
        _ = self.mover, self.watch
        return self

    @cached_property
    def mover(self) -> Mover:
        """The tables by which plays move."""
        words = {name: (*ours, *self.phrases.get(name, ())) for name, ours in shipped("promises.toml").items()}
        return Mover(flows(self.workflows), self._ranking(), self._tiers(), words, self.promise_from)

    @cached_property
    def watch(self) -> Watch:
        """The rules of incidents."""
        rules = _over(self.incidents, (IncidentRule.model_validate(one) for one in shipped("incidents.toml")["rules"]))
        return Watch(rules=rules, window=self.window, statement=self.statement, pages=self.pages)

    @cached_property
    def known(self) -> tuple[Solution, ...]:
        """All solutions."""
        return _over(self.solutions, (Solution.model_validate(one) for one in shipped("solutions.toml")["solutions"]))

    def _ranking(self) -> Ranking:
        ours = Ranking.model_validate(shipped("priorities.toml"))
        matrix = {one: ours.matrix[one] | self.matrix.get(one, {}) for one in ours.matrix}
        queues = ours.queues if self.queues is None else self.queues
        return Ranking(
            urgency=ours.urgency | self.urgency,
            importance=ours.importance | self.importance,
            matrix=matrix,
            queues=queues,
        )

    def _tiers(self) -> dict[str, Grant]:
        return {name: Grant.model_validate(one) for name, one in shipped("tiers.toml").items()} | self.tiers

    def flow(self, case: Case) -> Flow | None:
        """The case's workflow."""
        return self.mover.flow(case)

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """What the event moves, and what agents are to know of it."""
        if not case.open or case.source in self.skip_sources:
            return
        yield from self._concerned(case, event, view)
        moving = event
        while (moved := self.mover.move(case, moving, view)) is not None:
            yield moved
            yield from self._ranked(case, moved, view)
            case, moving = reduce(case, moved, "bridge"), moved
            if not self.mover.shows_more(case, view):  # one step may show the next
                break
        yield from noting.solve(case, event, view, self.known if self.suggest else (), self.flow(case))
        yield from noting.entitle(case, view)
        yield from noting.promise(case, event, view, self.mover.phrases)
        yield from noting.hold_open(case, view)
        yield from self._crisis(case, event, view)

    def amend(self, action: Action, case: Case, view: View) -> Action | None:
        """The ticket opens in its queue with its priority; an angry buyer's first answer gets the calming tone."""
        if case.source in self.skip_sources:
            return None
        if isinstance(action, OpenTicket):
            return _placed(action, case, self.mover.rank(case, view))
        if self.calm and isinstance(action, SendMessage) and _first(action) and case.anger >= ANGRY:
            return self._calmed(action, case, view)
        return None

    def describe(self, locale: str, shop: Shop, say: Say, case: Case | None = None) -> Iterable[RuleText]:
        """The machines, the matrix, queues, incidents and tiers; for a case only the machine that it runs on."""
        chosen = self.flow(case) if case else None
        return describe(self, locale, say, (chosen,) if chosen else self.mover.flows)

    def _concerned(self, case: Case, event: Event, view: View) -> Iterator[Proposal]:
        """A complaint about an agent: who that is, and that the ticket is not theirs."""
        if case.agent is None and Issue.SERVICE_ATTITUDE in (case.issue, *case.also):
            if agent := _served_by(case, view):
                yield Classified(key=f"agent:{case.id}:{case.round}", at=view.now, agent=agent)
        elif case.agent is not None:
            origin = f"concerned:{case.round}"
            yield from tell_colleagues(case, view, origin, "play.concerned", agent=case.agent)
            if view.shop.helpdesk and case.ticket.assignee == case.agent:
                again = case.stamps.get("ticket.assignee", "")
                queue = self.mover.rank(case, view).queue
                yield UpdateTicket(
                    origin=f"not-theirs:{again}",
                    unassign=True,
                    group=queue,
                    add_tags=("reassigned",),
                    needs=noting.needs(case),
                )

    def _ranked(self, case: Case, moved: PlayMoved, view: View) -> Iterator[Proposal]:
        old, new = case.play.rank if case.play else None, moved.rank
        proposed = view.proposed(OPEN)
        if new is None or not (proposed or case.ticket.id or case.ref(RefKind.TICKET)):
            return
        if old is None and proposed:  # the ticket was opened in its place
            return
        if old is None or _place(old) != _place(new):
            yield from noting.rank(case, view, new, moved.turn)

    def _crisis(self, case: Case, event: Event, view: View) -> Iterator[Proposal]:
        yield from self.watch.look(case, event, view)
        if case.incident is None:
            return
        if case.incident.case != case.id:
            origin = f"incident:{case.incident.id}"
            yield from tell_colleagues(case, view, origin, "incident.joined", **facts(case.incident))
        elif isinstance(event, DeadlineReached) and event.name == f"incident:{case.incident.id}":
            yield from self.watch.late(case, view)

    def _calmed(self, action: SendMessage, case: Case, view: View) -> Action | None:
        if action.template is None or action.template.id.startswith("calming."):
            return None
        flow = self.flow(case)
        template = TONES.get(flow.id if flow else "", "calming.general")
        made = tell(case, view, action.purpose, template, expected=None)
        if made is None or made.form is not action.form:
            return None
        names = ("text", "subject", "template", "values", "locale")
        return action.model_copy(update={name: getattr(made, name) for name in names})


def _over(own: tuple[Any, ...], ours: Iterable[Any]) -> tuple[Any, ...]:
    names = {one.id for one in own}
    return (*own, *(one for one in ours if one.id not in names))


def _first(action: SendMessage) -> bool:
    return action.audience == "buyer" and action.purpose.startswith("reply:first:")


def _placed(action: OpenTicket, case: Case, rank: Rank) -> OpenTicket | None:
    group = rank.queue or (None if action.group == case.agent else action.group)
    tags = (*action.tags, *((f"queue-{rank.queue}",) if rank.queue else ()))
    priority = case.route.priority or rank.priority
    new = {"group": group, "tags": tuple(dict.fromkeys(tags)), "priority": priority}
    return action.model_copy(update=new)


def _place(rank: Rank) -> tuple[str, str | None]:
    return rank.priority, rank.queue


def _served_by(case: Case, view: View) -> str | None:
    """The agent of this case, else of the buyer's newest earlier one that had any."""
    earlier = view.facts.get("earlier")
    return next(
        (who for one in (case, *(earlier() if earlier else ())) if (who := one.ticket.assignee or one.talk.agent)), None
    )


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [Plays]
