"""One state machine for all claims, whoever takes them, and what their money amounts to. Pure.

A claim's status is not set but read off its steps: what was reported, in the order of its own time. A step that cannot
follow (paid after rejected) does not count and is told; one that comes late finds its place. So the same reports in any
order end in the same claim, and there is one claim for each carrier, waybill and kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from ..model import Case, Claim, ClaimKind, ClaimSeen, ClaimStatus, ClaimStep, Line, Money
from ..wire import carriers

NEXT: Final[dict[ClaimStatus, frozenset[ClaimStatus]]] = {
    ClaimStatus.DRAFT: frozenset({ClaimStatus.SUBMITTED, ClaimStatus.WITHDRAWN}),
    ClaimStatus.SUBMITTED: frozenset(
        set(ClaimStatus) - {ClaimStatus.DRAFT, ClaimStatus.SUBMITTED, ClaimStatus.APPEALED},
    ),
    ClaimStatus.IN_REVIEW: frozenset(
        set(ClaimStatus) - {ClaimStatus.DRAFT, ClaimStatus.SUBMITTED, ClaimStatus.IN_REVIEW, ClaimStatus.APPEALED}
    ),
    ClaimStatus.INFO_REQUESTED: frozenset(
        set(ClaimStatus) - {ClaimStatus.DRAFT, ClaimStatus.SUBMITTED, ClaimStatus.INFO_REQUESTED, ClaimStatus.APPEALED}
    ),
    ClaimStatus.APPROVED: frozenset({ClaimStatus.PAID}),
    ClaimStatus.PARTIAL: frozenset({ClaimStatus.PAID, ClaimStatus.APPEALED}),
    ClaimStatus.REJECTED: frozenset({ClaimStatus.APPEALED, ClaimStatus.WITHDRAWN}),
    ClaimStatus.APPEALED: frozenset(
        set(ClaimStatus) - {ClaimStatus.DRAFT, ClaimStatus.SUBMITTED, ClaimStatus.APPEALED}
    ),
    ClaimStatus.PAID: frozenset({ClaimStatus.APPEALED}),
    ClaimStatus.WITHDRAWN: frozenset({ClaimStatus.DRAFT}),  # what was found may be lost again
}
PENDING: Final = frozenset(
    {ClaimStatus.SUBMITTED, ClaimStatus.IN_REVIEW, ClaimStatus.INFO_REQUESTED, ClaimStatus.APPEALED}
)
# The bridge's own word does not say which account took the claim.
OURS: Final = frozenset({"", "bridge"})
_TOLD: Final = ("status", "amount", "paid", "reason", "due_at")
_RANK: Final = {one: rank for rank, one in enumerate(ClaimStatus)}

Payout = Literal["unpaid", "matched", "short", "over", "unclear"]


class Refused(NamedTuple):
    """A report that does not count, and why."""

    step: ClaimStep
    reason: str


def refusal(now: ClaimStatus, then: ClaimStatus) -> str | None:
    """Why a claim cannot go from one status to another; None where it can, or is there already."""
    if now is then or then in NEXT[now]:
        return None
    after = ", ".join(one for one in ClaimStatus if one in NEXT[now]) or "nothing"
    return f"a claim that is {now} cannot become {then}; what can follow is: {after}"


def standing(steps: Iterable[ClaimStep]) -> tuple[ClaimStatus, tuple[Refused, ...]]:
    """Where these steps lead, in the order of their time, and those among them that could not follow."""
    ordered = sorted(steps, key=_order)
    status, refused = ordered[0].status, []
    for one in ordered[1:]:
        if _follows(status, one.status):
            status = one.status
        else:
            refused.append(Refused(one, refusal(status, one.status) or ""))
    return status, tuple(refused)


def _follows(now: ClaimStatus, then: ClaimStatus) -> bool:
    # A carrier that speaks of a claim has it, though its filing was not told to us.
    return refusal(now, then) is None or (now is ClaimStatus.DRAFT and then in NEXT[ClaimStatus.SUBMITTED])


def _order(step: ClaimStep) -> tuple[object, int]:
    return step.at, _RANK[step.status]


def at_carrier(case: Case) -> bool:
    """Whether a carrier has the next word: a claim is undecided, or a question about a parcel under way unanswered.

    The case stays the shop's as long: no policy closes it. Whatever a carrier writes later answers what it was asked.
    """
    if any(one.status in PENDING for one in case.claims):
        return True
    over = {one.waybill for one in case.parcels if one.final}
    asked = [one.at for one in case.enquiries if one.waybill not in over]
    return any(case.talk.carrier is None or case.talk.carrier <= at for at in asked)


def fold(
    claims: tuple[Claim, ...], stamps: Mapping[str, str], event: ClaimSeen, stamp: str, account: str
) -> tuple[tuple[Claim, ...], dict[str, str]]:
    """The claims after the report, and the stamps that say which report last wrote what."""
    old = _same(claims, event)
    carrier = (old.carrier if old else None) or event.carrier
    marks = _renamed(stamps, old, carrier) if old else dict(stamps)
    prefix = _prefix(carrier, event.waybill, event.kind)
    told = {"id": event.claim, "account": None if account in OURS else account}
    told |= {name: getattr(event, name) for name in _TOLD if name != "status"}
    new = {}
    for name, value in told.items():
        if value is not None and marks.get(f"{prefix}.{name}", "") <= stamp:
            new[name], marks[f"{prefix}.{name}"] = value, stamp
    steps = _added(old.steps if old else (), ClaimStep(status=event.status, at=event.at))
    base = old or Claim(waybill=event.waybill, kind=event.kind, status=event.status)
    at = max(filter(None, (base.at, event.at)))
    made = base.model_copy(update={**new, "carrier": carrier, "steps": steps, "status": standing(steps)[0], "at": at})
    others = [one for one in claims if one is not old]
    return tuple(sorted((*others, made), key=lambda one: (one.carrier or "", one.waybill, one.kind))), marks


def _same(claims: tuple[Claim, ...], event: ClaimSeen) -> Claim | None:
    """The claim that the report is about; one that names no carrier is about the only one there is."""
    alike = [one for one in claims if one.waybill == event.waybill and one.kind is event.kind]
    exact = next((one for one in alike if same_carrier(one.carrier, event.carrier)), None)
    return exact or next((one for one in alike if one.carrier is None or event.carrier is None), None)


def same_carrier(one: str | None, other: str | None) -> bool:
    """Whether both mean the same carrier, each by any of its codes and names."""
    if one == other or one is None or other is None:
        return one == other
    first, second = carriers.carrier(one), carriers.carrier(other)
    return first.code == second.code if first and second else one.casefold() == other.casefold()


def _prefix(carrier: str | None, waybill: str, kind: ClaimKind) -> str:
    return f"claim.{carrier or ''}:{waybill}:{kind}"


def _renamed(stamps: Mapping[str, str], old: Claim, carrier: str | None) -> dict[str, str]:
    before, after = _prefix(old.carrier, old.waybill, old.kind), _prefix(carrier, old.waybill, old.kind)
    return {
        f"{after}{name.removeprefix(before)}" if name.startswith(f"{before}.") else name: one
        for name, one in stamps.items()
    }


def _added(steps: tuple[ClaimStep, ...], new: ClaimStep) -> tuple[ClaimStep, ...]:
    """The first and the last report of each status: all that the order of two rounds needs, and never more."""
    kept = set()
    for status in ClaimStatus:
        times = [one.at for one in (*steps, new) if one.status is status]
        kept |= {(min(times), status), (max(times), status)} if times else set()
    return tuple(sorted((ClaimStep(status=status, at=at) for at, status in kept), key=_order))


def since(claim: Claim) -> datetime:
    """When the claim came to stand where it stands; the same status told again is no news."""
    ordered = sorted(claim.steps, key=_order)
    status, at = ordered[0].status, ordered[0].at
    for one in ordered[1:]:
        if one.status is not status and _follows(status, one.status):
            status, at = one.status, one.at
    return at


def payout(claim: Claim) -> Payout:
    """Whether what was paid is what was granted."""
    if claim.paid is None:
        return "unclear" if claim.status is ClaimStatus.PAID else "unpaid"
    if claim.amount is None or claim.amount.currency != claim.paid.currency:
        return "unclear"
    paid, granted = claim.paid.rounded(), claim.amount.rounded()
    return "matched" if paid == granted else "short" if granted > paid else "over"


def goods_value(case: Case) -> Money | None:
    """What the goods of the case are worth: the lines it is about at the order's prices; the whole order without any.

    None where nobody knows: a line without a price, an order in several parcels whose goods are not told apart.
    """
    order = case.order
    if case.request and case.request.lines:
        return _of_lines(case, case.request.lines)
    if order is None or order.total is None or order.total.amount <= 0 or _parcels(case) > 1:
        return None
    return order.total


def _parcels(case: Case) -> int:
    return sum(one.direction == "out" for one in case.parcels)


def _of_lines(case: Case, lines: tuple[Line, ...]) -> Money | None:
    total, currency = Decimal(0), None
    for line in lines:
        goods = [one for one in (case.order.lines if case.order else ()) if line.order_line == one.id]
        goods = goods or [one for one in (case.order.lines if case.order else ()) if line.sku and line.sku == one.sku]
        price = goods[0].price if len(goods) == 1 else None
        if price is None or currency not in {None, price.currency}:
            return None
        total, currency = total + price.amount * line.quantity, price.currency
    return Money(amount=total, currency=currency) if currency and total > 0 else None
