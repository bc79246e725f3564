"""Zammad as the help desk of a running bridge, over real HTTP: both directions, no loops, nothing twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rmabridge.model import Author, Case, Status
from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.zammad import ZammadSim
from worlds import World, a_return, ago, document, running


class Desk:
    """The bridge with its Zammad."""

    def __init__(self, world: World, sim: ZammadSim) -> None:
        self.world, self.sim = world, sim

    async def settle(self) -> None:
        """Wait until neither side has anything left to tell the other."""
        told = -1
        while told != len(self.sim.books["webhooks"]):
            told = len(self.sim.books["webhooks"])
            await self.world.settle()
            await self.sim.settle()
            await self.world.settle()
        assert {one["status"] for one in self.sim.books["webhooks"]} <= {200}

    def cases(self) -> list[Case]:
        """All cases, the oldest first."""
        store = self.world.bridge.store
        rows = self.world.rows("SELECT key_id, doc FROM cases ORDER BY created_at, opened_at")
        store.keys_for({key for key, _ in rows})
        return [Case.model_validate_json(store.vault.open(key, doc)) for key, doc in rows]

    def ours(self, ticket: str) -> list[str]:
        """What the bridge wrote on a ticket."""
        told = [one for one in self.sim.books["articles"] if one["ticket_id"] == int(ticket)]
        return [one["body"] for one in told if one["created_by_id"] == 3]

    def mails(self) -> list[str]:
        """The words of the mails that went out."""
        posts = [one["body"] for one in self.world.sink.books["posts"]]
        return [one["text"] for one in posts if one["type"] == "message.send"]

    def written(self) -> list[tuple[Any, ...]]:
        """The ledger."""
        return self.world.rows("SELECT key, state FROM outbox ORDER BY id")

    def authors(self) -> list[str]:
        """Who wrote the messages of all cases."""
        return [author for (author,) in self.world.rows("SELECT author FROM messages ORDER BY at, id")]

    def later(self, **span: float) -> None:
        """Move both clocks."""
        bridge = self.world.bridge
        bridge.store.clock.offset += timedelta(**span)
        self.sim.offset += timedelta(**span)
        for loop in (bridge.timers, bridge.router, bridge.dispatcher, bridge.pollers, bridge.lookup):
            loop.wake.set()


@asynccontextmanager
async def desk(tmp_path: Path, sink: Sink, **settings: Any) -> AsyncIterator[Desk]:
    """A bridge whose help desk is a simulated Zammad."""
    async with ZammadSim() as sim:
        config = document(tmp_path, sink.url)
        account = {"plugin": "zammad", "url": sim.url, "token": sim.token, "secret": sim.secret, "bot_ids": ["3"]}
        config["helpdesks"]["desk"] = {**account, "allow_private": True, **settings}
        config["shops"]["one"]["sources"] = ["desk"]
        async with running(config, sink) as world:
            sim.hook = f"{world.bridge.url}/hooks/desk"
            yield Desk(world, sim)
            await sim.settle()


async def returned(one: Desk) -> str:
    """A request of the marketplace with its ticket; the ticket's id."""
    await one.world.post(a_return())
    await one.settle()
    return str(one.cases()[0].ticket.id)


async def test_a_request_gets_a_ticket_and_an_agents_public_note_goes_to_the_buyer_once(
    tmp_path: Path, sink: Sink
) -> None:
    async with desk(tmp_path, sink) as one:
        id_ = await returned(one)
        (case,) = one.cases()
        assert one.sim.books["tags"][id_][:2] == ["rmabridge", f"rmabridge-{case.id}"]
        assert (case.ticket.status, case.ticket.url) == ("new", f"{one.sim.url}/#ticket/zoom/{id_}")
        mails, ours = len(one.mails()), len(one.ours(id_))
        await one.sim.do_agent_writes(id_, "We take them back.")
        await one.sim.do_redeliver()
        await one.sim.do_agent_writes(id_, "A difficult one.", internal=True)
        await one.settle()
        assert one.mails()[mails:] == ["We take them back."]
        assert len(one.ours(id_)) == ours, "what came from the ticket does not go back to it"


