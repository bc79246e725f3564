"""Webhook: any signed JSON, form, XML or multipart webhook, connected by configuration alone.

Ten lines make a source. JMESPath expressions (https://jmespath.org) say where things are in the body. Example::

    [marketplaces.ownshop]
    plugin = "webhook"
    secret = { env = "OWNSHOP_SECRET" }
    signature = { family = "hmac", sign = "X-Shop-Signature", prefix = "sha256=" }
    id_header = "X-Shop-Delivery"

    [[marketplaces.ownshop.events]]
    type = "case.requested"
    when = "topic == 'return.created'"
    key = "return.id"
    at = "return.created_at"
    refs = { return = "return.id", order = "order.number", buyer = "buyer.id" }
    set = { kind = "'return'", reason = "return.why", "amount.amount" = "return.total", "amount.currency" = "'CNY'" }

    [[marketplaces.ownshop.events]]
    type = "message.received"
    when = "topic == 'message.created'"
    key = "message.id"
    at = "message.sent_at"
    refs = { order = "order.number", buyer = "buyer.id" }
    set = { "message.text" = "message.text", "buyer.name" = "buyer.name" }

Signature families: ``standard`` (Standard Webhooks), ``hmac`` (over any parts, or a plain digest with the secret in
it), ``sorted`` (all parameters sorted by name), ``token`` (a shared token), ``none``. Two secrets may be live. A
sender's challenge (``challenge``: ``ebay``, ``wecom``, ``lark``) is answered before anything is stored.

Reference: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

Not verified: nothing; the sender is what the configuration says it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from rmabridge import hookimpl
from rmabridge.abilities import Inbound, Plugin, Receipt, ReceivesWebhooks, Reply, Secrets, WebRequest, live
from rmabridge.errors import Unverified, WrongType
from rmabridge.model import Event

from .bodies import Format, Parts, document, format_of
from .handshakes import Handshake
from .mapping import Rule
from .queries import Query, framed
from .signatures import Signature, Standard, Unsigned

_SAMPLE_TYPES = {"[": "application/json", "{": "application/json", "<": "application/xml"}


class Webhook(Plugin, ReceivesWebhooks):
    """A door for any sender; ``signature`` says how it signs, ``events`` what its bodies mean."""

    title: ClassVar[str] = "Webhook"
    reference: ClassVar[str] = (
        "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"
    )

    signature: Signature = Field(description="how the sender signs; its 'family' names the kind")
    challenge: Handshake | None = Field(
        None, description="how the sender's challenge is answered; its 'family' names the kind"
    )
    secret: Secrets | None = Field(None, description="the shared secret; two while one replaces the other")
    format: Literal["auto", "json", "form", "xml", "multipart"] = Field("auto", description="auto: by content type")
    events: tuple[Rule, ...] = Field(description="what a body means: at least one mapping to an event")
    id: Query | None = Field(None, description="where the body holds the sender's id of this delivery")
    id_header: str | None = Field(None, description="header with the sender's id of this delivery")
    lane: Query | None = Field(None, description="where the body holds what must stay in order, e.g. the order's id")
    keep_headers: tuple[str, ...] = Field((), description="headers that expressions may see as _.headers.x_name")
    reply_status: int = Field(200, ge=200, le=299, description="status of the success answer")
    reply_body: str = Field('{"ok":true}', description="body of the success answer")
    reply_type: str = Field("application/json", description="content type of the success answer")
    sample_body: str | None = Field(None, description="a body that 'rmabridge trigger ACCOUNT sample' signs and sends")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.events:
            raise ValueError("events: at least one mapping is needed, or nothing that comes in means anything")
        if self.secret is None and not isinstance(self.signature, Unsigned):
            raise ValueError("secret: needed by this signature family; family = 'none' takes everybody's word")
        if isinstance(self.signature, Standard):
            for one in self.secret or ():
                parts = Parts("POST", "", {}, {}, b"")
                self.signature.seal(parts, one.value.get_secret_value(), datetime.fromtimestamp(0, UTC))
        return self

    def handshake(self, request: WebRequest, now: datetime) -> Reply | None:
        """The answer to the sender's challenge."""
        return self.challenge.answer(request) if self.challenge else None

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the content type and the signature, and find the delivery's id and lane."""
        kind = request.headers.get("Content-Type", "")
        if self._format is None and format_of(kind) is None:
            raise WrongType(f"{request.content_type} is not taken; JSON, forms, XML and multipart forms are")
        parts = Parts.of(request, self._format)
        secrets = live(self.secret or (), now)
        if not secrets and not isinstance(self.signature, Unsigned):
            raise Unverified("no secret is live")
        seal = self.signature.check(parts, secrets, now)
        kept = {_field(name): value for name in self.keep_headers if (value := parts.headers.get(name.lower()))}
        meta = {f"h_{name}": value for name, value in kept.items()}
        meta["content_type"] = kind
        return Receipt(self._id(parts) or seal.id, self._look(self.lane, parts, kept), meta, seal.nonce)

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """The events that the mappings find."""
        body = document(self._format, inbound.meta.get("content_type", ""), inbound.body)
        headers = {name.removeprefix("h_"): value for name, value in inbound.meta.items() if name.startswith("h_")}
        return [event for rule in self.events for event in rule.events(body, headers, inbound.received_at)]

    def reply(self, request: WebRequest) -> Reply:
        """The success answer as configured."""
        return Reply(self.reply_status, self.reply_body.encode(), self.reply_type)

    def samples(self) -> tuple[str, ...]:
        """``sample``, where a body for it is configured and can be signed."""
        able = self.sample_body is not None and self.signature.samples and self.format != "multipart"
        return ("sample",) if able else ()

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """The configured body, signed with the newest secret."""
        secrets = live(self.secret or (), now) or [""] * isinstance(self.signature, Unsigned)
        if name not in self.samples() or self.sample_body is None or not secrets:
            return None
        kind = _SAMPLE_TYPES.get(self.sample_body.lstrip()[:1], "application/x-www-form-urlencoded")
        body = self.sample_body.encode()
        parts = Parts("POST", f"/hooks/{self.account}", {}, {"content-type": kind}, body, self._format)
        if self.id_header:
            parts.headers[self.id_header.lower()] = f"sample-{int(now.timestamp())}"
        self.signature.seal(parts, secrets[0], now)
        return WebRequest(parts.method, parts.path, parts.query, parts.headers, body)

    @property
    def _format(self) -> Format | None:
        return None if self.format == "auto" else self.format

    def _id(self, parts: Parts) -> str | None:
        if self.id_header and (given := parts.headers.get(self.id_header.lower())):
            return given
        return self._look(self.id, parts, {})

    def _look(self, query: Query | None, parts: Parts, headers: dict[str, str]) -> str | None:
        return None if query is None else query.name(framed(parts.document, headers))


def _field(header: str) -> str:
    return header.lower().replace("-", "_")


@hookimpl
def register_marketplaces() -> list[type[Plugin]]:
    """The plugin of this module."""
    return [Webhook]
