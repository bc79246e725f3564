"""The inbox: what came in, was acknowledged, and waits to be routed."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

from pydantic_core import from_json, to_json
from sqlalchemy import Connection, bindparam, delete, func, select, text, update
from sqlalchemy.sql.elements import ColumnElement

from ..errors import Unverified
from .bulk import ignoring, many, rows_of
from .tables import CASE_LANES, LANES, inbox, waiting

COMMAND_ACCOUNT: Final = "bridge"
STUCK: Final = ("parked", "unmatched")
TRACE: Final = "rmabridge.traceparent"


@lru_cache(maxsize=1024)
def lane_of(account: str, ordering: str | None) -> int:
    """The lane whose rows are routed in order, of what comes from outside."""
    return _hashed(f"{account}\x1f{ordering or ''}") % CASE_LANES


def lane_of_case(case_id: str) -> int:
    """The lane of what is about a known case."""
    return CASE_LANES + _hashed(case_id) % (LANES - CASE_LANES)


def _hashed(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(errors="replace"), digest_size=2).digest(), "big")


def digest(text: bytes) -> bytes:
    """The hash of a body."""
    return blake2b(text, digest_size=16).digest()


def pack(meta: Mapping[str, str], body: bytes, trace: str | None = None) -> bytes:
    """Meta, the trace it belongs to, and raw body in one piece, the body byte for byte."""
    told = {**meta, TRACE: trace} if trace else meta
    head = _head(told) if told else b""
    return struct.pack(">I", len(head)) + head + body


def _head(told: Mapping[str, str]) -> bytes:
    try:
        return to_json(told)
    except ValueError:  # header bytes that were no UTF-8 arrive as lone surrogates, which no JSON can hold
        return to_json({name: value.encode(errors="replace").decode() for name, value in told.items()})


def unpack(packed: bytes) -> tuple[dict[str, str], bytes]:
    """What ``pack`` put together."""
    size = struct.unpack_from(">I", packed)[0]
    return (from_json(packed[4 : 4 + size]) if size else {}), packed[4 + size :]


def add(conn: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Store rows; one that is known already (same account and delivery) is left as it is."""
    if rows:
        many(conn, ignoring(conn, inbox), rows)


def add_once(conn: Connection, row: dict[str, Any]) -> None:
    """Store a row with a nonce: the same nonce with another body is a replay."""
    if conn.execute(ignoring(conn, inbox), row).rowcount:
        return
    known = select(inbox.c.digest).where(inbox.c.account == row["account"], inbox.c.dedupe == row["dedupe"])
    if conn.execute(known).scalar() != row["digest"]:
        raise Unverified("this nonce was used before with another body")


# Conditions in the very words of the partial indices.
_NEW = select(inbox).where(text("inbox.state = 'new'"), inbox.c.due_at <= bindparam("now"))
_OLDEST = _NEW.order_by(inbox.c.id).limit(bindparam("most"))
_KNOWN = _OLDEST.where(text("inbox.case_id is not null"))
_UNKNOWN = _OLDEST.where(text("inbox.case_id is null"))
_LANES = inbox.c.lane.in_(bindparam("lanes", expanding=True))
_HERE = {one: one.where(_LANES) for one in (_KNOWN, _UNKNOWN)}


def batch(conn: Connection, now: int, most: int, lanes: list[int] | None = None) -> Sequence[Any]:
    """The rows that are to be routed now, of these lanes: results, timers and commands of known cases first, so that
    what was begun is finished while its case is at hand; then the oldest of what came from outside."""
    if lanes is not None and not lanes:
        return []
    known = _oldest(conn, _KNOWN, now, most, lanes)
    if len(known) == most:
        return known
    return [*known, *_oldest(conn, _UNKNOWN, now, most - len(known), lanes)]


def _oldest(conn: Connection, query: Any, now: int, most: int, lanes: list[int] | None) -> Sequence[Any]:
    if lanes is None:
        return rows_of(conn, query, {"now": now, "most": most})
    return rows_of(conn, _HERE[query], {"now": now, "most": most, "lanes": lanes})


def claim(conn: Connection, ids: Sequence[int]) -> None:
    """Count one more claim of each row that a dead process was routing and did not finish."""
    conn.execute(update(inbox).where(inbox.c.id.in_(ids), inbox.c.state == "new").values(claims=inbox.c.claims + 1))


_DONE = (
    update(inbox)
    .where(inbox.c.id == bindparam("row"), inbox.c.state == "new")
    .values(state=bindparam("to"), case_id=bindparam("case"), note=bindparam("said"), settled_at=bindparam("now"))
)


