"""``Fold``: the changes of one event to one case, group of fields by group of fields."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, TypeVar

from pydantic import BaseModel

from ..model import (
    Case,
    Event,
    Ref,
    RefKind,
)

MOST_REFS = 60
M = TypeVar("M", bound=BaseModel)


def stamp(event: Event) -> str:
    """Sorts by vendor time, then by event key: fixed width, so that texts compare."""
    micros = int(event.at.timestamp() * 1_000_000)
    return f"{micros:014x}{blake2b(event.key.encode(), digest_size=4).hexdigest()}"


def stamped_at(stamped: str) -> int:
    """The vendor time in a stamp, in microseconds since 1970."""
    return int(stamped[:14], 16)


class Fold:
    """The changes of one event to one case."""

    __slots__ = ("_stamp", "account", "case", "changes", "event")

    def __init__(self, case: Case, event: Event, account: str) -> None:
        self.case = case
        self.event = event
        self.account = account
        self._stamp = ""
        self.changes: dict[str, Any] = {}
        if event.at > case.updated_at:
            self.changes["updated_at"] = event.at

    @property
    def stamp(self) -> str:
        """The event's stamp."""
        if not self._stamp:
            self._stamp = stamp(self.event)
        return self._stamp

    def get(self, field: str) -> Any:
        """The field as this event has left it so far."""
        return self.changes[field] if field in self.changes else getattr(self.case, field)

    def newer(self, group: str) -> bool:
        """Whether this event is the newest that writes the group; if so its stamp is set."""
        stamps: dict[str, str] = self.get("stamps")
        if stamps.get(group, "") > self.stamp:
            return False
        self.changes["stamps"] = {**stamps, group: self.stamp}
        return True

    def written(self, group: str) -> bool:
        """Whether any event wrote the group."""
        return group in self.get("stamps")

    def set(self, field: str, value: Any) -> None:
        """Write one field, if this event is the newest that does."""
        if value is not None and self.newer(field):
            self.changes[field] = value

    def merge(self, old: M, new: BaseModel, prefix: str, *, leave: frozenset[str] = frozenset()) -> M:
        """``old`` with each field of ``new`` that has a value and is newer than what wrote it before."""
        stamps: dict[str, str] = self.get("stamps")
        found: dict[str, Any] = {}
        marks: dict[str, str] = {}
        for name in new.model_fields_set:
            value = getattr(new, name)
            group = f"{prefix}.{name}"
            if name not in leave and value not in (None, (), "") and stamps.get(group, "") <= self.stamp:
                found[name] = value
                marks[group] = self.stamp
        if not found:
            return old
        self.changes["stamps"] = {**stamps, **marks}
        return old.model_copy(update=found)

    def add_refs(self, refs: Any) -> None:
        """Union of references, in a fixed order."""
        named = tuple(refs)
        if not named:
            return
        known = {(one.kind, one.value, one.account): one for one in self.get("refs")}
        size = len(known)
        for ref in named:
            if ref.kind is not RefKind.CASE:
                known.setdefault((ref.kind, ref.value, ref.account), ref)
        if len(known) != size:
            self.changes["refs"] = tuple(sorted(known.values(), key=_ref_order))[:MOST_REFS]


def _ref_order(ref: Ref) -> tuple[str, str, str]:
    return (ref.kind, ref.value, ref.account or "")
