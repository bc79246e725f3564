"""Approvals and refunds: window, agreement, limit."""

from datetime import timedelta

import pytest
from rmabridge_helpdesk_sync import HelpdeskSync
from rmabridge_progress import Progress
from rmabridge_returns import Returns, amount_of, limits

from rmabridge.model import (
    ApproveReturn,
    CaseKind,
    Closed,
    Direction,
    Line,
    Money,
    OrderLine,
    Parcel,
    ParcelSeen,
    ParcelStatus,
    PayRefund,
    RefundSeen,
    RemedyAccepted,
    RemedyKind,
    RemedyOffered,
    Reopened,
    RequestChanged,
    RequestStatus,
    Ruling,
    Scan,
    Status,
)

APPROVE, PAY = "return:decide:R1", "refund:R1:all"
OLD = {"delivered_at": None, "placed_at": None}


def back(world, status=ParcelStatus.DELIVERED):
    parcel = Parcel(waybill="YT1", direction=Direction.BACK, status=status)
    hours = 3 if status is ParcelStatus.DELIVERED else 2
    return ParcelSeen(key=f"back:{status}", at=world.MONDAY + timedelta(hours=hours), parcel=parcel)


def arrived(at):
    scan = Scan(at=at, status=ParcelStatus.DELIVERED, text="已签收")
    return Parcel(waybill="YT1", direction=Direction.BACK, status=scan.status, delivered_at=at, scans=(scan,))


def approved(world):
    return RequestChanged(key="ap", at=world.MONDAY + timedelta(hours=1), status=RequestStatus.APPROVED)


@pytest.fixture
def desk(world):
    return lambda **facts: world.Desk(world.policy(Returns), **facts)


def rulings(one, key):
    return [(said.ruling, said.rule) for said in one.verdicts[key]]


def test_a_return_after_a_gesture_is_told_paid_and_only_then_closed(world, desk):
    one = desk()
    one.policies = (*one.policies, world.policy(Progress))
    one.feed(world.says("有点瑕疵"), world.order())
    one.feed(RefundSeen(key="g", at=one.now, refund="G1", amount=Money.of("20 CNY")))
    one.ledger["progress:refunded:1"] = "done"
    one.feed(world.requested(at=one.now + timedelta(hours=1), amount=Money.of("200 CNY")))
    assert (one.case.status, APPROVE in one.proposed()) == (Status.REQUESTED, True)
    one.advance(hours=2).feed(RequestChanged(key="ap", at=one.now, refs=(world.RETURN,), status="approved"))
    one.advance(days=2).feed(back(world).model_copy(update={"at": one.now}))
    assert (one.case.status, one.sent(PAY).amount) == (Status.RECEIVED, Money.of("200 CNY"))
    one.feed(RefundSeen(key="p", at=one.now, refund="F1", amount=Money.of("200 CNY")))
    told = [key.removeprefix("progress:") for key in one.proposed("progress:")]
    assert told == ["refunded:1", "approved:1:+1", "received:1:+1", "refunded:1:2"]
    assert one.case.status is Status.CLOSED


def test_goods_that_come_back_after_the_case_was_closed_open_it_and_a_person_pays(world):
    one = world.Desk(world.policy(HelpdeskSync), world.policy(Returns))
    one.feed(world.requested(amount=Money.of("200 CNY")), world.order(), approved(world))
    one.advance(hours=1).feed(Closed(key="c", at=one.now, result="solved", by="agent")).advance(days=3)
    one.feed(ParcelSeen(key="out", at=one.now, parcel=Parcel(waybill="YT9", status=ParcelStatus.DELIVERED)))
    assert one.case.status is Status.CLOSED
    one.feed(back(world).model_copy(update={"at": one.now, "parcel": arrived(one.now)}))
    assert (one.case.status, one.case.round) == (Status.RECEIVED, 2)
    assert rulings(one, PAY)[0] == (Ruling.HOLD, "returns.belated")
    assert "closed before the goods" in one.verdicts[PAY][0].reason


@pytest.mark.parametrize(("end", "approved"), [("declined", False), ("cancelled", True)])
def test_what_a_colleague_declined_is_not_approved_by_itself_when_it_is_asked_for_again(world, desk, end, approved):
    one = desk(the_shop=world.shop(auto_approve=False)).feed(world.requested(), world.order())
    one.shop = world.shop()
    one.feed(RequestChanged(key="end", at=one.now + timedelta(hours=1), refs=(world.RETURN,), status=end))
    one.feed(world.requested(key="again", at=one.now + timedelta(hours=2)))
    assert (APPROVE in one.proposed()) is approved


