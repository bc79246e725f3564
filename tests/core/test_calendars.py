"""Working time: slots, zones, public holidays, make-up workdays, and days on which the clocks change."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rmabridge.abilities import Shop
from rmabridge.core.calendars import Calendar, calendar_of, slots
from rmabridge.core.days import Day, Days, read

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
HOURS = ("Mon-Fri 09:00-12:00", "Mon-Fri 13:30-18:00")
HOUR = timedelta(hours=1)
moments = st.integers(0, 333 * 86_400).map(
    lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
spans = st.timedeltas(timedelta(0), timedelta(hours=60))
week = st.lists(
    st.builds(
        "{} {:02d}:{:02d}-{:02d}:{:02d}".format,
        st.sampled_from(["Mon-Fri", "Sat", "Sun-Tue", "daily", "Wed,Fri-Sat"]),
        st.integers(0, 23),
        st.integers(0, 59),
        st.integers(0, 23),
        st.integers(0, 59),
    ),
    min_size=1,
    max_size=4,
)


def at(text, zone=SHANGHAI):
    """A moment as the wall clock shows it."""
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def china(hours=HOURS, **settings):
    """A shop in Shanghai that keeps China's holidays."""
    return calendar_of(Shop(timezone="Asia/Shanghai", hours=hours, holidays="CN", **settings))


@given(week, moments, spans, st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "America/New_York"]))
def test_adding_and_measuring_are_inverse(hours, start, span, zone):
    calendar = Calendar(slots(hours), ZoneInfo(zone))
    end = calendar.add(start, span)
    assert end >= start
    assert calendar.between(start, end) == span
    assert calendar.between(end, start) == -span
    assert calendar.add(start, calendar.between(start, end)) == end


@given(week, moments, st.tuples(spans, spans), st.tuples(spans, spans))
def test_more_time_never_ends_earlier(hours, start, durations, shifts):
    calendar = Calendar(slots(hours), BERLIN)
    assert calendar.add(start, min(durations)) <= calendar.add(start, max(durations))
    assert calendar.add(start + min(shifts), durations[0]) <= calendar.add(start + max(shifts), durations[0])
    assert calendar.next_open(start + min(shifts)) <= calendar.next_open(start + max(shifts))
    assert calendar.open_at(calendar.next_open(start))


@given(week, moments, spans, spans)
def test_working_time_is_the_sum_of_its_parts(hours, start, first, second):
    calendar = Calendar(slots(hours), BERLIN)
    middle, end = start + first, start + first + second
    assert calendar.between(start, middle) + calendar.between(middle, end) == calendar.between(start, end)


def test_several_slots_a_day_leave_the_break_out():
    calendar = Calendar(slots(HOURS), SHANGHAI)
    assert calendar.add(at("2026-11-24T11:30"), HOUR) == at("2026-11-24T14:00")
    assert calendar.add(at("2026-11-24T09:00"), 3 * HOUR) == at("2026-11-24T12:00")
    assert calendar.add(at("2026-11-27T17:59:30"), timedelta(seconds=31)) == at("2026-11-30T09:00:01")
    assert calendar.next_open(at("2026-11-24T12:00")) == at("2026-11-24T13:30")
    assert Calendar(slots(("Mon-Fri 09:00-12:00, 13:30-18:00",)), SHANGHAI).hours == calendar.hours


def test_a_slot_over_midnight_belongs_to_the_day_it_begins_on():
    calendar = Calendar(slots(("Fri 22:00-02:00",)), SHANGHAI)
    assert calendar.open_at(at("2026-11-28T01:59:59"))
    assert not calendar.open_at(at("2026-11-28T02:00"))
    assert not calendar.open_at(at("2026-11-27T01:00"))
    assert calendar.add(at("2026-11-28T01:30"), HOUR) == at("2026-12-04T22:30")


