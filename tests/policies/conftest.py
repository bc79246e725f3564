"""A small loop that drives policies as the engine does: reduce, decide, amend, review, ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rmabridge.abilities import Shop, Timer, View, Way
from rmabridge.core.reduce import reduce
from rmabridge.core.templates import Catalogue
from rmabridge.model import (
    EVENTS,
    Address,
    Author,
    Buyer,
    Case,
    CaseKind,
    CaseRequested,
    Deadline,
    DeadlineReached,
    Form,
    Line,
    Message,
    MessageReceived,
    Money,
    Order,
    OrderLine,
    OrderSeen,
    Ref,
    RefKind,
    Ruling,
    Settled,
)
from rmabridge.testing.contexts import account

MONDAY = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
CATALOGUE = Catalogue()
BUYER = Buyer(id="B1", name="王小明", email="buyer@example.com", phone="13800001234", locale="zh-CN")
ORDER = Order(
    id="O1",
    number="1001",
    placed_at=MONDAY - timedelta(days=9),
    delivered_at=MONDAY - timedelta(days=5),
    paid_by="alipay",
    total=Money.of("700 CNY"),
    lines=(OrderLine(id="L1", sku="KETTLE", title="水壶", quantity=2, price=Money.of("250.00 CNY")),),
)
RETURN = Ref(kind=RefKind.RETURN, value="R1", account="mkt")


def shop(**settings):
    """A shop with every slot filled; ``ways`` are the ways to its buyers."""
    ways = settings.pop("ways", (Way(account="mail", form=Form.MAIL), Way(account="sms", form=Form.SMS)))
    facts = {"name": "acme", "title": "Acme", "marketplace": "mkt", "helpdesk": "desk", "carrier": "car"}
    facts |= {"channels": ("mail", "sms"), "locale": "zh-CN", "timezone": "Asia/Shanghai"}
    facts |= {"quiet": timedelta(0)}  # tests of other things do not wait for the buyer to stop writing
    facts |= {"return_address": Address(country="中国", city="杭州市", lines=("文一西路 1 号",), phone="400-000-0000")}
    made = Shop.model_validate(facts | settings)
    made._ways = tuple(ways)
    return made


def requested(kind=CaseKind.RETURN, at=MONDAY, **facts):
    """The buyer asks for something on the marketplace."""
    given = {"key": "req:R1", "at": at, "refs": (RETURN,), "buyer": BUYER, "lines": (Line(id="1", order_line="L1"),)}
    return CaseRequested(kind=kind, **(given | facts))


def order(at=MONDAY, parcels=(), buyer=BUYER, **facts):
    """The marketplace shows the order."""
    seen = ORDER.model_copy(update=facts)
    return OrderSeen(key=f"order:O1:{at}", at=at, order=seen, buyer=buyer, parcels=parcels)


def says(text="你好", id="m1", at=MONDAY, author=Author.BUYER, form=Form.CHAT, refs=(), public=True, buyer=None):  # noqa: A002
    """Somebody writes."""
    said = Message(id=id, author=author, form=form, text=text, at=at, public=public)
    return MessageReceived(key=f"msg:{id}", at=at, refs=refs, message=said, buyer=buyer)


class Desk:
    """One case, its ledger and its clock."""

    def __init__(self, *policies, the_shop=None, now=MONDAY, **case):
        self.policies = policies
        self.shop = the_shop or shop()
        self.now = now
        self.case = Case(**({"id": "C1", "shop": "acme", "opened_at": now, "updated_at": now} | case))
        self.ledger = {}
        self.actions = {}
        self.verdicts = {}
        self.seen = set()
        self.derived = []
        self.facts = {}
        self.proposer = ""

    def view(self):
        """What the policies may look at."""
        return View(
            now=self.now,
            shop=self.shop,
            facts=self.facts,
            ledger=self.ledger,
            render=CATALOGUE.render,
            proposer=self.proposer,
            links=lambda purpose, subject, who, _: f"https://b.example/l/{purpose}/{who}",
            actions=self.actions.get,
            able=lambda _: True,
        )

    def feed(self, *events, account="mkt"):
        """Reduce each event, and hear the policies on it and on what they derive from it."""
        for event in events:
            self._one(EVENTS.validate_python(event.model_dump()), account, 0)
        return self

    def _one(self, event, source, depth):
        assert depth < 6, f"policies chase each other: {event}"
        if event.key in self.seen:
            return
        self.seen.add(event.key)
        self.case = reduce(self.case, event, source)
        for policy in self.policies:
            ready = all(getattr(self.case, one) or one in self.case.missing for one in policy.requires)
            for proposal in list(policy.decide(self.case, event, self.view())) if ready else ():
                self._take(proposal, depth)

    def _take(self, proposal, depth):
        if isinstance(proposal, Timer):
            self._clock(proposal)
        elif hasattr(proposal, "at"):
            self.derived.append(proposal)
            self._one(proposal, "", depth + 1)
        elif proposal.key not in self.ledger:
            self._weigh(proposal)

    def _weigh(self, action):
        for policy in self.policies:
            action = policy.amend(action, self.case, self.view()) or action
        said = [one for policy in self.policies if (one := policy.review(action, self.case, self.view()))]
        self.verdicts[action.key] = said
        self.actions[action.key] = action
        held = any(one.ruling is not Ruling.ALLOW for one in said)
        waits = action.needs and self.ledger.get(action.needs) != "done"
        self.ledger[action.key] = "held" if held else "waiting" if waits else "due"

    def _clock(self, timer):
        old = next((one.generation for one in self.case.deadlines if one.name == timer.name), 0)
        left = tuple(one for one in self.case.deadlines if one.name != timer.name)
        new = (Deadline(name=timer.name, due_at=timer.due_at, generation=old + 1),) if timer.due_at else ()
        self.case = self.case.model_copy(update={"deadlines": left + new})

    def settle(self, key, outcome="done", ref=None, account="a"):
        """A delivery ends."""
        action = self.actions[key]
        self.ledger[key] = outcome
        result = Settled(
            key=f"settled:{key}", at=self.now, action=key, action_type=action.type, account=account, outcome="done"
        )
        return self.feed(
            result.model_copy(update={"outcome": outcome, "ref": ref, "form": getattr(action, "form", None)})
        )

    def advance(self, **by):
        """Move the clock; timers that are due fire."""
        self.now += timedelta(**by)
        for one in [one for one in self.case.deadlines if one.due_at <= self.now]:
            name = f"deadline:{one.name}:{one.generation}:{one.due_at}"
            self.feed(DeadlineReached(key=name, at=self.now, name=one.name, generation=one.generation))
        return self

    def proposed(self, prefix=""):
        """Proposed action keys."""
        return [key for key in self.ledger if key.startswith(prefix)]

    def sent(self, purpose):
        """The action of a key."""
        return self.actions[purpose]

    def runs(self, name):
        """When the timer of that name is due."""
        return next((one.due_at for one in self.case.deadlines if one.name == name), None)


@pytest.fixture(scope="session")
def world():
    """The makers above, without an import between test modules."""
    from types import SimpleNamespace

    return SimpleNamespace(
        Desk=Desk,
        shop=shop,
        requested=requested,
        order=order,
        says=says,
        policy=account,
        MONDAY=MONDAY,
        BUYER=BUYER,
        ORDER=ORDER,
        RETURN=RETURN,
        CATALOGUE=CATALOGUE,
    )
