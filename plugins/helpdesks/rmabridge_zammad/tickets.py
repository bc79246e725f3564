"""Tickets of the bridge's own: opened for a case, noted on, updated, and found again."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any, Final

from pydantic import Field

from rmabridge.abilities import Context, Finding, KeepsTickets, Result, performs
from rmabridge.errors import Rejected
from rmabridge.model import CommentTicket, Event, OpenTicket, Ref, TicketSeen, UpdateTicket
from rmabridge.wire.attached import Bundle, bundle

from .answers import ARTICLES, TICKETS, Article, Links, Ticket
from .calls import Calls
from .parsing import refs
from .terms import MERGED, NOBODY, id_of, name_of, tag, words

# An uncertain delivery is looked up for a day; equal words of an earlier day are other words.
RECENT: Final = timedelta(hours=25)


class Ticketing(Calls, KeepsTickets):
    """Keeps one ticket a case."""

    group: str = Field("Users", min_length=1, description="Zammad's group for tickets that no rule sends elsewhere")
    groups: dict[str, str] = Field(default_factory=dict, description="Zammad's groups by the routing rules' names")
    fields: dict[str, str] = Field(
        default_factory=dict, description="names of ticket attributes by the bridge's names; make them in Zammad first"
    )
    priorities: dict[str, str] = Field(
        {"low": "1 low", "normal": "2 normal", "medium": "2 normal", "high": "3 high", "urgent": "3 high"},
        description="Zammad's priorities by the bridge's words",
    )
    statuses: dict[str, str] = Field(
        {"open": "open", "pending": "pending reminder", "solved": "closed"},
        description="Zammad's states by the bridge's words",
    )
    pending_for: timedelta = Field(timedelta(days=2), description="after which a pending ticket reminds its agent")
    most_attached: int = Field(
        20 << 20, ge=0, description="bytes of files in one article; what is beyond is only named"
    )

    @performs(settles_after=timedelta(minutes=1))
    async def open_ticket(self, action: OpenTicket, ctx: Context) -> Result:
        """Open the ticket with an internal note; it carries a tag with the case's id."""
        tags = [tag(one) for one in (self.tag, self._reference(action), *action.tags)]
        ticket: dict[str, Any] = {
            "title": action.subject,
            "group": self.groups.get(action.group or "", self.group),
            "state": "new",
            "tags": ",".join(dict.fromkeys(tags)),
            "article": _note(action.text) | {"internal": True},
            **self._customer(action),
            **self._settable(action.priority, action.fields),
        }
        made = Ticket.model_validate_json(await self._call(ctx, "POST", "/tickets", ticket, params={"expand": "true"}))
        return self._result(made, ctx, self._left_out(action, made))

    @performs(deadline=90)
    async def comment_ticket(self, action: CommentTicket, ctx: Context) -> Result:
        """Add a note; a public one is shown to the customer, and mailed to nobody."""
        (id_, moved), along = await self._goes_on(action, ctx), await self._along(action, ctx)
        body = _note(along.words(action.text)) | {"ticket_id": int(id_), "internal": not action.public}
        if along.files:
            body["attachments"] = [
                {"filename": one.name, "data": base64.b64encode(data).decode(), "mime-type": one.media_type}
                for one, data in along.files
            ]
        made = Article.model_validate_json(await self._call(ctx, "POST", "/ticket_articles", body))
        return Result(id=f"zammad:{made.id}", url=self._page(id_), events=moved)

    async def update_ticket(self, action: UpdateTicket, ctx: Context) -> Result:
        """Tags have a call of their own; all else goes in one."""
        id_, moved = await self._goes_on(action, ctx)
        for one in action.add_tags:
            await self._call(ctx, "POST", "/tags/add", {"item": tag(one), "object": "Ticket", "o_id": int(id_)})
        ticket = self._settable(action.priority, action.fields)
        if action.status:
            ticket["state"] = self.statuses.get(action.status, action.status)
            if ticket["state"].startswith("pending"):
                ticket["pending_time"] = (ctx.now() + self.pending_for).isoformat()
        if action.group in self.groups:
            ticket["group"] = self.groups[action.group]
        if action.unassign:
            ticket["owner_id"] = int(NOBODY)
        if not ticket:
            return Result(id=id_, url=self._page(id_), events=moved, note=self._left_out(action, None))
        answer = await self._call(ctx, "PUT", f"/tickets/{id_}", ticket, params={"expand": "true"})
        made = Ticket.model_validate_json(answer)
        return self._result(made, ctx, self._left_out(action, made), moved)

    async def find_ticket(self, action: OpenTicket, ctx: Context) -> Finding:
        """The oldest ticket with the case's tag; by condition, which Zammad asks its database and no search index."""
        named = "condition[ticket.tags]"
        asked = {f"{named}[operator]": "contains one", f"{named}[value]": tag(self._reference(action))}
        answer = await self._call(
            ctx, "GET", "/tickets/search", params={**asked, "expand": "true", "per_page": "50", "page": "1"}
        )
        found = sorted(TICKETS.validate_json(answer), key=lambda one: int(one.id))
        return Finding(True, self._result(found[0], ctx, None)) if found else Finding(False)

    async def find_comment(self, action: CommentTicket, ctx: Context) -> Finding:
        """Whether one of our recent articles on the ticket says these words."""
        (id_, moved), along = await self._goes_on(action, ctx), await self._along(action, ctx)
        said = along.words(action.text).split()
        for one in ARTICLES.validate_json(await self._call(ctx, "GET", f"/ticket_articles/by_ticket/{id_}")):
            recent = one.created_at is None or one.created_at >= ctx.now() - RECENT
            ours = one.created_by_id in self.bot_ids and one.internal is not action.public
            if recent and ours and words(one.model_dump()).split() == said:
                return Finding(True, Result(id=f"zammad:{one.id}", url=self._page(id_), events=moved))
        return Finding(False)

    async def _goes_on(self, action: CommentTicket | UpdateTicket, ctx: Context) -> tuple[str, tuple[Event, ...]]:
        """The ticket that takes the action: for one that an agent merged its parent, which is the case's from now on.

        Zammad takes notes on a merged ticket, which nobody reads, and hangs its links onto the parent: that is one.
        """
        id_ = id_of(action.ticket)
        seen = Ticket.model_validate_json(await self._call(ctx, "GET", f"/tickets/{id_}", params={"expand": "true"}))
        if name_of(seen.state) != MERGED:
            return id_, ()
        asked = {"link_object": "Ticket", "link_object_value": id_}
        links = Links.model_validate_json(await self._call(ctx, "GET", "/links", params=asked)).links
        parents = {one.link_object_value for one in links if (one.link_type, one.link_object) == ("parent", "Ticket")}
        if len(parents) != 1:
            found = ", ".join(sorted(parents)) or "none"
            raise Rejected(
                f"ticket {id_} was merged into another one, which is not known (parents: {found})",
                hint="go on with the case there by hand, or open the bridge's ticket again",
            )
        (parent,) = parents
        named = tuple(Ref(kind=one.kind, value=one.value, url=self._page(parent)) for one in refs(id_of(parent)))
        return parent, (TicketSeen(key=f"merged:{id_}:{parent}", at=ctx.now(), refs=named, continues=id_),)

    def _reference(self, action: OpenTicket) -> str:
        return f"{self.tag}-{action.external}"

    def _customer(self, action: OpenTicket) -> dict[str, Any]:
        """Zammad wants a customer: without an address of the buyer's it is the bridge's own user."""
        if not action.requester_email:
            return {"customer_id": int(min(self.bot_ids, key=int))}
        first, _, last = (action.requester_name or "").partition(" ")
        return {"customer": {"email": action.requester_email, "firstname": first, "lastname": last}}

    async def _along(self, action: CommentTicket, ctx: Context) -> Bundle:
        return await bundle(action.attachments, ctx.blob, self.most_attached)

    def _settable(self, priority: str | None, fields: dict[str, str]) -> dict[str, Any]:
        known = {self.fields[name]: value for name, value in fields.items() if name in self.fields}
        return known | ({"priority": self.priorities[priority]} if priority in self.priorities else {})

    def _left_out(self, action: OpenTicket | UpdateTicket, made: Ticket | None) -> str | None:
        missing = [
            f"field {name}"
            for name in action.fields
            if name not in self.fields or (made is not None and not made.has(self.fields[name]))
        ]
        if action.priority and action.priority not in self.priorities:
            missing.append(f"priority {action.priority}")
        if action.group and action.group not in self.groups:
            missing.append(f"group {action.group}")
        return f"not set in Zammad: {', '.join(missing)}" if missing else None

    def _result(self, ticket: Ticket, ctx: Context, note: str | None, moved: tuple[Event, ...] = ()) -> Result:
        seen = TicketSeen(
            key=f"written:{ticket.id}:{ctx.idempotency_key}",
            at=ticket.updated_at or ctx.now(),
            refs=refs(ticket.id),
            status=name_of(ticket.state),
            priority=name_of(ticket.priority),
        )
        return Result(id=ticket.id, url=self._page(ticket.id), events=(*moved, seen), note=note)


def _note(said: str) -> dict[str, Any]:
    return {"body": said, "type": "note", "sender": "Agent", "content_type": "text/plain"}
