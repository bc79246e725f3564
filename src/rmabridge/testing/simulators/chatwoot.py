"""Chatwoot on loopback: buyers in the chat widget, agents, and signed webhooks for what they do."""

from __future__ import annotations

from typing import ClassVar

from .chatwoot_doors import ChatwootDoors


class ChatwootSim(ChatwootDoors):
    """One Chatwoot account with a website inbox (chat widget) and an API inbox.

    ``books`` holds ``conversations`` by number, ``messages`` in order, ``contacts``, ``users`` and ``hooks``; what the
    API user does is told as well. ``hook`` is a webhook that was registered by hand; ``signs = False`` is an older
    Chatwoot; the answers to the next ``lost`` writes are lost on the way.
    """

    name: ClassVar[str] = "chatwoot"

    async def do_buyer_says(
        self,
        lines: list[str] | str,
        conversation: int | str | None = None,
        name: str = "Jane",
        email: str | None = "jane@example.com",
        identifier: str | None = "cust-1",
        language: str = "en",
        verified: bool = True,
    ) -> int:
        """A visitor types lines into the chat widget; answers the conversation's number. None begins a new chat."""
        talk = self._talk(conversation) if conversation is not None else None
        if talk is None:
            contact = self._visitor(name, email, identifier)
            talk = self._begin(3, contact, {"browser_language": language, "referer": "https://shop.example"}, verified)
            await self._tell_talk("conversation_created", talk)
        for line in [lines] if isinstance(lines, str) else lines:
            if talk["status"] in {"resolved", "snoozed"}:
                await self._set_status(talk, "open")
            await self._tell_message(self._add(talk, line, "incoming", self.books["contacts"][str(talk["contact_id"])]))
        return int(talk["id"])

    async def do_agent_replies(
        self, conversation: int | str, text: str, private: bool = False, agent: str = "Ana"
    ) -> int:
        """An agent writes in a conversation, or leaves a private note; answers the webhook's status."""
        talk, user = self._talk(conversation), self._user(agent)
        return await self._tell_message(self._add(talk, text, "outgoing", user, private=private))

    async def do_bot_replies(self, conversation: int | str, text: str) -> int:
        """Another bot of the account answers."""
        bot = {"id": 5, "name": "Helper", "type": "agent_bot"}
        return await self._tell_message(self._add(self._talk(conversation), text, "outgoing", bot))

    async def do_set_status(self, conversation: int | str, status: str) -> int:
        """An agent sets the status."""
        return await self._set_status(self._talk(conversation), status)

    async def do_assign(self, conversation: int | str, agent: str = "Ana") -> int:
        """The conversation is given to an agent."""
        talk = self._talk(conversation)
        talk["assignee"] = self._user(agent)
        return await self._changed(talk, {"assignee_id": {"previous_value": None, "current_value": talk["assignee"]}})

    async def do_redeliver(self) -> int:
        """Send the last webhook again, signed anew, under its old delivery id."""
        return max([await self._post(*one) for one in self._last[-1:]], default=0)
