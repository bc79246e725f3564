"""``reduce(case, event) -> case``: pure, and the same for any order of the events.

Groups of fields carry the stamp of the event that last wrote them; an event with an older stamp never undoes them.
Lists (parcels, scans, refunds, references) are unions.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from typing import Any, TypeVar

from pydantic import BaseModel

from ..model import (
    Author,
    Buyer,
    Case,
    CaseRequested,
    ClaimSeen,
    Classified,
    Closed,
    Closing,
    CoverageSeen,
    DeadlineReached,
    Delivered,
    Direction,
    Event,
    Evidence,
    EvidenceAdded,
    FactMissing,
    Form,
    Given,
    IdentityChecked,
    IncidentOpened,
    Message,
    MessageReceived,
    OrderSeen,
    Parcel,
    ParcelSeen,
    ParcelStatus,
    Play,
    PlayMoved,
    Ref,
    RefKind,
    Refund,
    RefundSeen,
    Remedy,
    RemedyAccepted,
    RemedyDeclined,
    RemedyOffered,
    Reopened,
    Request,
    RequestChanged,
    RequestStatus,
    Route,
    Routed,
    Scan,
    Settled,
    TicketSeen,
)
from ..model.case import Arrival, Enquiry, Said, Sent, Writer
from .claims import fold as fold_claim
from .identity import names
from .lifecycle import status
from .silence import as_told, presumed

MOST_SCANS = 60
MOST_REFS = 60
SHOWN_TEXT = 500
MOST_LINES = 10
SHOWN_LINE = 300
MOST_REASONS = 12
MOST_EVIDENCE = 60
MOST_GIVEN = 60
CLAIMED = ":said"
GIVING = frozenset({"refund.pay", "credit.give", "goods.reship"})
M = TypeVar("M", bound=BaseModel)


def reduce(case: Case, event: Event, account: str) -> Case:
    """The case after the event; ``account`` is where the event came from."""
    fold = Fold(case, event, account)
    if step := STEPS.get(type(event)):
        step(fold, event)
    fold.add_refs(names(event, account))
    changed = case.model_copy(update=fold.changes) if fold.changes else case
    now = status(changed)
    return changed if now is changed.status else changed.model_copy(update={"status": now})


def stamp(event: Event) -> str:
    """Sorts by vendor time, then by event key: fixed width, so that texts compare."""
    micros = int(event.at.timestamp() * 1_000_000)
    return f"{micros:014x}{blake2b(event.key.encode(), digest_size=4).hexdigest()}"


class Fold:
    """The changes of one event to one case."""

    __slots__ = ("account", "case", "changes", "event", "stamp")

    def __init__(self, case: Case, event: Event, account: str) -> None:
        self.case = case
        self.event = event
        self.account = account
        self.stamp = stamp(event)
        self.changes: dict[str, Any] = {}
        if event.at > case.updated_at:
            self.changes["updated_at"] = event.at

    def get(self, field: str) -> Any:
        """The field as this event has left it so far."""
        return self.changes[field] if field in self.changes else getattr(self.case, field)

    def newer(self, group: str) -> bool:
        """Whether this event is the newest that writes the group; if so its stamp is set."""
        stamps: dict[str, str] = self.get("stamps")
        if stamps.get(group, "") > self.stamp:
            return False
        self.changes["stamps"] = {**stamps, group: self.stamp}
        return True

    def written(self, group: str) -> bool:
        """Whether any event wrote the group."""
        return group in self.get("stamps")

    def set(self, field: str, value: Any) -> None:
        """Write one field, if this event is the newest that does."""
        if value is not None and self.newer(field):
            self.changes[field] = value

    def merge(self, old: M, new: BaseModel, prefix: str, *, leave: frozenset[str] = frozenset()) -> M:
        """``old`` with each field of ``new`` that has a value and is newer than what wrote it before."""
        stamps: dict[str, str] = self.get("stamps")
        found: dict[str, Any] = {}
        marks: dict[str, str] = {}
        for name in new.model_fields_set:
            value = getattr(new, name)
            group = f"{prefix}.{name}"
            if name not in leave and value not in (None, (), "") and stamps.get(group, "") <= self.stamp:
                found[name] = value
                marks[group] = self.stamp
        if not found:
            return old
        self.changes["stamps"] = {**stamps, **marks}
        return old.model_copy(update=found)

    def add_refs(self, refs: Any) -> None:
        """Union of references, in a fixed order."""
        known = {(one.kind, one.value, one.account): one for one in self.get("refs")}
        size = len(known)
        for ref in refs:
            if ref.kind is not RefKind.CASE:
                known.setdefault((ref.kind, ref.value, ref.account), ref)
        if len(known) != size:
            self.changes["refs"] = tuple(sorted(known.values(), key=_ref_order))[:MOST_REFS]


def _ref_order(ref: Ref) -> tuple[str, str, str]:
    return (ref.kind, ref.value, ref.account or "")


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
    fold.changes["request"] = old
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
    fold.changes["request"] = old


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
        _keep_open(fold)
    elif message.author is Author.CARRIER:
        new["carrier"] = max(filter(None, (talk.carrier, message.at)))
    elif message.author is Author.AGENT and message.who and fold.newer("talk.agent"):
        new["agent"] = message.who
    fold.changes["talk"] = talk.model_copy(update=new)
    _claimed(fold, event.buyer)


def _lines(known: tuple[Said, ...], message: Message) -> tuple[Said, ...]:
    """The newest chat lines in the order of their times, each once."""
    lines = {one.id: one for one in known}
    lines[message.id] = Said(id=message.id, at=message.at, text=message.text[:SHOWN_LINE])
    return tuple(sorted(lines.values(), key=lambda one: (one.at, one.id))[-MOST_LINES:])


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
    leave = {"waybill", "direction", "scans", "told"} | ({"status"} if seen.status is ParcelStatus.PENDING else set())
    new = fold.merge(old, seen, f"parcel.{seen.waybill}", leave=frozenset(leave))
    update: dict[str, Any] = {}
    if seen.scans:
        scans = {_scan_order(one): one for one in (*seen.scans, *old.scans)}
        ordered = [scans[key] for key in sorted(scans)]
        update["scans"] = tuple(ordered[-MOST_SCANS:])
    if seen.direction is Direction.BACK:
        update["direction"] = Direction.BACK
    parcels[seen.waybill] = presumed(new.model_copy(update=update) if update else new)
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
    fold.changes["ticket"] = ticket


def _classified(fold: Fold, event: Classified) -> None:
    for name in ("kind", "issue", "also", "cause", "level", "liable", "sub", "anger", "language", "agent"):
        if (value := getattr(event, name)) is not None and fold.newer(f"said.{name}"):
            fold.changes[name] = value
    if event.why and fold.newer("said.why"):
        fold.changes["why"] = event.why[:MOST_REASONS]


def _offered(fold: Fold, event: RemedyOffered) -> None:
    if fold.newer("offered"):
        fold.changes["offered"] = Remedy(
            kind=event.remedy,
            amount=event.amount,
            automatic=event.automatic,
            choices=event.choices,
            interim=event.interim,
        )


def _accepted(fold: Fold, event: RemedyAccepted) -> None:
    if fold.newer("agreed"):
        fold.changes["agreed"] = Remedy(
            kind=event.remedy, amount=event.amount, accepted_at=event.at, accepted_by=event.by
        )


def _declined(fold: Fold, event: RemedyDeclined) -> None:
    if fold.case.offered and fold.newer("declined"):
        fold.changes["offered"] = fold.case.offered.model_copy(update={"declined_at": event.at})


def _claim(fold: Fold, event: ClaimSeen) -> None:
    claims, stamps = fold_claim(fold.case.claims, fold.get("stamps"), event, fold.stamp, fold.account)
    fold.changes |= {"claims": claims, "stamps": stamps}


def _evidence(fold: Fold, event: EvidenceAdded) -> None:
    known = {one.id: one for one in fold.case.evidence}
    known[event.evidence] = Evidence(
        id=event.evidence,
        kind=event.kind,
        name=event.name,
        media_type=event.media_type,
        size=event.size,
        sha256=event.sha256,
        url=event.url,
        source=event.source,
        at=event.at,
    )
    ordered = sorted(known.values(), key=lambda one: (one.at or event.at, one.id))
    fold.changes["evidence"] = tuple(ordered[-MOST_EVIDENCE:])


def _identity(fold: Fold, event: IdentityChecked) -> None:
    fold.set("identity", event.identity)


def _coverage(fold: Fold, event: CoverageSeen) -> None:
    if fold.newer(f"coverage.{event.carrier}"):
        fold.changes["coverage"] = {**fold.case.coverage, event.carrier: event.served}


def _routed(fold: Fold, event: Routed) -> None:
    if fold.newer("route"):
        fold.changes["route"] = Route(
            rule=event.rule, group=event.group, priority=event.priority, tags=event.tags, channels=event.channels
        )


def _played(fold: Fold, event: PlayMoved) -> None:
    """The bridge's own events, in the order of their turns; what was held back is closed by the last missing step."""
    old = fold.case.play
    if old and event.turn <= old.turn:
        return
    same = old if old and old.round == event.round else None
    steps = {one.name: one for one in (*event.steps, *(same.steps if same else ()))}
    fold.changes["play"] = play = Play(
        id=event.play,
        state=event.state,
        turn=event.turn,
        round=event.round,
        steps=tuple(sorted(steps.values(), key=lambda one: (one.at, one.name))),
        next=event.next,
        needs=event.needs if event.needs is not None else same.needs if same else (),
        standard=event.standard if event.standard is not None else same.standard if same else (),
        rank=event.rank or (old.rank if old else None),
        rights=event.rights or (old.rights if old else None),
        closing=same.closing if same else None,
    )
    if play.closing and not play.missing:
        _close(fold, event, play.closing.result)
        fold.changes["play"] = play.model_copy(update={"closing": None})


