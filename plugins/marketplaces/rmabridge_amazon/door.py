"""The door for SNS: messages signed with a certificate of Amazon's, and subscriptions that are confirmed.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import load_pem_x509_certificate
from pydantic import Field, PrivateAttr, field_validator

from rmabridge.abilities import Context, Receipt, ReceivesWebhooks, WebRequest
from rmabridge.errors import KeyNeeded, Malformed, Unverified, WrongType
from rmabridge.wire.bodies import dump_json, read_object
from rmabridge.wire.publickeys import PublicKeys
from rmabridge.wire.signing import fresh
from rmabridge.wire.times import maybe_instant

from .calls import Calls

_TYPES: Final = frozenset({"text/plain", "application/json"})
_SUBSCRIBES: Final = "SubscriptionConfirmation"
_SIGNED: Final = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_NEEDED: Final = ("Message", "MessageId", "Timestamp", "TopicArn", "Type", "Signature", "SigningCertURL")
_DIGESTS: Final = {"1": SHA1, "2": SHA256}
_LONGEST: Final = 16_384
Message = dict[str, str]


def read_message(raw: bytes) -> Message:
    """The texts of a message, in SNS's own spelling (functions of AWS write ``SigningCertUrl``)."""
    body: dict[str, Any] = read_object(raw)
    held = {re.sub(r"Url$", "URL", name): one for name, one in body.items() if isinstance(one, str)}
    if any(not held.get(name) for name in _NEEDED) or (held["Type"] == _SUBSCRIBES and not held.get("SubscribeURL")):
        raise Unverified("this is no signed message of SNS; raw delivery is not signed and not taken")
    return held


def signed_text(message: Message) -> bytes:
    """What SNS signs: names and values on lines of their own; a notification has no token."""
    return "".join(f"{name}\n{message[name]}\n" for name in _SIGNED if name in message).encode("utf-8", "replace")


def check(message: Message, key: RSAPublicKey) -> None:
    """``Unverified`` where the signature is not of this message, or of a version that is not known."""
    digest = _DIGESTS.get(message.get("SignatureVersion", ""))
    if digest is None:
        raise Unverified("SignatureVersion is not known")
    try:
        mark = base64.b64decode(message["Signature"], validate=True)
        key.verify(mark, signed_text(message), PKCS1v15(), digest())
    except (binascii.Error, ValueError, InvalidSignature) as error:
        raise Unverified("the signature is not of this message") from error


class Door(Calls, ReceivesWebhooks):
    """Takes messages of the listed topics."""

    topics: tuple[str, ...] = Field((), description="ARNs of the SNS topics that the door takes; none by default")
    certificates: str = Field(
        r"https://sns\.[a-zA-Z0-9-]{3,}\.amazonaws\.com(\.cn)?/[^?#]*\.pem",
        description="pattern of the addresses that signing certificates may be fetched from",
    )
    confirmations: str = Field(
        r"https://sns\.[a-zA-Z0-9-]{3,}\.amazonaws\.com(\.cn)?/\?[^#]*",
        description="pattern of the addresses by which a subscription may be confirmed",
    )
    window: timedelta | None = Field(None, description="refuse messages whose time is further from now")

    _keys: PublicKeys[RSAPublicKey] = PrivateAttr(default_factory=lambda: PublicKeys(timedelta(hours=24)))
    _confirmed: set[str] = PrivateAttr(default_factory=set)

    @field_validator("certificates", "confirmations")
    @classmethod
    def _readable(cls, given: str) -> str:
        try:
            re.compile(given)
        except re.error as error:
            raise ValueError("is not a pattern") from error
        return given

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check topic, certificate's address and signature; a subscription is confirmed by ``learn``."""
        if request.content_type not in _TYPES:
            raise WrongType("expected text/plain")
        message = self._message(request.body)
        if message["Type"] == _SUBSCRIBES and message["MessageId"] not in self._confirmed:
            if len(request.body) > _LONGEST:
                raise Unverified("no confirmation is that long")
            # Only ``learn`` may call out, and SNS does not repeat what was refused: so it gets the whole message.
            raise KeyNeeded(dump_json(message))
        check(message, self._keys.get(message["SigningCertURL"], now))
        if self.window:
            at = maybe_instant(message["Timestamp"])
            fresh(at or datetime.min.replace(tzinfo=now.tzinfo), now, self.window)
        return Receipt(id=message["MessageId"], meta={"type": message["Type"]})

    def _message(self, raw: bytes) -> Message:
        try:
            message = read_message(raw)
        except Malformed as error:
            raise Unverified("the body is no message of SNS") from error
        if message["TopicArn"] not in self.topics:
            raise Unverified("the topic is not listed in topics")
        if not re.fullmatch(self.certificates, message["SigningCertURL"]):
            raise Unverified("the certificate is not Amazon's")
        return message

    async def learn(self, name: str, ctx: Context) -> None:
        """Fetch a certificate; or, for a whole confirmation, check it and say yes to the subscription, once."""
        if not name.startswith("{"):
            return await self._fetch(name, ctx)
        message = self._message(name.encode())
        certificate = message["SigningCertURL"]
        try:
            key = self._keys.get(certificate, ctx.now())
        except KeyNeeded:
            await self._fetch(certificate, ctx)
            key = self._keys.get(certificate, ctx.now())
        check(message, key)
        if not re.fullmatch(self.confirmations, message["SubscribeURL"]):
            raise Unverified("the address that confirms is not Amazon's")
        answer = await ctx.http.get(message["SubscribeURL"])
        answer.raise_for_status()
        if len(self._confirmed) >= 64:
            self._confirmed.clear()
        self._confirmed.add(message["MessageId"])
        return None

    async def _fetch(self, address: str, ctx: Context) -> None:
        answer = await ctx.http.get(address)
        if answer.status_code in (403, 404, 410):
            raise Unverified("Amazon has no such certificate")
        answer.raise_for_status()
        try:
            certificate = load_pem_x509_certificate(answer.content)
        except ValueError as error:
            raise Unverified("what is there is no certificate") from error
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey) or not (
            certificate.not_valid_before_utc <= ctx.now() <= certificate.not_valid_after_utc
        ):
            raise Unverified("the certificate is not one that signs now")
        self._keys.keep(address, key, ctx.now())
