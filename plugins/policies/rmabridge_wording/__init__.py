"""Wording: what is not said to customers is replaced, held or stopped, whoever says it; the words written are kept.

About 150 rules in six groups (``rules.toml``): cold and denying words, absolute words and promises, words of the trade,
blame, passing the customer on to the carrier, contact and money outside of the platform with bought reviews. What only
looks like one is in ``whitelist.toml``, abbreviations and what customers call them in ``glossary.toml``. The lists are
the project's own. Which law or platform rule a rule points to is named beside it; that is no legal advice, and what a
marketplace allows is set in ``markets``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar, Final, TypeGuard

from pydantic import Field, PrivateAttr, model_validator

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, View
from rmabridge.core.reach import language, note
from rmabridge.model import (
    Action,
    Author,
    Case,
    CommentTicket,
    DeclineReturn,
    Event,
    Form,
    MessageReceived,
    PayRefund,
    RefKind,
    SendMessage,
    Verdict,
    allow,
    deny,
    hold,
)

from .lint import Finding, Linter, default, lint
from .rules import ABBREVIATION, Rule, Severity, load

__all__ = ["Finding", "Linter", "Wording", "lint"]

RULINGS: Final[dict[Severity, Callable[[str, str], Verdict]]] = {
    Severity.NOTE: allow,
    Severity.REPLACE: hold,
    Severity.HOLD: hold,
    Severity.DENY: deny,
}
# The fields of an action that its buyer reads.
READ: Final[dict[type[Any], tuple[str, ...]]] = {
    SendMessage: ("text", "subject"),
    CommentTicket: ("text",),
    PayRefund: ("note",),
    DeclineReturn: ("note",),
}
STRICT: Final = tuple(Severity)

_TAKEN: Final = re.compile("[\ue000-\ue0ff]")
PRIVATE: Final = 0xE000  # where Unicode keeps characters that nobody else uses
MOST_FIXED: Final = 200
CUT: Final = 12


class Wording(Policy):
    """Puts words to buyers right, and stops those that no words mend."""

    title: ClassVar[str] = "Wording"
    hears: ClassVar[frozenset[type[Any]]] = frozenset({MessageReceived})

    rules: Path | None = Field(None, description="a file of your own rules: it adds to, changes or removes the shipped")
    severity: dict[str, Severity] = Field(
        default_factory=dict, description="other severities, by rule id (``banned.insult``) or group (``jargon``)"
    )
    markets: dict[str, dict[str, Severity]] = Field(
        default_factory=dict, description="the same for single marketplace accounts, by what their own rules allow"
    )
    at_fault: tuple[str, ...] = Field(
        ("shop", "seller", "merchant", "warehouse"),
        description="causes or liable parties of a case by which a fault may be admitted",
    )
    tell_agents: bool = Field(
        True, description="note on the ticket what was changed in, or kept from, an agent's answer"
    )

    _own: Linter | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _load(self) -> Wording:
        """Read what the operator wrote; the shipped lists alone are read when the first words come."""
        try:
            self._own = Linter(load(self.rules)) if self.rules else None
        except OSError as error:
            raise ValueError(f"rules: {error}") from error
        for names in (self.severity, *self.markets.values()):
            if unknown := names.keys() - self._named() if names else ():
                raise ValueError(f"{', '.join(sorted(unknown))}: there is no such rule or group")
        return self

    def _named(self) -> set[str]:
        """The rules and groups that a severity may be given to."""
        return {part for one in self._linter.lists.rules for part in (one, one.partition(".")[0])} | {ABBREVIATION}

    @property
    def _linter(self) -> Linter:
        return self._own or default()

    def warm(self) -> None:
        """The shipped rules."""
        _ = self._linter

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """Tell an agent what became of their answer: as they wrote it, and each change with its rule."""
        if not (self.tell_agents and view.shop.helpdesk and _by_agent(event)):
            return
        said = event.message
        found = [(one, self._weight(one, case)) for one in self._linter.lint(said.text, language(case, view.shop))]
        if all(weight is Severity.NOTE for _, weight in found):
            return
        changes = [_shown(one, weight) for one, weight in found if weight is not Severity.NOTE]
        stopped = any(weight in {Severity.HOLD, Severity.DENY} for _, weight in found)
        words = note(case, view, "wording.note", Form.CHAT, changes=changes, original=said.text, stopped=stopped)
        yield CommentTicket(origin=f"wording:{said.id}", text=words.text)

    def amend(self, action: Action, case: Case, view: View) -> Action | None:
        """The action with what may not be said replaced."""
        locale, changes = _locale(action, case, view), {}
        fixed = _fixed(case, view)
        for name, text in _read(action):
            names = _named_in(text, fixed)
            hidden = _hidden(text, names)
            now = self._linter.reword(
                hidden, locale, replaced=lambda rule: self._severity(rule, case) is Severity.REPLACE
            )
            if now != hidden:
                changes[name] = _shown_again(now, names)
        return action.model_copy(update=changes) if changes else None

    def review(self, action: Action, case: Case, view: View) -> Verdict | None:
        """Hold or deny what a replacement does not mend: the strictest rule speaks, and all like it are named."""
        locale = _locale(action, case, view)
        fixed, linter = _fixed(case, view), self._linter
        texts = (_hidden(text, _named_in(text, fixed)) for _, text in _read(action))
        found = [(one, self._weight(one, case)) for text in texts for one in linter.lint(text, locale)]
        if not found:
            return None
        worst, weight = max(found, key=lambda one: STRICT.index(one[1]))
        alike = [f"“{one.found}” {one.rule.reason} ({one.rule.id})" for one, each in found if each is weight]
        return RULINGS[weight](f"wording.{worst.rule.id}", "; ".join(dict.fromkeys(alike)))

    def _severity(self, rule: Rule, case: Case) -> Severity:
        for names in (self.markets.get(case.marketplace or "", {}), self.severity):
            if said := names.get(rule.id) or names.get(rule.group):
                return said
        excused = rule.admits and bool({case.cause, case.liable} & set(self.at_fault))
        return Severity.NOTE if excused else rule.severity

    def _weight(self, finding: Finding, case: Case) -> Severity:
        """The finding's severity; where nothing is known to say instead, a person must find the words."""
        weight = self._severity(finding.rule, case)
        return Severity.HOLD if weight is Severity.REPLACE and not finding.say else weight


