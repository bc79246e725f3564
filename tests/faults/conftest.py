"""Bridges start here by the hundred: what does not change while the tests run is read once."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace

import pytest

from rmabridge.core import templates


@pytest.fixture(scope="module", autouse=True)
def _quick_starts() -> Iterator[None]:
    """Templates are read once, not at every start of a bridge."""
    quick = SimpleNamespace(loads=cache(tomllib.loads), TOMLDecodeError=tomllib.TOMLDecodeError)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "tomllib", quick)
        yield
