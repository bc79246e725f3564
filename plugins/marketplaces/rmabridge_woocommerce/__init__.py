"""WooCommerce: orders and their refunds in; refunds paid, and notes to the buyer written, by call.

Reference: https://woocommerce.github.io/woocommerce-rest-api-docs/

Understood: order.created, order.updated, order.restored. WooCommerce has no returns of its own: extensions for them
give an order a status of theirs, and ``statuses`` says which status asks for what. Without one, cases come from the
other entrances and this account tells of their orders and refunds. A request is counted once for each order and
status. There is no call that approves or declines a return, no message from the buyer and no parcel number. A note
reaches the buyer by WooCommerce's own mail, which a shop may switch off. Name this account in the shop's ``channels``
to have it write notes.

WooCommerce never repeats a webhook, and after several failures in a row (five, says its documentation; its code
counts one or two more) it disables it. So the regular comparison reads the orders that changed of late and sets
disabled webhooks active again. Webhooks are told apart by their body: the delivery id is made from the webhook and the
second, so two orders that change together share it.

Refunds carry our key as a hidden field of the refund. WooCommerce answers each refused refund with a 500; where the
gateway was to pay, such an answer leaves it open whether money moved, until a look at the order or a person says so.
A refund that somebody entered by hand counts as paid. One that was deleted again is not taken back.

Not verified: the names of statuses that extensions use (the defaults of ``statuses`` are merely likely ones); whether
notes are stored as they were sent (they are compared by their words); that the search for an e-mail address finds the
buyer's orders (what it finds is compared). Not built: OAuth 1.0a, which shops on plain http want.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import (
    Context,
    FetchesOrders,
    Inbound,
    Item,
    Page,
    Plugin,
    Receipt,
    ReceivesWebhooks,
    Reconciles,
    Reply,
    Result,
    WebRequest,
    live,
)
from rmabridge.errors import Malformed, Rejected, Unverified, WrongType
from rmabridge.model import CaseRequested, Event, FetchOrder
from rmabridge.wire.bodies import dig, dump_json, read_object, text
from rmabridge.wire.signing import any_matches, hmac_base64

from .calls import rows
from .connecting import TOPICS, Connecting
from .parsing import Meaning, Reader, number
from .paying import Paying
from .talking import Talking

_LANE: Final = re.compile(rb'^\s*\{\s*"id"\s*:\s*([0-9]{1,20})')
_PING: Final = re.compile(rb"webhook_id=[0-9]{1,20}")
_PAGE: Final = 50
_GMT: Final = "%Y-%m-%dT%H:%M:%S"


class WooCommerce(Paying, Talking, Connecting, ReceivesWebhooks, Reconciles, FetchesOrders):
    """One WooCommerce shop."""

    title: ClassVar[str] = "WooCommerce"
    reference: ClassVar[str] = "https://woocommerce.github.io/woocommerce-rest-api-docs/"

    statuses: dict[str, Meaning] = Field(
        {"return-requested": "return", "refund-requested": "refund", "exchange-requested": "exchange"},
        description="order statuses of a returns extension: what they ask for, or answer",
    )
    whole_order: bool = Field(
        False, description="take a request to be for all of the order: its amount is what is left of the total"
    )
    locale: str | None = Field(None, description="language of all buyers, as WooCommerce tells none")
    reconcile_days: int = Field(3, gt=0, description="how far back changed orders are compared")
    mend_webhooks: bool = Field(True, description="set webhooks active again that WooCommerce disabled")

    @property
    def _reader(self) -> Reader:
        return Reader(self.statuses, self.whole_order, self.locale)

    def handshake(self, request: WebRequest, now: datetime) -> Reply | None:
        """Answer the unsigned ping with which a webhook is made or made active."""
        if request.content_type != "application/x-www-form-urlencoded" or not _PING.fullmatch(request.body):
            return None
        return Reply()

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the HMAC over the raw body."""
        if request.content_type != "application/json":
            raise WrongType("WooCommerce sends application/json")
        headers = {name.lower(): value for name, value in request.headers.items()}
        given, topic = headers.get("x-wc-webhook-signature", ""), headers.get("x-wc-webhook-topic", "")
        if not request.body or not given or not topic:
            raise Unverified("the body, X-WC-Webhook-Signature or X-WC-Webhook-Topic is missing")
        if not any_matches(given, [hmac_base64(secret, request.body) for secret in live(self.secret, now)]):
            raise Unverified("X-WC-Webhook-Signature is not good")
        found = _LANE.match(request.body)
        return Receipt(lane=found[1].decode() if found else None, meta={"topic": topic.strip().lower()[:80]})

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """The events of an order; none of customers, products and coupons."""
        body = read_object(inbound.body)
        if inbound.meta.get("topic") not in TOPICS:
            return ()
        try:
            return tuple(self._reader.events(body, inbound.received_at))
        except (ValueError, ArithmeticError) as error:
            raise Malformed("the order cannot be read") from error

    def samples(self) -> tuple[str, ...]:
        """The names that ``sample`` knows."""
        return ("order.updated",)

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A webhook as WooCommerce would send it, signed with the first live secret."""
        secrets = live(self.secret, now)
        if name not in self.samples() or not secrets:
            return None
        asked = next((status for status, meaning in self.statuses.items() if meaning == "return"), "processing")
        body = dump_json(_sampled(asked, now)).encode()
        headers = {
            "Content-Type": "application/json",
            "X-WC-Webhook-Topic": name,
            "X-WC-Webhook-Signature": hmac_base64(secrets[0], body),
        }
        return WebRequest("POST", f"/hooks/{self.account}", {}, headers, body)

    async def listing(self, ctx: Context, cursor: str | None) -> Page:
        """Orders changed of late that are a matter of after-sales; sorted by id, so that none slips between pages."""
        if cursor is None and self.mend_webhooks:
            await self._mend(ctx)
        since, _, page = (cursor or "").partition(" ")
        since = since or (ctx.now() - timedelta(days=self.reconcile_days)).strftime(_GMT)
        params = {"modified_after": since, "dates_are_gmt": "true", "orderby": "id", "order": "asc"}
        params |= {"per_page": str(_PAGE), "page": page or "1"}
        told = rows(await self._call(ctx, "GET", "/orders", params=params))
        items = tuple(_item(one) for one in told if number(one.get("id")) and self._reader.matters(one))
        return Page(items, f"{since} {int(page or 1) + 1}", more=len(told) >= _PAGE)

    async def fetch_order(self, action: FetchOrder, ctx: Context) -> Result:
        """The order by its id or number, or the buyer's newest by customer number or e-mail address."""
        node = await self._order(action, ctx)
        if not isinstance(node, dict) or not number(node.get("id")):
            raise Rejected("the shop knows no such order")
        id_ = str(number(node.get("id")))
        found = self._reader.events(node, ctx.now(), f"order:{id_}:read:{ctx.idempotency_key}")
        # What is fetched tells of the order; it opens no case.
        seen = tuple(one for one in found if not isinstance(one, CaseRequested))
        return Result(id=id_, events=(seen[-1], *seen[:-1]))

    async def _order(self, action: FetchOrder, ctx: Context) -> Any:
        buyer = (action.buyer or "").strip()
        if given := (action.order or action.request or "").strip().lstrip("#"):
            return await self._named(given, buyer, ctx)
        if number(buyer):
            return await self._search(ctx, {"customer": buyer}, lambda _: True)
        return (
            await self._search(ctx, {"search": buyer}, lambda one: buyer.casefold() in _names(one)) if buyer else None
        )

    async def _named(self, given: str, buyer: str, ctx: Context) -> Any:
        """By id or number. Where a shop counts its orders in another way, one's number may be another's id: then it is
        the buyer's that is meant, and nobody's where that does not tell them apart."""
        found = []
        if number(given):
            with suppress(Rejected):
                found.append(await self._call(ctx, "GET", f"/orders/{given}"))
        if not any(text(dig(one, "number")) == given for one in found):
            named = await self._search(ctx, {"search": given}, lambda one: given.casefold() in _names(one))
            found += [named] if named else []
        theirs = [one for one in found if buyer.casefold() in {*_names(one), text(one.get("customer_id"))}]
        by_id = len(found) == 1 and given.casefold() not in _names(found[0])
        meant = theirs if len(found) > 1 or (by_id and buyer) else found
        return meant[0] if len(meant) == 1 else None

    async def _search(self, ctx: Context, params: dict[str, str], fits: Callable[[dict[str, Any]], bool]) -> Any:
        found = rows(await self._call(ctx, "GET", "/orders", params=params | {"per_page": "20"}))
        return next((one for one in found if fits(one)), None)


