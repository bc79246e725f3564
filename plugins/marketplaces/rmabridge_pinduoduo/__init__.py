"""Pinduoduo (拼多多开放平台): requests after a sale in; returns agreed to and refunds paid.

What it does: lists changed requests in windows of at most thirty minutes and reads each open one in full, fetches
orders, agrees to returned goods (``pdd.refund.returngoods.agree``), pays refunds (``pdd.refund.agree``) after reading
the amount again, and renews its token. A request is named by order number and id (``ORDER_SN/AFTER_SALES_ID``), because
every call wants both. Amounts of the list and of orders are yuan.

Not built, for want of a call or of a verified one: refusing a request, words to the buyer, evidence, exchanges and
repairs (decide those in the seller's console). The message service is a websocket, which the bridge has no door for;
listing from a stored cursor finds the same changes.

Reference: https://open.pinduoduo.com/application/document/api (calls: pdd.refund.*, pdd.order.information.get)

Not verified, and therefore settings or data: that the detail counts in fen (``detail_unit``; a payment leaves only
where it agrees with the amount of the list, which is yuan), in which statuses a refund can be paid (``payable``), that
one status (1) still asks for all (``statuses``), the numbers of carriers (``carriers``), the page of consent
(``consent_url``), what error codes say of money that may have moved (``error_meanings``), the words of buyers' reasons
(``reasons``).
"""

from __future__ import annotations

from typing import ClassVar

from rmabridge import hookimpl
from rmabridge.abilities import Context, FetchesOrders, Plugin, Probes, Result
from rmabridge.errors import Rejected
from rmabridge.model import Event, FetchOrder

from .deciding import Deciding
from .feeding import Mark
from .terms import number, parts


class Pinduoduo(Deciding, FetchesOrders, Probes):
    """One Pinduoduo shop."""

    title: ClassVar[str] = "Pinduoduo"
    reference: ClassVar[str] = "https://open.pinduoduo.com/application/document/api"

    async def fetch_order(self, action: FetchOrder, ctx: Context) -> Result:
        """The order by its number or its request; with a request, where that stands as well."""
        events: tuple[Event, ...] = ()
        order = number(action.order)
        if action.request:
            order = parts(action.request)[0]
            events = self._result(action.request, await self._refund(action.request, ctx), ctx).events
        if not order:
            raise Rejected("an order is found by its number or its request only")
        told = await self._call(ctx, "pdd.order.information.get", order_sn=order)
        seen = self.reader.order(told.get("order_info"), f"order:{order}:read:{ctx.idempotency_key}", ctx.now())
        if seen is None:
            raise Rejected("the shop knows no such order")
        return Result(id=order, events=(seen, *events))

    async def probe(self, ctx: Context) -> str:
        """Whether the shop's requests can be listed."""
        now = int(ctx.now().timestamp())
        await self._list(Mark(now - 60, now), 1, ctx)
        return f"Pinduoduo answers at {self.url}; the token is good"


@hookimpl
def register_marketplaces() -> list[type[Plugin]]:
    """Pinduoduo."""
    return [Pinduoduo]
