"""One ticket a case, both ways, without echoes."""

from datetime import timedelta

import pytest
from rmabridge_helpdesk_sync import HelpdeskSync
from rmabridge_progress import Progress

from rmabridge.model import (
    Author,
    Buyer,
    Closed,
    Direction,
    FactMissing,
    Form,
    Money,
    Parcel,
    ParcelSeen,
    ParcelStatus,
    Ref,
    RefKind,
    RefundSeen,
    RequestChanged,
    RequestStatus,
    Routed,
    Scan,
    Status,
    TicketSeen,
)

TICKET = Ref(kind=RefKind.TICKET, value="77", account="desk")


@pytest.fixture
def desk(world):
    def make(**facts):
        return world.Desk(world.policy(HelpdeskSync), **facts)

    return make


@pytest.fixture
def opened(world, desk):
    one = desk().feed(world.requested(), world.order())
    return one.settle("ticket:open", ref="77", account="desk")


def agent(world, text="稍等，我看一下", id="a1", at=None, **facts):  # noqa: A002
    return world.says(text, id=id, at=at or world.MONDAY, author=Author.AGENT, refs=(TICKET,), **facts)


def test_one_ticket_is_opened_with_all_that_is_known(world, desk):
    parcel = Parcel(waybill="SF1", carrier="SF", status=ParcelStatus.DELIVERED)
    one = desk(level=3)
    one.facts = {"buyer_history": ["C0"]}
    one.feed(world.requested(note="盖子漏水"), Routed(key="r", at=one.now, rule="x", group="quality", tags=("vip",)))
    assert one.proposed() == []
    one.feed(world.order(parcels=(parcel,)), world.says("在吗"))
    assert one.proposed("ticket:open") == ["ticket:open"]
    made = one.sent("ticket:open")
    assert made.subject == "[C1] 退货（订单 1001）"
    assert (made.external, made.priority, made.group, made.tags) == ("C1", "urgent", "quality", ("vip",))
    for words in ("盖子漏水", "水壶", "1001", "SF1", "C0", "王小明", "R1", "250.00 元"):
        assert words in made.text


def test_a_case_without_its_order_gets_a_ticket_too(world, desk):
    one = desk().feed(world.requested(), FactMissing(key="f", at=world.MONDAY, fact="order"))
    assert "订单：没有查到" in one.sent("ticket:open").text


def test_each_further_message_is_one_internal_note_after_the_ticket(world, desk):
    one = desk().feed(world.requested(), world.order(), world.says("第二条", id="m2"), world.says("第二条", id="m2"))
    assert one.proposed("ticket:comment") == ["ticket:comment:m2"]
    assert one.ledger["ticket:comment:m2"] == "waiting"
    note = one.sent("ticket:comment:m2")
    assert (note.needs, note.public, note.ticket) == ("ticket:open", False, None)
    assert "第二条" in note.text
    one.settle("ticket:open", ref="77")
    assert one.policies[0].amend(note, one.case, one.view()).ticket == "77"
    one.feed(world.says("第三条", id="m3"))
    assert one.sent("ticket:comment:m3").ticket == "77"


@pytest.mark.parametrize("form", [Form.MAIL, Form.SMS])
def test_an_agent_s_public_answer_goes_out_verbatim_and_once(world, opened, form):
    if form is Form.SMS:
        opened.case = opened.case.model_copy(update={"buyer": Buyer(phone="13800001234", name="王小明")})
    answer = agent(world, "亲，{{ 好的 }}\n明天寄出")
    opened.feed(answer, answer, account="desk")
    sent = opened.sent("answer:a1")
    assert sent.text == "亲，{{ 好的 }}\n明天寄出"
    assert sent.form is form
    assert (sent.subject == "[C1]") is (form is Form.MAIL)
    assert opened.proposed("ticket:comment") == []


def test_notes_echoes_and_words_from_elsewhere_change_nothing(world, opened):
    before = dict(opened.ledger)
    opened.feed(
        agent(world, "内部备注", id="n1", public=False),
        world.says("自动消息", id="n2", author=Author.BRIDGE, refs=(TICKET,)),
        world.says("顾客在工单里回复", id="n3", refs=(TICKET,)),
        world.says("平台客服", id="n4", author=Author.AGENT),
        TicketSeen(key="t1", at=world.MONDAY, refs=(TICKET,), status="pending"),
        account="desk",
    )
    assert opened.ledger == before
    assert opened.derived == []


