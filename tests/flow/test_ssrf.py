"""Outgoing calls reach the public net only, however the address is written and whatever a name resolves to."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohappyeyeballs
import aiohttp
import httpx
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from rmabridge.abilities import Plugin
from rmabridge.errors import Rejected
from rmabridge.flow.client import PublicOnly, Sessions, refuse_private
from rmabridge.flow.gate import Gate
from rmabridge.testing.simulators.server import Simulator

PUBLIC = "93.184.215.14"


class Inside(Simulator):
    """Something on a private network that nobody may reach."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def routes(self) -> list[web.RouteDef]:
        """Any path."""
        return [web.route("*", "/{path:.*}", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path == "/moved":
            raise web.HTTPFound("/secret")
        return web.Response(text="secret")


class Rebinding(AbstractResolver):
    """A name server of an attacker: each question gets the next answer, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The next answer."""
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=one,
                port=port,
                family=socket.AF_INET6 if ":" in one else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for one in found
        ]

    async def close(self) -> None:
        """Nothing."""


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    """A server on loopback."""
    async with Inside() as one:
        yield one


@pytest.fixture
async def sessions() -> AsyncIterator[Sessions]:
    """The bridge's sessions."""
    made = Sessions()
    yield made
    await made.close()


def client(sessions: Sessions, **settings: Any) -> httpx.AsyncClient:
    """The client that an account is lent."""
    plugin = Plugin(**settings)
    return sessions.client(plugin, Gate.of(plugin, lambda: datetime.now(UTC)))


def answering(sessions: Sessions, *answers: list[str]) -> Rebinding:
    """Put the attacker's name server under the guard."""
    resolver: Any = sessions.get(private=False).connector._resolver  # type: ignore[union-attr]
    assert isinstance(resolver, PublicOnly)
    resolver._inner = stub = Rebinding(*answers)  # type: ignore[assignment]
    return stub


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the machine was asked to connect to; none is reached."""
    found: list[str] = []

    async def start(addr_infos: Any, **_: Any) -> Any:
        found.extend(one[4][0] for one in addr_infos)
        raise ConnectionRefusedError("nothing is reached in this test")

    monkeypatch.setattr(aiohappyeyeballs, "start_connection", start)
    return found


LITERALS = (
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[fe80::1]",
    "[fe80::1%25lo]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "[ff02::1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "localhost",
    # The same in other clothes: what the C library takes for 127.0.0.1.
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "127.1",
    "0",
    "127.0.0.1.",
    "１２７.０.０.１",
    "127。0。0。1",
    # Names before an @ are a user's name, not a host's.
    "example.com@127.0.0.1",
    "example.com:443@127.0.0.1",
    "93.184.215.14@[::1]",
)


@pytest.mark.row("P36")
@pytest.mark.parametrize("host", LITERALS)
async def test_no_way_of_writing_a_private_address_reaches_it(sessions: Sessions, inside: Inside, host: str) -> None:
    port = httpx.URL(inside.url).port
    with pytest.raises((Rejected, httpx.UnsupportedProtocol, httpx.InvalidURL)):
        await client(sessions).get(f"http://{host}:{port}/secret")
    assert inside.asked == []


@given(st.ip_addresses(v=4, network="10.0.0.0/8") | st.ip_addresses(v=4, network="127.0.0.0/8"))
def test_every_way_to_carry_a_private_address_in_ipv6_is_refused(inner: Any) -> None:
    number = int(inner)
    for carried in (f"::ffff:{inner}", f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}"):
        with pytest.raises(Rejected):
            refuse_private(carried, "h")
    with pytest.raises(Rejected):
        refuse_private(f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1", "h")


@pytest.mark.parametrize("address", [PUBLIC, "2606:4700::1111", f"::ffff:{PUBLIC}", "64:ff9b::808:808", "no address"])
def test_public_addresses_pass(address: str) -> None:
    refuse_private(address, "h")


@pytest.mark.row("P36")
@pytest.mark.parametrize("answer", [["127.0.0.1"], [PUBLIC, "127.0.0.1"], ["::1", PUBLIC], ["::ffff:10.0.0.1"]])
async def test_a_name_with_a_private_address_is_refused_before_anything_is_connected(
    sessions: Sessions, tried: list[str], answer: list[str]
) -> None:
    answering(sessions, answer)
    with pytest.raises(Rejected, match="is a private address"):
        await client(sessions).get("http://shop.example/secret")
    assert tried == []


@pytest.mark.row("P36")
async def test_a_name_that_changes_its_address_after_the_look_is_connected_at_the_one_that_was_looked_at(
    sessions: Sessions, tried: list[str]
) -> None:
    stub = answering(sessions, [PUBLIC], ["127.0.0.1"])
    with pytest.raises(httpx.ConnectError):
        await client(sessions).get("http://rebind.example/secret")
    assert (stub.asked, tried) == (1, [PUBLIC]), "one question, and its answer is what is connected"


@pytest.mark.row("P36")
async def test_a_name_that_was_rebound_is_refused_at_the_next_call(sessions: Sessions, tried: list[str]) -> None:
    answering(sessions, [PUBLIC], ["127.0.0.1"])
    with pytest.raises(httpx.ConnectError):
        await client(sessions).get("http://rebind.example/")
    connector = sessions.get(private=False).connector
    assert isinstance(connector, aiohttp.TCPConnector)
    connector.clear_dns_cache()
    with pytest.raises(Rejected):
        await client(sessions).get("http://rebind.example/")
    assert tried == [PUBLIC]


@pytest.mark.row("P36")
async def test_redirects_are_told_and_not_followed(sessions: Sessions, inside: Inside) -> None:
    answer = await client(sessions, allow_private=True).get(f"{inside.url}/moved")
    assert (answer.status_code, inside.asked) == (302, ["/moved"])


async def test_an_account_that_asks_to_follow_redirects_is_led_through_the_guard_again(
    sessions: Sessions, inside: Inside
) -> None:
    line: Any = sessions.get(private=False)
    send = line.send

    async def first(request: httpx.Request, _: Any) -> httpx.Response:
        line.send = send
        return httpx.Response(302, headers={"Location": f"{inside.url}/secret"}, request=request)

    line.send = first
    with pytest.raises(Rejected):
        await client(sessions).get(f"http://{PUBLIC}/", follow_redirects=True)
    assert inside.asked == []


async def test_proxies_of_the_environment_are_ignored(
    sessions: Sessions, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Inside() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert (await client(sessions, allow_private=True).get(f"{inside.url}/x")).text == "secret"
        assert (inside.asked, proxy.asked) == (["/x"], [])


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "ftp://example.com/", "gopher://93.184.215.14/", "http:///x"]
)
async def test_only_http_is_spoken(sessions: Sessions, address: str) -> None:
    with pytest.raises((httpx.UnsupportedProtocol, httpx.InvalidURL)):
        await client(sessions).get(address)
