"""What looks like a living person's: samples and recorded answers must be scrubbed of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MAIL: Final = re.compile(r"[\w.+-]{1,64}@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,})\b")
# RFC 2606 and RFC 6761 keep these for documents and tests.
NOBODYS: Final = re.compile(
    r"(?i)(^|\.)(example\.(com|net|org|edu|cn)|example|test|invalid|localhost)$|(^|\.)example\.\w+$"
)
# Eleven digits of a mainland mobile, but no bare number of JSON, no part of an address and no number of a country that
# the text names; counted up, it is made up.
MOBILE: Final = re.compile(
    r"(?<![\d./_+-])(?<!\": )(?<!\":)(?<!\[)(?:\+?86[ -]?)?(1[3-9]\d)[ -]?(\d{4})[ -]?(\d{4})(?![\d.])"
)
MADE_UP: Final = re.compile(r"(\d)\1{3}|0123|1234|2345|3456|5678|6789|4321|8765|9876|0013800")
# Numbers of North America, written with their country; no subscriber has an area or an exchange 555.
NORTH: Final = re.compile(r"(?<![\w.+-])\+1[ .-]?\(?([2-9]\d{2})\)?[ .-]?([2-9]\d{2})[ .-]?(\d{4})(?![\d.])")
IDENTITY: Final = re.compile(r"(?<!\d)\d{6}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\w)")
WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
SOCIAL: Final = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")


def personal(text: str) -> Iterator[str]:
    """Mail addresses outside the domains for examples, telephone and identity numbers that may be somebody's."""
    yield from (one[0] for one in MAIL.finditer(text) if not NOBODYS.search(one[1]))
    yield from (one[0] for one in MOBILE.finditer(text) if not MADE_UP.search(one[1] + one[2] + one[3]))
    yield from (one[0] for one in NORTH.finditer(text) if not _nobodys(*one.groups()))
    yield from (one[0] for one in IDENTITY.finditer(text) if _checked(one[0]))
    yield from (one[0] for one in SOCIAL.finditer(text))


def _nobodys(area: str, exchange: str, line: str) -> bool:
    return "555" in (area, exchange) or MADE_UP.search(area + exchange + line) is not None


def _checked(number: str) -> bool:
    # GB 11643: a number with a wrong check digit is nobody's.
    total = sum(int(digit) * weight for digit, weight in zip(number, WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == number[-1].upper()
