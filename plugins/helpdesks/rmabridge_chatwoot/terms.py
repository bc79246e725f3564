"""Words and shapes of Chatwoot's: topics, keys, labels and paths."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from rmabridge.errors import Malformed, Rejected
from rmabridge.wire.bodies import dump_json, text

MESSAGE: Final = "message_created"
CHANGES: Final = ("conversation_created", "conversation_status_changed", "conversation_updated")
INCOMING: Final = frozenset({"incoming", "0"})
OUTGOING: Final = frozenset({"outgoing", "1"})
# Chatwoot tells of every line as a change of its conversation; these changes say something.
TELLING: Final = frozenset(
    {"status", "priority", "label_list", "cached_label_list", "assignee_id", "assignee_agent_bot_id", "team_id"}
)
API_INBOX: Final = "Channel::Api"


def number(given: Any, kind: str) -> str:
    """An id of theirs; without one the body says nothing."""
    if not (found := text(given)) or not found.isascii() or not found.isdigit() or len(found) > 32:
        raise Malformed(f"no {kind} id")
    return found


def digest(*parts: Any) -> str:
    """The key of an event that comes without an id."""
    return "conversation:" + hashlib.sha256(dump_json(parts).encode("utf-8", "replace")).hexdigest()


def label(tag: str) -> str:
    """A label as Chatwoot keeps it: in small letters, without spaces and commas."""
    return "-".join(tag.lower().replace(",", " ").split())


def path_of(conversation: str | None) -> str:
    """The path of a conversation's calls."""
    if not conversation or not conversation.isascii() or not conversation.isdigit():
        raise Rejected(f"{conversation!r} is no Chatwoot conversation", hint="open it first, or name its number")
    return f"/conversations/{conversation}"
