"""Phone numbers as the vendor dials them; a masked or shortened one is never dialled."""

from __future__ import annotations

import re

from rmabridge.errors import Rejected
from rmabridge.wire.phones import unspaced

MAINLAND = re.compile(r"1[3-9]\d{9}")
ABROAD = re.compile(r"[1-9]\d{6,14}")


def dialled(number: str) -> str:
    """11 digits for mainland China, else the country's code and the number, without a plus."""
    digits = unspaced(number)
    bare = digits.removeprefix("+") if digits.startswith("+") else digits.removeprefix("00")
    home = bare.removeprefix("86")
    abroad = bare != digits and not bare.startswith("86")
    if abroad and MAINLAND.fullmatch(bare):
        raise Rejected(
            "the vendor would take this number for one of mainland China, and somebody else would get the message",
            hint="it dials no +1 numbers that look like that; send to them by another channel",
        )
    # Privacy numbers with an extension ("18412345678-1234") are too long: without it somebody else might answer.
    if MAINLAND.fullmatch(home):
        return home
    if abroad and ABROAD.fullmatch(bare):
        return bare
    raise Rejected(
        "this is no phone number that can be dialled", hint="11 digits, or '+', the country's code and the number"
    )


def written(number: str | None) -> str | None:
    """A number of the vendor's as the bridge writes it, with ``+`` and the country's code; None for a masked one."""
    if number is None:
        return None
    told = number.strip()
    digits = told.removeprefix("+").removeprefix("00")
    home = digits.removeprefix("86")
    if MAINLAND.fullmatch(home) and (told == digits or home != digits):
        return f"+86{home}"
    return f"+{digits}" if ABROAD.fullmatch(digits) else None
