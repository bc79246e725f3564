"""The store on PostgreSQL: lanes by row locks, wake-ups by NOTIFY, one clock, and who still lives by advisory locks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from hashlib import blake2b
from time import monotonic
from typing import Any, Final, Self, TypeVar

import asyncpg
import structlog
from sqlalchemy import Connection, bindparam, inspect, update
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util.concurrency import greenlet_spawn

from ..config import Bridge
from ..errors import CommandError, ConfigError
from .bulk import ignoring, many
from .inbox import lane_of_case
from .postgres import FAREWELL, PATIENCE, Aside, PgWriter, address, engine, forbidden, outage, waits_here
from .queue import LEFT
from .rates import Drawn, draw
from .store import Clock, Peek, Store, current, upgrade
from .tables import CASE_LANES, LANES, inbox, lanes
from .vault import store_keys

T = TypeVar("T")
log = structlog.get_logger("store")
CHANNEL: Final = "rmabridge"
# The first half of the advisory locks by which processes show that they live, in which roles, and which master keys
# they know (``mark`` of each); the second is the hash of their name.
LIVING: Final = 0x726D61
OPENING: Final = 0x726D6162
TOGETHER: Final = 0.02
CHECKED_EVERY: Final = 30.0
SHARED_EVERY: Final = 2.0
KEPT_EVERY: Final = 5.0  # well before the server ends a transaction that stands idle
MOST_LANES: Final = 32

# Each process routes what comes of its own cases, which it has at hand: number $3 of $2. What comes from outside is
# anybody's, and is taken after that.
_FREE = f"""
SELECT l.lane FROM lanes l
JOIN LATERAL (
  SELECT i.id, i.received_at FROM inbox i WHERE i.lane = l.lane AND i.state = 'new' AND i.due_at <= $1
  ORDER BY i.id LIMIT 1
) f ON l.lane < {CASE_LANES} OR l.lane % $2 = $3 OR f.received_at < $1 - {LEFT}
ORDER BY l.lane < {CASE_LANES}, f.id LIMIT {MOST_LANES} FOR UPDATE OF l SKIP LOCKED
"""  # noqa: S608 - a number of our own
_LIVE = """
SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_CLAIMED = (
    update(inbox)
    .where(inbox.c.id == bindparam("row"), inbox.c.state == "new")
    .values(claims=inbox.c.claims + bindparam("more"))
)


def mark(name: str) -> int:
    """The number by which a process's lock is known."""
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") & 0x7FFFFFFF


