"""Ways to a buyer, and what a message carries beside its words."""

from datetime import UTC, datetime

import pytest

from rmabridge.abilities import Limit, Shop, View, Way
from rmabridge.core.reach import tell, ways
from rmabridge.core.rules import tables
from rmabridge.core.templates import Catalogue
from rmabridge.model import Buyer, Case, Form, Money, Order, TemplateRef

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
CATALOGUE = Catalogue()
RENDER = CATALOGUE.render


def reached_by(form: Form, **buyer) -> tuple[Case, View]:
    shop = Shop(name="one", title="示例商城", timezone="Asia/Shanghai", prefer=(form,))
    shop._ways = (Way(account="acc", form=form),)
    person = Buyer(**{"name": "李雷", "locale": "zh-CN", "phone": "13812345678", "email": "li@example.com", **buyer})
    order = Order(id="O1", number="#1001")
    case = Case(id="C1", shop="one", kind="refund", opened_at=NOON, updated_at=NOON, buyer=person, order=order)
    return case, View(NOON, shop, render=RENDER)


def test_a_text_message_carries_its_templates_values_as_plain_texts():
    case, view = reached_by(Form.SMS)
    # Late in the evening of UTC the shop's next day has begun.
    expected = datetime(2026, 1, 6, 17, 0, tzinfo=UTC)
    message = tell(case, view, "p", "progress.refund_started", amount=Money.of("120 CNY"), expected=expected)
    assert message.values == {
        "case": "C1",
        "name": "李雷",
        "shop": "示例商城",
        "order": "#1001",
        "amount": "120.00 CNY",
        "expected": "2026-01-07",
    }


def test_a_value_that_is_no_word_is_left_out():
    case, view = reached_by(Form.SMS, name=None)
    message = tell(case, view, "p", "progress.received", exchange=True, days=2)
    assert message.values == {"case": "C1", "shop": "示例商城", "order": "#1001", "days": "2"}


def test_a_mail_carries_its_words_alone():
    case, view = reached_by(Form.MAIL)
    assert tell(case, view, "p", "progress.cancelled").values == {}


@pytest.mark.parametrize("phone", ["138****5678", "*"])
def test_a_masked_phone_is_no_way_and_the_reason_is_told(phone):
    case, view = reached_by(Form.SMS, phone=phone)
    assert ways(case, view.shop) == ([], [("acc/sms", "the address is masked")])
    assert tell(case, view, "p", "progress.cancelled") is None


TOLD = {"first_reply", "greeting", "progress", "tracking", "clarify", "verification"}


def shop_of(platform, *forms, limit=None):
    shop = Shop(name="one", prefer=forms, locale="zh-CN")
    shop._platform = platform
    shop._ways = tuple(Way(account=form.value, form=form, limit=limit) for form in forms)
    return shop


@pytest.mark.row("P61")
@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("abc123@marketplace.amazon.com", None),
        ("ABC@Marketplace.Amazon.co.uk", None),
        ("li@example.com", "amazon takes mails to its own relay addresses only"),
        ("x@marketplace.amazon.com.evil.example", "amazon takes mails to its own relay addresses only"),
        ("x@evil-marketplace.amazon.com", "amazon takes mails to its own relay addresses only"),
        ("Invalid Request", "it is no mail address"),
    ],
)
def test_an_amazon_buyer_gets_no_mail_outside_the_relay_address(address, reason):
    case, _ = reached_by(Form.MAIL, email=address)
    found = ways(case, shop_of("amazon", Form.MAIL))
    assert [one.address for one in found.ways] == ([] if reason else [address])
    assert found.fallen == ([("mail/mail", reason)] if reason else [])


def test_an_amazon_buyer_gets_no_text_message_unless_the_shop_keeps_other_rules():
    case, _ = reached_by(Form.SMS)
    shop = shop_of("amazon", Form.SMS)
    assert ways(case, shop).fallen == [("sms/sms", "amazon lets nobody reach its buyers by sms")]
    shop.reach = "none"
    assert len(ways(case, shop).ways) == 1


