"""Is a mail a person's words, or a machine's; and what a server tells of a mail that did not arrive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from enum import StrEnum

from .mailparts import Head, children, field, head_of, media_type, parsed, payload
from .mailtext import data

_REFUSED = re.compile(r"\b[45]\d\d[ -](?:[45]\.\d{1,3}\.\d{1,3})?.{0,200}")
_QUOTED = re.compile(
    r"^[ >]*(?:Message-ID|References|Received|Return-Path|From|To|Date|Subject):", re.IGNORECASE | re.MULTILINE
)


class Kind(StrEnum):
    """Who speaks: a person, a machine that answers, a mailing list or newsletter, a server that could not deliver."""

    PERSON = "person"
    AUTOMATIC = "automatic"
    LIST = "list"
    BOUNCE = "bounce"


@dataclass(frozen=True, slots=True)
class Report:
    """What a server says of one recipient: ``failed``, ``delayed``, ``delivered``, ``relayed`` or ``expanded``."""

    action: str
    reason: str
    recipient: str | None = None


def kind_of(root: Message, sender: str, subject: str) -> tuple[Kind, str]:
    """Who speaks, and by what it shows."""
    lists = data()["automatic"]
    local = sender.rpartition("@")[0].lower()
    if media_type(root) == "multipart/report" and root.get_param("report-type") != "disposition-notification":
        return Kind.BOUNCE, "multipart/report"
    if local in lists["daemons"]:
        return Kind.BOUNCE, f"from {local}"
    if why := next(_automatic(root, lists["fields"]), None):
        return Kind.AUTOMATIC, why
    if local in lists["senders"] or subject.lower().startswith(tuple(lists["subjects"])):
        return Kind.AUTOMATIC, f"from {local}" if local in lists["senders"] else "its subject"
    if why := next((key for key in root if key.lower().startswith("list-")), None):
        return Kind.LIST, why
    if (kind := field(root, "Precedence").lower()) in {"bulk", "junk", "list"}:
        return Kind.LIST, f"Precedence: {kind}"
    return Kind.PERSON, ""


def _automatic(root: Message, fields: list[str]) -> Iterator[str]:
    submitted = field(root, "Auto-Submitted").partition(";")[0].strip().lower()
    if submitted not in {"", "no"}:
        yield f"Auto-Submitted: {submitted[:40]}"
    yield from (key for key in root if key.lower() in fields)
    suppress = field(root, "X-Auto-Response-Suppress").lower()
    if any(one in suppress for one in ("all", "oof", "autoreply")):
        yield "X-Auto-Response-Suppress"
    if field(root, "Precedence").lower() == "auto_reply":
        yield "Precedence: auto_reply"
    if field(root, "Return-Path") == "<>":
        yield "Return-Path: <>"
    if media_type(root) == "multipart/report":
        yield "a receipt"


def reports(root: Message, text: str) -> tuple[Report, ...]:
    """What a bounce says of each recipient."""
    status = next((one for one in children(root) if media_type(one) == "message/delivery-status"), None)
    told = tuple(_report(one) for one in children(status) if field(one, "Action")) if status else ()
    if told or status:
        return told
    # Servers without reports say it in words: their number for it, else their first line.
    found = _REFUSED.search(text)
    said = " ".join(_QUOTED.split(text, maxsplit=1)[0].lower().split())  # above what it shows of the mail
    action = "delayed" if any(one in said for one in data()["automatic"]["delays"]) else "failed"
    return (Report(action, found[0] if found else text.strip().partition("\n")[0][:200]),)


def _report(block: Message) -> Report:
    said = field(block, "Diagnostic-Code").partition(";")[2].strip() or field(block, "Diagnostic-Code")
    number = field(block, "Status").split(" ")[0]
    reason = said if number in said else f"{number} {said}".strip()
    recipient = field(block, "Final-Recipient").rpartition(";")[2].strip()
    return Report(field(block, "Action").lower(), reason[:500], recipient or None)


def returned(root: Message, text: str) -> Head | None:
    """What names the mail that came back: from the part that holds it, else from what the text shows of it."""
    for part in root.walk():
        if media_type(part) == "message/rfc822" and (inner := children(part)):
            return head_of(inner[0])
        if media_type(part) == "text/rfc822-headers":
            return head_of(parsed(payload(part).lstrip(), head=True))
    start = re.search(r"^[ >]*(?:Message-ID|References):", text, re.IGNORECASE | re.MULTILINE)
    if start is None:
        return None
    shown = re.sub(r"^[ >]+", "", text[start.start() :].lstrip(), flags=re.MULTILINE)
    return head_of(parsed(shown.encode(), head=True))
