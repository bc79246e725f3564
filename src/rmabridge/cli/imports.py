"""``rmabridge import``: back-fill from a CSV or JSONL export. Interrupted, it goes on where it was."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from . import PROBLEM
from .app import App, command
from .asking import RECORDED
from .output import said

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

BATCH: Final = 500
BETWEEN: Final = ",;\t|"  # what may stand between the columns of a CSV file: what its head has most of
META: Final = {"content_type": "application/json"}


@dataclass(slots=True)
class Tally:
    """How far an import is: lines read, rows that were new, rows known already, lines that are no row."""

    read: int = 0
    new: int = 0
    known: int = 0
    bad: int = 0


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--account", required=True, help="The account whose mapping reads the rows.")
@click.option("--encoding", default="utf-8-sig", show_default=True, help="For example gb18030.")
@click.option("--restart", is_flag=True, help="Begin again; what is known already stays as it is.")
@command
def import_(app: App, file: Path, account: str, encoding: str, restart: bool) -> None:
    """Import a CSV file with a header, or a JSONL file: one event a row."""
    from ..abilities import Parses
    from ..errors import CommandError

    if not isinstance(app.account(account), Parses):
        raise CommandError(f"{account}: receives nothing, so it cannot read rows")
    try:
        total = sum(1 for _ in bodies(file, encoding))
        tally = _Import(app, file, account, encoding).run(total, restart=restart)
    except LookupError as error:
        raise click.UsageError(f"--encoding: {error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CommandError(f"{file}: {error}; is --encoding {encoding} right?") from error
    note = f"{tally.read} lines: {tally.new} new, {tally.known} known already, {tally.bad} not readable"
    more = "" if app.store.serving() else f"; {RECORDED}"
    said(app, note + more, account=account, file=str(file), **asdict(tally))
    if tally.bad:
        click.get_current_context().exit(PROBLEM)


def bodies(file: Path, encoding: str) -> Iterator[bytes | None]:
    """Every row as a JSON object; None for a line that is none."""
    with file.open(encoding=encoding, newline="") as lines:
        if file.suffix.lower() == ".csv":
            head = lines.readline()
            lines.seek(0)
            between = max(BETWEEN, key=head.count)
            for row in csv.DictReader(lines, delimiter=between):
                yield None if None in row else json.dumps(row, ensure_ascii=False).encode()
        else:
            for line in lines:
                if line.strip():
                    yield _object(line.strip())


def _object(line: str) -> bytes | None:
    try:
        return line.encode() if isinstance(json.loads(line), dict) else None
    except (ValueError, RecursionError):
        return None


class _Import:
    """One import of one file into one account."""

    def __init__(self, app: App, file: Path, account: str, encoding: str) -> None:
        self.app, self.file, self.account, self.encoding = app, file, account, encoding
        self.kind = f"import:{sha256(str(file.resolve()).encode()).hexdigest()}"

    def run(self, total: int, *, restart: bool) -> Tally:
        """Import what is left of the file, batch by batch, each with its place in one commit."""
        tally, chain = Tally(), sha256()
        rows = bodies(self.file, self.encoding)
        if not restart:
            rows = self._resumed(rows, tally, chain)
        with _progress(self.app, self.file.name, total) as advance:
            advance(tally.read)
            while batch := list(islice(rows, BATCH)):
                for one in batch:
                    chain.update(one or b"\n")
                self._wait()
                self._commit(batch, tally, chain.hexdigest())
                advance(len(batch))
        return tally

    def _resumed(self, rows: Iterator[bytes | None], tally: Tally, chain: Any) -> Iterator[bytes | None]:
        """Skip what was imported before, if the file still begins with just that; else begin again."""
        from ..store import ops

        row = self.app.read(lambda conn: ops.cursor(conn, self.account, self.kind))
        if row is None or not row.cursor:
            return rows
        place = json.loads(row.cursor)
        before = list(islice(rows, place["read"]))
        known = sha256(b"".join(one or b"\n" for one in before))
        if len(before) != place["read"] or known.hexdigest() != place["hash"]:
            return bodies(self.file, self.encoding)
        for one in before:
            chain.update(one or b"\n")
        tally.read, tally.known = len(before), sum(one is not None for one in before)
        tally.bad = len(before) - tally.known
        return rows

    def _wait(self) -> None:
        """Leave room in the queue for the platforms' webhooks."""
        from ..store import inbox

        most = self.app.config.bridge.most_waiting // 2
        while self.app.read(inbox.backlog) > most and self.app.store.serving():
            time.sleep(0.2)

    def _commit(self, batch: list[bytes | None], tally: Tally, chain: str) -> None:
        from sqlalchemy import func, select

        from ..store import inbox, ops
        from ..store.tables import inbox as stored

        store = self.app.store
        good = [one for one in batch if one is not None]

        def commit(conn: Connection) -> int:
            key_id = store.day_key(conn)
            rows = list({row["dedupe"]: row for row in (self._row(one, key_id) for one in good)}.values())
            marks = [row["dedupe"] for row in rows]
            counted = select(func.count()).where(stored.c.account == self.account, stored.c.dedupe.in_(marks))
            known = int(conn.execute(counted).scalar() or 0)
            inbox.add(conn, rows)
            row = ops.cursor(conn, self.account, self.kind)
            place = {"cursor": json.dumps({"read": tally.read + len(batch), "hash": chain})}
            ops.move_cursor(conn, self.account, self.kind, row.version if row else 0, place)
            return len(rows) - known

        new = store.write(commit)
        tally.read, tally.new = tally.read + len(batch), tally.new + new
        tally.known, tally.bad = tally.known + len(good) - new, tally.bad + len(batch) - len(good)

    def _row(self, body: bytes, key_id: str) -> dict[str, Any]:
        from ..store import inbox

        store, digest = self.app.store, inbox.digest(body)
        return {
            "account": self.account,
            "dedupe": digest,
            "digest": digest,
            "lane": inbox.lane_of(self.account, None),
            "kind": "import",
            "received_at": store.clock.micros(),
            "due_at": 0,
            "depth": 0,
            "key_id": key_id,
            "body": store.vault.seal(key_id, inbox.pack(META, body)),
            "case_id": None,
        }


@contextmanager
def _progress(app: App, name: str, total: int) -> Iterator[Callable[[int], None]]:
    if app.as_json:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True, markup=False)) as bar:
        task = bar.add_task(name, total=total)
        yield lambda number: bar.advance(task, number)