def test_an_answer_that_cannot_be_sent_is_told_on_the_ticket(world, opened):
    opened.case = opened.case.model_copy(update={"buyer": Buyer(phone="138****1234")})
    opened.feed(agent(world), account="desk")
    assert opened.proposed("answer") == []
    assert "masked" in opened.sent("ticket:comment:unsent:a1").text


def test_steps_parcels_and_refunds_are_noted_once_each(world, opened):
    at = world.MONDAY + timedelta(hours=1)
    back = Parcel(
        waybill="YT1",
        direction=Direction.BACK,
        status=ParcelStatus.DELIVERED,
        scans=(Scan(at=at, status=ParcelStatus.DELIVERED, text="已签收"),),
    )
    opened.feed(
        RequestChanged(key="ap", at=world.MONDAY, status=RequestStatus.APPROVED),
        ParcelSeen(key="p0", at=at, parcel=back.model_copy(update={"status": ParcelStatus.IN_TRANSIT, "scans": ()})),
        ParcelSeen(key="p1", at=at + timedelta(minutes=1), parcel=back),
        ParcelSeen(key="p2", at=at + timedelta(minutes=2), parcel=back),
        RefundSeen(key="rf", at=at + timedelta(minutes=3), refund="F1"),
    )
    assert [key.removeprefix("ticket:comment:") for key in opened.proposed("ticket:comment:")] == [
        "status:approved:1",
        "status:returning:1",
        "parcel:YT1:delivered",
        "status:received:1",
        "refund:F1:done",
        "status:refunded:1",
    ]
    assert "已签收" in opened.sent("ticket:comment:parcel:YT1:delivered").text


def test_what_is_asked_for_after_the_ticket_was_opened_and_asked_for_again_is_noted(world, desk):
    def changed(number, status, **facts):
        return RequestChanged(key=f"k{number}", at=world.MONDAY + timedelta(hours=number), status=status, **facts)

    one = desk().feed(world.says("杯子碎了"), world.order()).settle("ticket:open", ref="77", account="desk")
    one.feed(world.requested(note="想退款", at=world.MONDAY + timedelta(minutes=5)))
    first = one.sent("ticket:comment:asked:R1").text
    assert "退货申请 R1" in first and "想退款" in first and "水壶" in first
    one.feed(changed(1, "requested"), changed(2, "declined"), changed(3, "requested", amount=Money.of("100 CNY")))
    one.feed(changed(4, "declined"), changed(5, "declined"))
    notes = [key.removeprefix("ticket:comment:") for key in one.proposed("ticket:comment:")]
    assert notes == ["asked:R1", "status:declined:1", "asked:R1:1", "status:declined:1:1"]
    assert "100.00 元" in one.sent("ticket:comment:asked:R1:1").text


@pytest.mark.parametrize("sent", [True, False])
def test_what_the_bridge_wrote_to_the_buyer_is_noted_where_the_shop_wants_it(world, sent):
    one = world.Desk(world.policy(HelpdeskSync, sent=sent), world.policy(Progress))
    one.feed(world.requested(), world.order()).settle("ticket:open", ref="77", account="desk")
    one.feed(RequestChanged(key="no", at=world.MONDAY + timedelta(hours=1), status="declined", reason="已超过退货期限"))
    one.settle("progress:declined:1", account="mail")
    assert ("ticket:comment:sent:progress:declined:1" in one.proposed()) is sent
    if sent:
        text = one.sent("ticket:comment:sent:progress:declined:1").text
        assert "自动" in text and one.sent("progress:declined:1").text in text
    one.feed(agent(world))
    one.settle("answer:a1", account="mail")
    assert one.proposed("ticket:comment:sent:answer") == []


