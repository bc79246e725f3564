"""Which carrier: the one the buyer asked for, and one that serves the address; else the money or new goods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import Field

from rmabridge.abilities import Policy, Proposal, View
from rmabridge.core.reach import tell
from rmabridge.model import (
    Action,
    Case,
    CheckCoverage,
    Choice,
    CoverageSeen,
    Direction,
    Parcel,
    ParcelException,
    ParcelStatus,
    PayRefund,
    PrintLabel,
    RemedyKind,
    RemedyOffered,
    Reship,
    Verdict,
    allow,
    deny,
    hold,
)
from rmabridge.model.case import Remedy

from .legs import code
from .watching import left_of
from .wishes import Wish, wish

COVERAGE: Final = "logistics.coverage"
REQUESTED: Final = "logistics.requested_carrier"
LOST: Final = "logistics.lost"
FOR_LOST: Final = "lost in transit"
GESTURES: Final = frozenset(
    {
        RemedyKind.COUPON,
        RemedyKind.GIFT_CARD,
        RemedyKind.GIFT,
        RemedyKind.LETTER,
        RemedyKind.NONE,
        RemedyKind.PARTIAL_REFUND,
        RemedyKind.PRIORITY,
        RemedyKind.WARRANTY,
    }
)
UNDER_WAY: Final = frozenset({"waiting", "due", "held", "sending", "uncertain"})


class Choosing(Policy):
    """Requested and unserved carriers, and what is offered where a parcel cannot arrive."""

    lost_remedy: Literal["offer", "refund", "reship"] = Field(
        "offer", description="for a lost parcel: let the buyer choose, or refund or reship by rule"
    )
    offer: bool = Field(
        True, description="offer goods or money for a parcel that cannot arrive, where no other policy does"
    )
    carry_out: bool = Field(True, description="start the refund or replacement that was agreed on such an offer")

    def choose(self, case: Case, parcel: Parcel, view: View) -> Iterable[Proposal]:
        """Check and tell a carrier that was not asked for; offer the money where it does not serve the address."""
        if parcel.carrier is None or parcel.final:
            return
        carrier, wrong = code(parcel.carrier), is_wrong(case, parcel)
        if _says_unserved(parcel) and case.coverage.get(carrier) is not False:
            key = f"coverage:{case.id}:{carrier}"
            yield CoverageSeen(key=key, at=view.now, carrier=carrier, served=False, reason="said by a scan")
        if wrong and carrier not in case.coverage:
            yield from _check(case, carrier, view)
        served = case.coverage.get(carrier)
        if self.offer and served is False and not makes_good(case.offered):
            yield _offer(case, COVERAGE, carrier, RemedyKind.REFUND_ONLY, view)
        if wrong and not _checking(case, carrier, view):
            yield from _tell_wrong(case, parcel, served, view)

    def lost(self, case: Case, parcel: Parcel, view: View, *, heard: bool) -> Iterable[Proposal]:
        """Tell the buyer that the parcel is lost, and offer new goods or the money; start what was agreed.

        Once all have ``heard`` of it: what another policy offers for it, that policy tells.
        """
        if parcel.status is not ParcelStatus.LOST or not heard:
            return
        purpose, answered = f"logistics:lost:{parcel.waybill}", makes_good(case.offered)
        if not view.proposed(purpose) and (not answered or _ours(case.offered)):
            plan = self.lost_remedy
            message = tell(
                case, view, purpose, "logistics.lost", waybill=parcel.waybill, carrier=parcel.carrier, plan=plan
            )
            if message:
                yield message.model_copy(update={"once": f"lost:{parcel.waybill}"})
        if self.offer and not answered and not makes_good(case.agreed) and not _paid_back(case):
            first = RemedyKind.REFUND_ONLY if self.lost_remedy == "refund" else RemedyKind.RESHIP
            automatic = None if self.lost_remedy == "offer" else LOST
            yield _offer(case, LOST, parcel.waybill, first, view, automatic)
        yield from self._carry_out(case, view)

    def _carry_out(self, case: Case, view: View) -> Iterable[Proposal]:
        """Start what was agreed on our own offer, once: goods or money, never both."""
        if case.offered is None or not any(one.rule == LOST for one in case.offered.choices):
            return
        chosen = case.agreed if makes_good(case.agreed) else case.offered if case.offered.automatic == LOST else None
        begun = _paid_back(case) or any(key.startswith(("refund:", "reship:")) for key in view.ledger)
        if chosen is None or begun or case.order is None or not self.carry_out or not alone(case):
            return
        if chosen.kind is RemedyKind.RESHIP:
            yield _replacement(case)
        elif chosen.kind is RemedyKind.REFUND_ONLY and (amount := chosen.amount or left_of(case)):
            request = case.request.id if case.request else None
            yield PayRefund(order=case.order.id, request=request, amount=amount, note=FOR_LOST)

    def amend(self, action: Action, case: Case, view: View) -> Action | None:
        """A replacement and any label go by the carrier that the buyer asked for; a label says which those are."""
        if not isinstance(action, Reship | PrintLabel):
            return None
        served = tuple(one for one in asked(case).wanted if case.coverage.get(one) is not False)
        new: dict[str, Any] = {} if action.carrier or not served else {"carrier": served[0]}
        if isinstance(action, PrintLabel):
            new |= {"asked": served}
        return action.model_copy(update=new) if any(getattr(action, name) != new[name] for name in new) else None

    def review(self, action: Action, case: Case, view: View) -> Verdict | None:
        """Never by a carrier that does not serve the address; by one that was not asked for, only as a person says.

        What is given for a lost parcel waits for a person once the parcel was found.
        """
        if _in_place(action) and not any(one.status is ParcelStatus.LOST for one in case.parcels):
            return hold(LOST, "the parcel was found again")
        if not isinstance(action, Reship | PrintLabel) or not action.carrier:
            return None
        carrier = code(action.carrier)
        if case.coverage.get(carrier) is False:
            return deny(COVERAGE, f"{carrier} does not serve the address")
        if not asked(case).grants(carrier):
            wanted = ", ".join(asked(case).wanted) or "another carrier"
            return _other(action, f"the buyer asked for {wanted}, not {carrier}")
        return None


def _in_place(action: Action) -> bool:
    """Whether it is given in place of a lost parcel."""
    return isinstance(action, PayRefund | Reship) and action.note == FOR_LOST


def _other(action: Reship | PrintLabel, words: str) -> Verdict:
    """A carrier that was not asked for: a label takes it only with a reason, which stays beside the verdict."""
    if isinstance(action, Reship):
        return hold(REQUESTED, f"{words}; give a reason to use it all the same")
    if action.override:
        return allow(REQUESTED, f"{words}; used all the same: {action.override}")
    return deny(REQUESTED, f"{words}; say in 'override' why it is used all the same")


def asked(case: Case) -> Wish:
    """The carriers that the order's note asks for."""
    return wish(case.order.note if case.order else None)


