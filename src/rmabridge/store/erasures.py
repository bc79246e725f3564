"""What was erased lately, so that each process that shares the database drops the keys it still holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select, update

from .bulk import ignoring
from .tables import cursors
from .vault import Vault

ROW: Final = ("bridge", "erased")
MOST: Final = 500
_MINE: Final = (cursors.c.account == ROW[0], cursors.c.kind == ROW[1])


def note(conn: Connection, keys: Iterable[str]) -> None:
    """These keys are gone; the names of the last ``MOST`` are kept, each with its number."""
    conn.execute(ignoring(conn, cursors), {"account": ROW[0], "kind": ROW[1], "cursor": "[]", "version": 0})
    conn.execute(update(cursors).where(*_MINE).values(version=cursors.c.version))  # whoever comes next waits here
    row = conn.execute(select(cursors.c.cursor, cursors.c.version).where(*_MINE)).one()
    new = [[number, key] for number, key in enumerate(sorted(keys), row.version + 1)]
    told = [*json.loads(row.cursor or "[]"), *new][-MOST:]
    conn.execute(update(cursors).where(*_MINE).values(cursor=json.dumps(told), version=row.version + len(new)))


@dataclass(slots=True)
class Erasures:
    """How far this process has heard of them."""

    heard: int | None = None

    def hear(self, conn: Connection, vault: Vault) -> bool:
        """Drop the keys that were erased since the last look; whether there were any."""
        row = conn.execute(select(cursors.c.cursor, cursors.c.version).where(*_MINE)).first()
        version, before = (row.version if row else 0), self.heard
        self.heard = version
        if row is None or before is None or version == before:
            return False
        told = json.loads(row.cursor or "[]")
        missed = not told or told[0][0] > before + 1
        for key in vault.held if missed else [key for number, key in told if number > before]:
            vault.forget(key)
        return True
