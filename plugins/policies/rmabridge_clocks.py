"""Clocks: first response, chat reply, next response, solution, review, agreed steps, the marketplace's own deadline.

Each warns colleagues at three quarters of its time and escalates when it runs out; the nearest deadline is the one to
work to. Clocks run in the shop's business hours; the chat's, level 3's and the marketplace's run day and night. A buyer
who waits in a chat gets a holding reply, or the whereabouts of the parcel if that was the question. A closed case keeps
the marketplace's deadline while nothing is decided there. What a removed tier had shortened stays short. Amazon's 24
hours are a setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from importlib import resources
from typing import Any, ClassVar

import tomli
from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, Timer, View
from rmabridge.core import clocks
from rmabridge.core.calendars import calendar_of
from rmabridge.core.clocks import DUE, WARN, Clock
from rmabridge.core.freshness import stale
from rmabridge.core.handled import GIVING
from rmabridge.core.reach import note, shown, tell
from rmabridge.core.terms import CHAT, FIRST, MARKETPLACE, SOCIAL, SOLUTION, Terms
from rmabridge.model import (
    NEWS,
    Case,
    Classified,
    CommentTicket,
    DeadlineReached,
    Direction,
    Event,
    Form,
    Noted,
    RefKind,
    RemedyAccepted,
    RemedyDeclined,
    RemedyOffered,
    SendMessage,
    Settled,
)


def _phrases() -> tuple[str, ...]:
    text = (resources.files("rmabridge") / "templates" / "phrases.toml").read_text(encoding="utf-8")
    return tuple(tomli.loads(text)["phrases"]["tracking"])


class Clocks(Policy, Terms):
    """Deadlines, warnings and escalations."""

    title: ClassVar[str] = "Clocks"
    hears: ClassVar[frozenset[type[Any]]] = NEWS | {
        DeadlineReached,
        RemedyAccepted,
        RemedyDeclined,
        RemedyOffered,
        Settled,
    }
    settles: ClassVar[frozenset[str]] = GIVING | {SendMessage.kind}

    skip_sources: tuple[str, ...] = Field(("operator", "import"), description="sources of cases without clocks")
    automatic: tuple[str, ...] = Field(
        (SOCIAL,), description="answer clocks that a message of the bridge's own stops too, not only an agent's"
    )
    quiet: tuple[str, ...] = Field((), description="clocks that alert nobody")
    hold_the_line: bool = Field(True, description="send the holding reply when a chat waited too long")
    holding_for: timedelta = Field(timedelta(minutes=15), description="age past which a holding reply is not sent")
    phrases: tuple[str, ...] = Field(
        default_factory=_phrases, description="words by which a buyer asks for the parcel; a built-in list if left out"
    )
    forms: dict[str, Form] = Field(
        default_factory=dict, description="form of a staff channel's messages, by account; chat where it is left out"
    )

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """Start and stop clocks, warn, and escalate what ran out."""
        if case.source in self.skip_sources:
            return
        if isinstance(event, Settled) and event.action_type not in GIVING:
            if clocks.sent(event):
                yield from _stop(case, clocks.ANSWERS & set(self.automatic))
            return
        yield from self._answers(case, event, view) if case.open else _stop(case, clocks.ANSWERS)
        yield from self._standing(case, event, view)
        if isinstance(event, DeadlineReached):
            yield from self._reached(case, event, view)

    def _answers(self, case: Case, event: Event, view: View) -> Iterator[Proposal]:
        fresh = list(clocks.starting(case, event, view.shop, self))
        if (at := clocks.answered(event)) is not None:
            yield from _stop(case, clocks.ANSWERS)
            fresh = list(clocks.again(case, at, view.shop, self))
        elif case.status not in clocks.WAITING:
            yield from _stop(case, {FIRST})
        elif sooner := clocks.tightened(case, view.shop, self):
            fresh.append(sooner)
        for clock in fresh:
            yield from self._start(case, view, clock)

    def _standing(self, case: Case, event: Event, view: View) -> Iterator[Proposal]:
        wanted = {one.name: one for one in clocks.standing(case, view.shop, self)}
        for name in _running(case):
            if name not in wanted and clocks.kind_of(name) not in clocks.ANSWERS:
                yield from (Timer(stage + name, None) for stage in (DUE, WARN))
        ended = event.name.removeprefix(DUE) if isinstance(event, DeadlineReached) else None
        for name, clock in wanted.items():
            due = clocks.running(case, name)
            if view.now >= clock.due_at or name == ended:
                yield from self._breach(case, view, name, clock.due_at)
            elif due is None and self._told(case, view, name, "breach", clock.due_at):
                continue
            elif due is None or clock.due_at < due or (name == MARKETPLACE and clock.due_at != due):
                yield from self._start(case, view, clock)

    def _start(self, case: Case, view: View, clock: Clock) -> Iterator[Proposal]:
        yield Timer(DUE + clock.name, clock.due_at)
        if view.now < clock.warn_at:
            yield Timer(WARN + clock.name, clock.warn_at)
        elif view.now < clock.due_at:
            yield from self._alert(case, view, clock.name, "warning", clock.due_at)
        problems = calendar_of(view.shop).problems(clock.start, clock.due_at)
        if not clock.tier and not problems:
            return
        run = f"{clock.name}:{case.id}:{_second(clock.due_at)}"
        if clock.tier:
            yield Noted(key=f"clock:{run}", at=view.now, text=f"{clock.rule}: due {clock.due_at.isoformat()}")
        for number, problem in enumerate(problems):
            yield Noted(key=f"calendar:{number}:{run}", at=view.now, text=problem)
            yield from self._alert(case, view, "calendar", "unknown", None, reason=problem)

    def _reached(self, case: Case, event: DeadlineReached, view: View) -> Iterator[Proposal]:
        if event.name.startswith(WARN):
            name = event.name.removeprefix(WARN)
            if (due := clocks.running(case, name)) and view.now < due:
                yield from self._alert(case, view, name, "warning", due)
        elif event.name.startswith(DUE):
            name = event.name.removeprefix(DUE)
            facts: dict[str, str | int] = {"clock": name, "due": event.at.isoformat(), "round": case.round}
            yield Noted(key=f"late:{event.key}", at=view.now, text=f"late: {name}", values=facts)
            if clocks.kind_of(name) in clocks.ANSWERS:
                yield from self._breach(case, view, name, event.at)

    def _breach(self, case: Case, view: View, name: str, due: datetime) -> Iterator[Proposal]:
        if name == f"{SOLUTION}:1":
            yield Classified(key=f"escalated:{case.id}:{_second(due)}", at=view.now, level=case.level + 1)
        if name == CHAT and self.hold_the_line:
            yield from self._hold(case, view, due)
        yield from self._alert(case, view, name, "breach", due)

    def _hold(self, case: Case, view: View, due: datetime) -> Iterator[Proposal]:
        words, asked = (case.talk.last_text or "").casefold(), case.talk.last_in
        purpose, template, values = f"holding:{_second(due)}", "clock.holding", {}
        if asked and any(one.casefold() in words for one in self.phrases):
            purpose = f"answer:tracking:{_second(asked)}"
            out = [one for one in case.parcels if one.direction is Direction.OUT]
            template = "tracking.answer" if out else "tracking.unknown"
            values = {"parcels": [shown(one, old=stale(one, view.now)) for one in out]} if out else {}
        message = None if view.proposed(purpose) else tell(case, view, purpose, template, **values)
        if message:
            yield message.model_copy(update={"not_after": view.now + self.holding_for})

    def _told(self, case: Case, view: View, name: str, stage: str, due: datetime | None) -> bool:
        run = _run(case, name, stage, due)
        if view.proposed(f"ticket:comment:{run}"):
            return True
        return any(view.proposed(f"staff:{run}:{channel}") for channel in _channels(case, view))

    def _alert(
        self, case: Case, view: View, name: str, stage: str, due: datetime | None, **more: str
    ) -> Iterator[Proposal]:
        """Tell colleagues once: on every staff channel, or on the ticket where there is none."""
        if clocks.kind_of(name) in self.quiet or self._told(case, view, name, stage, due):
            return
        run, template, facts = _run(case, name, stage, due), f"clock.{stage}", _facts(case, name, due) | more
        for channel in _channels(case, view):
            form = self.forms.get(channel, Form.CHAT)
            words = note(case, view, template, form, **facts)
            yield SendMessage(
                purpose=f"staff:{run}:{channel}",
                account=channel,
                form=form,
                to=view.shop.staff_to,
                audience="staff",
                text=words.text,
                subject=words.subject,
                template=words.template,
            )
        if not _channels(case, view) and view.shop.helpdesk:
            needs = None if case.ticket.id or case.ref(RefKind.TICKET) else "ticket:open"
            yield CommentTicket(origin=run, text=note(case, view, template, **facts).text, needs=needs)


def _facts(case: Case, name: str, due: datetime | None) -> dict[str, Any]:
    found = {"clock": clocks.kind_of(name), "due": due, "level": case.level, "group": case.route.group}
    first = clocks.nearest(case)
    nearest = clocks.kind_of(first.name.removeprefix(DUE)) if first and first.due_at != due else None
    return found | {"nearest": nearest, "nearest_at": first.due_at if first and nearest else None}


def _channels(case: Case, view: View) -> list[str]:
    return list(dict.fromkeys((*view.shop.staff, *case.route.channels)))


def _run(case: Case, name: str, stage: str, due: datetime | None) -> str:
    """One run of a clock."""
    turn = clocks.turn(case, name, due)
    return f"clock:{name}:{stage}:{case.round}" + (f":{turn}" if turn else "")


def _second(at: datetime) -> int:
    return int(at.timestamp())


def _running(case: Case) -> list[str]:
    return [one.name.removeprefix(DUE) for one in case.deadlines if one.name.startswith(DUE)]


def _stop(case: Case, kinds: Iterable[str]) -> Iterator[Timer]:
    wanted = set(kinds)
    for one in case.deadlines if wanted else ():
        if one.name.startswith((DUE, WARN)) and clocks.kind_of(one.name.partition(":")[2]) in wanted:
            yield Timer(one.name, None)


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [Clocks]
