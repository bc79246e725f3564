"""Bodies from outside are read or refused as malformed; nothing else happens."""

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.errors import Malformed
from rmabridge.wire import bodies

JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nul",
        b"NaN",
        b"[Infinity]",
        b'{"a":-Infinity}',
        b"\xff\xfe",
        b'"\xed\xa0\x80"',
        b"{'a':1}",
        b"[1,]",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"9" * 5000,
        b"1e999999999",
        b"1e-999999999",
        b"1.0e99999999999999999999999",
    ],
    ids=lambda raw: raw[:14].hex(),
)
def test_what_is_not_json_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        bodies.read_json(raw)


def test_nesting_is_allowed_to_the_depth_and_no_further() -> None:
    assert bodies.read_json(b"[" * 64 + b"]" * 64)
    for raw in (b"[" * 65 + b"]" * 65, b'{"a":' * 65 + b"1" + b"}" * 65):
        with pytest.raises(Malformed):
            bodies.read_json(raw)
    with pytest.raises(Malformed):
        bodies.read_json(b"[[1]]", depth=1)


def test_a_wide_body_is_not_taken_for_a_deep_one() -> None:
    assert len(bodies.read_json(b"[" + b"[],{}," * 500 + b"0]")) == 1001
    assert bodies.read_json(b'["' + b"[" * 500 + b'"]') == ["[" * 500]


def test_numbers_keep_every_digit() -> None:
    read = bodies.read_json(b'{"id":900719925474099301,"amount":21.10,"small":1e-7}')
    assert read == {"id": 900719925474099301, "amount": Decimal("21.10"), "small": Decimal("1e-7")}
    assert str(read["amount"]) == "21.10"
    assert isinstance(read["id"], int)


def test_the_last_of_equal_keys_counts() -> None:
    assert bodies.read_json(b'{"a":1,"a":2}') == {"a": 2}


def test_half_an_escaped_emoji_becomes_a_mark_and_a_whole_one_stays() -> None:
    assert bodies.read_json(rb'["a\ud83d","\ud83d\ude00","\\ud83d","\ude00"]') == [
        "a\ufffd",
        "\N{GRINNING FACE}",
        "\\ud83d",
        "\ufffd",
    ]


def test_a_byte_order_mark_is_not_in_the_way() -> None:
    assert bodies.read_json(b"\xef\xbb\xbf[1]") == [1]


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"a"', b"null"])
def test_an_object_is_wanted_and_something_else_is_malformed(raw: bytes) -> None:
    assert bodies.read_object(b'{"a":1}') == {"a": 1}
    with pytest.raises(Malformed):
        bodies.read_object(raw)


@settings(deadline=None)
@given(JSON_LIKE)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert bodies.read_json(bodies.dump_json(value).encode()) == value


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20))
def test_a_decimal_is_written_without_losing_a_digit(number: Decimal) -> None:
    (read,) = bodies.read_json(bodies.dump_json([number]).encode())
    assert Decimal(read) == number


def test_written_json_is_compact_and_leaves_chinese_as_it_is() -> None:
    assert bodies.dump_json({"a": ["张", 1]}) == '{"a":["张",1]}'
    with pytest.raises(ValueError, match="JSON"):
        bodies.dump_json(float("nan"))
    with pytest.raises(TypeError):
        bodies.dump_json(object())


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_read_as_json_or_malformed(raw: bytes) -> None:
    try:
        json.dumps(bodies.read_json(raw), default=str).encode()
    except Malformed:
        return


@settings(deadline=None)
@given(raw=st.binary(), charset=st.sampled_from(["utf-8", "gbk", "latin-1", "hex", "idna", "\0", "utf-7", "nope"]))
def test_any_bytes_are_read_as_a_form_or_malformed(raw: bytes, charset: str) -> None:
    try:
        bodies.read_form(raw, charset)
    except Malformed:
        return


def test_a_form_keeps_blank_values_and_the_first_of_equal_names_in_order() -> None:
    read = bodies.read_form(b"z=1&b=%E5%BC%A0+x&z=2&c=")
    assert read == {"z": "1", "b": "张 x", "c": ""}
    assert list(read) == ["z", "b", "c"]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"%", "%"),
        (b"%4", "%4"),
        (b"%zz%41", "%zzA"),
        (b"100%=%3D%0A", "100%==\n"),
        (b"a=\nb%41", "a=\nbA"),
        (b"%25", "%"),
    ],
)
def test_a_form_keeps_what_is_no_escape(raw: bytes, value: str) -> None:
    assert bodies.read_form(b"x=" + raw) == {"x": value}


