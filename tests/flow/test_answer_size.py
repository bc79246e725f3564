"""An answer beyond eight megabytes is refused."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
import pytest
from aiohttp import web
from rmabridge_http import Http

from rmabridge.flow.client import Sessions
from rmabridge.flow.gate import Gate
from rmabridge.flow.messages import MOST_ANSWER, answer
from rmabridge.testing.contexts import account

CHUNK = b"x" * (1 << 16)


class Flood:
    """Streams ``size`` bytes, with their length in the header or in chunks, and counts what it got rid of."""

    def __init__(self, size: int, *, told: bool) -> None:
        self.size, self.told, self.sent = size, told, 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if self.told:
            response.content_length = self.size
        await response.prepare(request)
        while self.sent < self.size:
            part = CHUNK[: self.size - self.sent]
            await response.write(part)
            self.sent += len(part)
        await response.write_eof()
        return response


class Promise(Flood):
    """Tells the length, and sends nothing of it."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = self.size
        await response.prepare(request)
        if request.method != "HEAD":
            await asyncio.Event().wait()
        return response


@asynccontextmanager
async def asked(flood: Flood) -> AsyncIterator[httpx.AsyncClient]:
    app = web.Application()
    app.router.add_get("/", flood.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    plugin, sessions = account(Http, url="http://127.0.0.1", allow_private=True), Sessions()
    client = sessions.client(plugin, Gate.of(plugin, lambda: datetime.now(UTC)))
    client.base = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield client
    finally:
        await client.aclose()
        await sessions.close()
        await runner.cleanup()


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "in chunks"])
async def test_nine_megabytes_are_refused(told: bool) -> None:
    flood = Flood(9 << 20, told=told)
    async with asked(flood) as client, asyncio.timeout(20):
        with pytest.raises(ValueError, match="larger than 8 MB: is the configured URL the right one"):
            await client.get(client.base)


async def test_what_is_told_to_be_too_large_is_refused_before_any_of_it_came() -> None:
    async with asked(Promise(9 << 20, told=True)) as client, asyncio.timeout(10):
        with pytest.raises(ValueError, match="larger than 8 MB: is the configured URL the right one"):
            await client.get(client.base)


async def test_an_answer_without_a_body_may_tell_any_length() -> None:
    async with asked(Promise(9 << 20, told=True)) as client, asyncio.timeout(10):
        answer = await client.head(client.base)
        assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", str(9 << 20))


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "in chunks"])
async def test_eight_megabytes_to_the_byte_are_read(told: bool) -> None:
    async with asked(Flood(MOST_ANSWER, told=told)) as client, asyncio.timeout(20):
        assert len((await client.get(client.base)).content) == MOST_ANSWER


def raw_deflate(body: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(body) + packing.flush()


PACKINGS = {"gzip": gzip.compress, "deflate": zlib.compress, "x-gzip": gzip.compress, "raw": raw_deflate}


def packed(packing: str, body: bytes) -> httpx.Response:
    name = {"raw": b"deflate"}.get(packing, packing.encode())
    headers = [(b"Content-Encoding", name)]
    return answer(200, headers, body, httpx.Request("GET", "http://one.test"))


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_packed_answer_is_unpacked_up_to_the_limit_and_never_beyond(packing: str) -> None:
    pack = PACKINGS[packing]
    assert packed(packing, pack(b"")).content == b""
    assert packed(packing, pack(b"\0" * MOST_ANSWER)).content == b"\0" * MOST_ANSWER
    with pytest.raises(ValueError, match="larger than 8 MB"):
        packed(packing, pack(b"\0" * (MOST_ANSWER + 1)))


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_packed_answer_that_is_cut_off_or_garbage_is_told(packing: str) -> None:
    whole = PACKINGS[packing](b'{"id": "1"}' * 20)
    for broken in (whole[:-1], whole[: len(whole) // 2], b"\xff\xff\xff not packed"):
        with pytest.raises(httpx.DecodingError):
            packed(packing, broken)


def test_packed_twice_is_unpacked_twice_and_an_unknown_name_is_passed_over() -> None:
    twice = gzip.compress(zlib.compress(b"clear"))
    assert packed("deflate, gzip", twice).content == b"clear"
    assert packed("utf-8", b"clear").content == b"clear"
    assert packed("gzip", b"").content == b""