class PgStore(Store):
    """One database, any number of processes."""

    shared = True
    writer: PgWriter

    def open(self) -> Self:
        """Migrate (one process at a time), load the index key, take part."""
        database = self._settings.database
        self._aside = Aside(database)
        try:
            self._aside.run(self._begin, patient=True)
        except (OperationalError, OSError) as error:
            raise ConfigError(f"[bridge] database: {self._settings.shown}: {_cause(error)}") from error
        self._engine, self._readers = engine(database), engine(database, alone=True)
        self._urgent = engine(database, size=1, urgent=True)
        self._rates = engine(database, size=1, urgent=True)
        self._reading = self._readers.sync_engine
        self.reload_clock()
        self._version = 0
        self._share = 1, 0
        self._news = asyncio.Event()
        self.writer = PgWriter(self._engine, self._urgent, self._news.set)
        self._listening = asyncio.create_task(self._listen(), name="listen")
        return self

    def _begin(self, conn: Connection) -> None:
        conn.exec_driver_sql("SELECT pg_advisory_xact_lock($1)", (OPENING,))
        if conn.exec_driver_sql("SHOW synchronous_commit").scalar() == "off":
            raise ConfigError(
                f"[bridge] database: {self._settings.shown}: synchronous_commit is off there, so what was acknowledged "
                "could be lost; ALTER DATABASE … SET synchronous_commit = on"
            )
        if not current(conn):
            self._upgrade(conn)
        store_keys(conn, self.vault.start(conn))
        conn.execute(ignoring(conn, lanes), [{"lane": one, "version": 0} for one in range(LANES)])

    def _upgrade(self, conn: Connection) -> None:
        try:
            conn.exec_driver_sql("SET LOCAL lock_timeout = 0")
            upgrade(connection=conn)
        except DBAPIError as error:
            if not forbidden(error):
                raise
            raise ConfigError(
                f"[bridge] database: {self._settings.shown}: the schema is not this release's, and this user may not "
                "change it; run 'rmabridge migrate' as the user that owns the tables, then start again"
            ) from error

    def read(self, job: Callable[[Connection], T]) -> T:
        """On a connection of the pool; beside the loop where it cannot wait here."""
        if not waits_here():
            return self._aside.look(job)
        try:
            with self._reading.connect() as conn:
                return job(conn)
        except Exception as error:
            if (away := outage(error)) is not None and away is not error:
                raise away from error
            raise

    def now(self, job: Callable[[Connection], T]) -> T:
        """Beside the loop."""
        return self._aside.run(job, write=True)

    async def using(self, work: Callable[[], T]) -> T:
        """So that its reads wait on the loop."""
        found: T = await greenlet_spawn(work)
        return found

    @asynccontextmanager
    async def lanes(self) -> AsyncIterator[list[int]]:
        """Lanes with something to route, locked for as long as this lives; nobody else routes from them."""
        try:
            async with self._engine.connect() as conn, conn.begin():
                found = await conn.exec_driver_sql(_FREE, (self.clock.micros(), *self._share))
                async with _kept(conn):
                    yield list(found.scalars())
        except Exception as error:
            if (away := outage(error)) is not None and away is not error:
                raise away from error
            raise

    def ours(self, case_id: str) -> bool:
        """Whether this process is the one that routes what comes of such a case."""
        among, place = self._share
        return lane_of_case(case_id) % among == place

    async def note_routing(self, ids: Sequence[int]) -> None:
        """One more claim each, of which ``release`` takes back what did not end in this process's death."""
        if ids:
            await self._claim(ids, 1)

    async def release(self, ids: Sequence[int]) -> None:
        """One claim less."""
        with suppress(OperationalError):
            await self._claim(ids, -1)

    async def _claim(self, ids: Sequence[int], more: int) -> None:
        def claim(conn: Connection) -> None:
            conn.exec_driver_sql("SET LOCAL synchronous_commit = off")  # it need not outlive the server
            many(conn, _CLAIMED, [{"row": one, "more": more} for one in ids])

        async with self._engine.begin() as conn:
            await conn.run_sync(claim)

    async def draw(self, account: str, want: int, most: int, counts: int) -> Drawn:
        """In a short transaction of its own, because the others wait for it."""
        try:
            async with self._rates.begin() as conn:
                return await conn.run_sync(lambda made: draw(made, account, want, most, counts))
        except Exception as error:
            if (away := outage(error)) is not None and away is not error:
                raise away from error
            raise

    def data_version(self) -> int:
        """Counts what others told."""
        return self._version

    def living(self, conn: Connection, role: str) -> int:
        """As many as hold a lock that says so, and this one, which is just about to."""
        return len({mark(self.me), *conn.exec_driver_sql(_LIVE, (mark(role),)).scalars()})

    def unaware(self, conn: Connection, master: str) -> int:
        """Those that live, less those that hold a lock that says they know it."""
        living, aware = (set(conn.exec_driver_sql(_LIVE, (kind,)).scalars()) for kind in (LIVING, mark(master)))
        return len(living - aware)

    def orphaned(self, owners: Sequence[str]) -> set[str]:
        """Those whose lock is gone: their connection ended."""
        live = self.read(lambda conn: set(conn.exec_driver_sql(_LIVE, (LIVING,)).scalars()))
        return {one for one in owners if one != self.me and mark(one) not in live}

    async def close(self, patience: float = PATIENCE) -> None:
        """Finish writing and leave."""
        await self.writer.close(patience)
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        engines = (self._engine, self._urgent, self._readers, self._rates)
        await asyncio.gather(*(_dismissed(one) for one in engines), return_exceptions=True)
        with suppress(Exception):
            await asyncio.to_thread(self._aside.close)

    # -- beside the others ----------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Hear what others wrote, tell what was written here, show that this process lives; for ever."""
        while True:
            try:
                await self._take_part()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                log.warning("not connected for wake-ups; looking each second instead", cause=type(error).__name__)
                self._version += 1
            await asyncio.sleep(1)

    async def _take_part(self) -> None:
        conn = await asyncpg.connect(address(self._settings.database), timeout=5, command_timeout=PATIENCE)
        try:
            for kind in (LIVING, *map(mark, self.roles), *map(mark, self.vault.ring)):
                await conn.execute("SELECT pg_advisory_lock($1, $2)", kind, mark(self.me))
            await conn.add_listener(CHANNEL, self._heard)
            self._version += 1
            checked = shared = -CHECKED_EVERY
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECKED_EVERY / 3):
                        await self._news.wait()
                if self._news.is_set():
                    self._news.clear()
                    await conn.execute("SELECT pg_notify($1, $2)", CHANNEL, self.me)
                if monotonic() - checked >= CHECKED_EVERY:
                    checked = monotonic()
                    self.clock.skew = await _skew(conn)
                if monotonic() - shared >= SHARED_EVERY:
                    shared = monotonic()
                    self._share = _share(mark(self.me), await conn.fetch(_LIVE, mark("router")))
                await asyncio.sleep(TOGETHER)
        finally:
            with suppress(Exception):
                await conn.close(timeout=1)

    def _heard(self, _conn: Any, _pid: int, _channel: str, who: str) -> None:
        if who != self.me:
            self._version += 1