def test_overlapping_slots_count_once():
    calendar = Calendar(slots(("daily 09:00-12:00", "daily 10:00-13:00")), SHANGHAI)
    assert calendar.between(at("2026-11-24T00:00"), at("2026-11-25T00:00")) == 4 * HOUR


def test_no_hours_are_always_open():
    calendar = calendar_of(Shop(timezone="Asia/Shanghai", holidays="CN"))
    assert calendar.add(at("2026-10-01T03:00"), 4 * HOUR) == at("2026-10-01T07:00")
    clock = calendar_of(Shop(hours=HOURS, around_the_clock=True))
    assert clock.always
    assert calendar_of(Shop(hours=HOURS), around_the_clock=True).always


@pytest.mark.parametrize(
    ("text", "reason"),
    [("Mon-Fry 09:00-12:00", "not like"), ("Mon 9-12", "not like"), ("", "not like"), ("Mon 09:00-25:00", "not like")],
)
def test_hours_that_cannot_be_read_are_refused_at_once(text, reason):
    with pytest.raises(ValidationError, match=reason):
        Shop(hours=(text,))
    with pytest.raises(ValueError, match=reason):
        slots((text,))


def test_the_hour_that_spring_skips_is_no_working_time():
    calendar = Calendar(slots(("daily 00:00-06:00",)), BERLIN)
    assert calendar.between(at("2026-03-29T00:00", BERLIN), at("2026-03-29T06:00", BERLIN)) == 5 * HOUR
    assert calendar.add(at("2026-03-29T01:30", BERLIN), HOUR) == at("2026-03-29T03:30", BERLIN)


def test_the_hour_that_autumn_repeats_counts_twice():
    calendar = Calendar(slots(("daily 00:00-06:00",)), BERLIN)
    assert calendar.between(at("2026-10-25T00:00", BERLIN), at("2026-10-25T06:00", BERLIN)) == 7 * HOUR
    assert calendar.add(at("2026-10-25T00:00", BERLIN), 3 * HOUR) == datetime(2026, 10, 25, 1, tzinfo=UTC)


GOLDEN_WEEK_2026 = [date(2026, 10, one) for one in range(1, 8)]
MAKEUP_2026 = [(1, 4), (2, 14), (2, 28), (5, 9), (9, 20), (10, 10)]


@pytest.mark.row("P42")
def test_golden_week_is_off_and_its_make_up_days_are_worked():
    days = Days("CN")
    assert {days.of(one) for one in GOLDEN_WEEK_2026} == {Day.OFF}
    assert [one for one in (date(2026, *pair) for pair in MAKEUP_2026) if not days.worked(one)] == []
    assert [days.worked(date(2026, 10, one)) for one in (8, 9, 10, 11)] == [True, True, True, False]
    calendar = china()
    assert calendar.add(at("2026-09-30T17:30"), HOUR) == at("2026-10-08T09:30")
    assert calendar.add(at("2026-10-09T17:30"), HOUR) == at("2026-10-10T09:30")
    assert calendar.add(at("2026-10-10T17:30"), HOUR) == at("2026-10-12T09:30")
    assert calendar.workdays(at("2026-09-30T10:00"), 3).date() == date(2026, 10, 10)


def test_a_make_up_sunday_has_mondays_hours():
    calendar = china(("Mon 10:00-11:00", "Tue-Fri 09:00-18:00"))
    assert calendar.next_open(at("2026-09-20T00:00")) == at("2026-09-20T10:00")


def test_a_shop_may_open_on_public_holidays():
    calendar = china((*HOURS, "Hol 10:00-14:00"))
    assert calendar.next_open(at("2026-10-01T00:00")) == at("2026-10-01T10:00")


@pytest.mark.row("P42")
def test_an_unknown_year_is_said_and_not_guessed():
    calendar = china()
    assert calendar.problems(at("2026-09-30T10:00"), at("2026-12-31T23:59")) == ()
    (said,) = calendar.problems(at("2026-12-31T10:00"), at("2027-01-01T00:00"))
    assert "CN in 2027 are not known" in said and "ordinary" in said
    assert calendar.next_open(at("2027-01-01T00:00")) == at("2027-01-01T09:00")


