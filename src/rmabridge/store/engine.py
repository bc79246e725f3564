"""SQLite: one writer that commits finished write sets, waiting webhooks first, and inline reads.

Jobs are functions of a Connection and may be run again: when a commit of several fails, each is run alone, so that one
bad write never takes others with it.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, RootTransaction, create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from ..errors import CommandError
from .bulk import told

T = TypeVar("T")
Job = Callable[[Connection], Any]
TOGETHER: Final = 16
BUSY: Final = 15_000
BEGIN: Final = "BEGIN IMMEDIATE"


def sqlite_engine(path: Path, *, writes: bool = True) -> Engine:
    """An engine whose transactions begin IMMEDIATE and are durable when committed.

    Without ``writes`` every statement stands alone, so that an idle reader holds no snapshot and no lock. A file that
    this user may only read is opened so.
    """
    only_read = path.exists() and not os.access(path, os.W_OK)
    made = create_engine(
        f"sqlite:///file:{path}?{_reading(path) if only_read else ''}uri=true",
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": 15, "isolation_level": None},
    )

    @event.listens_for(made, "connect")
    def _pragmas(raw: Any, _: Any) -> None:
        cursor = raw.cursor()
        if not only_read:
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA wal_autocheckpoint=4000")
        cursor.execute(f"PRAGMA busy_timeout={BUSY}")
        cursor.execute("PRAGMA cache_size=-8000")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.close()

    @event.listens_for(made, "begin")
    def _begin(conn: Connection) -> None:
        if writes:
            raw: Any = conn.connection.dbapi_connection
            with told(conn, BEGIN):
                raw.execute(BEGIN)

    return made


def _reading(path: Path) -> str:
    """Without a log the file is all there is, and SQLite need not make one, which this user may not."""
    return "mode=ro&" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1&"


class Writer:
    """The one writer. ``submit`` answers a future that is done when the commit is on disk.

    Statements run on the loop's own thread, and only what waits for the disk or for another process (BEGIN, COMMIT) in
    a thread of its own. Measured: a thread that runs the statements too spends as much again on taking the
    interpreter's lock, which SQLite gives away at every row.
    """

    def __init__(self, engine: Engine) -> None:
        self._conn = engine.connect()
        _patience(self._conn, 0)
        self._first: deque[tuple[Job, asyncio.Future[Any]]] = deque()
        self._later: deque[tuple[Job, asyncio.Future[Any]]] = deque()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="disk")
        self._loop = asyncio.get_running_loop()
        self._running: asyncio.Task[None] | None = None
        self._stopping = False
        self.commits = self._version = 0

    def submit(self, job: Callable[[Connection], T], *, first: bool = False) -> asyncio.Future[T]:
        """Queue a job; ``first`` puts it before everything that is not."""
        if self._stopping:
            raise CommandError("the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        (self._first if first else self._later).append((job, future))
        if self._running is None:
            self._running = self._loop.create_task(self._run())
        return future

    def data_version(self) -> int:
        """Changes when another process commits; this connection's own commits do not count."""
        if self._running is None:
            self._look()
        return self._version

    def _look(self) -> None:
        raw: Any = self._conn.connection.dbapi_connection
        self._version = raw.execute("PRAGMA data_version").fetchone()[0]

    @property
    def waiting(self) -> int:
        """How many jobs are queued."""
        return len(self._first) + len(self._later)

    async def close(self) -> None:
        """Finish what is queued."""
        self._stopping = True
        while self._running is not None:
            await asyncio.wait([self._running])
        self._conn.close()
        self._disk.shutdown()

    def _take(self) -> list[tuple[Job, asyncio.Future[Any]]]:
        if self._first:
            taken = list(self._first)
            self._first.clear()
            return taken
        return [self._later.popleft() for _ in range(min(TOGETHER, len(self._later)))]

    async def _run(self) -> None:
        try:
            while taken := self._take():
                self._look()
                for (_, future), result in zip(taken, await self._commit(taken), strict=True):
                    settle(future, result)
        finally:
            self._running = None

    async def _commit(self, taken: list[tuple[Job, asyncio.Future[Any]]]) -> list[Any]:
        try:
            transaction = await self._begin()
            try:
                results = [job(self._conn) for job, _ in taken]
                await self._loop.run_in_executor(self._disk, transaction.commit)
            except BaseException:
                transaction.rollback()
                raise
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the job
            if len(taken) == 1:
                return [error]
            return [(await self._commit([one]))[0] for one in taken]
        self.commits += 1
        return results

    async def _begin(self) -> RootTransaction:
        """At once where nobody else writes; else wait for the lock beside the loop."""
        try:
            return self._conn.begin()
        except OperationalError:
            _patience(self._conn, BUSY)
            try:
                return await self._loop.run_in_executor(self._disk, self._conn.begin)
            finally:
                _patience(self._conn, 0)


def _patience(conn: Connection, milliseconds: int) -> None:
    raw: Any = conn.connection.dbapi_connection
    raw.execute(f"PRAGMA busy_timeout={milliseconds}")


def settle(future: asyncio.Future[Any], result: Any) -> None:
    if future.cancelled():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
