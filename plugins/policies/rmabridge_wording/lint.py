"""The linter: finds in a text what is not said to customers. Pure: the same text, locale and lists, the same findings.

Latin phrases are one compiled expression, Chinese ones are found by their first two characters, those
of them that the text has at all. What lies in a whitelisted phrase or in an address is left alone; of phrases
that begin at the same place the longest counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import add
from typing import Any, Final, NamedTuple

from rmabridge.core.templates import nearest

from .rules import ABBREVIATION, SCRIPTS, Lists, Rule, Severity, load

MOST_PASSES: Final = 20
# Only characters that stay one character, so that places in the folded text are places in the text.
_WIDE: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code) not in "，：；！？（）"}
_FOLDS: Final[dict[int, int | str]] = {**_WIDE, ord("’"): "'", ord("‘"): "'", 0xA0: " ", 0x3000: " "}
_FOLDED: Final = re.compile("[" + "".join(map(chr, _FOLDS)) + "]")
_CAPITALS: Final = re.compile(r"[A-Z]{2,6}(?![A-Za-z0-9/_-])")
_CJK: Final = re.compile(r"[\u3400-\u9fff]")
_CHINESE: Final = re.compile(r"[^\x00-\x7f]+.?", re.DOTALL)
_ADDRESS: Final = re.compile(r"https?://[^\s<>，。；、）]+|[a-z0-9.+_-]+@[a-z0-9-]+\.[a-z0-9.-]+")
_UNKNOWN: Final = Rule(
    id=ABBREVIATION, severity=Severity.NOTE, reason="an abbreviation that the glossary does not know"
)
# Where a hit comes from: of two at one place the smaller counts; in between are the numbers of the patterns.
PHRASE: Final = -1
ADDRESS: Final = 1 << 20
ABBREVIATED: Final = ADDRESS + 1


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found where, and what is said instead (nothing where a person must reword it)."""

    rule: Rule
    start: int
    end: int
    found: str
    say: str = ""


class Hit(NamedTuple):
    """A place that something was found at."""

    start: int
    end: int
    source: int


class Meant(NamedTuple):
    """What a phrase stands for; no rule: it is allowed."""

    rule: Rule | None
    say: str = ""


class Linter:
    """The compiled lists. ``lint`` finds, ``reword`` replaces."""

    def __init__(self, lists: Lists) -> None:
        self.lists = lists
        self._phrases = _phrases(lists)
        self._patterns = [one for one in lists.rules.values() if one.pattern]
        self._latin = re.compile(rf"(?<![a-z0-9]){_tree(filter(_is_latin, self._phrases['en']))}(?![a-z0-9])")
        self._pairs: dict[str, list[str]] = {}
        for phrase in sorted(self._phrases["en"], key=len, reverse=True):
            if not _is_latin(phrase):
                self._pairs.setdefault(phrase[:2], []).append(phrase)
        self._compiled = [re.compile(one.pattern) for one in self._patterns]
        self._known = lru_cache(maxsize=64)(self._look)  # what was amended is reviewed next, with the same words

    def lint(self, text: str, locale: str = "en") -> Sequence[Finding]:
        """Everything in the text that a rule speaks of, in order."""
        return self._known(text, locale)

    def _look(self, text: str, locale: str) -> tuple[Finding, ...]:
        folded, script = fold(text), script_of(locale)
        hits = [*self._hits(folded), *self._abbreviations(text)]
        if not hits:
            return ()
        hits += [Hit(*one.span(), ADDRESS) for one in _ADDRESS.finditer(folded)]
        found: list[Finding] = []
        end = 0
        for hit in sorted(hits, key=lambda one: (one.start, one.source)):
            if hit.start >= end and hit.end > hit.start:
                end = hit.end
                rule, say = self._meant(text[hit.start : end], folded[hit.start : end], hit.source, script)
                if rule:
                    found.append(Finding(rule, hit.start, end, text[hit.start : end], say))
        return tuple(found)

    def _hits(self, folded: str) -> Iterator[Hit]:
        for match in self._latin.finditer(folded):
            yield Hit(*match.span(), PHRASE)
        if not folded.isascii():
            yield from self._chinese(folded)
        for number, pattern in enumerate(self._compiled):
            for match in pattern.finditer(folded):
                yield Hit(*match.span(), number)

    def _chinese(self, folded: str) -> Iterator[Hit]:
        met: set[str] = set().union(*(map(add, run, run[1:]) for run in _CHINESE.findall(folded)))
        for pair in met & self._pairs.keys():
            at = folded.find(pair)
            while at >= 0:
                if phrase := next((one for one in self._pairs[pair] if folded.startswith(one, at)), ""):
                    yield Hit(at, at + len(phrase), PHRASE)
                at = folded.find(pair, at + 1)

    def _abbreviations(self, text: str) -> Iterator[Hit]:
        for match in _CAPITALS.finditer(text):
            before = text[match.start() - 1 : match.start()]
            part = before.isascii() and (before.isalnum() or before in tuple("._/-"))
            if match[0] not in self.lists.known and not part:
                yield Hit(*match.span(), ABBREVIATED)

    def reword(self, text: str, locale: str = "en", *, replaced: Callable[[Rule], bool] | None = None) -> str:
        """The text with what is found replaced, again and again until nothing is left to replace."""
        wanted = replaced or (lambda rule: rule.severity is Severity.REPLACE)
        for _ in range(MOST_PASSES):
            found = [one for one in self.lint(text, locale) if one.say and wanted(one.rule)]
            if not found:
                break
            text = _put(text, found)
        return text

    def polite(self, text: str, locale: str = "en") -> bool:
        """Whether the text has a polite word of its language."""
        folded = text.casefold()
        return any(one in folded for one in self.lists.polite[script_of(locale)])

    def _meant(self, words: str, folded: str, source: int, script: str) -> Meant:
        if source == PHRASE:
            return self._phrases[script][folded]
        if source == ADDRESS:
            return Meant(None)
        if source == ABBREVIATED:
            term = self.lists.terms.get(words)
            return Meant(_term(words), term.get(script, "")) if term else Meant(_UNKNOWN)
        rule = self._patterns[source]
        chinese = "zh-Hans" if script == "en" else script
        return Meant(rule, rule.words(chinese if _CJK.search(words) else "en").say)


