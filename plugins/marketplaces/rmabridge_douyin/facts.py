"""One request as pushes, the list and the detail show it: three spellings, one set of facts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rmabridge.model import CaseKind, Direction, Money, Parcel, RequestStatus
from rmabridge.wire.bodies import dig, text

from .orders import parcel
from .terms import code, fen, moment, number, pieces, rows, table

_TIMES: Final = ("update_time", "modify_time", "agree_time", "refuse_time", "success_time", "close_time", "apply_time")
_PRICE_KEPT: Final = "6"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a request; ``state`` and ``type`` are Doudian's codes."""

    id: str
    order: str = ""
    line: str = ""
    state: str = ""
    type: str = ""
    amount: Money | None = None
    applied: datetime | None = None
    changed: datetime | None = None
    due: datetime | None = None
    reason: str | None = None
    note: str | None = None
    sku: str | None = None
    pieces: int = 1
    refund: str = ""
    arbitration: str = ""
    pictures: tuple[str, ...] = ()
    back: Parcel | None = None

    @property
    def status(self) -> RequestStatus | None:
        """Where the request stands."""
        found = table("statuses").get(self.state)
        return RequestStatus(found) if found else None

    @property
    def kind(self) -> CaseKind:
        """What the buyer asks for."""
        return CaseKind(table("kinds").get(self.type, CaseKind.REFUND))

    @property
    def price_kept(self) -> bool:
        """Whether it is about a promised price."""
        return self.type == _PRICE_KEPT


def pushed(data: dict[str, Any]) -> Facts:
    """What a pushed message says; one of them spells two names otherwise."""
    return Facts(
        id=number(data.get("aftersale_id"), data.get("after_sale_id")),
        order=number(data.get("p_id")),
        line=number(data.get("s_id")),
        state=code(data.get("aftersale_status")) or code(data.get("after_sale_status")),
        type=code(data.get("aftersale_type")) or code(data.get("after_sale_type")),
        amount=fen(data.get("refund_amount")),
        applied=moment(data, "apply_time"),
        changed=moment(data, *_TIMES),
        due=moment(data, "status_deadline"),
        arbitration=code(data.get("arbitrate_status")),
    )


def listed(item: dict[str, Any]) -> Facts:
    """What the list shows."""
    held, line = dig(item, "aftersale_info"), next(rows(item, "order_info", "related_order_info"), {})
    sent = {
        "tracking_no": dig(held, "return_logistics_code"),
        "company_name": dig(held, "return_logistics_company_name"),
    }
    return Facts(
        id=number(dig(held, "aftersale_id")),
        order=number(dig(item, "order_info", "shop_order_id")),
        line=number(line.get("sku_order_id")),
        state=code(dig(held, "aftersale_status")),
        type=code(dig(held, "aftersale_type")),
        amount=fen(dig(held, "refund_amount")),
        applied=moment(held, "apply_time"),
        changed=moment(held, "update_time"),
        due=moment(held, "status_deadline"),
        reason=text(dig(item, "text_part", "reason_text")),
        sku=text(line.get("shop_sku_code")),
        pieces=pieces(dig(held, "aftersale_num")),
        refund=code(dig(held, "refund_status")),
        arbitration=code(dig(held, "arbitrate_status")),
        back=parcel(sent, direction=Direction.BACK),
    )


def detailed(told: dict[str, Any]) -> Facts:
    """What the detail shows."""
    held, process = dig(told, "process_info", "after_sale_info"), dig(told, "process_info")
    line, sent = next(rows(told, "order_info", "sku_order_infos"), {}), dig(process, "logistics_info", "return")
    shown = dig(held, "evidence")
    return Facts(
        id=number(dig(held, "after_sale_id")),
        order=number(dig(told, "order_info", "shop_order_id")),
        line=number(line.get("sku_order_id")),
        state=code(dig(held, "after_sale_status")),
        type=code(dig(held, "after_sale_type")),
        amount=fen(dig(held, "refund_total_amount")),
        applied=moment(held, "apply_time"),
        changed=moment(held, "update_time"),
        due=moment(held, "status_deadline"),
        reason=text(dig(held, "reason")),
        note=text(dig(held, "reason_remark")),
        sku=text(line.get("shop_sku_code")),
        pieces=pieces(dig(held, "after_sale_apply_count")),
        refund=code(dig(held, "refund_status")),
        arbitration=code(dig(process, "arbitrate_info", "arbitrate_status")),
        pictures=tuple(one for one in shown if isinstance(one, str) and one) if isinstance(shown, list) else (),
        back=parcel(sent, direction=Direction.BACK, shipped_at=moment(sent, "logistics_time")),
    )
