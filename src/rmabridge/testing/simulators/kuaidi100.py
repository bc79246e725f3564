"""A small Kuaidi100: queries, recognition, subscriptions with pushes that are repeated, and tickets."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit
from zoneinfo import ZoneInfo

from aiohttp import web

from .server import Simulator

CHINA = ZoneInfo("Asia/Shanghai")
FORM = "application/x-www-form-urlencoded;charset=utf-8"
WANT_PHONE = frozenset({"shunfeng", "shunfengkuaiyun", "zhongtong"})
MOST_SUBSCRIPTIONS = 4
NAMES = {"0": "在途", "1": "揽收", "2": "疑难", "3": "签收", "4": "退签", "5": "派件", "6": "退回", "7": "转投"}


class Refusal(Exception):
    """A business error: HTTP 200 with ``result`` false."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.answer = {"result": False, "returnCode": code, "message": message}


def sign(text: str) -> str:
    """Upper-case hex of an MD5."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()


class Kuaidi100Sim(Simulator):
    """Kuaidi100 on loopback. ``do_ship`` and ``do_scan`` are the carriers at work; pushes go to each callbackurl."""

    name: ClassVar[str] = "kuaidi100"
    tries: ClassVar[int] = 3

    def __init__(self, customer: str = "CUSTOMER", api_key: str = "key", *, hook: str | None = None) -> None:
        super().__init__(hook=hook)
        self.customer, self.api_key, self.secret = customer, api_key, "secret-of-the-account"
        self.books |= {"subscriptions": {}, "queries": [], "pushes": [], "refusals": [], "tickets": {}}
        self.shipments: dict[str, dict[str, Any]] = {}
        self.pause = 0.05
        self._refuse: list[tuple[str, str]] = []
        self._sent: dict[str, bytes] = {}

    def account_settings(self) -> dict[str, Any]:
        """Settings of an account that asks for carriers and opens tickets here, too."""
        here = {"recognise_url": f"{self.url}/autonumber/auto", "tickets_url": f"{self.url}/workorder/api"}
        return {**super().account_settings(), **here}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/poll/query.do", self._query_door),
            web.post("/poll", self._poll_door),
            web.get("/autonumber/auto", self._recognise_door),
            web.post("/workorder/api/create", self._ticket_door),
            web.post("/workorder/api/reply", self._ticket_door),
        ]

    async def _query_door(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._query)

    async def _poll_door(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._subscribe)

    async def _answer(self, request: web.Request, call: Any) -> web.Response:
        try:
            answer = call(dict(parse_qsl(await request.text(), keep_blank_values=True)))
        except Refusal as refusal:
            self.books["refusals"].append(refusal.code)
            answer = refusal.answer
        return web.json_response(answer, dumps=_dump)

    async def _recognise_door(self, request: web.Request) -> web.Response:
        if request.query.get("key") != self.api_key:
            return web.json_response({"message": "key错误", "returnCode": "601", "result": False}, dumps=_dump)
        found = self.shipments.get(request.query.get("num", ""), {}).get("companies", [])
        guesses = [{"comCode": one, "lengthPre": 15, "noCount": 100, "noPre": "YT"} for one in found]
        return web.json_response(guesses, dumps=_dump)

    async def _ticket_door(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl(await request.text(), keep_blank_values=True))
        try:
            told = {"code": 200, "success": True, "message": "", "data": self._ticket(form)}
        except Refusal as refusal:
            self.books["refusals"].append(refusal.code)
            told = {"code": int(refusal.code), "success": False, "message": str(refusal), "data": None}
        return web.json_response(told | {"time": int(self.now().timestamp() * 1000)}, dumps=_dump)

    def _ticket(self, form: dict[str, str]) -> dict[str, Any]:
        """A new ticket, or words in one that is open."""
        signed = form.get("param", "") + form.get("t", "") + self.api_key + self.secret
        if form.get("key") != self.api_key or form.get("sign") != sign(signed):
            raise Refusal("503", "验证签名失败")
        about = _object(form["param"]) or {}
        tickets = self.books["tickets"]
        if form.get("method") == "addReply":
            if about.get("consultId") not in tickets:
                raise Refusal("400", "工单不存在")
            tickets[about["consultId"]]["replies"].append(about)
            return {}
        if not self.shipments.get(about.get("kuaidinum", ""), {}).get("ordered"):
            raise Refusal("400", "运单不是通过商家寄件下单")
        if self._refuse:
            raise Refusal(*self._refuse.pop(0))
        number = str(len(tickets) + 1)
        tickets[number] = {**about, "replies": []}
        return {"id": int(number), "status": 0}

    def _query(self, form: dict[str, str]) -> dict[str, Any]:
        param = form.get("param", "")
        if form.get("customer") != self.customer:
            raise Refusal("601", "找不到对应公司")
        if form.get("sign") != sign(param + self.api_key + self.customer):
            raise Refusal("503", "验证签名失败")
        about = self._about(param, "com", "num")
        self.books["queries"].append(about)
        track = self._track(about["com"], about["num"], about.get("resultv2") == "4")
        if not track["data"]:
            raise Refusal("500", "查询无结果，请隔段时间再查")
        return track

    def _subscribe(self, form: dict[str, str]) -> dict[str, Any]:
        about = self._about(form.get("param", "") if form.get("schema") == "json" else "", "company", "number")
        if about.get("key") != self.api_key:
            raise Refusal("600", "您不是合法的订阅者（即授权Key出错）")
        told = about.get("parameters") or {}
        if not str(told.get("callbackurl", "")).startswith("http"):
            raise Refusal("701", "回调地址不正确")
        held = self.books["subscriptions"].setdefault(about["number"], {"times": 0})
        if held["times"] >= MOST_SUBSCRIPTIONS or held.get("company") == about["company"]:
            raise Refusal("501", "重复订阅")
        held |= {"times": held["times"] + 1, "company": about["company"], "over": False, **told}
        return {"result": True, "returnCode": "200", "message": "提交成功"}

    def _about(self, param: str, company: str, number: str) -> dict[str, Any]:
        """The parameters, if the carrier is told, the number can be one, and the phone fits."""
        about = _object(param) or {}
        if not about.get(company) or not str(about.get(number, "")).isalnum() or len(about[number]) > 32:
            raise Refusal("400", "提交的数据不完整，或者贵公司没授权")
        if self._refuse:
            raise Refusal(*self._refuse.pop(0))
        phone = about.get("phone") or (about.get("parameters") or {}).get("phone") or ""
        tail = self.shipments.get(about[number], {}).get("tail", "")
        if about[company] in WANT_PHONE and (len(phone) < 4 or (tail and phone[-4:] != tail)):
            raise Refusal("408", "快递公司参数异常：验证码错误")
        return about

    def _track(self, company: str, number: str, detailed: bool) -> dict[str, Any]:
        """The waybill as it is shown, the newest row first; a wrong carrier shows nothing."""
        shipment = self.shipments.get(number, {"companies": [], "rows": []})
        rows = shipment["rows"][::-1] if company in shipment["companies"] else []
        bare = ("time", "ftime", "context", "status")
        data = rows if detailed else [{name: row[name] for name in bare} for row in rows]
        code = rows[0]["statusCode"] if rows else "0"
        told: dict[str, Any] = {"message": "ok", "nu": number, "com": company, "status": "200", "condition": "00"}
        return told | {
            "ischeck": str(int(_state(code) == "3")),
            "state": code if detailed else _state(code),
            "data": data,
        }

    def _time(self, at: str | None = None) -> str:
        moment = datetime.fromisoformat(at) if at else self.now()
        return moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")

    def do_ship(self, number: str, companies: str | list[str], phone_tail: str = "", *, ordered: bool = False) -> None:
        """A carrier takes a parcel; of several ``companies`` each could have issued the number."""
        many = [companies] if isinstance(companies, str) else companies
        self.shipments[number] = {"companies": many, "tail": phone_tail, "rows": [], "ordered": ordered}

    async def do_scan(self, number: str, code: str, text: str, place: str = "", at: str | None = None) -> bool:
        """The carrier scans the parcel; whoever subscribed is told. Answers whether the push was accepted."""
        stamp = self._time(at)
        row = {"time": stamp, "ftime": stamp, "context": text, "status": NAMES.get(_state(code), text)}
        self.shipments[number]["rows"].append({**row, "statusCode": code, "areaName": place, "areaCode": ""})
        return number in self.books["subscriptions"] and await self._push(number)

    async def do_give_up(self, number: str) -> bool:
        """Three days without a scan: the subscription ends."""
        self.books["subscriptions"][number]["over"] = True
        return await self._push(number, status="abort", message="3天查询无记录")

    async def do_correct_carrier(self, number: str, company: str) -> bool:
        """Kuaidi100 finds that the number is another carrier's, ends the subscription and opens its own."""
        held = self.books["subscriptions"][number]
        change = {"autoCheck": "1", "comOld": held["company"], "comNew": company}
        ended = await self._push(number, status="abort", **change)
        held["company"] = company
        self.shipments[number]["companies"] = [company]
        return ended and await self._push(number, **change)

    async def do_redeliver(self, number: str) -> bool:
        """The last push of the number comes again, byte for byte."""
        return await self._send(number, self._sent[number])

    def do_fail_next(self, code: str = "502", message: str = "服务器繁忙") -> None:
        """The next good call is refused like this."""
        self._refuse.append((code, message))

    async def _push(self, number: str, status: str = "", message: str = "", **change: str) -> bool:
        held = self.books["subscriptions"][number]
        last = self._track(held["company"], number, held.get("resultv2") == "4")
        signed = "shutdown" if last["ischeck"] == "1" else "polling"
        push: dict[str, Any] = {"status": status or signed, "billstatus": "got", "message": message, "autoCheck": "0"}
        push |= {"comOld": "", "comNew": "", **change, "lastResult": last, "destResult": None}
        param = _dump(push)
        form = {"param": param} | ({} if held.get("salt") is None else {"sign": sign(param + held["salt"])})
        self._sent[number] = urlencode(form).encode()
        return await self._send(number, self._sent[number])

    async def _send(self, number: str, body: bytes) -> bool:
        """POST until the answer's ``result`` is true; a good status alone is not enough for Kuaidi100."""
        accepted = False

        def taken(status: int, said: bytes) -> bool:
            nonlocal accepted
            answer = _object(said.decode("utf-8", "replace")) or {}
            accepted = answer.get("result") is True and answer.get("returnCode") == "200"
            self.books["pushes"].append({"number": number, "status": status, "accepted": accepted})
            return accepted

        address = self._reached(self.books["subscriptions"][number]["callbackurl"])
        await self.deliver(body, {"Content-Type": FORM}, url=address, tries=self.tries, taken=taken, pause=self.pause)
        return accepted

    def _reached(self, address: str) -> str:
        """Where the callback's address is found: at ``hook``, which stands for it on loopback."""
        query = urlsplit(address).query
        return f"{self.hook}?{query}" if self.hook else address


def _state(code: str) -> str:
    """The basic state that an advanced one belongs to: 3 for 301, 0 for 1002, 8 for customs."""
    if len(code) == 4:
        return "0"
    return code if len(code) == 2 else code[0]


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
