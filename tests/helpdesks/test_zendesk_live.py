"""Zendesk as the help desk of a running bridge, over real HTTP: tickets that are closed for good, and merged ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rmabridge.model import Case
from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.zendesk import ZendeskSim
from worlds import World, a_return, ago, document, running


class Desk:
    """The bridge with its Zendesk."""

    def __init__(self, world: World, sim: ZendeskSim) -> None:
        self.world, self.sim = world, sim

    async def settle(self) -> None:
        """Wait until neither side has anything left to tell the other."""
        told = -1
        while told != len(self.sim.books["webhooks"]):
            told = len(self.sim.books["webhooks"])
            await self.world.settle()
            await self.sim.settle()
            await self.world.settle()

    def case(self) -> Case:
        """The only case."""
        store = self.world.bridge.store
        ((key, doc),) = self.world.rows("SELECT key_id, doc FROM cases")
        store.keys_for({key})
        return Case.model_validate_json(store.vault.open(key, doc))

    def said(self, ticket: str) -> list[str]:
        """What stands on a ticket."""
        return [one["body"] for one in self.sim.books["tickets"][ticket]["comments"]]

    def mails(self) -> list[str]:
        """The words of the mails that went out."""
        posts = [one["body"] for one in self.world.sink.books["posts"]]
        return [one["text"] for one in posts if one["type"] == "message.send"]

    def written(self) -> list[tuple[Any, ...]]:
        """The ledger."""
        return self.world.rows("SELECT key, state FROM outbox ORDER BY id")

    async def buyer(self, number: int, words: str) -> None:
        """The buyer answers one of our mails."""
        said = {"case": self.case().id, "text": words, "form": "mail"}
        await self.world.post({"id": f"m-{number}", "type": "message", "time": ago(seconds=0), "data": said})
        await self.settle()


@asynccontextmanager
async def desk(tmp_path: Path, sink: Sink) -> AsyncIterator[tuple[Desk, str]]:
    """A bridge whose help desk is a simulated Zendesk, with a return and its ticket."""
    async with ZendeskSim() as sim:
        config = document(tmp_path, sink.url)
        config["marketplaces"]["shop"]["events"][1]["refs"]["case"] = "data.case"
        account = {"plugin": "zendesk", "subdomain": "acme", "url": sim.url, "email": sim.email, "token": sim.token}
        config["helpdesks"]["desk"] = {**account, "secret": sim.secret, "bot_ids": [sim.bot], "allow_private": True}
        config["shops"]["one"]["sources"] = ["desk"]
        async with running(config, sink) as world:
            sim.hook = f"{world.bridge.url}/hooks/desk"
            one = Desk(world, sim)
            await world.post(a_return())
            await one.settle()
            yield one, str(one.case().ticket.id)
            await sim.settle()


async def test_who_writes_after_the_ticket_was_closed_for_good_is_heard_on_a_follow_up(
    tmp_path: Path, sink: Sink
) -> None:
    async with desk(tmp_path, sink) as (one, ticket):
        await one.sim.do_set_status(ticket, "solved")
        await one.settle()
        assert not one.case().open
        one.sim.books["tickets"][ticket]["status"] = "closed"
        await one.buyer(1, "It broke again")
        await one.buyer(2, "Hello? Anybody?")
        _, follow_up = one.sim.books["tickets"]
        case = one.case()
        assert (case.open, case.round, case.ticket.id) == (True, 2, follow_up)
        first, second = one.said(follow_up)
        assert "It broke again" in first
        assert "Hello? Anybody?" in second
        assert one.sim.books["tickets"][follow_up]["status"] == "open"
        assert {state for key, state in one.written() if key.startswith("ticket:")} == {"done"}
        mails = len(one.mails())
        await one.sim.do_agent_reply(follow_up, "We send a new one.")
        await one.settle()
        assert one.mails()[mails:] == ["We send a new one."]
        await one.sim.do_set_status(follow_up, "solved")
        await one.settle()
        assert not one.case().open


async def test_a_merge_does_not_close_the_case_which_goes_on_in_the_other_ticket(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as (one, ticket):
        books, other = one.sim.books["tickets"], "36000"
        books[other] = {**books[ticket], "id": 36000, "external_id": None, "tags": [], "comments": []}
        mails = len(one.mails())
        await one.sim.do_merge(ticket, other)
        await one.sim.do_agent_reply(other, "We take them back.")
        await one.settle()
        case = one.case()
        assert (case.open, case.ticket.id, len(books)) == (True, other, 2)
        assert case.id in one.said(other)[-1], "who works there reads what the case is about"
        assert one.mails()[mails:] == ["We take them back."]
        await one.sim.do_set_status(other, "solved")
        await one.settle()
        assert not one.case().open


async def test_what_zendesk_mails_to_its_own_customer_is_on_the_case_and_not_sent_again(
    tmp_path: Path, sink: Sink
) -> None:
    async with desk(tmp_path, sink) as (one, _):
        theirs = await one.sim.do_customer_writes("My kettle is broken", author="Emily")
        await one.settle()
        before = one.written()
        await one.sim.do_agent_reply(theirs, "We send a new one.")
        await one.settle()
        assert one.written() == before
        assert one.world.rows("SELECT count(*) FROM messages WHERE author = 'agent'") == [(1,)]
