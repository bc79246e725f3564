"""A small SF open platform (丰桥): routes on request, and pushes of new routes as JSON or as a form with XML."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qsl, quote, urlencode
from xml.sax.saxutils import quoteattr
from zoneinfo import ZoneInfo

from aiohttp import web

from .server import Simulator

CHINA = ZoneInfo("Asia/Shanghai")
FORM = "application/x-www-form-urlencoded;charset=UTF-8"
FIELDS = ("partnerID", "requestID", "serviceCode", "timestamp", "msgDigest", "msgData")
# What Java's URLEncoder leaves as it is; a space becomes a plus, all else is escaped.
PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-._")
MOST = 10
SERVICES = frozenset({"EXP_RECE_SEARCH_ROUTES", "EXP_RECE_REGISTER_ROUTE"})
# Operation → first and secondary status with their names, as far as the vendor's clients show them.
STATUS = {
    "50": ("1", "已揽收", "101", "已揽收"),
    "30": ("2", "运送中", "201", "运送中"),
    "44": ("3", "派送中", "301", "派送中"),
    "80": ("4", "已签收", "401", "已签收"),
}


class Refusal(Exception):
    """A refusal of the platform (``api``), or of the service behind it in a good answer."""

    def __init__(self, code: str, words: str, *, api: bool = False) -> None:
        super().__init__(words)
        self.code, self.words, self.api = code, words, api


def java_escape(text: str) -> str:
    """Java's ``URLEncoder.encode`` in UTF-8."""
    return "".join(chr(one) if chr(one) in PLAIN else "+" if one == 32 else f"%{one:02X}" for one in text.encode())


def sign(data: str, timestamp: str, check_word: str) -> str:
    """msgDigest: the base64 of an MD5's raw bytes."""
    escaped = java_escape(data + timestamp + check_word)
    return base64.b64encode(hashlib.md5(escaped.encode(), usedforsecurity=False).digest()).decode()


