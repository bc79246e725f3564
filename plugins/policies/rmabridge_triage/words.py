"""Texts in one spelling: Simplified, lower case, half width; and in which language and script they are written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Final

# Only the start of a message is looked at: what a buyer wants stands there, and a pasted mail costs no more.
LONGEST: Final = 1000
# Harm may be told at the end of a letter: the phrases of crises are looked for up to here.
FARTHEST: Final = 20_000
_TYPOGRAPHY: Final = {ord(old): new for old, new in zip("’‘`´“”—–", "''''\"\"--", strict=True)}
_INVISIBLE: Final = re.compile("[\u200b-\u200f\u2060\ufeff]+")
_HAN: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
# Characters that are spelled alike whatever stands beside them: nothing in their NFKC form joins a neighbour's.
_ALONE: Final = re.compile(
    "[\0-\x7f\xa0-\xa7\xa9-\xae\xb0-\xb3\xb5-\xb7\xb9-\xff\u2010-\u2016\u2018-\u2027\u20a0-\u20c0\u2100-\u214f"
    "\u2190-\u2adb\u3000-\u3029\u3030-\u303f\u3200-\u4dbf\u4e00-\u9fff\ufe00-\ufe0f\uff01-\uff5e\uffe0-\uffe2\uffe4-\uffe6"
    "\U0001f000-\U0001faff]*"
)


@cache
def read(name: str) -> str:
    """A data file of this package."""
    return (files(__package__) / "data" / name).read_text("utf-8")


def lines(text: str) -> list[str]:
    """The lines that say something: no comments, no blanks."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


@cache
def simplified() -> dict[int, int]:
    """Traditional characters to Simplified ones, for ``str.translate``."""
    pairs = "".join(lines(read("simplified.txt")))
    return {ord(pairs[place]): ord(pairs[place + 1]) for place in range(0, len(pairs), 2)}


@cache
def _only_traditional() -> frozenset[str]:
    """Characters that no Simplified text has."""
    table = simplified()
    kept = {chr(new) for new in table.values()}
    return frozenset(chr(old) for old in table if chr(old) not in kept)


@cache
def _only_simplified() -> frozenset[str]:
    """Characters that no Traditional text has."""
    return frozenset("".join(lines(read("only_simplified.txt"))))


def shorten(text: str, most: int = LONGEST) -> str:
    """The start of a text, without characters that nobody sees."""
    short = text[:most]
    return short if short.isascii() or _ALONE.fullmatch(short) else _INVISIBLE.sub("", short)


def normal(text: str) -> str:
    """The one spelling in which lists and weights are written."""
    return spell(shorten(text))


def spell(short: str) -> str:
    """The one spelling of what is short already."""
    if short.isascii():  # most of what would be folded cannot be in it
        plain = short.replace("`", "'").lower()
    else:
        plain = short.translate(_spellings) if _ALONE.fullmatch(short) else _spelled(short)
    return " ".join(plain.split())


def fold(short: str) -> str:
    """A text in NFKC."""
    return short.translate(_foldings) if _ALONE.fullmatch(short) else _folded(short)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _spelled(text: str) -> str:
    return _folded(text).translate(_TYPOGRAPHY).lower().translate(simplified())


class _Alone(dict[int, int | str]):
    """What becomes of each character that stands alone, found out when it is first met."""

    def __init__(self, change: Callable[[str], str]) -> None:
        super().__init__()
        self._change = change

    def __missing__(self, code: int) -> int | str:
        plain = self._change(chr(code))
        made = self[code] = ord(plain) if len(plain) == 1 else plain
        return made


_foldings, _spellings = _Alone(_folded), _Alone(_spelled)


def language(short: str) -> str:
    """``zh-Hans``, ``zh-Hant`` or ``en``; Chinese that could be either script counts as Simplified."""
    if short.isascii():
        return "en"
    han = "".join(_HAN.findall(short))
    if not han or len(han) * 12 < len(short):
        return "en"
    met = set(han)
    traditional, simple = met & _only_traditional(), met & _only_simplified()
    return "zh-Hant" if sum(map(han.count, traditional)) > sum(map(han.count, simple)) else "zh-Hans"


LOCALES: Final = {"zh-Hans": "zh-CN", "zh-Hant": "zh-TW", "en": "en"}
