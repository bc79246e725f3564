"""Twilio Programmable Messaging: text messages and WhatsApp messages to buyers, and what they answer.

What it does: sends by SMS from ``sender`` or a messaging service, and by WhatsApp from ``whatsapp_sender``; takes
status callbacks and buyers' messages, both signed; looks an uncertain message up by its number and words, as Twilio
takes no idempotency key. On WhatsApp ``templates`` maps the bridge's templates to Twilio's content templates; what is
not mapped goes as free text. Set ``webhook_url`` to the public address of ``/hooks/{account}`` exactly as Twilio is
to call it, and enter the same address for incoming messages in Twilio's console: it is part of what Twilio signs.
Name the account among the shop's ``sources`` as well as its ``channels``: then buyers' messages belong to that shop.

A buyer who answers STOP is opted out by Twilio itself: such words (``ignored_replies``) open no case, and close this
way to the buyer in all cases of the shop. START (``resuming_replies``) opens it again. Where a messaging service has
keywords of its own (Advanced Opt-Out), Twilio says with the message what it took it for (``OptOutType``). What is sent
to a buyer who is not known to have opted out, Twilio refuses with 21610, and it lies among the dead letters.

API reference: https://www.twilio.com/docs/messaging/api

On WhatsApp Twilio carries free text only within 24 hours after the buyer's last message; later it fails, by status
callback with 63016, and the case is flagged. Map a content template to what the bridge says first.

Not verified, and therefore settings: what some error codes mean (``codes``; the table says which), how soon a sent
message shows in the list (``settles_after``), the rate of a sender (``rate``; Twilio queues what comes faster). Not
verified, either: that the list shows a message's words as they were sent; Smart Encoding of a messaging service puts
other signs, so the words alone are compared, without quotation marks and dashes. Where two messages of one day to one
number say the same, an uncertain one is found by the other. Voice calls, scheduled messages, pictures in text messages
and JSON webhooks are not built.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar
from urllib.parse import urlencode

from pydantic import Field, field_validator

from rmabridge import hookimpl
from rmabridge.abilities import Inbound, Plugin, Receipt, ReceivesWebhooks, Reply, WebRequest, live
from rmabridge.errors import Unverified, WrongType
from rmabridge.model import Event
from rmabridge.wire.bodies import read_form
from rmabridge.wire.signing import any_matches

from .parsing import MARK, events, mark_of
from .sending import Sending
from .signing import HEADER, addresses, fields_of, signature

FORM = "application/x-www-form-urlencoded"
SAMPLES = {
    "status": {"MessageStatus": "delivered", "SmsStatus": "delivered", "From": "+12025550123", "To": "+12025550188"},
    "message": {"SmsStatus": "received", "NumMedia": "0", "From": "+12025550188", "To": "+12025550123", "Body": "Hi"},
}


class Twilio(Sending, ReceivesWebhooks):
    """An account at Twilio, with one sender of each kind."""

    title: ClassVar[str] = "Twilio (SMS and WhatsApp)"
    reference: ClassVar[str] = "https://www.twilio.com/docs/messaging/api"

    ignored_replies: frozenset[str] = Field(
        frozenset({"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"}),
        description="replies by which a buyer opts out of messages; they open no case, and close the way",
    )

    resuming_replies: frozenset[str] = Field(
        frozenset({"start", "unstop"}),
        description="replies by which a buyer who had opted out wants messages again; they open no case, and reopen "
        "the way. Twilio takes YES as one, too; to the bridge it is an answer like any other",
    )

    @field_validator("ignored_replies", "resuming_replies")
    @classmethod
    def _in_one_case(cls, words: frozenset[str]) -> frozenset[str]:
        return frozenset(one.strip().casefold() for one in words)

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check X-Twilio-Signature over our public address and the form."""
        if request.content_type != FORM:
            raise WrongType("Twilio posts its messages as a form")
        if self.webhook_url is None:
            raise Unverified("webhook_url is not set: without it no signature can be checked")
        fields, mark = fields_of(request.body), request.query.get("rma", "")
        urls = list(addresses(self._called(mark) if MARK.fullmatch(mark) else self.webhook_url))
        expected = [signature(token, one, fields) for token in live(self.auth_token, now) for one in urls]
        if not any_matches(request.headers.get(HEADER, ""), expected):
            raise Unverified(f"{HEADER} does not fit; is webhook_url exactly what Twilio calls?")
        return Receipt(meta={"rma": mark} if MARK.fullmatch(mark) else {})

    def reply(self, request: WebRequest) -> Reply:
        """An empty TwiML document: the bridge answers buyers by calls of its own."""
        return Reply(body=b"<Response/>", content_type="text/xml")

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """Receipts of our messages, buyers' messages, and who wants no more of ours."""
        fields = read_form(inbound.body)
        return list(events(fields, inbound.meta.get("rma", ""), inbound.received_at, *self._keywords()))

    def _keywords(self) -> tuple[frozenset[str], frozenset[str]]:
        return self.ignored_replies, self.resuming_replies

    def samples(self) -> tuple[str, ...]:
        """The webhooks that ``sample`` knows."""
        return tuple(SAMPLES) if self.webhook_url else ()

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A webhook as Twilio signs it."""
        tokens = live(self.auth_token, now)
        if name not in self.samples() or self.webhook_url is None or not tokens:
            return None
        sid, mark = f"SM{int(now.timestamp()):032x}", mark_of(None, "sample")
        fields = SAMPLES[name] | {"MessageSid": sid, "SmsSid": sid, "AccountSid": self.account_sid}
        url = self._called(mark) if name == "status" else self.webhook_url
        headers = {"Content-Type": FORM, HEADER: signature(tokens[0], url, fields.items())}
        query = {"rma": mark} if name == "status" else {}
        return WebRequest("POST", f"/hooks/{self.account}", query, headers, urlencode(fields).encode())


@hookimpl
def register_channels() -> list[type[Plugin]]:
    """The plugin of this module."""
    return [Twilio]