async def test_what_an_agent_mailed_from_zammad_is_on_the_case_and_not_sent_again(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as one:
        id_ = await returned(one)
        before = one.written()
        await one.sim.do_agent_writes(id_, "I sent you a label.", kind="email")
        await one.settle()
        assert one.written() == before
        assert one.authors().count(Author.AGENT) == 1


async def test_a_customers_mail_to_zammad_opens_a_case_on_that_ticket(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as one:
        id_ = await one.sim.do_customer_writes("My kettle is broken, I want my money back")
        await one.sim.do_redeliver()
        await one.settle()
        (case,) = one.cases()
        assert (case.source, case.ref("ticket"), case.buyer and case.buyer.email) == ("desk", id_, "emily@example.com")
        assert list(one.sim.books["tickets"]) == [id_]
        assert one.authors().count(Author.BUYER) == 1
        await one.sim.do_customer_writes("Hello?", ticket=id_)
        await one.settle()
        assert (len(one.cases()), one.authors().count(Author.BUYER)) == (1, 2)


async def test_an_agent_closes_the_case_and_the_customer_opens_it_again(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as one:
        id_ = await one.sim.do_customer_writes("Hello")
        await one.settle()
        await one.sim.do_set_state(id_, "closed")
        await one.settle()
        (case,) = one.cases()
        assert (case.status, case.result) == (Status.CLOSED, "solved")
        await one.sim.do_customer_writes("One more thing", ticket=id_)
        await one.settle()
        (case,) = one.cases()
        assert (case.open, case.round) == (True, 2)
        assert one.sim.books["tickets"][id_]["state"] == "open"


async def test_a_ticket_whose_receipt_was_lost_is_found_by_its_tag_and_not_opened_twice(
    tmp_path: Path, sink: Sink
) -> None:
    async with desk(tmp_path, sink) as one:
        one.sim.lost = 1
        await one.world.post(a_return())
        await one.world.until(lambda: ("ticket:open", "uncertain") in one.written())
        one.later(minutes=2)
        await one.world.until(lambda: ("ticket:open", "done") in one.written())
        await one.settle()
        (case,) = one.cases()
        assert list(one.sim.books["tickets"]) == [case.ticket.id]


async def test_a_note_whose_receipt_was_lost_is_found_and_not_written_twice(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as one:
        one.sim.lost = 1
        id_ = await one.sim.do_customer_writes("Hello")
        await one.world.until(lambda: ("ticket:comment:opened", "uncertain") in one.written())
        one.later(minutes=2)
        await one.world.until(lambda: ("ticket:comment:opened", "done") in one.written())
        await one.settle()
        assert len(set(one.ours(id_))) == len(one.ours(id_))


async def test_an_answer_whose_webhooks_were_all_lost_is_found_by_comparison_and_carried_once(
    tmp_path: Path, sink: Sink
) -> None:
    async with desk(tmp_path, sink) as one:
        id_ = await returned(one)
        mails = len(one.mails())
        one.sim.do_drop_next()
        await one.sim.do_agent_writes(id_, "We take them back.")
        for _ in range(2):
            await one.world.bridge.pollers.turn("desk", "reconcile")
            await one.settle()
        assert one.mails()[mails:] == ["We take them back."]


async def test_who_writes_again_is_not_closed_away_by_the_desks_answer_to_our_own_note(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The desk tells of the note while the ticket is still closed."""

    plain = document

    def naming_cases(*args: Any, **more: Any) -> Any:
        found = plain(*args, **more)
        found["marketplaces"]["shop"]["events"][1]["refs"]["case"] = "data.case"
        return found

    monkeypatch.setitem(globals(), "document", naming_cases)
    async with desk(tmp_path, sink) as one:
        id_ = await returned(one)
        await one.sim.do_set_state(id_, "closed")
        await one.settle()
        assert not one.cases()[0].open
        said = {"case": one.cases()[0].id, "text": "It broke again", "form": "mail"}
        await one.world.post({"id": "m-1", "type": "message", "time": ago(seconds=0), "data": said})
        await one.settle()
        (case,) = one.cases()
        assert (case.open, case.round) == (True, 2)
        await one.sim.do_set_state(id_, "closed")
        await one.settle()
        assert not one.cases()[0].open, "what an agent does afterwards counts"


async def test_a_case_goes_on_in_the_ticket_that_an_agent_merged_its_ticket_into(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as one:
        id_ = await returned(one)
        anna, emily = one.sim._user("anna@example.com", "Anna", "Lopez"), one.sim._user("emily@example.com", "Emily")
        other = str(one.sim._open("A call", "Users", emily, anna)["id"])
        mails = len(one.mails())
        await one.sim.do_merge(id_, other)
        await one.sim.do_agent_writes(other, "We take them back.")
        await one.settle()
        (case,) = one.cases()
        assert (case.ticket.id, case.ticket.url, case.open) == (other, f"{one.sim.url}/#ticket/zoom/{other}", True)
        assert one.mails()[mails:] == ["We take them back."], "and nobody is told of the merge"
        assert len(one.ours(other)) == 2, "what was written before, and for who works there what the case is about"
        assert case.id in one.ours(other)[-1]
        assert one.ours(id_) == []
        await one.sim.do_set_state(other, "closed")
        await one.settle()
        assert not one.cases()[0].open
