"""What every command is given: the configuration, the database and where its answer goes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from functools import cached_property
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import CommandError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ..config import Config
    from ..registry import Registry
    from ..store.store import Peek

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class App:
    """One call of a command."""

    def __init__(self, path: Path, *, as_json: bool) -> None:
        self.path, self.as_json = path, as_json

    @cached_property
    def config(self) -> Config:
        """The checked configuration."""
        from ..config import load

        return load(self.path)

    @cached_property
    def registry(self) -> Registry:
        """The configured accounts."""
        from ..registry import build

        return build(self.config)

    @cached_property
    def store(self) -> Peek:
        """The database beside a running bridge."""
        from ..store.store import peek

        return peek(self.config.bridge)

    @property
    def has_store(self) -> bool:
        """Whether there is a database yet."""
        from ..store.store import exists

        return exists(self.config.bridge)

    def close(self) -> None:
        """Let go of the database."""
        if "store" in self.__dict__:
            self.store.close()

    def read(self, job: Callable[[Connection], T]) -> T:
        """Run a reading job."""
        return self.store.read(job)

    def open(self, key_id: str, sealed: bytes) -> bytes | None:
        """Decrypted bytes; None where the buyer was erased."""
        from ..store.vault import Erased

        self.store.keys_for({key_id})
        try:
            return self.store.vault.open(key_id, sealed)
        except Erased:
            return None

    def account(self, name: str) -> Any:
        """A configured account."""
        found = self.registry.accounts.get(name)
        if found is None:
            raise CommandError(f"{name}: no such account; there are {', '.join(sorted(self.registry.accounts))}")
        return found

    def case(self, text: str) -> str:
        """The id of the case meant by an id or by the beginning of one."""
        from ..store import cases

        if not text.strip():
            raise CommandError("name a case, by its id or the beginning of one")
        found = self.read(lambda conn: cases.find(conn, text))
        if text.upper() in found or len(found) == 1:
            return text.upper() if text.upper() in found else found[0]
        raise CommandError(f"{text}: {'several cases: ' + ', '.join(sorted(found)) if found else 'no such case'}")


def command(function: F) -> F:
    """Give a command ``--config`` and ``--json``, and an ``App`` as its first argument."""

    @click.option(
        "--config",
        "config_",
        type=click.Path(path_type=Path, dir_okay=False),
        default="rmabridge.toml",
        envvar="RMABRIDGE_CONFIG",
        show_envvar=True,
        show_default=True,
        help="The configuration file.",
    )
    @click.option("--json", "json_", is_flag=True, help="Answer in JSON.")
    @functools.wraps(function)
    def with_app(config_: Path, json_: bool, **arguments: Any) -> Any:
        app = App(config_, as_json=json_)
        if isinstance(sys.stdout, TextIOWrapper):  # a terminal that cannot show all of Unicode; JSON is UTF-8 anywhere
            sys.stdout.reconfigure(encoding="utf-8" if json_ else None, errors="replace")
        try:
            return function(app, **arguments)
        finally:
            app.close()

    return with_app  # type: ignore[return-value]
