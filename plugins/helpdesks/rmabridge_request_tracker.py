"""Request Tracker 5 (Best Practical): opens one ticket a case, comments, updates, and polls for replies.

API reference: https://docs.bestpractical.com/rt/5.0/RT/REST2.html

RT's core sends no webhooks, so this account polls and has no door. All of the following was measured on a running RT
5.0.3; RT 6 was not tried, and neither was RT on a database other than SQLite.

- ``GET /transactions?query=id > LAST`` works, sorted by ``orderby=id``. The query needs ``ObjectType = 'RT::Ticket'``
  beside ``TicketQueue``, or transactions of queues and catalogues with the same number as a ticket come along.
- For users who are not superusers ``total`` and ``pages`` are null and there is no ``next_page``.
- RT says nothing of a custom field that is not applied to the queue, of a priority that is no number (it becomes 0),
  or, but for a sentence in a 200, of a status it does not know. So tickets are read back after each change.
- An unknown queue and a missing right are both a 403: a person must look, the account goes on.

The account's user needs the rights SeeQueue, ShowTicket, ShowTicketComments, CreateTicket, ReplyToTicket,
CommentOnTicket, ModifyTicket, SeeCustomField and ModifyCustomField on its queues, and must be privileged.
Only replies, comments and status changes are heard: a ticket that a customer opens in RT makes no case by itself.
RT has no tags, so those of an action are left out.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self
from urllib.parse import quote

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from rmabridge import hookimpl
from rmabridge.abilities import (
    Connects,
    Context,
    Finding,
    Inbound,
    Item,
    KeepsTickets,
    Page,
    Plugin,
    Polls,
    Probes,
    Result,
)
from rmabridge.errors import Malformed, Rejected
from rmabridge.model import (
    Attachment,
    Author,
    Buyer,
    CommentTicket,
    Event,
    Form,
    Message,
    MessageReceived,
    OpenTicket,
    Ref,
    RefKind,
    TicketSeen,
    UpdateTicket,
)
from rmabridge.wire.bodies import dig, read_json, read_object
from rmabridge.wire.times import instant

SYSTEM = "RT_System"
FULL = 100  # the most that RT gives on one page
LONGEST = 100_000
RIGHTS = "the queue does not exist or the account's user lacks a right on it: RT answers 403 to both"
UNAPPLIED = (
    "apply it under Admin → Custom Fields → {field} → Applies to, and grant SeeCustomField and ModifyCustomField"
)


class Posted(BaseModel):
    """One transaction with what belongs to it, as ``poll`` stores it and ``parse`` reads it."""

    model_config = ConfigDict(frozen=True)

    id: int = Field(gt=0, lt=1 << 63)
    type: str
    at: AwareDatetime
    creator: str
    privileged: bool = False
    status: str | None = None
    ticket: str = Field(min_length=1)
    url: str | None = None
    ref: str | None = None
    subject: str | None = None
    requestors: tuple[str, ...] = ()
    text: str = ""
    html: bool = False
    files: tuple[Attachment, ...] = ()


class RequestTracker(Plugin, Polls, KeepsTickets, Probes, Connects):
    """One RT user, who opens tickets in one queue (or in one for each group of the routing rules)."""

    title: ClassVar[str] = "Request Tracker"
    reference: ClassVar[str] = "https://docs.bestpractical.com/rt/5.0/RT/REST2.html"

    url: str = Field(
        pattern=r"^https?://", description="RT's address, e.g. https://rt.example.com; REST 2.0 is below it"
    )
    user: str = Field("", description="name of the RT user of this account; not needed with a token")
    password: SecretStr | None = Field(None, description="the user's password")
    token: SecretStr | None = Field(None, description="an RT authentication token, instead of user and password")
    bot: str = Field("", description="RT name of whoever the bridge writes as, so that it knows its own; default: user")
    queue: str = Field("General", description="queue of new tickets")
    queues: dict[str, str] = Field(
        default_factory=dict, description="queue of new tickets by group of the routing rules"
    )
    ref_field: str = Field("rma_ref", pattern=r"^[\w .-]+$", description="custom field that holds the case id")
    mail_buyer: bool = Field(
        True, description="make the buyer the requestor: RT then mails the buyer itself; off: only the bridge writes"
    )
    statuses: dict[str, str] = Field(
        default_factory=lambda: {"open": "open", "pending": "stalled", "solved": "resolved"},
        description="RT's status for the bridge's open, pending and solved",
    )
    priorities: dict[str, int] = Field(
        default_factory=lambda: {"low": 20, "normal": 50, "high": 75, "urgent": 100},
        description="RT's number for each priority of the routing rules",
    )
    settle: timedelta = Field(
        timedelta(minutes=2), description="how long a transaction with a lower number may still appear; see the cursor"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.token is None and not (self.user and self.password):
            raise ValueError("give user and password, or a token made under Logged in as → Settings → Auth Tokens")
        if not (self.bot or self.user):
            raise ValueError("bot is missing: name the RT user whose token this is")
        return self

    # Actions

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

    async def comment_ticket(self, action: CommentTicket, ctx: Context) -> Result:
        """Reply to the requestors, or add a note; ``Result.id`` is the transaction's."""
        number, path = _ticket(action), "correspond" if action.public else "comment"
        sent = {"Content": _words(action), "ContentType": "text/plain"}
        answer = await self._call(ctx, "POST", f"/ticket/{number}/{path}", json=sent)
        made = answer.headers.get("Location", "").rpartition("/")[2]
        return Result(made or None, self._page(number))

    async def update_ticket(self, action: UpdateTicket, ctx: Context) -> Result:
        """Change the ticket and read it again: RT answers 200 to a status it refuses."""
        number, sent = _ticket(action), self._priority(action.priority)
        if action.status:
            sent["Status"] = self.statuses.get(action.status, action.status)
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
        found = await self._tickets(ctx, f"CF.{{{self.ref_field}}} = {_quoted(action.external)}")
        if not found:
            alike = await self._tickets(ctx, f"Subject LIKE {_quoted(label)}")
            # LIKE takes _ and % for wildcards, so the subject is compared again here.
            found = [row for row in alike if label in str(row.get("Subject"))]
        number = str(found[0]["id"]) if found else ""
        return Finding(True, Result(number, self._page(number))) if found else Finding(False)

    async def find_comment(self, action: CommentTicket, ctx: Context) -> Finding:
        """Compare the text with the account's newest transactions on the ticket."""
        number, kind = _ticket(action), "Correspond" if action.public else "Comment"
        query = f"TicketId = {int(number)} AND Type = '{kind}' AND Creator = {_quoted(self._me)}"
        rows = await self._transactions(ctx, query, order="DESC", per_page=20)
        for row in rows:
            text, _, _ = await self._content(ctx, str(row["id"]))
            if _squeezed(text) == _squeezed(_words(action)):
                return Finding(True, Result(str(row["id"]), self._page(number)))
        return Finding(None if len(rows) == 20 else False)

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

    # Polling

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
        queues = " OR ".join(f"TicketQueue = {_quoted(queue)}" for queue in self._all_queues)
        kinds = "Type = 'Correspond' OR Type = 'Comment' OR Type = 'Status'"
        query = f"id > {floor} AND ({queues}) AND Creator != {_quoted(self._me)} AND ({kinds})"
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
        text, rich, files = await self._content(ctx, str(row["id"])) if said else ("", False, ())
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
            ref=next(iter(_values(ticket).get(self.ref_field, [])), None),
            subject=ticket.get("Subject"),
            requestors=tuple(str(dig(one, "id")) for one in ticket.get("Requestor") or ()),
            text=text,
            html=rich,
            files=files,
        )

    async def _content(self, ctx: Context, transaction: str) -> tuple[str, bool, tuple[Attachment, ...]]:
        path = f"/transaction/{transaction}/attachments"
        rows = await self._rows(ctx, path, fields="Filename,ContentType,ContentLength", per_page=str(FULL))
        bodies = {row["ContentType"]: row for row in reversed(rows) if not row.get("Filename")}
        body = bodies.get("text/plain") or bodies.get("text/html")
        files = tuple(self._file(transaction, row) for row in rows if row.get("Filename"))
        if body is None:
            return "", False, files
        answer = await self._send(ctx, "GET", f"/attachment/{body['id']}")
        if answer.status_code in {404, 500}:  # RT's answer to an attachment that is gone: asking again does not help
            return "", False, files
        coded = read_object(answer.raise_for_status().content).get("Content") or ""
        words = base64.b64decode(coded).decode(errors="replace")[:LONGEST]
        return words, body["ContentType"] == "text/html", files

    def _file(self, transaction: str, row: dict[str, Any]) -> Attachment:
        name = str(row["Filename"])
        address = f"{self._root}/Ticket/Attachment/{transaction}/{row['id']}/{quote(name, safe='')}"
        return Attachment(name=name, media_type=row["ContentType"], url=address, size=row.get("ContentLength"))

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """A reply or comment is a message, a status change a look at the ticket; our own are echoes and say nothing."""
        try:
            posted = Posted.model_validate_json(inbound.body)
        except ValidationError as error:
            raise Malformed("not a transaction as this account stores it") from error
        return [] if posted.creator.casefold() == self._me.casefold() else list(_events(posted))

    # Calls

    @property
    def _me(self) -> str:
        return self.bot or self.user

    @property
    def _root(self) -> str:
        return self.url.rstrip("/")

    @property
    def _all_queues(self) -> list[str]:
        return list(dict.fromkeys([self.queue, *self.queues.values()]))

    def _page(self, number: str) -> str:
        return f"{self._root}/Ticket/Display.html?id={number}"

    async def _send(self, ctx: Context, method: str, path: str, **options: Any) -> httpx.Response:
        if self.token:
            options["headers"] = {"Authorization": f"token {self.token.get_secret_value()}"}
        elif self.password:
            options["auth"] = (self.user, self.password.get_secret_value())
        return await ctx.http.request(method, f"{self._root}/REST/2.0{path}", **options)

    async def _call(self, ctx: Context, method: str, path: str, **options: Any) -> httpx.Response:
        answer = await self._send(ctx, method, path, **options)
        if answer.status_code == 403:
            raise Rejected(f"RT: {answer.text[:300]}", hint=RIGHTS)
        return answer.raise_for_status()

    async def _get(self, ctx: Context, path: str) -> dict[str, Any]:
        return read_object((await self._call(ctx, "GET", path)).content)

    async def _once(self, ctx: Context, path: str, known: dict[str, Any]) -> dict[str, Any]:
        if path not in known:
            answer = await self._send(ctx, "GET", path)
            known[path] = {} if answer.status_code == 404 else read_object(answer.raise_for_status().content)
        found: dict[str, Any] = known[path]
        return found

    async def _rows(self, ctx: Context, path: str, **params: str) -> list[dict[str, Any]]:
        answer = await self._call(ctx, "GET", path, params=params)
        return [row for row in read_object(answer.content)["items"] if isinstance(row, dict)]

    async def _tickets(self, ctx: Context, query: str) -> list[dict[str, Any]]:
        return await self._rows(ctx, "/tickets", query=query, fields="Subject", orderby="id", per_page=str(FULL))

    async def _transactions(self, ctx: Context, query: str, *, order: str, per_page: int) -> list[dict[str, Any]]:
        params = {"orderby": "id", "order": order, "per_page": str(per_page)}
        fields = "Type,Creator,Created,NewValue,ObjectId"
        whole = f"ObjectType = 'RT::Ticket' AND {query}"
        return await self._rows(ctx, "/transactions", query=whole, fields=fields, **params)

    def _priority(self, name: str | None) -> dict[str, Any]:
        if name is None:
            return {}
        if name not in self.priorities and not name.isdecimal():
            raise Rejected(f"no priority {name!r}", hint="add it to this account's setting priorities")
        return {"Priority": self.priorities[name] if name in self.priorities else int(name)}


