"""Parcels: exceptions by leg, silence, late dispatch, regions and weather, refusals, and the carrier asked for."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_logistics import Logistics
from rmabridge_logistics.legs import Leg, troubles
from rmabridge_logistics.wishes import wish

from rmabridge.model import (
    Address,
    AskCarrier,
    CaseKind,
    CheckCoverage,
    Classified,
    CoverageSeen,
    Direction,
    Form,
    GiveCredit,
    Issue,
    Money,
    Parcel,
    ParcelException,
    ParcelSeen,
    ParcelStatus,
    PrintLabel,
    RefundSeen,
    RemedyAccepted,
    RemedyKind,
    RemedyOffered,
    Reship,
    Ruling,
    Scan,
    Status,
)

P, X = ParcelStatus, ParcelException
XINJIANG = Address(country="CN", region="新疆维吾尔自治区", city="乌鲁木齐市", lines=("光明路 1 号",))
BLIZZARD = {"names": ["新疆"], "kind": "blizzard", "extra_days": 3}


@pytest.fixture
def desk(world):
    class Able(world.Desk):
        """A desk whose shop can do what the test says."""

        can = ()

        def view(self):
            able = lambda action: type(action) in self.can  # noqa: E731
            return replace(super().view(), able=able, actions=self.actions.get)

    def make(*can, order=(), kind=CaseKind.QUESTION, the_shop=None, policies=(), **settings):
        made = Able(world.policy(Logistics, **settings), *policies, the_shop=the_shop)
        made.can = can
        facts = {"delivered_at": None, "placed_at": made.now - timedelta(hours=1)} | dict(order)
        made.feed(world.says("你好", at=made.now), Classified(key="k", at=made.now, kind=kind), world.order(**facts))
        return made

    return make


def scan(at, status, exception=None, text=""):
    return Scan(at=at, status=status, exception=exception, text=text)


def seen(*scans, carrier="YTO", waybill="YT1", **facts):
    last = scans[-1]
    shown = {"waybill": waybill, "carrier": carrier, "status": last.status, "exception": last.exception} | facts
    key = f"p:{waybill}:{last.at}:{last.status}:{last.exception}:{len(scans)}"
    return ParcelSeen(key=key, at=last.at, parcel=Parcel(scans=scans, **shown))


def moving(one, **ago):
    return seen(scan(one.now - timedelta(**ago), P.IN_TRANSIT, text="离开【杭州转运中心】"))


@pytest.mark.row("S086")
@pytest.mark.parametrize(
    ("status", "leg", "hours"),
    [(P.INFO_RECEIVED, "pickup", 48), (P.IN_TRANSIT, "transit", 48), (P.OUT_FOR_DELIVERY, "delivery", 24)],
)
def test_a_parcel_that_rests_too_long_raises_the_exception_of_its_leg(desk, status, leg, hours):
    one = desk(watch_dispatch=False)
    one.feed(seen(scan(one.now, status)))
    assert one.runs("leg:YT1") == one.now + timedelta(hours=hours)
    one.advance(hours=hours - 1)
    assert one.proposed("ticket:comment:exception") == []
    one.advance(hours=1)
    (key,) = one.proposed("ticket:comment:exception")
    assert key.startswith(f"ticket:comment:exception:YT1:{leg}.stalled:")
    assert "停滞不动" in one.sent(key).text
    one.advance(hours=1).feed(seen(scan(one.now, status), scan(one.now, status)))
    assert len(one.proposed("ticket:comment:exception")) == 1


@pytest.mark.parametrize(
    ("before", "exception", "name"),
    [
        (P.INFO_RECEIVED, X.SHIPPER_DATA, "pickup.shipper_data"),
        (P.IN_TRANSIT, X.DAMAGED, "transit.damaged"),
        (P.OUT_FOR_DELIVERY, X.RECIPIENT_UNAVAILABLE, "delivery.recipient_unavailable"),
    ],
)
def test_what_the_carrier_reports_is_an_exception_of_the_leg_it_happened_on(world, before, exception, name):
    now = world.MONDAY
    parcel = seen(scan(now - timedelta(hours=1), before), scan(now, P.EXCEPTION, exception)).parcel
    case = world.Desk(world.policy(Logistics)).case
    assert [one.name for one in troubles(case, parcel, now, (), timedelta())] == [name]


def test_an_operator_s_own_patience_goes_first(desk):
    one = desk(limits=[{"leg": "transit", "hours": 6, "carriers": ["圆通"]}])
    assert one.feed(moving(one, hours=0)).runs("leg:YT1") == one.now + timedelta(hours=6)


def test_with_the_customs_and_in_a_locker_a_parcel_may_rest(desk):
    one = desk(watch_dispatch=False)
    one.feed(seen(scan(one.now, P.CUSTOMS)), seen(scan(one.now, P.AVAILABLE_FOR_PICKUP), waybill="YT2"))
    one.advance(days=30)
    assert one.proposed("ticket:comment:exception") == []
    assert all(parcel.status is not P.LOST for parcel in one.case.parcels)


@pytest.mark.row("S024")
@pytest.mark.parametrize(
    ("scans", "issue", "sub"),
    [
        ([(P.PICKED_UP, None, 200), (P.IN_TRANSIT, None, 190)], Issue.LATE_DELIVERY, "slow"),
        ([], Issue.LATE_DELIVERY, "late_dispatch"),
        ([(P.IN_TRANSIT, None, 30), (P.EXCEPTION, X.DAMAGED, 2)], Issue.DAMAGED_IN_TRANSIT, "damaged"),
    ],
)
def test_a_complaint_about_the_way_gets_its_cause_from_the_tracking_history(world, desk, scans, issue, sub):
    shown = tuple(scan(world.MONDAY - timedelta(hours=hours), status, what) for status, what, hours in scans)
    parcels = (Parcel(waybill="YT1", carrier="YTO", status=shown[-1].status, scans=shown),) if shown else ()
    placed = world.MONDAY - timedelta(days=9)
    one = desk(order={"placed_at": placed, "parcels": parcels}, silences=[{"days": 60}])
    assert (one.case.issue, one.case.sub) == (issue, sub)
    assert one.case.why


def test_a_case_about_the_goods_stays_one_whatever_the_parcel_does(desk):
    one = desk(order={"placed_at": None})
    one.feed(Classified(key="q", at=one.now, issue=Issue.QUALITY_DEFECT), moving(one, days=6))
    assert (one.case.issue, one.case.also) == (Issue.QUALITY_DEFECT, ())
    one.feed(seen(scan(one.now, P.EXCEPTION, X.DAMAGED), waybill="YT2"))
    assert (one.case.issue, one.case.also) == (Issue.QUALITY_DEFECT, (Issue.DAMAGED_IN_TRANSIT,))


def test_silence_makes_a_parcel_lost_once_and_offers_goods_or_money(desk):
    one = desk()
    one.feed(moving(one, hours=1))
    one.advance(days=6)
    assert one.case.parcels[0].status is P.IN_TRANSIT
    one.advance(days=1)
    assert (one.case.parcels[0].status, one.case.issue) == (P.LOST, Issue.LOST_PARCEL)
    assert [each.remedy for each in one.case.offered.choices] == [RemedyKind.RESHIP, RemedyKind.REFUND_ONLY]
    assert one.case.offered.choices[1].amount == Money.of("700 CNY")
    assert "请直接回复" in one.sent("logistics:lost:YT1").text
    one.advance(days=9)
    assert len(one.proposed("logistics:lost")) == 1
    assert one.proposed("reship") == one.proposed("refund") == []


@pytest.mark.parametrize(("amount", "offered"), [("5 CNY", "695 CNY"), ("700 CNY", None), (None, None)])
def test_a_gesture_from_before_does_not_stand_in_the_way_of_an_offer_for_a_lost_parcel(desk, amount, offered):
    one = desk()
    paid = Money.of(amount) if amount else None
    one.feed(moving(one, hours=1), RefundSeen(key="g", at=one.now, refund="G1", amount=paid)).advance(days=7)
    choices = one.case.offered.choices if one.case.offered else ()
    assert [str(each.amount) for each in choices if each.remedy is RemedyKind.REFUND_ONLY] == [offered] * bool(offered)


@pytest.mark.parametrize(
    ("remedy", "key"), [(RemedyKind.RESHIP, "reship:C1:all"), (RemedyKind.REFUND_ONLY, "refund:O1:all")]
)
def test_what_the_buyer_chooses_for_a_lost_parcel_is_started(desk, remedy, key):
    one = desk()
    one.feed(moving(one, hours=1)).advance(days=7)
    one.feed(RemedyAccepted(key="a", at=one.now, remedy=remedy))
    assert key in one.ledger


def test_goods_or_money_but_never_both_and_nothing_on_another_policy_s_offer(world, desk):
    one = desk()
    one.feed(moving(one, hours=1)).advance(days=7)
    one.feed(RemedyAccepted(key="a", at=one.now, remedy=RemedyKind.RESHIP)).advance(minutes=1)
    one.feed(RemedyAccepted(key="b", at=one.now, remedy=RemedyKind.REFUND_ONLY))
    assert (one.proposed("reship:"), one.proposed("refund:")) == (["reship:C1:all"], [])
    two = desk(offer=False)
    two.feed(RemedyOffered(key="o", at=two.now, remedy=RemedyKind.RESHIP), moving(two, hours=1)).advance(days=7)
    two.feed(RemedyAccepted(key="a", at=two.now, remedy=RemedyKind.RESHIP))
    assert two.proposed("reship:") == []


def test_a_shop_may_refund_lost_parcels_by_rule(desk):
    one = desk(lost_remedy="refund")
    one.feed(moving(one, hours=1)).advance(days=7)
    assert one.case.offered.automatic == "logistics.lost"
    assert one.sent("refund:O1:all").amount == Money.of("700 CNY")


def test_of_several_parcels_nobody_guesses_what_the_lost_one_held(desk):
    one = desk(lost_remedy="refund")
    one.feed(moving(one, hours=1), seen(scan(one.now, P.IN_TRANSIT), waybill="YT2")).advance(days=7)
    assert one.proposed("refund") == []


def test_a_scan_that_came_late_finds_the_parcel_again(desk):
    one = desk()
    start = one.now
    one.feed(moving(one, hours=1)).advance(days=7)
    assert one.case.parcels[0].status is P.LOST
    one.feed(seen(scan(start - timedelta(hours=1), P.IN_TRANSIT), scan(start + timedelta(days=5), P.OUT_FOR_DELIVERY)))
    assert one.case.parcels[0].status is P.OUT_FOR_DELIVERY


@pytest.mark.parametrize("remedy", ["refund", "reship"])
def test_what_waits_to_be_given_for_a_lost_parcel_is_held_when_the_parcel_is_found(desk, remedy):
    one = desk(lost_remedy=remedy)
    one.feed(moving(one, hours=1)).advance(days=7)
    [key] = one.proposed(f"{remedy}:")
    assert one.policies[0].review(one.actions[key], one.case, one.view()) is None
    one.feed(seen(scan(one.now, P.OUT_FOR_DELIVERY)))
    verdict = one.policies[0].review(one.actions[key], one.case, one.view())
    assert (verdict.ruling, verdict.rule) == (Ruling.HOLD, "logistics.lost")


def test_a_snapshot_without_news_finds_no_lost_parcel_and_a_second_silence_loses_it_again(desk):
    one = desk()
    first = scan(one.now, P.IN_TRANSIT)
    one.feed(seen(first)).advance(days=7)
    again = seen(first).model_copy(update={"key": "again", "at": one.now})
    assert one.feed(again).advance(days=1).case.parcels[0].status is P.LOST
    one.feed(seen(first, scan(one.now, P.IN_TRANSIT)))
    assert one.case.parcels[0].status is P.IN_TRANSIT
    assert one.advance(days=6).case.parcels[0].status is P.IN_TRANSIT
    assert one.advance(days=1).case.parcels[0].status is P.LOST
    assert len(one.proposed("logistics:lost")) == 1


def test_a_word_of_the_carrier_without_a_scan_counts_as_heard(desk):
    one = desk()
    one.feed(moving(one, hours=0)).advance(days=7)
    said = Parcel(waybill="YT1", status=P.OUT_FOR_DELIVERY)
    one.feed(ParcelSeen(key="said", at=one.now, parcel=said))
    assert one.case.parcels[0].status is P.OUT_FOR_DELIVERY
    one.advance(days=6)
    assert one.case.parcels[0].status is P.OUT_FOR_DELIVERY
    assert one.advance(days=1).case.parcels[0].status is P.LOST


def test_nobody_is_lost_where_nobody_tracks_or_the_goods_have_come(world, desk):
    one = desk(the_shop=world.shop(carrier=None))
    one.feed(ParcelSeen(key="p", at=one.now, parcel=Parcel(waybill="YT1", status=P.IN_TRANSIT))).advance(days=40)
    assert one.case.parcels[0].status is P.IN_TRANSIT
    two = desk(order={"delivered_at": world.MONDAY})
    two.feed(moving(two, hours=1)).advance(days=40)
    assert two.case.parcels[0].status is P.IN_TRANSIT


@pytest.mark.row("S067")
def test_a_late_dispatch_is_told_with_a_coupon_once(world, desk):
    one = desk(GiveCredit, order={"placed_at": world.MONDAY - timedelta(hours=40)}, coupon="5 CNY")
    assert one.proposed() == []
    one.advance(hours=8)
    assert (one.case.issue, one.case.sub) == (Issue.LATE_DELIVERY, "late_dispatch")
    assert one.proposed() == ["credit:coupon:O1:late_dispatch"]
    one.settle("credit:coupon:O1:late_dispatch", ref="SORRY-1")
    message = one.sent("logistics:late_dispatch:O1")
    assert "SORRY-1" in message.text and "抱歉" in message.text and "仓库" in message.text
    one.advance(days=3).feed(world.says("?", id="m2", at=one.now))
    assert len(one.proposed("logistics:late_dispatch")) == len(one.proposed("credit")) == 1
    assert message.effect == "late_dispatch:O1"


def test_an_apology_does_not_wait_long_for_its_coupon_and_the_coupon_follows(world, desk):
    one = desk(GiveCredit, order={"placed_at": world.MONDAY - timedelta(hours=49)}, coupon="5 CNY")
    assert one.proposed("logistics") == []
    one.advance(minutes=15)
    assert "优惠券" not in one.sent("logistics:late_dispatch:O1").text
    one.settle("credit:coupon:O1:late_dispatch", ref="SORRY-1")
    assert "SORRY-1" in one.sent("logistics:late_dispatch:O1:coupon").text


@pytest.mark.parametrize(
    "facts", [{"cancelled_at": True}, {"delivered_at": True}, {"refunded": Money.of("700 CNY")}, {"placed_at": None}]
)
def test_an_order_that_need_not_leave_is_not_late(world, desk, facts):
    order = {name: world.MONDAY if value is True else value for name, value in facts.items()}
    one = desk(order={"placed_at": world.MONDAY - timedelta(days=4)} | order)
    assert one.advance(days=1).proposed("logistics") == []


def test_what_the_carrier_has_is_not_late_to_leave(world, desk):
    one = desk(order={"placed_at": world.MONDAY - timedelta(hours=47)})
    one.feed(seen(scan(one.now, P.PICKED_UP))).advance(hours=2)
    assert one.proposed("logistics:late_dispatch") == []


@pytest.mark.row("S065")
@pytest.mark.row("S066")
def test_xinjiang_takes_seven_to_twelve_days_and_a_blizzard_longer(world, desk):
    calm = desk(order={"ship_to": XINJIANG}, limits=[{"leg": "transit", "hours": 999}], silences=[{"days": 99}])
    calm.feed(seen(scan(calm.now, P.PICKED_UP)))
    text = calm.sent("logistics:eta:YT1").text
    assert "7-12 天" in text and "暴雪" not in text
    assert calm.runs("leg:YT1") == calm.now + timedelta(days=12)
    assert calm.feed(seen(scan(calm.now, P.PICKED_UP), scan(calm.now, P.IN_TRANSIT))).proposed("logistics:eta") == [
        "logistics:eta:YT1"
    ]
    storm = BLIZZARD | {"start": world.MONDAY - timedelta(days=1), "end": world.MONDAY + timedelta(days=30)}
    settings = {"limits": [{"leg": "transit", "hours": 999}], "silences": [{"days": 99}], "weather": [storm]}
    cold = desk(order={"ship_to": XINJIANG}, **settings)
    cold.feed(seen(scan(cold.now, P.PICKED_UP)))
    assert "7-15 天" in cold.sent("logistics:eta:YT1").text and "暴雪" in cold.sent("logistics:eta:YT1").text
    assert calm.advance(days=12).case.sub == "slow"
    assert cold.advance(days=12).case.sub is None
    assert cold.advance(days=3).case.sub == "slow"


def test_a_notice_that_is_over_or_elsewhere_says_nothing(world, desk):
    over = BLIZZARD | {"start": world.MONDAY - timedelta(days=9), "end": world.MONDAY}
    near = Address(country="CN", region="浙江省", city="杭州市")
    one = desk(order={"ship_to": XINJIANG}, weather=[over]).feed(seen(scan(world.MONDAY, P.PICKED_UP)))
    assert "暴雪" not in one.sent("logistics:eta:YT1").text
    two = desk(order={"ship_to": near}).feed(seen(scan(world.MONDAY, P.PICKED_UP)))
    assert two.proposed("logistics:eta") == []


def test_an_operator_s_files_go_before_the_shipped_regions(world, desk, tmp_path: Path):
    regions, weather = tmp_path / "r.toml", tmp_path / "w.toml"
    regions.write_text('[[regions]]\nnames = ["新疆"]\ndays = [5, 9]\nnotice = true\n', encoding="utf-8")
    notice = 'kind = "flood"\nextra_days = 2\nstart = 2026-01-01T00:00:00Z\nend = 2026-02-01T00:00:00Z\n'
    weather.write_text(f"[[weather]]\n{notice}", encoding="utf-8")
    one = desk(order={"ship_to": XINJIANG}, regions_file=regions, weather_file=weather)
    text = one.feed(seen(scan(one.now, P.PICKED_UP))).sent("logistics:eta:YT1").text
    assert "5-11 天" in text and "洪水" in text


@pytest.mark.row("S068")
def test_out_for_delivery_reminds_to_look_first_and_a_refusal_starts_the_return(desk):
    one = desk()
    out = scan(one.now, P.OUT_FOR_DELIVERY, text="派送中")
    one.feed(seen(out), seen(out, scan(one.now + timedelta(minutes=5), P.OUT_FOR_DELIVERY)))
    reminder = one.sent("logistics:inspect:YT1")
    assert "先检查" in reminder.text and "拒收" in reminder.text
    assert len(one.proposed("logistics:inspect")) == 1
    no = scan(one.now + timedelta(hours=2), P.ATTEMPT_FAILED, X.REFUSED, "收件人拒收")
    one.feed(seen(out, no))
    assert (one.case.status, one.case.kind, one.case.request.reason) == (
        Status.REQUESTED,
        CaseKind.RETURN,
        "refused_at_door",
    )


def test_an_old_scan_reminds_nobody(desk):
    one = desk()
    one.feed(seen(scan(one.now - timedelta(days=3), P.OUT_FOR_DELIVERY)))
    assert one.proposed("logistics:inspect") == []


@pytest.mark.row("S092")
def test_a_refused_parcel_is_refunded_when_it_is_back_and_not_before(world, desk):
    from rmabridge_returns import Returns

    one = desk(policies=(world.policy(Returns),), the_shop=world.shop(auto_approve=False, refund_limit="1000 CNY"))
    no = scan(one.now, P.ATTEMPT_FAILED, X.REFUSED, "收件人拒收")
    one.feed(seen(no))
    assert one.case.offered.automatic == "logistics.refused"
    on_its_way = scan(one.now + timedelta(hours=5), P.RETURNING, X.RETURNING)
    one.feed(seen(no, on_its_way))
    assert (one.case.status, one.case.parcels[0].direction) == (Status.RETURNING, Direction.BACK)
    assert one.proposed("refund") == []
    one.advance(days=3).feed(seen(no, on_its_way, scan(one.now, P.RETURNED, X.RETURNING)))
    assert one.case.status is Status.RECEIVED
    assert one.sent("refund:O1:all").amount == Money.of("700 CNY")
    assert one.ledger["refund:O1:all"] == "due"


def test_a_refused_parcel_is_back_when_its_carrier_pushes_that_it_was_delivered_to_its_sender(desk):
    one = desk()
    way = [(0, P.ATTEMPT_FAILED, X.REFUSED), (5, P.RETURNING, X.RETURNING), (72, P.DELIVERED, None)]
    for hours, status, exception in way:
        at = one.now + timedelta(hours=hours)
        node = Parcel(
            waybill="SF1", status=status, exception=exception, scans=(scan(at, status, exception),), turns=True
        )
        one.feed(ParcelSeen(key=f"node:{hours}", at=at, refs=(), parcel=node))
    (parcel,) = one.case.parcels
    assert (one.case.status, parcel.status, parcel.direction) == (Status.RECEIVED, P.DELIVERED, Direction.BACK)


def test_a_refusal_that_the_carrier_calls_returned_at_once_pays_nothing_yet(desk):
    one = desk()
    one.feed(seen(scan(one.now, P.RETURNED, X.REFUSED, "拒签")))
    assert one.case.request.reason == "refused_at_door"
    assert one.case.status is not Status.RECEIVED


def test_a_parcel_taken_at_the_second_try_is_not_on_its_way_back(desk):
    one = desk()
    no = scan(one.now, P.ATTEMPT_FAILED, X.REFUSED)
    one.feed(seen(no), seen(no, scan(one.now + timedelta(hours=20), P.DELIVERED)))
    assert one.case.parcels[0].direction is Direction.OUT
    assert one.case.status is Status.REQUESTED


@pytest.mark.row("S030")
def test_a_carrier_that_was_not_asked_for_is_checked_told_and_the_money_offered(world, desk):
    one = desk(CheckCoverage, order={"note": "请发圆通快递", "ship_to": XINJIANG})
    one.feed(seen(scan(one.now, P.IN_TRANSIT), carrier="HHTT", waybill="TT1"))
    assert (one.case.issue, one.case.offered) == (Issue.WRONG_CARRIER, None)
    (check,) = one.proposed("coverage:HHTT")
    assert one.proposed("logistics:wrong_carrier") == [], "first what the carrier says"
    one.feed(CoverageSeen(key="cv", at=one.now, carrier="HHTT", served=False)).settle(check)
    assert (one.case.offered.kind, one.case.offered.amount) == (RemedyKind.REFUND_ONLY, Money.of("700 CNY"))
    assert "送不到您的地址" in one.sent("logistics:wrong_carrier:TT1").text


def test_the_carrier_that_was_asked_for_is_no_issue_by_any_of_its_names(desk):
    one = desk(order={"note": "发圆通"})
    one.feed(seen(scan(one.now, P.IN_TRANSIT), carrier="yuantong"))
    assert one.case.issue is None


@pytest.mark.row("S089")
def test_a_carrier_that_does_not_serve_the_address_is_blocked_for_replacements(world, desk):
    one = desk()
    one.feed(seen(scan(one.now, P.EXCEPTION, X.OUT_OF_AREA), carrier="HHTT"))
    assert one.case.coverage == {"HHTT": False}
    verdict = one.policies[0].review(reship(carrier="天天快递"), one.case, one.view())
    assert (verdict.ruling, verdict.rule) == (Ruling.DENY, "logistics.coverage")
    assert one.policies[0].review(reship(carrier="SF"), one.case, one.view()) is None


def reship(**facts):
    return Reship(external="C1", lines=(("KETTLE", 1),), **facts)


def test_a_replacement_goes_by_the_carrier_asked_for_and_by_another_only_as_a_person_says(desk):
    one = desk(order={"note": "不要发天天，发圆通"})
    policy = one.policies[0]
    assert policy.amend(reship(), one.case, one.view()).carrier == "YTO"
    verdict = policy.review(reship(carrier="SF"), one.case, one.view())
    assert verdict.ruling is Ruling.HOLD and "YTO" in verdict.reason
    assert policy.review(reship(carrier="圆通"), one.case, one.view()) is None


def label(**facts):
    return PrintLabel(external="C1", order="O1", address=XINJIANG, **facts)


@pytest.mark.row("S090")
def test_a_label_of_another_carrier_than_asked_for_needs_a_reason_which_stays_beside_the_verdict(desk):
    one = desk(order={"note": "发圆通"})
    policy = one.policies[0]
    assert policy.amend(label(), one.case, one.view()).carrier == "YTO"
    assert policy.amend(label(carrier="SF"), one.case, one.view()).asked == ("YTO",)
    assert policy.amend(label(carrier="SF", asked=("YTO",)), one.case, one.view()) is None
    refused = policy.review(label(carrier="SF"), one.case, one.view())
    assert (refused.ruling, refused.rule) == (Ruling.DENY, "logistics.requested_carrier")
    assert "YTO, not SF" in refused.reason and "'override'" in refused.reason
    granted = policy.review(label(carrier="顺丰", override="圆通不进村"), one.case, one.view())
    assert (granted.ruling, granted.reason.endswith("圆通不进村")) == (Ruling.ALLOW, True)
    for name in ("圆通速递", "YTO", "yuantong"):
        assert policy.review(label(carrier=name), one.case, one.view()) is None


def test_a_label_goes_by_any_carrier_where_none_is_asked_for_but_not_by_an_unwanted_or_unserved_one(desk):
    one = desk(order={"note": "不要发天天"})
    policy = one.policies[0]
    assert policy.amend(label(), one.case, one.view()) is None
    assert policy.review(label(), one.case, one.view()) is None
    assert policy.review(label(carrier="SF"), one.case, one.view()) is None
    assert policy.review(label(carrier="天天快递"), one.case, one.view()).ruling is Ruling.DENY
    one.feed(CoverageSeen(key="cv", at=one.now, carrier="SF", served=False))
    verdict = policy.review(label(carrier="SF", override="it is near"), one.case, one.view())
    assert (verdict.ruling, verdict.rule) == (Ruling.DENY, "logistics.coverage")


@pytest.mark.parametrize(
    ("note", "wanted", "unwanted"),
    [
        ("发圆通", ["YTO"], set()),
        ("麻烦请发顺丰，谢谢", ["SF"], set()),
        ("please use UPS", ["UPS"], set()),
        ("Ship by Royal Mail please", ["11031"], set()),
        ("走邮政", ["YZPY"], set()),
        ("發順豐", ["SF"], set()),
        ("别用韵达", [], {"YD"}),
        ("no USPS please", [], {"USPS"}),
        ("不要发天天，发中通或者申通", ["ZTO"], {"HHTT"}),
        ("尽快发货，要红色的", [], set()),
        ("leave it at the back door", [], set()),
        (None, [], set()),
    ],
)
def test_a_note_is_read_for_the_carrier_it_asks_for(note, wanted, unwanted):
    assert wish(note) == (tuple(wanted), frozenset(unwanted))


@given(st.text(max_size=80))
def test_any_note_can_be_read(note):
    wish(note)


def test_a_stalled_parcel_and_a_buyer_s_plea_become_enquiries(world, desk):
    one = desk(AskCarrier)
    one.feed(moving(one, hours=1)).advance(hours=48)
    assert one.sent("carrier:ask:YT1:silent").external == "C1"
    one.feed(world.says("请帮我联系快递", id="m2", at=one.now))
    assert one.proposed("carrier:ask") == ["carrier:ask:YT1:silent", "carrier:ask:YT1:other"]


def test_without_a_call_a_colleague_phones_the_carrier(world, desk):
    one = desk()
    one.feed(moving(one, hours=1)).advance(minutes=1).feed(world.says("请帮我联系快递", id="m2", at=one.now))
    assert "电话联系" in one.sent("ticket:comment:help:YT1").text


@pytest.mark.parametrize("template", ["eta", "late_dispatch", "coupon", "inspect", "wrong_carrier", "lost"])
def test_words_for_threads_fit_the_smallest_marketplace(world, template):
    assert world.CATALOGUE.longest(f"logistics.{template}", Form.THREAD).bytes <= 400


def test_every_leg_has_a_limit_for_any_carrier():
    from rmabridge_logistics.legs import shipped

    assert {one.leg for one in shipped()["limits"] if not one.carriers} == set(Leg)


def test_the_promised_day_is_the_carriers_until_it_is_over(world, desk):
    one = desk()
    day = (one.now + timedelta(days=1)).replace(hour=12, minute=0)
    one.feed(seen(scan(one.now, P.IN_TRANSIT), eta=day))
    one.advance(days=1, hours=12)
    assert one.case.issue is not Issue.LATE_DELIVERY
    one.advance(days=1)
    assert (one.case.issue, one.case.sub) == (Issue.LATE_DELIVERY, "slow")
