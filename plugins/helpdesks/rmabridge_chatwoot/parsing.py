"""Chatwoot's webhooks as events.

A conversation in the bridge's own API inbox is a ticket: agents' public words there are carried to the buyer. A
conversation in any other inbox is the buyer's own chat: it is the case's ticket and its thread, and what is said there
was heard there.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from rmabridge.errors import Malformed
from rmabridge.model import Attachment, Author, Buyer, Event, Form, Message, MessageReceived, Ref, RefKind, TicketSeen
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.times import maybe_instant

from .terms import CHANGES, INCOMING, MESSAGE, OUTGOING, TELLING, digest, number

LOCALE: Final = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


@dataclass(frozen=True)
class Reader:
    """Reads one account's webhooks; what the account wrote itself is an echo."""

    account: str
    own_inbox: str
    inboxes: frozenset[str]
    bot_ids: frozenset[str]
    attribute: str
    trust: str

    def events(self, body: dict[str, Any], received: datetime) -> Iterator[Event]:
        """The events of a body; none where it is not one of ours to read."""
        topic = body.get("event")
        conversation = body.get("conversation") if topic == MESSAGE else body
        if text(dig(body, "account", "id")) not in {None, self.account}:
            return
        inbox = text(dig(conversation, "inbox_id") or dig(body, "inbox", "id"))
        if inbox != self.own_inbox and self.inboxes and inbox not in self.inboxes:
            return
        if topic == MESSAGE:
            yield from self._said(body, conversation, chat=inbox != self.own_inbox)
        elif topic in CHANGES and _telling(body.get("changed_attributes")):
            yield self._changed(body, received, chat=inbox != self.own_inbox)

    def _said(self, body: dict[str, Any], conversation: Any, *, chat: bool) -> Iterator[Event]:
        author, words, files = self._author(body), text(body.get("content")), tuple(_files(body.get("attachments")))
        if author is None or not (words or files):
            return
        at = maybe_instant(body.get("created_at"))
        if at is None:
            raise Malformed("a message without a time")
        name = number(body.get("id"), "message")
        talk, public = number(_id(conversation), "conversation"), body.get("private") is not True
        buyer = author is Author.BUYER
        yield MessageReceived(
            key=f"message:{name}",
            at=at,
            refs=_refs(talk, chat=chat, heard=public and not buyer, buyer=buyer),
            message=Message(
                id=f"chatwoot:{name}",
                author=author,
                form=Form.CHAT,
                text=words or "",
                at=at,
                who=text(dig(body, "sender", "name")),
                public=public,
                attachments=files,
            ),
            buyer=self._buyer(conversation, body.get("sender"), talk if chat else None) if buyer else None,
            source="chat" if chat else None,
        )

    def _author(self, body: dict[str, Any]) -> Author | None:
        """Who speaks; None for our own words, and for what nobody said."""
        kind = str(body.get("message_type"))
        if kind in INCOMING:
            return Author.BUYER
        if kind not in OUTGOING:
            return None
        who, human = text(dig(body, "sender", "id")), dig(body, "sender", "type") in (None, "user")
        if human and who in self.bot_ids:
            return None
        # Campaigns and automation rules have no sender, other bots have another type: no person answered.
        return Author.AGENT if human and who else Author.SYSTEM

    def _buyer(self, conversation: Any, sender: Any, chat: str | None) -> Buyer:
        """What is known of the visitor; what anybody could have typed into the widget names nobody."""
        told = {
            name: text(dig(sender, name) or dig(conversation, "meta", "sender", name))
            for name in ("name", "email", "phone_number", "identifier")
        }
        believed = chat is None or self._believed(conversation)
        # Chatwoot makes up names for visitors of whom it knows nothing else.
        named = any(told[name] for name in ("email", "phone_number", "identifier"))
        return Buyer(
            id=told["identifier"] if believed and not (told["identifier"] or "").startswith("rmabridge:") else None,
            name=told["name"] if named else None,
            email=told["email"] if believed else None,
            phone=told["phone_number"] if believed else None,
            chat=chat,
            locale=_locale(dig(conversation, "additional_attributes", "browser_language")),
        )

    def _believed(self, conversation: Any) -> bool:
        verified = True in (
            dig(conversation, "meta", "hmac_verified"),
            dig(conversation, "contact_inbox", "hmac_verified"),
        )
        return self.trust == "everyone" or (self.trust == "verified" and verified)

    def _changed(self, body: dict[str, Any], received: datetime, *, chat: bool) -> TicketSeen:
        talk, stamp = number(_id(body), "conversation"), body.get("updated_at") or body.get("timestamp")
        status, priority, labels = text(body.get("status")), text(body.get("priority")), body.get("labels")
        tags = tuple(str(one) for one in labels) if isinstance(labels, list) else None
        assignee = text(dig(body, "meta", "assignee", "id"))
        # A visitor may set custom attributes of a chat: only in our own inbox do they name a case.
        case = None if chat else text(dig(body, "custom_attributes", self.attribute))
        return TicketSeen(
            key=digest(talk, stamp, status, priority, tags, assignee),
            at=maybe_instant(stamp) or received,
            refs=(_ref(RefKind.TICKET, talk), *((_ref(RefKind.CASE, case),) if case and case.strip() else ())),
            status=status.lower() if status else None,
            priority=priority.lower() if priority else None,
            tags=tags,
            assignee=assignee,
        )


def _telling(changed: Any) -> bool:
    names = {name for one in changed if isinstance(one, dict) for name in one} if isinstance(changed, list) else set()
    return not names or bool(names & TELLING)


def _id(conversation: Any) -> Any:
    return dig(conversation, "id") or dig(conversation, "display_id")


def _ref(kind: RefKind, value: str) -> Ref:
    return Ref(kind=kind, value=value)


def _refs(talk: str, *, chat: bool, heard: bool, buyer: bool) -> tuple[Ref, ...]:
    """Public words in the buyer's own chat name the thread only: nobody needs to carry them there."""
    if not chat:
        return (_ref(RefKind.TICKET, talk),)
    if heard:
        return (_ref(RefKind.THREAD, talk),)
    return (_ref(RefKind.TICKET, talk), _ref(RefKind.THREAD, talk)) if buyer else (_ref(RefKind.TICKET, talk),)


def _files(listed: Any) -> Iterator[Attachment]:
    for one in listed if isinstance(listed, list) else ():
        if (url := text(dig(one, "data_url"))) is None:
            continue
        try:
            name = unquote(urlsplit(url).path.rpartition("/")[2])
        except ValueError:
            name = ""
        media = mimetypes.guess_type(name)[0] or "application/octet-stream"
        yield Attachment(name=name or str(dig(one, "file_type") or "file"), media_type=media, url=url)


def _locale(given: Any) -> str | None:
    found = text(given)
    return found.replace("_", "-") if found and LOCALE.fullmatch(found) else None
