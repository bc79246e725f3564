"""Files of a case, as they are lent to plugins: read back by hash, and kept."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

from pydantic_core import to_json
from sqlalchemy import Connection

from ..abilities import Context
from ..errors import Refused, Rejected, Unavailable
from ..model import EvidenceKind
from ..store import blobs as blob_store
from ..store import cases as case_store
from ..store.blobs import NoFile
from ..store.store import Store
from ..store.vault import Erased

KEPT: Final = "kept:"  # files that an account brought: the event that names them has an id of its own


class Files:
    """The files of cases; nobody is given those of another case."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def lend(self, ctx: Context) -> Context:
        """The context with the files of its case."""
        if ctx.case:
            ctx.blob, ctx.keep = partial(self.read, ctx.case), partial(self.keep, ctx.case)
        return ctx

    async def read(self, case: str, name: str) -> bytes:
        """A file of the case; ``Rejected`` where it has none of this hash, or its buyer was erased."""
        living = self.store.read(lambda conn: blob_store.living(conn, case)) or case
        rows = self.store.read(lambda conn: blob_store.kept(conn, living))
        key_id = next((one.key_id for one in rows if one.sha256 == name), None)
        if key_id is None:
            raise Rejected(f"{case} has no file {name}", hint="see 'rmabridge cases show'")
        self.store.keys_for({key_id})
        try:
            return await asyncio.to_thread(self.store.blobs.get, key_id, name)
        except (NoFile, Erased) as error:
            told = "its buyer was erased" if isinstance(error, Erased) else str(error)
            raise Rejected(f"a file of {case} cannot be read: {told}") from error

    async def keep(self, case: str, data: bytes) -> str:
        """Keep a file that an account brought for the case; its hash."""
        key_id = self.key_of(case)
        if key_id is None:
            raise Rejected(f"{case} takes no files: there is no such case, or its buyer was erased")
        try:
            name = self.store.blobs.put(key_id, data)
        except Refused as error:
            raise Unavailable(error.detail) from error
        row = self.row(case, key_id, KEPT + name[:24], EvidenceKind.DOCUMENT, name, len(data))
        await self.store.write(lambda conn: blob_store.note(conn, row))
        return name

    def key_of(self, case: str) -> str | None:
        """The key of the case's buyer, at hand; None where there is no such case or its buyer was erased."""
        rows = self.store.read(lambda conn: case_store.rows(conn, [case]))
        if rows:
            self.store.keys_for({rows[0].key_id})
        return rows[0].key_id if rows and self.store.vault.knows(rows[0].key_id) else None

    def row(self, case: str, key_id: str, id_: str, kind: EvidenceKind, sha256: str, size: int, **facts: Any) -> Any:
        """The row by which a file belongs to a case; ``facts`` are sealed."""
        return {
            "id": f"{case}:{id_}",
            "case_id": case,
            "kind": kind.value,
            "sha256": sha256,
            "size": size,
            "at": self.store.clock.micros(),
            "key_id": key_id,
            "doc": self.store.vault.seal(key_id, to_json(facts)),
        }


def used(conn: Connection, case: str) -> tuple[int, int]:
    """(files, bytes) that a case has."""
    rows = blob_store.kept(conn, case)
    return len(rows), sum(one.size for one in rows)