def test_a_solved_ticket_closes_the_case_and_its_echo_does_not_close_the_next_round(world, opened):
    at = world.MONDAY
    opened.now = at + timedelta(minutes=5)
    opened.feed(TicketSeen(key="t1", at=at + timedelta(minutes=4), refs=(TICKET,), status="solved"), account="desk")
    assert (opened.case.status, opened.case.result) == (Status.CLOSED, "solved")
    opened.now = at + timedelta(minutes=9)
    opened.feed(world.says("还有问题", id="m5", at=opened.now))
    assert (opened.case.status, opened.case.round) == (Status.REQUESTED, 2)
    assert opened.sent("ticket:update:reopened:2").status == "open"
    opened.feed(TicketSeen(key="t2", at=at + timedelta(minutes=6), refs=(TICKET,), status="solved"), account="desk")
    assert opened.case.open


OTHERS = [Ref(kind=RefKind.TICKET, value="78", account="desk"), Ref(kind=RefKind.TICKET, value="77", account="desk-2")]


@pytest.mark.parametrize("other", OTHERS, ids=["another number", "another desk"])
def test_another_ticket_neither_closes_the_case_nor_keeps_the_buyers_words_from_its_own(world, opened, other):
    at = world.MONDAY + timedelta(minutes=4)
    opened.feed(TicketSeen(key="t1", at=at, refs=(other,), status="solved"), account="desk")
    assert opened.case.open
    opened.feed(world.says("写在另一张工单里", id="m7", refs=(other,)), account="desk")
    assert "写在另一张工单里" in opened.sent("ticket:comment:m7").text
    opened.feed(world.says("写在自己的工单里", id="m8", refs=(TICKET,)), account="desk")
    assert "ticket:comment:m8" not in opened.ledger


def test_a_case_closed_elsewhere_solves_the_ticket_once(world, opened):
    opened.feed(Closed(key="c", at=opened.now, result="refunded"), world.order(at=opened.now + timedelta(hours=1)))
    assert opened.proposed("ticket:update") == ["ticket:update:closed:1"]
    assert opened.sent("ticket:update:closed:1").status == "solved"


def test_a_case_that_began_on_the_help_desk_gets_no_second_ticket(world, desk):
    one = desk().feed(world.says("你好", refs=(TICKET,), buyer=world.BUYER), account="desk").feed(world.order())
    assert one.proposed("ticket:open") == []
    assert one.proposed() == ["ticket:comment:opened"]
    assert one.sent("ticket:comment:opened").ticket == "77"


def test_a_shop_without_a_help_desk_is_left_alone(world, desk):
    one = desk(the_shop=world.shop(helpdesk=None)).feed(world.requested(), world.order(), world.says(), agent(world))
    assert one.ledger == {}


@pytest.mark.parametrize(
    ("author", "public", "words"), [(Author.CARRIER, True, "快递公司"), (Author.AGENT, False, "同事")]
)
def test_what_a_carrier_or_a_colleague_wrote_is_noted_and_goes_to_nobody_else(world, opened, author, public, words):
    said = world.says("快件在杭州", id="x1", author=author, form=Form.MAIL, public=public)
    before = opened.proposed("answer")
    opened.feed(said)
    note = opened.sent(f"ticket:comment:{author}:x1")
    assert note.text.startswith(words) and "快件在杭州" in note.text and not note.public
    assert opened.proposed("answer") == before


def test_a_merge_of_the_cases_own_ticket_is_followed_by_what_the_case_is_about_and_closes_nothing(world, opened):
    elsewhere = Ref(kind=RefKind.TICKET, value="78", account="desk")
    one = opened.feed(TicketSeen(key="t0", at=world.MONDAY, refs=(elsewhere,), status="merged"))
    assert one.proposed("ticket:comment:merged") == []
    for key in ("t1", "t2"):
        one.feed(TicketSeen(key=key, at=world.MONDAY + timedelta(hours=1), refs=(TICKET,), status="merged"))
    assert one.proposed("ticket:comment:merged") == ["ticket:comment:merged:77"]
    said = one.sent("ticket:comment:merged:77")
    assert (said.ticket, said.public) == ("77", False)
    assert "水壶" in said.text
    moved = TicketSeen(key="t3", at=world.MONDAY + timedelta(hours=2), refs=(elsewhere,), continues="77")
    one.feed(moved, world.says("还在吗", id="m9"))
    assert one.case.ticket.id == "78"
    assert one.sent("ticket:comment:m9").ticket == "78"
    assert one.case.open
    one.feed(TicketSeen(key="t4", at=world.MONDAY + timedelta(hours=3), refs=(elsewhere,), status="closed"))
    assert not one.case.open