class SfExpressSim(Simulator):
    """SF on loopback. ``do_ship`` and ``do_scan`` are SF at work; routes of ordered parcels are pushed to ``hook``."""

    name: ClassVar[str] = "sf_express"
    tries: ClassVar[int] = 3

    def __init__(self, partner_id: str = "SHOP001", check_word: str = "word", *, hook: str | None = None) -> None:
        super().__init__(hook=hook)
        self.partner_id, self.check_word = partner_id, check_word
        self.books |= {"queries": [], "pushes": [], "refusals": []}
        self.shipments: dict[str, dict[str, Any]] = {}
        self.pause = 0.05
        self.way: Literal["json", "xml", "signed"] = "json"
        self._refuse: list[Refusal] = []
        self._sent: tuple[bytes, str] = (b"", "")
        self._number = 0

    def account_settings(self) -> dict[str, Any]:
        """Settings of an account that calls here."""
        return {**super().account_settings(), "url": f"{self.url}/std/service"}

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/std/service", self._door)]

    async def _door(self, request: web.Request) -> web.Response:
        told = {"apiErrorMsg": "", "apiResponseID": "00016B0D59BA503FDF3C3333355F863F", "apiResultCode": "A1000"}
        try:
            data = self._checked(request, dict(parse_qsl(await request.text(), keep_blank_values=True)))
            found = self._search(data) if "trackingNumber" in data else self._register(data)
            inner = {"success": True, "errorCode": "S0000", "errorMsg": None, "msgData": found}
        except Refusal as refusal:
            self.books["refusals"].append(refusal.code)
            if refusal.api:
                return web.json_response(
                    told | {"apiErrorMsg": refusal.words, "apiResultCode": refusal.code, "apiResultData": None}
                )
            inner = {"success": False, "errorCode": refusal.code, "errorMsg": refusal.words, "msgData": None}
        return web.json_response(told | {"apiResultData": json.dumps(inner, ensure_ascii=False)})

    def _checked(self, request: web.Request, form: dict[str, str]) -> dict[str, Any]:
        if request.content_type != FORM.partition(";")[0] or any(not form.get(one) for one in FIELDS):
            raise Refusal("A1001", "必传参数不可为空", api=True)
        if form["partnerID"] != self.partner_id or form["serviceCode"] not in SERVICES:
            raise Refusal("A1004", "无对应服务权限", api=True)
        if form["msgDigest"] != sign(form["msgData"], form["timestamp"], self.check_word):
            raise Refusal("A1006", "数字签名无效", api=True)
        if self._refuse:
            raise self._refuse.pop(0)
        data = json.loads(form["msgData"])
        if not isinstance(data, dict):
            raise Refusal("A1001", "必传参数不可为空", api=True)
        return data

    def _search(self, data: dict[str, Any]) -> dict[str, Any]:
        numbers = data.get("trackingNumber") or []
        if not 0 < len(numbers) <= MOST:
            raise Refusal(
                "8013" if not numbers else "8003", "未传入查询单号" if not numbers else "查询单号超过最大限制"
            )
        self.books["queries"].append(data)
        shown = [{"mailNo": one, "routes": self._routes(one, str(data.get("checkPhoneNo") or ""))} for one in numbers]
        return {"routeResps": shown}

    def _register(self, data: dict[str, Any]) -> dict[str, Any]:
        """From now on the parcel's nodes are pushed."""
        shipment = self.shipments.get(str(data.get("attributeNo")))
        if data.get("type") != "2" or shipment is None or shipment["tail"] != data.get("checkPhoneNo"):
            raise Refusal("8018", "未获取到订单信息")
        shipment["ordered"] = True
        return {}

    def _routes(self, waybill: str, tail: str) -> list[dict[str, Any]]:
        """The nodes, the newest first; none where the phone does not fit, and no word about it."""
        shipment = self.shipments.get(waybill)
        if shipment is None or not (shipment["ordered"] or shipment["tail"] == tail):
            return []
        return [self._with_status(one) for one in reversed(shipment["nodes"])]

    def _with_status(self, node: dict[str, Any]) -> dict[str, Any]:
        first, first_name, second, second_name = STATUS.get(node["opCode"], ("-", "-", "-", "-"))
        told = {name: node[name] for name in ("acceptAddress", "acceptTime", "opCode", "remark")}
        told |= {"firstStatusCode": first, "firstStatusName": first_name}
        return told | {"secondaryStatusCode": second, "secondaryStatusName": second_name}

    def do_ship(self, waybill: str, phone_tail: str = "", *, ordered: bool = False) -> None:
        """SF takes a parcel; one that was ``ordered`` through the platform needs no phone and is pushed."""
        self.shipments[waybill] = {"tail": phone_tail, "ordered": ordered, "nodes": []}

    async def do_scan(
        self, waybill: str, op_code: str, remark: str, place: str = "", reason: str = "", at: str | None = None
    ) -> int:
        """SF scans the parcel; the status of the push's answer, 0 where none is taken."""
        moment = datetime.fromisoformat(at) if at else self.now()
        node = {"mailno": waybill, "orderid": "RMA-1", "acceptTime": f"{moment.astimezone(CHINA):%Y-%m-%d %H:%M:%S}"}
        node |= {"acceptAddress": place, "remark": remark, "opCode": op_code, "reasonCode": reason, "reasonName": ""}
        self.shipments[waybill]["nodes"].append(node)
        return await self._push([node]) if self.shipments[waybill]["ordered"] else 0

    async def do_push_all(self, waybill: str) -> int:
        """All nodes come once more, with new ids and in one push."""
        return await self._push(self.shipments[waybill]["nodes"])

    async def do_redeliver(self) -> int:
        """The last push comes again, byte for byte."""
        return await self._send(*self._sent)

    def do_push_as(self, way: Literal["json", "xml", "signed"]) -> None:
        """Pushes come as JSON, as a form with XML, or as a form with a digest."""
        self.way = way

    def do_fail_next(self, code: str = "8888", words: str = "系统繁忙,请稍后重试", *, api: bool = False) -> None:
        """The next good call is refused like this."""
        self._refuse.append(Refusal(code, words, api=api))

    async def _push(self, nodes: list[dict[str, Any]]) -> int:
        numbered = []
        for node in nodes:
            self._number += 1
            numbered.append({"id": str(self._number), **node})
        document = json.dumps({"Body": {"WaybillRoute": numbered}}, ensure_ascii=False)
        self._sent = {"json": self._json, "xml": self._xml, "signed": self._signed}[self.way](document)
        return await self._send(*self._sent)

    def _json(self, document: str) -> tuple[bytes, str]:
        return document.encode(), "application/json"

    def _xml(self, document: str) -> tuple[bytes, str]:
        nodes = json.loads(document)["Body"]["WaybillRoute"]
        many = [" ".join(f"{name}={quoteattr(value)}" for name, value in one.items()) for one in nodes]
        inner = "".join(f"<WaybillRoute {one}/>" for one in many)
        xml = f'<Request service="RoutePushService" lang="zh-CN"><Body>{inner}</Body></Request>'
        return urlencode({"content": quote(xml)}).encode(), FORM

    def _signed(self, document: str) -> tuple[bytes, str]:
        stamp = str(int(self.now().timestamp() * 1000))
        form = {"partnerID": self.partner_id, "timestamp": stamp, "msgData": document}
        return urlencode(form | {"msgDigest": sign(document, stamp, self.check_word)}).encode(), FORM

    async def _send(self, body: bytes, content_type: str) -> int:
        def taken(status: int, said: bytes) -> bool:
            accepted = b"<Head>OK</Head>" in said if self.way == "xml" else b'"return_code":"0000"' in said
            self.books["pushes"].append({"status": status, "accepted": accepted})
            return accepted

        return await self.deliver(body, {"Content-Type": content_type}, tries=self.tries, taken=taken, pause=self.pause)
