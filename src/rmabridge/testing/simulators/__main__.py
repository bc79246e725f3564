"""``python -m rmabridge.testing.simulators NAME``: one simulator as a process of its own.

``--json '{…}'`` are the arguments of the simulator's constructor. The first line on stdout is ``{"url": …}``, with
``smtp_port`` where it takes mails. It ends on SIGTERM, on Ctrl-C and, with
``--with-parent``, when its stdin is closed: then it cannot outlive the program that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import threading
from typing import Any

from .library import NoSimulator, simulator
from .server import Simulator


async def run(name: str, arguments: dict[str, Any], ports: dict[str, Any], *, with_parent: bool = False) -> None:
    """Serve until told to end."""
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, over.set)
    if with_parent:
        threading.Thread(target=_wait_for_parent, args=(loop, over), daemon=True).start()
    async with await _known(name)(**arguments).start(**ports) as made:
        told = {"url": made.url} | ({"smtp_port": port} if (port := getattr(made, "smtp_port", 0)) else {})
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        await over.wait()


def _known(name: str) -> type[Simulator]:
    try:
        return simulator(name)
    except NoSimulator as error:
        raise SystemExit(str(error)) from None


def _wait_for_parent(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(over.set)


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m rmabridge.testing.simulators", description=__doc__)
    parser.add_argument("name", help="module of the simulator: shopify, zendesk, kdniao, mail, sink …")
    parser.add_argument("--json", default="{}", help="constructor arguments, a JSON object")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; a free one if left out")
    parser.add_argument("--smtp-port", type=int, default=None, help="port for mails (mail only)")
    parser.add_argument("--with-parent", action="store_true", help="end when stdin is closed")
    given = parser.parse_args()
    ports: dict[str, Any] = {"port": given.port} | ({} if given.smtp_port is None else {"smtp_port": given.smtp_port})
    asyncio.run(run(given.name, json.loads(given.json), ports, with_parent=given.with_parent))


if __name__ == "__main__":
    main()
