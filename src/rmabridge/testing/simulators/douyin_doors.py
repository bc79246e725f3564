"""The doors of a small Doudian: signed calls by path, tokens, and pushes out in signed batches."""

from __future__ import annotations

import hashlib
import hmac
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from aiohttp import web

from .server import Simulator

Record = dict[str, Any]
Call = Callable[[Record], Record]
WITHOUT_TOKEN = frozenset({"token/create", "token/refresh"})


class Refusal(Exception):
    """An answer whose code is not 10000: HTTP 200 all the same."""

    def __init__(self, code: int, msg: str, sub_code: str = "", sub_msg: str = "") -> None:
        super().__init__(msg)
        self.answer = {"code": code, "msg": msg, "sub_code": sub_code, "sub_msg": sub_msg, "log_id": "sim"}


def sign(query: Record, body: str, secret: str) -> str:
    """Doudian's signature of a call."""
    names = {"app_key": query.get("app_key"), "method": query.get("method"), "timestamp": query.get("timestamp")}
    held = names | {"param_json": body, "v": query.get("v")}
    plain = "".join(f"{name}{held[name]}" for name in sorted(held))
    return hmac.new(secret.encode(), f"{secret}{plain}{secret}".encode(), hashlib.sha256).hexdigest()


def mark(app_key: str, body: bytes, secret: str) -> str:
    """Doudian's mark of a push."""
    return hashlib.md5(app_key.encode() + body + secret.encode(), usedforsecurity=False).hexdigest()


def is_sorted(value: Any) -> bool:
    """Whether the keys of all objects stand in order."""
    if isinstance(value, dict):
        return list(value) == sorted(value) and all(is_sorted(one) for one in value.values())
    return all(is_sorted(one) for one in value) if isinstance(value, list) else True


class DouyinDoors(Simulator, ABC):
    """Checks calls, gives tokens, pushes, and keeps the books."""

    def __init__(
        self, app_key: str = "7000000000000000001", secret: str = "demo-dd-secret",  # noqa: S107 - of no account
        shop_id: int = 123456, *, hook: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(hook=hook)
        self.app_key, self.secret, self.shop_id = app_key, secret, shop_id
        self.code, self.token, self.refresh = "demo-code", "demo-dd-token", "demo-dd-refresh"
        self.books |= {
            "orders": {},
            "requests": {},
            "calls": [],
            "refusals": [],
            "paid": {},
            "tokens": [],
            "pushed": [],
        }
        self._last: dict[str, int] = {}
        self._fail: list[tuple[str, Refusal]] = []
        self._lose = 0

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/{one}/{two}", self._door)]

    def account_settings(self) -> Record:
        """Settings of an account of this shop."""
        given = {"app_key": self.app_key, "app_secret": self.secret, "shop_id": str(self.shop_id)}
        return {**super().account_settings(), **given, "receiver_address_id": 95251}

    def _id(self, kind: str, start: int) -> int:
        self._last[kind] = self._last.get(kind, start) + 1
        return self._last[kind]

    def _seconds(self) -> int:
        return int(self.now().timestamp())

    async def _door(self, request: web.Request) -> web.Response:
        path, body = request.path.strip("/"), (await request.read()).decode()
        try:
            self._check(path, dict(request.query), body)
            given = json.loads(body)
            self.books["calls"].append({"path": path, **given})
            data = self._calls()[path](given)
            answer: Record = {"code": 10000, "msg": "success", "sub_code": "", "sub_msg": "", "log_id": "sim"}
            answer["data"] = data
        except Refusal as refusal:
            answer = refusal.answer
            self.books["refusals"].append(answer)
        await self._push_what_waits()
        return web.json_response(answer, dumps=lambda one: json.dumps(one, ensure_ascii=False))

    def _check(self, path: str, query: Record, body: str) -> None:
        if path not in self._calls() or query.get("method") != path.replace("/", "."):
            raise Refusal(70000, "接口服务已下线", "isp.api-service-off", "API不存在或API已下线")
        if query.get("app_key") != self.app_key:
            raise Refusal(40003, "非法的参数", "isv.app-id-invalid", "认证失败，app_key格式不正确")
        wanted = sign(query, body, self.secret)
        sorted_ = is_sorted(json.loads(body))
        if query.get("v") != "2" or not sorted_ or not hmac.compare_digest(wanted, str(query.get("sign"))):
            raise Refusal(40003, "非法的参数", "isv.signature-invalid", "签名校验失败")
        at = str(query.get("timestamp"))
        if not at.isdigit() or abs(self._seconds() - int(at)) > timedelta(minutes=10).total_seconds():
            raise Refusal(40003, "非法的参数", "isv.timestamp-invalid", "时间戳不合法")
        if path not in WITHOUT_TOKEN and query.get("access_token") != self.token:
            raise Refusal(40003, "非法的参数", "isv.access-token-expired", "access_token已过期")
        for place, (wanted_path, refusal) in enumerate(self._fail):
            if wanted_path in ("", path):
                del self._fail[place]
                raise refusal

    def _create_token(self, given: Record) -> Record:
        self.books["tokens"].append(given.get("grant_type"))
        own = given.get("grant_type") == "authorization_self" and str(given.get("shop_id")) == str(self.shop_id)
        if not own and (given.get("grant_type"), given.get("code")) != ("authorization_code", self.code):
            raise Refusal(50001, "平台处理失败", "dop.token-generate-failed:code-invalid", "code参数不正确")
        return self._grant()

    def _refresh_token(self, given: Record) -> Record:
        self.books["tokens"].append(given.get("grant_type"))
        if given.get("refresh_token") != self.refresh:
            raise Refusal(50001, "平台处理失败", "dop.token-generate-failed:token-expired", "token已过期")
        return self._grant()

    def _grant(self) -> Record:
        turn = self._id("token", 0)
        self.token, self.refresh = f"demo-dd-token-{turn}", f"demo-dd-refresh-{turn}"
        shop = {"shop_id": str(self.shop_id), "shop_name": "示例小店"}
        return {"access_token": self.token, "refresh_token": self.refresh, "expires_in": 604800, **shop}

    async def push(self, *messages: tuple[str, Record], tries: int = 1) -> int:
        """Push a batch of (tag, data), signed; the status of the answer."""
        told = [
            {"tag": tag, "msg_id": f"{self._id('msg', 0)}:0:{tag}:{self._seconds()}:0", "data": json.dumps(data)}
            for tag, data in messages
        ]
        body = json.dumps(told, ensure_ascii=False).encode()
        headers = {"event-sign": mark(self.app_key, body, self.secret), "app-id": self.app_key}
        self.books["pushed"].append([tag for tag, _ in messages])
        return await self.deliver(body, headers | {"Content-Type": "application/json"}, tries=tries)

    @abstractmethod
    async def _push_what_waits(self) -> None:
        """Tell what a call has changed."""

    @abstractmethod
    def _calls(self) -> dict[str, Call]:
        """The calls that there are."""
