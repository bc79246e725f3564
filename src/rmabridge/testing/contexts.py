"""Accounts and contexts for tests, without a running bridge."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import aiohttp
import httpx

from ..abilities import Context, Plugin
from ..flow.client import TIMEOUT, Direct
from ..flow.line import Line

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
        self._renewing = asyncio.Lock()

    async def get(self) -> dict[str, str] | None:
        """The token."""
        return self.token

    async def put(self, token: dict[str, str], *, expires: datetime | None = None) -> None:
        """Keep the token."""
        self.token, self.expires = token, expires

    @asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """One after the other."""
        async with self._renewing:
            yield


class Seen(httpx.AsyncBaseTransport):
    """Lets requests pass through httpx's own client, which is where respx looks for them."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._client = httpx.AsyncClient(transport=transport, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The transport's answer, read."""
        return await self._client.send(request)

    async def aclose(self) -> None:
        """Close the transport."""
        await self._client.aclose()


class Connections(httpx.AsyncBaseTransport):
    """The bridge's connections, without the gate of an account; there are none before the first request."""

    _line: Line | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read its answer."""
        if self._line is None:
            self._line = Line(aiohttp.ThreadedResolver(), _tls())
        return await self._line.send(request, _at_once)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._line is not None:
            await self._line.close()


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


async def _at_once() -> None:
    """Nothing is waited for."""


def client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """The client that the bridge lends to accounts, on its own connections or on those of a test."""
    return Direct(transport=Seen(transport or Connections()), timeout=TIMEOUT, trust_env=False)


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

    The default client is the bridge's own, as in production; respx sees it with ``respx.mock(using="httpx")``.
    """
    made = Context(name, http or client(), key, now, tokens or MemoryTokens(), sent, case, public_url)
    kept = {} if files is None else files

    async def blob(sha256: str) -> bytes:
        return kept[sha256]

    async def keep(data: bytes) -> str:
        kept[hashlib.sha256(data).hexdigest()] = data
        return hashlib.sha256(data).hexdigest()

    made.blob, made.keep = blob, keep
    return made
