"""The queue of deliveries: which are due, whose turn it is in each stream, who took them, and who gave them back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, exists, func, or_, select, text, true, tuple_, union_all, update
from sqlalchemy.sql.elements import ColumnElement

from .bulk import many, rows_of
from .tables import outbox

# Conditions in the very words of the partial indices, because bound values would not find them.
DUE: Final = text("outbox.state = 'due'")
OPEN: Final = text("outbox.state in ('sending', 'uncertain', 'held', 'dead', 'waiting')")
URGENT: Final = text("outbox.state = 'due' and outbox.urgent")
# What one process proposed it also sends, having the case's key at hand; what it left for so long is anybody's.
LEFT: Final = 2_000_000
_OURS: Final = or_(outbox.c.owner.is_(None), outbox.c.owner == bindparam("me"), outbox.c.due_at < bindparam("left"))
_GOOD: Final = or_(outbox.c.good_until.is_(None), outbox.c.good_until > bindparam("now"))
LIVE_BEFORE: Final = text("before.state in ('due', 'sending', 'uncertain')")
# Words do not wait longer for what became of the words before them; money waits until it is known.
UNSURE: Final = 120_000_000
NEVER: Final = 1 << 62  # when a person settles it
SOON: Final = 300_000_000


def _head() -> ColumnElement[bool]:
    before = outbox.alias("before")
    sure = func.coalesce(before.c.sure_after, before.c.created_at)
    return ~exists().where(
        and_(
            before.c.case_id == outbox.c.case_id,
            before.c.stream == outbox.c.stream,
            before.c.account == outbox.c.account,
            before.c.id < outbox.c.id,
            LIVE_BEFORE,
            or_(before.c.state != "uncertain", before.c.money, sure > bindparam("now") - UNSURE),
        )
    )


@lru_cache(maxsize=64)
def _due(accounts: int, *, whole: bool, shared: bool, urgent: bool = False) -> Any:
    """Due heads of streams, so many of each account: one with a long queue hides nobody else's."""
    what = select(outbox) if whole else select(outbox.c.id)
    parts = [
        what.where(
            URGENT if urgent else DUE,
            outbox.c.account == bindparam(f"account{number}"),
            outbox.c.due_at <= bindparam("now"),
            _GOOD,
            _OURS if shared else true(),
            _head(),
        )
        .order_by(outbox.c.due_at, outbox.c.id)
        .limit(bindparam(f"room{number}"))
        .subquery()
        for number in range(accounts)
    ]
    return union_all(*(select(one) for one in parts))


def _found(
    conn: Connection, now: int, me: str, room: Mapping[str, int], *, urgent: bool = False, whole: bool = True
) -> Sequence[Any]:
    shared = conn.dialect.name != "sqlite"
    named: dict[str, Any] = {"now": now, **({"me": me, "left": now - LEFT} if shared else {})}
    for number, (account, free) in enumerate(room.items()):
        named |= {f"account{number}": account, f"room{number}": free}
    return rows_of(conn, _due(len(room), whole=whole, shared=shared, urgent=urgent), named)


_CLAIMING = (
    update(outbox)
    .where(outbox.c.state == "due")
    .values(
        state="sending",
        attempt=outbox.c.attempt + 1,
        tries=outbox.c.tries + 1,
        owner=bindparam("me"),
        lease_until=bindparam("lease"),
    )
)


_CLAIM = _CLAIMING.where(outbox.c.id == bindparam("row"))
# Of several processes that found the same rows, each takes those that it reaches first, and none that another one has
# taken and given back since.
_AS_FOUND = tuple_(outbox.c.id, outbox.c.attempt).in_(bindparam("found", expanding=True))
_TAKE = _CLAIMING.where(_AS_FOUND).returning(outbox.c.id)


def claim(
    conn: Connection, now: int, lease: int, me: str, room: Mapping[str, int], first: Mapping[str, int] | None = None
) -> Sequence[Any]:
    """Take due heads of streams for this process, as they were. ``room``: how many each account takes at most, and
    ``first``: how many of them are for urgent ones, where there are any."""
    found = _found(conn, now, me, room)
    if first:
        urgent = _found(conn, now, me, first, urgent=True)
        found = _within(room, [*urgent, *found]) if urgent else found
    taken = [one for one in found if (one.not_after is None or one.not_after >= now) and one.withdrawn is None]
    if not taken:
        return []
    if conn.dialect.name == "sqlite":  # its transaction keeps everybody else out from the beginning
        many(conn, _CLAIM, [{"row": one.id, "me": me, "lease": lease} for one in taken])
        return taken
    named = {"found": [(one.id, one.attempt) for one in taken], "me": me, "lease": lease}
    mine = set(conn.execute(_TAKE, named).scalars())
    return [one for one in taken if one.id in mine]


