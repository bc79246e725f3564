"""Uploads on their way: what has arrived of a file, kept over broken connections and restarts of the bridge.

Each has two files: ``<id>.facts`` (whose it is, sealed) and ``<id>.part`` (the sealed pieces so far). How much arrived
is counted in the file itself, so that nothing but what lies there is ever promised to the sender.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection

from .blobs import HEAD, PIECE, SEALED, Blobs, appear, flush, frame, frames, roomy
from .vault import Erased, Vault

ID: Final = re.compile(r"[0-9a-f]{32}")
FIRST: Final = 64
UNNAMED: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Upload:
    """One file on its way to a case; ``sha256`` is set when all of it has arrived."""

    id: str
    case: str
    need: str
    length: int
    key_id: str
    at: int
    sha256: str | None = None


class Uploads:
    """The uploads under way."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs, self.folder = blobs, blobs.folder / "partial"
        self._left: dict[str, int] = {}  # how long a part was when we last wrote it: so long, it needs no counting

    @property
    def vault(self) -> Vault:
        """The keys."""
        return self.blobs.vault

    def start(self, case: str, need: str, length: int, key_id: str, now: int) -> Upload:
        """A new upload, nothing of it here yet."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Upload(_mark(case) + uuid4().hex[8:], case, need, length, key_id, now)
        with roomy():
            self._note(made)
            self._part(made).touch(0o600)
        return made

    def find(self, conn: Connection, id_: str) -> Upload | None:
        """An upload by its id; None where there is none, or its buyer was erased."""
        if not ID.fullmatch(id_):
            return None
        try:
            key_id, _, sealed = (self.folder / f"{id_}.facts").read_bytes().partition(b"\n")
            self.vault.fetch(conn, {key_id.decode()})
            return Upload(**json.loads(self.vault.open(key_id.decode(), sealed)))
        except (FileNotFoundError, Erased):
            return None

    def under_way(self, conn: Connection, case: str) -> Iterator[Upload]:
        """The uploads of a case that are not over."""
        for one in sorted(self.folder.glob(f"{_mark(case)}*.facts")) if self.folder.is_dir() else ():
            if (found := self.find(conn, one.stem)) and found.case == case:
                yield found

    def offset(self, upload: Upload) -> int:
        """How many bytes have arrived."""
        if upload.sha256:
            return upload.length
        return self._measured(upload)[0]

    def first(self, upload: Upload) -> bytes:
        """The first bytes of the file, by which its type is told."""
        with self._part(upload).open("rb") as file:
            return next((self.vault.open(upload.key_id, one) for one in frames(file)), b"")[:FIRST]

    def append(self, upload: Upload, data: bytes) -> None:
        """Add what has arrived; a piece that a crash cut off is written over."""
        with roomy(), self._part(upload).open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if self._left.pop(upload.id, None) != size:
                _, size = self._measured(upload)
                file.truncate(size)
                file.seek(size)
            try:
                for start in range(0, len(data), PIECE):
                    file.write(frame(self.vault, upload.key_id, data[start : start + PIECE]))
                file.flush()
            except OSError:
                os.ftruncate(file.fileno(), size)
                raise
            self._left[upload.id] = file.tell()

    def hashed(self, upload: Upload) -> str:
        """The hash of what has arrived, once it is on disk; may run in a thread of its own."""
        digest = sha256()
        with self._part(upload).open("rb") as file:
            for one in frames(file):
                digest.update(self.vault.open(upload.key_id, one))
            os.fsync(file.fileno())
        return digest.hexdigest()

    def finish(self, upload: Upload, name: str) -> Upload:
        """Everything has arrived: put it among the files by its hash. May be done again after a crash."""
        upload = replace(upload, sha256=name)
        with roomy():
            self._note(upload)
            if (part := self._part(upload)).exists():
                appear(part, self.blobs.path(upload.key_id, name))
        return upload

    def drop(self, upload: Upload) -> None:
        """It is over: finished, refused or given up."""
        self._left.pop(upload.id, None)
        self._part(upload).unlink(missing_ok=True)
        (self.folder / f"{upload.id}.facts").unlink(missing_ok=True)

    def clean(self, conn: Connection, before: int) -> int:
        """Give up what was begun before then, or can no longer be read; how many there were. What has no name yet after
        an hour is what a process left that died."""
        gone, now = 0, time.time()
        for one in (*self.blobs.folder.glob("*.tmp"), *self.folder.glob("*.tmp")):
            with suppress(FileNotFoundError):  # another process may have named it meanwhile
                if abs(now - one.stat().st_mtime) > UNNAMED:
                    one.unlink(missing_ok=True)
        for one in self.folder.glob("*.facts") if self.folder.is_dir() else ():
            found = self.find(conn, one.stem)
            if found is None or found.at < before:
                one.with_suffix(".part").unlink(missing_ok=True)
                one.unlink(missing_ok=True)
                gone += 1
        return gone

    def _part(self, upload: Upload) -> Path:
        return self.folder / f"{upload.id}.part"

    def _note(self, upload: Upload) -> None:
        sealed = self.vault.seal(upload.key_id, json.dumps(asdict(upload)).encode())
        temporary = self.folder / f"{upload.id}.tmp"
        with temporary.open("wb") as file:
            file.write(upload.key_id.encode() + b"\n" + sealed)
            flush(file)
        appear(temporary, self.folder / f"{upload.id}.facts")

    def _measured(self, upload: Upload) -> tuple[int, int]:
        """(bytes that arrived, bytes on disk) of the whole pieces."""
        arrived = size = 0
        with self._part(upload).open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            while size + HEAD.size <= end:
                file.seek(size)
                (sealed,) = HEAD.unpack(file.read(HEAD.size))
                if not SEALED <= sealed <= PIECE + SEALED or size + HEAD.size + sealed > end:
                    break
                arrived, size = arrived + sealed - SEALED, size + HEAD.size + sealed
        return arrived, size


def _mark(case: str) -> str:
    """What the names of a case's uploads begin with."""
    return blake2b(case.encode(), digest_size=4).hexdigest()
