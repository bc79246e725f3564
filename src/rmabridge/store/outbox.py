"""The ledger of actions: proposed, judged, waiting, sent. What was sent is recorded, never inferred."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Text, and_, bindparam, case, func, insert, or_, select, text, update
from sqlalchemy.sql.dml import UpdateBase

from ..model import SendMessage
from .bulk import adding, ignoring, many, rows_of
from .inbox import add as add_inbox
from .queue import DUE
from .tables import approvals, attempts, cases, outbox

PENDING: Final = ("waiting", "due", "held")
# What can be taken back; of what is being sent or may be done, that it is tried again.
LIVE: Final = (*PENDING, "sending")
# Conditions in the very words of the partial indices, because bound values would not find them.
OPEN: Final = text("outbox.state in ('sending', 'uncertain', 'held', 'dead', 'waiting')")
SPENT: Final = ("waiting", "due", "sending", "uncertain", "done")
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
    outbox.c.withdrawn,
)


_LEDGERS = select(*_BRIEF).where(outbox.c.case_id.in_(bindparam("cases", expanding=True))).order_by(outbox.c.id)


def ledgers(conn: Connection, case_ids: Sequence[str]) -> Sequence[Any]:
    """The ledger rows of cases, in the order in which they were proposed."""
    if not case_ids:
        return []
    return rows_of(conn, _LEDGERS, {"cases": list(case_ids)})


def effects_taken(conn: Connection, effects: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which (account, effect) pairs are in the ledger of any case."""
    if not effects:
        return set()
    query = select(outbox.c.account, outbox.c.effect).where(outbox.c.effect.in_([effect for _, effect in effects]))
    return {(one.account, one.effect) for one in conn.execute(query)} & set(effects)


_SPENT = select(outbox.c.case_id, outbox.c.key, outbox.c.amount, outbox.c.currency).where(
    text("outbox.money"),  # in the words of its partial index
    outbox.c.created_at >= bindparam("since"),
    outbox.c.proposer == bindparam("who"),
    outbox.c.state.in_(SPENT),
)


def spent(conn: Connection, proposer: str, since: int) -> Sequence[Any]:
    """What a proposer has given, or is about to give, since then: (case_id, key, amount, currency)."""
    return conn.execute(_SPENT, {"who": proposer, "since": since}).all()


def creating(conn: Connection, accounts: Collection[str]) -> set[str]:
    """Accounts where something is on its way that could have made an object we do not know yet."""
    query = select(outbox.c.account).where(
        OPEN,
        outbox.c.account.in_(accounts),
        outbox.c.type == "ticket.open",
        outbox.c.state.in_(("sending", "uncertain")),
    )
    return set(conn.execute(query.distinct()).scalars()) if accounts else set()


def with_words(conn: Connection, buyer: bytes | None) -> list[str]:
    """The buyer's cases in which messages wait to be sent."""
    query = select(outbox.c.case_id).join(cases, cases.c.id == outbox.c.case_id).distinct()
    query = query.where(cases.c.buyer == buyer, outbox.c.type == SendMessage.kind, outbox.c.state.in_(LIVE))
    return list(conn.execute(query).scalars())


