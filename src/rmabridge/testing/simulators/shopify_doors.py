"""What the Shopify simulator answers and sends: the GraphQL door, the OAuth token door and signed webhooks.

Operations are recognised by the name of their root field. What is checked: the access token, required variables, the
state of a return, what may still be refunded, the idempotency key of ``refundCreate``. Reads are not cut down
to the fields asked for.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

from aiohttp import web

from .server import Simulator
from .shopify_shapes import Record, bag, gid, order_node, refund_body, refund_node, return_body, return_node

_ROOTS = (
    "returnApproveRequest",
    "returnDeclineRequest",
    "returnProcess",
    "refundCreate",
    "webhookSubscriptionCreate",
    "webhookSubscriptions",
    "suggestedFinancialOutcome",
    "discountCodeBasicCreate",
    "codeDiscountNodeByCode",
    "giftCardCreate",
    "tagsAdd",
    "orders",
    "order",
    "return",
    "shop",
)
_TOPICS = re.compile(r"(RETURNS|REFUNDS|ORDERS|DISPUTES)_[A-Z]+|REVERSE_DELIVERIES_ATTACH_DELIVERABLE|APP_UNINSTALLED")


class TopLevelError(Exception):
    """A top-level GraphQL error."""

    def __init__(self, message: str, code: str = "BAD_REQUEST") -> None:
        super().__init__(message)
        self.code = code


class UserError(Exception):
    """A user error of a mutation."""

    def __init__(self, field: str, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.told = {"field": field.split("."), "message": message} | ({"code": code} if code else {})


def _need(values: Any, *names: str) -> list[Any]:
    if missing := [name for name in names if not isinstance(values, dict) or values.get(name) in (None, "")]:
        raise TopLevelError(f"Variable is missing: {', '.join(missing)}", "INVALID_VARIABLE")
    return [values[name] for name in names]


class ShopifyDoors(Simulator):
    """The shop's doors. ``books`` hold ``orders``, ``returns``, ``refunds`` …, keyed by digits or code."""

    def __init__(
        self,
        shop: str = "demo.myshopify.com",
        secret: str = "shpss_demo_secret",  # noqa: S107 - a simulator's
        access_token: str = "shpat_demo",  # noqa: S107
        client_id: str = "demo-client",
        hook: str | None = None,
        *,
        api_version: str = "2026-10",
        tries: int = 3,
    ) -> None:
        super().__init__(hook=hook)
        self.shop, self.secret, self.access_token, self.client_id = shop, secret, access_token, client_id
        self.api_version, self.tries = api_version, tries
        self.codes: set[str] = set()
        self.books |= {"orders": {}, "returns": {}, "refunds": {}, "subscriptions": [], "calls": []}
        self.books |= {"coupons": {}, "gift_cards": {}, "tags": {}}
        self._next = {"order": 9001, "line": 11, "return": 930000111, "return_line": 1, "refund": 5001, "customer": 701}
        self._sent: tuple[bytes, dict[str, str]] | None = None
        self._dropping = 0
        self._keys: dict[str, tuple[str, Record]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/admin/api/{version}/graphql.json", self._graphql),
            web.post("/admin/oauth/access_token", self._exchange),
        ]

    async def stop(self) -> None:
        await self.settled()
        await super().stop()

    async def settled(self) -> None:
        """Wait until the webhooks under way have been sent."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _id(self, kind: str) -> str:
        self._next[kind] += 1
        return str(self._next[kind] - 1)

    def _touch(self, order: Record) -> None:
        order["updated_at"] = self.now().isoformat()

    def headers(self, topic: str, body: bytes, event_id: str | None = None) -> dict[str, str]:
        """The headers of one delivery."""
        signature = base64.b64encode(hmac.new(self.secret.encode(), body, hashlib.sha256).digest()).decode()
        return {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-Sha256": signature,
            "X-Shopify-Shop-Domain": self.shop,
            "X-Shopify-API-Version": self.api_version,
            "X-Shopify-Webhook-Id": str(uuid.uuid4()),
            "X-Shopify-Event-Id": event_id or str(uuid.uuid4()),
            "X-Shopify-Triggered-At": self.now().isoformat(),
        }

    async def _emit(self, topic: str, body: Record) -> int:
        raw = json.dumps(body, ensure_ascii=False).encode()
        name = topic.replace("/", "_").upper()
        doors = {self.hook: None} if self.hook else {}
        doors |= {one["uri"]: None for one in self.books["subscriptions"] if one["topic"] == name}
        event_id, status = str(uuid.uuid4()), 0
        self._sent = raw, self.headers(topic, raw, event_id)
        if self._dropping:
            self._dropping -= 1
            return 0
        for door in doors:
            self._sent = raw, self.headers(topic, raw, event_id)
            status = await self._post(*self._sent, door)
        return status

    async def _post(self, raw: bytes, headers: dict[str, str], door: str | None) -> int:
        return await self.deliver(raw, headers, url=door, tries=self.tries)

    def _later(self, sending: Any) -> None:
        task = asyncio.ensure_future(sending)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _return_hook(self, what: str, id_: str) -> int:
        return await self._emit(f"returns/{what}", return_body(what, self.books["returns"][id_]))

    # --- doors

    async def _exchange(self, request: web.Request) -> web.Response:
        asked = await request.json()
        right = asked.get("client_id") == self.client_id and asked.get("client_secret") == self.secret
        if not right or asked.get("code") not in self.codes:
            return web.json_response({"error": "invalid_request", "error_description": "invalid code"}, status=400)
        self.codes.discard(asked["code"])
        return web.json_response({"access_token": self.access_token, "scope": "read_orders,write_returns"})

    async def _graphql(self, request: web.Request) -> web.Response:
        if not hmac.compare_digest(
            request.headers.get("X-Shopify-Access-Token", "").encode(), self.access_token.encode()
        ):
            told = "[API] Invalid API key or access token (unrecognized login or wrong password)"
            return web.json_response({"errors": told}, status=401)
        if request.match_info["version"] != self.api_version:
            return web.json_response({"errors": "Not Found"}, status=404)
        asked = await request.json()
        query, variables = asked.get("query", ""), asked.get("variables") or {}
        try:
            root, answer = self._answer(query, variables)
            return web.json_response({"data": {root: answer}})
        except TopLevelError as error:
            listed = [{"message": str(error), "extensions": {"code": error.code}}]
            return web.json_response({"errors": listed})

    def _answer(self, query: str, variables: Record) -> tuple[str, Any]:
        body = query.partition("{")[2]
        found = re.search(rf"\b({'|'.join(_ROOTS)})\b", body)
        if not found:
            raise TopLevelError("Field doesn't exist on type 'QueryRoot'", "undefinedField")
        root = found[1]
        self.books["calls"].append(root)
        if not query.lstrip().startswith("mutation"):
            if root == "return" and "suggestedFinancialOutcome" in body:
                return root, self._worth(variables)
            return root, self._reads[root](self, variables)
        try:
            return root, {"userErrors": [], **self._mutations[root](self, variables, query)}
        except UserError as error:
            return root, {"userErrors": [error.told]}

    def _shop(self, _: Record) -> Record:
        return {"name": "Demo", "myshopifyDomain": self.shop, "currencyCode": "USD"}

    def _one_order(self, variables: Record) -> Record | None:
        (id_,) = _need(variables, "id")
        held = self.books["orders"].get(self._digits(id_, "Order"))
        return self._order(held, variables.get("lines"), variables.get("after")) if held else None

    def _order(self, held: Record, lines: int | None = None, after: str | None = None) -> Record:
        returned = [one for one in self.books["returns"].values() if one["order"] == held["id"]]
        paid = [one for one in self.books["refunds"].values() if one["order"] == held["id"]]
        node = order_node(held, returned, paid, lines, after)
        node["customer"]["tags"] = self.books["tags"].get(held["customer"], [])
        return node

    def _one_return(self, variables: Record) -> Record | None:
        (id_,) = _need(variables, "id")
        held = self.books["returns"].get(self._digits(id_, "Return"))
        if not held:
            return None
        refunds = [refund_node(one) for one in self.books["refunds"].values() if one["return"] == held["id"]]
        order = self._order(self.books["orders"][held["order"]])
        lines, after = variables.get("lines"), variables.get("after")
        return return_node(held, lines, after) | {"order": order, "refunds": {"nodes": refunds}}

    def _worth(self, variables: Record) -> Record | None:
        id_, pieces = _need(variables, "id", "pieces")
        held = self.books["returns"].get(self._digits(id_, "Return"))
        if not held:
            return None
        order = self.books["orders"][held["order"]]
        wanted = {self._digits(one["id"], "ReturnLineItem"): one["quantity"] for one in pieces}
        prices = {
            one["id"]: Decimal(str(one["price"])) - Decimal(one["off"] or 0) / one["quantity"] for one in order["lines"]
        }
        amount = sum((prices[one["line"]] * wanted.get(one["id"], 0) for one in held["lines"]), Decimal(0))
        amount = min(amount, self._refundable(order["id"]))
        return {
            "suggestedFinancialOutcome": {
                "financialTransfer": {"amountSet": None, "amount": bag(amount, order["currency"])}
            }
        }

    def _orders(self, variables: Record) -> Record:
        wanted = str(variables.get("query") or "")
        listed = [one for one in self.books["orders"].values() if self._matches(one, wanted)]
        newest = variables.get("first") is None
        listed.sort(key=lambda one: one["created_at" if newest else "updated_at"], reverse=newest)
        start, size = int(variables.get("after") or 0), int(variables.get("first") or 1)
        more = start + size < len(listed)
        nodes = [self._order(one, variables.get("lines")) for one in listed[start : start + size]]
        return {"nodes": nodes, "pageInfo": {"hasNextPage": more, "endCursor": str(start + size)}}

    def _matches(self, order: Record, wanted: str) -> bool:
        field, _, value = wanted.partition(":")
        value = re.sub(r"[\"'>=]", "", value)
        if field == "updated_at":
            return bool(order["updated_at"][:19] >= value[:19])
        shown = {"name": order["name"], "email": order["email"], "customer_id": order["customer"]}
        return str(shown.get(field) or "").lstrip("#").lower() == value.lstrip("#").lower()

    def _digits(self, gid: Any, kind: str) -> str:
        found = re.fullmatch(rf"gid://shopify/{kind}/([0-9]+)", str(gid))
        if not found:
            raise TopLevelError(f"Invalid global id '{gid}'", "INVALID_VARIABLE")
        return found[1]

    # --- mutations

    def _return_in(self, gid: Any, *states: str) -> Record:
        held: Record | None = self.books["returns"].get(self._digits(gid, "Return"))
        if held is None:
            raise UserError("input.id", "Return does not exist.", "NOT_FOUND")
        if held["status"] not in states:
            raise UserError("input.id", f"Return is {held['status']}, not {' or '.join(states)}.", "INVALID_STATE")
        return held

    def _decide(self, held: Record, what: str, lines: int | None, **changes: Any) -> Record:
        held |= changes
        self._touch(self.books["orders"][held["order"]])
        self._later(self._return_hook(what, held["id"]))
        return {"return": return_node(held, lines)}

    def _approve(self, variables: Record, _: str) -> Record:
        (asked,) = _need(variables, "input")
        held = self._return_in(*_need(asked, "id"), "REQUESTED")
        return self._decide(held, "approve", variables.get("lines"), status="OPEN", approved_at=self.now().isoformat())

    def _decline(self, variables: Record, _: str) -> Record:
        (asked,) = _need(variables, "input")
        id_, reason = _need(asked, "id", "declineReason")
        if reason not in {"FINAL_SALE", "OTHER", "RETURN_PERIOD_ENDED"}:
            raise TopLevelError("declineReason is not a ReturnDeclineReason", "INVALID_VARIABLE")
        held = self._return_in(id_, "REQUESTED")
        decline = {"reason": reason, "note": asked.get("declineNote")}
        return self._decide(held, "decline", variables.get("lines"), status="DECLINED", decline=decline)

    def _process(self, variables: Record, _: str) -> Record:
        (asked,) = _need(variables, "input")
        (id_,) = _need(asked, "returnId")
        held = self._return_in(id_, "OPEN")
        known = {one["id"]: one["quantity"] for one in held["lines"]}
        for line in asked.get("returnLineItems") or ():
            if line["quantity"] > known.get(self._digits(line["id"], "ReturnLineItem"), 0):
                raise UserError("input.returnLineItems", "Quantity is not processable.", "INVALID")
        issue = (asked.get("financialTransfer") or {}).get("issueRefund")
        if issue:
            pays = [(one["parentId"], one["transactionAmount"]["amount"], one["transactionAmount"]["currencyCode"])
                    for one in issue["orderTransactions"]]  # fmt: skip
            over = bool(issue.get("allowOverRefunding"))
            self._pay(held["order"], pays, asked.get("note"), over=over, return_id=held["id"])
        held |= {"processed": True, "taken": [one["id"] for one in asked.get("returnLineItems") or ()]}
        return {"return": self._one_return({"id": id_})}

    def _create_refund(self, variables: Record, query: str) -> Record:
        (asked,) = _need(variables, "input")
        (order,) = _need(asked, "orderId")
        if "@idempotent(key: $key)" not in query or not variables.get("key"):
            raise TopLevelError("The @idempotent directive is required for this mutation", "BAD_REQUEST")
        same = json.dumps(asked, sort_keys=True)
        before = self._keys.get(variables["key"])
        if before and before[0] != same:
            raise UserError("key", "The same idempotency key was used with different parameters.")
        if before:
            return before[1]
        id_ = self._digits(order, "Order")
        if id_ not in self.books["orders"]:
            raise UserError("orderId", "Order does not exist")
        currency = asked.get("currency") or self.books["orders"][id_]["currency"]
        pays = [(one["parentId"], one["amount"], currency) for one in asked.get("transactions") or ()]
        held = self._pay(id_, pays, asked.get("note"), over=bool(asked.get("allowOverRefunding")), return_id=None)
        answer = {"refund": refund_node(held)}
        self._keys[variables["key"]] = same, answer
        return answer

    def _pay(
        self, order: str, pays: list[tuple[str, str, str]], note: str | None, *, over: bool, return_id: str | None
    ) -> Record:
        amount = sum((Decimal(one[1]) for one in pays), Decimal(0))
        held = self.books["orders"][order]
        if any(one[0] != gid("OrderTransaction", order) or one[2] != held["currency"] for one in pays):
            raise UserError("transactions", "Parent transaction or currency is invalid", "INVALID")
        if amount <= 0 or (amount > self._refundable(order) and not over):
            raise UserError("transactions", "Refund amount exceeds what can be refunded", "INVALID")
        id_ = self._id("refund")
        made = {
            "id": id_, "order": order, "return": return_id, "amount": f"{amount:.2f}", "currency": held["currency"],
            "note": note, "created_at": self.now().isoformat(),
        }  # fmt: skip
        self.books["refunds"][id_] = made
        self._touch(held)
        self._later(self._emit("refunds/create", refund_body(made)))
        return made

    def _refundable(self, order: str) -> Decimal:
        paid = [Decimal(one["amount"]) for one in self.books["refunds"].values() if one["order"] == order]
        return Decimal(self.books["orders"][order]["total"]) - sum(paid, Decimal(0))

    def _subscribe(self, variables: Record, _: str) -> Record:
        topic, asked = _need(
            variables, "topic", "webhookSubscription" if "webhookSubscription" in variables else "hook"
        )
        (uri,) = _need(asked, "uri")
        if not _TOPICS.fullmatch(topic):
            raise TopLevelError(f"Expected {topic!r} to be one of WebhookSubscriptionTopic", "INVALID_VARIABLE")
        if {"topic": topic, "uri": uri} in self.books["subscriptions"]:
            raise UserError("webhookSubscription.uri", "Address for this topic has already been taken")
        self.books["subscriptions"].append({"topic": topic, "uri": uri})
        return {"webhookSubscription": {"id": gid("WebhookSubscription", len(self.books["subscriptions"]))}}

    def _subscriptions(self, variables: Record) -> Record:
        uri = variables.get("uri")
        return {"nodes": [one for one in self.books["subscriptions"] if uri in (None, one["uri"])]}

    def _coupon(self, variables: Record, _: str) -> Record:
        (asked,) = _need(variables, "input")
        code, _title, _starts, gets, _who = _need(asked, "code", "title", "startsAt", "customerGets", "context")
        if code in self.books["coupons"]:
            raise UserError("basicCodeDiscount.code", "Code must be unique. Please try a different code.", "TAKEN")
        amount = Decimal(gets["value"]["discountAmount"]["amount"])
        if amount <= 0 or gets["items"] != {"all": True}:
            raise UserError("basicCodeDiscount.customerGets", "Value must be greater than 0", "GREATER_THAN")
        self.books["coupons"][code] = asked
        return {"codeDiscountNode": {"id": gid("DiscountCodeNode", len(self.books["coupons"]))}}

    def _coupon_by_code(self, variables: Record) -> Record | None:
        (code,) = _need(variables, "code")
        return {"id": gid("DiscountCodeNode", code)} if code in self.books["coupons"] else None

    def _gift_card(self, variables: Record, _: str) -> Record:
        (asked,) = _need(variables, "input")
        (value,) = _need(asked, "initialValue")
        code = asked.get("code") or uuid.uuid4().hex[:16]
        if not re.fullmatch(r"[A-Za-z0-9]{8,20}", code) or code in self.books["gift_cards"] or Decimal(value) <= 0:
            raise UserError("input.code", "Code is invalid or has already been taken", "INVALID")
        self.books["gift_cards"][code] = asked
        return {"giftCard": {"id": gid("GiftCard", len(self.books["gift_cards"]))}, "giftCardCode": code}

    def _add_tags(self, variables: Record, _: str) -> Record:
        id_, tags = _need(variables, "id", "tags")
        customer = self._digits(id_, "Customer")
        if customer not in {one["customer"] for one in self.books["orders"].values()}:
            raise UserError("id", "Resource does not exist")
        self.books["tags"][customer] = sorted({*self.books["tags"].get(customer, []), *tags})
        return {"node": {"id": id_}}

    _reads: ClassVar[dict[str, Callable[[ShopifyDoors, Record], Any]]] = {
        "shop": _shop,
        "order": _one_order,
        "orders": _orders,
        "return": _one_return,
        "webhookSubscriptions": _subscriptions,
        "codeDiscountNodeByCode": _coupon_by_code,
    }
    _mutations: ClassVar[dict[str, Callable[[ShopifyDoors, Record, str], Record]]] = {
        "returnApproveRequest": _approve,
        "returnDeclineRequest": _decline,
        "returnProcess": _process,
        "refundCreate": _create_refund,
        "webhookSubscriptionCreate": _subscribe,
        "discountCodeBasicCreate": _coupon,
        "giftCardCreate": _gift_card,
        "tagsAdd": _add_tags,
    }
