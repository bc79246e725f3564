"""What a person was asked: one approval with the action it is for."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from .inbox import COMMAND_ACCOUNT, digest
from .tables import approvals, inbox, outbox


def asked(conn: Connection, case_id: str, key: str, mark: bytes) -> Any:
    """The question about exactly this action; None where it was never asked."""
    query = select(
        approvals.c.id,
        approvals.c.state.label("answer"),
        approvals.c.reason,
        approvals.c.asked_at,
        approvals.c.answered_at,
        approvals.c.by,
        approvals.c.note,
        approvals.c.digest.label("mark"),
        outbox.c.state,
        outbox.c.digest,
        outbox.c.type,
        outbox.c.amount,
        outbox.c.currency,
        outbox.c.shop,
    )
    joined = query.join(outbox, outbox.c.id == approvals.c.outbox_id)
    return conn.execute(
        joined.where(approvals.c.case_id == case_id, outbox.c.key == key, approvals.c.digest == mark)
    ).first()


def answered_by(conn: Connection, name: str) -> str | None:
    """What became of a command of this name: ``new``, ``done``, ``refused`` …; None where it was never given."""
    query = select(inbox.c.state).where(inbox.c.account == COMMAND_ACCOUNT, inbox.c.dedupe == digest(name.encode()))
    state: str | None = conn.execute(query).scalar()
    return state
