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
from typing import Any, ClassVar, Final

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, Timer, View
from rmabridge.core.answers import Answer, answer
from rmabridge.core.colleagues import tell_colleagues
from rmabridge.core.reach import tell
from rmabridge.model import (
    NEWS,
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
    RemedyAccepted,
    RemedyDeclined,
    RemedyOffered,
    Settled,
)

from .course import BAD, Course, named
from .judging import NAME, Judging, agreed, ours
from .offering import choices
from .rules import Rule, first, liability_open, wrong_sku
from .spending import left

SENT: Final = frozenset({"sending", "uncertain", "done"})
OWN: Final = frozenset({"return.approve", "refund.pay", "credit.give", "goods.reship", "buyer.tag"})


class Compensation(Judging):
    """Offers, operations and limits."""

    title: ClassVar[str] = "Compensation"
    requires: ClassVar[tuple[str, ...]] = ("order",)
    hears: ClassVar[frozenset[type[Any]]] = NEWS | {
        RemedyOffered,
        RemedyAccepted,
        RemedyDeclined,
        EvidenceAdded,
        ClaimSeen,
        Settled,
    }
    settles: ClassVar[frozenset[str]] = OWN

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """The offer while there is none, the answer to it, and the operation once it is agreed."""
        if not case.open:
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

    # -- offering -------------------------------------------------------------------------------------------------

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
        found = choices(f"{NAME}.{rule.id}", rule.offers, self.known, case, view, self.purse(view))
        if not found:
            return
        key = f"offer:{NAME}:{rule.id}:{case.id}:{case.round}"
        yield RemedyOffered(key=key, at=view.now, remedy=found[0].remedy, amount=found[0].amount, choices=tuple(found))
        if self.tell_buyer:
            yield from _told(rule, found, case, view)

    def _at_once(self, case: Case, view: View) -> Iterator[Proposal]:
        for one in self.all_interim:
            rule = f"{NAME}.{one.id}"
            found = choices(rule, (one.offer,), self.known, case, view, self.purse(view)) if one.fits(case) else []
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
        if offered is None or not ours(offered.choices) or offered.interim or offered.declined_at:
            return
        if not isinstance(event, MessageReceived) or event.message.author is not Author.BUYER:
            return
        if not any(view.ledger.get(key) in SENT for key in _offer_keys(case)):
            return  # the buyer's words answer something else
        said = answer(event.message.text)
        if said.answer is Answer.DECLINE:
            yield RemedyDeclined(key=f"declined:{event.key}", at=event.at)
        elif said.answer is Answer.ACCEPT and (choice := _chosen(offered.choices, said.choice, case, view)):
            yield RemedyAccepted(key=f"accepted:{event.key}", at=event.at, remedy=choice.remedy, amount=choice.amount)

    # -- carrying out ---------------------------------------------------------------------------------------------

    def _course(self, case: Case, view: View) -> Course | None:
        choice = agreed(case)
        name = named(choice)
        if choice is None or name is None or name not in self.known:
            return None
        interim = bool(case.offered and case.offered.interim)
        return Course(name, self.known[name], choice, case, view, self.purse(view), interim)

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


def _offer_keys(case: Case) -> tuple[str, str]:
    """The offer's message, and the same words on a second way."""
    return f"offer:{case.round}", f"again:offer:{case.round}"


def _chosen(found: tuple[Choice, ...], number: int | None, case: Case, view: View) -> Choice | None:
    """The choice that the buyer named; a bare yes counts where only one was put to them."""
    if number is not None:
        return found[number - 1] if number <= len(found) else None
    message = view.action(_offer_keys(case)[0])
    template = getattr(message, "template", None)
    return found[0] if len(found) == 1 or (template and template.id != "proposal.choice") else None


def _over(case: Case, view: View) -> bool:
    """Whether more is asked for than is left of the order."""
    asked, rest = case.request.amount if case.request else None, left(case, view)
    return bool(asked and rest and asked.currency == rest.currency and asked > rest)


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [Compensation]
