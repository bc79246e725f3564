"""``pytest --evidence FILE``: what passed in a test run, by plugin and kind, for the levels of ``quality``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from ...abilities import Policy
from ...loading import sources
from ..contract import Contract
from . import CONTRACT, KINDS, fingerprint, home

PROPERTY: Final = "rmabridge_evidence"


@dataclass
class Notes:
    """What was seen of one plugin: how often each test passed, and which failed or did not run, by kind."""

    seen: dict[str, Counter[str]] = field(default_factory=dict)
    failed: dict[str, set[str]] = field(default_factory=dict)
    policy: bool = False

    def take(self, kind: str, test: str, outcome: str, when: str) -> None:
        """Note how a phase of a test ended."""
        if outcome == "failed":
            self.failed.setdefault(kind, set()).add(test)
        elif outcome == "passed" and when == "call":
            self.seen.setdefault(kind, Counter())[test] += 1


class Collector:
    """Notes how the tests that are evidence end, and writes the file when all are through."""

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self.notes: dict[str, Notes] = {}
        known = sources()
        self.names = {one.module: name for name, one in known.items()}
        self.homes = {name: file for name, one in known.items() if (file := home(one))}
        # As they are now, when nothing was imported: who edits while the tests run has not tested that.
        self.prints = {name: fingerprint(file) for name, file in self.homes.items()}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Write on each test what it is evidence of; with pytest-xdist that travels with its report."""
        for item in items:
            for name, kind, test, policy in self._told(item):
                item.user_properties.append((PROPERTY, [name, kind, test, policy]))

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """A contract of which checks were left out was not kept."""
        for item in items:
            for name, kind, test, policy in self._told(item):
                if kind == CONTRACT:
                    self._of(name, policy).failed.setdefault(kind, set()).add(f"{test}, which was left out")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a phase of a test ended."""
        for key, value in report.user_properties:
            if key == PROPERTY and isinstance(value, list):
                name, kind, test, policy = value
                shown = report.nodeid if report.failed else test
                self._of(name, policy).take(kind, shown, report.outcome, report.when)

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        if self.writes:
            told = {
                name: self._entry(name, file, one) for name, one in self.notes.items() if (file := self._home(name))
            }
            text = json.dumps({"plugins": told}, indent=1, sort_keys=True, ensure_ascii=False)
            self.path.write_text(text + "\n", encoding="utf-8")

    def _of(self, name: str, policy: bool) -> Notes:
        notes = self.notes.setdefault(name, Notes())
        notes.policy = notes.policy or policy
        return notes

    def _told(self, item: pytest.Item) -> Iterator[tuple[str, str, str, bool]]:
        """(plugin, kind, test, whether it is a policy) of everything that the test is evidence of."""
        test = item.nodeid.partition("[")[0]
        cls = getattr(item, "cls", None)
        plugin = getattr(cls, "plugin", None) if isinstance(cls, type) and issubclass(cls, Contract) else None
        if isinstance(plugin, type) and (name := self._name(plugin)):
            # A mark of the whole file is about the tests beside the contract.
            yield name, CONTRACT, test.rpartition("::")[0], issubclass(plugin, Policy)
            return
        for mark in item.iter_markers("evidence"):
            named, kind = marked(mark)
            yield named, kind, test, False

    def _name(self, plugin: type) -> str | None:
        """The plugin's name in a configuration; None for one that is no plugin of an installed or a loose module."""
        module = plugin.__module__
        for known, name in self.names.items():
            if module == known or module.startswith(f"{known}."):
                return name
        top = module.partition(".")[0]
        return top.removeprefix("rmabridge_") if top.startswith("rmabridge_") else None

    def _home(self, name: str) -> Path | None:
        """The file of the plugin's module; None where there is no such plugin."""
        loose = getattr(sys.modules.get(f"rmabridge_{name}"), "__file__", None)
        return self.homes.get(name) or (Path(loose) if loose else None)

    def _entry(self, name: str, file: Path, notes: Notes) -> dict[str, Any]:
        now = fingerprint(file)
        told: dict[str, Any] = {"source": now if self.prints.get(name, now) == now else "", "policy": notes.policy}
        told["seen"] = {kind: dict(tests) for kind, tests in notes.seen.items() if not notes.failed.get(kind)}
        failed = {kind: sorted(tests) for kind, tests in notes.failed.items()}
        return told | ({"failed": failed} if failed else {})


def marked(mark: pytest.Mark) -> tuple[str, str]:
    """The plugin and the kind of a mark; a mark that says something else stops the run."""
    if len(mark.args) == 2 and mark.args[1] in KINDS and isinstance(mark.args[0], str):
        return mark.args[0], mark.args[1]
    raise pytest.UsageError(f"evidence{mark.args!r}: name a plugin, and one of {', '.join(KINDS)}")


def start(config: pytest.Config, path: str) -> None:
    """Collect; with pytest-xdist only the first process writes."""
    config.pluginmanager.register(Collector(Path(path), writes=not hasattr(config, "workerinput")))
