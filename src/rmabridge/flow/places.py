"""Whose turn it is where an account has more to deliver than it may: severe cases first, each fourth the oldest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

OLDEST_EVERY: Final = 4


class Places:
    """Counts the places that each crowded account had; the others take all they have, and nobody comes first."""

    def __init__(self) -> None:
        self._had: Counter[str] = Counter()

    def first(self, room: Mapping[str, int]) -> dict[str, int]:
        """How many of the places of each crowded account are for severe cases."""
        return {
            name: urgent for name, free in room.items() if name in self._had and (urgent := self._urgent(name, free))
        }

    def _urgent(self, name: str, free: int) -> int:
        had = self._had[name]
        return free - ((had + free) // OLDEST_EVERY - had // OLDEST_EVERY)

    def took(self, room: Mapping[str, int], claimed: Sequence[Any]) -> None:
        """Note what was claimed: an account is crowded as long as it has no place left over."""
        taken = Counter(one.account for one in claimed)
        for name, free in room.items():
            if taken[name] >= free:
                self._had[name] += taken[name]
            elif taken[name] or name in self._had:
                self._had.pop(name, None)
