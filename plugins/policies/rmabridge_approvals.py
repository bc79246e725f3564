"""Approvals: tells whoever may decide that an action waits, with a link that works once; a delegate after a time.

Each approver has a channel, an address and a limit; the first whose limit covers the amount is asked. After ``timeout``
the delegate is asked, and after another one the action stays held, or is denied, as ``at_last`` says. Without approvers
of its own the shop's staff channels are asked. Who decided, when, why, and what had been said in the case by then is
kept on its timeline; ``rmabridge approvals`` decides the same questions. Example::

    [[policies.approvals.approvers]]
    name = "Wang"
    channel = "wecom"
    to = "wang@example.com"
    limit = "2000 CNY"
    delegate = "Li"
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, Timer, View
from rmabridge.core.colleagues import tell_colleagues
from rmabridge.core.rates import BASE, HOLDS, NoRate, Rates, rates
from rmabridge.core.reach import note
from rmabridge.model import (
    Action,
    Case,
    DeadlineReached,
    Event,
    Form,
    Held,
    Money,
    Noted,
    SendMessage,
    Verdict,
    deny,
)

ASKED: Final = "approval:"
EXPIRED: Final = "approvals.expired"
OVER: Final = "staff:approval-over:"
WAITS: Final = "staff:approval-waits:"
# The engine judges an action again when the timer of this name runs out.
RELEASE: Final = "release:"


class Approver(BaseModel):
    """Somebody who may decide, and where they are told."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    name: str = Field(min_length=1, description="under which the decision is recorded")
    channel: str = Field(description="an account that carries messages to colleagues")
    to: str | None = Field(None, description="the address there; the shop's 'staff_to' where left out")
    form: Form = Field(Form.CHAT, description="how the channel writes")
    limit: Money | None = Field(None, description="the most this approver may decide about; none: any amount")
    delegate: str | None = Field(None, description="who is asked after the time-out")


class Question(NamedTuple):
    """One thing that is asked: the action's key, what exactly, why, and how much."""

    key: str
    digest: str
    tag: str
    reason: str
    amount: str


