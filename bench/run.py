"""``make bench``: what one process does on SQLite, beside a bare endpoint in the same run; printed as JSON.

The bridge, the sink, the bare endpoint and the load generator are processes of their own. CPU is the bridge's user and
system time from /proc. Nothing here is asserted: figures belong to the machine that made them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import asking
import parsing
import starting

HERE = Path(__file__).parent
TICK = os.sysconf("SC_CLK_TCK")
CONFIG = """
[bridge]
database = "{database}"
port = 0
most_waiting = 10000000
{policies}

[shops.one]
marketplace = "shop"
helpdesk = "desk"
channels = ["mail"]
timezone = "Asia/Shanghai"

[marketplaces.shop]
plugin = "webhook"
secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
{lane}
signature = {{ family = "standard" }}

[[marketplaces.shop.events]]
type = "case.requested"
key = "id"
at = "time"
refs = {{ return = "data.return", order = "data.order", buyer = "data.buyer.id" }}
set = {{ kind = "'return'", note = "data.note", order = "data.order_doc", buyer = "data.buyer" }}

[helpdesks.desk]
plugin = "http"
url = "{sink}/desk"
allow_private = true
in_flight = 32

[channels.mail]
plugin = "http"
url = "{sink}/mail"
allow_private = true
in_flight = 32
carries_forms = ["mail"]
"""


@contextmanager
def process(*arguments: str):  # type: ignore[no-untyped-def]
    """A child that prints one JSON line when it listens."""
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    try:
        line = child.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise SystemExit(f"{arguments} did not start")
        yield child, json.loads(line)
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()


def load(port: int, first: int, count: int, connections: int, rate: float | None = None) -> dict:
    """Run the load generator; its preparation is not timed."""
    extra = [str(rate)] if rate else []
    arguments = [
        str(HERE / "load.py"),
        "127.0.0.1",
        str(port),
        "/hooks/shop",
        str(first),
        str(count),
        str(connections),
        *extra,
    ]
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    child.stdout.readline()  # type: ignore[union-attr]
    out, _ = child.communicate("go\n")
    return json.loads(out)


def cpu(pid: int) -> float:
    """Seconds of CPU the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory(pid: int) -> float:
    """Resident memory in MB."""
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def left(database: Path) -> int:
    """What is still on its way."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as conn:
        query = (
            "SELECT (SELECT count(*) FROM inbox WHERE state='new') + "
            "(SELECT count(*) FROM outbox WHERE state IN ('due','sending'))"
        )
        found = conn.execute(query).fetchone()[0]
    conn.close()
    return int(found)


def drain(database: Path) -> None:
    """Wait until nothing is on its way."""
    while left(database):
        time.sleep(0.2)


PARTS = {"bare", "accepts", "full", "spine", "policies", "latency", "stored", "help", "parsing", "starting"}
ASKED = {"peers"}  # not without being asked: others must be installed first
SPINE = 'policies = ["routing", "returns", "first_reply", "helpdesk_sync", "tracking", "progress"]'


def write_config(root: Path, sink: int, policies: str = "", database: str = "") -> str:
    """A fresh database and its configuration; without ``policies`` all that are asked by default."""
    for one in root.glob("bench.*"):
        one.unlink()
    path = root / "rmabridge.toml"
    lane = 'lane = "data.return"' if database else ""  # by which several processes share the account's webhooks
    database = database or f"sqlite:///{root}/bench.db"
    path.write_text(CONFIG.format(database=database, sink=f"http://127.0.0.1:{sink}", policies=policies, lane=lane))
    return str(path)


def bare(warm: int, count: int) -> dict:
    """What the ceiling does."""
    with process(str(HERE / "servers.py"), "bare") as (child, told):
        load(told["port"], 1, warm, 32)
        before = cpu(child.pid)
        found = load(told["port"], 1, count, 32)
        found["cpu_ms_per_event"] = round((cpu(child.pid) - before) / count * 1000, 3)
    found.pop("sent_at")
    return found


def accepts(root: Path, sink: int, count: int, part: str, ceiling: dict | None) -> dict:
    """Accepts per second at 32 connections, and which share of the ceiling that is."""
    config = write_config(root, sink)
    with process(str(HERE / "servers.py"), "bridge", config, part) as (child, told):
        load(told["port"], 9_000_000, 500, 32)
        found = load(told["port"], 1, count, 32)
        found["rss_mb"] = round(memory(child.pid), 1)
    found.pop("sent_at")
    if ceiling:
        found["share_of_bare"] = round(found["per_second"] / ceiling["per_second"], 3)
    return found


def full(root: Path, sink: int, count: int, config: str, first: int) -> dict:
    """CPU of the bridge for each event, from the webhook to two recorded deliveries, saturated."""
    load_average = os.getloadavg()[0]
    with process(str(HERE / "servers.py"), "bridge", config) as (child, told):
        load(told["port"], first + 5_000_000, 300, 32)
        drain(root / "bench.db")
        before, started = cpu(child.pid), time.perf_counter()
        sent = load(told["port"], first, count, 32)
        drain(root / "bench.db")
        took, used = time.perf_counter() - started, cpu(child.pid) - before
        rss = memory(child.pid)
    return {
        "events": count,
        "cpu_ms_per_event": round(used / count * 1000, 3),
        "events_per_second": round(count / took, 1),
        "accepted_per_second_meanwhile": sent["per_second"],
        "ack_p99_ms": sent["p99_ms"],
        "rss_mb": round(rss, 1),
        "load": round(load_average, 2),
    }


def latency(root: Path, sink: int, count: int, runs: int, policies: str = "") -> dict:
    """Webhook to second delivery at 100 events a second; the median of several runs."""
    config = write_config(root, sink, policies)
    results = []
    with process(str(HERE / "servers.py"), "bridge", config) as (_, told):
        load(told["port"], 8_000_000, 200, 8)
        drain(root / "bench.db")
        for run in range(runs):
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{sink}/_forget", method="POST")).read()
            first = 20_000_000 + run * count
            sent = load(told["port"], first, count, 16, 100.0)["sent_at"]
            drain(root / "bench.db")
            seen = json.load(urllib.request.urlopen(f"http://127.0.0.1:{sink}/_seen"))
            times = sorted(
                (sorted(seen[str(first + n)])[1] - sent[n]) * 1000
                for n in range(count)
                if len(seen.get(str(first + n), ())) > 1
            )
            results.append((times[len(times) // 2], times[int(len(times) * 0.99)], len(times)))
    return {
        "p50_ms": round(statistics.median(one[0] for one in results), 2),
        "p99_ms": round(statistics.median(one[1] for one in results), 2),
        "runs": [[round(one[0], 1), round(one[1], 1), one[2]] for one in results],
    }


def full_events(root: Path, sink: int, count: int, database: str, rounds: int) -> dict:
    """The full event on the database that is asked for."""
    if database == "postgresql":
        return {"postgresql": shared(root, sink, count, rounds)}
    return {"full_event": full(root, sink, count, write_config(root, sink), 1)}


def shared(root: Path, sink: int, count: int, rounds: int) -> dict:
    """The full event on PostgreSQL, by one process and by two, in turns: of each the run in the middle, and all."""
    from peers import postgres

    found: dict = {}
    with postgres.server() as server:
        kinds = (("all", "", 1), ("all, two processes", "", 2), ("spine", SPINE, 1))
        for name, policies, processes in kinds * rounds:
            load_average = os.getloadavg()[0]
            database = server.database()
            config = write_config(root, sink, policies, database)
            run = postgres.full(server, config, database, count, processes) | {"load": round(load_average, 2)}
            found.setdefault(name, []).append(run)
    middle = {name: sorted(runs, key=lambda one: one["cpu_ms_per_event"])[rounds // 2] for name, runs in found.items()}
    return {name: one | {"runs": [each["cpu_ms_per_event"] for each in found[name]]} for name, one in middle.items()}


def compared(options: argparse.Namespace, scale: int) -> dict:
    """The same small job by the bridge and by what people use instead."""
    from peers.measure import compare

    return compare(options.tools, set(filter(None, options.peers.split(","))), options.rounds, scale)


COPIED = {
    "cases": {"id": "id||'~'||{n}"},
    "case_keys": {"k": "randomblob(16)", "case_id": "case_id||'~'||{n}"},
    "timeline": {"case_id": "case_id||'~'||{n}"},
    "messages": {"case_id": "case_id||'~'||{n}"},
    "outbox": {"id": "NULL", "case_id": "case_id||'~'||{n}"},
    "inbox": {"id": "NULL", "dedupe": "randomblob(16)"},
    "seen": {"k": "randomblob(16)"},
}


def multiply(database: Path, cases: int) -> None:
    """Grow the database to so many cases by copying all rows again and again, with fresh ids and keys."""
    conn = sqlite3.connect(database)
    conn.execute("PRAGMA synchronous = OFF")
    conn.execute("PRAGMA cache_size = -2000000")
    have = conn.execute("SELECT count(*) FROM cases").fetchone()[0]
    for table in COPIED:
        conn.execute(f"CREATE TEMP TABLE first_{table} AS SELECT * FROM {table}")
    for number in range(max(0, cases // have - 1)):
        for table, changed in COPIED.items():
            columns = [one[1] for one in conn.execute(f"PRAGMA table_info({table})")]
            names = ", ".join(f'"{one}"' for one in columns)
            values = ", ".join(changed.get(one, f'"{one}"').format(n=number) for one in columns)
            conn.execute(f"INSERT INTO {table} ({names}) SELECT {values} FROM first_{table}")
        conn.commit()
        print(f"{have * (number + 2)} cases stored", end="\r", file=sys.stderr)
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    conn.close()


def stored(root: Path, sink: int, count: int, cases: int) -> dict:
    """The full event on a database that has so many cases on disk."""
    config = write_config(root, sink)
    full(root, sink, 2000, config, 1)
    multiply(root / "bench.db", cases)
    size = round((root / "bench.db").stat().st_size / 1e9, 1)
    return {"cases": cases, "gigabytes": size, **full(root, sink, count, config, 40_000_000)}


def help_seconds() -> float:
    """How long the command line takes to say what it can."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "rmabridge", "--help"], capture_output=True, check=False)
    return time.perf_counter() - started


