"""``rmabridge simulate``: one vendor on this machine, with faults."""

from __future__ import annotations

import asyncio
import inspect
import re
import signal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..errors import CommandError
from .app import App, command
from .output import dumped, table

if TYPE_CHECKING:
    from ..abilities import Plugin
    from ..testing.simulators.server import Simulator

GIVEN: Final = re.compile(r"(?P<name>[\w -]+?)(?::(?P<times>\d+))?")


@click.command()
@click.argument("vendor", required=False)
@click.option("--list", "list_", is_flag=True, help="Which simulators and faults there are.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on; a free one if left out.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME[:TIMES]",
    help="What goes wrong, and how often; once if left out, 0: for ever. May be given several times.",
)
@click.option("--hook", metavar="URL", help="Where webhooks go: …/hooks/ACCOUNT of a bridge.")
@command
def simulate(app: App, vendor: str | None, list_: bool, port: int, faults: tuple[str, ...], hook: str | None) -> None:
    """Run a simulator of one vendor until Ctrl-C, with faults if you like.

    It speaks the vendor's API on this machine, keeps books and sends signed webhooks. It prints its address, what you
    can make happen there, and the lines of rmabridge.toml that point an account at it. Beside the shipped ones it knows
    those of installed plugin packages, and plugins_dir/simulator_VENDOR.py.
    """
    if list_:
        _show_all(app)
        return
    if vendor is None:
        raise click.UsageError("name a VENDOR, or use --list")
    asyncio.run(_run(app, vendor, _made(app, vendor, hook, faults), port))


def _plugins_dir(app: App) -> Path | None:
    return app.config.bridge.plugins_dir if app.path.exists() else None


def _show_all(app: App) -> None:
    from ..testing.simulators.faults import KINDS
    from ..testing.simulators.library import simulators

    rows = [{"name": name, "what": f"simulator ({origin})"} for name, origin in simulators(_plugins_dir(app)).items()]
    table(app, [*rows, *({"name": name, "what": f"fault: {told}"} for name, told in KINDS.items())], ("name", "what"))


def _made(app: App, vendor: str, hook: str | None, faults: tuple[str, ...]) -> Simulator:
    """The simulator, with its faults on."""
    from ..testing.simulators.faults import NoSuchFault
    from ..testing.simulators.library import NoSimulator, simulator

    try:
        made = simulator(vendor, _plugins_dir(app))()
    except NoSimulator as error:
        raise CommandError(str(error)) from None
    made.hook = hook or made.hook
    for one in faults:
        found = GIVEN.fullmatch(one.strip())
        if found is None:
            raise click.UsageError(f"--fault {one!r} is not NAME or NAME:TIMES")
        try:
            made.faults.add(found["name"], int(found["times"] or 1))
        except NoSuchFault as error:
            raise click.UsageError(f"--fault {error}") from None
    return made


async def _run(app: App, vendor: str, made: Simulator, port: int) -> None:
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, over.set)
    async with await made.start(port):
        _tell(app, vendor, made)
        await over.wait()


def _tell(app: App, vendor: str, made: Simulator) -> None:
    """What a developer needs to use it."""
    kind, settings = account_of(made, _plugins_dir(app))
    section = f"{kind}.{vendor}"
    doings = {name.removeprefix("do_"): _arguments(one) for name, one in _doings(made)}
    if app.as_json:
        on = [{"name": one.name, "times": one.times} for one in made.faults.on]
        told = {"url": made.url, "section": section, "account": settings, "do": doings, "faults": on}
        click.echo(dumped(told, indent=None))
        return
    click.echo(f"{vendor} at {made.url}; its books: {made.url}/_books; Ctrl-C ends it\n")
    click.echo(f"An account in {app.path.name}:\n\n[{section}]")
    for name, value in settings.items():
        click.echo(f"{name} = {dumped(value, indent=None)}")
    click.echo(f"\nMake something happen with POST {made.url}/_do/NAME, arguments as a JSON object:\n")
    for name, one in _doings(made):
        click.echo(f"  {name.removeprefix('do_')}({', '.join(_arguments(one))})\n      {_first_line(one)}")
    click.echo(f"\nFaults: GET, POST and DELETE {made.url}/_fault; on now: {_on(made)}")


def _on(made: Simulator) -> str:
    return ", ".join(f"{one.name} ({one.times or 'for ever'})" for one in made.faults.on) or "none"


def _doings(made: Simulator) -> list[tuple[str, Any]]:
    return [(name, one) for name, one in inspect.getmembers(made, callable) if name.startswith("do_")]


def _arguments(method: Any) -> list[str]:
    """``name=default`` of each argument."""
    given = inspect.signature(method).parameters.values()
    return [
        one.name if one.default is one.empty else f"{one.name}={dumped(one.default, indent=None)}"
        for one in given
        if one.kind is not one.VAR_KEYWORD
    ]


def _first_line(method: Any) -> str:
    return (inspect.getdoc(method) or "").partition("\n")[0]


def account_of(made: Simulator, plugins_dir: Path | None = None) -> tuple[str, dict[str, Any]]:
    """The kind and the settings of an account that uses this simulator."""
    name, given = made.plugin or made.name, made.account_settings()
    kind, plugin = _plugin(name, plugins_dir)
    if plugin is None:
        return kind, {"plugin": name, **given}
    known = {one: given[one] for one in given if one in plugin.model_fields}
    return kind, {"plugin": name, **known, **({} if _complete(plugin, known) else _shared(plugin, made, known))}


def _complete(plugin: type[Plugin], settings: dict[str, Any]) -> bool:
    try:
        plugin.model_validate(settings)
    except ValueError:
        return False
    return True


def _shared(plugin: type[Plugin], made: Simulator, known: dict[str, Any]) -> dict[str, Any]:
    """What the plugin's settings and the simulator call by the same name."""
    from ..abilities import Plugin

    has = {**vars(type(made)), **vars(made)}
    own = (set(plugin.model_fields) - set(Plugin.model_fields)) & set(has) - set(known)
    return {one: has[one] for one in sorted(own) if _plain(has[one])}


def _plain(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


@cache
def _plugin(name: str, plugins_dir: Path | None) -> tuple[str, type[Plugin] | None]:
    """The kind and the class of a plugin; what is not installed is a marketplace that we know nothing of."""
    from ..config import KINDS
    from ..loading import load, sources
    from ..registry import classes

    if (source := sources(plugins_dir).get(name)) is not None:
        module = load(source)
        for kind in KINDS:
            if found := classes(module, kind):
                return kind, found[0]
    return "marketplaces", None
