"""One question for exactly what is missing, and an end to the asking."""

from datetime import timedelta

import pytest
from pydantic import ValidationError
from rmabridge_clarify import Clarify
from rmabridge_wording import lint

from rmabridge.abilities import Way
from rmabridge.core.templates import Catalogue
from rmabridge.model import FactMissing, Form, Ref, RefKind
from rmabridge.testing.contract import PolicyContract

CATALOGUE = Catalogue()
ASKS = {"order": "订单号", "problem": "遇到了什么问题", "item": "是哪一件商品"}


class TestClarifyContract(PolicyContract):
    plugin = Clarify


@pytest.fixture
def desk(world):
    return lambda **facts: world.Desk(world.policy(Clarify, **facts.pop("settings", {})), **facts)


def vague(world, one, text="在吗", id="m1"):  # noqa: A002
    """The buyer writes, and there is no order to be found."""
    one.feed(world.says(text, id=id, at=one.now, buyer=world.BUYER))
    return one.feed(FactMissing(key="no-order", at=one.now, fact="order"))


@pytest.mark.row("S012")
def test_a_message_without_an_order_gets_one_question_that_lists_what_is_missing_and_no_more(world, desk):
    one = vague(world, desk(), "水壶的盖子关不紧，一直在漏水")
    (key,) = one.proposed("clarify:")
    asked = one.sent(key)
    assert ASKS["order"] in asked.text
    assert not [word for name, word in ASKS.items() if name != "order" and word in asked.text]
    assert (asked.template.id, asked.template.locale) == ("clarify.missing", "zh-CN")
    both = vague(world, desk())
    (key,) = both.proposed("clarify:")
    text = both.sent(key).text
    assert text.index(ASKS["order"]) < text.index(ASKS["problem"]) and ASKS["item"] not in text


@pytest.mark.row("S012")
@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_it_stops_asking_after_so_many_questions(world, desk, rounds):
    one = vague(world, desk(settings={"rounds": rounds}))
    for number in range(2, 7):
        one.advance(minutes=5).feed(world.says("？", id=f"m{number}", at=one.now))
    assert len(one.proposed("clarify:")) == rounds


def test_the_same_message_is_asked_about_once_however_often_the_case_is_looked_at(world, desk):
    one = vague(world, desk())
    one.feed(FactMissing(key="again", at=one.now, fact="order"), world.says(id="m1", at=one.now))
    assert len(one.proposed("clarify:")) == 1


def test_what_is_there_is_not_asked_for(world, desk):
    assert vague(world, desk(), "订单 250101-0042 的水壶漏水了").proposed() == []
    linked = desk().feed(world.says("水壶的盖子关不紧，一直在漏水", refs=(Ref(kind=RefKind.ORDER, value="O1"),)))
    assert linked.feed(world.order()).proposed() == []
    assert desk().feed(world.requested(), world.order()).proposed() == []


@pytest.mark.parametrize(
    "told",
    [
        *("2026-01-02", "2026/1/2", "02.01.2026", "20260102", "13800001234", "+86 138-0000-1234", "021-58881234"),
        *("0912-345-678", "+44 20 7946 0958", "(415) 555-0132", "wang2024@example.com"),
    ],
)
def test_dates_phones_and_mail_addresses_are_no_order_numbers(world, desk, told):
    for text in (f"水壶的盖子关不紧，{told}，一直在漏水", f"the kettle leaks, {told} thank you"):
        one = vague(world, desk(), text)
        (key,) = one.proposed("clarify:")
        assert ASKS["order"] in one.sent(key).text


@pytest.mark.parametrize("number", ["250811-44332211998", "113-1234567-1234567", "28374651928", "AB10482", "#104822"])
def test_an_order_number_beside_a_date_and_a_phone_is_one(world, desk, number):
    text = f"2026-01-02买的，订单{number}，电话13800001234，邮箱wang2024@example.com，漏水了"
    assert vague(world, desk(), text).proposed() == []


def test_old_words_and_cases_of_colleagues_are_not_asked_about(world, desk):
    assert vague(world, desk(source="operator")).proposed() == []
    one = desk()
    one.feed(world.says(buyer=world.BUYER)).advance(hours=2)
    assert one.feed(FactMissing(key="no-order", at=one.now, fact="order")).proposed() == []


def test_the_shop_says_what_a_kind_of_case_needs(world, desk):
    one = vague(world, desk(settings={"needs": {"question": ("wish", "phone"), "default": ()}}))
    (key,) = one.proposed()
    assert "换货、维修还是退款" in one.sent(key).text and "手机号" not in one.sent(key).text
    with pytest.raises(ValidationError, match="colour"):
        desk(settings={"needs": {"default": ("colour",)}})


def test_a_buyer_who_is_still_writing_is_not_asked_yet(world, desk):
    chat = (Way(account="chat", form=Form.CHAT),)
    one = desk(the_shop=world.shop(ways=chat, quiet=timedelta(seconds=20)))
    buyer = world.BUYER.model_copy(update={"chat": "X1"})
    one.feed(world.says("你好", buyer=buyer), FactMissing(key="no-order", at=one.now, fact="order"))
    assert one.proposed() == [] and one.runs("quiet") == one.now + timedelta(seconds=20)
    one.advance(seconds=5).feed(world.says("水壶的盖子关不紧，一直在漏水", id="m2", at=one.now))
    one.advance(seconds=19)
    assert one.proposed() == []
    one.advance(seconds=1)
    (key,) = one.proposed()
    assert ASKS["order"] in one.sent(key).text and ASKS["problem"] not in one.sent(key).text


@pytest.mark.row("S055")
@pytest.mark.parametrize("locale", ["zh-CN", "zh-TW", "en"])
@pytest.mark.parametrize("form", list(Form))
def test_a_request_for_photos_is_plain_and_names_item_number_deadline_and_the_way_to_send_them(locale, form):
    said = CATALOGUE.preview("clarify.photos", locale, form).text
    assert "水壶" in said and "3" in said and "18:00" in said and "https://example.com/l/3f9a" in said
    without = CATALOGUE.preview("clarify.photos", locale, form, "bare").text
    assert not lint(said, locale)
    assert [one.rule.group for one in lint("逆向物流的工单, reverse logistics", locale)] == ["jargon"] * 3
    assert any(one in without for one in ("回复", "回覆", "in answer to")) and "None" not in without
