"""``rmabridge new``: a working plugin with green tests, to be changed line by line into your own."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Final

import click

from . import CANNOT, USAGE
from .new_files import ALONE, SECTIONS, planned, settings

NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST: Final = 30


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
@click.option("--package", is_flag=True, help="Write a package that can be installed and shared.")
def new(kind: str, name: str, folder: Path, package: bool) -> None:
    """Write the first file of a new plugin, its tests, a simulator of the vendor and a page on it.

    NAME is in small letters, digits and underscores, such as sf_express.
    """
    check_name(name)
    written = planned(kind, name, folder, package=package)
    write(written)
    for line in next_steps(kind, name, list(written), package=package):
        click.echo(line)


def check_name(name: str) -> None:
    """Refuse what is no name for a module or a configuration section."""
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        rule = f"small letters, digits and '_', at most {LONGEST}, such as sf_express"
        raise BadName(f"{name!r} is not a plugin's name: {rule}")
    if keyword.iskeyword(name):
        raise BadName(f"{name!r} is a word of Python's own; choose another name")


def write(planned: dict[Path, str]) -> None:
    """Write the files; where one of them is there already nothing is touched."""
    for path in planned:
        if path.exists():
            raise Taken(f"{path} is there already; remove it, or choose another name or --dir")
    for path, text in planned.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def next_steps(kind: str, name: str, written: list[Path], *, package: bool) -> list[str]:
    """What to do now."""
    here = written[0].parent
    if package:
        steps = [f"try it:        cd {here.parent} && pytest", f"install it:    pip install -e {here.parent}"]
        share = "share it:      pip wheel . builds what others install"
    else:
        steps = [f"try it:        pytest {here / f'test_rmabridge_{name}*.py'}"]
        share = f"share it:      rmabridge new {kind} {name} --package writes a package"
    lines = settings(kind, name, None if package else here.resolve())
    steps += ["configure it:  in rmabridge.toml\n\n" + "\n".join(f"       {one}".rstrip() for one in lines) + "\n"]
    if kind not in ALONE:
        steps.append(f"try the bridge: rmabridge simulate {name} is a small vendor on this machine")
    steps += ["change it line by line into your own, and run the tests after each", share]
    return [*(f"wrote {one}" for one in written), "", *(f"{number}. {one}" for number, one in enumerate(steps, 1))]
