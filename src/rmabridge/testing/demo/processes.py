"""Child processes that cannot outlive the demo: each has a group of its own, and all groups are killed at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Failed(Exception):
    """The demo cannot go on, or found a difference."""


class Child:
    """One process with its own group; what it says goes to a log file."""

    def __init__(self, name: str, command: list[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-m", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise ``Failed`` if the process has ended."""
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines that it said."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-15:])

    def signal(self, which: signal.Signals) -> None:
        """Signal the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, which)

    def kill(self) -> None:
        """``kill -9`` the whole group, and wait for its end."""
        self.signal(signal.SIGKILL)
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    """A free port for each name."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name in names:
            held = stack.enter_context(socket.socket())
            held.bind(("127.0.0.1", 0))
            found[name] = int(held.getsockname()[1])
        return found


def run(command: list[str], folder: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[Any]:
    """Run a command of our own to its end."""
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=folder,
        env={**os.environ, **(env or {})},
        timeout=60,
        check=False,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
