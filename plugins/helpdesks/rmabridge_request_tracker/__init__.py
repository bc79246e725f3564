"""Request Tracker 5 (Best Practical): opens one ticket a case, comments, updates, and polls for replies.

API reference: https://docs.bestpractical.com/rt/5.0/RT/REST2.html

RT's core sends no webhooks, so this account polls and has no door. All of the following was measured on a running RT
5.0.3; RT 6 was not tried, and neither was RT on a database other than SQLite.

- ``GET /transactions?query=id > LAST`` works, sorted by ``orderby=id``. The query needs ``ObjectType = 'RT::Ticket'``
  beside ``TicketQueue``, or transactions of queues and catalogues with the same number as a ticket come along.
- For users who are not superusers ``total`` and ``pages`` are null and there is no ``next_page``.
- RT says nothing of a custom field that is not applied to the queue, of a priority that is no number (it becomes 0),
  or, but for a sentence in a 200, of a status it does not know. So tickets are read back after each change.
- Files in a comment's JSON end in a 500 where a name is not ASCII; as parts of a form they keep their names.
- An unknown queue and a missing right are both a 403: a person must look, the account goes on.

The account's user needs the rights SeeQueue, ShowTicket, ShowTicketComments, CreateTicket, ReplyToTicket,
CommentOnTicket, ModifyTicket, SeeCustomField and ModifyCustomField on its queues, and must be privileged.
Only replies, comments and status changes are heard: a ticket that a customer opens in RT makes no case by itself.
RT has no tags, so those of an action are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote

from pydantic import ValidationError

from rmabridge import hookimpl
from rmabridge.abilities import Connects, Context, Inbound, Item, Page, Plugin, Polls, Probes
from rmabridge.errors import Malformed
from rmabridge.model import Event
from rmabridge.wire.bodies import dig
from rmabridge.wire.times import instant

from .calls import FULL, custom_fields, quoted
from .parsing import Posted, events
from .tickets import UNAPPLIED, Ticketing


class RequestTracker(Ticketing, Polls, Probes, Connects):
    """One RT user, who opens tickets in one queue (or in one for each group of the routing rules)."""

    title: ClassVar[str] = "Request Tracker"
    reference: ClassVar[str] = "https://docs.bestpractical.com/rt/5.0/RT/REST2.html"

    async def probe(self, ctx: Context) -> str:
        """RT's version."""
        return f"Request Tracker {(await self._get(ctx, '/rt')).get('Version')}"

    async def subscribe(self, url: str, ctx: Context) -> tuple[str, ...]:
        """RT sends no webhooks, so nothing is registered; what is left is the custom field on each queue."""
        left = []
        for queue in self._all_queues:
            fields = (await self._get(ctx, f"/queue/{quote(queue, safe='')}")).get("TicketCustomFields") or []
            if self.ref_field not in [dig(field, "name") for field in fields]:
                left.append(f"{queue} has no field {self.ref_field}: {UNAPPLIED.format(field=self.ref_field)}")
        return tuple(left)

    async def poll(self, ctx: Context, cursor: str | None) -> Page:
        """Others' replies, comments and status changes since the cursor.

        The cursor is the number of a transaction, then those above it that were handed over already. RT takes a
        number before it commits, so a lower one may appear after a higher one: the first number moves on only past
        transactions older than ``settle`` (or past a full page).
        """
        if cursor is None:
            newest = await self._rows(
                ctx, "/transactions", query="ObjectType = 'RT::Ticket'", orderby="id", order="DESC", per_page="1"
            )
            return Page((), str(newest[0]["id"]) if newest else "0")
        floor, *seen = (int(part) for part in cursor.split(","))
        queues = " OR ".join(f"TicketQueue = {quoted(queue)}" for queue in self._all_queues)
        kinds = "Type = 'Correspond' OR Type = 'Comment' OR Type = 'Status'"
        query = f"id > {floor} AND ({queues}) AND Creator != {quoted(self._me)} AND ({kinds})"
        rows = await self._transactions(ctx, query, order="ASC", per_page=FULL)
        known: dict[str, Any] = {}
        posted = [await self._posted(ctx, row, known) for row in rows if int(row["id"]) not in seen]
        items = tuple(Item(one.model_dump_json().encode(), f"txn:{one.id}", one.ticket) for one in posted)
        return Page(items, self._next(floor, rows, ctx.now()), more=len(rows) == FULL)

    def _next(self, floor: int, rows: list[dict[str, Any]], now: datetime) -> str:
        numbers = [int(row["id"]) for row in rows]
        old = [int(row["id"]) for row in rows if len(rows) == FULL or instant(row["Created"]) < now - self.settle]
        start = max(old, default=floor)
        return ",".join(str(number) for number in (start, *(number for number in numbers if number > start)))

    async def _posted(self, ctx: Context, row: dict[str, Any], known: dict[str, Any]) -> Posted:
        creator, said = str(dig(row, "Creator", "id")), row["Type"] != "Status"
        ticket = await self._once(ctx, f"/ticket/{row['ObjectId']}", known)
        user = await self._once(ctx, f"/user/{quote(creator, safe='')}", known) if said else {}
        text, rich, files = await self._content(ctx, row) if said else ("", False, ())
        number = str(ticket.get("id") or row["ObjectId"])
        return Posted(
            id=row["id"],
            type=row["Type"],
            at=instant(row["Created"]),
            creator=creator,
            privileged=bool(user.get("Privileged")),
            status=None if said else row["NewValue"],
            ticket=number,
            url=self._page(number),
            ref=next(iter(custom_fields(ticket).get(self.ref_field, [])), None),
            subject=ticket.get("Subject"),
            requestors=tuple(str(dig(one, "id")) for one in ticket.get("Requestor") or ()),
            text=text,
            html=rich,
            files=files,
        )

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """A reply or comment is a message, a status change a look at the ticket; our own are echoes and say nothing."""
        try:
            posted = Posted.model_validate_json(inbound.body)
        except ValidationError as error:
            raise Malformed("not a transaction as this account stores it") from error
        return [] if posted.creator.casefold() == self._me.casefold() else list(events(posted))


@hookimpl
def register_helpdesks() -> list[type[Plugin]]:
    """Request Tracker."""
    return [RequestTracker]
