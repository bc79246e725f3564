"""Ids are digits, however a vendor writes them."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmabridge.wire.ids import digits

ANYTHING = st.one_of(st.text(max_size=30), st.integers(-(10**25), 10**25), st.booleans(), st.none(), st.floats())


@pytest.mark.parametrize(("value", "expected"), [(9001, "9001"), ("9001", "9001"), ("007", "007"), (0, "0")])
def test_an_id_is_text_whether_it_came_as_a_number_or_as_digits(value: Any, expected: str) -> None:
    assert digits(value) == expected


@pytest.mark.parametrize(
    "value", [None, "", True, -1, 1.0, "1.0", " 1", "1\n", "１", "9" * 21, 10**20, ["1"], {"a": 1}]
)
def test_what_is_no_id_is_nothing(value: Any) -> None:
    assert digits(value) == ""


@given(ANYTHING)
def test_what_is_read_as_an_id_has_one_to_twenty_digits(value: Any) -> None:
    whole = isinstance(value, int | str) and not isinstance(value, bool)
    assert bool(digits(value)) is bool(whole and re.fullmatch("[0-9]{1,20}", str(value)))
