"""Times as vendors write them; what comes out is always aware, and in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

CHINA: Final = "Asia/Shanghai"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# As seconds this would be the year 5138, as milliseconds it is 1973.
_MILLISECONDS: Final = 100_000_000_000
_UNIX = re.compile(r"[0-9]{9,13}(\.[0-9]{1,9})?")
_DATE = re.compile(r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})(?:[T ]+([0-9]{1,2})(:.*))?", re.DOTALL)
_NUMBERS: Final = (int, Decimal)
_COMPACT = re.compile(r"[0-9]{14}")


def _iso(text: str) -> str:
    """The forms seen from vendors, brought to ISO 8601: slashes, single digits, ``YYYYMMDDHHMMSS``."""
    if _COMPACT.fullmatch(text):
        return f"{text[:8]}T{text[8:]}"
    if not (found := _DATE.fullmatch(text)):
        return text
    year, month, day, hour, rest = found.groups()
    clock = f"T{hour:0>2}{rest.replace(' ', '')}" if hour else ""
    return f"{year}-{month:0>2}-{day:0>2}{clock}"


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone") from error


def instant(text: str, zone: str | None = None) -> datetime:
    """Read ISO 8601, ``YYYY-MM-DD HH:MM:SS`` or ``YYYY/MM/DD HH:MM:SS``.

    Without an offset in the text its ``zone`` (an IANA name) is needed, else ``ValueError``.
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        read = datetime.fromisoformat(_iso(text.strip()))
    if read.tzinfo is UTC:
        return read
    if read.tzinfo is None and zone is None:
        raise ValueError(f"{text[:40]!r} has no offset, and no zone is known for it")
    try:
        return read.astimezone(UTC) if read.tzinfo or zone is None else _utc(read, _zone(zone))
    except OverflowError as error:
        raise ValueError(f"{text[:40]!r} is outside the calendar") from error


def _utc(read: datetime, zone: ZoneInfo) -> datetime:
    """A time of the zone's clocks in UTC: ``replace`` and ``astimezone`` do the same in four times as long."""
    shifted = read - (zone.utcoffset(read) or timedelta())
    return datetime.combine(shifted, shifted.time(), UTC)


def unix(value: int | str) -> datetime:
    """Read seconds or milliseconds since 1970, told apart by their size."""
    try:
        number = _number(value)
        if isinstance(value, bool) or not -(10**15) < number < 10**15:
            raise ValueError(f"{str(value)[:40]!r} is not a Unix time")
        seconds = -_MILLISECONDS < number < _MILLISECONDS
        if seconds and type(number) is int:
            return datetime.fromtimestamp(number, UTC)
        return _EPOCH + timedelta(microseconds=int(number * (1_000_000 if seconds else 1000)))
    except (InvalidOperation, OverflowError) as error:
        raise ValueError(f"{str(value)[:40]!r} is not a Unix time") from error


def _number(value: int | str) -> int | Decimal:
    if isinstance(value, int):
        return value
    return int(value) if value.isascii() and value.isdecimal() else Decimal(value)


def maybe_instant(value: Any, zone: str | None = None) -> datetime | None:
    """A time in any of the forms above, Unix times included; None where there is none or it cannot be read."""
    # Zero means "not set" wherever it was seen.
    if not value or isinstance(value, bool):
        return None
    try:
        if isinstance(value, str):
            stripped = value.strip()
            return unix(stripped) if _UNIX.fullmatch(stripped) else instant(stripped, zone)
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else None
        return unix(value if isinstance(value, int) else str(value)) if isinstance(value, _NUMBERS) else None
    except ValueError:
        return None


def midday(at: datetime | None) -> datetime | None:
    """A day that a vendor tells as its first moment in UTC, as its noon: the same day almost everywhere."""
    return at + timedelta(hours=12) if at and at.astimezone(UTC).time() == time() else at
