"""Routing: sends each case to a group by rules, and alerts colleagues on every staff channel.

The first rule that matches wins. A rule that an earlier one always beats is reported by ``problems``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, View
from rmabridge.core.reach import language, note
from rmabridge.model import (
    NEWS,
    Case,
    Event,
    Form,
    Money,
    Route,
    Routed,
    SendMessage,
)


def _listed(given: Any) -> Any:
    return tuple(given) if isinstance(given, list | tuple | set) else (given,)


Values = Annotated[tuple[str, ...], BeforeValidator(lambda given: tuple(str(one) for one in _listed(given)))]


class When(BaseModel):
    """What a case must be like: all fields named, each with one of its values."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    shop: Values | None = None
    level: Values | None = None
    anger: Values | None = None
    kind: Values | None = None
    issue: Values | None = None
    status: Values | None = None
    marketplace: Values | None = None
    source: Values | None = None
    tag: Values | None = None
    locale: Values | None = None
    amount_over: Money | None = None

    def matches(self, seen: dict[str, tuple[str, ...]], amount: Money | None) -> bool:
        """Whether the case's facts are as asked for."""
        if self.amount_over and not _over(amount, self.amount_over):
            return False
        return all(
            any(_fits(name, one, have) for one in wanted for have in seen[name]) for name, wanted in self.named()
        )

    def named(self) -> list[tuple[str, tuple[str, ...]]]:
        """The fields that are asked for, but the amount."""
        values = ((name, getattr(self, name)) for name in type(self).model_fields if name != "amount_over")
        return [(name, wanted) for name, wanted in values if wanted is not None]

    def covers(self, other: When) -> bool:
        """Whether every case that ``other`` matches is matched here too."""
        theirs = dict(other.named())
        if self.amount_over and not _at_least(other.amount_over, self.amount_over):
            return False
        return all(
            name in theirs and all(any(_fits(name, mine, one) for mine in wanted) for one in theirs[name])
            for name, wanted in self.named()
        )


class Then(BaseModel):
    """Where a matching case goes, and who else hears of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    group: str | None = None
    priority: str | None = None
    tags: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


class Rule(BaseModel):
    """One line of the routing table."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    name: str | None = None
    when: When = When()
    then: Then = Then()


class Routing(Policy):
    """Groups, priorities and alerts, by rules."""

    title: ClassVar[str] = "Routing"
    requires: ClassVar[tuple[str, ...]] = ("order",)
    hears: ClassVar[frozenset[type[Any]]] = NEWS

    rules: tuple[Rule, ...] = Field((), description="rules in order; the first that matches routes the case")
    forms: dict[str, Form] = Field(
        default_factory=dict, description="form of a staff channel's messages, by account; chat where it is left out"
    )

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """A route where it changed, and one alert per channel and round."""
        if not case.open:
            return
        route = self.route_for(case, view) or case.route
        if route is not case.route and route != case.route and not isinstance(event, Routed):
            facts = route.model_dump(exclude={"rule"})
            yield Routed(key=f"routed:{route.rule}:{event.key}", at=view.now, rule=route.rule or "", **facts)
        for channel in dict.fromkeys((*view.shop.staff, *route.channels)):
            if not view.proposed(f"staff:case:{channel}:{case.round}"):
                yield self._alert(case, view, channel, route)

    def route_for(self, case: Case, view: View) -> Route | None:
        """The route that the first matching rule gives the case."""
        if not self.rules:
            return None
        seen, amount = _facts(case, view), _amount(case)
        for number, rule in enumerate(self.rules, 1):
            if rule.when.matches(seen, amount):
                return Route(rule=_name(rule, number), **rule.then.model_dump())
        return None

    def problems(self) -> list[str]:
        """Rules that can never match, because an earlier one takes all their cases."""
        found = []
        for number, rule in enumerate(self.rules, 1):
            for earlier, other in enumerate(self.rules[: number - 1], 1):
                if other.when.covers(rule.when):
                    found.append(f"{_name(rule, number)} never matches: {_name(other, earlier)} comes first")
                    break
        return found

    def _alert(self, case: Case, view: View, channel: str, route: Route) -> SendMessage:
        form = self.forms.get(channel, Form.CHAT)
        facts = {"kind": case.kind, "level": case.level, "group": route.group, "text": case.talk.last_text}
        words = note(case, view, "staff.case", form, **facts)
        return SendMessage(
            purpose=f"staff:case:{channel}:{case.round}",
            account=channel,
            form=form,
            to=view.shop.staff_to,
            audience="staff",
            text=words.text,
            subject=words.subject,
            template=words.template,
        )


def _facts(case: Case, view: View) -> dict[str, tuple[str, ...]]:
    return {
        "shop": (case.shop,),
        "level": (str(case.level),),
        "anger": (str(case.anger),),
        "kind": (case.kind,),
        "issue": tuple(filter(None, (case.issue, *case.also))),
        "status": (case.status,),
        "marketplace": _one(case.marketplace),
        "source": _one(case.source),
        "tag": case.order.tags if case.order else (),
        "locale": (language(case, view.shop),),
    }


def _one(value: str | None) -> tuple[str, ...]:
    return (value,) if value else ()


def _amount(case: Case) -> Money | None:
    if case.request and case.request.amount:
        return case.request.amount
    return case.order.total if case.order else None


def _over(amount: Money | None, limit: Money) -> bool:
    return amount is not None and amount.currency == limit.currency and amount > limit


def _at_least(amount: Money | None, limit: Money) -> bool:
    return amount is not None and amount.currency == limit.currency and amount >= limit


def _fits(name: str, wanted: str, have: str) -> bool:
    if name == "locale":
        return f"{have}-".casefold().startswith(f"{wanted}-".casefold())
    return wanted == have


def _name(rule: Rule, number: int) -> str:
    return rule.name or f"rule {number}"


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [Routing]
