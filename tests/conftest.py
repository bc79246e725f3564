"""Fixtures shared by all tests."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from opening import opens_store
from rmabridge import log

if TYPE_CHECKING:  # the contract of a plugin needs no bridge
    from rmabridge.testing.simulators.sink import Sink
    from worlds import World

# How fast examples are made is the machine's business. (In CI, hypothesis has settings of its own.)
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if not os.environ.get("CI"):
    settings.load_profile("busy")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks at the logs of all other tests comes last; what opens a store is marked."""
    for one in filter(opens_store, items):
        one.add_marker("store")
    items.sort(key=lambda one: one.get_closest_marker("last") is not None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that is not marked must open none: CI would run it on one store only."""
    os.environ["RMABRIDGE_TEST_OPENS"] = "yes" if item.get_closest_marker("store") else "no"


@pytest.fixture(scope="session")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every log line of the test run, as an operator would read it; of all processes that run it side by side."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "run.jsonl"


class Tee(logging.Handler):
    """Writes lines down as the bridge's own formatter makes them: the standard library's and structlog's."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file = path.open("a", encoding="utf-8")
        self.setFormatter(log._formatter())

    def emit(self, record: logging.LogRecord) -> None:
        """One line of the standard library."""
        self.file.write(self.format(record) + "\n")

    def __call__(self, logger: Any, method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """One line of structlog, which goes on as it was."""
        told = structlog.processors.format_exc_info(logger, method, {"level": method, **entry})
        self.file.write(log._line(logger, method, log.safe(logger, method, told)) + "\n")
        return entry


@pytest.fixture(scope="session")
def tee(logged: Path) -> Iterator[Tee]:
    """Where all tests log to, besides."""
    one = Tee(logged)
    yield one
    logging.getLogger().removeHandler(one)
    one.file.close()


@pytest.fixture(autouse=True)
def _teed(tee: Tee) -> None:
    root = logging.getLogger()
    if tee not in root.handlers:
        root.addHandler(tee)
    if not structlog.is_configured():
        # An ornate traceback of a greenlet's depth takes seconds to draw, while the loop stands still.
        plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
        structlog.configure(processors=[tee, *structlog.get_config()["processors"][:-1], plain])


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """An integrator's endpoint that counts."""
    from rmabridge.testing.simulators.sink import Sink

    async with Sink() as one:
        yield one


@pytest.fixture
async def world(tmp_path: Path, sink: Sink) -> AsyncIterator[World]:
    """A small running bridge."""
    from worlds import document, running

    async with running(document(tmp_path, sink.url), sink) as one:
        yield one
