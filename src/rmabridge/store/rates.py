"""An account's rate and breaker, for all processes that share a database: one row each, moved under its lock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, select, update

from .bulk import ignoring
from .tables import cursors, micros

RATE: Final = "rate"
BREAKER: Final = "breaker"
# What is drawn within this part of the time it counts for shares an entry, so that a large rate keeps a short list.
FINENESS: Final = 100

Taken = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """How many places were got, and what counts now: how long ago (in seconds) how many were drawn, by whomever."""

    got: int
    taken: tuple[tuple[float, int], ...]


def place(taken: Iterable[tuple[int, int]], now: int, want: int, most: int, counts: int) -> tuple[int, Taken]:
    """How many of ``want`` places are free, and the list with them: in no time as long as ``counts`` are there more
    than ``most``, wherever in its entry a place was drawn."""
    step = counts // FINENESS
    kept = [(min(at, now), number) for at, number in taken if at > now - counts - step]  # a clock may be set back
    got = max(0, min(want, most - sum(number for _, number in kept)))
    if got and kept and now - kept[-1][0] <= step:
        kept[-1] = (kept[-1][0], kept[-1][1] + got)
    elif got:
        kept.append((now, got))
    return got, kept


def draw(conn: Connection, account: str, want: int, most: int, counts: int) -> Drawn:
    """Draw places by the server's clock; times in microseconds."""
    mine = (cursors.c.account == account, cursors.c.kind == RATE)
    asked = select(cursors.c.cursor).where(*mine).with_for_update()
    if (row := conn.execute(asked).first()) is None:
        conn.execute(ignoring(conn, cursors), {"account": account, "kind": RATE, "version": 0})
        row = conn.execute(asked).one()
    now = micros(conn.execute(select(func.clock_timestamp())).scalar_one())  # a statement later: it may have waited
    got, taken = place(json.loads(row.cursor or "[]"), now, want, most, counts)
    if got:
        conn.execute(update(cursors).where(*mine).values(cursor=json.dumps(taken), version=cursors.c.version + 1))
    return Drawn(got, tuple(((now - at) / 1e6, number) for at, number in taken))


def breakers(conn: Connection) -> Mapping[str, Any]:
    """Account → its breaker's row: ``due_at`` is until when it is open, 0 when it is closed."""
    return {one.account: one for one in conn.execute(select(cursors).where(cursors.c.kind == BREAKER))}


def set_breaker(conn: Connection, account: str, until: int) -> int:
    """Open or close the breaker for everybody; the row's version."""
    conn.execute(ignoring(conn, cursors), {"account": account, "kind": BREAKER, "version": 0})
    mine = (cursors.c.account == account, cursors.c.kind == BREAKER)
    conn.execute(update(cursors).where(*mine).values(due_at=until, version=cursors.c.version + 1))
    return int(conn.execute(select(cursors.c.version).where(*mine)).scalar_one())


def take_probe(conn: Connection, account: str, version: int, until: int) -> bool:
    """Whether this process may probe: the first that asks about this version of the row."""
    mine = (cursors.c.account == account, cursors.c.kind == BREAKER, cursors.c.version == version)
    return conn.execute(update(cursors).where(*mine).values(due_at=until, version=version + 1)).rowcount == 1
