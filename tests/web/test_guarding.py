"""Who may knock: the real peer behind proxies, allow-lists before signatures, closed doors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from rmabridge.config import Bridge, read
from rmabridge.errors import ConfigError
from rmabridge.testing.simulators.sink import Sink
from rmabridge.web.app import make
from rmabridge.web.guarding import OPEN, Guard, address
from worlds import World, a_return, document, running

TOKEN = "a-door-token-of-24-bytes"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
THROUGH = {"X-Forwarded-For": "203.0.113.9"}


def asked(remote: str, headers: Any = None, host: str = "127.0.0.1:8080") -> web.Request:
    """A request of a peer."""
    made = make_mocked_request("GET", "/metrics", headers={"Host": host, **(headers or {})})
    return made.clone(remote=remote)


def guard(*proxies: str, token: str | None = None, header: str = "X-Forwarded-For") -> Guard:
    """What the settings make."""
    return Guard(Bridge.model_validate({"proxies": proxies, "door_token": token, "proxy_header": header}))


async def get(world: World, path: str, **headers: str) -> tuple[int, str]:
    """(status, text)."""
    async with world.client.get(world.bridge.url + path, headers=headers) as answer:
        return answer.status, await answer.text()


@pytest.mark.row("P09")
@pytest.mark.parametrize(
    ("remote", "told", "peer"),
    [
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),  # nobody trusts this one's word
        ("10.0.0.2", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.2", "1.2.3.4, 203.0.113.9", "203.0.113.9"),  # the first was written by the sender
        ("10.0.0.2", "1.2.3.4, 203.0.113.9, 10.0.0.3", "203.0.113.9"),
        ("10.0.0.2", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.2", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.2", "2001:db8::1:80", "2001:db8::1:80"),
        ("::ffff:10.0.0.2", "::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.2", "unknown", None),
        ("10.0.0.2", "203.0.113.9, garbage", None),
        ("10.0.0.2", "", "10.0.0.2"),
        ("", "203.0.113.9", None),
    ],
)
def test_the_peer_is_the_last_one_that_no_trusted_proxy_speaks_for(remote: str, told: str, peer: str | None) -> None:
    found = guard("10.0.0.0/8").peer(asked(remote, {"X-Forwarded-For": told}))
    assert found == (address(peer) if peer else None)


@pytest.mark.row("P09")
@pytest.mark.parametrize(
    ("told", "peer"),
    [
        ("for=203.0.113.9", "203.0.113.9"),
        ('for="[2001:db8::1]:80";proto=https;by=10.0.0.2', "2001:db8::1"),
        ("for=1.2.3.4, For=203.0.113.9;proto=http", "203.0.113.9"),
        ("for=_hidden", None),
        ("for=unknown, for=10.0.0.9", None),
    ],
)
def test_the_standard_header_is_read_where_it_is_the_proxys(told: str, peer: str | None) -> None:
    both = {"Forwarded": told, "X-Forwarded-For": "9.9.9.9"}
    assert guard("10.0.0.0/8", header="Forwarded").peer(asked("10.0.0.2", both)) == (address(peer) if peer else None)
    assert guard("10.0.0.0/8").peer(asked("10.0.0.2", both)) == address("9.9.9.9"), "the sender's own is not read"


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60))
def test_any_header_gives_an_address_or_none(told: str) -> None:
    for header in ("X-Forwarded-For", "Forwarded"):
        found = guard("10.0.0.0/8", header=header).peer(asked("10.0.0.2", {header: told}))
        assert found is None or str(found)


@pytest.mark.row("P09")
async def test_an_allow_list_is_looked_at_before_the_signature_and_not_fooled_by_a_header(
    tmp_path: Path, sink: Sink
) -> None:
    config = document(tmp_path, sink.url, policies=[])
    config["marketplaces"]["shop"]["allow_from"] = ["203.0.113.0/24"]
    async with running(config, sink) as world:
        status, told = await world.post(a_return())
        assert (status, told["title"]) == (403, "Address not allowed")
        assert (await world.post(a_return(), **THROUGH))[0] == 403, "loopback is no trusted proxy here"
        assert (await world.post(a_return(), secret="whsec_AAAA", **THROUGH))[0] == 403
        assert world.rows("SELECT count(*) FROM inbox") == [(0,)]


@pytest.mark.row("P09")
async def test_behind_a_trusted_proxy_the_senders_own_address_counts(tmp_path: Path, sink: Sink) -> None:
    config = document(tmp_path, sink.url, policies=[], proxies=["127.0.0.0/8"])
    config["marketplaces"]["shop"]["allow_from"] = ["203.0.113.0/24"]
    async with running(config, sink) as world:
        assert (await world.post(a_return(), **THROUGH))[0] == 200
        forged = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
        assert (await world.post(a_return(2), **forged))[0] == 403
        assert (await world.post(a_return(3), secret="whsec_" + "A" * 44, **THROUGH))[0] == 401


def test_networks_are_checked_when_the_configuration_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="proxies"):
        read(document(tmp_path, "http://h", proxies=["10.0.0.0/33"]))
    with pytest.raises(ConfigError, match="door_token"):
        read(document(tmp_path, "http://h", door_token="short"))


CLOSED_TO: tuple[tuple[str, dict[str, str], str], ...] = (
    ("198.51.100.7", {}, "bridge.example"),
    ("198.51.100.7", {"Authorization": "Bearer no"}, "bridge.example"),
    ("198.51.100.7", {"Authorization": f"Basic {TOKEN}"}, "bridge.example"),
    ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9"}, "127.0.0.1"),
    ("127.0.0.1", {"Forwarded": "for=203.0.113.9"}, "127.0.0.1"),
    ("127.0.0.1", {"Via": "1.1 proxy"}, "127.0.0.1"),
    ("127.0.0.1", {"X-Real-IP": "203.0.113.9"}, "127.0.0.1"),
    ("10.0.0.7", {"X-Forwarded-For": "127.0.0.1"}, "localhost"),  # another machine's word for itself
    ("127.0.0.1", {}, "evil.example"),  # a page in this machine's browser, its name rebound
    ("", {}, "127.0.0.1"),
)


@pytest.mark.parametrize(("remote", "headers", "host"), CLOSED_TO)
def test_who_is_not_from_here_and_has_no_token_is_not_trusted(remote: str, headers: dict[str, str], host: str) -> None:
    assert not guard(token=TOKEN).trusted(asked(remote, headers, host))
    assert not guard().trusted(asked(remote, headers, host))
    assert not guard("127.0.0.1/32", "10.0.0.0/8").trusted(asked(remote, headers, host))


@pytest.mark.parametrize("remote", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"])
def test_this_machine_is_trusted(remote: str, host: str) -> None:
    assert guard().trusted(asked(remote, host=host))


def test_the_token_opens_from_anywhere_and_an_empty_one_never_counts() -> None:
    assert guard(token=TOKEN).trusted(asked("198.51.100.7", BEARER, "bridge.example"))
    for empty in ({"Authorization": "Bearer "}, {"Authorization": "Bearer"}, {}):
        assert not guard().trusted(asked("198.51.100.7", empty, "bridge.example"))


async def test_metrics_and_reasons_are_closed_to_others_and_open_with_the_token(tmp_path: Path, sink: Sink) -> None:
    async with running(document(tmp_path, sink.url, door_token=TOKEN), sink) as world:
        assert (await get(world, "/metrics"))[0] == 200
        assert "problems" in (await get(world, "/readyz"))[1]
        status, told = await get(world, "/metrics", **THROUGH)
        assert status == 403 and "door_token" in told
        assert await get(world, "/readyz", **THROUGH) == (200, '{"ready": true}')
        assert (await get(world, "/healthz", **THROUGH))[0] == 200
        assert (await get(world, "/metrics", **THROUGH, **BEARER))[0] == 200
        assert "problems" in (await get(world, "/readyz", **THROUGH, **BEARER))[1]
        assert (await get(world, "/nothing", **THROUGH))[0] == 404


@pytest.fixture
def routes() -> Callable[[World], set[str]]:
    """The paths of the application."""
    return lambda world: {one.canonical for one in make(world.bridge).router.resources()}


async def test_every_door_is_closed_unless_it_is_listed(world: World, routes: Callable[[World], set[str]]) -> None:
    """A new route is closed until somebody says, in OPEN, why it may be open."""
    assert routes(world) >= OPEN
    for path in routes(world) - OPEN - {"/readyz"}:
        assert (await get(world, path, **THROUGH))[0] == 403, path


async def test_a_refusal_that_quotes_header_bytes_of_no_charset_is_a_refusal_all_the_same(world: World) -> None:
    """Found by the fuzzer: the problem body could not be written, and the sender was told to come back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.bridge.port)
    head = b"POST /hooks/shop HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n"
    writer.write(head + b"Content-Type: application/jso\xff\xfe~\r\n\r\n{}")
    answer = await reader.read()
    writer.close()
    assert answer.startswith((b"HTTP/1.1 415 ", b"HTTP/1.1 401 "))
