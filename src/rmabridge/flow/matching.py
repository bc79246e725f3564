"""Which case an event belongs to: strong names first, then the open case of an order or buyer, else a new one."""

from __future__ import annotations

import secrets
from typing import Any, Final

from ..core.identity import opens
from ..model import Case, Event, MessageReceived, ParcelSeen, RefKind
from ..registry import Registry
from ..store import outbox as outbox_store
from ..store.store import Store
from ..store.tables import moment
from .absorb import absorb
from .batch import Batch, Row, Waiting, new_case_id
from .loader import Loader, buyer_of
from .work import Work
from .world import event_marks

IDENTIFYING: Final = (RefKind.RETURN, RefKind.REFUND, RefKind.CLAIM, RefKind.ORDER)


class Matcher:
    """Finds or opens the case of an event, in the batch that the loader has filled."""

    def __init__(self, store: Store, registry: Registry, loader: Loader) -> None:
        self.store, self.registry, self.loader = store, registry, loader

    def find(self, batch: Batch, row: Row, event: Event, marks: list[tuple[Any, bytes]]) -> Work | None:
        """The case that the event is about, or None for a new one; ``Waiting`` where it must not open one."""
        if row.case_id:
            return self.loader.living(batch, row.case_id)
        strong = self._strong(batch, marks)
        if len(strong) > 1:
            return absorb(self.store, batch, strong)
        if strong and (strong[0].case.open or not isinstance(event, ParcelSeen)):
            return strong[0]
        fitting = self._fitting(batch, marks)
        if strong:  # a carrier names the case that subscribed first, though another one may wait for the parcel now
            waiting = (one for one in fitting if one.case.open)
            return max(waiting, key=lambda one: one.case.opened_at, default=strong[0])
        newest = max((one for one in fitting if one.case.open), key=lambda one: one.case.opened_at, default=None)
        if newest is None and not opens(event):
            newest = max(fitting, key=lambda one: one.case.opened_at, default=None)
        if newest is None and not opens(event):
            raise Waiting(
                [mark for _, mark in marks],
                f"no case knows {', '.join(sorted({ref.kind for ref, _ in marks})) or 'it'} yet",
            )
        return newest

    def named(self, batch: Batch, marks: list[tuple[Any, bytes]]) -> str | None:
        """The id of a case that has the names, the newest where only an order or a buyer is named."""
        found = self._strong(batch, marks) or self._fitting(batch, marks)
        return max(found, key=lambda one: one.case.opened_at).case.id if found else None

    def _fitting(self, batch: Batch, marks: list[tuple[Any, bytes]]) -> list[Work]:
        """The cases of the same order or buyer that name no other return."""
        weak = (one for ref, mark in marks if not ref.strong for one in batch.by_mark.get(mark, ()))
        works = (self.loader.living(batch, one) for one in weak)
        return [one for one in works if one and not _contradicts(one.case, marks)]

    def _strong(self, batch: Batch, marks: list[tuple[Any, bytes]]) -> list[Work]:
        found: dict[str, Work] = {}
        for ref, mark in marks:
            ids = [ref.value] if ref.kind is RefKind.CASE else batch.by_mark.get(mark, ()) if ref.strong else ()
            for one in ids:
                if work := self.loader.living(batch, one):
                    found.setdefault(work.case.id, work)
        return sorted(found.values(), key=lambda one: (one.case.opened_at, one.case.id))

    def names_another(self, batch: Batch, work: Work, mark: bytes) -> bool:
        """Whether the name belongs to a case that was not absorbed, because it is closed."""
        found = (self.loader.living(batch, one) for one in batch.by_mark.get(mark, ()))
        return any(one is not None and one is not work for one in found)

    def open(self, batch: Batch, row: Row, event: Event) -> Work:
        """A new case, with a key of its own or its buyer's."""
        shop = self.registry.shop_of(row.account, event.shop)
        if shop is None:
            serving = ", ".join(self.registry.of_account.get(row.account, ())) or "none"
            raise LookupError(
                f"the event does not say which shop it belongs to; "
                f"[{self.registry.kinds.get(row.account, '?')}.{row.account}] serves: {serving}. "
                "Name it as a shop's marketplace or among its sources"
            )
        self._not_ours(batch, row, event)
        case_id = new_case_id(moment(batch.now))
        while not self.store.ours(case_id):
            case_id = new_case_id(moment(batch.now))
        case = Case(
            id=case_id,
            shop=shop,
            marketplace=row.account,
            source=row.account,
            opened_at=event.at,
            updated_at=event.at,
        )
        key_id, key_row = self._case_key(batch, shop, event)
        if key_row:
            batch.key_rows.append(key_row)
        work = Work(self.loader.world, self.registry.shops[shop], case, 0, 0, b"", key_id, batch.now, {})
        batch.works[case.id] = work
        return work

    def _not_ours(self, batch: Batch, row: Row, event: Event) -> None:
        """An unknown object at an account where we may be creating one right now could be our own: it waits."""
        if isinstance(event, MessageReceived) and event.refs:
            busy = self.store.read(lambda conn: outbox_store.creating(conn, {row.account}))
            if busy:
                raise Waiting(
                    [mark for _, mark in event_marks(self.store.vault, event, row.account, None)],
                    "our own write may have made it",
                    again=True,
                )

    def _case_key(self, batch: Batch, shop: str, event: Event) -> tuple[str, dict[str, Any] | None]:
        mark = self.loader.buyer_mark(shop, buyer_of(event))
        if mark and mark in batch.buyers:
            return batch.buyers[mark], None
        key_id = f"k:{secrets.token_hex(8)}"
        if mark:
            batch.buyers[mark] = key_id
        return key_id, self.store.vault.make(key_id, mark, batch.now)

    def know_buyer(self, batch: Batch, work: Work, event: Event) -> None:
        """Note whose case it is, once that is known, and the buyer's earlier ones."""
        mark = self.loader.buyer_mark(work.shop.name, buyer_of(event))
        if mark is None or work.buyer is not None:
            return
        work.buyer = mark
        batch.linked.append({"key": work.key_id, "mark": mark})
        earlier = tuple(one for one in batch.earlier.get(mark, ()) if one != work.case.id)[:20]
        batch.earlier.setdefault(mark, []).insert(0, work.case.id)
        if earlier:
            work.case = work.case.model_copy(update={"previous": earlier})


def _contradicts(case: Case, marks: list[tuple[Any, bytes]]) -> bool:
    """Whether event and case name different objects of a kind that a case has only one of."""
    for kind in IDENTIFYING:
        theirs = {ref.value for ref, _ in marks if ref.kind is kind}
        ours = {ref.value for ref in case.refs if ref.kind is kind}
        if theirs and ours and not theirs & ours:
            return True
    return False
