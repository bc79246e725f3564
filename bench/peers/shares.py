"""``shares.py RESULTS [RAW]``: where the CPU of a full event goes, by py-spy; RAW: a recording that exists already."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

EVENTS = 1500
WARM_UP = 100
# What a sample counts as: the first row of which a frame of its stack has the words.
PARTS = (
    ("policies decide and review", ("Judge.",)),
    ("POSTs leave", ("(rmabridge/flow/attempt.py",)),
    ("rows are written and sealed", ("Writer._commit", "(rmabridge/flow/writing.py")),
    (
        "deliveries are chosen and booked",
        tuple(f"(rmabridge/{one}.py" for one in ("flow/dispatcher", "flow/endings", "store/outbox", "store/queue")),
    ),
    ("events are folded into cases, proposals into the ledger", ("(rmabridge/flow/work.py",)),
    ("cases are loaded and matched", ("(rmabridge/flow/router.py",)),
    ("webhooks are taken", ("(rmabridge/web/", "(aiohttp/web_")),
)
REST = "the rest: timers, event loop"
# The recorder takes a thread for busy that waits for a lock, for work or for the disk.
WAITING = ("(threading.py", "_worker (concurrent/futures/thread.py", "do_commit (sqlalchemy/")


def shares(raw: str) -> dict[str, float]:
    """The share of each part in a recording of folded stacks."""
    found: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        if any(one in stack.rpartition(";")[2] for one in WAITING):
            continue
        part = next((name for name, words in PARTS if any(one in stack for one in words)), REST)
        found[part] += int(count)
    total = found.total() or 1
    return {name: round(found[name] / total, 3) for name in (*dict(PARTS), REST)}


def recorded() -> str:
    """A recording of the bridge with all default policies while events are worked off."""
    from run import HERE, drain, load, process, write_config

    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not spy:
        raise SystemExit("py-spy is not installed")
    with tempfile.TemporaryDirectory() as folder, process(str(HERE / "servers.py"), "sink") as (_, sink):
        root = Path(folder)
        config = write_config(root, sink["port"])
        with process(str(HERE / "servers.py"), "bridge", config) as (child, told):
            load(told["port"], 5_000_000, WARM_UP, 32)
            drain(root / "bench.db")
            options = ["--format", "raw", "--rate", "100", "--output", str(root / "raw")]
            watch = subprocess.Popen([spy, "record", "--pid", str(child.pid), *options], stdout=subprocess.DEVNULL)
            load(told["port"], 1, EVENTS, 32)
            drain(root / "bench.db")
            watch.send_signal(signal.SIGINT)
            watch.wait()
        return (root / "raw").read_text()


def main() -> None:
    """Measure, and put the shares beside the other figures."""
    results, *given = map(Path, sys.argv[1:])
    found = json.loads(results.read_text(encoding="utf-8")) if results.exists() else {}
    load = round(os.getloadavg()[0], 2)
    raw = given[0].read_text() if given else recorded()
    samples = sum(int(one.rpartition(" ")[2]) for one in raw.splitlines())
    found["profile"] = {"load": load, "samples": samples, "shares": shares(raw)}
    results.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
