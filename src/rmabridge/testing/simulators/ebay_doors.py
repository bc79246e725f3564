"""The doors of a small eBay: tokens, Post-Order searches and calls, orders, and keys that sign notifications."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .server import Simulator

Record = dict[str, Any]
DECISIONS = {"APPROVE": "ITEM_READY_TO_SHIP", "DECLINE": "RETURN_REJECTED"}


class Refusal(Exception):
    """An answer in the form of eBay's errors."""

    def __init__(self, status: int, message: str, error: int = 1616) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"errors": [{"errorId": error, "domain": "API", "category": "REQUEST", "message": message}]}


class EbayDoors(Simulator):
    """Checks calls and keeps the books."""

    def __init__(
        self,
        client_id: str = "App-ID-sim",
        client_secret: str = "PRD-cert-of-sim",  # noqa: S107 - of a simulator
        refresh_token: str = "v^1.1#sim-consent",  # noqa: S107
        marketplace: str = "EBAY_US",
        *,
        digest: str = "SHA1",
        european: bool = False,
        hook: str | None = None,
    ) -> None:
        super().__init__(hook=hook)
        self.client_id, self.client_secret, self.refresh_token = client_id, client_secret, refresh_token
        self.marketplace, self.digest, self.european = marketplace, digest, european
        self.books |= {"orders": {}, "returns": {}, "inquiries": {}, "cases": {}, "messages": [], "paid": {}}
        self.books |= {"calls": [], "tokens": [], "keys": 0, "challenges": []}
        self._live: dict[str, str] = {}
        self._fail: list[Refusal] = []
        self._number = 5_000_000_000
        self.do_renew_key()

    def do_renew_key(self) -> str:
        """Another key signs from now on, under another id."""
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.kid = f"00000000-0000-4000-8000-{self.number():012d}"
        return self.kid

    def number(self) -> int:
        """The next number of anything that needs one."""
        self._number += 1
        return self._number

    def account_settings(self) -> Record:
        """Settings of an account of this seller."""
        given = {"client_id": self.client_id, "client_secret": self.client_secret, "refresh_token": self.refresh_token}
        return {**super().account_settings(), **given, "token_url": f"{self.url}/identity/v1/oauth2/token"}

    def routes(self) -> list[web.RouteDef]:
        old, order = "/post-order/v2", "/sell/fulfillment/v1/order"
        return [
            web.post("/identity/v1/oauth2/token", self._token),
            web.get("/commerce/notification/v1/public_key/{kid}", self._door(self._public_key, "Bearer", "app")),
            web.get(f"{old}/return/search", self._door(self._search("returns", "creation_date_range"))),
            web.get(f"{old}/inquiry/search", self._door(self._search("inquiries", "inquiry_creation_date_range"))),
            web.get(f"{old}/casemanagement/search", self._door(self._search("cases", "case_creation_date_range"))),
            web.get(f"{old}/return/{{id}}", self._door(self._get_return)),
            web.post(f"{old}/return/{{id}}/decide", self._door(self._decide)),
            web.post(f"{old}/return/{{id}}/issue_refund", self._door(self._refund_return)),
            web.post(f"{old}/return/{{id}}/send_message", self._door(self._say("returns"))),
            web.get(f"{old}/inquiry/{{id}}", self._door(self._get_inquiry)),
            web.post(f"{old}/inquiry/{{id}}/issue_refund", self._door(self._refund_inquiry)),
            web.post(f"{old}/inquiry/{{id}}/send_message", self._door(self._say("inquiries"))),
            web.get(order, self._door(self._orders, "Bearer")),
            web.get(f"{order}/{{id}}", self._door(self._get_order, "Bearer")),
            web.get(f"{order}/{{id}}/shipping_fulfillment", self._door(self._shipped, "Bearer")),
            web.post(f"{order}/{{id}}/issue_refund", self._door(self._refund_order, "Bearer")),
        ]

    async def _token(self, request: web.Request) -> web.Response:
        pair = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        form = await request.post()
        if request.headers.get("Authorization") != f"Basic {pair}":
            return web.json_response({"error": "invalid_client"}, status=401)
        whose = {"refresh_token": "seller", "client_credentials": "app"}.get(str(form.get("grant_type")))
        wrong = whose == "seller" and form.get("refresh_token") != self.refresh_token
        if whose is None or wrong or (whose == "app" and not form.get("scope")):
            return web.json_response({"error": "invalid_grant"}, status=400)
        made = f"v^1.1#{whose}-{self.number()}"
        self._live[made] = whose
        self.books["tokens"].append(whose)
        return web.json_response({"access_token": made, "expires_in": 7200, "token_type": "Token of " + whose})

    def _door(self, call: Any, kind: str = "IAF", whose: str = "seller") -> Any:
        async def answer(request: web.Request) -> web.Response:
            try:
                self._check(request, kind, whose)
                self.books["calls"].append({"method": request.method, "path": request.path})
                body = await call(request)
            except Refusal as refusal:
                return web.json_response(refusal.body, status=refusal.status)
            return web.json_response(body, dumps=lambda one: json.dumps(one, ensure_ascii=False))

        return answer

    def _check(self, request: web.Request, kind: str, whose: str) -> None:
        given, _, token = request.headers.get("Authorization", "").partition(" ")
        if given != kind or self._live.get(token) != whose:
            raise Refusal(401, "Invalid access token", 1001)
        if kind == "IAF" and request.headers.get("X-EBAY-C-MARKETPLACE-ID") != self.marketplace:
            raise Refusal(400, "Marketplace ID is missing or wrong")
        if self._fail:
            raise self._fail.pop(0)

    def _unsigned(self) -> None:
        if self.european:
            raise Refusal(400, "Missing x-ebay-signature-key header", 215000)

    async def _public_key(self, request: web.Request) -> Any:
        if request.match_info["kid"] != self.kid:
            raise Refusal(404, "Public key is not found", 195019)
        self.books["keys"] += 1
        raw = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        text = f"-----BEGIN PUBLIC KEY-----{base64.b64encode(raw).decode()}-----END PUBLIC KEY-----"
        return {"key": text, "algorithm": "ECDSA", "digest": self.digest}

    def signature(self, body: bytes) -> str:
        """The value of ``X-EBAY-SIGNATURE``."""
        digest = hashes.SHA1() if self.digest == "SHA1" else hashes.SHA256()  # noqa: S303 - what eBay signs with
        mark = base64.b64encode(self.key.sign(body, ec.ECDSA(digest))).decode()
        told = {"alg": "ecdsa", "kid": self.kid, "signature": mark, "digest": self.digest}
        return base64.b64encode(json.dumps(told).encode()).decode()

    def _search(self, what: str, span: str) -> Any:
        async def search(request: web.Request) -> Any:
            since, until = (request.query.get(f"{span}_{one}", "") for one in ("from", "to"))
            limit = int(request.query.get("limit") or 25)
            found = [one for one in self.books[what].values() if self._within(one, since, until)]
            shown = [self.summary(one) for one in found[:limit]]
            told = {"limit": limit, "offset": 1, "totalEntries": len(found), "totalPages": -(-len(found) // limit)}
            return {"members": shown, "paginationOutput": told}

        return search

    def _within(self, node: Record, since: str, until: str) -> bool:
        made = node.get("creationDate") or node["creationInfo"]["creationDate"]
        at = datetime.fromisoformat(made["value"])
        return (not since or at >= datetime.fromisoformat(since)) and (not until or at <= datetime.fromisoformat(until))

    def summary(self, node: Record) -> Record:
        """What a search shows."""
        hidden = {"responseHistory", "returnShipmentInfo", "refundInfo", "itemDetail"}
        return {name: one for name, one in node.items() if name not in hidden}

    def _held(self, what: str, request: web.Request) -> Record:
        held: Record | None = self.books[what].get(request.match_info["id"])
        if held is None:
            raise Refusal(404, "The object was not found")
        return held

    async def _get_return(self, request: web.Request) -> Any:
        held = self._held("returns", request)
        return {"detail": held} if request.query.get("fieldgroups") == "FULL" else {"summary": self.summary(held)}

    async def _decide(self, request: web.Request) -> Any:
        self._unsigned()
        held, asked = self._held("returns", request), await request.json()
        if asked.get("decision") not in DECISIONS:
            raise Refusal(400, "Invalid decision")
        if held["state"] != "RETURN_REQUESTED":
            raise Refusal(409, "The return is not waiting for a decision")
        self.turn(held, DECISIONS[asked["decision"]], asked.get("comments", {}).get("content"))
        return {"refundStatus": "OTHER"}

    async def _refund_return(self, request: web.Request) -> Any:
        self._unsigned()
        held, asked = self._held("returns", request), await request.json()
        parts, total = asked["refundDetail"]["itemizedRefundDetail"], asked["refundDetail"]["totalAmount"]
        most = {
            one["refundFeeType"]: float(one["estimatedAmount"]["value"])
            for one in held["refundInfo"]["estimatedRefundDetail"]["itemizedRefundDetails"]
        }
        summed = sum(float(one["refundAmount"]["value"]) for one in parts)
        if any(float(one["refundAmount"]["value"]) > most.get(one["refundFeeType"], 0) for one in parts):
            raise Refusal(400, "Refund amount cannot exceed estimated amount")
        if abs(summed - float(total["value"])) > 0.001 or held["returnId"] in self.books["paid"]:
            raise Refusal(400, "The refund is not valid")
        self.books["paid"][held["returnId"]] = total["value"]
        held["sellerTotalRefund"]["actualRefundAmount"] = {"value": float(total["value"]), "currency": "USD"}
        self.turn(held, "CLOSED")
        return {"refundStatus": "SUCCESS"}

    def _say(self, what: str) -> Any:
        async def say(request: web.Request) -> Any:
            self._held(what, request)
            text = (await request.json()).get("message", {}).get("content")
            if not text or len(text) > 1000:
                raise Refusal(400, "The message is empty or too long")
            self.books["messages"].append({"to": request.match_info["id"], "text": text})
            return {}

        return say

    async def _get_inquiry(self, request: web.Request) -> Any:
        return self._held("inquiries", request)

    async def _refund_inquiry(self, request: web.Request) -> Any:
        self._unsigned()
        held = self._held("inquiries", request)
        if "CLOSED" in held["inquiryStatusEnum"]:
            raise Refusal(409, "The inquiry is closed")
        self.books["paid"][held["inquiryId"]] = str(held["claimAmount"]["value"])
        held |= {"inquiryStatusEnum": "CLOSED", "lastModifiedDate": self.date()}
        return {"refundResult": "SUCCESS"}

    async def _orders(self, _: web.Request) -> Any:
        return {"orders": list(self.books["orders"].values()), "total": len(self.books["orders"])}

    async def _get_order(self, request: web.Request) -> Any:
        return {name: one for name, one in self._held("orders", request).items() if name != "shipped"}

    async def _shipped(self, request: web.Request) -> Any:
        shipped = self._held("orders", request)["shipped"]
        return {"fulfillments": shipped, "total": len(shipped)}

    async def _refund_order(self, request: web.Request) -> Any:
        self._unsigned()
        held, asked = self._held("orders", request), await request.json()
        amount = asked.get("orderLevelRefundAmount")
        if not asked.get("reasonForRefund") or not amount or len(asked.get("comment") or "") > 100:
            raise Refusal(400, "The refund is not valid")
        id_ = str(self.number())
        made = {"refundId": id_, "amount": amount, "refundStatus": "PENDING", "refundDate": self.date()["value"]}
        held["paymentSummary"]["refunds"].append(made)
        return {"refundId": id_, "refundStatus": "PENDING"}

    def date(self, days_ago: float = 0) -> dict[str, str]:
        """A time as Post-Order writes it."""
        return {"value": (self.now() - timedelta(days=days_ago)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"}

    def turn(self, held: Record, state: str, notes: str | None = None, author: str = "SELLER") -> None:
        """A return goes on to another state."""
        past = {"author": author, "fromState": held["state"], "toState": state, "creationDate": self.date()}
        held["responseHistory"].append(past | ({"notes": notes} if notes else {}))
        held["state"] = state
        held["status"] = "CLOSED" if state == "CLOSED" else held["status"]
