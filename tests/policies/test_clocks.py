"""Clocks: what starts them, what stops them, and what happens when they run out."""

from datetime import datetime, timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest
from rmabridge_clocks import Clocks
from rmabridge_routing import Routing

from rmabridge.core.clocks import nearest
from rmabridge.model import (
    Author,
    CaseKind,
    Classified,
    Closed,
    CommentTicket,
    Direction,
    Form,
    Issue,
    Money,
    Noted,
    Parcel,
    ParcelStatus,
    RefundSeen,
    RemedyAccepted,
    RemedyKind,
    Reopened,
    RequestChanged,
    RequestStatus,
    Settled,
)
from rmabridge.testing.contract import PolicyContract

HOURS = ("Mon-Fri 09:00-12:00", "Mon-Fri 13:30-18:00")
SECOND = timedelta(seconds=1)


def at(text):
    """A moment as the shop's clock shows it."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Shanghai"))


@pytest.fixture
def desk(world):
    """A case of a shop that is always open, with one staff channel."""

    def make(now=world.MONDAY, shop=None, policies=(), case=None, **settings):
        the_shop = world.shop(**{"staff": ("wecom",), "channels": ("mail",)} | (shop or {}))
        return world.Desk(world.policy(Clocks, **settings), *policies, the_shop=the_shop, now=now, **(case or {}))

    return make


def alerts(one, stage="breach"):
    """The clocks that colleagues were told about."""
    told = [key.split(":") for key in one.proposed("staff:clock:")]
    return [":".join(parts[2 : parts.index(stage)]) for parts in told if stage in parts]


class TestClocksContract(PolicyContract):
    """The contract that all policies keep."""

    plugin = Clocks
    settings: ClassVar[dict] = {}


@pytest.mark.row("P41")
def test_five_clocks_run_for_a_chat_case_and_the_nearest_wins(desk, world):
    one = desk(case={"marketplace": "mkt"})
    due = world.MONDAY + timedelta(hours=1)
    one.feed(world.requested(CaseKind.RETURN, at=world.MONDAY))
    one.feed(
        RequestChanged(key="due", at=world.MONDAY, refs=(world.RETURN,), status=RequestStatus.REQUESTED, due_at=due)
    )
    one.feed(world.says("你好", at=world.MONDAY))
    begun = {name.name: name.due_at - world.MONDAY for name in one.case.deadlines if name.name.startswith("due:")}
    assert begun == {
        "due:first_response": timedelta(hours=4),
        "due:chat_reply": timedelta(minutes=5),
        "due:solution:1": timedelta(minutes=30),
        "due:return_review": timedelta(hours=6),
        "due:marketplace": timedelta(hours=1),
    }
    assert nearest(one.case).name == "due:chat_reply"
    one.feed(world.says("马上看", "a1", world.MONDAY + SECOND, Author.AGENT))
    assert nearest(one.case).name == "due:solution:1"
    one.feed(world.says("还在吗", "m2", world.MONDAY + 2 * SECOND, form=Form.MAIL))
    assert one.runs("due:next_response") == world.MONDAY + 2 * SECOND + timedelta(hours=4)
    assert one.runs("due:first_response") is None


def test_a_bridge_that_was_away_past_both_times_tells_what_is_late_and_warns_of_nothing(desk, world):
    one = desk().feed(world.says(form=Form.MAIL)).advance(days=1)
    assert alerts(one, "warning") == []
    assert sorted(alerts(one)) == ["first_response", "solution:1"]


def test_a_clock_warns_at_three_quarters_and_escalates_at_its_end_to_the_second(desk, world):
    one = desk(solution=("PT10H", "PT10H", "PT10H")).feed(world.says(form=Form.MAIL))
    one.advance(hours=3, seconds=-1)
    assert alerts(one, "warning") == []
    one.advance(seconds=1)
    assert (alerts(one, "warning"), alerts(one)) == (["first_response"], [])
    one.advance(hours=1, seconds=-1)
    assert alerts(one) == []
    one.advance(seconds=1)
    assert alerts(one) == ["first_response"]
    one.feed(Noted(key="n", at=one.now, text="anything"))
    assert one.runs("due:first_response") is None


def test_an_automatic_message_is_no_first_response_but_an_agents_is(desk, world):
    one = desk().feed(world.says(form=Form.MAIL))
    facts = {"action_type": "message.send", "account": "mail", "outcome": "done"}
    one.feed(Settled(key="s", at=world.MONDAY, action="reply:first:1", **facts))
    assert one.runs("due:first_response")
    one.feed(world.says("internal", "n1", world.MONDAY + SECOND, Author.AGENT, public=False))
    assert one.runs("due:first_response")
    one.feed(world.says("您好", "a1", world.MONDAY + SECOND, Author.AGENT))
    assert one.runs("due:first_response") is None
    assert one.runs("warn:first_response") is None


def test_clocks_count_business_hours_over_golden_week(desk, world):
    start = at("2026-09-30T17:00")
    shop = {"hours": HOURS, "holidays": "CN"}
    one = desk(now=start, shop=shop).feed(world.says(at=start))
    assert one.runs("due:first_response") == at("2026-10-08T12:00")
    assert one.runs("warn:first_response") == at("2026-10-08T11:00")
    assert one.runs("due:solution:1") == at("2026-09-30T17:30")
    assert one.runs("due:chat_reply") == at("2026-09-30T17:05")
    late = desk(now=start, shop=shop | {"around_the_clock": True}).feed(world.says(at=start))
    assert late.runs("due:first_response") == at("2026-09-30T21:00")


def test_a_deadline_in_a_year_whose_holidays_nobody_knows_is_said(desk, world):
    start = at("2026-12-31T17:00")
    one = desk(now=start, shop={"hours": HOURS, "holidays": "CN"}).feed(world.says(at=start, form=Form.MAIL))
    assert one.runs("due:first_response") == at("2027-01-01T12:00")
    (note,) = {each.text for each in one.derived if isinstance(each, Noted)}
    assert "CN in 2027" in note
    assert one.proposed("staff:clock:calendar") == ["staff:clock:calendar:unknown:1:wecom"]
    assert "2027" in one.sent("staff:clock:calendar:unknown:1:wecom").text


def test_level_one_escalates_to_level_two_and_its_clock_begins_anew(desk, world):
    one = desk().feed(world.says(form=Form.MAIL))
    one.advance(minutes=30, seconds=-1)
    assert one.case.level == 1
    one.advance(seconds=1)
    assert one.case.level == 2
    assert one.runs("due:solution:1") is None
    assert one.runs("due:solution:2") == one.now + timedelta(hours=4)
    one.advance(hours=4)
    assert (one.case.level, sorted(alerts(one))) == (2, ["first_response", "solution:1", "solution:2"])


def test_level_three_has_two_hours_day_and_night(desk, world):
    start = at("2026-10-01T03:00")
    one = desk(now=start, shop={"hours": HOURS, "holidays": "CN"})
    one.feed(world.says(at=start), Classified(key="c", at=start, level=3, issue=Issue.MEDIA_MASS_RISK))
    assert one.runs("due:solution:3") == at("2026-10-01T05:00")
    assert one.runs("due:solution:1") is None


@pytest.mark.parametrize("stop", ["agreed", "closed", "declined"])
def test_a_solution_stops_its_clock(desk, world, stop):
    one = desk().feed(world.requested(CaseKind.COMPLAINT))
    assert one.runs("due:solution:1")
    later = world.MONDAY + SECOND
    one.feed(
        {
            "agreed": RemedyAccepted(key="x", at=later, remedy=RemedyKind.COUPON),
            "closed": Closed(key="x", at=later, result="solved"),
            "declined": RequestChanged(key="x", at=later, refs=(world.RETURN,), status=RequestStatus.DECLINED),
        }[stop]
    )
    assert one.runs("due:solution:1") is None
    assert stop != "closed" or not one.case.deadlines


@pytest.mark.row("S040")
def test_a_vip_is_reviewed_within_two_hours_and_losing_the_tier_does_not_lengthen_it(desk, world):
    plain = desk().feed(world.requested())
    assert plain.runs("due:return_review") == world.MONDAY + timedelta(hours=6)
    one = desk().feed(world.requested(), world.order(tags=("VIP3",)))
    assert one.runs("due:return_review") == world.MONDAY + timedelta(hours=2)
    one.advance(minutes=1).feed(world.order(at=one.now, tags=()))
    assert one.case.order.tags == ()
    assert one.runs("due:return_review") == world.MONDAY + timedelta(hours=2)
    one.advance(hours=1, minutes=58, seconds=59)
    assert "return_review" not in alerts(one)
    one.advance(seconds=1)
    assert "return_review" in alerts(one)
    one.feed(Noted(key="n", at=one.now, text="anything"))
    assert one.runs("due:return_review") is None
    later = desk().feed(world.requested(), world.order(buyer=world.BUYER.model_copy(update={"tier": "SVIP"})))
    assert later.runs("due:return_review") == world.MONDAY + timedelta(hours=2)


def test_the_tier_that_shortens_a_deadline_is_named_on_the_timeline(desk, world):
    new = world.BUYER.model_copy(update={"orders": 1})
    one = desk().feed(world.says(buyer=new, form=Form.MAIL))
    assert one.runs("due:first_response") == world.MONDAY + timedelta(hours=2)
    assert [each.text for each in one.derived if isinstance(each, Noted)] == [
        "first_response within 2:00:00 for tier new: due 2026-01-05T11:00:00+00:00"
    ]
    known = desk().feed(world.says(form=Form.MAIL)).advance(minutes=1)
    known.feed(world.order(buyer=new))
    assert known.runs("due:first_response") == world.MONDAY + timedelta(hours=2)


@pytest.mark.parametrize("stopped", ["message", "agent", "never"])
def test_a_public_comment_is_answered_in_private_within_two_hours(desk, world, stopped):
    one = desk(case={"source": "social"}).feed(world.says("差评", form=Form.CHAT))
    assert one.runs("due:social") == world.MONDAY + timedelta(hours=2)
    if stopped == "message":
        facts = {"action_type": "message.send", "account": "dm", "outcome": "done"}
        one.feed(Settled(key="s", at=world.MONDAY, action="reply:first:1", **facts))
    if stopped == "agent":
        one.feed(world.says("您好", "a1", world.MONDAY, Author.AGENT))
    one.advance(hours=2)
    assert ("social" in alerts(one)) is (stopped == "never")


@pytest.mark.row("P43")
def test_amazons_own_24_hours_run_beside_the_shops_business_hours(desk, world):
    start = at("2026-10-01T10:00")
    shop = {"hours": HOURS, "holidays": "CN"}
    one = desk(now=start, shop=shop, case={"marketplace": "amazon"}).feed(world.says(at=start, form=Form.THREAD))
    assert one.runs("due:first_response") == at("2026-10-08T14:30")
    assert one.runs("due:marketplace_reply") == at("2026-10-02T10:00")
    one.advance(minutes=5).feed(world.says("在吗", "m2", one.now, form=Form.THREAD))
    assert one.runs("due:marketplace_reply") == at("2026-10-02T10:00")
    one.feed(world.says("在", "a1", one.now + SECOND, Author.AGENT))
    assert one.runs("due:marketplace_reply") is None
    one.feed(world.says("谢谢", "m3", one.now + 2 * SECOND, form=Form.THREAD))
    assert one.runs("due:marketplace_reply") == one.now + 2 * SECOND + timedelta(hours=24)


def test_the_marketplaces_deadline_from_the_payload_follows_the_payload(desk, world):
    def changed(key, due, status=RequestStatus.REQUESTED):
        facts = {"refs": (world.RETURN,), "status": status, "due_at": due}
        return RequestChanged(key=key, at=world.MONDAY + SECOND * int(key), **facts)

    one = desk().feed(world.requested(), changed("1", world.MONDAY + timedelta(hours=48)))
    assert one.runs("warn:marketplace") == world.MONDAY + SECOND + (timedelta(hours=48) - SECOND) * 0.75
    one.feed(changed("2", world.MONDAY + timedelta(hours=72)))
    assert one.runs("due:marketplace") == world.MONDAY + timedelta(hours=72)
    one.feed(changed("3", None, RequestStatus.DECLINED))
    assert one.runs("due:marketplace") is None


def test_each_deadline_that_the_marketplace_sets_is_warned_of_and_escalated(desk, world):
    one = desk().feed(world.requested())
    for number, status in enumerate((RequestStatus.REQUESTED, RequestStatus.APPROVED), 1):
        due = one.now + timedelta(hours=48)
        facts = {"refs": (world.RETURN,), "status": status, "due_at": due}
        one.feed(RequestChanged(key=str(number), at=one.now + SECOND, **facts))
        one.advance(hours=37)
        assert alerts(one, "warning").count("marketplace") == number
        one.advance(hours=12)
        assert alerts(one).count("marketplace") == number


def test_the_marketplaces_deadline_runs_on_when_an_agent_closes_the_case_and_nothing_was_decided(desk, world):
    facts = {"refs": (world.RETURN,), "status": RequestStatus.REQUESTED, "due_at": world.MONDAY + timedelta(hours=48)}
    one = desk().feed(world.requested(), RequestChanged(key="due", at=world.MONDAY + SECOND, **facts))
    one.feed(Closed(key="c", at=one.now + SECOND, result="solved"))
    assert {each.name for each in one.case.deadlines} == {"due:marketplace", "warn:marketplace"}
    one.advance(hours=37)
    assert alerts(one, "warning") == ["marketplace"]
    one.feed(RequestChanged(key="no", at=one.now, refs=(world.RETURN,), status=RequestStatus.DECLINED))
    assert not one.case.deadlines


def test_what_was_declined_and_is_asked_for_again_has_clocks_of_its_own(desk, world):
    one = desk(solution=("PT10H", "PT10H", "PT10H")).feed(world.requested()).advance(hours=11)
    assert sorted(alerts(one)) == ["first_response", "return_review", "solution:1"]
    one.feed(RequestChanged(key="no", at=one.now, refs=(world.RETURN,), status=RequestStatus.DECLINED)).advance(days=2)
    told = alerts(one)
    one.feed(world.requested(key="again", at=one.now))
    assert one.runs("due:return_review") == one.now + timedelta(hours=6)
    assert one.runs(f"due:solution:{one.case.level}") == one.now + timedelta(hours=10)
    assert alerts(one) == told
    one.advance(hours=7)
    assert alerts(one).count("return_review") == 2
    one.advance(hours=4)
    assert alerts(one).count(f"solution:{one.case.level}") == 1


def test_a_question_that_is_heard_of_after_its_answer_starts_no_clock(desk, world):
    answered = world.MONDAY + 100 * SECOND
    one = desk().feed(world.says(form=Form.MAIL), world.says("您好", "a1", answered, Author.AGENT))
    one.feed(world.says("在吗", "m2", world.MONDAY + SECOND))
    assert [each for each in ("first_response", "next_response", "chat_reply") if one.runs(f"due:{each}")] == []
    one.feed(world.says("好的", "m3", answered - 5 * SECOND))  # their clocks differ
    assert one.runs("due:next_response")


@pytest.mark.row("S044")
@pytest.mark.parametrize(
    ("kind", "remedy", "step", "due"),
    [
        (CaseKind.RETURN, RemedyKind.RETURN_REFUND, "approve", "2026-01-06"),
        (CaseKind.COMPLAINT, RemedyKind.REFUND_ONLY, "refund", "2026-01-07"),
        (CaseKind.COMPLAINT, RemedyKind.RESHIP, "reship", "2026-01-07"),
        (CaseKind.COMPLAINT, RemedyKind.COUPON, "give", "2026-01-06"),
    ],
)
def test_each_step_of_an_agreed_solution_has_a_due_time_and_a_late_one_is_an_event(
    desk, world, kind, remedy, step, due
):
    one = desk().feed(world.requested(kind))
    assert not [each for each in one.case.deadlines if "step" in each.name]
    one.feed(RemedyAccepted(key="ok", at=world.MONDAY, remedy=remedy, amount=Money.of("5 CNY")))
    assert one.runs(f"due:step:{step}") == at(f"{due}T23:59:59")
    one.advance(seconds=(at(f"{due}T23:59:58") - one.now).total_seconds())
    assert f"step:{step}" not in alerts(one)
    one.advance(seconds=1)
    assert f"step:{step}" in alerts(one)
    late = [each for each in one.derived if isinstance(each, Noted) and each.text == f"late: step:{step}"]
    assert [each.values["due"] for each in late] == [at(f"{due}T23:59:59").astimezone(world.MONDAY.tzinfo).isoformat()]


def test_a_step_that_was_taken_has_no_clock_and_the_next_begins(desk, world):
    one = desk().feed(world.requested(), RemedyAccepted(key="ok", at=world.MONDAY, remedy=RemedyKind.RETURN_REFUND))
    one.feed(RequestChanged(key="a", at=world.MONDAY + SECOND, refs=(world.RETURN,), status=RequestStatus.APPROVED))
    assert one.runs("due:step:approve") is None
    facts = {"direction": Direction.BACK, "status": ParcelStatus.DELIVERED, "delivered_at": at("2026-01-08T10:00")}
    one.feed(world.order(parcels=(Parcel(waybill="SF1", **facts),)))
    assert one.runs("due:step:refund") == at("2026-01-12T23:59:59")
    one.feed(RefundSeen(key="f", at=world.MONDAY + SECOND, refund="F1"))
    assert one.runs("due:step:refund") is None


def test_a_gesture_that_was_paid_by_hand_runs_no_step_when_something_is_asked_for_later(desk, world):
    one = desk().feed(world.says(), RemedyAccepted(key="ok", at=world.MONDAY, remedy=RemedyKind.PARTIAL_REFUND))
    one.feed(RefundSeen(key="f", at=one.now, refund="F1", amount=Money.of("5 CNY"))).advance(days=1)
    one.feed(world.requested(CaseKind.REFUND, at=one.now))
    assert [each.name for each in one.case.deadlines if "step" in each.name] == []
    one.feed(RemedyAccepted(key="more", at=one.now, remedy=RemedyKind.REFUND_ONLY))
    assert one.runs("due:step:refund")


@pytest.mark.row("S034")
@pytest.mark.parametrize("seconds", [299, 300])
def test_an_agent_at_4_59_cancels_the_holding_reply_that_goes_out_at_5_00(desk, world, seconds):
    parcel = Parcel(waybill="SF1234567890123", carrier="SF", status=ParcelStatus.IN_TRANSIT)
    one = desk().feed(world.order(parcels=(parcel,)), world.says("Where is my parcel?"))
    one.advance(seconds=299)
    assert not one.proposed("answer:") and not one.proposed("holding:")
    if seconds == 299:
        one.feed(world.says("It left today", "a1", one.now, Author.AGENT))
    one.advance(seconds=1)
    sent = one.proposed("answer:tracking:")
    assert len(sent) == (seconds == 300)
    assert seconds == 299 or "SF1234567890123" in one.sent(sent[0]).text
    assert ("chat_reply" in alerts(one)) is (seconds == 300)


@pytest.mark.parametrize(("locale", "words"), [("zh-CN", "久等"), ("zh-TW", "回覆您"), ("en-GB", "keep you waiting")])
def test_any_other_question_gets_a_holding_reply_in_the_buyers_language(desk, world, locale, words):
    buyer = world.BUYER.model_copy(update={"locale": locale})
    one = desk().feed(world.says("颜色不对", buyer=buyer)).advance(minutes=5)
    (key,) = one.proposed("holding:")
    assert words in one.sent(key).text
    assert one.sent(key).not_after == one.now + timedelta(minutes=15)
    one.feed(world.says("喂", "m2", one.now + SECOND)).advance(minutes=5, seconds=1)
    assert len(one.proposed("holding:")) == 2


def test_an_answer_older_than_the_last_question_leaves_that_question_open(desk, world):
    one = desk().feed(world.says(), world.says("还有", "m2", world.MONDAY + timedelta(minutes=2)))
    one.feed(world.says("您好", "a1", world.MONDAY + timedelta(minutes=1), Author.AGENT))
    assert one.runs("due:first_response") is None
    assert one.runs("due:chat_reply") == world.MONDAY + timedelta(minutes=7)
    assert one.runs("due:next_response") == world.MONDAY + timedelta(hours=4, minutes=2)


def test_without_staff_channels_the_ticket_is_told_and_quiet_clocks_tell_nobody(desk, world):
    one = desk(shop={"staff": ()}).feed(world.says(form=Form.MAIL)).advance(minutes=30)
    comment = one.sent("ticket:comment:clock:solution:1:breach:1")
    assert isinstance(comment, CommentTicket) and comment.needs == "ticket:open" and "解决方案" in comment.text
    quiet = desk(quiet=["solution"]).feed(world.says(form=Form.MAIL)).advance(minutes=30)
    assert quiet.case.level == 2 and "solution:1" not in alerts(quiet)


def test_each_round_has_its_own_clocks_and_imported_cases_have_none(desk, world):
    one = desk().feed(world.says(form=Form.MAIL), Closed(key="c", at=world.MONDAY + SECOND, result="solved"))
    assert not one.case.deadlines
    one.feed(Reopened(key="r", at=world.MONDAY + 2 * SECOND), world.says("又坏了", "m2", world.MONDAY + 3 * SECOND))
    assert one.runs("due:solution:1") == world.MONDAY + 2 * SECOND + timedelta(minutes=30)
    assert one.runs("due:first_response") is None
    assert one.runs("due:next_response") == world.MONDAY + 3 * SECOND + timedelta(hours=4)
    assert not desk(case={"source": "import"}).feed(world.says()).case.deadlines


def test_the_group_of_the_level_gets_the_case(desk, world):
    rules = [
        {"when": {"level": 1}, "then": {"group": "first line"}},
        {"when": {"level": 2}, "then": {"group": "supervisor"}},
    ]
    one = desk(policies=(world.policy(Routing, rules=rules),))
    one.feed(world.order(), world.says(form=Form.MAIL))
    assert one.case.route.group == "first line"
    assert one.advance(minutes=30).case.route.group == "supervisor"
