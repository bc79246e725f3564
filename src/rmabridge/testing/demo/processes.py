"""Child processes that cannot outlive the demo: each has a group of its own, and all groups are killed at the end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PATIENCE: Final = 60.0


class Failed(Exception):
    """The demo cannot go on, or found a difference."""


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


class Nursery:
    """The process that others are forked from."""

    def __init__(self, folder: Path, config: Path, name: str) -> None:
        self.folder, self.config, self.log = folder, config, folder / f"{name}.log"
        self.control, theirs = socket.socketpair()
        self.lock = threading.Lock()
        with theirs, self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-m", "rmabridge.testing.demo.nursery", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    def fork(self, run: str, argv: list[str], log: Path | None = None) -> socket.socket:
        """A new process, running this module with these arguments; the connection to it."""
        asked = {"run": run, "argv": argv, "folder": str(self.folder), "config": str(self.config)}
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        try:
            with theirs, self.lock:
                socket.send_fds(self.control, [b"+"], [theirs.fileno()])
                ours.sendall(json.dumps(asked | {"log": str(log) if log else None}).encode() + b"\n")
        except OSError as error:
            ours.close()
            raise Failed(f"the nursery is gone: {error}\n{self.tail()}") from error
        return ours

    def command(self, argv: list[str]) -> Done:
        """Run a command of the bridge to its end."""
        with self.fork("rmabridge", argv) as connection, connection.makefile("rb") as answers:
            try:
                answers.readline()
                told = json.loads(answers.readline() or b"{}")
            except TimeoutError:
                told = {}
        return Done(told.get("code", 1), told.get("out", ""), told.get("err", f"it ended at once\n{self.tail()}"))

    def tail(self) -> str:
        """The last lines that it said."""
        return _tail(self.log)

    def stop(self) -> None:
        """End it, and with it all that is left of what it forked."""
        self.control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Child:
    """One server: a process with its own group; what it says goes to a log file."""

    def __init__(self, name: str, nursery: Nursery, run: str, argv: list[str]) -> None:
        self.name, self.nursery = name, nursery
        self.log = nursery.folder / f"{name}.log"
        self.connection = nursery.fork(run, argv, self.log)
        self._pid = 0

    @property
    def pid(self) -> int:
        """Its process id, once it lives."""
        if not self._pid:
            with contextlib.suppress(TimeoutError):
                line = b""
                while not line.endswith(b"\n") and (one := self.connection.recv(1)):
                    line += one
                self._pid = int(json.loads(line or b"{}").get("pid", 0))
        return self._pid

    def check(self) -> None:
        """Raise ``Failed`` if the process has ended."""
        if self.connection.fileno() < 0 or (self.pid and self._ended()):
            raise Failed(f"{self.name} ended:\n{self.tail()}")
        if not self._pid:
            raise Failed(f"{self.name} did not start:\n{self.nursery.tail()}")

    def _ended(self) -> bool:
        """Nobody sends anything more on the connection, so whatever can be read is its end."""
        return bool(select.select([self.connection], [], [], 0)[0])

    def tail(self) -> str:
        """The last lines that it said."""
        return _tail(self.log)

    def kill(self) -> None:
        """``kill -9`` the whole group, and wait for its end, which closes the connection."""
        if self.connection.fileno() < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            if self.pid:
                os.killpg(self.pid, signal.SIGKILL)
        with self.connection, contextlib.suppress(OSError):
            while self.connection.recv(4096):
                pass


def _tail(log: Path) -> str:
    said = log.read_text("utf-8", "replace") if log.exists() else ""
    return "\n".join(said.splitlines()[-15:])


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    """A free port for each name."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name in names:
            held = stack.enter_context(socket.socket())
            held.bind(("127.0.0.1", 0))
            found[name] = int(held.getsockname()[1])
        return found
