"""Phone numbers as people write them: other scripts' digits, spacing, and masks that nobody may dial."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from rmabridge.errors import Rejected

_MASK: Final = re.compile(r"[*×•●xX]")
_SPACING: Final = re.compile(r"[\s().-]")


def unspaced(number: str) -> str:
    """The number without spacing, its digits half-width; a masked or shortened one is never dialled."""
    written = unicodedata.normalize("NFKC", number).strip()
    if _MASK.search(written):
        raise Rejected("the phone number is masked: it is never dialled", hint="ask the buyer for the whole number")
    # "+44 (0)20 …": the zero in brackets is dialled inside the country only.
    return _SPACING.sub("", written.replace("(0)", ""))
