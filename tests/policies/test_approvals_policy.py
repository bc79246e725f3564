"""Who is asked about a held action, when the delegate is, and what happens when nobody answers."""

from datetime import timedelta

import pytest
from pydantic import ValidationError
from rmabridge_approvals import Approvals

from rmabridge.model import GiveCredit, Held, Money, Noted, Ruling

COUPON = GiveCredit(credit="coupon", external="C1", amount=Money.of("900 CNY"))
WANG = {"name": "Wang", "channel": "wecom", "to": "wang", "limit": "2000 CNY", "delegate": "Li"}
LI = {"name": "Li", "channel": "wecom", "to": "li"}
CHEN = {"name": "Chen", "channel": "wecom", "to": "chen", "limit": "500 CNY"}


def held(world, action=COUPON, digest="ab" * 16, **facts):
    """The engine says that an action waits."""
    given = {"action": action.key, "action_type": action.type, "digest": digest, "rules": ("compensation.limit",)}
    given |= {"reason": "with 900 CNY the case costs 900 CNY", "amount": action.worth} | facts
    return Held(key=f"held:{action.key}:{digest}:{given['rules']}", at=world.MONDAY, **given)


@pytest.fixture
def desk(world):
    def made(*approvers, **tuned):
        one = world.Desk(world.policy(Approvals, approvers=approvers, **tuned), the_shop=world.shop(staff=("robot",)))
        one.ledger[COUPON.key], one.actions[COUPON.key] = "held", COUPON
        return one

    return made


def asked(one):
    """Who was told, in order."""
    return [one.actions[key].to for key in one.proposed("staff:")]


@pytest.mark.parametrize(
    ("amount", "first"),
    [("500 CNY", "chen"), ("500.01 CNY", "wang"), ("2000 CNY", "wang"), ("2000.01 CNY", "li"), ("1 TWD", "li")],
)
def test_the_first_whose_limit_covers_the_amount_is_asked(world, desk, amount, first):
    one = desk(CHEN, WANG, LI).feed(held(world, amount=Money.of(amount)))
    assert asked(one) == [first]


def test_what_has_no_amount_goes_to_somebody_without_a_limit(world, desk):
    assert asked(desk(CHEN, WANG, LI).feed(held(world, amount=None))) == ["li"]


def test_the_message_says_what_why_how_much_and_carries_the_approvers_own_link(world, desk):
    one = desk(WANG, LI).feed(held(world))
    (key,) = one.proposed("staff:")
    text = one.sent(key).text
    assert "发放优惠 900.00 元" in text and "the case costs" in text and "https://b.example/l/approve/Wang" in text
    assert one.sent(key).audience == "staff"


def test_what_is_asked_anew_has_its_whole_time(world, desk):
    one = desk(WANG, LI, timeout=timedelta(hours=1), at_last="deny").feed(held(world))
    one.advance(minutes=50).feed(held(world, rules=("bridge.refunded:5.00CNY",), digest="cd" * 16))
    assert asked(one) == ["wang", "wang"]
    one.advance(minutes=15)
    assert asked(one) == ["wang", "wang"], "the first question's hour is over, the second one's is not"
    one.advance(minutes=46)
    assert asked(one) == ["wang", "wang", "li"]
    assert one.advance(minutes=58).proposed("staff:approval-over") == []
    assert one.advance(minutes=3).proposed("staff:approval-over") != []


def test_the_same_question_is_asked_once_and_another_one_again(world, desk):
    one = desk(WANG, LI).feed(held(world), held(world, digest="ab" * 16, reason="again"))
    assert asked(one) == ["wang"]
    one.feed(held(world, digest="cd" * 16))
    one.feed(held(world, digest="cd" * 16, rules=("compensation.daily",)))
    assert asked(one) == ["wang"] * 3


@pytest.mark.row("S110")
def test_the_delegate_is_asked_after_the_time_out_and_nobody_after_an_answer(world, desk):
    one = desk(WANG, LI, timeout=timedelta(hours=2)).feed(held(world))
    one.advance(hours=1, minutes=59)
    assert asked(one) == ["wang"]
    one.advance(minutes=1)
    assert asked(one) == ["wang", "li"]
    two = desk(WANG, LI).feed(held(world))
    two.ledger[COUPON.key] = "done"
    two.advance(days=1)
    assert asked(two) == ["wang"]


def test_without_a_named_delegate_the_next_who_may_decide_is_asked(world, desk):
    one = desk({**WANG, "delegate": None}, CHEN, LI).feed(held(world)).advance(hours=4)
    assert asked(one) == ["wang", "li"]


@pytest.mark.parametrize(("at_last", "denied"), [("hold", False), ("deny", True)])
def test_after_the_second_time_out_it_stays_held_or_is_denied(world, desk, at_last, denied):
    one = desk(WANG, LI, at_last=at_last).feed(held(world)).advance(hours=4).advance(hours=4)
    assert asked(one) == ["wang", "li", "wang", "li"]
    assert any(isinstance(event, Noted) for event in one.derived)
    verdict = one.policies[0].review(COUPON, one.case, one.view())
    assert (verdict is not None and verdict.ruling is Ruling.DENY) is denied
    assert (one.runs(f"release:{COUPON.key}") is not None) is denied
    before = list(one.ledger)
    assert list(one.advance(days=1).ledger) == before


def test_where_nobody_may_decide_it_stays_held_whatever_the_settings_say(world, desk):
    one = desk(CHEN, at_last="deny").feed(held(world))
    assert "仍在等待" in one.sent(one.proposed("staff:")[0]).text
    assert one.policies[0].review(COUPON, one.case, one.view()) is None


def test_without_approvers_the_staff_channels_are_asked(world, desk):
    assert asked(desk().feed(held(world))) == ["staff"]


def test_a_held_message_to_colleagues_asks_nobody(world, desk):
    event = held(world).model_copy(update={"action": "staff:approve:1:x:y"})
    assert asked(desk(WANG, LI).feed(event)) == []


@pytest.mark.parametrize("approvers", [[WANG], [LI, LI], [{**LI, "limit": "much"}]])
def test_settings_that_cannot_work_are_named(world, approvers):
    with pytest.raises(ValidationError, match=r"approvers|limit"):
        world.policy(Approvals, approvers=approvers)
