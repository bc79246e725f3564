"""Twilio on a running bridge: out to the simulator, and callbacks and buyers' messages back into the case."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from approvers import command
from rmabridge.core.reach import ways
from rmabridge.model import Case
from rmabridge.store import ops
from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.twilio import TwilioSim
from worlds import World, a_return, ago, document, running

DOOR = "https://bridge.example/hooks/twilio"
BUYER = "+8613812345678"


class Proxied(TwilioSim):
    """Twilio in front of a proxy: it signs the public address, and the proxy hands the request to ``inner``."""

    inner = ""

    async def deliver(self, body: bytes, headers: dict[str, str], **more: Any) -> int:
        given = str(more.pop("url", None) or self.hook)
        return await super().deliver(body, headers, url=given.replace(DOOR, self.inner), **more)


@asynccontextmanager
async def twilio_world(tmp_path: Path, sink: Sink, sim: Proxied, *others: str, **more: Any) -> AsyncIterator[World]:
    """A bridge whose shop reaches its buyers through Twilio, and by ``others`` where that fails."""
    config = document(tmp_path, sink.url, policies=["first_reply"])
    given = {"plugin": "twilio", "webhook_url": DOOR, **sim.account_settings(), **more}
    config["channels"] = {"twilio": given, **{one: config["channels"][one] for one in others}}
    config["shops"]["one"] |= {"channels": ["twilio", *others], "sources": ["twilio"]}
    config["shops"]["one"]["prefer"] = ["chat", "sms", *others]
    async with running(config, sink) as world:
        sim.hook, sim.inner = DOOR, f"{world.bridge.url}/hooks/twilio"
        yield world


def first_reply(world: World) -> tuple[Any, ...]:
    """State, vendor's id, cause and hint of the first reply."""
    (row,) = world.rows("SELECT state, ref, cause, hint FROM outbox WHERE key = 'reply:first:1'")
    return row


def entries(world: World, kind: str) -> list[str]:
    """The cases that have an entry of this type."""
    return [one for (one,) in world.rows(f"SELECT case_id FROM timeline WHERE type = '{kind}'")]


async def test_the_first_reply_goes_by_sms_and_its_callbacks_and_the_buyers_answer_come_back_into_the_case(
    tmp_path: Path, sink: Sink
) -> None:
    async with Proxied() as sim, twilio_world(tmp_path, sink, sim) as world:
        assert (await world.post(a_return()))[0] == 200
        await world.settle()
        ((case,),) = world.rows("SELECT id FROM cases")
        (sent,) = sim.books["messages"]
        assert sent["to"] == BUYER
        assert case in sent["body"]
        assert first_reply(world)[:2] == ("done", sent["sid"])

        # The steps come out of order, and the end of it twice.
        for step in ("delivered", "sent", "delivered"):
            assert await sim.do_status(step) == 200
        await world.settle()
        assert entries(world, "message.delivered") == [case]

        assert await sim.do_write(BUYER, "好的，谢谢") == 200
        await world.settle()
        assert entries(world, "message.received") == [case]
        assert world.rows("SELECT count(*) FROM inbox WHERE state NOT IN ('done', 'new')") == [(0,)]


async def test_an_answer_before_any_callback_finds_the_case_and_one_that_opts_out_closes_the_way(
    tmp_path: Path, sink: Sink
) -> None:
    async with Proxied() as sim, twilio_world(tmp_path, sink, sim) as world:
        await world.post(a_return())
        await world.until(lambda: sim.books["messages"] and first_reply(world)[0] == "done")
        assert await sim.do_write(BUYER, "Thank you") == await sim.do_write(BUYER, "Stop") == 200
        await world.settle()
        ((case,),) = world.rows("SELECT id FROM cases")
        assert entries(world, "message.received") == entries(world, "buyer.opted_out") == [case]


async def test_a_message_that_did_not_arrive_flags_its_case(tmp_path: Path, sink: Sink) -> None:
    async with Proxied() as sim, twilio_world(tmp_path, sink, sim) as world:
        await world.post(a_return())
        await world.until(lambda: sim.books["messages"] and first_reply(world)[0] == "done")
        assert await sim.do_status("undelivered", code=30006) == 200
        await world.settle()
        ((flag,),) = world.rows("SELECT flag FROM cases")
        assert "30006" in flag


