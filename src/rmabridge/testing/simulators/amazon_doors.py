"""The doors of a small Amazon: tokens, orders, messages to buyers, and reports of returns."""

from __future__ import annotations

import gzip
from datetime import timedelta
from typing import Any

from aiohttp import web

from .amazon_clouds import AmazonClouds

HEADINGS = (
    "Order ID", "Order date", "Return request date", "Return request status", "Amazon RMA ID", "Merchant RMA ID",
    "Label type", "Label cost", "Currency code", "Return carrier", "Tracking ID", "Label to be paid by",
    "A-to-Z Claim", "Is prime", "ASIN", "Merchant SKU", "Item Name", "Return quantity", "Return Reason", "In policy",
    "Return type", "Resolution", "Invoice number", "Return delivery date", "Order Amount", "Order quantity",
    "Refunded Amount",
)  # fmt: skip
KINDS = frozenset({"unexpectedProblem", "confirmOrderDetails", "confirmDeliveryDetails", "confirmServiceDetails"})
Record = dict[str, Any]


class Refusal(Exception):
    """An answer in the form of Amazon's errors."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers
        self.body = {"errors": [{"code": code, "message": message, "details": ""}]}


class AmazonDoors(AmazonClouds):
    """Checks calls and keeps the books."""

    def __init__(
        self,
        client_id: str = "amzn1.application-oa2-client.sim",
        client_secret: str = "amzn1.oa2-cs.v1.sim",  # noqa: S107 - of a simulator
        refresh_token: str = "Atzr|sim-consent",  # noqa: S107
        seller: str = "A3TESTSELLER00",
        marketplace: str = "ATVPDKIKX0DER",
        **clouds: Any,
    ) -> None:
        super().__init__(**clouds)
        self.client_id, self.client_secret, self.refresh_token = client_id, client_secret, refresh_token
        self.seller, self.marketplace = seller, marketplace
        self.books |= {"orders": {}, "items": {}, "returns": {}, "reports": {}, "documents": {}, "messages": []}
        self.books |= {"tokens": 0, "calls": [], "allowed": ["unexpectedProblem"]}
        self._live: set[str] = set()
        self._fail: list[Refusal] = []

    def account_settings(self) -> dict[str, Any]:
        """Settings of an account of this seller."""
        given = {"client_id": self.client_id, "client_secret": self.client_secret, "refresh_token": self.refresh_token}
        given |= {"seller_id": self.seller, "marketplace_id": self.marketplace}
        return {**super().account_settings(), **given, "token_url": f"{self.url}/auth/o2/token"}

    def routes(self) -> list[web.RouteDef]:
        order = "/orders/v0/orders/{order}"
        reports = "/reports/2021-06-30"
        message = "/messaging/v1/orders/{order}"
        return [
            web.post("/auth/o2/token", self._token),
            web.get("/orders/v0/orders", self._door(self._list_orders)),
            web.get(order, self._door(self._get_order)),
            web.get(f"{order}/orderItems", self._door(self._get_items)),
            web.get(message, self._door(self._actions)),
            web.post(f"{message}/messages/{{kind}}", self._door(self._message)),
            web.get(f"{reports}/reports", self._door(self._list_reports)),
            web.post(f"{reports}/reports", self._door(self._create_report)),
            web.get(f"{reports}/documents/{{document}}", self._door(self._document)),
            web.get("/storage/{document}", self._storage),
            *self.cloud_routes(),
        ]

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("client_id") != self.client_id or form.get("client_secret") != self.client_secret:
            told = {"error": "invalid_client", "error_description": "Client authentication failed"}
            return web.json_response(told, status=401)
        if form.get("grant_type") != "refresh_token" or form.get("refresh_token") != self.refresh_token:
            told = {"error": "invalid_grant", "error_description": "The request has an invalid grant parameter"}
            return web.json_response(told, status=400)
        self.books["tokens"] += 1
        made = f"Atza|sim-{self.books['tokens']}"
        self._live.add(made)
        return web.json_response(
            {"access_token": made, "expires_in": 3600, "token_type": "bearer", "refresh_token": self.refresh_token}
        )

    def _door(self, call: Any) -> Any:
        async def answer(request: web.Request) -> web.Response:
            try:
                self._check(request)
                self.books["calls"].append({"method": request.method, "path": request.path})
                status, body = await call(request)
            except Refusal as refusal:
                return web.json_response(refusal.body, status=refusal.status, headers=refusal.headers)
            return web.json_response(body, status=status)

        return answer

    def _check(self, request: web.Request) -> None:
        if request.headers.get("x-amz-access-token") not in self._live:
            raise Refusal(403, "Unauthorized", "Access to requested resource is denied.")
        if not request.headers.get("x-amz-date") or not request.headers.get("User-Agent"):
            raise Refusal(400, "InvalidInput", "x-amz-date or user-agent is missing")
        if self._fail:
            raise self._fail.pop(0)

    def _order(self, request: web.Request) -> Record:
        held: Record | None = self.books["orders"].get(request.match_info["order"])
        if held is None:
            raise Refusal(404, "NotFound", "Resource not found")
        return held

    def _marketplace(self, request: web.Request, name: str) -> None:
        if request.query.get(name) != self.marketplace:
            raise Refusal(400, "InvalidInput", f"{name} is missing or wrong")

    async def _list_orders(self, request: web.Request) -> tuple[int, Any]:
        self._marketplace(request, "MarketplaceIds")
        if not request.query.get("CreatedAfter") and not request.query.get("LastUpdatedAfter"):
            raise Refusal(400, "InvalidInput", "Either CreatedAfter or LastUpdatedAfter is required")
        return 200, {"payload": {"Orders": list(self.books["orders"].values())}}

    async def _get_order(self, request: web.Request) -> tuple[int, Any]:
        return 200, {"payload": self._order(request)}

    async def _get_items(self, request: web.Request) -> tuple[int, Any]:
        """One line a page, so that every reader must turn pages."""
        id_ = self._order(request)["AmazonOrderId"]
        items, page = self.books["items"][id_], int(request.query.get("NextToken") or 0)
        more = {"NextToken": str(page + 1)} if page + 1 < len(items) else {}
        return 200, {"payload": {"AmazonOrderId": id_, "OrderItems": items[page : page + 1], **more}}

    async def _actions(self, request: web.Request) -> tuple[int, Any]:
        self._marketplace(request, "marketplaceIds")
        path = f"/messaging/v1/orders/{self._order(request)['AmazonOrderId']}"
        links = [
            {"href": f"{path}/messages/{one}?marketplaceIds={self.marketplace}", "name": one}
            for one in self.books["allowed"]
        ]
        return 200, {"_links": {"actions": links, "self": {"href": f"{path}?marketplaceIds={self.marketplace}"}}}

    async def _message(self, request: web.Request) -> tuple[int, Any]:
        self._marketplace(request, "marketplaceIds")
        id_, kind, body = self._order(request)["AmazonOrderId"], request.match_info["kind"], await request.json()
        text = body.get("text") if set(body) == {"text"} else None
        if kind not in KINDS or kind not in self.books["allowed"]:
            raise Refusal(400, "InvalidInput", "This message is not allowed for the order")
        if not isinstance(text, str) or not 1 <= len(text) <= 2000 or "@" in text or "<" in text:
            raise Refusal(400, "InvalidInput", "text is not valid")
        self.books["messages"].append({"order": id_, "kind": kind, "text": text})
        return 201, {}

    async def _list_reports(self, request: web.Request) -> tuple[int, Any]:
        wanted, states = request.query.get("reportTypes"), request.query.getall("processingStatuses", [])
        if not wanted:
            raise Refusal(400, "InvalidInput", "reportTypes is required")
        found = [
            one
            for one in reversed(self.books["reports"].values())
            if one["reportType"] == wanted and (not states or one["processingStatus"] in states)
        ]
        return 200, {"reports": found[: int(request.query.get("pageSize") or 10)]}

    async def _create_report(self, request: web.Request) -> tuple[int, Any]:
        asked = await request.json()
        if not asked.get("reportType") or asked.get("marketplaceIds") != [self.marketplace]:
            raise Refusal(400, "InvalidInput", "reportType or marketplaceIds is missing or wrong")
        id_ = str(54_517_018_500 + self.number())
        self.books["reports"][id_] = {
            "reportId": id_, "reportType": asked["reportType"], "processingStatus": "IN_QUEUE",
            "createdTime": self.now().isoformat(), "dataStartTime": asked.get("dataStartTime"),
        }  # fmt: skip
        return 202, {"reportId": id_}

    async def _document(self, request: web.Request) -> tuple[int, Any]:
        id_ = request.match_info["document"]
        if id_ not in self.books["documents"]:
            raise Refusal(404, "NotFound", "Resource not found")
        told = {"reportDocumentId": id_, "url": f"{self.url}/storage/{id_}?X-Amz-Expires=300"}
        return 200, told | {"compressionAlgorithm": "GZIP"}

    async def _storage(self, request: web.Request) -> web.Response:
        if "x-amz-access-token" in request.headers:
            return web.Response(status=400, text="<Error><Code>InvalidArgument</Code></Error>")
        plain = self.books["documents"].get(request.match_info["document"])
        if plain is None:
            return web.Response(status=403, text="<Error><Code>AccessDenied</Code></Error>")
        packed = gzip.compress(plain.encode("cp1252"))
        return web.Response(body=packed, headers={"Content-Type": "text/plain; charset=Cp1252"})

    def table(self) -> str:
        """The report of returns as it would be made now."""
        rows = [[str(one.get(name, "")) for name in HEADINGS] for one in self.books["returns"].values()]
        return "".join("\t".join(row) + "\r\n" for row in (list(HEADINGS), *rows))

    def day(self, days_ago: float = 0) -> str:
        """A day as the report writes it."""
        return (self.now() - timedelta(days=days_ago)).strftime("%d-%b-%Y")
