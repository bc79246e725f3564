"""What all policies together cost for each event that they are asked about: CPU of deciding, amending and reviewing.

Run as a script it is the bridge of ``servers.py`` with a clock around its policies: ``asking.py CONFIG FILE``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import servers
import uvloop

WRITTEN_EVERY = 0.25
TOLD = dict.fromkeys(("asked", "decide", "amend_and_review"), 0.0)


def watched(file: Path) -> None:
    """Put the clock (of the thread: what others do meanwhile does not count) around what asks the policies."""
    from rmabridge.core.judge import Judge

    proposals, weigh, clock = Judge.proposals, Judge.weigh, time.thread_time

    def asked(*given: Any, **named: Any) -> Iterator[Any]:
        found = proposals(*given, **named)
        TOLD["asked"] += 1
        while True:
            began = clock()
            one = next(found, None)
            TOLD["decide"] += clock() - began
            if one is None:
                return
            yield one

    def weighed(*given: Any, **named: Any) -> Any:
        began = clock()
        try:
            return weigh(*given, **named)
        finally:
            TOLD["amend_and_review"] += clock() - began

    def write() -> None:
        while True:
            time.sleep(WRITTEN_EVERY)
            new = file.with_suffix(".new")
            new.write_text(json.dumps(TOLD))
            new.replace(file)

    Judge.proposals, Judge.weigh = asked, weighed  # type: ignore[method-assign]
    threading.Thread(target=write, daemon=True).start()


def measured(root: Path, config: Callable[[], str], run: Any, count: int, rounds: int) -> dict[str, Any]:
    """The middle one of several runs on fresh databases; ``run`` is the module with the processes and the load."""
    found = [_once(root, config(), run, count) for _ in range(rounds)]
    middle = sorted(found, key=lambda one: one["ms_per_event_asked"])[len(found) // 2]
    return middle | {"runs": [one["ms_per_event_asked"] for one in found]}


def _once(root: Path, config: str, run: Any, count: int) -> dict[str, Any]:
    file, load_average = root / "policies.json", os.getloadavg()[0]
    with run.process(str(Path(__file__)), config, str(file)) as (_, told):
        run.load(told["port"], 9_000_000, 200, 16)
        before = _settled(root, file, run)
        run.load(told["port"], 1, count, 32)
        after = _settled(root, file, run)
    new = {name: after[name] - before[name] for name in TOLD}
    spent = new["decide"] + new["amend_and_review"]
    return {
        "ms_per_event_asked": round(spent / new["asked"] * 1000, 3),
        "ms_per_webhook": round(spent / count * 1000, 2),
        "events_asked_per_webhook": round(new["asked"] / count, 2),
        "python": sys.version.split()[0],
        "load": round(load_average, 2),
    }


def _settled(root: Path, file: Path, run: Any) -> dict[str, float]:
    run.drain(root / "bench.db")
    time.sleep(4 * WRITTEN_EVERY)
    found: dict[str, float] = json.loads(file.read_text())
    return found


if __name__ == "__main__":
    watched(Path(sys.argv[2]))
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(servers.bridge(sys.argv[1], "all"))
