"""Carriers by the codes and names that Kdniao, Kuaidi100 and 17TRACK give them, from ``data/carriers.csv``.

The lists are snapshots: a code that is not in them is answered with None and passes through unchanged.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_PUNCTUATION = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Carrier:
    """One carrier; ``code`` is the bridge's own (Kdniao's where there is one), the rest what others call it."""

    code: str
    name_en: str
    name_zh: str
    kdniao: str | None
    kuaidi100: str | None
    seventeentrack: str | None

    @property
    def name(self) -> str:
        """The name to show: English where known, else Chinese."""
        return self.name_en or self.name_zh or self.code


@cache
def _rows() -> tuple[dict[str, str], ...]:
    lines = (files(__package__) / "data" / "carriers.csv").read_text("utf-8").splitlines()
    return tuple(csv.DictReader(lines))


def _carrier(row: dict[str, str]) -> Carrier:
    kdniao, kuaidi100, seventeentrack = (row[name] or None for name in ("kdniao", "kuaidi100", "seventeentrack"))
    return Carrier(row["code"], row["name_en"], row["name_zh"], kdniao, kuaidi100, seventeentrack)


def _folded(name: str) -> str:
    return _PUNCTUATION.sub("", unicodedata.normalize("NFKC", name).casefold())


def _spellings(row: dict[str, str]) -> Iterator[tuple[int, str]]:
    """What a row answers to, with a rank: codes as written beat codes in other letters, and those beat names."""
    codes = ("kdniao", "kuaidi100", "seventeentrack")
    for place, source in enumerate(codes):
        if row[source]:
            yield place, row[source]
            yield place + len(codes), _folded(row[source])
    for name in (row["name_zh"], row["name_en"], *row["also"].split(";")):
        if name:
            yield 2 * len(codes), _folded(name)


@cache
def _index() -> dict[str, Carrier]:
    ranked = [(rank, place, key) for place, row in enumerate(_rows()) for rank, key in _spellings(row)]
    carriers = [_carrier(row) for row in _rows()]
    found: dict[str, Carrier] = {}
    for _, place, key in sorted(ranked):
        found.setdefault(key, carriers[place])
    return found


def carrier(code_or_name: str) -> Carrier | None:
    """The carrier with this Kdniao, Kuaidi100 or 17TRACK code, or this English or Chinese name; None if not listed."""
    index = _index()
    return index.get(code_or_name) or index.get(_folded(code_or_name))


def count() -> int:
    """How many carriers the shipped list names."""
    return len(_rows())
