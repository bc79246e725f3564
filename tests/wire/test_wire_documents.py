"""Documents made at the moment they are sent."""

import base64
import json
import re
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.model import Attachment
from rmabridge.wire.documents import content, pdf

FACTS = {
    "title": "[理赔|Claim] YTO YT1",
    "carrier": {"code": "YTO", "name": "圓通速遞"},
    "goods": [{"title": "水壶 <b>&", "qty": 2}],
    "incident": {"tracking_excerpt": [{"text": "外包装破损"}], "description": None},
    "evidence": [],
}


def words(document: bytes) -> str:
    """The text of the pages, as far as the font writes it in two bytes a character."""
    found = []
    for raw in re.findall(rb"stream\r?\n(.*?)endstream", document, re.DOTALL):
        page = zlib.decompress(base64.a85decode(raw.strip().removesuffix(b"~>")))
        for text in re.findall(rb"\((.*?)(?<!\\)\) Tj", page, re.DOTALL):
            plain = re.sub(rb"\\(\d{3}|.)", lambda one: _plain(one[1]), text, flags=re.DOTALL)
            found.append(plain.decode("utf-16-be", "replace"))
    return "".join(found)


def _plain(escaped: bytes) -> bytes:
    named = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
    return bytes([int(escaped, 8)]) if escaped.isdigit() else named.get(escaped, escaped)


def test_a_pdf_shows_both_scripts_and_is_the_same_each_time():
    made = pdf(FACTS)
    assert made == pdf(FACTS)
    for one in ("理赔", "圓通速遞", "外包装破损", "YT1", "水壶 <b>&", "承运商 / Carrier"):
        assert one in words(made), one


def test_text_goes_out_as_it_is_and_as_a_document_under_the_type_of_one():
    text = json.dumps(FACTS)
    assert content(Attachment(name="a.json", media_type="application/json", text=text)) == text.encode()
    assert content(Attachment(name="a.pdf", media_type="application/pdf", text=text)) == pdf(FACTS)
    with pytest.raises(ValueError, match="no text"):
        content(Attachment(name="a.png", sha256="00"))


values = st.recursive(
    st.none() | st.text(max_size=30) | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=12), values, max_size=4))
@settings(max_examples=25, deadline=None)
def test_any_object_becomes_a_document(facts):
    assert pdf(facts).startswith(b"%PDF-")
