"""Following parcels, and answering where they are."""

from datetime import timedelta

import pytest
from rmabridge_tracking import Tracking

from rmabridge.model import Address, Buyer, Closed, Direction, Parcel, ParcelSeen, ParcelStatus, RequestChanged, Scan

SF = Parcel(waybill="SF1", carrier="SF", status=ParcelStatus.IN_TRANSIT)


@pytest.fixture
def desk(world):
    def make(**facts):
        settings = facts.pop("settings", {})
        return world.Desk(world.policy(Tracking, **settings), **facts)

    return make


def test_every_parcel_that_is_under_way_is_followed_once(world, desk):
    home = Parcel(waybill="SF2", status=ParcelStatus.DELIVERED)
    back = Parcel(waybill="YT1", carrier="YTO", direction=Direction.BACK)
    one = desk().feed(world.requested(), world.order(parcels=(SF, home, back)), world.says())
    assert one.proposed() == ["parcel:track:SF1", "parcel:track:YT1"]
    assert (one.sent("parcel:track:SF1").carrier, one.sent("parcel:track:SF1").phone_tail) == ("SF", "1234")


@pytest.mark.parametrize(("status", "followed"), [("approved", True), ("declined", False)])
def test_goods_on_their_way_back_are_followed_though_an_agent_closed_the_case(world, desk, status, followed):
    one = desk(settings={"poll": True}).feed(world.requested(), world.order())
    one.feed(RequestChanged(key="c", at=one.now + timedelta(hours=1), refs=(world.RETURN,), status=status))
    one.feed(Closed(key="x", at=one.now + timedelta(hours=2), result="solved"))
    parcel = Parcel(waybill="SF9", carrier="SF", direction=Direction.BACK, status=ParcelStatus.IN_TRANSIT)
    one.feed(ParcelSeen(key="p", at=one.now + timedelta(hours=3), parcel=parcel))
    assert bool(one.proposed("parcel:track:SF9")) is bool(one.proposed("parcel:query:SF9")) is followed


@pytest.mark.parametrize(
    ("shipped", "own", "tail"),
    [
        ("138****5678", None, "5678"),
        ("1380000****", "13800009999", "9999"),
        (None, None, None),
        ("１２３４", None, None),
        ("12", None, None),
        ("13812345678-1234", None, "5678"),
        ("010-12345678 转 12", None, "5678"),
        ("0755-1234567", None, "4567"),
        ("+1 555-123-4567 ext. 89", None, "4567"),
    ],
)
def test_the_phone_s_tail_is_told_where_it_can_be_read(world, desk, shipped, own, tail):
    buyer = Buyer(id="B1", phone=own)
    seen = world.order(parcels=(SF,), buyer=buyer, ship_to=Address(phone=shipped))
    assert desk().feed(world.requested(buyer=buyer), seen).sent("parcel:track:SF1").phone_tail == tail


def test_a_carrier_that_does_not_push_is_asked_again_and_again(world, desk):
    one = desk(settings={"poll": True}).feed(world.requested(), world.order(parcels=(SF,)))
    assert one.proposed("parcel:query") == ["parcel:query:SF1:1"]
    one.settle("parcel:query:SF1:1").advance(hours=5)
    assert one.proposed("parcel:query") == ["parcel:query:SF1:1"]
    one.advance(hours=1).feed(world.says(at=one.now))
    assert one.proposed("parcel:query") == ["parcel:query:SF1:1", "parcel:query:SF1:2"]
    one.advance(hours=6)
    assert len(one.proposed("parcel:query")) == 2, "the second question is still under way"
    home = SF.model_copy(update={"status": ParcelStatus.DELIVERED})
    one.feed(ParcelSeen(key="p", at=one.now, parcel=home))
    assert one.runs("poll:SF1") is None


def test_a_failed_subscription_falls_back_to_asking(world, desk):
    one = desk().feed(world.requested(), world.order(parcels=(SF,)))
    assert one.proposed("parcel:query") == []
    one.settle("parcel:track:SF1", "dead").advance(days=3)
    assert one.proposed("parcel:query") == ["parcel:query:SF1:1"]
    assert one.runs("poll:SF1") == one.now + timedelta(hours=6)
    assert one.feed(Closed(key="c", at=one.now, result="x")).runs("poll:SF1") is None


@pytest.mark.row("S091")
@pytest.mark.parametrize("words", ["我的快递到哪里了？", "請問什麼時候到貨", "Hi, WHERE IS MY ORDER?"])
def test_where_is_my_parcel_is_asked_and_answered_once(world, desk, words):
    one = desk().feed(world.requested(), world.order(parcels=(SF,)), world.says(words, buyer=world.BUYER))
    (query,) = one.proposed("parcel:query")
    assert one.proposed("answer") == []
    scan = Scan(at=one.now, status=ParcelStatus.OUT_FOR_DELIVERY, text="快递员派送中", place="杭州")
    news = SF.model_copy(update={"status": scan.status, "scans": (scan,), "eta": one.now + timedelta(hours=8)})
    one.feed(ParcelSeen(key="p", at=one.now, parcel=news)).settle(query).feed(world.order(at=one.now + timedelta(1)))
    (answer,) = one.proposed("answer:tracking:")
    for told in ("SF1", "派送中", "快递员派送中", "2026年1月5日 17:00", "预计 2026年1月6日 送达"):
        assert told in one.sent(answer).text
    one.advance(minutes=16).feed(world.says(words, id="again", at=one.now))
    assert len(one.proposed("parcel:query")) == 2


