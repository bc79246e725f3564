"""What did not arrive goes once more, on the next way."""

from datetime import timedelta

import pytest
from rmabridge_first_reply import FirstReply
from rmabridge_progress import Progress
from rmabridge_second_way import SecondWay, _needs

from rmabridge.abilities import Limit, Way
from rmabridge.core.reach import ways
from rmabridge.model import (
    Delivered,
    Form,
    Money,
    Ref,
    RefKind,
    RefundSeen,
    RefundStatus,
    RequestChanged,
    RequestStatus,
)
from rmabridge.testing.contract import PolicyContract

FIRST = "progress:approved:1"


class TestSecondWayContract(PolicyContract):
    plugin = SecondWay


@pytest.fixture
def sent(world):
    """A case whose buyer was told of the approval by mail."""

    def make(**shop):
        one = world.Desk(world.policy(Progress), world.policy(SecondWay), the_shop=world.shop(**shop))
        one.feed(world.requested(), world.order())
        one.feed(RequestChanged(key="ap", at=world.MONDAY, status=RequestStatus.APPROVED, refs=(world.RETURN,)))
        return one.settle(FIRST, ref="<1@acme>", account="mail")

    return make


def receipt(one, ok=False, message="<1@acme>", minutes=1):
    at = one.now + timedelta(minutes=minutes)
    return Delivered(key=f"r:{message}:{ok}:{at}", at=at, message=message, ok=ok, reason=None if ok else "user unknown")


def test_a_bounced_mail_goes_once_more_by_text_message(sent):
    one = sent()
    before = one.sent(FIRST)
    # The bounce comes to another account than the one that sent.
    one.feed(receipt(one), account="mailbox")
    again = one.sent(f"again:{FIRST}")
    assert (again.account, again.form, again.to) == ("sms", Form.SMS, "13800001234")
    assert (again.text, again.template) == (before.text, before.template)
    one.feed(receipt(one, minutes=2), account="mailbox")
    one.settle(f"again:{FIRST}", ref="s1", account="sms")
    one.feed(receipt(one, message="s1"), account="sms")
    assert [key for key in one.ledger if key.startswith("again:")] == [f"again:{FIRST}"]


def test_the_way_that_failed_falls_out_until_something_arrives_on_it(sent):
    one = sent()
    one.feed(receipt(one), account="mail")
    found = ways(one.case, one.shop)
    assert [each.way.account for each in found.ways] == ["sms"]
    assert found.fallen == [("mail/mail", f"{FIRST} did not arrive: user unknown")]
    one.feed(receipt(one, ok=True, minutes=5), account="mail")
    assert [each.way.account for each in ways(one.case, one.shop).ways] == ["mail", "sms"]


def test_a_receipt_before_its_message_is_settled_counts_too(world):
    one = world.Desk(world.policy(Progress), world.policy(SecondWay))
    one.feed(world.requested(), world.order())
    one.feed(RequestChanged(key="ap", at=world.MONDAY, status=RequestStatus.APPROVED, refs=(world.RETURN,)))
    one.feed(receipt(one), account="mail")
    assert not one.proposed("again:")
    one.settle(FIRST, ref="<1@acme>", account="mail")
    assert one.proposed("again:") == [f"again:{FIRST}"]


def test_receipts_that_say_yes_or_name_other_messages_change_nothing(sent):
    one = sent()
    one.feed(receipt(one, ok=True), receipt(one, message="<other@acme>"), account="mail")
    assert not one.proposed("again:")


def test_what_can_go_no_other_way_is_told_on_the_ticket(sent):
    one = sent(ways=(Way(account="mail", form=Form.MAIL), Way(account="sms", form=Form.SMS, limit=Limit(characters=5))))
    one.feed(receipt(one), account="mail")
    assert not one.proposed("again:")
    note = one.sent(f"ticket:comment:lost:{FIRST}")
    assert "user unknown" in note.text
    assert note.needs == "ticket:open"


def test_of_an_account_with_two_forms_only_the_one_that_failed_falls_out(world):
    both = (Way(account="tw", form=Form.CHAT), Way(account="tw", form=Form.SMS))
    shop = world.shop(ways=both, channels=("tw",), prefer=("chat", "sms"), locale="en")
    buyer = world.BUYER.model_copy(update={"chat": "whatsapp:+14155550123", "phone": "+14155550123", "email": None})
    one = world.Desk(world.policy(FirstReply), world.policy(SecondWay), the_shop=shop)
    one.feed(world.requested(buyer=buyer), world.order(buyer=buyer))
    (reply,) = one.proposed("reply:")
    assert one.sent(reply).form is Form.CHAT
    one.settle(reply, ref="SM1", account="tw")
    one.now += timedelta(minutes=1)
    one.feed(Delivered(key="d1", at=one.now, message="SM1", ok=False, reason="undelivered"))
    assert one.sent(f"again:{reply}").form is Form.SMS


def test_where_the_case_began_at_the_desk_the_note_waits_for_no_ticket_of_ours(world, sent):
    begun = Ref(kind=RefKind.TICKET, value="T1", account="desk")
    one = sent()
    one.case = one.case.model_copy(
        update={"refs": (*one.case.refs, begun), "ticket": one.case.ticket.model_copy(update={"id": None})}
    )
    assert _needs(one.case) is None


def test_a_step_that_bounces_after_a_later_one_was_told_is_not_told_again(world):
    one = world.Desk(world.policy(Progress), world.policy(SecondWay))
    one.feed(world.requested(), world.order())
    one.feed(RequestChanged(key="ap", at=world.MONDAY, status=RequestStatus.APPROVED, refs=(world.RETURN,)))
    one.settle("progress:approved:1", ref="<1@acme>", account="mail").advance(days=4)
    money = Money.of("250.00 CNY")
    one.feed(RefundSeen(key="r", at=one.now, refund="F1", status=RefundStatus.DONE, amount=money))
    one.settle("progress:refunded:1", ref="<2@acme>", account="mail").advance(days=1)
    one.feed(Delivered(key="b", at=one.now, message="<1@acme>", ok=False, reason="delivery time expired"))
    assert one.proposed("again:") == []
