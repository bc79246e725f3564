"""The plays in words: the states of each machine, what a closing needs, the matrix, queues, incidents and tiers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from rmabridge.abilities import RuleText, Say
from rmabridge.core.plays import Flow
from rmabridge.core.ranking import GRADES
from rmabridge.core.templates import nearest

if TYPE_CHECKING:
    from . import Plays


def describe(policy: Plays, locale: str, say: Say, flows: Iterable[Flow]) -> Iterator[RuleText]:
    """All rules of the plays; of the machines only those given."""
    tag = nearest(locale)
    for flow in flows:
        yield from _machine(flow, tag, say)
    yield from _matrix(policy, say)
    own = {one.id for one in policy.incidents}
    hours = f"{policy.statement.total_seconds() / 3600:g}"
    for one in policy.watch.rules:
        text = say("rule.incident", when=_terms(one, {"id", "roles"}), roles=", ".join(one.roles), hours=hours)
        yield RuleText(f"plays.incident.{one.id}", text, "set" if one.id in own else "default", deadline=True)
    for name, tier in policy.mover.tiers.items():
        text = say("rule.tier", tier=name, offers=", ".join(tier.offers))
        yield RuleText(f"plays.tier.{name}", text, "set" if name in policy.tiers else "default")


def _machine(flow: Flow, tag: str, say: Say) -> Iterator[RuleText]:
    title = flow.title.get(tag, flow.id)
    for name, state in flow.states.items():
        then = tuple(("", f"plays.{flow.id}.{one}") for one in state.next)
        yield RuleText(f"plays.{flow.id}.{name}", f"{title} · {state.title.get(tag, name)}", then=then)
    if flow.needs:
        yield RuleText(f"plays.{flow.id}.needs", say("rule.needs", play=title, needs=", ".join(flow.needs)))


def _matrix(policy: Plays, say: Say) -> Iterator[RuleText]:
    ranking = policy.mover.ranking
    for urgency in GRADES:
        for importance in GRADES:
            given = {"urgency": urgency, "importance": importance, "priority": ranking.matrix[urgency][importance]}
            own = importance in policy.matrix.get(urgency, {})
            name = f"plays.matrix.{urgency}.{importance}"
            yield RuleText(name, say("rule.matrix", **given), "set" if own else "default")
    for number, one in enumerate(ranking.queues, 1):
        text = say("rule.queue", queue=one.queue, when=_terms(one.when, set()))
        yield RuleText(f"plays.queue.{number}", text, "default" if policy.queues is None else "set")


def _terms(rule: BaseModel, left_out: set[str]) -> str:
    """What a rule asks for, in a line; long lists are cut."""
    asked: dict[str, Any] = rule.model_dump(mode="json", exclude_defaults=True, exclude=left_out)
    return "; ".join(f"{name}: {_brief(value)}" for name, value in asked.items())


def _brief(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    named = ", ".join(map(str, sorted(value)[:5]))
    return f"{named} … ({len(value)})" if len(value) > 5 else named