@given(st.binary(max_size=60))
def test_a_forms_value_is_what_the_standard_library_reads(raw: bytes) -> None:
    value = raw.replace(b"&", b"")
    try:
        expected = unquote_to_bytes(value.replace(b"+", b" ")).decode()
        value.decode()
    except ValueError:
        return
    assert bodies.read_form(b"x=" + value) == {"x": expected}


def test_a_form_may_be_in_gbk() -> None:
    assert bodies.read_form(b"name=%D5%C5", "GBK") == {"name": "张"}


@pytest.mark.parametrize("raw", [b"a=%FF%FE", b"a=\xff", b"&".join([b"a=1"] * 1001)])
def test_a_form_of_another_charset_or_of_too_many_fields_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        bodies.read_form(raw)


def test_a_form_of_a_thousand_fields_is_read() -> None:
    assert len(bodies.read_form(b"&".join(b"f%d=1" % n for n in range(1000)))) == 1000


def test_xml_becomes_dicts_lists_and_text() -> None:
    raw = '<x:xml xmlns:x="u"><a k="1">t</a><b>1</b><b><![CDATA[张]]></b><c/></x:xml>'.encode()
    assert bodies.read_xml(raw) == {"xml": {"a": {"@k": "1", "#text": "t"}, "b": ["1", "张"], "c": ""}}


LAUGHS = b"".join(
    [
        b'<!DOCTYPE l [<!ENTITY a0 "ha">',
        *(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10)),
        b"]><l>&a9;</l>",
    ]
)


@pytest.mark.parametrize(
    "raw",
    [
        LAUGHS,
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        b"<!DOCTYPE a><a/>",
        b"<a>" * 65 + b"</a>" * 65,
        b"<a>" * 200_000,
        b"<a>",
        b"",
        b"<a>\xff</a>",
        b'<?xml version="1.0" encoding="nope"?><a/>',
        b"<a/><b/>",
    ],
    ids=lambda raw: raw[:20].hex(),
)
def test_hostile_or_broken_xml_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        bodies.read_xml(raw)


WORDS = "尺码不合适，要退货"


@pytest.mark.parametrize(
    ("declared", "named", "sent"),
    [
        ("GBK", "GBK", "gbk"),
        ("gb2312", None, "gb2312"),
        ("GB18030", "utf-8", "gb18030"),
        ("UTF-8", "GBK", "gbk"),
        (None, "GBK", "gbk"),
        ("Big5", "big5", "utf-8"),
        ("UTF-8", "iso-8859-1", "utf-8"),
        (None, "iso-8859-1", "utf-8"),
        ("UTF-16", "utf-16", "utf-16"),
        (None, "utf-16", "utf-16"),
        (None, "klingon", "utf-8"),
    ],
)
def test_xml_is_read_in_the_charset_that_it_or_its_content_type_names(
    declared: str | None, named: str | None, sent: str
) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    assert bodies.read_xml(f"{head}<r><t>{WORDS}</t></r>".encode(sent), named) == {"r": {"t": WORDS}}


def test_xml_in_a_charset_of_one_byte_is_read_by_its_content_type_or_by_its_own_word() -> None:
    assert bodies.read_xml("<r>é</r>".encode("latin-1"), "iso-8859-1") == {"r": "é"}
    own = '<?xml version="1.0" encoding="ISO-8859-1"?><r>é</r>'.encode("latin-1")
    assert bodies.read_xml(own) == bodies.read_xml(own, "utf-8") == {"r": "é"}


@pytest.mark.parametrize("charset", ["gbk", "gb18030", "big5", "shift_jis", "iso-8859-1", "utf-8", "utf-7", "hz"])
def test_entities_are_refused_in_every_charset(charset: str) -> None:
    for inner in ("&b;", f"&b;{'退' if charset in ('gbk', 'gb18030', 'utf-8') else ''}"):
        head = f'<?xml version="1.0" encoding="{charset}"?>'
        bomb = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>'
        for text in (f"{head}{bomb}<a>{inner}</a>", f"{bomb}<a>{inner}</a>"):
            with pytest.raises(Malformed):
                bodies.read_xml(text.encode(charset), charset)


def test_json_is_read_in_the_charset_that_is_named_with_it() -> None:
    raw = json.dumps({"t": WORDS, "誠": "[{"}, ensure_ascii=False)
    assert bodies.read_json(raw.encode("gbk"), "GBK") == json.loads(raw)
    for named in ("iso-8859-1", "GBK", "klingon"):
        assert bodies.read_json(raw.encode(), named) == json.loads(raw)


