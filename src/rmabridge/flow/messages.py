"""httpx's requests and answers whose content is at hand: filled in at once, which takes a third of the CPU.

They are made from httpx's own fields; a test compares them with what httpx makes.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import httpx

OWN: Final = frozenset({b"host", b"content-length"})
MOST_ANSWER: Final = 8 << 20
PACKED: Final = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
FILLED: Final = frozenset({"POST", "PUT", "PATCH"})
Line = tuple[bytes, bytes, bytes]


class _Lines(httpx.Headers):
    """Headers that are taken as they are: name, name in small letters, value."""

    def __init__(self, lines: list[Line]) -> None:
        self._list, self._encoding = lines, None


@lru_cache(maxsize=1024)
def _name(name: str) -> tuple[bytes, bytes]:
    raw = name.encode("ascii")
    return raw, raw.lower()


class Question(httpx.Request):
    """A request with all of its body."""

    def __init__(self, method: str, url: httpx.URL, lines: list[Line], body: bytes, extensions: dict[str, Any]) -> None:
        self.method, self.url, self.extensions = method, url, extensions
        self.headers, self.stream, self._content = _Lines(lines), httpx.ByteStream(body), body


def question(
    method: str, url: httpx.URL, headers: Mapping[str, str], body: bytes, extensions: dict[str, Any]
) -> httpx.Request:
    """The request; where the headers say themselves what httpx would say, httpx makes it."""
    lines = [(*_name(name), value.encode("ascii")) for name, value in headers.items()]
    method = method.upper()
    if not OWN.isdisjoint(one[1] for one in lines):
        return httpx.Request(method, url, headers=headers, content=body, extensions=extensions)
    lines.insert(0, (b"Host", b"host", url.netloc))
    if body or method in FILLED:
        lines.append((b"Content-Length", b"content-length", b"%d" % len(body)))
    return Question(method, url, lines, body, extensions)


class Answer(httpx.Response):
    """An answer that has been read, and unpacked."""

    def __init__(self, status: int, lines: list[Line], body: bytes, request: httpx.Request) -> None:
        self.status_code, self.headers = status, _Lines(lines)
        self._request, self.next_request = request, None
        self.extensions, self.history = {}, []
        self.is_closed = self.is_stream_consumed = True
        self.default_encoding = "utf-8"
        self.stream, self._content, self._num_bytes_downloaded = httpx.ByteStream(body), body, len(body)


def answer(status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, request: httpx.Request) -> httpx.Response:
    """The answer; what is packed is unpacked."""
    lines = [(name, name.lower(), value) for name, value in headers]
    for said in [value for _, name, value in lines if name == b"content-encoding"]:
        for coding in reversed(said.lower().split(b",")):
            body = _unpacked(coding.strip(), body)
    return Answer(status, lines, body, request)


def _unpacked(coding: bytes, body: bytes) -> bytes:
    """The body in clear, which may be much larger: more than an answer may have is refused, not made."""
    if coding not in PACKED or not body:  # some servers write a charset there
        return body
    # By its name 'deflate' has zlib's two bytes in front; some servers leave them out.
    bare = coding == b"deflate" and not (body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0)
    unpacking = zlib.decompressobj(-zlib.MAX_WBITS if bare else PACKED[coding])
    try:
        clear = unpacking.decompress(body, MOST_ANSWER + 1)
    except zlib.error as error:
        raise httpx.DecodingError("the packed answer cannot be unpacked") from error
    if len(clear) > MOST_ANSWER:
        raise too_large()
    if not unpacking.eof:
        raise httpx.DecodingError("the packed answer is cut off")
    return clear


def too_large() -> ValueError:
    """What is said of an answer that passes the limit."""
    return ValueError(f"the answer is larger than {MOST_ANSWER >> 20} MB: is the configured URL the right one?")