def _note(ticket: dict[str, Any], wanted: dict[str, str]) -> str | None:
    lost = sorted(name for name, value in wanted.items() if value and name not in _values(ticket))
    return f"not seen on the ticket: {', '.join(lost)}; {UNAPPLIED.format(field=lost[0])}" if lost else None


def _ticket(action: CommentTicket | UpdateTicket) -> str:
    if not (action.ticket or "").isdecimal():
        raise Rejected(f"no RT ticket number: {action.ticket!r}")
    return str(action.ticket)


def _words(action: CommentTicket) -> str:
    return "\n".join([action.text, *(f"{file.name}: {file.url}" for file in action.attachments if file.url)])


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _squeezed(value: str) -> str:
    return " ".join(value.split())


def _differs(now: Any, wanted: Any) -> bool:
    return str(now).lower() != str(wanted).lower()


def _values(ticket: dict[str, Any]) -> dict[str, list[str]]:
    fields = ticket.get("CustomFields") or []
    return {str(dig(field, "name")): [str(one) for one in dig(field, "values") or ()] for field in fields}


def _events(posted: Posted) -> Iterator[Event]:
    refs = [Ref(kind=RefKind.TICKET, value=posted.ticket, url=posted.url)]
    if posted.ref:
        refs.append(Ref(kind=RefKind.CASE, value=posted.ref))
    key = f"txn:{posted.id}"
    if posted.type == "Status" and posted.status:
        yield TicketSeen(key=key, at=posted.at, refs=tuple(refs), status=posted.status.lower())
    elif posted.type in {"Correspond", "Comment"}:
        author, mail = _author(posted), posted.creator if "@" in posted.creator else None
        buyer = Buyer(email=mail) if author is Author.BUYER else None
        yield MessageReceived(key=key, at=posted.at, refs=tuple(refs), message=_message(posted, author), buyer=buyer)


