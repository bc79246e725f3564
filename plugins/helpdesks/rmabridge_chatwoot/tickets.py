"""Conversations of the bridge's own: opened for a case, noted on, updated, and found again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

import httpx
from pydantic import Field

from rmabridge.abilities import Context, Finding, KeepsTickets, Result, performs
from rmabridge.errors import DeliveryError
from rmabridge.model import CommentTicket, OpenTicket, UpdateTicket

from .answers import Attributes, Contact, Contacts, Conversation, Conversations, Labels, MadeContact, Toggled
from .speaking import Speaking
from .terms import label, path_of

FULL = 20  # the most of a contact's conversations that are shown


class Ticketing(Speaking, KeepsTickets):
    """Keeps one conversation a case in the API inbox."""

    label: str = Field("rmabridge", min_length=1, description="label of the conversations that the bridge opened")
    fields: dict[str, str] = Field(
        default_factory=dict, description="custom attributes by the bridge's names, where they differ"
    )
    team_ids: dict[str, int] = Field(default_factory=dict, description="ids of teams by the routing rules' groups")
    priorities: dict[str, Literal["low", "medium", "high", "urgent"]] = Field(
        {"low": "low", "normal": "medium", "medium": "medium", "high": "high", "urgent": "urgent"},
        description="Chatwoot's priorities by the bridge's words",
    )
    statuses: dict[str, Literal["open", "pending", "resolved", "snoozed"]] = Field(
        {"open": "open", "pending": "pending", "solved": "resolved"},
        description="Chatwoot's statuses by the bridge's words",
    )

    @performs(settles_after=timedelta(minutes=1))
    async def open_ticket(self, action: OpenTicket, ctx: Context) -> Result:
        contact = await self._known(action, ctx) or await self._introduced(action, ctx)
        body: dict[str, Any] = {
            "inbox_id": self.inbox_id,
            "contact_id": int(contact.id),
            # A source of its own keeps cases of one buyer apart in an inbox that allows one conversation a source.
            "source_id": action.external,
            "status": "open",
            "custom_attributes": self._attributes(action) | {self.attribute: action.external},
            "message": {"content": f"{action.subject}\n\n{action.text}", "private": True},
        }
        if action.group in self.team_ids:
            body["team_id"] = self.team_ids[action.group]
        made = Conversation.model_validate_json(await self._call(ctx, "POST", "/conversations", body))
        missing = [f"group {action.group}"] if action.group and action.group not in self.team_ids else []
        missing += await self._adorned(made.id, action, ctx)
        return Result(id=made.id, url=self._page(made.id), note=_left_out(missing))

    @performs(deadline=90)
    async def comment_ticket(self, action: CommentTicket, ctx: Context) -> Result:
        return await self._say(ctx, action.ticket, action, public=action.public)

    async def update_ticket(self, action: UpdateTicket, ctx: Context) -> Result:
        path, missing = path_of(action.ticket), []
        if action.add_tags or action.fields:
            await self._merged(path, action, ctx)
        if action.priority:
            missing = await self._ranked(path, action.priority, ctx)
        if action.group in self.team_ids:
            await self._call(ctx, "POST", f"{path}/assignments", {"team_id": self.team_ids[action.group]})
        elif action.group:
            missing.append(f"group {action.group}")
        if action.status:
            body = {"status": self.statuses.get(action.status, action.status)}
            Toggled.model_validate_json(await self._call(ctx, "POST", f"{path}/toggle_status", body))
        return Result(id=action.ticket, url=self._page(str(action.ticket)), note=_left_out(missing))

    async def find_ticket(self, action: OpenTicket, ctx: Context) -> Finding:
        """The oldest conversation of the contact that carries the case's id in our inbox."""
        contact = await self._known(action, ctx)
        if contact is None:
            return Finding(False)
        answer = await self._call(ctx, "GET", f"/contacts/{contact.id}/conversations")
        known = Conversations.model_validate_json(answer).payload
        ours = [
            one
            for one in known
            if one.inbox_id == str(self.inbox_id) and one.custom_attributes.get(self.attribute) == action.external
        ]
        if not ours:
            return Finding(None if len(known) >= FULL else False)
        oldest = min(ours, key=lambda one: int(one.id))
        return Finding(True, Result(id=oldest.id, url=self._page(oldest.id)))

    async def find_comment(self, action: CommentTicket, ctx: Context) -> Finding:
        """Whether the conversation holds these words by us."""
        return await self._said(ctx, action.ticket, action, public=action.public)

    async def _known(self, action: OpenTicket, ctx: Context) -> Contact | None:
        wanted = action.requester_email or _identifier(action)
        answer = await self._call(ctx, "GET", "/contacts/search", params={"q": wanted})
        for one in Contacts.model_validate_json(answer).payload:
            if wanted == one.identifier or wanted.casefold() == (one.email or "").casefold():
                return one
        return None

    async def _introduced(self, action: OpenTicket, ctx: Context) -> Contact:
        body: dict[str, Any] = {"inbox_id": self.inbox_id, "source_id": action.external}
        body["name"] = action.requester_name or action.requester_email or action.external
        if action.requester_email:
            body["email"] = action.requester_email
        else:
            body["identifier"] = _identifier(action)
        return MadeContact.model_validate_json(await self._call(ctx, "POST", "/contacts", body)).payload.contact

    async def _adorned(self, conversation: str, action: OpenTicket, ctx: Context) -> list[str]:
        """What could not be put on a conversation that is there: to fail now would open it a second time."""
        path, missing = path_of(conversation), []
        try:
            body = {"labels": [label(one) for one in (self.label, *action.tags)]}
            await self._call(ctx, "POST", f"{path}/labels", body)
            if action.priority:
                missing = await self._ranked(path, action.priority, ctx)
        except (DeliveryError, httpx.HTTPStatusError) as refused:
            missing.append(f"labels or priority ({refused})")
        return missing

    async def _ranked(self, path: str, priority: str, ctx: Context) -> list[str]:
        if priority not in self.priorities:
            return [f"priority {priority}"]
        await self._call(ctx, "POST", f"{path}/toggle_priority", {"priority": self.priorities[priority]})
        return []

    async def _merged(self, path: str, action: UpdateTicket, ctx: Context) -> None:
        """Both calls replace what is there, so what is there is sent along."""
        known = Conversation.model_validate_json(await self._call(ctx, "GET", path))
        if action.add_tags:
            labels = dict.fromkeys([*known.labels, *map(label, action.add_tags)])
            answer = await self._call(ctx, "POST", f"{path}/labels", {"labels": list(labels)})
            Labels.model_validate_json(answer)
        if action.fields:
            body = {"custom_attributes": known.custom_attributes | self._attributes(action)}
            Attributes.model_validate_json(await self._call(ctx, "POST", f"{path}/custom_attributes", body))

    def _attributes(self, action: OpenTicket | UpdateTicket) -> dict[str, Any]:
        return {self.fields.get(name, name): value for name, value in action.fields.items()}


def _identifier(action: OpenTicket) -> str:
    return f"rmabridge:{action.external}"


def _left_out(missing: list[str]) -> str | None:
    return f"not set in Chatwoot: {', '.join(missing)}" if missing else None
