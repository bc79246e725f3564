"""Accounts and contexts for tests, without a running bridge."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx
from httpx_aiohttp import AiohttpTransport

from ..abilities import Context, Plugin

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
P = TypeVar("P", bound=Plugin)


def account(plugin: type[P], name: str = "acc", **settings: Any) -> P:
    """A configured account of a plugin, as the registry would make it."""
    made = plugin.model_validate({"plugin": plugin.__name__.lower(), **settings})
    made._account = name  # noqa: SLF001
    return made


class MemoryTokens:
    """The account's token, kept for the length of a test."""

    def __init__(self, token: dict[str, str] | None = None) -> None:
        self.token = token
        self.expires: datetime | None = None

    async def get(self) -> dict[str, str] | None:
        """The token."""
        return self.token

    async def put(self, token: dict[str, str], *, expires: datetime | None = None) -> None:
        """Keep the token."""
        self.token, self.expires = token, expires


def context(
    name: str = "acc",
    *,
    http: httpx.AsyncClient | None = None,
    now: Callable[[], datetime] = lambda: NOON,
    key: str = "7d7f5d62-93ac-5b56-9d7b-4a4f8e0b1c11",
    tokens: MemoryTokens | None = None,
    sent: Callable[[], None] = lambda: None,
    case: str | None = "C1",
    public_url: str = "http://127.0.0.1:8080",
    files: dict[str, bytes] | None = None,
) -> Context:
    """What the bridge would lend to the account for one call; ``files`` are those of the case, by hash.

    The default client is httpx on its aiohttp transport as in production; respx sees it with
    ``respx.mock(using="httpx")``.
    """
    client = http or httpx.AsyncClient(transport=AiohttpTransport(), timeout=5)
    made = Context(name, client, key, now, tokens or MemoryTokens(), sent, case, public_url)
    kept = {} if files is None else files

    async def blob(sha256: str) -> bytes:
        return kept[sha256]

    async def keep(data: bytes) -> str:
        kept[hashlib.sha256(data).hexdigest()] = data
        return hashlib.sha256(data).hexdigest()

    made.blob, made.keep = blob, keep
    return made
