"""Limits: what a case and an agent may cost without an approval, and what an agreed operation excludes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from rmabridge.abilities import Fact, View
from rmabridge.core.folding import stamped_at
from rmabridge.core.rates import NoRate
from rmabridge.model import (
    Action,
    Case,
    Choice,
    GiveCredit,
    Identity,
    Money,
    PayRefund,
    Reship,
    Verdict,
    deny,
    hold,
)

from .course import named, settlement
from .settings import Settings
from .spending import GIVING_KEYS, INTERIM, given, worth

NAME: Final = "compensation"
IDENTITY: Final = "compensation.identity"
LIMIT: Final = "compensation.limit"
DAILY: Final = "compensation.daily"
OPERATION: Final = "compensation.operation"
SETTLED: Final = "compensation.settled"
OPERATOR: Final = "operator:"
Costly = PayRefund | GiveCredit | Reship


class Judging(Settings):
    """Amends and reviews what moves money, whoever proposes it."""

    facts: ClassVar[tuple[Fact, ...]] = (Fact("given", hours=24, by="proposer"),)

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
        by_hand = view.proposer.startswith(OPERATOR)
        if said := self._excluded(action, case, by_hand=by_hand):
            if not (by_hand or asked_since(case)):
                return deny(OPERATION, said)
            found.append((OPERATION, said))
        # One approval answers for all that is told with it, so the reasons go together.
        return hold(found[0][0], "; ".join(reason for _, reason in found)) if found else None

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

    def _excluded(self, action: Costly, case: Case, *, by_hand: bool) -> str | None:
        choice = agreed(case)
        operation = self.known.get(named(choice) or "")
        if choice is None or operation is None or not isinstance(action, PayRefund) or action.part == INTERIM:
            return None
        if case.offered and case.offered.interim:  # what is given meanwhile settles nothing
            return None
        if not operation.refunds:
            return f"{named(choice)} was agreed, and it pays no refund"
        return f"{choice.amount} was agreed before that was asked for" if not by_hand and more(case, choice) else None

    def _settled(self, case: Case, view: View) -> Money | None:
        """The most that a policy's refund may come to; None where nothing says so."""
        choice = agreed(case)
        if choice is not None and choice.amount is not None and not (case.offered and case.offered.interim):
            return None if more(case, choice) else choice.amount
        interim = any(key.rpartition(":")[2] == INTERIM and key.startswith(GIVING_KEYS) for key in view.ledger)
        try:
            return settlement(case, view, self.purse(view)) if interim else None
        except NoRate:
            return None


def asked_since(case: Case) -> bool:
    """Whether the request came after the agreement, which so may have been about something else."""
    said, asked = (case.agreed.accepted_at if case.agreed else None), case.stamps.get("request.body")
    return said is not None and asked is not None and stamped_at(asked) / 1_000_000 > said.timestamp()


def more(case: Case, choice: Choice) -> bool:
    """Whether more is asked for since the agreement than was agreed."""
    asked, said = worth(case), choice.amount
    return bool(asked_since(case) and asked and said and asked.currency == said.currency and asked > said)


def ours(found: tuple[Choice, ...]) -> bool:
    """Whether an offer was made by this policy."""
    return any((one.rule or "").startswith(f"{NAME}.") for one in found)


def agreed(case: Case) -> Choice | None:
    """The choice of ours that both sides agreed to, or that a rule grants by itself."""
    offered, said = case.offered, case.agreed
    if offered is None or not ours(offered.choices):
        return None
    if said is not None and said.accepted_at is not None:
        fits = [
            one
            for one in offered.choices
            if one.remedy is said.kind and (said.amount is None or said.amount == one.amount)
        ]
        return fits[0] if fits else None
    return offered.choices[0] if offered.automatic else None
