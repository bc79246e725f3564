"""Two open cases turn out to be one: the older absorbs the other, which stays as a pointer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..abilities import Timer
from ..core.reduce import reduce
from ..model import EVENTS, Event, Merged, MessageReceived, Settled
from ..store import cases as case_store
from ..store.outbox import LIVE, PENDING
from ..store.store import Store
from ..store.tables import moment
from .work import Work
from .world import Entry, key_row

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
    unheard = winner.world.judge.lacking(loser.case)
    for event, account in _story(store, batch, loser.case.id):
        winner.case = reduce(winner.case, event, account)
        if unheard and isinstance(event, MessageReceived):
            winner.missed.append(event)
    winner.record(Merged(key=f"merged:{loser.case.id}", at=now, case=loser.case.id), "bridge", "bridge")
    loser.record(Merged(key=f"merged-into:{winner.case.id}", at=now, case=winner.case.id), "bridge", "bridge")
    loser.case = loser.case.model_copy(update={"merged_into": winner.case.id, "deadlines": ()})
    _move_ledger(winner, loser)
    for clock in clocks:
        if not any(one.name == clock.name for one in winner.case.deadlines):
            winner.set_timer(Timer(clock.name, clock.due_at))
    lost, won = loser.case.id, winner.case.id
    keys = [key_row(store.vault, ref, "", loser.case)["k"] for ref in loser.case.refs]
    for row in batch.changes.keys:
        if row["case_id"] == lost:
            row["case_id"] = won
    batch.extra.append(lambda conn: case_store.move_keys(conn, keys, lost, won))


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


def _move_ledger(winner: Work, loser: Work) -> None:
    """The loser's ledger rows join the winner's. Of two that do the same, what has done more stays: what is done, or
    may be, before what is still to be done, and that before what came to nothing. The other one is taken back."""
    doubles = [key for key in loser.entries if key in winner.entries]
    for key in [one for one in loser.entries if one not in winner.entries]:
        _move(winner, loser, key)
    for key in doubles:
        ours, theirs = winner.entries[key], loser.entries[key]
        if _worth(theirs) > _worth(ours) and ours.row is None and theirs.row is None:
            if ours.state in LIVE:
                winner.cancel(key, f"case {loser.case.id}, which was absorbed, has done it", alone=True)
            _swap(winner, loser, key)
        elif theirs.state in LIVE:
            loser.cancel(key, f"case {winner.case.id} does it already", alone=True)
    waited = {one.needs: None for one in winner.entries.values() if one.state == "waiting" and one.needs}
    for key in waited:  # what one of them waited for the other may have done
        if key in winner.entries:
            winner.follow(key)


def _worth(entry: Entry) -> int:
    """How much an action has done. What is being sent keeps its place: its end is on its way to its case."""
    return 2 if entry.state in {"done", "uncertain", "sending"} else int(entry.state in PENDING)


def _move(winner: Work, loser: Work, key: str) -> None:
    entry, lost, won = loser.entries.pop(key), loser.case.id, winner.case.id
    winner.entries[key] = entry
    if key in loser.granted:
        winner.granted[key] = loser.granted.pop(key)
    for one in winner.changes.approvals:
        if (one["case_id"], one["action"]) == (lost, key):
            one["case_id"] = won
    if entry.row is not None:
        entry.row["case_id"] = won
    else:  # in its place among the changes: those before it are to the loser's row, those after it to the winner's
        winner.changes.moved.append({"case": lost, "action": key, "values": {"case_id": won}})


def _swap(winner: Work, loser: Work, key: str) -> None:
    """The winner gets the loser's row and the loser the winner's, which have the same key."""
    ours, aside = winner.entries.pop(key), f"{key}\x1faside"
    winner.changes.moved.append({"case": winner.case.id, "action": key, "values": {"key": aside}})
    _move(winner, loser, key)
    back = {"case_id": loser.case.id, "key": key}
    winner.changes.moved.append({"case": winner.case.id, "action": aside, "values": back})
    loser.entries[key] = ours


def left_behind(batch: Batch, work: Work, case_id: str, key: str) -> Entry | None:
    """The action, if it stayed with a case that this one absorbed, because this one has another of the same key."""
    absorbed = batch.works.get(case_id) if case_id != work.case.id else None
    return absorbed.entries.get(key) if absorbed else None


def note_double(batch: Batch, work: Work, case_id: str | None, event: Event) -> None:
    """What comes back of an action that stayed with an absorbed case changes its entry there, not the one here."""
    if isinstance(event, Settled) and case_id and (double := left_behind(batch, work, case_id, event.action)):
        work.doubles[event.key] = double