@pytest.mark.parametrize(("named", "word"), [("utf-8", "utf-8"), ("ascii", "ascii"), ("klingon", "charset")])
def test_a_body_in_another_charset_is_malformed_with_a_word_of_it(named: str, word: str) -> None:
    with pytest.raises(Malformed, match=word):
        bodies.read_json(f'"{WORDS}"'.encode("gbk"), named)
    with pytest.raises(Malformed, match="charset"):
        bodies.read_xml(f"<r>{WORDS}</r>".encode("gbk"))
    with pytest.raises(Malformed, match="in gbk"):
        bodies.read_xml(b'<?xml version="1.0" encoding="GBK"?><r>' + b"\xff\xff</r>")


@settings(deadline=None)
@given(
    st.binary() | st.text("<>/ab&;![]CDATA\"'=?xml-").map(str.encode),
    st.sampled_from([None, "gbk", "latin-1", "utf-16", "hex", "\0", "utf-7", "nope"]),
)
def test_any_bytes_are_read_as_xml_or_malformed(raw: bytes, charset: str | None) -> None:
    try:
        assert isinstance(bodies.read_xml(raw, charset), dict)
    except Malformed:
        return


FORM = (
    b"--X\r\nContent-Disposition: form-data; name=a\r\n\r\n\xe5\xbc\xa0\r\n"
    b'--X\r\nContent-Disposition: form-data; name="f"; filename="x.png"\r\nContent-Type: image/png\r\n\r\n'
    b"\x00\r\n--\xff\r\n"
    b'--X\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=gbk\r\n\r\nlater\r\n'
    b"--X--\r\n"
)


def test_a_multipart_form_gives_text_and_file_bytes() -> None:
    read = bodies.read_multipart(FORM, 'multipart/form-data; boundary="X"')
    assert read == {"a": "张", "f": b"\x00\r\n--\xff"}


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (FORM, "multipart/form-data"),
        (FORM, "multipart/form-data; boundary=Y"),
        (FORM, "multipart/form-data; boundary=X\r\nX-Other: 1"),
        (FORM[:-7], "multipart/form-data; boundary=X"),
        (b"--X\r\nContent-Disposition: form-data\r\n\r\na\r\n--X--", "multipart/form-data; boundary=X"),
        (b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--X--', "multipart/form-data; boundary=X"),
        (b"--X\r\nA: " + b"a" * 9000 + b"\r\n\r\n\r\n--X--", "multipart/form-data; boundary=X"),
        (b"--X\r\n" * 2000 + b"--X--", "multipart/form-data; boundary=X"),
        (b"", ""),
    ],
)
def test_a_multipart_form_that_is_none_is_malformed(raw: bytes, content_type: str) -> None:
    with pytest.raises(Malformed):
        bodies.read_multipart(raw, content_type)


@settings(deadline=None)
@given(st.binary(), st.binary(), st.text())
def test_any_bytes_are_read_as_multipart_or_malformed(head: bytes, content: bytes, content_type: str) -> None:
    framed = b"--X\r\nContent-Disposition: form-data; name=a" + head + b"\r\n\r\n" + content + b"\r\n--X--"
    for raw, kind in ((framed, "multipart/form-data; boundary=X"), (head, content_type)):
        try:
            bodies.read_multipart(raw, kind)
        except Malformed:
            continue


def test_text_of_nothing_is_none_and_of_zero_is_zero() -> None:
    assert [bodies.text(value) for value in (None, "", 0, "a", Decimal("1.50"))] == [None, None, "0", "a", "1.50"]


def test_digging_ends_in_none_where_the_path_ends() -> None:
    value = {"a": [{"b": 1}], "c": "text"}
    assert bodies.dig(value, "a", 0, "b") == 1
    assert bodies.dig(value, "a", -1, "b") == 1
    for path in (("a", 1), ("a", "b"), ("c", 0), ("x", "y"), ("a", -2)):
        assert bodies.dig(value, *path) is None


@settings(deadline=None)
@given(JSON_LIKE, st.lists(st.text() | st.integers(-3, 3)))
def test_digging_never_raises(value: Any, path: list[str | int]) -> None:
    bodies.dig(value, *path)


@given(st.text("ab=&+%0dD4E5 é张", max_size=40), st.sampled_from(["utf-8", "gbk"]))
def test_a_form_is_read_as_the_standard_library_reads_it(text, charset):
    try:
        pairs = parse_qsl(text, keep_blank_values=True, encoding=charset, errors="strict")
        raw = text.encode(charset)
    except ValueError:
        return
    firsts = dict(reversed(pairs))
    assert bodies.read_form(raw, charset) == firsts
