"""The measuring: several runs of each contender in turn, then what kill -9 leaves of what was acknowledged."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from load import Run

from . import tree
from .contenders import CONTENDERS, SERVERS, Contender, Place
from .job import request, texted

CONNECTIONS = 32
ROUNDS = 3
KILLED = 200
WARM_UP = 10
PATIENCE = 180.0
STILL = 20.0
MEDIANS = ("accepted_per_second", "p50_ms", "p99_ms", "deliveries_per_second", "cpu_ms_per_event", "memory_mb", "load")


class DidNotStart(Exception):
    """A contender that does not come up; the others are compared without it."""


def free_port() -> int:
    """A port that nobody listens at, nor at the next one."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            try:
                two.bind(("127.0.0.1", one.getsockname()[1] + 1))
            except OSError:
                continue
            return int(one.getsockname()[1])


class Sink:
    """The sink as the measuring sees it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def turn(self, how: str) -> None:
        """Open, shut, or forget."""
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/_turn/{how}", method="POST")).read()

    def seen(self, first: int, count: int) -> dict[str, float]:
        """What arrived of these events."""
        with urllib.request.urlopen(f"{self.url}/_seen?first={first}&count={count}") as answer:
            return json.load(answer)  # type: ignore[no-any-return]


@contextmanager
def running(command: list[str], port: int, env: dict[str, str], out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process, from when its port answers; at the end the whole tree is killed."""
    with out.open("ab") as told:
        child = subprocess.Popen(command, env=os.environ | env, stdin=subprocess.DEVNULL, stdout=told, stderr=told)
    try:
        listening(child, port, out)
        yield child
    finally:
        tree.kill(child.pid)
        child.wait()


