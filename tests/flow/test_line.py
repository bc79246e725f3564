"""Calls leave by aiohttp's connections and without its session: what is sent, what is read, what is used again."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rmabridge_http import Http
from rogue import OK, Rogue, answer

from rmabridge.flow.client import Flight, Sessions, flying
from rmabridge.flow.gate import Gate
from rmabridge.flow.messages import answer as made_answer
from rmabridge.flow.messages import question
from rmabridge.testing.contexts import account

URL = httpx.URL("https://shop.example:8443/a%20b?x=1")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """The client that an account is lent."""
    plugin, sessions = account(Http, url="http://127.0.0.1", allow_private=True), Sessions()
    async with sessions.client(plugin, Gate.of(plugin, lambda: datetime.now(UTC))) as made:
        yield made
    await sessions.close()


class Mirror:
    """Answers with what it was sent, and keeps each connection's socket apart."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls, self.callers = tls, []

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.url = f"http{'s' * bool(self._tls)}://localhost:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        assert request.transport
        self.callers.append(request.transport.get_extra_info("peername"))
        told = {name.lower(): value for name, value in request.headers.items()}
        return web.json_response({"headers": told, "path": request.raw_path, "size": len(await request.read())})


@pytest.mark.parametrize("body", [b"", b'{"a": 1}'])
@pytest.mark.parametrize("method", ["get", "POST", "DELETE"])
@pytest.mark.parametrize(
    "headers", [{}, {"X-One": "1", "content-type": "text/plain"}, {"Host": "other"}, {"content-length": "3"}]
)
def test_a_request_is_what_httpx_would_have_made(method: str, body: bytes, headers: dict[str, str]) -> None:
    ours = question(method, URL, headers, body, {"reads": True})
    theirs = httpx.Request(method, URL, headers=headers, content=body, extensions={"reads": True})
    assert _told(ours) == _told(theirs)
    assert sorted(ours.headers.raw) == sorted(theirs.headers.raw)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("status", [200, 404])
