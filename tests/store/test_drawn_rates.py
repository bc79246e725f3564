"""Places in a rate: never more than the limit, wherever in its life each of them is used."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rmabridge.store.rates import FINENESS, place

asks = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 12), st.integers(0, 100)), max_size=80)


@given(asks, st.integers(1, 15))
def test_no_span_holds_more_than_the_limit_whenever_places_are_used(
    asked: list[tuple[int, int, int]], most: int
) -> None:
    """A span of 1000, in which a place may be used for 100 after it was drawn."""
    taken, now, used = [], 0, []
    for pause, want, late in asked:
        now += pause
        got, taken = place(taken, now, want, most, 1100)
        used += [now + late] * got
    used.sort()
    assert all(later - one >= 1000 for one, later in zip(used, used[most:], strict=False))


@given(asks)
def test_the_list_stays_short(asked: list[tuple[int, int, int]]) -> None:
    taken, now = [], 0
    for pause, want, _ in asked:
        now += pause
        _, taken = place(taken, now, want, 10_000, 1100)
        assert len(taken) <= FINENESS + 2


def test_whoever_asks_again_after_the_span_gets_all_places_again() -> None:
    got, taken = place([], 0, 20, 10, 1100)
    assert (got, place(taken, 1100, 20, 10, 1100)[0]) == (10, 0)
    assert place(taken, 1112, 20, 10, 1100)[0] == 10


def test_a_clock_that_is_set_back_stops_nobody_for_longer_than_the_span() -> None:
    _, taken = place([], 10_000_000, 10, 10, 1100)
    got, taken = place(taken, 5_000, 1, 10, 1100)
    assert got == 0
    assert place(taken, 6_200, 1, 10, 1100)[0] == 1
