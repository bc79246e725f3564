"""The token that an account was given: readable whoever stored it first, and whatever failed before."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from toybox import toybox

from rmabridge.config import read
from rmabridge.flow.bridge import Running
from rmabridge.flow.tokens import StoredTokens
from rmabridge.testing.simulators.sink import Sink
from stores import POSTGRES
from worlds import running


async def test_a_token_is_read_after_a_restart_though_its_first_write_failed(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toybox(tmp_path, sink.url)
    async with running(config, sink) as world:
        store = world.bridge.store

        async def full(*_: Any) -> None:
            raise OperationalError("INSERT", None, OSError("disk full"))

        with monkeypatch.context() as patched:
            patched.setattr(store, "write", full)
            with pytest.raises(OperationalError):
                await StoredTokens(store, "shop").put({"access_token": "a"})
        await StoredTokens(store, "shop").put({"access_token": "a"})
    async with running(config, sink) as world:
        assert await StoredTokens(world.bridge.store, "shop").get() == {"access_token": "a"}


@pytest.mark.skipif(not POSTGRES, reason="a SQLite file is served by one process")
async def test_of_two_processes_that_store_the_first_token_both_can_read_it(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url)
    async with running(config, sink) as one, Running(read(config), roles=("intake", "dispatcher")) as two:
        both = [StoredTokens(store, "shop") for store in (one.bridge.store, two.store)]
        await asyncio.gather(*(tokens.put({"access_token": str(n)}) for n, tokens in enumerate(both)))
        assert await both[0].get() == await both[1].get()
    async with running(config, sink) as world:
        assert await StoredTokens(world.bridge.store, "shop").get()
