"""A small WeCom: the group robots' webhook, with its limits."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, ClassVar

from aiohttp import web

from .server import Simulator

LONGEST = {"text": 2048, "markdown": 4096}
A_MINUTE = timedelta(minutes=1)


class WecomRobotSim(Simulator):
    """One robot in one group. Every answer is HTTP 200; ``errcode`` says what became of the message."""

    name: ClassVar[str] = "wecom_robot"

    def __init__(self, key: str = "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa", *, hook: str | None = None) -> None:
        super().__init__(hook=hook)
        self.key: str | None = key
        self.books |= {"messages": [], "refusals": []}
        self.most = 20
        self._times: list[datetime] = []
        self._refuse: list[tuple[int, str]] = []

    def account_settings(self) -> dict[str, Any]:
        """Settings of the robot's account."""
        return {**super().account_settings(), "url": f"{self.url}/cgi-bin/webhook/send"}

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/cgi-bin/webhook/send", self._send)]

    async def _send(self, request: web.Request) -> web.Response:
        code, said = (
            self._refuse.pop(0) if self._refuse else self._judge(request.query.get("key"), await request.read())
        )
        if code:
            self.books["refusals"].append(code)
        return web.json_response({"errcode": code, "errmsg": said})

    def _judge(self, key: str | None, raw: bytes) -> tuple[int, str]:
        if self.key is None or key != self.key:
            return 93000, "invalid webhook url, hint: robot not found"
        message = _object(raw)
        kind = message.get("msgtype")
        if kind not in LONGEST:
            return 40008, "invalid message type"
        content = message[kind].get("content") if isinstance(message.get(kind), dict) else None
        if not isinstance(content, str) or not content.strip():
            return 44004, "empty content"
        if len(content.encode()) > LONGEST[kind]:
            return 45002, "content size out of limit"
        return self._count(message)

    def _count(self, message: dict[str, Any]) -> tuple[int, str]:
        self._times = [one for one in self._times if self.now() - one < A_MINUTE]
        if len(self._times) >= self.most:
            return 45009, "api freq out of limit"
        self._times.append(self.now())
        self.books["messages"].append(message)
        return 0, "ok"

    def do_fail_next(self, errcode: int = 45009, errmsg: str = "api freq out of limit", times: int = 1) -> None:
        """The next messages are refused with this code."""
        self._refuse += [(errcode, errmsg)] * times

    def do_remove(self) -> None:
        """Somebody takes the robot out of its group."""
        self.key = None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
