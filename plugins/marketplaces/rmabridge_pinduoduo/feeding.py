"""What comes in: the list of changed requests, window by window, each request read as fully as it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Self

from pydantic import Field

from rmabridge.abilities import Context, Inbound, Item, Page, Polls
from rmabridge.errors import Malformed, Rejected
from rmabridge.model import Event, Issue
from rmabridge.wire.bodies import dump_json, read_object, text

from .calls import Calls
from .parsing import Reader
from .terms import OPEN, Unit, code, request_of, rows, status, table

_WINDOW: Final = 30 * 60
_ALL_TYPES: Final = 1


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the list was left: a window in Unix seconds, which status of it, and which page of that (0: the last)."""

    since: int
    until: int = 0
    place: int = 0
    page: int = 0

    @classmethod
    def read(cls, cursor: str | None, now: datetime, overlap: int) -> Self:
        """The cursor; at rest it only says since when, and the window opens now."""
        found = cls(*map(int, cursor.split("|"))) if cursor else cls(int(now.timestamp()) - overlap)
        if found.until:
            return found
        return replace(found, until=min(found.since + _WINDOW, int(now.timestamp())))

    def __str__(self) -> str:
        return "|".join(map(str, (self.since, self.until, self.place, self.page)))


class Feeding(Calls, Polls):
    """Lists changed requests; the cursor is where it stopped, so that nothing is skipped over a standstill."""

    statuses: tuple[int, ...] = Field(
        tuple(int(one) for one in (*table("statuses"), "8")),
        description="statuses of requests that are asked for, one call each; [1] asks for all in one call where "
        "Pinduoduo still takes that",
        min_length=1,
    )
    overlap: timedelta = Field(
        timedelta(minutes=5),
        description="how far each window reaches back into the one before",
        ge=timedelta(),
        le=timedelta(minutes=20),
    )
    page: int = Field(30, gt=0, le=100, description="requests per page; each one that is open is read in full")
    detail_unit: Unit = Field("fen", description="what amounts of the detail are counted in: 'fen' or 'yuan'")
    carriers: dict[str, str] = Field(
        default_factory=lambda: {"44": "SF", "85": "YTO", "131": "DBL", "384": "JTSD"},
        description="Pinduoduo's numbers of carriers and the bridge's codes",
    )
    locale: str | None = Field("zh-CN", description="language of the buyers")
    reasons: dict[str, Issue] = Field(
        default_factory=dict, description="words in buyers' reasons and what they mean, before those of terms.toml"
    )

    @property
    def reader(self) -> Reader:
        """Reads this shop's objects."""
        return Reader(self.locale, self.reasons, self.detail_unit, self.carriers)

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """The events of a listed request with its detail."""
        body = read_object(inbound.body)
        try:
            return tuple(self.reader.events(body, inbound.received_at))
        except (ValueError, ArithmeticError) as error:
            raise Malformed("the request cannot be read") from error

    async def poll(self, ctx: Context, cursor: str | None) -> Page:
        """The next page with something on it, else the end of the window."""
        overlap = int(self.overlap.total_seconds())
        mark = Mark.read(cursor, ctx.now(), overlap)
        while mark.place < len(self.statuses):
            listed, left = await self._page(mark, ctx)
            mark = replace(mark, place=mark.place + (not left), page=left)
            if listed:
                return Page(tuple([await self._item(one, ctx) for one in listed]), str(mark), more=True)
        back = max(mark.since, mark.until - overlap)
        return Page((), str(Mark(back)), more=mark.until - mark.since == _WINDOW)

    async def _page(self, mark: Mark, ctx: Context) -> tuple[list[dict[str, Any]], int]:
        """One page and how many are left before it: from the last to the first, for what is touched meanwhile leaves
        the window and moves the rest forward."""
        told = await self._list(mark, mark.page or 1, ctx)
        total = int(code(told.get("total_count")) or "0")
        page = mark.page or max(1, -(-total // self.page))
        if page > 1 and not mark.page:
            told = await self._list(mark, page, ctx)
        return [one for one in rows(told, "refund_list") if request_of(one)], page - 1

    async def _list(self, mark: Mark, page: int, ctx: Context) -> dict[str, Any]:
        return await self._call(
            ctx,
            "pdd.refund.list.increment.get",
            after_sales_status=self.statuses[mark.place],
            after_sales_type=_ALL_TYPES,
            start_updated_at=mark.since,
            end_updated_at=mark.until,
            page=page,
            page_size=self.page,
        )

    async def _item(self, listed: dict[str, Any], ctx: Context) -> Item:
        request, body = request_of(listed) or "", {"refund": listed}
        if (now := status(listed)) is None or now in OPEN:
            with suppress(Rejected):  # the list alone opens the case where the detail is not shown
                body["detail"] = await self._refund(request, ctx)
        changed = f"{code(listed.get('after_sales_status'))}:{text(listed.get('updated_time')) or ''}"
        return Item(dump_json(body).encode(), f"refund:{request}:{changed}", request.partition("/")[0])
