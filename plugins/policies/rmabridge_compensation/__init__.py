"""Compensation: offers what may be offered, carries out what was agreed, and holds what costs more than it may.

Which remedies a case may be offered stands in ``remedies.toml``, what each of them does step by step in
``operations.toml``; a shop adds to both, or replaces entries by name, in its own settings::

    [policies.compensation]
    limit = "500 CNY"

    [policies.compensation.operations.lend_a_replacement]
    remedy = "exchange"
    steps = [{ do = "reship", goods = "same", back = true }, { do = "await" }, { do = "close" }]

    [[policies.compensation.rules]]
    id = "quality"
    issues = ["quality_defect"]
    offers = [{ operation = "lend_a_replacement" }, { operation = "partial_refund", share = "0.2" }]

What a case costs (refunds, credit, new goods; given and on its way) passes up to the limit and waits for an approval
above it, and so does what one agent gives in 24 hours. Other currencies are converted by a dated table; what the table
does not know waits for a person. Nothing is offered that the limit, the floor or what is left of the order would not
bear. What is given while a claim is open is deducted from what is settled in the end.

Where "returns" is configured too, it answers plain returns and exchanges, and this policy the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import Field, field_validator

from rmabridge import hookimpl
from rmabridge.abilities import Fact, Policy, Proposal, Timer, View
from rmabridge.core.answers import Answer, answer
from rmabridge.core.colleagues import tell_colleagues
from rmabridge.core.rates import BASE, HOLDS, NoRate, Rates, rates
from rmabridge.core.reach import tell
from rmabridge.model import (
    NEWS,
    Action,
    Author,
    Case,
    Choice,
    ClaimSeen,
    Classified,
    Event,
    EvidenceAdded,
    GiveCredit,
    Identity,
    Issue,
    MessageReceived,
    Money,
    PayRefund,
    RemedyAccepted,
    RemedyDeclined,
    RemedyOffered,
    Reship,
    Settled,
    Verdict,
    deny,
    hold,
)

from .offering import choices
from .operations import BAD, Course, Operation, named, settlement
from .rules import Interim, Rule, first, liability_open, shipped, wrong_sku
from .spending import GIVING, INTERIM, Purse, given, left

NAME: Final = "compensation"
IDENTITY: Final = "compensation.identity"
LIMIT: Final = "compensation.limit"
DAILY: Final = "compensation.daily"
OPERATION: Final = "compensation.operation"
SETTLED: Final = "compensation.settled"
OPERATOR: Final = "operator:"
OWN: Final = frozenset({"return.approve", "refund.pay", "credit.give", "goods.reship", "buyer.tag"})
Costly = PayRefund | GiveCredit | Reship


class Compensation(Policy):
    """Offers, operations and limits."""

    title: ClassVar[str] = "Compensation"
    requires: ClassVar[tuple[str, ...]] = ("order",)
    facts: ClassVar[tuple[Fact, ...]] = (Fact("given", hours=24, by="proposer"),)
    hears: ClassVar[frozenset[type[Any]]] = NEWS | {
        RemedyOffered,
        RemedyAccepted,
        RemedyDeclined,
        EvidenceAdded,
        ClaimSeen,
        Settled,
    }

    limit: Money = Field(Money.of("500 CNY"), description="what a case may cost without an approval, all in all")
    daily: Money | None = Field(
        Money.of("2000 CNY"), description="what one agent may give in 24 hours without an approval; none: no limit"
    )
    daily_of_policies: Money | None = Field(None, description="the same for each policy; none: no limit")
    floor: Decimal = Field(
        Decimal("1.5"), gt=0, description="offers and what was given never cost more than this many times the order"
    )
    offering: bool = Field(True, description="make offers by the rules; else only limits and agreed operations")
    tell_buyer: bool = Field(True, description="write the offers to the buyer; else colleagues do it by other means")
    rates_file: Path | None = Field(
        None, description="own table of rates: CSV with 'date' and units of each currency for one of 'rates_base'"
    )
    rates_base: str = Field(BASE, pattern="^[A-Z]{3}$", description="the currency that the own table counts from")
    rates_hold: timedelta = Field(HOLDS, description="how long the table's last line holds")
    rules: tuple[Rule, ...] = Field(
        (), description="offers of the shop's own; before the shipped ones, or over one by id"
    )
    interim: tuple[Interim, ...] = Field((), description="interim remedies of the shop's own, likewise")
    operations: dict[str, Operation] = Field(default_factory=dict, description="operations of the shop's own, likewise")

    @field_validator("rates_file")
    @classmethod
    def _there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError(f"{path}: no such file")
        return path.resolve() if path else None

    @cached_property
    def known(self) -> dict[str, Operation]:
        """All operations by name."""
        ours = shipped("operations.toml")["operations"]
        return {name: Operation.model_validate(one) for name, one in ours.items()} | self.operations

    @cached_property
    def all_rules(self) -> tuple[Rule, ...]:
        """The shop's rules, then the shipped ones that it did not replace."""
        own = {one.id for one in self.rules}
        ours = (Rule.model_validate(one) for one in shipped("remedies.toml")["rules"])
        return self.rules + tuple(one for one in ours if one.id not in own)

    @cached_property
    def all_interim(self) -> tuple[Interim, ...]:
        """The same for interim remedies."""
        own = {one.id for one in self.interim}
        ours = (Interim.model_validate(one) for one in shipped("remedies.toml")["interim"])
        return self.interim + tuple(one for one in ours if one.id not in own)

    @cached_property
    def table(self) -> Rates:
        """The table of rates."""
        return rates(self.rates_file, self.rates_base, self.rates_hold)

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """The offer while there is none, the answer to it, and the operation once it is agreed."""
        if not case.open or (isinstance(event, Settled) and event.action_type not in OWN):
            return
        if case.issue is not Issue.WRONG_ITEM and (skus := wrong_sku(case)):
            why = (f"{skus[0]} was ordered, {skus[1]} arrived",)
            key = f"wrong-sku:{case.id}:{case.round}"
            yield Classified(key=key, at=view.now, issue=Issue.WRONG_ITEM, liable="warehouse", why=why)
            return
        yield from self._codes(case, view)
        if (course := self._course(case, view)) is not None:
            yield from self._carry_out(course, event)
        if case.agreed is None:
            yield from self._answers(case, event, view)
            yield from self._offer(case, view)

    def amend(self, action: Action, case: Case, view: View) -> Action | None:
        """A policy's refund pays what was agreed, or what is left of the worth after an interim remedy."""
        if not isinstance(action, PayRefund) or action.part == INTERIM or view.proposer.startswith(OPERATOR):
            return None
        most = self._settled(case, view)
        if most is None or most.currency != action.amount.currency or action.amount <= most:
            return None
        return action.model_copy(update={"amount": most})

    def review(self, action: Action, case: Case, view: View) -> Verdict | None:
        """Hold what is above a limit, or for somebody who is not the buyer; deny what an agreed operation excludes."""
        if not isinstance(action, PayRefund | GiveCredit | Reship):
            return None
        if isinstance(action, PayRefund) and action.amount.amount <= 0:
            return deny(SETTLED, "nothing is left to pay")
        found = list(self._against(action, case, view))
        if (said := self._excluded(action, case, view)) and view.proposer.startswith(OPERATOR):
            found.append((OPERATION, said))
        elif said:
            return deny(OPERATION, said)
        # One approval answers for all that is told with it, so the reasons go together.
        return hold(found[0][0], "; ".join(reason for _, reason in found)) if found else None

    # -- judging --------------------------------------------------------------------------------------------------

    def _against(self, action: Costly, case: Case, view: View) -> Iterator[tuple[str, str]]:
        if case.identity is Identity.MISMATCH:
            yield IDENTITY, "the writer is not the buyer of the order"
        if action.worth is None:
            yield LIMIT, "what it costs is not known"
            return
        try:
            yield from self._above(action.worth, action.key, case, view)
        except NoRate as error:
            yield LIMIT, f"{action.worth} cannot be compared with the limit: {error}"

    def _above(self, worth: Money, key: str, case: Case, view: View) -> Iterator[tuple[str, str]]:
        on = view.now.date()
        total = self.table.total([*given(case, view, key), worth], self.limit.currency, on)
        if total > self.limit:
            yield LIMIT, f"with {worth} the case costs {total.rounded()}; {self.limit} pass without an approval"
        most = self.daily if view.proposer.startswith(OPERATOR) else self.daily_of_policies
        if most is None or (listed := view.facts.get("given")) is None:
            return
        total = self.table.total([*listed(view.proposer, key), worth], most.currency, on)
        if total > most:
            who = view.proposer.removeprefix(OPERATOR)
            yield DAILY, f"with {worth} {who} gives {total.rounded()} in 24 hours; {most} pass without an approval"

    def _excluded(self, action: Costly, case: Case, view: View) -> str | None:
        choice = _agreed(case)
        operation = self.known.get(named(choice) or "")
        if choice is None or operation is None or not isinstance(action, PayRefund) or action.part == INTERIM:
            return None
        return None if operation.refunds else f"{named(choice)} was agreed, and it pays no refund"

    def _settled(self, case: Case, view: View) -> Money | None:
        """The most that a policy's refund may come to; None where nothing says so."""
        choice = _agreed(case)
        if choice is not None and choice.amount is not None and not (case.offered and case.offered.interim):
            return choice.amount
        interim = any(key.rpartition(":")[2] == INTERIM and key.startswith(GIVING) for key in view.ledger)
        try:
            return settlement(case, view, self._purse(view)) if interim else None
        except NoRate:
            return None

    # -- offering -------------------------------------------------------------------------------------------------

    def _purse(self, view: View) -> Purse:
        return Purse(self.table, self.limit, self.floor, view.now.date())

    def _offer(self, case: Case, view: View) -> Iterator[Proposal]:
        if not self.offering or case.issue is None or case.identity is Identity.MISMATCH:
            return
        if case.offered is not None and not case.offered.interim:
            return
        rule = first(self.all_rules, case, over=_over(case, view))
        if rule is not None:
            yield from self._by_rule(rule, case, view)
        elif case.offered is None and liability_open(case):
            yield from self._at_once(case, view)

    def _by_rule(self, rule: Rule, case: Case, view: View) -> Iterator[Proposal]:
        found = choices(f"{NAME}.{rule.id}", rule.offers, self.known, case, view, self._purse(view))
        if not found:
            return
        key = f"offer:{NAME}:{rule.id}:{case.id}:{case.round}"
        yield RemedyOffered(key=key, at=view.now, remedy=found[0].remedy, amount=found[0].amount, choices=tuple(found))
        if self.tell_buyer:
            yield from _told(rule, found, case, view)

    def _at_once(self, case: Case, view: View) -> Iterator[Proposal]:
        for one in self.all_interim:
            rule = f"{NAME}.{one.id}"
            found = choices(rule, (one.offer,), self.known, case, view, self._purse(view)) if one.fits(case) else []
            if found:
                yield RemedyOffered(
                    key=f"interim:{one.id}:{case.id}:{case.round}",
                    at=view.now,
                    remedy=found[0].remedy,
                    amount=found[0].amount,
                    choices=tuple(found),
                    automatic=rule,
                    interim=True,
                )
                return

    def _answers(self, case: Case, event: Event, view: View) -> Iterator[Proposal]:
        offered = case.offered
        if isinstance(event, RemedyDeclined):
            yield from tell_colleagues(case, view, f"offer-declined:{case.round}", "compensation.declined")
        if offered is None or not _ours(offered.choices) or offered.interim or offered.declined_at:
            return
        if not isinstance(event, MessageReceived) or event.message.author is not Author.BUYER:
            return
        if not view.proposed(f"offer:{case.round}"):
            return
        said = answer(event.message.text)
        if said.answer is Answer.DECLINE:
            yield RemedyDeclined(key=f"declined:{event.key}", at=event.at)
        elif said.answer is Answer.ACCEPT and (choice := _chosen(offered.choices, said.choice, case, view)):
            yield RemedyAccepted(key=f"accepted:{event.key}", at=event.at, remedy=choice.remedy, amount=choice.amount)

    # -- carrying out ---------------------------------------------------------------------------------------------

    def _course(self, case: Case, view: View) -> Course | None:
        choice = _agreed(case)
        name = named(choice)
        if choice is None or name is None or name not in self.known:
            return None
        interim = bool(case.offered and case.offered.interim)
        return Course(name, self.known[name], choice, case, view, self._purse(view), interim)

    def _carry_out(self, course: Course, event: Event) -> Iterator[Proposal]:
        view, case = course.view, course.case
        yield from course.go_on()
        if isinstance(event, RemedyAccepted):  # what was held for want of an agreement is judged again
            held = [one.key for one in course.actions() if view.ledger.get(one.key) == "held"]
            yield from (Timer(f"release:{key}", view.now) for key in held)
        states = course.states()
        if any(state in BAD for state in states.values()):
            parts = [{"part": key, "state": state} for key, state in states.items()]
            failed = "+".join(key for key, state in states.items() if state in BAD)
            yield from tell_colleagues(case, view, f"parts:{failed}", "compensation.parts", parts=parts)
        elif not course.possible():
            yield from tell_colleagues(case, view, f"stuck:{course.name}", "compensation.stuck", operation=course.name)

    def _codes(self, case: Case, view: View) -> Iterator[Proposal]:
        """The code of a coupon, once it is known."""
        for one in case.given:
            purpose = f"code:{one.action}"
            if one.type != GiveCredit.kind or not one.ref or view.proposed(purpose):
                continue
            action = view.action(one.action)
            days = action.valid_days if isinstance(action, GiveCredit) else None
            values = {"code": one.ref, "amount": one.amount, "days": days}
            if message := tell(case, view, purpose, "compensation.code", **values):
                yield message


