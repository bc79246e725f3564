"""What the vendor pushes: receipts (SmsReport) and buyers' replies (SmsUp), as lists without a signature."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from rmabridge.errors import Malformed
from rmabridge.model import (
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
from rmabridge.wire.bodies import read_json, text
from rmabridge.wire.signing import digest_hex
from rmabridge.wire.times import CHINA, maybe_instant

from .phones import written

# Our own mark in OutId: other systems of the same account get their receipts here as well.
OURS: Final = re.compile(r"rma:([A-Za-z0-9][A-Za-z0-9_-]{0,63})?:([0-9A-Za-z-]{1,64})")
PUNCTUATION: Final = " .。!！,，、【】[]\"'“”"


def out_id(case: str | None, key: str) -> str:
    """What comes back with the receipt: the case, and which delivery it was."""
    return f"rma:{case or ''}:{key}"


def items(body: bytes) -> list[dict[str, Any]]:
    """The entries of a push."""
    pushed = read_json(body)
    if not isinstance(pushed, list):
        raise Malformed("the push is not a list")
    return [one for one in pushed if isinstance(one, dict)]


def events(body: bytes, received_at: datetime, ignored: Iterable[str], resuming: Iterable[str] = ()) -> Iterator[Event]:
    """A ``Delivered`` for each receipt of ours, a ``MessageReceived``, ``OptedOut`` or ``OptedIn`` for each reply."""
    deaf, keen = ({_bare(one) for one in words} for words in (ignored, resuming))
    for one in items(body):
        words = (text(one.get("content")) or "").strip()
        if words and _bare(words) in deaf:
            yield _opted(OptedOut, one, words, received_at)
        elif words and _bare(words) in keen:
            yield _opted(OptedIn, one, words, received_at)
        elif words:
            yield _reply(one, words, received_at)
        elif not words and (mine := OURS.fullmatch(text(one.get("out_id")) or "")):
            yield _receipt(one, mine, received_at)


def _bare(words: str) -> str:
    """A word as it is compared: keyboards write it wide, and people put a full stop behind it."""
    return unicodedata.normalize("NFKC", words).strip(PUNCTUATION).casefold()


def _receipt(one: dict[str, Any], mine: re.Match[str], received_at: datetime) -> Delivered:
    ok, code = (text(one.get("success")) or "").lower() == "true", text(one.get("err_code")) or ""
    message = text(one.get("biz_id")) or mine[2]
    refs = [Ref(kind=RefKind.CASE, value=mine[1])] if mine[1] else []
    return Delivered(
        key=f"aliyun:{mine[2]}:{digest_hex(f'{message}:{ok}:{code}'.encode())}",
        at=_at(one, ("report_time", "send_time")) or received_at,
        # With the number the case knows whose reply comes later.
        refs=(*refs, *buyer(one.get("phone_number"))),
        message=message,
        delivery=mine[2],
        ok=ok,
        reason=None if ok else ": ".join(filter(None, (code, text(one.get("err_msg"))))) or None,
    )


def _id(one: dict[str, Any], words: str) -> str:
    phone, sent = text(one.get("phone_number")), text(one.get("send_time"))
    id_ = text(one.get("sequence_id")) or ""
    return id_ if 0 < len(id_) <= 64 else digest_hex(f"{phone}:{sent}:{words}:{id_}".encode())


def _opted(
    kind: type[OptedOut | OptedIn], one: dict[str, Any], words: str, received_at: datetime
) -> OptedOut | OptedIn:
    at, key = _at(one, ("send_time",)) or received_at, f"aliyun:up:{_id(one, words)}"
    return kind(key=key, at=at, refs=buyer(one.get("phone_number")), form=Form.SMS, words=words[:100])


def _reply(one: dict[str, Any], words: str, received_at: datetime) -> MessageReceived:
    phone, id_ = text(one.get("phone_number")), _id(one, words)
    at = _at(one, ("send_time",)) or received_at
    return MessageReceived(
        key=f"aliyun:up:{id_}",
        at=at,
        refs=buyer(one.get("phone_number")),
        message=Message(id=id_, author=Author.BUYER, form=Form.SMS, text=words, at=at),
        buyer=Buyer(phone=written(phone) or phone),
    )


def buyer(given: Any) -> tuple[Ref, ...]:
    """The number by which whoever answers is known."""
    number = written(text(given))
    return (Ref(kind=RefKind.BUYER, value=number),) if number else ()


def _at(one: dict[str, Any], names: Iterable[str]) -> datetime | None:
    return next((at for name in names if (at := maybe_instant(one.get(name), CHINA))), None)