@pytest.mark.row("P42")
def test_the_shops_own_file_serves_for_the_year_that_nobody_knows_yet(tmp_path):
    file = tmp_path / "holidays-2027.toml"
    file.write_text('off = ["2027-01-01..2027-01-03", "2027-10-01"]\nwork = ["2027-01-09"]\n', encoding="utf-8")
    calendar = china(holiday_file=file)
    assert calendar.problems(at("2026-12-31T10:00"), at("2027-12-31T00:00")) == ()
    assert calendar.add(at("2026-12-31T17:30"), HOUR) == at("2027-01-04T09:30")
    assert calendar.next_open(at("2027-01-08T18:00")) == at("2027-01-09T09:00")
    assert calendar.next_open(at("2026-10-01T00:00")) == at("2026-10-08T09:00")


def test_the_shops_own_file_goes_before_the_public_calendar(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('off = ["2026-11-24"]\nwork = ["2026-10-01"]\nyears = []\n', encoding="utf-8")
    calendar = china(holiday_file=file)
    assert calendar.next_open(at("2026-11-24T09:00")) == at("2026-11-25T09:00")
    assert calendar.open_at(at("2026-10-01T09:00"))


def test_an_icalendar_file_tells_days_off_from_make_up_days(tmp_path):
    file = tmp_path / "2027.ics"
    file.write_text(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20270206\r\nDTEND;VALUE=DATE:20270213\r\n"
        "SUMMARY:春节（休）\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20270214\r\nSUMMARY:春节\r\n （班）\r\n"
        "END:VEVENT\r\nEND:VCALENDAR\r\n",
        encoding="utf-8",
    )
    own = read(file)
    assert own.off == {date(2027, 2, one) for one in range(6, 13)}
    assert (own.work, own.years) == ({date(2027, 2, 14)}, {2027})


@pytest.mark.parametrize(
    "text", ['off = ["2027-13-01"]', 'days = ["2027-01-01"]', 'off = ["2027-02-01..2027-01-01"]', "="]
)
def test_a_file_that_cannot_be_read_is_said(tmp_path, text):
    file = tmp_path / "bad.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"^bad\.toml"):
        read(file)
    (said,) = china(holiday_file=file).problems(at("2026-01-05T10:00"), at("2026-01-05T11:00"))
    assert "holiday_file cannot be read" in said


@pytest.mark.parametrize(("code", "day"), [("US", (7, 3)), ("DE-BY", (6, 4)), ("JP", (5, 4)), ("GB-ENG", (8, 31))])
def test_other_countries_and_regions_have_their_own_days(code, day):
    calendar = calendar_of(Shop(hours=HOURS, holidays=code))
    assert not calendar.workday(date(2026, *day))


def test_a_country_that_nobody_knows_is_refused_and_a_region_is_said():
    with pytest.raises(ValidationError, match="not a country"):
        Shop(holidays="XX")
    calendar = calendar_of(Shop(hours=HOURS, holidays="DE-XX"))
    assert "DE-XX in 2026" in calendar.problems(at("2026-01-05T10:00"), at("2026-01-05T11:00"))[0]
    with pytest.raises(ValidationError, match="no such file"):
        Shop(holiday_file="nowhere.toml")


def test_only_the_country_that_is_needed_is_imported():
    script = (
        "import sys; from datetime import date; from rmabridge.core.days import Days; import rmabridge.abilities;"
        "assert 'holidays' not in sys.modules and 'chinese_calendar' not in sys.modules;"
        "Days('CN').of(date(2026, 10, 1)); assert 'holidays' not in sys.modules;"
        "Days('DE').of(date(2026, 10, 3));"
        "print(sum(one.startswith('holidays.countries') for one in sys.modules));"
        "import holidays; assert holidays.country_holidays('FR', years=2026)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(found.stdout) <= 3