def _keep_open(fold: Fold) -> None:
    """The buyer wrote again: nobody closes over that."""
    if (play := fold.case.play) and play.closing:
        fold.changes["play"] = play.model_copy(update={"closing": None})


def _incident(fold: Fold, event: IncidentOpened) -> None:
    old, new = fold.case.incident, event.incident
    if old is None or (new.opened_at, new.id) < (old.opened_at, old.id):
        fold.changes["incident"] = new


def _closed(fold: Fold, event: Closed) -> None:
    """Closed, or held back while its play misses a step that a closing needs."""
    play = fold.case.play
    if play and play.round == fold.case.round and play.missing:
        closing = Closing(result=event.result, by=event.by, at=event.at)
        fold.changes["play"] = play.model_copy(update={"closing": closing})
    else:
        _close(fold, event, event.result)


def _close(fold: Fold, event: Closed | PlayMoved, result: str) -> None:
    fold.changes["closings"] = tuple(sorted({*fold.case.closings, event.at}))
    if fold.newer("closed"):
        fold.changes["result"] = result
        fold.changes["closed_at"] = event.at


def _reopened(fold: Fold, event: Reopened) -> None:
    fold.changes["reopenings"] = tuple(sorted({*fold.case.reopenings, event.at}))
    fold.changes["round"] = 1 + len(fold.changes["reopenings"])


