"""Which account carries an action out: by the shop's slots, exactly one or none."""

from __future__ import annotations

from typing import Final

from ..abilities import Shop
from ..model import (
    Action,
    ApproveReturn,
    CommentTicket,
    DeclineReturn,
    FetchOrder,
    Forward,
    OpenTicket,
    PayRefund,
    QueryParcel,
    SendMessage,
    TrackParcel,
    UpdateTicket,
)

SLOTS: Final[dict[type[Action], str]] = {
    OpenTicket: "helpdesk",
    CommentTicket: "helpdesk",
    UpdateTicket: "helpdesk",
    TrackParcel: "carrier",
    QueryParcel: "carrier",
    FetchOrder: "marketplace",
    ApproveReturn: "marketplace",
    DeclineReturn: "marketplace",
    PayRefund: "marketplace",
}


def account_for(action: Action, shop: Shop) -> str | None:
    """The account of the shop that this action goes to; None where the shop has none."""
    if action.account:
        return action.account
    if isinstance(action, SendMessage):
        return next((way.account for way in shop.ways if way.form is action.form), None)
    if isinstance(action, Forward):
        return None
    found: str | None = getattr(shop, SLOTS[type(action)])
    return found
