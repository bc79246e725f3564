"""Words and shapes of eBay's: states and reasons from ``terms.toml``, ids, amounts, and times inside objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

import tomli

from rmabridge.model import Issue, Money, RequestStatus
from rmabridge.wire.amounts import maybe_major
from rmabridge.wire.bodies import dig
from rmabridge.wire.times import maybe_instant

INQUIRY: Final = "inquiry:"
CASE: Final = "case:"
# A notification's id is two UUIDs.
_ID = re.compile(r"[A-Za-z0-9!._-]{1,80}", re.ASCII)


@cache
def table(name: str) -> dict[str, str]:
    """One table of the data file."""
    found: dict[str, str] = tomli.loads((files(__package__) / "terms.toml").read_text("utf-8"))[name]
    return found


def id_of(value: Any) -> str | None:
    """An id of eBay's as text; None for what cannot be one."""
    told = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return told if _ID.fullmatch(told) else None


def word(value: Any) -> str:
    """A code in one spelling."""
    return str(value or "").strip().upper()


def money(node: Any) -> Money | None:
    """``{"value": 12.30, "currency": "USD"}``; the value comes as a number or as text."""
    return maybe_major(dig(node, "value"), dig(node, "currency"))


def moment(node: Any) -> datetime | None:
    """A time, bare or as ``{"value": …}``."""
    return maybe_instant(dig(node, "value") if isinstance(node, dict) else node)


def iso(at: datetime) -> str:
    """A time as eBay reads it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def whole(value: Any, default: int = 1) -> int:
    """A count of pieces."""
    digits = str(value)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 7 else default


def rows(node: Any, *path: str) -> list[dict[str, Any]]:
    """The objects of a list."""
    listed = dig(node, *path) if path else node
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def status(state: Any, own: Mapping[str, RequestStatus]) -> RequestStatus | None:
    """Where a return stands: by the operator's words, by the list, or by how the word ends."""
    code = word(state)
    if found := own.get(code) or table("states").get(code):
        return RequestStatus(found)
    return RequestStatus.CLOSED if code.endswith(("CLOSED", "REFUNDED", "TIMEOUT")) else None


def issue(reason: Any, own: Mapping[str, Issue]) -> Issue | None:
    """What is wrong, by the code of the reason."""
    found = own.get(word(reason)) or table("issues").get(word(reason))
    return Issue(found) if found else None