@pytest.mark.row("P61")
@pytest.mark.parametrize(
    ("phone", "reason"),
    [
        ("138****5678", "the address is masked"),
        ("138＊＊＊＊5678", "the address is masked"),
        ("138xxxx5678", "the address is masked"),
        ("13812345678-1234", "it is no number that takes text messages"),
        ("13812345678转1234", "it is no number that takes text messages"),
        ("+86 138 1234 5678", None),
        ("(415) 555-0132", None),
    ],
)
def test_a_masked_or_virtual_number_is_never_dialled(phone, reason):
    case, _ = reached_by(Form.SMS, phone=phone)
    assert [why for _, why in ways(case, shop_of("taobao", Form.SMS)).fallen] == ([reason] if reason else [])


@pytest.mark.row("P61")
@pytest.mark.parametrize("locale", ["zh-CN", "zh-TW", "en"])
def test_a_taobao_reply_fits_400_bytes_whatever_carries_it(locale):
    case, _ = reached_by(Form.THREAD, thread="T1", locale=locale)
    view = View(NOON, shop_of("taobao", Form.THREAD), render=lambda *which, **_: CATALOGUE.preview(*which, "worst"))
    for template in (one for one in CATALOGUE.ids() if one.partition(".")[0] in TOLD):
        said = tell(case, view, "p", template)
        assert len(said.text.encode()) <= 400, (template, said.text)


def test_words_that_are_too_long_for_every_way_fall_out_with_their_length():
    case, _ = reached_by(Form.THREAD, thread="T1")
    found = ways(case, shop_of("taobao", Form.THREAD, limit=Limit(characters=1000)), "好" * 134)
    assert found.fallen == [("thread/thread", "the words are too long for it: 134 characters, 402 bytes")]
    assert len(ways(case, shop_of("taobao", Form.THREAD), "好" * 133).ways) == 1


def test_every_rule_table_is_known_by_a_name_and_read():
    assert {"amazon", "taobao"} <= set(tables())


def approved_only(*ids):
    """A text message first, whose vendor has approved these templates; then mail."""
    shop = Shop(name="one", prefer=(Form.SMS, Form.MAIL), locale="zh-CN")
    sms = Way(account="sms", form=Form.SMS, knows=lambda template: template is not None and template.id in ids)
    shop._ways = (sms, Way(account="mail", form=Form.MAIL))
    case = Case(id="C1", shop="one", opened_at=NOON, updated_at=NOON, buyer=Buyer(phone="13812345678", email="a@b.co"))
    return case, View(NOON, shop, render=RENDER)


def test_words_go_on_the_first_way_that_carries_their_template():
    case, view = approved_only("progress.cancelled")
    assert tell(case, view, "p", "progress.cancelled").form is Form.SMS
    assert tell(case, view, "q", "progress.received", exchange=True, days=2).form is Form.MAIL


def test_free_text_and_unknown_templates_fall_out_with_their_reason():
    case, view = approved_only("progress.cancelled")
    known = TemplateRef(id="progress.cancelled", version=1, locale="zh-CN")
    other = TemplateRef(id="progress.received", version=1, locale="zh-CN")
    assert ways(case, view.shop, "x", known).fallen == []
    assert ways(case, view.shop, "x", other).fallen == [("sms/sms", "it carries no words of progress.received")]
    assert ways(case, view.shop, "x").fallen == [("sms/sms", "it carries approved templates only, no free text")]
    assert ways(case, view.shop).fallen == []


def test_a_call_reads_the_words_of_a_chat_to_the_buyers_phone_where_the_shop_wants_calls():
    case, view = reached_by(Form.CALL)
    call, chat = (tell(*reached_by(one, chat="W1"), "p", "progress.cancelled") for one in (Form.CALL, Form.CHAT))
    assert (call.form, call.to, call.text) == (Form.CALL, "13812345678", chat.text)
    shop = Shop(name="one")
    shop._ways = view.shop._ways
    assert ways(case, shop) == ([], [("acc/call", "the shop does not prefer call")])


@pytest.mark.parametrize(
    ("phone", "reason"),
    [
        ("13812345678-1234", None),
        ("138****5678", "the address is masked"),
        ("ask me", "it is no number that can be called"),
    ],
)
def test_only_a_number_is_called_and_an_extension_is_no_hindrance(phone, reason):
    case, view = reached_by(Form.CALL, phone=phone)
    assert [why for _, why in ways(case, view.shop).fallen] == ([reason] if reason else [])