class Approvals(Policy):
    """Asks, reminds a delegate, and ends what nobody answers."""

    title: ClassVar[str] = "Approvals"
    hears: ClassVar[frozenset[type[Any]]] = frozenset({Held, DeadlineReached})

    approvers: tuple[Approver, ...] = Field((), description="who may decide, the first that may is asked")
    timeout: timedelta = Field(timedelta(hours=4), gt=timedelta(0), description="how long each of them has")
    at_last: Literal["hold", "deny"] = Field("hold", description="what becomes of it when nobody answers")
    rates_file: Path | None = Field(None, description="own table of rates, as for 'compensation'")
    rates_base: str = Field(BASE, pattern="^[A-Z]{3}$", description="the currency that the own table counts from")
    rates_hold: timedelta = Field(HOLDS, description="how long the table's last line holds")

    @model_validator(mode="after")
    def _known(self) -> Self:
        names = [one.name for one in self.approvers]
        if len(names) != len(set(names)):
            raise ValueError("approvers: two have the same name")
        if unknown := {one.delegate for one in self.approvers if one.delegate} - set(names):
            raise ValueError(f"approvers: no approver is named {min(unknown)!r}")
        return self

    @cached_property
    def table(self) -> Rates:
        """The table of rates by which limits are compared."""
        return rates(self.rates_file, self.rates_base, self.rates_hold)

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """Ask when an action is held, and again when a time is over."""
        if isinstance(event, Held) and not event.action.startswith("staff:"):
            tag = blake2b(" ".join(event.rules).encode(), digest_size=4).hexdigest()
            amount = str(event.amount) if event.amount else ""
            yield from self._ask(case, view, Question(event.action, event.digest, tag, event.reason, amount), 1)
        elif isinstance(event, DeadlineReached) and event.name.startswith(ASKED):
            yield from self._late(case, view, event.name)

    def review(self, action: Action, case: Case, view: View) -> Verdict | None:
        """Deny what nobody answered for, where the settings say so."""
        if self.at_last == "deny" and view.proposed(_over(action.key)):
            return deny(EXPIRED, "nobody decided in time")
        return None

    def _ask(self, case: Case, view: View, question: Question, stage: int) -> Iterator[Proposal]:
        who = self._first(view, question) if stage == 1 else self._delegate(view, question)
        purpose = _purpose(question, stage)
        if view.proposed(purpose):
            return
        if who is None:  # where nobody may decide at all, nothing is denied for want of an answer
            yield from self._end(case, view, question, self.at_last if stage > 1 else "hold")
            return
        if stage == 1:  # who asks anew no longer waits for the former answer
            yield from _stop(case, question.key)
        until = view.now + 2 * self.timeout
        link = view.link("approve", f"{question.digest}:{question.key}", until, who.name)
        yield self._message(case, view, who, purpose, "approval.asked", question, link=link, until=until, who=who.name)
        yield Timer(f"{ASKED}{stage}:{question.digest}:{question.tag}:{question.key}", view.now + self.timeout)

    def _late(self, case: Case, view: View, name: str) -> Iterator[Proposal]:
        stage, digest, tag, key = name.removeprefix(ASKED).split(":", 3)
        question = Question(key, digest, tag, "", "")
        asked = view.action(_purpose(question, 1))
        if view.ledger.get(key) != "held" or not isinstance(asked, SendMessage):
            return
        question = question._replace(reason=asked.values.get("reason", ""), amount=asked.values.get("amount", ""))
        if stage == "1":
            yield from self._ask(case, view, question, 2)
        else:
            yield from self._end(case, view, question, self.at_last)

    def _end(self, case: Case, view: View, question: Question, outcome: str) -> Iterator[Proposal]:
        """Nobody is left to ask: everybody hears of it, and it stays held or is denied."""
        base = _over(question.key) if outcome == "deny" else f"{WAITS}{question.key}:{question.digest[:16]}"
        if view.proposed(base):
            return
        text = f"nobody decided about {question.key}; it is {'denied' if outcome == 'deny' else 'held'}"
        facts = {"action": question.key, "outcome": outcome, "reason": question.reason}
        yield Noted(key=f"over:{case.id}:{question.digest}:{question.tag}", at=view.now, text=text, values=facts)
        people = self._people(view)
        for number, who in enumerate(people):
            purpose = f"{base}:{who.name}" if number else base
            yield self._message(case, view, who, purpose, "approval.over", question, outcome=outcome)
        if view.shop.helpdesk or not people:
            origin, told = base.removeprefix("staff:"), _facts(view, question) | {"outcome": outcome}
            yield from tell_colleagues(case, view, origin, "approval.over", **told)
        if outcome == "deny" and people:
            yield Timer(f"{RELEASE}{question.key}", view.now)

    def _people(self, view: View) -> tuple[Approver, ...]:
        shop = view.shop
        return self.approvers or tuple(Approver(name=one, channel=one, to=shop.staff_to) for one in shop.staff)

    def _first(self, view: View, question: Question) -> Approver | None:
        return next((one for one in self._people(view) if self._may(one, question, view.now.date())), None)

    def _delegate(self, view: View, question: Question) -> Approver | None:
        """The delegate of whoever was asked first, or else the next who may decide."""
        people, first = self._people(view), self._first(view, question)
        if first is None:
            return None
        named = [one for one in people if one.name == first.delegate]
        others = named or list(people[people.index(first) + 1 :])
        return next((one for one in others if self._may(one, question, view.now.date())), None)

    def _may(self, who: Approver, question: Question, on: date) -> bool:
        if who.limit is None:
            return True
        if not question.amount:
            return False
        try:
            return self.table.convert(Money.of(question.amount), who.limit.currency, on) <= who.limit
        except NoRate:
            return False

    def _message(
        self, case: Case, view: View, told: Approver, purpose: str, template: str, question: Question, **values: Any
    ) -> SendMessage:
        words = note(case, view, template, told.form, **_facts(view, question), **values)
        return SendMessage(
            purpose=purpose,
            account=told.channel,
            form=told.form,
            to=told.to or view.shop.staff_to,
            name=told.name,
            audience="staff",
            text=words.text,
            subject=words.subject,
            template=words.template,
            values={"action": question.key, "reason": question.reason, "amount": question.amount},
        )


def _stop(case: Case, key: str) -> Iterator[Timer]:
    """Ends the clocks of what was asked about the action before."""
    for one in case.deadlines:
        if one.name.startswith(ASKED) and one.name.removeprefix(ASKED).split(":", 3)[-1] == key:
            yield Timer(one.name, None)


def _facts(view: View, question: Question) -> dict[str, Any]:
    action = view.action(question.key)
    return {
        "action": action.type if action else question.key,
        "amount": Money.of(question.amount) if question.amount else None,
        "reason": question.reason,
    }


def _purpose(question: Question, stage: int) -> str:
    return f"staff:approve:{stage}:{question.digest[:16]}:{question.tag}"


def _over(key: str) -> str:
    return f"{OVER}{key}"


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [Approvals]
