"""A Zammad on loopback: tickets, articles, tags and users, and a trigger that fires a signed webhook."""

from __future__ import annotations

from typing import Any, ClassVar

from .zammad_doors import ZammadDoors


class ZammadSim(ZammadDoors):
    """One Zammad. ``books["tickets"]`` holds its tickets by id, ``books["articles"]`` what was written."""

    name: ClassVar[str] = "zammad"

    async def do_customer_writes(
        self,
        text: str,
        ticket: str | int | None = None,
        email: str = "emily@example.com",
        name: str = "Emily Adams",
        kind: str = "email",
        attachments: list[dict[str, Any]] | None = None,
    ) -> str:
        """A customer writes a mail, or on the portal (``kind`` web); answers the ticket's id."""
        customer, made = self._user(email, *name.split(" ", 1)), "update"
        if ticket is None:
            ticket, made = self._open("Question", "Users", customer, customer)["id"], "create"
        body = text.replace("\n", "<br>")
        self._write(str(ticket), customer, body, kind, sender="Customer", attachments=attachments)
        if made == "update" and self.books["tickets"][str(ticket)]["state"] == "closed":
            self.books["tickets"][str(ticket)]["state"] = "open"
        await self._fire(str(ticket), with_article=True)
        return str(ticket)

    async def do_agent_writes(
        self, ticket: str | int, text: str, internal: bool = False, kind: str = "note", state: str | None = None
    ) -> int:
        """An agent writes and may set the state; answers the webhook's status."""
        anna = self._user("anna@example.com", "Anna", "Lopez")
        self._write(str(ticket), anna, f"<div>{text}</div>", kind, sender="Agent", internal=internal)
        self.books["tickets"][str(ticket)]["state"] = state or self.books["tickets"][str(ticket)]["state"]
        return await self._fire(str(ticket), with_article=True)

    async def do_set_state(self, ticket: str | int, state: str) -> int:
        """An agent sets the state and writes nothing."""
        anna = self._user("anna@example.com", "Anna", "Lopez")
        self._touch(str(ticket), anna)["state"] = state
        return await self._fire(str(ticket), with_article=False)

    async def do_merge(self, ticket: str | int, into: str | int) -> int:
        """An agent merges one ticket into another: its articles and links go there; a public note stays behind."""
        anna, source, target = self._user("anna@example.com", "Anna", "Lopez"), int(ticket), int(into)
        for article in self.books["articles"]:
            article["ticket_id"] = target if article["ticket_id"] == source else article["ticket_id"]
        for link in self.books["links"]:
            link |= {end: target for end in ("parent", "child") if link[end] == source}
        self._write(str(source), anna, "merged", "note", sender="Agent", content_type="text/plain")
        self.books["links"].append({"parent": target, "child": source})
        self.books["tickets"][str(source)] |= {"state": "merged", "owner_id": 1}
        return await self._fire(str(source), with_article=True)

    async def do_system_replies(self, ticket: str | int, text: str) -> int:
        """A trigger answers by itself."""
        self._write(str(ticket), self._user("-", "-", ""), text, "email", sender="System")
        return await self._fire(str(ticket), with_article=True)

    async def do_redeliver(self) -> int:
        """Send the last webhook again under its old delivery id, as a retry does."""
        return await self.deliver(*self._sent) if self._sent else 0

    def do_drop_next(self, count: int = 1) -> int:
        """The next webhooks get lost with all their tries."""
        self._dropping += count
        return self._dropping
