"""Help-desk sync: one ticket a case, told of all that happens; an agent's public answer goes to the buyer verbatim.

What came from the ticket never goes back to it, and only an agent's public words go out: notes, our own words and
their echoes change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import Fact, Policy, Proposal, View
from rmabridge.core.lifecycle import CLOCKS, DECIDED, asked_again, awaited
from rmabridge.core.reach import Reach, note, send, shown, ways
from rmabridge.model import (
    NEWS,
    Action,
    Author,
    Case,
    CaseRequested,
    Closed,
    CommentTicket,
    Event,
    Form,
    MessageReceived,
    OpenTicket,
    OrderLine,
    ParcelSeen,
    ParcelStatus,
    Ref,
    RefKind,
    RefundSeen,
    Reopened,
    RequestChanged,
    RequestStatus,
    Routed,
    SendMessage,
    Settled,
    Status,
    TicketSeen,
    UpdateTicket,
)

OPEN: Final = "ticket:open"
PRIORITIES: Final = {1: "normal", 2: "high", 3: "urgent"}
SILENT: Final = frozenset({Status.NEW, Status.REQUESTED, Status.CLOSED})
ASKED: Final = frozenset({"kind", "request", "amount", "reason", "note", "lines"})
MILESTONES: Final = frozenset(ParcelStatus) - {
    ParcelStatus.PENDING,
    ParcelStatus.INFO_RECEIVED,
    ParcelStatus.IN_TRANSIT,
    ParcelStatus.ARRIVED_DESTINATION,
    ParcelStatus.FORWARDED,
}

MERGED: Final = "merged"
UNSENT: Final = frozenset({"waiting", "due", "held", "sending", "uncertain"})


class HelpdeskSync(Policy):
    """One ticket for each case, kept in step both ways."""

    title: ClassVar[str] = "Help-desk sync"
    requires: ClassVar[tuple[str, ...]] = ("order",)
    hears: ClassVar[frozenset[type[Any]]] = NEWS | {Routed, Settled, TicketSeen}
    facts: ClassVar[tuple[Fact, ...]] = (Fact("buyer_history"),)

    solved: tuple[str, ...] = Field(
        ("solved", "closed", "resolved"), description="ticket statuses, lower case, that close the case"
    )

    sent: bool = Field(
        False, description="note on the ticket what the bridge itself wrote to the buyer, too: one call more a message"
    )

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """The ticket, what it is told, and what an agent did on it."""
        if case.merged_into:
            return
        yield from _again(case, event, view)
        if view.shop.helpdesk is None:
            return
        if ticket(case) is None and not view.proposed(OPEN):
            if case.open:
                yield _open(case, view)
                if isinstance(event, MessageReceived) and event.message.attachments:
                    yield from _note(case, event, view)
                yield from _reply(case, event, view)
            return
        if case.ticket.id is None and not view.proposed(OPEN):
            # The case began on the help desk: its ticket is there, only what we know of it is missing.
            text = note(case, view, "ticket.opened", Form.MAIL, **_summary(case, view)).text
            yield CommentTicket(origin="opened", text=text)
        if _merged(case, event):
            # Who works on the other ticket knows nothing of the case; the help desk says where it went.
            text = note(case, view, "ticket.opened", Form.MAIL, **_summary(case, view)).text
            yield CommentTicket(origin=f"merged:{ticket(case)}", text=text)
        yield from _status(case)
        if isinstance(event, Settled):
            yield from _sent(case, event, view) if self.sent else ()
            return
        yield from _note(case, event, view)
        yield from _reply(case, event, view)
        yield from self._closes(case, event, view)

    def amend(self, action: Action, case: Case, view: View) -> Action | None:
        """Fill in which ticket, once it is known."""
        if isinstance(action, CommentTicket | UpdateTicket) and action.ticket is None and (known := ticket(case)):
            return action.model_copy(update={"ticket": known, "account": action.account or case.ticket.account})
        return None

    def _closes(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        if isinstance(event, TicketSeen) and case.open and self._solves(case, event, view):
            yield Closed(key=f"closed:{event.key}", at=view.now, result="solved", by="agent")

    def _solves(self, case: Case, event: TicketSeen, view: View) -> bool:
        """Whether an agent has solved it: not where the desk shows the ticket before it heard that the case goes on."""
        late = bool(case.reopenings) and event.at <= case.reopenings[-1]
        late = late or view.ledger.get(f"ticket:update:reopened:{case.round}") in UNSENT
        newest = (case.ticket.status or "").lower() == (event.status or "").lower()
        return (event.status or "").lower() in self.solved and newest and not late and not _elsewhere(case, event)


def _again(case: Case, event: Event, view: View) -> Iterable[Proposal]:
    """A closed case goes on when its buyer writes, or asks on the marketplace after it was closed, and when the goods
    of an approved return come back.
    """
    if case.status is not Status.CLOSED:
        return
    reason, late = None, event.at >= max(case.closings, default=view.now) - CLOCKS
    if _by(event, Author.BUYER):
        reason = "the buyer wrote again"
    elif late and _requests(case, event):
        reason = "the buyer asks again on the marketplace"
    elif late and _brings_back(case, event):
        reason = "the goods are back"
    if reason:
        yield Reopened(key=f"reopened:{event.key}", at=view.now, reason=reason)


def _brings_back(case: Case, event: Event) -> bool:
    """Whether the goods of a return arrive."""
    if not isinstance(event, ParcelSeen):
        return False
    seen = next((one for one in case.parcels if one.waybill == event.parcel.waybill), event.parcel)
    return seen.status is ParcelStatus.DELIVERED and awaited(case, seen)


def _requests(case: Case, event: Event) -> bool:
    """Whether the buyer asks on the marketplace, and nothing has become of it yet."""
    asks = isinstance(event, CaseRequested) or (
        isinstance(event, RequestChanged) and event.status is RequestStatus.REQUESTED
    )
    return asks and case.request is not None and case.request.status is RequestStatus.REQUESTED


def ticket(case: Case) -> str | None:
    """The case's ticket, opened by us or the one it began with."""
    return case.ticket.id or case.ref(RefKind.TICKET)


