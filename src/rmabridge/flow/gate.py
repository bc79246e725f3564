"""One gate for each account: how many calls at once, how many in a span of time, and a breaker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from ..abilities import Plugin, per_second
from ..abilities.plugin import RATE

SLACK: Final = 1.05  # calls that left a second apart may arrive a little closer


@dataclass(slots=True)
class Gate:
    """In no span of time do more calls leave than the limit; failures in a row open the breaker."""

    in_flight: int
    most: int
    span: float
    threshold: int
    pause: timedelta
    now: Callable[[], datetime]
    busy: int = 0
    queued: int = 0
    failures: int = 0
    open_until: datetime | None = None
    left: deque[float] = field(default_factory=deque)
    order: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def of(cls, plugin: Plugin, now: Callable[[], datetime]) -> Gate:
        """The gate that the account's settings ask for."""
        most, span = limit(plugin.rate) if plugin.rate else (0, 0.0)
        gate = cls(plugin.in_flight, most, span * SLACK, plugin.breaker, plugin.breaker_pause, now)
        gate.left = deque(maxlen=most)
        return gate

    def room(self) -> int:
        """How many more deliveries the account takes now: none while the breaker is open, then one alone as probe."""
        if self.open_until is not None:
            return 0 if self.busy or self.now() < self.open_until else 1
        room = self.in_flight - self.busy
        if self.most:
            soon = monotonic() + 1.0 - self.span
            room = min(room, self.most - sum(one > soon for one in self.left) - self.queued)
        return max(0, room)

    def enter(self) -> None:
        """A delivery begins."""
        self.busy += 1

    def leave(self, well: bool | None) -> None:
        """A delivery ended: well, not well, or (None) without saying anything about the vendor's health."""
        self.busy -= 1
        if well:
            self.failures, self.open_until = 0, None
        elif well is False:
            self.failures += 1
            if self.failures >= self.threshold:
                self.open_until = self.now() + self.pause

    async def turn(self) -> None:
        """Wait, first come first served, for a free place in the rate; every call of a delivery comes through here."""
        if not self.most:
            return
        self.queued += 1
        try:
            async with self.order:
                await asyncio.sleep(max(0.0, self._wait()))
                self.left.append(monotonic())
        finally:
            self.queued -= 1

    def _wait(self) -> float:
        return self.left[0] + self.span - monotonic() if len(self.left) == self.most else 0.0


def limit(rate: str) -> tuple[int, float]:
    """``"200/min"`` as (200, 60.0): so many calls in so many seconds; ``"0.5/s"`` as (1, 2.0)."""
    average, found = per_second(rate), RATE.match(rate)
    most = max(1, int(float(found[1]))) if found else 1
    return most, most / average
