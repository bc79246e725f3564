"""The ledger of actions: proposed, judged, waiting, sent. What was sent is recorded before and after, never inferred."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, exists, func, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from .inbox import add as add_inbox
from .tables import approvals, attempts, outbox

PENDING: Final = ("waiting", "due", "held")
LIVE: Final = ("due", "sending", "uncertain")
SETTLED: Final = ("done", "denied", "dead", "expired", "cancelled", "superseded")

_BRIEF = (
    outbox.c.case_id,
    outbox.c.key,
    outbox.c.state,
    outbox.c.type,
    outbox.c.account,
    outbox.c.needs,
    outbox.c.replaces,
    outbox.c.created_at,
    outbox.c.depth,
    outbox.c.proposer,
    outbox.c.digest,
    outbox.c.key_id,
    outbox.c.doc,
)


def ledgers(conn: Connection, case_ids: Sequence[str]) -> Sequence[Any]:
    """The ledger rows of cases, in the order in which they were proposed."""
    if not case_ids:
        return []
    return conn.execute(select(*_BRIEF).where(outbox.c.case_id.in_(case_ids)).order_by(outbox.c.id)).all()


def effects_taken(conn: Connection, effects: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which (account, effect) pairs are in the ledger of any case."""
    if not effects:
        return set()
    query = select(outbox.c.account, outbox.c.effect).where(outbox.c.effect.in_([effect for _, effect in effects]))
    return {(one.account, one.effect) for one in conn.execute(query)} & set(effects)


def creating(conn: Connection, accounts: Collection[str]) -> set[str]:
    """Accounts where something is on its way that could have made an object we do not know yet."""
    query = select(outbox.c.account).where(
        outbox.c.account.in_(accounts), outbox.c.type == "ticket.open", outbox.c.state.in_(("sending", "uncertain"))
    )
    return set(conn.execute(query.distinct()).scalars()) if accounts else set()


