"""Bodies from outside: JSON, forms, XML, multipart. Hostile bytes give ``Malformed`` and nothing else."""

from __future__ import annotations

import codecs
import json
import re
from binascii import a2b_qp
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from email.message import Message
from email.parser import BytesHeaderParser
from functools import lru_cache
from typing import Any, Final, TypeVar
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.ElementTree import DefusedXMLParser

from rmabridge.errors import Malformed

_V = TypeVar("_V")

DEPTH: Final = 64
MAX_FIELDS: Final = 1000
MAX_PARTS: Final = 1000
MAX_PART_HEADER: Final = 8192
CHARSETS: Final = frozenset(
    {"ascii", "big5", "cp1252", "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk", "iso8859-1", "shift_jis", "utf-8"}
)
# What the XML parser reads by itself, where the document says so.
_OF_THE_PARSER: Final = frozenset({"ascii", "cp1252", "iso8859-1", "utf-8"})
_DECLARED = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml\s[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z][A-Za-z0-9._-]{0,39})[\"']")
_STRAY = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    # No double is this large or small; writing such a number out would take all memory.
    if number and abs(number.adjusted()) > 400:
        raise ValueError("a number beyond all measure")
    return number


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_decimal, parse_constant=_no_constant)


def _whole_escapes(text: str) -> str:
    """Put U+FFFD for half an escaped emoji (vendors cut texts in the middle), which no database could store."""
    return _ESCAPES.sub(lambda found: r"\ufffd" if found["lone"] else found[0], text)


def _deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth + 1):
        children: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                children.extend(item.values())
            elif isinstance(item, list):
                children.extend(item)
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def read_json(raw: bytes, charset: str = "utf-8", *, depth: int = DEPTH) -> Any:
    """JSON with exact numbers: whole ones are ``int``, others ``Decimal``; of equal keys the last counts."""
    text = _decoded(raw.removeprefix(codecs.BOM_UTF8), charset)
    try:
        value = _DECODER.decode(_whole_escapes(text) if _SURROGATE.search(raw) else text)
    except (ValueError, InvalidOperation, RecursionError) as error:
        raise Malformed("the body is not JSON") from error
    # Counting brackets is a hundred times faster than walking, and settles nearly all bodies.
    if raw.count(b"[") + raw.count(b"{") > depth and _deeper(value, depth - 1):
        raise Malformed(f"the body is nested deeper than {depth}")
    return value


def read_object(raw: bytes) -> dict[str, Any]:
    """JSON that must be an object."""
    value = read_json(raw)
    if not isinstance(value, dict):
        raise Malformed("the body is not a JSON object")
    return value


@lru_cache(maxsize=32)
def _charset(name: str) -> str:
    try:
        known = codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise Malformed("the charset is not known") from error
    if known not in CHARSETS:
        raise Malformed("the charset is not accepted")
    return known


def _decoded(raw: bytes, charset: str) -> str:
    """The text: UTF-8 where it is that, as many declare another charset than they send; else in the charset."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        known = _charset(charset)
    try:
        return raw.decode(known)
    except UnicodeDecodeError as error:
        raise Malformed(f"the body is not text in {known}, and no other charset is named with it") from error


def _firsts(pairs: Iterable[tuple[str, _V]]) -> dict[str, _V]:
    fields: dict[str, _V] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def read_form(raw: bytes, charset: str = "utf-8") -> dict[str, str]:
    """A urlencoded form, blank values kept; of equal names the first counts."""
    known = _charset(charset)
    if raw.count(b"&") >= MAX_FIELDS:
        raise Malformed(f"the form has more than {MAX_FIELDS} fields")
    try:
        raw.decode(known)
        pairs = [one.partition(b"=") for one in raw.split(b"&") if one]
        return _firsts((_unquoted(name, known), _unquoted(value, known)) for name, _, value in pairs)
    except ValueError as error:
        raise Malformed("the body is not a form of this charset") from error


def _unquoted(part: bytes, charset: str) -> str:
    plain = part.replace(b"+", b" ")
    if b"%" in plain:
        # urllib goes byte by byte; quoted-printable is the same code with another sign, and is undone at once.
        plain = a2b_qp(_STRAY.sub(b"%25", plain).replace(b"=", b"%3D").replace(b"%", b"="))
    return plain.decode(charset)


class _Shallow(TreeBuilder):
    """Builds the tree of a document that is not nested deeper than others are."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._depth += 1
        if self._depth > DEPTH:
            raise Malformed(f"the body is nested deeper than {DEPTH}")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _plain(element: Element) -> Any:
    fields: dict[str, Any] = {f"@{_local(name)}": value for name, value in element.attrib.items()}
    repeated: dict[str, list[Any]] = {}
    for child in element:
        repeated.setdefault(_local(child.tag), []).append(_plain(child))
    fields |= {tag: many[0] if len(many) == 1 else many for tag, many in repeated.items()}
    text = (element.text or "").strip()
    if not fields:
        return text
    return fields | ({"#text": text} if text else {})


