"""``make chaos``: faults of every kind, counted; printed, kept in docs/reliability.json and put into the documents.

``PYTHONPATH=tests:tests/crash python -m chaos --only kills --kills 60 --stores sqlite`` runs a part of it.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from . import kills, machine, replicas, servers, soak, vendors
from .tables import Table, keep, write_pages

SECTIONS: Final[dict[str, Callable[[Any], Awaitable[list[Table]]]]] = {
    "kills": lambda given: kills.kills(given.stores.split(","), given.kills, given.most),
    "migrations": lambda given: kills.migrations(given.stores.split(","), given.kills // 10),
    "replicas": lambda given: replicas.replicas(given.rounds),
    "machine": lambda given: machine.machine(given.faults),
    "vendors": lambda _: vendors.vendors(),
    "day": lambda _: vendors.day(),
    "servers": lambda _: servers.servers(),
    "soak": lambda given: soak.soak(given.stores.split(",")[0], given.minutes, given.rate),
}


def main() -> None:
    """Run the sections that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--kills", type=int, default=300, help="kills per store")
    parser.add_argument("--most", type=float, default=60, help="minutes for the kills of one store")
    parser.add_argument("--stores", default="sqlite,postgresql")
    parser.add_argument("--faults", default="", help="a part of the names of the machine's faults that are meant")
    parser.add_argument("--minutes", type=float, default=15, help="of the soak")
    parser.add_argument("--rate", type=float, default=100, help="events a second of the soak")
    parser.add_argument("--rounds", type=int, default=10, help="faults of each kind among the replicas")
    given = parser.parse_args()
    for name in filter(None, given.only.split(",")):
        began = time.monotonic()
        print(f"{name} …", flush=True)
        keep(asyncio.run(SECTIONS[name](given)))
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    write_pages()


if __name__ == "__main__":
    main()
