"""HTTP: a help desk, channel or other system of the shop that takes JSON, connected by configuration alone.

Under ``[carriers.…]`` it tracks parcels, and takes claims and enquiries where a call is configured; what it answers is
read from the events that its answer holds. Elsewhere it carries out tickets, messages, forwarded events, credit,
replacements, labels, tags of buyers, requests for proof, and (where a call is configured) decisions, refunds and claims
as HTTP requests. Without a call of its own an action is POSTed as JSON to ``url`` with an ``Idempotency-Key``, and an
answer ``{"id": …, "url": …}`` is understood. With a ``secret`` everything is signed by Standard Webhooks. Example::

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

from typing import ClassVar

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import (
    Context,
    Forwards,
    GivesProof,
    GrantsCredit,
    Handler,
    KeepsTickets,
    Limit,
    Plugin,
    Result,
    SendsMessages,
    ShipsReplacements,
    TagsBuyers,
)
from rmabridge.errors import Rejected
from rmabridge.model import (
    Action,
    CommentTicket,
    Form,
    Forward,
    GiveCredit,
    OpenTicket,
    RequestProof,
    Reship,
    SendMessage,
    TagBuyer,
    UpdateTicket,
)

from .carrier import HttpCarrier
from .labels import Labels


class Http(Labels, KeepsTickets, SendsMessages, Forwards, GrantsCredit, ShipsReplacements, TagsBuyers, GivesProof):
    """Any system with an HTTP interface; the table ``calls`` says how each action becomes a request."""

    title: ClassVar[str] = "HTTP"

    carries_forms: frozenset[Form] = Field(frozenset(), description="forms of messages it carries: thread, chat …")
    longest: dict[Form, Limit] = Field(default_factory=dict, description="longest text per form")

    def carries(self, form: Form) -> bool:
        """Whether the configuration names the form."""
        return form in self.carries_forms

    def limit(self, form: Form) -> Limit | None:
        """The longest text of the form, as configured."""
        return self.longest.get(form)

    def route(self, action: Action) -> Handler | None:
        """The handler; a message only in a form that the configuration names."""
        if isinstance(action, SendMessage) and not self.carries(action.form):
            return None
        return super().route(action)

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


@hookimpl
def register_services() -> list[type[Plugin]]:
    """For ``[services.…]``."""
    return [Http]


@hookimpl
def register_helpdesks() -> list[type[Plugin]]:
    """For ``[helpdesks.…]``."""
    return [Http]


@hookimpl
def register_carriers() -> list[type[Plugin]]:
    """For ``[carriers.…]``."""
    return [HttpCarrier]


@hookimpl
def register_channels() -> list[type[Plugin]]:
    """For ``[channels.…]``."""
    return [Http]
