"""What the calls of a small Taobao do to its books.

The sub-codes of business refusals are not published; those here are the simulator's own, in the vendor's form.
"""

from __future__ import annotations

import json

from .taobao_doors import Call, Record, Refusal, TaobaoDoors


def image(content: bytes) -> bool:
    """Whether the bytes are a JPG, GIF or PNG."""
    return content.startswith((b"\xff\xd8", b"GIF8", b"\x89PNG"))


class TaobaoCalls(TaobaoDoors):
    """Carries calls out, and tells the seller's queue what changed."""

    def _calls(self) -> dict[str, Call]:
        return {
            "taobao.tmc.user.permit": self._permit,
            "taobao.tmc.messages.consume": self._consume,
            "taobao.tmc.messages.confirm": self._confirm,
            "taobao.refund.get": self._get_refund,
            "taobao.refunds.receive.get": self._list_refunds,
            "taobao.refund.messages.get": self._get_messages,
            "taobao.refund.message.add": self._add_message,
            "taobao.refund.refusereason.get": self._reasons,
            "taobao.rp.refunds.agree": self._agree,
            "taobao.rp.returngoods.agree": self._agree_return,
            "taobao.refund.refuse": self._refuse,
            "taobao.trade.fullinfo.get": self._get_trade,
        }

    # Messages of the platform

    def _permit(self, _: dict[str, str], __: dict[str, bytes]) -> Record:
        self.books["permitted"] = True
        return {"is_success": True}

    def _consume(self, params: dict[str, str], _: dict[str, bytes]) -> Record:
        quantity = int(params.get("quantity") or 100)
        if not 10 <= quantity <= 200:
            raise Refusal(41, "Invalid Arguments", "isv.invalid-parameter", "quantity")
        told = self.books["queue"][:quantity]
        for one in told:
            self.books["delivered"][str(one["id"])] = self.books["delivered"].get(str(one["id"]), 0) + 1
        return {"messages": {"tmc_message": told}} if told else {}

    def _confirm(self, params: dict[str, str], _: dict[str, bytes]) -> Record:
        given = [int(one) for one in params.get("s_message_ids", "").split(",") if one]
        if not given or len(given) > 200:
            raise Refusal(41, "Invalid Arguments", "isv.invalid-parameter", "s_message_ids")
        self.books["queue"] = [one for one in self.books["queue"] if one["id"] not in given]
        self.books["confirmed"] += given
        return {"is_success": True}

    # Refunds

    def _held(self, params: dict[str, str]) -> Record:
        held: Record | None = self.books["refunds"].get(params.get("refund_id", ""))
        if held is None:
            raise Refusal(15, "Remote service error", "isv.refund-not-exist", "退款不存在")
        return held

    def _get_refund(self, params: dict[str, str], _: dict[str, bytes]) -> Record:
        held = self._held(params)
        shown = {name: held[name] for name in params.get("fields", "").split(",") if name in held}
        if params["refund_id"] in self._race:
            self._race.remove(params["refund_id"])
            self._touch(held)
        return {"refund": shown}

    def _list_refunds(self, params: dict[str, str], _: dict[str, bytes]) -> Record:
        page, size = int(params.get("page_no") or 1), int(params.get("page_size") or 40)
        since, until = params.get("start_modified", ""), params.get("end_modified") or "9"
        found = [one for one in self.books["refunds"].values() if since <= one["modified"] <= until]
        names = params.get("fields", "").split(",")
        shown = [{name: one[name] for name in names if name in one} for one in found[(page - 1) * size : page * size]]
        return {"refunds": {"refund": shown}, "has_next": page * size < len(found)}

    def _versioned(self, params: dict[str, str]) -> Record:
        held = self._held(params)
        if self.is_tmall and params.get("refund_phase") != held["refund_phase"]:
            raise Refusal(40, "Missing Required Arguments", "isv.missing-parameter", "refund_phase")
        if params.get("refund_version") != str(held["refund_version"]):
            raise Refusal(15, "Remote service error", "isv.refund-version-error", "退款版本号不一致")
        return held

    def _agree(self, params: dict[str, str], _: dict[str, bytes]) -> Record:
        results = []
        for info in params.get("refund_infos", "").split(","):
            parts = info.split("|")
            if len(parts) != (4 if self.is_tmall else len(parts)) or not all(one.isdigit() for one in parts[:3]):
                raise Refusal(41, "Invalid Arguments", "isv.invalid-parameter", "refund_infos")
            results.append(self._agree_one(*parts))
        done = [one["succ"] for one in results]
        code = "OP_SUCC" if all(done) else "SOME_OP_SUCC" if any(done) else "OP_FAILURE_UE"
        return {"succ": any(done), "msg_code": code, "message": "", "results": {"refund_mapping_result": results}}

    def _agree_one(self, refund_id: str, amount: str, version: str, phase: str = "") -> Record:
        held = self._held({"refund_id": refund_id})
        ready = "WAIT_SELLER_CONFIRM_GOODS" if held["has_good_return"] else "WAIT_SELLER_AGREE"
        yuan, _, fen = held["refund_fee"].partition(".")
        wrong = (
            "退款版本号不一致" if version != str(held["refund_version"])
            else "退款金额不一致" if int(amount) != int(yuan) * 100 + int(fen)
            else "退款阶段不一致" if self.is_tmall and phase != held["refund_phase"]
            else "退款状态不允许操作" if held["status"] != ready
            else ""
        )  # fmt: skip
        if wrong:
            return {"refund_id": refund_id, "succ": False, "message": wrong}
        self.books["paid"][refund_id] = self.books["paid"].get(refund_id, 0) + int(amount)
        self._turn(held, "SUCCESS", "RefundSuccess")
        return {"refund_id": refund_id, "succ": True, "message": ""}

    def _agree_return(self, params: dict[str, str], _: dict[str, bytes]) -> Record:
        held = self._versioned(params)
        if not params.get("seller_address_id") or (self.is_tmall and not params.get("remark")):
            raise Refusal(40, "Missing Required Arguments", "isv.missing-parameter", "seller_address_id")
        if held["status"] != "WAIT_SELLER_AGREE" or not held["has_good_return"]:
            raise Refusal(15, "Remote service error", "isv.refund-status-error", "退款状态不允许操作")
        self._turn(held, "WAIT_BUYER_RETURN_GOODS", "RefundSellerAgreeAgreement")
        return {"is_success": True}

    def _refuse(self, params: dict[str, str], files: dict[str, bytes]) -> Record:
        held, proof = self._versioned(params), files.get("refuse_proof", b"")
        if not 2 <= len(params.get("refuse_message", "")) <= 200:
            raise Refusal(41, "Invalid Arguments", "isv.invalid-parameter", "refuse_message")
        if (self.is_tmall and not proof) or (proof and (len(proof) > 130_000 or not image(proof))):
            raise Refusal(40, "Missing Required Arguments", "isv.missing-parameter", "refuse_proof")
        if held["status"] != "WAIT_SELLER_AGREE":
            raise Refusal(15, "Remote service error", "isv.refund-status-error", "退款状态不允许操作")
        held["refused"] = {"reason": params.get("refuse_reason_id"), "words": params["refuse_message"]}
        self._turn(held, "SELLER_REFUSE_BUYER", "RefundSellerRefuseAgreement")
        return {"is_success": True, "refund": {"refund_id": str(held["refund_id"]), "status": held["status"]}}

    def _reasons(self, params: dict[str, str], _: dict[str, bytes]) -> Record:
        self._held(params)
        listed = [(101, "已经超过售后期限"), (102, "定制商品不支持退货"), (103, "其他原因")]
        return {"reasons": {"reason": [{"reason_id": id_, "reason_text": text} for id_, text in listed]}}

    # The thread of a refund

    def _get_messages(self, params: dict[str, str], _: dict[str, bytes]) -> Record:
        held = self._held(params)
        if self.is_tmall and params.get("refund_phase") != held["refund_phase"]:
            raise Refusal(40, "Missing Required Arguments", "isv.missing-parameter", "refund_phase")
        told = self.books["messages"][params["refund_id"]]
        return {"refund_messages": {"refund_message": told}, "total_results": len(told)}

    def _add_message(self, params: dict[str, str], files: dict[str, bytes]) -> Record:
        content, picture = params.get("content", ""), files.get("image", b"")
        held = self._held(params)
        if not content or len(content.encode()) > 400:
            raise Refusal(41, "Invalid Arguments", "isv.invalid-parameter", "留言内容超过400个字节")
        if picture and (len(picture) > 500_000 or not image(picture)):
            raise Refusal(3, "Upload Fail", "isv.invalid-parameter", "image")
        made = self._leave(held, "2", content, [f"//img.example.com/{len(picture)}.jpg"] if picture else [])
        return {"refund_message": {"id": made["id"], "created": made["created"]}}

    def _get_trade(self, params: dict[str, str], _: dict[str, bytes]) -> Record:
        trade = self.books["trades"].get(params.get("tid", ""))
        if trade is None:
            raise Refusal(15, "Remote service error", "isv.trade-not-exist", "交易不存在")
        return {"trade": {name: trade[name] for name in params.get("fields", "").split(",") if name in trade}}

    # What the calls change

    def _touch(self, held: Record) -> None:
        held["refund_version"] += 1
        held["modified"] = self._time()

    def _turn(self, held: Record, status: str, topic: str) -> None:
        held["status"] = status
        self._touch(held)
        self._tell(topic, held)

    def _leave(self, held: Record, role: str, content: str, pictures: list[str]) -> Record:
        told: Record = {
            "id": self._id("message", 5_000_000_000), "refund_id": str(held["refund_id"]), "content": content,
            "owner_role": role, "owner_nick": held["buyer_nick"] if role == "1" else self.seller,
            "created": self._time(), "message_type": "NORMAL",
            "pic_urls": {"pic_url": [{"url": one} for one in pictures]},
        }  # fmt: skip
        self.books["messages"][str(held["refund_id"])].append(told)
        return told

    def _tell(self, topic: str, held: Record) -> Record | None:
        """Queue a message; lost where ``do_drop_next`` says so."""
        if self._lose:
            self._lose -= 1
            return None
        names = ("refund_id", "tid", "oid", "refund_fee", "refund_phase", "buyer_nick", "buyer_open_uid", "modified")
        content = {name: held[name] for name in names} | {"refund_id": int(held["refund_id"])}
        content |= {"bill_type": held["bill_type"], "seller_nick": self.seller}
        told: Record = {
            "id": self._id("tmc", 7_000_000_000_000_000_000), "topic": f"taobao_refund_{topic}",
            "pub_time": self._time(), "pub_app_key": "12497914", "user_nick": self.seller, "user_id": 2054200000,
            "content": json.dumps(content, ensure_ascii=False),
        }  # fmt: skip
        self.books["queue"].append(told)
        return told
