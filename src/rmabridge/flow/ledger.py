"""The ledger of one case: every proposed action with its verdicts, held, released, superseded, cancelled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from pydantic_core import to_json

from ..abilities import Shop, Timer, View
from ..core.judge import Weighed
from ..core.links import Link
from ..core.paid import DOUBTED
from ..core.resolve import account_for
from ..model import (
    ACTIONS,
    Action,
    Case,
    Event,
    Forward,
    Held,
    Ruling,
    Verdict,
)
from ..model import Deadline as Clock
from ..store.outbox import LIVE, PENDING
from ..store.tables import EPOCH, micros
from .world import BAD, Changes, Entry, Ledger, World, document

MOST_DEPTH: Final = 25
RELEASE: Final = "release:"
NOT_AMENDED: Final[Mapping[str, Any]] = {"amended_by": None, "original": None}


@dataclass(slots=True)
class Books:
    """A case with its ledger and clocks; every change is noted in ``changes``."""

    world: World
    shop: Shop
    case: Case
    version: int
    seq: int
    chain: bytes
    key_id: str
    created_at: int
    entries: dict[str, Entry]
    first_reply_at: int | None = None
    flag: str | None = None
    buyer: bytes | None = None
    changes: Changes = field(default_factory=Changes)
    granted: dict[str, frozenset[str]] = field(default_factory=dict)
    dirty: bool = False
    news: bool = False  # something to tell the forwards: more than that they were told
    now: datetime = EPOCH
    depth: int = 0
    inbox_id: int | None = None
    trace: str | None = None
    derived: set[str] = field(default_factory=set)
    asked: list[Held] = field(default_factory=list)
    missed: list[Event] = field(default_factory=list)  # of an absorbed case whose policies waited for a fact
    doubles: dict[str, Entry] = field(
        default_factory=dict
    )  # by the event that settles it, in an absorbed case's ledger

    def begin(self, changes: Changes, now: datetime, depth: int, inbox_id: int | None) -> None:
        """Set the stage for the events of one inbox row."""
        self.changes, self.now, self.depth, self.inbox_id = changes, now, depth, inbox_id
        self.trace = self.world.traces.here()

    def view(self, proposer: str = "") -> View:
        """What policies may look at; ``proposer`` is whose action is judged."""
        facts = self.world.facts(self.case, self.shop, self.now)
        return View(
            self.now,
            self.shop,
            facts,
            Ledger(self.entries),
            self.world.render,
            proposer=proposer,
            links=self._link,
            actions=self.action_of,
            able=self._able,
        )

    def _able(self, action: Action) -> bool:
        account = account_for(action, self.shop)
        return account is not None and self.world.can(account, action)

    def _link(self, purpose: str, subject: str, who: str, expires: datetime) -> str:
        return self.world.links.url(Link(purpose, self.case.id, subject, who, expires))

    def set_timer(self, timer: Timer) -> None:
        """Start, move or stop a clock of the case; one that runs already with the same time is left alone."""
        old = next((one for one in self.case.deadlines if one.name == timer.name), None)
        if timer.due_at is None:
            if old is not None:
                self._set_deadlines(timer.name, None)
        elif old is None or old.due_at != timer.due_at:
            self._set_deadlines(timer.name, timer.due_at)

    def _set_deadlines(self, name: str, due: datetime | None) -> None:
        others = [one for one in self.case.deadlines if one.name != name]
        row: dict[str, Any] | None = None
        if due is not None:
            generation = micros(self.now) + self.seq
            others.append(Clock(name=name, due_at=due, generation=generation))
            row = {
                "case_id": self.case.id,
                "name": name,
                "generation": generation,
                "due_at": micros(due),
                "depth": self.depth,
            }
        self.changes.deadlines[self.case.id, name] = row
        ordered = tuple(sorted(others, key=lambda one: (one.due_at, one.name)))
        self.case = self.case.model_copy(update={"deadlines": ordered})
        self.dirty = True

    def propose(self, action: Action, proposer: str) -> Entry | None:
        """Put an action into the ledger, judged; None where its key is there already."""
        if action.key in self.entries:
            return None
        account = account_for(action, self.shop)
        if account is None:
            problem = f"[shops.{self.shop.name}] has no account for {action.type}"
            return self._enter(action, "", proposer, [_bridge_verdict(Ruling.DENY, "bridge.account", problem)])
        action = action.model_copy(update={"account": account})
        if not self.world.can(account, action):
            problem = f"the account {account} does not do {action.type}"
            return self._enter(action, account, proposer, [_bridge_verdict(Ruling.DENY, "bridge.ability", problem)])
        weighed = self.world.judge.weigh(action, self.case, self.view(proposer))
        verdicts = [*weighed.verdicts, *self._bridge_rules(weighed.action, account)]
        return self._enter(weighed.action, account, proposer, verdicts, self._original(action, weighed))

    def _original(self, action: Action, weighed: Weighed) -> Mapping[str, Any]:
        """What was proposed, and who changed it."""
        if not weighed.amended_by:
            return NOT_AMENDED
        doc = document(action)
        return {"amended_by": " ".join(weighed.amended_by), "original": self.world.vault.seal(self.key_id, doc)}

    def _bridge_rules(self, action: Action, account: str) -> Iterator[Verdict]:
        if action.effect and self.world.effect_taken(account, action.effect):
            yield _bridge_verdict(Ruling.DENY, "bridge.effect", f"{action.effect} was already proposed at {account}")
        if self.depth > MOST_DEPTH:
            yield _bridge_verdict(
                Ruling.HOLD, "bridge.depth", f"{self.depth} events led to each other without news from outside"
            )
        if isinstance(action, Forward):  # as many as there are changes, and no policy hears of them
            return
        created = [one.created_at for one in self.entries.values() if one.type != Forward.kind]
        for most, hours in ((self.world.hourly_budget, 1), (self.world.daily_budget, 24)):
            if len(created) >= most and sum(one > micros(self.now - timedelta(hours=hours)) for one in created) >= most:
                yield _bridge_verdict(
                    Ruling.HOLD, "bridge.budget", f"more than {most} actions of one case in {hours} h"
                )
                self._alert(
                    f"budget:{self.case.id}", f"case {self.case.id} is held: more than {most} actions in {hours} h"
                )

    def _enter(
        self,
        action: Action,
        account: str,
        proposer: str,
        verdicts: list[Verdict],
        original: Mapping[str, Any] = NOT_AMENDED,
    ) -> Entry:
        now, worth = micros(self.now), action.worth
        doc = document(action)
        state, cause, until = self._fate(action, verdicts)
        entry = Entry(
            state, action.type, account, action.needs, action.replaces, now, self.depth, proposer, _digest(doc), action
        )
        entry.row = {
            "case_id": self.case.id,
            "shop": self.shop.name,
            "account": account,
            "type": action.type,
            "key": action.key,
            "effect": action.effect if state != "denied" else None,
            "stream": action.stream,
            "state": state,
            "due_at": now,
            "not_after": micros(action.not_after) if action.not_after else None,
            "good_until": _good_until(verdicts),
            "needs": action.needs,
            "replaces": action.replaces,
            "money": action.moves_money,
            "amount": str(worth.amount) if worth else None,
            "currency": worth.currency if worth else None,
            "digest": entry.digest,
            "depth": self.depth,
            "proposer": proposer,
            "created_at": now,
            "settled_at": now if state in BAD else None,
            "cause": cause,
            "verdicts": to_json(verdicts).decode(),
            "key_id": self.key_id,
            "doc": self.world.vault.seal(self.key_id, doc),
            "owner": self.world.sender,
            "trace": self.trace,
            **original,
        }
        self.changes.outbox.append(entry.row)
        self._supersede(action)
        self.entries[action.key] = entry
        self.dirty = True
        if state == "held":
            self._ask(action.key, entry, verdicts, until)
        return entry

    def _fate(self, action: Action, verdicts: list[Verdict]) -> tuple[str, str | None, datetime | None]:
        for one in verdicts:
            if one.ruling is Ruling.DENY:
                return "denied", f"{one.rule}: {one.reason}", None
        holds = [one for one in verdicts if one.ruling is Ruling.HOLD]
        if holds:
            times = [one.until for one in holds if one.until]
            until = max(times) if len(times) == len(holds) else None
            return "held", f"{holds[0].rule}: {holds[0].reason}", until
        if action.needs:
            needed = self.entries.get(action.needs)
            if needed is not None and needed.state in {*BAD, "superseded"}:
                return "cancelled", needed_by(action.needs) + needed.state, None
            if needed is None or needed.state != "done":
                return "waiting", None, None
        return "due", None, None

    def _supersede(self, action: Action) -> None:
        if action.replaces:
            for key, old in list(self.entries.items()):
                if old.replaces == action.replaces and old.state in LIVE:
                    self._move(key, old, "superseded", cause=f"a newer {action.key} says it")
                    self._follow(key, "superseded")

    def _ask(self, key: str, entry: Entry, verdicts: list[Verdict], until: datetime | None) -> None:
        if until is not None:
            self.set_timer(Timer(RELEASE + key, until))
            return
        holds = [one for one in verdicts if one.ruling is Ruling.HOLD]
        rules, reason = tuple(dict.fromkeys(one.rule for one in holds)), "; ".join(one.reason for one in holds)
        self.asked.append(self._held(key, entry, rules, reason))
        self.changes.approvals.append(
            {
                "case_id": self.case.id,
                "action": key,
                "digest": entry.digest,
                "rules": " ".join(rules),
                "reason": reason,
                "state": "waiting",
                "asked_at": micros(self.now),
            }
        )

    def _held(self, key: str, entry: Entry, rules: tuple[str, ...], reason: str) -> Held:
        action, digest = self.action_of(key), entry.digest.hex()
        return Held(
            key=f"held:{self.case.id}:{key}:{digest}",
            at=self.now,
            action=key,
            action_type=entry.type,
            digest=digest,
            rules=rules,
            reason=reason,
            amount=action.worth if action else None,
        )

    def _move(self, key: str, entry: Entry, state: str, **values: Any) -> None:
        back = state in {*BAD, "superseded"}
        if back:
            values["settled_at"] = micros(self.now)
        if entry.row is not None and entry.row in self.changes.outbox:
            entry.row.update(state=state, **values)
        else:
            how = {"back": values.get("cause") or state} if back else {"from_": PENDING}
            move = {"case": self.case.id, "action": key, **how, "values": {"state": state, **values}}
            self.changes.moved.append(move)
        entry.state = state
        self.dirty = True

    def action_of(self, key: str) -> Action | None:
        """The action as it stands in the ledger."""
        entry = self.entries.get(key)
        if entry is None:
            return None
        if entry.action is None and entry.sealed is not None:
            entry.action = ACTIONS.validate_json(self.world.vault.open(*entry.sealed))
        return entry.action

    def release(self, key: str, granted: frozenset[str] = frozenset()) -> str | None:
        """Judge a held or waiting action again, against the case as it is now; what still stands against it."""
        entry, action = self.entries.get(key), self.action_of(key)
        if entry is None or action is None or entry.state not in PENDING:
            return None
        if granted:
            self.granted[key] = granted
        view = self.view(entry.proposer)
        weighed = self.world.judge.weigh(action, self.case, view, self.granted.get(key, frozenset()))
        reworded = self._reworded(entry, weighed)
        if reworded and self.granted.pop(key, frozenset()):  # what was approved were the former words
            weighed = self.world.judge.weigh(weighed.action, self.case, view)
            reworded |= self._reworded(entry, weighed)
        verdicts = list(weighed.verdicts)
        state, cause, until = self._fate(weighed.action, verdicts)
        values = {"cause": cause, "verdicts": to_json(verdicts).decode(), "due_at": micros(self.now)}
        values["good_until"] = _good_until(verdicts)
        values |= reworded
        self._move(key, entry, state, **values)
        if state == "held":
            self._ask(key, entry, verdicts, until)
        elif state in BAD:
            self._follow(key, state)
        return cause

    def _reworded(self, entry: Entry, weighed: Weighed) -> dict[str, Any]:
        doc = document(weighed.action)
        if _digest(doc) == entry.digest:
            return {}
        sealed = self.world.vault.seal(self.key_id, doc)
        entry.action, entry.sealed, entry.digest = weighed.action, (self.key_id, sealed), _digest(doc)
        return {"digest": entry.digest, "doc": sealed, "key_id": self.key_id}

    def cancel(self, key: str, cause: str, state: str = "cancelled", *, alone: bool = False) -> bool:
        """Take a pending action back, and (but for ``alone``) what needs it."""
        entry = self.entries.get(key)
        if entry is None or entry.state not in LIVE:
            return False
        self._move(key, entry, state, cause=cause)
        if not alone:
            self._follow(key, state)
        return True

    def follow(self, key: str) -> None:
        """What needs the action goes on, or is taken back, as far as the action has come."""
        if (state := self.entries[key].state) in {"done", *BAD, "superseded"}:
            self._follow(key, state)

    def _follow(self, key: str, state: str) -> None:
        for other, entry in list(self.entries.items()):
            if entry.needs == key and entry.state == "waiting":
                if state == "done":
                    self.release(other)
                else:
                    self.cancel(other, needed_by(key) + state)

    def review_pending(self) -> None:
        """A case change may have removed the condition of what is still pending: what is now denied is cancelled."""
        for key, entry in list(self.entries.items()):
            if entry.state not in LIVE or (action := self.action_of(key)) is None:
                continue
            view = self.view(entry.proposer)
            weighed = self.world.judge.weigh(action, self.case, view, self.granted.get(key, frozenset()))
            if weighed.ruling is Ruling.DENY:
                self.cancel(
                    key, next(f"{one.rule}: {one.reason}" for one in weighed.verdicts if one.ruling is Ruling.DENY)
                )

    def doubt_again(self) -> None:
        """A refund, or goods, that wait for their turn or next try are judged again before they go. (What is on its way
        is not: the news may be that it arrived.)"""
        now = {"good_until": micros(self.now)}
        for key, entry in self.entries.items():
            if entry.type not in DOUBTED or entry.state != "due":
                continue
            if entry.row is not None and entry.row in self.changes.outbox:
                entry.row.update(now)
            else:
                move = {"case": self.case.id, "action": key, "from_": ("due",), "values": now}
                self.changes.moved.append(move)
            self.dirty = True

    def _alert(self, key: str, text: str, account: str | None = None) -> None:
        self.changes.alerts.append({"key": key, "text": text, "account": account, "case_id": self.case.id})


def needed_by(key: str) -> str:
    """How the cause begins of what was given up because it needs the action of this key."""
    return f"{key}, which it needs, is "


def _bridge_verdict(ruling: Ruling, rule: str, reason: str) -> Verdict:
    return Verdict(ruling=ruling, rule=rule, reason=reason, policy="bridge")


def _good_until(verdicts: list[Verdict]) -> int | None:
    """When the first of those who allow it wants to be asked again."""
    times = [one.until for one in verdicts if one.ruling is Ruling.ALLOW and one.until]
    return micros(min(times)) if times else None


def _digest(doc: bytes) -> bytes:
    return blake2b(doc, digest_size=16).digest()
