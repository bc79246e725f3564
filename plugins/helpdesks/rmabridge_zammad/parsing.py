"""Zammad's webhooks as events: a ticket as it is now, and the article that a trigger fired for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rmabridge.errors import Malformed
from rmabridge.model import Attachment, Author, Buyer, Event, Form, Message, MessageReceived, Ref, RefKind, TicketSeen
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.times import maybe_instant

from .terms import MERGED, NOBODY, name_of, number, user_of, words


@dataclass(frozen=True)
class Reader:
    """Reads one Zammad's webhooks; what the bridge's own agent did is an echo."""

    site: str
    bot_ids: frozenset[str]
    carried: frozenset[str]

    def events(self, body: dict[str, Any]) -> Iterator[Event]:
        """The article's words unless they are our own, then the ticket.

        Zammad makes the body when it sends it: what an agent did may come with our own later change on top, so that
        who changed the ticket last says nothing of what is new.
        """
        ticket = body.get("ticket")
        if not isinstance(ticket, dict):
            raise Malformed("no ticket: this webhook has a custom payload")
        id_ = number(ticket.get("id"), "ticket")
        article = body.get("article")
        if isinstance(article, dict) and article and user_of(article, "created_by") not in self.bot_ids:
            yield from self._said(id_, ticket, article)
        yield self._seen(id_, ticket)

    def _seen(self, id_: str, ticket: dict[str, Any]) -> TicketSeen:
        at = maybe_instant(ticket.get("updated_at"))
        if at is None:
            raise Malformed("a ticket without a time")
        owner, status = user_of(ticket, "owner"), name_of(ticket.get("state"))
        return TicketSeen(
            key=f"ticket:{id_}:{at.isoformat()}:{status}"[:500],
            at=at,
            refs=refs(id_),
            status=status,
            priority=name_of(ticket.get("priority")),
            assignee=owner if owner != NOBODY else None,
        )

    def _said(self, id_: str, ticket: dict[str, Any], article: dict[str, Any]) -> Iterator[MessageReceived]:
        said = self._message(id_, ticket, article)
        if not said.text and not said.attachments:
            return
        if name_of(ticket.get("state")) == MERGED and said.author is Author.AGENT and said.text == MERGED:
            return  # Zammad's own public note of the merge, in the agent's name
        # What Zammad sent to the customer itself must not be carried there a second time.
        sent = name_of(article.get("type")) not in self.carried
        heard = said.author is Author.AGENT and said.public and sent
        yield MessageReceived(
            key=f"article:{said.id.removeprefix('zammad:')}",
            at=said.at,
            refs=refs(id_)[1:] if heard else refs(id_),
            message=said,
            buyer=_buyer(ticket.get("customer")) if said.author is Author.BUYER else None,
        )

    def _message(self, id_: str, ticket: dict[str, Any], article: dict[str, Any]) -> Message:
        name, at, author = (
            number(article.get("id"), "article"),
            maybe_instant(article.get("created_at")),
            _author(article),
        )
        if at is None:
            raise Malformed("an article without a time")
        writer = ticket.get("customer") if author is Author.BUYER else article.get("created_by")
        return Message(
            id=f"zammad:{name}",
            author=author,
            form=Form.MAIL,
            text=words(article),
            at=at,
            who=_name(writer),
            subject=text(article.get("subject")),
            public=article.get("internal") is False,
            attachments=tuple(self._files(id_, name, article.get("attachments"))),
        )

    def _files(self, ticket: str, article: str, listed: Any) -> Iterator[Attachment]:
        for one in listed if isinstance(listed, list) else ():
            if (id_ := text(dig(one, "id"))) is None:
                continue
            size = text(dig(one, "size")) or ""
            kinds = (text(dig(one, "preferences", name)) for name in ("Content-Type", "Mime-Type"))
            yield Attachment(
                name=text(dig(one, "filename")) or "file",
                media_type=next((kind for kind in kinds if kind), "application/octet-stream"),
                url=f"{self.site}/api/v1/ticket_attachment/{ticket}/{article}/{id_}",
                size=int(size) if size.isascii() and size.isdigit() and len(size) < 16 else None,
            )


def refs(ticket: str) -> tuple[Ref, Ref]:
    """The ticket, and the talk on it: words that were heard there name the talk only."""
    return Ref(kind=RefKind.TICKET, value=ticket), Ref(kind=RefKind.THREAD, value=ticket)


def _author(article: dict[str, Any]) -> Author:
    """Who wrote: an answer out of office and a bounce are nobody's words, though they come from the customer."""
    if dig(article, "preferences", "is-auto-response") is True:
        return Author.SYSTEM
    return {"customer": Author.BUYER, "agent": Author.AGENT}.get(name_of(article.get("sender")) or "", Author.SYSTEM)


def _name(user: Any) -> str | None:
    parts = [text(dig(user, name)) for name in ("firstname", "lastname")]
    return " ".join(one for one in parts if one) or None


def _buyer(customer: Any) -> Buyer:
    """What Zammad knows of the customer; a list of tickets tells the login alone."""
    return Buyer(name=_name(customer), email=text(dig(customer, "email")), phone=text(dig(customer, "phone")))
