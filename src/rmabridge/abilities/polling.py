"""Fetching what a platform does not push, and comparing what it did."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

from .context import Context
from .webhooks import Parses


@dataclass(frozen=True, slots=True)
class Item:
    """One fetched thing, stored like a webhook body. ``id`` must not change while the thing does not."""

    body: bytes
    id: str
    lane: str | None = None
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """Fetched items and the cursor behind them; ``more`` asks for the next page at once."""

    items: tuple[Item, ...]
    cursor: str
    more: bool = False


class Polls(Parses):
    """Asks the vendor for news; items and cursor are committed together."""

    @abstractmethod
    async def poll(self, ctx: Context, cursor: str | None) -> Page:
        """What came after the cursor (None: start now, not with the vendor's whole history)."""

    async def confirm(self, ctx: Context, page: Page) -> None:
        """Tell the vendor that the page is on disk, where its queue wants that."""


class Reconciles(Parses):
    """Can list what the platform holds, so that a webhook that never came is found."""

    @abstractmethod
    async def listing(self, ctx: Context, cursor: str | None) -> Page:
        """Recent objects, page by page from ``cursor`` (None: the first page of a run); ids as in webhooks."""