def _by(event: Event, author: Author) -> bool:
    return isinstance(event, MessageReceived) and event.message.author is author


def _beside(event: Event) -> bool:
    """Whether a carrier wrote, or a colleague words that are not for the buyer."""
    return _by(event, Author.CARRIER) or (
        isinstance(event, MessageReceived) and _by(event, Author.AGENT) and not event.message.public
    )


def _from_ticket(event: Event) -> bool:
    return any(one.kind is RefKind.TICKET for one in event.refs)


def _own(case: Case, ref: Ref) -> bool:
    """Whether the reference is the case's ticket; a case may know further ones, which were merged into it."""
    began = next((one for one in case.refs if one.kind is RefKind.TICKET), None)
    account = case.ticket.account if case.ticket.id else began and began.account
    return ref.value == ticket(case) and (ref.account is None or account is None or ref.account == account)


def _elsewhere(case: Case, event: Event) -> bool:
    """Whether the event is about another ticket than the case's own."""
    named = [one for one in event.refs if one.kind is RefKind.TICKET]
    return bool(named) and not any(_own(case, one) for one in named)


def _merged(case: Case, event: Event) -> bool:
    """Whether an agent has just merged the case's own ticket into another one."""
    merged = isinstance(event, TicketSeen) and event.status == case.ticket.status == MERGED
    return merged and case.open and not _elsewhere(case, event)


def _on_ticket(case: Case, event: Event) -> bool:
    """Whether the words are on the case's own ticket already."""
    return _from_ticket(event) and not _elsewhere(case, event)


def _needs(case: Case) -> str | None:
    return None if ticket(case) else OPEN


def _open(case: Case, view: View) -> OpenTicket:
    words = note(case, view, "ticket.opened", Form.MAIL, **_summary(case, view))
    buyer, route = case.buyer, case.route
    return OpenTicket(
        external=case.id,
        subject=words.subject or f"[{case.id}]",
        text=words.text,
        requester_name=buyer.name if buyer else None,
        requester_email=buyer.email if buyer else None,
        priority=route.priority or PRIORITIES[case.level],
        group=route.group,
        tags=route.tags,
    )


def _summary(case: Case, view: View) -> dict[str, Any]:
    request, order, buyer = case.request, case.order, case.buyer
    goods = order.lines if order else ()
    return {
        "kind": case.kind,
        "level": case.level,
        "status": case.status,
        "reason": request.reason if request else None,
        "note": request.note if request else None,
        "amount": request.amount if request else None,
        "request": request.id if request else None,
        "lines": [_line(one, goods) for one in request.lines] if request else [],
        "goods": goods,
        "total": order.total if order else None,
        "buyer_id": buyer.id if buyer else None,
        "email": buyer.email if buyer else None,
        "phone": buyer.phone if buyer else None,
        "tier": buyer.tier if buyer else None,
        "parcels": [shown(one) for one in case.parcels],
        "previous": list(case.previous or view.facts.get("buyer_history") or ()),
        "messages": case.talk.count,
        "text": case.talk.last_text,
        "unreached": _unreached(case, view),
    }


def _line(line: Any, goods: tuple[OrderLine, ...]) -> dict[str, Any]:
    known = next((one for one in goods if one.id == line.order_line or (line.sku and one.sku == line.sku)), None)
    title = known.title if known else line.sku
    return {"id": line.id, "title": title, "quantity": line.quantity, "reason": line.reason or line.note}


