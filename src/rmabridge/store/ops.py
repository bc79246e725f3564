"""What operators and loops keep about accounts: pauses, cursors, tokens, alerts, the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select, text, update

from .bulk import ignoring, rows_of
from .inbox import Conflict
from .tables import accounts, alerts, audit, buyer_keys, cursors, inbox, moment, seen, tokens

# The kind of cursor that says: its webhooks were registered here, see to it that they stay.
CONNECTED: Final = "connected"
# The cursor that says where the audit chain ends.
HEAD: Final = ("bridge", "audit")

_PAUSED = select(accounts.c.name, accounts.c.reason).where(accounts.c.paused)


def paused(conn: Connection) -> dict[str, str]:
    """Paused account → the reason."""
    return {one.name: one.reason or "" for one in rows_of(conn, _PAUSED, {})}


def set_paused(conn: Connection, name: str, *, on: bool, reason: str, now: int) -> None:
    """Pause or resume an account."""
    conn.execute(ignoring(conn, accounts), {"name": name, "paused": False})
    conn.execute(update(accounts).where(accounts.c.name == name).values(paused=on, reason=reason, since=now))


def cursor(conn: Connection, account: str, kind: str) -> Any:
    """Where a poll, a comparison or an import stands."""
    return conn.execute(select(cursors).where(cursors.c.account == account, cursors.c.kind == kind)).first()


def begin_cursor(conn: Connection, account: str, kind: str, due: int) -> bool:
    """Make a cursor that is due then; False where there is one."""
    row = {"account": account, "kind": kind, "version": 1, "due_at": due}
    return conn.execute(ignoring(conn, cursors), row).rowcount == 1


def move_cursor(conn: Connection, account: str, kind: str, read: int, values: dict[str, Any]) -> None:
    """Move a cursor if nobody else did since version ``read`` (0: it is new); raises ``Conflict``."""
    if read == 0:
        conn.execute(ignoring(conn, cursors), {"account": account, "kind": kind, "version": 0})
    moved = conn.execute(
        update(cursors)
        .where(cursors.c.account == account, cursors.c.kind == kind, cursors.c.version == read)
        .values(version=read + 1, **values)
    )
    if moved.rowcount != 1:
        raise Conflict(f"the {kind} cursor of {account} was moved by somebody else")


def take(conn: Connection, account: str, kind: str, who: str, now: int, lease: int) -> bool:
    """Do something alone for so many microseconds; False while somebody else does it."""
    row = cursor(conn, account, kind)
    if row is not None and row.cursor and now < row.due_at <= now + lease:  # later than that: a clock was ahead
        return False
    try:
        move_cursor(conn, account, kind, row.version if row else 0, {"cursor": who, "due_at": now + lease})
    except Conflict:
        return False
    return True


def leave(conn: Connection, account: str, kind: str, who: str) -> None:
    """Let others do it."""
    mine = (cursors.c.account == account, cursors.c.kind == kind, cursors.c.cursor == who)
    conn.execute(update(cursors).where(*mine).values(cursor=None, due_at=0))


def state_mark(state: str) -> str:
    """What is kept of a sign-in's state: whoever may only read cannot finish the sign-in with it."""
    return sha256(state.encode(errors="surrogatepass")).hexdigest()


def token(conn: Connection, account: str) -> Any:
    """The account's stored token, sealed."""
    return conn.execute(select(tokens).where(tokens.c.account == account)).first()


def token_end(conn: Connection, account: str) -> Any:
    """When the account's stored token expires; whoever asks need not be allowed to read the token."""
    return conn.execute(select(tokens.c.expires).where(tokens.c.account == account)).first()


def put_token(conn: Connection, row: dict[str, Any]) -> None:
    """Store a token; its version rises."""
    known = token(conn, row["account"])
    if known is None:
        conn.execute(insert(tokens), {**row, "version": 1})
    else:
        conn.execute(
            update(tokens).where(tokens.c.account == row["account"]).values(**{**row, "version": known.version + 1})
        )


_AGAIN = update(alerts).where(alerts.c.key == bindparam("k"))


def alert(
    conn: Connection, key: str, text: str, now: int, *, account: str | None = None, case_id: str | None = None
) -> None:
    """Tell the operator; the same cause counts up instead of telling again."""
    made = conn.execute(
        ignoring(conn, alerts),
        {"key": key, "text": text, "account": account, "case_id": case_id, "first_at": now, "last_at": now},
    )
    if not made.rowcount:
        conn.execute(_AGAIN.values(times=alerts.c.times + 1, last_at=now, text=text, resolved_at=None), {"k": key})


def resolve_alert(conn: Connection, key: str, now: int) -> None:
    """The cause is gone."""
    conn.execute(update(alerts).where(alerts.c.key == key, alerts.c.resolved_at.is_(None)).values(resolved_at=now))


def open_alerts(conn: Connection) -> Sequence[Any]:
    """What an operator should look at, the latest first."""
    return conn.execute(select(alerts).where(alerts.c.resolved_at.is_(None)).order_by(alerts.c.last_at.desc())).all()


def note_audit(conn: Connection, who: str, what: str, detail: str, now: int) -> None:
    """Append to the audit chain: who did what. The head is kept beside it, so that a cut end shows; whoever appends
    holds its row, so that two processes never append to the same end."""
    conn.execute(ignoring(conn, cursors), {"account": HEAD[0], "kind": HEAD[1], "cursor": "", "version": 0})
    mine = (cursors.c.account == HEAD[0], cursors.c.kind == HEAD[1])
    conn.execute(update(cursors).where(*mine).values(version=cursors.c.version + 1))
    last = conn.execute(select(cursors.c.cursor).where(*mine)).scalar() or ""
    day = moment(now).date().isoformat()
    chain = audit_link(bytes.fromhex(last), now, who, what, detail)
    conn.execute(insert(audit), {"day": day, "at": now, "who": who, "what": what, "detail": detail, "chain": chain})
    conn.execute(update(cursors).where(*mine).values(cursor=chain.hex()))


def audit_link(before: bytes, at: int, who: str, what: str, detail: str) -> bytes:
    """The chain's hash after one more entry; lengths stand before texts, so that nothing moves from one to another."""
    parts = [before, str(at).encode(), *(one.encode(errors="surrogatepass") for one in (who, what, detail))]
    return sha256(b"".join(b"%d:%b" % (len(one), one) for one in parts)).digest()


def audit_head(conn: Connection) -> bytes:
    """Where the audit chain ends."""
    found = cursor(conn, *HEAD)
    return bytes.fromhex(found.cursor or "") if found else b""


def prune_seen(conn: Connection, before: int) -> int:
    """Forget event keys older than their horizon."""
    return conn.execute(delete(seen).where(seen.c.at < before)).rowcount


_STILL_READ = select(inbox.c.key_id).where(text("inbox.state = 'new'"))
_STUCK = select(inbox.c.key_id).where(text("inbox.state in ('parked', 'unmatched')"))


def prune_days(conn: Connection, before: datetime) -> int:
    """Delete the keys of days before that one, but for those that something still has to be read with."""
    keys, first = buyer_keys.c.id, today(before)
    old = keys.like("day:%"), keys < first, keys.not_in(_STILL_READ), keys.not_in(_STUCK)
    return conn.execute(delete(buyer_keys).where(*old)).rowcount


def today(now: datetime) -> str:
    """The name of the day's raw-body key."""
    return f"day:{now.astimezone(UTC).date().isoformat()}"
