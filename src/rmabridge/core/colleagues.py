"""Words to colleagues: a note on the case's ticket, or where the shop keeps none, on its staff channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..abilities import View
from ..model import Attachment, Case, CommentTicket, Form, RefKind, SendMessage
from .reach import note


def told(view: View, origin: str) -> bool:
    """Whether colleagues were told of this before."""
    if view.shop.helpdesk:
        return view.proposed(f"ticket:comment:{origin}")
    return any(view.proposed(f"staff:{origin}:{one}") for one in view.shop.staff)


def tell_colleagues(
    case: Case, view: View, origin: str, template: str, *, attachments: tuple[Attachment, ...] = (), **values: Any
) -> Iterator[CommentTicket | SendMessage]:
    """The template's words, once for each ``origin``; nothing where the shop has neither a help desk nor staff."""
    if told(view, origin) or not (view.shop.helpdesk or view.shop.staff):
        return
    words = note(case, view, template, **values)
    if view.shop.helpdesk:
        needs = None if case.ticket.id or case.ref(RefKind.TICKET) else "ticket:open"
        yield CommentTicket(origin=origin, text=words.text, needs=needs, attachments=attachments)
        return
    # A ticket shows whose it is; among the messages of a group the words must say so.
    text = words.text if case.id in words.text else f"[{case.id}] {words.text}"
    for channel in view.shop.staff:
        yield SendMessage(
            purpose=f"staff:{origin}:{channel}",
            account=channel,
            form=Form.CHAT,
            to=view.shop.staff_to,
            audience="staff",
            text=text,
            template=words.template,
        )
