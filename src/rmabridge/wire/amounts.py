"""Amounts as vendors write them: in major units (yuan) or minor ones (fen), as text or whole numbers."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from rmabridge.model import Money

# More digits than this would be rounded by decimal's own precision, silently.
_DIGITS: Final = 24
_PLAIN = re.compile(rf"[+-]?[0-9]{{1,{_DIGITS}}}(\.[0-9]{{1,{_DIGITS}}})?")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3}){1,6}(\.[0-9]{1,24})?")
# What many Chinese systems write for the yuan.
_NUMBERS: Final = (int, Decimal)
_ALIASES: Final = {"RMB": "CNY"}


def _currency(code: str) -> str:
    upper = code.strip().upper()
    return _ALIASES.get(upper, upper)


def _decimal(value: str | int | Decimal) -> Decimal:
    if isinstance(value, str):
        number = _read(value)
        if len(value) <= _DIGITS:
            return number
    elif isinstance(value, _NUMBERS) and not isinstance(value, bool):
        number = Decimal(value)
    else:
        raise ValueError(f"{type(value).__name__} is not money; give a decimal string or an int")
    if not number.is_finite() or (number and abs(number.adjusted()) >= _DIGITS):
        raise ValueError("not an amount of money")
    return number


def _read(text: str) -> Decimal:
    stripped = text.strip()
    if _PLAIN.fullmatch(stripped):
        return Decimal(stripped)
    if _GROUPED.fullmatch(stripped):
        return Decimal(stripped.replace(",", ""))
    raise ValueError(f"{text[:40]!r} is not an amount")


def major(value: str | int | Decimal, currency: str) -> Money:
    """Yuan, dollars: ``major("1,234.50", "CNY")``; floats and anything unclear raise ``ValueError``."""
    if type(value) is str:
        return _of_text(value, currency)
    return Money(amount=_decimal(value), currency=_currency(currency))


@lru_cache(maxsize=4096)
def _of_text(value: str, currency: str) -> Money:
    """The same prices come again and again, and money is never changed."""
    return Money(amount=_decimal(value), currency=_currency(currency))


def minor(value: str | int, currency: str) -> Money:
    """Fen, cents, whole yen: ``minor(123450, "CNY")`` is 1234.50 CNY; a fraction raises ``ValueError``."""
    number = _decimal(value)
    if number != number.to_integral_value():
        raise ValueError(f"{value}: minor units are whole numbers")
    return Money.minor(int(number), _currency(currency))


def number(value: Any) -> Decimal | None:
    """The amount alone, for sums that become money later; None where it is missing or cannot be read."""
    try:
        return _decimal(value)
    except ValueError:
        return None


def maybe_major(value: Any, currency: Any) -> Money | None:
    """Like ``major``, but None where the amount or the currency is missing or cannot be read."""
    if not isinstance(currency, str):
        return None
    try:
        return major(value, currency)
    except ValueError:
        return None
