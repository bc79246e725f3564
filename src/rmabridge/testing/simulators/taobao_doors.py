"""The door of a small Taobao: one address, signed calls, answers and refusals in TOP's form."""

from __future__ import annotations

import asyncio
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
Record = dict[str, Any]
Call = Callable[[dict[str, str], dict[str, bytes]], Record]
WITHOUT_SESSION = frozenset({"taobao.tmc.messages.consume", "taobao.tmc.messages.confirm"})
DIGESTS = {"hmac": hashlib.md5, "hmac-sha256": hashlib.sha256}


class Refusal(Exception):
    """An ``error_response``: HTTP 200 all the same."""

    def __init__(self, code: int, msg: str, sub_code: str = "", sub_msg: str = "") -> None:
        super().__init__(msg)
        told = {"code": code, "msg": msg, "sub_code": sub_code, "sub_msg": sub_msg, "request_id": "sim"}
        self.answer = {"error_response": {name: value for name, value in told.items() if value}}


def sign(params: dict[str, str], secret: str) -> str:
    """TOP's signature by the method that the call names."""
    plain = "".join(f"{name}{params[name]}" for name in sorted(params) if name and params[name] and name != "sign")
    if params.get("sign_method") == "md5":
        return hashlib.md5(f"{secret}{plain}{secret}".encode(), usedforsecurity=False).hexdigest().upper()
    digest = DIGESTS.get(params.get("sign_method", ""))
    return hmac.new(secret.encode(), plain.encode(), digest).hexdigest().upper() if digest else ""


class TaobaoDoors(Simulator, ABC):
    """Checks calls and keeps the books."""

    def __init__(
        self, app_key: str = "12345678", secret: str = "demo-top-secret",  # noqa: S107 - of no account
        session: str = "demo-session",
        seller: str = "示例旗舰店", *, tmall: bool = True, hook: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(hook=hook)
        self.app_key, self.secret, self.session, self.seller = app_key, secret, session, seller
        self.is_tmall = tmall
        self.books |= {"trades": {}, "refunds": {}, "messages": {}, "queue": [], "confirmed": [], "calls": []}
        self.books |= {"refusals": [], "paid": {}, "permitted": False, "delivered": {}, "stalled": []}
        self._last: dict[str, int] = {}
        self._fail: list[tuple[str, Record]] = []
        self._race: list[str] = []
        self._stalled: dict[str, asyncio.Event] = {}
        self._lose = 0
        self._expired = False

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/router/rest", self._door), web.post("/router/rest", self._door)]

    def account_settings(self) -> Record:
        """Settings of an account of this seller."""
        given = {"app_key": self.app_key, "app_secret": self.secret, "session": self.session, "return_address_id": 77}
        return {**super().account_settings(), **given, "url": f"{self.url}/router/rest"}

    def _id(self, kind: str, start: int) -> int:
        self._last[kind] = self._last.get(kind, start) + 1
        return self._last[kind]

    def _time(self, at: datetime | None = None) -> str:
        return (at or self.now()).astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")

    async def _door(self, request: web.Request) -> web.Response:
        params, files = await self._read(request)
        method = params.get("method", "")
        try:
            self._check(params)
            await self._wait(method)
            self.books["calls"].append({"method": method, "by": request.method, **self._shown(params)})
            root = f"{method.removeprefix('taobao.').replace('.', '_')}_response"
            answer = {root: {**self._calls()[method](params, files), "request_id": "sim"}}
        except Refusal as refusal:
            answer = refusal.answer
            self.books["refusals"].append(answer["error_response"])
        return web.json_response(answer, dumps=lambda one: json.dumps(one, ensure_ascii=False))

    async def _wait(self, method: str) -> None:
        if over := self._stalled.get(method):
            self.books["stalled"].append(method)
            await over.wait()
            raise Refusal(10, "Service Currently Unavailable")

    async def _read(self, request: web.Request) -> tuple[dict[str, str], dict[str, bytes]]:
        params, files = dict(request.query), {}
        for name, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                files[name] = value.file.read()
            else:
                params[name] = str(value)
        return params, files

    def _shown(self, params: dict[str, str]) -> Record:
        hidden = {"method", "app_key", "session", "sign", "sign_method", "timestamp", "format", "v", "fields"}
        return {name: value for name, value in params.items() if name not in hidden}

    def _check(self, params: dict[str, str]) -> None:
        method = params.get("method", "")
        if method not in self._calls():
            raise Refusal(22 if method else 21, "Invalid Method" if method else "Missing Method")
        if params.get("app_key") != self.app_key:
            raise Refusal(29, "Invalid App Key")
        if params.get("v") != "2.0" or params.get("format") != "json":
            raise Refusal(33, "Invalid Version")
        if not params.get("sign"):
            raise Refusal(24, "Missing Signature")
        if not hmac.compare_digest(sign(params, self.secret).encode(), params["sign"].encode()):
            raise Refusal(25, "Invalid Signature")
        self._check_time(params.get("timestamp", ""))
        if method not in WITHOUT_SESSION:
            self._check_session(params.get("session", ""))
        for place, (wanted, answer) in enumerate(self._fail):
            if wanted in ("", method):
                del self._fail[place]
                raise Refusal(**answer)

    def _check_time(self, given: str) -> None:
        try:
            at = datetime.strptime(given, "%Y-%m-%d %H:%M:%S").replace(tzinfo=CHINA)
        except ValueError:
            raise Refusal(31, "Invalid Timestamp") from None
        if abs(self.now() - at) > timedelta(minutes=10):
            raise Refusal(31, "Invalid Timestamp")

    def _check_session(self, given: str) -> None:
        if not given:
            raise Refusal(26, "Missing Session")
        if given != self.session or self._expired:
            raise Refusal(27, "Invalid Session", "invalid-sessionkey", "SessionKey非法")

    @abstractmethod
    def _calls(self) -> dict[str, Call]:
        """The methods that there are."""
