"""Three processes on one PostgreSQL: one of them is killed, stopped, cut off or restarted, again and again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Final

from herd import Herd, herd, load

from stores import of_server

from .counting import COUNTED, Receiver, count, quiet
from .tables import Table

SEED: Final = 20261122
MORE: Final = 60  # deliveries that must follow while one of three is away


async def replicas(rounds: int) -> list[Table]:
    """So many rounds of each fault."""
    table = Table(
        "replicas",
        ["fault", "times", "seconds to the next 60 deliveries (median / 95 %)", *COUNTED, "out of order", "refused"],
    )
    for name, fault in FAULTS.items():
        await _one(table, name, fault, rounds)
    table.how = f"three processes, one PostgreSQL, 6 senders at once behind a TCP balancer, seed {SEED}"
    return [table]


async def _one(table: Table, name: str, fault: Fault, rounds: int) -> None:
    folder, chance, took = Path(mkdtemp(prefix="herd")), Random(SEED), list[float]()
    async with Receiver() as sink, Receiver() as bank, herd(folder, of_server(folder), sink.url, bank.url) as group:
        async with load(group, at_once=6, pause=0.02, notes=2, patience=5) as senders:
            await group.moved(sink, MORE)
            for _ in range(rounds):
                took.append(await fault(group, chance.randrange(3), sink))
        await quiet(group)
        found = count(group, senders, sink, bank)
        refused = ", ".join(f"{number} {what}" for what, number in senders.refused.items()) or 0
    table.add(name, rounds, _seconds(took), *found.cells(), found.disordered, refused)


def _seconds(took: list[float]) -> str:
    ordered = sorted(took)
    return f"{ordered[len(ordered) // 2]:.1f} / {ordered[int(len(ordered) * 0.95)]:.1f}"


async def killed(group: Herd, number: int, sink: Receiver) -> float:
    """kill -9, and started again."""
    await group.members[number].kill()
    took = await group.moved(sink, MORE)
    await group.members[number].start()
    return took


async def stopped(group: Herd, number: int, sink: Receiver) -> float:
    """SIGSTOP until the others have done more, then SIGCONT."""
    group.members[number].tell(signal.SIGSTOP)
    took = await group.moved(sink, MORE)
    group.members[number].tell(signal.SIGCONT)
    await group.moved(sink, MORE)
    return took


async def cut_off(group: Herd, _: int, sink: Receiver) -> float:
    """Its way to the database is stopped, without a word, and opened again."""
    group.proxy.fault = "stop"
    took = await group.moved(sink, MORE)
    await asyncio.sleep(3)
    group.proxy.fault = None
    await group.moved(sink, MORE)
    assert group.members[2].alive
    return took


async def severed(group: Herd, _: int, sink: Receiver) -> float:
    """All its connections to the database are reset, and new ones refused for a while."""
    group.proxy.fault = "refuse"
    group.proxy.drop()
    took = await group.moved(sink, MORE)
    group.proxy.fault = None
    await group.moved(sink, MORE)
    assert group.members[2].alive
    return took


async def restarted(group: Herd, number: int, sink: Receiver) -> float:
    """SIGTERM, and started again: a rolling restart."""
    await group.members[number].kill(signal.SIGTERM)
    await group.members[number].start()
    return await group.moved(sink, MORE)


Fault = Callable[[Herd, int, Receiver], Awaitable[float]]
FAULTS: Final[dict[str, Fault]] = {
    "kill -9": killed,
    "SIGSTOP, SIGCONT": stopped,
    "database out of reach": cut_off,
    "database connections reset": severed,
    "rolling restart": restarted,
}