def done(conn: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Mark rows as routed; raises when another writer was faster."""
    if rows and many(conn, _DONE, rows) != len(rows):
        raise Conflict("inbox rows were routed by somebody else")


class Conflict(RuntimeError):
    """What was read is no longer what is stored: the batch is computed again."""


_PARK = (
    update(inbox)
    .where(inbox.c.id == bindparam("row"))
    .values(
        state=bindparam("to"),
        stage=bindparam("at_stage"),
        note=bindparam("said"),
        trace=bindparam("tb"),
        settled_at=bindparam("now"),
        case_id=bindparam("case"),
    )
)


def park(conn: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Set rows aside for a person, with stage, reason and trace."""
    if rows:
        many(conn, _PARK, rows)


def wait_for(conn: Connection, row_id: int, keys: Iterable[bytes]) -> None:
    """Note which case keys an unmatched row waits for."""
    if found := [{"k": one, "inbox_id": row_id} for one in set(keys)]:
        many(conn, ignoring(conn, waiting), found)


_LATER = update(inbox).where(inbox.c.id == bindparam("row")).values(due_at=bindparam("due"), claims=0)


def later(conn: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Look at these rows again at their ``due``."""
    if rows:
        conn.execute(_LATER, rows)


def settled_before(before: int) -> tuple[ColumnElement[bool], ...]:
    """What was routed or refused before then. The last number stays, as SQLite would give it a second time, and
    timelines know events by their numbers."""
    last = select(func.max(inbox.c.id)).scalar_subquery()
    return inbox.c.state.in_(("done", "refused")), inbox.c.settled_at < before, inbox.c.id < last


def give_up(conn: Connection, before: int) -> Sequence[Any]:
    """Park what has waited for its case since before then; (id, account) of each."""
    stale = (inbox.c.state == "unmatched", inbox.c.settled_at < before)
    found = conn.execute(select(inbox.c.id, inbox.c.account).where(*stale)).all()
    if found:  # as many as an import brought: too many to be named one by one
        conn.execute(delete(waiting).where(waiting.c.inbox_id.in_(select(inbox.c.id).where(*stale))))
        conn.execute(update(inbox).where(*stale).values(state="parked", note="no case came that knows it"))
    return found


_WAITING = select(waiting.c.inbox_id).where(waiting.c.k.in_(bindparam("keys", expanding=True))).distinct()


def queue_waiting(conn: Connection, keys: Sequence[bytes], now: int) -> int:
    """Queue again the unmatched rows that wait for one of these keys."""
    found = [one[0] for one in rows_of(conn, _WAITING, {"keys": list(keys)})] if any_waiting(conn) else []
    if not found:
        return 0
    conn.execute(delete(waiting).where(waiting.c.inbox_id.in_(found)))
    return conn.execute(
        update(inbox)
        .where(inbox.c.id.in_(found), inbox.c.state == "unmatched")
        .values(state="new", due_at=now, claims=0)
    ).rowcount


_ANY_WAITING = select(waiting.c.inbox_id).limit(1)


def any_waiting(conn: Connection) -> bool:
    """Whether any row waits for a key at all."""
    return bool(rows_of(conn, _ANY_WAITING, {}))


def stuck(conn: Connection, ids: Sequence[int]) -> list[int]:
    """Which of these rows are set aside."""
    return list(conn.execute(select(inbox.c.id).where(inbox.c.id.in_(ids), inbox.c.state.in_(STUCK))).scalars())


def replay(conn: Connection, ids: Sequence[int]) -> int:
    """Queue parked or unmatched rows again."""
    if not ids:
        return 0
    conn.execute(delete(waiting).where(waiting.c.inbox_id.in_(ids)))
    return conn.execute(
        update(inbox).where(inbox.c.id.in_(ids), inbox.c.state.in_(STUCK)).values(state="new", due_at=0, claims=0)
    ).rowcount


def backlog(conn: Connection) -> int:
    """How many rows wait to be routed."""
    return int(conn.execute(select(func.count()).select_from(inbox).where(inbox.c.state == "new")).scalar() or 0)


def next_due(conn: Connection, now: int) -> int | None:
    """When the next delayed row is due."""
    due: int | None = rows_of(conn, _NEXT, {"now": now})[0][0]
    return due


_NEXT = select(func.min(inbox.c.due_at)).where(text("inbox.state = 'new'"), inbox.c.due_at > bindparam("now"))
