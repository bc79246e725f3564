"""Second way: what did not arrive on one way goes once more, on the next way that reaches the buyer.

A channel's receipt or a bounced mail says that a message was lost; until a later message on that way arrives, the way
falls out (``core.reach``). What cannot go another way is told on the ticket.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, View
from rmabridge.core.reach import lost, note, send, ways
from rmabridge.model import Case, CommentTicket, Delivered, Event, Form, RefKind, SendMessage, Settled
from rmabridge.model.case import Sent

AGAIN: Final = "again:"
OPEN: Final = "ticket:open"


class SecondWay(Policy):
    """Sends a lost message once more, elsewhere."""

    title: ClassVar[str] = "Second way"
    hears: ClassVar[frozenset[type[Any]]] = frozenset({Delivered, Settled})
    settles: ClassVar[frozenset[str]] = frozenset({SendMessage.kind})

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """The same words on the next way, one time for each message."""
        for sent, _ in lost(case).values():
            said = view.action(sent.action)
            if not isinstance(said, SendMessage) or said.purpose.startswith(AGAIN):
                continue
            if not view.proposed(AGAIN + said.purpose) and not _outdated(said, sent, case, view):
                yield from self._once_more(case, said, view)

    def _once_more(self, case: Case, said: SendMessage, view: View) -> Iterable[Proposal]:
        found = ways(case, view.shop, said.text, said.template)
        if reached := next(iter(found.ways), None):
            subject = (said.subject or f"[{case.id}]") if reached.way.form is Form.MAIL else None
            again = send(case, AGAIN + said.purpose, reached, said.text, subject=subject)
            kept = ("locale", "template", "values", "attachments", "not_after")
            yield again.model_copy(update={name: getattr(said, name) for name in kept})
        elif view.shop.helpdesk:
            reasons = [f"{way}: {reason}" for way, reason in found.fallen]
            text = note(case, view, "ticket.unsent", unreached=reasons).text
            yield CommentTicket(origin=f"lost:{said.purpose}", text=text, needs=_needs(case))


def _outdated(said: SendMessage, sent: Sent, case: Case, view: View) -> bool:
    """Whether a later message said what is so now: some mails bounce after days."""
    later = (view.action(one.action) for one in case.talk.sent if one.at > sent.at)
    words = (one for one in later if isinstance(one, SendMessage))
    return said.replaces is not None and any(one.replaces == said.replaces for one in words)


def _needs(case: Case) -> str | None:
    """What the note waits for: the ticket, where the case neither has one nor began with one."""
    return None if case.ticket.id or case.ref(RefKind.TICKET) else OPEN


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [SecondWay]