def _told(rule: Rule, found: list[Choice], case: Case, view: View) -> Iterator[Proposal]:
    shown = [{"remedy": one.remedy.value, "amount": one.amount} for one in found]
    if rule.refuse:
        values: dict[str, Any] = {"rule": f"{NAME}.{rule.id}", "reason": None, "alternative": shown[0]}
        template = "proposal.denied"
    elif len(shown) == 1:
        values, template = {"offer": shown[0]}, "proposal.offer"
    else:
        values, template = {"offers": shown}, "proposal.choice"
    if message := tell(case, view, f"offer:{case.round}", template, **values):
        yield message


def _ours(found: tuple[Choice, ...]) -> bool:
    return any((one.rule or "").startswith(f"{NAME}.") for one in found)


def _chosen(found: tuple[Choice, ...], number: int | None, case: Case, view: View) -> Choice | None:
    """The choice that the buyer named; a bare yes counts where only one was put to them."""
    if number is not None:
        return found[number - 1] if number <= len(found) else None
    message = view.action(f"offer:{case.round}")
    template = getattr(message, "template", None)
    return found[0] if len(found) == 1 or (template and template.id != "proposal.choice") else None


def _agreed(case: Case) -> Choice | None:
    """The choice of ours that both sides agreed to, or that a rule grants by itself."""
    offered, agreed = case.offered, case.agreed
    if offered is None or not _ours(offered.choices):
        return None
    if agreed is not None and agreed.accepted_at is not None:
        fits = [
            one
            for one in offered.choices
            if one.remedy is agreed.kind and (agreed.amount is None or agreed.amount == one.amount)
        ]
        return fits[0] if fits else None
    return offered.choices[0] if offered.automatic else None


def _over(case: Case, view: View) -> bool:
    """Whether more is asked for than is left of the order."""
    asked, rest = case.request.amount if case.request else None, left(case, view)
    return bool(asked and rest and asked.currency == rest.currency and asked > rest)


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [Compensation]
