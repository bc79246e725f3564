"""Tickets: opened, commented, updated, and found again."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from rmabridge.abilities import Context, Finding, KeepsTickets, Result, performs
from rmabridge.errors import Rejected
from rmabridge.model import CommentTicket, OpenTicket, UpdateTicket
from rmabridge.wire.attached import Bundle, bundle
from rmabridge.wire.bodies import dump_json, read_json, read_object

from .calls import Calls, custom_fields, quoted

UNAPPLIED: Final = (
    "apply it under Admin → Custom Fields → {field} → Applies to, and grant SeeCustomField and ModifyCustomField"
)


class Ticketing(Calls, KeepsTickets):
    """Keeps the tickets of our cases."""

    mail_buyer: bool = Field(
        False,
        description="make the buyer the requestor: RT then mails agents' answers to the buyer itself, and its "
        "autoreply quotes the ticket's first text, unless that scrip is off; off: only the bridge writes",
    )
    statuses: dict[str, str] = Field(
        default_factory=lambda: {"open": "open", "pending": "stalled", "solved": "resolved"},
        description="RT's status for the bridge's open, pending and solved",
    )
    priorities: dict[str, int] = Field(
        default_factory=lambda: {"low": 20, "normal": 50, "high": 75, "urgent": 100},
        description="RT's number for each priority of the routing rules",
    )

    most_attached: int = Field(
        20 << 20, ge=0, description="bytes of files in one comment; what is beyond is only named"
    )

    async def open_ticket(self, action: OpenTicket, ctx: Context) -> Result:
        """Open the ticket; the note names custom fields that RT did not take."""
        label = f"[{action.external}]"
        sent: dict[str, Any] = {
            "Queue": self.queues.get(action.group or "", self.queue),
            "Subject": action.subject if label in action.subject else f"{label} {action.subject}",
            "Content": action.text,
            "ContentType": "text/plain",
            "CustomFields": {**action.fields, self.ref_field: action.external},
            **self._priority(action.priority),
        }
        if self.mail_buyer and action.requester_email:
            sent["Requestor"] = action.requester_email
        number = str(read_object((await self._call(ctx, "POST", "/ticket", json=sent)).content)["id"])
        # The ticket exists: whatever this second call answers, it must not have the first one repeated.
        seen = await self._send(ctx, "GET", f"/ticket/{number}")
        note = _note(read_object(seen.content) if seen.is_success else {}, sent["CustomFields"])
        return Result(number, self._page(number), note=note)

    @performs(deadline=90)
    async def comment_ticket(self, action: CommentTicket, ctx: Context) -> Result:
        """Reply to the requestors, or add a note, with its files; ``Result.id`` is the transaction's."""
        number, path = _ticket(action), "correspond" if action.public else "comment"
        along = await self._along(action, ctx)
        sent = {"Content": along.words(action.text), "ContentType": "text/plain"}
        form: list[tuple[str, Any]] = [("Attachments", (one.name, data, one.media_type)) for one, data in along.files]
        if form:
            form.insert(0, ("JSON", (None, dump_json(sent).encode(), "application/json")))
        body: dict[str, Any] = {"files": form} if form else {"json": sent}
        answer = await self._call(ctx, "POST", f"/ticket/{number}/{path}", **body)
        read_json(answer.content)  # a page of somebody else's with status 200 is no word of RT's
        made = answer.headers.get("Location", "").rpartition("/")[2]
        return Result(made or None, self._page(number))

    async def update_ticket(self, action: UpdateTicket, ctx: Context) -> Result:
        """Change the ticket and read it again: RT answers 200 to a status it refuses."""
        number, sent = _ticket(action), self._priority(action.priority)
        if action.status:
            sent["Status"] = self.statuses.get(action.status, action.status)
        if action.group in self.queues:
            sent["Queue"] = self.queues[action.group]
        if action.fields:
            sent["CustomFields"] = action.fields
        answer = await self._call(ctx, "PUT", f"/ticket/{number}", json=sent)
        now = await self._get(ctx, f"/ticket/{number}")
        if wrong := [name for name in ("Status", "Priority") if name in sent and _differs(now.get(name), sent[name])]:
            said = "; ".join(str(line) for line in read_json(answer.content))
            raise Rejected(f"RT did not take {' and '.join(wrong)}: {said}", hint="see the queue's lifecycle in RT")
        return Result(number, self._page(number), note=_note(now, action.fields))

    async def find_ticket(self, action: OpenTicket, ctx: Context) -> Finding:
        """By the custom field, or, where that is not applied, by the case id in the subject."""
        label = f"[{action.external}]"
        found = await self._tickets(ctx, f"CF.{{{self.ref_field}}} = {quoted(action.external)}")
        if not found:
            alike = await self._tickets(ctx, f"Subject LIKE {quoted(label)}")
            # LIKE takes _ and % for wildcards, so the subject is compared again here.
            found = [row for row in alike if label in str(row.get("Subject"))]
        number = str(found[0]["id"]) if found else ""
        return Finding(True, Result(number, self._page(number))) if found else Finding(False)

    async def find_comment(self, action: CommentTicket, ctx: Context) -> Finding:
        """Compare the text with the account's newest transactions on the ticket."""
        number, kind = _ticket(action), "Correspond" if action.public else "Comment"
        query = f"TicketId = {int(number)} AND Type = '{kind}' AND Creator = {quoted(self._me)}"
        rows = await self._transactions(ctx, query, order="DESC", per_page=20)
        words = (await self._along(action, ctx)).words(action.text)
        for row in rows:
            text, *_ = await self._content(ctx, row)
            if _squeezed(text) == _squeezed(words):
                return Finding(True, Result(str(row["id"]), self._page(number)))
        return Finding(None if len(rows) == 20 else False)

    async def _along(self, action: CommentTicket, ctx: Context) -> Bundle:
        return await bundle(action.attachments, ctx.blob, self.most_attached)

    def _priority(self, name: str | None) -> dict[str, Any]:
        if name is None:
            return {}
        if name not in self.priorities and not name.isdecimal():
            raise Rejected(f"no priority {name!r}", hint="add it to this account's setting priorities")
        return {"Priority": self.priorities[name] if name in self.priorities else int(name)}


def _note(ticket: dict[str, Any], wanted: dict[str, str]) -> str | None:
    lost = sorted(name for name, value in wanted.items() if value and name not in custom_fields(ticket))
    return f"not seen on the ticket: {', '.join(lost)}; {UNAPPLIED.format(field=lost[0])}" if lost else None


def _ticket(action: CommentTicket | UpdateTicket) -> str:
    if not (action.ticket or "").isdecimal():
        raise Rejected(f"no RT ticket number: {action.ticket!r}")
    return str(action.ticket)


def _squeezed(value: str) -> str:
    return " ".join(value.split())


def _differs(now: Any, wanted: Any) -> bool:
    return str(now).lower() != str(wanted).lower()
