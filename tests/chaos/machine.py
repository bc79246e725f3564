"""What a machine can do to one process: stop it, fill its disk, spoil its files, move its clock, lose its names."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic, time
from typing import Any, Final

from herd import load
from load import Died, Forked, Senders, Zygote, configuration

from .counting import COUNTED, Receiver, count, quiet
from .tables import Table

NAMED: Final = "receiver.rmabridge.test"
INSIDE: Final = 'mount --bind "$0" /etc/hosts && exec "$@"'


class Rig:
    """A bridge on SQLite, its receivers, and senders at work."""

    def __init__(self, folder: Path, child: Forked, sink: Receiver, bank: Receiver, senders: Senders) -> None:
        self.folder, self.child, self.sink, self.bank, self.senders = folder, child, sink, bank, senders
        self.said = ""

    async def more(self, number: int, seconds: float = 120) -> None:
        """Wait until so many more webhooks are acknowledged."""
        before = len(self.senders.acknowledged)
        async with asyncio.timeout(seconds):
            while len(self.senders.acknowledged) < before + number:
                await asyncio.sleep(0.02)

    async def refusals(self, number: int, seconds: float = 60) -> None:
        """Wait until so many more were refused."""
        before = self.senders.refused.total()
        async with asyncio.timeout(seconds):
            while self.senders.refused.total() < before + number:
                await asyncio.sleep(0.02)


Fault = Callable[[Rig], Awaitable[None]]


@asynccontextmanager
async def rig(folder: Path, prefix: tuple[str, ...] = (), named: str | None = None) -> AsyncIterator[Rig]:
    """One rig, ready."""
    async with Receiver() as sink, Receiver() as bank, Zygote(folder / "serve.log", prefix) as zygote:
        at = sink.url.replace("127.0.0.1", named) if named else sink.url
        config = configuration(folder, at, bank.url, f"sqlite:///{folder / 'data' / 'bridge.db'}")
        child = Forked(config, folder, zygote)
        await child.start()
        async with load(child, at_once=3, pause=0.05, notes=1) as senders:
            yield Rig(folder, child, sink, bank, senders)
        await quiet(child)


async def machine(wanted: str = "") -> list[Table]:
    """Each fault once, under load; ``wanted`` is a part of the names of those that are meant."""
    table = Table("machine", ["fault", "how", "what the bridge did", *COUNTED])
    for name, how, fault, options in [one for one in FAULTS if wanted in one[0]]:
        folder = Path(mkdtemp(prefix="machine"))
        (folder / "data").mkdir()
        with mounted(folder / "data") if options.get("mount") else nullcontext():
            try:
                await _one(table, name, how, fault, folder, options)
            except (TimeoutError, AssertionError, Died) as error:
                table.add(name, how, f"FAILED: {type(error).__name__}", *["?"] * len(COUNTED))
    table.how = "SQLite, one process, 3 senders at once; what was refused was sent again by its sender"
    return [table]


async def _one(table: Table, name: str, how: str, fault: Fault, folder: Path, options: dict[str, Any]) -> None:
    prefix: tuple[str, ...] = ()
    if options.get("hosts"):
        hosts(folder, "127.0.0.1")
        prefix = ("unshare", "--mount", "sh", "-c", INSIDE, str(folder / "hosts"))
    async with rig(folder, prefix, NAMED if options.get("hosts") else None) as one:
        await one.more(20)
        await fault(one)
        await one.more(20)
    found = count(one.child, one.senders, one.sink, one.bank)
    table.add(name, how, one.said, *found.cells())
    one.child.tell(signal.SIGKILL)


async def stopped(one: Rig) -> None:
    """SIGSTOP and, 10 s later, SIGCONT."""
    one.child.tell(signal.SIGSTOP)
    await asyncio.sleep(10)
    one.child.tell(signal.SIGCONT)
    await one.more(1)
    one.said = "went on" if one.child.alive else "ended"


async def long_stopped(one: Rig) -> None:
    """SIGSTOP for longer than the watchdog waits."""
    one.child.tell(signal.SIGSTOP)
    await asyncio.sleep(40)
    one.child.tell(signal.SIGCONT)
    await asyncio.sleep(5)
    one.said = "went on"
    if not one.child.alive:
        one.said = "its watchdog ended it; went on when it was started again"
        await one.child.start()


async def full_disk(one: Rig) -> None:
    """Fill the file system, wait for refusals, make room."""
    ballast = one.folder / "data" / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    await one.refusals(20)
    one.said = f"refused with {', '.join(sorted(one.senders.refused))}, lived, and went on when there was room"
    assert one.child.alive
    ballast.unlink()


async def file_limit(one: Rig) -> None:
    """No file may grow any more."""
    largest = max(file.stat().st_size for file in (one.folder / "data").iterdir())
    resource.prlimit(one.child.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    await one.refusals(20)
    one.said = f"refused with {', '.join(sorted(one.senders.refused))}, lived, and went on when there was room"
    assert one.child.alive
    resource.prlimit(one.child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def read_only(one: Rig) -> None:
    """Started on a file system that cannot be written."""
    await one.child.kill()
    subprocess.run(["mount", "-o", "remount,ro", str(one.folder / "data")], check=True)
    try:
        await one.child.start()
        one.said = "started all the same"
    except Died as died:
        one.said = f"did not start: {_last(str(died))}"
    subprocess.run(["mount", "-o", "remount,rw", str(one.folder / "data")], check=True)
    await one.child.start()


def _last(log: str) -> str:
    lines = [one for one in log.strip().splitlines() if one.strip()]
    return re.sub(r"'?/\S*/", "", lines[-1]).strip("'")[-160:] if lines else "without a word"


async def spoiled_log(one: Rig) -> None:
    """kill -9, and one bit of the last tenth of the write-ahead log is wrong when it starts again."""
    await one.child.kill()
    log = one.folder / "data" / "bridge.db-wal"
    size = log.stat().st_size
    with log.open("r+b") as file:
        file.seek(size * 9 // 10)
        found = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([found[0] ^ 1]))
    await one.child.start()
    ok = one.child.rows("PRAGMA integrity_check") == [("ok",)]
    one.said = f"started, the database {'is sound' if ok else 'is DAMAGED'}; commits after the wrong bit are gone"


async def clock(one: Rig, seconds: float) -> None:
    """The clock jumps while cases come in, and jumps back: what was decided meanwhile must not wait for it."""
    _set(one, seconds)
    await one.more(20)
    _set(one, 0)
    await one.more(20)
    await asyncio.sleep(3)
    late = f"state IN ('due', 'uncertain') AND due_at > {int((time() + 60) * 1e6)}"
    waiting = one.child.rows(f"SELECT count(*) FROM outbox WHERE {late}")[0][0]
    one.said = f"went on; {waiting} deliveries waited for the clock to get there"


def _set(one: Rig, seconds: float) -> None:
    (one.folder / "clock").write_text(str(seconds))
    one.child.tell(signal.SIGUSR1)


async def no_names(one: Rig) -> None:
    """The name of a receiver is not resolved for a while."""
    one.sink.closing = True  # or open connections would serve
    await one.more(5)
    hosts(one.folder, None)
    before = len(one.sink.books["posts"])
    await one.more(30)
    missed = len(one.sink.books["posts"]) - before
    hosts(one.folder, "127.0.0.1")
    one.said = f"took webhooks, delivered {missed} without the name, the rest when it was back"


async def no_files(one: Rig) -> None:
    """No file or connection can be opened."""
    used = len([*Path(f"/proc/{one.child.pid}/fd").iterdir()])
    _, most = resource.prlimit(one.child.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(one.child.pid, resource.RLIMIT_NOFILE, (used, most))
    await asyncio.sleep(5)
    resource.prlimit(one.child.pid, resource.RLIMIT_NOFILE, (most, most))
    began = monotonic()
    await one.more(10)
    assert one.child.alive
    one.said = f"lived, and took webhooks {monotonic() - began:.1f} s after files could be opened"


def hosts(folder: Path, address: str | None) -> None:
    """What the bridge's own /etc/hosts says."""
    text = "127.0.0.1 localhost\n" + (f"{address} {NAMED}\n" if address else "")
    (folder / "hosts").write_text(text)


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """A small file system of its own on the folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def may_mount() -> bool:
    """Whether this process may make file systems."""
    folder = Path(mkdtemp())
    try:
        with mounted(folder):
            return True
    except (subprocess.CalledProcessError, OSError):
        return False


TMPFS: Final = may_mount()
FAULTS: Final[list[tuple[str, str, Fault, dict[str, Any]]]] = [
    ("stopped", "SIGSTOP for 10 s", stopped, {}),
    ("stopped for long", "SIGSTOP for 40 s", long_stopped, {}),
    *(
        [
            ("full disk", "tmpfs of 24 MB", full_disk, {"mount": True}),
            ("read-only file", "file system mounted read-only at the start", read_only, {"mount": True}),
            ("no names", "its /etc/hosts loses a receiver's name", no_names, {"hosts": True}),
        ]
        if TMPFS
        else []
    ),
    ("full disk", "RLIMIT_FSIZE", file_limit, {}),
    ("corrupted WAL", "kill -9, one bit flipped", spoiled_log, {}),
    ("clock", "an hour ahead and back", lambda one: clock(one, 3600), {}),
    ("clock", "a day behind and back", lambda one: clock(one, -86400), {}),
    ("no file descriptors", "RLIMIT_NOFILE at what is open, 5 s", no_files, {}),
]
