"""Cases of several processes on one PostgreSQL: each routes what comes of its own, and what another leaves."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
from bank import act, message
from test_limits import cases
from test_shared_limits import beside
from toybox import stop_loop, toybox

from rmabridge.testing.simulators.sink import Sink
from stores import POSTGRES
from worlds import World

pytestmark = pytest.mark.skipif(not POSTGRES, reason="a SQLite file is served by one process")


async def sharing(*worlds: World) -> None:
    """Wait until all know of each other."""
    for one in worlds:
        await one.until(partial(lambda store: store._share[0] == len(worlds), one.bridge.store), 30)


async def test_each_process_routes_what_comes_of_the_cases_that_it_opened(tmp_path: Path, sink: Sink) -> None:
    """Each has other cases at hand, though either may have sent their messages and written down how that ended."""
    async with AsyncExitStack() as stack:
        worlds = [await beside(stack, toybox(tmp_path, sink.url), sink) for _ in range(2)]
        await sharing(*worlds)
        ids = await cases(worlds[0], 40)
        for one in ids:
            await act(worlds[0], one, message("m1"))
        await worlds[0].until(lambda: worlds[0].rows("SELECT count(*) FROM outbox WHERE state = 'done'") == [(40,)])
        await worlds[0].settle()
        first, second = ({*one.bridge.router.loader.cache} for one in worlds)
        assert first | second == set(ids)
        assert len(first & second) <= 10, "but for what was left for seconds on a slow machine"


async def test_what_a_silent_process_leaves_is_routed_by_the_others(tmp_path: Path, sink: Sink) -> None:
    async with AsyncExitStack() as stack:
        worlds = [await beside(stack, toybox(tmp_path, sink.url), sink) for _ in range(2)]
        await sharing(*worlds)
        ids = await cases(worlds[0], 20)
        await stop_loop(worlds[1], "Router.run")
        for one in ids:
            await act(worlds[0], one, message("m1"))
        await worlds[0].until(lambda: worlds[0].rows("SELECT count(*) FROM outbox WHERE state = 'done'") == [(20,)], 30)
