"""A Douyin shop on loopback: buyers order, ask for their money, send goods back and change their minds.

Sub-codes of business refusals are not all published; some here are the simulator's own, in the vendor's form.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from .douyin_doors import Call, DouyinDoors, Record, Refusal

TYPES = {"return": 0, "refund": 1, "unshipped": 2, "exchange": 3, "repair": 8}
# What may be done where: (operation, type, status) -> (status after it, refund_status, tag of the push).
STEPS: dict[tuple[int, int, int], tuple[int, int, str]] = {
    (101, 0, 6): (7, 0, "202"),
    (301, 3, 6): (7, 0, "202"),
    (102, 0, 6): (27, 0, "205"),
    (112, 0, 11): (29, 0, "204"),
    (202, 1, 6): (27, 0, "204"),
    (302, 3, 6): (27, 0, "205"),
    (111, 0, 11): (12, 2, "201"),
    (201, 1, 6): (12, 2, "201"),
    (401, 2, 6): (12, 2, "201"),
}
REFUSALS = frozenset({102, 112, 202, 302})
RETURNS = frozenset({101, 301})


class DouyinSim(DouyinDoors):
    """One shop and the people around it."""

    name: ClassVar[str] = "douyin"

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._waiting: list[tuple[str, Record]] = []
        self._race: list[str] = []

    # The world

    def do_place_order(
        self, paid: int = 1990, pieces: int = 1, title: str = "陶瓷马克杯", days_ago: float = 5,
        waybill: str = "YT1234567890123", received: bool = False,
    ) -> Record:  # fmt: skip
        """A buyer bought and the parcel is on its way, or (``received``) was received; amounts are fen."""
        placed, id_ = self._seconds() - int(timedelta(days=days_ago).total_seconds()), self._id("order", 48 * 10**17)
        line = {
            "order_id": str(id_), "parent_order_id": str(id_), "product_name": title, "item_num": pieces,
            "pay_amount": paid, "origin_amount": paid // pieces, "out_sku_id": "MUG-01", "sku_id": 6001,
            "spec": [{"name": "颜色", "value": "白"}], "confirm_receipt_time": placed + 259200 if received else 0,
        }  # fmt: skip
        self.books["orders"][str(id_)] = {
            "order_id": str(id_), "shop_id": self.shop_id, "order_status": 5 if received else 3,
            "create_time": placed, "pay_time": placed, "update_time": placed + 21600, "pay_type": 2,
            "pay_amount": paid, "order_amount": paid, "buyer_words": "", "doudian_open_id": "1@#demo-open-id",
            "mask_post_receiver": "李**", "mask_post_tel": "138****0000",
            "mask_post_addr": {"province": {"name": "上海"}, "city": {"name": "上海市"}, "town": {"name": "浦东新区"},
                               "street": {"name": "花木街道"}, "detail": "**路**号"},
            "logistics_info": [{"tracking_no": waybill, "company": "yuantong", "company_name": "圆通快递",
                                "ship_time": placed + 21600}],
            "sku_order_list": [line],
        }  # fmt: skip
        return {"order": str(id_)}

    async def do_open(
        self, order: str, kind: str = "refund", reason: str = "商品破损", remark: str = "杯子收到就碎了",
        pictures: list[str] | None = None, fen: int | None = None, hours_left: float = 48,
    ) -> Record:  # fmt: skip
        """The buyer asks for money back, with words and pictures."""
        held, id_ = self.books["orders"][str(order)], self._id("request", 7_061_011_234_567_890_122)
        now = self._seconds()
        due = now + int(timedelta(hours=hours_left).total_seconds())
        one: Record = {
            "id": id_, "order": str(order), "type": TYPES[kind], "status": 6, "refund_status": 0, "reason": reason,
            "remark": remark, "pictures": pictures or [], "fen": held["pay_amount"] if fen is None else fen,
            "apply_time": now, "update_time": now, "due": due, "return": {}, "arbitrate_status": 0,
        }  # fmt: skip
        self.books["requests"][str(id_)] = one
        return {"request": str(id_), "status": await self._tell("200", one)}

    async def do_modify(self, request: str, fen: int | None = None, kind: str | None = None) -> int:
        """The buyer asks for something else."""
        held = self.books["requests"][str(request)]
        held |= {"fen": held["fen"] if fen is None else fen, "type": TYPES[kind] if kind else held["type"], "status": 6}
        self._touch(held)
        return await self._tell("208", held)

    async def do_send_back(
        self, request: str, waybill: str = "SF1234567890123", company: str = "顺丰速运", code: str = "shunfeng"
    ) -> int:
        """The buyer sends the goods back."""
        held = self.books["requests"][str(request)]
        held["return"] = {"tracking_no": waybill, "company_name": company, "company_code": code,
                          "logistics_time": self._seconds()}  # fmt: skip
        return await self._turn(held, 11, "203")

    async def do_withdraw(self, request: str) -> int:
        """The buyer takes the request back."""
        return await self._turn(self.books["requests"][str(request)], 28, "207")

    async def do_arrive(self, request: str) -> int:
        """The money is there."""
        held = self.books["requests"][str(request)]
        held["refund_status"] = 3
        return await self._turn(held, 12, "206")

    async def do_pay_by_hand(self, request: str) -> int:
        """A colleague pays in the console, and the money is there."""
        return await self.do_arrive(request)

    async def do_arbitrate(self, request: str, tag: str = "212", status: int = 1) -> int:
        """The buyer calls for Douyin's own people, or these go on."""
        held = self.books["requests"][str(request)]
        held["arbitrate_status"] = status
        self._touch(held)
        return await self._tell(tag, held)

    async def do_tell(self, tag: str = "0", data: Record | None = None) -> int:
        """A push that is no matter of after-sales: the console's test, a trade, another shop's."""
        return await self.push((tag, data or {}))

    def do_drop_next(self, count: int = 1) -> int:
        """The next pushes are lost."""
        self._lose += count
        return self._lose

    def do_race(self, request: str, times: int = 1) -> None:
        """Each of the next readings of the request is overtaken: its update_time rises right after."""
        self._race += [str(request)] * times

    def do_expire_token(self) -> None:
        """The access token runs out."""
        self.token = f"expired-{self._id('expired', 0)}"

    def do_fail_next(
        self, code: int = 50002, msg: str = "业务处理失败", sub_code: str = "", sub_msg: str = "", path: str = ""
    ) -> None:
        """The next good call (of this path) is refused so."""
        self._fail.append((path, Refusal(code, msg, sub_code, sub_msg)))

    def _touch(self, held: Record) -> None:
        held["update_time"] = max(held["update_time"] + 1, self._seconds())

    async def _turn(self, held: Record, status: int, tag: str) -> int:
        held["status"] = status
        self._touch(held)
        return await self._tell(tag, held)

    async def _tell(self, tag: str, held: Record) -> int:
        """Push what changed; lost where ``do_drop_next`` says so."""
        if self._lose:
            self._lose -= 1
            return 0
        return await self.push((tag, self._data(tag, held)))

    def _data(self, tag: str, held: Record) -> Record:
        at = {"200": "apply_time", "208": "modify_time", "206": "success_time", "207": "close_time"}.get(
            tag, "agree_time"
        )
        return {
            "aftersale_id": held["id"], "aftersale_status": held["status"], "aftersale_type": held["type"],
            "p_id": int(held["order"]), "s_id": int(held["order"]), "shop_id": self.shop_id, "reason_code": 8,
            "refund_amount": held["fen"], "refund_post_amount": 0, "refund_voucher_num": 0,
            at: held["update_time"], "update_time": held["update_time"], "arbitrate_status": held["arbitrate_status"],
        }  # fmt: skip

    async def _push_what_waits(self) -> None:
        told, self._waiting = self._waiting, []
        for tag, held in told:
            await self._tell(tag, held)

    # The calls

    def _calls(self) -> dict[str, Call]:
        return {
            "token/create": self._create_token,
            "token/refresh": self._refresh_token,
            "afterSale/List": self._list,
            "afterSale/Detail": self._detail,
            "afterSale/operate": self._operate,
            "afterSale/rejectReasonCodeList": self._reasons,
            "order/orderDetail": self._order,
        }

    def _list(self, given: Record) -> Record:
        page, size = given.get("page"), given.get("size")
        if not isinstance(page, int) or not isinstance(size, int) or not 1 <= size <= 100:
            raise Refusal(40004, "非法的参数", "isv.parameter-invalid:11000", "page/size")
        since, until = given.get("update_start_time", 0), given.get("update_end_time", 10**12)
        found = [one for one in self.books["requests"].values() if since <= one["update_time"] <= until]
        found.sort(key=lambda one: int(one["update_time"]))
        shown = [self._listed(one) for one in found[page * size : (page + 1) * size]]
        more = (page + 1) * size < len(found)
        return {"items": shown, "has_more": more, "total": len(found), "page": page, "size": len(shown)}

    def _listed(self, held: Record) -> Record:
        back = held["return"]
        info = {
            "aftersale_id": str(held["id"]), "aftersale_type": held["type"], "aftersale_status": held["status"],
            "related_id": held["order"], "apply_time": held["apply_time"], "update_time": held["update_time"],
            "status_deadline": held["due"], "refund_amount": held["fen"], "refund_status": held["refund_status"],
            "aftersale_num": 1, "arbitrate_status": held["arbitrate_status"],
            "return_logistics_code": back.get("tracking_no", ""),
            "return_logistics_company_name": back.get("company_name", ""),
        }  # fmt: skip
        related = [{"sku_order_id": held["order"], "shop_sku_code": "MUG-01", "pay_amount": held["fen"]}]
        order = {"shop_order_id": held["order"], "related_order_info": related}
        return {"aftersale_info": info, "order_info": order, "text_part": {"reason_text": held["reason"]}}

    def _held(self, id_: Any) -> Record:
        held: Record | None = self.books["requests"].get(str(id_))
        if held is None:
            raise Refusal(50002, "业务处理失败", "isv.business-failed:11002", "售后单不存在")
        return held

    def _detail(self, given: Record) -> Record:
        held = self._held(given.get("after_sale_id"))
        info = {
            "after_sale_id": held["id"], "after_sale_status": held["status"], "after_sale_type": held["type"],
            "refund_status": held["refund_status"], "refund_total_amount": held["fen"], "refund_post_amount": 0,
            "apply_time": held["apply_time"], "update_time": held["update_time"], "reason": held["reason"],
            "reason_code": 8, "reason_remark": held["remark"], "evidence": held["pictures"],
            "after_sale_apply_count": 1, "status_deadline": held["due"],
        }  # fmt: skip
        line = {"sku_order_id": int(held["order"]), "shop_sku_code": "MUG-01", "pay_amount": held["fen"]}
        process = {
            "after_sale_info": info, "arbitrate_info": {"arbitrate_status": held["arbitrate_status"]},
            "logistics_info": {"return": held["return"] or None},
        }  # fmt: skip
        if str(held["id"]) in self._race:
            self._race.remove(str(held["id"]))
            self._touch(held)
        return {
            "process_info": process,
            "order_info": {"shop_order_id": int(held["order"]), "sku_order_infos": [line]},
        }

    def _operate(self, given: Record) -> Record:
        type_, (item,) = given.get("type"), given.get("items", [{}])
        held = self._held(item.get("aftersale_id"))
        self._must_be_whole(type_, item)
        if item.get("update_time") not in (None, held["update_time"]):
            raise Refusal(50002, "业务处理失败", "isv.business-failed:11007", "售后单版本不是最新")
        step = STEPS.get((int(type_ or 0), held["type"], held["status"]))
        if step is None:
            raise Refusal(50002, "业务处理失败", "isv.business-failed:20309541", "售后状态错误")
        status, refund, tag = step
        held |= {"status": status, "refund_status": refund or held["refund_status"]}
        if refund:
            self.books["paid"][str(held["id"])] = self.books["paid"].get(str(held["id"]), 0) + held["fen"]
        if type_ in REFUSALS:
            held["refused"] = {name: item.get(name) for name in ("reason", "remark", "reject_reason_code", "evidence")}
        self._touch(held)
        self._waiting.append((tag, held))
        return {"items": [{"aftersale_id": held["id"], "status_code": 0, "status_msg": "success"}]}

    def _must_be_whole(self, type_: Any, item: Record) -> None:
        """Refuse what lacks its address, its reason or its proof."""
        if type_ in RETURNS and not item.get("logistics", {}).get("receiver_address_id"):
            raise Refusal(40004, "非法的参数", "isv.parameter-invalid:11000", "receiver_address_id")
        if type_ not in REFUSALS:
            return
        if not item.get("reason") or not item.get("remark") or not item.get("reject_reason_code"):
            raise Refusal(40004, "非法的参数", "isv.parameter-invalid:11000", "reject_reason_code")
        if item["reject_reason_code"] == 102 and not item.get("evidence"):
            raise Refusal(40004, "非法的参数", "isv.parameter-invalid:11000", "evidence")

    def _reasons(self, given: Record) -> Record:
        self._held(given.get("aftersale_id"))
        listed = [(101, "已经超过售后期限", "N"), (102, "定制商品不支持退货", "Y"), (103, "其他原因", "N")]
        names = ("reject_reason_code", "reason", "evidence_need")
        return {"items": [dict(zip(names, one, strict=True)) for one in listed]}

    def _order(self, given: Record) -> Record:
        held = self.books["orders"].get(str(given.get("shop_order_id")))
        if held is None:
            raise Refusal(50002, "业务处理失败", "isv.business-failed:11003", "订单不存在")
        return {"shop_order_detail": held}
