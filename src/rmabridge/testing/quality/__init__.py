"""Quality levels of plugins, computed from what a test run saw; nobody can claim one.

========  ==================================================================================================
level     what was seen
========  ==================================================================================================
bronze    its contract classes passed, every check of them
silver    bronze, and it worked in a running bridge against its simulator (``end_to_end``), and somebody
          else's word was checked: a sample or vector that its vendor published (``vendor_sample``), or
          what gold asks for
gold      silver, and its requests were taken by a real server, or by the vendor's own description
          (``accepted``), and its module's docstring says what is not verified or not built
========  ==================================================================================================

A policy speaks to no vendor: silver asks it for the running bridge alone, and gold is out of its reach.

Tests say what they are evidence of by ``@pytest.mark.evidence(plugin, kind)``; contract classes by their ``plugin``.
``pytest --evidence FILE`` writes what passed, with a fingerprint of each plugin's source: a plugin that changed since
is not vouched for. The bundled plugins' file is ``rmabridge/testing/evidence.json``. A third party's is
``evidence.json`` inside its package, or ``rmabridge_NAME.evidence.json`` beside a module of one file.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ...loading import Source

CONTRACT: Final = "contract"
SAMPLE: Final = "vendor_sample"
LIVE: Final = "end_to_end"
ACCEPTED: Final = "accepted"
# What a test may be marked as evidence of; the contract is seen, not marked.
KINDS: Final = (SAMPLE, LIVE, ACCEPTED)
LEVELS: Final = ("bronze", "silver", "gold")
CHANGED: Final = "not checked since it changed"

SHIPPED: Final = Path(__file__).parents[1] / "evidence.json"
LIMITS: Final = re.compile(r"\b[Nn]ot (verified|built|tried)\b")
NO_SOURCE: Final = frozenset({".pyc", ".md"})


@dataclass(frozen=True, slots=True)
class Quality:
    """The level of a plugin (empty for none), why it is no higher, and the tests it rests on, by kind."""

    level: str
    lacking: tuple[str, ...] = ()
    seen: Mapping[str, Mapping[str, int]] | None = None

    @property
    def shown(self) -> str:
        """The level in a word, or why there is none."""
        return self.level or (CHANGED if self.lacking == (CHANGED,) else "none")

    @property
    def counted(self) -> dict[str, list[str]]:
        """The tests that the level rests on, by kind; one that ran with several arguments says how often it passed."""
        return {
            kind: [f"{test} ({passed})" if passed > 1 else test for test, passed in sorted(tests.items())]
            for kind, tests in (self.seen or {}).items()
        }


def quality(source: Source) -> Quality:
    """What the plugin's evidence is worth today; nothing is imported."""
    module = home(source)
    if module is None:
        return Quality("", ("its source is not found",))
    found = _noted(source, module)
    if found is None:
        return Quality("", ("no test run was written down for it: pytest --evidence FILE",))
    if found.get("source") != fingerprint(module):
        return Quality("", (CHANGED,))
    return judged(found, limits_written(module))


def last(source: Source) -> Quality:
    """What the evidence was worth when it was written down, whatever has changed since: for tables in documents."""
    module = home(source)
    found = _noted(source, module) if module else None
    return judged(found, limits_written(module)) if module and found else Quality("")


def judged(found: Mapping[str, Any], limits: bool) -> Quality:
    """The level that these notes of a test run come to."""
    seen, failed, policy = found.get("seen") or {}, found.get("failed") or {}, found.get("policy") is True
    kept = {kind: tests for kind, tests in seen.items() if tests and not failed.get(kind)}
    level = ""
    for name, asked in zip(LEVELS, _asked(kept, failed, limits=limits, policy=policy), strict=True):
        if lacking := tuple(why for given, why in asked if not given):
            return Quality(level, tuple(f"for {name}: {why}" for why in lacking), kept)
        level = name
    return Quality(level, (), kept)


Asked = tuple[tuple[bool, str], ...]


def _asked(kept: Mapping[str, Any], failed: Mapping[str, Any], *, limits: bool, policy: bool) -> tuple[Asked, ...]:
    """What each level asks for beyond the one below: whether it is there, and what to say where it is not."""

    def of(kind: str, wanted: str) -> tuple[bool, str]:
        return kind in kept, f"{wanted} failed ({failed[kind][0]})" if failed.get(kind) else f"no {wanted} passed"

    told = SAMPLE in kept or ACCEPTED in kept
    sample = told, of(SAMPLE, "test of a sample that the vendor published, nor one of what gold asks for,")[1]
    live = of(LIVE, "test in a running bridge")
    bronze = (of(CONTRACT, "contract class"),)
    if policy:
        return bronze, (live,), ((False, "a policy has no vendor to ask"),)
    accepted = of(ACCEPTED, "test against the vendor's description or a real server")
    return bronze, (sample, live), (accepted, (limits, "the docstring names nothing that is not verified or not built"))


def fingerprint(module: Path) -> str:
    """A digest of the plugin's source and data; ``module`` is its file, of a package ``__init__.py``."""
    digest = hashlib.sha256()
    for name, path in sorted(_files(module)):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _files(module: Path) -> Iterator[tuple[str, Path]]:
    if module.name != "__init__.py":
        yield module.name, module
        return
    beside = _beside(module)
    for path in module.parent.rglob("*"):
        name = path.relative_to(module.parent)
        hidden = any(one.startswith(".") for one in name.parts)
        if path.is_file() and not hidden and path.suffix not in NO_SOURCE and path != beside:
            yield name.as_posix(), path


def limits_written(module: Path) -> bool:
    """Whether the module's docstring says what is not verified or not built."""
    try:
        doc = ast.get_docstring(ast.parse(module.read_bytes())) or ""
    except (SyntaxError, ValueError):
        return False
    return LIMITS.search(doc) is not None


def home(source: Source) -> Path | None:
    """The file of the plugin's module, of a package its ``__init__.py``."""
    if source.path:
        return source.path
    try:
        spec = importlib.util.find_spec(source.module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


def _beside(module: Path) -> Path:
    """Where a third party's evidence lies."""
    return module.parent / ("evidence.json" if module.name == "__init__.py" else f"{module.stem}.evidence.json")


def _noted(source: Source, module: Path) -> Mapping[str, Any] | None:
    """What a test run wrote of the plugin: beside its module, else in the file of the bundled ones."""
    for path in (_beside(module), SHIPPED):
        if isinstance(found := _read(path).get(source.name), dict):
            return found
    return None


@cache
def _read(path: Path) -> Mapping[str, Any]:
    try:
        plugins = json.loads(path.read_bytes())["plugins"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return plugins if isinstance(plugins, dict) else {}
