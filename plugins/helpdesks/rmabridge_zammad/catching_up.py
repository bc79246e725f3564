"""What webhooks may have missed: Zammad repeats one for under two minutes, then it is gone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import Field

from rmabridge.abilities import Context, Item, Page, Reconciles
from rmabridge.wire.bodies import dump_json, read_json, text
from rmabridge.wire.times import maybe_instant

from .calls import Calls
from .terms import tag

FULL: Final = 50


class CatchingUp(Calls, Reconciles):
    """Lists the bridge's tickets that changed of late, and their newest articles, in the shape of the webhooks."""

    look_back: timedelta = Field(timedelta(hours=12), description="how far back a comparison with Zammad goes")

    async def listing(self, ctx: Context, cursor: str | None) -> Page:
        """The tickets that changed last come first."""
        page, since = int(cursor or 1), ctx.now() - self.look_back
        named = "condition[ticket.tags]"
        asked = {f"{named}[operator]": "contains one", f"{named}[value]": tag(self.tag), "expand": "true"}
        asked |= {"sort_by": "updated_at", "order_by": "desc", "per_page": str(FULL), "page": str(page)}
        tickets = _rows(await self._call(ctx, "GET", "/tickets/search", params=asked))
        recent = [one for one in tickets if _since(one.get("updated_at"), since)]
        items = [item for one in recent for item in await self._missed(one, since, ctx)]
        return Page(tuple(items), str(page + 1), more=len(tickets) >= FULL and len(recent) == len(tickets))

    async def _missed(self, ticket: dict[str, Any], since: datetime, ctx: Context) -> list[Item]:
        id_ = text(ticket.get("id"))
        if id_ is None or not id_.isdigit():
            return []
        told = _rows(await self._call(ctx, "GET", f"/ticket_articles/by_ticket/{id_}"))
        fresh: list[Any] = [one for one in told if _since(one.get("created_at"), since)]
        return [_item(id_, ticket, article) for article in [*fresh, None]]


def _item(id_: str, ticket: dict[str, Any], article: Any) -> Item:
    name = f"article:{article.get('id')}" if article else f"ticket:{id_}:{ticket.get('updated_at')}"
    return Item(dump_json({"ticket": ticket, "article": article}).encode(), name, id_)


def _rows(raw: bytes) -> list[dict[str, Any]]:
    told = read_json(raw)
    if not isinstance(told, list):
        raise ValueError("Zammad answered without a list")
    return [one for one in told if isinstance(one, dict)]


def _since(given: Any, since: datetime) -> bool:
    at = maybe_instant(given)
    return at is not None and at >= since
