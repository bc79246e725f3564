"""One gate for each account: how many calls at once, how many a second, and a breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from ..abilities import Plugin, per_second
from ..errors import Unavailable

LONGEST_WAIT: Final = 5.0


@dataclass(slots=True)
class Gate:
    """Calls are spaced evenly, so that the vendor never sees more than the limit; failures in a row open the breaker."""

    in_flight: int
    spacing: float
    threshold: int
    pause: timedelta
    now: Callable[[], datetime]
    busy: int = 0
    next_free: float = 0.0
    failures: int = 0
    open_until: datetime | None = None
    probing: bool = False

    @classmethod
    def of(cls, plugin: Plugin, now: Callable[[], datetime]) -> Gate:
        """The gate that the account's settings ask for."""
        spacing = 1 / per_second(plugin.rate) if plugin.rate else 0.0
        return cls(plugin.in_flight, spacing, plugin.breaker, plugin.breaker_pause, now)

    def room(self) -> int:
        """How many more deliveries the account takes now: none while the breaker is open, one to probe it."""
        if self.open_until is not None:
            return 0 if self.probing or self.now() < self.open_until else 1
        room = self.in_flight - self.busy
        if self.spacing:
            ahead = max(0.0, self.next_free - monotonic())
            room = min(room, int((1.0 - ahead) / self.spacing) + 1 - self.busy if ahead < 1.0 else 0)
        return max(0, room)

    def enter(self) -> None:
        """A delivery begins."""
        self.busy += 1
        self.probing = self.open_until is not None

    def leave(self, well: bool | None) -> None:
        """A delivery ended: well, not well, or (None) without saying anything about the vendor's health."""
        self.busy -= 1
        self.probing = False
        if well:
            self.failures, self.open_until = 0, None
        elif well is False:
            self.failures += 1
            if self.failures >= self.threshold:
                self.open_until = self.now() + self.pause

    async def turn(self) -> None:
        """Wait for the next free place in the account's rate; every call of a delivery comes through here."""
        if not self.spacing:
            return
        here = monotonic()
        start = max(here, self.next_free)
        if start - here > LONGEST_WAIT:
            raise Unavailable("the account's rate limit is reached", retry_after=start - here)
        self.next_free = start + self.spacing
        if start > here:
            await asyncio.sleep(start - here)
