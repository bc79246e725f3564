"""Mails that are fetched, under every fault of the line: each counts once, whether fetching or settling it broke."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

import pytest

from rmabridge.errors import Unavailable
from rmabridge.testing.real_imap import PASSWORD, USER, RealImap
from rmabridge.testing.simulators.proxy import FAULTS, FaultProxy
from rmabridge.testing.simulators.sink import Sink
from worlds import World, document, running

pytestmark = pytest.mark.real("dovecot")
LATE = {"latency", "slow"}
FOLDER, DONE = "客服", "done"


@asynccontextmanager
async def mailbox(tmp_path: Path, sink: Sink, server: RealImap) -> AsyncIterator[tuple[World, FaultProxy]]:
    """A bridge whose shop hears buyers by mail, through a line that can be spoilt; the first poll has been."""
    server.do_begin(FOLDER, DONE)
    async with FaultProxy(f"127.0.0.1:{server.port}") as proxy:
        proxy.size, proxy.seconds = 200, 0.001
        config = document(tmp_path, sink.url, policies=[])
        came = {"plugin": "imap", "host": "127.0.0.1", "port": proxy.port, "tls": "none", "user": USER, "timeout": 0.5}
        came |= {"password": PASSWORD, "folder": FOLDER, "afterwards": "move", "move_to": DONE}
        config["channels"]["inbox"] = {**came, "allow_private": True, "poll_every": timedelta(days=1)}
        config["shops"]["one"]["sources"] = ["inbox"]
        async with running(config, sink) as world:
            await world.until(lambda: world.rows("SELECT 1 FROM cursors WHERE kind = 'poll'"))
            yield world, proxy


async def polled(world: World, *, breaks: bool = False) -> None:
    """One poll, and all that comes of it."""
    with pytest.raises(Unavailable) if breaks else nullcontext():
        await world.bridge.pollers.turn("inbox", "poll")
    await world.settle()


def mail(number: int) -> bytes:
    """A buyer's mail."""
    head = f"From: li@buyer.example\r\nTo: {USER}\r\nSubject: Too small\r\nMessage-ID: <{number}@buyer.example>\r\n"
    return f"{head}\r\nThe shoes are too small. {'x ' * 400}\r\n".encode()


def heard(world: World) -> int:
    """How many of the buyer's words stand in the one case."""
    ((cases,),) = world.rows("SELECT count(*) FROM cases")
    ((words,),) = world.rows("SELECT count(*) FROM timeline WHERE type = 'message.received'")
    assert cases == min(words, 1)
    return int(words)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("spare", [0, 1], ids=["fetching", "settling"])
async def test_a_mail_counts_once_whatever_goes_wrong(
    fault: str, spare: int, tmp_path: Path, sink: Sink, imap_server: RealImap
) -> None:
    async with mailbox(tmp_path, sink, imap_server) as (world, proxy):
        imap_server.do_deliver(mail(1), folder=FOLDER)
        proxy.after, proxy.spare, proxy.fault = 150, spare, fault
        await polled(world, breaks=fault not in LATE)
        assert proxy.struck, "the fault struck nothing"
        assert heard(world) == (1 if fault in LATE or spare else 0)

        proxy.fault = None
        imap_server.do_deliver(mail(2), folder=FOLDER)
        await polled(world)
        await polled(world)
        assert heard(world) == 2
        # What could not be settled stays where it was, and is not read again.
        left = 1 if spare and fault not in LATE else 0
        assert (len(imap_server.flags(FOLDER)), len(imap_server.flags(DONE))) == (left, 2 - left)
        assert world.rows("SELECT count(*) FROM inbox WHERE state != 'done'") == [(0,)]


@pytest.mark.parametrize("after", [120, 400, 900])
async def test_a_line_that_breaks_anywhere_in_the_answer_costs_no_mail(
    after: int, tmp_path: Path, sink: Sink, imap_server: RealImap
) -> None:
    async with mailbox(tmp_path, sink, imap_server) as (world, proxy):
        imap_server.do_deliver(mail(1), mail(2), folder=FOLDER)
        proxy.after, proxy.fault = after, "cut"
        await polled(world, breaks=True)
        proxy.fault = None
        await polled(world)
        assert heard(world) == 2
