"""The whole of a store as rows: read, put elsewhere, compared."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Table, func, select, text

from ..errors import CommandError
from ..store import cases as case_store
from ..store.bulk import adding, many
from ..store.tables import approvals, attempts, cases, inbox, metadata, outbox, timeline, waiting

T = TypeVar("T")
Tell = Callable[[str, int], None]
PIECE: Final = 1000
TABLES: Final = tuple(metadata.tables[name] for name in sorted(metadata.tables))
SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
UNHURRIED: Final = "SET LOCAL idle_in_transaction_session_timeout = 0"
OPENING: Final = "SELECT pg_advisory_xact_lock($1)"
# Numbers that rows elsewhere still know: a number is not given a second time though its own row is gone.
NUMBERED: Final = {
    "inbox": (inbox.c.id, timeline.c.inbox_id, waiting.c.inbox_id),
    "outbox": (outbox.c.id, attempts.c.outbox_id, approvals.c.outbox_id),
    "approvals": (approvals.c.id,),
    "audit": (metadata.tables["audit"].c.id,),
}


@dataclass(slots=True)
class Tally:
    """How many rows, and a sum of their hashes that does not depend on their order."""

    rows: int = 0
    total: int = 0

    def add(self, line: bytes) -> None:
        """One row more."""
        self.rows += 1
        self.total = (self.total + int.from_bytes(sha256(line).digest()[:16], "big")) & ((1 << 128) - 1)


def line(row: Sequence[Any]) -> bytes:
    """A row as a line of JSON; bytes are ``{"b": base64}``."""
    values = [_clean(one) for one in row]
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), default=_bytes).encode() + b"\n"


def _clean(value: Any) -> Any:
    """PostgreSQL's texts hold no NUL, so no copy does."""
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value


def _bytes(value: Any) -> dict[str, str]:
    return {"b": b64encode(value).decode()}


def values(raw: bytes) -> list[Any]:
    """The row of a line."""
    return [b64decode(one["b"]) if isinstance(one, dict) else one for one in json.loads(raw)]


def lines(conn: Connection, table: Table, names: Sequence[str]) -> Iterator[bytes]:
    """Every row of a table, these columns of it."""
    query = select(*(table.c[one] for one in names))
    with conn.execution_options(yield_per=PIECE).execute(query) as found:
        for row in found:
            yield line(row)


def put(conn: Connection, table: Table, names: Sequence[str], given: Iterable[bytes], tell: Tell) -> Tally:
    """Add rows, some at a time."""
    tally, rest = Tally(), iter(given)
    while piece := list(islice(rest, PIECE)):
        many(conn, adding(table), [dict(zip(names, values(one), strict=True)) for one in piece])
        for one in piece:
            tally.add(one)
        tell(table.name, tally.rows)
    return tally


def tallied(conn: Connection, table: Table, names: Sequence[str]) -> Tally:
    """What a table holds now."""
    tally = Tally()
    for one in lines(conn, table, names):
        tally.add(one)
    return tally


def checked(conn: Connection, table: Table, names: Sequence[str], wanted: Tally) -> None:
    """Raise where what was written is not what was read."""
    if (found := tallied(conn, table, names)) != wanted:
        told = f"{found.rows} of {wanted.rows} rows" if found.rows != wanted.rows else "not the same contents"
        raise CommandError(f"{table.name}: {told} after copying; nothing was changed")


def prepared(conn: Connection, revision: str = "head") -> None:
    """Build the schema of a revision, or bring it up to this release's."""
    from alembic import command
    from alembic.config import Config

    from ..store import migrations

    settings = Config()
    settings.set_main_option("script_location", str(Path(migrations.__file__).parent))
    settings.attributes["connection"] = conn
    command.upgrade(settings, revision)


def numbered_on(conn: Connection) -> None:
    """Let the numbers of new rows go on after the highest one that is known."""
    if conn.dialect.name != "postgresql":
        return
    for name, columns in NUMBERED.items():
        highest = max(conn.execute(select(func.max(one))).scalar() or 0 for one in columns)
        conn.execute(
            text("SELECT setval(pg_get_serial_sequence(:name, 'id'), greatest(:highest, 1), :used)"),
            {"name": name, "highest": highest, "used": highest > 0},
        )


def broken_chains(conn: Connection) -> list[str]:
    """The cases whose timeline does not fit its chain of hashes."""
    heads: dict[str, bytes] = {}
    broken: set[str] = set()
    last: dict[str, int] = {}
    names = ("case_id", "seq", "type", "at", "account", "doc", "chain")
    query = select(*(timeline.c[one] for one in names)).order_by(timeline.c.case_id, timeline.c.seq)
    with conn.execution_options(yield_per=PIECE).execute(query) as found:
        for one in found:
            before = heads.get(one.case_id, b"")
            if one.seq != last.get(one.case_id, 0) + 1 or one.chain != case_store.link(
                before, one.seq, one.type, one.at, one.account, one.doc
            ):
                broken.add(one.case_id)
            heads[one.case_id], last[one.case_id] = one.chain, one.seq
    rows = conn.execute(select(cases.c.id, cases.c.chain))
    return sorted(broken | {one.id for one in rows if heads.get(one.id, b"") != one.chain})


def files(folder: Path) -> Iterator[Path]:
    """The kept files and those on their way, in the directory of a store."""
    for one in sorted(folder.glob("*/*")):
        if one.is_file() and one.suffix != ".tmp":
            yield one


def missing(conn: Connection, there: Callable[[str], bool]) -> list[str]:
    """The evidence whose file is nowhere though its key still is."""
    evidence, keys = metadata.tables["evidence"], metadata.tables["buyer_keys"]
    query = select(evidence.c.id, evidence.c.key_id, evidence.c.sha256).join(keys, keys.c.id == evidence.c.key_id)
    rows = conn.execute(query).all()
    return [
        one.id for one in rows if not there(f"{blake2b(one.key_id.encode(), digest_size=16).hexdigest()}/{one.sha256}")
    ]
