"""SQLite: one writer thread that commits finished write sets, waiting webhooks first, and inline reads.

Jobs are functions of a Connection and may be run again: when a commit of several fails, each is run alone, so that one
bad write never takes others with it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from ..errors import CommandError

T = TypeVar("T")
Job = Callable[[Connection], Any]
TOGETHER: Final = 16


def sqlite_engine(path: Path, *, writes: bool = True) -> Engine:
    """An engine whose transactions begin IMMEDIATE and are durable when committed.

    Without ``writes`` every statement stands alone, so that an idle reader holds no snapshot and no lock.
    """
    made = create_engine(
        f"sqlite:///file:{path}?uri=true",
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": 15, "isolation_level": None},
    )

    @event.listens_for(made, "connect")
    def _pragmas(raw: Any, _: Any) -> None:
        cursor = raw.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA wal_autocheckpoint=4000")
        cursor.execute("PRAGMA busy_timeout=15000")
        cursor.execute("PRAGMA cache_size=-32000")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.close()

    @event.listens_for(made, "begin")
    def _begin(conn: Connection) -> None:
        if writes:
            conn.exec_driver_sql("BEGIN IMMEDIATE")

    return made


class Writer:
    """The one thread that writes. ``submit`` answers a future that is done when the commit is on disk."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._first: deque[tuple[Job, asyncio.Future[Any]]] = deque()
        self._later: deque[tuple[Job, asyncio.Future[Any]]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self.commits = 0
        self._thread.start()

    def submit(self, job: Callable[[Connection], T], *, first: bool = False) -> asyncio.Future[T]:
        """Queue a job; ``first`` puts it before everything that is not."""
        future: asyncio.Future[T] = self._loop.create_future()
        with self._wake:
            if self._stopping:
                raise CommandError("the store is closed")
            (self._first if first else self._later).append((job, future))
            self._wake.notify()
        return future

    @property
    def waiting(self) -> int:
        """How many jobs are queued."""
        return len(self._first) + len(self._later)

    async def close(self) -> None:
        """Finish what is queued, then end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join)

    def _take(self) -> list[tuple[Job, asyncio.Future[Any]]]:
        with self._wake:
            while not (self._first or self._later or self._stopping):
                self._wake.wait()
            if self._first:
                taken = list(self._first)
                self._first.clear()
                return taken
            return [self._later.popleft() for _ in range(min(TOGETHER, len(self._later)))]

    def _run(self) -> None:
        with self._engine.connect() as conn:
            while taken := self._take():
                results = self._commit(conn, taken)
                with suppress(RuntimeError):  # the loop may be gone when the process is being stopped
                    self._loop.call_soon_threadsafe(_settle, taken, results)

    def _commit(self, conn: Connection, taken: list[tuple[Job, asyncio.Future[Any]]]) -> list[Any]:
        try:
            with conn.begin():
                results = [job(conn) for job, _ in taken]
            self.commits += 1
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the job
            if len(taken) == 1:
                return [error]
            return [self._commit(conn, [one])[0] for one in taken]
        return results


def _settle(taken: list[tuple[Job, asyncio.Future[Any]]], results: list[Any]) -> None:
    for (_, future), result in zip(taken, results, strict=True):
        if future.cancelled():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