async def test_a_buyer_who_writes_by_whatsapp_is_answered_there(tmp_path: Path, sink: Sink) -> None:
    async with (
        Proxied() as sim,
        twilio_world(tmp_path, sink, sim, whatsapp_sender=sim.senders[1].removeprefix("whatsapp:")) as world,
    ):
        assert await sim.do_write(f"whatsapp:{BUYER}", "Where is my refund?") == 200
        await world.until(lambda: sim.books["messages"])
        (sent,) = sim.books["messages"]
        assert (sent["to"], sent["from"]) == (f"whatsapp:{BUYER}", sim.senders[1])


async def test_a_webhook_with_a_wrong_signature_stays_outside(tmp_path: Path, sink: Sink) -> None:
    async with Proxied() as sim, twilio_world(tmp_path, sink, sim) as world:
        sim.auth_token = "guessed"
        assert await sim.do_write(BUYER, "hello") == 401
        assert world.rows("SELECT count(*) FROM inbox") == [(0,)]


async def test_a_message_whose_answer_was_lost_is_looked_up_and_not_sent_again(tmp_path: Path, sink: Sink) -> None:
    async with Proxied() as sim, twilio_world(tmp_path, sink, sim) as world:
        sim.do_lose_answer(502)
        await world.post(a_return())
        await world.until(lambda: sim.books["messages"] and first_reply(world)[0] == "uncertain")
        world.bridge.store.clock.offset += timedelta(minutes=2)
        sim.offset += timedelta(minutes=2)
        await world.until(lambda: first_reply(world)[0] == "done")
        (sent,) = sim.books["messages"]
        assert first_reply(world)[1] == sent["sid"]


@pytest.mark.parametrize("status", ["delivered", "undelivered"])
async def test_a_message_that_only_its_callback_tells_of_is_not_sent_again(
    status: str, tmp_path: Path, sink: Sink
) -> None:
    async with Proxied() as sim, twilio_world(tmp_path, sink, sim) as world:
        sim.do_lose_answer(502)
        sim.do_hide()
        await world.post(a_return())
        await world.until(lambda: sim.books["messages"] and first_reply(world)[0] == "uncertain")
        (sent,) = sim.books["messages"]
        assert await sim.do_status(status) == 200
        await world.until(lambda: first_reply(world)[0] == "done")
        world.bridge.store.clock.offset += timedelta(minutes=5)
        await world.settle()
        assert first_reply(world)[1] == sent["sid"]
        assert sim.books["messages"] == [sent]


async def test_a_buyer_who_opted_out_is_a_dead_letter_that_says_so(tmp_path: Path, sink: Sink) -> None:
    async with Proxied() as sim, twilio_world(tmp_path, sink, sim) as world:
        assert await sim.do_write(BUYER, "STOP") == 200
        await world.settle()
        assert world.rows("SELECT count(*) FROM cases") == [(0,)]
        await world.post(a_return())
        await world.settle()
        state, _, cause, hint = first_reply(world)
        assert (state, sim.books["messages"]) == ("dead", [])
        assert "21610" in cause
        assert "opted out" in hint


async def test_an_answer_that_opts_out_closes_the_way_and_opens_no_case(tmp_path: Path, sink: Sink) -> None:
    async with Proxied() as sim, twilio_world(tmp_path, sink, sim) as world:
        await world.post(a_return())
        await world.until(lambda: sim.books["messages"] and first_reply(world)[0] == "done")
        await sim.do_status("delivered")
        await world.settle()
        assert await sim.do_write(BUYER, "Stop") == await sim.do_write("+12025550199", "STOP") == 200
        await world.settle()
        ((case, key, doc),) = world.rows("SELECT id, key_id, doc FROM cases")
        assert entries(world, "buyer.opted_out") == [case]
        world.bridge.store.keys_for({key})
        shown = Case.model_validate_json(world.bridge.store.vault.open(key, doc))
        fallen = ways(shown, world.bridge.registry.shops["one"]).fallen
        assert ("twilio/sms", "the buyer opted out of it") in fallen
        # A stranger who opts out of somebody else's messages is nobody's work.
        assert world.rows("SELECT count(*) FROM inbox WHERE state != 'done'") == [(0,)]