def _author(posted: Posted) -> Author:
    if posted.creator == SYSTEM:
        return Author.SYSTEM
    # Anybody may mail to a ticket; only privileged users are the shop's people, and only they may comment by default.
    if posted.type == "Comment":
        return Author.AGENT
    return Author.AGENT if posted.privileged and posted.creator not in posted.requestors else Author.BUYER


def _message(posted: Posted, author: Author) -> Message:
    return Message(
        id=str(posted.id),
        author=author,
        form=Form.MAIL,
        text=_plain(posted.text) if posted.html else posted.text.strip(),
        at=posted.at,
        who=posted.creator,
        subject=posted.subject,
        public=posted.type == "Correspond",
        attachments=posted.files,
    )


def _plain(rich: str) -> str:
    first, *rest = re.split(r"<(?:style|script)\b", rich, flags=re.IGNORECASE)
    kept = first + "".join(
        re.split(r"</(?:style|script)\s*>", part, maxsplit=1, flags=re.IGNORECASE)[-1] for part in rest
    )
    lines = re.sub(r"<(?:br|/p|/div|/li|/tr|/h\d)\b[^<>]*>", "\n", kept, flags=re.IGNORECASE)
    return html.unescape(re.sub(r"<[^<>]*>", "", lines)).replace("\xa0", " ").strip()


@hookimpl
def register_helpdesks() -> list[type[Plugin]]:
    """Request Tracker."""
    return [RequestTracker]
