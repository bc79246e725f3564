"""The open store: one clock, one vault, one writer, and reads; a SQLite file or a PostgreSQL server."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import IO, Any, ClassVar, Protocol, Self, TypeVar

from sqlalchemy import Connection, insert, inspect, select
from sqlalchemy.exc import OperationalError

from ..config import Bridge
from ..errors import CommandError, ConfigError
from . import inbox, ops
from .blobs import Blobs
from .bulk import ignoring
from .engine import Writer, sqlite_engine
from .rates import Drawn
from .tables import buyer_keys, cursors, micros, moment
from .vault import Vault, key_ring, master_keys, store_keys

T = TypeVar("T")
CLOCK = ("bridge", "clock")
DAY = 86_400_000_000
PATIENCE = 20.0
END = b"\n"


class Writes(Protocol):
    """What commits."""

    commits: int

    def submit(self, job: Callable[[Connection], T], *, first: bool = False) -> asyncio.Future[T]:
        """Queue a job; done when it is committed."""

    @property
    def waiting(self) -> int:
        """How many jobs are queued."""

    async def close(self) -> None:
        """Finish what is queued."""


class Clock:
    """The bridge's time: the system's (``skew`` makes it the database's), plus an offset that tests move."""

    def __init__(self) -> None:
        self.offset = self.skew = timedelta()

    def now(self) -> datetime:
        """The time now, aware, UTC."""
        return datetime.now(UTC) + self.offset + self.skew

    def micros(self) -> int:
        """The time now as the schema keeps it."""
        return micros(self.now())


def upgrade(**given: Any) -> None:
    """Bring a database to this release's schema (``engine`` or ``connection``)."""
    from alembic import command
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    settings.attributes.update(given)
    command.upgrade(settings, "head")


def current(conn: Connection) -> bool:
    """Whether the database has this release's schema."""
    from .migrations import HEAD

    if not inspect(conn).has_table("alembic_version"):
        return False
    return conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == HEAD


class Store(ABC):
    """What the bridge keeps, and how it reads and writes it. ``make`` opens the one of the settings."""

    shared: ClassVar[bool] = False
    writer: Writes

    def __init__(self, settings: Bridge, clock: Clock | None = None, roles: Collection[str] = ()) -> None:
        self.path, self.roles = settings.path, roles
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.clock = clock or Clock()
        self.vault = Vault(master_keys([one.get_secret_value() for one in settings.keys], self.path))
        self.blobs = Blobs(settings.folder, self.vault, settings.most_file)
        self.me = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"
        self._settings = settings
        self._day = (-1, "")

    @abstractmethod
    def open(self) -> Self:
        """Migrate, load the index key and start the writer. Needs a running event loop."""

    @abstractmethod
    def read(self, job: Callable[[Connection], T]) -> T:
        """Run a reading job at once."""

    @abstractmethod
    def now(self, job: Callable[[Connection], T]) -> T:
        """Run a short writing job at once, in a transaction of its own."""

    @abstractmethod
    async def using(self, work: Callable[[], T]) -> T:
        """Do work that reads."""

    async def ask(self, job: Callable[[Connection], T]) -> T:
        """Run a reading job, waiting on the loop where it takes its time."""
        return await self.using(lambda: self.read(job))

    @abstractmethod
    def lanes(self) -> Any:
        """An asynchronous context: the lanes that this process may route from, or None for all."""

    def ours(self, _case_id: str) -> bool:
        """Whether this process is the one that routes what comes of such a case."""
        return True

    @abstractmethod
    def note_routing(self, ids: Sequence[int]) -> Awaitable[None]:
        """Say which rows are being routed, where it outlives the process."""

    @abstractmethod
    def release(self, ids: Sequence[int]) -> Awaitable[None]:
        """These rows were not routed, and are not to blame."""

    @abstractmethod
    async def draw(self, account: str, want: int, most: int, counts: int) -> Drawn:
        """Places in the account's rate, out of ``most`` of which each ``counts`` for so many microseconds."""

    @abstractmethod
    def data_version(self) -> int:
        """Changes when another process commits."""

    def living(self, conn: Connection, role: str) -> int:
        """How many processes serve the database in this role."""
        return 1

    def unaware(self, conn: Connection, master: str) -> int:
        """How many processes serve the database without knowing this master key."""
        return 0

    @abstractmethod
    def orphaned(self, owners: Sequence[str]) -> set[str]:
        """Which of these owners have ended."""

    @abstractmethod
    async def close(self, patience: float = PATIENCE) -> None:
        """Finish writing, for so many seconds where the database may be away, and let go."""

    def write(self, job: Callable[[Connection], T], *, first: bool = False) -> asyncio.Future[T]:
        """Run a writing job in a transaction; done when it is on disk."""
        return self.writer.submit(job, first=first)

    def reload_clock(self) -> bool:
        """Take over an offset that 'rmabridge clock' stored; True when it changed."""
        if not self._settings.virtual_clock:
            return False
        query = select(cursors.c.cursor).where(cursors.c.account == CLOCK[0], cursors.c.kind == CLOCK[1])
        offset = timedelta(seconds=float(self.read(lambda conn: conn.execute(query).scalar()) or 0))
        changed = offset != self.clock.offset
        self.clock.offset = offset
        return changed

    def keys_for(self, key_ids: set[str]) -> None:
        """Have these keys at hand for ``vault.seal`` and ``vault.open``."""
        if missing := self.vault.missing(key_ids):
            self.read(lambda conn: self.vault.fetch(conn, missing))

    def day_key(self, now: int | None = None) -> str:
        """The key for the raw bodies of today, or of the day of ``now`` (microseconds). A new one is on disk before
        anything is sealed with it: whoever needed it first might fail to commit, and others use it at once."""
        at = self.clock.micros() if now is None else now
        day = at // DAY
        if day == self._day[0] and self.vault.knows(self._day[1]):
            return self._day[1]
        name = ops.today(moment(at))
        self._day = (day, name)
        if not self.vault.knows(name):
            self.keys_for({name})
        if not self.vault.knows(name):
            self.now(lambda conn: self._make_key(conn, name))
            self.keys_for({name})
        return name

    def _make_key(self, conn: Connection, name: str) -> None:
        made = self.vault.make(name, None, self.clock.micros())
        self.vault.forget(name)
        conn.execute(ignoring(conn, buyer_keys), made)


class SqliteStore(Store):
    """One database file, held exclusively."""

    writer: Writer

    def __init__(self, settings: Bridge, clock: Clock | None = None, roles: Collection[str] = ()) -> None:
        super().__init__(settings, clock, roles)
        self._lock: IO[str] | None = None

    def open(self) -> Self:
        """Take the lock, migrate, load the index key and start the writer."""
        self._take_lock()
        self.engine = sqlite_engine(self.path)
        try:
            with self.engine.connect() as conn:
                known = current(conn)
            if not known:
                upgrade(engine=self.engine)
            self._routing = os.open(self.path.with_suffix(".routing"), os.O_RDWR | os.O_CREAT, 0o600)
            with self.engine.begin() as conn:
                store_keys(conn, self.vault.start(conn))
                self._count_claims(conn)
            os.ftruncate(self._routing, 0)  # counted; a process that dies before it routes anything counts nothing
        except OperationalError as error:
            raise ConfigError(f"[bridge] database: {self.path}: {error.orig}") from error
        self._reader = sqlite_engine(self.path, writes=False).connect()
        self.reload_clock()
        self.writer = Writer(self.engine)
        return self

    def _count_claims(self, conn: Connection) -> None:
        """Rows that the last process was routing when it died have one more claim."""
        if noted := os.pread(self._routing, 1 << 16, 0).partition(END)[0].split():
            inbox.claim(conn, [int(one) for one in noted])

    async def note_routing(self, ids: Sequence[int]) -> None:
        """Noted in a file. (It need not outlive a power failure: what ends the process again and again is what must be
        found.)"""
        os.pwrite(self._routing, " ".join(map(str, ids)).encode() + END, 0)

    async def release(self, ids: Sequence[int]) -> None:
        """Counted only when the process dies."""

    def _take_lock(self) -> None:
        self._lock = self.path.with_suffix(".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise ConfigError(f"[bridge] database: {self.path} is in use by another 'rmabridge serve'") from error

    def read(self, job: Callable[[Connection], T]) -> T:
        """On the reader's connection."""
        return job(self._reader)

    def now(self, job: Callable[[Connection], T]) -> T:
        """Beside the writer, whose turn it may be."""
        with self.engine.begin() as conn:
            return job(conn)

    async def using(self, work: Callable[[], T]) -> T:
        """At once: a read never waits for anybody."""
        return work()

    @asynccontextmanager
    async def lanes(self) -> AsyncIterator[None]:
        """All of them: nobody else routes."""
        yield None

    async def draw(self, account: str, want: int, most: int, counts: int) -> Drawn:
        """As many as are wanted: this process is alone, and its gates keep the rate."""
        return Drawn(want, ())

    def data_version(self) -> int:
        """Changes when another process commits."""
        return self.writer.data_version()

    def orphaned(self, owners: Sequence[str]) -> set[str]:
        """All but this process, which alone holds the file."""
        return {one for one in owners if one != self.me}

    async def close(self, patience: float = PATIENCE) -> None:
        """Finish writing and release the file."""
        await self.writer.close()
        self._reader.close()
        self._reader.engine.dispose()
        self.engine.dispose()
        os.close(self._routing)
        if self._lock:
            self._lock.close()


def make(settings: Bridge, clock: Clock | None = None, roles: Collection[str] = ()) -> Store:
    """The store of these settings, not open yet; ``roles`` are what this process does for all that share it."""
    if settings.shared:
        from .replicas import PgStore

        return PgStore(settings, clock, roles)
    return SqliteStore(settings, clock, roles)


class Peek(ABC):
    """The store as other commands see it: reads, and short writes of command rows beside a running ``serve``."""

    shared: ClassVar[bool] = False

    def __init__(self, settings: Bridge) -> None:
        self.clock = Clock()
        self._settings = settings
        ring = key_ring([one.get_secret_value() for one in settings.keys], settings.path)
        self._vault = Vault(ring) if ring else None
        known = self.read(lambda conn: inspect(conn).has_table("buyer_keys"))
        if not known or (self._vault and self.read(self._vault.start)):
            raise CommandError(f"{settings.shown}: not a database of rmabridge; 'rmabridge serve' makes one")
        if settings.virtual_clock:
            row = self.read(lambda conn: ops.cursor(conn, *CLOCK))
            self.clock.offset = timedelta(seconds=float(row.cursor or 0)) if row else timedelta()

    @property
    def vault(self) -> Vault:
        """The keys; whoever has no master key can read what is not sealed, the audit log for one."""
        if self._vault is None:
            path = self._settings.path.with_suffix(".key")
            raise ConfigError(f"[bridge] keys: none are set, and there is no key file {path} that this user may read")
        return self._vault

    @cached_property
    def blobs(self) -> Blobs:
        """The files."""
        return Blobs(self._settings.folder, self.vault, self._settings.most_file)

    @abstractmethod
    def read(self, job: Callable[[Connection], T]) -> T:
        """Run a reading job."""

    @abstractmethod
    def write(self, job: Callable[[Connection], T]) -> T:
        """Run a short writing job in its own transaction."""

    @abstractmethod
    def serving(self) -> bool:
        """Whether a bridge serves the database now."""

    @abstractmethod
    def close(self) -> None:
        """Give the connections back."""

    def keys_for(self, key_ids: set[str]) -> None:
        """Have these keys at hand."""
        self.read(lambda conn: self.vault.fetch(conn, key_ids))

    def day_key(self, conn: Connection) -> str:
        """The key for today's raw bodies, made and stored where it is missing."""
        name = ops.today(self.clock.now())
        self.vault.fetch(conn, {name})
        if not self.vault.knows(name):
            conn.execute(insert(buyer_keys), self.vault.make(name, None, self.clock.micros()))
        return name


class SqlitePeek(Peek):
    """A file beside its ``serve``."""

    def __init__(self, settings: Bridge) -> None:
        self.path = settings.path
        if not self.path.exists():
            raise CommandError(f"{self.path}: no database yet; 'rmabridge serve' makes it")
        self.engine = sqlite_engine(self.path)
        self._readers = sqlite_engine(self.path, writes=False)
        super().__init__(settings)

    def read(self, job: Callable[[Connection], T]) -> T:
        """On a connection of its own."""
        with self._readers.connect() as conn:
            return job(conn)

    def write(self, job: Callable[[Connection], T]) -> T:
        """Waits for the writer of ``serve``."""
        with self.engine.begin() as conn:
            return job(conn)

    def serving(self) -> bool:
        """Whether the file's lock is held."""
        try:
            with self.path.with_suffix(".lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        """None stays open between two jobs."""


def exists(settings: Bridge) -> bool:
    """Whether there is a database yet."""
    if settings.shared:
        from .replicas import exists as there

        return there(settings)
    return settings.path.exists()


def peek(settings: Bridge) -> Peek:
    """The database of these settings, as it is beside a running bridge."""
    if settings.shared:
        from .replicas import PgPeek

        return PgPeek(settings)
    return SqlitePeek(settings)
