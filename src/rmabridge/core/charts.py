"""Rules as a Mermaid flow chart: a box for each rule, grouped by policy, with what follows from it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ..abilities import RuleText

_NO_ID: Final = re.compile(r"[^0-9A-Za-z_]")
_UNSAFE: Final = {'"': "#quot;", "#": "#35;", "<": "#lt;", ">": "#gt;", "&": "#amp;"}
# Times stand out: a double frame, and a colour of their own.
DEADLINE: Final = "fill:#fff3cd,stroke:#b8860b"
OWN: Final = "stroke-width:3px"


def mermaid(groups: Mapping[str, Sequence[RuleText]]) -> str:
    """The chart of all rules by policy; rules that the operator set have a thick frame, deadlines a colour."""
    return "\n".join(_lines(groups)) + "\n"


def _lines(groups: Mapping[str, Sequence[RuleText]]) -> Iterator[str]:
    yield "flowchart TD"
    for number, (policy, rules) in enumerate(groups.items(), 1):
        ids = {one.id: f"p{number}_{place}_{_NO_ID.sub('_', one.id)}" for place, one in enumerate(rules, 1)}
        yield f'  subgraph p{number}["{_safe(policy)}"]'
        for one in rules:
            yield f"    {ids[one.id]}{_box(one)}"
        yield "  end"
        for one in rules:
            for condition, after in one.then:
                label = f'|"{_safe(condition)}"|' if condition else ""
                yield f"  {ids[one.id]} -->{label} {ids[after]}"
        for style, marked in (("deadline", [one for one in rules if one.deadline]), ("own", _set(rules))):
            if marked:
                yield f"  class {','.join(ids[one.id] for one in marked)} {style}"
    yield f"  classDef deadline {DEADLINE}"
    yield f"  classDef own {OWN}"


def _set(rules: Sequence[RuleText]) -> list[RuleText]:
    return [one for one in rules if one.source == "set" and not one.deadline]


def _box(rule: RuleText) -> str:
    """A question is a rhombus, a time a double frame, all else a box."""
    text = f'"{_safe(rule.id)}: {_safe(rule.text)}"'
    if len(rule.then) > 1 and any(condition for condition, _ in rule.then):
        return "{" + text + "}"
    return f"[[{text}]]" if rule.deadline else f"[{text}]"


def _safe(text: str) -> str:
    """Text inside quotes: what Mermaid would read as its own signs is written as entity codes."""
    plain = "".join(" " if unicodedata.category(one).startswith("C") else one for one in text)
    return "".join(_UNSAFE.get(one, one) for one in plain)
