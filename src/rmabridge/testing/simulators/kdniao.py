"""A small Kdniao: queries, recognition, subscriptions, and pushes that are repeated until they are answered."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote, urlencode
from zoneinfo import ZoneInfo

from aiohttp import web

from .server import Simulator

CHINA = ZoneInfo("Asia/Shanghai")
FORM = "application/x-www-form-urlencoded;charset=utf-8"
NOBODY = "http://127.0.0.1:9/"  # the port that throws everything away
NO_TRACE = "暂无轨迹信息"
FIELDS = ("RequestData", "EBusinessID", "RequestType", "DataSign", "DataType")


class Refusal(Exception):
    """A business error: HTTP 200 with ``Success`` false and the reason in Chinese."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.answer = {"Success": False, "Reason": reason, "ResultCode": code}


def sign(content: str, key: str) -> str:
    """DataSign of Kdniao: base64 of the hexadecimal text of an MD5."""
    digest = hashlib.md5((content + key).encode(), usedforsecurity=False).hexdigest()
    return base64.b64encode(digest.encode()).decode()


class KdniaoSim(Simulator):
    """Kdniao on loopback. ``do_ship`` and ``do_scan`` are the carriers at work; pushes go to ``hook``."""

    name: ClassVar[str] = "kdniao"
    tries: ClassVar[int] = 3

    def __init__(self, business_id: str = "1234567", app_key: str = "key", *, hook: str | None = None) -> None:
        super().__init__(hook=hook)
        self.business_id, self.app_key = business_id, app_key
        self.books |= {"subscriptions": {}, "queries": [], "pushes": [], "refusals": []}
        self.shipments: dict[str, dict[str, Any]] = {}
        self.pause = 0.05
        self._escapes_twice = False
        self._refuse: list[str] = []
        self._break: list[tuple[int, bytes]] = []
        self._sent: dict[str, bytes] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/Ebusiness/EbusinessOrderHandle.aspx", self._query_door),
            web.post("/api/dist", self._dist_door),
        ]

    async def _query_door(self, request: web.Request) -> web.Response:
        return await self._answer(request, {"1002": self._query, "8001": self._query, "2002": self._recognise})

    async def _dist_door(self, request: web.Request) -> web.Response:
        return await self._answer(request, {"1008": self._subscribe, "8008": self._subscribe})

    async def _answer(self, request: web.Request, calls: dict[str, Any]) -> web.Response:
        body = await request.read()
        if self._break:
            status, raw = self._break.pop(0)
            return web.Response(status=status, body=raw, content_type="application/json")
        try:
            kind, data = self._checked(dict(parse_qsl(body.decode(), keep_blank_values=True)), calls)
            answer = calls[kind](kind, data)
        except Refusal as refusal:
            self.books["refusals"].append(refusal.answer["Reason"])
            answer = refusal.answer
        return web.json_response({"EBusinessID": self.business_id, **answer}, dumps=_dump)

    def _checked(self, form: dict[str, str], calls: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if missing := [name for name in FIELDS if not form.get(name)]:
            raise Refusal(f"缺少必要参数：{'、'.join(missing)}", "101")
        if form["EBusinessID"] != self.business_id:
            raise Refusal("商户ID(EBusinessID)不存在", "104")
        if form["DataSign"] != sign(form["RequestData"], self.app_key):
            raise Refusal("验证数据签名失败", "102")
        if form["RequestType"] not in calls:
            raise Refusal("请求指令类型(RequestType)不支持", "105")
        data = _object(form["RequestData"]) if form["DataType"] == "2" else None
        if data is None:
            raise Refusal("数据格式错误", "103")
        if self._refuse:
            raise Refusal(self._refuse.pop(0), "105")
        return form["RequestType"], data

    def _waybill(self, data: dict[str, Any]) -> tuple[str, str]:
        shipper, waybill = str(data.get("ShipperCode") or ""), str(data.get("LogisticCode") or "")
        if not shipper:
            raise Refusal("快递公司编码不能为空", "101")
        if not waybill:
            raise Refusal("快递单号不能为空", "402")
        if not waybill.isalnum():
            raise Refusal("快递单号有特殊字符", "403")
        tail = str(data.get("CustomerName") or "")
        if shipper == "SF" and not (len(tail) == 4 and tail.isdecimal()):
            raise Refusal("顺丰查询必须提供手机号后四位(CustomerName)", "101")
        return shipper, waybill

    def _query(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        shipper, waybill = self._waybill(data)
        self.books["queries"].append({"type": kind, **data})
        return self._track(shipper, waybill, kind == "8001", tail=str(data.get("CustomerName") or ""))

    def _recognise(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        waybill = str(data.get("LogisticCode") or "")
        self.books["queries"].append({"type": kind, **data})
        known = self.shipments.get(waybill, {}).get("shippers", [])
        shippers = [{"ShipperCode": one, "ShipperName": one} for one in known]
        found = {"Success": bool(shippers), "Code": "100" if shippers else "105", "Shippers": shippers}
        return {"LogisticCode": waybill, "Reason": "" if shippers else "没有识别到快递公司", **found}

    def _subscribe(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        shipper, waybill = self._waybill(data)
        record = {"type": kind, "shipper": shipper, "callback": data.get("Callback", "")}
        self.books["subscriptions"][waybill] = record | {"customer": data.get("CustomerName", "")}
        told = {"ShipperCode": shipper, "LogisticCode": waybill, "EstimatedDeliveryTime": ""}
        return {"UpdateTime": self._time(), "Success": True, "Reason": "", **told}

    def _track(self, shipper: str, waybill: str, detailed: bool, *, tail: str = "", hide: int = 0) -> dict[str, Any]:
        """The waybill as it is shown; a wrong carrier or phone shows nothing, ``hide`` leaves out the newest rows."""
        shipment = self.shipments.get(waybill, {"shippers": [], "tail": "", "rows": []})
        shown = shipper in shipment["shippers"] and (shipper != "SF" or shipment["tail"] in {"", tail})
        rows = shipment["rows"][: len(shipment["rows"]) - hide] if shown else []
        code = rows[-1]["Action"] if rows else "0"
        place = rows[-1]["Location"] if rows else ""
        bare = ("AcceptTime", "AcceptStation", "Remark")
        traces = rows if detailed else [{name: row[name] for name in bare} for row in rows]
        told = {"OrderCode": "", "ShipperCode": shipper, "LogisticCode": waybill, "Success": True}
        told |= {"Reason": None if rows else NO_TRACE, "State": code[0], "Traces": traces}
        return told | ({"StateEx": code, "Location": place} if detailed else {})

    def _time(self, at: str | None = None) -> str:
        moment = datetime.fromisoformat(at) if at else self.now()
        return moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")

    def do_ship(self, waybill: str, shippers: str | list[str], phone_tail: str = "") -> None:
        """A carrier takes a parcel; of several ``shippers`` each could have issued the number."""
        many = [shippers] if isinstance(shippers, str) else shippers
        self.shipments[waybill] = {"shippers": many, "tail": phone_tail, "rows": []}

    async def do_scan(self, waybill: str, state_ex: str, text: str, place: str = "", at: str | None = None) -> bool:
        """The carrier scans the parcel; whoever subscribed is told. Answers whether the push was accepted."""
        row = {"AcceptTime": self._time(at), "AcceptStation": text, "Location": place, "Action": state_ex}
        self.shipments[waybill]["rows"].append({**row, "Remark": ""})
        return waybill in self.books["subscriptions"] and await self._push(waybill)

    async def do_push_out_of_order(self, waybill: str) -> bool:
        """An older snapshot, without the newest row, arrives late."""
        return await self._push(waybill, hide=1)

    async def do_redeliver(self, waybill: str) -> bool:
        """The last push of the waybill comes again, byte for byte."""
        return await self._send(waybill, self._sent[waybill])

    def do_fail_next(self, reason: str = "系统繁忙，请稍后再试") -> None:
        """The next good call is refused with this reason."""
        self._refuse.append(reason)

    def do_break_next(self, status: int = 502, text: str = "", charset: str = "utf-8") -> None:
        """The next call gets this answer instead of Kdniao's."""
        self._break.append((status, text.encode(charset)))

    def do_escape_twice(self, on: bool = True) -> None:
        """Pushes escape their content once more, as some of Kdniao's senders do."""
        self._escapes_twice = on

    async def _push(self, waybill: str, hide: int = 0) -> bool:
        told = self.books["subscriptions"][waybill]
        detailed = told["type"] == "8008"
        track = self._track(told["shipper"], waybill, detailed, tail=told["customer"], hide=hide)
        entry = {"EBusinessID": self.business_id, **track, "CallBack": told["callback"]}
        push = {"EBusinessID": self.business_id, "PushTime": self._time(), "Count": "1", "Data": [entry]}
        content = _dump(push)
        form = {"RequestData": quote(content, safe="") if self._escapes_twice else content}
        form |= {"RequestType": "102" if detailed else "101", "DataSign": sign(content, self.app_key)}
        self._sent[waybill] = urlencode(form).encode()
        return await self._send(waybill, self._sent[waybill])

    async def _send(self, waybill: str, body: bytes) -> bool:
        """POST until the answer's ``Success`` is true; a good status alone is not enough for Kdniao."""
        accepted = False

        def taken(status: int, said: bytes) -> bool:
            nonlocal accepted
            answer = _object(said.decode("utf-8", "replace"))
            accepted = bool(answer and answer.get("Success") is True)
            entry = {"waybill": waybill, "status": status, "accepted": accepted, "answer": answer}
            self.books["pushes"].append(entry)
            return accepted

        hook = self.hook or NOBODY
        await self.deliver(body, {"Content-Type": FORM}, url=hook, tries=self.tries, taken=taken, pause=self.pause)
        return accepted


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
