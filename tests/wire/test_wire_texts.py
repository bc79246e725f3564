"""Words, phone numbers and sealed bodies that several channels write in one way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmabridge.errors import Malformed, Rejected
from rmabridge.wire.phones import unspaced
from rmabridge.wire.sealing import deciphered, sealed
from rmabridge.wire.texts import cut

SEALED = "P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk="


@given(st.text(), st.integers(3, 60))
def test_what_is_cut_fits_and_is_whole_characters(words: str, most: int) -> None:
    shown = cut(words, most)
    assert len(shown.encode()) <= most
    assert shown == words or (shown.endswith("…") and words.startswith(shown[:-1]))


def test_a_phone_number_loses_its_spacing_and_the_zero_that_is_dialled_inside_the_country_only() -> None:
    assert unspaced(" +44 (0)20-7946.0958 ") == "+442079460958"
    assert unspaced("１３８ 0013 8000") == "13800138000"


@pytest.mark.parametrize("number", ["138****8000", "138×××8000", "138xxxx8000"])
def test_a_masked_number_is_never_dialled(number: str) -> None:
    with pytest.raises(Rejected, match="masked"):
        unspaced(number)


def test_the_vendors_own_cipher_text_is_deciphered() -> None:
    assert deciphered(SEALED, "test key") == b"hello world"


@given(st.binary(max_size=80), st.text(min_size=1, max_size=20))
def test_what_is_sealed_is_deciphered_with_the_same_key(body: bytes, key: str) -> None:
    assert deciphered(sealed(body, key), key) == body


@pytest.mark.parametrize("given", ["", "no base64!", "AAAA", SEALED[:-4]])
def test_what_is_no_cipher_text_is_malformed(given: str) -> None:
    with pytest.raises(Malformed):
        deciphered(given, "test key")
