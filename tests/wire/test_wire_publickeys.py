"""Keys that senders name: asked for, kept a while, never without number."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rmabridge.errors import KeyNeeded
from rmabridge.testing.contexts import NOON
from rmabridge.wire.publickeys import MOST, PublicKeys


def test_a_key_is_needed_until_it_is_kept_and_again_after_its_life() -> None:
    keys: PublicKeys[str] = PublicKeys(timedelta(hours=1))
    with pytest.raises(KeyNeeded) as needed:
        keys.get("kid", NOON)
    assert needed.value.name == "kid"
    keys.keep("kid", "key", NOON)
    assert keys.get("kid", NOON + timedelta(minutes=59)) == "key"
    with pytest.raises(KeyNeeded):
        keys.get("kid", NOON + timedelta(hours=1))


def test_a_renewed_key_takes_the_place_of_the_old_one() -> None:
    keys: PublicKeys[str] = PublicKeys(timedelta(hours=1))
    keys.keep("kid", "old", NOON)
    keys.keep("kid", "new", NOON)
    assert keys.get("kid", NOON) == "new"


def test_made_up_names_push_out_the_oldest_and_no_more_than_that() -> None:
    keys: PublicKeys[int] = PublicKeys(timedelta(hours=1))
    for number in range(MOST + 1):
        keys.keep(str(number), number, NOON)
    with pytest.raises(KeyNeeded):
        keys.get("0", NOON)
    assert [keys.get(str(number), NOON) for number in (1, MOST)] == [1, MOST]
