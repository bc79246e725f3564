"""A Pinduoduo shop on loopback: buyers order, ask for their money, send goods back and change their minds.

Reasons of business refusals are not published; those here are the simulator's own, in the vendor's form.
"""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from .pinduoduo_doors import Call, PinduoduoDoors, Record, Refusal

# The type of a request: what the detail calls it, and what the list does.
TYPES: dict[str, tuple[int, int]] = {"refund": (1, 2), "return": (2, 3), "exchange": (3, 4), "repair": (5, 6)}
OPENING = {"refund": 2, "return": 3, "exchange": 14, "repair": 21}
WINDOW = 30 * 60


class PinduoduoSim(PinduoduoDoors):
    """One shop and the people around it."""

    name: ClassVar[str] = "pinduoduo"

    # The world

    def do_place_order(
        self, paid: str = "19.90", pieces: int = 1, title: str = "陶瓷马克杯", days_ago: float = 5,
        waybill: str = "YT1234567890123", received: bool = False,
    ) -> Record:  # fmt: skip
        """A buyer bought and the parcel is on its way, or (``received``) was received."""
        placed, number = self.now() - timedelta(days=days_ago), self._id("order", 339_507_970_000_000)
        sn = f"{placed.strftime('%y%m%d')}-{number}"
        item = {
            "goods_id": 5001, "sku_id": 6001, "outer_id": "MUG-01", "goods_name": title, "goods_count": pieces,
            "goods_price": str(Decimal(paid) / pieces), "goods_spec": "白,大号",
        }  # fmt: skip
        self.books["orders"][sn] = {
            "order_sn": sn, "order_status": 3 if received else 2, "confirm_status": 1, "pay_amount": paid,
            "goods_amount": paid, "postage": "0.00", "pay_type": "WEIXIN", "created_time": self._time(placed),
            "confirm_time": self._time(placed), "shipping_time": self._time(placed + timedelta(hours=6)),
            "updated_at": self._time(placed + timedelta(hours=6)), "logistics_id": 85, "tracking_number": waybill,
            "receive_time": self._time(placed + timedelta(days=3)) if received else "", "item_list": [item],
            "receiver_name": "李**", "receiver_phone": "138****0000", "country": "中国", "province": "上海",
            "city": "上海市", "town": "浦东新区", "receiver_address": "**路**号", "buyer_memo": "",
        }  # fmt: skip
        return {"order": sn}

    def do_open_refund(
        self, order: str, kind: str = "refund", reason: str = "商品破损", remark: str = "杯子收到就碎了",
        pictures: list[str] | None = None, fee: str | None = None, hours_left: float = 48,
        minutes_ago: float = 0,
    ) -> Record:  # fmt: skip
        """The buyer asks for money back, with words and pictures."""
        held, id_ = self.books["orders"][order], self._id("refund", 7_381_700_000)
        at = self.now() - timedelta(minutes=minutes_ago)
        self.books["refunds"][str(id_)] = {
            "id": id_, "order_sn": order, "kind": kind, "status": OPENING[kind], "reason": reason, "remark": remark,
            "fee": fee or held["pay_amount"], "pictures": pictures or [], "created": self._time(at),
            "updated": self._time(at), "touched": int(at.timestamp()), "express_no": "", "shipping_name": "",
            "joined": "0", "due": int((self.now() + timedelta(hours=hours_left)).timestamp() * 1000),
        }  # fmt: skip
        return {"refund": str(id_), "request": f"{order}/{id_}"}

    def do_change_refund(self, refund: str, fee: str) -> None:
        """The buyer asks for another amount."""
        held = self.books["refunds"][str(refund)]
        held["fee"] = fee
        self._turn(held, OPENING[held["kind"]])

    def do_send_back(self, refund: str, waybill: str = "SF1234567890123", company: str = "顺丰速运") -> None:
        """The buyer sends the goods back."""
        held = self.books["refunds"][str(refund)]
        held |= {"express_no": waybill, "shipping_name": company}
        self._turn(held, 3)

    def do_withdraw(self, refund: str) -> None:
        """The buyer takes the request back."""
        self._turn(self.books["refunds"][str(refund)], 11)

    def do_refuse_by_hand(self, refund: str) -> None:
        """A colleague refuses in the console."""
        self._turn(self.books["refunds"][str(refund)], 6)

    def do_intervene(self, refund: str) -> None:
        """Pinduoduo's own people look into it."""
        held = self.books["refunds"][str(refund)]
        held["joined"] = "1"
        self._turn(held, 8)

    def do_pay_by_hand(self, refund: str) -> None:
        """A colleague pays in the console."""
        self._turn(self.books["refunds"][str(refund)], 10)

    def do_arrive(self, refund: str) -> None:
        """Money that was on its way is there."""
        self._turn(self.books["refunds"][str(refund)], 10)

    def do_expire_token(self) -> None:
        """The access token runs out."""
        self.token = f"expired-{self._id('expired', 0)}"

    def do_fail_next(self, code: int = 50001, msg: str = "业务服务错误", sub_msg: str = "", method: str = "") -> None:
        """The next good call (of this method) is refused so."""
        self._fail.append((method, Refusal(code, msg, sub_msg)))

    # The calls

    def _calls(self) -> dict[str, Call]:
        return {
            "pdd.refund.list.increment.get": self._list,
            "pdd.refund.information.get": self._detail,
            "pdd.refund.agree": self._agree,
            "pdd.refund.returngoods.agree": self._agree_return,
            "pdd.order.information.get": self._order,
        }

    def _list(self, params: dict[str, str]) -> Record:
        since, until = (int(params.get(f"{one}_updated_at") or 0) for one in ("start", "end"))
        page, size, state = (int(params.get(one) or 1) for one in ("page", "page_size", "after_sales_status"))
        if not 0 <= until - since <= WINDOW or not 1 <= size <= 100 or "after_sales_type" not in params:
            raise Refusal(50001, "业务服务错误", "开始时间结束时间间距不超过30分钟")
        found = [one for one in self.books["refunds"].values() if since <= one["touched"] <= until]
        found = [one for one in found if state in (1, one["status"])]
        shown = [self._listed(one) for one in found[(page - 1) * size : page * size]]
        return {"refund_increment_get_response": {"total_count": len(found), "refund_list": shown}}

    def _listed(self, held: Record) -> Record:
        """A request as the list shows it: amounts in yuan, as text."""
        return {
            "id": held["id"], "order_sn": held["order_sn"], "after_sales_status": held["status"],
            "after_sales_type": TYPES[held["kind"]][1], "after_sale_reason": held["reason"],
            "refund_amount": held["fee"], "order_amount": self.books["orders"][held["order_sn"]]["pay_amount"],
            "goods_number": "1", "goods_id": 5001, "sku_id": "6001", "outer_id": "MUG-01",
            "created_time": held["created"], "updated_time": held["updated"], "dispute_refund_status": 0,
        }  # fmt: skip

    def _held(self, order: Any, id_: Any) -> Record:
        held: Record | None = self.books["refunds"].get(str(id_))
        if held is None or held["order_sn"] != order:
            raise Refusal(45001, "业务服务错误", "订单不属于当前店铺或订单不存在")
        return held

    def _detail(self, params: dict[str, str]) -> Record:
        """A request in full: amounts in fen, as numbers, and another counting of types."""
        held = self._held(params.get("order_sn"), params.get("after_sales_id"))
        fen = int(Decimal(held["fee"]) * 100)
        return {
            "id": held["id"], "order_sn": held["order_sn"], "after_sales_status": held["status"],
            "after_sales_type": TYPES[held["kind"]][0], "after_sales_reason": held["reason"],
            "refund_amount": fen, "order_amount": fen, "goods_number": 1, "goods_price": fen, "sku_id": "6001",
            "remark": held["remark"], "images": held["pictures"], "express_no": held["express_no"],
            "shipping_name": held["shipping_name"], "join_or_not": held["joined"], "recreated_at": held["created"],
            "updated_time": held["updated"], "expire_time": held["due"] if held["status"] in (2, 3) else None,
            "shipping_status": 1, "speed_refund_flag": 0,
        }  # fmt: skip

    def _asked(self, params: dict[str, str]) -> tuple[Record, Record]:
        asked = json.loads(params.get("request") or "{}")
        return asked, self._held(asked.get("order_sn"), asked.get("after_sales_id"))

    def _agree(self, params: dict[str, str]) -> Record:
        asked, held = self._asked(params)
        if held["status"] not in (2, 3):
            return {"response": {"result": {**_named(asked), "succ": False, "message": "售后状态不允许操作"}}}
        paid = self.books["paid"]
        paid[str(held["id"])] = str(Decimal(paid.get(str(held["id"]), "0")) + Decimal(held["fee"]))
        self._turn(held, 4)
        return {"response": {"result": {**_named(asked), "succ": True, "message": "退款操作成功"}}}

    def _agree_return(self, params: dict[str, str]) -> Record:
        asked, held = self._asked(params)
        if not asked.get("return_address_id") or not asked.get("operate_desc"):
            raise Refusal(50001, "业务服务错误", "退货地址不能为空")
        if held["status"] != 3 or held["kind"] != "return" or held["express_no"]:
            result = {**_named(asked), "success": False, "message": "售后状态不允许操作"}
            return {"response": {"success": True, "error_code": 0, "result": result}}
        self._turn(held, 7)
        result = {**_named(asked), "success": True, "message": "成功"}
        return {"response": {"success": True, "error_code": 0, "result": result}}

    def _order(self, params: dict[str, str]) -> Record:
        held = self.books["orders"].get(params.get("order_sn"))
        if held is None:
            raise Refusal(45001, "业务服务错误", "订单不属于当前店铺或订单不存在")
        return {"order_info_get_response": {"order_info": held}}

    def _turn(self, held: Record, status: int) -> None:
        held |= {"status": status, "updated": self._time(), "touched": int(self.now().timestamp())}


def _named(asked: Record) -> Record:
    return {"after_sales_id": asked["after_sales_id"], "order_sn": asked["order_sn"]}
