"""Words and shapes of Shopify's: ids, codes, amounts and times, in webhooks and GraphQL answers alike."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from rmabridge.model import Issue, Money, RequestStatus
from rmabridge.wire.amounts import maybe_major
from rmabridge.wire.bodies import dig
from rmabridge.wire.ids import digits
from rmabridge.wire.times import maybe_instant

RECONCILED: Final = "reconcile/order"
TURNS: Final = {
    "returns/approve": RequestStatus.APPROVED,
    "returns/decline": RequestStatus.DECLINED,
    "returns/cancel": RequestStatus.CANCELLED,
    "returns/close": RequestStatus.CLOSED,
    "returns/reopen": RequestStatus.APPROVED,
}
ORDERS: Final = frozenset({"orders/updated", "orders/cancelled", "orders/fulfilled"})
STATUSES: Final = {
    "REQUESTED": RequestStatus.REQUESTED,
    "OPEN": RequestStatus.APPROVED,
    "DECLINED": RequestStatus.DECLINED,
    "CANCELED": RequestStatus.CANCELLED,
    "CLOSED": RequestStatus.CLOSED,
}
# OTHER and UNKNOWN say nothing of the cause: triage reads the words instead.
ISSUES: Final = {
    "DEFECTIVE": Issue.QUALITY_DEFECT,
    "NOT_AS_DESCRIBED": Issue.NOT_AS_DESCRIBED,
    "WRONG_ITEM": Issue.WRONG_ITEM,
    "COLOR": Issue.RETURN_REQUEST,
    "SIZE_TOO_LARGE": Issue.RETURN_REQUEST,
    "SIZE_TOO_SMALL": Issue.RETURN_REQUEST,
    "STYLE": Issue.RETURN_REQUEST,
    "UNWANTED": Issue.RETURN_REQUEST,
}
DISPUTES: Final = {
    "PRODUCT_NOT_RECEIVED": Issue.LOST_PARCEL,
    "PRODUCT_UNACCEPTABLE": Issue.NOT_AS_DESCRIBED,
    "CREDIT_NOT_PROCESSED": Issue.REFUND_STATUS,
}
_ID = re.compile(r"(?:gid://shopify/\w+/)?([0-9]{1,20})(?:\?.*)?", re.ASCII | re.DOTALL)
_SNAKE = re.compile(r"_([a-z0-9])")


def number(value: Any) -> str | None:
    """The digits of an id, whether it came as a number, as digits or as ``gid://shopify/Order/9001``."""
    if plain := digits(value):
        return plain
    found = _ID.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found else None


def gid(kind: str, value: str) -> str:
    """The id that GraphQL takes."""
    return f"gid://shopify/{kind}/{number(value) or value}"


def camel(value: Any) -> Any:
    """A webhook's body with the names of GraphQL."""
    return _camelled(value, _Names())


class _Names(dict[str, str]):
    """Names that were met, as GraphQL writes them: a body has few, again and again."""

    def __missing__(self, name: str) -> str:
        self[name] = found = _SNAKE.sub(lambda found: found[1].upper(), name)
        return found


def _camelled(value: Any, names: _Names) -> Any:
    if isinstance(value, dict):
        return {names[name]: one if type(one) is str else _camelled(one, names) for name, one in value.items()}
    return [_camelled(one, names) for one in value] if isinstance(value, list) else value


def nodes(value: Any, *path: str) -> list[dict[str, Any]]:
    """The objects of a list or of a GraphQL connection; none where there is neither."""
    found = dig(value, *path) if path else value
    listed = found.get("nodes") if isinstance(found, dict) else found
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def money(node: Any, name: str, currency: Any = None) -> Money | None:
    """An amount in the currency in which the buyer paid, or where that is not told, the shop's."""
    sides = dig(node, f"{name}Set")
    if sides and (told := dig(sides, "presentmentMoney") or dig(sides, "shopMoney")):
        return maybe_major(dig(told, "amount"), dig(told, "currencyCode"))
    return maybe_major(dig(node, name), dig(node, "currency") or currency)


def word(value: Any) -> str:
    """A code in one spelling: ``size-too-small`` and ``size_too_small`` are ``SIZE_TOO_SMALL``."""
    return str(value or "").strip().upper().replace("-", "_")


def first(node: Any, *names: str) -> datetime | None:
    """The first of these times that the object carries."""
    return next((at for name in names if (at := maybe_instant(dig(node, name)))), None)


def strings(value: Any) -> list[str]:
    listed = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return [one.strip() for one in listed if isinstance(one, str) and one.strip()]


def whole(value: Any, default: int = 0) -> int:
    digits = number(value)
    return int(digits) if digits else default