def _xml(raw: bytes, charset: str | None) -> str | bytes:
    """XML in a charset that the parser does not know (it knows none of several bytes but Unicode's), as text.

    The document's own word goes before the content type's.
    """
    declared = _DECLARED.match(raw)
    for named in filter(None, (declared and declared[1].decode(), charset)):
        try:
            known = _charset(named)
        except Malformed:
            continue  # UTF-16 shows itself by its first bytes
        if known not in _OF_THE_PARSER or (declared is None and known != "utf-8"):
            return _decoded(raw, known)
    return raw


def read_xml(raw: bytes, charset: str | None = None) -> dict[str, Any]:
    """XML as ``{root: value}``: text, or a dict of children (a list where one repeats, ``@name`` for attributes).

    Name-space prefixes are dropped. A document type, an entity or deep nesting is ``Malformed``.
    """
    document = _xml(raw, charset)
    try:
        parser = DefusedXMLParser(target=_Shallow(), forbid_dtd=True)
        parser.feed(document)
        root = parser.close()
    except (ParseError, ValueError, LookupError) as error:
        raise Malformed("the body is not plain XML of a charset that is accepted") from error
    return {_local(root.tag): _plain(root)}


def _headers(block: bytes) -> Message:
    if len(block) > MAX_PART_HEADER:
        raise Malformed("a part's header is too long")
    return BytesHeaderParser().parsebytes(block)


def _boundary(content_type: str) -> bytes:
    if not content_type.isascii() or not content_type.isprintable():
        raise Malformed("the content type is unreadable")
    found = _headers(f"Content-Type: {content_type}\n\n".encode()).get_boundary()
    if not found or len(found) > 70 or not found.isascii():
        raise Malformed("the multipart boundary is missing")
    return found.encode()


def _part(block: bytes) -> tuple[str, str | bytes]:
    head, gap, content = block.partition(b"\r\n\r\n")
    headers = _headers(head.lstrip(b"\r\n") + b"\r\n\r\n")
    name = headers.get_param("name", header="Content-Disposition")
    if not gap or not isinstance(name, str):
        raise Malformed("a part has no name")
    if headers.get_filename() is not None or headers.get_content_maintype() != "text":
        return name, content
    return name, content.decode(_charset(headers.get_content_charset() or "utf-8"))


def read_multipart(raw: bytes, content_type: str) -> dict[str, str | bytes]:
    """A multipart form: text fields as ``str``, files as ``bytes``; of equal names the first counts."""
    edge = b"\r\n--" + _boundary(content_type)
    blocks = (b"\r\n" + raw).split(edge, MAX_PARTS + 1)
    if len(blocks) > MAX_PARTS or not blocks[-1].startswith(b"--"):
        raise Malformed("the body is not the multipart form it claims to be")
    try:
        parts = [_part(block) for block in blocks[1:-1]]
    except (ValueError, TypeError, LookupError) as error:
        raise Malformed("a part is unreadable") from error
    return _firsts(parts)


def _number(value: Any) -> float | str:
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} is not JSON")
    # A number stays a number where a double says exactly the same; otherwise its digits matter more than its type.
    double = float(value)
    return double if Decimal(repr(double)) == value else str(value)


def dump_json(obj: Any) -> str:
    """Compact JSON text, other scripts than Latin left as they are: sign and send this very string."""
    return json.dumps(obj, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_number)


def text(value: Any) -> str | None:
    """The value as text; None for None and the empty string."""
    return (value or None) if type(value) is str else None if value is None or value == "" else str(value)


def dig(value: Any, *path: str | int) -> Any:
    """What lies at the path of keys and indexes; None where the path ends early."""
    for step in path:
        # Exact types first: asking whether something is a Mapping costs more than all the rest.
        if type(value) is dict:
            value = value.get(step)
        elif isinstance(value, list):
            value = value[step] if isinstance(step, int) and -len(value) <= step < len(value) else None
        elif value is not None and isinstance(value, Mapping):
            value = value.get(step)
        else:
            return None
    return value
