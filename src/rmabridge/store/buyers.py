"""Whose data it is: a buyer's cases by keyed hashes; held for a court, or erased so that nobody reads them again.

Erasing deletes the buyer's wrapped key and, besides, everything that it sealed but the timeline, whose sealed bytes are
what the chain is made of. What accounting needs stays: which action, what amount, when, how it went.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, case, delete, or_, select, update

from ..core.identity import scope
from ..model import Ref, RefKind
from . import erasures
from .blobs import Blobs
from .bulk import rows_of
from .inbox import STUCK, Conflict
from .outbox import begun
from .tables import (
    alerts,
    approvals,
    attempts,
    buyer_keys,
    case_keys,
    cases,
    deadlines,
    evidence,
    inbox,
    messages,
    outbox,
    timeline,
    waiting,
)
from .vault import Vault

ERASED: Final = "erased"  # stands where the name of a key stood
CHUNK: Final = 400
# account/form → when the buyer last spoke of this way (microseconds), and whether it is closed since.
Words = Mapping[str, tuple[int, bool]]


@dataclass(frozen=True, slots=True)
class Person:
    """A buyer: the cases, the keys that seal them, and whether they are held."""

    cases: frozenset[str]
    keys: frozenset[str]
    held: bool


_KEYS = select(buyer_keys.c.buyer, buyer_keys.c.id, buyer_keys.c.ways).where(
    buyer_keys.c.buyer.in_(bindparam("marks", expanding=True))
)


def keys(conn: Connection, marks: Sequence[bytes]) -> Sequence[Any]:
    """(buyer, id, ways) of the keys of the buyers with these marks."""
    return rows_of(conn, _KEYS, {"marks": list(marks)})


def words(stored: str | None) -> Words:
    """What was kept of a buyer's words."""
    return {way: (at, closed) for way, (at, closed) in json.loads(stored or "{}").items()}


def newest(*told: Words) -> Words:
    """The last word on each way; of two at once the one that closes it."""
    found: dict[str, tuple[int, bool]] = {}
    for one in told:
        for way, word in one.items():
            found[way] = max(found.get(way, word), word)
    return found


def note_words(conn: Connection, mark: bytes, told: Words) -> None:
    """Keep what the buyer of this mark said of ways, with each of the buyer's keys."""
    theirs = select(buyer_keys.c.id, buyer_keys.c.ways).where(buyer_keys.c.buyer == mark).order_by(buyer_keys.c.id)
    for one in conn.execute(theirs.with_for_update()).all():
        ways = json.dumps(newest(words(one.ways), told))
        conn.execute(update(buyer_keys).where(buyer_keys.c.id == one.id).values(ways=ways))


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    found = sorted(values)
    for start in range(0, len(found), CHUNK):
        yield found[start : start + CHUNK]


def person(conn: Connection, ids: Iterable[str]) -> Person:
    """The buyer of these cases: all cases of the same mark or key, and all that were merged with one of them."""
    known: set[str] = set()
    fresh, keys, marks = set(ids), set[str](), set[bytes]()
    while fresh:
        rows = [one for some in _chunks(fresh) for one in conn.execute(select(cases).where(cases.c.id.in_(some))).all()]
        known |= {one.id for one in rows}
        keys |= {one.key_id for one in rows} - {ERASED}
        marks |= {one.buyer for one in rows if one.buyer}
        keys |= set(conn.execute(select(buyer_keys.c.id).where(buyer_keys.c.buyer.in_(marks))).scalars())
        same = or_(cases.c.merged_into.in_(known), cases.c.buyer.in_(marks), cases.c.key_id.in_(keys))
        found = set(conn.execute(select(cases.c.id).where(same)).scalars())
        fresh = (found | {one.merged_into for one in rows if one.merged_into}) - known
    held = select(buyer_keys.c.id).where(buyer_keys.c.id.in_(keys), buyer_keys.c.held).limit(1)
    return Person(frozenset(known), frozenset(keys), conn.execute(held).first() is not None)


def find(conn: Connection, vault: Vault, shops: Sequence[str], accounts: Sequence[str], term: str) -> set[str]:
    """The cases that an outside name belongs to: an order, a return, a waybill, a buyer's id or mail address."""
    names = {term, term.casefold()}
    marks = {vault.mark(*one) for name in names for one in _scopes(shops, accounts, name)}
    buyers = {vault.mark("buyer", shop, name) for shop in shops for name in names}
    found = set(conn.execute(select(case_keys.c.case_id).where(case_keys.c.k.in_(marks))).scalars())
    own = or_(cases.c.id == term.upper(), cases.c.buyer.in_(buyers))
    return found | set(conn.execute(select(cases.c.id).where(own)).scalars())


def _scopes(shops: Sequence[str], accounts: Sequence[str], value: str) -> Iterator[tuple[str, str, str]]:
    for kind in RefKind:
        ref = Ref(kind=kind, value=value)
        for one in {scope(ref, account, shop) for shop in shops for account in accounts}:
            yield one, kind, value