@pytest.mark.row("S047")
def test_a_parcel_that_was_asked_a_moment_ago_is_not_asked_again(world, desk):
    one = desk().feed(world.requested(), world.order(parcels=(SF,)), world.says("到哪了"))
    one.settle(one.proposed("parcel:query")[0]).advance(minutes=14)
    assert one.case.parcels[0].checked_at == world.MONDAY
    one.feed(world.says("到哪了？？", id="again", at=one.now))
    assert len(one.proposed("parcel:query")) == 1
    first, second = one.proposed("answer:tracking:")
    assert "更新" not in one.sent(first).text + one.sent(second).text


@pytest.mark.row("S047")
def test_what_the_carrier_was_not_asked_in_time_is_told_with_its_age(world, desk):
    scan = Scan(at=world.MONDAY - timedelta(hours=9), status=ParcelStatus.IN_TRANSIT, text="已发出", place="杭州")
    known = SF.model_copy(update={"scans": (scan,)})
    one = desk().feed(world.requested(), world.order(parcels=(known,)), world.says("到哪了"))
    (query,) = one.proposed("parcel:query")
    assert one.sent(query).not_after == world.MONDAY + timedelta(minutes=5)
    assert one.proposed("answer") == []
    one.advance(minutes=5).settle(query, "expired")
    (answer,) = one.proposed("answer:tracking:")
    assert "截至 2026年1月5日 08:00，暂未查到更新" in one.sent(answer).text


def test_an_answer_of_the_carrier_makes_no_parcel_older(world, desk):
    one = desk().feed(world.requested(), world.order(parcels=(SF,)), world.says("到哪了"))
    one.settle(one.proposed("parcel:query")[0])
    one.feed(ParcelSeen(key="late", at=world.MONDAY - timedelta(days=1), parcel=SF))
    assert one.case.parcels[0].checked_at == world.MONDAY


def test_what_the_carrier_cannot_tell_is_answered_from_what_is_known(world, desk):
    one = desk().feed(world.requested(), world.order(parcels=(SF,)), world.says("到哪了"))
    one.settle(one.proposed("parcel:query")[0], "dead")
    assert "运输中" in one.sent(one.proposed("answer:tracking:")[0]).text


def test_without_a_parcel_the_buyer_is_told_so(world, desk):
    one = desk().feed(world.says("到哪了", buyer=world.BUYER), world.order())
    (answer,) = one.proposed()
    assert one.sent(answer).template.id == "tracking.unknown"


def test_other_words_old_questions_and_shops_without_carrier_ask_nothing(world, desk):
    assert desk().feed(world.says("好的谢谢", buyer=world.BUYER), world.order()).proposed() == []
    late = desk(now=world.MONDAY + timedelta(hours=2)).feed(world.says("到哪了", buyer=world.BUYER), world.order())
    assert late.proposed() == []
    bare = desk(the_shop=world.shop(carrier=None)).feed(world.requested(), world.order(parcels=(SF,)))
    assert bare.proposed() == []


def test_a_subscription_that_is_silent_for_long_is_asked_all_the_same(world, desk):
    """Some vendors end a subscription without a word."""
    one = desk().feed(world.requested(), world.order(parcels=(SF,)))
    one.settle("parcel:track:SF1").advance(days=2)
    scan = Scan(at=one.now, status=ParcelStatus.IN_TRANSIT, text="运输中")
    one.feed(ParcelSeen(key="p", at=one.now, parcel=SF.model_copy(update={"status": scan.status, "scans": (scan,)})))
    one.advance(days=1)
    assert one.proposed("parcel:query") == []
    one.advance(days=3)
    assert one.proposed("parcel:query") == ["parcel:query:SF1:1"]
    one.settle("parcel:query:SF1:1").advance(days=3)
    assert len(one.proposed("parcel:query")) == 2


def test_a_parcel_that_the_vendor_gave_up_is_asked_for(world, desk):
    one = desk().feed(world.requested(), world.order(parcels=(SF,))).settle("parcel:track:SF1")
    over = SF.model_copy(update={"status": ParcelStatus.EXPIRED})
    one.feed(ParcelSeen(key="p", at=one.now, parcel=over)).advance(days=3)
    one.settle(one.proposed("parcel:query")[-1]).advance(hours=6)
    assert len(one.proposed("parcel:query")) == 2


def test_a_parcel_that_the_carrier_refuses_to_tell_of_is_told_to_a_colleague_and_asked_about_seldom(world, desk):
    one = desk().feed(world.requested(), world.order(parcels=(SF,))).settle("parcel:track:SF1", "dead")
    for _ in range(40):
        for key in one.proposed("parcel:query"):
            if one.ledger[key] == "due":
                one.settle(key, "dead")
        one.advance(hours=6)
    assert len(one.proposed("parcel:query")) == 6, "three in half a day, and one every three days"
    assert one.proposed("ticket:comment:untracked") == ["ticket:comment:untracked:SF1"]
