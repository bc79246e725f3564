"""Two open cases turn out to be one: the older absorbs the other, which stays as a pointer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import Connection, update

from ..abilities import Timer
from ..core.reduce import reduce
from ..model import EVENTS, Event, Merged
from ..store import cases as case_store
from ..store.outbox import LIVE
from ..store.store import Store
from ..store.tables import moment, outbox
from .work import Work
from .world import key_row

if TYPE_CHECKING:
    from .batch import Batch


def absorb(store: Store, batch: Batch, found: list[Work]) -> Work:
    """The case that goes on, oldest first in ``found``; closed ones are left alone."""
    living = [one for one in found if one.case.open]
    if len(living) < 2:
        return living[0] if living else found[-1]
    winner, *losers = living
    for loser in losers:
        _take_over(store, batch, winner, loser)
    return winner


def _take_over(store: Store, batch: Batch, winner: Work, loser: Work) -> None:
    now, clocks = moment(batch.now), loser.case.deadlines
    for work in (winner, loser):
        work.begin(batch.changes, now, 0, None)
    for event, account in _story(store, batch, loser.case.id):
        winner.case = reduce(winner.case, event, account)
    winner.record(Merged(key=f"merged:{loser.case.id}", at=now, case=loser.case.id), "bridge", "bridge")
    loser.record(Merged(key=f"merged-into:{winner.case.id}", at=now, case=winner.case.id), "bridge", "bridge")
    loser.case = loser.case.model_copy(update={"merged_into": winner.case.id, "deadlines": ()})
    moved = _move_ledger(winner, loser)
    for clock in clocks:
        if not any(one.name == clock.name for one in winner.case.deadlines):
            winner.set_timer(Timer(clock.name, clock.due_at))
    lost, won = loser.case.id, winner.case.id
    keys = [key_row(store.vault, ref, "", loser.case)["k"] for ref in loser.case.refs]
    for row in batch.changes.keys:
        if row["case_id"] == lost:
            row["case_id"] = won

    def move(conn: Connection) -> None:
        case_store.move_keys(conn, keys, lost, won)
        for key in moved:
            conn.execute(update(outbox).where(outbox.c.case_id == lost, outbox.c.key == key).values(case_id=won))

    batch.extra.append(move)


def _story(store: Store, batch: Batch, case_id: str) -> Iterator[tuple[Event, str]]:
    """All events of a case, with those of the cases that it absorbed before."""
    stored = store.read(lambda conn: case_store.entries(conn, case_id))
    rows = [(one.key_id, one.doc, one.account) for one in stored]
    rows += [(one["key_id"], one["doc"], one["account"]) for one in batch.changes.timeline if one["case_id"] == case_id]
    store.keys_for({key_id for key_id, _, _ in rows})
    for key_id, doc, account in rows:
        event = EVENTS.validate_json(store.vault.open(key_id, doc))
        if isinstance(event, Merged) and event.key == f"merged:{event.case}":
            yield from _story(store, batch, event.case)
        yield event, account


def _move_ledger(winner: Work, loser: Work) -> list[str]:
    """The loser's ledger rows join the winner's; of two that do the same, the loser's pending one is cancelled."""
    moved = []
    for key, entry in list(loser.entries.items()):
        if key in winner.entries:
            if entry.state in LIVE:
                loser.cancel(key, f"case {winner.case.id} does it already")
            continue
        winner.entries[key] = entry
        del loser.entries[key]
        if entry.row is not None:
            entry.row["case_id"] = winner.case.id
        else:
            moved.append(key)
    return moved
