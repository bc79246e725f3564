"""Triage: reads what buyers write and says what the case is about, how serious and how angry it is, and why.

Simplified, Traditional and English. Phrases and a small linear model vote; where they are not sure they abstain. Level
and anger are set all the same, and the shop's ``classifier`` is asked where it has one. What a person or the
marketplace said stays: triage adds to it, and raises. It calls nobody and needs no network; ``classify`` is a pure
function of the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from math import exp
from typing import Any, ClassVar, Final

import tomli
from pydantic import Field, FilePath, PrivateAttr

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, View
from rmabridge.model import (
    Author,
    Case,
    CaseKind,
    CaseRequested,
    Classified,
    ClassifyText,
    CommentTicket,
    Event,
    Issue,
    MessageReceived,
    RefKind,
    UpdateTicket,
)

from .entities import Entities
from .triage import MARGIN, Kind, Triage, classify, kinds
from .words import LOCALES, read, shorten

__all__ = ["Entities", "Triage", "TriagePolicy", "classify"]

# Said by triage itself, these give way to what a later message makes clear.
SOFT: Final = frozenset({Issue.OTHER, Issue.PRODUCT_QUESTION, Issue.TRACKING_QUERY, Issue.HUMAN_AGENT})
MOST_REASONS: Final = 8
ASKED: Final = "triage:text:"


class TriagePolicy(Policy):
    """A first classification before anybody looks, from the buyer's own words."""

    title: ClassVar[str] = "Triage"
    hears: ClassVar[frozenset[type[Any]]] = frozenset({CaseRequested, MessageReceived, Classified})
    knows: ClassVar[frozenset[type[Any]]] = frozenset({Classified})

    margin: float = Field(
        MARGIN, ge=0, description="how far the best guess must lead for an issue to be named; higher abstains more"
    )
    lexicon: FilePath | None = Field(None, description="a file of the shop's own phrases, in the form of lexicon.txt")
    solutions: FilePath | None = Field(
        None, description="a file of the shop's own solutions, in the form of solutions.toml"
    )
    second_stage: bool = Field(
        True, description="have the shop's classifier, where it has one, read what is not sure here"
    )
    second_within: timedelta = Field(timedelta(hours=24), description="age past which a second reading is left out")
    suggest: bool = Field(True, description="put the solution for the issue on the ticket, as a note")
    presale_tag: str = Field("presale", description="tag of tickets that ask before they buy; empty sets none")

    _extra: tuple[str, ...] = PrivateAttr(default=())
    _solutions: dict[str, Any] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Read the shop's files; a line that cannot be read stops the start. Shipped words wait for a message."""
        self._extra = (self.lexicon.read_text("utf-8"),) if self.lexicon else ()
        if self._extra:
            classify("", extra=self._extra)
        self._solutions = tomli.loads(self.solutions.read_text("utf-8") if self.solutions else read("solutions.toml"))

    def warm(self) -> None:
        """The shipped phrases and weights."""
        classify("", extra=self._extra)

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """What the event's words add to the case, and the solution that fits."""
        if isinstance(event, Classified):
            yield from self._second(case, event, view)
        if not case.open or not (text := words(event)):
            return
        found = classify(text, margin=self.margin, extra=self._extra)
        changes = _changes(case, found)
        if changes:
            confidence = round(1 / (1 + exp(-found.margin)), 3)
            yield Classified(key=f"triage:{event.key}"[:512], at=view.now, confidence=confidence, **changes)
        yield from self._tell(case, changes.get("issue", case.issue), found.also, view)
        if found.issue is None and _names(case):
            yield from self._ask(event, text, view)

    def solution(self, issue: Issue, locale: str) -> str | None:
        """The note for agents on how such a case is solved."""
        row: dict[str, str] = self._solutions.get(issue, {})
        return row.get(locale) or row.get("en")

    def _ask(self, event: Event, text: str, view: View) -> Iterable[Proposal]:
        """Have the second stage read the words, where there is one."""
        asked = ClassifyText(
            event=event.key, asked_at=view.now, text=shorten(text), not_after=view.now + self.second_within
        )
        if self.second_stage and view.can(asked):
            yield asked

    def _second(self, case: Case, event: Classified, view: View) -> Iterable[Proposal]:
        """What follows from the second stage's word, where it was not overtaken by another."""
        if not case.open or not event.key.startswith(ASKED) or event.issue is None or event.issue is not case.issue:
            return
        kind = _kinds_by_issue()[event.issue]
        why = (_mark(event.issue), *event.why, *case.why)
        more = _named(case, kind) | {"why": tuple(dict.fromkeys(why))[:MOST_REASONS]}
        yield Classified(key=f"more:{event.key}"[:512], at=view.now, **more)
        yield from self._tell(case, event.issue, (), view)

    def _tell(self, case: Case, issue: Issue | None, also: tuple[Issue, ...], view: View) -> Iterable[Proposal]:
        if view.shop.helpdesk is None or issue is None:
            return
        needs = None if case.ticket.id or case.ref(RefKind.TICKET) else "ticket:open"
        if issue is Issue.PRODUCT_QUESTION and _presale(case) and self.presale_tag:
            yield UpdateTicket(origin=f"presale:{case.round}", add_tags=(self.presale_tag,), needs=needs)
        for one in dict.fromkeys((issue, *also)) if self.suggest else ():
            if text := self.solution(one, view.shop.locale):
                yield CommentTicket(origin=f"solution:{one}:{case.round}", text=text, needs=needs)