def _within(room: Mapping[str, int], rows: Sequence[Any]) -> list[Any]:
    """The first rows of each account, as many as it takes."""
    free, found = dict(room), {}
    for one in rows:
        if one.id not in found and free[one.account]:
            free[one.account] -= 1
            found[one.id] = one
    return list(found.values())


def hurry(conn: Connection, cases: Sequence[str]) -> None:
    """What is not under way yet of these cases is urgent from now on."""
    many(conn, _HURRY, [{"case": one} for one in cases])


_HURRY = (
    update(outbox)
    .where(
        outbox.c.case_id == bindparam("case"), text("outbox.state in ('waiting', 'due', 'held')"), text("not urgent")
    )
    .values(urgent=True)
)


def give_back(conn: Connection, ids: Sequence[int], me: str) -> None:
    """Rows that were claimed but not begun are due again."""
    conn.execute(
        update(outbox)
        .where(outbox.c.id.in_(ids), outbox.c.state == "sending", outbox.c.owner == me)
        .values(state="due", tries=outbox.c.tries - 1, owner=None, lease_until=None)
    )


def stale(conn: Connection, now: int, most: int = 200) -> Sequence[Any]:
    """Due rows whose time is over, or that were taken back during their last try."""
    late, back = (select(outbox).where(DUE, one).limit(most) for one in (outbox.c.not_after < now, _BACK))
    return list({one.id: one for one in [*conn.execute(late), *conn.execute(back)]}.values())


_BACK: Final = and_(outbox.c.withdrawn.is_not(None), outbox.c.created_at >= 0)  # in words that find its index


def outdated(conn: Connection, now: int, most: int = 200) -> Sequence[Any]:
    """What would go now, but for the verdicts that held only so long."""
    over = outbox.c.due_at <= now, outbox.c.good_until <= now, outbox.c.withdrawn.is_(None)
    return conn.execute(select(outbox).where(DUE, *over).order_by(outbox.c.good_until).limit(most)).all()


_PUT_OFF = or_(and_(outbox.c.attempt == 0, outbox.c.due_at > bindparam("soon")), outbox.c.due_at > bindparam("late"))
_AHEAD = select(outbox.c.id).where(DUE, outbox.c.account.in_(bindparam("accounts", expanding=True)), _PUT_OFF)


def ahead(conn: Connection, soon: int, late: int, accounts: Collection[str]) -> list[int]:
    """Rows that the clock put off when it was wrong: a first try is due at once (before ``soon``), and no pause between
    tries is so long (``late``)."""
    return [one[0] for one in rows_of(conn, _AHEAD, {"accounts": list(accounts), "soon": soon, "late": late})]


def bring_forward(conn: Connection, ids: Sequence[int], now: int) -> None:
    """These rows are due now, if nobody has tried them meanwhile."""
    many(conn, _FORWARD, [{"row": one, "now": now} for one in ids])


def put_off(conn: Connection, late: int) -> bool:
    """Whether any uncertain row is to be looked up later than any is."""
    return conn.execute(select(outbox.c.id).where(*_unsure_after(late)).limit(1)).first() is not None


def _unsure_after(late: int) -> tuple[Any, ...]:
    return OPEN, outbox.c.state == "uncertain", outbox.c.due_at > late, outbox.c.due_at < NEVER


def due_by_account(conn: Connection) -> dict[str, int]:
    """How many deliveries are due at each account."""
    query = select(outbox.c.account, func.count()).where(DUE).group_by(outbox.c.account)
    return dict(rows_of(conn, query, {}))


def look_sooner(conn: Connection, late: int, now: int) -> int:
    """Uncertain rows that are to be looked up later (``late``) than any is are looked up soon; how many there were."""
    soon = {"due_at": now + SOON, "sure_after": now + SOON}
    return conn.execute(update(outbox).where(*_unsure_after(late)).values(soon)).rowcount


_FORWARD = update(outbox).where(outbox.c.id == bindparam("row"), DUE, outbox.c.due_at > bindparam("now"))
_FORWARD = _FORWARD.values(due_at=bindparam("now"))


_NEXT_DUE = select(func.min(outbox.c.due_at)).where(
    DUE, outbox.c.account.in_(bindparam("accounts", expanding=True)), outbox.c.due_at > bindparam("now")
)


def next_due(conn: Connection, accounts: Collection[str], now: int) -> int | None:
    """When the next row of these accounts is due."""
    due: int | None = rows_of(conn, _NEXT_DUE, {"accounts": list(accounts), "now": now})[0][0]
    return due


def any_due(conn: Connection, now: int, me: str, accounts: Sequence[str]) -> bool:
    """Whether a claim would find anything."""
    return bool(_found(conn, now, me, dict.fromkeys(accounts, 1), whole=False))
