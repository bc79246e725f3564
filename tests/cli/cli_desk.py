"""A configured bridge for the commands: its file on disk, and the commands run beside it as an operator would."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from click.testing import CliRunner, Result

from rmabridge.cli import main
from rmabridge.config import load
from rmabridge.flow.bridge import Running
from rmabridge.testing.simulators.sink import Sink
from stores import POSTGRES, empty
from worlds import SPINE, World, document

Run = Callable[..., Result]


def toml(value: Any) -> str:
    """A value in TOML; tables inline."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {toml(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def write(path: Path, doc: dict[str, Any]) -> Path:
    """A configuration file."""
    lines = []
    for kind, sections in doc.items():
        if kind in {"bridge", "routes"}:
            lines.append(f"{kind} = {toml(sections)}")
        else:
            lines += [f"{kind}.{name} = {toml(one)}" for name, one in sections.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def run(path: Path, *arguments: str, json_: bool = False) -> Result:
    """A command as a shell would run it; what goes wrong without being told in a line fails the test."""
    result = CliRunner().invoke(main, [*arguments, "--config", str(path), *(["--json"] if json_ else [])])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


class Desk:
    """An operator at a running bridge."""

    def __init__(self, path: Path, world: World) -> None:
        self.path, self.world = path, world

    async def run(self, *arguments: str) -> Result:
        """Run a command in another thread, as another process would."""
        return await asyncio.to_thread(run, self.path, *arguments)

    async def answer(self, *arguments: str) -> Any:
        """The command's JSON; it must end well."""
        result = await asyncio.to_thread(run, self.path, *arguments, json_=True)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    async def case(self) -> str:
        """The id of the newest case."""
        found: str = (await self.answer("cases", "list", "--all"))[0]["id"]
        return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose help desk and mail channel nobody answers."""
    return write(tmp_path / "rmabridge.toml", document(tmp_path, "http://127.0.0.1:9/", **_unused(tmp_path)))


def _unused(folder: Path) -> dict[str, Any]:
    """A database that nobody has served yet."""
    return {"database": empty(folder)} if POSTGRES else {}


@pytest.fixture
async def desk(tmp_path: Path, sink: Sink) -> AsyncIterator[Desk]:
    """A running bridge with its configuration file."""
    doc = document(tmp_path, sink.url, virtual_clock=True, policies=[*SPINE, "wording"])
    doc["shops"]["one"]["refund_limit"] = "500 CNY"
    doc["services"] = {"payer": {"plugin": "http", "url": sink.url, "allow_private": True, "calls": {"refund.pay": {}}}}
    doc["routes"] = [
        {"name": "crisis", "when": {"level": 3}, "then": {"group": "crisis"}},
        {"name": "others", "then": {"group": "support"}},
    ]
    path = write(tmp_path / "rmabridge.toml", doc)
    # The bridge's own lines must not come between those of a command that runs in the same process.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
        yield Desk(path, World(bridge, sink, client))
    structlog.reset_defaults()
