"""The rate of an account that several processes share: calls draw their places together, and a place soon lapses."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from ..store.rates import Drawn

Draw = Callable[[int, int, int], Awaitable[Drawn]]
# How long a drawn place may be used: this part of the rate's span, but long enough for the answer to come here.
PART: Final = 0.05
LEAST: Final = 0.1
PATIENT: Final = 2.0
LAPSES: Final = 10


class Crowded(Exception):
    """The others use the rate up for now: nothing has left, and after ``wait`` seconds there may be room."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"other processes use the rate up for {wait:.1f} s")
        self.wait = wait


class Turns:
    """Places in one account's rate, ``most`` in a ``span`` of seconds; who waits here shares one question."""

    def __init__(self, draw: Draw, most: int, span: float) -> None:
        self._draw, self.most, self.span = draw, most, span
        self.lapses = max(LEAST, span * PART)
        self.taken: list[tuple[float, int]] = []
        self._queue: deque[tuple[asyncio.Future[float], bool]] = deque()
        self._drawing: asyncio.Task[None] | None = None

    def free(self, at: float) -> int:
        """How many places will be free at that time, as far as is known here."""
        return self.most - sum(number for taken, number in self.taken if taken > at - self.span - self.lapses)

    async def take(self, hurried: bool) -> float:
        """Wait for a place; until when it may be used. Who is ``hurried`` rather comes again (``Crowded``)."""
        for _ in range(LAPSES):
            place: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            self._queue.append((place, hurried))
            if self._drawing is None:
                self._drawing = asyncio.create_task(self._serve(), name="draw")
            if monotonic() <= (until := await place):
                return until
        raise Crowded(self.lapses)

    def close(self) -> None:
        """Nobody waits any longer."""
        if self._drawing is not None:
            self._drawing.cancel()

    async def _serve(self) -> None:
        try:
            while self._wanted():
                pause = await self._turn()
                await asyncio.sleep(pause)
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            while self._queue:
                _tell(self._queue.popleft()[0], error)
        finally:
            self._drawing = None

    def _wanted(self) -> int:
        self._queue = deque((place, hurried) for place, hurried in self._queue if not place.done())
        return len(self._queue)

    async def _turn(self) -> float:
        asked = monotonic()
        drawn = await self._draw(self._wanted(), self.most, int((self.span + self.lapses) * 1e6))
        here = monotonic()
        self.taken = [(here - ago, number) for ago, number in drawn.taken]
        for _ in range(drawn.got):
            place, _hurried = self._queue.popleft()
            _tell(place, asked + self.lapses)
        if not self._queue or drawn.got:
            return 0.0
        wait = max(0.01, min(one for one, _ in self.taken) + self.span + self.lapses - here)
        if wait > PATIENT:
            for place, hurried in self._queue:
                if hurried:
                    _tell(place, Crowded(wait))
        return min(wait, PATIENT)


def _tell(place: asyncio.Future[float], answer: float | Exception) -> None:
    if place.done():
        return
    if isinstance(answer, Exception):
        place.set_exception(answer)
    else:
        place.set_result(answer)
