"""Zammad: opens one ticket a case, notes, updates, and hears what agents and customers write there.

API reference: https://docs.zammad.org/en/latest/api/intro.html

Webhooks come from a trigger with the default payload; one with a custom payload is not understood. Both are made by
hand once: `rmabridge accounts connect` names the steps. Agents' public notes are carried to the buyer on the shop's
best way. What agents send by Zammad's own mail or messengers has reached the buyer and is only kept on the case:
``carried`` names the kinds of articles that are carried. Files of an agent's note go along as links that want a
sign-in. A ticket is found again by a tag with the case's id, for which Zammad asks its database, not its search index.
Zammad repeats a failed webhook for under two minutes; the regular comparison finds what was missed on the bridge's
own tickets. Where an agent merged the case's ticket, the case goes on in its parent: there the bridge writes, and what
agents say there is the case's. Take care that no trigger of Zammad's mails the customers of tickets with the bridge's
tag.

Read in Zammad's sources and documentation: signature, delivery id, payload, the calls for tickets, articles, tags and
attachments, the search by condition, merges and the links they leave. Not verified against a running server: that the
comparison's order by ``updated_at`` and its pages hold for a search by condition in all versions; whether notes are
kept word for word (they are compared by their words); the form of ``pending_time``. Public words are shown in Zammad's
customer portal and not mailed from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field, ValidationError

from rmabridge import hookimpl
from rmabridge.abilities import (
    Connects,
    Context,
    Inbound,
    Plugin,
    Probes,
    Receipt,
    ReceivesWebhooks,
    Secrets,
    WebRequest,
    live,
)
from rmabridge.errors import Malformed, Unverified, WrongType
from rmabridge.model import Event
from rmabridge.wire.bodies import dig, dump_json, read_object, text
from rmabridge.wire.signing import any_matches, hmac_hex

from .answers import Me
from .catching_up import CatchingUp
from .parsing import Reader
from .tickets import Ticketing


class Zammad(Ticketing, CatchingUp, ReceivesWebhooks, Probes, Connects):
    """One Zammad, used through one agent of its own."""

    title: ClassVar[str] = "Zammad"
    reference: ClassVar[str] = "https://docs.zammad.org/en/latest/api/intro.html"

    secret: Secrets = Field(description="HMAC SHA1 Signature Token of the webhook")
    carried: frozenset[str] = Field(
        frozenset({"note"}), description="types of agents' public articles that Zammad itself sends to nobody"
    )

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the HMAC-SHA1 over the raw body, with or without the prefix that names it."""
        if request.content_type != "application/json":
            raise WrongType("Zammad sends application/json")
        headers = {name.lower(): value for name, value in request.headers.items()}
        given = headers.get("x-hub-signature", "").strip().removeprefix("sha1=")
        marks = [hmac_hex(one, request.body, "sha1") for one in live(self.secret, now)]
        if not request.body or not any_matches(given, marks):
            raise Unverified("X-Hub-Signature does not fit")
        return Receipt(id=text(headers.get("x-zammad-delivery", "").strip()), lane=_lane(request.body))

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """The events of a webhook, or of what the comparison found."""
        body = read_object(inbound.body)
        try:
            return list(Reader(self.site, self.bot_ids, self.carried).events(body))
        except ValidationError as error:
            raise Malformed(f"an event that cannot be kept: {error.errors()[0]['msg']}") from error

    async def probe(self, ctx: Context) -> str:
        """Who we are."""
        me = Me.model_validate_json(await self._call(ctx, "GET", "/users/me"))
        known = f"signed in to {self.site} as {me.login} (user {me.id})"
        if me.id in self.bot_ids:
            return known
        return f'{known}; set bot_ids = ["{me.id}"], else our own articles come back as news'

    async def subscribe(self, url: str, ctx: Context) -> tuple[str, ...]:
        """What is to be done by hand: Zammad documents no call that makes webhooks and triggers."""
        hook = f"endpoint {url}, method POST, the setting secret as HMAC SHA1 Signature Token, no custom payload"
        when = "activated by an action, one where Action is created, one where Action is updated; both execute it"
        return (f"Manage → Webhook → New: {hook}", f"Manage → Trigger → New, twice: {when}")

    def samples(self) -> tuple[str, ...]:
        """The names that ``sample`` knows."""
        return ("customer", "agent")

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A webhook as a trigger would send it, signed with the first live secret."""
        secrets, stamp = live(self.secret, now), int(now.timestamp())
        if name not in self.samples() or not secrets:
            return None
        body = dump_json(_sampled(name, stamp, now.isoformat())).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "X-Zammad-Trigger": "rmabridge",
            "X-Zammad-Delivery": f"sample-{name}-{stamp}",
            "X-Hub-Signature": f"sha1={hmac_hex(secrets[0], body, 'sha1')}",
        }
        return WebRequest("POST", f"/hooks/{self.account}", {}, headers, body)


def _sampled(name: str, stamp: int, at: str) -> dict[str, Any]:
    emily = {"id": 800001, "firstname": "Emily", "lastname": "Adams", "email": "emily@example.com"}
    anna = {"id": 800002, "firstname": "Anna", "lastname": "Lopez"}
    writer, sender, kind = (anna, "Agent", "note") if name == "agent" else (emily, "Customer", "web")
    ticket = {"id": stamp, "state": "open", "priority": {"id": 2, "name": "2 normal"}, "customer": emily}
    article = {"id": stamp, "body": "Hello<br>Any news?", "content_type": "text/html", "created_at": at}
    return {
        "ticket": {**ticket, "updated_at": at, "updated_by_id": writer["id"], "owner_id": 1},
        "article": {**article, "internal": False, "sender": sender, "type": kind, "created_by": writer},
    }


def _lane(raw: bytes) -> str | None:
    try:
        return text(dig(read_object(raw), "ticket", "id"))
    except Malformed:
        return None


@hookimpl
def register_helpdesks() -> list[type[Plugin]]:
    """Zammad."""
    return [Zammad]
