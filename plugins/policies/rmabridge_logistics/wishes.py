"""What buyers ask for in plain words: a carrier in the order's note, our help with it. The words: ``requests.toml``."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final, NamedTuple

import tomli

from rmabridge.wire import carriers

LONGEST_NAME: Final = 12
MOST_WORDS: Final = 3
_WORDS: Final = re.compile(r"[a-z&.'-]+", re.IGNORECASE)


class Wish(NamedTuple):
    """The carriers that a note asks for, in its order, and those it does not want."""

    wanted: tuple[str, ...] = ()
    unwanted: frozenset[str] = frozenset()

    def grants(self, carrier: str) -> bool:
        """Whether this carrier is what the note asks for."""
        return carrier not in self.unwanted and (not self.wanted or carrier in self.wanted)


@lru_cache(maxsize=512)
def wish(note: str | None) -> Wish:
    """Which carriers a note asks for (``发圆通``, ``please use UPS``), or does not want (``不要发天天``)."""
    wanted: dict[str, None] = {}
    unwanted: set[str] = set()
    text = (note or "").casefold()
    for found in _asking().finditer(text):
        if (carrier := _name(text[found.end() :])) is None:
            continue
        if found["not"]:
            unwanted.add(carrier)
        else:
            wanted[carrier] = None
    return Wish(tuple(one for one in wanted if one not in unwanted), frozenset(unwanted))


def asks_for_help(text: str | None) -> bool:
    """Whether the buyer asks us to talk to the carrier."""
    words = text.casefold() if text else ""
    return bool(words) and any(one in words for one in _pleas())


@cache
def _data() -> dict[str, Any]:
    return tomli.loads((resources.files(__package__) / "requests.toml").read_text(encoding="utf-8"))


@cache
def _pleas() -> tuple[str, ...]:
    return tuple(one.casefold() for one in _data()["help"]["phrases"])


@cache
def _asking() -> re.Pattern[str]:
    def either(words: list[str]) -> str:
        ordered = sorted((one.casefold() for one in words), key=len, reverse=True)
        return "|".join(rf"\b{re.escape(one)}\b" if one.isascii() else re.escape(one) for one in ordered)

    told = _data()["carrier"]
    ask, deny = either(told["ask"]), either(told["not"])
    return re.compile(rf"(?:(?P<not>(?:{deny})\s*(?:{ask})?)|(?:{ask}))\s*[个個:：]?\s*")


def _name(rest: str) -> str | None:
    """The carrier whose name the text begins with; the longest name counts."""
    words = _WORDS.findall(rest[:60]) if rest[:1].isascii() else []
    spoken = [" ".join(words[:n]) for n in range(min(MOST_WORDS, len(words)), 0, -1)]
    written = [rest[:n].strip() for n in range(min(LONGEST_NAME, len(rest)), 1, -1)]
    return next((found for one in (*spoken, *written) if (found := _known(one))), None)


def _known(name: str) -> str | None:
    for one in (name, *(name.removesuffix(end).strip() for end in _data()["carrier"]["suffixes"])):
        if everyday := _data()["names"].get(one):
            return str(everyday)
        if len(one) > 1 and (known := carriers.carrier(one)):
            return known.code
    return None
