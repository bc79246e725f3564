"""Words out of mails: charsets as they really come, HTML as text, and what the writer did not quote."""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, Final

import tomli

# Read only where nothing better is declared; Big5 last, because it accepts much that is GB.
GUESSES: Final = ("utf-8", "gb18030", "big5hkscs")
# They look like ASCII, so that no other codec would fail on them.
SEVEN_BITS: Final = frozenset({"hz", "iso2022_jp_ext", "iso2022_kr", "utf-16"})
LONGEST_HTML: Final = 1 << 20
LONGEST_INTRO: Final = 300
COLONS: Final = (":", "\uff1a")
_ENCODED = re.compile(r"=\?([^?*\s]{1,40})(?:\*[^?\s]{0,40})?\?([bBqQ])\?([^?]*)\?=")
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)\b[^<>]*>")
_BREAKS: Final = frozenset({"br", "p", "div", "li", "tr", "table", "ul", "ol", "h1", "h2", "h3", "h4", "hr", "pre"})
_HIDDEN: Final = frozenset({"style", "script", "head", "title"})


@cache
def data() -> dict[str, Any]:
    """The lists of ``data/mails.toml``."""
    return tomli.loads((files("rmabridge.wire") / "data" / "mails.toml").read_text(encoding="utf-8"))


@cache
def _lines(name: str) -> re.Pattern[str]:
    found = data()["quotes"][name]
    many = [found] if isinstance(found, str) else found
    return re.compile("|".join(f"(?:{one})" for one in many), re.IGNORECASE)


def decode(raw: bytes, charset: str | None = None) -> str:
    """The text of bytes that claim a charset: never fails, and believes the bytes where they say otherwise."""
    codec = data()["charsets"].get((charset or "").strip("\"' ").lower())
    if codec in SEVEN_BITS:
        return _clean(raw.decode(codec, "replace"))
    if codec and codec != "utf-8":
        return _clean(_misnamed(raw) or raw.decode(codec, "replace"))
    return _clean(_first(raw) or raw.decode("utf-8", "replace"))


def _first(raw: bytes) -> str | None:
    for codec in GUESSES:
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    return None


def _misnamed(raw: bytes) -> str | None:
    """UTF-8 under another name: characters of three bytes do not come about by chance, and not twice."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if sum(one >= "\u0800" for one in text) > 1 else None


def _clean(text: str) -> str:
    return _UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff"))


def unfold(raw: bytes, charset: str | None = None) -> str:
    """A header field's text in one line, encoded words still encoded."""
    return " ".join(decode(raw, charset).split())


def words(text: str) -> str:
    """The encoded words of a header (RFC 2047) as text; a character that was cut in two is whole again."""
    if "=?" not in text:
        return " ".join(_clean(text).split())
    made, pending, charset, end = [], b"", "", 0
    for found in _ENCODED.finditer(text):
        between = text[end : found.start()]
        if between.strip() or found[1].lower() != charset:
            made.append(decode(pending, charset))
            pending = b""
        if between.strip() or end == 0:
            made.append(between)
        charset, end = found[1].lower(), found.end()
        pending += _bytes(found[2], found[3])
    return " ".join("".join([*made, decode(pending, charset), text[end:]]).split())


def _bytes(way: str, text: str) -> bytes:
    raw = text.encode()
    if way in "qQ":
        return binascii.a2b_qp(raw, header=True)
    try:
        return binascii.a2b_base64(raw.rstrip(b"= ") + b"===")
    except binascii.Error:
        return raw


def plain(rich: str) -> str:
    """HTML as text: lines where it breaks them, quotes marked with ``>``, nothing of scripts and styles."""
    quoted = hidden = at = 0
    lines = [""]
    rich = "".join(_uncommented(rich[:LONGEST_HTML]))
    for tag in _TAG.finditer(rich):
        if not hidden:
            lines[-1] += _run(rich[at : tag.start()])
        at, name, step = tag.end(), tag[2].lower(), -1 if tag[1] else 1
        if name == "body":
            hidden = 0  # the end of the head may be left out
        elif name in _HIDDEN:
            hidden = max(0, hidden + (0 if tag[0].endswith("/>") else step))
        elif name == "blockquote":
            quoted = max(0, quoted + step)
            lines.append("> " if quoted else "")
        elif name in _BREAKS and not (name == "li" and step < 0):
            lines.append("> " if quoted else "")
    lines[-1] += "" if hidden else _run(rich[at:])
    text = "\n".join(one.strip() for one in lines)
    return re.sub(r"\n{3,}", "\n\n", _clean(text)).strip()


def _uncommented(rich: str) -> Iterator[str]:
    first, *rest = rich.split("<!--")
    yield first
    for one in rest:
        yield one.partition("-->")[2]


def _run(text: str) -> str:
    return re.sub(r"[ \t\r\n\xa0]+", " ", html.unescape(text))


def own(text: str) -> str:
    """What the writer wrote: the quoted mail is cut off, by rules that rather leave too much.

    Lines that a mail program marked with ``>`` go; what is written between or below them stays. All of the text stays
    where nothing else would.
    """
    lines = text.split("\n")
    bare = [one.strip() for one in lines]
    for number, line in enumerate(bare):
        if _edge(line) or _block(bare, number):
            lines = lines[:number]
            break
        if taken := _intro(bare, number):
            rest = lines[number + taken :]
            marked = any(one.lstrip().startswith((">", "|")) for one in rest)
            lines = lines[:number] + (rest if marked else [])
            break
    kept = "\n".join(one.rstrip() for one in lines if not one.lstrip().startswith(">")).strip()
    return kept or text.strip()


def _edge(line: str) -> bool:
    return line.startswith("--") and bool(_lines("edges").fullmatch(line))


def _intro(lines: list[str], number: int) -> int:
    """How many lines the words above a quoted mail take: none, one or two."""
    joined, two = "", lines[number : number + 2]
    if not any(line.endswith(COLONS) for line in two):
        return 0
    for taken, line in enumerate(two, 1):
        joined = f"{joined} {line.lstrip('>').strip()}".strip()
        if not line or len(joined) > LONGEST_INTRO:
            return 0
        if _lines("intros").fullmatch(joined):
            return taken
    return 0


def _block(lines: list[str], number: int) -> bool:
    line = lines[number]
    if not (":" in line or "\uff1a" in line) or not _lines("first").match(line):
        return False
    other = _lines("others")
    return sum(bool(other.match(one)) for one in lines[number + 1 : number + 7]) > 1