def hold(conn: Connection, keys: Iterable[str], *, on: bool) -> None:
    """Hold what these keys seal, or let it go."""
    for some in _chunks(keys):
        conn.execute(update(buyer_keys).where(buyer_keys.c.id.in_(some)).values(held=on))


def stuck(conn: Connection, after: int, most: int = 1_000) -> Sequence[Any]:
    """Rows that are set aside, by number: nobody knows yet whose they are."""
    query = select(inbox).where(inbox.c.state.in_(STUCK), inbox.c.id > after)
    return conn.execute(query.order_by(inbox.c.id).limit(most)).all()


def kept(conn: Connection, keys: Iterable[str]) -> set[str]:
    """Which of these keys are there, and stay until the end of the transaction."""
    query = select(buyer_keys.c.id).with_for_update(read=True)
    return {one for some in _chunks(keys) for one in conn.execute(query.where(buyer_keys.c.id.in_(some))).scalars()}


def erase(conn: Connection, whose: Person, now: int, row_id: int) -> None:
    """Erase a buyer in this transaction; ``row_id`` is the order to do so. Raises ``Conflict`` when it changed."""
    for some in _chunks(whose.keys):  # who seals something with them right now ends first
        conn.execute(select(buyer_keys.c.id).where(buyer_keys.c.id.in_(some)).with_for_update()).all()
    if person(conn, whose.cases) != whose:
        raise Conflict("the buyer's cases changed meanwhile")
    if any(sending for _, sending in begun(conn, whose.cases)):
        raise Conflict("one of the buyer's deliveries is on its way")
    before = _thorough(conn, on=True)
    for some in _chunks(whose.cases):
        _empty_inbox(conn, some, now, row_id)
        _empty(conn, some, now)
    for keys in _chunks(whose.keys):
        conn.execute(update(buyer_keys).where(buyer_keys.c.id.in_(keys)).values(wrapped=b"", buyer=None))
        conn.execute(delete(buyer_keys).where(buyer_keys.c.id.in_(keys)))
    erasures.note(conn, whose.keys)
    _thorough(conn, on=before)


def _thorough(conn: Connection, *, on: bool) -> bool:
    """Let SQLite overwrite what it deletes; what was set before."""
    if conn.dialect.name != "sqlite":
        return False
    before = bool(conn.exec_driver_sql("PRAGMA secure_delete").scalar())
    conn.exec_driver_sql(f"PRAGMA secure_delete={'ON' if on else 'OFF'}")
    return before


def _empty_inbox(conn: Connection, ids: list[str], now: int, row_id: int) -> None:
    told = select(timeline.c.inbox_id).where(timeline.c.case_id.in_(ids), timeline.c.inbox_id.is_not(None))
    theirs = (or_(inbox.c.case_id.in_(ids), inbox.c.id.in_(told)), inbox.c.id != row_id)
    conn.execute(delete(waiting).where(waiting.c.inbox_id.in_(select(inbox.c.id).where(*theirs))))
    state = case((inbox.c.state.in_(STUCK), "done"), else_=inbox.c.state)
    gone = {"key_id": ERASED, "body": b"", "trace": None, "note": None, "state": state, "settled_at": now}
    conn.execute(update(inbox).where(*theirs).values(gone))


def _empty(conn: Connection, ids: list[str], now: int) -> None:
    for table in (case_keys, deadlines):
        conn.execute(delete(table).where(table.c.case_id.in_(ids)))
    theirs = attempts.c.outbox_id.in_(select(outbox.c.id).where(outbox.c.case_id.in_(ids)))
    conn.execute(update(attempts).where(theirs).values(cause=None, doc=None, key_id=None))
    gone = {"key_id": ERASED, "doc": b""}
    _in(conn, messages, ids, gone)
    _in(conn, evidence, ids, gone)
    reasons = case((outbox.c.money, outbox.c.verdicts), else_="[]")
    _in(conn, outbox, ids, {**gone, "original": None, "cause": None, "hint": None, "verdicts": reasons})
    _in(conn, approvals, ids, {"note": None})
    _in(conn, alerts, ids, {"text": ERASED, "resolved_at": now})
    closed = {**gone, "buyer": None, "flag": None, "version": cases.c.version + 1}
    conn.execute(update(cases).where(cases.c.id.in_(ids)).values(closed))


def _in(conn: Connection, table: Table, ids: list[str], values: dict[str, Any]) -> None:
    conn.execute(update(table).where(table.c.case_id.in_(ids)).values(values))


def clean_up(blobs: Blobs, keys: Iterable[str], file: Path | None, patience: float = 15) -> None:
    """After the commit: the files, and what a SQLite database's log still holds of the old pages."""
    for one in keys:
        blobs.vault.forget(one)
        blobs.forget(one)
        for facts in (blobs.folder / "partial").glob("*.facts"):
            if facts.read_bytes().partition(b"\n")[0] == one.encode():
                facts.with_suffix(".part").unlink(missing_ok=True)
                facts.unlink(missing_ok=True)
    if file is not None:
        conn = sqlite3.connect(file, timeout=patience)
        try:
            conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            conn.close()
