"""Verdicts: what a policy says of a proposed action, and why."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime

from .stored import Value


class Ruling(StrEnum):
    """Sorted from mild to strict; the strictest of all verdicts wins."""

    ALLOW = "allow"
    HOLD = "hold"
    DENY = "deny"


class Verdict(Value):
    """One policy's ruling on one action.

    A hold waits for an approval, or (``until``) for a time. An allowance lasts, or (``until``) ends at a time: what has
    not gone by then is judged again before it goes. ``rule`` is the rule's id, ``reason`` a sentence.
    """

    ruling: Ruling
    rule: str
    reason: str
    policy: str = ""
    version: str = "1"
    until: AwareDatetime | None = None


def allow(rule: str, reason: str, *, until: AwareDatetime | None = None) -> Verdict:
    """The rule looked and has nothing against it, for good or until a time."""
    return Verdict(ruling=Ruling.ALLOW, rule=rule, reason=reason, until=until)


def hold(rule: str, reason: str, *, until: AwareDatetime | None = None) -> Verdict:
    """The action waits: for a person's approval, or until a time."""
    return Verdict(ruling=Ruling.HOLD, rule=rule, reason=reason, until=until)


def deny(rule: str, reason: str) -> Verdict:
    """The action must not happen."""
    return Verdict(ruling=Ruling.DENY, rule=rule, reason=reason)
