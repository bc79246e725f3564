"""A small Alibaba Cloud SMS: signed calls, approved templates, the query of what was sent, receipts and replies."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

from aiohttp import web

from .server import Simulator

CHINA = ZoneInfo("Asia/Shanghai")
MAINLAND = re.compile(r"(?:(?:\+|00)?86)?(1[3-9]\d{9})")
SIGNED = re.compile(r"ACS3-HMAC-SHA256 Credential=([^,\s]+),SignedHeaders=([a-z0-9;-]+),Signature=([0-9a-f]{64})")
VARIABLE = re.compile(r"\$\{(\w+)\}")
NEEDED = ("host", "x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256")
TEMPLATE = "您的退货申请已收到，编号${case}，请留意后续消息。"


class Refusal(Exception):
    """An error of the gateway (4xx) or of the service (200) with a code."""

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def signature(secret: str, method: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> str:
    """The V3 signature over a call to the path ``/``; ``headers`` are those that are signed."""
    pairs = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query.items()))
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    digest = hashlib.sha256(body).hexdigest()
    canonical = f"{method}\n/\n{pairs}\n{lines}\n{';'.join(sorted(headers))}\n{digest}"
    text = f"ACS3-HMAC-SHA256\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class AliyunSmsSim(Simulator):
    """Alibaba Cloud SMS on loopback. Pushes go to ``hook``, which holds the token as the vendor's console would."""

    name: ClassVar[str] = "aliyun_sms"
    host: ClassVar[str] = "dysmsapi.aliyuncs.com"

    def __init__(
        self,
        key_id: str = "LTAI5tExample",
        key_secret: str = "secret-of-the-key",  # noqa: S107 - of a simulator
        *,
        signs: list[str] | None = None,
        templates: dict[str, str] | None = None,
        hook: str | None = None,
    ) -> None:
        super().__init__(hook=hook)
        self.key_id, self.key_secret = key_id, key_secret
        self.signs = signs or ["示例商城"]
        self.templates = templates or {"SMS_100000001": TEMPLATE}
        self.books |= {"sent": [], "refusals": [], "queries": [], "replies": []}
        self._nonces: set[str] = set()
        self._refuse: list[tuple[str, str, int]] = []
        self._lose: list[int] = []
        self._hidden = False

    def account_settings(self) -> dict[str, Any]:
        """Settings of an account that sends with our key, under our first signature."""
        given = {"access_key_id": self.key_id, "access_key_secret": self.key_secret, "sign": self.signs[0]}
        return {**super().account_settings(), **given}

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/", self._door), web.get("/", self._door)]

    async def _door(self, request: web.Request) -> web.Response:
        asked = f"{len(self.books['sent'])}-{len(self.books['refusals'])}-{len(self.books['queries'])}"
        told = {"RequestId": hashlib.sha256(asked.encode()).hexdigest()[:32].upper()}
        try:
            action = self._checked(request, await request.read())
            answer, status = self._perform(action, dict(request.query)), 200
        except Refusal as refusal:
            self.books["refusals"].append(refusal.code)
            answer, status = {"Code": refusal.code, "Message": refusal.message}, refusal.status
            if status != 200:
                answer |= {"HostId": self.host, "Recommend": f"https://api.aliyun.com/troubleshoot?q={refusal.code}"}
        if self._lose and action_sends(request):
            return web.Response(status=self._lose.pop(0), text="upstream gone")
        return web.json_response(answer | told, status=status, dumps=_dump)

    def _checked(self, request: web.Request, body: bytes) -> str:
        """The action of a call that is signed as the gateway wants it."""
        found = SIGNED.fullmatch(request.headers.get("Authorization", ""))
        if found is None:
            raise Refusal("IncompleteSignature", "The request signature does not conform to standards.", 400)
        key_id, names, given = found[1], found[2].split(";"), found[3]
        headers = {name: request.headers.get(name, "") for name in names}
        if missing := [name for name in NEEDED if name not in headers or not headers[name]]:
            raise Refusal("IncompleteSignature", f"{missing[0]} is mandatory and must be signed.", 400)
        if key_id != self.key_id:
            raise Refusal("InvalidAccessKeyId.NotFound", "Specified access key is not found.", 404)
        expected = signature(self.key_secret, request.method, dict(request.query), headers, body)
        if headers["x-acs-content-sha256"] != hashlib.sha256(body).hexdigest() or given != expected:
            raise Refusal("SignatureDoesNotMatch", "Specified signature is not matched with our calculation.", 400)
        self._once(headers)
        return headers["x-acs-action"]

    def _once(self, headers: dict[str, str]) -> None:
        at = datetime.strptime(headers["x-acs-date"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        if abs(self.now() - at) > timedelta(minutes=15):
            raise Refusal("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.", 400)
        if headers["x-acs-signature-nonce"] in self._nonces:
            raise Refusal("SignatureNonceUsed", "Specified signature nonce was used already.", 400)
        self._nonces.add(headers["x-acs-signature-nonce"])
        if headers["x-acs-version"] != "2017-05-25":
            raise Refusal("InvalidVersion", "Specified parameter Version is not valid.", 400)

    def _perform(self, action: str, params: dict[str, str]) -> dict[str, Any]:
        calls = {"SendSms": self._send, "QuerySendDetails": self._query}
        if action not in calls:
            raise Refusal("InvalidAction.NotFound", "Specified api is not found.", 404)
        return {"Code": "OK", "Message": "OK", **calls[action](params)}

    def _send(self, params: dict[str, str]) -> dict[str, Any]:
        if self._refuse:
            raise Refusal(*self._refuse.pop(0))
        phone, text = self._phone(params.get("PhoneNumbers", "")), self._text(params)
        number = len(self.books["sent"]) + 1
        sent: dict[str, Any] = {
            "phone": phone,
            "sign": params["SignName"],
            "template": params["TemplateCode"],
            "text": text,
        }
        sent |= {"out_id": params.get("OutId", ""), "biz_id": f"90061974693649{number:04}^0", "status": 1, "err": ""}
        self.books["sent"].append(sent | {"at": self._time()})
        return {"BizId": sent["biz_id"]}

    def _phone(self, given: str) -> str:
        if found := MAINLAND.fullmatch(given):
            return found[1]
        if re.fullmatch(r"[1-9]\d{6,14}", given) and not given.startswith("86"):
            return given
        raise Refusal("isv.MOBILE_NUMBER_ILLEGAL", "invalid mobile number")

    def _text(self, params: dict[str, str]) -> str:
        """The words that the buyer reads, in the approved form."""
        if params.get("SignName") not in self.signs:
            raise Refusal("isv.SMS_SIGNATURE_ILLEGAL", "该账号下找不到对应签名")
        template = self.templates.get(params.get("TemplateCode", ""))
        if template is None:
            raise Refusal("isv.SMS_TEMPLATE_ILLEGAL", "该账号下找不到对应模板")
        values = _object(params.get("TemplateParam") or "{}")
        if values is None:
            raise Refusal("isv.INVALID_JSON_PARAM", "参数格式错误，请修改为字符串值")
        if [name for name in VARIABLE.findall(template) if not values.get(name)]:
            raise Refusal("isv.TEMPLATE_MISSING_PARAMETERS", "模板变量中存在未赋值变量")
        for value in values.values():
            if re.search(r"://|www\.", value):
                raise Refusal("isv.PARAM_NOT_SUPPORT_URL", "变量不支持传入URL")
            if len(value) > 35:
                raise Refusal("isv.PARAM_LENGTH_LIMIT", "变量长度超限")
        return f"【{params['SignName']}】" + VARIABLE.sub(lambda found: values[found[1]], template)

    def _query(self, params: dict[str, str]) -> dict[str, Any]:
        self.books["queries"].append(params)
        phone, day = self._phone(params.get("PhoneNumber", "")), params.get("SendDate", "")
        if not re.fullmatch(r"\d{8}", day):
            raise Refusal("isv.INVALID_PARAMETERS", "SendDate")
        all_ = [] if self._hidden else [one for one in self.books["sent"] if one["phone"] == phone]
        rows = [_detail(one) for one in reversed(all_) if one["at"][:10].replace("-", "") == day]
        size, page = int(params["PageSize"]), int(params["CurrentPage"])
        shown = rows[size * (page - 1) : size * page]
        return {"TotalCount": str(len(rows)), "SmsSendDetailDTOs": {"SmsSendDetailDTO": shown}}

    def _time(self) -> str:
        return self.now().astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")

    async def do_receipt(self, number: int = -1, err_code: str = "DELIVERED", tries: int = 1) -> int:
        """The operator's network reports on a sent message (the last one); the door's status."""
        sent = self.books["sent"][number]
        ok = err_code == "DELIVERED"
        sent |= {"status": 3 if ok else 2, "err": err_code}
        report = {"phone_number": sent["phone"], "send_time": sent["at"], "report_time": self._time(), "success": ok}
        report |= {"err_code": err_code, "err_msg": "用户接收成功" if ok else "用户未接收", "sms_size": "1"}
        return await self._push({**report, "biz_id": sent["biz_id"], "out_id": sent["out_id"]}, tries)

    async def do_foreign_receipt(self, phone: str = "13900139000") -> int:
        """A receipt for a message that another system of the same account sent."""
        report = {"phone_number": phone, "send_time": self._time(), "report_time": self._time(), "success": True}
        report |= {"err_code": "DELIVERED", "err_msg": "用户接收成功", "sms_size": "1", "out_id": "login-77"}
        return await self._push({**report, "biz_id": "12345"}, 1)

    async def do_reply(self, phone: str, content: str, tries: int = 1) -> int:
        """A buyer answers by text message; the door's status."""
        number = len(self.books["replies"]) + 1
        up = {"phone_number": phone, "send_time": self._time(), "content": content, "sign_name": self.signs[0]}
        self.books["replies"].append(up)
        return await self._push({**up, "dest_code": "1069000001", "sequence_id": 700000 + number}, tries)

    def do_fail_next(self, code: str = "isv.BUSINESS_LIMIT_CONTROL", message: str = "", status: int = 200) -> None:
        """The next message is refused with this code."""
        self._refuse.append((code, message or "触发分钟级流控Permits:1", status))

    def do_lose_answer(self, status: int = 502) -> None:
        """The next message is sent, but its answer gets lost on the way."""
        self._lose.append(status)

    def do_hide(self, on: bool = True) -> None:
        """The query shows nothing of what was sent."""
        self._hidden = on

    async def _push(self, entry: dict[str, Any], tries: int) -> int:
        return await self.deliver(_dump([entry]).encode(), {"Content-Type": "application/json"}, tries=tries)


def action_sends(request: web.Request) -> bool:
    """Whether the call sends a message."""
    return request.headers.get("x-acs-action") == "SendSms"


def _detail(sent: dict[str, Any]) -> dict[str, Any]:
    shown = {"PhoneNum": sent["phone"], "TemplateCode": sent["template"], "Content": sent["text"]}
    return shown | {
        "OutId": sent["out_id"],
        "SendDate": sent["at"],
        "SendStatus": sent["status"],
        "ErrCode": sent["err"],
    }


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _object(text: str) -> dict[str, str] | None:
    """A JSON object of texts; numbers are not taken."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    good = isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    return value if good else None
