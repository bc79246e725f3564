"""Conversion by a dated table: exact, by the day, and silent about nothing that it does not know."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmabridge.core.rates import NoRate, floored, rates, read
from rmabridge.model import Money

TABLE = "# a comment\ndate,CNY,USD,JPY\n2026-01-30,8,1.25,160\n2026-02-27,7.5,1.2,\n"


def test_a_rate_holds_from_its_day_until_the_next():
    table = read(TABLE)
    assert table.convert(Money.of("10 USD"), "CNY", date(2026, 1, 30)) == Money.of("64 CNY")
    assert table.convert(Money.of("10 USD"), "CNY", date(2026, 2, 26)) == Money.of("64 CNY")
    assert table.convert(Money.of("10 USD"), "CNY", date(2026, 2, 27)) == Money.of("62.5 CNY")
    assert table.convert(Money.of("8 CNY"), "EUR", date(2026, 2, 1)) == Money.of("1 EUR")
    assert table.convert(Money.of("5 TWD"), "TWD", date(1999, 1, 1)) == Money.of("5 TWD")


@pytest.mark.parametrize(
    ("money", "currency", "day", "said"),
    [
        ("1 USD", "CNY", date(2026, 1, 29), "nothing for 2026-01-29"),
        ("1 USD", "CNY", date(2026, 7, 1), "ends on 2026-02-27"),
        ("1 TWD", "CNY", date(2026, 2, 1), "no TWD"),
        ("1 USD", "JPY", date(2026, 3, 1), "no JPY for 2026-03-01"),
    ],
)
def test_what_the_table_does_not_know_is_said(money, currency, day, said):
    with pytest.raises(NoRate, match=said):
        read(TABLE).convert(Money.of(money), currency, day)


def test_how_long_the_last_line_holds_is_a_setting():
    table = read(TABLE, holds=timedelta(days=400))
    assert table.convert(Money.of("1.2 USD"), "CNY", date(2027, 2, 27)) == Money.of("7.5 CNY")


@pytest.mark.parametrize(
    "text", ["", "date,CNY\n", "day,CNY\n2026-01-01,8\n", "date,CNY\n2026-01-01,0\n", "date,CNY\nx,1"]
)
def test_a_table_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match="table of rates"):
        read(text)


def test_an_operators_own_table_has_its_own_base(tmp_path):
    file = tmp_path / "rates.csv"
    file.write_text("date,USD,TWD\n2026-01-01,0.14,4.5\n", encoding="utf-8")
    own = rates(file, "CNY")
    assert own.convert(Money.of("100 CNY"), "TWD", date(2026, 1, 2)) == Money.of("450 TWD")


def test_the_shipped_table_knows_the_currencies_of_the_marketplaces_for_each_month():
    for month in ("2024-03-01", "2025-06-15", "2026-09-30"):
        for currency in ("USD", "GBP", "JPY", "KRW", "HKD", "SGD", "THB", "MXN", "PLN"):
            got = rates().convert(Money.of("500 CNY"), currency, date.fromisoformat(month))
            assert got.amount > 0 and got.currency == currency


@given(st.decimals(min_value=0, max_value=10**7, places=4), st.sampled_from(["CNY", "JPY", "KWD"]))
def test_what_is_floored_is_never_more_and_is_whole_in_the_smallest_unit(amount, currency):
    money = Money(amount=amount, currency=currency)
    less = floored(money)
    assert less <= money
    assert less.in_minor() >= 0
    assert (money - less).amount < Decimal(1)
