"""PostgreSQL: any number of processes on one database, which is their only coordinator.

Jobs stay functions of a synchronous ``Connection``. Inside ``using`` they wait on the event loop (SQLAlchemy's
greenlets over asyncpg); a job that is run anywhere else waits in a thread with a loop of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import TimeoutError as TookTooLong
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util.concurrency import in_greenlet

from ..errors import CommandError
from .engine import TOGETHER, Job, settle

T = TypeVar("T")
DRIVER: Final = "postgresql+asyncpg"
# A statement that takes longer is given up; a transaction that stands idle for longer is ended by the server, so that
# a process which was stopped in the middle holds up nobody.
PATIENCE: Final = 20.0
IDLE: Final = "15s"
BRIEF: Final = 5.0
FAREWELL: Final = 2.0  # for saying goodbye to a server that may not hear it
SERVER: Final = {
    "application_name": "rmabridge",
    "idle_in_transaction_session_timeout": IDLE,
    "lock_timeout": "10s",
    "statement_timeout": "20s",
}
# The doors wait for nobody: what another process is just writing is refused, and the sender comes again.
URGENT: Final = {"lock_timeout": "1s", "idle_in_transaction_session_timeout": "5s"}
LIMITLESS: Final = {"statement_timeout": "0", "lock_timeout": "0"}
POOL: Final = 5
FORBIDDEN: Final = "42501"


def address(database: str) -> str:
    """The address as asyncpg takes it."""
    return make_url(database).set(drivername="postgresql").render_as_string(hide_password=False)


def engine(
    database: str, *, alone: bool = False, size: int = POOL, patient: bool = False, urgent: bool = False
) -> AsyncEngine:
    """An engine of the running event loop; with ``alone`` every statement stands for itself, ``patient`` ones may
    take as long as they need, and ``urgent`` ones do not wait for what another process holds."""
    url = make_url(database).set(drivername=DRIVER)
    given: dict[str, Any] = {}
    server = SERVER | (LIMITLESS if patient else {}) | (URGENT if urgent else {})
    if (mode := url.query.get("sslmode")) is not None:
        url, given = url.difference_update_query(["sslmode"]), {"ssl": mode}
    return create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=PATIENCE,
        pool_use_lifo=True,
        pool_reset_on_return=None if alone else "rollback",
        hide_parameters=True,
        isolation_level="AUTOCOMMIT" if alone else "READ COMMITTED",
        connect_args={
            "timeout": 5,
            "command_timeout": None if patient else PATIENCE,
            "server_settings": server,
            **given,
        },
    )


def outage(error: BaseException) -> OperationalError | None:
    """The error as what a broken disk would be, where the database is away or cannot do it now."""
    if isinstance(error, OperationalError):
        return error
    lost = isinstance(error, InterfaceError) or (isinstance(error, DBAPIError) and error.connection_invalidated)
    if lost or isinstance(error, OSError | TimeoutError | TookTooLong):
        return OperationalError(f"the database does not answer: {type(error).__name__}", None, error)
    return None


def forbidden(error: BaseException) -> bool:
    """Whether the server refused it because the user has no right to it."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) == FORBIDDEN


class PgWriter:
    """Takes jobs as SQLite's writer does; what is urgent and what is not have a connection each."""

    def __init__(self, made: AsyncEngine, urgent: AsyncEngine, told: Callable[[], None]) -> None:
        self._lines = {True: Line(urgent, self), False: Line(made, self)}
        self.told, self.commits = told, 0

    def submit(self, job: Callable[[Connection], T], *, first: bool = False) -> asyncio.Future[T]:
        """Queue a job; done when it is committed."""
        return self._lines[first].submit(job)

    @property
    def waiting(self) -> int:
        """How many jobs are queued."""
        return sum(len(one.jobs) for one in self._lines.values())

    async def close(self, patience: float = PATIENCE) -> None:
        """Finish what is queued; what takes longer was not written."""
        await asyncio.gather(*(one.close(patience) for one in self._lines.values()))


