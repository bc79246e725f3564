"""What stands against paying a refund or sending goods, whoever proposed it: the money went back already, the request
is for less now, or nobody asks any longer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

from ..abilities import View
from ..model import (
    Action,
    Case,
    CaseKind,
    Money,
    PayRefund,
    RefKind,
    Refund,
    RefundStatus,
    Request,
    RequestStatus,
    Reship,
    Ruling,
    Verdict,
)
from .folding import stamped_at

COMING: Final = frozenset({"waiting", "due", "sending", "uncertain"})
OVER: Final = frozenset({RequestStatus.CANCELLED, RequestStatus.DECLINED})
DOUBTED: Final = frozenset({PayRefund.kind, Reship.kind})
OPERATOR: Final = "operator:"
Doubt = tuple[str, str]


def facts(case: Case) -> tuple[Any, ...]:
    """All of the case that ``doubts`` looks at and that changes by itself."""
    order, request = case.order, case.request
    return case.refunds, order and order.refunded, request and (request.status, request.amount)


def doubts(action: Action, case: Case, view: View) -> Iterator[Verdict]:
    """Why a person has to look first. A rule names its fact, so that an approval of one is none of another."""
    if isinstance(action, PayRefund | Reship):
        found = _of_refund(action, case, view) if isinstance(action, PayRefund) else _of_goods(action, case, view)
        for rule, reason in found:
            yield Verdict(ruling=Ruling.HOLD, rule=f"bridge.{rule}", reason=reason, policy="bridge")


def _of_refund(action: PayRefund, case: Case, view: View) -> Iterator[Doubt]:
    request = case.request if case.request and action.request and case.request.id == action.request else None
    asked, amount = request and request.amount, action.amount
    if request and request.status in OVER:
        yield _over(request)
    several = [one.value for one in case.refs if one.kind is RefKind.RETURN]
    if len(several) > 1 and not view.proposer.startswith(OPERATOR):  # of cases that became one
        yield f"requests:{'+'.join(several)}".replace(" ", "_"), f"the case has several requests: {', '.join(several)}"
    if asked and asked.currency == amount.currency and asked < amount and not _meant(action, case, view):
        yield f"asked:{_plain(asked)}", f"{asked} is asked for now"
    currency = amount.currency
    ours = _sum([one.amount for one in case.given if one.type == PayRefund.kind and one.action != action.key], currency)
    shown = _shown(case, currency)
    paid, whole = max(ours, shown), _whole(case, currency)  # what the marketplace shows may hold ours or not
    coming = _sum([one.worth for one in _coming(action, view)], currency)
    left = None if whole is None else max(Decimal(0), whole - paid - coming)
    if paid and (shown > ours if left is None else amount.amount > left):
        yield _back(paid, currency, left)
        return
    elsewhere = _elsewhere(action, case, view, currency)
    if elsewhere is None:
        yield _unclear(case)
    elif elsewhere and asked and asked.currency == currency and amount.amount > asked.amount - elsewhere:
        yield _back(elsewhere, currency, max(Decimal(0), asked.amount - elsewhere))


def _of_goods(action: Reship, case: Case, view: View) -> Iterator[Doubt]:
    request = case.request
    if request and request.status in OVER and case.kind is CaseKind.EXCHANGE and case.agreed is None:
        yield _over(request)
    total = case.order.total if case.order else None
    if total and (paid := _shown(case, total.currency)) >= total.amount > 0:
        yield _back(paid, total.currency, None)
        return
    currency = next((one.amount.currency for one in _seen(case) if one.amount), "")
    elsewhere = _elsewhere(action, case, view, currency)
    if elsewhere is None:
        yield _unclear(case)
    elif elsewhere:
        yield _back(elsewhere, currency, None)


def _over(request: Request) -> Doubt:
    return request.status.value, f"the request {request.id or ''} is {request.status.value}"


def _back(paid: Decimal, currency: str, left: Decimal | None) -> Doubt:
    money = Money(amount=paid, currency=currency)
    rest = "" if left is None else f"; {Money(amount=left, currency=currency)} is left"
    return f"refunded:{_plain(money)}", f"{money} went back to the buyer already{rest}"


def _unclear(case: Case) -> Doubt:
    number = len(_seen(case))
    return f"refunded:{number}-times", f"{number} refunds are on the case, not each with an amount to compare"


def _plain(money: Money) -> str:
    return str(money).replace(" ", "")  # rules are kept as a list of words


def _meant(action: PayRefund, case: Case, view: View) -> bool:
    """Whether a person said so much, knowing what is asked for."""
    said = case.agreed
    if view.proposer.startswith(OPERATOR):
        return True
    if said is None or said.accepted_at is None or said.amount != action.amount:
        return False
    return _time(case, "request.amount") <= said.accepted_at.timestamp()


def _whole(case: Case, currency: str) -> Decimal | None:
    found = (case.order.total if case.order else None) or (case.request.amount if case.request else None)
    return found.amount if found and found.currency == currency else None


def _shown(case: Case, currency: str) -> Decimal:
    """What the marketplace shows as refunded."""
    seen = [one.amount for one in case.refunds if one.status is not RefundStatus.FAILED]
    return max(_sum(seen, currency), _sum([case.order.refunded if case.order else None], currency))


def _elsewhere(action: PayRefund | Reship, case: Case, view: View, currency: str) -> Decimal | None:
    """What went back since the request and not by us; None where it does not say how much."""
    seen, since = _seen(case), _time(case, "request.body")
    given = [one for one in case.given if one.type == PayRefund.kind and one.at.timestamp() >= since]
    ours = [one.amount for one in given if one.action != action.key]
    ours += [one.worth for one in _coming(action, view)]
    if len(seen) > len(ours) and any(one.amount is None or one.amount.currency != currency for one in seen):
        return None
    return max(Decimal(0), _sum([one.amount for one in seen], currency) - _sum(ours, currency))


def _seen(case: Case) -> list[Refund]:
    since = _time(case, "request.body")
    return [one for one in case.refunds if one.status is not RefundStatus.FAILED and one.at.timestamp() >= since]


def _time(case: Case, group: str) -> float:
    """When the group of fields was last told, in seconds since 1970."""
    stamp = case.stamps.get(group)
    return stamped_at(stamp) / 1_000_000 if stamp else 0.0


def _coming(action: PayRefund | Reship, view: View) -> list[Action]:
    keys = (key for key, state in view.ledger.items() if key.startswith("refund:") and state in COMING)
    return [one for key in keys if key != action.key and (one := view.action(key))]


def _sum(amounts: Iterable[Money | None], currency: str) -> Decimal:
    return sum((one.amount for one in amounts if one and one.currency == currency), Decimal(0))
