"""Toy: a marketplace that takes the bridge's own events as they are, unsigned; for tests of the engine."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic_core import from_json

from rmabridge import hookimpl
from rmabridge.abilities import (
    Context,
    FetchesOrders,
    Inbound,
    Item,
    Page,
    PaysRefunds,
    Plugin,
    Polls,
    Receipt,
    ReceivesWebhooks,
    Reconciles,
    Result,
    WebRequest,
)
from rmabridge.errors import Malformed, Unavailable
from rmabridge.model import EVENTS, Event, FetchOrder, PayRefund, Ref, RefundSeen


class Toy(Plugin, ReceivesWebhooks, Polls, Reconciles, FetchesOrders, PaysRefunds):
    """Bodies are ``{"events": […]}``; ``explode`` raises, ``unreadable`` is malformed. ``url`` is a feed to poll."""

    url: str = ""

    def verify(self, request: WebRequest, now: object) -> Receipt:
        return Receipt(id=request.headers.get("X-Id"), lane=request.headers.get("X-Lane"))

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        body = from_json(inbound.body)
        if fault := body.get("explode"):
            raise RuntimeError(fault)
        if fault := body.get("unreadable"):
            raise Malformed(fault)
        return [EVENTS.validate_python(one) for one in body["events"]]

    async def poll(self, ctx: Context, cursor: str | None) -> Page:
        return await self._page("poll", ctx, cursor)

    async def listing(self, ctx: Context, cursor: str | None) -> Page:
        return await self._page("listing", ctx, cursor)

    async def confirm(self, ctx: Context, page: Page) -> None:
        if self.url and page.items:
            await ctx.http.post(f"{self.url}/confirm", json=[one.id for one in page.items])

    async def _page(self, what: str, ctx: Context, cursor: str | None) -> Page:
        if not self.url:
            return Page((), "")
        answer = await ctx.http.get(f"{self.url}/{what}", params={"cursor": cursor or ""})
        answer.raise_for_status()
        found = answer.json()
        items = tuple(Item(one["body"].encode(), one["id"]) for one in found["items"])
        return Page(items, found["cursor"], found.get("more", False))

    async def fetch_order(self, action: FetchOrder, ctx: Context) -> Result:
        if not self.url:
            raise Unavailable("the toy has no orders")
        answer = await ctx.http.get(f"{self.url}/order/{action.order}")
        answer.raise_for_status()
        return Result(events=[EVENTS.validate_python(one) for one in answer.json()["events"]])

    async def pay_refund(self, action: PayRefund, ctx: Context) -> Result:
        refs = (Ref(kind="return", value=action.request or ""),)
        seen = RefundSeen(
            key=f"paid:{action.key}", at=ctx.now(), refund=f"F-{action.request}", amount=action.amount, refs=refs
        )
        return Result(id=seen.refund, events=(seen,))


@hookimpl
def register_marketplaces() -> list[type[Plugin]]:
    return [Toy]
