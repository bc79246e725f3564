"""Words that must fit into what a vendor takes."""

from __future__ import annotations

from typing import Final

CUT: Final = "…"


def cut(words: str, most: int) -> str:
    """As much as fits into so many bytes, to a whole character; what was cut ends with ``…``."""
    raw = words.encode()
    return words if len(raw) <= most else raw[: most - len(CUT.encode())].decode(errors="ignore") + CUT
