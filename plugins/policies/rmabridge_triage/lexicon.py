"""Phrases that tell what a message is about: found in one pass, each with its weight.

A list has lines ``CODE weight|phrase|phrase``. ``a..b`` is ``a`` and then ``b`` nearby. A phrase of Latin letters
stands on its own (endings such as ``-s``, ``-ed`` and ``-ing`` are taken with it); a ``*`` at its end lets anything
follow. Phrases are written in Simplified characters and lower case: a message of any script is compared in that form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from operator import add
from string import ascii_lowercase, digits
from typing import Final, NamedTuple

from .words import lines, normal

# How far the second half of ``a..b`` may stand from the first: Chinese says in 12 characters what English says in 40.
NEAR: Final = {False: 12, True: 40}
_KEY: Final = 2
_LATIN_KEY: Final = 4
MOST_PARTS: Final = 20_000
_LONG_PART: Final = 40
# Where a Latin phrase may begin; what it may begin within; and what of it stands in there.
_WORD: Final = re.compile(r"(?<![a-z0-9])[a-z0-9]|[\x00-\x1f!-/:-`{-\x7f]")
_PART: Final = re.compile(r"[\x00-\x1f!-\x7f]+")
_CHINESE: Final = re.compile(r"[^\0-\x7f]+.?")
_NOT_LATIN: Final = re.compile(r"[^\0-\x7f]+")
_ENDING: Final = re.compile(r"(?:'?s|e?d|ing|es|er|n't)?(?![a-z0-9])")
_ALNUM: Final = frozenset(ascii_lowercase + digits)
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
    word: bool

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the phrase stands, and where it ends there: every time, in order."""
        start = text.find(self.head)
        while start >= 0:
            if not (self.word and start and text[start - 1] in _ALNUM) and (end := self.at(text, start)) >= 0:
                yield start, end
            start = text.find(self.head, start + 1)

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
    """Lists of phrases, found by how they begin: two characters of Chinese, or the first word or part of one."""

    def __init__(self, *lists: str, codes: frozenset[str] | None = None) -> None:
        given = (one for text in lists for one in phrases(text))
        self._phrases = _in_order(one for one in given if codes is None or one.code in codes)
        self._heads = [_NOT_LATIN.split(phrase.head)[0] or phrase.head for phrase in self._phrases]
        self._han: dict[str, list[int]] = {}
        for number, phrase in enumerate(self._phrases):
            if not phrase.head[0].isascii():
                self._han.setdefault(phrase.head[:_KEY], []).append(number)
        self._parts = _Parts(self._phrases)

    def find(self, text: str) -> list[Hit]:
        """Every phrase in a normalised text, once; inside a longer phrase of the same class it does not count."""
        return self._found(text, 1)

    def every(self, text: str) -> list[Hit]:
        """Every phrase in a normalised text, each time it stands there."""
        return self._found(text, None)

    def _found(self, text: str, times: int | None) -> list[Hit]:
        found = []
        for number in self._begun(text):
            phrase = self._phrases[number]
            for start, end in islice(phrase.places(text), times):
                found.append((start, -end, number, Hit(phrase.code, phrase.text, phrase.weight, start, end)))
        return list(_outermost(hit for *_, hit in sorted(found)))

    def _begun(self, text: str) -> list[int]:
        """The numbers of the phrases that may stand in the text: their heads' Latin or Chinese letters do."""
        heads, latin = self._heads, text if text.isascii() else _NOT_LATIN.sub(" ", text)
        met = set(chain.from_iterable(map(self._parts.__getitem__, set(latin.split(" ")))))
        begun = [one for one in met if heads[one] in latin]
        if latin is not text:
            pairs = {pair for run in set(_CHINESE.findall(text)) for pair in map(add, run, run[1:])}
            for numbers in filter(None, map(self._han.get, pairs)):
                begun += [one for one in numbers if heads[one] in text]
        return begun


class _Parts(dict[str, tuple[int, ...]]):
    """The Latin phrases that may begin within a word or what stands for one, looked for when it is first met."""

    def __init__(self, phrases: list[Phrase]) -> None:
        super().__init__()
        self._phrases = phrases
        self._inside: dict[str, list[int]] = {}
        self._longer: dict[str, list[int]] = {}
        for number, phrase in enumerate(phrases):
            if part := _PART.match(phrase.head):
                inside = part[0] == phrase.head
                index, key = (self._inside, part[0][:_LATIN_KEY]) if inside else (self._longer, part[0])
                index.setdefault(key, []).append(number)

    def __missing__(self, part: str) -> tuple[int, ...]:
        found = tuple(one for word in _WORD.finditer(part) for one in self._from(part, word.start()))
        if len(part) <= _LONG_PART:
            if len(self) >= MOST_PARTS:
                self.clear()
            self[part] = found
        return found

    def _from(self, part: str, start: int) -> Iterator[int]:
        rest = part[start:]
        for size in range(_KEY, min(len(rest), _LATIN_KEY) + 1):
            for number in self._inside.get(rest[:size], ()):
                phrase = self._phrases[number]
                if rest.startswith(phrase.head) and (phrase.rest or phrase.at(part, start) >= 0):
                    yield number
        yield from self._longer.get(rest, ())


def _in_order(given: Iterable[Phrase]) -> list[Phrase]:
    """Each phrase once, in the order in which those count that begin and end at one place: Latin ones by their keys."""
    once: dict[tuple[str, str], Phrase] = {}
    for one in given:
        once.setdefault((one.code, one.text), one)
    return sorted(once.values(), key=lambda one: len(one.head[:_LATIN_KEY]) if one.head[0].isascii() else 0)


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
    open_, word = written.endswith("*"), head[0] in _ALNUM
    return Phrase(code, weight, written, head, tuple(rest), plain.isascii(), open_, word)


def _outermost(hits: Iterable[Hit]) -> Iterator[Hit]:
    """Those of hits in order, the longest first at each place, that stand in no other of their class."""
    reached: dict[str, int] = {}
    for hit in hits:
        # What is kept began no later, so that it holds this hit where it ends no earlier.
        if hit.end > reached.get(hit.code, 0):
            reached[hit.code] = hit.end
            yield hit