async def asks(world: World, number: int) -> str:
    """The same buyer returns something else; the account by which the bridge answered, and how that went."""
    await world.post(a_return(number, buyer=a_return(1)["data"]["buyer"]))
    await world.until(lambda: world.rows(f"SELECT 1 FROM cases LIMIT 1 OFFSET {number - 1}"))
    await world.settle()
    newest = "SELECT account, state FROM outbox WHERE key = 'reply:first:1' ORDER BY id DESC LIMIT 1"
    return " ".join(*world.rows(newest))


async def test_who_opted_out_is_written_to_another_way_in_later_cases_until_they_opt_in_again(
    tmp_path: Path, sink: Sink
) -> None:
    async with Proxied() as sim, twilio_world(tmp_path, sink, sim, "mail") as world:
        assert await asks(world, 1) == "twilio done"
        await sim.do_status("delivered")
        await sim.do_write(BUYER, "STOP")
        await world.settle()
        assert [await asks(world, 2), await asks(world, 3)] == ["mail done", "mail done"]
        assert sim.books["refusals"] == [] and len(sim.books["messages"]) == 1
        assert await sim.do_write(BUYER, "start") == 200
        await world.settle()
        assert await asks(world, 4) == "twilio done"
        assert len(sim.books["messages"]) == 2 and len(entries(world, "buyer.opted_in")) == 1


async def test_what_waits_for_a_buyer_who_opts_out_is_not_sent_that_way(tmp_path: Path, sink: Sink) -> None:
    async with Proxied() as sim, twilio_world(tmp_path, sink, sim, "mail") as world:
        assert await asks(world, 1) == "twilio done"
        await sim.do_status("delivered")
        await world.settle()
        write = world.bridge.store.write
        await write(lambda conn: ops.set_paused(conn, "twilio", on=True, reason="holiday", now=1))
        await world.post(a_return(2, buyer=a_return(1)["data"]["buyer"]))
        await world.until(lambda: world.rows("SELECT 1 FROM outbox WHERE state = 'due'"))
        await sim.do_write(BUYER, "STOP")
        await world.until(lambda: entries(world, "buyer.opted_out"))
        # The other case learns of it by whatever is heard of it next.
        asked = {"text": "?", "order": "O2", "buyer": a_return(1)["data"]["buyer"]}
        await world.post({"id": "m1", "type": "message", "time": ago(), "data": asked})
        await world.until(lambda: not world.rows("SELECT 1 FROM outbox WHERE state = 'due'"))
        await write(lambda conn: ops.set_paused(conn, "twilio", on=False, reason="", now=2))
        await world.settle()
        assert len(sim.books["messages"]) == 1 and sim.books["refusals"] == []
        (why,) = world.rows("SELECT state, cause FROM outbox WHERE cause IS NOT NULL")
        assert why == ("cancelled", "bridge.opted_out: the buyer opted out of twilio/sms")


async def test_with_a_buyer_who_is_erased_goes_what_they_closed(tmp_path: Path, sink: Sink) -> None:
    async with Proxied() as sim, twilio_world(tmp_path, sink, sim, "mail") as world:
        assert await asks(world, 1) == "twilio done"
        await sim.do_status("delivered")
        await sim.do_write(BUYER, "STOP")
        await world.settle()
        kept = "SELECT count(*) FROM buyer_keys WHERE ways IS NOT NULL"
        assert world.rows(kept) == [(1,)]
        ((case,),) = world.rows("SELECT id FROM cases")
        assert (await command(world, "erase", cases=[case], force=True))[0] == "done"
        assert world.rows(kept) == [(0,)]
        assert (await asks(world, 2)).startswith("twilio"), "nothing is left that would tell"
