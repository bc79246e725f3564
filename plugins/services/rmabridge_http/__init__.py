"""HTTP: a help desk, channel or other system of the shop that takes JSON, connected by configuration alone.

Carries out tickets, messages, forwarded events, credit, replacements, tags of buyers, requests for proof, and (where
a call is configured) decisions, refunds and claims as HTTP requests. Without a call of its own an action is POSTed as
JSON to ``url`` with an ``Idempotency-Key``, and an answer ``{"id": …, "url": …}`` is understood. With a ``secret``
everything is signed by Standard Webhooks. Example::

    [services.erp]
    plugin = "http"
    url = "https://erp.example/api"
    bearer = { env = "ERP_TOKEN" }

    [services.erp.calls."ticket.open"]
    path = "tickets"
    body = { title = "{subject}", note = "{text}", tags = "{tags}", our_id = "{external}" }
    id = "data.ticket_id"
    error = "error.message"

    [services.erp.calls."ticket.comment"]
    path = "tickets/{ticket}/notes"
    body = { note = "{text}" }

Reference: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

Not verified: nothing; the other side is what the configuration says it is.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, get_args
from urllib.parse import urlsplit

import httpx
from pydantic import Field, SecretStr, field_validator

from rmabridge import hookimpl
from rmabridge.abilities import (
    Context,
    Finding,
    Forwards,
    GivesProof,
    GrantsCredit,
    Handler,
    KeepsTickets,
    Limit,
    Plugin,
    Probes,
    Result,
    Secret,
    Secrets,
    SendsMessages,
    ShipsReplacements,
    TagsBuyers,
    live,
)
from rmabridge.errors import Rejected
from rmabridge.model import (
    Action,
    ClassifyText,
    CommentTicket,
    FetchOrder,
    Form,
    Forward,
    GiveCredit,
    OpenTicket,
    QueryParcel,
    RequestProof,
    Reship,
    SendMessage,
    TagBuyer,
    UpdateTicket,
)
from rmabridge.wire.signing import standard_sign

from .calls import LENT, Call, fields_of, fill_path

# These are wanted for what the answer says, and no table of paths reads that.
ASKED: frozenset[Any] = frozenset({FetchOrder, QueryParcel, ClassifyText})
KINDS: dict[str, Any] = {one.kind: one for one in get_args(Action) if one not in ASKED}
DEFAULT = Call()


class Http(
    Plugin, KeepsTickets, SendsMessages, Forwards, GrantsCredit, ShipsReplacements, TagsBuyers, GivesProof, Probes
):
    """Any system with an HTTP interface; the table ``calls`` says how each action becomes a request."""

    title: ClassVar[str] = "HTTP"
    reference: ClassVar[str] = (
        "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"
    )

    url: str = Field(description="address of the system; paths of calls are below it")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="headers of every request")
    bearer: SecretStr | None = Field(None, description="token for 'Authorization: Bearer'")
    secret: Secrets | None = Field(None, description="signs every request by Standard Webhooks (whsec_…)")
    carries_forms: frozenset[Form] = Field(frozenset(), description="forms of messages it carries: thread, chat …")
    longest: dict[Form, Limit] = Field(default_factory=dict, description="longest text per form")
    calls: dict[str, Call] = Field(default_factory=dict, description="requests by type of action, e.g. 'ticket.open'")
    probe_path: str | None = Field(
        None, description="path that answers 2xx to a GET; none: any answer to a GET will do"
    )

    @field_validator("url")
    @classmethod
    def _address(cls, given: str) -> str:
        parts = urlsplit(given)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("not an http(s) address")
        return given

    @field_validator("calls")
    @classmethod
    def _known(cls, calls: dict[str, Call]) -> dict[str, Call]:
        for kind, call in calls.items():
            if kind not in KINDS:
                raise ValueError(f"{kind!r} is no action of this plugin; it knows {', '.join(sorted(KINDS))}")
            if unknown := call.names() - LENT - set(KINDS[kind].model_fields):
                raise ValueError(f"{kind}: {{{min(unknown)}}} is no field of this action")
        return calls

    @field_validator("secret")
    @classmethod
    def _usable(cls, secrets: tuple[Secret, ...] | None) -> tuple[Secret, ...] | None:
        for one in secrets or ():
            standard_sign(one.value.get_secret_value(), "", datetime.fromtimestamp(0, UTC), b"")
        return secrets

    def carries(self, form: Form) -> bool:
        """Whether the configuration names the form."""
        return form in self.carries_forms

    def limit(self, form: Form) -> Limit | None:
        """The longest text of the form, as configured."""
        return self.longest.get(form)

    def route(self, action: Action) -> Handler | None:
        """The handler, with what the configuration says of repeating and looking up."""
        if isinstance(action, SendMessage) and not self.carries(action.form):
            return None
        handler = super().route(action)
        call = self.calls.get(action.kind)
        if call is None:
            return handler
        facts = call.facts() | ({"find": self.look_up} if call.find else {})
        return replace(handler or Handler(self.perform), **facts)

    async def perform(self, action: Action, ctx: Context) -> Result:
        """Make the action's call."""
        call = self.calls.get(action.kind, DEFAULT)
        response = await self._request(call, action, ctx)
        # Of all redirects these two say that nothing was done yet.
        if response.status_code in {307, 308}:
            raise Rejected(f"{response.status_code}: redirected", hint="configure the final address")
        response.raise_for_status()
        return call.result(response)

    async def look_up(self, action: Action, ctx: Context) -> Finding:
        """Ask the configured address whether the action was done."""
        find = self.calls.get(action.kind, DEFAULT).find
        if find is None:
            return Finding(None)
        url = self._below(fill_path(find.path, fields_of(action, ctx)))
        return find.finding(await ctx.http.get(url, headers=self._headers(), follow_redirects=False))

    async def open_ticket(self, action: OpenTicket, ctx: Context) -> Result:
        """Make the call for ``ticket.open``."""
        return await self.perform(action, ctx)

    async def comment_ticket(self, action: CommentTicket, ctx: Context) -> Result:
        """Make the call for ``ticket.comment``."""
        return await self.perform(action, ctx)

    async def update_ticket(self, action: UpdateTicket, ctx: Context) -> Result:
        """Make the call for ``ticket.update``."""
        return await self.perform(action, ctx)

    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Make the call for ``message.send``."""
        return await self.perform(action, ctx)

    async def give_credit(self, action: GiveCredit, ctx: Context) -> Result:
        """Make the call for ``credit.give``; the answer's id is the code that the buyer enters."""
        return await self.perform(action, ctx)

    async def reship(self, action: Reship, ctx: Context) -> Result:
        """Make the call for ``goods.reship``; the answer's id is the replacement's number."""
        return await self.perform(action, ctx)

    async def tag_buyer(self, action: TagBuyer, ctx: Context) -> Result:
        """Make the call for ``buyer.tag``."""
        return await self.perform(action, ctx)

    async def request_proof(self, action: RequestProof, ctx: Context) -> Result:
        """Make the call for ``proof.request``; the document itself comes by another way."""
        return await self.perform(action, ctx)

    async def forward(self, action: Forward, ctx: Context) -> Result:
        """POST the event as it is; 2xx is success whatever the body says, everything else is not."""
        if action.kind in self.calls:
            return await self.perform(action, ctx)
        body = action.body.encode()
        headers = self._headers(ctx, body) | {"webhook-id": ctx.idempotency_key}
        response = await ctx.http.post(self.url, content=body, headers=headers, follow_redirects=False)
        if response.is_redirect:
            raise Rejected(f"{response.status_code}: redirected", hint="configure the final address")
        if response.status_code == 410:
            raise Rejected("410: the receiver wants no more events", hint="take the account out of 'forwards'")
        response.raise_for_status()
        return Result()

    async def probe(self, ctx: Context) -> str:
        """GET the address; without ``probe_path`` even 404 and 405 show that somebody is there."""
        response = await ctx.http.get(self._below(self.probe_path or ""), headers=self._headers())
        if self.probe_path is not None or response.status_code in {401, 403} or response.status_code >= 500:
            response.raise_for_status()
        return f"{urlsplit(self.url).hostname} answers {response.status_code}"

    async def _request(self, call: Call, action: Action, ctx: Context) -> httpx.Response:
        fields = fields_of(action, ctx)
        url, body = self._below(fill_path(call.path, fields)), call.content(fields)
        if call.method == "GET":
            url, body = f"{url}{'&' if '?' in url else '?'}{body.decode()}", b""
        headers = self._headers(ctx, body)
        if call.format == "form":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return await ctx.http.request(call.method, url, content=body, headers=headers, follow_redirects=False)

    def _below(self, path: str) -> str:
        if not path or path.startswith(("http://", "https://")):
            return path or self.url
        return f"{self.url.rstrip('/')}/{path.lstrip('/')}"

    def _headers(self, ctx: Context | None = None, body: bytes = b"") -> dict[str, str]:
        made = {name: value.get_secret_value() for name, value in self.headers.items()}
        if self.bearer:
            made["Authorization"] = f"Bearer {self.bearer.get_secret_value()}"
        if ctx is None:
            return made
        made |= {"Content-Type": "application/json", "Idempotency-Key": ctx.idempotency_key}
        return made | self._signature(ctx, body)

    def _signature(self, ctx: Context, body: bytes) -> dict[str, str]:
        """The headers of all live secrets in one: during a rotation the receiver may know either."""
        now = ctx.now()
        signed = [standard_sign(one, ctx.idempotency_key, now, body) for one in live(self.secret or (), now)]
        if not signed:
            return {}
        return signed[0] | {"webhook-signature": " ".join(one["webhook-signature"] for one in signed)}


@hookimpl
def register_services() -> list[type[Plugin]]:
    """For ``[services.…]``."""
    return [Http]


@hookimpl
def register_helpdesks() -> list[type[Plugin]]:
    """For ``[helpdesks.…]``."""
    return [Http]


@hookimpl
def register_channels() -> list[type[Plugin]]:
    """For ``[channels.…]``."""
    return [Http]
