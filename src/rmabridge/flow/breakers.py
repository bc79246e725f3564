"""Gates that several processes share: who opens or closes a breaker tells it by a row, and looks at the others' rows;
and as many as they are share the calls that may be under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection

from ..store import queue, rates
from ..store.store import Store
from ..store.tables import micros, moment
from .gate import Gate


class Breakers:
    """Keeps this process's gates and the rows alike."""

    def __init__(self, store: Store, gates: Mapping[str, Gate], look: Callable[[], None]) -> None:
        self.store, self.gates, self._look = store, gates, look
        self._known: dict[str, int] = {}
        self._news: set[str] = set()
        for name, gate in gates.items() if store.shared else ():
            gate.moved = partial(self._moved, name)

    def _moved(self, name: str) -> None:
        self._news.add(name)
        self._look()

    async def exchange(self) -> None:
        """Tell what happened here, then hear what happened elsewhere."""
        for name in [*self._news]:
            self._news.discard(name)
            await self._tell(name)
        rows, among = await self.store.ask(lambda conn: (rates.breakers(conn), self.store.living(conn, "dispatcher")))
        for gate in self.gates.values():
            gate.among = among
        for name, row in rows.items():
            if name in self.gates and name not in self._news:
                self._hear(name, row)

    async def _tell(self, name: str) -> None:
        until = self.gates[name].open_until
        try:
            self._known[name] = await self.store.write(
                lambda conn: rates.set_breaker(conn, name, micros(until) if until else 0)
            )
        except BaseException:
            self._news.add(name)
            raise

    def _hear(self, name: str, row: Any) -> None:
        if row.version <= self._known.get(name, 0):
            return
        gate, self._known[name] = self.gates[name], row.version
        gate.open_until = moment(row.due_at) if row.due_at else None
        gate.failures = gate.threshold if row.due_at else 0

    def probes(self) -> dict[str, tuple[int, int]]:
        """The accounts that may be probed: the version of their row, and until when nobody else may then."""
        return {
            name: (self._known.get(name, 0), micros(gate.now() + gate.pause))
            for name, gate in self.gates.items()
            if gate.probing and name not in self._news
        }

    def took(self, probes: Mapping[str, tuple[int, int]], claimed: Sequence[Any]) -> None:
        """These are on their way, and may be probes: their rows were moved here."""
        for name in probes.keys() & {one.account for one in claimed}:
            self._known[name] = probes[name][0] + 1


def claim(
    conn: Connection,
    now: int,
    lease: int,
    me: str,
    room: Mapping[str, int],
    first: Mapping[str, int],
    probes: Mapping[str, tuple[int, int]],
) -> Sequence[Any]:
    """Take due rows; behind a breaker that was open, only where no other process probes."""
    claimed = queue.claim(conn, now, lease, me, room, first)
    tried = probes.keys() & {one.account for one in claimed}
    lost = {name for name in tried if not rates.take_probe(conn, name, *probes[name])}
    if lost:
        queue.give_back(conn, [one.id for one in claimed if one.account in lost], me)
    return [one for one in claimed if one.account not in lost]
