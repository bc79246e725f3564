"""kill -9 at instrumented and at random instants, counted for each store."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from time import monotonic
from typing import Final
from uuid import uuid4

from herd import load
from load import Died, Forked, Zygote, configuration
from sqlalchemy import make_url

from stores import boss, server

from .counting import COUNTED, Receiver, count, quiet, settled
from .tables import Table

# Of twelve kills so many are of each kind.
KINDS: Final = (
    ["at a random instant"] * 3
    + ["before a commit"] * 3
    + ["after a commit"] * 3
    + ["call not booked yet", "call booked, no answer", "half an answer"]
)
STRIKES: Final = {"call not booked yet": "asked", "call booked, no answer": "booked", "half an answer": "half"}
SEED: Final = 20261122


async def kills(stores: list[str], number: int, minutes: float) -> list[Table]:
    """So many kills for each store, or those that fit into so many minutes."""
    tables = [
        Table("kills", ["store", "kills", *COUNTED, "sent again by a key that is known", "out of order"]),
        Table("instants", ["store", *dict.fromkeys(KINDS), "while starting"]),
    ]
    for store in stores:
        await _under_load(store, number, minutes, *tables)
    return tables


async def migrations(stores: list[str], number: int) -> list[Table]:
    """So many kills in the migrations of each store."""
    table = Table("migrations", ["store", "kills in migrations", "databases", "then started and served", "damaged"])
    for store in stores:
        await _migrating(store, number, table)
    return [table]


def fresh(store: str, folder: Path) -> str:
    """The address of an empty database."""
    if store == "sqlite":
        return f"sqlite:///{folder / f'{uuid4().hex}.db'}"
    name = f"t_{uuid4().hex[:12]}"
    boss().run(lambda conn: conn.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0"))
    return make_url(server()).set(database=name).render_as_string(hide_password=False)


async def _under_load(store: str, number: int, minutes: float, table: Table, instants: Table) -> None:
    folder, chance = Path(mkdtemp(prefix="kills")), Random(SEED)
    struck: Counter[str] = Counter()
    async with Receiver() as sink, Receiver() as bank, Zygote(folder / "serve.log") as zygote:
        child = Forked(configuration(folder, sink.url, bank.url, fresh(store, folder)), folder, zygote)
        await child.start()
        async with load(child, at_once=4, pause=0.1, notes=1) as senders:
            began = monotonic()
            for turn in range(number):
                if monotonic() - began > minutes * 60:
                    break
                struck[await strike(child, KINDS[turn % len(KINDS)], [sink, bank], chance)] += 1
            child.more = {}
            await _up(child)
        await quiet(child)
        found = count(child, senders, sink, bank)
        assert found.parked == 0, child.rows("SELECT state, stage, note FROM inbox WHERE state != 'done'")
        print(f"  {store}: {struck.total()} kills, {found}", flush=True)
        twice = await settled(child, bank)
        await child.kill()
        assert store != "sqlite" or child.rows("PRAGMA integrity_check") == [("ok",)]
    found.duplicated += twice
    table.add(store, struck.total(), *found.cells(), found.again, found.disordered)
    table.how = instants.how = f"4 senders at once, seed {SEED}"
    instants.add(store, *(struck[one] for one in dict.fromkeys(KINDS)), struck["while starting"])


async def strike(child: Forked, kind: str, receivers: list[Receiver], chance: Random) -> str:
    """One kill of this kind; what it came to."""
    timed = kind.endswith("a commit")
    child.more = {"die": [kind, chance.randint(1, 40)]} if timed else {}
    if not await _up(child):
        return "while starting"
    for one in receivers:
        one.kill = child.slay
    if kind in STRIKES:
        chance.choice(receivers).strike = STRIKES[kind]
    if kind in STRIKES or timed:
        try:
            await child.gone(60)
        except TimeoutError:
            kind = "at a random instant"
    else:
        await asyncio.sleep(chance.uniform(0.02, 0.6))
    for one in receivers:
        one.strike = None
    await child.kill()
    return kind


async def _up(child: Forked) -> bool:
    """Start it where it is down, or with new orders; whether it came to listen."""
    if child.alive:
        await child.kill()
    try:
        await child.start()
    except Died:
        return False
    return True


async def _migrating(store: str, number: int, table: Table) -> None:
    """Three kills in the migrations of each database, then a start that must serve."""
    folder, chance = Path(mkdtemp(prefix="kills")), Random(SEED)
    made = died = well = 0
    async with Receiver() as sink, Receiver() as bank, Zygote(folder / "serve.log") as zygote:
        while died < number:
            made += 1
            config = configuration(folder, sink.url, bank.url, fresh(store, folder))
            child = Forked(config, folder / f"n{made}", zygote)
            for _ in range(3):
                instant = chance.choice(["before a statement", "before a commit", "after a commit"])
                child.more = {"die": [instant, chance.randint(1, 60 if "statement" in instant else 5)]}
                died += not await _up(child)
                await child.kill()
            child.more = {}
            await child.start()
            async with load(child, at_once=1, pause=0.05) as senders:
                await senders.reach(1)
            await quiet(child)
            well += count(child, senders, sink, bank).acknowledged > 0
            await child.kill()
    damaged = made - well
    table.add(store, died, made, well, damaged)
    table.how = "kills before and after statements and commits of the first start on an empty database"
