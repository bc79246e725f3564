"""Vendors' own descriptions of their interfaces, and the requests of our plugins held against them.

A description is never kept in this repository. It is looked for, in this order, in the folders that
``RMABRIDGE_SPECS`` names, in ``../shared/specs`` beside the repository, in ``.venv/specs`` (where npm packages may be
unpacked), and among the installed Python packages. What is not there is skipped, and the reason says where it is
published.

The next vendor is one line of ``TABLE``: the plugin, the file, where it is published, and how it is read. Which
requests a plugin makes is taken from its contract classes: every call, lookup, fetch and probe that they list.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest
from reading import Check, aliyun, graphql, openapi, swagger

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Described:
    """A plugin whose vendor describes what it takes."""

    plugin: str
    files: tuple[str, ...]
    published: str
    read: Callable[[Path, frozenset[str]], Check]
    # What the vendor takes beside what it describes; whatever else is not described is taken for a slip of ours.
    beyond: frozenset[str] = frozenset()

    def check(self) -> Check:
        """The descriptions, read; skips the test where one is not there."""
        checks = [self.read(self._found(one), self.beyond) for one in self.files]

        def check(request: httpx.Request) -> list[str] | None:
            held = [wrong for one in checks if (wrong := one(request)) is not None]
            # Of several descriptions the one that knows the path speaks.
            return min(held, key=lambda wrong: (any("not found" in why for why in wrong), len(wrong)), default=None)

        return check

    def _found(self, file: str) -> Path:
        for folder in folders():
            if (path := folder / file).is_file():
                return path
        pytest.skip(f"{file} is in none of {', '.join(map(str, folders()))}; it is published as {self.published}")


def folders() -> list[Path]:
    """Where descriptions may lie."""
    named = [Path(one) for one in os.environ.get("RMABRIDGE_SPECS", "").split(os.pathsep) if one]
    installed = importlib.util.find_spec("httpx")
    packages = [Path(installed.origin).parents[1]] if installed and installed.origin else []
    return [*named, ROOT.parent / "shared" / "specs", ROOT / ".venv" / "specs", *packages]


TABLE: Final = (
    Described(
        "aliyun_sms",
        ("alibabacloud_dysmsapi20170525/client.py",),
        "PyPI package alibabacloud-dysmsapi20170525",
        aliyun,
    ),
    Described(
        "amazon",
        ("amazon/ordersV0.json", "amazon/messaging.json"),
        "github.com/amzn/selling-partner-api-models",
        swagger,
    ),
    Described(
        "chatwoot",
        ("chatwoot/chatwoot-application-api-openapi.yml",),
        "swagger of github.com/chatwoot/chatwoot",
        openapi,
        # Read by Chatwoot's builders of contacts and messages; the last is a custom attribute, which are free.
        beyond=frozenset({"source_id", "private", "rma_id"}),
    ),
    Described("shopify", ("shopify-dev-mcp/dist/data/admin_2026-10.json.gz",), "npm package @shopify/dev-mcp", graphql),
    Described("twilio", ("twilio/twilio_api_v2010.yaml",), "github.com/twilio/twilio-oai", openapi),
    Described(
        "ups",
        ("ups/Tracking.yaml", "ups/UPSTrackAlert.yaml", "ups/OAuthClientCredentials.yaml"),
        "github.com/UPS-API/api-documentation",
        openapi,
    ),
)
