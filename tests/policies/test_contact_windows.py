"""Contact windows: when a buyer may be called or written to."""

from datetime import datetime, timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError
from rmabridge_contact_windows import CALLS, ContactWindows

from rmabridge.model import Form, Issue, SendMessage
from rmabridge.testing.contract import PolicyContract

SHANGHAI = ZoneInfo("Asia/Shanghai")


def at(text):
    """A moment of November 2026 in Shanghai; the 24th is a Tuesday."""
    return datetime.fromisoformat(f"2026-11-{text}").replace(tzinfo=SHANGHAI)


class TestContactWindowsContract(PolicyContract):
    """The contract that all policies keep."""

    plugin = ContactWindows
    settings: ClassVar[dict] = {}


@pytest.fixture
def held(world):
    """Until when a message with the calls' windows is held; None where it goes at once."""

    def ask(now, form=Form.SMS, shop=None, windows=None, audience="buyer", before=(), **case):
        policy = world.policy(ContactWindows, windows=windows or {"sms": CALLS})
        desk = world.Desk(policy, the_shop=world.shop(**(shop or {})), now=now, **case)
        desk.ledger |= dict.fromkeys(before, "done")
        message = SendMessage(purpose="review:contact:2", form=form, to="1", text="x", audience=audience)
        verdict = policy.review(message, desk.case, desk.view())
        if verdict is None or verdict.ruling == "allow":
            return None
        assert verdict.ruling == "hold"
        assert "opens" in verdict.reason
        return verdict.until

    return ask


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("24T15:00", "24T18:00"),
        ("24T23:30", "25T12:00"),
        ("28T11:00", None),
        ("24T12:00", None),
        ("24T13:30", "24T18:00"),
        ("24T20:29:59", None),
        ("27T20:30", "28T10:00"),
        ("29T20:30", "30T12:00"),
    ],
)
def test_what_is_not_the_first_contact_waits_for_the_buyers_window(held, now, until):
    found = held(at(now), issue=Issue.NEGATIVE_REVIEW, before=("review:contact:1",))
    assert found == (at(until) if until else None)


@pytest.mark.parametrize(("now", "until"), [("24T15:00", None), ("24T21:00", "25T09:00"), ("24T08:59:59", "24T09:00")])
def test_the_first_contact_after_a_bad_review_goes_at_once_by_day(held, now, until):
    found = held(at(now), issue=Issue.NEGATIVE_REVIEW, before=("reply:first:1",))
    assert found == (at(until) if until else None)


def test_the_hours_are_the_buyers_own(held):
    buyer = {"timezone": "Europe/Berlin"}
    assert held(at("24T12:30"), buyer=buyer) == at("24T19:00")
    assert held(at("24T19:30"), buyer=buyer) is None
    assert held(at("24T12:30"), buyer={"timezone": "Mars/Olympus"}) is None


def test_who_wrote_a_moment_ago_colleagues_and_mails_are_not_kept_waiting(held):
    now = at("24T23:30")
    assert held(now, talk={"last_in": now - timedelta(minutes=30)}) is None
    assert held(now, talk={"last_in": now - timedelta(minutes=31)}) == at("25T12:00")
    assert held(now, audience="staff") is None
    assert held(now, form=Form.MAIL) is None


def test_public_holidays_are_weekends_and_make_up_days_are_not(held):
    shop = {"holidays": "CN"}
    holiday, makeup = (datetime(2026, 10, day, 11, tzinfo=SHANGHAI) for day in (1, 10))
    assert held(holiday, shop=shop) is None
    assert held(makeup) is None
    assert held(makeup, shop=shop) == makeup + timedelta(hours=1)


def test_hours_that_cannot_be_read_are_refused(world):
    with pytest.raises(ValidationError, match="not like"):
        world.policy(ContactWindows, windows={"sms": ["lunch"]})
