"""A small Slack: one app with its bot in one channel, an incoming webhook, and signed events."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, ClassVar
from urllib.parse import urlencode

from aiohttp import web

from .server import Simulator

LONGEST = 40000


def signature(secret: str, stamp: str, body: bytes) -> str:
    """X-Slack-Signature of a body sent at this Unix time."""
    return "v0=" + hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()


class SlackSim(Simulator):
    """One workspace. Refusals of methods are HTTP 200; those of the incoming webhook are plain text."""

    name: ClassVar[str] = "slack"
    bot: ClassVar[str] = "U0BRIDGE"

    def __init__(
        self,
        token: str = "xoxb-of-the-bot",  # noqa: S107 - of a simulator
        secret: str = "8f742231b10e8888abcd99yyyzzz85a5",  # noqa: S107 - the published example
        *,
        channel: str = "C0ALERTS",
        webhook: str = "T0SHOP/B0HOOK/hook-of-the-channel",
        hook: str | None = None,
    ) -> None:
        super().__init__(hook=hook)
        self.token, self.secret, self.channel, self.webhook = token, secret, channel, webhook
        self.books |= {"messages": [], "refusals": [], "searches": 0}
        self._refuse: list[str] = []
        self._busy: list[int] = []
        self._lose: list[int] = []
        self._last = 0

    def account_settings(self) -> dict[str, Any]:
        """Settings of an account that posts with the bot's token."""
        given = {"url": f"{self.url}/api", "hooks_url": f"{self.url}/services", "token": self.token}
        return {**super().account_settings(), **given, "channel": self.channel, "secret": self.secret}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/api/chat.postMessage", self._post),
            web.get("/api/conversations.history", self._history),
            web.post("/api/auth.test", self._who),
            web.post("/services/{end:.+}", self._hook),
        ]

    async def _post(self, request: web.Request) -> web.Response:
        if self._busy:
            return web.Response(status=429, headers={"Retry-After": str(self._busy.pop(0))})
        given = _object(await request.read())
        error = self._refuse.pop(0) if self._refuse else self._wrong(request, given)
        if error:
            return self._refused(error)
        message = {"channel": given["channel"], "text": given["text"][:LONGEST], "ts": self._stamp()}
        message |= {name: given[name] for name in ("thread_ts", "metadata") if name in given}
        self.books["messages"].append(message)
        if self._lose:
            return web.Response(status=self._lose.pop(0), text="upstream gone")
        return web.json_response({"ok": True, "channel": message["channel"], "ts": message["ts"], "message": message})

    def _wrong(self, request: web.Request, given: dict[str, Any]) -> str | None:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return "invalid_auth"
        if given.get("channel") != self.channel:
            return "channel_not_found"
        return None if str(given.get("text") or "").strip() else "no_text"

    async def _history(self, request: web.Request) -> web.Response:
        self.books["searches"] += 1
        error = self._refuse.pop(0) if self._refuse else self._wrong(request, {**request.query, "text": "-"})
        if error:
            return self._refused(error)
        start, size = int(request.query.get("cursor", "0")), int(request.query.get("limit", "100"))
        oldest = float(request.query.get("oldest", "0"))
        every = [one for one in reversed(self.books["messages"]) if "thread_ts" not in one]
        rows = [one for one in every if float(one["ts"]) > oldest]
        if request.query.get("include_all_metadata") != "true":
            rows = [{name: value for name, value in one.items() if name != "metadata"} for one in rows]
        following = str(start + size) if len(rows) > start + size else ""
        answer = {"ok": True, "messages": rows[start : start + size], "has_more": bool(following)}
        return web.json_response(answer | {"response_metadata": {"next_cursor": following}})

    async def _who(self, request: web.Request) -> web.Response:
        if error := self._wrong(request, {"channel": self.channel, "text": "-"}):
            return self._refused(error)
        return web.json_response({"ok": True, "team": "Shop", "user": "bridge", "user_id": self.bot})

    def _refused(self, error: str) -> web.Response:
        self.books["refusals"].append(error)
        return web.json_response({"ok": False, "error": error})

    async def _hook(self, request: web.Request) -> web.Response:
        given = _object(await request.read())
        if request.match_info["end"] != self.webhook:
            return web.Response(status=404, text="no_service")
        if not isinstance(given.get("text"), str) or not given["text"]:
            return web.Response(status=400, text="invalid_payload")
        self.books["messages"].append({"text": given["text"][:LONGEST], "ts": self._stamp()})
        return web.Response(text="ok")

    def _stamp(self) -> str:
        """A time stamp that no other message of the workspace has."""
        self._last = max(self._last + 1, int(self.now().timestamp() * 1_000_000))
        return f"{self._last // 1_000_000}.{self._last % 1_000_000:06}"

    async def do_reply(self, text: str, number: int = -1, user: str = "U0AGENT", tries: int = 1, **more: Any) -> int:
        """A colleague answers in the thread of a message (the last one); the door's status."""
        parent = self.books["messages"][number]
        event = {"type": "message", "channel": self.channel, "user": user, "text": text, "ts": self._stamp()}
        event |= {"thread_ts": parent.get("thread_ts", parent["ts"]), "parent_user_id": self.bot}
        return await self.do_event({**event, **more}, tries=tries)

    async def do_event(self, event: dict[str, Any], tries: int = 1) -> int:
        """Something happens in the workspace; the door's status."""
        body: dict[str, Any] = {"type": "event_callback", "team_id": "T0SHOP", "event": event}
        body |= {"event_id": f"Ev{event.get('ts', self._stamp())}", "event_time": int(self.now().timestamp())}
        return await self._push(json.dumps(body, ensure_ascii=False).encode(), "application/json", tries)

    async def do_press(self) -> int:
        """Somebody presses a button of an older message; the door's status."""
        body = urlencode({"payload": json.dumps({"type": "block_actions", "user": {"id": "U0AGENT"}})}).encode()
        return await self._push(body, "application/x-www-form-urlencoded", 1)

    async def do_challenge(self, challenge: str = "3eZbrw1aBm2rZgRN") -> int:
        """The operator enters the door's address in the app's settings, and Slack tries it."""
        body = json.dumps({"token": "old", "challenge": challenge, "type": "url_verification"}).encode()
        return await self._push(body, "application/json", 1)

    def do_fail_next(self, error: str = "ratelimited") -> None:
        """The next call is refused with this error."""
        self._refuse.append(error)

    def do_limit(self, seconds: int = 30) -> None:
        """The next message is refused for coming too fast."""
        self._busy.append(seconds)

    def do_lose_answer(self, status: int = 502) -> None:
        """The next message is posted, but its answer gets lost on the way."""
        self._lose.append(status)

    async def _push(self, body: bytes, kind: str, tries: int) -> int:
        stamp = str(int(self.now().timestamp()))
        headers = {"Content-Type": kind, "X-Slack-Request-Timestamp": stamp}
        headers["X-Slack-Signature"] = signature(self.secret, stamp, body)
        return await self.deliver(body, headers, tries=tries)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