def add(conn: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Store new ledger rows."""
    if rows:
        conn.execute(insert(outbox), rows)


_CHANGE = update(outbox).where(
    outbox.c.case_id == bindparam("case"),
    outbox.c.key == bindparam("action"),
    outbox.c.state.in_(bindparam("from_", expanding=True)),
)


def change(conn: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Change pending rows: ``case``, ``action`` (key), ``from_`` (states), ``values``. One that moved on stays."""
    for one in rows:
        conn.execute(
            _CHANGE.values(one["values"]), {"case": one["case"], "action": one["action"], "from_": list(one["from_"])}
        )


def add_approvals(conn: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Ask for approvals of held rows (by case and key, because new rows have no id before they are stored)."""
    for one in rows:
        row_id = conn.execute(
            select(outbox.c.id).where(outbox.c.case_id == one["case_id"], outbox.c.key == one.pop("action"))
        ).scalar()
        conn.execute(
            update(approvals)
            .where(approvals.c.outbox_id == row_id, approvals.c.state == "waiting", approvals.c.digest != one["digest"])
            .values(state="void")
        )
        known = approvals.c.outbox_id == row_id, approvals.c.digest == one["digest"]
        before = conn.execute(select(approvals.c.state, approvals.c.rules).where(*known)).first()
        if before is None:
            conn.execute(insert(approvals), {**one, "outbox_id": row_id})
            continue
        if before.state == "approved":  # what was granted stays granted; the rest is asked for
            one["rules"] = " ".join(dict.fromkeys([*before.rules.split(), *one["rules"].split()]))
        conn.execute(update(approvals).where(*known).values(**one, answered_at=None))


def void_approvals(conn: Connection, case_ids: Sequence[str]) -> None:
    """Nobody is asked any longer about what is not held any more."""
    held = select(outbox.c.id).where(outbox.c.case_id.in_(case_ids), outbox.c.state != "held")
    if case_ids:
        conn.execute(
            update(approvals)
            .where(approvals.c.state == "waiting", approvals.c.outbox_id.in_(held))
            .values(state="void")
        )


def granted(conn: Connection, case_ids: Sequence[str]) -> Sequence[Any]:
    """(case_id, key, rules) of what people approved, in the words in which it still stands."""
    same = and_(approvals.c.outbox_id == outbox.c.id, approvals.c.digest == outbox.c.digest)
    query = select(outbox.c.case_id, outbox.c.key, approvals.c.rules).join(approvals, same)
    live = query.where(outbox.c.case_id.in_(case_ids), outbox.c.state.in_(PENDING), approvals.c.state == "approved")
    return conn.execute(live).all()


def _head() -> ColumnElement[bool]:
    before = outbox.alias("before")
    return ~exists().where(
        and_(
            before.c.case_id == outbox.c.case_id,
            before.c.stream == outbox.c.stream,
            before.c.id < outbox.c.id,
            before.c.state.in_(LIVE),
        )
    )


_DUE = (
    select(outbox)
    .where(
        outbox.c.state == "due",
        outbox.c.due_at <= bindparam("now"),
        outbox.c.account.in_(bindparam("accounts", expanding=True)),
        _head(),
    )
    .order_by(outbox.c.due_at, outbox.c.id)
)
_CLAIM = (
    update(outbox)
    .where(outbox.c.id == bindparam("row"), outbox.c.state == "due")
    .values(
        state="sending",
        attempt=outbox.c.attempt + 1,
        tries=outbox.c.tries + 1,
        owner=bindparam("me"),
        lease_until=bindparam("lease"),
    )
)


def claim(
    conn: Connection, now: int, lease: int, me: str, room: dict[str, int], most: int
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Take due heads of streams for this process: (claimed, expired). ``room``: how many more each account takes."""
    found = conn.execute(_DUE.limit(most), {"now": now, "accounts": list(room)}).all()
    taken, stale, left = [], [], dict(room)
    for one in found:
        if one.not_after is not None and one.not_after < now:
            stale.append(one)
        elif left[one.account] > 0:
            left[one.account] -= 1
            taken.append(one)
    if taken:
        conn.execute(_CLAIM, [{"row": one.id, "me": me, "lease": lease} for one in taken])
    return taken, stale


_FINISH = (
    update(outbox)
    .where(outbox.c.id == bindparam("row"), outbox.c.attempt == bindparam("n"), outbox.c.owner == bindparam("me"))
    .values(
        state=bindparam("to"),
        due_at=bindparam("due"),
        tries=outbox.c.tries - bindparam("refund"),
        owner=None,
        lease_until=None,
        sent_at=bindparam("sent"),
        sure_after=bindparam("sure"),
        settled_at=bindparam("settled"),
        ref=bindparam("found"),
        url=bindparam("link"),
        cause=bindparam("why"),
        hint=bindparam("help"),
    )
)


def finish(
    conn: Connection, ends: Sequence[dict[str, Any]], tried: Sequence[dict[str, Any]], results: Sequence[dict[str, Any]]
) -> None:
    """Record how attempts ended, with their result events, in one commit. A late answer that lost its lease is kept
    as an attempt; it may settle a row that became uncertain meanwhile."""
    if conn.execute(_FINISH, ends).rowcount != len(ends):
        for one in ends:
            settle_late(conn, one)
    conn.execute(insert(attempts), tried)
    add_inbox(conn, results)


def settle_late(conn: Connection, end: dict[str, Any]) -> None:
    """A late answer that knows what happened settles the row that is uncertain because of the same attempt."""
    if end["to"] != "done":
        return
    conn.execute(
        update(outbox)
        .where(outbox.c.id == end["row"], outbox.c.attempt == end["n"], outbox.c.state == "uncertain")
        .values(state="done", ref=end["found"], url=end["link"], settled_at=end["settled"], cause=None, hint=None)
    )


def lost(conn: Connection, now: int, me: str | None) -> Sequence[Any]:
    """Rows in ``sending`` whose lease ran out, or (``me`` None, at start-up of the only process) all of them."""
    query = select(outbox).where(outbox.c.state == "sending")
    if me is not None:
        query = query.where(outbox.c.lease_until < now, outbox.c.owner != me)
    return conn.execute(query).all()


def set_state(conn: Connection, row_id: int, was: Collection[str], values: dict[str, Any]) -> bool:
    """Change one row if it is still in one of the states."""
    changed = conn.execute(update(outbox).where(outbox.c.id == row_id, outbox.c.state.in_(was)).values(**values))
    return changed.rowcount == 1


def uncertain_due(conn: Connection, now: int, most: int = 50) -> Sequence[Any]:
    """Uncertain rows that are to be looked up now."""
    query = select(outbox).where(outbox.c.state == "uncertain", outbox.c.due_at <= now)
    return conn.execute(query.order_by(outbox.c.due_at).limit(most)).all()


def next_due(conn: Connection, accounts: Collection[str], now: int) -> int | None:
    """When the next row of these accounts is due, or the next uncertain one is to be looked up."""
    query = select(func.min(outbox.c.due_at)).where(
        or_(and_(outbox.c.state == "due", outbox.c.account.in_(accounts)), outbox.c.state == "uncertain"),
        outbox.c.due_at > now,
    )
    return conn.execute(query).scalar()


def one(conn: Connection, row_id: int) -> Any:
    """One ledger row."""
    return conn.execute(select(outbox).where(outbox.c.id == row_id)).first()


def of_case(conn: Connection, case_id: str) -> Sequence[Any]:
    """All ledger rows of a case."""
    return conn.execute(select(outbox).where(outbox.c.case_id == case_id).order_by(outbox.c.id)).all()


def listed(
    conn: Connection,
    states: Collection[str] | None,
    account: str | None,
    most: int,
    *,
    type_: str | None = None,
    cause: str | None = None,
) -> Sequence[Any]:
    """Ledger rows, the newest first."""
    query = select(outbox).order_by(outbox.c.id.desc()).limit(most)
    if states:
        query = query.where(outbox.c.state.in_(states))
    if account:
        query = query.where(outbox.c.account == account)
    if type_:
        query = query.where(outbox.c.type == type_)
    if cause:
        query = query.where(outbox.c.cause.contains(cause, autoescape=True))
    return conn.execute(query).all()


def tries_of(conn: Connection, row_id: int) -> Sequence[Any]:
    """The attempts of a row, oldest first."""
    return conn.execute(select(attempts).where(attempts.c.outbox_id == row_id).order_by(attempts.c.attempt)).all()


def counts(conn: Connection) -> dict[tuple[str, str], int]:
    """(account, state) → number of rows that are not settled well."""
    query = (
        select(outbox.c.account, outbox.c.state, func.count())
        .where(outbox.c.state.in_(("waiting", "due", "sending", "held", "uncertain", "dead")))
        .group_by(outbox.c.account, outbox.c.state)
    )
    return {(account, state): int(number) for account, state, number in conn.execute(query).tuples()}


_ANY_DUE = (
    select(outbox.c.id)
    .where(
        outbox.c.state == "due",
        outbox.c.due_at <= bindparam("now"),
        outbox.c.account.in_(bindparam("accounts", expanding=True)),
        _head(),
    )
    .limit(1)
)


def any_due(conn: Connection, now: int, accounts: Sequence[str]) -> bool:
    """Whether a claim would find anything."""
    return conn.execute(_ANY_DUE, {"now": now, "accounts": accounts}).first() is not None
