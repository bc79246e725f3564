"""Carrier codes in the bridge's words, read from ``data/vocabulary.toml``; no code ever raises."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final

import tomli

from rmabridge.model import ParcelException, ParcelStatus

_HINTS: Final = "exception_hints"
_BEFORE: Final = 10  # characters, more than any word that denies has
_NEGATED = re.compile(r"(?:未|无|没有|\bno |\bnot |\bwithout )$")


@dataclass(frozen=True, slots=True)
class Known:
    """What a carrier's code means."""

    status: ParcelStatus
    exception: ParcelException | None = None


_UNKNOWN: Final = Known(ParcelStatus.IN_TRANSIT)


@cache
def _data() -> dict[str, Any]:
    return tomli.loads((files(__package__) / "data" / "vocabulary.toml").read_text("utf-8"))


def _known(entry: str) -> Known:
    status, _, exception = entry.partition("/")
    return Known(ParcelStatus(status), ParcelException(exception) if exception else None)


@cache
def _table(source: str) -> dict[str, Known]:
    rows = {} if source == _HINTS else _data().get(source, {})
    return {code.casefold(): _known(entry) for code, entry in rows.items()}


def sources() -> tuple[str, ...]:
    """The sources that have a table."""
    return tuple(name for name in _data() if name != _HINTS)


def _families(code: str) -> tuple[str, ...]:
    """The code, then what it belongs to: ``4`` for ``499``, ``exception`` for ``exception_held``."""
    if code.isdecimal():
        # 1001 and 10 are no relatives: only the three-digit numbers are grouped by their first digit.
        return (code, code[0]) if len(code) == 3 else (code,)
    return code, code.partition("_")[0]


def listed(source: str, code: str) -> Known | None:
    """What ``code`` itself means at ``source``; None where the table does not list it."""
    return _table(source).get(str(code).strip().casefold())


def lookup(source: str, code: str) -> Known:
    """What ``code`` means at ``source``; an unknown one means what its family means, else that the parcel moves."""
    table, plain = _table(source), str(code).strip().casefold()
    if found := table.get(plain):
        return found
    return next((table[family] for family in _families(plain) if family in table), _UNKNOWN)


@cache
def _phrases() -> dict[str, list[tuple[int, str, ParcelException]]]:
    """The phrases by their first character, each with its place among all: the longest is the first."""
    hints = _data()[_HINTS]
    pairs = ((phrase.casefold(), ParcelException(name)) for name, many in hints.items() for phrase in many)
    found: dict[str, list[tuple[int, str, ParcelException]]] = {}
    for place, (phrase, meant) in enumerate(sorted(pairs, key=lambda pair: -len(pair[0]))):
        found.setdefault(phrase[0], []).append((place, phrase, meant))
    return found


def _says(text: str, phrase: str) -> bool:
    """Whether the phrase, which the text holds, stands there as words of its own, and nothing before denies it."""
    return any(not _NEGATED.search(text[max(0, one.start() - _BEFORE) : one.start()]) for one in _words(phrase)(text))


@cache
def _words(phrase: str) -> Callable[[str], Iterator[re.Match[str]]]:
    # Not \b: Chinese characters are word characters, and vendors write both scripts without a space between.
    before, after = ("(?<![a-z])", "(?![a-z])") if phrase.isascii() else ("", "")
    return re.compile(f"{before}{re.escape(phrase)}{after}").finditer


@lru_cache(maxsize=4096)  # carriers send a parcel's whole history with each of its scans
def hint(text: str) -> ParcelException | None:
    """What went wrong, judged by a scan's Chinese or English text; the longest phrase found counts."""
    lower, known = " ".join(text.casefold().split()), _phrases()
    held = sorted(one for first in known.keys() & set(lower) for one in known[first] if one[1] in lower)
    return next((exception for _, phrase, exception in held if _says(lower, phrase)), None)
