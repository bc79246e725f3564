"""Amazon (Selling Partner API): returns of seller-fulfilled orders and requests to cancel in; orders and words out.

What it does: reads the seller's SQS queue of notifications and deletes what is on disk (ORDER_CHANGE: a buyer asks to
cancel, an order was cancelled, an Easy Ship parcel comes back or is lost; REPORT_PROCESSING_FINISHED: a report of
returns is read, row by row), asks for that report on its own account, fetches orders, and writes to buyers by the
Messaging API, in the kinds that Amazon allows for the order. Where the queue is bridged to SNS, the account has a door
for it: signatures of version 1 and 2, subscriptions of the listed topics are confirmed.

What Amazon has no open call for, and this plugin therefore leaves to Seller Central: returns approved or declined,
refunds, A-to-z claims, reading buyers' messages. Returns of orders that Amazon fulfils are Amazon's own.

Reference: https://developer-docs.amazon.com/sp-api/ and https://docs.aws.amazon.com/sns/latest/dg/

Not verified, and therefore settings or data: the columns of the returns report and the words of its statuses, reasons
and resolutions (``columns``, ``return_statuses``, ``reasons``; those in ``terms.toml`` are as published samples show
them), the charset of a report that does not name one (``report_charset``), whether SNS repeats a message under its
first time stamp (``window``, off), and how long version 0 of the Orders API stays. Names and addresses of buyers need a
restricted token, which is not asked for.
"""

from __future__ import annotations

from typing import Any, ClassVar

from rmabridge import hookimpl
from rmabridge.abilities import Context, FetchesOrders, Plugin, Probes, Result
from rmabridge.errors import Rejected
from rmabridge.model import FetchOrder

from .door import Door
from .feeding import Feeding
from .orders import order_seen
from .talking import Talking


class Amazon(Feeding, Door, Talking, FetchesOrders, Probes):
    """One seller in one marketplace of Amazon's."""

    title: ClassVar[str] = "Amazon"
    reference: ClassVar[str] = "https://developer-docs.amazon.com/sp-api/"

    async def fetch_order(self, action: FetchOrder, ctx: Context) -> Result:
        """The order by its number; returns are known by their order only."""
        if not action.order:
            raise Rejected("Amazon shows an order by its number only")
        held = await self._order(action.order, ctx)
        seen = order_seen(held, f"order:{action.order}:read:{ctx.idempotency_key}", ctx.now(), self.locale)
        if seen is None:
            raise ValueError("the answer shows no order")
        return Result(id=seen.order.id, events=(seen,))

    async def probe(self, ctx: Context) -> str:
        """Whether orders can be read, and whether the queue is there."""
        since = (ctx.now() - self.probe_span).strftime("%Y-%m-%dT%H:%M:%SZ")
        asked: dict[str, Any] = {"MarketplaceIds": self.marketplace_id, "CreatedAfter": since, "MaxResultsPerPage": 1}
        await self._ask(ctx, "/orders/v0/orders", asked)
        if self.queue_url is None:
            return f"{self.url} answers; no queue is set"
        await self._queue(ctx, "GetQueueAttributes", AttributeNames=["QueueArn"])
        return f"{self.url} answers, and so does the queue"


@hookimpl
def register_marketplaces() -> list[type[Plugin]]:
    """Amazon."""
    return [Amazon]
