"""Returns: approves what lies inside the window, refunds what came back, and holds what a person must decide.

Nothing is carried out for a remedy that neither both sides agreed to nor a rule grants by itself. Refunds above the
shop's limit for their currency, or above what is left of the order, wait for an approval.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import ClassVar, Final

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, RuleText, Say, Shop, Timer, View
from rmabridge.core.claims import at_carrier
from rmabridge.core.lifecycle import came_back
from rmabridge.core.reach import note
from rmabridge.model import (
    Action,
    ApproveReturn,
    Case,
    CaseKind,
    Closed,
    CommentTicket,
    DeadlineReached,
    Direction,
    Event,
    Form,
    Line,
    Money,
    OrderLine,
    ParcelStatus,
    PayRefund,
    RefKind,
    RemedyKind,
    RemedyOffered,
    RequestStatus,
    SendMessage,
    Status,
    UpdateTicket,
    Verdict,
    hold,
)

WINDOW: Final = "returns.window"
AGREEMENT: Final = "returns.agreement"
LIMIT: Final = "returns.limit"
BELATED: Final = "returns.belated"
CLOSE: Final = "refunded-close"
REMEDIES: Final = {CaseKind.RETURN: RemedyKind.RETURN_REFUND, CaseKind.EXCHANGE: RemedyKind.EXCHANGE}
CONCERNED: Final = frozenset({CaseKind.RETURN, CaseKind.EXCHANGE, CaseKind.REFUND})
UNSENT: Final = frozenset({"waiting", "due", "held", "sending"})


class Returns(Policy):
    """Approvals and refunds, by window, agreement and limit."""

    title: ClassVar[str] = "Returns"
    requires: ClassVar[tuple[str, ...]] = ("order",)

    close_after: timedelta = Field(
        timedelta(days=1), description="when a refunded case closes if its buyer is told nothing"
    )

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """The offer and the approval while a request is open, the refund when the goods are back, the closing after."""
        if not case.open or case.request is None or case.kind not in CONCERNED:
            return
        if case.request.status is RequestStatus.REQUESTED and view.shop.auto_approve:
            yield from _answer(case, view)
        if _due(case):
            yield from _pay(case, view)
        if case.status is Status.REFUNDED and not _reopened_since(case):
            yield from self._close(case, event, view)

    def review(self, action: Action, case: Case, view: View) -> Verdict | None:
        """Hold what is outside the window, not agreed, or above the limit."""
        if isinstance(action, ApproveReturn):
            if case.kind in REMEDIES and (reason := _outside(case, view)):
                return hold(WINDOW, reason)
            return hold(AGREEMENT, _DISAGREED) if not agreed(case) else None
        if isinstance(action, PayRefund):
            return _of_refund(action, case, view)
        return None

    def describe(self, locale: str, shop: Shop, say: Say, case: Case | None = None) -> Iterable[RuleText]:
        """Conditions, process and times, each with its rule's id; for a case with the dates of its order."""
        days, spans = shop.return_window.days, ", ".join(f"{way} {days}" for way, days in shop.refund_days.items())
        yes, no = ("是", "否") if locale.startswith("zh") else ("yes", "no")
        window = say("rule.returns_window", days=days) if case is None else _window_of(case, shop, say)
        approved = "returns.auto" if shop.auto_approve else "returns.person"
        hours = round(self.close_after.total_seconds() / 3600)
        texts: tuple[tuple[str, str, str, tuple[tuple[str, str], ...], bool], ...] = (
            ("returns.request", say("rule.returns_request"), "", (("", WINDOW),), False),
            (WINDOW, window, "return_window", ((yes, approved), (no, "returns.person")), True),
            ("returns.auto", say("rule.returns_auto"), "auto_approve", (("", "returns.back"),), False),
            ("returns.person", say("rule.returns_person"), "auto_approve", (("", "returns.back"),), False),
            ("returns.back", say("rule.returns_back"), "return_address", (("", AGREEMENT),), False),
            (AGREEMENT, say("rule.returns_agreement"), "", ((yes, LIMIT), (no, "returns.approval")), False),
            (
                LIMIT,
                say("rule.returns_limit", limits=shop.refund_limit),
                "refund_limit",
                ((yes, "returns.pay"), (no, "returns.approval")),
                False,
            ),
            ("returns.approval", say("rule.returns_approval"), "", (("", "returns.pay"),), False),
            ("returns.pay", say("rule.returns_pay", spans=spans), "refund_days", (("", "returns.close"),), True),
            ("returns.close", say("rule.returns_close", hours=hours), "", (), True),
        )
        for id_, text, setting, then, deadline in texts:
            if id_ != "returns.auto" or shop.auto_approve:
                yield RuleText(id_, text, "set" if setting in shop.model_fields_set else "default", then, deadline)

    def _close(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        told = view.ledger.get(f"progress:refunded:{case.round}")
        waited = isinstance(event, DeadlineReached) and event.name == CLOSE
        if told is None and not waited:
            if not any(one.name == CLOSE for one in case.deadlines):
                yield Timer(CLOSE, view.now + self.close_after)
        elif told not in UNSENT and not at_carrier(case):
            yield Closed(key=f"closed:refunded:{case.id}:{case.round}", at=view.now, result="refunded")


def _window_of(case: Case, shop: Shop, say: Say) -> str:
    """The window of the case's order: when it began, when it ends, and whether the customer asked inside it."""
    began, window = delivered_at(case), shop.return_window
    until = began + window if began else None
    inside = until is not None and case.opened_at <= until
    dates = {name: at.astimezone(shop.zone) if at else None for name, at in (("from", began), ("until", until))}
    return say("rule.returns_window_case", days=window.days, inside=inside, **dates)


def _reopened_since(case: Case) -> bool:
    """Whether the buyer came back after the money: then a person closes the case."""
    return bool(case.reopenings) and all(one.at <= case.reopenings[-1] for one in case.refunds)


_DISAGREED = "the remedy is neither agreed by both sides nor granted by a rule"


def _answer(case: Case, view: View) -> Iterable[Proposal]:
    assert case.request is not None  # noqa: S101 (narrows the type)
    request, remedy = case.request, REMEDIES.get(case.kind)
    if remedy and (case.offered is None or case.offered.interim) and not _outside(case, view):
        key = f"offer:{WINDOW}:{case.id}:{case.round}"
        yield RemedyOffered(key=key, at=view.now, remedy=remedy, amount=request.amount, automatic=WINDOW)
    elif request.id and not (request.ended and request.ended.status is RequestStatus.DECLINED):
        # The review must see the offer on the case, so the approval follows with the next look at it.
        yield ApproveReturn(request=request.id)


def _due(case: Case) -> bool:
    """Whether the case's money is due: the goods are back, or there are none to wait for."""
    if case.kind is CaseKind.RETURN:
        return case.status is Status.RECEIVED
    return case.kind is CaseKind.REFUND and case.status is Status.APPROVED


def _pay(case: Case, view: View) -> Iterable[Proposal]:
    assert case.request is not None  # noqa: S101 (narrows the type)
    request, order = case.request, case.order
    amount = amount_of(case)
    if amount is None:
        yield from _ask(case, view)
    elif request.id or order:
        lines = tuple((one.id, one.quantity) for one in request.lines)
        yield PayRefund(order=order.id if order else None, request=request.id, amount=amount, lines=lines)


def _ask(case: Case, view: View) -> Iterable[Proposal]:
    """Tell colleagues that nobody knows the amount: on the ticket, or on the staff channels."""
    origin = f"refund-amount:{case.round}"
    if view.shop.helpdesk:
        needs = None if case.ticket.id or case.ref(RefKind.TICKET) else "ticket:open"
        yield CommentTicket(origin=origin, text=note(case, view, "ticket.no_amount").text, needs=needs)
        yield UpdateTicket(origin=origin, status="open", add_tags=("refund-amount-unknown",), needs=needs)
        return
    words = note(case, view, "ticket.no_amount")
    for channel in view.shop.staff:
        yield SendMessage(
            purpose=f"staff:{origin}:{channel}",
            account=channel,
            form=Form.CHAT,
            to=view.shop.staff_to,
            audience="staff",
            text=words.text,
            template=words.template,
        )


def amount_of(case: Case) -> Money | None:
    """What to refund: the request's amount, else its lines at the order's prices; None unless all of it is known."""
    request, goods = case.request, case.order.lines if case.order else ()
    if request is None or request.amount or not request.lines:
        return request.amount if request else None
    found: Money | None = None
    for line in request.lines:
        price = _price(line, goods)
        if price is None or (found and found.currency != price.currency):
            return None
        part = Money(amount=price.amount * line.quantity, currency=price.currency)
        found = found + part if found else part
    return found


def _price(line: Line, goods: tuple[OrderLine, ...]) -> Money | None:
    exact = [one for one in goods if line.order_line and one.id == line.order_line]
    alike = exact or [one for one in goods if line.sku and one.sku == line.sku]
    prices = {one.price for one in alike}
    return prices.pop() if len(prices) == 1 else None


def delivered_at(case: Case) -> datetime | None:
    """When the window began: delivery as the order or a parcel shows it, else the purchase."""
    if case.order and case.order.delivered_at:
        return case.order.delivered_at
    out = [one for one in case.parcels if one.direction is Direction.OUT and one.status is ParcelStatus.DELIVERED]
    seen = [at for one in out if (at := one.delivered_at or (one.last.at if one.last else None))]
    return max(seen) if seen else (case.order.placed_at if case.order else None)


def _outside(case: Case, view: View) -> str | None:
    """Why the request is not inside the return window; None if it is."""
    began, window = delivered_at(case), view.shop.return_window
    asked = case.opened_at if case.round == 1 else view.now
    if began is None:
        return "neither delivery nor purchase date is known, so the return window cannot be checked"
    if asked - began > window:
        return f"asked for {(asked - began).days} days after delivery; the window is {window.days} days"
    return None


def agreed(case: Case) -> bool:
    """Whether the remedy may be carried out: accepted by both sides, or granted by a rule; not by an interim one."""
    accepted = case.agreed is not None and case.agreed.accepted_at is not None
    offered = case.offered
    return accepted or (offered is not None and offered.automatic is not None and not offered.interim)


def _of_refund(action: PayRefund, case: Case, view: View) -> Verdict | None:
    found = [] if agreed(case) else [(AGREEMENT, _DISAGREED)]
    if _belated(case):
        found.append((BELATED, "the case was closed before the goods came back"))
    amount, limit = action.amount, limits(view.shop.refund_limit).get(action.amount.currency)
    if limit is None:
        found.append((LIMIT, f"{amount} needs an approval: no limit is set for {amount.currency}"))
    elif amount > limit:
        found.append((LIMIT, f"{amount} is above {limit}"))
    if (left := _left(case)) and left.currency == amount.currency and amount > left:
        found.append((LIMIT, f"{amount} is more than the {left} left of the order"))
    # One approval answers for all that is told with it, so the reasons go together.
    return hold(found[-1][0], "; ".join(reason for _, reason in found)) if found else None


def _belated(case: Case) -> bool:
    """Whether somebody had closed the case before the goods came: they may know why nothing is to be paid."""
    came = came_back(case)
    closed = [one for one in case.closings if case.reopenings and one <= case.reopenings[-1]]
    return came is not None and bool(closed) and came > closed[-1]


def _left(case: Case) -> Money | None:
    order = case.order
    if order is None or order.total is None:
        return None
    same = order.refunded is not None and order.refunded.currency == order.total.currency
    return order.total - order.refunded if order.refunded and same else order.total


@lru_cache(maxsize=32)
def limits(text: str) -> dict[str, Money]:
    """The limit for each currency in a list such as ``"500 CNY, 70 USD"``."""
    amounts = [Money.of(one) for one in text.split(",") if one.strip()]
    return {one.currency: one for one in amounts}


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [Returns]
