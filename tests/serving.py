"""The bridge as a process of its own, to be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from rmabridge.config import read
from rmabridge.flow.batch import event_row
from rmabridge.model import Commanded
from rmabridge.store import inbox as inbox_store
from rmabridge.store.store import peek as peek_of
from stores import rows_of


def toml(value: Any) -> str:
    """A value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)


class Child:
    """``python -m rmabridge serve`` on a configuration; may be started, killed and started again."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.config, self.folder = config, folder
        self.file, self.ready = folder / "rmabridge.toml", folder / "ready.json"
        self.log = folder / "serve.log"
        self.file.write_text("".join(f"{name} = {toml(value)}\n" for name, value in config.items()), encoding="utf-8")
        self.url, self.process = "", None

    async def spawn(self) -> None:
        """Start the process; it is not ready yet."""
        self.ready.unlink(missing_ok=True)
        arguments = ("-m", "rmabridge", "serve", "--config", str(self.file), "--ready-file", str(self.ready))
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdout=log, stderr=log, env=os.environ | {"PYTHONUNBUFFERED": "1"}
            )

    async def start(self, seconds: float = 30) -> None:
        """Start the process and wait until it takes webhooks."""
        await self.spawn()
        await self.listening(seconds)

    async def listening(self, seconds: float = 30) -> None:
        """Wait until the process takes webhooks."""
        async with asyncio.timeout(seconds):
            while not self.ready.exists():
                assert self.process
                assert self.process.returncode is None, self.log.read_text()[-3000:]
                await asyncio.sleep(0.005)
        self.url = json.loads(self.ready.read_text())["url"]

    async def kill(self) -> None:
        """kill -9."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM, and wait for the end; the exit code."""
        assert self.process
        if self.process.returncode is None:
            self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), 30)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query on the database, read beside the process."""
        return rows_of(self.config["bridge"]["database"], query)

    async def until(self, query: str, wanted: list[tuple[Any, ...]], seconds: float = 20) -> None:
        """Wait until the query gives these rows."""
        async with asyncio.timeout(seconds):
            while self.rows(query) != wanted:
                await asyncio.sleep(0.02)

    def command(self, name: str, case: str | None = None, **args: Any) -> None:
        """Give a command as the command line does."""
        peek = peek_of(read(self.config).bridge)
        try:
            given = Commanded(
                key=f"cmd:{os.urandom(6).hex()}", at=peek.clock.now(), command=name, by="tester", args=args
            )

            def ask(conn: Any) -> None:
                key_id, now = peek.day_key(conn), peek.clock.micros()
                row = event_row(peek.vault, key_id, [given], "bridge", given.key, now, 0, case, "command")
                inbox_store.add(conn, [row])

            peek.write(ask)
        finally:
            peek.close()
