"""Douyin shops (抖店, Doudian open platform): requests after a sale in; decisions and refunds out.

What it does: takes signed pushes in batches, reads a request and its order in full, lists what no push told
(``afterSale/List``), agrees to returned goods and exchanges, pays or refuses refunds (``afterSale/operate``) with the
``update_time`` read right before, which Doudian checks, and renews its token. All amounts are fen. The mini-app and
local-life webhooks of open.douyin.com are another product.

Not built, for want of a call or of a verified one: words to the buyer, answers to reviews, evidence for arbitration,
the second dispatch of an exchange and repairs (decide those in the console).

Reference: https://op.jinritemai.com/docs/api-docs (pushes: https://op.jinritemai.com/docs/message-docs)

Not verified, and therefore settings or data: all numbers of ``afterSale/operate`` but 101 and 301 (``operations``),
that pushes count in fen (what is paid is compared with the detail, which does), pushes signed by HMAC
(``push_signature``), tags added since 2023 (``tags``), what error codes say of money that may have moved
(``error_meanings``), the page of consent (``consent_url``), the words of buyers' reasons (``reasons``) and of reasons
for a refusal (``refuse_words``).
"""

from __future__ import annotations

from typing import ClassVar

from rmabridge import hookimpl
from rmabridge.abilities import Context, FetchesOrders, Plugin, Probes, Result
from rmabridge.errors import Rejected
from rmabridge.model import Event, FetchOrder

from .deciding import Deciding
from .facts import detailed
from .terms import number


class Douyin(Deciding, FetchesOrders, Probes):
    """One Douyin shop."""

    title: ClassVar[str] = "Douyin (Doudian)"
    reference: ClassVar[str] = "https://op.jinritemai.com/docs/api-docs"

    async def fetch_order(self, action: FetchOrder, ctx: Context) -> Result:
        """The order by its number or its request; with a request, that as well, for a push tells no reason."""
        events: tuple[Event, ...] = ()
        order = number(action.order)
        if action.request:
            facts = detailed(await self._detail(action.request, ctx))
            order, key = facts.order or order, f"read:{ctx.idempotency_key}"
            events = tuple(self.reader.read(facts, ctx.now(), key))
        if not order:
            raise Rejected("an order is found by its number or its request only")
        told = await self._call(ctx, "order/orderDetail", {"shop_order_id": order})
        seen = self.reader.order(told.get("shop_order_detail"), f"order:{order}:{ctx.idempotency_key}", ctx.now())
        if seen is None:
            raise Rejected("the shop knows no such order")
        return Result(id=order, events=(seen, *events))

    async def probe(self, ctx: Context) -> str:
        """Whether the shop's requests can be listed."""
        now = int(ctx.now().timestamp())
        asked = {"update_start_time": now - 60, "update_end_time": now, "page": 0, "size": 1}
        await self._call(ctx, "afterSale/List", asked)
        return f"Doudian answers at {self.url}; the token is good"


@hookimpl
def register_marketplaces() -> list[type[Plugin]]:
    """Douyin shops."""
    return [Douyin]
