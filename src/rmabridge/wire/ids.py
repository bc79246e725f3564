"""Ids as vendors write them: now a number, now the same digits as text."""

from __future__ import annotations

from typing import Any, Final

# More than any vendor's id has; sixty-four bits are twenty digits.
_MOST: Final = 20
_TOP: Final = 10**_MOST


def digits(value: Any) -> str:
    """The id as text, whether it came as a number or as digits; nothing where it is neither."""
    # Not isinstance: a bool is an int too, and this is asked of nearly every field that is read.
    if type(value) is int:
        return str(value) if 0 <= value < _TOP else ""
    if type(value) is str and len(value) <= _MOST and value.isascii() and value.isdigit():
        return value
    return ""
