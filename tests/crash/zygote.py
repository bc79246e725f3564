"""Imports the bridge once, then forks a serving process for each line on stdin, so that 50 restarts fit in a test.

What is forked runs the very code of ``rmabridge serve`` from its start; only the imports were made before.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from pathlib import Path

import aiosmtplib  # noqa: F401
import jinja2  # noqa: F401
import rmabridge_http  # noqa: F401

import rmabridge.flow.bridge
import rmabridge.web.app  # noqa: F401
from rmabridge.cli.serve import _loop_factory, _serve
from rmabridge.config import load
from rmabridge.log import configure

PR_SET_PDEATHSIG = 1


def serve(config: Path, ready: Path) -> None:
    """What the command does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(2, 1)
    configure("ERROR")
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(load(config), ready))


def main() -> None:
    """Fork for each line; tell the process id."""
    config, ready = Path(sys.argv[1]), Path(sys.argv[2])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("warm", flush=True)
    for _ in sys.stdin:
        if (pid := os.fork()) == 0:
            serve(config, ready)
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