def add(conn: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Store new ledger rows."""
    if rows:
        many(conn, adding(outbox), rows)


_CHANGE = update(outbox).where(
    outbox.c.case_id == bindparam("case"),
    outbox.c.key == bindparam("action"),
)


@lru_cache(maxsize=64)
def _changing(columns: tuple[str, ...], states: int, *, by_id: bool) -> UpdateBase:
    query = update(outbox).where(outbox.c.id == bindparam("row")) if by_id else _CHANGE
    if states:
        query = query.where(or_(*(outbox.c.state == bindparam(f"from_{number}") for number in range(states))))
    return query.values({one: bindparam(f"to_{one}") for one in columns})


_BEGUN = or_(outbox.c.state == "sending", outbox.c.sent_at.is_not(None))


@lru_cache(maxsize=16)
def _taking_back(columns: tuple[str, ...]) -> UpdateBase:
    settled = {
        one: case((_BEGUN, outbox.c[one]), else_=bindparam(f"to_{one}", type_=outbox.c[one].type)) for one in columns
    }
    marked = case((_BEGUN, bindparam("why", type_=Text)), else_=outbox.c.withdrawn)
    live = or_(*(outbox.c.state == one for one in LIVE))
    return _CHANGE.where(live).values(**settled, withdrawn=marked)


def change(conn: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Change rows, one after the other: ``case``, ``action`` (key), ``from_`` (states), ``values``. One that moved on
    stays; without ``from_`` every one is changed. ``row`` (id) in place of case and key names one for sure.

    With ``back``, why, in place of ``from_``: take them back. One that is being sent or that an earlier try may have
    done is only marked: nobody knows yet what it did.
    """
    for one in rows:
        named = {f"to_{name}": value for name, value in one["values"].items()}
        named |= {name: one[name] for name in ("row", "case", "action") if name in one}
        columns, states = tuple(one["values"]), one.get("from_", ())
        if why := one.get("back"):
            many(conn, _taking_back(columns), [{**named, "why": why}])
        else:
            named |= {f"from_{number}": state for number, state in enumerate(states)}
            many(conn, _changing(columns, len(states), by_id="row" in one), [named])


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
    return rows_of(conn, _GRANTED, {"cases": list(case_ids)}) if case_ids else []


_GRANTED = (
    select(outbox.c.case_id, outbox.c.key, approvals.c.rules)
    .join(approvals, and_(approvals.c.outbox_id == outbox.c.id, approvals.c.digest == outbox.c.digest))
    .where(
        outbox.c.case_id.in_(bindparam("cases", expanding=True)),
        text("outbox.state in ('waiting', 'due', 'held')"),
        approvals.c.state == "approved",
    )
)


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


_MINE = select(outbox.c.id, outbox.c.attempt).where(
    outbox.c.id.in_(bindparam("rows", expanding=True)), outbox.c.state == "sending", outbox.c.owner == bindparam("me")
)


def finish(
    conn: Connection,
    me: str,
    ends: Sequence[dict[str, Any]],
    tried: Sequence[dict[str, Any]],
    results: Sequence[dict[str, Any] | None],
) -> None:
    """Record how attempts ended, with their result events, in one commit. A late answer that lost its lease is kept
    as an attempt; it may settle a row that became uncertain meanwhile."""
    rows = rows_of(conn, _MINE, {"rows": [end["row"] for end in ends], "me": me})
    mine = {(one.id, one.attempt) for one in rows}
    if won := [{**end, "me": me} for end in ends if (end["row"], end["n"]) in mine]:
        many(conn, _FINISH, won)
    known = [(end["row"], end["n"]) in mine or settle_late(conn, end) for end in ends]
    many(conn, ignoring(conn, attempts), tried)
    add_inbox(conn, [result for result, told in zip(results, known, strict=True) if result and told])


def settle_late(conn: Connection, end: dict[str, Any]) -> bool:
    """A late answer that knows what happened settles the row that is uncertain because of the same attempt."""
    if end["to"] not in {"done", "dead"}:
        return False
    values = {"ref": end["found"], "url": end["link"], "cause": end["why"], "hint": end["help"]}
    settled = {**values, "state": end["to"], "settled_at": end["settled"]}
    return set_state(conn, end["row"], ("uncertain",), settled, attempt=end["n"])


def sending(conn: Connection) -> Sequence[Any]:
    """Rows in ``sending``, whoever sends them."""
    return conn.execute(select(outbox).where(OPEN, outbox.c.state == "sending")).all()


def senders(conn: Connection) -> list[str]:
    """Who is sending."""
    return [one[0] for one in rows_of(conn, _SENDERS, {}) if one[0]]


_SENDERS = select(outbox.c.owner).where(OPEN, outbox.c.state == "sending").distinct()


def set_state(
    conn: Connection, row_id: int, was: Collection[str], values: dict[str, Any], *, attempt: int | None = None
) -> bool:
    """Change one row if it is still in one of the states (and at its attempt of that number)."""
    query = update(outbox).where(outbox.c.id == row_id, outbox.c.state.in_(was))
    if attempt is not None:
        query = query.where(outbox.c.attempt == attempt)
    return conn.execute(query.values(**values)).rowcount == 1


_UNCERTAIN = (
    select(outbox)
    .where(
        OPEN,
        outbox.c.state == "uncertain",
        outbox.c.due_at <= bindparam("now"),
        outbox.c.id.not_in(bindparam("but", expanding=True)),
        outbox.c.account.not_in(bindparam("closed", expanding=True)),
    )
    .order_by(outbox.c.due_at)
    .limit(bindparam("most"))
)


def uncertain_due(
    conn: Connection, now: int, but: Collection[int] = (), closed: Collection[str] = (), most: int = 50
) -> Sequence[Any]:
    """Uncertain rows that are to be looked up now, ``but`` for those that are being looked up already, and those of
    ``closed`` accounts, which would hide the others'."""
    named = {"now": now, "but": list(but) or [0], "closed": list(closed) or [""], "most": most}
    return rows_of(conn, _UNCERTAIN, named)


def begun(conn: Connection, case_ids: Collection[str]) -> list[tuple[str, bool]]:
    """(case, whether it is being sent right now) of what is being sent, or may be done as far as anybody knows."""
    at_work = outbox.c.state.in_(("sending", "uncertain"))
    tried = and_(outbox.c.state == "due", outbox.c.sent_at.is_not(None))
    query = select(outbox.c.case_id, outbox.c.state).where(outbox.c.case_id.in_(case_ids), or_(at_work, tried))
    return [(case_id, state == "sending") for case_id, state in conn.execute(query)]


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
    query = select(outbox.c.account, outbox.c.state, func.count()).group_by(outbox.c.account, outbox.c.state)
    found = [*conn.execute(query.where(OPEN)), *conn.execute(query.where(DUE))]
    return {(account, state): int(number) for account, state, number in found}
