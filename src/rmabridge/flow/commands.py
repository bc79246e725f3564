"""What operators and programs ask for: carried out by the router, like every other change."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from pydantic_core import to_json
from sqlalchemy import Connection, select, update

from ..config import explain
from ..core.lifecycle import TRANSITIONS
from ..core.paid import doubts
from ..core.plays import recorded, refusal, unclosable
from ..core.reach import send, ways
from ..errors import CommandError
from ..model import (
    ACTIONS,
    Action,
    ApproveReturn,
    Closed,
    Commanded,
    DeclineReturn,
    Noted,
    PayRefund,
    RemedyAccepted,
    RemedyKind,
    Reopened,
    RequestStatus,
    Settled,
    Status,
)
from ..store import cases as case_store
from ..store import inbox as inbox_store
from ..store import ops
from ..store import outbox as outbox_store
from ..store.buyers import ERASED
from ..store.outbox import LIVE
from ..store.tables import approvals, moment
from . import claiming, erasing, keys
from .absorb import left_behind
from .ledger import needed_by
from .opting import learn
from .snapshots import decided
from .work import Work
from .world import BAD

if TYPE_CHECKING:
    from .batch import Batch, Row
    from .router import Router

Done = tuple[str | None, str]
MOST_NOTE: Final = 500
# What people write about a case; the audit log, which nothing is erased from, does without it.
WORDS: Final = frozenset({"text", "action", "note", "result", "reason"})


def carry_out(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    """Carry the command out: (case id, what was done); ``CommandError`` when it cannot be."""
    handler = COMMANDS.get(command.command)
    if handler is None:
        raise CommandError(f"{command.command}: no such command")
    try:
        done = handler(router, batch, row, command)
    except CommandError:
        _audit(batch, row, command, {"case": row.case_id, "refused": True})
        raise
    _audit(batch, row, command, {"case": done[0]})
    return done


def _audit(batch: Batch, row: Row, command: Commanded, facts: dict[str, Any]) -> None:
    """Who asked for what, whether or not it was carried out; of a case without the words, which may be personal."""
    private = WORDS if row.case_id else WORDS - {"reason"}
    public = {name: value for name, value in command.args.items() if name not in private}
    detail = json.dumps({**facts, **public}, ensure_ascii=False, default=str)
    now = batch.now
    batch.extra.append(lambda conn: ops.note_audit(conn, command.by, command.command, detail, now))


def _work(router: Router, batch: Batch, row: Row, case_id: str | None) -> Work:
    if case_id and case_id not in batch.works:
        router.loader.cases(batch, {case_id})
    work = router.loader.living(batch, case_id) if case_id else None
    if work is None:
        raise CommandError(f"{case_id}: no such case")
    work.begin(batch.changes, moment(batch.now), row.depth, row.id)
    learn(batch, work)
    return work


def _note(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    work = _work(router, batch, row, row.case_id)
    work.apply(Noted(key=command.key, at=work.now, text=_text(command), by=command.by), "bridge", command.by)
    return work.case.id, "noted"


def _claim(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    work = _work(router, batch, row, row.case_id)
    return work.case.id, claiming.told(work, command)


def _reply(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    work = _work(router, batch, row, row.case_id)
    text = _text(command)
    found = ways(work.case, work.shop, text)
    if not found.ways:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.fallen) or "the shop has no channel"
        raise CommandError(f"nothing reaches the buyer of {work.case.id}: {reasons}")
    action = send(work.case, f"answer:{command.key}", found.ways[0], text, subject=f"[{work.case.id}]")
    work.record(command, "bridge", command.by)
    return work.case.id, _verdict_of(work, action.key, work.propose(action, f"operator:{command.by}"))


def _act(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    work = _work(router, batch, row, row.case_id)
    try:
        action = ACTIONS.validate_python(command.args["action"])
    except (ValidationError, KeyError) as error:
        problems = explain(error, "[action]") if isinstance(error, ValidationError) else ["[action] missing"]
        raise CommandError("; ".join(problems)) from error
    if isinstance(action, ApproveReturn | DeclineReturn):
        action = _decided_again(work, action)
    if action.key in work.entries:
        state = work.entries[action.key].state
        revive = "; 'deliveries retry' revives it" if state in BAD else ""
        raise CommandError(f"{action.key} is in the ledger already: {state}{revive}")
    work.record(command, "bridge", command.by)
    if command.args.get("agreed"):
        _agree(work, action, command)
    if (known := work.entries.get(action.key)) is not None:  # a policy proposed it on the agreement
        return work.case.id, f"{action.key}: {known.state}"
    return work.case.id, _verdict_of(work, action.key, work.propose(action, f"operator:{command.by}"))


def _decided_again(work: Work, action: ApproveReturn | DeclineReturn) -> ApproveReturn | DeclineReturn:
    """A person may decide anew what was done: otherwise than before, and what was asked for again."""
    request, later = work.case.request, action
    while later.key in work.entries:
        action, later = later, later.model_copy(update={"turn": later.turn + 1})
    known = work.entries.get(action.key)
    if known is None or known.state != "done":
        return action
    asked = request is not None and request.id == action.request and request.status is RequestStatus.REQUESTED
    again = asked and request is not None and action.turn < request.again
    return later if again or known.type != action.type else action


def _agree(work: Work, action: Action | None, command: Commanded) -> None:
    """Note that the refund is agreed, so that no money moves before somebody answers for it."""
    offered = work.case.offered
    settled = work.case.agreed or (offered and offered.automatic and not offered.interim)
    if isinstance(action, PayRefund) and not settled:
        key, kind = f"agreed:{command.key}", RemedyKind.REFUND_ONLY
        event = RemedyAccepted(key=key, at=work.now, remedy=kind, amount=action.amount, by=command.by)
        work.apply(event, "bridge", command.by)


def _verdict_of(work: Work, key: str, entry: Any) -> str:
    if entry is None:
        return f"{key}: already in the ledger"
    why = f": {entry.row['cause']}" if entry.row and entry.row.get("cause") else ""
    return f"{key}: {entry.state}{why}"


def _close(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    work = _work(router, batch, row, row.case_id)
    if Status.CLOSED not in TRANSITIONS[work.case.status]:
        raise CommandError(f"{work.case.id} is {work.case.status} and cannot be closed; 'cases reopen' opens it again")
    if reason := unclosable(work.case):
        raise CommandError(reason)
    result = str(command.args.get("result") or "closed by hand")
    work.apply(Closed(key=command.key, at=work.now, result=result, by=command.by), "bridge", command.by)
    return work.case.id, "closed"


def _step(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    """A person records a step of the handling play."""
    work = _work(router, batch, row, row.case_id)
    step = str(command.args.get("step") or "")
    if reason := refusal(work.case, step):
        raise CommandError(reason)
    note = str(command.args.get("note") or "").strip()[:MOST_NOTE] or None
    work.apply(recorded(work.case, step, command.key, work.now, command.by, note), "bridge", command.by)
    return work.case.id, f"{step}; the play is at {work.case.play.state if work.case.play else step}"


def _reopen(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    work = _work(router, batch, row, row.case_id)
    if work.case.status is not Status.CLOSED:
        raise CommandError(f"{work.case.id} is {work.case.status}, not closed")
    work.apply(Reopened(key=command.key, at=work.now, reason=f"by {command.by}"), "bridge", command.by)
    return work.case.id, f"reopened, round {work.case.round}"


def _answer(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    number, yes = _number(command, "approval"), command.command == "approve"
    asked = router.store.read(lambda conn: conn.execute(select(approvals).where(approvals.c.id == number)).first())
    if asked is None or asked.state != "waiting":
        raise CommandError(f"approval {number}: {'no such approval' if asked is None else 'was ' + asked.state}")
    stored = router.store.read(lambda conn: outbox_store.one(conn, asked.outbox_id))
    work = _work(router, batch, row, asked.case_id)
    entry = work.entries.get(stored.key) if stored else None
    if entry is None or entry.state != "held":
        raise CommandError(f"approval {number}: {stored.key if stored else 'the action'} is no longer held")
    if entry.digest != asked.digest:
        raise CommandError(f"approval {number}: the action was changed since it was asked for; look at the new one")
    now, values = (
        batch.now,
        {
            "state": "approved" if yes else "denied",
            "answered_at": batch.now,
            "by": command.by,
            "note": command.args.get("note"),
        },
    )

    def answer(conn: Connection) -> None:
        changed = conn.execute(
            update(approvals).where(approvals.c.id == number, approvals.c.state == "waiting").values(**values)
        )
        if changed.rowcount != 1:
            raise inbox_store.Conflict(f"approval {number} was answered at {now} by somebody else")

    batch.extra.append(answer)
    work.record(command, "bridge", command.by)
    work.apply(decided(router, batch, work, command, stored.key, asked), "bridge", command.by)
    if not yes:
        work.cancel(stored.key, f"denied by {command.by}", "denied")
        return work.case.id, f"{stored.key}: denied"
    _agree(work, work.action_of(stored.key), command)
    why = work.release(stored.key, frozenset(asked.rules.split()))
    return work.case.id, f"{stored.key}: {entry.state}{f': {why}' if why else ''}"


def _number(command: Commanded, name: str) -> int:
    given = str(command.args.get(name) or "")
    if not (given.isascii() and given.isdecimal() and len(given) <= 18):
        raise CommandError(f"{command.command}: {given!r} is no number of a {name}")
    return int(given)


def _stored(router: Router, command: Commanded) -> Any:
    number = _number(command, "delivery")
    stored = router.store.read(lambda conn: outbox_store.one(conn, number))
    if stored is None:
        raise CommandError(f"delivery {number}: no such delivery")
    return stored


def _delivery(router: Router, batch: Batch, row: Row, command: Commanded) -> tuple[Any, Work]:
    stored = _stored(router, command)
    return stored, _work(router, batch, row, stored.case_id)


def _retry(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    """Revive a dead, denied, expired or cancelled delivery, as it is or with an edited action."""
    stored, work = _delivery(router, batch, row, command)
    if stored.state not in {"dead", "expired", "cancelled", "denied"}:
        raise CommandError(
            f"delivery {stored.id} is {stored.state}; only dead, denied, expired or cancelled ones are retried"
        )
    values: dict[str, Any] = {
        "state": "due",
        "withdrawn": None,
        "due_at": batch.now,
        "tries": 0,
        "settled_at": None,
        "cause": None,
        "hint": None,
        "not_after": None,
        "good_until": None,  # a person wants it sent
    }
    if edited := command.args.get("action"):
        values |= _edited(work, stored, edited)
    elif not command.args.get("anyway"):
        _no_doubt(work, stored)
    values |= _effect_again(router, work, stored)
    _revive(batch, work, stored, values, ("dead", "expired", "cancelled", "denied"))
    _wait_again(router, batch, work, stored.key)
    work.record(command, "bridge", command.by)
    return work.case.id, f"{stored.key}: due"


def _wait_again(router: Router, batch: Batch, work: Work, key: str) -> None:
    """What was given up because this had failed waits for it again, and is judged anew when it is done."""
    for row in router.store.read(lambda conn: outbox_store.of_case(conn, work.case.id)):
        entry = work.entries.get(row.key)
        if (
            row.needs == key
            and row.state == "cancelled"
            and (row.cause or "").startswith(needed_by(key))
            and entry is not None
        ):
            _revive(batch, work, row, {"state": "waiting", "settled_at": None, "cause": None}, ("cancelled",))
            _wait_again(router, batch, work, row.key)


def _no_doubt(work: Work, stored: Any) -> None:
    """What failed may have been paid by another way since."""
    action = work.action_of(stored.key)
    if action is not None and (found := list(doubts(action, work.case, work.view()))):
        reasons = "; ".join(f"{one.rule}: {one.reason}" for one in found)
        raise CommandError(f"delivery {stored.id}: {reasons}; to send it all the same: deliveries retry --anyway")


def _effect_again(router: Router, work: Work, stored: Any) -> dict[str, Any]:
    """What was denied gave up its claim to move this money, and must be alone with it again."""
    action = work.action_of(stored.key)
    if stored.effect is not None or action is None or action.effect is None:
        return {}
    if router.world.effect_taken(stored.account, action.effect):
        raise CommandError(f"delivery {stored.id}: {action.effect} is in the ledger of another case")
    return {"effect": action.effect}


def _edited(work: Work, stored: Any, edited: dict[str, Any]) -> dict[str, Any]:
    entry, old = work.entries[stored.key], work.action_of(stored.key)
    if old is None:
        raise CommandError(f"delivery {stored.id}: its content was erased")
    try:
        action = ACTIONS.validate_python({**old.model_dump(by_alias=True), **edited})
    except ValidationError as error:
        raise CommandError("; ".join(explain(error, "[action]"))) from error
    if action.key != stored.key:
        raise CommandError(f"delivery {stored.id}: an edit may not turn {stored.key} into {action.key}")
    weighed = work.world.judge.weigh(action, work.case, work.view(entry.proposer))
    if weighed.ruling != "allow":
        reasons = "; ".join(f"{one.rule}: {one.reason}" for one in weighed.verdicts if one.ruling != "allow")
        raise CommandError(f"delivery {stored.id}: the edited action is not allowed: {reasons}")
    # The verdicts are those of the edited action: a reason given for it is told by them.
    return work._reworded(entry, weighed) | {"verdicts": to_json(weighed.verdicts).decode()}  # noqa: SLF001


def _revive(batch: Batch, work: Work, stored: Any, values: dict[str, Any], was: tuple[str, ...]) -> None:
    batch.changes.moved.append({"row": stored.id, "case": stored.case_id, "from_": was, "values": values})
    double = left_behind(batch, work, stored.case_id, stored.key)
    (double or work.entries[stored.key]).state = values["state"]
    if work.flag and work.flag.startswith(stored.key):
        work.flag = None
    work.dirty = True


def _cancel(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    stored, work = _delivery(router, batch, row, command)
    if left_behind(batch, work, stored.case_id, stored.key):
        raise CommandError(
            f"delivery {stored.id} is of {stored.case_id}; {work.case.id}, which absorbed it, has its own"
        )
    if stored.state not in LIVE or not work.cancel(stored.key, f"cancelled by {command.by}"):
        raise CommandError(f"delivery {stored.id} is {stored.state} and cannot be cancelled")
    work.record(command, "bridge", command.by)
    begun = stored.state == "sending" or stored.sent_at is not None
    return work.case.id, f"{stored.key}: {'not tried again; a try may have done it' if begun else 'cancelled'}"


def _resolve(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    """A person says what an uncertain delivery did, also of a buyer who was erased."""
    stored = _stored(router, command)
    if stored.state != "uncertain":
        raise CommandError(f"delivery {stored.id} is {stored.state}, not uncertain")
    happened, ref = command.args.get("happened"), command.args.get("ref")
    if not isinstance(happened, bool):
        raise CommandError(f"delivery {stored.id}: say whether it happened, true or false")
    values: dict[str, Any] = {"state": "done", "ref": ref, "settled_at": batch.now, "cause": None, "hint": None}
    if stored.key_id == ERASED:
        values |= {} if happened else {"state": "cancelled", "ref": None}
        batch.changes.moved.append(
            {"row": stored.id, "case": stored.case_id, "from_": ("uncertain",), "values": values}
        )
        return stored.case_id, f"{stored.key}: {values['state']}"
    work = _work(router, batch, row, stored.case_id)
    double = left_behind(batch, work, stored.case_id, stored.key)
    if not happened and double:
        cause = f"{work.case.id}, which absorbed its case, has its own"
        values = {"state": "cancelled", "settled_at": batch.now, "cause": cause, "hint": None}
    elif not happened:
        values = {"state": "due", "due_at": batch.now, "sent_at": None, "cause": None, "hint": None}
    _revive(batch, work, stored, values, ("uncertain",))
    work.record(command, "bridge", command.by)
    if happened:
        event = Settled(
            key=f"settled:{stored.id}:by-hand",
            at=work.now,
            action=stored.key,
            action_type=stored.type,
            account=stored.account,
            outcome="done",
            ref=ref,
        )
        if double:
            work.doubles[event.key] = double
        work.apply(event, stored.account, command.by)
    return work.case.id, f"{stored.key}: {values['state']}"


def _pause(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    name, on = str(command.args["account"]), command.command == "pause"
    if name not in router.registry.accounts:
        raise CommandError(f"{name}: no such account")
    reason, now = f"{command.by}: {command.args.get('reason') or 'by hand'}", batch.now
    batch.extra.append(lambda conn: ops.set_paused(conn, name, on=on, reason=reason, now=now))
    if not on:
        batch.extra.append(lambda conn: ops.resolve_alert(conn, f"unauthorised:{name}", now))
    return None, f"{name}: {'paused' if on else 'running'}"


def _settle_alert(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    key, now = str(command.args["alert"]), batch.now
    if key not in {one.key for one in router.store.read(ops.open_alerts)}:
        raise CommandError(f"{key}: no such alert is open")
    batch.extra.append(lambda conn: ops.resolve_alert(conn, key, now))
    return None, f"{key}: resolved"


def _replay(router: Router, batch: Batch, row: Row, command: Commanded) -> Done:
    asked = [int(one) for one in command.args["rows"]]
    ids = router.store.read(lambda conn: inbox_store.stuck(conn, asked))
    batch.extra.append(lambda conn: inbox_store.replay(conn, ids))
    batch.extra.append(lambda conn: case_store.unflag(conn, [case_store.parked(one) for one in ids]))
    router.wake.set()
    return None, f"{len(ids)} of {len(asked)} rows queued again"


COMMANDS: Final[dict[str, Callable[[Router, Batch, Row, Commanded], Done]]] = {
    "note": _note,
    "claim": _claim,
    "reply": _reply,
    "act": _act,
    "close": _close,
    "step": _step,
    "reopen": _reopen,
    "approve": _answer,
    "deny": _answer,
    "retry": _retry,
    "cancel": _cancel,
    "resolve": _resolve,
    "pause": _pause,
    "resume": _pause,
    "replay": _replay,
    "settle": _settle_alert,
    **erasing.COMMANDS,
    **keys.COMMANDS,
}


def _text(command: Commanded) -> str:
    text = str(command.args.get("text") or "").strip()
    if not text:
        raise CommandError(f"{command.command}: the text is empty")
    return text
