"""Leaving: who keeps a connection open is answered once more and told to go; nobody new is let in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from rmabridge.testing.simulators.sink import Sink
from worlds import a_return, document, running


async def test_an_open_connection_gets_its_answer_and_is_closed_and_no_new_one_is_taken(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(document(tmp_path, sink.url), sink) as world:
        assert (await world.post(a_return(1)))[0] == 200
        leaving = asyncio.create_task(world.bridge.leave())
        await asyncio.sleep(0)
        assert world.bridge.leaving
        async with world.client.post(f"{world.bridge.url}/hooks/shop", data=b"no JSON") as answer:
            assert (answer.status, answer.headers["Connection"]) == (415, "close")
        await leaving
        with pytest.raises(aiohttp.ClientConnectorError):
            await world.client.get(f"{world.bridge.url}/healthz")
        assert "draining" in await world.bridge.problems()
