"""A batch on its way: inbox rows, the events read out of them, and everything that routing them writes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import Connection

from ..config import explain
from ..core.masking import mask
from ..model import Event
from ..store import inbox as inbox_store
from ..store.buyers import Words
from ..store.vault import Vault
from .work import Work
from .world import Changes

MANY: Final[TypeAdapter[list[Event]]] = TypeAdapter(list[Annotated[Event, Field(discriminator="type")]])


@dataclass(slots=True)
class Row:
    """An inbox row with the events that were read out of it."""

    id: int
    account: str
    kind: str
    received_at: int
    depth: int
    claims: int
    case_id: str | None
    trace: str | None = None
    events: list[Event] = field(default_factory=list)
    marks: list[list[tuple[Any, bytes]]] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """Everything that routing some inbox rows writes."""

    now: int
    changes: Changes = field(default_factory=Changes)
    done: list[dict[str, Any]] = field(default_factory=list)
    parked: list[dict[str, Any]] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)
    key_rows: list[dict[str, Any]] = field(default_factory=list)
    linked: list[dict[str, Any]] = field(default_factory=list)
    waits: list[tuple[int, list[bytes]]] = field(default_factory=list)
    called: int = 0  # rows that waited for a name which this batch writes
    later: list[dict[str, Any]] = field(default_factory=list)
    inbox: list[dict[str, Any]] = field(default_factory=list)
    extra: list[Callable[[Connection], Any]] = field(default_factory=list)
    works: dict[str, Work] = field(default_factory=dict)
    by_mark: dict[bytes, list[str]] = field(default_factory=dict)
    found: set[tuple[bytes, str]] = field(default_factory=set)  # names and their cases, as they were read
    missed: set[bytes] = field(default_factory=set)  # names for which a new case was opened
    given: dict[tuple[str, int], frozenset[Any]] = field(default_factory=dict)  # what a person has given since then
    buyers: dict[bytes, str] = field(default_factory=dict)
    words: dict[bytes, Words] = field(default_factory=dict)
    earlier: dict[bytes, list[str]] = field(default_factory=dict)
    known: set[bytes] = field(default_factory=set)
    told: list[tuple[Event, str, str]] = field(default_factory=list)

    @property
    def proposes(self) -> bool:
        """Whether deliveries may become due by it."""
        return bool(self.changes.outbox or self.changes.moved or self.extra)

    def settle(self, row: Row, case_id: str | None, note: str | None = None, state: str = "done") -> None:
        """The row is routed."""
        self.done.append({"row": row.id, "to": state, "case": case_id, "said": note, "now": self.now})


class RowFailed(Exception):
    """Routing one row failed: the batch is computed again without it."""

    def __init__(self, row: int, error: Exception, cases: Sequence[str]) -> None:
        super().__init__(str(error))
        self.row, self.error, self.cases = row, error, cases


class Waiting(Exception):
    """No case knows the event yet; ``again`` asks to look soon, because no new name may come."""

    def __init__(self, keys: list[bytes], reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.keys, self.again = keys, again


def told(error: Exception) -> str:
    """What went wrong, without the values that pydantic quotes and without personal data."""
    if isinstance(error, ValidationError):
        return "; ".join(explain(error, error.title))
    return f"{type(error).__name__}: {mask(str(error))}"


def event_row(
    vault: Vault,
    key_id: str,
    events: Sequence[Event],
    account: str,
    dedupe: str,
    now: int,
    depth: int = 0,
    case_id: str | None = None,
    kind: str = "event",
    trace: str | None = None,
) -> dict[str, Any]:
    """An inbox row of normalised events."""
    body = MANY.dump_json([*events], by_alias=True, exclude_none=True)
    return {
        "account": account,
        "dedupe": inbox_store.digest(dedupe.encode()),
        "digest": inbox_store.digest(body),
        "lane": inbox_store.lane_of_case(case_id) if case_id else inbox_store.lane_of(account, None),
        "kind": kind,
        "received_at": now,
        "due_at": 0,
        "depth": depth,
        "key_id": key_id,
        "body": vault.seal(key_id, inbox_store.pack({}, body, trace)),
        "case_id": case_id,
    }


ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_case_id(now: datetime) -> str:
    """A short id that sorts by time: ``C`` with six letters of time and seven of chance."""
    seconds, chance = int(now.timestamp()) - 1_700_000_000, secrets.randbits(35)
    return f"C{_letters(seconds, 6)}{_letters(chance, 7)}"


def _letters(number: int, count: int) -> str:
    return "".join(ALPHABET[(number >> 5 * place) & 31] for place in reversed(range(count)))
