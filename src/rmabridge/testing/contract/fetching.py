"""What ``poll`` and ``listing`` keep: pages end, items keep their ids, and a failure is never an empty page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from ...abilities import Context, Inbound, Page
from ...errors import Malformed
from ..contexts import NOON
from .calling import GARBAGE, Calling, Vendor, lent
from .parsing import ParseContract

MOST_PAGES: Final = 50


@dataclass(frozen=True)
class Fetch:
    """One fetch, ``poll`` or ``listing``, and what the vendor answers to each request of it.

    The last answer is repeated to whoever asks for more, so it must be the answer of a last page.
    """

    method: str
    answers: tuple[Any, ...]
    cursor: str | None = None


class FetchContract(ParseContract, Calling):
    """The checks of ``Polls`` and ``Reconciles``; ``fetches`` lists pages with at least one item each."""

    def fetches(self) -> list[Fetch]:
        """One entry for ``poll``, one for ``listing``, as far as the account has them."""
        self.unwritten("fetches(): one Fetch for poll, one for listing, as far as the account has them")

    def inbound(self, account: Any) -> list[Inbound]:
        """The fetched items, as they are stored."""
        items = [item for fetch in self.fetches() for item in self.page(fetch).items]
        bodies = [Inbound(account.account, one.body, one.meta, NOON) for one in items]
        return [one for one in bodies if self._means(account, one)]

    def _means(self, account: Any, inbound: Inbound) -> bool:
        try:
            return bool(list(account.parse(inbound)))
        except Malformed:
            return False

    def fetched(self, fetch: Fetch, *answers: Any, cursor: str | None = None) -> tuple[Page, Vendor]:
        """One page of a vendor that answers this, and the vendor with what it saw."""
        vendor, account = Vendor(answers or fetch.answers), self.account()

        async def run(ctx: Context) -> Page:
            page: Page = await getattr(account, fetch.method)(ctx, cursor or fetch.cursor)
            return page

        return lent(vendor, self.token, run), vendor

    def page(self, fetch: Fetch) -> Page:
        """The page when all is well."""
        return self.fetched(fetch)[0]

    def test_a_page_holds_what_the_vendor_showed(self) -> None:
        for fetch in self.fetches():
            assert self.page(fetch).items, f"{fetch.method}: the vendor's answer gives no item"

    def test_every_fetched_item_can_be_read(self) -> None:
        account = self.account()
        for fetch in self.fetches():
            for one in self.page(fetch).items:
                read = self.parse(account, Inbound(account.account, one.body, one.meta, NOON))
                assert read is not None, f"{fetch.method}: {one.id} is malformed for the account's own parse"

    def test_the_same_answer_gives_the_same_items(self) -> None:
        for fetch in self.fetches():
            first, again = ([one.id for one in self.page(fetch).items] for _ in range(2))
            assert first == again, "Item.id must not change while the thing does not"

    def test_the_items_of_a_page_have_different_ids(self) -> None:
        for fetch in self.fetches():
            ids = [one.id for one in self.page(fetch).items]
            assert len(set(filter(None, ids))) == len(ids), f"of two items with one id the second is lost: {ids}"

    def test_the_cursor_is_a_text(self) -> None:
        for fetch in self.fetches():
            cursor = self.page(fetch).cursor
            assert isinstance(cursor, str), f"{fetch.method}: {cursor!r} cannot be kept as a cursor"

    def test_fetching_comes_to_an_end(self) -> None:
        for fetch in self.fetches():
            page, vendor = self.fetched(fetch)
            for _ in range(MOST_PAGES):
                if not page.more:
                    break
                rest = fetch.answers[len(vendor.seen) :] or fetch.answers[-1:]
                page, vendor = self.fetched(fetch, *rest, cursor=page.cursor)
            assert not page.more, f"{fetch.method} asks for more for ever at a vendor that has no more"

    @pytest.mark.parametrize(
        "answer",
        [httpx.Response(401), httpx.Response(429), httpx.Response(500), GARBAGE, httpx.ReadTimeout("late")],
        ids=["401", "429", "500", "page", "timeout"],
    )
    def test_a_fetch_that_failed_is_no_empty_page(self, answer: Any) -> None:
        for fetch in self.fetches():
            with pytest.raises(Exception):  # noqa: B017, PT011 - whatever is raised, the bridge asks again
                self.fetched(fetch, answer)

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_fetch_is_repeated_by_the_bridge_alone(self, status: int) -> None:
        for fetch in self.fetches():
            vendor = Vendor((httpx.Response(status),))
            with pytest.raises(Exception):  # noqa: B017, PT011 - which one is the check above
                self._again(fetch, vendor)
            assert len(vendor.seen) == 1, f"{len(vendor.seen)} requests to a vendor that refused the first one"

    def _again(self, fetch: Fetch, vendor: Vendor) -> None:
        account = self.account()
        lent(vendor, self.token, lambda ctx: getattr(account, fetch.method)(ctx, fetch.cursor))

    def test_no_fetched_item_holds_a_secret(self) -> None:
        for fetch in self.fetches():
            page = self.page(fetch)
            shown = repr(page)
            assert not [one for one in self.secrets() if one in shown], "the inbox would keep a secret"
