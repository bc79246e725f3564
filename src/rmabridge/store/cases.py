"""Cases, their keys, timeline and messages. Only the router writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, delete, func, not_, or_, select, update

from ..model import CaseKind, Issue
from .bulk import adding, ignoring, many, replacing, rows_of
from .inbox import Conflict
from .tables import approvals, buyer_keys, case_keys, cases, deadlines, messages, seen, timeline
from .vault import INDEX

CHUNK: Final = 400


def link(chain: bytes, seq: int, type_: str, at: int, account: str, sealed: bytes) -> bytes:
    """The chain's hash after one more timeline entry; over the sealed bytes, so that it verifies after an erasure."""
    return sha256(b"%b|%d|%b|%d|%b|%b" % (chain, seq, type_.encode(), at, account.encode(), sealed)).digest()


def _among(name: str) -> Any:
    return bindparam(name, expanding=True)


_KNOWN = select(seen.c.k).where(seen.c.k.in_(_among("keys")))
_BY_KEYS = (
    select(case_keys.c.k, case_keys.c.case_id, case_keys.c.strong, cases.c.open, cases.c.opened_at)
    .select_from(case_keys.join(cases, cases.c.id == case_keys.c.case_id))
    .where(case_keys.c.k.in_(_among("keys")))
)
_ROWS = select(cases).where(cases.c.id.in_(_among("ids")))
_VERSIONS = select(cases.c.id, cases.c.version).where(cases.c.id.in_(_among("ids")))
_HISTORY = (
    select(cases.c.buyer, cases.c.id)
    .where(cases.c.buyer.in_(_among("marks")))
    .order_by(cases.c.opened_at.desc())
    .limit(bindparam("most"))
)


def known_events(conn: Connection, keys: Sequence[bytes]) -> set[bytes]:
    """Which of these event keys counted already."""
    found: set[bytes] = set()
    for start in range(0, len(keys), CHUNK):
        found.update(one.k for one in rows_of(conn, _KNOWN, {"keys": keys[start : start + CHUNK]}))
    return found


def by_keys(conn: Connection, keys: Sequence[bytes]) -> Sequence[Any]:
    """(k, case_id, strong, open, opened_at) of every case that has one of the keys."""
    if not keys:
        return []
    return rows_of(conn, _BY_KEYS, {"keys": list(keys)})


def latest_by_key(conn: Connection, key: bytes, most: int) -> list[str]:
    """The cases that have the key, the latest changed first."""
    query = select(cases.c.id).join(case_keys, case_keys.c.case_id == cases.c.id).where(case_keys.c.k == key)
    return list(conn.execute(query.order_by(cases.c.updated_at.desc()).limit(most)).scalars())


def rows(conn: Connection, ids: Sequence[str]) -> Sequence[Any]:
    """The stored rows of cases."""
    return rows_of(conn, _ROWS, {"ids": list(ids)}) if ids else []


def versions(conn: Connection, ids: Sequence[str]) -> dict[str, int]:
    """Case id → version."""
    if not ids:
        return {}
    return {one.id: one.version for one in rows_of(conn, _VERSIONS, {"ids": list(ids)})}


def history(conn: Connection, marks: Sequence[bytes], most: int = 20) -> dict[bytes, list[str]]:
    """Buyer mark → ids of the buyer's cases, newest first."""
    found: dict[bytes, list[str]] = {}
    for one in rows_of(conn, _HISTORY, {"marks": list(marks), "most": most * max(1, len(marks))}):
        found.setdefault(one.buyer, []).append(one.id)
    return found


def rate(conn: Connection, shop: str, since: int, column: str) -> dict[str, int]:
    """How many cases the shop had since then, for each value of a column; who only asks about goods is none of them."""
    by = cases.c[column]
    enquiry = and_(cases.c.kind == CaseKind.QUESTION, func.coalesce(cases.c.issue, "") == Issue.PRODUCT_QUESTION)
    query = select(by, func.count()).where(cases.c.shop == shop, cases.c.opened_at >= since, not_(enquiry)).group_by(by)
    return {str(value): int(count) for value, count in conn.execute(query) if value is not None}


_UPDATE = (
    update(cases)
    .where(cases.c.id == bindparam("case"), cases.c.version == bindparam("read"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in cases.c.keys()  # noqa: SIM118 - columns, not a dict
            if name not in {"id", "shop", "key_id", "created_at"}
        }
    )
)


def write(conn: Connection, new: Sequence[dict[str, Any]], changed: Sequence[dict[str, Any]]) -> None:
    """Insert new cases, replace changed ones; raises ``Conflict`` when one was changed meanwhile."""
    if new:
        many(conn, adding(cases), new)
    if changed and many(conn, _UPDATE, changed) != len(changed):
        raise Conflict("a case was changed by somebody else")


def flag(conn: Connection, ids: Sequence[str], text: str) -> None:
    """Flag cases for a person; the version rises, so that nobody goes on with what was read before."""
    if ids:
        conn.execute(update(cases).where(cases.c.id.in_(ids)).values(flag=text, version=cases.c.version + 1))


def parked(row_id: int) -> str:
    """The flag of a case about which an event was parked."""
    return f"inbox row {row_id} is parked"


def unflag(conn: Connection, flags: Sequence[str]) -> None:
    """Take flags of these texts down again."""
    conn.execute(update(cases).where(cases.c.flag.in_(flags)).values(flag=None, version=cases.c.version + 1))


def as_update(row: dict[str, Any], read: int) -> dict[str, Any]:
    """A case row as the parameters of its update."""
    left = {"id", "shop", "key_id", "created_at"}
    return {
        "case": row["id"],
        "read": read,
        **{f"new_{name}": value for name, value in row.items() if name not in left},
    }


