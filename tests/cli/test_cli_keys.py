"""Master keys take over from each other while the bridge runs, whoever pulls the plug."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from cli_desk import run, write

from rmabridge.config import load
from rmabridge.flow.bridge import Running
from rmabridge.store.vault import store_keys
from rmabridge.testing.simulators.sink import Sink
from stores import POSTGRES
from worlds import World, a_return, document

OLD, NEW = (base64.b64encode(bytes([one]) * 32).decode() for one in (1, 2))


@pytest.fixture(autouse=True)
def _lines() -> Any:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield
    structlog.reset_defaults()


def settings(tmp_path: Path, sink: Sink, *keys: str) -> Path:
    """A configuration with this ring."""
    return write(tmp_path / "rmabridge.toml", document(tmp_path, sink.url, keys=list(keys)))


async def answer(path: Path, *arguments: str) -> Any:
    """The command's JSON."""
    result = await asyncio.to_thread(run, path, *arguments, json_=True)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def rings(path: Path) -> list[tuple[int, str]]:
    """How many keys each master key wraps, and what is said of it."""
    return [(one["wraps"], one["place"].partition(";")[0]) for one in await answer(path, "keys", "list")]


async def many(world: World, number: int) -> None:
    """So many more data keys."""
    vault = world.bridge.store.vault
    rows = [vault.make(f"k:{one:05}", None, 0) for one in range(number)]
    await world.bridge.store.write(lambda conn: store_keys(conn, rows))


async def sealed(world: World, number: int) -> None:
    """A case arrives and can be read."""
    await world.post(a_return(number), name=f"msg_{number}")
    await world.settle()


@pytest.mark.row("S161")
async def test_data_keys_are_wrapped_anew_while_serving_and_the_old_key_is_not_needed_any_more(
    tmp_path: Path, sink: Sink
) -> None:
    path = settings(tmp_path, sink, OLD)
    async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
        await sealed(World(bridge, sink, client), 1)
    settings(tmp_path, sink, NEW, OLD)
    async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
        world = World(bridge, sink, client)
        kept = (await rings(path))[1][0]
        assert kept >= 3, "the index, the day, the buyer"
        done = await answer(path, "keys", "rotate", "--batch", "1", "--as", "mei")
        assert (done["rewrapped"], done["left"]) == (kept, 0)
        await sealed(world, 2)
        assert (await rings(path))[1] == (0, "old")
        assert ("mei", "rotate") in [(one["who"], one["what"]) for one in await answer(path, "audit", "list")]
    settings(tmp_path, sink, NEW)
    async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
        await sealed(World(bridge, sink, client), 3)
        names = [await answer(path, "cases", "show", one["id"]) for one in await answer(path, "cases", "list")]
        assert len(names) == 3 and all(one["buyer"]["name"] == "李雷" for one in names)


async def test_a_bridge_that_does_not_know_the_new_key_yet_refuses_before_anything_is_wrapped(
    tmp_path: Path, sink: Sink
) -> None:
    path = settings(tmp_path, sink, OLD)
    async with Running(load(path)):
        settings(tmp_path, sink, NEW, OLD)
        result = await asyncio.to_thread(run, path, "keys", "rotate")
        assert result.exit_code == 1
        assert "restart it, then rotate" in result.stderr
        assert (await rings(path))[0] == (0, "newest"), "nor does any command wrap with it before"


@pytest.mark.skipif(not POSTGRES, reason="a SQLite file has one process")
async def test_all_processes_wrap_with_the_new_key_before_the_old_one_may_go(tmp_path: Path, sink: Sink) -> None:
    path = settings(tmp_path, sink, OLD)
    async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
        await sealed(World(bridge, sink, client), 1)
    settings(tmp_path, sink, NEW, OLD)
    async with Running(load(path)) as one, Running(load(path)) as two, aiohttp.ClientSession() as client:
        assert (await answer(path, "keys", "rotate"))["left"] == 0
        for number in range(2, 14):
            await sealed(World((one, two)[number % 2], sink, client), number)
        assert (await rings(path))[1] == (0, "old")
    settings(tmp_path, sink, NEW)
    names = [await answer(path, "cases", "show", one["id"]) for one in await answer(path, "cases", "list")]
    assert len(names) == 13 and all(one["buyer"]["name"] == "李雷" for one in names)


@pytest.mark.skipif(not POSTGRES, reason="a SQLite file has one process")
async def test_one_process_that_does_not_know_the_new_key_yet_is_enough_to_refuse(tmp_path: Path, sink: Sink) -> None:
    path = settings(tmp_path, sink, OLD)
    async with Running(load(path), roles={"intake"}):
        settings(tmp_path, sink, NEW, OLD)
        async with Running(load(path)) as knowing:
            await asyncio.sleep(0.5)
            result = await asyncio.to_thread(run, path, "keys", "rotate")
            assert result.exit_code == 1
            assert "1 of the processes that serve do not know" in result.stderr
            assert (await rings(path))[0] == (0, "newest")
            assert knowing.store.vault.ring[0]


async def test_a_rotation_that_was_killed_is_finished_by_the_next_and_everything_opens_meanwhile(
    tmp_path: Path, sink: Sink
) -> None:
    path = settings(tmp_path, sink, OLD)
    async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
        world = World(bridge, sink, client)
        await sealed(world, 1)
        await many(world, 2_000)
    settings(tmp_path, sink, NEW, OLD)
    async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
        world = World(bridge, sink, client)
        arguments = ("-m", "rmabridge", "keys", "rotate", "--batch", "5", "--config", str(path))
        killed = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=os.environ
        )
        assert killed.stderr
        for _ in range(3):
            assert b"left" in await killed.stderr.readline()
        killed.send_signal(signal.SIGKILL)
        await killed.communicate()
        (new, _), (old, _) = await rings(path)
        assert new >= 15 and old > 0, "it was killed in the middle"
        bridge.store.vault._open.clear()
        await sealed(world, 2)
        assert (await answer(path, "keys", "rotate"))["rewrapped"] >= old, "what came meanwhile may have the old key"
        assert (await rings(path))[1][0] == 0
    settings(tmp_path, sink, NEW)
    async with Running(load(path)) as bridge:
        ids = {f"k:{one:05}" for one in range(2_000)}
        bridge.store.keys_for(ids)
        assert all(bridge.store.vault.knows(one) for one in ids)


async def test_a_missing_master_key_is_named(tmp_path: Path, sink: Sink) -> None:
    path = settings(tmp_path, sink, OLD)
    async with Running(load(path)):
        pass
    settings(tmp_path, sink, NEW)
    result = await asyncio.to_thread(run, path, "keys", "list")
    assert (result.exit_code, "is not in the ring" in result.stderr) == (3, True)
