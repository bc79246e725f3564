"""What comes in by asking: returns, inquiries and cases, searched by the day on which they were made.

eBay has no search by last change, so each turn looks at everything of late; what has not changed is the same item as
before and is stored once. A span of time with more in it than one answer holds is cut in two. A search does not show
everything (a message of the buyer's, a scan): a comparison reads every open return in full.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from httpx import HTTPStatusError
from pydantic import Field, PrivateAttr

from rmabridge.abilities import Context, Item, Page, Polls, Reconciles
from rmabridge.model import Issue, RequestStatus
from rmabridge.wire.bodies import dig, dump_json

from .calls import Calls
from .parsing import Reader
from .terms import id_of, iso, rows, status, whole

# What is searched: the path, the name of its parameters of time, and the name of an object's id.
KINDS: Final = {
    "return": ("/return/search", "creation_date_range", "returnId"),
    "inquiry": ("/inquiry/search", "inquiry_creation_date_range", "inquiryId"),
    "case": ("/casemanagement/search", "case_creation_date_range", "caseId"),
}
_SHORTEST: Final = timedelta(minutes=10)
_ENOUGH: Final = timedelta(seconds=30)  # what was read so far is stored then, well before a page is given up
_REMEMBERED: Final = 20_000
_GONE: Final = (400, 404, 410)


class Feeding(Calls, Polls, Reconciles):
    """Searches; a page's cursor is the spans of time that are left of the turn."""

    poll_every: timedelta = Field(timedelta(minutes=5), description="pause between searches")
    reconcile_every: timedelta | None = Field(
        timedelta(hours=2), description="pause between comparisons, which read every open return in full"
    )
    days: int = Field(30, gt=0, le=90, description="how many days of returns, inquiries and cases each turn looks at")
    page: int = Field(50, gt=0, le=200, description="most objects of one search; each changed return is read in full")
    reconcile_days: int = Field(90, gt=0, le=540, description="how far back a comparison looks")
    states: dict[str, RequestStatus] = Field(
        default_factory=dict, description="states of returns and what they mean, before those of terms.toml"
    )
    reasons: dict[str, Issue] = Field(
        default_factory=dict, description="reasons of returns and what they mean, before those of terms.toml"
    )

    # Items that are on disk: their details need not be read again. Forgetting one costs a call, nothing else.
    _stored: dict[str, None] = PrivateAttr(default_factory=dict)

    @property
    def reader(self) -> Reader:
        """Reads this seller's objects."""
        return Reader(self.locale, self.states, self.reasons)

    async def poll(self, ctx: Context, cursor: str | None) -> Page:
        """The next span of this turn; the first turn looks as far back as every other."""
        return await self._span(ctx, cursor, self.days, thorough=False)

    async def confirm(self, ctx: Context, page: Page) -> None:
        """Nothing is told to eBay; the account remembers what it need not read again."""
        self._stored |= dict.fromkeys(one.id for one in page.items)
        while len(self._stored) > _REMEMBERED:
            del self._stored[next(iter(self._stored))]

    async def listing(self, ctx: Context, cursor: str | None) -> Page:
        """The same, further back, and whatever a search does not show."""
        return await self._span(ctx, cursor, self.reconcile_days, thorough=True)

    async def _span(self, ctx: Context, cursor: str | None, days: int, *, thorough: bool) -> Page:
        start, end = iso(ctx.now() - timedelta(days=days)), iso(ctx.now())
        left = cursor.split() if cursor else [f"{kind}|{start}|{end}" for kind in KINDS]
        kind, since, until, *before = left.pop(0).split("|")
        found, more = await self._search(ctx, kind, since, until)
        if more and (halves := _halves(kind, since, until)):
            return Page((), " ".join((*halves, *left)), more=True)
        done, begun, items = int(before[0]) if before else 0, ctx.now(), []
        for one in found[done:]:
            items.append(await self._item(ctx, kind, one, thorough=thorough))
            if ctx.now() - begun > _ENOUGH and done + len(items) < len(found):
                left.insert(0, f"{kind}|{since}|{until}|{done + len(items)}")
                break
        return Page(tuple(items), " ".join(left), more=bool(left))

    async def _search(self, ctx: Context, kind: str, since: str, until: str) -> tuple[list[dict[str, Any]], bool]:
        path, span, name = KINDS[kind]
        asked: dict[str, Any] = {f"{span}_from": since, f"{span}_to": until, "limit": self.page}
        if kind == "return":
            asked["role"] = "SELLER"
        told = await self._post_order(ctx, "GET", path, params=asked)
        found = [one for one in rows(told, "members") if id_of(one.get(name))]
        shown, total = len(rows(told, "members")), dig(told, "paginationOutput", "totalEntries") or told.get("total")
        return found, whole(total, shown) > shown or (total is None and shown >= self.page)

    async def _item(self, ctx: Context, kind: str, node: dict[str, Any], *, thorough: bool) -> Item:
        id_ = id_of(node.get(KINDS[kind][2])) or ""
        name = _name(kind, id_, node)
        body: dict[str, Any] = {kind: node}
        if kind == "return" and (name not in self._stored or (thorough and self._is_open(node))):
            try:
                body["detail"] = (await self._return(id_, ctx)).get("detail")
            except HTTPStatusError as error:
                # One return that eBay does not show must not keep the others waiting.
                if error.response.status_code not in _GONE:
                    raise
            name = _name(kind, id_, body) if thorough else name
        return Item(dump_json(body).encode(), name, id_of(node.get("orderId")) or id_)

    def _is_open(self, node: dict[str, Any]) -> bool:
        return status(node.get("state"), self.states) is not RequestStatus.CLOSED

    async def _return(self, request: str, ctx: Context) -> dict[str, Any]:
        """The return in full, under ``detail``."""
        return await self._post_order(ctx, "GET", f"/return/{id_of(request)}", params={"fieldgroups": "FULL"})


def _name(kind: str, id_: str, told: Any) -> str:
    return f"{kind}:{id_}:{sha256(dump_json(told).encode()).hexdigest()[:24]}"


def _halves(kind: str, since: str, until: str) -> tuple[str, ...]:
    start, end = datetime.fromisoformat(since), datetime.fromisoformat(until)
    if end - start < _SHORTEST:
        return ()
    middle = iso(start + (end - start) / 2)
    return f"{kind}|{since}|{middle}", f"{kind}|{middle}|{until}"
