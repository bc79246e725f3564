"""What stands against paying a refund, whoever proposed it: the money went back already, or nobody asks any longer."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from ..abilities import View
from ..model import Action, Case, Money, PayRefund, RefundStatus, RequestStatus

COMING: Final = frozenset({"waiting", "due", "sending", "uncertain"})
OVER: Final = frozenset({RequestStatus.CANCELLED, RequestStatus.DECLINED})


def refunding(case: Case) -> tuple[Any, ...]:
    """All of the case that ``doubt`` looks at and that changes by itself."""
    order, request = case.order, case.request
    return case.refunds, order and order.refunded, request and request.status


def doubt(action: Action, case: Case, view: View) -> str | None:
    """Why a person has to look before the refund is paid; None where nothing speaks against it."""
    if not isinstance(action, PayRefund):
        return None
    request, amount = case.request, action.amount
    if request and action.request and action.request == request.id and request.status in OVER:
        return f"the request {request.id} is {request.status.value}"
    currency = amount.currency
    ours = _sum([one.amount for one in case.given if one.type == PayRefund.kind and one.action != action.key], currency)
    shown = max(
        _sum([one.amount for one in case.refunds if one.status is not RefundStatus.FAILED], currency),
        _sum([case.order.refunded if case.order else None], currency),
    )
    paid, whole = max(ours, shown), _whole(case, currency)  # what the marketplace shows may hold ours or not
    left = None if whole is None else max(Decimal(0), whole - paid - _coming(action, view))
    if not paid or (shown <= ours if left is None else amount.amount <= left):
        return None
    rest = "" if left is None else f"; {Money(amount=left, currency=currency)} is left"
    return f"{Money(amount=paid, currency=currency)} went back to the buyer already{rest}"


def _whole(case: Case, currency: str) -> Decimal | None:
    found = (case.order.total if case.order else None) or (case.request.amount if case.request else None)
    return found.amount if found and found.currency == currency else None


def _coming(action: PayRefund, view: View) -> Decimal:
    keys = (key for key, state in view.ledger.items() if key.startswith("refund:") and state in COMING)
    others = (view.action(key) for key in keys if key != action.key)
    return _sum([one.worth for one in others if one], action.amount.currency)


def _sum(amounts: Iterable[Money | None], currency: str) -> Decimal:
    return sum((one.amount for one in amounts if one and one.currency == currency), Decimal(0))
