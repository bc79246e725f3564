"""A process that is told to leave while its database does not answer leaves all the same."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from time import time

import aiohttp
import pytest
from herd import over_tcp

from rmabridge.testing.simulators.proxy import FaultProxy
from rmabridge.testing.simulators.sink import Sink
from serving import Child
from stores import POSTGRES
from worlds import SECRET, a_return, document, sign

pytestmark = pytest.mark.skipif(not POSTGRES, reason="a SQLite file does not go away")


async def post(url: str, number: int) -> int:
    """A signed webhook; its status, 0 where there is no answer in time."""
    raw = json.dumps(a_return(number), ensure_ascii=False).encode()
    headers = sign(SECRET, f"msg-{number}", int(time()), raw)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as client:
        try:
            async with client.post(f"{url}/hooks/shop", data=raw, headers=headers) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0


async def test_sigterm_ends_the_process_though_the_database_has_stopped_answering(tmp_path: Path, sink: Sink) -> None:
    config = document(tmp_path, sink.url)
    address = config["bridge"]["database"]
    async with over_tcp(address) as bare, FaultProxy(bare) as proxy:
        child = Child(config | {"bridge": config["bridge"] | {"database": proxy.url}}, tmp_path)
        await child.start(60)
        assert await post(child.url, 1) == 200
        proxy.fault = "stop"
        began = [asyncio.create_task(post(child.url, number)) for number in range(2, 6)]
        await asyncio.sleep(0.5)
        assert await child.stop() == 0, "an orchestrator kills after half a minute"
        await asyncio.gather(*began)
