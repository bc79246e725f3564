"""A buyer's rights, as commands: hold for a court, note an export, erase."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..core.lifecycle import TRANSITIONS
from ..errors import CommandError
from ..model import Case, Closed, Commanded, Erased, Status
from ..store import buyers
from ..store import outbox as outbox_store
from ..store.buyers import Person
from ..store.inbox import unpack
from ..store.tables import moment
from ..store.vault import Erased as Shut
from .work import Work

if TYPE_CHECKING:
    from .batch import Batch, Row
    from .router import Router

Done = tuple[str | None, str]
LONG_ENOUGH: Final = 6  # shorter names of a buyer stand in other people's bodies by chance


def _person(router: Router, command: Commanded) -> Person:
    ids = [str(one) for one in command.args.get("cases") or ()]
    found = router.store.read(lambda conn: buyers.person(conn, ids))
    if not found.keys:
        raise CommandError(f"{', '.join(ids) or 'nobody'}: no such case, or its buyer was erased before")
    return found


def _hold(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    """Hold a buyer's data for a court or an auditor, or let it go again."""
    found, on = _person(router, command), command.command == "hold"
    batch.extra.append(lambda conn: buyers.hold(conn, found.keys, on=on))
    return min(found.cases), f"{len(found.cases)} cases: {'held; nothing of them is erased' if on else 'released'}"


def _export(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    """Note for the audit log who took a buyer's data along."""
    found = _person(router, command)
    return min(found.cases), f"{len(found.cases)} cases exported"


def _erase(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    """Erase a buyer; what is open or under way is asked for ``force`` first."""
    found = _person(router, command)
    if found.held:
        raise CommandError(f"{min(found.cases)}: under legal hold; 'rmabridge buyers release' ends it")
    router.loader.cases(batch, set(found.cases))
    works = [work for one in sorted(found.cases) if (work := batch.works.get(one))]
    force = bool(command.args.get("force"))
    if reasons := [text for final, text in _unfinished(router, works) if final or not force]:
        raise CommandError("; ".join(reasons))
    for work in works:
        _close(work, batch, row, command)
    batch.buyers = {mark: key for mark, key in batch.buyers.items() if key not in found.keys}
    batch.words = {mark: words for mark, words in batch.words.items() if mark in batch.buyers}
    now, row_id = batch.now, row.id
    batch.extra.append(lambda conn: buyers.erase(conn, found, now, row_id))
    router.on_written.append(_once(router, found))
    return min(found.cases), f"{len(found.cases)} cases erased; {len(found.keys)} keys destroyed"


def _unfinished(router: Router, works: list[Work]) -> Iterator[tuple[bool, str]]:
    """What stands against erasing: (whether even force does not help, why)."""
    begun = router.store.read(lambda conn: outbox_store.begun(conn, [one.case.id for one in works]))
    for work in works:
        if (work.case.id, True) in begun:
            yield True, f"{work.case.id}: a delivery is on its way; try again in a moment"
        if work.case.open and work.case.merged_into is None:
            yield False, f"{work.case.id} is open; '--force' closes and erases it"
        if (work.case.id, False) in begun:
            yield False, f"{work.case.id}: nobody knows yet what a delivery did; '--force' erases it all the same"
    if rows := _telling(router, [work.case for work in works]):
        told = ", ".join(map(str, rows))
        yield False, f"inbox rows {told} are set aside and tell of this buyer; '--force' leaves them as they are"


def _telling(router: Router, cases: list[Case]) -> list[int]:
    """Rows set aside that nobody could read, and that hold a name of the buyer."""
    names = {one.encode() for case in cases for one in _names(case) if len(one) >= LONG_ENOUGH}
    own, told, last = {one.id for one in cases}, [], 0
    while rows := router.store.read(partial(buyers.stuck, after=last)):
        router.store.keys_for({one.key_id for one in rows})
        others = [one for one in rows if one.case_id not in own]
        told += [one.id for one in others if any(name in _body(router, one) for name in names)]
        last = rows[-1].id
    return told


def _names(case: Case) -> Iterator[str]:
    yield from (one.value for one in case.refs)
    if case.buyer:
        yield from (one for one in (case.buyer.email, case.buyer.phone) if one)


def _body(router: Router, row: Any) -> bytes:
    try:
        return unpack(router.store.vault.open(row.key_id, row.body))[1]
    except Shut:
        return b""


def _close(work: Work, batch: Batch, row: Row, command: Commanded) -> None:
    """The last two lines of the timeline; policies are not asked, and nobody outside is told."""
    work.begin(batch.changes, moment(batch.now), row.depth, row.id)
    for key in list(work.entries):
        work.cancel(key, "the buyer was erased")
    if work.case.open and Status.CLOSED in TRANSITIONS[work.case.status]:
        closed = Closed(key=f"{command.key}:closed", at=work.now, result="the buyer was erased", by=command.by)
        work.record(closed, "bridge", command.by)
    work.record(Erased(key=command.key, at=work.now), "bridge", command.by)
    work.asked.clear()
    work.news = False


def _once(router: Router, whose: Person) -> Callable[[], None]:
    """Cleans up as soon as the batch is on disk: memory, files and the database's log."""
    store = router.store

    def clean() -> None:
        if clean in router.on_written:
            router.on_written = [one for one in router.on_written if one is not clean]
            if not store.read(lambda conn: buyers.person(conn, whose.cases)).keys:
                for one in whose.cases:
                    router.loader.cache.pop(one, None)
                buyers.clean_up(store.blobs, whose.keys, None if store.shared else store.path, 1)

    return clean


COMMANDS: Final[dict[str, Callable[[Router, Batch, Row, Commanded], Done]]] = {
    "hold": _hold,
    "release": _hold,
    "export": _export,
    "erase": _erase,
}
