"""One case while a batch is computed: fold events into it, ask the policies, keep the ledger."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from pydantic_core import to_json

from ..abilities import Proposal, Shop, Timer, View
from ..core.identity import names, scope
from ..core.judge import Failure, Judge, Weighed
from ..core.masking import mask
from ..core.reduce import reduce
from ..core.resolve import account_for
from ..model import (
    ACTIONS,
    EVENTS,
    Action,
    Author,
    Case,
    DeadlineReached,
    Event,
    FactMissing,
    FetchOrder,
    Forward,
    MessageReceived,
    Ref,
    RefKind,
    Ruling,
    SendMessage,
    Settled,
    Status,
    Verdict,
)
from ..model import Deadline as Clock
from ..model.event import Base as AnyEvent
from ..store.cases import link
from ..store.outbox import PENDING
from ..store.tables import EPOCH, micros
from ..store.vault import Vault

MOST_DERIVED: Final = 40
MOST_DEPTH: Final = 25
BAD: Final = frozenset({"denied", "dead", "expired", "cancelled"})
RELEASE: Final = "release:"
PATIENCE: Final = "patience:"


@dataclass(slots=True)
class Entry:
    """One action of the ledger, as far as the router needs it."""

    state: str
    type: str
    account: str
    needs: str | None
    replaces: str | None
    created_at: int
    depth: int
    proposer: str
    digest: bytes
    action: Action | None = None
    sealed: tuple[str, bytes] | None = None
    row: dict[str, Any] | None = None  # a row not stored yet

    def rest(self) -> None:
        """Now that the row is stored: keep the action as it lies there, a tenth of its size as an object."""
        if self.row is not None:
            self.sealed, self.action, self.row = (self.row["key_id"], self.row["doc"]), None, None


class Ledger(Mapping[str, str]):
    """The ledger as policies see it: key → state."""

    __slots__ = ("entries",)

    def __init__(self, entries: dict[str, Entry]) -> None:
        self.entries = entries

    def __getitem__(self, key: str) -> str:
        return self.entries[key].state

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


@dataclass(slots=True)
class World:
    """What all cases of a bridge share while they are computed."""

    judge: Judge
    shops: Mapping[str, Shop]
    vault: Vault
    render: Callable[..., Any]
    fetch_patience: timedelta
    hourly_budget: int
    daily_budget: int
    effect_taken: Callable[[str, str], bool]
    can: Callable[[str, Action], bool]
    messages: Callable[[str], list[Event]]
    facts: Callable[[Case, Shop, datetime], Mapping[str, Any]]


@dataclass(slots=True)
class Changes:
    """What a batch will write, beside the cases themselves."""

    timeline: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    outbox: list[dict[str, Any]] = field(default_factory=list)
    moved: list[dict[str, Any]] = field(default_factory=list)
    approvals: list[dict[str, Any]] = field(default_factory=list)
    deadlines: dict[tuple[str, str], dict[str, Any] | None] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    first_replies: list[tuple[str, str, float]] = field(default_factory=list)


@dataclass(slots=True)
class Work:
    """A case with its ledger; ``apply`` folds one event and lets the policies act on what the case has become."""

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
    derived: set[str] = field(default_factory=set)

    def begin(self, changes: Changes, now: datetime, depth: int, inbox_id: int | None) -> None:
        """Set the stage for the events of one inbox row."""
        self.changes, self.now, self.depth, self.inbox_id = changes, now, depth, inbox_id

    # -- events ---------------------------------------------------------------------------------------------------

    def apply(self, event: Event, account: str, by: str = "") -> None:
        """Fold the event, then everything that follows from it."""
        queue: deque[tuple[Event, str, str]] = deque([(event, account, by or account)])
        for _ in range(MOST_DERIVED):
            if not queue:
                return
            self._step(*queue.popleft(), queue)
        self._alert("bridge.derived", f"{len(queue)} events were left after {MOST_DERIVED} that followed from one")

    def _step(self, event: Event, account: str, by: str, queue: deque[tuple[Event, str, str]]) -> None:
        before, first = self.case, self.seq + 1 if self.seq == 0 else 0
        if not self.record(event, account, by):
            return
        if isinstance(event, Settled):
            self._settled(event)
        elif isinstance(event, DeadlineReached) and self._timer(event, queue):
            return
        if before.status is not self.case.status:
            self._review_pending()
        self._ask_policies(event, queue)
        needed = list(self.world.judge.needed)
        for fact in needed:
            self._fetch(fact, queue)
        if not needed and self.seq > first and self.world.judge.lacking(before):
            for missed in self.world.messages(self.case.id):
                self._ask_policies(missed, queue)

    def _ask_policies(self, event: Event, queue: deque[tuple[Event, str, str]]) -> None:
        for policy, proposal in self.world.judge.proposals(self.case, event, self.view()):
            self._take(policy, proposal, queue)

    def record(self, event: Event, account: str, by: str) -> bool:
        """Fold the event and append it to the timeline; False for a timer of an older generation."""
        if isinstance(event, DeadlineReached) and not self._running(event):
            return False
        refs = set(self.case.refs)
        self.case = reduce(self.case, event, account)
        if len(self.case.refs) != len(refs):
            self._new_keys([one for one in self.case.refs if one not in refs], account)
        self._append(event, account, by)
        self.news = self.news or not (isinstance(event, Settled) and event.action_type == Forward.kind)
        if isinstance(event, MessageReceived):
            self._keep_message(event)
        self.dirty = True
        return True

    def _running(self, event: DeadlineReached) -> bool:
        return any(one.name == event.name and one.generation == event.generation for one in self.case.deadlines)

    def _append(self, event: Event, account: str, by: str) -> None:
        at, self.seq = micros(event.at), self.seq + 1
        sealed = self.world.vault.seal(self.key_id, EVENTS.dump_json(event, by_alias=True, exclude_none=True))
        self.chain = link(self.chain, self.seq, event.type, at, account, sealed)
        self.changes.timeline.append(
            {
                "case_id": self.case.id,
                "seq": self.seq,
                "at": at,
                "recorded_at": micros(self.now),
                "account": account,
                "type": event.type,
                "by": by,
                "inbox_id": self.inbox_id,
                "key_id": self.key_id,
                "doc": sealed,
                "chain": self.chain,
            }
        )

    def _new_keys(self, refs: list[Ref], account: str) -> None:
        for ref in refs:
            self.changes.keys.append(key_row(self.world.vault, ref, account, self.case))

    def _keep_message(self, event: MessageReceived) -> None:
        one = event.message
        self._message_row(
            one.id, event.at, one.author.value, one.form.value, one.public, one.model_dump_json().encode()
        )

    def _message_row(self, id_: str, at: datetime, author: str, form: str, public: bool, doc: bytes) -> None:
        self.changes.messages.append(
            {
                "case_id": self.case.id,
                "id": id_,
                "at": micros(at),
                "author": author,
                "form": form,
                "public": public,
                "template": None,
                "template_version": None,
                "locale": None,
                "key_id": self.key_id,
                "doc": self.world.vault.seal(self.key_id, doc),
            }
        )

    def view(self) -> View:
        """What policies may look at."""
        facts = self.world.facts(self.case, self.shop, self.now)
        return View(self.now, self.shop, facts, Ledger(self.entries), self.world.render)

    def _take(self, policy: str, proposal: Proposal | Failure, queue: deque[tuple[Event, str, str]]) -> None:
        match proposal:
            case Failure():
                error = mask(str(proposal.error))
                self._alert(f"policy:{proposal.policy}", f"decide failed: {type(proposal.error).__name__}: {error}")
                self.flag = self.flag or f"policy {proposal.policy} failed"
            case Timer():
                self.set_timer(proposal)
            case AnyEvent():
                if proposal.key not in self.derived:
                    self.derived.add(proposal.key)
                    queue.append((proposal, "bridge", policy))
            case _:
                self.propose(proposal, policy)

    # -- facts, timers --------------------------------------------------------------------------------------------

    def _fetch(self, fact: str, queue: deque[tuple[Event, str, str]]) -> None:
        if fact in self.case.missing:
            return
        action = FetchOrder(
            order=self.case.ref(RefKind.ORDER), request=self.case.ref(RefKind.RETURN), buyer=self._buyer_id()
        )
        known = self.entries.get(action.key)
        if known is not None and known.state not in {*BAD, "done"}:
            return
        asks = action.order or action.request or action.buyer
        if known is not None or not asks or not self.shop.marketplace:
            reason = "the fetch brought nothing" if known else "nothing says where to look"
            queue.append((self._missing(fact, reason), "bridge", "bridge"))
            return
        self.propose(action, "bridge.requires")
        if self.entries[action.key].state in BAD:
            queue.append((self._missing(fact, "the account cannot fetch it"), "bridge", "bridge"))
        else:
            self.set_timer(Timer(f"{PATIENCE}{fact}", self.now + self.world.fetch_patience))

    def _buyer_id(self) -> str | None:
        buyer = self.case.buyer
        return (buyer.id or buyer.email) if buyer else self.case.ref(RefKind.BUYER)

    def _missing(self, fact: str, reason: str) -> FactMissing:
        return FactMissing(key=f"missing:{self.case.id}:{fact}:{self.seq}", at=self.now, fact=fact, reason=reason)

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

    def _timer(self, event: DeadlineReached, queue: deque[tuple[Event, str, str]]) -> bool:
        if event.name.startswith(RELEASE):
            self.release(event.name.removeprefix(RELEASE))
            return True
        if event.name.startswith(PATIENCE):
            fact = event.name.removeprefix(PATIENCE)
            if getattr(self.case, fact, None) is None:
                queue.append((self._missing(fact, "it did not come in time"), "bridge", "bridge"))
            return True
        return False

    # -- actions --------------------------------------------------------------------------------------------------

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
        weighed = self.world.judge.weigh(action, self.case, self.view())
        return self._enter(
            weighed.action, account, proposer, [*weighed.verdicts, *self._bridge_rules(weighed.action, account)]
        )

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

    def _enter(self, action: Action, account: str, proposer: str, verdicts: list[Verdict]) -> Entry:
        now = micros(self.now)
        doc = ACTIONS.dump_json(action, by_alias=True, exclude_none=True)
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
            "needs": action.needs,
            "replaces": action.replaces,
            "money": action.moves_money,
            "digest": entry.digest,
            "depth": self.depth,
            "proposer": proposer,
            "created_at": now,
            "settled_at": now if state in BAD else None,
            "cause": cause,
            "verdicts": to_json(verdicts).decode(),
            "key_id": self.key_id,
            "doc": self.world.vault.seal(self.key_id, doc),
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
                return "cancelled", f"{action.needs}, which it needs, is {needed.state}", None
            if needed is None or needed.state != "done":
                return "waiting", None, None
        return "due", None, None

    def _supersede(self, action: Action) -> None:
        if action.replaces:
            for key, old in list(self.entries.items()):
                if old.replaces == action.replaces and old.state in PENDING:
                    self._move(key, old, "superseded", cause=f"a newer {action.key} says it")
                    self._follow(key, "superseded")

    def _ask(self, key: str, entry: Entry, verdicts: list[Verdict], until: datetime | None) -> None:
        if until is not None:
            self.set_timer(Timer(RELEASE + key, until))
            return
        holds = [one for one in verdicts if one.ruling is Ruling.HOLD]
        self.changes.approvals.append(
            {
                "case_id": self.case.id,
                "action": key,
                "digest": entry.digest,
                "rules": " ".join(dict.fromkeys(one.rule for one in holds)),
                "reason": "; ".join(one.reason for one in holds),
                "state": "waiting",
                "asked_at": micros(self.now),
            }
        )

    def _move(self, key: str, entry: Entry, state: str, **values: Any) -> None:
        if state in {*BAD, "superseded"}:
            values["settled_at"] = micros(self.now)
        if entry.row is not None and entry.row in self.changes.outbox:
            entry.row.update(state=state, **values)
        else:
            self.changes.moved.append(
                {"case": self.case.id, "action": key, "from_": PENDING, "values": {"state": state, **values}}
            )
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

    def release(self, key: str, granted: frozenset[str] = frozenset()) -> None:
        """Judge a held or waiting action again, against the case as it is now."""
        entry, action = self.entries.get(key), self.action_of(key)
        if entry is None or action is None or entry.state not in PENDING:
            return
        if granted:
            self.granted[key] = granted
        weighed = self.world.judge.weigh(action, self.case, self.view(), self.granted.get(key, frozenset()))
        reworded = self._reworded(entry, weighed)
        if reworded and self.granted.pop(key, frozenset()):  # what was approved were the former words
            weighed = self.world.judge.weigh(weighed.action, self.case, self.view())
            reworded |= self._reworded(entry, weighed)
        verdicts = list(weighed.verdicts)
        state, cause, until = self._fate(weighed.action, verdicts)
        values = {"cause": cause, "verdicts": to_json(verdicts).decode(), "due_at": micros(self.now)}
        values |= reworded
        self._move(key, entry, state, **values)
        if state == "held":
            self._ask(key, entry, verdicts, until)
        elif state in BAD:
            self._follow(key, state)

    def _reworded(self, entry: Entry, weighed: Weighed) -> dict[str, Any]:
        doc = ACTIONS.dump_json(weighed.action, by_alias=True, exclude_none=True)
        if _digest(doc) == entry.digest:
            return {}
        sealed = self.world.vault.seal(self.key_id, doc)
        entry.action, entry.sealed, entry.digest = weighed.action, (self.key_id, sealed), _digest(doc)
        return {"digest": entry.digest, "doc": sealed, "key_id": self.key_id}

    def cancel(self, key: str, cause: str, state: str = "cancelled") -> bool:
        """Take a pending action back, and what needs it."""
        entry = self.entries.get(key)
        if entry is None or entry.state not in PENDING:
            return False
        self._move(key, entry, state, cause=cause)
        self._follow(key, state)
        return True

    def _follow(self, key: str, state: str) -> None:
        for other, entry in list(self.entries.items()):
            if entry.needs == key and entry.state == "waiting":
                if state == "done":
                    self.release(other)
                else:
                    self.cancel(other, f"{key}, which it needs, is {state}")

    def _review_pending(self) -> None:
        """A case change may have removed the condition of what is still pending: what is now denied is cancelled."""
        for key, entry in list(self.entries.items()):
            if entry.state not in PENDING or (action := self.action_of(key)) is None:
                continue
            weighed = self.world.judge.weigh(action, self.case, self.view(), self.granted.get(key, frozenset()))
            if weighed.ruling is Ruling.DENY:
                self.cancel(
                    key, next(f"{one.rule}: {one.reason}" for one in weighed.verdicts if one.ruling is Ruling.DENY)
                )

    def _settled(self, event: Settled) -> None:
        entry = self.entries.get(event.action)
        if entry is None:
            return
        state = "dead" if event.outcome == "rejected" else event.outcome
        entry.state = state
        if state == "done":
            self._sent_message(event)
            if self.flag and self.flag.startswith(event.action):
                self.flag = None
        elif state in {"dead", "uncertain", "expired"}:
            self.flag = f"{event.action} is {state}"
            self._alert(
                f"{state}:{event.account}",
                f"{event.action_type} at {event.account} is {state}: {event.cause or ''}",
                event.account,
            )
        if state != "uncertain":
            self._follow(event.action, state)

    def _sent_message(self, event: Settled) -> None:
        action = self.action_of(event.action)
        if not isinstance(action, SendMessage):
            return
        if action.audience == "buyer" and self.first_reply_at is None:
            self.first_reply_at = micros(event.at)
            asked = self.case.talk.first_in or self.case.opened_at
            self.changes.first_replies.append((self.shop.name, event.account, (event.at - asked).total_seconds()))
        author = Author.BRIDGE if action.template else Author.AGENT
        self._message_row(
            event.action,
            event.at,
            author.value,
            action.form.value,
            action.audience == "buyer",
            to_json(
                {
                    "text": action.text,
                    "subject": action.subject,
                    "to": action.to,
                    "audience": action.audience,
                    "ref": event.ref,
                }
            ),
        )
        if action.template:
            self.changes.messages[-1] |= {
                "template": action.template.id,
                "template_version": action.template.version,
                "locale": action.template.locale,
            }

    def forward(self) -> None:
        """Tell the integrator's addresses how the case stands now."""
        if not self.news:
            return
        self.news = False
        for account in self.shop.forwards:
            body = {
                "type": "case.closed" if self.case.status is Status.CLOSED else "case.updated",
                "timestamp": self.now.isoformat().replace("+00:00", "Z"),
                "data": self.case.model_dump(mode="json", by_alias=True, exclude={"stamps"}),
            }
            self.propose(
                Forward(
                    account=account,
                    origin=f"{self.case.id}:{self.seq}",
                    event=str(body["type"]),
                    body=to_json(body).decode(),
                ),
                "bridge.forwards",
            )

    def _alert(self, key: str, text: str, account: str | None = None) -> None:
        self.changes.alerts.append({"key": key, "text": text, "account": account, "case_id": self.case.id})


def key_row(vault: Vault, ref: Ref, account: str, case: Case) -> dict[str, Any]:
    """One name of a case, as a keyed hash."""
    return {
        "k": vault.mark(scope(ref, account, case.shop), ref.kind, ref.value),
        "case_id": case.id,
        "kind": ref.kind.value,
        "strong": ref.strong,
    }


def event_marks(vault: Vault, event: Event, account: str, shop: str | None) -> list[tuple[Ref, bytes]]:
    """The names in an event with their keyed hashes."""
    return [(ref, vault.mark(scope(ref, account, shop), ref.kind, ref.value)) for ref in names(event, account)]


def _bridge_verdict(ruling: Ruling, rule: str, reason: str) -> Verdict:
    return Verdict(ruling=ruling, rule=rule, reason=reason, policy="bridge")


def _digest(doc: bytes) -> bytes:
    return blake2b(doc, digest_size=16).digest()
