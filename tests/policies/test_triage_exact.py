"""Triage takes short cuts; what they find is what the slow and plain way finds."""

import re
import unicodedata
from itertools import pairwise
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_triage import classify
from rmabridge_triage.entities import _AFTER, _BEFORE, _HINTS, _PHONE, _TOKEN
from rmabridge_triage.lexicon import Lexicon
from rmabridge_triage.weights import MOST, MOST_WORDS, buckets
from rmabridge_triage.words import _TYPOGRAPHY, fold, normal, shorten, simplified

TEXTS = st.text(
    st.sampled_from("abz AB19 ,!?'$-.,，。！？１Ａ①²´`“”’…退貨货請收到的Σé\u0301ßİK가\u1100\u1161\u200b\ufe0f😀\u3000"),
    max_size=60,
)
PHRASES = "QD 3|ab|ab c*|退货|收到|b.|ab..1\nND 2|ab|到的..a|9a|z's|货b|的到|!?\nL2 1|ab|收到的|a-b|19"


def plain(text):
    folded = unicodedata.normalize("NFKC", shorten(text)).translate(_TYPOGRAPHY).lower()
    return re.sub(r"\s+", " ", folded.translate(simplified())).strip()


@given(TEXTS)
def test_a_text_is_spelled_as_if_it_were_folded_as_a_whole(text):
    assert normal(text) == plain(text)
    assert fold(text) == unicodedata.normalize("NFKC", text)


@given(TEXTS | st.text(max_size=600))
def test_the_features_are_checksums_of_all_n_grams_words_and_pairs(text):
    parts = text.split(" ")[:MOST_WORDS]
    marked = [f"w{one}" for one in parts if one.isascii()] + [f"p{one} {other}" for one, other in pairwise(parts)]
    octets = f" {text} ".encode("utf-16-le", "replace")[: 2 * MOST]
    sizes = (6, 8) if text.isascii() else (2, 4, 6)
    grams = [octets[at : at + size] for size in sizes for at in range(0, len(octets) - size + 1, 2)]
    assert buckets(text) == {crc32(one) & 0xFFFF for one in [*grams, *(mark.encode() for mark in marked)]}


@given(TEXTS)
def test_the_phrases_found_are_those_that_stand_at_some_place(text):
    lexicon, text = Lexicon(PHRASES), normal(text)
    found = {
        (phrase.code, phrase.text): (start, end)
        for phrase in lexicon._phrases
        for start in range(len(text), -1, -1)
        if text.startswith(phrase.head, start) and (end := phrase.at(text, start)) >= 0
        if not (phrase.word and re.search("[a-z0-9]$", text[:start]))
    }
    hits = lexicon.find(text)
    assert {(one.code, one.phrase): (one.start, one.end) for one in hits}.items() <= found.items()
    for (code, _), (start, end) in found.items():
        assert any(one.code == code and one.start <= start and end <= one.end for one in hits)


@given(TEXTS)
def test_every_phrase_is_found_each_time_that_it_stands_there(text):
    lexicon, text = Lexicon(PHRASES), normal(text)
    found = {
        (phrase.code, phrase.text, start, end)
        for phrase in lexicon._phrases
        for start in range(len(text))
        if text.startswith(phrase.head, start) and (end := phrase.at(text, start)) >= 0
        if not (phrase.word and re.search("[a-z0-9]$", text[:start]))
    }
    hits = lexicon.every(text)
    assert {(one.code, one.phrase, one.start, one.end) for one in hits} <= found
    for code, _, start, end in found:
        assert any(one.code == code and one.start <= start and end <= one.end for one in hits)


@pytest.mark.parametrize("form", [_BEFORE, _AFTER, _PHONE, _TOKEN])
@given(text=st.text("$£€¥uUsSdDnNtTkKhHmMbBcCyYgGpP元块塊港币頭台幣 ()+-.,#1390258a", max_size=40))
def test_what_is_not_hinted_at_is_not_there(form, text):
    assert _HINTS[form].search(text) or not form.search(text)


def test_half_a_character_is_read_without_error():
    assert classify("退货 \ud800 return").language == "zh-Hans"
