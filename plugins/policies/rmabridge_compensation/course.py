"""An operation on its way in one case: which step comes next, and which actions it comes to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from rmabridge.abilities import Proposal, View
from rmabridge.core.claims import at_carrier
from rmabridge.core.rates import floored
from rmabridge.model import (
    ApproveReturn,
    Case,
    Choice,
    Closed,
    Direction,
    GiveCredit,
    Line,
    Money,
    ParcelStatus,
    PayRefund,
    RequestStatus,
    Reship,
    TagBuyer,
)

from .operations import Operation, Step
from .spending import INTERIM, Purse, cost, interim, ordered, worth

BAD: Final = frozenset({"denied", "dead", "expired", "cancelled"})
CLOCKS: Final = timedelta(hours=1)  # by so much a platform's clock may be ahead of ours
KINDS: Final = frozenset({"refund", "credit", "reship"})
UNDER_WAY: Final = frozenset({"waiting", "due", "held", "sending", "uncertain"})
LIVING: Final = frozenset({RequestStatus.REQUESTED, RequestStatus.APPROVED, RequestStatus.CLOSED})


@dataclass(frozen=True, slots=True)
class Course:
    """An operation on its way in one case, as it was agreed."""

    name: str
    operation: Operation
    choice: Choice
    case: Case
    view: View
    purse: Purse
    interim: bool = False

    @property
    def _mark(self) -> str:
        return INTERIM if self.interim else "all"

    def actions(self) -> list[Any]:
        """The actions that the operation has come to, gates apart."""
        return [action for step, action in self._open() if action is not None]

    def _open(self) -> Iterator[tuple[Step, Any]]:
        for number, one in enumerate(self.operation.steps):
            if one.do == "await" and not _arrived(self.case):
                return
            for step in _with_instead(one):
                action = self.action(step, number)
                yield step, action
                if action is None or self.view.ledger.get(action.key) not in BAD:
                    break

    def go_on(self) -> Iterator[Proposal]:
        """What is to be done now."""
        keys: list[str] = []
        for step, action in self._open():
            done = bool(keys) and all(self.view.ledger.get(key) == "done" for key in keys)
            if step.do == "close" and done and self._since_reopened() and not at_carrier(self.case):
                key = f"closed:{self.name}:{self.case.id}:{self.case.round}"
                yield Closed(key=key, at=self.view.now, result=self.operation.remedy.value)
            if action is None:
                continue
            if self.view.ledger.get(action.key) not in BAD:
                keys.append(action.key)
            if not self.view.proposed(action.key):
                yield action

    def possible(self) -> bool:
        """Whether anything can be done, or is only waited for."""
        gates = any(one.do == "await" for one in self.operation.steps) and not _arrived(self.case)
        return gates or bool(self.actions()) or not self.case.open

    def states(self) -> dict[str, str]:
        """How each part stands: key → state."""
        return {one.key: self.view.ledger[one.key] for one in self.actions() if one.key in self.view.ledger}

    def action(self, step: Step, number: int) -> Any:
        """What a step comes to; None for a gate, and where nothing can be made of it."""
        match step.do:
            case "approve":
                return self._approve()
            case "refund":
                return self._begun(self._refund())
            case "credit":
                return self._begun(self._credit(step, number))
            case "reship":
                return self._begun(self._reship(step))
            case "tag":
                return self._tag(step)
        return None

    def _begun(self, action: PayRefund | GiveCredit | Reship | None) -> Any:
        """The action, or the one that the agreement came to before under another name: a request came or went since, or
        the case that it was agreed in was absorbed."""
        if action is None or self.view.proposed(action.key):
            return action
        ours = _nameless(action.key)
        said = self.case.agreed.accepted_at if self.case.agreed else None
        since = said - CLOCKS if said else None
        given = {one.action for one in self.case.given if since is None or one.at >= since}
        for key, state in self.view.ledger.items():
            if _nameless(key) == ours and (state in UNDER_WAY or key in given):
                return self.view.action(key) or action
        return action

    def _since_reopened(self) -> bool:
        """Whether the buyer came back before what was given; after it a person closes the case."""
        case = self.case
        return not case.reopenings or any(one.at > case.reopenings[-1] for one in case.given)

    def _approve(self) -> ApproveReturn | None:
        request = self.case.request
        if request is None or not request.id or request.status is not RequestStatus.REQUESTED:
            return None
        # What was agreed after it had ended is another decision.
        agreed, ended = self.case.agreed, request.ended
        anew = agreed and agreed.accepted_at and ended and agreed.accepted_at >= ended.at
        return ApproveReturn(request=request.id, turn=request.again if anew else 0)

    def _refund(self) -> PayRefund | None:
        case, request = self.case, self.case.request
        amount, whole = self.settlement(), worth(case)
        living = request is not None and request.id and request.status in LIVING
        order = case.order.id if case.order else None
        if amount is None or amount.amount <= 0 or not (living or order):
            return None
        full = whole is not None and amount == whole and request is not None
        lines = tuple((one.id, one.quantity) for one in request.lines) if full and request else ()
        return PayRefund(
            order=order, request=request.id if living and request else None, amount=amount, lines=lines, part=self._mark
        )

    def settlement(self) -> Money | None:
        """What is paid back: what was agreed, or else what the goods are worth without what was given before."""
        if self.choice.amount is not None or self.interim:
            return self.choice.amount
        return settlement(self.case, self.view, self.purse)

    def _credit(self, step: Step, number: int) -> GiveCredit | None:
        amount = self._on_top(step) if step.on_top else self.choice.amount
        if amount is None or amount.amount <= 0:
            return None
        return GiveCredit(
            credit=step.credit,
            external=self.case.id,
            amount=amount,
            floor=step.least_order,
            valid_days=step.valid_days,
            buyer=self.case.buyer.id if self.case.buyer else None,
            part=f"{number}-{self._mark}" if step.on_top else self._mark,
            reason=self.choice.rule or "",
        )

    def _on_top(self, step: Step) -> Money | None:
        """Worked out again each time from what does not change, so that an agreed part keeps its amount."""
        basis = worth(self.case)
        if basis is None:
            return None
        zero = Money(amount=Decimal(0), currency=basis.currency)
        return self.purse.amount(step.offer(), basis, zero, basis)

    def _reship(self, step: Step) -> Reship | None:
        order = self.case.order
        lines = wanted(self.case, step)
        if order is None or not lines:
            return None
        where = order.ship_to or (self.case.buyer.address if self.case.buyer else None)
        return Reship(
            external=self.case.id,
            order=order.id,
            lines=lines,
            address=where,
            carrier=step.by,
            amount=self._price(step),
            part=self._mark,
            note=step.note,
        )

    def _price(self, step: Step) -> Money | None:
        order, request = self.case.order, self.case.request
        if step.amount is not None or order is None:
            return step.amount
        zero = Money(amount=Decimal(0), currency=order.total.currency) if order.total else None
        if step.goods == "other":
            return None  # what another article costs is not on the order: a person looks
        if step.back or any(one.do == "await" for one in self.operation.steps):
            return zero
        lines = request.lines if request else ()
        return cost(order, tuple((one, one.quantity) for one in lines)) if lines else order.total

    def _tag(self, step: Step) -> TagBuyer | None:
        buyer = self.case.buyer.id if self.case.buyer else None
        if buyer is None:
            return None
        tag = TagBuyer(buyer=buyer, tag=step.tag)
        # Where the marketplace marks nobody, the system that issues the coupons may.
        other = tag.model_copy(update={"account": self.view.shop.credits})
        return other if self.view.shop.credits and not self.view.can(tag) and self.view.can(other) else tag


def settlement(case: Case, view: View, purse: Purse) -> Money | None:
    """What is settled in the end: what the goods are worth, without what was given while liability was open."""
    whole = worth(case)
    if whole is None:
        return None
    taken = purse.rates.total(interim(case, view), whole.currency, purse.on)
    rest = floored(whole - taken)
    return rest if rest.amount > 0 else Money(amount=Decimal(0), currency=whole.currency)


def wanted(case: Case, step: Step) -> tuple[tuple[str, int], ...]:
    """Which articles are sent, and how many of each."""
    order, lines = case.order, case.request.lines if case.request else ()
    if step.sku:
        return ((step.sku, 1),)
    if order is None:
        return ()
    if step.goods == "other":
        return _other(case, lines)
    if step.goods == "missing" or lines:
        named = [(goods.sku, one.quantity) for one in lines if (goods := ordered(order, one))]
    else:
        named = [(one.sku, one.quantity) for one in order.lines]
    return tuple((sku, pieces) for sku, pieces in named if sku)


def _other(case: Case, lines: tuple[Line, ...]) -> tuple[tuple[str, int], ...]:
    """The articles that the buyer asked for in place of those that were ordered."""
    order = case.order
    known = {one.id: one.sku for one in order.lines} if order else {}
    return tuple(
        (one.sku, one.quantity) for one in lines if one.sku and one.sku != known.get(one.order_line or "", one.sku)
    )


def _nameless(key: str) -> str:
    """A key without the id that it is about: "refund:R1:all" and "refund:O1:all" are one part of an agreement."""
    kind, _, rest = key.partition(":")
    part = rest.rpartition(":")[2]
    return f"{kind}:{rest.partition(':')[0] if kind == 'credit' else ''}:{part}" if kind in KINDS else key


def _with_instead(step: Step) -> Iterator[Step]:
    found: Step | None = step
    while found is not None:
        yield found
        found = found.instead


def _arrived(case: Case) -> bool:
    return any(one.direction is Direction.BACK and one.status is ParcelStatus.DELIVERED for one in case.parcels)


def named(choice: Choice | None) -> str | None:
    """The operation that a choice of ours stands for."""
    rule = choice.rule if choice else None
    return rule.partition("/")[2] or None if rule else None
