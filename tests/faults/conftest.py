"""Bridges start here by the hundred: what does not change while the tests run is read once."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any

import pytest

from rmabridge import loading
from rmabridge.core import templates


@cache
def _installed(group: str) -> list[Any]:
    """The entry points, with the names of their packages: to find these out takes a while each."""
    known = entry_points(group=group)
    dists = [SimpleNamespace(name=one.dist.name if one.dist else "?") for one in known]
    return [SimpleNamespace(name=one.name, value=one.value, dist=dist) for one, dist in zip(known, dists, strict=True)]


@pytest.fixture(scope="module", autouse=True)
def _quick_starts() -> Iterator[None]:
    """Templates and entry points are read once, not at every start of a bridge."""
    quick = SimpleNamespace(loads=cache(tomllib.loads), TOMLDecodeError=tomllib.TOMLDecodeError)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "tomllib", quick)
        patch.setattr(loading, "entry_points", _installed)
        yield
