"""One gate for each account: how many calls at once, how many in a span of time, and a breaker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from time import monotonic
from typing import Final

from ..abilities import Plugin, per_second
from ..abilities.plugin import RATE
from .turns import Draw, Turns

SKEW: Final = timedelta(seconds=5)  # no two clocks of processes that share a database are so far apart
TRANSIT: Final = 0.1  # seconds: calls arrive closer together than they left, the later ones having been faster


def _nobody() -> None:
    """Nobody else is to know."""


@dataclass(slots=True)
class Gate:
    """In no span of time do more calls leave than the limit; failures in a row open the breaker.

    ``among`` so many processes the calls that may be under way at once are shared out evenly, at least one to each.
    """

    in_flight: int
    most: int
    span: float
    threshold: int
    pause: timedelta
    now: Callable[[], datetime]
    among: int = 1
    busy: int = 0
    queued: int = 0
    failures: int = 0
    open_until: datetime | None = None
    left: deque[float] = field(default_factory=deque)
    order: asyncio.Lock = field(default_factory=asyncio.Lock)
    turns: Turns | None = None
    moved: Callable[[], None] = _nobody

    @classmethod
    def of(cls, plugin: Plugin, now: Callable[[], datetime], draw: Draw | None = None) -> Gate:
        """The gate that the account's settings ask for; with ``draw`` its rate is that of all processes together."""
        most, span = limit(plugin.rate) if plugin.rate else (0, 0.0)
        gate = cls(plugin.in_flight, most, span + TRANSIT, plugin.breaker, plugin.breaker_pause, now)
        gate.left = deque(maxlen=most)
        if draw is not None and most:
            gate.turns = Turns(draw, most, span + TRANSIT)
        return gate

    @property
    def probing(self) -> bool:
        """Whether the breaker was open and one delivery alone may try; also where a clock that was ahead opened it."""
        return self.open_until is not None and not self.open_until - self.pause - SKEW <= self.now() < self.open_until

    def room(self) -> int:
        """How many more deliveries the account takes now: none while the breaker is open, then one alone as probe."""
        if self.open_until is not None:
            return 1 if self.probing and not self.busy else 0
        room = max(1, self.in_flight // self.among) - self.busy
        if self.most:
            room = min(room, self._free(monotonic() + 1.0) - self.queued)
        return max(0, room)

    def _free(self, soon: float) -> int:
        if self.turns is not None:
            return self.turns.free(soon)
        return self.most - sum(one > soon - self.span for one in self.left)

    def enter(self) -> None:
        """A delivery begins."""
        self.busy += 1

    def leave(self, well: bool | None) -> None:
        """A delivery ended: well, not well, or (None) without saying anything about the vendor's health."""
        self.busy -= 1
        before = self.open_until
        if well:
            self.failures, self.open_until = 0, None
        elif well is False:
            self.failures += 1
            if self.failures >= self.threshold:
                self.open_until = self.now() + self.pause
        if self.open_until != before:
            self.moved()

    async def turn(self, hurried: bool = False) -> float:
        """Wait, first come first served, for a free place in the rate; every call of a delivery comes through here.
        When the place lapses."""
        if not self.most:
            return inf
        self.queued += 1
        try:
            if self.turns is not None:
                return await self.turns.take(hurried)
            async with self.order:
                await asyncio.sleep(max(0.0, self._wait()))
                self.left.append(monotonic())
                return inf
        finally:
            self.queued -= 1

    def _wait(self) -> float:
        return self.left[0] + self.span - monotonic() if len(self.left) == self.most else 0.0


def limit(rate: str) -> tuple[int, float]:
    """``"200/min"`` as (200, 60.0): so many calls in so many seconds; ``"0.5/s"`` as (1, 2.0)."""
    average, found = per_second(rate), RATE.match(rate)
    most = max(1, int(float(found[1]))) if found else 1
    return most, most / average
