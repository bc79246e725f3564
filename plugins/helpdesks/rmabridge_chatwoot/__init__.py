"""Chatwoot: keeps one conversation a case in an API inbox, answers buyers in their chat, and hears both sides.

API reference: https://developers.chatwoot.com/api-reference/introduction

Conversations of the bridge's own lie in the API inbox ``inbox_id``: what agents say there in public is carried to the
buyer on the shop's best way. A conversation in another inbox (the chat widget) is the buyer's own: the bridge answers
in it, and what agents say there has been heard. Name this account as the shop's ``helpdesk``, in its ``channels`` and
in its ``sources``. Give it a user of its own: an agent bot's token is not let into contacts, labels and webhooks.

Chatwoot signs webhooks since February 2026; for an older one set ``url_key`` in place of ``secret``. Older ones do not
repeat a webhook that failed, either: the regular comparison finds buyers who still wait (``waiting_since``), and what
was said on the bridge's own tickets. What visitors typed into the widget (mail address, identifier) counts as theirs
only where the shop vouched for it (Chatwoot's identity validation), see ``trust``.

Not verified against a running server: the exact set of fields in ``message_created`` (some come from third-party
samples); that webhooks are listed below ``payload.webhooks`` (a bare list is read, too); the throttle's 429 with
``Retry-After``; whether setting custom attributes merges (all of them are sent); from which version on
``waiting_since`` is told. Chatwoot takes no idempotency key: what became of an uncertain message is looked up by its
words.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError

from rmabridge import hookimpl
from rmabridge.abilities import Inbound, Plugin, Receipt, ReceivesWebhooks, WebRequest, live
from rmabridge.errors import Malformed, Unverified, WrongType
from rmabridge.model import Event
from rmabridge.wire.bodies import dig, dump_json, read_object, text
from rmabridge.wire.signing import any_matches, fresh, hmac_hex
from rmabridge.wire.times import unix

from .catching_up import CatchingUp
from .connecting import Connecting
from .parsing import Reader
from .terms import CHANGES, MESSAGE
from .tickets import Ticketing


class Chatwoot(Ticketing, Connecting, CatchingUp, ReceivesWebhooks):
    """One Chatwoot account, used through one user of its own."""

    title: ClassVar[str] = "Chatwoot"
    reference: ClassVar[str] = "https://developers.chatwoot.com/api-reference/introduction"

    window: timedelta = Field(timedelta(minutes=5), description="how far a webhook's time may be from ours")
    inboxes: frozenset[str] = Field(
        frozenset(), description="ids of the inboxes whose chats become cases; all of them where left out"
    )
    trust: Literal["verified", "everyone", "nobody"] = Field(
        "verified", description="whose mail address and identifier in the chat widget are believed to be theirs"
    )

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        if request.content_type not in {"", "application/json"}:
            raise WrongType("Chatwoot sends application/json")
        secrets, keys = live(self.secret, now), live(self.url_key, now)
        if not secrets and not keys:
            raise Unverified("neither secret nor url_key is set: no webhook can be taken")
        if keys and not any_matches(request.query.get("key", ""), keys):
            raise Unverified("the key in the address does not fit")
        if secrets:
            self._signed(request, secrets, now)
        return Receipt(id=request.headers.get("X-Chatwoot-Delivery"), lane=_lane(request.body))

    def _signed(self, request: WebRequest, secrets: list[str], now: datetime) -> None:
        stamp = request.headers.get("X-Chatwoot-Timestamp", "")
        given = request.headers.get("X-Chatwoot-Signature", "")
        signed = stamp.encode("utf-8", "surrogatepass") + b"." + request.body
        if not any_matches(given, [f"sha256={hmac_hex(one, signed)}" for one in secrets]):
            raise Unverified("X-Chatwoot-Signature does not fit")
        try:
            at = unix(stamp)
        except ValueError as error:
            raise Unverified("the signature's time cannot be read") from error
        fresh(at, now, self.window)

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        body = read_object(inbound.body)
        try:
            return list(self._reader.events(body, inbound.received_at))
        except ValidationError as error:
            raise Malformed(f"an event that cannot be kept: {error.errors()[0]['msg']}") from error

    @property
    def _reader(self) -> Reader:
        return Reader(str(self.account_id), str(self.inbox_id), self.inboxes, self.bot_ids, self.attribute, self.trust)

    def samples(self) -> tuple[str, ...]:
        return (MESSAGE, CHANGES[1])

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        secrets, keys = live(self.secret, now), live(self.url_key, now)
        if name not in self.samples() or not (secrets or keys):
            return None
        stamp = str(int(now.timestamp()))
        body = dump_json(self._sampled(name, int(now.timestamp()))).encode()
        headers = {"Content-Type": "application/json", "X-Chatwoot-Delivery": f"sample-{name}-{stamp}"}
        if secrets:
            mark = hmac_hex(secrets[0], f"{stamp}.".encode() + body)
            headers |= {"X-Chatwoot-Timestamp": stamp, "X-Chatwoot-Signature": f"sha256={mark}"}
        return WebRequest("POST", f"/hooks/{self.account}", {"key": keys[0]} if keys else {}, headers, body)

    def _sampled(self, name: str, stamp: int) -> dict[str, Any]:
        visitor = {"id": 9, "name": "Jane", "email": "jane@example.com", "identifier": None, "type": "contact"}
        conversation: dict[str, Any] = {
            "id": 33,
            "inbox_id": min(self.inboxes, default=self.inbox_id + 1),
            "channel": "Channel::WebWidget",
            "status": "open" if name == MESSAGE else "resolved",
            "priority": None,
            "labels": [],
            "custom_attributes": {},
            "additional_attributes": {"browser_language": "en"},
            "meta": {"sender": visitor, "assignee": None, "hmac_verified": False},
            "updated_at": stamp,
        }
        if name != MESSAGE:
            return {**conversation, "event": name}
        return {
            "event": name,
            "id": stamp,
            "content": "Where is my refund?",
            "content_type": "text",
            "message_type": "incoming",
            "private": False,
            "created_at": datetime.fromtimestamp(stamp, tz=UTC).isoformat(),
            "account": {"id": self.account_id, "name": "Shop"},
            "sender": visitor,
            "conversation": conversation,
            "attachments": [],
        }


def _lane(raw: bytes) -> str | None:
    try:
        body = read_object(raw)
    except Malformed:
        return None
    return text(dig(body, "conversation", "id") if body.get("event") == MESSAGE else body.get("id"))


@hookimpl
def register_helpdesks() -> list[type[Plugin]]:
    """Chatwoot."""
    return [Chatwoot]
