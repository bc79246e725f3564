"""Texts in one spelling: Simplified, lower case, half width; and in which language and script they are written."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Final

# Only the start of a message is looked at: what a buyer wants stands there, and a pasted mail costs no more.
LONGEST: Final = 1000
_TYPOGRAPHY: Final = {ord(old): new for old, new in zip("’‘`´“”—–", "''''\"\"--", strict=True)}
_INVISIBLE: Final = re.compile("[\u200b-\u200f\u2060\ufeff]+")
_SPACES: Final = re.compile(r"\s+")
_HAN: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


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


def shorten(text: str) -> str:
    """The start of a text, without characters that nobody sees."""
    return _INVISIBLE.sub("", text[:LONGEST])


def normal(text: str) -> str:
    """The one spelling in which lists and weights are written."""
    short = shorten(text)
    if short.isascii():  # most of what would be folded cannot be in it
        plain = short.replace("`", "'").lower()
    else:
        plain = unicodedata.normalize("NFKC", short).translate(_TYPOGRAPHY).lower().translate(simplified())
    return _SPACES.sub(" ", plain).strip()


def language(text: str) -> str:
    """``zh-Hans``, ``zh-Hant`` or ``en``; Chinese that could be either script counts as Simplified."""
    if text.isascii():
        return "en"
    short = shorten(text)
    han = len(_HAN.findall(short))
    if han == 0 or han * 12 < len(short):
        return "en"
    traditional = sum(map(_only_traditional().__contains__, short))
    return "zh-Hant" if traditional > sum(map(_only_simplified().__contains__, short)) else "zh-Hans"


LOCALES: Final = {"zh-Hans": "zh-CN", "zh-Hant": "zh-TW", "en": "en"}
