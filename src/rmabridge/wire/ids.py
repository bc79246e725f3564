"""Ids as vendors write them: now a number, now the same digits as text."""

from __future__ import annotations

from typing import Any, Final

# More than any vendor's id has; sixty-four bits are twenty digits.
_MOST: Final = 20


def digits(value: Any) -> str:
    """The id as text, whether it came as a number or as digits; nothing where it is neither."""
    # Not isinstance: a bool is an int too, and this is asked of nearly every field that is read.
    told = str(value) if type(value) is int else value
    return told if type(told) is str and len(told) <= _MOST and told.isascii() and told.isdigit() else ""
