"""Each finished step is told once."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_first_reply import FirstReply
from rmabridge_progress import Progress, expected
from rmabridge_returns import Returns

from rmabridge.model import (
    CaseKind,
    Closed,
    Direction,
    Money,
    Parcel,
    ParcelSeen,
    ParcelStatus,
    RefundSeen,
    RefundStatus,
    Reopened,
    RequestChanged,
    RequestStatus,
)

HOUR = timedelta(hours=1)
AMOUNT = Money.of("250 CNY")


def story(world):
    """A return from the request to the money, in order."""
    at = world.MONDAY
    back = Parcel(waybill="YT1", direction=Direction.BACK, status=ParcelStatus.DELIVERED, delivered_at=at + 2 * HOUR)
    return [
        world.requested(),
        world.order(),
        RequestChanged(key="ap", at=at + HOUR, status=RequestStatus.APPROVED),
        ParcelSeen(key="back", at=at + 2 * HOUR, parcel=back),
        RefundSeen(key="f1", at=at + 3 * HOUR, refund="F1", amount=AMOUNT, status=RefundStatus.PENDING),
        RefundSeen(key="f2", at=at + 4 * HOUR, refund="F1", amount=AMOUNT),
    ]


@pytest.fixture
def desk(world):
    return lambda **facts: world.Desk(world.policy(Progress), **facts)


@pytest.mark.row("S062")
def test_every_step_is_told_once_even_when_all_is_played_again(world, desk):
    one = desk().feed(*story(world), *story(world))
    expected = ["approved", "received", "refund_started", "refunded"]
    assert one.proposed("progress:") == [f"progress:{step}:1" for step in expected]
    one.seen.clear()
    one.feed(*story(world))
    assert one.proposed("progress:") == [f"progress:{step}:1" for step in expected]
    assert {one.sent(key).replaces for key in one.proposed()} == {"progress:1"}


def test_an_approval_says_where_and_how_to_send_the_goods(world, desk):
    text = desk().feed(*story(world)[:3]).sent("progress:approved:1").text
    for words in ("文一西路", "服务编号 C1", "寄件凭证", "包好", "单号"):
        assert words in text


def test_a_refusal_gives_the_reason(world, desk):
    no = RequestChanged(key="no", at=world.MONDAY + HOUR, status=RequestStatus.DECLINED, reason="已超过退货期限")
    assert "已超过退货期限" in desk().feed(*story(world)[:2], no).sent("progress:declined:1").text


def test_what_is_declined_again_is_told_again_but_not_what_the_marketplace_only_repeats(world, desk):
    one = desk().feed(*story(world)[:2])
    for number, status in enumerate(("declined", "declined", "requested", "declined", "requested", "approved"), 1):
        one.feed(RequestChanged(key=f"k{number}", at=world.MONDAY + number * HOUR, status=status))
    assert one.proposed("progress:") == ["progress:declined:1", "progress:declined:1:1", "progress:approved:1:2"]


def test_a_cancelled_request_is_told(world, desk):
    gone = RequestChanged(key="x", at=world.MONDAY + HOUR, status=RequestStatus.CANCELLED)
    assert desk().feed(*story(world)[:2], gone).proposed() == ["progress:cancelled:1"]


def test_of_several_steps_at_once_only_the_newest_is_told(world, desk):
    events = story(world)
    one = desk().feed(events[0], events[5], events[4], events[3], events[2], events[1])
    assert one.proposed() == ["progress:refunded:1"]


def test_a_refund_that_failed_does_not_bring_an_older_step_back(world, desk):
    events = story(world)
    one = desk().feed(*events[:3], events[4])
    failed = RefundSeen(key="bad", at=world.MONDAY + 5 * HOUR, refund="F1", status=RefundStatus.FAILED)
    one.feed(failed, events[3])
    assert one.proposed() == ["progress:approved:1", "progress:refund_started:1"]
    assert one.runs("refund-late") is None


def test_an_approved_refund_without_return_asks_for_nothing_back(world, desk):
    events = story(world)
    one = desk().feed(world.requested(CaseKind.REFUND), *events[1:3])
    assert one.sent("progress:approved:1").template.id == "progress.approved_refund"


@pytest.mark.row("S064")
@pytest.mark.parametrize(
    ("method", "day"), [("alipay", "2026年1月6日"), ("Credit_Card", "2026年1月14日"), (None, "2026年1月6日")]
)
def test_a_refund_names_amount_and_day_by_payment_method(world, desk, method, day):
    the_shop = world.shop(refund_days={"default": 3, "alipay": 1, "credit_card": 7})
    events = story(world)
    started = events[4].model_copy(update={"method": method})
    text = desk(the_shop=the_shop).feed(*events[:3], started).sent("progress:refund_started:1").text
    assert day in text
    assert "250.00 元" in text


@pytest.mark.row("S064")
def test_a_late_refund_is_followed_up_once_and_never_when_it_came(world, desk):
    events = story(world)
    late = desk().feed(*events[:5])
    assert late.runs("refund-late") == datetime(2026, 1, 12, 23, 59, 59, tzinfo=ZoneInfo("Asia/Shanghai"))
    late.advance(days=6)
    assert late.proposed("progress:refund_late") == []
    late.advance(days=3).advance(days=3)
    assert late.proposed("progress:refund_late") == ["progress:refund_late:1"]
    assert "没有完成" in late.sent("progress:refund_late:1").text
    done = desk().feed(*events)
    assert done.runs("refund-late") is None
    assert done.advance(days=20).proposed("progress:refund_late") == []


@pytest.mark.row("S064")
def test_a_late_refund_of_a_closed_case_is_followed_up_too(world, desk):
    one = desk().feed(*story(world)[:5], Closed(key="c", at=world.MONDAY + 6 * HOUR, result="solved"))
    assert one.advance(days=9).proposed("progress:refund_late") == ["progress:refund_late:1"]


@pytest.mark.row("S063")
def test_a_shipped_exchange_names_date_carrier_number_and_link(world, desk):
    at = world.MONDAY
    first = Parcel(waybill="SF0", carrier="SF", status=ParcelStatus.DELIVERED, shipped_at=at - 72 * HOUR)
    new = Parcel(waybill="SF9", carrier="SF", shipped_at=at + 30 * HOUR, url="https://example.com/SF9")
    one = desk().feed(world.requested(CaseKind.EXCHANGE), world.order(parcels=(first,)), story(world)[2])
    assert "换货" in one.sent("progress:approved:1").text
    seen = ParcelSeen(key="s1", at=at + 31 * HOUR, parcel=new)
    one.feed(seen, seen.model_copy(update={"key": "s2", "at": at + 32 * HOUR}), story(world)[3])
    assert one.proposed() == ["progress:approved:1", "progress:exchange_shipped:1"]
    text = one.sent("progress:exchange_shipped:1").text
    for words in ("2026年1月6日", "SF，", "SF9", "https://example.com/SF9"):
        assert words in text


def test_a_reopened_case_does_not_hear_old_steps_again(world, desk):
    one = desk().feed(*story(world), Closed(key="c", at=world.MONDAY + 5 * HOUR, result="refunded"))
    one.feed(Reopened(key="r", at=world.MONDAY + 6 * HOUR))
    assert one.proposed("progress:refunded") == ["progress:refunded:1"]
    one.feed(RefundSeen(key="f3", at=world.MONDAY + 7 * HOUR, refund="F2", amount=AMOUNT))
    assert one.proposed("progress:refunded") == ["progress:refunded:1", "progress:refunded:2"]


@pytest.mark.parametrize(
    ("paid", "days", "holidays", "arrives"),
    [
        ("2026-01-09T10:00", 1, None, "2026-01-12"),
        ("2026-01-09T10:00", 0, None, "2026-01-09"),
        ("2026-09-30T10:00", 3, "CN", "2026-10-10"),
        ("2026-09-30T10:00", 3, None, "2026-10-05"),
    ],
)
def test_working_days_skip_weekends_and_the_shops_holidays(world, paid, days, holidays, arrives):
    zone = ZoneInfo("Asia/Shanghai")
    at = datetime.fromisoformat(paid).replace(tzinfo=zone)
    shop = world.shop(refund_days={"default": days}, holidays=holidays)
    case = world.Desk(the_shop=shop).feed(RefundSeen(key="r", at=at, refund="F1", status=RefundStatus.PENDING)).case
    assert expected(case, shop).isoformat() == f"{arrives}T23:59:59+08:00"


@pytest.mark.row("S062")
@given(data=st.data())
def test_no_order_of_events_proposes_two_keys_for_one_step(world, data):
    events = data.draw(st.permutations([*story(world), world.says(at=world.MONDAY + HOUR)]))
    one = world.Desk(world.policy(FirstReply), world.policy(Progress), world.policy(Returns))
    one.feed(*events, *data.draw(st.lists(st.sampled_from(events))))
    steps = [key.split(":")[1] for key in one.proposed("progress:")]
    assert len(steps) == len(set(steps))
    assert steps[-1:] == ["refunded"]
    for prefix in ("refund:", "return:decide:", "reply:first:"):
        assert len(one.proposed(prefix)) <= 1


def test_after_a_small_gesture_the_approval_tells_all_the_same_where_to_send_the_goods(world):
    one = world.Desk(world.policy(Progress))
    one.feed(world.requested(), world.order())
    gesture = RefundSeen(key="r1", at=one.now, refund="F1", status=RefundStatus.DONE, amount=Money.of("10.00 CNY"))
    one.feed(gesture).settle("progress:refunded:1", ref="a", account="mail").advance(hours=5)
    one.feed(RequestChanged(key="ap", at=one.now, status=RequestStatus.APPROVED, refs=(world.RETURN,)))
    assert "文一西路" in one.sent("progress:approved:1").text


def test_a_second_refund_is_told_once_with_its_own_amount_and_the_first_one_stays_told(world):
    one = world.Desk(world.policy(Progress))
    one.feed(world.requested(), world.order())
    gesture = RefundSeen(key="r1", at=one.now, refund="F1", amount=Money.of("10.00 CNY"))
    one.feed(gesture).settle("progress:refunded:1", ref="a", account="mail").advance(days=5)
    full = RefundSeen(key="r2", at=one.now, refund="F2", amount=Money.of("240.00 CNY"), status=RefundStatus.PENDING)
    one.feed(full)
    assert one.proposed("progress:") == ["progress:refunded:1"]
    one.feed(full.model_copy(update={"key": "r3", "status": RefundStatus.DONE, "at": one.now + HOUR}))
    for number, again in enumerate((gesture, full)):
        one.feed(again.model_copy(update={"key": f"again{number}", "status": RefundStatus.DONE}))
    assert one.proposed("progress:") == ["progress:refunded:1", "progress:refunded:1:2"]
    told = one.sent("progress:refunded:1:2")
    assert "240.00 元" in told.text
    assert "250.00" not in told.text
    assert told.replaces is None


def test_a_second_refund_of_a_closed_case_is_told_too(world, desk):
    one = desk().feed(*story(world), Closed(key="c", at=world.MONDAY + 5 * HOUR, result="refunded"))
    one.feed(RefundSeen(key="f3", at=world.MONDAY + 7 * HOUR, refund="F2", amount=AMOUNT))
    assert one.proposed("progress:refunded") == ["progress:refunded:1", "progress:refunded:1:2"]


def test_a_refund_after_a_reopening_is_the_first_of_its_round(world, desk):
    one = desk().feed(*story(world), Closed(key="c", at=world.MONDAY + 5 * HOUR, result="refunded"))
    one.feed(Reopened(key="r", at=world.MONDAY + 6 * HOUR))
    for key in ("f3", "f4"):
        one.feed(RefundSeen(key=key, at=world.MONDAY + 7 * HOUR, refund="F2", amount=AMOUNT))
    one.feed(RefundSeen(key="f5", at=world.MONDAY + 8 * HOUR, refund="F3", amount=AMOUNT))
    assert one.proposed("progress:refunded") == [f"progress:refunded:{name}" for name in ("1", "2", "2:2")]
