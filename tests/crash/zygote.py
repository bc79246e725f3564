"""Imports the bridge once, then forks a serving process for each line on stdin, so that 50 restarts fit in a test.

What is forked runs the very code of ``rmabridge serve`` from its start; only the imports were made before. A line is a
JSON object: ``config`` and ``ready`` are paths; ``die`` names an instant (see ``INSTANTS``) and how often it passes
before the process kills itself there, ``house`` how many seconds lie between two housekeepings.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiosmtplib  # noqa: F401
import asyncpg  # noqa: F401
import jinja2  # noqa: F401
import rmabridge_http  # noqa: F401
import sqlalchemy.dialects.postgresql.asyncpg  # noqa: F401
from sqlalchemy.engine.default import DefaultDialect

import rmabridge.flow.bridge
import rmabridge.flow.timers
import rmabridge.store.replicas
import rmabridge.web.app
from rmabridge.cli.serve import _loop_factory, _serve
from rmabridge.config import load
from rmabridge.flow.bridge import ROLES
from rmabridge.log import configure
from rmabridge.store.store import Clock

PR_SET_PDEATHSIG = 1
# Where a process may be told to die: the driver's call that is concerned, and on which side of it.
INSTANTS: Final = {
    "before a commit": ("do_commit", True),
    "after a commit": ("do_commit", False),
    "before a statement": ("do_execute", True),
}


def die(instant: str, times: int) -> None:
    """Have this process kill itself when it comes to that instant for the so-manieth time."""
    name, before = INSTANTS[instant]
    plain: Callable[..., Any] = getattr(DefaultDialect, name)
    left = times

    def counting(*given: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        mine = left  # others come here while this call waits
        if mine == 0 and before:
            os.kill(os.getpid(), signal.SIGKILL)
        done = plain(*given, **named)
        if mine == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    setattr(DefaultDialect, name, counting)


def let_the_clock_jump(file: Path) -> None:
    """SIGUSR1: this process's clock is as many seconds off as the file says."""
    plain, off = Clock.now, timedelta()

    def jump(*_: object) -> None:
        nonlocal off
        off = timedelta(seconds=float(file.read_text()))

    def now(self: Clock) -> datetime:
        return plain(self) + off

    Clock.now = now  # type: ignore[method-assign]
    signal.signal(signal.SIGUSR1, jump)


def serve(order: dict[str, Any]) -> None:
    """What the command does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(2, 1)
    configure("ERROR")
    if order.get("die"):
        die(*order["die"])
    if house := order.get("house"):
        rmabridge.flow.timers.KEPT_EVERY = house
    let_the_clock_jump(Path(order["config"]).with_name("clock"))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(load(Path(order["config"])), Path(order["ready"]), ROLES))


def main() -> None:
    """Fork for each line; tell the process id."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("warm", flush=True)
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            serve(json.loads(line))
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
