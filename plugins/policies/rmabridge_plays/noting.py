"""What agents are told about the play: the solution that fits, whose rights a customer has, what is still missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from rmabridge.abilities import Proposal, View
from rmabridge.core.colleagues import tell_colleagues
from rmabridge.core.plays import Flow, lacking, said, unpromised
from rmabridge.model import (
    Author,
    Case,
    CaseRequested,
    Event,
    MessageReceived,
    Rank,
    RefKind,
    UpdateTicket,
)

from .reading import Solution


def words(event: Event) -> str:
    """What the buyer says in this event."""
    if isinstance(event, MessageReceived) and event.message.author is Author.BUYER:
        return event.message.text
    if isinstance(event, CaseRequested):
        return " ".join(filter(None, (event.reason, event.note)))
    return ""


def solve(case: Case, event: Event, view: View, solutions: Iterable[Solution], flow: Flow | None) -> Iterator[Proposal]:
    """Each solution that fits, once a round, as an internal note."""
    text, issues = words(event), {case.issue, *case.also}
    for one in solutions:
        if one.fits(issues, text):
            sub = flow.sub(case) if flow else None
            origin, template = f"solution:{one.id}:{case.round}", f"solution.{one.id}"
            yield from tell_colleagues(
                case,
                view,
                origin,
                template,
                evidence=list(sub.evidence) if sub else [],
                remedies=list(sub.remedies) if sub else [],
            )


def entitle(case: Case, view: View) -> Iterator[Proposal]:
    """What the customer's tier grants."""
    if case.play and (rights := case.play.rights) and rights.offers:
        origin = f"rights:{rights.tier}:{case.round}"
        yield from tell_colleagues(case, view, origin, "play.rights", tier=rights.tier, offers=list(rights.offers))


def promise(case: Case, event: Event, view: View, phrases: Mapping[str, tuple[str, ...]]) -> Iterator[Proposal]:
    """A person's reply that leaves a promise out does not settle the case."""
    spoke = said(event, view) if isinstance(event, MessageReceived) else None
    if spoke is None or not spoke[2] or "promised" not in lacking(case) or not isinstance(event, MessageReceived):
        return
    if missing := unpromised(spoke[0], phrases):
        yield from tell_colleagues(case, view, f"promise:{event.message.id}", "play.promise", missing=missing)


def hold_open(case: Case, view: View) -> Iterator[Proposal]:
    """A closing that waits: what is missing, on the ticket, which is open again."""
    if not (case.play and case.play.closing and (missing := lacking(case))):
        return
    origin = f"unclosed:{case.round}:{_second(case.play.closing.at)}"
    yield from tell_colleagues(case, view, origin, "play.unclosed", missing=list(missing))
    if view.shop.helpdesk:
        yield UpdateTicket(origin=origin, status="open", needs=needs(case))


def rank(case: Case, view: View, place: Rank, turn: int) -> Iterator[Proposal]:
    """The ticket follows the case's new place; a priority that the routing rules set stays."""
    if view.shop.helpdesk:
        priority, tags = case.route.priority or place.priority, (f"queue-{place.queue}",) if place.queue else ()
        yield UpdateTicket(
            origin=f"rank:{turn}", priority=priority, group=place.queue, add_tags=tags, needs=needs(case)
        )


def needs(case: Case) -> str | None:
    """What an action on the ticket waits for."""
    return None if case.ticket.id or case.ref(RefKind.TICKET) else "ticket:open"


def _second(at: datetime) -> int:
    return int(at.timestamp())
