"""Policies: pure and synchronous. They propose actions, put the words right, and judge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import TypeAdapter, ValidationError

from ..model import Action, Case, Event, Verdict
from .plugin import Plugin

if TYPE_CHECKING:
    from .shop import Shop

MOST_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class Fact:
    """Something a policy wants to know that is not on the case: loaded for a whole batch, one query each.

    ``Fact("buyer_history")``: earlier cases of the buyer in this shop, newest first.
    ``Fact("case_rate", hours=24, by="issue")``: how many cases of the same issue the shop had in that time.
    ``Fact("earlier")``: a function that reads the buyer's newest earlier cases.
    ``Fact("incidents")``: a function ``(topic)`` that gives the shop's incidents of a topic, newest first.
    ``Fact("given", hours=24, by="proposer")``: a function ``(proposer, but="")`` that lists the amounts which that
    agent or policy gave in that time, or is about to give, in all cases; ``but`` is the key of an action to leave out.
    """

    name: str
    hours: int | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Timer:
    """Proposed by ``decide``: wake this case at ``due_at`` with ``DeadlineReached(name)``; None stops the clock."""

    name: str
    due_at: datetime | None


Proposal = Action | Event | Timer


@dataclass(slots=True)
class View:
    """What a policy may look at beside the case: the clock, the shop, supplied facts, and what was proposed before."""

    now: datetime
    shop: Shop
    facts: Mapping[str, Any] = field(default_factory=dict)
    ledger: Mapping[str, str] = field(default_factory=dict)
    render: Callable[..., Any] | None = None
    proposer: str = ""
    links: Callable[[str, str, str, datetime], str] | None = None
    actions: Callable[[str], Action | None] | None = None
    able: Callable[[Action], bool] | None = None

    def can(self, action: Action) -> bool:
        """Whether the shop has an account that carries such an action out."""
        return self.able is not None and self.able(action)

    def link(self, purpose: str, subject: str, expires: datetime, who: str = "") -> str | None:
        """The address of a page that lets ``who`` do one thing with this case; None where the bridge has no address."""
        return self.links(purpose, subject, who, expires) if self.links else None

    def action(self, key: str) -> Action | None:
        """The action of this key as it stands in the ledger."""
        return self.actions(key) if self.actions else None

    def proposed(self, key: str) -> bool:
        """Whether an action of this key is in the case's ledger, whatever became of it."""
        return key in self.ledger


@dataclass(frozen=True, slots=True)
class RuleText:
    """One active rule in words. ``then`` are (condition, id) of the rules that it leads to; ``deadline`` marks a time.

    ``source`` says whether the rule is shipped or was set by the operator.
    """

    id: str
    text: str
    source: Literal["default", "set"] = "default"
    then: tuple[tuple[str, str], ...] = ()
    deadline: bool = False


# Renders a template's words in the language asked for: ``say("rule.returns_window", days=30)``.
Say = Callable[..., str]


class Policy(Plugin):
    """The base of policy plugins. ``decide`` looks at the case as it is; the event is a hint, not a command."""

    # The case must have these before ``decide`` is called: the core fetches what is missing. Known: "order".
    requires: ClassVar[tuple[str, ...]] = ()
    facts: ClassVar[tuple[Fact, ...]] = ()
    # After which kinds of events ``decide`` can have something new to say; empty: after any.
    hears: ClassVar[frozenset[type[Any]]] = frozenset()
    # After the settling of which types of actions, where it hears of settled ones; empty: of any.
    settles: ClassVar[frozenset[str]] = frozenset()
    # Which of them it must hear of by themselves, though it saw the case with them when an earlier policy said so.
    minds: ClassVar[frozenset[type[Any]]] = frozenset()
    # Which of them it need not hear of when it said them itself: it goes on from them before it says them.
    knows: ClassVar[frozenset[type[Any]]] = frozenset()
    version: ClassVar[str] = "1"

    def warm(self) -> None:
        """Read what the first event would otherwise wait for; called in a thread once the bridge listens."""

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """Actions to take, events that follow (a classification, an offer), timers to set."""
        return ()

    def amend(self, action: Action, case: Case, view: View) -> Action | None:
        """The action with better words or fuller facts; None leaves it as it is."""
        return None

    def review(self, action: Action, case: Case, view: View) -> Verdict | None:
        """Allow, hold or deny, with a rule id and a reason; None has no opinion."""
        return None

    def describe(self, locale: str, shop: Shop, say: Say, case: Case | None = None) -> Iterable[RuleText]:
        """The active rules in words of the locale, for a shop or one case of it; left as it is, settings and values."""
        shipped = _shipped(type(self))
        for name, field_ in type(self).model_fields.items():
            if name not in Plugin.model_fields:
                value = getattr(self, name)
                yield RuleText(
                    id=f"{self.account or type(self).__name__.lower()}.{name}",
                    text=f"{field_.description}: {_plain(value)}",
                    source="default" if shipped and value == getattr(shipped, name) else "set",
                    deadline=isinstance(value, timedelta),
                )


@cache
def _shipped(policy: type[Policy]) -> Policy | None:
    """The policy as it is without any setting; None where it needs one."""
    try:
        return policy()
    except ValidationError:
        return None


def _plain(value: Any) -> str:
    """A setting's value in one line; secrets stay hidden."""
    found = TypeAdapter(Any).dump_python(value, mode="json", fallback=str)
    if found in (None, "", [], {}):
        return "-"
    text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