def test_a_return_inside_the_window_is_offered_and_approved(world, desk):
    one = desk().feed(world.requested(), world.order())
    assert one.case.offered.automatic == "returns.window"
    assert isinstance(one.sent(APPROVE), ApproveReturn)
    assert one.verdicts[APPROVE] == []
    assert len(one.feed(world.says(), world.says(id="m2")).derived) == 1


@pytest.mark.parametrize(("days", "held"), [(30, False), (31, True)])
def test_a_return_outside_the_window_waits_for_a_person(world, desk, days, held):
    one = desk().feed(world.requested(), world.order(delivered_at=world.MONDAY - timedelta(days=days)))
    assert rulings(one, APPROVE) == ([(Ruling.HOLD, "returns.window")] if held else [])
    assert (one.case.offered is None) is held
    if held:
        assert one.verdicts[APPROVE][0].reason == "asked for 31 days after delivery; the window is 30 days"


def test_the_window_counts_from_the_parcel_and_else_from_the_purchase(world, desk):
    late = world.MONDAY - timedelta(days=40)
    parcel = Parcel(waybill="SF1", status=ParcelStatus.DELIVERED, delivered_at=world.MONDAY - timedelta(days=2))
    fresh = desk().feed(world.requested(), world.order(delivered_at=None, placed_at=late, parcels=(parcel,)))
    assert fresh.verdicts[APPROVE] == []
    bought = desk().feed(world.requested(), world.order(delivered_at=None, placed_at=late))
    assert rulings(bought, APPROVE) == [(Ruling.HOLD, "returns.window")]
    unknown = desk().feed(world.requested(), world.order(**OLD))
    assert rulings(unknown, APPROVE) == [(Ruling.HOLD, "returns.window")]


def test_nothing_is_approved_where_the_shop_does_not_want_it(world, desk):
    assert desk(the_shop=world.shop(auto_approve=False)).feed(world.requested(), world.order()).proposed() == []


@pytest.mark.row("S108")
def test_a_refund_without_return_waits_until_it_is_agreed_or_granted_by_a_rule(world, desk):
    ask = world.requested(CaseKind.REFUND, amount=Money.of("100 CNY"))
    held = desk().feed(ask, world.order())
    assert rulings(held, APPROVE) == [(Ruling.HOLD, "returns.agreement")]
    rule = RemedyOffered(key="o", at=world.MONDAY, remedy=RemedyKind.REFUND_ONLY, automatic="compensation.small")
    granted = desk().feed(ask, rule, world.order())
    assert granted.verdicts[APPROVE] == []
    assert granted.feed(approved(world)).verdicts[PAY] == []


@pytest.mark.row("S108")
def test_money_waits_for_the_agreement_of_both_sides(world, desk):
    one = desk(the_shop=world.shop(auto_approve=False))
    one.feed(world.requested(), world.order(), approved(world), back(world))
    assert rulings(one, PAY) == [(Ruling.HOLD, "returns.agreement")]
    pay = one.sent(PAY)
    one.feed(RemedyAccepted(key="yes", at=one.now, remedy=RemedyKind.RETURN_REFUND))
    assert one.case.agreed.accepted_at == one.now
    assert one.policies[0].review(pay, one.case, one.view()) is None


@pytest.mark.row("S108")
def test_an_offer_that_nobody_accepted_is_no_agreement(world, desk):
    one = desk(the_shop=world.shop(auto_approve=False))
    offer = RemedyOffered(key="o", at=one.now, remedy=RemedyKind.RETURN_REFUND)
    one.feed(world.requested(), offer, world.order(), approved(world), back(world))
    assert rulings(one, PAY) == [(Ruling.HOLD, "returns.agreement")]


def test_a_coupon_given_while_liability_is_open_grants_no_refund(world, desk):
    coupon = {"remedy": RemedyKind.COUPON, "automatic": "compensation.liability_open", "interim": True}
    one = desk().feed(world.requested(kind=CaseKind.REFUND), world.order())
    one.feed(RemedyOffered(key="o", at=one.now, **coupon), approved(world))
    assert [ruling for ruling, _ in rulings(one, PAY)] == [Ruling.HOLD]
    assert "neither agreed" in one.verdicts[PAY][0].reason


def test_an_interim_coupon_does_not_stand_in_the_way_of_a_return_inside_the_window(world, desk):
    coupon = {"remedy": RemedyKind.COUPON, "automatic": "compensation.liability_open", "interim": True}
    one = desk().feed(world.requested(), RemedyOffered(key="o", at=world.MONDAY, **coupon))
    one.advance(minutes=1).feed(world.order())
    assert one.case.offered.automatic == "returns.window"
    assert one.verdicts[APPROVE] == []


