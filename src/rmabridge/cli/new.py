"""``rmabridge new``: a working plugin with green tests, to be changed line by line into your own."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from . import CANNOT, USAGE

# What configuration calls the section of each kind.
SECTIONS: Final = {
    "marketplace": "marketplaces",
    "helpdesk": "helpdesks",
    "carrier": "carriers",
    "channel": "channels",
    "service": "services",
    "policy": "policies",
}
NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST: Final = 30
# The skeletons are plugins of a vendor by this name.
MODEL: Final = "acme"


class BadName(click.ClickException):
    """Told in one line."""

    exit_code = USAGE


class Taken(click.ClickException):
    """Told in one line."""

    exit_code = CANNOT


@click.command()
@click.argument("kind", type=click.Choice(list(SECTIONS)))
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where to write; made if it is missing.",
)
def new(kind: str, name: str, folder: Path) -> None:
    """Write the first file of a new plugin, and its tests.

    NAME is in small letters, digits and underscores, such as sf_express.
    """
    check_name(name)
    written = write(kind, name, folder)
    for line in next_steps(kind, name, written):
        click.echo(line)


def check_name(name: str) -> None:
    """Refuse what is no name for a module or a configuration section."""
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        rule = f"small letters, digits and '_', at most {LONGEST}, such as sf_express"
        raise BadName(f"{name!r} is not a plugin's name: {rule}")
    if keyword.iskeyword(name):
        raise BadName(f"{name!r} is a word of Python's own; choose another name")


def write(kind: str, name: str, folder: Path) -> tuple[Path, Path]:
    """Write the plugin and its tests; nothing that is there already is touched."""
    paths = folder / f"rmabridge_{name}.py", folder / f"test_rmabridge_{name}.py"
    for path in paths:
        if path.exists():
            raise Taken(f"{path} is there already; remove it, or choose another name or --dir")
    folder.mkdir(parents=True, exist_ok=True)
    for path, skeleton in zip(paths, (kind, f"test_{kind}"), strict=True):
        path.write_text(filled(skeleton, name), encoding="utf-8")
    return paths


def filled(skeleton: str, name: str) -> str:
    """The skeleton's text with the model's name replaced."""
    text = files("rmabridge.testing").joinpath("skeletons", f"{skeleton}.py.txt").read_text(encoding="utf-8")
    title = "".join(part.capitalize() for part in name.split("_"))
    host = name.replace("_", "-")
    text = text.replace(f"{MODEL}.example", f"{host}.example").replace(f"X-{MODEL.title()}-", f"X-{host.title()}-")
    return text.replace(MODEL.title(), title).replace(MODEL, name)


def next_steps(kind: str, name: str, written: tuple[Path, Path]) -> list[str]:
    """What to do now."""
    plugin, tests = written
    section = SECTIONS[kind]
    steps = [
        f"wrote {plugin}",
        f"wrote {tests}",
        "",
        f"1. try it:       pytest {tests}",
        "2. configure it: in rmabridge.toml",
        "",
        "       [bridge]",
        f'       plugins_dir = "{plugin.parent.resolve()}"',
    ]
    if kind == "policy":
        from ..config import DEFAULT_POLICIES

        asked = ", ".join(f'"{one}"' for one in (*DEFAULT_POLICIES, name))
        steps.append(f"       policies = [{asked}]   # asked in this order")
    steps += [
        "",
        f"       [{section}.{name}]",
        f'       plugin = "{name}"',
        "",
        "3. change it line by line into your own, and run the tests after each",
        "4. share it:     a package with the entry point",
        "",
        "       [project.entry-points.rmabridge]",
        f'       {name} = "rmabridge_{name}"',
    ]
    return steps
