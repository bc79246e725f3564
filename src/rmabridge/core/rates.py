"""Amounts in another currency, by a dated table: the shipped one, or the operator's own. Never by a guess.

A table is CSV: a column ``date``, then one column for each currency with its units for one unit of the base. A rate
holds from its date until the next line, and after the last line only as long as ``holds`` says.
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

from ..model import Money
from ..model.money import EXPONENTS

BASE: Final = "EUR"
HOLDS: Final = timedelta(days=92)


class NoRate(ValueError):
    """The table does not say what an amount was worth on that day."""


class Rates:
    """A dated table; ``base`` is the currency that all columns are for one unit of."""

    def __init__(self, table: Mapping[date, Mapping[str, Decimal]], base: str = BASE, holds: timedelta = HOLDS) -> None:
        self._days = sorted(table)
        self._table, self._base, self._holds = table, base, holds

    def convert(self, money: Money, currency: str, on: date) -> Money:
        """The amount in ``currency`` at that day's rate, not rounded; ``NoRate`` says what is not known."""
        if money.currency == currency:
            return money
        line = self._line(on)
        amount = money.amount / self._one(line, money.currency, on) * self._one(line, currency, on)
        return Money(amount=amount, currency=currency)

    def total(self, amounts: Iterable[Money], currency: str, on: date) -> Money:
        """The sum of amounts of any currencies."""
        found = Money(amount=Decimal(0), currency=currency)
        for one in amounts:
            found += self.convert(one, currency, on)
        return found

    def _line(self, on: date) -> Mapping[str, Decimal]:
        place = bisect_right(self._days, on)
        if not place:
            raise NoRate(f"the table of rates has nothing for {on}")
        day = self._days[place - 1]
        if place == len(self._days) and on - day > self._holds:
            raise NoRate(f"the table of rates ends on {day}, more than {self._holds.days} days before {on}")
        return self._table[day]

    def _one(self, line: Mapping[str, Decimal], currency: str, on: date) -> Decimal:
        if currency == self._base:
            return Decimal(1)
        if currency not in line:
            raise NoRate(f"the table of rates has no {currency} for {on}")
        return line[currency]


def floored(money: Money) -> Money:
    """To the currency's smallest unit, towards zero: what is promised is never more than what was worked out."""
    step = Decimal(1).scaleb(-EXPONENTS.get(money.currency, 2))
    return Money(amount=money.amount.quantize(step, ROUND_DOWN), currency=money.currency)


def read(text: str, base: str = BASE, holds: timedelta = HOLDS) -> Rates:
    """A table from CSV; lines that begin with ``#`` are comments, an empty field is a rate that is not known."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    table = {}
    for number, row in enumerate(csv.DictReader(lines, strict=True), start=1):
        try:
            day = date.fromisoformat((row.pop("date", None) or "").strip())
            table[day] = {name.strip(): _rate(value) for name, value in row.items() if value and value.strip()}
        except (ValueError, InvalidOperation, AttributeError) as error:
            raise ValueError(f"line {number} of the table of rates: {error}") from error
    if not table:
        raise ValueError("the table of rates is empty")
    return Rates(table, base, holds)


def _rate(text: str) -> Decimal:
    rate = Decimal(text.strip())
    if not rate.is_finite() or rate <= 0:
        raise ValueError(f"{text!r} is no rate")
    return rate


@lru_cache(maxsize=16)
def rates(file: Path | None = None, base: str = BASE, holds: timedelta = HOLDS) -> Rates:
    """The operator's table, or the shipped one: the European Central Bank's rates at the end of each month."""
    if file is not None:
        return read(file.read_text(encoding="utf-8"), base, holds)
    shipped = resources.files("rmabridge") / "core" / "data" / "rates.csv"
    return read(shipped.read_text(encoding="utf-8"), BASE, holds)
