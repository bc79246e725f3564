"""The contract of policies: pure, synchronous, and the same answer to the same question."""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from typing import Any, ClassVar

from ...abilities import AsksForEvidence, Policy, View
from ...abilities.shop import Shop
from ...model import Action, Case, CaseRequested, Event, Form, Money, PayRefund, SendMessage
from ..contexts import NOON
from . import source
from .settings import ALLOWED, Contract

SPOKEN: tuple[str, ...] = ("decide", "amend", "review")


class PolicyContract(Contract):
    """The checks of a policy; override ``case``, ``event`` and ``actions`` to try what it is for."""

    kinds: ClassVar[tuple[str, ...]] = ("policies",)
    # The core is pure as they are; policies build on it.
    allowed: ClassVar[re.Pattern[str]] = re.compile(rf"{ALLOWED.pattern}|rmabridge\.core(\..+)?")

    def view(self) -> View:
        """What the policy looks at beside the case."""
        return View(now=NOON, shop=Shop(name="shop", title="Shop"))

    def case(self, **facts: Any) -> Case:
        """A case to decide on; override it to try your own."""
        given = {"id": "C1", "shop": "shop", "opened_at": NOON - timedelta(hours=1), "updated_at": NOON}
        return Case.model_validate(given | facts)

    def event(self) -> Event:
        """The event that calls ``decide``."""
        return CaseRequested(key="e1", at=NOON, kind="return")

    def actions(self) -> list[Action]:
        """Actions to amend and to judge."""
        said = SendMessage(purpose="progress:approved:1", form=Form.MAIL, to="li@example.com", text="您好", locale="en")
        return [said, PayRefund(order="A1", amount=Money.of("19.90 EUR"))]

    def test_the_module_names_its_api_reference(self) -> None:
        """A policy calls nobody: its docstring says what it decides."""
        assert (source.module_of(self.plugin).__doc__ or "").strip(), "say in the docstring what the policy decides"

    def test_it_is_a_policy_that_says_something(self) -> None:
        assert issubclass(self.plugin, Policy)
        said = [name for name in SPOKEN if getattr(self.plugin, name) is not getattr(Policy, name)]
        assert said, "a policy without decide, amend or review says nothing"

    def test_nothing_in_it_waits(self) -> None:
        for name in SPOKEN:
            assert not inspect.iscoroutinefunction(getattr(self.plugin, name)), f"{name} must be a plain method"

    def said(self, account: Any, name: str, *about: Any) -> Any:
        """What the method says; one that waits says nothing, which is another check's finding."""
        told = getattr(account, name)(*about)
        if inspect.iscoroutine(told):
            told.close()
            return None
        return told

    def proposals(self, case: Case) -> list[Any]:
        """What is proposed for the case."""
        return list(self.said(self.account(), "decide", case, self.event(), self.view()) or ())

    def test_the_same_case_gives_the_same_proposals(self) -> None:
        case = self.case()
        assert self.proposals(case) == self.proposals(case), "decide is not pure"

    def test_what_is_proposed_has_a_key(self) -> None:
        for one in self.proposals(self.case()):
            assert getattr(one, "key", None) or getattr(one, "name", None), f"{one!r} has no key"

    def test_a_closed_case_is_left_alone(self) -> None:
        proposals = self.proposals(self.case(status="closed", closed_at=NOON))
        assert not proposals, f"proposed for a closed case: {proposals}"

    def test_an_amended_action_is_still_the_same_action(self) -> None:
        for action in self.actions():
            amended = self.said(self.account(), "amend", action, self.case(), self.view()) or action
            assert (type(amended), amended.key) == (type(action), action.key), "amend must not make another action"

    def test_amending_twice_gives_the_same(self) -> None:
        account = self.account()
        for action in self.actions():
            first, again = (self.said(account, "amend", action, self.case(), self.view()) for _ in range(2))
            assert first == again, "amend is not pure"

    def test_the_same_action_gets_the_same_verdict(self) -> None:
        account = self.account()
        for action in self.actions():
            first, again = (self.said(account, "review", action, self.case(), self.view()) for _ in range(2))
            assert first == again, "review is not pure"

    def test_a_verdict_names_its_rule_and_reason(self) -> None:
        for action in self.actions():
            verdict = self.said(self.account(), "review", action, self.case(), self.view())
            assert verdict is None or (verdict.rule.strip() and verdict.reason.strip()), f"{verdict} tells nothing"

    def test_its_rules_can_be_told(self) -> None:
        told = list(self.account().describe("en", self.view().shop, lambda key, **values: f"{key} {values}"))
        assert all(one.id.strip() and one.text.strip() for one in told), "a rule without an id or words"


class EvidenceContract(PolicyContract):
    """The checks of a policy that asks buyers for evidence; ``subject`` is what one of its links asks for."""

    subject: ClassVar[str] = ""

    def needs(self) -> list[Any]:
        """What the link asks for, of the contract's case."""
        return list(self.account().needs(self.case(), self.subject))

    def test_it_asks_for_evidence(self) -> None:
        assert issubclass(self.plugin, AsksForEvidence)
        assert self.needs(), f"nothing is asked for by {self.subject!r}: set subject and case"

    def test_a_link_that_is_not_known_asks_for_nothing(self) -> None:
        assert not self.account().needs(self.case(), "no-such-subject:1"), "a stale link would ask for files"

    def test_the_same_link_asks_for_the_same(self) -> None:
        assert self.needs() == self.needs(), "needs is not pure"

    def test_each_need_has_its_own_name(self) -> None:
        names = [one.name for one in self.needs()]
        assert len(set(filter(None, names))) == len(names), f"the page tells needs apart by their names: {names}"

    def test_each_need_says_which_files_count(self) -> None:
        bare = [one.name for one in self.needs() if not one.kinds]
        assert not bare, f"needs without kinds of evidence: {', '.join(bare)}"

    def test_what_may_be_handed_in_has_an_end(self) -> None:
        account = self.account()
        assert min(account.most_files, account.most_bytes) > 0, "most_files and most_bytes are above nothing"

    def test_the_goods_are_named(self) -> None:
        assert self.account().item(self.case()).strip(), "item is empty: the page would ask about nothing"
