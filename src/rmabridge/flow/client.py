"""The HTTP client that plugins are lent: gated, guarded against private networks, and honest about what has left."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp import AiohttpTransport

from ..abilities import Plugin
from ..errors import Rejected
from .gate import Gate

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
TIMEOUT: Final = httpx.Timeout(20.0, connect=5.0, pool=5.0)
AGENT: Final = "rmabridge"


@dataclass(slots=True)
class Flight:
    """One attempt: whether a request that may have an effect has left (``earlier``: before the last quick try)."""

    sent: bool = False
    earlier: bool = False
    request: httpx.Request | None = None
    response: httpx.Response | None = None


FLIGHT: ContextVar[Flight | None] = ContextVar("flight", default=None)


@contextmanager
def flying(flight: Flight) -> Iterator[Flight]:
    """Requests inside note on ``flight`` that they have left."""
    token = FLIGHT.set(flight)
    try:
        yield flight
    finally:
        FLIGHT.reset(token)


async def _left(_: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestHeadersSentParams) -> None:
    flight = FLIGHT.get()
    if flight is not None and params.method not in SAFE:
        flight.sent = True


class PublicOnly(AbstractResolver):
    """Resolves names, but not to addresses of this machine or a private network."""

    def __init__(self) -> None:
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The public addresses of a host; raises ``Rejected`` when it has private ones."""
        found = await self._inner.resolve(host, port, family)
        for one in found:
            refuse_private(one["host"], host)
        return found

    async def close(self) -> None:
        """Nothing to close."""
        await self._inner.close()


def refuse_private(address: str, host: str) -> None:
    """Raise ``Rejected`` for an address that is not a public one."""
    try:
        public = ipaddress.ip_address(address.partition("%")[0]).is_global
    except ValueError:
        return
    if not public:
        raise Rejected(
            f"{host} is a private address", hint="set allow_private = true for this account if that is meant"
        )


class Sessions:
    """Two shared sessions: one that reaches the public net only, one that may reach private addresses."""

    def __init__(self) -> None:
        self._tls = httpx.create_ssl_context()
        self._open: dict[bool, aiohttp.ClientSession] = {}

    def get(self, *, private: bool) -> aiohttp.ClientSession:
        """The session for accounts of this kind."""
        if private not in self._open:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_left)
            resolver = aiohttp.ThreadedResolver() if private else PublicOnly()
            connector = aiohttp.TCPConnector(resolver=resolver, ssl=self._tls, limit=0, keepalive_timeout=30)
            self._open[private] = aiohttp.ClientSession(
                connector=connector, trace_configs=[trace], cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        return self._open[private]

    def client(self, plugin: Plugin, gate: Gate) -> httpx.AsyncClient:
        """The account's own client."""
        inner = AiohttpTransport(verify=self._tls, client=self.get(private=plugin.allow_private))
        transport = Guarded(inner, gate, plugin.allow_private)
        return Direct(transport=transport, timeout=TIMEOUT, headers={"User-Agent": AGENT}, trust_env=False)

    async def close(self) -> None:
        """Close both."""
        for one in self._open.values():
            await one.close()


class Direct(httpx.AsyncClient):
    """httpx without what the bridge never uses (redirects, auth flows, event hooks, cookies): half the CPU a call."""

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """Send one request; its answer is read unless ``stream``."""
        if _asked(options.get("auth")) or _asked(options.get("follow_redirects")):
            return await super().send(request, stream=stream, **options)
        response = await self._transport_for_url(request.url).handle_async_request(request)
        response.request = request
        response.default_encoding = self._default_encoding
        if not stream:
            await response.aread()
        return response


def _asked(option: Any) -> bool:
    return option is not httpx.USE_CLIENT_DEFAULT and bool(option)


class Guarded(httpx.AsyncBaseTransport):
    """Takes each request through the account's gate and notes the exchange."""

    def __init__(self, inner: AiohttpTransport, gate: Gate, private: bool) -> None:
        self._inner, self._gate, self._private = inner, gate, private

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        if not self._private:
            refuse_private(request.url.host, request.url.host)
        await self._gate.turn()
        flight = FLIGHT.get()
        if flight is not None:
            flight.request, flight.response = request, None
        try:
            response = await self._inner.handle_async_request(request)
        except httpx.ConnectTimeout as error:
            raise _broken(error) from error.__cause__
        if flight is not None:
            flight.response = response
        return response

    async def aclose(self) -> None:
        """The sessions are shared; they are closed by ``Sessions``."""


def _broken(error: httpx.ConnectTimeout) -> httpx.TransportError:
    """The transport calls every broken connection a timeout; a refused or reset one is none, and may be tried again."""
    cause = error.__cause__
    if cause is None or isinstance(cause, TimeoutError):
        return error
    kind = httpx.ConnectError if isinstance(cause, aiohttp.ClientConnectorError) else httpx.ReadError
    return kind(str(cause) or type(cause).__name__)


def exchange(flight: Flight, most: int = 4000) -> dict[str, Any]:
    """The last request and answer as an operator may read them (not yet masked)."""
    if flight.request is None:
        return {}
    told: dict[str, Any] = {"request": f"{flight.request.method} {flight.request.url}"}
    with suppress(httpx.RequestNotRead):
        told["body"] = flight.request.content[:most].decode(errors="replace")
    if flight.response is not None:
        told["status"] = flight.response.status_code
        with suppress(httpx.ResponseNotRead):
            told["answer"] = flight.response.text[:most]
    return told
