"""Files: by the hash of their content, each sealed with its case's key, in a directory beside the database.

A file is a row of frames, each a piece of at most 64 KiB sealed on its own, so that it can be written as it arrives;
its hash covers the whole, and what does not fit it is not given out. It appears under its name only when all of it is
on disk. Each key has a directory of its own: the same file under one key is kept once, and erasing a buyer's key makes
all files under it unreadable, whether or not the directory is removed at once.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b, sha256
from pathlib import Path
from shutil import rmtree
from typing import IO, Any, Final
from uuid import uuid4

from sqlalchemy import Connection, select

from ..errors import Refused, TooLarge
from .bulk import ignoring
from .tables import cases, evidence
from .vault import Vault

PIECE: Final = 1 << 16
HEAD: Final = struct.Struct(">I")
SEALED: Final = 28  # what sealing adds to a piece: nonce and tag
NAME: Final = re.compile(r"[0-9a-f]{64}")
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class NoSpace(Refused):
    """The disk is full: nothing of the file was kept."""

    status = 507
    title = "No space left"


class NoFile(LookupError):
    """No such file is kept, or it is not what was written."""


def frame(vault: Vault, key_id: str, piece: bytes) -> bytes:
    """A piece as it lies on disk."""
    sealed = vault.seal(key_id, piece)
    return HEAD.pack(len(sealed)) + sealed


def frames(file: IO[bytes]) -> Iterator[bytes]:
    """The sealed pieces of a file; one that was only partly written is left out."""
    while len(head := file.read(HEAD.size)) == HEAD.size:
        (size,) = HEAD.unpack(head)
        if size > PIECE + SEALED or len(sealed := file.read(size)) != size:
            return
        yield sealed


def flush(file: IO[bytes]) -> None:
    """Have all of a file on disk."""
    file.flush()
    os.fsync(file.fileno())


def appear(temporary: Path, final: Path) -> None:
    """Give a file that is on disk its name, for good."""
    final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary.replace(final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def roomy() -> Iterator[None]:
    """A full disk is told as such."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise NoSpace("the disk is full; nothing of this file was kept", retry_after=60) from error
        raise


class Blobs:
    """The directory of files. Sealing needs the key at hand (``store.keys_for``) and the loop's own thread."""

    def __init__(self, folder: Path, vault: Vault, most: int) -> None:
        self.folder, self.vault, self.most = folder, vault, most

    def path(self, key_id: str, name: str) -> Path:
        """Where a file of this hash lies under a key."""
        if not NAME.fullmatch(name):
            raise NoFile(f"{name[:80]!r} is no SHA-256")
        return self.under(key_id) / name

    def under(self, key_id: str) -> Path:
        """The directory of a key."""
        return self.folder / blake2b(key_id.encode(), digest_size=16).hexdigest()

    def put(self, key_id: str, data: bytes) -> str:
        """Keep a file; its hash. All of it is on disk when this returns, or nothing is there."""
        if len(data) > self.most:
            raise TooLarge(f"more than {self.most} bytes; [bridge] most_file")
        name = sha256(data).hexdigest()
        final, temporary = self.path(key_id, name), self.folder / f"{uuid4().hex}.tmp"
        if final.exists():
            return name
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with roomy():
                with temporary.open("xb") as file:
                    for start in range(0, len(data), PIECE):
                        file.write(frame(self.vault, key_id, data[start : start + PIECE]))
                    flush(file)
                appear(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)
        return name

    def get(self, key_id: str, name: str) -> bytes:
        """A whole file; raises ``NoFile``, or ``Erased`` where its key is gone."""
        try:
            with self.path(key_id, name).open("rb") as file:
                data = b"".join(self.vault.open(key_id, one) for one in frames(file))
        except FileNotFoundError as error:
            raise NoFile(f"no file {name} is kept") from error
        if sha256(data).hexdigest() != name:
            raise NoFile(f"the file {name} was changed or cut on disk")
        return data

    def first(self, key_id: str, name: str) -> bytes:
        """The first piece of a file."""
        with self.path(key_id, name).open("rb") as file:
            return next((self.vault.open(key_id, one) for one in frames(file)), b"")

    def forget(self, key_id: str) -> None:
        """Remove every file under a key: the buyer was erased."""
        rmtree(self.under(key_id), ignore_errors=True)


_OF_CASE = select(evidence).order_by(evidence.c.at, evidence.c.id)


def living(conn: Connection, case_id: str) -> str | None:
    """The case, or the one that absorbed it; None where there is no such case."""
    for _ in range(20):
        row = conn.execute(select(cases.c.merged_into).where(cases.c.id == case_id)).first()
        if row is None:
            return None
        if not row.merged_into:
            return case_id
        case_id = row.merged_into
    return None


def family(conn: Connection, case_id: str) -> list[str]:
    """A case and all cases that it absorbed."""
    found, fresh = [case_id], [case_id]
    while fresh:
        fresh = list(conn.execute(select(cases.c.id).where(cases.c.merged_into.in_(fresh))).scalars())
        found += fresh
    return found


def kept(conn: Connection, case_id: str) -> list[Any]:
    """The rows of a case's files, also of those of the cases that it absorbed, the oldest first."""
    return list(conn.execute(_OF_CASE.where(evidence.c.case_id.in_(family(conn, case_id)))))


def of_case(conn: Connection, case_id: str) -> list[Any]:
    """The rows of the files that were handed in for just this case."""
    return list(conn.execute(_OF_CASE.where(evidence.c.case_id == case_id)))


def elsewhere(conn: Connection, name: str, case_id: str) -> bool:
    """Whether a file of this hash was handed in for a case of another buyer."""
    own = family(conn, case_id)
    buyer = select(cases.c.buyer).where(cases.c.id == case_id).scalar_subquery()
    query = select(evidence.c.id).join(cases, cases.c.id == evidence.c.case_id).where(evidence.c.sha256 == name)
    other = query.where(evidence.c.case_id.not_in(own), cases.c.buyer.is_distinct_from(buyer))
    return conn.execute(other.limit(1)).first() is not None


def note(conn: Connection, row: dict[str, Any]) -> None:
    """Note that a file belongs to a case."""
    conn.execute(ignoring(conn, evidence), row)