@lru_cache(maxsize=1)
def default() -> Linter:
    """The linter of the shipped lists."""
    return Linter(load())


def lint(text: str, locale: str = "en") -> Sequence[Finding]:
    """What the shipped lists find in a text."""
    return default().lint(text, locale)


@lru_cache(maxsize=256)
def script_of(locale: str) -> str:
    """The script of a BCP 47 tag."""
    return {"zh-CN": "zh-Hans", "zh-TW": "zh-Hant"}.get(nearest(locale), "en")


def fold(text: str) -> str:
    """Lower case, narrow letters and straight quotes, each character in its place."""
    narrow = text.translate(_FOLDS) if _FOLDED.search(text) else text
    lower = narrow.lower()
    return lower if len(lower) == len(text) else "".join(low if len(low := one.lower()) == 1 else one for one in narrow)


@lru_cache(maxsize=256)
def _term(word: str) -> Rule:
    return Rule(id=f"jargon.{word}", severity=Severity.REPLACE, reason="an abbreviation of the trade")


def _put(text: str, found: Iterable[Finding]) -> str:
    pieces, at = [], 0
    for one in found:
        begins = one.found[0].isupper() and text[: one.start].rstrip()[-1:] in {"", ".", "!", "?"}
        pieces += [text[at : one.start], one.say[0].upper() + one.say[1:] if begins else one.say]
        at = one.end
    return "".join([*pieces, text[at:]])


def _phrases(lists: Lists) -> dict[str, dict[str, Meant]]:
    """For each script every phrase of all; where one is spelled alike in two, the script's own words count."""
    own = {script: dict(_of_script(lists, script)) for script in SCRIPTS}
    allowed = {fold(phrase): Meant(None) for phrase in lists.whitelist}
    merged: dict[str, dict[str, Meant]] = {}
    for script in SCRIPTS:
        merged[script] = {}
        for other in (*(each for each in SCRIPTS if each != script), script):
            merged[script] |= own[other]
        merged[script] |= allowed
    return merged


def _of_script(lists: Lists, script: str) -> Iterator[tuple[str, Meant]]:
    seen: dict[str, str] = {}
    for rule in lists.rules.values():
        words = rule.words(script)
        if words.phrases and rule.severity is Severity.REPLACE and not words.say:
            raise ValueError(f"{rule.id}: {script}: nothing is said instead")
        for phrase in map(fold, words.phrases):
            if seen.setdefault(phrase, rule.id) != rule.id:
                raise ValueError(f"{phrase!r} stands in {seen[phrase]} and in {rule.id}")
            if len(phrase) < 2:
                raise ValueError(f"{rule.id}: {phrase!r} is too short to be told from other words")
            yield phrase, Meant(rule, words.say)
    for term, words_by in lists.terms.items():
        if not _CAPITALS.fullmatch(term) and script in words_by:
            yield fold(term), Meant(_term(term), words_by[script])


def _is_latin(phrase: str) -> bool:
    return phrase[0].isascii()


def _tree(words: Iterable[str]) -> str:
    """The words as nested choices, the longest first, so that the engine looks at each character once."""
    tree: dict[str, Any] = {}
    for word in words:
        node = tree
        for character in word:
            node = node.setdefault(character, {})
        node[""] = {}
    return _choices(tree) or "(?!)"


def _choices(node: dict[str, Any]) -> str:
    branches = [re.escape(one) + _choices(below) for one, below in sorted(node.items()) if one]
    if not branches:
        return ""
    if len(branches) == 1 and "" not in node:
        return branches[0]
    return f"(?:{'|'.join([*branches, *([''] if '' in node else [])])})"
