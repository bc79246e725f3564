"""Carriers by the codes and names that others give them, from ``data/carriers.csv`` and the operator's own lists.

The lists are snapshots: a code that is not in them is answered with None and passes through unchanged. Nothing is read
before the first question.
"""

from __future__ import annotations

import csv
import operator
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from typing import Final, NamedTuple

# Who gives carriers codes, in the order in which they are believed when two use one word.
VENDORS: Final = ("kdniao", "kuaidi100", "seventeentrack", "paypal", "easypost", "shopify")
# Whose codes are found in other letters too; the others' are words that a buyer may write.
_IN_ANY_LETTERS: Final = ("kdniao", "kuaidi100", "seventeentrack")

_PUNCTUATION = re.compile(r"[\W_]+")


class Carrier(NamedTuple):
    """One carrier; ``code`` is the bridge's own and never changes, the rest is what others call it."""

    code: str
    name_en: str
    name_zh: str
    kdniao: str | None = None
    kuaidi100: str | None = None
    seventeentrack: str | None = None
    paypal: str | None = None
    easypost: str | None = None
    shopify: str | None = None
    country: str = ""
    website: str = ""
    phone: str = ""
    also: str = ""

    @property
    def name(self) -> str:
        """The name to show: English where known, else Chinese."""
        return self.name_en or self.name_zh or self.code

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it is found by."""
        return tuple(name for name in (self.name_zh, self.name_en, *self.also.split(";")) if name)


COLUMNS: Final = Carrier._fields
_FIRST: Final = COLUMNS.index(VENDORS[0])
_LAST: Final = _FIRST + len(VENDORS)


def folded(name: str) -> str:
    """A name without case, spaces, punctuation and full-width letters."""
    plain = (name if name.isascii() else unicodedata.normalize("NFKC", name)).casefold()
    return plain if plain.isalnum() else _PUNCTUATION.sub("", plain)


def parsed(lines: Iterable[str]) -> Iterator[Carrier]:
    """Carriers from a CSV file with the columns of ``data/carriers.csv``, in any order; others are not read."""
    rows = csv.reader(lines)
    header = next(rows, [])
    places = [header.index(name) if name in header else len(header) for name in COLUMNS]
    ordered = operator.itemgetter(*places)
    empty = [""] * (len(header) + 1)
    for row in rows:
        cells = ordered(row + empty[len(row) :])
        yield Carrier(*cells[:_FIRST], *[code or None for code in cells[_FIRST:_LAST]], *cells[_LAST:])


@cache
def _shipped() -> tuple[Carrier, ...]:
    # Here, because it takes longer to import than everything else in this module.
    from importlib.resources import files

    text = (files(__package__) / "data" / "carriers.csv").read_text("utf-8")
    return tuple(parsed(text.splitlines()))


# The operator's table, where there is one, in place of the shipped one.
_own: Final[list[tuple[Carrier, ...]]] = []


def everyone() -> tuple[Carrier, ...]:
    """Every carrier that is listed."""
    return _own[0] if _own else _shipped()


def replace(carriers: Iterable[Carrier] | None) -> None:
    """Answer from these carriers from now on; None means the shipped list alone."""
    _own[:] = () if carriers is None else (tuple(carriers),)
    _index.cache_clear()


@cache
def _index() -> dict[str, Carrier]:
    """Who is found by what: codes as written beat codes in other letters, and those beat names."""
    ways: list[Iterable[tuple[str, Carrier]]] = [_called(vendor) for vendor in VENDORS]
    ways.append((one.code, one) for one in everyone())
    ways += [((folded(code), one) for code, one in _called(vendor)) for vendor in _IN_ANY_LETTERS]
    ways.append((folded(name), one) for one in everyone() for name in one.names)
    found: dict[str, Carrier] = {}
    for word, one in chain.from_iterable(ways):
        if word:
            found.setdefault(word, one)
    return found


def _called(vendor: str) -> Iterator[tuple[str, Carrier]]:
    place = COLUMNS.index(vendor)
    return ((one[place] or "", one) for one in everyone())


def carrier(code_or_name: str) -> Carrier | None:
    """The carrier with this code, the bridge's or a vendor's, or this English or Chinese name; None if not listed."""
    index = _index()
    return index.get(code_or_name) or index.get(folded(code_or_name))


def find(text: str, limit: int = 20) -> list[Carrier]:
    """Carriers that the text may mean, best first: the one of that code or name, then those whose names contain it."""
    exact, wanted = carrier(text), folded(text)
    if not wanted:
        return []
    named = ((_nearness(wanted, one), place, one) for place, one in enumerate(everyone()) if one is not exact)
    near = [one for _, _, one in sorted(found for found in named if found[0] is not None)]
    return ([exact, *near] if exact else near)[:limit]


def _nearness(wanted: str, carrier: Carrier) -> int | None:
    """How many letters the shortest name has beyond the text; None where none contains it."""
    names = (folded(name) for name in carrier.names)
    return min((len(name) - len(wanted) for name in names if wanted in name), default=None)


def code(carrier_code: str, vendor: str) -> str | None:
    """What the vendor (one of ``VENDORS``) calls the carrier; None where it is not listed or has no code there."""
    known = carrier(carrier_code)
    return getattr(known, vendor) if known and vendor in VENDORS else None


def count() -> int:
    """How many carriers are listed."""
    return len(everyone())
