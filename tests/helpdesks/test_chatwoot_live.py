"""Chatwoot as the help desk of a running bridge, over real HTTP: chats, tickets, and both ends of closing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from rmabridge.model import Author, Case, Commanded, Status
from rmabridge.store import inbox as inbox_store
from rmabridge.testing.simulators.chatwoot import ChatwootSim
from rmabridge.testing.simulators.sink import Sink
from worlds import World, a_return, document, running

LINES = ["Hello", "I bought shoes", "they are too small", "can I send them back?", "please help"]


class Desk:
    """The bridge with its Chatwoot."""

    def __init__(self, world: World, sim: ChatwootSim) -> None:
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

    def said(self, conversation: Any, *, private: bool = False, by: int = 5) -> list[str]:
        """What a user said in a conversation; user 5 is the bridge's own."""
        return [
            one["content"]
            for one in self.sim.books["messages"]
            if one["conversation_id"] == int(conversation)
            and (one["sender"]["id"], one["sender"]["type"], one["private"]) == (by, "user", private)
        ]

    def mails(self) -> list[str]:
        """The words of the mails that went out."""
        posts = [one["body"] for one in self.world.sink.books["posts"]]
        return [one["text"] for one in posts if one["type"] == "message.send"]

    def authors(self) -> list[tuple[str]]:
        """Who wrote the messages of all cases, in order."""
        return self.world.rows("SELECT author FROM messages ORDER BY at, id")

    def written(self) -> list[tuple[Any, ...]]:
        """The ledger."""
        return self.world.rows("SELECT key, state FROM outbox ORDER BY id")

    def later(self, **span: float) -> None:
        """Move both clocks."""
        bridge = self.world.bridge
        bridge.store.clock.offset += timedelta(**span)
        self.sim.offset += timedelta(**span)
        for loop in (bridge.timers, bridge.router, bridge.dispatcher, bridge.pollers, bridge.lookup):
            loop.wake.set()

    async def close(self, case: str) -> None:
        """An operator closes the case."""
        router, store = self.world.bridge.router, self.world.bridge.store
        given = Commanded(key=f"cmd:close:{case}", at=store.clock.now(), command="close", by="tester")
        row = router.event_row([given], "bridge", given.key, case_id=case, kind="command")
        await store.write(lambda conn: inbox_store.add(conn, [row]))
        router.wake.set()
        await self.world.until(lambda: self.cases()[0].status is Status.CLOSED)


@asynccontextmanager
async def desk(tmp_path: Path, sink: Sink, *, signs: bool = True, **settings: Any) -> AsyncIterator[Desk]:
    """A bridge whose help desk and chat is a simulated Chatwoot."""
    async with ChatwootSim(signs=signs) as sim:
        config = document(tmp_path, sink.url)
        config["helpdesks"]["desk"] = {
            "plugin": "chatwoot",
            "url": sim.url,
            "account_id": 1,
            "inbox_id": 4,
            "token": sim.token,
            "bot_ids": ["5"],
            "allow_private": True,
            **({"secret": sim.secret} if signs else {}),
            **settings,
        }
        config["shops"]["one"] |= {"channels": ["desk", "mail"], "sources": ["desk"]}
        async with running(config, sink) as world:
            key = f"?key={settings['url_key']}" if "url_key" in settings else ""
            sim.hook = f"{world.bridge.url}/hooks/desk{key}"
            yield Desk(world, sim)
            await sim.settle()


