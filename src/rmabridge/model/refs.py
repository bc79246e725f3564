"""References: the names by which the outside world knows a case."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from .stored import Value


class RefKind(StrEnum):
    """What a reference names. The strong kinds name one case; the weak ones name many and mean the open one."""

    CASE = "case"
    RETURN = "return"
    REFUND = "refund"
    CLAIM = "claim"
    TICKET = "ticket"
    THREAD = "thread"
    REVIEW = "review"
    WAYBILL = "waybill"
    ORDER = "order"
    BUYER = "buyer"
    INCIDENT = "incident"


WEAK: Final = frozenset({RefKind.WAYBILL, RefKind.ORDER, RefKind.BUYER, RefKind.INCIDENT})
# Where a value is unique: at one account, in one shop, or anywhere.
SHOP_WIDE: Final = frozenset({RefKind.ORDER, RefKind.BUYER, RefKind.INCIDENT})
WORLD_WIDE: Final = frozenset({RefKind.CASE, RefKind.WAYBILL})


class Ref(Value):
    """One outside name of a case: ``Ref(kind="ticket", value="35436")``; ``url`` opens it where there is one.

    ``account`` says at which account the value is unique; left out, it is the account that the event came from.
    """

    kind: RefKind
    value: str
    account: str | None = None
    url: str | None = None

    @property
    def strong(self) -> bool:
        """Whether the value names exactly one case."""
        return self.kind not in WEAK
