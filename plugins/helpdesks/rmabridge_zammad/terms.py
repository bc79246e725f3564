"""Words and shapes of Zammad's: ids, names, words in HTML, tags and paths."""

from __future__ import annotations

from typing import Any, Final

from rmabridge.errors import Malformed, Rejected
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.mailtext import own, plain

# Zammad's first user stands for nobody: a ticket that it owns is unassigned.
NOBODY: Final = "1"
# The state of a ticket whose articles an agent moved to another one.
MERGED: Final = "merged"


def number(given: Any, kind: str) -> str:
    """An id of theirs; without one the body says nothing."""
    if not (found := text(given)) or not found.isascii() or not found.isdigit() or len(found) > 32:
        raise Malformed(f"no {kind} id")
    return found


def name_of(given: Any) -> str | None:
    """A name, whether it came as such or within its record."""
    found = text(dig(given, "name") if isinstance(given, dict) else given)
    return found.strip().lower() if found else None


def user_of(record: Any, role: str) -> str | None:
    """The id of who did something to a record."""
    return text(dig(record, f"{role}_id") or dig(record, role, "id"))


def words(article: Any) -> str:
    """What the article says, as plain text; of a mail what its writer wrote."""
    said = text(dig(article, "body")) or ""
    if "html" in (text(dig(article, "content_type")) or "").lower():
        said = plain(said)
    return own(said) if text(dig(article, "type")) == "email" else said.strip()


def tag(word: str) -> str:
    """A tag as Zammad takes it: tags are told apart by commas."""
    return " ".join(word.replace(",", " ").split())


def id_of(ticket: str | None) -> str:
    """The ticket's number for a path."""
    if not ticket or not ticket.isascii() or not ticket.isdigit():
        raise Rejected(f"{ticket!r} is no Zammad ticket", hint="open it first, or name its id (not its number)")
    return ticket
