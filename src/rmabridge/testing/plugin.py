"""The pytest plugin for plugin authors: markers, the fixtures ``noon`` and ``bridge_context``, and real servers.

Every test run on a machine with rmabridge loads this file, so whatever is heavy is imported when it is used.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # without the extra "testing" other projects' tests must still start
    async_fixture = pytest.fixture  # type: ignore[assignment]

if TYPE_CHECKING:
    from ..abilities import Context

MARKERS: Final = (
    "row(*numbers): the requirement rows that this test proves",
    "real(name): needs a real server of that name; skipped where it is not installed, failed in CI",
    "slow: takes more than a few seconds",
    "evidence(plugin, kind): what this test is evidence of, for the plugin's quality level",
)

pytest.register_assert_rewrite("rmabridge.testing.contract")


def _request_tracker() -> str | None:
    from .real_rt import MISSING, installed

    return None if installed() else MISSING


def _dovecot() -> str | None:
    from .real_imap import MISSING, installed

    return None if installed() else MISSING


# What ``@pytest.mark.real(name)`` asks: why the real part is missing, or None where it is there. Add your own.
REAL: Final[dict[str, Callable[[], str | None]]] = {"dovecot": _dovecot, "request_tracker": _request_tracker}


class Noon:
    """A clock that stands at noon until it is told to go on; calling it tells the time."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def advance(self, **by: float) -> datetime:
        """Go on by ``hours=2``, ``minutes=…``, ``seconds=…``; the new time."""
        self.at += timedelta(**by)
        return self.at


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--evidence``: quality levels rest on what a test run saw."""
    group = parser.getgroup("rmabridge")
    group.addoption("--evidence", metavar="FILE", help="write down which evidence of plugins' quality passed")


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known to ``--strict-markers``; collect evidence where a file for it is named."""
    for line in MARKERS:
        config.addinivalue_line("markers", line)
    if path := config.getoption("--evidence", default=None):
        from .quality.collecting import start

        start(config, path)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose real server is missing; fail it where ``CI`` is set, for there it must not be missing."""
    for mark in item.iter_markers("real"):
        name = str(mark.args[0]) if mark.args else ""
        asked = REAL.get(name)
        if asked is None:
            pytest.fail(f"real({name!r}): known are {', '.join(sorted(REAL))}", pytrace=False)
        if reason := asked():
            _missing(reason)


def _missing(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def noon() -> Noon:
    """A clock at noon of 2 January 2026, UTC; ``noon.advance(hours=2)`` moves it."""
    from .contexts import NOON

    return Noon(NOON)


@async_fixture
async def bridge_context(noon: Noon) -> AsyncIterator[Context]:
    """What the bridge lends to an account for one call; its clock is ``noon``, its client is closed at the end."""
    from .contexts import context

    lent = context(now=noon)
    yield lent
    await lent.http.aclose()


__all__ = ["MARKERS", "REAL", "Noon", "bridge_context", "noon"]
