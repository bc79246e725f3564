"""Webhooks first: how the router and the dispatcher give way to the doors.

A webhook that is taken late is sent again, or lost; a case that is routed later is late by as much and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

SLICE: Final = 0.0005
STEPS: Final = 4  # of the loop, in which a webhook comes from its socket to the inbox
PATIENCE: Final = 16  # times as long as one worked one waits for webhooks that keep coming
LONGEST: Final = 2.0

Quiet = Callable[[float], Awaitable[None]]


class Pace:
    """Of one loop: after each slice of work it waits until no webhook is on its way to the disk, and in a burst that
    does not end it keeps a share of one to ``PATIENCE``.
    """

    def __init__(self) -> None:
        self.quiet: Quiet | None = None
        self._owed, self._began = 0.0, monotonic()

    def start(self) -> None:
        """Work begins here."""
        self._began = monotonic()

    def stop(self) -> None:
        """Work ends here."""
        self.worked(monotonic() - self._began)

    def worked(self, seconds: float) -> None:
        """So much was worked that nobody has given way for yet."""
        self._owed += seconds

    async def turn(self) -> None:
        """Between two pieces of work: give way where it has been long."""
        self.stop()
        await self.give_way()
        self.start()

    async def give_way(self) -> None:
        """For what was worked so far."""
        if self._owed > SLICE:
            until = monotonic() + min(self._owed * PATIENCE, LONGEST)
            for _ in range(STEPS):
                await asyncio.sleep(0)
            if self.quiet is not None:
                await self.quiet(until)
            self._owed = 0.0
