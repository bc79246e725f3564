"""The first words to a buyer: right language, right way, once per session."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_first_reply import FirstReply

from rmabridge.abilities import Limit, Way
from rmabridge.core.reach import ways
from rmabridge.model import (
    Author,
    Buyer,
    CaseKind,
    Closed,
    FactMissing,
    Form,
    Issue,
    Ref,
    RefKind,
    RefundSeen,
    Reopened,
)


@pytest.fixture
def desk(world):
    return lambda **facts: world.Desk(world.policy(FirstReply, **facts.pop("settings", {})), **facts)


@pytest.mark.row("S008")
def test_a_session_has_exactly_one_greeting(world, desk):
    one = desk().feed(world.says(id="m1", buyer=world.BUYER), world.order())
    assert one.proposed() == ["reply:first:1"]
    one.advance(minutes=10).feed(world.says(id="m2", at=one.now))
    one.advance(minutes=25).feed(world.says(id="m3", at=one.now), world.says(id="m3", at=one.now))
    assert one.proposed() == ["reply:first:1"]
    one.advance(minutes=31).feed(world.says("还在吗", id="m4", at=one.now), world.says(id="m5", at=one.now))
    assert one.proposed() == ["reply:first:1", "greeting:msg:m4"]
    assert "王小明" in one.sent("greeting:msg:m4").text


@pytest.mark.row("S008")
@given(gaps=st.lists(st.integers(0, 29), min_size=1, max_size=8))
def test_messages_close_together_are_greeted_once(world, gaps):
    one = world.Desk(world.policy(FirstReply)).feed(world.says(buyer=world.BUYER), world.order())
    for number, gap in enumerate(gaps):
        one.advance(minutes=gap).feed(world.says(id=f"n{number}", at=one.now))
    assert one.proposed() == ["reply:first:1"]


@pytest.mark.row("S009")
def test_each_buyer_is_answered_in_their_language_on_their_way(world, desk):
    both = (Way(account="taobao", form=Form.THREAD), Way(account="mail", form=Form.MAIL))
    taobao = Buyer(id="B1", name="王小明", thread="T1", locale="zh-CN")
    amazon = Buyer(id="B2", name="Ann", email="x1@marketplace.example.com", locale="en-US")
    chinese = desk(the_shop=world.shop(ways=both)).feed(world.requested(buyer=taobao), world.order(buyer=taobao))
    english = desk(the_shop=world.shop(ways=both[1:])).feed(world.requested(buyer=amazon), world.order(buyer=amazon))
    first, second = chinese.sent("reply:first:1"), english.sent("reply:first:1")
    assert (first.form, first.account, first.to, first.template.locale) == (Form.THREAD, "taobao", "T1", "zh-CN")
    assert "您的退货申请" in first.text
    assert (second.form, second.account, second.to) == (Form.MAIL, "mail", "x1@marketplace.example.com")
    assert second.template.locale == "en"
    assert second.subject == "[C1] We have your return request"


@pytest.mark.row("S048", "S060")
@pytest.mark.parametrize("kind", [one for one in CaseKind if one is not CaseKind.QUESTION])
@pytest.mark.parametrize("locale", ["zh-CN", "zh-TW", "en"])
def test_a_complaint_is_answered_with_understanding_and_the_template_is_stored(world, desk, kind, locale):
    buyer = world.BUYER.model_copy(update={"locale": locale})
    one = desk().feed(world.requested(kind, buyer=buyer), world.order(buyer=buyer))
    first = one.sent("reply:first:1")
    assert any(line in first.text for line in world.CATALOGUE.empathy(locale))
    assert first.template.model_dump() == {"id": f"first_reply.{kind}", "version": 1, "locale": locale}
    assert first.not_after == one.now + timedelta(hours=24)


@pytest.mark.parametrize("locale", ["zh-CN", "zh-TW", "en"])
def test_where_the_shop_wants_it_the_first_words_are_the_three_part_script_in_at_most_400_bytes(world, desk, locale):
    thread = (Way(account="taobao", form=Form.THREAD, limit=Limit(bytes=400)),)
    buyer = Buyer(id="B1", name="王小明", thread="T1", locale=locale)
    scripts = {"scripts": {Issue.WRONG_ITEM: "script.wrong_item"}}
    for issue, template in ((Issue.WRONG_ITEM, "script.wrong_item"), (Issue.LATE_DELIVERY, "first_reply.refund")):
        one = desk(settings=scripts, the_shop=world.shop(ways=thread))
        asked = world.requested(kind=CaseKind.REFUND, buyer=buyer).model_copy(update={"issue": issue})
        said = one.feed(asked, world.order(buyer=buyer)).sent("reply:first:1")
        assert said.template.id == template
        assert len(said.text.encode()) <= 400


def test_it_waits_for_the_order_and_goes_on_when_it_does_not_come(world, desk):
    one = desk().feed(world.requested())
    assert one.proposed() == []
    one.feed(FactMissing(key="missing:order", at=one.now, fact="order"))
    assert one.proposed() == ["reply:first:1"]


def test_nobody_is_greeted_who_did_not_write_or_long_ago_or_when_all_is_done(world, desk):
    assert desk(source="import").feed(world.requested(), world.order()).proposed() == []
    old = world.MONDAY - timedelta(days=3)
    assert desk(opened_at=old).feed(world.requested(at=old), world.order()).proposed() == []
    done = RefundSeen(key="rf", at=world.MONDAY, refund="F1")
    assert desk().feed(world.requested(), done, world.order()).proposed() == []
    assert desk().feed(world.order()).proposed() == []


def test_a_reopened_case_is_greeted_only_when_the_buyer_wrote(world, desk):
    one = desk().feed(world.requested(), world.order())
    one.advance(hours=1).feed(Closed(key="c", at=one.now, result="done"))
    one.advance(hours=1).feed(Reopened(key="r1", at=one.now))
    assert one.proposed() == ["reply:first:1"]
    one.advance(hours=1).feed(Closed(key="c2", at=one.now, result="done"))
    one.advance(hours=1).feed(world.says(id="m9", at=one.now), Reopened(key="r2", at=one.now))
    assert one.proposed() == ["reply:first:1", "reply:first:3"]


def test_a_colleague_s_words_are_no_session(world, desk):
    one = desk().feed(world.requested(), world.order()).advance(hours=2)
    assert one.feed(world.says(id="a1", at=one.now, author=Author.AGENT)).proposed() == ["reply:first:1"]


def test_masked_numbers_and_threads_of_other_accounts_are_not_used(world, desk):
    shop = world.shop(
        ways=(
            Way(account="taobao", form=Form.THREAD),
            Way(account="sms", form=Form.SMS),
            Way(account="mail", form=Form.MAIL),
        )
    )
    buyer = Buyer(id="B1", phone="138****1234", thread="T9", email="b@example.com")
    refs = (world.RETURN, Ref(kind=RefKind.THREAD, value="T9", account="other"))
    one = desk(the_shop=shop).feed(world.requested(buyer=buyer, refs=refs), world.order(buyer=buyer))
    assert one.sent("reply:first:1").to == "b@example.com"
    assert ways(one.case, shop).fallen == [
        ("taobao/thread", "the buyer's address on it is not known"),
        ("sms/sms", "the address is masked"),
    ]


def test_words_too_long_for_the_best_way_go_on_the_next(world, desk):
    shop = world.shop(
        ways=(
            Way(account="chat", form=Form.CHAT, limit=Limit(characters=5)),
            Way(account="mail", form=Form.MAIL),
        )
    )
    buyer = world.BUYER.model_copy(update={"chat": "X1"})
    one = desk(the_shop=shop).feed(world.requested(buyer=buyer), world.order(buyer=buyer))
    assert one.sent("reply:first:1").form is Form.MAIL


def test_a_buyer_whom_nothing_reaches_gets_no_message(world, desk):
    assert desk(the_shop=world.shop(ways=())).feed(world.requested(), world.order()).proposed() == []
