"""A running bridge whose shop's parcels are with one carrier."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rmabridge.model import Case, Commanded, Parcel
from rmabridge.store import inbox as inbox_store
from rmabridge.testing.simulators.server import Simulator
from rmabridge.testing.simulators.sink import Sink
from worlds import World, a_return, document, running


class Carried:
    """A case with a parcel, and what the carrier and an operator do with it."""

    def __init__(self, world: World, sim: Simulator) -> None:
        self.world, self.sim = world, sim

    @property
    def case(self) -> Case:
        """The only case."""
        store = self.world.bridge.store
        ((key, doc),) = self.world.rows("SELECT key_id, doc FROM cases")
        store.keys_for({key})
        return Case.model_validate_json(store.vault.open(key, doc))

    @property
    def parcel(self) -> Parcel:
        """The only parcel of the only case."""
        (parcel,) = self.case.parcels
        return parcel

    def row(self, key: str) -> tuple[Any, ...]:
        """State, vendor's id and cause of an action."""
        found = self.world.rows(f"SELECT state, ref, cause FROM outbox WHERE key = '{key}'")
        return found[0] if found else ("absent", None, None)

    async def act(self, **action: Any) -> None:
        """Order an action as an operator does, and wait for its end."""
        store, router = self.world.bridge.store, self.world.bridge.router
        self.world.number += 1
        given = Commanded(
            key=f"cmd:{self.world.number}",
            at=store.clock.now(),
            command="act",
            by="tester",
            args={"action": action},
        )
        event = router.event_row([given], "bridge", given.key, case_id=self.case.id, kind="command")
        await store.write(lambda conn: inbox_store.add(conn, [event]))
        router.wake.set()
        await self.world.settle()

    async def later(self, minutes: float) -> None:
        """Time passes here and there."""
        self.world.bridge.store.clock.offset += timedelta(minutes=minutes)
        self.sim.offset += timedelta(minutes=minutes)
        self.world.bridge.dispatcher.wake.set()
        await self.world.settle()

    def seen(self) -> int:
        """How often the case has heard of the parcel."""
        ((count,),) = self.world.rows("SELECT count(*) FROM timeline WHERE type = 'parcel.seen'")
        return int(count)


@pytest.fixture
def carried(tmp_path: Path, sink: Sink) -> Any:
    """A world with one case, and one account ``ca`` of the plugin at the simulator."""

    @asynccontextmanager
    async def made(sim: Simulator, plugin: str, **settings: Any) -> AsyncIterator[Carried]:
        config = document(tmp_path, sink.url, policies=[], public_url="https://rma.example.com")
        config["carriers"] = {"ca": {"plugin": plugin, **sim.account_settings(), **settings}}
        config["shops"]["one"] |= {"carrier": "ca"}
        async with running(config, sink) as world:
            sim.hook = f"{world.bridge.url}/hooks/ca"
            await world.post(a_return())
            await world.settle()
            yield Carried(world, sim)

    return made
