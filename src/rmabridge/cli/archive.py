"""A backup as a file: a tar with every table as lines of JSON, every kept file, and a manifest with their hashes.

::

    tables/<name>.jsonl   a row a line, in the manifest's order of columns; bytes are {"b": base64}
    files/<key>/<hash>    kept files as they lie on disk, sealed; files/partial/* are uploads on their way
    files.jsonl           [path, size, SHA-256] of each of them
    key                   the master key ring, only where it was asked for
    manifest.json         format, revision of the schema, and for each table its columns, rows and SHA-256
    manifest.sha256       the manifest's own
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final, Self

from ..errors import CommandError
from .rows import Tally

FORMAT: Final = "rmabridge-backup-1"
KEPT: Final = re.compile(r"[0-9a-f]{32}/[0-9a-f]{64}|partial/[0-9a-f]{32}\.(facts|part)")
ONCE: Final = 1 << 20


class Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, sha256()

    def read(self, size: int = -1) -> bytes:
        """Some of it."""
        found = self._file.read(size)
        self.digest.update(found)
        return found


class Writing:
    """A backup that is being written; it has its name only when all of it is on disk."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise CommandError(f"{path}: exists already; name another file")
        self.path, self._part = path, path.with_name(f".{path.name}.part")
        self.tables: dict[str, Any] = {}
        self._kept: dict[str, list[Any]] = {}

    def __enter__(self) -> Self:
        self._file = os.fdopen(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._tar.close()
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            self._part.replace(self.path)
        else:
            self._part.unlink(missing_ok=True)

    def _add(self, name: str, size: int, file: Any) -> str:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        hashed = Hashed(file)
        self._tar.addfile(info, hashed)
        return hashed.digest.hexdigest()

    def table(self, name: str, columns: list[str], given: Iterable[bytes]) -> Tally:
        """Every row of a table."""
        tally = Tally()
        with TemporaryFile(dir=self.path.parent) as spooled:
            for one in given:
                spooled.write(one)
                tally.add(one)
            size = spooled.tell()
            spooled.seek(0)
            digest = self._add(f"tables/{name}.jsonl", size, spooled)
        self.tables[name] = {"columns": columns, "rows": tally.rows, "sum": f"{tally.total:032x}", "sha256": digest}
        return tally

    def file(self, name: str, path: Path) -> bool:
        """A kept file as it is now; False where it is gone meanwhile: its buyer was erased, or an upload ended."""
        try:
            with path.open("rb") as file:
                if name.startswith("partial/"):  # still being written
                    size, digest = len(data := file.read()), self.small(f"files/{name}", data)
                else:
                    size = os.fstat(file.fileno()).st_size
                    digest = self._add(f"files/{name}", size, file)
        except FileNotFoundError:
            return False
        self._kept[name] = [name, size, digest]
        return True

    def has(self, name: str) -> bool:
        """Whether a kept file is in it."""
        return name in self._kept

    def small(self, name: str, data: bytes) -> str:
        """A short entry; its hash."""
        return self._add(name, len(data), BytesIO(data))

    def finish(self, **facts: Any) -> dict[str, Any]:
        """The list of files, and last the manifest."""
        listed = b"".join(json.dumps(one).encode() + b"\n" for one in self._kept.values())
        files = {"number": len(self._kept), "bytes": sum(one[1] for one in self._kept.values())}
        manifest = {
            "format": FORMAT,
            **facts,
            "tables": self.tables,
            "files": {**files, "sha256": self.small("files.jsonl", listed)},
        }
        digest = self.small("manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False).encode())
        self.small("manifest.sha256", digest.encode())
        return manifest


class Reading:
    """A backup that is read back."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        self._file = self.path.open("rb")
        try:
            self._tar = tarfile.open(fileobj=self._file, mode="r:")
            self._members = {one.name: one for one in self._tar.getmembers()}
            self.manifest = self._manifest()
        except (tarfile.TarError, KeyError, ValueError) as error:
            self._file.close()
            raise CommandError(f"{self.path}: not a whole backup of rmabridge") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()
        self._file.close()

    def _manifest(self) -> dict[str, Any]:
        raw = self._bytes("manifest.json")
        found: dict[str, Any] = json.loads(raw)
        if found["format"] != FORMAT or sha256(raw).hexdigest() != self._bytes("manifest.sha256").decode():
            raise ValueError("not our format")
        return found

    def _open(self, name: str) -> IO[bytes]:
        found = self._tar.extractfile(self._members[name])
        if found is None:
            raise KeyError(name)
        return found

    def _bytes(self, name: str) -> bytes:
        with self._open(name) as file:
            return file.read()

    @property
    def key(self) -> bytes | None:
        """The master key ring, where it is in it."""
        return self._bytes("key") if "key" in self._members else None

    def lines(self, table: str) -> Iterator[bytes]:
        """The rows of a table."""
        with self._open(f"tables/{table}.jsonl") as file:
            yield from file

    def wanted(self, table: str) -> Tally:
        """What the manifest says of a table."""
        facts = self.manifest["tables"][table]
        return Tally(facts["rows"], int(facts["sum"], 16))

    def kept(self) -> list[tuple[str, int, str]]:
        """(name, size, hash) of every file."""
        told = [tuple(json.loads(one)) for one in self._bytes("files.jsonl").splitlines()]
        return [one for one in told if KEPT.fullmatch(str(one[0]))]  # others were put there by somebody else

    def file(self, name: str) -> IO[bytes]:
        """A kept file."""
        return self._open(f"files/{name}")

    def check(self) -> None:
        """Raise where anything in it is not what was written."""
        try:
            for name, facts in self.manifest["tables"].items():
                self._same(f"tables/{name}.jsonl", facts["sha256"])
            self._same("files.jsonl", self.manifest["files"]["sha256"])
            if self.manifest["key"]:
                self._same("key", self.manifest["key"])
            for name, _, digest in self.kept():
                self._same(f"files/{name}", digest)
        except (tarfile.TarError, KeyError, ValueError, TypeError) as error:
            raise CommandError(f"{self.path}: not a whole backup of rmabridge ({error})") from error

    def _same(self, name: str, digest: str) -> None:
        with self._open(name) as file:
            hashed = Hashed(file)
            while hashed.read(ONCE):
                continue
        if hashed.digest.hexdigest() != digest:
            raise CommandError(f"{self.path}: {name} was changed or cut; this backup is not restored")
