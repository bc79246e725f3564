"""HTTP/1.1 on aiohttp's connections: its pool, TLS and parser, without its session, which costs as much again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import aiohttp
import httpx
from aiohttp.http import StreamWriter
from yarl import URL

from .messages import MOST_ANSWER, answer, too_large

if TYPE_CHECKING:
    import ssl

    from aiohttp.abc import AbstractResolver
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from aiohttp.http import RawResponseMessage
    from aiohttp.streams import StreamReader

BUFFERED: Final = 1 << 16
IDLE: Final = 30.0
ASKING: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# What every request says, unless it says something else itself.
SAID: Final = {
    b"user-agent": b"User-Agent: rmabridge",
    b"accept": b"Accept: */*",
    b"accept-encoding": b"Accept-Encoding: gzip, deflate",
}
IN_HTTPX: Final = (
    (TimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (Exception, httpx.ReadError),
)
UNKNOWN: Final = b"Content-Type: application/octet-stream"
LENGTHS: Final = frozenset({b"transfer-encoding", b"content-length"})
Ready = Callable[[], Awaitable[None]]


class Line:
    """The connections of accounts of one kind. Nothing is sent twice: a connection that breaks is told."""

    def __init__(self, resolver: AbstractResolver, tls: ssl.SSLContext) -> None:
        self.connector = aiohttp.TCPConnector(resolver=resolver, ssl=tls, limit=0, keepalive_timeout=IDLE)
        self._loop = asyncio.get_running_loop()
        self._target = lru_cache(maxsize=512)(self._aim)

    def _aim(self, scheme: str, host: bytes, port: int | None) -> aiohttp.ClientRequest:
        """Where a connection goes to, in the connector's words."""
        if scheme not in {"http", "https"} or not host:
            raise httpx.UnsupportedProtocol(f"{scheme}://{host.decode()} is no address of the web")
        return aiohttp.ClientRequest("GET", URL.build(scheme=scheme, host=host.decode(), port=port), loop=self._loop)

    async def send(self, request: httpx.Request, ready: Ready) -> httpx.Response:
        """Send a request and read its answer; ``ready`` is awaited when the connection stands, right before."""
        try:
            return await self._exchange(request, ready)
        except (aiohttp.ClientError, OSError) as error:
            raise _named(error) from error

    async def _exchange(self, request: httpx.Request, ready: Ready) -> httpx.Response:
        limits, body = request.extensions.get("timeout", {}), await request.aread()
        head = _head(request, len(body))
        connection = await self._connected(request, limits.get("connect"))
        try:
            await ready()
            message, body, whole = await _spoken(connection, request.method, head + body, limits.get("read"))
        except BaseException:
            connection.close()
            raise
        (connection.release if whole else connection.close)()
        return answer(message.code, message.raw_headers, body, request)

    async def _connected(self, request: httpx.Request, seconds: float | None) -> Connection:
        url = request.url
        target = self._target(url.scheme, url.raw_host, url.port)
        try:
            return await self.connector.connect(target, [], _patience(seconds))
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection to {url.host} in time") from error

    async def close(self) -> None:
        """Close all connections."""
        await self.connector.close()


@lru_cache(maxsize=64)
def _patience(seconds: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(sock_connect=seconds)


def _head(request: httpx.Request, size: int) -> bytes:
    """The request line and headers; a value that would add a line is refused."""
    said, lines = set(), [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    for name, value in request.headers.raw:
        said.add(small := name.lower())
        if small not in LENGTHS:
            lines.append(b"%s: %s" % (name, value))
    lines += [line for name, line in SAID.items() if name not in said]
    if size or request.method not in ASKING:
        lines.append(b"Content-Length: %d" % size)
        if b"content-type" not in said:
            lines.append(UNKNOWN)
    head = b"\r\n".join(lines)
    if head.count(b"\r") != len(lines) - 1 or head.count(b"\n") != len(lines) - 1 or b"\0" in head:
        raise ValueError("a header holds a line break")
    return head + b"\r\n\r\n"


async def _spoken(
    connection: Connection, method: str, text: bytes, seconds: float | None
) -> tuple[RawResponseMessage, bytes, bool]:
    """The answer, its body, and whether the connection may be used again."""
    protocol = connection.protocol
    if protocol is None or protocol.transport is None or protocol.transport.is_closing():
        raise aiohttp.ClientConnectionResetError("the connection was closed")
    protocol.set_response_params(
        skip_payload=method == "HEAD",
        read_until_eof=True,
        auto_decompress=False,
        read_timeout=seconds,
        read_bufsize=BUFFERED,
    )
    protocol.transport.write(text)
    if not protocol.writing_paused:
        protocol.start_timeout()
        return *await _heard(protocol), True
    leaving = asyncio.create_task(_gone(protocol))
    try:
        return *await _heard(protocol), leaving.done()
    finally:
        leaving.cancel()


async def _gone(protocol: ResponseHandler) -> None:
    """Wait until a large body has left; only then does the silence of the other side count."""
    with suppress(ConnectionError):
        await StreamWriter(protocol, asyncio.get_running_loop()).drain()
        protocol.start_timeout()


async def _heard(protocol: ResponseHandler) -> tuple[RawResponseMessage, bytes]:
    while True:
        message, payload = await protocol.read()
        if message.code >= 200 or message.code == 101:
            return message, await _read(payload, int(message.headers.get("Content-Length", 0)))


async def _read(payload: StreamReader, told: int) -> bytes:
    """The body; one that is told to be too large is not begun."""
    parts, size = [], 0
    refused = told > MOST_ANSWER and not payload.at_eof()
    while not refused and not payload.at_eof():
        parts.append(await payload.readany())
        size += len(parts[-1])
        refused = size > MOST_ANSWER
    if refused:
        raise too_large()
    return b"".join(parts)


def _named(error: Exception) -> Exception:
    """The same in httpx's words."""
    kind = next(ours for theirs, ours in IN_HTTPX if isinstance(error, theirs))
    return kind(str(error) or type(error).__name__)
