"""Which account carries an action out: by the shop's slots, exactly one or none."""

from __future__ import annotations

from typing import Final

from ..abilities import Shop
from ..model import (
    Action,
    AnswerClaim,
    AppealClaim,
    ApproveReturn,
    AskCarrier,
    CheckCoverage,
    ClassifyText,
    CommentTicket,
    DeclineReturn,
    FetchOrder,
    FileClaim,
    Forward,
    GiveCredit,
    OpenTicket,
    PayRefund,
    PrintLabel,
    QueryClaim,
    QueryParcel,
    RequestProof,
    Reship,
    SendMessage,
    TagBuyer,
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
    TagBuyer: "marketplace",
    AskCarrier: "carrier",
    RequestProof: "carrier",
    CheckCoverage: "carrier",
    ClassifyText: "classifier",
    PrintLabel: "labels",
}


def account_for(action: Action, shop: Shop) -> str | None:
    """The account of the shop that this action goes to; None where the shop has none."""
    if action.account:
        return action.account
    if isinstance(action, SendMessage):
        return next((way.account for way in shop.ways if way.form is action.form), None)
    if isinstance(action, Forward):
        return None
    if isinstance(action, FileClaim):
        return shop.claims.get(action.carrier or "") or shop.claims.get("default") or shop.carrier
    if isinstance(action, AnswerClaim | AppealClaim | QueryClaim):
        return shop.claims.get("default") or shop.carrier  # a policy names the account that took the claim
    if isinstance(action, GiveCredit):
        return shop.credits or shop.marketplace
    if isinstance(action, Reship):
        return shop.replacements or shop.marketplace
    found: str | None = getattr(shop, SLOTS[type(action)])
    return found
