"""kill -9 at chosen instants: around commits, in the middle of a call, in migrations. ``make chaos`` does more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from herd import load
from load import Died, Forked, Zygote, configuration

from chaos.counting import Receiver, count, quiet, settled
from chaos.kills import KINDS, fresh, strike
from stores import POSTGRES

STORE = "postgresql" if POSTGRES else "sqlite"


@pytest.fixture
async def receivers() -> AsyncIterator[list[Receiver]]:
    """A help desk that is also the mail's, and a bank."""
    async with Receiver() as sink, Receiver() as bank:
        yield [sink, bank]


@pytest.mark.slow
@pytest.mark.row("P56", "P11")
async def test_a_kill_around_a_commit_or_in_the_middle_of_a_call_loses_nothing_and_pays_nothing_twice(
    tmp_path: Path, receivers: list[Receiver]
) -> None:
    chance = Random(1)
    config = configuration(tmp_path, *(one.url for one in receivers), fresh(STORE, tmp_path))
    async with Zygote(tmp_path / "serve.log") as zygote:
        child = Forked(config, tmp_path, zygote)
        await child.start()
        async with load(child, at_once=3, pause=0.05, notes=1) as senders:
            for kind in dict.fromkeys(KINDS):
                await strike(child, kind, receivers, chance)
            child.more = {}
            await child.start()
        await quiet(child)
        found = count(child, senders, *receivers)
        assert (found.lost, found.duplicated, found.parked, found.disordered) == (0, 0, 0, 0)
        assert found.acknowledged == found.routed > 0
        assert await settled(child, receivers[1]) == 0


@pytest.mark.row("P56")
async def test_a_kill_in_the_migrations_is_made_good_by_the_next_start(
    tmp_path: Path, receivers: list[Receiver]
) -> None:
    config = configuration(tmp_path, *(one.url for one in receivers), fresh(STORE, tmp_path))
    async with Zygote(tmp_path / "serve.log") as zygote:
        child = Forked(config, tmp_path, zygote)
        for number in (2, 15, 40):
            child.more = {"die": ["before a statement", number]}
            with pytest.raises(Died):
                await child.start()
        child.more = {}
        await child.start()
        async with load(child, at_once=1, pause=0.05) as senders:
            await senders.reach(1)
        await quiet(child)
        assert count(child, senders, *receivers).delivered == 3 * len(senders.acknowledged) > 0
