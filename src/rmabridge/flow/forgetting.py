"""A buyer that was erased in one process is forgotten by the others within a second; a master key that took over in
one wraps their new keys, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Final

from sqlalchemy.exc import OperationalError

from ..store.erasures import Erasures
from ..store.store import Store

LOOKED_EVERY: Final = 1.0


class Forgetting:
    """Looks between two batches of a router, whose work under way needs its keys; without a router, every second."""

    def __init__(self, store: Store, drop: Callable[[], None]) -> None:
        self.store, self._drop = store, drop
        self._erasures, self._looked = Erasures(), 0.0

    async def look(self) -> None:
        """Drop the keys, and all cases that lie open in memory, where anybody was erased."""
        if not self.store.shared or monotonic() - self._looked < LOOKED_EVERY:
            return
        self._looked = monotonic()
        await self.store.ask(self.store.vault.follow)
        if await self.store.ask(lambda conn: self._erasures.hear(conn, self.store.vault)):
            self._drop()

    async def run(self) -> None:
        """Look for ever."""
        while True:
            with suppress(OperationalError):
                await self.look()
            await asyncio.sleep(LOOKED_EVERY)
