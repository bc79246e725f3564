"""What the outside tells of a case, folded into it: requests, messages, orders, parcels, refunds, tickets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel

from ..model import (
    Author,
    Buyer,
    CaseRequested,
    Direction,
    Event,
    Form,
    Message,
    MessageReceived,
    OrderSeen,
    Parcel,
    ParcelException,
    ParcelSeen,
    ParcelStatus,
    Ref,
    RefKind,
    Refund,
    RefundSeen,
    Request,
    RequestChanged,
    RequestStatus,
    Scan,
    TicketSeen,
)
from ..model.case import RequestStep, Said, Writer
from .folding import Fold
from .handled import keep_open
from .parcels import as_known, as_told

MOST_SCANS = 60
SHOWN_TEXT = 500
MOST_LINES = 10
SHOWN_LINE = 300
MOST_TIMES = 60
CLAIMED = ":said"
MOST_STEPS = 20
ORDER = tuple(RequestStatus)  # of what a vendor tells of one second, the request comes first
M = TypeVar("M", bound=BaseModel)


def _requested(fold: Fold, event: CaseRequested) -> None:
    _opened(fold, event.at)
    old = fold.case.request or Request()
    if fold.newer("request.body"):
        old = old.model_copy(update={"reason": event.reason, "note": event.note})
    if (name := _request_id(event)) and fold.newer("request.id"):
        old = old.model_copy(update={"id": name})
    if event.lines and fold.newer("request.lines"):
        old = old.model_copy(update={"lines": event.lines})
    if event.amount and fold.newer("request.amount"):
        old = old.model_copy(update={"amount": event.amount})
    if fold.newer("request.status"):
        old = old.model_copy(update={"status": RequestStatus.REQUESTED})
    fold.changes["request"] = _stepped(old, RequestStatus.REQUESTED, event.at)
    for name in ("kind", "issue"):
        value = getattr(event, name)
        if value is not None and not fold.written(f"said.{name}") and fold.newer(name):
            fold.changes[name] = value
    _order_hint(fold, event)
    _buyer(fold, event.buyer)


def _request_id(event: Event) -> str | None:
    kinds = (RefKind.RETURN, RefKind.REFUND, RefKind.CLAIM)
    return next((one.value for one in event.refs if one.kind in kinds), None)


def _opened(fold: Fold, at: datetime) -> None:
    if at < fold.case.opened_at:
        fold.changes["opened_at"] = at


def _order_hint(fold: Fold, event: CaseRequested) -> None:
    if event.order and not fold.written("order") and fold.newer("order.hint"):
        fold.changes["order"] = event.order


def _buyer(fold: Fold, buyer: Buyer | None) -> None:
    if buyer:
        fold.changes["buyer"] = fold.merge(fold.case.buyer or Buyer(), buyer, "buyer")


def _claimed(fold: Fold, said: Buyer | None) -> None:
    """A message fills gaps of what is known of the buyer, the earliest one first: who wrote it may be a stranger."""
    if said is None:
        return
    stamps: dict[str, str] = fold.get("stamps")
    found: dict[str, Any] = {}
    marks: dict[str, str] = {}
    for name in said.model_fields_set:
        value, group = getattr(said, name), f"buyer.{name}"
        first = stamps.get(f"{group}{CLAIMED}")
        if value not in (None, "") and group not in stamps and (first is None or fold.stamp < first):
            found[name], marks[f"{group}{CLAIMED}"] = value, fold.stamp
    if found:
        fold.changes["stamps"] = {**stamps, **marks}
        fold.changes["buyer"] = (fold.case.buyer or Buyer()).model_copy(update=found)


def _request_changed(fold: Fold, event: RequestChanged) -> None:
    old = fold.case.request or Request()
    if (name := _request_id(event)) and fold.newer("request.id"):
        old = old.model_copy(update={"id": name})
    if fold.newer("request.status"):
        old = old.model_copy(update={"status": event.status})
    if event.lines and fold.newer("request.lines"):
        old = old.model_copy(update={"lines": event.lines})
    if event.amount and fold.newer("request.amount"):
        old = old.model_copy(update={"amount": event.amount})
    if event.due_at and fold.newer("request.due_at"):
        old = old.model_copy(update={"due_at": event.due_at})
    fold.changes["request"] = _stepped(old, event.status, event.at)


def _stepped(old: Request, status: RequestStatus, at: datetime) -> Request:
    steps = {*old.course, RequestStep(at=at, status=status)}
    return old.model_copy(
        update={"course": tuple(sorted(steps, key=lambda one: (one.at, ORDER.index(one.status))))[-MOST_STEPS:]}
    )


def _message(fold: Fold, event: MessageReceived) -> None:
    message, talk = event.message, fold.case.talk
    new: dict[str, Any] = {"count": talk.count + 1}
    if message.author is Author.BUYER:
        _opened(fold, event.at)
        new["first_in"] = min(filter(None, (talk.first_in, message.at)))
        new["last_in"] = max(filter(None, (talk.last_in, message.at)))
        if fold.newer("talk.last"):
            new["last_text"] = message.text[:SHOWN_TEXT]
            new["form"] = message.form.value
        if message.form is Form.CHAT:
            new["lines"] = _lines(talk.lines, message)
        fold.changes["writers"] = _writers(fold, event)
        keep_open(fold)
    elif message.author is Author.CARRIER:
        new["carrier"] = max(filter(None, (talk.carrier, message.at)))
    elif message.author is Author.AGENT:
        if message.public:
            new["answered"] = max(filter(None, (talk.answered, message.at)))
        if message.who and fold.newer("talk.agent"):
            new["agent"] = message.who
    fold.changes["talk"] = talk.model_copy(update=new)
    _claimed(fold, event.buyer)


def _lines(known: tuple[Said, ...], message: Message) -> tuple[Said, ...]:
    """The newest chat lines in the order of their times, each once; of older ones only the times, which say when the
    buyer began.
    """
    lines = {one.id: one for one in known}
    lines[message.id] = Said(id=message.id, at=message.at, text=message.text[:SHOWN_LINE])
    ordered = sorted(lines.values(), key=lambda one: (one.at, one.id))[-MOST_TIMES:]
    older = (one.model_copy(update={"text": ""}) if one.text else one for one in ordered[:-MOST_LINES])
    return (*older, *ordered[-MOST_LINES:])


def _writers(fold: Fold, event: MessageReceived) -> tuple[Writer, ...]:
    """Who wrote, each once with the time of the last words and all orders named."""
    said = event.buyer or Buyer()
    thread = said.thread or next((one.value for one in event.refs if one.kind is RefKind.THREAD), None)
    ours = {"id": said.id, "email": said.email, "phone": said.phone, "thread": thread, "chat": said.chat}
    new = Writer(account=fold.account, at=event.message.at, orders=_named(event.refs), **ours)
    same = [one for one in fold.case.writers if _who(one) == _who(new)]
    others = [one for one in fold.case.writers if _who(one) != _who(new)]
    orders = sorted({*new.orders, *(order for one in same for order in one.orders)})
    last = max(one.at for one in (*same, new))
    merged = new.model_copy(update={"orders": tuple(orders)[:MOST_LINES], "at": last})
    return tuple(sorted((*others, merged), key=lambda one: (one.at, str(_who(one)))))[-MOST_LINES:]


def _named(refs: tuple[Ref, ...]) -> tuple[str, ...]:
    return tuple(one.value for one in refs if one.kind is RefKind.ORDER)


def _who(one: Writer) -> tuple[str | None, ...]:
    return (one.account, one.id, one.email, one.phone, one.thread, one.chat)


def _order(fold: Fold, event: OrderSeen) -> None:
    if fold.newer("order"):
        fold.changes["order"] = event.order
    _buyer(fold, event.buyer)
    for parcel in event.parcels:
        _put_parcel(fold, parcel)


def _parcel(fold: Fold, event: ParcelSeen) -> None:
    _put_parcel(fold, event.parcel)


def _put_parcel(fold: Fold, seen: Parcel) -> None:
    parcels = {one.waybill: one for one in fold.get("parcels")}
    old = as_told(parcels.get(seen.waybill) or Parcel(waybill=seen.waybill))
    leave = {"waybill", "direction", "scans", "told", "checked_at"} | (
        {"status"} if seen.status is ParcelStatus.PENDING else set()
    )
    new = fold.merge(old, seen, f"parcel.{seen.waybill}", leave=frozenset(leave))
    update: dict[str, Any] = {}
    group = f"parcel.{seen.waybill}"
    if seen.scans and seen.exception is None and seen.status is not ParcelStatus.PENDING:
        fold.newer(f"{group}.found")
    stamps = fold.get("stamps")
    if new.exception is ParcelException.LOST and stamps.get(f"{group}.found", "") >= stamps.get(
        f"{group}.exception", ""
    ):
        update["exception"] = None  # what was damaged stays so, but what was missing and is seen again is not lost
    if seen.scans:
        scans = {_scan_order(one): one for one in (*seen.scans, *old.scans)}
        ordered = [scans[key] for key in sorted(scans)]
        update["scans"] = tuple(ordered[-MOST_SCANS:])
    if seen.direction is Direction.BACK:
        update["direction"] = Direction.BACK
    parcels[seen.waybill] = as_known(new.model_copy(update=update) if update else new)
    fold.changes["parcels"] = tuple(sorted(parcels.values(), key=lambda one: one.waybill))


def _scan_order(scan: Scan) -> tuple[datetime, str, str, str, str, str]:
    return (scan.at, scan.code or "", scan.text, scan.status, scan.place or "", scan.exception or "")


def _refund(fold: Fold, event: RefundSeen) -> None:
    refunds = {one.id: one for one in fold.case.refunds}
    old = refunds.get(event.refund) or Refund(id=event.refund, status=event.status, at=event.at)
    for name in ("status", "amount", "method"):
        if (value := getattr(event, name)) is not None and fold.newer(f"refund.{event.refund}.{name}"):
            old = old.model_copy(update={name: value})
    refunds[event.refund] = old.model_copy(update={"at": min(old.at, event.at)})
    fold.changes["refunds"] = tuple(sorted(refunds.values(), key=lambda one: one.id))


def _ticket(fold: Fold, event: TicketSeen) -> None:
    ticket = fold.case.ticket
    for name in ("status", "priority", "assignee"):
        if (value := getattr(event, name)) is not None and fold.newer(f"ticket.{name}"):
            ticket = ticket.model_copy(update={name: value})
    now = next((one for one in event.refs if one.kind is RefKind.TICKET), None)
    if event.continues and now and fold.newer("ticket.id"):
        ticket = ticket.model_copy(update={"id": now.value, "account": now.account or fold.account, "url": now.url})
    fold.changes["ticket"] = ticket


STEPS: dict[type[Any], Callable[[Fold, Any], None]] = {
    CaseRequested: _requested,
    RequestChanged: _request_changed,
    MessageReceived: _message,
    OrderSeen: _order,
    ParcelSeen: _parcel,
    RefundSeen: _refund,
    TicketSeen: _ticket,
}
