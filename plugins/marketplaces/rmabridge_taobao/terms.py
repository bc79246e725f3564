"""Words and shapes of Taobao's: codes from ``terms.toml``, ids beyond 2^53, yuan, and Beijing time without a zone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Final
from zoneinfo import ZoneInfo

import tomli

from rmabridge.model import CaseKind, Issue, Money, RequestStatus
from rmabridge.wire.amounts import maybe_major
from rmabridge.wire.bodies import dig
from rmabridge.wire.ids import digits
from rmabridge.wire.times import CHINA, maybe_instant

YUAN: Final = "CNY"
OPEN: Final = frozenset({RequestStatus.REQUESTED, RequestStatus.APPROVED, RequestStatus.DECLINED})
# In these the clock that Taobao shows is the seller's.
OURS: Final = frozenset({"WAIT_SELLER_AGREE", "WAIT_SELLER_CONFIRM_GOODS"})


@cache
def table(name: str) -> dict[str, Any]:
    """One table of the data file."""
    found: dict[str, Any] = tomli.loads((files(__package__) / "terms.toml").read_text("utf-8"))[name]
    return found


def number(value: Any) -> str | None:
    """An id as text; Taobao writes it as a number or as digits."""
    return digits(value) or None


def whole(value: Any, default: int = 1) -> int:
    """A count of pieces."""
    found = digits(value)
    return int(found) if found and len(found) < 7 else default


def word(value: Any) -> str:
    """A code in one spelling."""
    return str(value or "").strip().upper()


def yuan(value: Any) -> Money | None:
    """An amount that Taobao writes as text in yuan: ``"200.07"``."""
    return maybe_major(value, YUAN)


def moment(node: Any, *names: str) -> datetime | None:
    """The first of these times that the object carries; they are Beijing's, without a zone."""
    for name in names if isinstance(node, dict) else ():
        if at := maybe_instant(node.get(name), CHINA):
            return at
    return None


def stamp(at: datetime, **back: float) -> str:
    """A time as Taobao reads it, so long before."""
    return (at - timedelta(**back)).astimezone(ZoneInfo(CHINA)).strftime("%Y-%m-%d %H:%M:%S")


def rows(node: Any, *path: str) -> list[dict[str, Any]]:
    """The objects of a list, which Taobao wraps once more: ``{"refunds": {"refund": […]}}``."""
    listed = dig(node, *path[:-1])
    if isinstance(listed, dict):
        listed = listed.get(path[-1])
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def status(node: Any) -> RequestStatus | None:
    """Where a refund stands, in the bridge's words."""
    found = table("statuses").get(word(dig(node, "status")))
    return RequestStatus(found) if found else None


def kind(node: Any, bill: Any = None) -> CaseKind:
    """What the buyer asks for: by the type of dispute, of bill, or by whether goods come back."""
    known = table("kinds")
    found = known.get(word(dig(node, "dispute_type"))) or known.get(word(bill))
    back = word(dig(node, "has_good_return")) == "TRUE"
    return CaseKind(found) if found else CaseKind.RETURN if back else CaseKind.REFUND


@cache
def _shipped() -> dict[str, Issue]:
    return {phrase: Issue(name) for name, many in table("issues").items() for phrase in many}


def issue(reason: str | None, own: Mapping[str, Issue]) -> Issue | None:
    """What is wrong, by the words of the reason; the longest that is found counts, the operator's own first."""
    if not reason:
        return None
    for words in (own, _shipped()):
        if found := max((one for one in words if one and one in reason), key=len, default=None):
            return words[found]
    return None
