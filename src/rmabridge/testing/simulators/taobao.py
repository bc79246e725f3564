"""A Taobao shop on loopback: buyers order, ask for their money, write, send goods back and change their minds."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, ClassVar

from .taobao_calls import TaobaoCalls
from .taobao_doors import Record

BILLS = {"REFUND": "refund_bill", "REFUND_AND_RETURN": "return_bill", "TAOBAO_EXCHANGE": "replace_bill"}


class TaobaoSim(TaobaoCalls):
    """One seller and the people around it."""

    name: ClassVar[str] = "taobao"

    def do_place_order(
        self, nick: str = "t**1", open_uid: str = "AAHd-demo", payment: str = "19.90", waybill: str = "SF1234567890123",
        company: str = "顺丰速运", pieces: int = 1, title: str = "陶瓷马克杯", days_ago: float = 5,
        finished: bool = False,
    ) -> Record:  # fmt: skip
        """A buyer bought and the parcel is on its way, or (``finished``) was received."""
        tid, placed = self._id("trade", 2_100_000_000_000_000_000), self.now() - timedelta(days=days_ago)
        oid = self._id("trade", 2_100_000_000_000_000_000)
        sent = self._time(placed + timedelta(hours=6))
        line = {
            "oid": oid, "title": title, "num": pieces, "payment": payment, "price": "29.90", "outer_sku_id": "MUG-01",
            "sku_properties_name": "颜色:白", "invoice_no": waybill, "logistics_company": company, "consign_time": sent,
        }  # fmt: skip
        self.books["trades"][str(tid)] = {
            "tid": tid, "created": self._time(placed), "pay_time": self._time(placed), "consign_time": sent,
            "status": "TRADE_FINISHED" if finished else "WAIT_BUYER_CONFIRM_GOODS", "modified": self._time(placed),
            "payment": payment, "buyer_nick": nick, "buyer_open_uid": open_uid, "alipay_no": "2026010222001",
            "receiver_name": "李**", "receiver_mobile": "138****0000", "receiver_state": "上海",
            "receiver_city": "上海市", "receiver_district": "浦东新区", "receiver_address": "**路**号",
            "orders": {"order": [line]},
        } | ({"end_time": self._time(placed + timedelta(days=3))} if finished else {})  # fmt: skip
        return {"tid": str(tid), "oid": str(oid)}

    def do_open_refund(
        self, tid: str, kind: str = "REFUND", reason: str = "收到商品破损", desc: str = "杯子收到就碎了",
        pictures: list[str] | None = None, fee: str | None = None, phase: str = "aftersale", hours_left: float = 48,
    ) -> Record:  # fmt: skip
        """The buyer asks for money back, with words and pictures."""
        trade, id_ = self.books["trades"][str(tid)], str(self._id("refund", 987_654_320))
        until = self._time(self.now() + timedelta(hours=hours_left))
        line, now = trade["orders"]["order"][0], self._time()
        self.books["refunds"][id_] = held = {
            "refund_id": id_, "tid": trade["tid"], "oid": line["oid"], "status": "WAIT_SELLER_AGREE",
            "refund_fee": fee or line["payment"], "total_fee": trade["payment"], "payment": "0.00", "reason": reason,
            "desc": desc, "good_status": "BUYER_RECEIVED", "has_good_return": kind == "REFUND_AND_RETURN",
            "order_status": trade["status"], "refund_phase": phase, "dispute_type": kind,
            "refund_version": int(self.now().timestamp() * 1000), "cs_status": 1, "num": line["num"],
            "outer_id": line["outer_sku_id"], "title": line["title"], "buyer_nick": trade["buyer_nick"],
            "buyer_open_uid": trade["buyer_open_uid"], "created": now, "modified": now,
            "bill_type": BILLS.get(kind, "refund_bill"),
            "refund_remind_timeout": {"exist_timeout": True, "remind_type": 1, "timeout": until},
        }  # fmt: skip
        self.books["messages"][id_] = []
        self._leave(held, "1", desc, pictures or [])
        self._tell("RefundCreated", held)
        return {"refund": id_}

    def do_say(self, refund: str, content: str, pictures: list[str] | None = None) -> Record:
        """The buyer writes in the refund's thread."""
        held = self.books["refunds"][str(refund)]
        made = self._leave(held, "1", content, pictures or [])
        self._touch(held)
        self._tell("RefundCreateMessage", held)
        return {"message": made["id"]}

    def do_change_refund(self, refund: str, fee: str | None = None, kind: str | None = None) -> None:
        """The buyer asks for something else."""
        held = self.books["refunds"][str(refund)]
        kind = kind or held["dispute_type"]
        held |= {"refund_fee": fee or held["refund_fee"], "dispute_type": kind, "status": "WAIT_SELLER_AGREE"}
        held |= {"has_good_return": kind == "REFUND_AND_RETURN", "bill_type": BILLS.get(kind, "refund_bill")}
        self._touch(held)
        self._tell("RefundBuyerModifyAgreement", held)

    def do_send_back(self, refund: str, waybill: str = "YT1234567890123", company: str = "圆通速递") -> None:
        """The buyer sends the goods back."""
        held = self.books["refunds"][str(refund)]
        held |= {"sid": waybill, "company_name": company, "good_return_time": self._time()}
        self._turn(held, "WAIT_SELLER_CONFIRM_GOODS", "RefundBuyerReturnGoods")

    def do_withdraw(self, refund: str) -> None:
        """The buyer takes the request back."""
        self._turn(self.books["refunds"][str(refund)], "CLOSED", "RefundClosed")

    def do_intervene(self, refund: str, stage: int = 3) -> None:
        """Taobao's own people look into it."""
        held = self.books["refunds"][str(refund)]
        held["cs_status"] = stage
        self._touch(held)
        self._tell("TaobaoIntervened", held)

    def do_agree_by_hand(self, refund: str) -> None:
        """A colleague pays in Qianniu."""
        self._turn(self.books["refunds"][str(refund)], "SUCCESS", "RefundSuccess")

    def do_tell_trade(self, topic: str = "TradeSuccess", tid: str = "1", seller: str | None = None) -> int:
        """A message that is no matter of after-sales, or of another seller."""
        id_ = self._id("tmc", 7_000_000_000_000_000_000)
        told = {
            "id": id_, "topic": f"taobao_trade_{topic}", "pub_time": self._time(), "user_nick": seller or self.seller,
            "content": f'{{"tid":{tid}}}',
        }  # fmt: skip
        self.books["queue"].append(told)
        return id_

    def do_drop_next(self, count: int = 1) -> int:
        """The next messages are never queued."""
        self._lose += count
        return self._lose

    def do_race(self, refund: str, times: int = 1) -> None:
        """Each of the next readings of the refund is overtaken: its version rises right after."""
        self._race += [str(refund)] * times

    def do_expire_session(self, on: bool = True) -> None:
        """The seller's consent runs out."""
        self._expired = on

    def do_stall(self, method: str, on: bool = True) -> None:
        """Calls of this method get no answer, and are never carried out."""
        if on:
            self._stalled[method] = asyncio.Event()
        else:
            self._stalled.pop(method).set()

    def do_fail_next(
        self, code: int = 15, msg: str = "Remote service error", sub_code: str = "", sub_msg: str = "", method: str = ""
    ) -> None:
        """The next good call (of this method) is refused so."""
        answer: dict[str, Any] = {"code": code, "msg": msg, "sub_code": sub_code, "sub_msg": sub_msg}
        self._fail.append((method, answer))
