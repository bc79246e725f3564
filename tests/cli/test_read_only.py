"""Whoever may only read the SQLite file reads with the same commands, and is told what else is refused."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import aiohttp
import pytest
from cli_desk import write

from rmabridge.config import load
from rmabridge.flow.bridge import Running
from rmabridge.testing.simulators.sink import Sink
from worlds import KEY, World, a_return, document

# Permissions count for the administrator, too, without these.
RIGHTS = "-dac_override,-dac_read_search"
BOUND = ("setpriv", f"--inh-caps={RIGHTS}", f"--bounding-set={RIGHTS}") if os.geteuid() == 0 else ()
READING = (("cases", "list"), ("deliveries", "list"), ("audit", "verify"), ("audit", "export"), ("alerts",))
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or (bool(BOUND) and not shutil.which("setpriv")),
    reason="whoever runs the tests may write every file",
)


async def told(config: Path, *arguments: str) -> tuple[int, str]:
    """A command in a process that may write nothing that is closed to it: (exit code, what it said)."""
    process = await asyncio.create_subprocess_exec(
        *(*BOUND, sys.executable, "-m", "rmabridge", *arguments, "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode is not None
    return process.returncode, said


def closed(folder: Path) -> None:
    """Nothing in the folder may be written, and it takes no new file."""
    for one in folder.iterdir():
        if one.is_file():
            one.chmod(0o400)
    folder.chmod(0o500)


def configured(folder: Path, sink: Sink, *keys: str) -> Path:
    """A bridge on a file in a folder of its own."""
    (folder / "kept").mkdir()
    doc = document(folder, sink.url, database=f"sqlite:///{folder / 'kept' / 'bridge.db'}", keys=list(keys))
    return write(folder / "rmabridge.toml", doc)


async def read_all(config: Path) -> None:
    """Every reading command ends well, and an order is refused."""
    for one in READING:
        code, said = await told(config, *one)
        assert code == 0, (one, said)
    code, said = await told(config, "accounts", "pause", "shop")
    assert (code, said.count("\n")) == (4, 1) and "this user may only read its file" in said


@pytest.mark.row("S161")
async def test_a_file_that_may_only_be_read_is_read_while_it_is_served_and_after(tmp_path: Path, sink: Sink) -> None:
    config = configured(tmp_path, sink, KEY)
    async with Running(load(config)) as bridge, aiohttp.ClientSession() as client:
        world = World(bridge, sink, client)
        assert (await world.post(a_return()))[0] == 200
        await world.settle()
        closed(tmp_path / "kept")
        await read_all(config)
        (tmp_path / "kept").chmod(0o700)
    assert not (tmp_path / "kept" / "bridge.db-wal").exists()
    closed(tmp_path / "kept")
    await read_all(config)
    (tmp_path / "kept").chmod(0o700)


async def test_a_log_is_checked_by_who_may_not_read_the_key_file(tmp_path: Path, sink: Sink) -> None:
    config = configured(tmp_path, sink)
    async with Running(load(config)):
        pass
    key = tmp_path / "kept" / "bridge.key"
    key.chmod(0o000)
    assert await told(config, "audit", "verify") == (0, "0 entries checked: nothing was changed\nhead: \n")
    code, said = await told(config, "keys", "list")
    assert code == 3 and said.startswith("[bridge] keys: none are set")