def is_wrong(case: Case, parcel: Parcel) -> bool:
    """Whether the parcel went by another carrier than the buyer asked for."""
    return (
        parcel.carrier is not None
        and parcel.direction is Direction.OUT
        and not asked(case).grants(code(parcel.carrier))
    )


def makes_good(remedy: Remedy | None) -> bool:
    """Whether a remedy is an answer to goods that do not arrive, or holds until there is one; a coupon is none."""
    if remedy is None:
        return False
    return remedy.interim or not {remedy.kind, *(one.remedy for one in remedy.choices)} <= GESTURES


def _paid_back(case: Case) -> bool:
    """Whether money went back for it: all of the order's, or nobody knows how much; a part of it was a gesture."""
    return bool(case.refunds) and (left_of(case) is None or any(one.amount is None for one in case.refunds))


def _ours(remedy: Remedy | None) -> bool:
    return remedy is not None and any((one.rule or "").startswith("logistics.") for one in remedy.choices)


def alone(case: Case) -> bool:
    """Whether the order is one parcel: of several nobody knows which goods are in which."""
    return sum(one.direction is Direction.OUT for one in case.parcels) == 1


def _says_unserved(parcel: Parcel) -> bool:
    return ParcelException.OUT_OF_AREA in {parcel.exception, *(one.exception for one in parcel.scans)}


def _check(case: Case, carrier: str, view: View) -> Iterable[Proposal]:
    to = case.order.ship_to if case.order else None
    if to is None:
        return
    check = CheckCoverage(carrier=carrier, address=to)
    if not view.proposed(check.key) and view.can(check):
        yield check


def _checking(case: Case, carrier: str, view: View) -> bool:
    """Whether the answer is still to come."""
    to = case.order.ship_to if case.order else None
    if to is None or carrier in case.coverage:
        return False
    check = CheckCoverage(carrier=carrier, address=to)
    state = view.ledger.get(check.key)
    return state in UNDER_WAY or (state is None and view.can(check))


def _offer(
    case: Case, rule: str, about: str, first: RemedyKind, view: View, automatic: str | None = None
) -> RemedyOffered:
    amount, kinds = left_of(case) if alone(case) else None, (RemedyKind.RESHIP, RemedyKind.REFUND_ONLY)
    ordered = sorted(kinds, key=lambda one: one is not first)
    choices = tuple(
        Choice(remedy=one, amount=amount if one is RemedyKind.REFUND_ONLY else None, rule=rule) for one in ordered
    )
    return RemedyOffered(
        key=f"offer:{rule}:{about}:{case.id}",
        at=view.now,
        remedy=first,
        amount=amount if first is RemedyKind.REFUND_ONLY else None,
        automatic=automatic,
        choices=choices,
    )


def _replacement(case: Case) -> Reship:
    assert case.order is not None  # noqa: S101 (narrows the type)
    lines = tuple((one.sku or one.id, one.quantity) for one in case.order.lines)
    return Reship(external=case.id, order=case.order.id, lines=lines, address=case.order.ship_to, note=FOR_LOST)


def _tell_wrong(case: Case, parcel: Parcel, served: bool | None, view: View) -> Iterable[Proposal]:
    purpose = f"logistics:wrong_carrier:{parcel.waybill}"
    if view.proposed(purpose):
        return
    about = {"waybill": parcel.waybill, "carrier": parcel.carrier_name or parcel.carrier, "unserved": served is False}
    if message := tell(case, view, purpose, "logistics.wrong_carrier", **about):
        yield message.model_copy(update={"once": f"wrong_carrier:{parcel.waybill}"})
