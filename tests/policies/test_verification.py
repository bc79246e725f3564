"""Nothing of an order is told and no money moves before the writer is known to be its buyer."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_first_reply import FirstReply
from rmabridge_tracking import Tracking
from rmabridge_verification import Verification

from rmabridge.abilities import Way
from rmabridge.core.writers import answers
from rmabridge.model import (
    Buyer,
    CommentTicket,
    Form,
    Identity,
    Money,
    Parcel,
    ParcelStatus,
    PayRefund,
    Ref,
    RefKind,
    Ruling,
    SendMessage,
    TemplateRef,
)
from rmabridge.testing.contract import PolicyContract

ORDER = Ref(kind=RefKind.ORDER, value="1001")
WAYS = (Way(account="chat", form=Form.CHAT), Way(account="mail", form=Form.MAIL), Way(account="sms", form=Form.SMS))
STRANGER = Buyer(id="B9", email="eve@example.com", chat="C9")


class TestVerificationContract(PolicyContract):
    plugin = Verification


@pytest.fixture
def desk(world):
    def make(*others, **settings):
        policies = (*others, world.policy(Verification, **settings))
        return world.Desk(*policies, the_shop=world.shop(ways=WAYS, prefer=[Form.CHAT, Form.MAIL, Form.SMS]))

    return make


def refund():
    return PayRefund(request="R1", order="O1", amount=Money.of("10 CNY"))


def told(template="tracking.answer", **facts):
    given = {"purpose": "p", "form": Form.CHAT, "to": "C9", "text": "SF1", **facts}
    return SendMessage(template=TemplateRef(id=template, version=1, locale="en"), **given)


def verdict(one, action):
    return one.policies[-1].review(action, one.case, one.view())


def asked(one):
    (key,) = [key for key in one.proposed("verify:") if key.endswith("ask:1")]
    return key


@pytest.mark.row("S006")
@pytest.mark.parametrize(
    ("buyer", "account", "why"),
    [
        (Buyer(id="B9"), "mkt", "another id than the order's"),
        (Buyer(email="eve@example.com", chat="C9"), "chat", "another email than the order's"),
        (Buyer(phone="13900009999", chat="C9"), "chat", "another phone than the order's"),
    ],
    ids=["buyer id", "e-mail", "phone tail"],
)
def test_who_is_not_the_orders_buyer_puts_the_case_in_doubt_and_no_money_moves(world, desk, buyer, account, why):
    one = desk().feed(world.requested(), world.order())
    assert one.case.identity is None
    assert verdict(one, refund()) is None
    one.feed(world.says("我要退款", refs=(ORDER,), buyer=buyer), account=account)
    assert one.case.identity is Identity.MISMATCH
    assert one.derived[-1].why == (why,)
    held = verdict(one, refund())
    assert (held.ruling, held.rule) == (Ruling.HOLD, "verification.identity")
    assert why in held.reason
    assert verdict(one, told()).ruling is Ruling.HOLD
    one.now += timedelta(hours=25)
    assert (verdict(one, refund()).until, verdict(one, told()).ruling) == (None, Ruling.DENY)


@pytest.mark.parametrize(
    ("buyer", "account"),
    [
        (Buyer(id="B1"), "mkt"),
        (Buyer(id="contact-7", email="BUYER@example.com"), "chat"),
        (Buyer(phone="+86 138 0000 1234"), "sms"),
        (None, "mkt"),
    ],
    ids=["id", "e-mail in other letters", "phone", "the marketplace's own thread"],
)
def test_the_buyer_is_known_without_a_question(world, desk, buyer, account):
    one = desk().feed(world.order(), world.says(buyer=buyer), account="mkt" if buyer is None else account)
    assert one.case.identity is Identity.VERIFIED
    assert one.proposed("verify:") == []
    assert verdict(one, refund()) is None


def test_one_question_goes_to_the_writer_and_tells_nothing(world, desk):
    one = desk(world.policy(FirstReply)).feed(world.requested(), world.order())
    one.feed(
        world.says("我的包裹呢", refs=(ORDER,), buyer=STRANGER),
        world.says("在吗", id="m2", buyer=STRANGER),
        account="chat",
    )
    assert len(one.proposed("verify:")) == 1
    question = one.sent(asked(one))
    assert (question.account, question.to, question.name) == ("chat", "C9", None)
    assert "手机号的后四位" in question.text
    for secret in ("1001", "王小明", "1234", "水壶"):
        assert secret not in question.text


@pytest.mark.parametrize("answer", ["1234", "尾号１２３４，谢谢", "13800001234", "138 0000 1234"])
def test_the_right_answer_verifies_and_lets_go_what_waited(world, desk, answer):
    one = desk(world.policy(Tracking)).feed(world.requested(), world.order())
    one.feed(world.says("你好", buyer=STRANGER), account="chat")
    one.case = one.case.model_copy(update={"deadlines": ()})
    one.feed(world.says(answer, id="m2", at=world.MONDAY + timedelta(minutes=3), buyer=STRANGER), account="chat")
    assert one.case.identity is Identity.VERIFIED
    assert (verdict(one, refund()), verdict(one, told())) == (None, None)
    assert any(key.endswith(":yes") for key in one.ledger)


def test_wrong_answers_are_asked_again_once_and_then_a_person_decides(world, desk):
    one = desk().feed(world.requested(), world.order(), world.says("hi", buyer=STRANGER))
    for number, text in enumerate(["为什么？", "9999", "1111", "1234"]):
        at = world.MONDAY + timedelta(minutes=number + 1)
        one.feed(world.says(text, id=f"a{number}", at=at, buyer=STRANGER))
    assert [key.rpartition(":")[2] for key in one.proposed("verify:")] == ["1", "2", "no"]
    assert one.case.identity is Identity.MISMATCH
    held = verdict(one, refund())
    assert (held.ruling, held.until) == (Ruling.HOLD, None)


def test_an_order_number_proves_nothing_of_who_named_it(world, desk):
    unknown = world.BUYER.model_copy(update={"phone": None})
    one = desk().feed(world.order(buyer=unknown), world.says("订单1001", refs=(ORDER,), buyer=STRANGER), account="chat")
    assert one.proposed("verify:") == []
    assert verdict(one, refund()).until is None
    other = desk().feed(world.order(buyer=unknown), world.says("hi", buyer=STRANGER), account="chat")
    assert "订单号" in other.sent(asked(other)).text
    other.feed(world.says("是1001", id="m2", at=world.MONDAY + timedelta(minutes=1), buyer=STRANGER), account="chat")
    assert other.case.identity is Identity.VERIFIED


def test_agents_notes_and_safe_templates_go_out(world, desk):
    one = desk(safe=("greeting.",)).feed(world.order(), world.says("hi", buyer=STRANGER), account="chat")
    free = [told().model_copy(update={"template": None}), told("greeting.session"), told("verification.ask")]
    assert [verdict(one, each) for each in (*free, CommentTicket(origin="m1", text="note"))] == [None] * 4
    assert verdict(one, told(audience="staff")) is None


def test_money_may_be_denied_instead(world, desk):
    one = desk(unproven="deny").feed(world.order(), world.says("hi", buyer=STRANGER), account="chat")
    assert verdict(one, refund()).ruling is Ruling.DENY


def test_the_buyer_who_writes_after_a_stranger_is_believed(world, desk):
    one = desk().feed(world.order(), world.says("hi", buyer=STRANGER), account="chat")
    one.feed(world.says("是我", id="m2", at=world.MONDAY + timedelta(minutes=1), buyer=world.BUYER), account="chat")
    assert one.case.identity is Identity.VERIFIED


def test_where_is_my_parcel_is_not_answered_to_a_stranger(world, desk):
    parcel = Parcel(waybill="SF1", status=ParcelStatus.DELIVERED)
    one = desk(world.policy(Tracking)).feed(world.order(parcels=(parcel,)))
    one.feed(world.says("我的快递到哪了", buyer=STRANGER), account="chat")
    (answer,) = one.proposed("answer:tracking")
    assert one.ledger[answer] == "held"


@given(st.text(max_size=60))
def test_any_words_are_an_answer_or_none(world, text):
    one = world.Desk().feed(world.order())
    assert answers(text, one.case) in {True, False, None}


def test_a_list_of_guesses_is_no_answer(world):
    one = world.Desk().feed(world.order())
    assert answers("1111 2222 3333 1234", one.case) is False
    assert answers("3333 1234", one.case) is True
    assert answers("1111 2222 3333 4444 1001", one.case) is False


@pytest.mark.parametrize(
    "text",
    [
        "1234\n\nMit freundlichen Grüßen\nMax Muster\nHauptstr. 5, 10115 Berlin\nTel. +49 30 1234567",
        "1234\n\nMax Muster\nTel. +49 30 5550001, Fax +49 30 5550002, Mobil +49 170 5550003\nHRB 123456, DE123456789",
        "后四位是1234\n\n王小明\n上海市浦东新区世纪大道100号8楼 200120\n电话 021-58880000",
    ],
)
def test_the_right_answer_above_a_signature_verifies(world, desk, text):
    mail = {"form": Form.MAIL, "buyer": Buyer(email="private@example.org")}
    one = desk().feed(world.requested(), world.order(), world.says("hi", **mail), account="mail")
    one.feed(world.says(text, id="a1", at=world.MONDAY + timedelta(minutes=1), **mail), account="mail")
    assert one.case.identity is Identity.VERIFIED


def test_a_signature_without_the_answer_is_none(world):
    one = world.Desk().feed(world.order())
    assert answers("Hauptstr. 5, 10115 Berlin, Tel. +49 30 1234567", one.case) is False