def test_an_answer_is_what_httpx_would_have_made(status: int, packed: bool) -> None:
    body = '{"id": "四十二"}'.encode()
    headers = [(b"Content-Type", b"application/json; charset=utf-8"), (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2")]
    headers.append((b"Content-Length", b"%d" % len(body)))
    if packed:
        headers, body = [*headers, (b"Content-Encoding", b"gzip")], gzip.compress(body)
    request = httpx.Request("GET", URL)
    ours, theirs = (make(status, headers, body, request) for make in (made_answer, _httpx_answer))
    assert _told(ours) == _told(theirs)
    assert ours.headers == theirs.headers
    assert (ours.text, ours.json(), ours.cookies) == (theirs.text, theirs.json(), theirs.cookies)


def _httpx_answer(status: int, headers: Any, body: bytes, request: httpx.Request) -> httpx.Response:
    return httpx.Response(status, headers=headers, content=body, request=request)


def _told(one: Any) -> dict[str, Any]:
    apart = {"headers", "stream", "_decoder", "_num_bytes_downloaded"}
    return {name: value for name, value in vars(one).items() if name not in apart}


async def test_what_every_request_says_may_be_said_otherwise(client: httpx.AsyncClient) -> None:
    async with Mirror() as mirror:
        plain = (await client.post(f"{mirror.url}/x", content=b"12")).json()["headers"]
        other = (await client.post(f"{mirror.url}/x", content=b"1", headers={"User-Agent": "me"})).json()["headers"]
        asked = (await client.get(f"{mirror.url}/x")).json()["headers"]
    assert {**plain, "host": ""} == {
        "host": "",
        "user-agent": "rmabridge",
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "content-type": "application/octet-stream",
        "content-length": "2",
    }
    assert other["user-agent"] == "me"
    assert not {"content-type", "content-length"} & asked.keys()


async def test_forms_queries_and_credentials_of_the_address_arrive(client: httpx.AsyncClient) -> None:
    async with Mirror() as mirror:
        form = await client.post(f"{mirror.url}/f%2Fg", data={"a": "b c"}, params={"q": "四"})
        known = await client.get(mirror.url.replace("//", "//me:secret@"))
        parts = await client.post(mirror.url, files={"file": ("a.png", b"x" * 9)})
    assert form.json()["path"] == "/f%2Fg?q=%E5%9B%9B"
    assert form.json()["headers"]["content-type"] == "application/x-www-form-urlencoded"
    assert known.json()["headers"]["authorization"] == "Basic bWU6c2VjcmV0"
    assert parts.json()["size"] > 9


async def test_a_connection_is_used_again_and_not_after_a_failure(client: httpx.AsyncClient) -> None:
    async with Mirror() as mirror:
        for _ in range(2):
            await client.get(mirror.url)
        with pytest.raises(ValueError, match="a header holds a line break"):
            await client.get(mirror.url, headers={"X-A": "1\r\nX-B: 2"})
        await client.head(mirror.url)
        await client.get(mirror.url)
    assert len(mirror.callers) == 4
    assert len(set(mirror.callers)) == 1


@pytest.mark.parametrize("broken", ["half", "reset"])
async def test_after_a_broken_answer_a_new_connection_is_made(client: httpx.AsyncClient, broken: str) -> None:
    async with Rogue(broken, OK) as server:
        with pytest.raises(httpx.ReadError):
            await client.get(server.url)
        assert (await client.get(server.url)).json() == {"id": "42"}


async def test_an_interim_answer_is_passed_over_and_an_empty_one_is_read(client: httpx.AsyncClient) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with Rogue(early + OK, b"HTTP/1.1 204 No Content\r\n\r\n", OK) as server:
        assert (await client.get(server.url)).status_code == 200
        empty = await client.get(server.url)
        assert (empty.status_code, empty.content) == (204, b"")
        assert (await client.get(server.url)).json() == {"id": "42"}


async def test_silence_is_a_timeout_and_what_left_is_noted(client: httpx.AsyncClient) -> None:
    async with Rogue("hang") as server:
        with flying(Flight()) as flight, pytest.raises(httpx.ReadTimeout):
            await client.post(server.url, content=b"1", timeout=httpx.Timeout(20, read=0.05))
    assert flight.sent


async def test_a_header_that_would_add_a_line_sends_nothing(client: httpx.AsyncClient) -> None:
    async with Rogue() as server:
        with flying(Flight()) as flight, pytest.raises(ValueError, match="line break"):
            await client.post(server.url, content=b"1", headers={"X-A": "1\nX-B: 2"})
        assert (flight.sent, server.requests) == (False, [])


async def _early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuse as soon as the head is there, and never read the body."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(answer("413 Too Large", b"{}"))
    await writer.drain()


async def test_an_answer_before_all_of_a_large_body_has_left_is_read(client: httpx.AsyncClient) -> None:
    kept: list[Any] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept.append(writer)
        await _early(reader, writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0, limit=1024)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for _ in range(2):
        assert (await client.post(url, content=b"x" * (32 << 20))).status_code == 413
    assert len(kept) == 2, "a connection with half a body in it is not used again"
    for one in kept:
        one.transport.abort()
    server.close()


async def test_a_large_body_arrives_whole(client: httpx.AsyncClient) -> None:
    async with Mirror() as mirror:
        assert (await client.post(mirror.url, content=b"x" * (16 << 20))).json()["size"] == 16 << 20


async def test_a_cancelled_call_leaves_no_connection_behind(client: httpx.AsyncClient) -> None:
    async with Rogue(OK, "hang", OK) as server:
        await client.get(server.url)
        asking = asyncio.create_task(client.get(server.url))
        while len(server.requests) < 2:
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert (await client.get(server.url)).json() == {"id": "42"}


@pytest.fixture
def certified(tmp_path: Path) -> Callable[[str], tuple[ssl.SSLContext, Path]]:
    """A server's TLS for a name, and the certificate that vouches for it."""

    def make(name: str) -> tuple[ssl.SSLContext, Path]:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = (
            x509.CertificateBuilder(named, named, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        path, secret = tmp_path / "cert.pem", tmp_path / "key.pem"
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path, secret)
        return context, path

    return make


@pytest.mark.parametrize(("name", "known", "well"), [("localhost", 1, 1), ("localhost", 0, 0), ("other.example", 1, 0)])
async def test_tls_is_spoken_with_whom_the_certificate_names(
    client: httpx.AsyncClient, certified: Any, monkeypatch: pytest.MonkeyPatch, name: str, known: int, well: int
) -> None:
    tls, path = certified(name)
    if known:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
    async with Mirror(tls) as mirror:
        if well:
            assert (await client.post(mirror.url, content=b"123")).json()["size"] == 3
            return
        with flying(Flight()) as flight, pytest.raises(httpx.ConnectError, match=r"[Cc]ertificate"):
            await client.post(mirror.url, content=b"123")
        assert not flight.sent


async def test_nobody_there_is_a_connect_error(client: httpx.AsyncClient) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with pytest.raises(httpx.ConnectError):
        await client.get(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_an_answer_without_a_length_ends_with_its_connection(client: httpx.AsyncClient, version: str) -> None:
    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in (f"HTTP/{version} 200 OK\r\n\r\n".encode(), b'{"id": ', b'"42"}'):
            writer.write(part)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for _ in range(2):
        assert (await client.get(url)).json() == {"id": "42"}
    server.close()
