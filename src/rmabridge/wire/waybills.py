"""Waybill numbers: one spelling, and which carriers they may belong to.

A number never names its carrier for certain, so the answer is a ranked list: check digits and prefixes raise a guess,
bare digits leave several. The forms are data (``data/waybills.toml``); only the check-digit rules are code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import cycle
from typing import Any, Final

import tomli

from .carriers import carrier

# From here on a form says so much that another carrier's name beside it is a mistake.
SURE: Final = 0.9
_MAX: Final = 50
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_HALF_WIDTH = {full: full - 0xFEE0 for full in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
# JD's labels number the pieces of a parcel: JDVB01234567890-1-2- is the first of two.
_PIECE = re.compile(r"^(\s*JD[0-9A-Z]{9,18})-[0-9]{1,3}-[0-9]{1,3}-?\s*$", re.IGNORECASE | re.ASCII)
_NOISE = re.compile(r"[\s\-\u2010-\u2015\u2212\u200b-\u200f\u2060\ufeff]+")


@dataclass(frozen=True, slots=True)
class Guess:
    """A carrier that the number may belong to; ``confidence`` lies between 0 and 1, ``why`` is for people.

    ``proved`` says that a check digit speaks for it, not the look of the number alone.
    """

    carrier: str
    confidence: float
    why: str
    proved: bool = False


def normalise(number: str) -> str:
    """The number's one spelling: no spaces or hyphens, upper case, half-width, no piece of JD's; leading zeros stay."""
    plain = number if number.isascii() else number.translate(_HALF_WIDTH)
    if plain.isalnum():
        return plain.upper()
    return _NOISE.sub("", _PIECE.sub(r"\1", plain)).upper()


def _weighted(digits: Iterable[int], weights: Iterable[int]) -> int:
    return sum(digit * weight for digit, weight in zip(digits, cycle(weights), strict=False))


def _numbers(serial: str) -> list[int]:
    """Digits as they are; letters count as UPS counts them (A is 2)."""
    return [int(char) if char.isdigit() else (ord(char) - 3) % 10 for char in serial]


def _ups(serial: str) -> str:
    return str(-_weighted(_numbers(serial), (1, 2)) % 10)


def _gs1(serial: str) -> str:
    return str(-_weighted(reversed(_numbers(serial)), (3, 1)) % 10)


def _luhn(serial: str) -> str:
    doubled = [sum(divmod(digit * 2, 10)) for digit in _numbers(serial)]
    pairs = zip(reversed(doubled), reversed(_numbers(serial)), strict=True)
    return str(-sum(pair[place % 2] for place, pair in enumerate(pairs)) % 10)


def _fedex_12(serial: str) -> str:
    return str(_weighted(_numbers(serial), (3, 1, 7)) % 11 % 10)


def _fedex_34(serial: str) -> str:
    return str(_weighted(_numbers(serial), (1, 7, 3)) % 11 % 10)


def _mod_7(serial: str) -> str:
    return str(int(serial) % 7)


def _mod_37_36(serial: str) -> str:
    """ISO 7064 with letters."""
    rest = 36
    for char in serial:
        total = (rest + _ALPHABET.index(char)) % 36 or 36
        rest = total * 2 % 37
    return _ALPHABET[(37 - rest) % 36]


def _s10(serial: str) -> str:
    """The Universal Postal Union's rule for international post."""
    check = 11 - _weighted(_numbers(serial), (8, 6, 4, 2, 3, 5, 9, 7)) % 11
    return {10: "0", 11: "5"}.get(check, str(check))


_CHECKS: Final[dict[str, Callable[[str], str]]] = {
    "fedex_12": _fedex_12,
    "fedex_34": _fedex_34,
    "gs1": _gs1,
    "luhn": _luhn,
    "mod_37_36": _mod_37_36,
    "mod_7": _mod_7,
    "s10": _s10,
    "ups": _ups,
}


@dataclass(frozen=True, slots=True)
class _Form:
    pattern: re.Pattern[str]
    check: str | None
    before: str
    guess: Guess

    def fits(self, number: str) -> bool:
        """Whether the number has this form and, where the form has a check digit, the right one."""
        found = self.pattern.fullmatch(number)
        if found is None or self.check is None:
            return found is not None
        return _CHECKS[self.check](self.before + found["serial"]) == found["check"]


@cache
def _data() -> dict[str, Any]:
    return tomli.loads((files(__package__) / "data" / "waybills.toml").read_text("utf-8"))


@cache
def _forms() -> tuple[_Form, ...]:
    return tuple(_form(row) for row in _data()["form"])


def _form(row: dict[str, Any]) -> _Form:
    check = row.get("check")
    guess = Guess(row["carrier"], row["confidence"], row["why"], proved=check is not None)
    return _Form(re.compile(row["form"]), check, row.get("before", ""), guess)


@cache
def _s10_form() -> tuple[re.Pattern[str], frozenset[str], dict[str, str]]:
    rules = _data()["s10"]
    return re.compile(rules["form"]), frozenset(rules["countries"].split()), rules["posts"]


def _post(number: str) -> list[Guess]:
    """The post office of an international (S10) number, by the country at its end."""
    pattern, countries, posts = _s10_form()
    found = pattern.fullmatch(number)
    if found is None or found["country"] not in countries or _s10(found["serial"]) != found["check"]:
        return []
    country, express = found["country"], found["service"][0] == "E"
    known = posts.get(f"{country}-EMS", posts.get(country)) if express else posts.get(country)
    listed = carrier(known) if known else None
    why = f"international post of {country}, right check digit"
    if listed is None:
        return [Guess("EMSGJ" if express else "GJYZ", 0.5, why, proved=True)]
    return [Guess(listed.code, 0.95, why, proved=True)]


def candidates(number: str) -> list[Guess]:
    """The carriers whose numbers look like this one, best first; none where nothing fits."""
    plain = normalise(number)
    if len(plain) > _MAX or not plain.isascii():
        return []
    guesses = _post(plain) + [form.guess for form in _forms() if form.fits(plain)]
    best: dict[str, Guess] = {}
    for guess in sorted(guesses, key=lambda one: (-one.confidence, one.carrier)):
        best.setdefault(guess.carrier, guess)
    return list(best.values())


def contradiction(number: str, stated: str) -> Guess | None:
    """The carrier that the number surely belongs to, where it cannot be the stated one; None where it may be.

    International post never contradicts: it changes hands at borders. Nor does a carrier that is not listed.
    """
    known, guesses = carrier(stated), candidates(number)
    if known is None or not guesses or guesses[0].confidence < SURE or _post(normalise(number)):
        return None
    handed_on: list[str] = _data()["handed_on"].get(guesses[0].carrier, [])
    mine = known.code.casefold()
    possible = [one.carrier.casefold() for one in guesses] + [one.casefold() for one in handed_on]
    # FEDEX and FEDEX_GJ, DHL and DHL_DE: a carrier's branches share its numbers.
    if any(mine.startswith(one) or one.startswith(mine) for one in possible):
        return None
    return guesses[0]
