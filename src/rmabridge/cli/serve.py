"""``rmabridge serve``: run the bridge until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .app import App, command

if TYPE_CHECKING:
    from ..config import Config


@click.command()
@click.option("--dry-run", is_flag=True, help="Receive, decide and show, but let nothing leave.")
@click.option("--host", help="Address to listen on, instead of [bridge] host.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on, instead of [bridge] port.")
@click.option("--ready-file", type=click.Path(path_type=Path, dir_okay=False), help="Written once webhooks are taken.")
@click.option(
    "--only",
    metavar="ROLES",
    help="Do only some of the work, where other processes serve the same database: intake,router,dispatcher,pollers.",
)
@command
def serve(
    app: App, dry_run: bool, host: str | None, port: int | None, ready_file: Path | None, only: str | None
) -> None:
    """Run the bridge; SIGTERM or Ctrl-C ends it after what is under way."""
    gc.disable()  # what is built until the start stays; the bridge turns it on again
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else it looks for some in every installed package
    with _without("rich", "httpx._main"), _without_certificates():
        import aiohttp  # noqa: F401

        from ..log import configure

        config = _changed(app.config, dry_run, host, port)
    roles = _roles(config, only)
    configure(config.bridge.log_level)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(config, ready_file, roles))


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Libraries draw in these for people at a terminal, if they are there: a tenth of the time until the start."""
    missing = [one for one in names if one not in sys.modules]
    sys.modules |= dict.fromkeys(missing)  # type: ignore[arg-type]  # what is None there cannot be imported
    try:
        yield
    finally:
        for one in missing:
            sys.modules.pop(one, None)


@contextmanager
def _without_certificates() -> Iterator[None]:
    """aiohttp reads the machine's certificates, twice, while it is imported: a tenth of the time until the start."""
    name = "SSL_CERT_FILE"
    given = os.environ.get(name)
    os.environ[name] = os.devnull
    try:
        yield
    finally:
        os.environ.pop(name)
        if given is not None:
            os.environ[name] = given


def _trust() -> None:
    """What aiohttp did not read then, for plugins that make sessions of their own; before any of them is called."""
    from ssl import SSLContext

    from aiohttp import connector

    for one in vars(connector).values():
        if isinstance(one, SSLContext):
            one.load_default_certs()


def _roles(config: Config, only: str | None) -> tuple[str, ...]:
    from ..flow.bridge import ROLES

    if only is None:
        return ROLES
    named = tuple(one.strip() for one in only.split(","))
    if odd := [one for one in named if one not in ROLES]:
        raise click.BadParameter(f"{odd[0]!r} is no role; there are {', '.join(ROLES)}", param_hint="--only")
    if not config.bridge.shared and set(named) != set(ROLES):
        raise click.BadParameter("a SQLite file is served by one process, which does everything", param_hint="--only")
    return named


def _changed(config: Config, dry_run: bool, host: str | None, port: int | None) -> Config:
    given: dict[str, Any] = {"dry_run": dry_run or None, "host": host, "port": port}
    changes = {name: value for name, value in given.items() if value is not None}
    return replace(config, bridge=config.bridge.model_copy(update=changes))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(config: Config, ready_file: Path | None, roles: tuple[str, ...]) -> None:
    from ..flow.bridge import Running

    stop = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, _stop, stop, one)
    async with Running(config, roles=roles) as bridge:
        line = json.dumps({"url": bridge.url, "pid": os.getpid()})
        if ready_file:
            _announce(ready_file, line)
        click.echo(line)
        _trust()
        try:
            await stop.wait()
        finally:
            _withdraw(ready_file)
        await bridge.leave()


def _withdraw(path: Path | None) -> None:
    if path:
        with suppress(FileNotFoundError):
            path.unlink()


def _stop(stop: asyncio.Event, which: signal.Signals) -> None:
    """The first signal drains; the same one again ends the process at once."""
    asyncio.get_running_loop().remove_signal_handler(which)
    signal.signal(which, signal.SIG_DFL)
    stop.set()


def _announce(path: Path, line: str) -> None:
    """Whole or not at all: whoever waits for the file may read it at once."""
    made = path.with_name(f"{path.name}.{os.getpid()}")
    made.write_text(f"{line}\n", encoding="utf-8")
    made.replace(path)
