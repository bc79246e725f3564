"""DingTalk's doors for an app: its token, and messages to colleagues and groups."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web

from .server import Simulator

TOKEN_LIFE: Final = 7200
GROUP_BYTES: Final = 15_000
WORDS: Final = {"sampleText": "content", "sampleMarkdown": "text"}


class AppDoors(Simulator):
    """What answers an app. ``colleagues`` and ``groups`` are whom it reaches; ``throttled`` got too much already."""

    def __init__(self, *, hook: str | None = None) -> None:
        super().__init__(hook=hook)
        self.client_id, self.client_secret = "dingeqqpkv3fake", "GT-lsu-taDAfakeSecret"
        self.colleagues, self.groups = {"manager1234"}, {"cid6KeBBLoveMOCKidd=="}
        self.throttled: set[str] = set()
        self.tokens: dict[str, datetime] = {}
        self.books |= {"sent": [], "tokens": 0, "errors": []}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1.0/oauth2/accessToken", self._token),
            web.post("/v1.0/robot/oToMessages/batchSend", self._to_people),
            web.post("/v1.0/robot/groupMessages/send", self._to_group),
        ]

    def _error(self, code: str, said: str, status: int = 400) -> web.Response:
        self.books["errors"].append(code)
        return web.json_response({"code": code, "requestid": "A6B1", "message": said}, status=status)

    async def _token(self, request: web.Request) -> web.Response:
        asked = parsed(await request.read())
        if (asked.get("appKey"), asked.get("appSecret")) != (self.client_id, self.client_secret):
            return self._error("invalidClientIdOrSecret", "无效的clientId或者clientSecret")
        self.books["tokens"] += 1
        token = f"fw8ef8we8f76e6f7s8d{self.books['tokens']}"
        self.tokens[token] = self.now() + timedelta(seconds=TOKEN_LIFE)
        return web.json_response({"accessToken": token, "expireIn": TOKEN_LIFE})

    async def _to_people(self, request: web.Request) -> web.Response:
        body = parsed(await request.read())
        who = body.get("userIds")
        if refused := self._refused(request, body):
            return refused
        if not isinstance(who, list) or not who:
            return self._error("invalidParameter.userIds.empty", "the user userId list is empty")
        if len(who) > 20:
            return self._error("invalidParameter.userIds.overMax", "too many userIds")
        reached = [one for one in who if one in self.colleagues - self.throttled]
        listed = {"invalidStaffIdList": [one for one in who if one not in self.colleagues]}
        listed["flowControlledStaffIdList"] = [one for one in who if one in self.throttled]
        return web.json_response({"processQueryKey": self._kept(reached, body), **listed})

    async def _to_group(self, request: web.Request) -> web.Response:
        body = parsed(await request.read())
        if refused := self._refused(request, body):
            return refused
        if body.get("openConversationId") not in self.groups:
            return self._error("resource.not.found", "the robot is not in the group")
        if len(body["msgParam"].encode()) > GROUP_BYTES:
            return self._error("invalidParameter.msgParam.tooLong", "msgParam is longer than 15000 bytes")
        return web.json_response({"processQueryKey": self._kept([body["openConversationId"]], body)})

    def _refused(self, request: web.Request, body: dict[str, Any]) -> web.Response | None:
        token = request.headers.get("x-acs-dingtalk-access-token", "")
        if token not in self.tokens or self.tokens[token] <= self.now():
            return self._error("InvalidAuthentication", "不合法的access_token")
        if body.get("robotCode") != self.client_id:
            return self._error("invalidParameter.robotCode.auth", "the appkey does not match the robotCode")
        if body.get("msgKey") not in WORDS:
            return self._error("invalidParameter.msgKey.invalid", "the msgKey is invalid")
        words = parsed(str(body.get("msgParam")).encode()).get(WORDS[body["msgKey"]])
        return None if words else self._error("invalidParameter.msgParam.invalid", "the msgParam must be JSON")

    def _kept(self, reached: list[str], body: dict[str, Any]) -> str:
        self.books["sent"] += [{"to": one, "kind": body["msgKey"], **json.loads(body["msgParam"])} for one in reached]
        return f"processQueryKey{len(self.books['sent'])}"

    def do_forget_tokens(self) -> None:
        """All tokens are void from now on."""
        self.tokens.clear()

    def do_throttle(self, who: str = "manager1234") -> None:
        """This colleague got too many messages today."""
        self.throttled.add(who)


def parsed(raw: bytes) -> dict[str, Any]:
    """The JSON object, or an empty one."""
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
