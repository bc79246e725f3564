"""What events and results must be like, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from ...model import EVENTS, Event


def check_events(events: Iterable[Event]) -> None:
    """Fail where an event is not what the router can keep."""
    for event in events:
        name = type(event).__name__
        assert isinstance(event, BaseModel), f"{event!r} is no event"
        assert event.key.strip(), f"{name}: the key is empty"
        assert all(ref.value.strip() for ref in event.refs), f"{name}: a reference is empty"
        for path, value in walk(event, name):
            if isinstance(value, datetime):
                assert value.tzinfo is not None, f"{path} has no time zone"
            assert not isinstance(value, float), f"{path} is a float: money is Decimal, by model.Money"
            if isinstance(value, BaseModel):
                assert not value.model_extra, (
                    f"{path} has fields that the model does not: {sorted(value.model_extra or {})}"
                )
        again = EVENTS.validate_json(EVENTS.dump_json(event, by_alias=True))
        assert again == event, f"{name} is not the same after it was stored and read"


def keys(events: Iterable[Event]) -> list[str]:
    """The keys of the events."""
    return [one.key for one in events]


def walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value inside a document, with where it stands."""
    yield path, value
    if isinstance(value, BaseModel):
        inner: Iterable[tuple[Any, Any]] = [(name, getattr(value, name)) for name in type(value).model_fields]
    elif isinstance(value, Mapping):
        inner = value.items()
    elif isinstance(value, list | tuple | set | frozenset):
        inner = enumerate(value)
    else:
        return
    for name, one in inner:
        yield from walk(one, f"{path}.{name}")
