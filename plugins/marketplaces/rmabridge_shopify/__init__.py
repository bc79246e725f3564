"""Shopify: return requests, refunds, orders and disputes in; returns decided, refunds paid and coupons made by call.

Reference: https://shopify.dev/docs/api/admin-graphql and https://shopify.dev/docs/apps/build/webhooks

Understood: returns/request, approve, decline, cancel, close, reopen; refunds/create; orders/updated, cancelled,
fulfilled; reverse_deliveries/attach_deliverable; disputes/create. Shopify has no call that writes to a buyer, so
messages go by another channel. Coupons, gift cards and tags need the scopes write_discounts, write_gift_cards and
write_customers beside those that are asked for by default.

Not verified: the bodies of the returns and reverse_deliveries webhooks beyond the id (every other field may be missing,
and ``fetch_order`` reads the return again); the ``return`` part of refunds/create; the codes of top-level errors
(THROTTLED, INTERNAL_ERROR, ACCESS_DENIED, IDEMPOTENCY_CONCURRENT_REQUEST); whether the note of ``returnProcess`` shows
on its refund (so ``find_refund`` also knows a refund by its return and amount); the value ALL of a discount's
``context``; how a refund shows that a failed transaction was tried again (here: another one of the same payment and
amount); that a return which is opened again changes its order (nothing tells the time of it, so the comparison dates an
open return by its order's last change, as long as nothing was refunded). The newer "Events" webhooks (``shopify-*``
headers alone) are a developer preview and are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from pydantic import Field, SecretStr

from rmabridge import hookimpl
from rmabridge.abilities import (
    Context,
    DecidesReturns,
    FetchesOrders,
    Finding,
    Inbound,
    Item,
    Page,
    Plugin,
    Probes,
    Receipt,
    ReceivesWebhooks,
    Reconciles,
    Result,
    WebRequest,
    live,
)
from rmabridge.errors import Malformed, Rejected, Unverified
from rmabridge.model import ApproveReturn, DeclineReturn, Event, FetchOrder, Money, RequestChanged
from rmabridge.wire.bodies import dig, dump_json, read_object, text
from rmabridge.wire.signing import any_matches, fresh, hmac_base64
from rmabridge.wire.times import maybe_instant

from . import queries
from .calls import LINES
from .connecting import Connecting
from .giving import Giving
from .paying import Paying
from .terms import RECONCILED, gid, money, nodes, number, word

_LANES: Final = {
    "orders": re.compile(rb'^\s*\{\s*"id"\s*:\s*([0-9]{1,20})'),
    "returns": re.compile(rb'"order"\s*:\s*\{[^{}]{0,200}?"id"\s*:\s*([0-9]{1,20})'),
    "refunds": re.compile(rb'"order_id"\s*:\s*([0-9]{1,20})'),
    "disputes": re.compile(rb'"order_id"\s*:\s*([0-9]{1,20})'),
}
_DECLINES: Final = {"final_sale": "FINAL_SALE", "period_ended": "RETURN_PERIOD_ENDED", "other": "OTHER"}


class Shopify(Paying, Giving, Connecting, ReceivesWebhooks, Reconciles, FetchesOrders, DecidesReturns, Probes):
    """One Shopify shop."""

    title: ClassVar[str] = "Shopify"
    reference: ClassVar[str] = "https://shopify.dev/docs/api/admin-graphql"

    store_secret: SecretStr | None = Field(
        None, description="signs webhooks that were made by hand under Settings > Notifications"
    )
    triggered_window: timedelta | None = Field(
        None, description="refuse webhooks triggered longer ago; not below the 4 hours over which Shopify retries"
    )
    reconcile_days: int = Field(14, gt=0, description="how far back changed orders are compared")
    page: int = Field(5, gt=0, le=50, description="orders per page when comparing; Shopify limits a query's cost")

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the HMAC over the raw body, and that the webhook is of this shop."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        given, topic = headers.get("x-shopify-hmac-sha256", ""), headers.get("x-shopify-topic", "")
        if not request.body or not given or not topic:
            raise Unverified("the body, X-Shopify-Hmac-Sha256 or X-Shopify-Topic is missing")
        secrets = live(self.secret, now)
        secrets += [self.store_secret.get_secret_value()] if self.store_secret else []
        if not any_matches(given, [hmac_base64(secret, request.body) for secret in secrets]):
            raise Unverified("X-Shopify-Hmac-Sha256 is not good")
        if headers.get("x-shopify-shop-domain", "").strip().lower() != self.shop.lower():
            raise Unverified("the webhook is of another shop")
        triggered = maybe_instant(headers.get("x-shopify-triggered-at"))
        if self.triggered_window and triggered:
            fresh(triggered, now, self.triggered_window)
        meta = {"topic": topic.strip().lower(), "event_id": headers.get("x-shopify-event-id", "")}
        if triggered:
            meta["triggered_at"] = triggered.isoformat()
        id_ = headers.get("x-shopify-webhook-id", "").strip() or None
        return Receipt(id=id_, lane=_lane(meta["topic"], request.body), meta=meta)

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """The events of a webhook, or of an order that the comparison listed."""
        topic = inbound.meta.get("topic", "")
        body = read_object(inbound.body)
        at = maybe_instant(inbound.meta.get("triggered_at")) or inbound.received_at
        try:
            if topic == RECONCILED:
                return tuple(self.reader.reconciled(body, at))
            return tuple(self.reader.webhook(topic, body, at, inbound.meta.get("event_id", "")))
        except (ValueError, ArithmeticError) as error:
            raise Malformed(f"{topic}: the object cannot be read") from error

    def samples(self) -> tuple[str, ...]:
        """The names that ``sample`` knows."""
        return ("returns/request", "refunds/create")

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A webhook as Shopify would send it, signed with the first live secret."""
        secrets, stamp = live(self.secret, now), int(now.timestamp())
        if name not in self.samples() or not secrets:
            return None
        order = {"id": stamp * 10 + 1, "admin_graphql_api_id": gid("Order", str(stamp * 10 + 1))}
        line = {"id": 1, "quantity": 1, "return_reason": "size_too_small", "customer_note": "太小"}
        paid = {"kind": "refund", "status": "success", "gateway": "bogus", "amount": "21.00", "currency": "USD"}
        shown: dict[str, Any] = {"id": stamp, "created_at": now.isoformat(), "order_id": order["id"]}
        if name == "returns/request":
            shown |= {"status": "requested", "order": order, "return_line_items": [line]}
        else:
            shown |= {"note": "sample", "transactions": [paid], "refund_line_items": []}
        body = dump_json(shown).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Shopify-Topic": name,
            "X-Shopify-Hmac-Sha256": hmac_base64(secrets[0], body),
            "X-Shopify-Shop-Domain": self.shop,
            "X-Shopify-API-Version": self.api_version,
            "X-Shopify-Webhook-Id": f"sample-{name.replace('/', '-')}-{stamp}",
            "X-Shopify-Triggered-At": now.isoformat(),
        }
        return WebRequest("POST", f"/hooks/{self.account}", {}, headers, body)

    async def listing(self, ctx: Context, cursor: str | None) -> Page:
        """Orders changed of late that have a return or a refund; the others are no matter of after-sales."""
        since, _, after = (cursor or "").partition(" ")
        since = since or (ctx.now() - timedelta(days=self.reconcile_days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        asked = {"first": self.page, "after": after or None, "query": f"updated_at:>='{since}'", "lines": 5}
        told = dig(await self._call(ctx, queries.RECENT, asked), "orders")
        held = [one for one in nodes(told) if nodes(one, "returns") or nodes(one, "refunds")]
        more = dig(told, "pageInfo", "hasNextPage") is True
        items = [_item(await self._whole(ctx, one)) for one in held]
        return Page(tuple(items), f"{since} {dig(told, 'pageInfo', 'endCursor') or ''}", more)

    async def _whole(self, ctx: Context, node: dict[str, Any]) -> dict[str, Any]:
        """A listed order with all lines of its own and of its returns."""
        returned = [await self._whole_return(ctx, one) for one in nodes(node, "returns")]
        return await self._whole_order(ctx, node | {"returns": {"nodes": returned}})

    async def fetch_order(self, action: FetchOrder, ctx: Context) -> Result:
        """The order by the return, by its id or number, or the buyer's newest."""
        if action.request:
            return await self._through_return(action.request, ctx)
        node = await self._order(action, ctx)
        if not isinstance(node, dict):
            raise Rejected("the shop knows no such order", hint="orders older than 60 days need read_all_orders")
        return self._fetched(await self._whole_order(ctx, node), (), ctx)

    async def _order(self, action: FetchOrder, ctx: Context) -> Any:
        wanted = (action.order or action.buyer or "").replace('"', "").replace("\\", "").strip()
        if not wanted:
            return None
        if action.order and number(wanted):
            told = await self._call(ctx, queries.ORDER, {"id": gid("Order", wanted)})
            if told.get("order"):
                return told["order"]
        field = "name" if action.order else "email" if "@" in wanted else "customer_id"
        told = await self._call(ctx, queries.NEWEST, {"query": f'{field}:"{wanted}"'})
        return next(iter(nodes(told, "orders")), None)

    async def _through_return(self, request: str, ctx: Context) -> Result:
        told = (await self._call(ctx, queries.RETURN, {"id": gid("Return", request), "lines": LINES})).get("return")
        if not isinstance(told, dict) or not isinstance(told.get("order"), dict):
            raise Rejected("the shop knows no such return")
        told = await self._whole_return(ctx, told)
        order, read = number(dig(told, "order", "id")), self.reader
        # Read again under another key than the webhook's: it carries lines and an amount, which that may not.
        key = f"return:{number(request)}:read:{ctx.idempotency_key}"
        events: list[Event] = [
            *(
                _as_of(one, told["order"])
                for one in read.changed(told, order, ctx.now(), key=key, amount=await self._worth(told, ctx))
            ),
            *read.attached_all(told, order, ctx.now()),
        ]
        for one in nodes(told, "refunds"):
            events += read.refund(one, order, ctx.now())
        return self._fetched(await self._whole_order(ctx, told["order"]), tuple(events), ctx)

    def _fetched(self, node: dict[str, Any], events: tuple[Event, ...], ctx: Context) -> Result:
        id_ = number(node.get("id"))
        seen = tuple(self.reader.ordered(node, ctx.now(), f"order:{id_}:read:{ctx.idempotency_key}"))
        return Result(id=id_, url=f"https://{self.shop}/admin/orders/{id_}", events=(*seen, *events))

    async def _worth(self, node: dict[str, Any], ctx: Context) -> Money | None:
        pieces = [
            {"id": one["id"], "quantity": one["refundableQuantity"]}
            for one in nodes(node, "returnLineItems")
            if isinstance(one.get("refundableQuantity"), int) and one["refundableQuantity"] > 0
        ]
        if not pieces or word(node.get("status")) not in {"REQUESTED", "OPEN"}:
            return None
        told = await self._call(ctx, queries.WORTH, {"id": node["id"], "pieces": pieces})
        outcome = dig(told, "return", "suggestedFinancialOutcome", "financialTransfer")
        return money({"amountSet": dig(outcome, "amount")}, "amount")

    async def approve_return(self, action: ApproveReturn, ctx: Context) -> Result:
        """Approve the request."""
        asked = {"id": gid("Return", action.request), "notifyCustomer": self.notify_buyer}
        told = await self._call(ctx, queries.APPROVE, {"input": asked, "lines": LINES})
        return self._decided(action.request, dig(told, "returnApproveRequest", "return"), ctx)

    async def decline_return(self, action: DeclineReturn, ctx: Context) -> Result:
        """Decline the request, with the reason and the words for the buyer."""
        asked = {
            "id": gid("Return", action.request),
            "declineReason": _DECLINES[action.reason],
            "declineNote": action.note,
            "notifyCustomer": self.notify_buyer,
        }
        told = await self._call(ctx, queries.DECLINE, {"input": asked, "lines": LINES})
        return self._decided(action.request, dig(told, "returnDeclineRequest", "return"), ctx)

    async def find_decision(self, action: ApproveReturn | DeclineReturn, ctx: Context) -> Finding:
        """Whether the return stands as asked; one that is open or closed was approved."""
        told = (await self._call(ctx, queries.DECISION, {"id": gid("Return", action.request)})).get("return")
        wanted = {"OPEN", "CLOSED"} if isinstance(action, ApproveReturn) else {"DECLINED"}
        if not isinstance(told, dict):
            return Finding(None)
        if word(told.get("status")) not in wanted:
            return Finding(False)
        return Finding(True, self._decided(action.request, told, ctx))

    def _decided(self, request: str, node: Any, ctx: Context) -> Result:
        return Result(id=number(request), events=tuple(self.reader.changed(node, None, ctx.now())))

    async def probe(self, ctx: Context) -> str:
        """The shop's name."""
        told = await self._call(ctx, queries.SHOP)
        return f"{text(dig(told, 'shop', 'name'))} ({text(dig(told, 'shop', 'myshopifyDomain'))})"


def _as_of(event: RequestChanged, order: dict[str, Any]) -> RequestChanged:
    """Dated by the order's last change, so that a second reading counts as newer than the first."""
    changed = maybe_instant(order.get("updatedAt"))
    return event.model_copy(update={"at": max(event.at, changed)}) if changed else event


def _lane(topic: str, body: bytes) -> str | None:
    pattern = _LANES.get(topic.partition("/")[0])
    found = pattern.search(body) if pattern else None
    return found[1].decode() if found else None


def _item(node: dict[str, Any]) -> Item:
    order = number(node.get("id"))
    return Item(
        body=dump_json(node).encode(),
        id=f"order:{order}:{text(node.get('updatedAt'))}",
        lane=order,
        meta={"topic": RECONCILED},
    )


@hookimpl
def register_marketplaces() -> list[type[Plugin]]:
    """Shopify."""
    return [Shopify]