def _settled(fold: Fold, event: Settled) -> None:
    if event.outcome != "done":
        return
    if event.action_type in GIVING:
        given = {one.action: one for one in fold.case.given}
        given[event.action] = Given(
            action=event.action, type=event.action_type, amount=event.amount, at=event.at, ref=event.ref
        )
        fold.changes["given"] = tuple(sorted(given.values(), key=lambda one: (one.at, one.action)))[-MOST_GIVEN:]
    if event.action_type == "carrier.ask":
        asked = {one.action: one for one in fold.case.enquiries}
        asked[event.action] = Enquiry(action=event.action, ref=event.ref, at=event.at)
        fold.changes["enquiries"] = tuple(sorted(asked.values(), key=lambda one: (one.at, one.action)))[-MOST_LINES:]
    if event.action_type == "ticket.open":
        ticket = fold.case.ticket
        fold.changes["ticket"] = ticket.model_copy(
            update={"id": event.ref, "account": event.account, "url": event.url, "status": ticket.status or "new"}
        )
    elif event.action_type == "message.send" and not event.action.startswith("staff:"):
        talk = fold.case.talk
        first, last = min(filter(None, (talk.first_out, event.at))), max(filter(None, (talk.last_out, event.at)))
        new: dict[str, Any] = {"first_out": first, "last_out": last, "count": talk.count + 1}
        if event.ref:
            one = Sent(action=event.action, account=event.account, ref=event.ref, at=event.at)
            new["sent"] = tuple(sorted({*talk.sent, one}, key=lambda one: (one.at, one.action)))[-MOST_LINES:]
        fold.changes["talk"] = talk.model_copy(update=new)


def _arrived(fold: Fold, event: Delivered) -> None:
    """The newest word on each message."""
    new = Arrival(message=event.message, ok=event.ok, reason=event.reason, at=event.at)
    newest: dict[str, Arrival] = {}
    for one in sorted((*fold.case.talk.arrivals, new), key=lambda one: (one.at, one.message, one.ok, one.reason or "")):
        newest.pop(one.message, None)
        newest[one.message] = one
    fold.changes["talk"] = fold.case.talk.model_copy(update={"arrivals": tuple(newest.values())[-MOST_LINES:]})


def _deadline(fold: Fold, event: DeadlineReached) -> None:
    left = tuple(
        one for one in fold.case.deadlines if not (one.name == event.name and one.generation == event.generation)
    )
    if len(left) != len(fold.case.deadlines):
        fold.changes["deadlines"] = left


def _missing(fold: Fold, event: FactMissing) -> None:
    fold.changes["missing"] = tuple(sorted({*fold.case.missing, event.fact}))


STEPS: dict[type[Any], Callable[[Fold, Any], None]] = {
    CaseRequested: _requested,
    RequestChanged: _request_changed,
    MessageReceived: _message,
    OrderSeen: _order,
    ParcelSeen: _parcel,
    RefundSeen: _refund,
    TicketSeen: _ticket,
    Delivered: _arrived,
    Classified: _classified,
    RemedyOffered: _offered,
    RemedyAccepted: _accepted,
    RemedyDeclined: _declined,
    ClaimSeen: _claim,
    EvidenceAdded: _evidence,
    IdentityChecked: _identity,
    CoverageSeen: _coverage,
    Routed: _routed,
    PlayMoved: _played,
    IncidentOpened: _incident,
    Closed: _closed,
    Reopened: _reopened,
    Settled: _settled,
    DeadlineReached: _deadline,
    FactMissing: _missing,
}
