"""The parts of a parsed mail: header fields as text, the words of its body, its files. Nothing here fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.parser import BytesParser
from email.utils import getaddresses, parsedate_to_datetime
from hashlib import sha256
from typing import Final

from .mailtext import decode, plain, unfold, words

LONGEST_HEADER: Final = 10_000
LONGEST_ID: Final = 250
LONGEST_NAME: Final = 120
MOST_IDS: Final = 50
LONGEST_TEXT: Final = 200_000
_ID = re.compile(rf"<([^<>\s]{{1,{LONGEST_ID}}})>")
_ADDRESS = re.compile(r"""[^\s@<>()\[\]\\,;:"]{1,64}@[^\s@<>()\[\]\\,;:"]{1,253}""")
_ATOMS: Final = r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*"
_PLAIN: Final = rf"{_ATOMS}@{_ATOMS}"
_PERSON = re.compile(
    rf"(?:(?P<name>[A-Za-z0-9=?+*/_-]+(?: [A-Za-z0-9=?+*/_-]+)*) )?<(?P<address>{_PLAIN})>|(?P<bare>{_PLAIN})"
)
_CHARSET = re.compile(r"text/[a-z]+; ?charset=\"?([A-Za-z0-9_-]+)\"?")
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+-]{0,80}")


@dataclass(frozen=True, slots=True)
class File:
    """One attached file; size and hash are not known of an attached mail."""

    name: str
    media_type: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """What names a mail and those it answers; ids without their angle brackets."""

    id: str | None = None
    subject: str = ""
    references: tuple[str, ...] = ()


class Part(Message):
    """A part as it is read, never changed: its content type is read once, where the parser asks seven times."""

    _kind: str | None = None

    def get_content_type(self) -> str:
        """The content type without its parameters, lower case."""
        if self._kind is None:
            self._kind = super().get_content_type()
        return self._kind


def parsed(raw: bytes, *, head: bool = False) -> Message:
    """The mail in these bytes, or its header alone."""
    return BytesParser(Part).parsebytes(raw, headersonly=head)


def fields(part: Message, name: str) -> Iterator[str]:
    """Every field of the name in one line each, encoded words still encoded."""
    wanted, length = name.lower(), len(name)
    for key, value in part.raw_items():
        if len(key) == length and key.lower() == wanted:
            told = str(value)[:LONGEST_HEADER]
            if told.isascii() and told.isprintable():
                yield " ".join(told.split())
                continue
            raw = told.encode("utf-8", "surrogateescape")
            yield unfold(raw, None if raw.isascii() else next(_charsets(part), None))


def _charsets(part: Message) -> Iterator[str]:
    """Bytes in a header are in no charset but, most likely, that of the words below."""
    for inner in part.walk():
        plain = _CHARSET.fullmatch(str(inner.get("Content-Type")))
        if isinstance(one := plain[1] if plain else inner.get_param("charset"), str):
            yield one


def field(part: Message, name: str) -> str:
    """The first field of the name; empty where there is none."""
    return next(fields(part, name), "")


def head_of(part: Message) -> Head:
    """What names the mail and those it answers."""
    older = [*ids_in(field(part, "References")), *ids_in(field(part, "In-Reply-To"))]
    bare = field(part, "Message-ID")
    named = ids_in(bare) or ([bare] if bare.strip("<>") and " " not in bare and len(bare) <= LONGEST_ID else [])
    return Head(
        id=named[0] if named else None,
        subject=words(field(part, "Subject")),
        references=tuple(dict.fromkeys(older))[-MOST_IDS:],
    )


def ids_in(text: str) -> list[str]:
    """The ids in a field, without their angle brackets."""
    return _ID.findall(text)


def people(part: Message, *names: str) -> list[tuple[str, str]]:
    """Names and addresses; what is not one plain address is left out."""
    try:
        found = _addresses([one for name in names for one in fields(part, name)])
    except (ValueError, IndexError, RecursionError):
        return []
    return [(words(name)[:LONGEST_NAME], address) for name, address in found if _ADDRESS.fullmatch(address)]


def _addresses(told: list[str]) -> list[tuple[str, str]]:
    """Names and addresses as the standard library reads them, which takes its time even over plain ones."""
    plain = [found for one in told if (found := _PERSON.fullmatch(one))]
    if len(plain) == len(told):
        return [(one["name"] or "", one["address"] or one["bare"]) for one in plain]
    return getaddresses(told)


def date_of(text: str) -> datetime | None:
    """A mail's date in UTC; None where it cannot be read."""
    try:
        at = parsedate_to_datetime(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def media_type(part: Message) -> str:
    """The content type without its parameters, lower case."""
    return part.get_content_type().lower()


def payload(part: Message) -> bytes:
    """The content, with base64 or quoted-printable undone."""
    try:
        content = part.get_payload(decode=True)
    except (ValueError, LookupError):
        return b""
    return content if isinstance(content, bytes) else b""


def children(part: Message) -> list[Message]:
    """The parts inside."""
    inner = part.get_payload()
    return [one for one in inner if isinstance(one, Message)] if isinstance(inner, list) else []


def _attached(part: Message) -> bool:
    return field(part, "Content-Disposition").lower().startswith("attachment") or bool(_name(part))


def _name(part: Message) -> str:
    if "name" not in f"{part.get('Content-Disposition')}{part.get('Content-Type')}".lower():
        return ""
    try:
        given = part.get_filename() or ""
    except (ValueError, LookupError, TypeError):
        return ""
    raw = str(given).encode("utf-8", "surrogateescape")
    last = re.split(r"[/\\]", words(unfold(raw)))[-1]
    return "".join(one for one in last if one.isprintable()).strip(". ")[-LONGEST_NAME:]


def text_of(part: Message) -> str:
    """The words to read: plain text where there is any, else HTML as text."""
    kind = media_type(part)
    if kind.startswith("multipart/"):
        parts = children(part)
        if kind == "multipart/alternative":
            parts.sort(key=lambda one: media_type(one) != "text/plain")
            return next(filter(None, map(text_of, parts)), "")
        if kind == "multipart/report":
            parts = parts[:1]
        return "\n\n".join(filter(None, map(text_of, parts)))
    if kind not in {"text/plain", "text/html"} or _attached(part):
        return ""
    text = decode(payload(part), next(_charsets(part), None))
    return (plain(text) if kind == "text/html" else text.strip())[:LONGEST_TEXT]


def files_of(part: Message) -> Iterator[File]:
    """What is attached, and pictures inside the text."""
    kind = media_type(part)
    if kind.startswith("multipart/"):
        for one in children(part):
            yield from files_of(one)
    elif not kind.startswith(("text/", "message/")) or _attached(part) or kind == "message/rfc822":
        name = _name(part) or f"file.{kind.partition('/')[2]}"[:LONGEST_NAME]
        known = kind if _TYPE.fullmatch(kind) else "application/octet-stream"
        if part.is_multipart():
            yield File(name, known)
        else:
            content = payload(part)
            yield File(name, known, len(content), sha256(content).hexdigest())