def test_what_came_back_is_refunded_line_by_line(world, desk):
    one = desk().feed(
        world.requested(lines=(Line(id="1", order_line="L1", quantity=2),)), world.order(), approved(world)
    )
    assert one.proposed("refund:") == []
    one.feed(back(world, ParcelStatus.IN_TRANSIT))
    assert one.proposed("refund:") == []
    one.feed(back(world))
    pay = one.sent(PAY)
    assert pay == PayRefund(order="O1", request="R1", amount=Money.of("500.00 CNY"), lines=(("1", 2),))
    assert one.verdicts[PAY] == []


@pytest.mark.parametrize(
    ("amount", "limit", "held"),
    [
        ("500.00 CNY", "500 CNY", False),
        ("500.01 CNY", "500 CNY", True),
        ("70 USD", "500 CNY, 70 USD", False),
        ("70.01 USD", "500 CNY, 70 USD", True),
        ("1 EUR", "500 CNY, 70 USD", True),
    ],
)
def test_a_refund_above_its_currency_s_limit_waits(world, desk, amount, limit, held):
    one = desk(the_shop=world.shop(refund_limit=limit))
    one.feed(world.requested(amount=Money.of(amount)), world.order(), approved(world), back(world))
    assert rulings(one, PAY) == ([(Ruling.HOLD, "returns.limit")] if held else [])
    if amount == "500.01 CNY":
        assert one.verdicts[PAY][0].reason == "500.01 CNY is above 500 CNY"


def test_one_hold_names_all_its_reasons(world, desk):
    one = desk(the_shop=world.shop(auto_approve=False))
    one.feed(world.requested(amount=Money.of("800 CNY")), world.order(), approved(world), back(world))
    (said,) = one.verdicts[PAY]
    assert said.rule == "returns.limit"
    assert said.reason == (
        "the remedy is neither agreed by both sides nor granted by a rule; "
        "800 CNY is above 500 CNY; 800 CNY is more than the 700 CNY left of the order"
    )


def test_what_was_refunded_before_counts(world, desk):
    one = desk().feed(
        world.requested(amount=Money.of("400 CNY")),
        world.order(refunded=Money.of("301 CNY")),
        approved(world),
        back(world),
    )
    assert one.verdicts[PAY][0].reason == "400 CNY is more than the 399 CNY left of the order"


def test_an_unknown_amount_is_a_matter_for_people_not_a_guess(world, desk):
    ask = world.requested(lines=(Line(id="1", sku="OTHER"),))
    one = desk().feed(ask, world.order(), approved(world), back(world))
    assert one.proposed("refund:") == []
    assert one.proposed("ticket:") == ["ticket:comment:refund-amount:1", "ticket:update:refund-amount:1"]
    bare = desk(the_shop=world.shop(helpdesk=None, staff=("wecom",)))
    bare.feed(ask, world.order(), approved(world), back(world))
    assert bare.proposed("staff:") == ["staff:refund-amount:1:wecom"]


def test_prices_that_differ_for_one_sku_are_not_guessed(world, desk):
    two = [OrderLine(id=f"L{n}", sku="KETTLE", price=Money.of(f"{n} CNY")) for n in (1, 2)]
    one = desk().feed(world.requested(lines=(Line(id="1", sku="KETTLE"),)), world.order(lines=tuple(two)))
    assert amount_of(one.case) is None


def test_an_exchange_is_approved_and_never_refunded(world, desk):
    one = desk().feed(world.requested(CaseKind.EXCHANGE), world.order(), approved(world), back(world))
    assert one.case.offered.kind is RemedyKind.EXCHANGE
    assert one.proposed() == [APPROVE]


def test_a_refunded_case_closes_once_the_buyer_was_told(world, desk):
    one = desk()
    one.ledger["progress:refunded:1"] = "due"
    one.feed(world.requested(), world.order(), RefundSeen(key="f", at=one.now, refund="F1"))
    assert one.case.status is Status.REFUNDED
    one.ledger["progress:refunded:1"] = "done"
    one.feed(world.says())
    assert (one.case.status, one.case.result) == (Status.CLOSED, "refunded")


def test_a_refunded_case_whose_buyer_is_told_nothing_closes_later(world, desk):
    one = desk().feed(world.requested(), world.order(), RefundSeen(key="f", at=world.MONDAY, refund="F1"))
    assert one.advance(hours=23).case.open
    assert one.advance(hours=1).case.status is Status.CLOSED


def test_a_buyer_who_came_back_after_the_money_is_left_to_a_person(world, desk):
    one = desk().feed(world.requested(), world.order(), RefundSeen(key="f", at=world.MONDAY, refund="F1"))
    one.advance(days=1)
    one.now += timedelta(hours=1)
    one.feed(Reopened(key="r", at=one.now))
    assert one.case.status is Status.REFUNDED
    assert one.advance(days=3).case.open


def test_a_limit_that_cannot_be_read_raises_and_so_holds(world, desk):
    with pytest.raises(ValueError, match="amount"):
        limits("five hundred")
