"""Fixtures of the flow tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clocked import Clocked, clocked


@pytest.fixture
def vendor() -> Iterator[Clocked]:
    """A vendor with a watch."""
    with clocked() as one:
        yield one
