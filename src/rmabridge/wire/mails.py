"""Mails from outside (RFC 5322 and what goes for it): who wrote what, which mail it answers, and was it a machine.

Hostile bytes give a ``Mail`` or ``Malformed`` and nothing else. Files are told by name, type, size and hash only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from typing import Final

from rmabridge.errors import Malformed

from .mailkinds import Kind, Report, kind_of, reports, returned
from .mailparts import File, Head, date_of, field, files_of, head_of, parsed, people, text_of
from .mailtext import own

MOST_FILES: Final = 100
# Beyond these the parser of the standard library takes seconds, or hours; no mail program writes such mails.
LONGEST_HEAD: Final = 1 << 19
LONGEST_PARAMETERS: Final = 8192
MOST_PARTS: Final = 5000
MOST_WORK: Final = 4_000_000
HARMLESS: Final = 4096  # bytes in which none of this has room
_TYPED = re.compile(
    rb"(?:\A|[\r\n])content-(?:type|disposition):[^\r\n]*(?:(?:\r\n|\r|\n)[ \t][^\r\n]*)*", re.IGNORECASE
)
_HEAD_END = re.compile(rb"\r?\n\r?\n|\r\r")


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail. ``text`` is all its words, ``own`` those the writer did not quote; ``why`` says by what ``kind`` shows.

    ``head.references`` are all the mails it answers, the oldest first. ``reports`` and ``returned`` are a bounce's.
    """

    head: Head
    kind: Kind
    why: str = ""
    sender: str | None = None
    sender_name: str = ""
    reply_to: str | None = None
    to: tuple[str, ...] = ()
    at: datetime | None = None
    text: str = ""
    own: str = ""
    files: tuple[File, ...] = ()
    reports: tuple[Report, ...] = ()
    returned: Head | None = None


def read_mail(raw: bytes) -> Mail:
    """The mail in these bytes."""
    _refuse_endless(raw)
    try:
        root = parsed(raw)
        if not any(field(root, name) for name in ("From", "Date", "Message-ID", "Subject", "Received")):
            raise Malformed("the bytes are not a mail")
        return _mail(root)
    except RecursionError as error:
        raise Malformed("the mail is nested too deeply") from error


def _refuse_endless(raw: bytes) -> None:
    if len(raw) <= HARMLESS:
        return
    end = _HEAD_END.search(raw)
    if (end.start() if end else len(raw)) > LONGEST_HEAD:
        raise Malformed("the mail's header has no end")
    if any(len(one[0]) > LONGEST_PARAMETERS for one in _TYPED.finditer(raw)):
        raise Malformed("the content type of a part has no end")
    lines, nested = raw.count(b"\n") + raw.count(b"\r"), raw.lower().count(b"multipart/")
    if nested and (raw.count(b"\n--") + raw.count(b"\r--") > MOST_PARTS or lines * nested > MOST_WORK):
        raise Malformed("the mail has too many parts")


def _mail(root: Message) -> Mail:
    head, text = head_of(root), text_of(root)
    senders, back = people(root, "From"), people(root, "Reply-To")
    name, sender = senders[0] if senders else ("", None)
    kind, why = kind_of(root, sender or "", head.subject)
    bounced = kind is Kind.BOUNCE
    return Mail(
        head=head,
        kind=kind,
        why=why,
        sender=sender,
        sender_name=name,
        reply_to=back[0][1] if back else None,
        to=tuple(address for _, address in people(root, "To", "Cc")),
        at=date_of(field(root, "Date")),
        text=text,
        own=own(text),
        files=tuple(files_of(root))[:MOST_FILES],
        reports=reports(root, text) if bounced else (),
        returned=returned(root, text) if bounced else None,
    )


__all__ = ["File", "Head", "Kind", "Mail", "Report", "read_mail"]
