"""Zendesk's webhooks as events: native ticket events, and the bodies of our triggers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rmabridge.errors import Malformed
from rmabridge.model import Author, Buyer, Event, Form, Message, MessageReceived, TicketSeen
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.times import maybe_instant

from .terms import CHANGES, COMMENT, EVENT, digest, keyed, lower, refs_of, status_of, tag_list, ticket_id


@dataclass(frozen=True)
class Reader:
    """Reads one account's webhooks; what the account wrote itself is an echo."""

    bot_ids: frozenset[str]
    bot_email: str | None
    marker: str
    mails_requester: bool

    def events(self, body: dict[str, Any], received: datetime) -> Iterator[Event]:
        """The events of a body; none where it is not one of ours to read."""
        topic = str(body.get("type") or "")
        if topic.startswith(EVENT):
            yield from self._native(topic.removeprefix(EVENT), body)
        elif body.get("event") in ("ticket_updated", COMMENT) and "ticket_id" in body:
            yield from self._triggered(body, received)

    def _native(self, topic: str, body: dict[str, Any]) -> Iterator[Event]:
        if topic != COMMENT and topic not in CHANGES:
            return
        detail = body.get("detail")
        ticket = ticket_id(dig(detail, "id"))
        at = maybe_instant(body.get("time"))
        if at is None:
            raise Malformed("a ticket event without a time")
        if topic == COMMENT:
            yield from self._commented(ticket, detail, dig(body, "event", "comment"), at)
        elif text(dig(detail, "actor_id")) not in self.bot_ids:
            current = dig(body, "event", "current") if topic == "status_changed" else None
            tags = tag_list(dig(detail, "tags"))
            yield TicketSeen(
                key=keyed(body.get("id"), "event"),
                at=at,
                refs=refs_of(ticket, dig(detail, "external_id")),
                status=status_of(current or dig(detail, "status"), tags),
                priority=lower(dig(detail, "priority")),
                tags=tags,
                assignee=text(dig(detail, "assignee_id")),
            )

    def _commented(self, ticket: str, detail: Any, comment: Any, at: datetime) -> Iterator[Event]:
        author, words = text(dig(comment, "author", "id")), text(dig(comment, "body"))
        if words is None or author in self.bot_ids or self._marked(words):
            return
        staff, requester = dig(comment, "author", "is_staff"), text(dig(detail, "requester_id"))
        if staff is None:
            staff = author is None or author != requester
        yield _said(
            keyed(dig(comment, "id"), "comment"),
            ticket,
            dig(detail, "external_id"),
            words,
            at,
            staff=bool(staff),
            who=text(dig(comment, "author", "name")),
            public=dig(comment, "is_public") is True,
            mailed=self.mails_requester and self._customer(requester),
        )

    def _customer(self, requester: str | None) -> bool:
        """Whether the requester is somebody else than us; without our ids that is not known."""
        return requester is not None and bool(self.bot_ids) and requester not in self.bot_ids

    def _triggered(self, body: dict[str, Any], received: datetime) -> Iterator[Event]:
        ticket, user = ticket_id(body["ticket_id"]), lower(body.get("current_user"))
        if user is not None and user == self.bot_email:
            return
        at = maybe_instant(body.get("updated_at")) or received
        tags, priority = tag_list(body.get("tags")), lower(body.get("priority"))
        status = status_of(body.get("status"), tags)
        yield TicketSeen(
            key=digest(ticket, body.get("updated_at"), status, priority, tags),
            at=at,
            refs=refs_of(ticket, body.get("external_id")),
            status=status,
            priority=priority,
            tags=tags,
        )
        words = text(body.get("latest_public_comment"))
        if words is None or user is None or self._marked(words):
            return
        # A trigger on any change repeats the latest comment: only one on comments may tell two equal ones apart.
        once = body.get("updated_at") if body["event"] == COMMENT else None
        known = text(body.get("comment_id"))
        name = keyed(known, "comment") if known else digest("words", ticket, words, once)
        requester = lower(body.get("requester_email"))
        mailed = self.mails_requester and requester is not None and self.bot_email not in (None, requester)
        external, staff = body.get("external_id"), user != requester
        yield _said(name, ticket, external, words, at, staff=staff, who=user, public=True, mailed=mailed)

    def _marked(self, words: str) -> bool:
        return bool(self.marker) and words.rstrip().endswith(self.marker.rstrip())  # quoted, it stands further up


def _said(
    name: str,
    ticket: str,
    external: Any,
    words: str,
    at: datetime,
    *,
    staff: bool,
    who: str | None,
    public: bool,
    mailed: bool,
) -> MessageReceived:
    """What somebody said; ``mailed`` is whether Zendesk mails agents' public words to a customer itself."""
    message = Message(
        id=name.replace("comment:", "zendesk:", 1),
        author=Author.AGENT if staff else Author.BUYER,
        form=Form.MAIL,
        text=words,
        at=at,
        who=who,
        public=public,
    )
    # A customer's words name the ticket only: they may come from a ticket that is no case of ours yet.
    refs = refs_of(ticket, external if staff else None)
    if mailed and staff and public:
        refs = refs[1:]  # the buyer has heard them: without the ticket's name they are kept and not carried
    return MessageReceived(key=name, at=at, refs=refs, message=message, buyer=None if staff else Buyer(name=who))
