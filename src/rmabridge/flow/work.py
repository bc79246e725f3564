"""One case while a batch is computed: fold events into it, ask the policies, keep what they propose."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Final, NamedTuple

from pydantic_core import to_json

from ..abilities import Proposal, Timer
from ..core.handled import GIVING
from ..core.judge import Asked, Failure
from ..core.masking import mask
from ..core.paid import facts
from ..core.reduce import reduce
from ..model import (
    Action,
    Author,
    DeadlineReached,
    Delivered,
    Event,
    FactMissing,
    FetchOrder,
    Forward,
    MessageReceived,
    Ref,
    RefKind,
    SendMessage,
    Settled,
    Status,
)
from ..model.event import Base as AnyEvent
from ..store.cases import link
from ..store.tables import micros
from .ledger import RELEASE, Books
from .world import BAD, document, key_row

MOST_DERIVED: Final = 40


class News(NamedTuple):
    """An event of a case on its way to the policies.

    ``folded``: a policy said so and the case shows it already, so that the policies in ``seen`` know it.
    """

    event: Event
    account: str
    by: str
    folded: bool = False
    seen: frozenset[str] = frozenset()


Queue = deque[News]
PATIENCE: Final = "patience:"


class Work(Books):
    """``apply`` folds one event and lets the policies act on what the case has become."""

    __slots__ = ()

    def apply(self, event: Event, account: str, by: str = "") -> None:
        """Fold the event, then everything that follows from it."""
        queue: Queue = deque([News(event, account, by or account)])
        for _ in range(MOST_DERIVED):
            self._step(queue.popleft(), queue)
            self._tell_held(queue)
            if not queue:
                return
        self._alert("bridge.derived", f"{len(queue)} events were left after {MOST_DERIVED} that followed from one")

    def tell_held(self) -> None:
        """Let the policies hear of what a command has brought before a person."""
        while self.asked:
            one = self.asked.pop(0)
            self.apply(one, "bridge")

    def _tell_held(self, queue: Queue) -> None:
        queue.extend(News(one, "bridge", "bridge") for one in self.asked)
        self.asked.clear()

    def _step(self, news: News, queue: Queue) -> None:
        event, before, opening = news.event, self.case, self.seq == 0
        if isinstance(event, Settled) and event.action_type in GIVING and event.amount is None:
            event = self._priced(event)
        elif isinstance(event, Settled) and event.delivery:
            said = self.action_of(event.action)
            event = event.model_copy(update={"form": said.form}) if isinstance(said, SendMessage) else event
        if not news.folded and not self._fold(event, news.account, news.by, queue):
            return
        judge = self.world.judge
        for place, one in enumerate(queue):
            if one.folded and (shown := judge.shown(self.case, event, one.event, news.seen)):
                queue[place] = one._replace(seen=one.seen | shown)
        self._ask_policies(event, queue, news.seen)
        for fact in list(judge.needed):
            self._fetch(fact, queue)
        if not judge.lacking(self.case):
            waited = not opening and judge.lacking(before)
            for missed in [*self.missed, *(self.world.messages(self.case.id) if waited else ())]:
                self._ask_policies(missed, queue)
            self.missed.clear()

    def _fold(self, event: Event, account: str, by: str, queue: Queue) -> bool:
        """Put the event on the case; False where the policies need not hear of it."""
        before, known = self.case, self.record(event, account, by)
        if isinstance(event, DeadlineReached) and event.name.startswith(RELEASE):
            self.release(event.name.removeprefix(RELEASE))  # of whatever generation: to judge once more does no harm
        if not known:
            return False
        if isinstance(event, Settled):
            self._settled(event)
        elif isinstance(event, Delivered):
            self._receipt(event, account)
        elif isinstance(event, DeadlineReached) and self._timer(event, queue):
            return False
        now = self.case
        if before.status is not now.status or before.talk.closed != now.talk.closed or before.claims != now.claims:
            self.review_pending()
        if facts(before) != facts(self.case):
            self.doubt_again()
        return True

    def _ask_policies(self, event: Event, queue: Queue, seen: frozenset[str] = frozenset()) -> None:
        with self.world.traces.policies(event.type, self.trace) as note:
            for asked, proposal in self.world.judge.proposals(lambda: self.case, event, self.view(), seen):
                note(asked.name, proposal)
                self._heard(event, asked, proposal, queue, seen)

    def _heard(
        self, event: Event, asked: Asked, proposal: Proposal | Failure, queue: Queue, seen: frozenset[str]
    ) -> None:
        judge = self.world.judge
        if not isinstance(proposal, AnyEvent):
            self._take(asked.by, proposal)
        elif proposal.key not in self.derived and self._fold(proposal, "bridge", asked.by, queue):
            self.derived.add(proposal.key)
            queue.append(News(proposal, "bridge", asked.by, True, judge.later(event, asked.name, proposal) - seen))

    def record(self, event: Event, account: str, by: str) -> bool:
        """Fold the event and append it to the timeline; False for a timer of an older generation."""
        if isinstance(event, DeadlineReached) and not self._running(event):
            return False
        refs = self.case.refs
        self.case = reduce(self.case, event, account)
        if self.case.refs is not refs:
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
        sealed = self.world.vault.seal(self.key_id, document(event))
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

    def _take(self, policy: str, proposal: Action | Timer | Failure) -> None:
        match proposal:
            case Failure():
                error = mask(str(proposal.error))
                self._alert(f"policy:{proposal.policy}", f"decide failed: {type(proposal.error).__name__}: {error}")
                self.flag = self.flag or f"policy {proposal.policy} failed"
            case Timer():
                self.set_timer(proposal)
            case _:
                self.propose(proposal, policy)

    def _fetch(self, fact: str, queue: Queue) -> None:
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
            queue.append(News(self._missing(fact, reason), "bridge", "bridge"))
            return
        self.propose(action, "bridge.requires")
        if self.entries[action.key].state in BAD:
            queue.append(News(self._missing(fact, "the account cannot fetch it"), "bridge", "bridge"))
        else:
            self.set_timer(Timer(f"{PATIENCE}{fact}", self.now + self.world.fetch_patience))

    def _buyer_id(self) -> str | None:
        """What the marketplace may know the buyer by: another system's number of theirs may be a stranger's here."""
        buyer = self.case.buyer
        if buyer is None:
            return self.case.ref(RefKind.BUYER)
        others = {one.id for one in self.case.writers if one.account != self.shop.marketplace}
        return (buyer.email or buyer.id) if buyer.id in others else (buyer.id or buyer.email)

    def _missing(self, fact: str, reason: str) -> FactMissing:
        return FactMissing(key=f"missing:{self.case.id}:{fact}:{self.seq}", at=self.now, fact=fact, reason=reason)

    def _timer(self, event: DeadlineReached, queue: Queue) -> bool:
        if event.name.startswith(RELEASE):
            return True
        if event.name.startswith(PATIENCE):
            fact = event.name.removeprefix(PATIENCE)
            if getattr(self.case, fact, None) is None:
                queue.append(News(self._missing(fact, "it did not come in time"), "bridge", "bridge"))
            return True
        return False

    def _priced(self, event: Settled) -> Settled:
        action = self.action_of(event.action)
        return event.model_copy(update={"amount": action.worth}) if action else event

    def _settled(self, event: Settled) -> None:
        double = self.doubles.pop(event.key, None)
        entry = double or self.entries.get(event.action)
        if entry is None:
            return
        state = "dead" if event.outcome == "rejected" else event.outcome
        entry.state = state
        if state == "done":
            if double is None:
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
        if state != "uncertain" and double is None:
            self._follow(event.action, state)

    def _receipt(self, event: Delivered, account: str) -> None:
        if not event.ok:
            self._lost(event, account)
        for key, entry in self.entries.items() if event.delivery else ():
            if entry.state == "uncertain" and entry.type == SendMessage.kind:  # the lookup knows which it is
                soon = {
                    "case": self.case.id,
                    "action": key,
                    "from_": ("uncertain",),
                    "values": {"due_at": micros(self.now)},
                }
                self.changes.moved.append(soon)

    def _lost(self, event: Delivered, account: str) -> None:
        self.flag = f"a message did not arrive: {mask(event.reason or 'no reason was given')}"
        self._alert(f"lost:{account}", f"{account}: {self.flag}", account)

    def _sent_message(self, event: Settled) -> None:
        action = self.action_of(event.action) if event.action_type == SendMessage.kind else None
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
