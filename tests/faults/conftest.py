"""Bridges start here by the hundred: what does not change while the tests run is read once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import tomli

from rmabridge.core import templates
from rmabridge.testing.real_imap import imap_server

__all__ = ["imap_server"]
HERE = Path(__file__).parent
# Files whose simulator bears another name than the plugin.
PLUGINS = {"mail": "smtp"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A plugin's fault tests are evidence that it works in a running bridge."""
    bundled = {one.name for one in entry_points(group="rmabridge")}
    for item in items:
        named = item.path.stem.removeprefix("test_faults_")
        if item.path.parent == HERE and (plugin := PLUGINS.get(named, named)) in bundled:
            item.add_marker(pytest.mark.evidence(plugin, "end_to_end"))


@pytest.fixture(scope="module", autouse=True)
def _quick_starts() -> Iterator[None]:
    """Templates and the system's certificates are read once, not at every start of a bridge."""
    quick = SimpleNamespace(loads=cache(tomli.loads), TOMLDecodeError=tomli.TOMLDecodeError)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "tomli", quick)
        patch.setattr(httpx, "create_ssl_context", cache(httpx.create_ssl_context))
        yield
