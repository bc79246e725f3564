"""Writing a batch: cases, timeline, ledger and inbox in one transaction, so that everything counts exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

from ..store import cases as case_store
from ..store import inbox as inbox_store
from ..store import ops, queue
from ..store import outbox as outbox_store
from ..store.bulk import alone
from ..store.buyers import kept
from ..store.tables import micros
from ..store.vault import Vault, store_keys
from .batch import Batch
from .work import Work

URGENT_FROM: Final = 2  # the level of a case whose deliveries come first


def write(conn: Connection, batch: Batch, vault: Vault) -> None:
    """Everything that a batch changes, in one transaction; the order of the locks is that of the design."""
    changes = batch.changes
    if conn.dialect.name != "sqlite":
        _still(conn, batch)
    store_keys(conn, batch.key_rows)
    inbox_store.done(conn, batch.done)
    case_store.add_seen(conn, batch.seen, batch.now)
    _write_cases(conn, batch, vault)
    case_store.add_keys(conn, list({(one["k"], one["case_id"]): one for one in changes.keys}.values()))
    case_store.link_keys(conn, batch.linked)
    case_store.add_timeline(conn, changes.timeline)
    case_store.add_messages(conn, changes.messages)
    outbox_store.add(conn, changes.outbox)
    outbox_store.change(conn, changes.moved)
    if severe := [one.case.id for one in batch.works.values() if one.dirty and one.case.level >= URGENT_FROM]:
        queue.hurry(conn, severe)
    case_store.set_deadlines(conn, changes.deadlines)
    park(conn, batch.parked, None, batch.now)
    inbox_store.later(conn, batch.later)
    for row_id, keys in batch.waits:
        inbox_store.wait_for(conn, row_id, keys)
    if changes.keys:
        batch.called = inbox_store.queue_waiting(conn, [one["k"] for one in changes.keys], batch.now)
    inbox_store.add(conn, batch.inbox)
    for one in changes.alerts:
        ops.alert(conn, one["key"], one["text"], batch.now, account=one["account"], case_id=one["case_id"])
    for job in batch.extra:
        job(conn)
    if changes.moved:
        outbox_store.void_approvals(conn, list({one["case"] for one in changes.moved}))
    outbox_store.add_approvals(conn, [dict(one) for one in changes.approvals])


def _still(conn: Connection, batch: Batch) -> None:
    """Of several processes one at a time gives names to cases, or finds none for them, and adds up what a person gives.
    Raises ``Conflict`` where another one was first: what was computed no longer holds."""
    looked = batch.missed.union(*(keys for _, keys in batch.waits))
    names = {*looked, *(one["k"] for one in batch.changes.keys)}
    given = batch.given if any(one["money"] for one in batch.changes.outbox) or batch.changes.moved else {}
    alone(conn, [*names, *(f"given:{proposer}".encode() for proposer, _ in given)])
    if {(one.k, one.case_id) for one in case_store.by_keys(conn, list(looked))} - batch.found:
        raise inbox_store.Conflict("another process opened a case of this name meanwhile")
    given_keys = {one["id"] for one in batch.key_rows}
    shared = {one.key_id for one in batch.works.values() if one.dirty and one.version == 0} - given_keys
    if shared - kept(conn, shared):
        raise inbox_store.Conflict("another process erased a buyer who came back meanwhile")
    for (proposer, since), before in given.items():
        if frozenset(map(tuple, outbox_store.spent(conn, proposer, since))) != before:
            raise inbox_store.Conflict(f"another process gave something in the name of {proposer} meanwhile")


def _write_cases(conn: Connection, batch: Batch, vault: Vault) -> None:
    new, changed = [], []
    for work in batch.works.values():
        if not work.dirty:
            continue
        row = _case_row(work, vault)
        if work.version == 0:
            new.append(row)
        else:
            changed.append(case_store.as_update(row, work.version))
    case_store.write(conn, new, changed)


def _case_row(work: Work, vault: Vault) -> dict[str, Any]:
    case = work.case
    return {
        "id": case.id,
        "shop": case.shop,
        "version": work.version + 1,
        "kind": case.kind.value,
        "issue": case.issue.value if case.issue else None,
        "level": case.level,
        "status": case.status.value,
        "open": case.open,
        "opened_at": micros(case.opened_at),
        "updated_at": micros(case.updated_at),
        "created_at": work.created_at,
        "first_reply_at": work.first_reply_at,
        "flag": work.flag,
        "buyer": work.buyer,
        "seq": work.seq,
        "chain": work.chain,
        "merged_into": case.merged_into,
        "key_id": work.key_id,
        "doc": vault.seal(work.key_id, case.model_dump_json(by_alias=True, exclude_defaults=True).encode()),
    }


def park(
    conn: Connection,
    rows: list[dict[str, Any]],
    account: str | None,
    now: int,
    cases: Sequence[str] = (),
) -> None:
    """Set rows aside with their reason, flag their cases, tell the operator."""
    inbox_store.park(conn, rows)
    for one in rows if cases else ():
        case_store.flag(conn, cases, case_store.parked(one["row"]))
    if account:
        ops.alert(
            conn, f"parked:{account}", f"an event of {account} is parked: {rows[0]['said'][:200]}", now, account=account
        )