def parsed() -> list:
    """The times of ``parse``; the table goes to the error output."""
    found = parsing.rows()
    print(parsing.table(found), file=sys.stderr)
    return found


SCRIPTS = {"parsing": parsed, "starting": starting.measured}


def asked() -> argparse.Namespace:
    """What is to be measured, and how."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = ",".join(sorted(PARTS | ASKED))
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--stored", type=int, default=300_000, help="stored cases for the last figure; 0 leaves it out")
    parser.add_argument("--only", default="", help=f"comma-separated parts: {known}")
    parser.add_argument(
        "--database", default="sqlite", choices=("sqlite", "postgresql"), help="where 'full' keeps data"
    )
    parser.add_argument("--peers", default="", help="comma-separated peers; left out, all that are installed")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each peer, and of each line on PostgreSQL")
    tools = Path(tempfile.gettempdir()) / "rmabridge-peers"
    parser.add_argument("--tools", type=Path, default=tools, help="where bench/peers/install.sh put the peers")
    parser.add_argument("--results", type=Path, help="a JSON file that takes these figures beside those it has")
    options = parser.parse_args()
    options.parts = set(filter(None, options.only.split(","))) or PARTS
    if unknown := options.parts - PARTS - ASKED:
        parser.error(f"--only: no part {', '.join(sorted(unknown))}; there are {known}")
    return options


def main() -> None:
    """Measure and print."""
    options = asked()
    scale, parts = 10 if options.quick else 1, options.parts
    result: dict = {"cores": os.cpu_count(), "python": sys.version.split()[0]}
    with tempfile.TemporaryDirectory() as folder, process(str(HERE / "servers.py"), "sink") as (_, sink):
        root = Path(folder)
        if "bare" in parts:
            result["bare"] = bare(2000 // scale, 20_000 // scale)
        if "accepts" in parts:
            result["accepts_routing_idle"] = accepts(root, sink["port"], 15_000 // scale, "intake", result.get("bare"))
        if "peers" in parts:
            result["peers"] = compared(options, scale)
        if "full" in parts:
            result |= full_events(root, sink["port"], 3000 // scale, options.database, options.rounds)
        if "spine" in parts:
            config = write_config(root, sink["port"], SPINE)
            result["full_event_spine"] = full(root, sink["port"], 3000 // scale, config, 1)
        if "policies" in parts:
            config = partial(write_config, root, sink["port"])
            result["policies"] = asking.measured(root, config, sys.modules[__name__], 1000 // scale, options.rounds)
        if "latency" in parts:
            result["latency_at_100_per_second"] = latency(root, sink["port"], 1000 // scale, 5)
            result["latency_at_100_per_second_spine"] = latency(root, sink["port"], 1000 // scale, 5, SPINE)
        if "stored" in parts and options.stored:
            result["full_event_stored"] = stored(root, sink["port"], 3000 // scale, options.stored)
        if "help" in parts:
            result["help_seconds"] = round(help_seconds(), 3)
        result |= {name: script() for name, script in SCRIPTS.items() if name in parts}
    print(json.dumps(result, indent=2))
    if options.results:
        kept = json.loads(options.results.read_text()) if options.results.exists() else {}
        options.results.write_text(json.dumps(kept | result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
