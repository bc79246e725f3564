"""Amounts are exact or refused."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.model import Money
from rmabridge.wire.amounts import major, maybe_major, minor, number

CURRENCIES = st.sampled_from(["CNY", "USD", "JPY", "KWD", "EUR", "VND"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("500.01", "500.01"),
        (" 1,234.50 ", "1234.50"),
        ("12,345,678", "12345678"),
        ("-3.5", "-3.5"),
        ("+3", "3"),
        (7, "7"),
        (Decimal("0.10"), "0.10"),
    ],
)
def test_major_units_are_read_exactly(value: Any, expected: str) -> None:
    assert major(value, "CNY") == Money(amount=Decimal(expected), currency="CNY")


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        True,
        None,
        "",
        "NaN",
        "Infinity",
        Decimal("NaN"),
        Decimal("1E+400"),
        "1,5",
        "1.234,50",
        "1,23",
        "¥5",
        "1e3",
        "５",
        "9" * 25,
        10**25,
        [],
        {},
        "1_000",
        "--1",
    ],
)
def test_what_is_unclear_is_not_money(value: Any) -> None:
    with pytest.raises(ValueError):
        major(value, "CNY")
    assert maybe_major(value, "CNY") is None


def test_minor_units_follow_the_currency() -> None:
    assert str(minor(50001, "CNY")) == "500.01 CNY"
    assert str(minor("500", "JPY")) == "500 JPY"
    assert str(minor("1500", "KWD")) == "1.500 KWD"


@pytest.mark.parametrize("value", ["1.5", 1.0, True, "x", "NaN", ""])
def test_minor_units_are_whole(value: Any) -> None:
    with pytest.raises(ValueError):
        minor(value, "CNY")


def test_currencies_are_spelt_one_way() -> None:
    assert major("1", " cny").currency == "CNY"
    assert major("1", "RMB").currency == "CNY"
    with pytest.raises(ValueError):
        major("1", "yuan")


def test_an_amount_alone_is_read_as_money_is() -> None:
    assert number("1,234.50") == Decimal("1234.50")
    assert [number(one) for one in (None, 1.5, "abc", "0." + "0" * 23 + "1", True)] == [None] * 5


def test_one_piece_has_a_price_only_where_it_is_whole_in_the_smallest_unit() -> None:
    assert Money.of("39.80 USD").each(2) == Money.of("19.90 USD")
    assert Money.of("300 JPY").each(3) == Money.of("100 JPY")
    assert [Money.of("10 USD").each(pieces) for pieces in (3, 0, -1)] == [None] * 3


def test_a_sum_of_money_is_of_one_currency() -> None:
    assert Money.total([Money.of("1.50 USD"), Money.of("2 USD")]) == Money.of("3.50 USD")
    for many in ([], [Money.of("1 USD"), Money.of("1 EUR")]):
        with pytest.raises(ValueError):
            Money.total(many)


def test_an_amount_that_may_be_missing_is_none() -> None:
    assert maybe_major("21.00", "USD") == Money.of("21.00 USD")
    assert maybe_major("21.00", None) is None
    assert maybe_major("21.00", "dollars") is None
    assert maybe_major(None, "USD") is None


@settings(deadline=None)
@given(st.integers(-(10**18), 10**18), CURRENCIES)
def test_minor_and_major_units_say_the_same(units: int, currency: str) -> None:
    money = minor(units, currency)
    assert money.in_minor() == units
    assert major(f"{money.amount:f}", currency) == money
    assert major(f"{money.amount:,f}", currency) == money


@settings(deadline=None)
@given(st.none() | st.text() | st.floats() | st.integers() | st.binary(), st.none() | st.text() | st.just("CNY"))
def test_an_amount_that_may_be_anything_never_raises(value: Any, currency: Any) -> None:
    assert maybe_major(value, currency) is None or isinstance(value, int | str)
