"""A small DingTalk: the custom robots' webhook, with its safety settings and limits."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from aiohttp import web

from .dingtalk_doors import AppDoors, parsed

LONGEST: Final = 20_000
A_MINUTE: Final = timedelta(minutes=1)
MUTED: Final = timedelta(minutes=10)
AN_HOUR: Final = timedelta(hours=1)
WORDS: Final = {"text": ("content",), "markdown": ("title", "text")}
DENIED: Final[dict[str, Any]] = {"status": 1111, "wait": 5, "punish": "deny", "errcode": 130101}


def signature(secret: str, stamp: str) -> str:
    """The signature of a time in milliseconds, as it stands in the query before it is quoted."""
    return base64.b64encode(hmac.digest(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256)).decode()


class DingTalkSim(AppDoors):
    """One custom robot in one group, and an app; ``as_app`` says which of both ``account_settings`` are for.

    Every answer to the custom robot is HTTP 200; ``errcode`` says what became of the message. ``secret``, ``keywords``
    and ``addresses`` are its safety settings; what is left out is not asked for.
    """

    name: ClassVar[str] = "dingtalk"

    def __init__(
        self,
        token: str = "566cc69da782ec33",  # noqa: S107 - a robot that is nobody's
        *,
        secret: str | None = "SEC240d7bb4c0bafc62",  # noqa: S107 - a robot that is nobody's
        keywords: tuple[str, ...] = (),
        addresses: tuple[str, ...] | None = None,
        as_app: bool = False,
        hook: str | None = None,
    ) -> None:
        super().__init__(hook=hook)
        self.token: str | None = token
        self.as_app = as_app
        self.secret, self.keywords, self.addresses = secret, tuple(keywords), addresses
        self.books |= {"messages": [], "refusals": []}
        self.most = 20
        self._times: list[datetime] = []
        self._muted_until: datetime | None = None
        self._refuse: list[dict[str, Any]] = []

    def account_settings(self) -> dict[str, Any]:
        """Settings of the custom robot's account, or of the app's."""
        if self.as_app:
            app = {"client_id": self.client_id, "client_secret": self.client_secret, "api_url": self.url}
            return {"allow_private": True, **app}
        known = {"access_token": self.token, "secret": self.secret, "keyword": next(iter(self.keywords), None)}
        given = {name: value for name, value in known.items() if value}
        return {**super().account_settings(), "url": f"{self.url}/robot/send", **given}

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/robot/send", self._send), *super().routes()]

    async def _send(self, request: web.Request) -> web.Response:
        raw = await request.read()
        answer = self._refuse.pop(0) if self._refuse else self._judge(request, raw)
        if answer["errcode"]:
            self.books["refusals"].append(answer["errcode"])
        return web.json_response(answer)

    def _judge(self, request: web.Request, raw: bytes) -> dict[str, Any]:
        if not (token := request.query.get("access_token")):
            return _told(40035, "缺少参数 access_token")
        if self.token is None or token != self.token:
            return _told(300005, "token is not exist")
        if "json" not in request.headers.get("Content-Type", ""):
            return _told(43004, "无效的HTTP HEADER Content-Type")
        message = parsed(raw)
        words = _words(message)
        if words is None:
            return _told(400105, "不支持的消息类型")
        return self._unsafe(request, words) or self._fault(words) or self._count(message)

    def _unsafe(self, request: web.Request, words: str) -> dict[str, Any] | None:
        if self.secret and not self._signed(request):
            return _told(310000, "sign not match")
        if self.addresses is not None and request.remote not in self.addresses:
            return _told(310000, f"ip {request.remote} not in whitelist")
        if self.keywords and not any(one in words for one in self.keywords):
            return _told(310000, "keywords not in content")
        return None

    def _signed(self, request: web.Request) -> bool:
        stamp, sign = request.query.get("timestamp", ""), request.query.get("sign", "")
        if not stamp.isdecimal() or abs(self.now().timestamp() - int(stamp) / 1000) > AN_HOUR.total_seconds():
            return False
        return hmac.compare_digest(sign.encode(), signature(self.secret or "", stamp).encode())

    def _fault(self, words: str) -> dict[str, Any] | None:
        if not words.strip():
            return _told(40035, "缺少参数 content")
        return _told(460101, "message too long, exceed 20000 bytes") if len(words.encode()) > LONGEST else None

    def _count(self, message: dict[str, Any]) -> dict[str, Any]:
        now = self.now()
        if self._muted_until and now < self._muted_until:
            return DENIED
        self._times = [one for one in self._times if now - one < A_MINUTE]
        if len(self._times) >= self.most:
            self._muted_until = now + MUTED
            return _told(130101, f"send too fast, exceed {self.most} times per minute")
        self._times.append(now)
        self.books["messages"].append(message | {"mentioned": _mentioned(message)})
        return _told(0, "ok")

    def do_fail_next(self, errcode: int = -1, errmsg: str = "系统繁忙", times: int = 1) -> None:
        """The next messages are refused with this code."""
        self._refuse += [_told(errcode, errmsg)] * times

    def do_remove(self) -> None:
        """Somebody takes the robot out of its group."""
        self.token = None


def _told(code: int, said: str) -> dict[str, Any]:
    return {"errcode": code, "errmsg": said}


def _words(message: dict[str, Any]) -> str | None:
    """All words of a message; None for one of a type that is not known here."""
    kind = message.get("msgtype")
    inner = message.get(kind) if isinstance(kind, str) else None
    if kind not in WORDS or not isinstance(inner, dict):
        return None
    return "\n".join(one for name in WORDS[kind] if isinstance(one := inner.get(name), str))


def _mentioned(message: dict[str, Any]) -> list[str]:
    """Who is really mentioned: in Markdown only they whose name stands in the words too."""
    at, words = message.get("at") or {}, _words(message) or ""
    who = [*at.get("atMobiles", ()), *at.get("atUserIds", ())]
    shown = who if message["msgtype"] == "text" else [one for one in who if f"@{one}" in words]
    return [*shown, "all"] if at.get("isAtAll") else shown
