"""Tickets: opened, commented, updated, and found again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field

from rmabridge.abilities import Context, Finding, KeepsTickets, Result, performs
from rmabridge.errors import Rejected
from rmabridge.model import CommentTicket, OpenTicket, TicketSeen, UpdateTicket
from rmabridge.wire.attached import Bundle, bundle
from rmabridge.wire.bodies import dig

from .answers import Comments, Ticket, Tickets, Uploaded, Written
from .following import Following
from .terms import CLOSED, lower, path_of, refs_of, word


class Ticketing(Following, KeepsTickets):
    """Keeps the tickets of our cases."""

    mail_buyer: bool = Field(
        False,
        description="make the buyer the requester: Zendesk then mails agents' public comments to the buyer itself "
        "(see mails_requester); off: only the bridge writes",
    )
    fields: dict[str, int] = Field(default_factory=dict, description="ids of custom fields by the bridge's names")
    group_ids: dict[str, int] = Field(default_factory=dict, description="ids of groups by the routing rules' names")
    priorities: dict[str, Literal["low", "normal", "high", "urgent"]] = Field(
        {"low": "low", "normal": "normal", "medium": "normal", "high": "high", "urgent": "urgent"},
        description="Zendesk's priorities by the bridge's words",
    )
    statuses: dict[str, str] = Field(default_factory=dict, description="other words for open, pending and solved")
    most_attached: int = Field(
        20 << 20, ge=0, description="bytes of files in one comment; what is beyond is only named"
    )
    first_comment_public: bool = Field(
        False, description="show a ticket's first comment to the customer, by mail (with mail_buyer)"
    )

    @performs(remembers=timedelta(hours=1), settles_after=timedelta(minutes=1))
    async def open_ticket(self, action: OpenTicket, ctx: Context) -> Result:
        ticket: dict[str, Any] = {
            "subject": action.subject,
            "comment": {"body": self._signed(action.text), "public": self.first_comment_public},
            "external_id": action.external,
            "tags": [word(one) for one in (self.tag, *action.tags)],
        }
        if self.mail_buyer and action.requester_email:
            name = action.requester_name or action.requester_email
            ticket["requester"] = {"name": name, "email": action.requester_email}
        if action.group in self.group_ids:
            ticket["group_id"] = self.group_ids[action.group]
        ticket |= self._settable(action.priority, action.fields)
        headers = {"Idempotency-Key": ctx.idempotency_key}
        answer = await self._call(ctx, "POST", "/tickets", {"ticket": ticket}, headers=headers)
        group = action.group if action.group not in self.group_ids else None
        return self._result(Written.model_validate_json(answer), ctx, self._left_out(action, group))

    @performs(deadline=90)
    async def comment_ticket(self, action: CommentTicket, ctx: Context) -> Result:
        path, along = path_of(action.ticket), await self._along(action, ctx)
        comment: dict[str, Any] = {"body": self._signed(along.words(action.text)), "public": action.public}
        if token := await self._uploaded(along, ctx):
            comment["uploads"] = [token]
        try:
            answer = await self._call(ctx, "PUT", path, {"ticket": {"comment": comment}})
        except Rejected as refusal:
            answer = await self._further(str(action.ticket), comment, refusal, ctx)
        written = Written.model_validate_json(answer)
        done = written.audit.get("events") or ()
        made = next((dig(one, "id") for one in done if dig(one, "type") == "Comment"), None)
        moved = (self._seen(written.ticket, action.ticket, ctx),) if written.ticket.id != action.ticket else ()
        return Result(id=f"zendesk:{made}" if made else None, url=self._page(written.ticket.id), events=moved)

    async def _further(self, ticket: str, comment: dict[str, Any], refusal: Rejected, ctx: Context) -> bytes:
        """Write the comment where the closed ticket goes on, else as the first one of its follow-up."""
        last = await self._last(ticket, refusal, ctx)
        if last.status != CLOSED:
            return await self._call(ctx, "PUT", path_of(last.id), {"ticket": {"comment": comment}})
        made = self._follow_up(last) | {"comment": comment}
        return await self._call(
            ctx, "POST", "/tickets", {"ticket": made}, headers={"Idempotency-Key": ctx.idempotency_key}
        )

    async def update_ticket(self, action: UpdateTicket, ctx: Context) -> Result:
        """Change the ticket; one that is closed for good goes on elsewhere, and in a follow-up if it shall be open."""
        path_of(action.ticket)
        try:
            return await self._updated(action, str(action.ticket), ctx)
        except Rejected as refusal:
            last = await self._last(str(action.ticket), refusal, ctx)
        if last.status != CLOSED:
            return await self._updated(action, last.id, ctx)
        if action.status != "open":
            return Result(id=last.id, url=self._page(last.id), note="closed for good in Zendesk, left as it is")
        body = self._signed(f"Follow-up of ticket {last.id}.")
        made = self._follow_up(last) | {"comment": {"body": body, "public": False}}
        headers = {"Idempotency-Key": ctx.idempotency_key}
        opened = Written.model_validate_json(
            await self._call(ctx, "POST", "/tickets", {"ticket": made}, headers=headers)
        )
        return await self._updated(action, opened.ticket.id, ctx)

    async def _updated(self, action: UpdateTicket, id_: str, ctx: Context) -> Result:
        path = path_of(id_)
        if action.add_tags:
            await self._call(ctx, "PUT", f"{path}/tags", {"tags": [word(one) for one in action.add_tags]})
        ticket = self._settable(action.priority, action.fields)
        if action.status:
            ticket["status"] = self.statuses.get(action.status, action.status)
        if action.group in self.group_ids:
            ticket["group_id"] = self.group_ids[action.group]
        left_out = self._left_out(action, action.group if action.group not in self.group_ids else None)
        if not ticket:
            return Result(id=id_, url=self._page(id_), note=left_out)
        answer = await self._call(ctx, "PUT", path, {"ticket": ticket})
        return self._result(Written.model_validate_json(answer), ctx, left_out, action.ticket)

    async def find_ticket(self, action: OpenTicket, ctx: Context) -> Finding:
        """The oldest ticket with our external id and tag: external ids are not unique there."""
        answer = await self._call(ctx, "GET", "/tickets", params={"external_id": action.external})
        same = [one for one in Tickets.model_validate_json(answer).tickets if one.external_id == action.external]
        ours = sorted((one for one in same if word(self.tag) in one.tags), key=lambda one: int(one.id))
        if not ours:
            return Finding(None if same else False)
        return Finding(True, Result(id=ours[0].id, url=self._page(ours[0].id)))

    async def find_comment(self, action: CommentTicket, ctx: Context) -> Finding:
        """Whether the newest comments hold these words by us; what is on an older page stays unknown.

        Where the ticket is closed for good they may be on those in which it goes on.
        """
        path_of(action.ticket)
        words = self._signed((await self._along(action, ctx)).words(action.text)).split()
        params, beyond = {"sort_order": "desc", "per_page": "100"}, False
        for ticket in await self._line(str(action.ticket), ctx):
            page = Comments.model_validate_json(
                await self._call(ctx, "GET", f"{path_of(ticket.id)}/comments", params=params)
            )
            for one in page.comments:
                mine = not self.bot_ids or one.author_id in self.bot_ids
                if mine and one.public == action.public and one.body.split() == words:
                    moved = (self._seen(ticket, action.ticket, ctx),) if ticket.id != action.ticket else ()
                    return Finding(True, Result(id=f"zendesk:{one.id}", url=self._page(ticket.id), events=moved))
            beyond = beyond or page.next_page is not None
        return Finding(None if beyond else False)

    def _result(self, written: Written, ctx: Context, note: str | None, asked: str | None = None) -> Result:
        ticket = written.ticket
        return Result(id=ticket.id, url=self._page(ticket.id), events=(self._seen(ticket, asked, ctx),), note=note)

    def _seen(self, ticket: Ticket, asked: str | None, ctx: Context) -> TicketSeen:
        """The ticket as it is; where another one was asked for it goes on in this one."""
        return TicketSeen(
            key=f"written:{ticket.id}:{ctx.idempotency_key}",
            at=ticket.updated_at or ctx.now(),
            refs=refs_of(ticket.id, ticket.external_id, self._page(ticket.id)),
            status=lower(ticket.status),
            priority=lower(ticket.priority),
            tags=ticket.tags,
            continues=asked if asked != ticket.id else None,
        )

    def _signed(self, words: str) -> str:
        return f"{words}\n\n{self.marker}" if self.marker else words

    async def _along(self, action: CommentTicket, ctx: Context) -> Bundle:
        return await bundle(action.attachments, ctx.blob, self.most_attached)

    async def _uploaded(self, along: Bundle, ctx: Context) -> str | None:
        """The token of the files, which nobody sees until a comment takes it; None where there are none."""
        token = None
        for one, data in along.files:
            params = {"filename": one.name} | ({"token": token} if token else {})
            headers = {"Content-Type": one.media_type}
            answer = await self._call(ctx, "POST", "/uploads.json", params=params, headers=headers, content=data)
            token = Uploaded.model_validate_json(answer).upload.token
        return token

    def _settable(self, priority: str | None, fields: dict[str, str]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if priority in self.priorities:
            made["priority"] = self.priorities[priority]
        known = [{"id": self.fields[name], "value": value} for name, value in fields.items() if name in self.fields]
        return made | ({"custom_fields": known} if known else {})

    def _left_out(self, action: OpenTicket | UpdateTicket, group: str | None = None) -> str | None:
        """What the settings have no id or word for: the ticket goes on without."""
        missing = [f"field {name}" for name in action.fields if name not in self.fields]
        if action.priority and action.priority not in self.priorities:
            missing.append(f"priority {action.priority}")
        if group:
            missing.append(f"group {group}")
        return f"not set in Zendesk, no id known: {', '.join(missing)}" if missing else None
