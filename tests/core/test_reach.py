"""Ways to a buyer, and what a message carries beside its words."""

from datetime import UTC, datetime

import pytest

from rmabridge.abilities import Shop, View, Way
from rmabridge.core.reach import tell, ways
from rmabridge.core.templates import Catalogue
from rmabridge.model import Buyer, Case, Form, Money, Order

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
RENDER = Catalogue().render


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
