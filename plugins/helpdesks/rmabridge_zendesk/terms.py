"""Words and shapes of Zendesk's: topics, trigger bodies, keys, tags and references."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from rmabridge.errors import Malformed, Rejected
from rmabridge.model import Ref, RefKind
from rmabridge.wire.bodies import dump_json, text

EVENT: Final = "zen:event-type:ticket."
CLOSED: Final = "closed"
# The tag that Zendesk gives to the closed ticket of a merge.
MERGED: Final = "closed_by_merge"
COMMENT: Final = "comment_added"
CHANGES: Final = frozenset(
    {
        "created",
        "status_changed",
        "priority_changed",
        "tags_changed",
        "custom_field_changed",
        "external_id_changed",
        "agent_assignment_changed",
        "group_assignment_changed",
    }
)
PLACEHOLDERS: Final = {
    "ticket_id": "ticket.id",
    "external_id": "ticket.external_id",
    "status": "ticket.status",
    "priority": "ticket.priority",
    "tags": "ticket.tags",
    "updated_at": "ticket.updated_at_with_timestamp",
    "requester_email": "ticket.requester.email",
    "current_user": "current_user.email",
}
TRIGGER_BODY: Final = dump_json(
    {"event": "ticket_updated"} | {name: f"{{{{{it}}}}}" for name, it in PLACEHOLDERS.items()}
)
COMMENT_BODY: Final = TRIGGER_BODY.replace("ticket_updated", COMMENT).replace(
    '}}"}', '}}","latest_public_comment":"{{ticket.latest_public_comment}}"}'
)


def ticket_id(given: Any) -> str:
    """A ticket's number; without one the body says nothing."""
    if not (found := text(given)) or not found.isascii() or not found.isdigit() or len(found) > 32:
        raise Malformed("no ticket id")
    return found


def keyed(given: Any, kind: str) -> str:
    """An id of theirs as the key of an event."""
    if not (found := text(given)) or len(found) > 200:
        raise Malformed(f"no {kind} id")
    return f"{kind}:{found}"


def digest(*parts: Any) -> str:
    """The key of an event that comes without an id."""
    return "trigger:" + hashlib.sha256(dump_json(parts).encode("utf-8", "replace")).hexdigest()


def lower(given: Any) -> str | None:
    """A word or address in small letters."""
    found = text(given)
    return found.strip().lower() if found else None


def tag_list(given: Any) -> tuple[str, ...] | None:
    """Tags, which a trigger joins with spaces."""
    if isinstance(given, str):
        return tuple(given.split())
    return tuple(str(one) for one in given) if isinstance(given, list) else None


def status_of(given: Any, tags: tuple[str, ...] | None) -> str | None:
    """A status in small letters; a ticket that a merge closed is merged, and nothing is solved by that."""
    status = lower(given)
    return "merged" if status == CLOSED and MERGED in (tags or ()) else status


def word(tag: str) -> str:
    """A tag as Zendesk keeps it: in small letters, without spaces."""
    return "_".join(tag.lower().split())


def refs_of(ticket: str, external: Any, url: str | None = None) -> tuple[Ref, ...]:
    """What a ticket is known by: its number, the talk on it, and our case where it carries one."""
    refs = (Ref(kind=RefKind.TICKET, value=ticket, url=url), Ref(kind=RefKind.THREAD, value=ticket))
    return (*refs, Ref(kind=RefKind.CASE, value=case)) if (case := text(external)) else refs


def path_of(ticket: str | None) -> str:
    """The path of a ticket's calls."""
    if not ticket or not ticket.isascii() or not ticket.isdigit():
        raise Rejected(f"{ticket!r} is no Zendesk ticket", hint="open the ticket first, or name its number")
    return f"/tickets/{ticket}"
