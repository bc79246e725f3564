"""The doors of a small Pinduoduo: one address for signed calls, one for tokens; refusals come with HTTP 200."""

from __future__ import annotations

import hashlib
import hmac
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from .server import Simulator

CHINA = ZoneInfo("Asia/Shanghai")
PUBLIC = frozenset({"type", "client_id", "access_token", "timestamp", "data_type", "version", "sign"})
Record = dict[str, Any]
Call = Callable[[dict[str, str]], Record]


class Refusal(Exception):
    """An ``error_response``: HTTP 200 all the same."""

    def __init__(self, code: int, msg: str, sub_msg: str = "", sub_code: str | None = None) -> None:
        super().__init__(msg)
        told = {"error_code": code, "error_msg": msg, "sub_code": sub_code, "sub_msg": sub_msg, "request_id": "sim"}
        self.answer = {"error_response": told}


def sign(params: dict[str, str], secret: str) -> str:
    """Pinduoduo's signature."""
    plain = "".join(f"{name}{params[name]}" for name in sorted(params) if name != "sign")
    return hashlib.md5(f"{secret}{plain}{secret}".encode(), usedforsecurity=False).hexdigest().upper()


class PinduoduoDoors(Simulator, ABC):
    """Checks calls, gives tokens and keeps the books."""

    def __init__(
        self, client_id: str = "pddclient", secret: str = "demo-pdd-secret",  # noqa: S107 - of no account
        token: str = "demo-pdd-token", refresh: str = "demo-pdd-refresh",  # noqa: S107
        *, hook: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(hook=hook)
        self.client_id, self.secret, self.token, self.refresh = client_id, secret, token, refresh
        self.code = "demo-code"
        self.books |= {"orders": {}, "refunds": {}, "calls": [], "refusals": [], "paid": {}, "tokens": []}
        self._last: dict[str, int] = {}
        self._fail: list[tuple[str, Refusal]] = []

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/api/router", self._door), web.post("/oauth/token", self._tokens)]

    def account_settings(self) -> Record:
        """Settings of an account of this shop."""
        given = {"client_id": self.client_id, "client_secret": self.secret, "access_token": self.token}
        where = {"url": f"{self.url}/api/router", "token_url": f"{self.url}/oauth/token"}
        return {**super().account_settings(), **given, **where, "return_address_id": "77"}

    def _id(self, kind: str, start: int) -> int:
        self._last[kind] = self._last.get(kind, start) + 1
        return self._last[kind]

    def _time(self, at: datetime | None = None) -> str:
        return (at or self.now()).astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")

    async def _door(self, request: web.Request) -> web.Response:
        params = {name: str(value) for name, value in (await request.post()).items()}
        try:
            self._check(params)
            given = {name: value for name, value in params.items() if name not in PUBLIC}
            self.books["calls"].append({"type": params["type"], **given})
            answer = self._calls()[params["type"]](params)
        except Refusal as refusal:
            answer = refusal.answer
            self.books["refusals"].append(answer["error_response"])
        return web.json_response(answer, dumps=lambda one: json.dumps(one, ensure_ascii=False))

    def _check(self, params: dict[str, str]) -> None:
        method = params.get("type", "")
        if method not in self._calls():
            raise Refusal(10001, "公共参数错误:type")
        if params.get("client_id") != self.client_id:
            raise Refusal(10002, "公共参数错误:client_id")
        if not hmac.compare_digest(sign(params, self.secret).encode(), params.get("sign", "").encode()):
            raise Refusal(20004, "签名sign校验失败")
        at = params.get("timestamp", "")
        if not at.isdigit() or abs(self.now().timestamp() - int(at)) > timedelta(minutes=10).total_seconds():
            raise Refusal(10007, "公共参数错误:timestamp")
        if params.get("access_token") != self.token:
            raise Refusal(10019, "access_token已过期")
        for place, (wanted, refusal) in enumerate(self._fail):
            if wanted in ("", method):
                del self._fail[place]
                raise refusal

    async def _tokens(self, request: web.Request) -> web.Response:
        given = await request.json()
        self.books["tokens"].append(given.get("grant_type"))
        known = given.get("client_id") == self.client_id and given.get("client_secret") == self.secret
        granted = {"authorization_code": ("code", self.code), "refresh_token": ("refresh_token", self.refresh)}
        name, wanted = granted.get(given.get("grant_type"), ("", ""))
        if not known or not wanted or given.get(name) != wanted:
            return web.json_response(Refusal(10020, "授权信息无效").answer)
        number = self._id("token", 0)
        self.token, self.refresh = f"demo-pdd-token-{number}", f"demo-pdd-refresh-{number}"
        told = {"access_token": self.token, "refresh_token": self.refresh, "expires_in": 86399, "owner_id": "171500001"}
        return web.json_response(told)

    @abstractmethod
    def _calls(self) -> dict[str, Call]:
        """The calls that there are."""
