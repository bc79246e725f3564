"""What a customer answered to a proposal: yes, no, a number of a choice, or nothing that can be told for sure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from typing import Final

import tomli

LONGEST: Final = 40
_NUMBER: Final = re.compile(
    r"^(?:选|選|选择|選擇|第|方案|option|number|no\.?|#|\()?\s*[(（]?([1-9])[)）]?\s*(?:个|個|种|種|号|號|please)?$"
)
_DIGITS: Final = str.maketrans("一二两兩三四五１２３４５６７８９", "122234512345678" + "9")
_SOFT: Final = re.compile(r"[\s，。！？、；：~～…,.!?;:'\"“”「」()（）]+")


class Answer(StrEnum):
    """Unclear is an answer too: a person reads it."""

    ACCEPT = "accept"
    DECLINE = "decline"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer, and the number of the choice where one was named."""

    answer: Answer
    choice: int | None = None


@lru_cache(maxsize=1)
def _words() -> tuple[tuple[str, str], ...]:
    """(phrase, what it says), the longest first: "no problem" is looked for before "no"."""
    text = (resources.files("rmabridge") / "templates" / "phrases.toml").read_text(encoding="utf-8")
    lists = tomli.loads(text)["phrases"]
    found = {_plain(one): name for name in ("accept", "decline", "doubt") for one in lists[name]}
    return tuple(sorted(found.items(), key=lambda one: -len(one[0])))


def answer(text: str) -> Answered:
    """What the text says to a proposal. Only short texts count; a "no" anywhere outweighs a "yes", a doubt both."""
    plain = _plain(text)
    if not plain or len(plain) > LONGEST:
        return Answered(Answer.UNCLEAR)
    if number := _NUMBER.match(plain.translate(_DIGITS)):
        return Answered(Answer.ACCEPT, int(number[1]))
    said = set()
    for phrase, what in _words():
        if _says(plain, phrase, anywhere=what == "doubt"):
            said.add(what)
            plain = _without(plain, phrase)
    if "doubt" in said or not said:
        return Answered(Answer.UNCLEAR)
    return Answered(Answer.DECLINE if "decline" in said else Answer.ACCEPT)


def _plain(text: str) -> str:
    """Lower case with single spaces for all punctuation."""
    return _SOFT.sub(" ", text.casefold().replace("’", "'").replace("'", "")).strip()


def _says(plain: str, phrase: str, *, anywhere: bool) -> bool:
    """Chinese words anywhere; a single character (but for a doubt) and Latin words only whole."""
    if phrase.isascii():
        return f" {phrase} " in f" {plain} "
    return phrase in plain if len(phrase) > 1 or anywhere else phrase == plain.rstrip("的了吧呢啊哦呀")


def _without(plain: str, phrase: str) -> str:
    if phrase.isascii():
        return f" {plain} ".replace(f" {phrase} ", " | ").strip()
    return plain.replace(phrase, "|")
