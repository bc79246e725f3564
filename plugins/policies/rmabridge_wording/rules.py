"""The rules of wording as data: the shipped files, and an operator's own that add to, change or remove them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any, Final

import tomli
from pydantic import BaseModel, ConfigDict, Field, field_validator

SCRIPTS: Final = ("zh-Hans", "zh-Hant", "en")
ABBREVIATION: Final = "jargon.abbreviation"


class Severity(StrEnum):
    """What a finding does: it is only recorded, replaced, waits for a person, or the words are never sent."""

    NOTE = "note"
    REPLACE = "replace"
    HOLD = "hold"
    DENY = "deny"


class Words(BaseModel):
    """A rule in one script: what is not said, and what is said instead."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    phrases: tuple[str, ...] = ()
    say: str = ""


class Rule(BaseModel):
    """One rule; its id is ``group.name``."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)

    id: str
    severity: Severity
    reason: str = Field(min_length=1)
    source: str = "own list"
    admits: bool = False
    pattern: str = ""
    hans: Words = Field(Words(), alias="zh-Hans")
    hant: Words = Field(Words(), alias="zh-Hant")
    en: Words = Words()

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern

    @property
    def group(self) -> str:
        """The first half of the id."""
        return self.id.partition(".")[0]

    def words(self, script: str) -> Words:
        """The rule's words in a script."""
        return {"zh-Hans": self.hans, "zh-Hant": self.hant, "en": self.en}[script]


class Lists(BaseModel):
    """Everything that the linter goes by."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    rules: dict[str, Rule]
    whitelist: tuple[str, ...]
    terms: dict[str, dict[str, str]]
    known: frozenset[str]
    polite: dict[str, tuple[str, ...]]


def shipped(name: str) -> dict[str, Any]:
    """One of the data files beside this module."""
    return tomli.loads((resources.files(__package__) / name).read_text(encoding="utf-8"))


def load(own: Path | None = None) -> Lists:
    """The shipped lists with the operator's own on top: its tables are those of the shipped files, in one file.

    A rule of the same id is changed field by field; ``remove = true`` takes it out.
    """
    mine = tomli.loads(own.read_text(encoding="utf-8")) if own else {}
    extra, glossary, polite = mine.pop("whitelist", {}), shipped("glossary.toml"), shipped("polite.toml")
    terms, known = mine.pop("terms", {}), mine.pop("known", {})
    whitelist = [
        one for lists in (shipped("whitelist.toml"), extra) for script in SCRIPTS for one in lists.get(script, ())
    ]
    return Lists(
        rules={one.id: one for one in _rules(shipped("rules.toml"), mine)},
        whitelist=tuple(dict.fromkeys(whitelist)),
        terms=glossary["terms"] | terms,
        known=frozenset(one for lists in (glossary["known"], known) for names in lists.values() for one in names),
        polite={script: tuple(one.casefold() for one in polite[script]) for script in SCRIPTS},
    )


def _rules(base: Mapping[str, Any], mine: Mapping[str, Any]) -> Iterator[Rule]:
    ids = dict.fromkeys((group, name) for tables in (base, mine) for group, rules in tables.items() for name in rules)
    for group, name in ids:
        own = dict(mine.get(group, {}).get(name, {}))
        if not own.pop("remove", False):
            yield Rule.model_validate({"id": f"{group}.{name}", **base.get(group, {}).get(name, {}), **own})
