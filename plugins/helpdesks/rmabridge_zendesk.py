"""Zendesk Support: opens one ticket a case, comments, updates, and hears what agents and customers write there.

API reference: https://developer.zendesk.com/api-reference/ticketing/introduction/

Webhooks come in two shapes, and a webhook is one of them for life: native ticket events, or a trigger that sends the
body in ``TRIGGER_BODY``. Zendesk does not escape what it puts into a trigger's body, so words with a quote break it:
prefer native events, or leave ``latest_public_comment`` out.

Not verified against the vendor's own specification: the invocation header (used as the delivery's id where present);
the fields of ``event.comment`` and ``detail.actor_id`` (seen in third-party code only); the trigger's placeholders;
``GET /users/me``; that a comment's id is that of its audit event; how long an ``Idempotency-Key`` is remembered (one
hour is assumed); the words of the 422 for a closed ticket. Zendesk's button "Test webhook" is said to sign with one
public secret: never configure that one, only the secret of your own webhook.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from rmabridge import hookimpl
from rmabridge.abilities import (
    Connects,
    Context,
    Finding,
    Inbound,
    KeepsTickets,
    Plugin,
    Probes,
    Receipt,
    ReceivesWebhooks,
    Result,
    Secrets,
    WebRequest,
    live,
    performs,
)
from rmabridge.errors import Malformed, Rejected, Unauthorised, Unavailable, Unverified, WrongType
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
from rmabridge.wire.bodies import dig, dump_json, read_object, text
from rmabridge.wire.signing import any_matches, fresh, hmac_base64
from rmabridge.wire.times import instant, maybe_instant

EVENT = "zen:event-type:ticket."
COMMENT = "comment_added"
CHANGES = frozenset(
    {
        "created",
        "status_changed",
        "priority_changed",
        "tags_changed",
        "custom_field_changed",
        "external_id_changed",
        "agent_assignment_changed",
        "group_assignment_changed",
    }
)
PLACEHOLDERS = {
    "ticket_id": "ticket.id",
    "external_id": "ticket.external_id",
    "status": "ticket.status",
    "priority": "ticket.priority",
    "tags": "ticket.tags",
    "updated_at": "ticket.updated_at_with_timestamp",
    "requester_email": "ticket.requester.email",
    "current_user": "current_user.email",
}
TRIGGER_BODY = dump_json({"event": "ticket_updated"} | {name: f"{{{{{it}}}}}" for name, it in PLACEHOLDERS.items()})
COMMENT_BODY = TRIGGER_BODY.replace("ticket_updated", COMMENT).replace(
    '}}"}', '}}","latest_public_comment":"{{ticket.latest_public_comment}}"}'
)


class Answer(BaseModel):
    """A part of what Zendesk answers; ids are numbers there and text here."""

    model_config = ConfigDict(coerce_numbers_to_str=True)


class Ticket(Answer):
    """A ticket in an answer."""

    id: str = Field(min_length=1)
    external_id: str | None = None
    status: str | None = None
    priority: str | None = None
    tags: tuple[str, ...] = ()
    updated_at: AwareDatetime | None = None


class Written(Answer):
    """The answer to a create or an update; the audit lists what it did."""

    ticket: Ticket
    audit: dict[str, Any] = Field(default_factory=dict)


class Tickets(Answer):
    """A list of tickets."""

    tickets: tuple[Ticket, ...]


class Comment(Answer):
    """A comment in an answer."""

    id: str
    author_id: str | None = None
    body: str = ""
    public: bool = False


class Comments(Answer):
    """A list of comments, one page of it."""

    comments: tuple[Comment, ...]
    next_page: str | None = None


class Me(Answer):
    """Who is signed in; the anonymous visitor has no id."""

    user: dict[str, Any]


class Zendesk(Plugin, ReceivesWebhooks, KeepsTickets, Probes, Connects):
    """One Zendesk account, used through one API user of its own."""

    # Ids are numbers to operators, too.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    title: ClassVar[str] = "Zendesk Support"
    reference: ClassVar[str] = "https://developer.zendesk.com/api-reference/ticketing/introduction/"

    subdomain: str = Field(pattern=r"^[A-Za-z0-9-]+$", description="the account's name in NAME.zendesk.com")
    url: str = Field("", description="address of the account; https://SUBDOMAIN.zendesk.com where it is left out")
    email: str | None = Field(None, description="the API user's e-mail address; left out, the token is an OAuth token")
    token: SecretStr = Field(description="API token, or OAuth access token")
    secret: Secrets = Field((), description="the webhook's signing secret; until it is set no webhook is taken")
    window: timedelta = Field(timedelta(minutes=5), description="how far a webhook's time may be from ours")
    bot_ids: frozenset[str] = Field(
        frozenset(), description="user ids of the API user: what it wrote is an echo; `rmabridge check` shows the id"
    )
    bot_email: str | None = Field(None, description="the API user's address in trigger bodies; `email` where left out")
    marker: str = Field("", description="last line put under our comments; needed where an agent shares the API user")
    tag: str = Field("rmabridge", min_length=1, description="tag of the tickets that the bridge opened")
    fields: dict[str, int] = Field(default_factory=dict, description="ids of custom fields by the bridge's names")
    group_ids: dict[str, int] = Field(default_factory=dict, description="ids of groups by the routing rules' names")
    priorities: dict[str, Literal["low", "normal", "high", "urgent"]] = Field(
        {"low": "low", "normal": "normal", "medium": "normal", "high": "high", "urgent": "urgent"},
        description="Zendesk's priorities by the bridge's words",
    )
    statuses: dict[str, str] = Field(default_factory=dict, description="other words for open, pending and solved")
    first_comment_public: bool = Field(False, description="show a ticket's first comment to the customer, by mail")

    @property
    def site(self) -> str:
        """The account's address without a slash at its end."""
        return (self.url or f"https://{self.subdomain}.zendesk.com").rstrip("/")

    # Webhooks in

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        if request.content_type not in {"", "application/json"}:
            raise WrongType("Zendesk sends application/json")
        stamp = request.headers.get("X-Zendesk-Webhook-Signature-Timestamp", "")
        given = request.headers.get("X-Zendesk-Webhook-Signature", "")
        signed = stamp.encode("utf-8", "surrogatepass") + request.body
        if not given or not any_matches(given, [hmac_base64(one, signed) for one in live(self.secret, now)]):
            raise Unverified("X-Zendesk-Webhook-Signature does not fit")
        fresh(_stamp(stamp), now, self.window)
        return Receipt(id=request.headers.get("X-Zendesk-Webhook-Invocation-Id"), lane=_lane(request.body))

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        body = read_object(inbound.body)
        topic = str(body.get("type") or "")
        try:
            if topic.startswith(EVENT):
                return list(self._native(topic.removeprefix(EVENT), body))
            if body.get("event") in ("ticket_updated", COMMENT) and "ticket_id" in body:
                return list(self._triggered(body, inbound.received_at))
        except ValidationError as error:
            raise Malformed(f"an event that cannot be kept: {error.errors()[0]['msg']}") from error
        return []

    def _native(self, topic: str, body: dict[str, Any]) -> Iterator[Event]:
        if topic != COMMENT and topic not in CHANGES:
            return
        detail = body.get("detail")
        ticket = _ticket(dig(detail, "id"))
        at = maybe_instant(body.get("time"))
        if at is None:
            raise Malformed("a ticket event without a time")
        if topic == COMMENT:
            yield from self._commented(ticket, detail, dig(body, "event", "comment"), at)
        elif text(dig(detail, "actor_id")) not in self.bot_ids:
            current = dig(body, "event", "current") if topic == "status_changed" else None
            yield TicketSeen(
                key=_name(body.get("id"), "event"),
                at=at,
                refs=_refs(ticket, dig(detail, "external_id")),
                status=_lower(current or dig(detail, "status")),
                priority=_lower(dig(detail, "priority")),
                tags=_tags(dig(detail, "tags")),
                assignee=text(dig(detail, "assignee_id")),
            )

    def _commented(self, ticket: str, detail: Any, comment: Any, at: datetime) -> Iterator[Event]:
        author, words = text(dig(comment, "author", "id")), text(dig(comment, "body"))
        if words is None or author in self.bot_ids or self._marked(words):
            return
        staff = dig(comment, "author", "is_staff")
        if staff is None:
            staff = author is None or author != text(dig(detail, "requester_id"))
        yield _said(
            _name(dig(comment, "id"), "comment"),
            ticket,
            dig(detail, "external_id"),
            words,
            at,
            staff=bool(staff),
            who=text(dig(comment, "author", "name")),
            public=dig(comment, "is_public") is True,
        )

    def _triggered(self, body: dict[str, Any], received: datetime) -> Iterator[Event]:
        ticket, user = _ticket(body["ticket_id"]), _lower(body.get("current_user"))
        if user is not None and user == self._own():
            return
        at = maybe_instant(body.get("updated_at")) or received
        status, priority, tags = _lower(body.get("status")), _lower(body.get("priority")), _tags(body.get("tags"))
        yield TicketSeen(
            key=_digest(ticket, body.get("updated_at"), status, priority, tags),
            at=at,
            refs=_refs(ticket, body.get("external_id")),
            status=status,
            priority=priority,
            tags=tags,
        )
        words = text(body.get("latest_public_comment"))
        if words is None or user is None or self._marked(words):
            return
        # A trigger on any change repeats the latest comment: only one on comments may tell two equal ones apart.
        once = body.get("updated_at") if body["event"] == COMMENT else None
        known = text(body.get("comment_id"))
        name = _name(known, "comment") if known else _digest("words", ticket, words, once)
        staff = user != _lower(body.get("requester_email"))
        yield _said(name, ticket, body.get("external_id"), words, at, staff=staff, who=user, public=True)

    def _own(self) -> str | None:
        """The API user's address; with a marker the user may be an agent's, and the marker decides alone."""
        return _lower(self.bot_email or (None if self.marker else self.email))

    def _marked(self, words: str) -> bool:
        return bool(self.marker) and self.marker in words

    # Calls out

    @performs(remembers=timedelta(hours=1), settles_after=timedelta(minutes=1))
    async def open_ticket(self, action: OpenTicket, ctx: Context) -> Result:
        ticket: dict[str, Any] = {
            "subject": action.subject,
            "comment": {"body": self._signed(action.text), "public": self.first_comment_public},
            "external_id": action.external,
            "tags": [_word(one) for one in (self.tag, *action.tags)],
        }
        if action.requester_email:
            name = action.requester_name or action.requester_email
            ticket["requester"] = {"name": name, "email": action.requester_email}
        if action.group in self.group_ids:
            ticket["group_id"] = self.group_ids[action.group]
        ticket |= self._settable(action.priority, action.fields)
        headers = {"Idempotency-Key": ctx.idempotency_key}
        answer = await self._call(ctx, "POST", "/tickets", {"ticket": ticket}, headers=headers)
        group = action.group if action.group not in self.group_ids else None
        return self._result(Written.model_validate_json(answer), ctx, self._left_out(action, group))

    async def comment_ticket(self, action: CommentTicket, ctx: Context) -> Result:
        comment = {"body": self._told(action), "public": action.public}
        answer = await self._call(ctx, "PUT", _path(action.ticket), {"ticket": {"comment": comment}})
        written = Written.model_validate_json(answer)
        done = written.audit.get("events") or ()
        made = next((dig(one, "id") for one in done if dig(one, "type") == "Comment"), None)
        return Result(id=f"zendesk:{made}" if made else None, url=self._page(written.ticket.id))

    async def update_ticket(self, action: UpdateTicket, ctx: Context) -> Result:
        path = _path(action.ticket)
        if action.add_tags:
            await self._call(ctx, "PUT", f"{path}/tags", {"tags": [_word(one) for one in action.add_tags]})
        ticket = self._settable(action.priority, action.fields)
        if action.status:
            ticket["status"] = self.statuses.get(action.status, action.status)
        if not ticket:
            return Result(id=action.ticket, url=self._page(str(action.ticket)), note=self._left_out(action))
        answer = await self._call(ctx, "PUT", path, {"ticket": ticket})
        return self._result(Written.model_validate_json(answer), ctx, self._left_out(action))

    async def find_ticket(self, action: OpenTicket, ctx: Context) -> Finding:
        """The oldest ticket with our external id and tag: external ids are not unique there."""
        answer = await self._call(ctx, "GET", "/tickets", params={"external_id": action.external})
        same = [one for one in Tickets.model_validate_json(answer).tickets if one.external_id == action.external]
        ours = sorted((one for one in same if _word(self.tag) in one.tags), key=lambda one: int(one.id))
        if not ours:
            return Finding(None if same else False)
        return Finding(True, Result(id=ours[0].id, url=self._page(ours[0].id)))

    async def find_comment(self, action: CommentTicket, ctx: Context) -> Finding:
        """Whether the newest comments hold these words by us; what is on an older page stays unknown."""
        params = {"sort_order": "desc", "per_page": "100"}
        page = Comments.model_validate_json(
            await self._call(ctx, "GET", f"{_path(action.ticket)}/comments", params=params)
        )
        words = self._told(action).split()
        for one in page.comments:
            mine = not self.bot_ids or one.author_id in self.bot_ids
            if mine and one.public == action.public and one.body.split() == words:
                return Finding(True, Result(id=f"zendesk:{one.id}", url=self._page(str(action.ticket))))
        return Finding(None if page.next_page else False)

    async def probe(self, ctx: Context) -> str:
        me = Me.model_validate_json(await self._call(ctx, "GET", "/users/me.json")).user
        if (user := text(me.get("id"))) is None:
            raise Unauthorised("Zendesk takes us for an anonymous visitor", hint="check email and token")
        known = "" if user in self.bot_ids else f'; set bot_ids = ["{user}"], else our own comments come back as news'
        return f"signed in to {self.site} as {me.get('name')} (user {user}){known}"

    async def subscribe(self, url: str, ctx: Context) -> tuple[str, ...]:
        return (
            f"In Admin Center → Apps and integrations → Webhooks create a webhook: POST, JSON, endpoint {url}",
            f"Subscribe it to Zendesk events: {', '.join(f'ticket.{one}' for one in sorted({COMMENT, *CHANGES}))}",
            "Copy the signing secret from the webhook's page into the setting secret",
            f"Without native events: let a trigger on ticket updates call it, with this body: {TRIGGER_BODY}",
            f"and a second trigger, on public comments alone, with this body: {COMMENT_BODY}",
        )

    def samples(self) -> tuple[str, ...]:
        return ("ticket.comment_added", "ticket.status_changed")

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        secrets = live(self.secret, now)
        if name not in self.samples() or not secrets:
            return None
        stamp = now.isoformat(timespec="seconds").replace("+00:00", "Z")
        body = dump_json(_envelope(name, stamp)).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Zendesk-Webhook-Signature-Timestamp": stamp,
            "X-Zendesk-Webhook-Signature": hmac_base64(secrets[0], stamp.encode() + body),
        }
        return WebRequest("POST", f"/hooks/{self.account}", {}, headers, body)

    async def _call(
        self,
        ctx: Context,
        method: str,
        path: str,
        json: Any = None,
        *,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        token = self.token.get_secret_value()
        sent = {"Accept": "application/json", **(headers or {})}
        auth = httpx.BasicAuth(f"{self.email}/token", token) if self.email else None
        if auth is None:
            sent["Authorization"] = f"Bearer {token}"
        address = f"{self.site}/api/v2{path}"
        answer = await ctx.http.request(method, address, json=json, params=params, headers=sent, auth=auth)
        _complain(answer)
        return answer.content

    def _page(self, ticket: str) -> str:
        return f"{self.site}/agent/tickets/{ticket}"

    def _result(self, written: Written, ctx: Context, note: str | None) -> Result:
        ticket = written.ticket
        seen = TicketSeen(
            key=f"written:{ticket.id}:{ctx.idempotency_key}",
            at=ticket.updated_at or ctx.now(),
            refs=_refs(ticket.id, ticket.external_id),
            status=_lower(ticket.status),
            priority=_lower(ticket.priority),
            tags=ticket.tags,
        )
        return Result(id=ticket.id, url=self._page(ticket.id), events=(seen,), note=note)

    def _signed(self, words: str) -> str:
        return f"{words}\n\n{self.marker}" if self.marker else words

    def _told(self, action: CommentTicket) -> str:
        """The comment's words, with the addresses of its attachments below."""
        return self._signed("\n".join([action.text, *map(_link, (one for one in action.attachments if one.url))]))

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


def _stamp(stamp: str) -> datetime:
    try:
        return instant(stamp)
    except ValueError as error:
        raise Unverified("the signature's time cannot be read") from error


def _lane(raw: bytes) -> str | None:
    try:
        body = read_object(raw)
    except Malformed:
        return None
    return text(dig(body, "detail", "id") or body.get("ticket_id"))


def _ticket(given: Any) -> str:
    if not (found := text(given)) or not found.isascii() or not found.isdigit() or len(found) > 32:
        raise Malformed("no ticket id")
    return found


def _name(given: Any, kind: str) -> str:
    if not (found := text(given)) or len(found) > 200:
        raise Malformed(f"no {kind} id")
    return f"{kind}:{found}"


def _digest(*parts: Any) -> str:
    return "trigger:" + hashlib.sha256(dump_json(parts).encode("utf-8", "replace")).hexdigest()


def _lower(given: Any) -> str | None:
    found = text(given)
    return found.strip().lower() if found else None


def _tags(given: Any) -> tuple[str, ...] | None:
    if isinstance(given, str):
        return tuple(given.split())
    return tuple(str(one) for one in given) if isinstance(given, list) else None


def _word(tag: str) -> str:
    return "_".join(tag.lower().split())


def _refs(ticket: str, external: Any) -> tuple[Ref, ...]:
    refs = (Ref(kind=RefKind.TICKET, value=ticket),)
    return (*refs, Ref(kind=RefKind.CASE, value=case)) if (case := text(external)) else refs


def _said(
    name: str, ticket: str, external: Any, words: str, at: datetime, *, staff: bool, who: str | None, public: bool
) -> MessageReceived:
    message = Message(
        id=name.replace("comment:", "zendesk:", 1),
        author=Author.AGENT if staff else Author.BUYER,
        form=Form.MAIL,
        text=words,
        at=at,
        who=who,
        public=public,
    )
    # A customer's words name the ticket only: they may come from a ticket that is no case of ours yet.
    refs = _refs(ticket, external if staff else None)
    return MessageReceived(key=name, at=at, refs=refs, message=message, buyer=None if staff else Buyer(name=who))


def _path(ticket: str | None) -> str:
    if not ticket or not ticket.isascii() or not ticket.isdigit():
        raise Rejected(f"{ticket!r} is no Zendesk ticket", hint="open the ticket first, or name its number")
    return f"/tickets/{ticket}"


def _link(one: Attachment) -> str:
    return f"{one.name}: {one.url}"


def _complain(answer: httpx.Response) -> None:
    """Give a refusal the vendor's words; the other statuses speak for themselves."""
    if answer.status_code == 409:
        raise Unavailable(_reason(answer.content), hint="the ticket was being changed by somebody else")
    if answer.status_code in {400, 404, 413, 422}:
        reason = _reason(answer.content)
        raise Rejected(f"HTTP {answer.status_code}: {reason}", hint=_hint(answer.status_code, reason))
    answer.raise_for_status()


def _hint(status: int, reason: str) -> str:
    if status == 404:
        return "the ticket was deleted or merged, or the subdomain is wrong"
    if "closed" in reason.lower():
        return "a closed ticket takes no changes: write a follow-up in Zendesk or open another ticket"
    if "idempoten" in reason.lower():
        return "an earlier try with other words may have made the ticket: look for its external id"
    return ""


def _reason(raw: bytes) -> str:
    """The reason in whichever of Zendesk's forms of an error it comes, or the plain text."""
    try:
        body = read_object(raw)
    except Malformed:
        return raw[:300].decode("utf-8", "replace").strip() or "no reason given"
    error = body.get("error")
    named = [error.get("title"), error.get("message")] if isinstance(error, dict) else [error]
    found = [text(one) for one in (*named, body.get("description"), *_details(body.get("details")))]
    return ": ".join(one for one in found if one)[:1000] or raw[:300].decode("utf-8", "replace")


def _details(details: Any) -> Iterator[Any]:
    if not isinstance(details, dict):
        return
    for field, problems in details.items():
        for problem in problems if isinstance(problems, list) else [problems]:
            said = dig(problem, "description") if isinstance(problem, dict) else problem
            yield f"{field} {said}"


def _envelope(name: str, stamp: str) -> dict[str, Any]:
    comment = {
        "id": "9876543210",
        "body": "We are looking into it.",
        "is_public": True,
        "author": {"id": "8447388090495", "is_staff": True, "name": "Ana"},
    }
    return {
        "type": f"zen:event-type:{name}",
        "account_id": 1,
        "id": f"sample-{name}-{stamp}",
        "time": stamp,
        "zendesk_event_version": "2022-11-06",
        "subject": "zen:ticket:35436",
        "detail": {"id": "35436", "external_id": None, "status": "OPEN", "priority": "HIGH", "tags": ["rmabridge"]},
        "event": {"comment": comment} if name.endswith(COMMENT) else {"current": "SOLVED", "previous": "OPEN"},
    }


@hookimpl
def register_helpdesks() -> list[type[Plugin]]:
    """Zendesk."""
    return [Zendesk]
