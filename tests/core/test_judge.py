"""Who is asked of what: by the kind of event, by the settled action, and not of what was seen already."""

from datetime import UTC, datetime
from typing import ClassVar

from rmabridge.abilities import Policy, Timer, View
from rmabridge.core.judge import Asked, Judge
from rmabridge.core.reduce import reduce
from rmabridge.model import Case, Classified, Issue, Noted, PlayMoved, Routed, Settled
from rmabridge.testing.contexts import account

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
CASE = Case(id="C1", shop="acme", opened_at=NOW, updated_at=NOW)
MOVED = PlayMoved(key="play:1", at=NOW, play="return", state="opened", turn=1)
SAID = Classified(key="said", at=NOW, issue=Issue.WRONG_ITEM)


class Plain(Policy):
    """Hears of everything."""

    def decide(self, case, event, view):
        return [Timer("asked", NOW)]


class OfMessages(Plain):
    """Hears of settled messages only."""

    hears: ClassVar = frozenset({Settled})
    settles: ClassVar = frozenset({"message.send"})


class Minding(Plain):
    """Wants each move of a play by itself."""

    minds: ClassVar = frozenset({PlayMoved})


class Waiting(Plain):
    """Waits for the order."""

    requires: ClassVar = ("order",)


def judge(*kinds):
    policies = [account(one, one.__name__.lower()) for one in kinds]
    return Judge([Asked(one.account, one, one.decide, None, None) for one in policies])


def settled(action_type):
    return Settled(key=f"s:{action_type}", at=NOW, action="a", action_type=action_type, account="x", outcome="done")


def names(made, event):
    return [one.name for one in made.hearing(event)]


def test_a_policy_hears_of_the_settled_actions_that_it_names_and_of_no_others():
    made = judge(Plain, OfMessages)
    assert names(made, settled("message.send")) == ["plain", "ofmessages"]
    assert names(made, settled("ticket.comment")) == ["plain"]
    assert names(made, SAID) == ["plain"]


def test_who_was_asked_of_another_event_has_seen_what_lay_on_the_case():
    made = judge(Plain, Minding, Waiting)
    assert made.shown(CASE, SAID, MOVED, frozenset()) == {"plain"}
    assert made.shown(CASE, SAID, MOVED, frozenset({"plain"})) == frozenset()
    assert made.shown(CASE.model_copy(update={"missing": ("order",)}), SAID, MOVED, frozenset()) == {"plain", "waiting"}


def test_what_tells_more_than_the_case_shows_is_told_by_itself():
    made = judge(Plain)
    assert made.shown(CASE, SAID, Noted(key="n", at=NOW, text="-"), frozenset()) == frozenset()
    assert made.shown(CASE, SAID, Routed(key="r", at=NOW, rule="one"), frozenset()) == {"plain"}


def test_only_those_who_were_not_skipped_are_asked():
    found = judge(Plain, Minding).proposals(lambda: CASE, SAID, View(NOW, None), frozenset({"plain"}))
    assert [asked.name for asked, _ in found] == ["minding"]


def test_a_reduction_asked_for_twice_is_the_same_and_another_case_gets_its_own():
    first = reduce(CASE, SAID, "bridge")
    assert reduce(CASE, SAID, "bridge") is first
    other = CASE.model_copy(update={"id": "C2"})
    assert reduce(other, SAID, "bridge").id == "C2"
    assert reduce(CASE, SAID, "bridge") == first
