"""WooCommerce's REST doors and its webhooks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from .server import Simulator

API = "/wp-json/wc/v3"
MOST_FAILURES = 5
Handler = Callable[[web.Request], Awaitable[web.Response]]


class RefusalError(Exception):
    """WooCommerce refuses a call."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class WooCommerceDoors(Simulator):
    """What the REST API answers, and how webhooks leave."""

    def __init__(
        self,
        key: str = "ck_demo",
        consumer_secret: str = "cs_demo",  # noqa: S107 - a simulator's secret
        secret: str = "wc_demo_secret",  # noqa: S107
        hook: str | None = None,
    ) -> None:
        super().__init__(hook=hook)
        self.key, self.consumer_secret, self.secret = key, consumer_secret, secret
        self.books |= {"orders": {}, "refunds": {}, "notes": {}, "hooks": {}, "paid": {}, "calls": [], "pings": []}
        self.gateway_works, self.lost = True, 0
        self._numbers = iter(range(9001, 1 << 30))
        self._dropping = 0
        self._sent: tuple[bytes, dict[str, str], str] | None = None
        self._order = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()

    def routes(self) -> list[web.RouteDef]:
        order, hook = f"{API}/orders/{{id:\\d+}}", f"{API}/webhooks"
        doors: list[tuple[str, str, Handler]] = [
            ("GET", f"{API}/orders", self._list),
            ("GET", order, self._show),
            ("GET", f"{order}/refunds", self._refunds),
            ("POST", f"{order}/refunds", self._refund),
            ("GET", f"{order}/notes", self._notes),
            ("POST", f"{order}/notes", self._note),
            ("GET", hook, self._hooks),
            ("POST", hook, self._add_hook),
            ("PUT", f"{hook}/{{hook:\\d+}}", self._set_hook),
        ]
        return [web.route(method, path, self._guarded(handler)) for method, path, handler in doors]

    async def stop(self) -> None:
        """Let webhooks under way arrive, then close."""
        await self.settle()
        await super().stop()

    async def settle(self) -> None:
        """Wait until the webhooks that calls caused are out."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    # Orders

    async def _list(self, request: web.Request) -> web.Response:
        query, found = request.query, list(self.books["orders"].values())
        if since := query.get("modified_after"):
            if query.get("dates_are_gmt") != "true":
                raise RefusalError(400, "rest_invalid_param", "the simulator's site time is not known")
            found = [one for one in found if one["date_modified_gmt"] > since.removesuffix("Z")]
        if customer := query.get("customer"):
            found = [one for one in found if str(one["customer_id"]) == customer]
        if search := query.get("search"):
            found = [one for one in found if search in json.dumps(one, ensure_ascii=False)]
        found.sort(key=lambda one: one["id"], reverse=query.get("order", "desc") == "desc")
        return _page(request, found)

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self._known(request))

    def _known(self, request: web.Request) -> dict[str, Any]:
        found: dict[str, Any] | None = self.books["orders"].get(request.match_info["id"])
        if found is None:
            raise RefusalError(404, "woocommerce_rest_shop_order_invalid_id", "Invalid ID.")
        return found

    # Refunds

    async def _refunds(self, request: web.Request) -> web.Response:
        return _page(request, self.books["refunds"][str(self._known(request)["id"])])

    async def _refund(self, request: web.Request) -> web.Response:
        order, given = self._known(request), await request.json()
        by_gateway = given.get("api_refund", True) is not False
        made = self._refunded(
            str(order["id"]), str(given.get("amount")), given.get("reason") or "", by_gateway=by_gateway,
            meta_data=[{"id": next(self._numbers), **one} for one in given.get("meta_data") or ()],
        )  # fmt: skip
        self._spawn(self._touched(str(order["id"])))
        return self._answered(made)

    def _refunded(self, order: str, amount: str, reason: str, *, by_gateway: bool, **more: Any) -> dict[str, Any]:
        held, refused = self.books["orders"][order], "woocommerce_rest_cannot_create_order_refund"
        try:
            wanted = Decimal(amount)
        except InvalidOperation as error:
            raise RefusalError(400, "rest_invalid_param", "Invalid parameter(s): amount") from error
        rest = Decimal(held["total"]) + sum(Decimal(one["total"]) for one in held["refunds"])
        if not 0 <= wanted <= rest:
            raise RefusalError(500, refused, "Invalid refund amount.")
        if by_gateway and not self.gateway_works:
            raise RefusalError(500, refused, "The gateway did not answer.")
        made = {
            "id": self._id(), "date_created_gmt": self._now(), "amount": f"{wanted:.2f}", "reason": reason,
            "refunded_by": 1, "refunded_payment": by_gateway, "line_items": [], "meta_data": [], **more,
        }  # fmt: skip
        self.books["refunds"][order].insert(0, made)
        held["refunds"].append({"id": made["id"], "reason": reason, "total": f"-{wanted:.2f}"})
        if wanted == rest:
            held["status"] = "refunded"
        if by_gateway:
            self.books["paid"].setdefault(order, []).append(f"{wanted:.2f}")
        return made

    # Notes

    async def _notes(self, request: web.Request) -> web.Response:
        found = self.books["notes"][str(self._known(request)["id"])]
        if request.query.get("type") == "customer":
            found = [one for one in found if one["customer_note"]]
        return web.json_response(found)

    async def _note(self, request: web.Request) -> web.Response:
        order, given = self._known(request), await request.json()
        if not given.get("note"):
            raise RefusalError(400, "rest_missing_callback_param", "Missing parameter(s): note")
        made = {"id": self._id(), "author": "system", "date_created_gmt": self._now(), "note": given["note"]}
        made["customer_note"] = given.get("customer_note") is True
        self.books["notes"][str(order["id"])].insert(0, made)
        return self._answered(made)

    # Webhooks

    async def _hooks(self, request: web.Request) -> web.Response:
        shown = [{name: one[name] for name in one if name != "secret"} for one in self.books["hooks"].values()]
        return _page(request, shown)

    async def _add_hook(self, request: web.Request) -> web.Response:
        given = await request.json()
        if given.get("topic", "").partition(".")[0] not in {"order", "customer", "product", "coupon", "action"}:
            raise RefusalError(
                400, "woocommerce_rest_webhook_invalid_topic", "Webhook topic is required and must be valid."
            )
        if not str(given.get("delivery_url", "")).startswith("http"):
            raise RefusalError(
                400, "woocommerce_rest_webhook_invalid_delivery_url", "Webhook delivery URL must be valid."
            )
        made = {"status": "active", "secret": "", "failures": 0, **given, "id": self._id()}
        self.books["hooks"][str(made["id"])] = made
        self._spawn(self._ping(made))
        return web.json_response(made, status=201)

    async def _set_hook(self, request: web.Request) -> web.Response:
        hook = self.books["hooks"].get(request.match_info["hook"])
        if hook is None:
            raise RefusalError(400, "woocommerce_rest_shop_webhook_invalid_id", "ID is invalid.")
        hook |= {**(await request.json()), "failures": 0}
        return web.json_response(hook)

    async def _ping(self, hook: dict[str, Any]) -> int:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        status = await self.deliver(f"webhook_id={hook['id']}".encode(), headers, url=hook["delivery_url"])
        self.books["pings"].append(status)
        return status

    async def _touched(self, order: str) -> int:
        self.books["orders"][order]["date_modified_gmt"] = self._now()
        return await self._emit("order.updated", int(order))

    async def _emit(self, topic: str, order: int) -> int:
        """To every active webhook of the topic; ``hook`` counts as one that nobody had to register."""
        body, status = json.dumps(self.books["orders"][str(order)], ensure_ascii=False).encode(), 0
        always = [{"id": 0, "delivery_url": self.hook, "secret": self.secret, "failures": 0}] if self.hook else []
        known = [one for one in self.books["hooks"].values() if (one["topic"], one["status"]) == (topic, "active")]
        for hook in [*always, *known]:
            status = await self._send(topic, body, hook)
        return status

    async def _send(self, topic: str, body: bytes, hook: dict[str, Any]) -> int:
        mark = base64.b64encode(hmac.new(hook["secret"].encode(), body, hashlib.sha256).digest()).decode()
        second = int(self.now().timestamp())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "WooCommerce/9.0 Hookshot (WordPress/6.5)",
            "X-WC-Webhook-Source": f"{self.url}/",
            "X-WC-Webhook-Topic": topic,
            "X-WC-Webhook-Resource": "order",
            "X-WC-Webhook-Event": topic.partition(".")[2],
            "X-WC-Webhook-Signature": mark,
            "X-WC-Webhook-ID": str(hook["id"]),
            # Made of the webhook and the second: two deliveries of one second share it.
            "X-WC-Webhook-Delivery-ID": hashlib.md5(
                f"{hook['id']}{second}".encode(), usedforsecurity=False
            ).hexdigest(),
        }
        self._sent = (body, headers, hook["delivery_url"])
        if self._dropping:
            self._dropping, status = self._dropping - 1, 0
        else:
            status = await self.deliver(body, headers, url=hook["delivery_url"])
        if 200 <= status < 303:
            hook["failures"] = 0
        elif hook["failures"] > MOST_FAILURES:
            hook["status"] = "disabled"
        else:
            hook["failures"] += 1
        return status

    # What all doors share

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.Response:
            expected = base64.b64encode(f"{self.key}:{self.consumer_secret}".encode()).decode()
            self.books["calls"].append(f"{request.method} {request.path.removeprefix(API)}")
            if request.headers.get("Authorization") != f"Basic {expected}":
                return _refused(RefusalError(401, "woocommerce_rest_cannot_view", "Sorry, you cannot list resources."))
            try:
                return await handler(request)
            except RefusalError as refusal:
                return _refused(refusal)

        return guarded

    def _answered(self, made: dict[str, Any]) -> web.Response:
        """The answer to what was made, unless it gets lost on the way back."""
        if self.lost:
            self.lost -= 1
            return web.Response(status=504, text="Gateway time-out")
        return web.json_response(made, status=201)

    def _spawn(self, telling: Awaitable[int]) -> None:
        async def told() -> int:
            async with self._order:
                return await telling

        task = asyncio.ensure_future(told())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _id(self) -> int:
        return next(self._numbers)

    def _now(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%S")


def _refused(refusal: RefusalError) -> web.Response:
    told = {"code": refusal.code, "message": refusal.message, "data": {"status": refusal.status}}
    return web.json_response(told, status=refusal.status)


def _page(request: web.Request, found: list[dict[str, Any]]) -> web.Response:
    size, page = int(request.query.get("per_page", 10)), int(request.query.get("page", 1))
    if not 1 <= size <= 100:
        raise RefusalError(400, "rest_invalid_param", "Invalid parameter(s): per_page")
    headers = {"X-WP-Total": str(len(found)), "X-WP-TotalPages": str(-(-len(found) // size))}
    return web.json_response(found[(page - 1) * size : page * size], headers=headers)
