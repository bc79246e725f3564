"""What Twilio posts: what became of a message of ours, and what buyers write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from rmabridge.model import (
    Attachment,
    Author,
    Buyer,
    Delivered,
    Event,
    Form,
    Message,
    MessageReceived,
    OptedIn,
    OptedOut,
    Ref,
    RefKind,
)

from .addresses import WHATSAPP, number_of

# What ends a message's way, and whether it arrived; the steps before come in any order and mean nothing.
ENDS: Final = {"delivered": True, "read": True, "undelivered": False, "failed": False, "canceled": False}
# Our own mark in the address of the status callback: the case and which delivery it was.
MARK: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,63})?\.([0-9A-Za-z-]{1,64})")
MOST_MEDIA: Final = 10
_SID: Final = re.compile(r"[A-Za-z0-9]{1,64}")


def mark_of(case: str | None, key: str) -> str:
    """What comes back with the status of a message."""
    return f"{case or ''}.{key}"


Words = frozenset[str]


def events(
    fields: dict[str, str], mark: str, received_at: datetime, ignored: Words, resuming: Words = frozenset()
) -> Iterator[Event]:
    """A ``Delivered`` for the end of a message of ours, a ``MessageReceived`` for a buyer's words,
    an ``OptedOut`` or ``OptedIn`` for those that mean it, or that Twilio took for it by keywords of its console."""
    sid = fields.get("MessageSid", "")
    if not _SID.fullmatch(sid):
        return
    if "MessageStatus" in fields:
        yield from _receipt(sid, fields, mark, received_at)
        return
    words, taken_for = fields.get("Body", "").strip().casefold(), fields.get("OptOutType", "").upper()
    if words in ignored or taken_for == "STOP":
        yield _opted(OptedOut, sid, fields, received_at)
    elif words in resuming:
        yield _opted(OptedIn, sid, fields, received_at)
    else:
        if taken_for == "START":  # YES is such a keyword of Twilio's, and may be a buyer's answer all the same
            yield _opted(OptedIn, f"{sid}:start", fields, received_at)
        yield from _words(sid, fields, received_at)


def _receipt(sid: str, fields: dict[str, str], mark: str, received_at: datetime) -> Iterator[Delivered]:
    status, ours = fields["MessageStatus"], MARK.fullmatch(mark)
    if status not in ENDS or ours is None:
        return
    code = fields.get("ErrorCode", "")[:20]
    yield Delivered(
        key=f"twilio:{sid}:{status}:{code}",
        at=received_at,
        # With the number the case knows whose reply comes later.
        refs=((Ref(kind=RefKind.CASE, value=ours[1]),) if ours[1] else ()) + buyer(fields.get("To")),
        message=sid,
        delivery=ours[2],
        ok=ENDS[status],
        reason=None if ENDS[status] else " ".join(filter(None, (status, code, fields.get("ChannelStatusMessage")))),
    )


def _opted(
    kind: type[OptedOut | OptedIn], sid: str, fields: dict[str, str], received_at: datetime
) -> OptedOut | OptedIn:
    sender = fields.get("From", "")
    form = Form.CHAT if sender.startswith(WHATSAPP) else Form.SMS
    words = fields.get("Body", "").strip()[:100]
    return kind(key=f"twilio:in:{sid}", at=received_at, refs=buyer(sender), form=form, words=words)


def _words(sid: str, fields: dict[str, str], received_at: datetime) -> Iterator[MessageReceived]:
    words, media, sender = fields.get("Body", "").strip(), _media(fields), fields.get("From", "")
    if not words and not media:
        return
    chat = sender if sender.startswith(WHATSAPP) else None
    form = Form.CHAT if chat else Form.SMS
    yield MessageReceived(
        key=f"twilio:in:{sid}",
        at=received_at,
        refs=buyer(sender),
        message=Message(id=sid, author=Author.BUYER, form=form, text=words, at=received_at, attachments=media),
        buyer=Buyer(phone=number_of(sender) or sender.removeprefix(WHATSAPP) or None, chat=chat),
    )


def _media(fields: dict[str, str]) -> tuple[Attachment, ...]:
    found = []
    for number in range(MOST_MEDIA):
        if url := fields.get(f"MediaUrl{number}"):
            kind = fields.get(f"MediaContentType{number}") or "application/octet-stream"
            found.append(Attachment(name=f"media-{number + 1}", media_type=kind, url=url))
    return tuple(found)


def buyer(address: str | None) -> tuple[Ref, ...]:
    """The number by which whoever answers is known."""
    number = number_of(address)
    return (Ref(kind=RefKind.BUYER, value=number),) if number else ()