def listening(child: subprocess.Popen[bytes], port: int, out: Path) -> None:
    """Wait until somebody listens."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and child.poll() is None:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise DidNotStart(f"did not start: {out.read_text(errors='replace')[-200:]}")


def answering(contender: Contender, place: Place) -> None:
    """Wait until webhooks are taken: some listen before they know their flows."""
    until = time.monotonic() + PATIENCE
    while not taken(contender, place):
        if time.monotonic() > until:
            raise DidNotStart("takes no webhooks")
        time.sleep(0.5)


def taken(contender: Contender, place: Place) -> bool:
    """Whether one webhook is acknowledged."""
    try:
        return accepted(send(contender, place, 90_000_000, 1, 1, 3.0)) == 1
    except (OSError, TimeoutError, IndexError):  # refused, no answer, or the connection closed without one
        return False


def send(
    contender: Contender, place: Place, first: int, count: int, connections: int = CONNECTIONS, limit: float = 600
) -> dict:
    """Send so many events as fast as they are taken."""
    run = Run([request(number, contender.path) for number in range(first, first + count)], connections, None)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(run.go("127.0.0.1", place.port), limit))


def accepted(sent: dict) -> int:
    """How many were acknowledged."""
    return sum(count for status, count in sent["statuses"].items() if status.startswith("2"))


def expected(first: int, count: int) -> int:
    """How many deliveries so many events make."""
    return count + sum(texted(number) for number in range(first, first + count))


def arrived(contender: Contender, place: Place, sink: Sink, first: int, count: int) -> dict[str, float]:
    """Wait until all is delivered and nothing is on its way, or nothing more comes."""
    if not contender.delivers:
        return {}
    seen, moved, most = sink.seen(first, count), time.monotonic(), -1
    while seen["desk"] + seen["sms"] < expected(first, count) or contender.left(place):
        if seen["posts"] != most:
            most, moved = int(seen["posts"]), time.monotonic()
        if time.monotonic() - moved > (PATIENCE if contender.left(place) else STILL):
            break
        time.sleep(0.1)
        seen = sink.seen(first, count)
    return seen


def one_run(contender: Contender, place: Place, sink: Sink, first: int, count: int) -> dict:
    """One measured run of a warm contender."""
    start = contender.start(place)
    with running(start.command, place.port, start.env, place.folder / "out") as child:
        answering(contender, place)
        warm = max(20, count // WARM_UP)
        send(contender, place, first + 50_000_000, warm)
        arrived(contender, place, sink, first + 50_000_000, warm)
        sink.turn("forget")
        load, before, began = os.getloadavg()[0], tree.cpu(child.pid), time.time()
        sent = send(contender, place, first, count)
        seen = arrived(contender, place, sink, first, count)
        time.sleep(1)
        found = figures(sent, seen, began, count)
        used = tree.cpu(child.pid) - before
        held = tree.memory(child.pid)
    return {
        **found,
        "cpu_ms_per_event": round(used / count * 1000, 3),
        "memory_mb": round(held, 1),
        "load": round(load, 2),
    }


def figures(sent: dict, seen: dict[str, float], began: float, count: int) -> dict:
    """What the sender and the sink saw."""
    share = accepted(sent) / max(1, sent["requests"])
    found = {
        "events": count,
        "accepted": accepted(sent),
        "accepted_per_second": round(sent["per_second"] * share, 1),
        "p50_ms": sent["p50_ms"],
        "p99_ms": sent["p99_ms"],
    }
    if seen:
        delivered = int(seen["desk"] + seen["sms"])
        found |= {"delivered": delivered, "posts": int(seen["posts"])}
        found["deliveries_per_second"] = round(delivered / max(1e-3, seen["last"] - began), 1)
    return found


def killed(contender: Contender, place: Place, sink: Sink, first: int, count: int) -> dict:
    """The help desk is away, events are acknowledged, kill -9; then both come back."""
    start = contender.start(place)
    out = place.folder / "out"
    with running(start.command, place.port, start.env, out) as child:
        answering(contender, place)
        sink.turn("shut")
        sent = send(contender, place, first, count)
        tree.kill(child.pid)
    sink.turn("forget")
    sink.turn("open")
    if contender.kept:
        return {"acknowledged": accepted(sent), "survived": contender.kept(place) - 1}
    if not contender.delivers:
        return {"acknowledged": accepted(sent), "survived": 0}
    with running(start.command, place.port, start.env, out):
        seen = arrived(contender, place, sink, first, count) if accepted(sent) else {"desk": 0, "sms": 0}
    return {"acknowledged": accepted(sent), "survived": int(seen["desk"]), "texts": int(seen["sms"])}


def median(runs: list[dict]) -> dict:
    """The median of each figure of several runs."""
    names = [one for one in MEDIANS if all(one in run for run in runs)]
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in names}


@contextmanager
def placed(contender: Contender, sink: int, tools: Path) -> Iterator[Place]:
    """A fresh directory and port."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place = Place(Path(folder), free_port(), sink, tools)
        try:
            contender.prepare(place)
        except (OSError, subprocess.CalledProcessError) as error:
            raise DidNotStart(f"was not set up: {error.__class__.__name__}") from error
        yield place


def compare(tools: Path, names: set[str], rounds: int, scale: int) -> dict:
    """All contenders that are installed, in turn, so that a busy minute hits them alike."""
    asked = [one for one in CONTENDERS if not names or one.name in names]
    nowhere = Place(tools, 0, 0, tools)
    left_out = {one.title: reason for one in asked if (reason := one.missing(nowhere))}
    taken = [one for one in asked if one.title not in left_out]
    runs: dict[str, list[dict]] = {one.name: [] for one in taken}
    deaths: dict[str, dict] = {}
    port = free_port()
    with running([sys.executable, SERVERS, "sink", str(port)], port, {}, Path(os.devnull)):
        sink = Sink(port)
        for number in range(rounds + 1):
            for one in list(taken):
                count = max(20, one.events // scale)
                try:
                    with placed(one, port, tools) as place:
                        if number < rounds:
                            runs[one.name].append(one_run(one, place, sink, number * count, count))
                        else:
                            deaths[one.name] = killed(one, place, sink, 70_000_000, min(KILLED, count))
                except DidNotStart as error:
                    left_out[one.title] = str(error)
                    taken.remove(one)
                else:
                    print(one.name, (runs[one.name][-1:], deaths.get(one.name)), file=sys.stderr, flush=True)
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "rounds": rounds,
        "connections": CONNECTIONS,
        "left_out": left_out,
        "contenders": [
            {
                "name": one.name,
                "title": one.title,
                "version": one.version(nowhere),
                **median(runs[one.name]),
                "kill": deaths[one.name],
                "runs": runs[one.name],
            }
            for one in taken
        ],
    }
