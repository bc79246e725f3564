"""What Slack tells: colleagues' replies in the threads of our alerts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from rmabridge.model import Author, Event, Form, Message, MessageReceived, Ref, RefKind
from rmabridge.wire.bodies import text
from rmabridge.wire.times import unix

CHANNEL: Final = r"[CDG][A-Z0-9]{2,20}"
STAMP: Final = r"\d{9,11}\.\d{6}"
# A channel, and a thread in it where there is one: what our own addresses and references hold.
PLACE: Final = re.compile(rf"({CHANNEL})(?:/({STAMP}))?", re.ASCII)
# Beside plain messages: a reply that is shown in the channel as well. The others tell of edits, joins and bots.
SUBTYPES: Final = frozenset({None, "thread_broadcast"})
_ESCAPES: Final = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))


def escaped(words: str) -> str:
    """The words as Slack wants them, so that none is read as a link or a mention."""
    for written, meant in reversed(_ESCAPES):
        words = words.replace(meant, written)
    return words


def thread_of(event: Any) -> str | None:
    """The thread of a reply as ``CHANNEL/TIMESTAMP``; None for all that is no reply."""
    if not isinstance(event, dict) or event.get("type") != "message":
        return None
    place = f"{event.get('channel')}/{event.get('thread_ts')}"
    return place if PLACE.fullmatch(place) and event.get("thread_ts") != event.get("ts") else None


def events(body: dict[str, Any], bot_user: str | None) -> Iterator[Event]:
    """A ``MessageReceived`` for a colleague's reply."""
    event = body.get("event")
    thread = thread_of(event) if body.get("type") == "event_callback" else None
    if thread is None or not isinstance(event, dict) or not _colleagues(event):
        return
    if bot_user and event.get("parent_user_id") != bot_user:
        return
    stamp = text(event.get("ts")) or ""
    words = (text(event.get("text")) or "").strip()
    if not re.fullmatch(STAMP, stamp, re.ASCII) or not words:
        return
    yield _reply(thread, stamp, words, text(event.get("user")))


def _colleagues(event: dict[str, Any]) -> bool:
    return not event.get("bot_id") and (text(event.get("subtype")) in SUBTYPES)


def _reply(thread: str, stamp: str, words: str, who: str | None) -> MessageReceived:
    for written, meant in _ESCAPES:
        words = words.replace(written, meant)
    id_, at = f"{thread.partition('/')[0]}/{stamp}", unix(stamp)
    return MessageReceived(
        key=f"slack:{id_}",
        at=at,
        refs=(Ref(kind=RefKind.THREAD, value=thread),),
        message=Message(id=id_, author=Author.AGENT, form=Form.CHAT, text=words, at=at, who=who, public=False),
    )