async def test_five_quick_lines_are_one_case_with_one_answer_in_the_same_chat(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as one:
        chat = await one.sim.do_buyer_says(LINES, identifier=None, verified=False)
        await one.settle()
        (case,) = one.cases()
        assert (case.source, case.ref("ticket"), case.ref("thread")) == ("desk", str(chat), str(chat))
        assert (case.talk.form, case.buyer and case.buyer.chat) == ("chat", str(chat))
        assert [author for (author,) in one.authors()].count("buyer") == 5
        assert len(one.said(chat)) == 1
        assert list(one.sim.books["conversations"]) == [str(chat)]
        assert one.mails() == []


async def test_the_same_webhook_again_says_nothing_new(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as one:
        chat = await one.sim.do_buyer_says("Hello")
        await one.sim.do_redeliver()
        await one.settle()
        assert one.cases()[0].talk.last_text == "Hello"
        assert [author for (author,) in one.authors()].count("buyer") == 1
        assert len(one.said(chat)) == 1


async def test_an_agents_reply_in_the_chat_is_not_sent_a_second_time(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as one:
        chat = await one.sim.do_buyer_says("Hello")
        await one.settle()
        before = one.written()
        await one.sim.do_agent_replies(chat, "We send a new one.")
        await one.sim.do_agent_replies(chat, "A difficult one.", private=True)
        await one.settle()
        assert one.written() == before
        assert len(one.said(chat)) == 1
        assert [author for (author,) in one.authors()].count(Author.AGENT) == 2
        assert one.mails() == []


async def test_a_request_of_the_marketplace_gets_a_conversation_whose_public_words_go_to_the_buyer_once(
    tmp_path: Path, sink: Sink
) -> None:
    async with desk(tmp_path, sink) as one:
        await one.world.post(a_return())
        await one.settle()
        (case,) = one.cases()
        ticket = one.sim.books["conversations"][case.ticket.id]
        assert (ticket["inbox_id"], ticket["custom_attributes"]) == (4, {"rma_id": case.id})
        assert case.ticket.status == "open"
        mails = len(one.mails())
        await one.sim.do_agent_replies(ticket["id"], "We take them back.")
        await one.sim.do_agent_replies(ticket["id"], "Only for us.", private=True)
        await one.sim.do_redeliver()
        await one.settle()
        assert one.mails()[mails:] == ["We take them back."]
        assert one.said(ticket["id"]) == []


async def test_a_visitor_whom_the_shop_vouches_for_joins_the_open_case(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as one:
        await one.world.post(a_return())
        await one.settle()
        await one.sim.do_buyer_says("Any news?", identifier="B1", email="x@example.com", verified=False)
        await one.settle()
        assert len(one.cases()) == 2
        chat = await one.sim.do_buyer_says("Any news?", name="B", identifier="B1", email="b@example.com")
        await one.settle()
        assert len(one.cases()) == 2
        assert ("thread", str(chat)) in [(ref.kind.value, ref.value) for ref in one.cases()[0].refs]


async def test_an_agent_closes_the_case_and_the_buyer_opens_it_again(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as one:
        chat = await one.sim.do_buyer_says("Hello")
        await one.settle()
        await one.sim.do_set_status(chat, "resolved")
        await one.settle()
        (case,) = one.cases()
        assert (case.status, case.result) == (Status.CLOSED, "solved")
        assert one.sim.books["conversations"][str(chat)]["status"] == "resolved"
        await one.sim.do_buyer_says("One more thing", conversation=chat)
        await one.settle()
        (case,) = one.cases()
        assert (case.open, case.round) == (True, 2)
        assert one.sim.books["conversations"][str(chat)]["status"] == "open"


async def test_closing_the_case_resolves_the_conversation_and_ends_there(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as one:
        chat = await one.sim.do_buyer_says("Hello")
        await one.settle()
        await one.close(one.cases()[0].id)
        await one.settle()
        assert one.sim.books["conversations"][str(chat)]["status"] == "resolved"
        (case,) = one.cases()
        assert (case.status, case.round) == (Status.CLOSED, 1)
        assert len(one.said(chat)) == 1


async def test_a_chatwoot_that_does_not_sign_is_heard_by_the_key_of_its_address(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink, signs=False, url_key="long-random-text") as one:
        await one.sim.do_buyer_says("Hello")
        await one.settle()
        assert len(one.cases()) == 1
        one.sim.hook = one.sim.hook.replace("long", "wrong")
        await one.sim.do_buyer_says("Hello", identifier="other", email=None)
        assert one.sim.books["webhooks"][-1]["status"] == 401


async def test_an_answer_whose_receipt_was_lost_is_found_and_not_said_twice(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as one:
        one.sim.lost = 2
        chat = await one.sim.do_buyer_says("Hello")
        await one.world.until(lambda: [state for _, state in one.written()].count("uncertain") == 2)
        one.later(minutes=2)
        await one.world.until(lambda: [state for _, state in one.written()].count("done") == 2)
        await one.settle()
        assert len(one.said(chat)) == 1
        assert len(one.said(chat, private=True)) == 1


async def test_a_conversation_whose_receipt_was_lost_is_found_and_not_opened_twice(tmp_path: Path, sink: Sink) -> None:
    async with desk(tmp_path, sink) as one:
        one.sim.lost = 1
        await one.world.post(a_return())
        await one.world.until(lambda: ("ticket:open", "uncertain") in one.written())
        assert (len(one.sim.books["contacts"]), len(one.sim.books["conversations"])) == (1, 0)
        one.sim.lost = 1
        one.later(minutes=2)
        await one.world.until(lambda: one.sim.books["conversations"])
        await one.world.until(lambda: ("ticket:open", "uncertain") in one.written())
        one.later(minutes=2)
        await one.world.until(lambda: ("ticket:open", "done") in one.written())
        await one.settle()
        (case,) = one.cases()
        assert list(one.sim.books["conversations"]) == [case.ticket.id]
        assert len(one.sim.books["contacts"]) == 1
