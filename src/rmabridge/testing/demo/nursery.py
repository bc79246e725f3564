"""``python -m rmabridge.testing.demo.nursery FD``: forks every process of the demo from one that has imported all.

An interpreter with its imports costs a second of a processor, a fork of it a hundredth. Over the socket FD comes one
end of a connection for each process wanted; the first line on it is ``{"run", "argv", "folder", "log", "config"}``.
The child answers with its pid, a command in the end with its exit code and what it said. Where the socket is closed,
the demo is gone, and so is everything that was forked for it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

SIMULATORS = "rmabridge.testing.simulators"
BRIDGE = ("rmabridge.flow.bridge", "rmabridge.cli.serve", "rmabridge.store.store", "uvloop")


def main() -> None:
    """Fork until the demo is gone."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    children: set[int] = set()
    while True:
        _, given, _, _ = socket.recv_fds(control, 1, 1)
        if not given:
            break
        with socket.socket(fileno=given[0]) as connection:
            asked = json.loads(_line(connection))
            _import(asked)
            if pid := os.fork():
                children.add(pid)
                continue
            control.detach()
            os.close(int(sys.argv[1]))
            _live(connection, asked)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _line(connection: socket.socket) -> bytes:
    read = b""
    while not read.endswith(b"\n") and (more := connection.recv(65536)):
        read += more
    return read


def _import(asked: dict[str, Any]) -> None:
    """What the child needs, before it is forked; the bridge's plugins are those of its configuration."""
    if asked["run"] == SIMULATORS:
        importlib.import_module(f"{SIMULATORS}.{asked['argv'][0]}")
        return
    if "rmabridge.registry" in sys.modules:
        return
    for name in BRIDGE:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from rmabridge.config import load
    from rmabridge.registry import build

    with contextlib.suppress(Exception):  # the command itself says what is wrong with a configuration
        build(load(Path(asked["config"])))


def _live(connection: socket.socket, asked: dict[str, Any]) -> None:
    """The forked process: never returns."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(asked["folder"])
    connection.sendall(json.dumps({"pid": os.getpid()}).encode() + b"\n")
    code = 1
    try:
        code = _serve(connection, asked) if asked["log"] else _command(connection, asked)
    finally:
        os._exit(code)


def _serve(connection: socket.socket, asked: dict[str, Any]) -> int:
    """A server: what it says goes to its log, and its stdin ends with the demo."""
    with Path(asked["log"]).open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.dup2(connection.fileno(), 0)
    sys.stdin = os.fdopen(0, closefd=False)
    return _run(asked)


def _command(connection: socket.socket, asked: dict[str, Any]) -> int:
    """A command: what it says goes back over the connection."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = _run(asked)
    told = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
    connection.sendall(json.dumps(told).encode() + b"\n")
    return code


def _run(asked: dict[str, Any]) -> int:
    sys.argv = [asked["run"], *asked["argv"]]
    try:
        importlib.import_module(f"{asked['run']}.__main__" if asked["run"] == SIMULATORS else "rmabridge.cli").main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception:  # noqa: BLE001 - the process ends with it, as any other would
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    main()
