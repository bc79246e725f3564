"""The HTTP client that plugins are lent: gated, guarded against private networks, and honest about what has left."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from time import monotonic
from typing import Any, Final
from urllib.parse import quote, quote_plus

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic_core import to_json

from ..abilities import Plugin
from ..abilities.secrets import told
from ..errors import Rejected
from .gate import Gate
from .line import Line
from .messages import question
from .traces import OFF, Traces

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# ``extensions={"reads": True}`` says of a POST that it only asks.
READS: Final = "reads"
TIMEOUT: Final = httpx.Timeout(20.0, connect=5.0, pool=5.0)
LIMITS: Final = TIMEOUT.as_dict()


@dataclass(slots=True)
class Flight:
    """One attempt: whether a request that may have an effect has left (``earlier``: before the last quick try).

    ``hurried``: it was claimed, and may as well be claimed again when there is room. ``owner``: whose secrets
    nobody may read of it.
    """

    sent: bool = False
    earlier: bool = False
    hurried: bool = False
    owner: Plugin | None = None
    request: httpx.Request | None = None
    response: httpx.Response | None = None

    def hiding(self, text: str) -> str:
        """The text without the secrets, as they are and as addresses, forms and JSON spell them."""
        for one in told(self.owner) if self.owner else ():
            for spelt in {one, quote(one, safe=""), quote(one), quote_plus(one), to_json(one).decode()[1:-1]}:
                text = text.replace(spelt, "***")
        return text


FLIGHT: ContextVar[Flight | None] = ContextVar("flight", default=None)


@contextmanager
def flying(flight: Flight) -> Iterator[Flight]:
    """Requests inside note on ``flight`` that they have left."""
    token = FLIGHT.set(flight)
    try:
        yield flight
    finally:
        FLIGHT.reset(token)


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


# IPv6 addresses behind which an IPv4 one stands: a gateway of the network would carry the call on to it (NAT64, 6to4).
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
COMPATIBLE: Final = ipaddress.IPv6Network("::/96")


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address, and the IPv4 one that it may carry, is one of the public net."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in NAT64 or address in COMPATIBLE:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.is_site_local or (inner is not None and not is_public(inner)):
            return False
    return address.is_global and not address.is_multicast


@lru_cache(maxsize=1024)
def refuse_private(address: str, host: str) -> None:
    """Raise ``Rejected`` for an address that is not a public one."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return
    if not is_public(found):
        raise Rejected(
            f"{host} is a private address", hint="set allow_private = true for this account if that is meant"
        )


class Sessions:
    """Two shared pools of connections: one that reaches the public net only, one that may reach private addresses."""

    def __init__(self, traces: Traces = OFF) -> None:
        self._traces = traces
        self._open: dict[bool, Line] = {}

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()

    def get(self, *, private: bool) -> Line:
        """The connections of accounts of this kind."""
        if private not in self._open:
            self._open[private] = Line(aiohttp.ThreadedResolver() if private else PublicOnly(), self._tls)
        return self._open[private]

    def client(self, plugin: Plugin, gate: Gate) -> httpx.AsyncClient:
        """The account's own client."""
        transport = Guarded(lambda: self.get(private=plugin.allow_private), gate, plugin.allow_private, self._traces)
        return Direct(transport=transport, timeout=TIMEOUT, trust_env=False)

    async def close(self) -> None:
        """Close both."""
        for one in self._open.values():
            await one.close()


class Direct(httpx.AsyncClient):
    """httpx without what the bridge never uses (event hooks, cookies, a session's state): most of its CPU is saved."""

    def build_request(self, method: str, url: httpx.URL | str, **parts: Any) -> httpx.Request:
        """The request, as httpx builds it for an absolute address."""
        if parts.pop("cookies", None):
            raise TypeError("cookies are not kept; send them as a header")
        timeout, extensions = parts.pop("timeout", httpx.USE_CLIENT_DEFAULT), parts.pop("extensions", None) or {}
        chosen = LIMITS if timeout is httpx.USE_CLIENT_DEFAULT else httpx.Timeout(timeout).as_dict()
        address = _address(url) if isinstance(url, str) else url
        named = {name: value for name, value in parts.items() if value is not None}
        body, headers, told = named.pop("content", b""), named.pop("headers", {}), {**extensions, "timeout": chosen}
        if named or not isinstance(body, bytes):
            return httpx.Request(method, address, headers=headers, content=body or None, extensions=told, **named)
        return question(method, address, headers, body, told)

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """Send one request; its answer has been read."""
        if _asked(options.get("auth")) or _asked(options.get("follow_redirects")) or request.url.userinfo:
            return await super().send(request, stream=stream, **options)
        return await self._transport.handle_async_request(request)


@lru_cache(maxsize=512)
def _address(url: str) -> httpx.URL:
    return httpx.URL(url)


def _asked(option: Any) -> bool:
    return option is not httpx.USE_CLIENT_DEFAULT and bool(option)


class Guarded(httpx.AsyncBaseTransport):
    """aiohttp under httpx: each request goes through the account's gate, and the exchange is noted."""

    def __init__(self, line: Callable[[], Line], gate: Gate, private: bool, traces: Traces = OFF) -> None:
        self._line, self._gate, self._private, self._traces = line, gate, private, traces

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read its answer."""
        if not self._private:
            refuse_private(request.url.host, request.url.host)
        flight = FLIGHT.get()
        until = await self._gate.turn(flight is not None and flight.hurried and flight.request is None)
        if flight is not None:
            flight.request, flight.response = request, None
        with self._traces.call(request) as note:
            response = await self._line().send(request, partial(self._leave, request, flight, until))
            note(status=response.status_code)
        if flight is not None:
            flight.response = response
        return response

    async def _leave(self, request: httpx.Request, flight: Flight | None, until: float) -> None:
        """The request leaves next; where its connection took longer than its turn, it takes another."""
        while monotonic() > until:
            until = await self._gate.turn()
        if flight is not None and request.method not in SAFE and not request.extensions.get(READS, False):
            flight.sent = True

    async def aclose(self) -> None:
        """The sessions are shared; they are closed by ``Sessions``."""


def exchange(flight: Flight, most: int = 4000) -> dict[str, Any]:
    """The last request and answer as an operator may read them, without the account's secrets (not yet masked)."""
    if flight.request is None:
        return {}
    seen: dict[str, Any] = {"request": flight.hiding(f"{flight.request.method} {flight.request.url}")}
    with suppress(httpx.RequestNotRead):
        seen["body"] = flight.hiding(flight.request.content.decode(errors="replace"))[:most]
    if flight.response is not None:
        seen["status"] = flight.response.status_code
        with suppress(httpx.ResponseNotRead):
            seen["answer"] = flight.hiding(flight.response.text)[:most]
    return seen
