"""A small EasyPost: trackers, claims on insured parcels, and signed webhooks."""

from __future__ import annotations

import base64
from typing import Any, ClassVar, Final

from aiohttp import web

from .easypost_books import EasyPostBooks, Refusal, missing

OPEN: Final = ("submitted", "in_review", "needs_action")


class EasyPostSim(EasyPostBooks):
    """EasyPost on loopback. ``do_ship`` insures a parcel, ``do_scan`` moves it, ``do_claim_decision`` ends a claim.

    Webhooks go to ``hook``, signed with ``secret``, and to every address that was registered by call. EasyPost's
    answer to a second claim for one parcel is not documented: here it is booked, so that the books show it. Nor is a
    status for a claim whose money was sent: here it is "paid".
    """

    name: ClassVar[str] = "easypost"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v2/trackers", self._door(self._create_tracker)),
            web.get("/v2/trackers", self._door(self._list_trackers)),
            web.get("/v2/trackers/{id}", self._door(self._one_tracker)),
            web.post("/v2/claims", self._door(self._create_claim)),
            web.get("/v2/claims", self._door(self._list_claims)),
            web.get("/v2/claims/{id}", self._door(self._one_claim)),
            web.post("/v2/claims/{id}/cancel", self._door(self._cancel_claim)),
            web.post("/v2/claims/{id}/messages", self._door(self._answer_question)),
            web.get("/v2/webhooks", self._door(self._list_hooks)),
            web.post("/v2/webhooks", self._door(self._create_hook)),
            web.patch("/v2/webhooks/{id}", self._door(self._change_hook)),
        ]

    async def stop(self) -> None:
        """Let go of whoever still waits for an answer, then close."""
        self._over.set()
        await super().stop()

    def _door(self, call: Any) -> Any:
        async def door(request: web.Request) -> web.StreamResponse:
            self.books["requests"].append(f"{request.method} {request.path}")
            try:
                answer: web.StreamResponse = await call(request, await self._checked(request))
            except Refusal as refusal:
                self.books["refusals"].append(refusal.body["error"]["code"])
                answer = web.json_response(refusal.body, status=refusal.status)
            return answer

        return door

    async def _checked(self, request: web.Request) -> dict[str, Any]:
        if self._refuse:
            status, code, message, after = self._refuse.pop(0)
            if after is not None:
                raise web.HTTPTooManyRequests(headers={"Retry-After": str(after)})
            raise Refusal(status, code, message)
        expected = base64.b64encode(f"{self.api_key}:".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            raise Refusal(401, "APIKEY.INACTIVE", "This api key is no longer active. Please use a different api key.")
        try:
            body = await request.json() if request.can_read_body else {}
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Refusal(400, "PARAMETERS.INVALID_JSON", "The request body is not valid JSON.")
        return body

    async def _create_tracker(self, _: web.Request, body: dict[str, Any]) -> web.Response:
        asked = body.get("tracker") or {}
        code = str(asked.get("tracking_code") or "")
        if not code:
            problem = {"field": "tracking_code", "message": "cannot be blank"}
            raise Refusal(422, "PARAMETER.REQUIRED", "Missing required parameter.", problem)
        tracker, new = self._tracker(code, asked.get("carrier"))
        return web.json_response(tracker, status=201 if new else 200)

    async def _list_trackers(self, request: web.Request, _: dict[str, Any]) -> web.Response:
        code, size = request.query.get("tracking_code"), int(request.query.get("page_size", 20))
        newest = [one for one in reversed(self.books["trackers"].values()) if code in {None, one["tracking_code"]}]
        return web.json_response({"trackers": newest[:size], "has_more": len(newest) > size})

    async def _one_tracker(self, request: web.Request, _: dict[str, Any]) -> web.Response:
        found = [one for one in self.books["trackers"].values() if one["id"] == request.match_info["id"]]
        return web.json_response(found[0] if found else missing())

    async def _create_claim(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        claim = await self._book(body)
        if not self._lose:
            return web.json_response(claim, status=201)
        how = self._lose.pop(0)
        if how == "hang":
            await self._over.wait()
        if not isinstance(how, int) and request.transport:
            request.transport.close()
        return web.Response(status=how if isinstance(how, int) else 500)

    async def _list_claims(self, request: web.Request, _: dict[str, Any]) -> web.Response:
        size, before = int(request.query.get("page_size", 20)), request.query.get("before_id")
        newest = list(reversed(self.books["claims"].values()))
        if before:
            newest = newest[[one["id"] for one in newest].index(before) + 1 :]
        return web.json_response({"claims": newest[:size], "has_more": len(newest) > size})

    async def _one_claim(self, request: web.Request, _: dict[str, Any]) -> web.Response:
        return web.json_response(self._claim(request.match_info["id"]))

    async def _cancel_claim(self, request: web.Request, _: dict[str, Any]) -> web.Response:
        claim = self._claim(request.match_info["id"])
        if claim["status"] not in OPEN:
            raise Refusal(422, "UNPROCESSABLE_ENTITY", "The claim can no longer be cancelled.")
        self._step(claim, "cancelled", "Claim cancellation was requested.")
        await self._tell("claim.cancelled", claim)
        return web.json_response(claim)

    async def _answer_question(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        claim = self._claim(request.match_info["id"])
        told = {"claim_id": claim["id"], "direction": "inbound", "body": body.get("body"), "created_at": self._time()}
        message = {"id": self._id("cmsg"), "object": "ClaimMessage", **told, "attachments": []}
        self.books["messages"].append(message | {"files": len(body.get("attachments") or ())})
        await self._tell("claim.message", message)
        return web.json_response(message, status=201)

    async def _list_hooks(self, _: web.Request, __: dict[str, Any]) -> web.Response:
        shown = [{name: value for name, value in one.items() if name != "secret"} for one in self._hooks()]
        return web.json_response({"webhooks": shown})

    async def _create_hook(self, _: web.Request, body: dict[str, Any]) -> web.Response:
        asked = body.get("webhook") or {}
        if not str(asked.get("url") or "").startswith("http"):
            raise Refusal(422, "PARAMETER.INVALID", "The url is invalid.")
        hook = {"id": self._id("hook"), "object": "Webhook", "mode": "test", "url": asked["url"], "disabled_at": None}
        self.books["hooks"][hook["id"]] = {**hook, "secret": asked.get("webhook_secret", "")}
        return web.json_response({**hook, "created_at": self._time(), "custom_headers": []}, status=201)

    async def _change_hook(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        hook = self.books["hooks"].get(request.match_info["id"]) or missing()
        hook |= {"disabled_at": None, "secret": (body.get("webhook") or {}).get("webhook_secret", hook["secret"])}
        return web.json_response({name: value for name, value in hook.items() if name != "secret"})