def add_seen(conn: Connection, keys: Iterable[bytes], now: int) -> None:
    """Remember event keys that now count."""
    if found := [{"k": one, "at": now} for one in keys]:
        many(conn, adding(seen), found)


def add_keys(conn: Connection, found: Sequence[dict[str, Any]]) -> None:
    """Add names of cases; a strong one that another case has meanwhile raises."""
    if strong := [one for one in found if one["strong"]]:
        many(conn, adding(case_keys), strong)
    if weak := [one for one in found if not one["strong"]]:
        many(conn, ignoring(conn, case_keys), weak)


def add_timeline(conn: Connection, found: Sequence[dict[str, Any]]) -> None:
    """Append timeline entries."""
    if found:
        many(conn, adding(timeline), found)


def add_messages(conn: Connection, found: Sequence[dict[str, Any]]) -> None:
    """Store messages; a known one stays as it is."""
    if found:
        many(conn, ignoring(conn, messages), found)


_LINK_KEY = (
    update(buyer_keys)
    .where(buyer_keys.c.id == bindparam("key"), buyer_keys.c.buyer.is_(None), buyer_keys.c.id != INDEX)
    .values(buyer=bindparam("mark"))
)


def link_keys(conn: Connection, found: Sequence[dict[str, Any]]) -> None:
    """Note whose key it is, once the buyer is known."""
    if found:
        many(conn, _LINK_KEY, found)


_STOP = delete(deadlines).where(deadlines.c.case_id == bindparam("case"), deadlines.c.name == bindparam("clock"))


def set_deadlines(conn: Connection, clocks: Mapping[tuple[str, str], dict[str, Any] | None]) -> None:
    """Stop clocks (None) and start them; a new one replaces the old one of its name."""
    if stopped := [{"case": case_id, "clock": name} for (case_id, name), row in clocks.items() if row is None]:
        many(conn, _STOP, stopped)
    if started := [row for row in clocks.values() if row is not None]:
        many(conn, replacing(conn, deadlines, ("case_id", "name")), started)


_DUE = (
    select(deadlines)
    .where(deadlines.c.due_at <= bindparam("now"))
    .order_by(deadlines.c.due_at)
    .limit(bindparam("most"))
)
_NEXT = select(func.min(deadlines.c.due_at))


def due_deadlines(conn: Connection, now: int, most: int = 500) -> Sequence[Any]:
    """Clocks that ran out."""
    return rows_of(conn, _DUE, {"now": now, "most": most})


def next_deadline(conn: Connection) -> int | None:
    """When the next clock runs out."""
    due: int | None = rows_of(conn, _NEXT, {})[0][0]
    return due


def entries(conn: Connection, case_id: str) -> Sequence[Any]:
    """The timeline of a case."""
    return conn.execute(select(timeline).where(timeline.c.case_id == case_id).order_by(timeline.c.seq)).all()


def spoken(conn: Connection, case_id: str) -> Sequence[Any]:
    """The messages of a case, oldest first."""
    return conn.execute(
        select(messages).where(messages.c.case_id == case_id).order_by(messages.c.at, messages.c.id)
    ).all()


def listed(
    conn: Connection, *, shop: str | None, status: str | None, open_: bool | None, most: int, before: int | None
) -> Sequence[Any]:
    """Cases, the latest changed first."""
    query = select(cases).order_by(cases.c.updated_at.desc(), cases.c.id).limit(most)
    for column, value in ((cases.c.shop, shop), (cases.c.status, status), (cases.c.open, open_)):
        if value is not None:
            query = query.where(column == value)
    return conn.execute(query if before is None else query.where(cases.c.updated_at < before)).all()


def broken_links(conn: Connection, case_id: str) -> list[int]:
    """The timeline entries of a case whose chain does not fit: empty when nothing was changed."""
    chain, broken = b"", []
    for number, one in enumerate(entries(conn, case_id), start=1):
        chain = link(chain, one.seq, one.type, one.at, one.account, one.doc)
        if one.seq != number or chain != one.chain:
            broken.append(one.seq)
            chain = one.chain
    head = conn.execute(select(cases.c.chain, cases.c.seq).where(cases.c.id == case_id)).first()
    if head is not None and head.chain != chain and not broken:
        broken.append(head.seq)
    return broken


def move_keys(conn: Connection, keys: Sequence[bytes], loser: str, winner: str) -> None:
    """Give the names of an absorbed case to the one that absorbs it, and stop its clocks."""
    lost = and_(case_keys.c.k.in_(keys), case_keys.c.case_id == loser)
    moved = [{**one, "case_id": winner} for one in conn.execute(select(case_keys).where(lost)).mappings()]
    conn.execute(delete(case_keys).where(lost))
    if moved:
        conn.execute(ignoring(conn, case_keys), moved)
    conn.execute(delete(deadlines).where(deadlines.c.case_id == loser))


def pending_approvals(conn: Connection, case_id: str | None = None) -> Sequence[Any]:
    """Approvals that wait for a person, the oldest first."""
    query = select(approvals).where(approvals.c.state == "waiting").order_by(approvals.c.asked_at)
    return conn.execute(query if case_id is None else query.where(approvals.c.case_id == case_id)).all()


def find(conn: Connection, text: str) -> list[str]:
    """Case ids by id, or by the start of one."""
    query = select(cases.c.id).where(or_(cases.c.id == text, cases.c.id.startswith(text.upper(), autoescape=True)))
    return list(conn.execute(query.limit(10)).scalars())