def _share(own: int, routing: Iterable[Any]) -> tuple[int, int]:
    """Among how many processes cases are shared, and which of them this one is."""
    names = sorted({own, *(one["objid"] for one in routing)})
    return len(names), names.index(own)


async def _dismissed(one: AsyncEngine) -> None:
    async with asyncio.timeout(FAREWELL):
        await one.dispose()


@asynccontextmanager
async def _kept(conn: AsyncConnection) -> AsyncIterator[None]:
    """The transaction stays open however long the work inside takes, unless this process stands still."""
    over = asyncio.Event()

    async def keep() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(KEPT_EVERY):
                    await over.wait()
            if not over.is_set():
                await conn.exec_driver_sql("SELECT 1")

    keeping = asyncio.create_task(keep(), name="keep lanes")
    try:
        yield
    finally:
        over.set()  # not cancelled: that would break off its statement, and with it the connection
        await asyncio.gather(keeping, return_exceptions=True)


async def _skew(conn: asyncpg.Connection[Any]) -> timedelta:
    """How far the database's clock is ahead of this machine's, half of the question's way taken off."""
    here, began = Clock(), monotonic()
    there = await conn.fetchval("SELECT clock_timestamp()")
    way = timedelta(seconds=(monotonic() - began) / 2)
    found: timedelta = there + way - here.now()
    return found if abs(found) > timedelta(milliseconds=5) else timedelta()


def _cause(error: Exception) -> str:
    found = getattr(error, "orig", None) or error
    return next(iter(str(found).splitlines()), type(found).__name__)


class PgPeek(Peek):
    """The database beside any number of ``serve``."""

    shared = True

    def __init__(self, settings: Bridge) -> None:
        self._aside = Aside(settings.database)
        try:
            super().__init__(settings)
        except BaseException as error:
            self.close()
            if isinstance(error, OperationalError | OSError):
                raise CommandError(f"{settings.shown}: {_cause(error)}") from error
            raise

    def read(self, job: Callable[[Connection], T]) -> T:
        """In the thread's loop."""
        return self._aside.run(job)

    def write(self, job: Callable[[Connection], T]) -> T:
        """And tell those who serve."""

        def telling(conn: Connection) -> T:
            found = job(conn)
            conn.exec_driver_sql("SELECT pg_notify($1, 'command')", (CHANNEL,))
            return found

        return self._aside.run(telling, write=True)

    def serving(self) -> bool:
        """Whether any process shows that it lives."""
        return bool(self.read(lambda conn: conn.exec_driver_sql(_LIVE, (LIVING,)).first()))

    def close(self) -> None:
        """Give the connections back and end the thread."""
        self._aside.close()


def exists(settings: Bridge) -> bool:
    """Whether the database is there and a bridge has used it."""
    aside = Aside(settings.database, 1)
    try:
        return aside.run(lambda conn: inspect(conn).has_table("buyer_keys"))
    except (OperationalError, OSError):
        return False
    finally:
        aside.close()