def words(event: Event) -> str:
    """What the buyer says in an event: a message, or the reason and notes of a request."""
    if isinstance(event, MessageReceived):
        return event.message.text if event.message.author is Author.BUYER else ""
    if isinstance(event, CaseRequested):
        said = (event.reason, event.note, *(part for line in event.lines for part in (line.reason, line.note)))
        return " ".join(dict.fromkeys(filter(None, said)))
    return ""


def _presale(case: Case) -> bool:
    return case.order is None and case.request is None and case.ref(RefKind.ORDER) is None


def _changes(case: Case, found: Triage) -> dict[str, Any]:
    """What the words add: nothing that somebody said is taken back, level and anger only rise."""
    changes: dict[str, Any] = {}
    named = found.issue if _may_name(case, found.issue) else None
    if named and named != case.issue:
        changes |= {"issue": named} | _named(case, Kind(named, found.family, found.sub))
    primary = named or case.issue
    also = tuple(dict.fromkeys((*case.also, *filter(None, (found.issue,)), *found.also)))
    also = tuple(one for one in also if one != primary and one not in SOFT)
    if set(also) != set(case.also):
        changes["also"] = also
    changes |= {name: high for name in ("level", "anger") if (high := getattr(found, name)) > getattr(case, name)}
    if case.language is None:
        changes["language"] = LOCALES[found.language]
    if changes:
        changes["why"] = _why(case, changes.get("issue"), found)
    return changes


def _may_name(case: Case, issue: Issue | None) -> bool:
    """A first word, or one in the place of a soft word of triage's own."""
    return issue is not None and _names(case)


def _names(case: Case) -> bool:
    """Whether nobody has said what the case is about, or triage itself in a soft word."""
    return case.issue is None or (case.issue in SOFT and _mark(case.issue) in case.why)


def _kinds_by_issue() -> dict[Issue, Kind]:
    return {one.issue: one for one in kinds().values()}


def _named(case: Case, kind: Kind) -> dict[str, Any]:
    """What a named issue says beside itself: the sub-cause, the kind of case and the family of complaints."""
    sub = None if kind.issue is Issue.PRODUCT_QUESTION and not _presale(case) else kind.sub
    cause = {"cause": kind.family} if kind.family and case.cause is None else {}
    return {"sub": sub} | _kind(case, kind.issue, kind.family) | cause


def _kind(case: Case, issue: Issue, family: str | None) -> dict[str, CaseKind]:
    """A question that turns out to be a complaint; what the marketplace calls a return stays one."""
    if case.kind is CaseKind.QUESTION and case.request is None and family and issue is not Issue.WARRANTY_REPAIR:
        return {"kind": CaseKind.COMPLAINT}
    return {}


def _mark(issue: Issue) -> str:
    return f"triage: {issue}"


def _why(case: Case, issue: Issue | None, found: Triage) -> tuple[str, ...]:
    """The phrases that spoke for it, the weightiest first; one's own mark leads where triage named the issue."""
    table = kinds()
    kept = [_mark(case.issue)] if case.issue and _mark(case.issue) in case.why else []
    ranked = sorted(found.phrases, key=lambda one: -one[2])
    said = [f"{phrase}: {table[code].issue if code in table else code}" for phrase, code, _ in ranked]
    return tuple(dict.fromkeys(([_mark(issue)] if issue else kept) + said))[:MOST_REASONS]


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [TriagePolicy]
