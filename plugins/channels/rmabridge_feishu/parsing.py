"""Events: what people write to the app, as buyers' messages."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, Final

from rmabridge.errors import Malformed
from rmabridge.model import Author, Buyer, Event, Form, Message, MessageReceived, Ref, RefKind
from rmabridge.wire.bodies import dig, read_object, text
from rmabridge.wire.times import maybe_instant

RECEIVED: Final = "im.message.receive_v1"


def events(body: dict[str, Any], received_at: datetime, groups: bool, colleagues: Collection[str]) -> Iterator[Event]:
    """A ``MessageReceived`` for a message of somebody who is no colleague, and nothing for all else."""
    if body.get("schema") != "2.0" or dig(body, "header", "event_type") != RECEIVED:
        return
    event = body.get("event")
    if dig(event, "sender", "sender_type") != "user":
        return
    writer = _name(event, "sender", "sender_id", "open_id")
    if writer in colleagues or not (groups or dig(event, "message", "chat_type") == "p2p"):
        return
    if words := _words(dig(event, "message")):
        at = maybe_instant(dig(event, "message", "create_time")) or maybe_instant(dig(body, "header", "create_time"))
        yield _said(event, writer, words, at or received_at)


def _said(event: Any, writer: str, words: str, at: datetime) -> MessageReceived:
    id_ = _name(event, "message", "message_id")
    return MessageReceived(
        key=f"feishu:message:{id_}",
        at=at,
        refs=(Ref(kind=RefKind.BUYER, value=writer),),
        message=Message(id=id_, author=Author.BUYER, form=Form.CHAT, text=words, at=at),
        buyer=Buyer(id=writer, chat=_name(event, "message", "chat_id")),
    )


def _name(event: Any, *path: str) -> str:
    found = dig(event, *path)
    if not isinstance(found, str) or not 0 < len(found) <= 200:
        raise Malformed(f"event.{'.'.join(path)} is missing")
    return found


def _words(message: Any) -> str:
    """What was written; of pictures and files their kind, so that a person sees that there was one."""
    kind, content = text(dig(message, "message_type")), dig(message, "content")
    if kind not in {"text", "post"}:
        return f"[{kind}]" if kind else ""
    if not isinstance(content, str):
        raise Malformed("event.message.content is no text")
    told = read_object(content.encode("utf-8", "replace"))
    words = text(told.get("text")) or "" if kind == "text" else "\n".join(_lines(told))
    return _named(words, dig(message, "mentions")).strip()


def _lines(told: dict[str, Any]) -> Iterator[str]:
    if title := text(told.get("title")):
        yield title
    paragraphs = told.get("content")
    for one in paragraphs if isinstance(paragraphs, list) else ():
        found = (dig(element, "text") for element in one) if isinstance(one, list) else ()
        yield "".join(part for part in found if isinstance(part, str))


def _named(words: str, mentions: Any) -> str:
    """The words with names for their placeholders, the longest first: ``@_user_1`` begins ``@_user_10`` too."""
    pairs = [(dig(one, "key"), dig(one, "name")) for one in mentions] if isinstance(mentions, list) else []
    known = {key: name for key, name in pairs if key and isinstance(key, str) and isinstance(name, str)}
    for key in sorted(known, key=len, reverse=True):
        words = words.replace(key, f"@{known[key]}")
    return words
