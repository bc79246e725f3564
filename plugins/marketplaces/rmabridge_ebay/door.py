"""The door: the endpoint's challenge, and notifications signed by ECDSA with a key that eBay publishes."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import Field, PrivateAttr, SecretStr

from rmabridge.abilities import Context, Receipt, ReceivesWebhooks, Reply, WebRequest
from rmabridge.errors import Malformed, Unverified, WrongType
from rmabridge.wire.bodies import dig, dump_json, read_object, text
from rmabridge.wire.publickeys import PublicKeys

from .calls import Calls
from .terms import id_of, word

_KID = re.compile(r"[A-Za-z0-9-]{1,100}", re.ASCII)
_MARKERS = re.compile(r"-----[A-Z ]+-----|\s")
_DIGESTS: Final = {"SHA1": SHA1, "SHA256": SHA256}
Key = tuple[EllipticCurvePublicKey, str]


def read_signature(header: str) -> tuple[str, bytes]:
    """The key's id and the signature in ``X-EBAY-SIGNATURE``."""
    try:
        told = read_object(base64.b64decode(header.strip(), validate=True))
        kid, mark = str(told.get("kid")), base64.b64decode(str(told.get("signature")), validate=True)
    except (binascii.Error, ValueError, Malformed) as error:
        raise Unverified("X-EBAY-SIGNATURE is missing or cannot be read") from error
    if not _KID.fullmatch(kid) or not mark:
        raise Unverified("X-EBAY-SIGNATURE names no key")
    return kid, mark


def signed(body: bytes) -> tuple[bytes, ...]:
    """What eBay may have signed: the body as it came, and as its own libraries write it again."""
    try:
        again = dump_json(read_object(body)).encode("utf-8", "replace")
    except (Malformed, ValueError) as error:
        raise Unverified("the body is no notification") from error
    return (body, again) if again != body else (body,)


def _good(key: Key, mark: bytes, body: bytes) -> bool:
    public, digest = key
    try:
        public.verify(mark, body, ECDSA(_DIGESTS[digest]()))
    except InvalidSignature:
        return False
    return True


class Door(Calls, ReceivesWebhooks):
    """Takes notifications, once the application's endpoint is registered."""

    verification_token: SecretStr | None = Field(
        None, description="the verification token that was entered at eBay; the challenge is answered with it"
    )
    endpoint: str | None = Field(None, description="the address of this door exactly as it was entered at eBay")

    _keys: PublicKeys[Key] = PrivateAttr(default_factory=lambda: PublicKeys(timedelta(hours=1)))

    def handshake(self, request: WebRequest, now: datetime) -> Reply | None:
        """SHA-256 of code, token and address, in this order."""
        code = request.query.get("challenge_code")
        if request.method != "GET" or not code:
            return None
        if self.verification_token is None or self.endpoint is None:
            raise Unverified("verification_token and endpoint are not set")
        told = code + self.verification_token.get_secret_value() + self.endpoint
        answer = {"challengeResponse": sha256(told.encode(errors="surrogatepass")).hexdigest()}
        return Reply(body=dump_json(answer).encode())

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the signature with the key that it names; a key that is not held is asked for."""
        if request.content_type not in {"", "application/json"}:
            raise WrongType("expected application/json")
        kid, mark = read_signature(request.headers.get("X-EBAY-SIGNATURE", ""))
        bodies = signed(request.body)
        key = self._keys.get(kid, now)
        if not any(_good(key, mark, one) for one in bodies):
            raise Unverified("X-EBAY-SIGNATURE does not fit the body")
        body = read_object(request.body)
        topic = text(dig(body, "metadata", "topic")) or ""
        return Receipt(id=id_of(dig(body, "notification", "notificationId")), meta={"topic": topic})

    async def learn(self, name: str, ctx: Context) -> None:
        """Fetch the public key with the application's own token."""
        headers = {"Authorization": f"Bearer {await self._token(ctx, 'app')}", "Accept": "application/json"}
        answer = await ctx.http.get(f"{self.url}/commerce/notification/v1/public_key/{name}", headers=headers)
        if answer.status_code in (400, 404):
            raise Unverified("eBay has no such key")
        if answer.status_code in (401, 403):
            await ctx.tokens.put({})
        answer.raise_for_status()
        self._keys.keep(name, _key(read_object(answer.content)), ctx.now())


def _key(told: dict[str, Any]) -> Key:
    """eBay writes the key without the line breaks that PEM has."""
    digest = word(told.get("digest")).replace("-", "")
    try:
        raw = base64.b64decode(_MARKERS.sub("", str(told.get("key"))), validate=True)
        public = load_der_public_key(raw)
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("eBay's key cannot be read") from error
    if not isinstance(public, EllipticCurvePublicKey) or digest not in _DIGESTS:
        raise ValueError("eBay's key is of another kind")
    return public, digest
