"""What the cases of a batch share, what they will write, and their ledgers as the router needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from ..abilities import Shop
from ..core.identity import names, scope
from ..core.judge import Judge
from ..core.links import Links
from ..model import (
    Action,
    Case,
    Event,
    Ref,
)
from ..store.vault import Vault
from .traces import Traces

BAD: Final = frozenset({"denied", "dead", "expired", "cancelled"})


@dataclass(slots=True)
class Entry:
    """One action of the ledger, as far as the router needs it."""

    state: str
    type: str
    account: str
    needs: str | None
    replaces: str | None
    created_at: int
    depth: int
    proposer: str
    digest: bytes
    action: Action | None = None
    sealed: tuple[str, bytes] | None = None
    row: dict[str, Any] | None = None  # a row not stored yet

    def rest(self) -> None:
        """Now that the row is stored: keep the action as it lies there, a tenth of its size as an object."""
        if self.row is not None:
            self.sealed, self.action, self.row = (self.row["key_id"], self.row["doc"]), None, None


class Ledger(Mapping[str, str]):
    """The ledger as policies see it: key → state."""

    __slots__ = ("entries",)

    def __init__(self, entries: dict[str, Entry]) -> None:
        self.entries = entries

    def __getitem__(self, key: str) -> str:
        return self.entries[key].state

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


@dataclass(slots=True)
class World:
    """What all cases of a bridge share while they are computed."""

    judge: Judge
    shops: Mapping[str, Shop]
    vault: Vault
    render: Callable[..., Any]
    fetch_patience: timedelta
    hourly_budget: int
    daily_budget: int
    effect_taken: Callable[[str, str], bool]
    can: Callable[[str, Action], bool]
    messages: Callable[[str], list[Event]]
    facts: Callable[[Case, Shop, datetime], Mapping[str, Any]]
    links: Links
    traces: Traces
    sender: str | None = None  # the process that is to send what is proposed; None: any


@dataclass(slots=True)
class Changes:
    """What a batch will write, beside the cases themselves."""

    timeline: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    outbox: list[dict[str, Any]] = field(default_factory=list)
    moved: list[dict[str, Any]] = field(default_factory=list)
    approvals: list[dict[str, Any]] = field(default_factory=list)
    deadlines: dict[tuple[str, str], dict[str, Any] | None] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    first_replies: list[tuple[str, str, float]] = field(default_factory=list)


def document(value: Event | Action) -> bytes:
    """What is stored of an event or an action, as JSON."""
    return type(value).__pydantic_serializer__.to_json(value, by_alias=True, exclude_none=True)


def key_row(vault: Vault, ref: Ref, account: str, case: Case) -> dict[str, Any]:
    """One name of a case, as a keyed hash."""
    return {
        "k": vault.mark(scope(ref, account, case.shop), ref.kind, ref.value),
        "case_id": case.id,
        "kind": ref.kind.value,
        "strong": ref.strong,
    }


def event_marks(vault: Vault, event: Event, account: str, shop: str | None) -> list[tuple[Ref, bytes]]:
    """The names in an event with their keyed hashes."""
    return [(ref, vault.mark(scope(ref, account, shop), ref.kind, ref.value)) for ref in names(event, account)]