class Line:
    """Jobs one after the other, those that wait together in one transaction."""

    def __init__(self, made: AsyncEngine, writer: PgWriter) -> None:
        self.jobs: deque[tuple[Job, asyncio.Future[Any]]] = deque()
        self._engine, self._writer = made, writer
        self._running: asyncio.Task[None] | None = None
        self._stopping = False

    def submit(self, job: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Queue a job."""
        if self._stopping:
            raise CommandError("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self.jobs.append((job, future))
        if self._running is None:
            self._running = loop.create_task(self._run())
        return future

    async def close(self, patience: float) -> None:
        """Finish what is queued, or give it up."""
        self._stopping = True
        if (running := self._running) is not None:
            await asyncio.wait([running], timeout=patience)
            running.cancel()
            await asyncio.wait([running], timeout=FAREWELL)

    async def _run(self) -> None:
        taken: list[tuple[Job, asyncio.Future[Any]]] = []
        try:
            while self.jobs:
                taken = [self.jobs.popleft() for _ in range(min(TOGETHER, len(self.jobs)))]
                for (_, future), result in zip(taken, await self._commit(taken), strict=True):
                    settle(future, result)
        finally:
            self._running = None
            for _, future in (*taken, *self.jobs):
                future.cancel()  # those that are done stay as they are

    async def _commit(self, taken: list[tuple[Job, asyncio.Future[Any]]]) -> list[Any]:
        try:
            async with self._engine.begin() as conn:
                results = await conn.run_sync(lambda made: [job(made) for job, _ in taken])
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for the job
            away = outage(error)
            if len(taken) == 1 or away is not None:
                return [away or error for _ in taken]
            return [(await self._commit([one]))[0] for one in taken]
        self._writer.commits += 1
        self._writer.told()
        return results


class Aside:
    """A thread with an event loop: whoever cannot wait for a coroutine runs a job here."""

    def __init__(self, database: str, size: int = 2) -> None:
        self._database, self._size = database, size
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="database", daemon=True)
        self._engines: dict[tuple[bool, bool], AsyncEngine] = {}
        self._thread.start()
        self._away_until = 0.0

    def run(self, job: Callable[[Connection], T], *, write: bool = False, patient: bool = False) -> T:
        """The job's answer; with ``write`` in a transaction of its own, with ``patient`` however long it takes."""
        return self._answer(job, None if patient else PATIENCE * 2, write=write or patient, patient=patient)

    def look(self, job: Callable[[Connection], T]) -> T:
        """The same for a read that an event loop waits for: it must not stand still for long, nor again and again."""
        if monotonic() < self._away_until:
            raise OperationalError("the database did not answer just now", None, TimeoutError())
        try:
            return self._answer(job, BRIEF)
        except OperationalError as error:
            if isinstance(error.orig, TimeoutError | TookTooLong):
                self._away_until = monotonic() + BRIEF
            raise

    def _answer(
        self, job: Callable[[Connection], T], seconds: float | None, *, write: bool = False, patient: bool = False
    ) -> T:
        future = asyncio.run_coroutine_threadsafe(self._job(job, write=write, patient=patient), self._loop)
        try:
            return future.result(seconds)
        except Exception as error:
            future.cancel()
            if (away := outage(error)) is not None and away is not error:
                raise away from error
            raise

    async def _job(self, job: Callable[[Connection], T], *, write: bool, patient: bool) -> T:
        kind = write, patient
        if kind not in self._engines:
            self._engines[kind] = engine(self._database, alone=not write, size=self._size, patient=patient)
        async with self._engines[kind].connect() as conn:
            if not write:
                return await conn.run_sync(job)
            async with conn.begin():
                return await conn.run_sync(job)

    def close(self) -> None:
        """Give the connections back and end the thread."""
        with suppress(TimeoutError, TookTooLong):
            asyncio.run_coroutine_threadsafe(self._dispose(), self._loop).result(FAREWELL)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _dispose(self) -> None:
        for one in self._engines.values():
            with suppress(Exception):
                await one.dispose()


def waits_here() -> bool:
    """Whether a job that is run now may wait on the event loop."""
    return in_greenlet()
