"""Times come out aware and in UTC, or not at all."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.wire.times import CHINA, instant, maybe_instant, unix

SIGNED = datetime(2025, 3, 2, 10, 21, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2025-03-02 18:21:09",
        "2025/03/02 18:21:09",
        "2025/3/2 18:21:09",
        "20250302182109",
        "2025-03-02T18:21:09+08:00",
        "2025-03-02T18:21:09+0800",
        "2025-03-02 18:21:09 +08:00",
        "2025-03-02T10:21:09Z",
        "2025-03-02T10:21:09.000000000Z",
        " 2025-03-02T05:21:09-05:00 ",
    ],
)
def test_the_forms_that_vendors_write_are_one_instant(text: str) -> None:
    assert instant(text, CHINA) == SIGNED
    assert instant(text, CHINA).tzinfo is UTC


def test_a_date_alone_is_its_first_moment() -> None:
    assert instant("2025-03-02", CHINA) == datetime(2025, 3, 1, 16, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2025-03-02 18:21:09", "2025-03-02"])
def test_a_time_without_offset_needs_a_zone(text: str) -> None:
    with pytest.raises(ValueError, match="no offset"):
        instant(text)
    assert maybe_instant(text) is None


@pytest.mark.parametrize("zone", ["Nowhere/Land", "", "../etc/passwd", "\0"])
def test_an_unknown_zone_is_a_value_error(zone: str) -> None:
    with pytest.raises(ValueError):
        instant("2025-03-02 18:21:09", zone)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "0000-00-00 00:00:00",
        "2025-02-30",
        "2025-13-01",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59-12:00",
    ],
)
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        instant(text, CHINA)
    assert maybe_instant(text, CHINA) is None


def test_seconds_and_milliseconds_are_told_apart() -> None:
    moment = datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC)
    assert unix(1767294245) == unix("1767294245") == unix("1767294245000") == unix(1767294245000) == moment
    assert unix("1767294245.5") - moment == timedelta(milliseconds=500)


@pytest.mark.parametrize("value", ["", "x", "NaN", "Infinity", "1e400", 10**18, True, "9" * 5000])
def test_what_is_no_unix_time_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError):
        unix(value)


@pytest.mark.parametrize("value", [None, "", 0, "0", False, True, [], {}, b"x", 10**20, Decimal("NaN")])
def test_a_time_that_is_not_set_is_none(value: Any) -> None:
    assert maybe_instant(value, CHINA) is None


@pytest.mark.parametrize(
    "value",
    ["1740910869", 1740910869, 1740910869000, "1740910869000", Decimal(1740910869), SIGNED, "2025/3/2 18:21:09"],
)
def test_a_time_of_unknown_form_is_found(value: Any) -> None:
    assert maybe_instant(value, CHINA) == SIGNED


def test_a_number_too_long_to_write_out_is_no_time() -> None:
    assert maybe_instant(10**5000) is None


def test_a_naive_datetime_is_no_time() -> None:
    assert maybe_instant(SIGNED.replace(tzinfo=None)) is None
    assert maybe_instant(SIGNED.astimezone(timezone(timedelta(hours=8)))) == SIGNED


@settings(deadline=None)
@given(st.integers(0, 10**10))
def test_unix_times_come_back(seconds: int) -> None:
    assert unix(seconds).timestamp() == seconds


YEARS = st.datetimes().filter(lambda moment: 1900 < moment.year < 2200)


@settings(deadline=None)
@given(YEARS, st.sampled_from([CHINA, "UTC", "America/New_York"]))
def test_a_time_is_never_naive(moment: datetime, zone: str) -> None:
    for text in (moment.isoformat(), f"{moment:%Y/%m/%d %H:%M:%S}", f"{moment.isoformat()}Z"):
        assert instant(text, zone).utcoffset() == timedelta(0)


@settings(deadline=None)
@given(st.none() | st.text() | st.integers() | st.floats() | st.text("0123456789-/: TZ+."))
def test_a_time_that_may_be_anything_is_aware_or_none(value: Any) -> None:
    read = maybe_instant(value, CHINA)
    assert read is None or read.tzinfo is UTC
