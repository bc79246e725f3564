"""The fault proxy: what it lets through, and how it ends what it does not."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from rmabridge.testing.simulators.faults import NoSuchFault
from rmabridge.testing.simulators.proxy import FAULTS, FaultProxy
from rmabridge.testing.simulators.sink import Sink

BROKEN = (aiohttp.ClientError, OSError)


async def post(url: str, body: bytes = b'{"n": 1}', seconds: float = 5) -> int:
    """One POST on a connection of its own; its status."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with aiohttp.ClientSession(timeout=timeout) as client, client.post(url, data=body) as answer:
        await answer.read()
        return answer.status


async def test_without_a_fault_everything_passes_both_ways(sink: Sink) -> None:
    async with FaultProxy(f"{sink.url}/orders?a=1") as proxy:
        assert await post(proxy.url, b"x" * 300_000) == 200
        assert [one["path"] for one in sink.books["posts"]] == ["/orders?a=1"]
        assert (proxy.connections, proxy.struck) == (1, 0)


@pytest.mark.parametrize("fault", ["slow", "latency"])
async def test_what_comes_late_comes_whole(fault: str, sink: Sink) -> None:
    async with FaultProxy(sink.url) as proxy:
        proxy.fault, proxy.seconds, proxy.size = fault, 0.001, 40
        assert await post(proxy.url) == 200
        assert (len(sink.books["posts"]), proxy.struck) == (1, 1)


async def test_a_reset_comes_before_the_request_is_whole(sink: Sink) -> None:
    async with FaultProxy(sink.url) as proxy:
        proxy.fault, proxy.after = "reset", 20
        with pytest.raises(BROKEN):
            await post(proxy.url)
        assert sink.books["posts"] == []


async def test_a_cut_answer_is_no_answer_but_the_request_was_handled(sink: Sink) -> None:
    async with FaultProxy(sink.url) as proxy:
        proxy.fault, proxy.after = "cut", 30
        with pytest.raises(BROKEN):
            await post(proxy.url)
        assert len(sink.books["posts"]) == 1


async def test_the_first_connections_may_be_spared(sink: Sink) -> None:
    async with FaultProxy(sink.url) as proxy:
        proxy.spare, proxy.fault = 1, "refuse"
        assert await post(proxy.url) == 200
        with pytest.raises(BROKEN):
            await post(proxy.url)
        assert (len(sink.books["posts"]), proxy.struck) == (1, 1)


async def test_a_stop_says_nothing_until_it_is_over(sink: Sink) -> None:
    async with FaultProxy(sink.url) as proxy:
        proxy.fault = "stop"
        waiting = asyncio.create_task(post(proxy.url))
        while not proxy.struck:
            await asyncio.sleep(0)
        assert sink.books["posts"] == [] and not waiting.done()
        proxy.fault = None
        assert await waiting == 200


async def test_it_strikes_as_often_as_it_is_told(sink: Sink) -> None:
    async with FaultProxy(sink.url) as proxy:
        proxy.fault, proxy.times = "refuse", 2
        for _ in range(2):
            with pytest.raises(BROKEN):
                await post(proxy.url)
        assert await post(proxy.url) == 200
        assert (proxy.struck, proxy.connections) == (2, 3)


async def test_a_connection_that_is_open_already_is_struck_too(sink: Sink) -> None:
    async with FaultProxy(sink.url) as proxy, aiohttp.ClientSession() as client:
        client._retry_connection = False
        async with client.post(proxy.url, data=b"1") as answer:
            await answer.read()
        proxy.fault = "reset"
        with pytest.raises(BROKEN):
            await client.post(proxy.url, data=b"2")
        proxy.fault = None
        async with client.post(proxy.url, data=b"3") as answer:
            await answer.read()
        assert [one["body"] for one in sink.books["posts"]] == [1, 3]
        proxy.drop()
        with pytest.raises(BROKEN):
            await client.post(proxy.url, data=b"4")


def test_addresses_keep_what_is_not_host_and_port() -> None:
    for target in ("nowhere", "http://host.example/"):
        with pytest.raises(ValueError, match="no host and port"):
            FaultProxy(target)


async def test_the_address_of_a_database_keeps_login_and_name() -> None:
    async with (
        FaultProxy("postgresql://me:secret@127.0.0.1:5432/bridge") as proxy,
        FaultProxy("127.0.0.1:5432") as bare,
    ):
        assert proxy.url == f"postgresql://me:secret@127.0.0.1:{proxy.port}/bridge"
        assert bare.url == f"127.0.0.1:{bare.port}"
        with pytest.raises(NoSuchFault, match=next(iter(FAULTS))):
            proxy.fault = "gremlins"
