"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rmabridge.testing.simulators.sink import Sink
from worlds import World, document, running


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """An integrator's endpoint that counts."""
    async with Sink() as one:
        yield one


@pytest.fixture
async def world(tmp_path: Path, sink: Sink) -> AsyncIterator[World]:
    """A small running bridge."""
    async with running(document(tmp_path, sink.url), sink) as one:
        yield one