def _sampled(status: str, now: datetime) -> dict[str, Any]:
    id_ = int(now.timestamp())
    line = {"id": 315, "name": "Mug", "quantity": 2, "total": "24.66", "total_tax": "4.69"}
    return {
        "id": id_,
        "number": str(id_),
        "status": status,
        "currency": "EUR",
        "total": "29.35",
        "date_created_gmt": (now - timedelta(days=4)).strftime(_GMT),
        "date_modified_gmt": now.strftime(_GMT),
        "customer_id": 0,
        "billing": {"first_name": "John", "last_name": "Doe", "email": "john@example.com"},
        "line_items": [line],
        "refunds": [],
    }


def _names(order: dict[str, Any]) -> set[str]:
    told = (text(order.get("number")), text(dig(order, "billing", "email")))
    return {one.casefold() for one in told if one}


def _item(order: dict[str, Any]) -> Item:
    id_, refunds = text(order.get("id")), order.get("refunds")
    count = len(refunds) if isinstance(refunds, list) else 0
    return Item(
        body=dump_json(order).encode(),
        id=f"order:{id_}:{text(order.get('date_modified_gmt'))}:{text(order.get('status'))}:{count}",
        lane=id_,
        meta={"topic": "order.updated"},
    )


@hookimpl
def register_marketplaces() -> list[type[Plugin]]:
    """WooCommerce."""
    return [WooCommerce]
