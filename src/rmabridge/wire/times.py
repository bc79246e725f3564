"""Times as vendors write them; what comes out is always aware, and in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
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
    if read.tzinfo is None:
        if zone is None:
            raise ValueError(f"{text[:40]!r} has no offset, and no zone is known for it")
        read = read.replace(tzinfo=_zone(zone))
    try:
        return read.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text[:40]!r} is outside the calendar") from error


def unix(value: int | str) -> datetime:
    """Read seconds or milliseconds since 1970, told apart by their size."""
    try:
        told = str(value)
        number: int | Decimal = int(told) if told.isascii() and told.isdecimal() else Decimal(told)
        if isinstance(value, bool) or not -(10**15) < number < 10**15:
            raise ValueError(f"{str(value)[:40]!r} is not a Unix time")
        seconds = -_MILLISECONDS < number < _MILLISECONDS
        return _EPOCH + timedelta(microseconds=int(number * (1_000_000 if seconds else 1000)))
    except (InvalidOperation, OverflowError) as error:
        raise ValueError(f"{str(value)[:40]!r} is not a Unix time") from error


def maybe_instant(value: Any, zone: str | None = None) -> datetime | None:
    """A time in any of the forms above, Unix times included; None where there is none or it cannot be read."""
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else None
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal) or not value:
        return None
    try:
        stripped = str(value).strip()
        # Zero means "not set" wherever it was seen.
        if not isinstance(value, str) or _UNIX.fullmatch(stripped):
            return unix(stripped)
        return instant(stripped, zone)
    except ValueError:
        return None
