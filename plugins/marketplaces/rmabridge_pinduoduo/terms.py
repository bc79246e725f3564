"""Words and shapes of Pinduoduo's: codes from ``terms.toml``, amounts in yuan and in fen, times of Beijing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

import tomli

from rmabridge.errors import Rejected
from rmabridge.model import CaseKind, Issue, Money, RequestStatus
from rmabridge.wire.amounts import maybe_major, minor
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.ids import digits
from rmabridge.wire.times import CHINA, maybe_instant

YUAN: Final = "CNY"
OPEN: Final = frozenset({RequestStatus.REQUESTED, RequestStatus.APPROVED, RequestStatus.DECLINED})
Unit = Literal["fen", "yuan"]
_ORDER = re.compile(r"[0-9A-Za-z-]{1,40}", re.ASCII)


@cache
def table(name: str) -> dict[str, Any]:
    """One table of the data file."""
    found: dict[str, Any] = tomli.loads((files(__package__) / "terms.toml").read_text("utf-8"))[name]
    return found


def code(value: Any) -> str:
    """An id or a code as text, else nothing; it comes as a number or as digits."""
    return digits(value)


def number(value: Any) -> str | None:
    """An order's number: ``260102-339507970000001``."""
    return value if isinstance(value, str) and _ORDER.fullmatch(value) else None


def request_of(node: Any) -> str | None:
    """What names a request: order number and id, because every call about it wants both."""
    order, id_ = number(dig(node, "order_sn")), code(dig(node, "id"))
    return f"{order}/{id_}" if order and id_ else None


def parts(request: str) -> tuple[str, str]:
    """The order number and the id of a request."""
    order, _, id_ = request.partition("/")
    if not number(order) or not code(id_):
        raise Rejected(f"{request!r} names no request of Pinduoduo's", hint="it is ORDER_SN/AFTER_SALES_ID")
    return order, id_


def yuan(value: Any) -> Money | None:
    """An amount that stands in yuan, as text: ``"19.90"``."""
    return maybe_major(value, YUAN)


def amount(value: Any, unit: Unit) -> Money | None:
    """An amount of the detail, which does not say its unit."""
    if unit == "yuan" or not (found := digits(value)):
        return yuan(value) if unit == "yuan" else None
    return minor(found, YUAN)


def pieces(value: Any) -> int:
    """A count of pieces."""
    found = digits(value)
    return int(found) if found and len(found) < 7 else 1


def moment(node: Any, *names: str) -> datetime | None:
    """The first of these times that the object carries; texts are Beijing's, without a zone."""
    for name in names if isinstance(node, dict) else ():
        if at := maybe_instant(node.get(name), CHINA):
            return at
    return None


def rows(node: Any, *path: str) -> Iterator[dict[str, Any]]:
    """The objects of a list."""
    listed = dig(node, *path)
    yield from (one for one in listed if isinstance(one, dict)) if isinstance(listed, list) else ()


def status(node: Any) -> RequestStatus | None:
    """Where a request stands, in the bridge's words; a return waits for the seller a second time, with the goods."""
    found = table("statuses").get(code(dig(node, "after_sales_status")))
    if found == RequestStatus.REQUESTED and text(dig(node, "express_no")):
        return RequestStatus.APPROVED
    return RequestStatus(found) if found else None


def kind(listed: Any, detail: Any) -> CaseKind:
    """What the buyer asks for; the list and the detail number the types differently."""
    told = table("detail_kinds").get(code(dig(detail, "after_sales_type")))
    return CaseKind(told or table("list_kinds").get(code(dig(listed, "after_sales_type"))) or CaseKind.REFUND)


@cache
def _shipped() -> dict[str, Issue]:
    return {phrase: Issue(name) for name, many in table("issues").items() for phrase in many}


def issue(reason: Any, own: Mapping[str, Issue]) -> Issue | None:
    """What is wrong, by the words of the reason; the longest that is found counts, the operator's own first."""
    said = text(reason) or ""
    for words in (own, _shipped()):
        if found := max((one for one in words if one and one in said), key=len, default=None):
            return words[found]
    return None
