"""Incidents: the first case of a topic opens one and pages; every later one inside the window joins it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from rmabridge.abilities import Proposal, Timer, View
from rmabridge.core.plays import has
from rmabridge.core.reach import note
from rmabridge.model import (
    Case,
    CaseRequested,
    Classified,
    Event,
    Form,
    Incident,
    IncidentOpened,
    Issue,
    Ref,
    RefKind,
    SendMessage,
)

from .reading import IncidentRule

GRAVE: Final = (Issue.SAFETY_CRISIS, Issue.MEDIA_MASS_RISK)
CRISIS: Final = 3


class Page(BaseModel):
    """Where a role is paged."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    account: str = Field(description="the account of a channel")
    to: str = Field("staff", description="an address, a group, a number")
    form: Form = Form.CHAT


class Watch(BaseModel):
    """When a case is an incident, and who is told."""

    rules: tuple[IncidentRule, ...]
    window: timedelta
    statement: timedelta
    pages: dict[str, Page]

    def look(self, case: Case, event: Event, view: View) -> Iterator[Proposal]:
        """Open or join an incident, once."""
        if case.incident is not None or (rule := self._rule(case, event, view)) is None:
            return
        topic = rule.topic or topic_of(case)
        known = view.facts.get("incidents")
        running = [one for one in (known(topic) if known else ()) if view.now - one.opened_at <= self.window]
        incident = running[0] if running else self._new(case, rule, topic, view)
        refs = (Ref(kind=RefKind.INCIDENT, value=topic),)
        yield IncidentOpened(key=f"incident:{incident.id}:{case.id}", at=view.now, refs=refs, incident=incident)
        if case.level < CRISIS:
            yield Classified(key=f"incident-level:{incident.id}:{case.id}", at=view.now, level=CRISIS)
        if incident.case == case.id:
            yield Timer(f"incident:{incident.id}", incident.due_at)
            roles = self._rule_of(incident).roles
            yield from self.page(case, view, incident, roles, "incident.opened")

    def page(
        self, case: Case, view: View, incident: Incident, roles: Iterable[str], template: str
    ) -> Iterator[SendMessage]:
        """Tell each role once, in whichever case; a role without a page is told on the shop's staff channels."""
        stage = template.rpartition(".")[2]
        for role in roles:
            for page in self._pages(role, view):
                words = note(case, view, template, page.form, role=role, **facts(incident))
                yield SendMessage(
                    purpose=f"staff:incident:{stage}:{incident.id}:{role}:{page.account}",
                    account=page.account,
                    form=page.form,
                    to=page.to,
                    audience="staff",
                    text=words.text,
                    subject=words.subject,
                    template=words.template,
                    once=f"incident:{stage}:{incident.id}:{role}",
                )

    def late(self, case: Case, view: View) -> Iterator[SendMessage]:
        """The statement is due now."""
        if case.incident:
            yield from self.page(case, view, case.incident, self._rule_of(case.incident).roles, "incident.late")

    def _rule(self, case: Case, event: Event, view: View) -> IncidentRule | None:
        words = _words(case)
        return next((one for one in self.rules if self._holds(one, words, case, event, view)), None)

    def _holds(self, rule: IncidentRule, words: str, case: Case, event: Event, view: View) -> bool:
        if rule.words and has(words, rule.words):
            return True
        if rule.level is not None and case.level >= rule.level:
            return True
        if rule.similar is None or case.issue is None or (rule.issues and case.issue not in rule.issues):
            return False
        stored = view.facts.get("case_rate", {}).get(case.issue, 0)
        # The case is counted once it is stored; what was just said of it is not stored yet.
        fresh = isinstance(event, Classified | CaseRequested) and event.issue == case.issue
        return bool(stored + fresh >= rule.similar)

    def _new(self, case: Case, rule: IncidentRule, topic: str, view: View) -> Incident:
        return Incident(
            id=f"I{view.now:%Y%m%d}-{case.id}",
            topic=topic,
            rule=rule.id,
            case=case.id,
            opened_at=view.now,
            due_at=view.now + self.statement,
        )

    def _rule_of(self, incident: Incident) -> IncidentRule:
        return next((one for one in self.rules if one.id == incident.rule), IncidentRule(id=incident.rule))

    def _pages(self, role: str, view: View) -> list[Page]:
        own = self.pages.get(role)
        return [own] if own else [Page(account=one, to=view.shop.staff_to) for one in view.shop.staff[:1]]


def topic_of(case: Case) -> str:
    """What the crisis is about: a grave issue wherever it is named, else the issue."""
    said = {case.issue, *case.also}
    return next((one.value for one in GRAVE if one in said), (case.issue or Issue.OTHER).value)


def facts(incident: Incident) -> dict[str, Any]:
    """The incident as templates speak of it."""
    return {"incident": incident.id, "topic": incident.topic, "rule": incident.rule, "due": incident.due_at}


def _words(case: Case) -> str:
    request = case.request
    return " ".join(filter(None, (case.talk.last_text, request.note if request else None)))
