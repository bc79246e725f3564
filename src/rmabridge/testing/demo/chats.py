"""The story of a buyer who types quickly: one answer to five lines, and a word when no agent comes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from .people import JONAS
from .stories import Tell, expect
from .world import World

BRIDGE: Final = 5


@dataclass
class Chat:
    """A conversation in Chatwoot's widget."""

    world: World
    number: str
    case: str = ""
    reply_ms: int | None = None

    @property
    def key(self) -> str:
        """By which both sides know the case."""
        return f"chat {self.number}"

    def heard(self) -> list[str]:
        """What the buyer was told by the bridge."""
        return heard(self.world.books("chatwoot"), self.number)


def heard(books: dict[str, Any], number: str) -> list[str]:
    """What the bridge's user said in public in a conversation."""
    return [
        one["content"]
        for one in books["messages"]
        if str(one["conversation_id"]) == number and one["sender"]["id"] == BRIDGE and not one["private"]
    ]


def five_lines(world: World, tell: Tell) -> Chat:
    """(h) Five quick lines get one answer; after five minutes without an agent a holding reply."""
    who = {name: JONAS[name] for name in ("name", "email", "identifier")}
    chat = Chat(world, str(world.do("chatwoot", "buyer_says", lines=JONAS["lines"], **who)))
    tell("chat_lines", name=JONAS["name"], lines=" / ".join(JONAS["lines"]))
    world.until("the note on the chat", lambda: _notes(world, chat.number))
    world.settle()
    expect(not chat.heard(), "the buyer was interrupted")
    began = time.monotonic()
    world.advance("21s")
    answer = world.until("the answer", chat.heard)[0]
    chat.reply_ms = round((time.monotonic() - began) * 1000)
    world.settle()
    tell("chat_answer", times=len(chat.heard()), text=answer)
    chat.case = world.cli("cases", "list", "--shop", "studio")[0]["id"]
    world.advance("5m")
    held = world.until("the holding reply", lambda: chat.heard()[1:])[0]
    world.settle()
    tell("chat_holding", text=held)
    return chat


def _notes(world: World, number: str) -> list[dict[str, Any]]:
    return [
        one
        for one in world.books("chatwoot")["messages"]
        if str(one["conversation_id"]) == number and one["private"] and one["sender"]["id"] == BRIDGE
    ]
