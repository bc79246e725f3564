"""An integrator's endpoint: takes POSTs, checks their Standard Webhooks signature, counts them by id."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any, ClassVar

from aiohttp import web

from .server import Simulator


class Sink(Simulator):
    """Any path takes anything; ``books["posts"]`` holds what came, ``books["ids"]`` how often each id came.

    With a ``secret`` (``whsec_…``) an unsigned or wrongly signed POST is refused with 401.
    """

    name: ClassVar[str] = "sink"
    plugin: ClassVar[str] = "http"

    def __init__(self, *, hook: str | None = None, secret: str | None = None) -> None:
        super().__init__(hook=hook)
        self.secret = secret
        self.books |= {"posts": [], "ids": {}, "refused": 0}
        self._answers: list[dict[str, Any]] = []

    def routes(self) -> list[web.RouteDef]:
        """Everything that is not the simulator's own door."""
        return [web.route("*", "/{path:.*}", self._take)]

    def do_answer(
        self,
        status: int = 200,
        body: str = "",
        content_type: str = "application/json",
        times: int = 1,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer the next ``times`` requests with this; what is refused is not counted."""
        answer = {"status": status, "text": body, "content_type": content_type, "headers": headers}
        self._answers += [answer] * times

    def do_forget(self) -> None:
        """Empty the books."""
        self.books.update({"posts": [], "ids": {}, "refused": 0})

    async def _take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        if self.secret is not None and request.method != "GET" and not self._signed(request, raw):
            self.books["refused"] += 1
            return web.json_response({"error": "signature"}, status=401)
        answer = self._answers.pop(0) if self._answers else None
        if answer is not None and answer["status"] >= 300:
            self.books["refused"] += 1
            return web.Response(**answer)
        number = self._enter(request, raw)
        return web.Response(**answer) if answer else web.json_response({"id": f"S{number}", "url": str(request.url)})

    def _enter(self, request: web.Request, raw: bytes) -> int:
        """The first POST of an id gets a new number, a repeat the same one."""
        key = request.headers.get("Idempotency-Key") or request.headers.get("webhook-id") or ""
        posts, ids = self.books["posts"], self.books["ids"]
        posts.append(
            {
                "method": request.method,
                "path": request.path_qs,
                "id": key,
                "headers": {name.lower(): value for name, value in request.headers.items()},
                "body": _read(raw),
            }
        )
        entry = ids.setdefault(key, {"number": len(ids) + 1, "times": 0})
        entry["times"] += 1
        return int(entry["number"])

    def _signed(self, request: web.Request, raw: bytes) -> bool:
        stamp = request.headers.get("webhook-timestamp", "")
        if not stamp.isdecimal() or abs(self.now().timestamp() - int(stamp)) > 300:
            return False
        key = base64.b64decode((self.secret or "").removeprefix("whsec_"))
        text = f"{request.headers.get('webhook-id', '')}.{stamp}.".encode() + raw
        expected = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest())
        given = [one.partition(",") for one in request.headers.get("webhook-signature", "").split()]
        return any(version == "v1" and hmac.compare_digest(value.encode(), expected) for version, _, value in given)


def _read(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")
