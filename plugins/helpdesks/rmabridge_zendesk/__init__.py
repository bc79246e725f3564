"""Zendesk Support: opens one ticket a case, comments, updates, and hears what agents and customers write there.

API reference: https://developer.zendesk.com/api-reference/ticketing/introduction/

Webhooks come in two shapes, and a webhook is one of them for life: native ticket events, or a trigger that sends the
body in ``TRIGGER_BODY``. Zendesk does not escape what it puts into a trigger's body, so words with a quote break it:
prefer native events, or leave ``latest_public_comment`` out.

Zendesk's stock trigger "Notify requester and CCs of comment update" mails agents' public comments to the requester.
So that a buyer hears everything once, the bridge's own tickets have the API user as requester (unless ``mail_buyer``
is on) and agents' answers there are carried on the shop's best way; on tickets of a customer's own Zendesk mails, and
the answers are only kept on the case. Where that trigger is off, turn ``mails_requester`` off. The trigger mails the
API user, too: let no channel of the bridge read that mailbox.

A ticket that is closed for good takes nothing more: the case goes on in the ticket that it was merged into, else in a
follow-up that the bridge opens with the words that were to go to the closed one.

Not verified against the vendor's own specification: the invocation header (used as the delivery's id where present);
the fields of ``event.comment`` and ``detail.actor_id`` (seen in third-party code only); the trigger's placeholders;
``GET /users/me``; that a comment's id is that of its audit event; how long an ``Idempotency-Key`` is remembered (one
hour is assumed); ``followup_ids`` of a closed ticket; that the tag ``closed_by_merge`` is on the ticket when the
webhook of a merge is made; that the comments of a merge name the other ticket as ``#NUMBER``. Zendesk's button "Test
webhook" is said to sign with one public secret: never configure that one, only the secret of your own webhook.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from pydantic import ValidationError

from rmabridge import hookimpl
from rmabridge.abilities import Connects, Context, Inbound, Plugin, Probes, Receipt, ReceivesWebhooks, WebRequest, live
from rmabridge.errors import Malformed, Unauthorised, Unverified, WrongType
from rmabridge.model import Event
from rmabridge.wire.bodies import dig, dump_json, read_object, text
from rmabridge.wire.signing import any_matches, fresh, hmac_base64
from rmabridge.wire.times import instant

from .answers import Me
from .parsing import Reader
from .terms import CHANGES, COMMENT, COMMENT_BODY, TRIGGER_BODY, lower
from .tickets import Ticketing


class Zendesk(Ticketing, ReceivesWebhooks, Probes, Connects):
    """One Zendesk account, used through one API user of its own."""

    title: ClassVar[str] = "Zendesk Support"
    reference: ClassVar[str] = "https://developer.zendesk.com/api-reference/ticketing/introduction/"

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
        try:
            return list(self._reader.events(body, inbound.received_at))
        except ValidationError as error:
            raise Malformed(f"an event that cannot be kept: {error.errors()[0]['msg']}") from error

    @property
    def _reader(self) -> Reader:
        # With a marker the API user may be an agent, too, and the marker decides alone.
        own = self.bot_email or (None if self.marker else self.email)
        return Reader(self.bot_ids, lower(own), self.marker, self.mails_requester)

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
