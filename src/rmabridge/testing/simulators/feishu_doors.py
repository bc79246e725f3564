"""Feishu's doors: the custom robot's webhook, the tenant's token and the messages of an app."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web

from .server import Simulator

ROBOT_BYTES: Final = 20 * 1024
APP_BYTES: Final = 30 * 1024
AN_HOUR: Final = timedelta(hours=1)
SPANS: Final = ((timedelta(seconds=1), 5), (timedelta(minutes=1), 100))
KINDS: Final = {"open_id": "ou_", "chat_id": "oc_", "union_id": "on_", "email": "", "user_id": ""}
TOKEN_LIFE: Final = 7200


def robot_signature(secret: str, stamp: str) -> str:
    """The robot's signature: time and secret are the key, and nothing is what is signed."""
    return base64.b64encode(hmac.digest(f"{stamp}\n{secret}".encode(), b"", hashlib.sha256)).decode()


class Doors(Simulator):
    """What answers; ``refuse`` are codes that the next requests get."""

    def __init__(self, robot: str, secret: str | None, keywords: tuple[str, ...], hook: str | None) -> None:
        super().__init__(hook=hook)
        self.robot: str | None = robot
        self.secret, self.keywords = secret, keywords
        self.app_id, self.app_secret = "cli_9f5343c580712544", "4nVRWJzSfakeSecretKf"
        self.tokens: dict[str, datetime] = {}
        self.refuse: list[tuple[int, str]] = []
        self.books |= {"posts": [], "messages": {}, "refusals": [], "tokens": 0, "repeats": 0}
        self._times: list[datetime] = []
        self._uuids: dict[str, tuple[datetime, str]] = {}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/open-apis/bot/v2/hook/{robot}", self._hook),
            web.post("/open-apis/auth/v3/tenant_access_token/internal", self._token),
            web.post("/open-apis/im/v1/messages", self._message),
        ]

    def _refused(self, code: int, said: str, status: int = 200, **headers: str) -> web.Response:
        self.books["refusals"].append(code)
        return web.json_response({"code": code, "msg": said, "data": {}}, status=status, headers=headers)

    # The robot: HTTP 200 whatever became of the message

    async def _hook(self, request: web.Request) -> web.Response:
        raw = await request.read()
        code, said = self.refuse.pop(0) if self.refuse else self._judged(request.match_info["robot"], raw)
        if code:
            return self._refused(code, said)
        self.books["posts"].append(json.loads(raw))
        old = {"StatusCode": 0, "StatusMessage": "success", "Extra": None}
        return web.json_response({"code": 0, "msg": "success", "data": {}} | old)

    def _judged(self, robot: str, raw: bytes) -> tuple[int, str]:
        if self.robot is None or robot != self.robot:
            return 19001, "param invalid: incoming webhook access token invalid"
        body = _object(raw)
        if len(raw) > ROBOT_BYTES or not (words := _words(body)):
            return 9499, "Bad Request"
        if self.secret and not self._signed(body):
            return 19021, "sign match fail or timestamp is not within one hour from current time"
        if self.keywords and not any(one in words for one in self.keywords):
            return 19024, "Key Words Not Found"
        return self._counted()

    def _signed(self, body: dict[str, Any]) -> bool:
        stamp, sign = str(body.get("timestamp", "")), str(body.get("sign", ""))
        if not stamp.isdecimal() or abs(self.now().timestamp() - int(stamp)) > AN_HOUR.total_seconds():
            return False
        return hmac.compare_digest(sign.encode(), robot_signature(self.secret or "", stamp).encode())

    def _counted(self) -> tuple[int, str]:
        now = self.now()
        if any(sum(now - one < span for one in self._times) >= most for span, most in SPANS):
            return 11232, "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]"
        self._times = [*self._times[-SPANS[-1][1] :], now]
        return 0, ""

    # The app: HTTP 400 for most refusals

    async def _token(self, request: web.Request) -> web.Response:
        asked = _object(await request.read())
        if asked.get("app_id") != self.app_id:
            return self._refused(10003, "invalid param")
        if asked.get("app_secret") != self.app_secret:
            return self._refused(10014, "app secret invalid")
        self.books["tokens"] += 1
        token = f"t-g1044ghJ{self.books['tokens']}"
        self.tokens[token] = self.now() + timedelta(seconds=TOKEN_LIFE)
        told = {"code": 0, "msg": "ok", "tenant_access_token": token, "expire": TOKEN_LIFE}
        return web.json_response(told)

    async def _message(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            return self._refused(99991661, "Missing access token for authorization", 400)
        if token not in self.tokens or self.tokens[token] <= self.now():
            return self._refused(99991663, "Invalid access token for authorization", 400)
        if self.refuse:
            code, said = self.refuse.pop(0)
            return self._refused(code, said, 400, **{"x-ogw-ratelimit-reset": "7"} if code == 99991400 else {})
        raw = await request.read()
        if fault := _fault(raw, _object(raw), request.query.get("receive_id_type", "")):
            return self._refused(*fault, 400)
        return self._kept(_object(raw))

    def _kept(self, body: dict[str, Any]) -> web.Response:
        """Take the message, once for each ``uuid`` of the last hour."""
        uuid, now = body.get("uuid"), self.now()
        at, id_ = self._uuids.get(uuid or "", (now - AN_HOUR, ""))
        if now - at >= AN_HOUR:
            at, id_ = now, f"om_{len(self.books['messages']) + 1:032x}"
            kept = {"to": body["receive_id"], "type": body["msg_type"], "content": json.loads(body["content"])}
            self.books["messages"][id_] = kept | {"uuid": uuid}
            if uuid:
                self._uuids[uuid] = at, id_
        else:
            self.books["repeats"] += 1
        data = {"message_id": id_, "chat_id": "oc_a0553eda9014c201e6969b478895c230", "msg_type": body["msg_type"]}
        return web.json_response({"code": 0, "msg": "success", "data": data})


def _fault(raw: bytes, body: dict[str, Any], kind: str) -> tuple[int, str] | None:
    """What is wrong with a message."""
    if kind not in KINDS or not str(body.get("receive_id") or "").startswith(KINDS[kind]) or not body["receive_id"]:
        return 230001, "Your request contains an invalid request parameter, ext=invalid receive_id."
    content = body.get("content")
    if not isinstance(content, str) or not _spoken(body.get("msg_type"), _object(content.encode())):
        return 230001, "Your request contains an invalid request parameter, ext=content is not a string in json format"
    if len(str(body.get("uuid") or "")) > 50:
        return 99992402, "field validation failed"
    return (230025, "The length of the message content reaches its limit.") if len(raw) > APP_BYTES else None


def _words(body: dict[str, Any]) -> str:
    """All words of a robot's message; empty where it is none that is known here."""
    content = body.get("content")
    if not isinstance(content, dict):
        return ""
    kind = body.get("msg_type")
    return _spoken(kind, content.get("post") if kind == "post" else content)


def _spoken(kind: Any, content: Any) -> str:
    if not isinstance(content, dict):
        return ""
    if kind == "text":
        return str(content.get("text") or "")
    if kind != "post":
        return ""
    told = content.get("zh_cn") or content.get("en_us") or {}
    elements = [element for paragraph in told.get("content", ()) for element in paragraph]
    if not elements or any(one.get("tag") not in {"text", "a", "at", "img"} for one in elements):
        return ""
    return "\n".join([str(told.get("title", "")), *(str(one.get("text", "")) for one in elements)])


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