def _fixed(case: Case, view: View) -> list[str]:
    """What is a name and no wording: addresses, titles of goods, people, the shop. The longest first."""
    order, shop = case.order, view.shop
    people = [shop.title, case.buyer.name if case.buyer else None]
    goods = [name for one in (order.lines if order else ()) for name in (one.title, one.sku)]
    places = [shop.return_address, order.ship_to if order else None]
    parts = [part for one in places if one for part in _parts(one.model_dump(exclude_none=True))]
    found = {one for one in (*people, *goods, *parts) if one and len(one) > 1}
    return sorted(found, key=len, reverse=True)[:MOST_FIXED]


def _parts(told: Any) -> Iterator[str]:
    if isinstance(told, str):
        yield told
    elif isinstance(told, dict | list | tuple):
        for one in told.values() if isinstance(told, dict) else told:
            yield from _parts(one)


def _named_in(text: str, fixed: list[str]) -> list[str]:
    """The names as the text has them: a long one may be cut short, as templates do with titles of goods."""
    found = set()
    for one in fixed:
        at = text.find(one[:CUT])
        while at >= 0:
            found.add(_alike(one, text[at : at + len(one)]))
            at = text.find(one[:CUT], at + 1)
    return sorted(found, key=len, reverse=True)[:MOST_FIXED]


def _alike(one: str, other: str) -> str:
    """How both begin."""
    return "".join(mine for mine, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _hidden(text: str, fixed: list[str]) -> str:
    """Each name as one character that means nothing; one that is there already goes, it has no look of its own."""
    text = _TAKEN.sub("", text)
    for number, one in enumerate(fixed):
        if one in text:
            text = text.replace(one, chr(PRIVATE + number))
    return text


def _shown_again(text: str, fixed: list[str]) -> str:
    for number, one in enumerate(fixed):
        text = text.replace(chr(PRIVATE + number), one)
    return text


def _by_agent(event: Event) -> TypeGuard[MessageReceived]:
    """Whether an agent answered the customer on the ticket."""
    if not isinstance(event, MessageReceived) or event.message.author is not Author.AGENT:
        return False
    return event.message.public and any(one.kind is RefKind.TICKET for one in event.refs)


def _read(action: Action) -> Iterator[tuple[str, str]]:
    """The fields of an action that its buyer reads, with their texts."""
    inside = isinstance(action, SendMessage) and action.audience == "staff"
    if inside or (isinstance(action, CommentTicket) and not action.public):
        return
    for name in READ.get(type(action), ()):
        if text := getattr(action, name):
            yield name, text


def _locale(action: Action, case: Case, view: View) -> str:
    return (action.locale if isinstance(action, SendMessage) else None) or language(case, view.shop)


def _shown(finding: Finding, weight: Severity) -> dict[str, str | None]:
    said = finding.say if weight is Severity.REPLACE else None
    return {"rule": finding.rule.id, "found": finding.found, "said": said, "reason": finding.rule.reason}


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [Wording]
