"""Expressions count to the cent: what a body tells with a fraction is a decimal."""

from decimal import Decimal

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmabridge.wire.bodies import read_json
from rmabridge.wire.expressions import search

BODY = read_json(b'{"total": 28.99, "even": 12.50, "text": "28.99", "n": 7, "items": [{"price": 10}, {"price": 12.5}]}')


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("to_number(total)", Decimal("28.99")),
        ("to_number(text)", Decimal("28.99")),
        ("to_number('1e400')", Decimal("1e400")),
        ("to_number('12')", 12),
        ("to_number('x')", None),
        ("to_number('NaN')", None),
        ("to_number(items)", None),
        ("to_number(n)", 7),
        ("sum(items[].price)", Decimal("22.5")),
        ("sum(items[].to_number(price))", Decimal("22.5")),
        ("sum(`[1, 2]`)", 3),
        ("avg(items[].price)", Decimal("11.25")),
        ("max(items[].price)", Decimal("12.5")),
        ("min(items[].price)", 10),
        ("abs(total)", Decimal("28.99")),
        ("floor(total)", 28),
        ("max_by(items, &price).price", Decimal("12.5")),
        ("sort_by(items, &price)[0].price", 10),
        ("items[?price > `11`] | length(@)", 1),
        ("to_string(even)", "12.50"),
        ("to_string(items[0])", '{"price":10}'),
        ("type(total)", "number"),
        ("type(text)", "string"),
    ],
)
def test_an_expression_finds_decimals_as_they_were_told(expression, found):
    assert search(jmespath.compile(expression), BODY) == found


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12))
def test_no_amount_loses_its_cents_on_the_way_through_text(amount):
    assert search(jmespath.compile("to_number(to_string(a))"), {"a": amount}) == amount
