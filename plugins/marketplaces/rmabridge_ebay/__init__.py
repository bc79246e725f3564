"""eBay: returns, items not received and cases in; decisions, refunds, words and orders out.

What it does: searches returns, inquiries (item not received) and cases of the Post-Order API by their day of creation,
reads what changed in full, approves and declines returns, refunds returns, inquiries and whole orders, writes to the
buyer in a return or an inquiry, and fetches orders with their parcels. The door takes signed notifications: the
endpoint's challenge is answered, the ECDSA signature is checked with eBay's published key, and the deletion of a
buyer's account, which every application must heed, becomes a note for a person.

What eBay has no open call for (most of it was switched off in 2026): refunds and shipment details of escalated cases.
Calls that decide or pay for sellers in the EU and the UK must be signed (RFC 9421), which this plugin does not: eBay
refuses them, and a person decides in the Seller Hub.

Reference: https://developer.ebay.com/Devzone/post-order/index.html,
https://developer.ebay.com/api-docs/sell/fulfillment/overview.html and
https://developer.ebay.com/api-docs/commerce/notification/overview.html

Not verified, and therefore settings or data: the words of states and reasons (``states``, ``reasons``; those in
``terms.toml`` are the project's own list), the scopes of both tokens (``scopes``, ``key_scope``), the longest message
(``message_characters``), whether offsets count rows or pages (none is sent: searches are cut by time until they fit),
the parts of a refund that eBay expects (those it shows, else ``refund_part``), and the topics of returns and inquiries
that newer release notes name (no event is made of a topic whose body is not known).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar

from httpx import HTTPStatusError

from rmabridge import hookimpl
from rmabridge.abilities import Context, FetchesOrders, Inbound, Plugin, Probes, Result
from rmabridge.errors import Malformed, Rejected
from rmabridge.model import Event, FetchOrder
from rmabridge.wire.bodies import dig, read_object, text

from .deciding import Deciding
from .door import Door
from .orders import order_seen
from .talking import Talking
from .terms import id_of, iso


class Ebay(Deciding, Talking, Door, FetchesOrders, Probes):
    """One eBay seller."""

    title: ClassVar[str] = "eBay"
    reference: ClassVar[str] = "https://developer.ebay.com/Devzone/post-order/index.html"

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """The events of a notification, or of a return, an inquiry or a case that was searched."""
        body = read_object(inbound.body)
        try:
            return tuple(self.reader.events(body, inbound.received_at))
        except (ValueError, ArithmeticError) as error:
            raise Malformed("the object cannot be read") from error

    async def fetch_order(self, action: FetchOrder, ctx: Context) -> Result:
        """The order by its number or its return, with its parcels; with a return, where that stands as well."""
        order, events = id_of(action.order), tuple[Event, ...]()
        if request := id_of(action.request):
            held = await self._return(request, ctx)
            order = id_of(dig(held, "detail", "orderId")) or order
            events = tuple(self.reader.returned(held, ctx.now(), opens=False))
        if not order:
            raise Rejected("eBay shows an order by its number or its return only")
        node = await self._sell(ctx, "GET", f"/order/{order}")
        shipped = await self._sell(ctx, "GET", f"/order/{order}/shipping_fulfillment")
        seen = order_seen(node, shipped, f"order:{order}:read:{ctx.idempotency_key}", ctx.now(), self.locale)
        if seen is None:
            raise ValueError("the answer shows no order")
        return Result(id=seen.order.id, events=(seen, *events))

    async def probe(self, ctx: Context) -> str:
        """Whether the seller's returns can be searched."""
        span = {"creation_date_range_from": iso(ctx.now() - timedelta(days=1)), "limit": 1, "role": "SELLER"}
        await self._post_order(ctx, "GET", "/return/search", params=span)
        try:
            await self._sell(ctx, "GET", "/order", params={"limit": 1})
        except HTTPStatusError as error:
            return f"{self.url} shows returns, but no orders: HTTP {error.response.status_code}"
        return f"{self.url} answers for {text(self.marketplace_id)}"


@hookimpl
def register_marketplaces() -> list[type[Plugin]]:
    """eBay."""
    return [Ebay]
