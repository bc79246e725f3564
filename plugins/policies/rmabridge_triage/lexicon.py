"""Phrases that tell what a message is about: found in one pass, each with its weight.

A list has lines ``CODE weight|phrase|phrase``. ``a..b`` is ``a`` and then ``b`` nearby. A phrase of Latin letters
stands on its own (endings such as ``-s``, ``-ed`` and ``-ing`` are taken with it); a ``*`` at its end lets anything
follow. Phrases are written in Simplified characters and lower case: a message of any script is compared in that form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from operator import add
from typing import Final, NamedTuple

from .words import lines, normal

# How far the second half of ``a..b`` may stand from the first: Chinese says in 12 characters what English says in 40.
NEAR: Final = {False: 12, True: 40}
_KEY: Final = 2
_LATIN_KEY: Final = 4
MOST_STARTS: Final = 20_000
# Where a Latin phrase may begin.
_WORD: Final = re.compile(r"(?<![a-z0-9])[a-z0-9]|[^a-z0-9 \u0080-\uffff]")
_ENDING: Final = re.compile(r"(?:'?s|e?d|ing|es|er|n't)?(?![a-z0-9])")
_LINE: Final = re.compile(r"(?P<code>[A-Z][A-Z0-9]{1,3}) (?P<weight>[0-9]+(?:\.[0-9]+)?)\|(?P<phrases>.+)")


class Hit(NamedTuple):
    """A phrase that was found: its class, its weight and where it stands."""

    code: str
    phrase: str
    weight: float
    start: int
    end: int


class Phrase(NamedTuple):
    """One phrase of a list: ``head``, and what must follow nearby."""

    code: str
    weight: float
    text: str
    head: str
    rest: tuple[str, ...]
    latin: bool
    open: bool

    def at(self, text: str, start: int) -> int:
        """Where the phrase ends whose head stands at ``start``; -1 where the rest does not follow."""
        end = start + len(self.head)
        for part in self.rest:
            place = text.find(part, end, end + NEAR[self.latin] + len(part))
            if place < 0:
                return -1
            end = place + len(part)
        if not self.latin or self.open or not text[end - 1].isalnum():
            return end
        found = _ENDING.match(text, end)
        return found.end() if found else -1


class Lexicon:
    """Lists of phrases, found by how they begin: two characters of Chinese, up to four of a Latin word."""

    def __init__(self, *lists: str) -> None:
        self._han: dict[str, list[Phrase]] = {}
        self._latin: dict[str, list[Phrase]] = {}
        for phrase in (one for text in lists for one in phrases(text)):
            index, size = (self._latin, _LATIN_KEY) if phrase.head[0].isascii() else (self._han, _KEY)
            index.setdefault(phrase.head[:size], []).append(phrase)
        self._by_start = _Starts(self._latin)

    def find(self, text: str) -> list[Hit]:
        """Every phrase in a normalised text, once; inside a longer phrase of the same class it does not count."""
        found: dict[tuple[str, str], Hit] = {}
        for start, phrase in self._begun(text):
            end = phrase.at(text, start)
            if end >= 0:
                found.setdefault((phrase.code, phrase.text), Hit(phrase.code, phrase.text, phrase.weight, start, end))
        return list(_outermost(found.values()))

    def _begun(self, text: str) -> Iterator[tuple[int, Phrase]]:
        """Places where the head of a phrase stands, and the phrase."""
        if not text.isascii():
            for start, begun in enumerate(map(self._han.get, map(add, text, text[1:]))):
                for phrase in begun or ():
                    if text.startswith(phrase.head, start):
                        yield start, phrase
        starts = self._by_start
        for word in _WORD.finditer(text):
            start = word.start()
            for phrase in starts[text[start : start + _LATIN_KEY]]:
                if text.startswith(phrase.head, start):
                    yield start, phrase


class _Starts(dict[str, tuple[Phrase, ...]]):
    """The Latin phrases that may begin with some four characters, put together when these are first met."""

    def __init__(self, index: dict[str, list[Phrase]]) -> None:
        super().__init__()
        self._index = index

    def __missing__(self, start: str) -> tuple[Phrase, ...]:
        sizes = range(_KEY, min(len(start), _LATIN_KEY) + 1)
        found = tuple(phrase for size in sizes for phrase in self._index.get(start[:size], ()))
        if len(self) < MOST_STARTS:
            self[start] = found
        return found


def phrases(text: str) -> Iterator[Phrase]:
    """The phrases of one list; a line that cannot be read raises ``ValueError``."""
    for line in lines(text):
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"{line[:40]!r}: write CODE weight|phrase|phrase")
        for one in filter(None, (part.strip() for part in found["phrases"].split("|"))):
            yield _phrase(found["code"], float(found["weight"]), one)


def _phrase(code: str, weight: float, written: str) -> Phrase:
    plain = normal(written.removesuffix("*"))
    head, *rest = (part.strip() for part in plain.split(".."))
    if len(head) < _KEY or not all(rest):
        raise ValueError(f"{written!r}: a phrase begins with at least two characters")
    return Phrase(code, weight, written, head, tuple(rest), plain.isascii(), written.endswith("*"))


def _outermost(hits: Iterable[Hit]) -> Iterator[Hit]:
    reached: dict[str, int] = {}
    for hit in sorted(hits, key=lambda one: (one.start, -one.end)):
        # What is kept began no later, so that it holds this hit where it ends no earlier.
        if hit.end > reached.get(hit.code, 0):
            reached[hit.code] = hit.end
            yield hit