def _unreached(case: Case, view: View) -> list[str]:
    found = ways(case, view.shop)
    return [] if found.ways else _fallen(found)


def _fallen(found: Reach) -> list[str]:
    return [f"{way}: {reason}" for way, reason in found.fallen]


def _status(case: Case) -> Iterable[Proposal]:
    """The ticket's status follows the case's: solved when it is closed, open again in a later round."""
    if case.status is Status.CLOSED:
        yield UpdateTicket(origin=f"closed:{case.round}", status="solved", needs=_needs(case))
    elif case.round > 1:
        yield UpdateTicket(origin=f"reopened:{case.round}", status="open", needs=_needs(case))


def _note(case: Case, event: Event, view: View) -> Iterable[Proposal]:
    """What the event adds to the ticket, as an internal note."""
    told: list[tuple[str, str, dict[str, Any]]] = []
    if isinstance(event, MessageReceived) and _by(event, Author.BUYER) and not _on_ticket(case, event):
        said = event.message
        told.append((said.id, "message", {"text": said.text, "via": said.form, "at": said.at}))
    if isinstance(event, MessageReceived) and _beside(event) and not _from_ticket(event):
        said, author = event.message, event.message.author
        facts = {"text": said.text, "via": said.form, "at": said.at, "author": f"author_{author}", "who": said.who}
        told.append((f"{author}:{said.id}", "said", facts))
    if isinstance(event, ParcelSeen):
        seen = next((one for one in case.parcels if one.waybill == event.parcel.waybill), event.parcel)
        if seen.status in MILESTONES:
            told.append((f"parcel:{seen.waybill}:{seen.status}", "parcel", {"parcels": [shown(seen)]}))
    if isinstance(event, RefundSeen):
        paid = next(one for one in case.refunds if one.id == event.refund)
        facts = {"refund": paid.id, "status": paid.status, "amount": paid.amount, "method": paid.method}
        told.append((f"refund:{paid.id}:{paid.status}", "refund", facts))
    if isinstance(event, RequestChanged | ParcelSeen | RefundSeen) and case.status not in SILENT:
        reason = event.reason if isinstance(event, RequestChanged) else None
        origin = f"status:{case.status}:{case.round}" + (_nth(case) if case.status in DECIDED else "")
        told.append((origin, "step", {"status": case.status, "reason": reason}))
    if case.request and _asks(case, event):
        facts = {name: one for name, one in _summary(case, view).items() if name in ASKED}
        told.append((f"asked:{case.request.id or event.key}{_nth(case)}", "asked", facts))
    for origin, template, values in told:
        text = note(case, view, f"ticket.{template}", **values).text
        files = event.message.attachments if isinstance(event, MessageReceived) else ()
        yield CommentTicket(origin=origin, text=text, attachments=files, needs=_needs(case))


def _sent(case: Case, event: Settled, view: View) -> Iterable[Proposal]:
    """What the bridge wrote to the buyer; an agent's own words, and what went by the desk itself, are there already."""
    if event.action_type != SendMessage.kind or event.outcome != "done" or event.account == case.ticket.account:
        return
    said = view.action(event.action)
    if isinstance(said, SendMessage) and said.audience == "buyer" and said.template is not None:
        facts: dict[str, Any] = {"text": said.text, "via": said.form, "at": event.at, "who": None}
        text = note(case, view, "ticket.said", author=f"author_{Author.BRIDGE}", **facts).text
        yield CommentTicket(origin=f"sent:{event.action}", text=text, needs=_needs(case))


def _asks(case: Case, event: Event) -> bool:
    """Whether the buyer asks for something on the marketplace: for the first time, or for what had ended."""
    return _requests(case, event) and (isinstance(event, CaseRequested) or asked_again(case) > 0)


def _nth(case: Case) -> str:
    """What tells what was asked for again from what was asked for before."""
    return f":{again}" if (again := asked_again(case)) else ""


def _reply(case: Case, event: Event, view: View) -> Iterable[Proposal]:
    """An agent's public answer on the ticket, word for word to the buyer."""
    if not (isinstance(event, MessageReceived) and _by(event, Author.AGENT) and _from_ticket(event)):
        return
    said = event.message
    if not said.public:
        return
    found = ways(case, view.shop, said.text)
    for reached in found.ways[:1]:
        subject = (said.subject or f"[{case.id}]") if reached.way.form is Form.MAIL else None
        answer = send(case, f"answer:{said.id}", reached, said.text, subject=subject)
        yield answer.model_copy(update={"attachments": said.attachments})
    if not found.ways:
        text = note(case, view, "ticket.unsent", unreached=_fallen(found)).text
        yield CommentTicket(origin=f"unsent:{said.id}", text=text, needs=_needs(case))


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [HelpdeskSync]
