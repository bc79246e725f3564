"""A transaction as the account stores it, and its events."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from rmabridge.model import Attachment, Author, Buyer, Event, Form, Message, MessageReceived, Ref, RefKind, TicketSeen

SYSTEM: Final = "RT_System"


class Posted(BaseModel):
    """One transaction with what belongs to it, as ``poll`` stores it and ``parse`` reads it."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    id: int = Field(gt=0, lt=1 << 63)
    type: str
    at: AwareDatetime
    creator: str
    privileged: bool = False
    status: str | None = None
    ticket: str = Field(min_length=1)
    url: str | None = None
    ref: str | None = None
    subject: str | None = None
    requestors: tuple[str, ...] = ()
    text: str = ""
    html: bool = False
    files: tuple[Attachment, ...] = ()
    automatic: bool = False


def events(posted: Posted) -> Iterator[Event]:
    """A message for a reply or comment, a look at the ticket for a change of its status.

    What RT has mailed to the buyer itself, an agent's reply, does not name the ticket but the talk on it and the case,
    so that it is not told again.
    """
    refs = [Ref(kind=kind, value=posted.ticket, url=posted.url) for kind in (RefKind.TICKET, RefKind.THREAD)]
    if posted.ref:
        refs.append(Ref(kind=RefKind.CASE, value=posted.ref))
    key = f"txn:{posted.id}"
    if posted.type == "Status" and posted.status:
        yield TicketSeen(key=key, at=posted.at, refs=tuple(refs), status=posted.status.lower())
    elif posted.type in {"Correspond", "Comment"}:
        author, mail = _author(posted), posted.creator if "@" in posted.creator else None
        buyer, said = Buyer(email=mail) if author is Author.BUYER else None, _message(posted, author)
        heard = any("@" in one for one in posted.requestors)
        told = heard and author is Author.AGENT and said.public
        yield MessageReceived(key=key, at=posted.at, refs=tuple(refs[1:] if told else refs), message=said, buyer=buyer)


def _author(posted: Posted) -> Author:
    """Who wrote: an answer out of office and a bounce are nobody's words, whoever they come from."""
    if posted.creator == SYSTEM or posted.automatic:
        return Author.SYSTEM
    # Anybody may mail to a ticket; only privileged users are the shop's people, and only they may comment by default.
    if posted.type == "Comment":
        return Author.AGENT
    return Author.AGENT if posted.privileged and posted.creator not in posted.requestors else Author.BUYER


def _message(posted: Posted, author: Author) -> Message:
    return Message(
        id=str(posted.id),
        author=author,
        form=Form.MAIL,
        text=_plain(posted.text) if posted.html else posted.text.strip(),
        at=posted.at,
        who=posted.creator,
        subject=posted.subject,
        public=posted.type == "Correspond",
        attachments=posted.files,
    )


def _plain(rich: str) -> str:
    first, *rest = re.split(r"<(?:style|script)\b", rich, flags=re.IGNORECASE)
    kept = first + "".join(
        re.split(r"</(?:style|script)\s*>", part, maxsplit=1, flags=re.IGNORECASE)[-1] for part in rest
    )
    lines = re.sub(r"<(?:br|/p|/div|/li|/tr|/h\d)\b[^<>]*>", "\n", kept, flags=re.IGNORECASE)
    return html.unescape(re.sub(r"<[^<>]*>", "", lines)).replace("\xa0", " ").strip()
