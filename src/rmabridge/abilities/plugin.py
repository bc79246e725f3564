"""The base of every plugin: a pydantic model; its fields are its settings, its async methods its abilities."""

# Here and where else many models inherit from, annotations are no text (no ``from __future__ import annotations``):
# pydantic would read it again for every class that inherits it, at every start. Quoted is what the reference names.
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import FunctionType
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, PrivateAttr

from ..model import Action
from .context import Handler

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Performs:
    """What ``@performs`` notes on a method."""

    action: type[Any] | None
    facts: dict[str, Any]


def performs(action: type[Any] | None = None, **facts: Any) -> "Callable[[F], F]":
    """Mark an async method as the one that carries out ``action``.

    An ability marks its abstract method; a plugin that knows more of its vendor marks its own again with the facts
    that differ: ``@performs(repeatable=True, remembers=timedelta(hours=2))``. Facts are the fields of ``Handler``;
    ``find`` is the name of the method that looks an uncertain delivery up.
    """

    def mark(method: F) -> F:
        method.__performs__ = Performs(action, facts)  # type: ignore[attr-defined]
        return method

    return mark


class Plugin(BaseModel):
    """One configured account of one plugin. Two accounts of one plugin are two objects, never equal.

    The fields here are understood by the bridge itself; a plugin adds its own with ``Field(description=…)`` and
    ``SecretStr`` for what must not be shown.
    """

    # The abilities and the parts of a plugin that has several files are classes of which no object is ever made.
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, ignored_types=(Performs,), defer_build=True)

    # Shown by ``rmabridge plugins``; the module's docstring tells the rest.
    title: ClassVar[str] = ""
    reference: ClassVar[str] = ""

    plugin: str = Field("", description="which plugin this account uses")
    dry_run: bool = Field(False, description="receive, decide and show everything, but let nothing leave")
    max_body: int = Field(1 << 20, gt=0, description="largest webhook body accepted, bytes")
    intake_rate: str | None = Field(None, description="most webhooks taken, e.g. '100/s'; above it the answer is 429")
    allow_from: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description="networks that webhooks may come from, looked at before the signature; left out, any",
    )
    rate: str | None = Field(None, description="most calls to the vendor, e.g. '10/s' or '200/min'")
    in_flight: int = Field(8, gt=0, description="most calls to the vendor at the same time")
    tries: int = Field(16, gt=0, description="tries of one delivery before it becomes a dead letter")
    over: timedelta = Field(timedelta(hours=72), description="time over which the tries are spread")
    breaker: int = Field(5, gt=0, description="failures in a row that open the account's breaker")
    breaker_pause: timedelta = Field(timedelta(seconds=30), description="how long an open breaker waits for its probe")
    poll_every: timedelta = Field(timedelta(minutes=1), description="pause between polls, for plugins that poll")
    reconcile_every: timedelta | None = Field(
        timedelta(hours=6), description="pause between comparisons with the platform, for plugins that can list"
    )
    allow_private: bool = Field(False, description="let calls go to private and loopback addresses")

    _account: str = PrivateAttr(default="")
    _table: ClassVar[dict[type[Any], tuple[str, dict[str, Any]]]] = {}

    @property
    def account(self) -> str:
        """The account's name in the configuration."""
        return self._account

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        table: dict[type[Any], tuple[str, dict[str, Any]]] = {}
        by_name: dict[str, type[Any]] = {}
        for base in reversed(cls.__mro__):
            for name, method in vars(base).items():
                mark = getattr(method, "__performs__", None) if isinstance(method, FunctionType) else None
                if mark is None:
                    continue
                action = mark.action or by_name.get(name)
                if action is None:
                    raise TypeError(f"{cls.__name__}.{name}: @performs names no action, and no ability declares one")
                by_name[name] = action
                table[action] = (name, {**table.get(action, (name, {}))[1], **mark.facts})
        cls._table = table

    @classmethod
    def performs(cls) -> frozenset[type[Any]]:
        """The actions that accounts of this plugin can carry out."""
        return frozenset(cls._table)

    def route(self, action: "Action") -> Handler | None:
        """The handler for an action, or None. (A hook: a plugin may also answer for itself.)"""
        entry = self._table.get(type(action))
        if entry is None:
            return None
        name, facts = entry
        bound = dict(facts)
        if find := bound.pop("find", None):
            bound["find"] = getattr(self, find)
        return Handler(getattr(self, name), **bound)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


RATE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*/\s*(s|sec|m|min|h|hour|d|day)\s*$")
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}


def per_second(rate: str) -> float:
    """``"10/s"`` or ``"200/min"`` as calls per second; anything else raises ``ValueError``."""
    if (found := RATE.match(rate)) and (number := float(found[1])) > 0:
        return number / _SECONDS[found[2]]
    raise ValueError(f"{rate!r} is not a rate; write for example '10/s' or '200/min'")
