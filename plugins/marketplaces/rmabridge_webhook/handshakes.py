"""How senders prove that a door is ours: a challenge that is hashed, deciphered or said again."""

from __future__ import annotations

import base64
import binascii
from hashlib import sha1, sha256
from typing import Annotated, Any, Literal

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from rmabridge.abilities import Reply, WebRequest
from rmabridge.errors import Malformed, Unverified
from rmabridge.wire.bodies import dump_json, read_object
from rmabridge.wire.sealing import BLOCK, deciphered
from rmabridge.wire.signing import same


class Kind(BaseModel):
    """What all families have."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Ebay(Kind):
    """eBay: ``GET ?challenge_code=…`` is answered with its hash. https://developer.ebay.com/marketplace-account-deletion"""

    family: Literal["ebay"]
    token: SecretStr = Field(description="the verification token that was entered at eBay", min_length=1)
    endpoint: str = Field(description="the address of this door exactly as it was entered at eBay", min_length=1)

    def answer(self, request: WebRequest) -> Reply | None:
        """SHA-256 of code, token and address, in this order."""
        code = request.query.get("challenge_code")
        if request.method != "GET" or not code:
            return None
        told = code + self.token.get_secret_value() + self.endpoint
        return _json({"challengeResponse": sha256(told.encode(errors="surrogatepass")).hexdigest()})


class WeCom(Kind):
    """WeCom and WeChat: ``GET ?echostr=…`` is answered with what is enciphered in it.

    https://developer.work.weixin.qq.com/document/path/90930
    """

    family: Literal["wecom"]
    token: SecretStr = Field(description="the callback's Token", min_length=1)
    aes_key: SecretStr = Field(description="the callback's EncodingAESKey, 43 characters")
    receiver: str = Field(description="who the callback is for: the CorpID, or a suite's id", min_length=1)

    @field_validator("aes_key")
    @classmethod
    def _whole(cls, given: SecretStr) -> SecretStr:
        if _key(given) is None:
            raise ValueError("is not an EncodingAESKey of 43 characters")
        return given

    def answer(self, request: WebRequest) -> Reply | None:
        """The plain words, where the signature over token, time, nonce and cipher text is right."""
        sealed = request.query.get("echostr")
        if request.method != "GET" or not sealed:
            return None
        parts = [self.token.get_secret_value(), sealed, *(request.query.get(one, "") for one in ("timestamp", "nonce"))]
        mark = sha1("".join(sorted(parts)).encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()
        if not same(request.query.get("msg_signature", ""), mark):
            raise Unverified
        key = _key(self.aes_key) or b""
        return Reply(body=self._words(_deciphered(sealed, key, key[:BLOCK])), content_type="text/plain")

    def _words(self, plain: bytes) -> bytes:
        """What stands behind 16 random bytes and the length, and before the receiver; padded to 32 bytes."""
        size = int.from_bytes(plain[BLOCK : BLOCK + 4])
        words, rest = plain[BLOCK + 4 : BLOCK + 4 + size], plain[BLOCK + 4 + size :]
        padding = rest[-1] if rest else 0
        if not 1 <= padding <= 32 or not same(rest[:-padding], self.receiver):
            raise Unverified("the challenge is for another receiver")
        return words


class Lark(Kind):
    """Lark and Feishu: a ``url_verification``, plain or enciphered, is answered with its challenge.

    https://open.feishu.cn/document/server-docs/event-subscription-guide/event-subscription-configure-/request-url-configuration-case
    """

    family: Literal["lark"]
    token: SecretStr = Field(description="the app's Verification Token", min_length=1)
    encrypt_key: SecretStr | None = Field(None, description="the app's Encrypt Key, where one is set")

    def answer(self, request: WebRequest) -> Reply | None:
        """The challenge, to who knows the token; other bodies are no business of the handshake."""
        if request.method != "POST":
            return None
        try:
            asked = self._opened(read_object(request.body))
        except Malformed:
            return None
        challenge, token = asked.get("challenge"), asked.get("token")
        if asked.get("type") != "url_verification" or not isinstance(challenge, str):
            return None
        if not isinstance(token, str) or not same(token, self.token.get_secret_value()):
            raise Unverified
        return _json({"challenge": challenge})

    def _opened(self, body: dict[str, Any]) -> dict[str, Any]:
        sealed = body.get("encrypt")
        if not isinstance(sealed, str) or self.encrypt_key is None:
            return body
        return read_object(deciphered(sealed, self.encrypt_key.get_secret_value()))


Handshake = Annotated[Ebay | WeCom | Lark, Field(discriminator="family")]


def _json(told: dict[str, str]) -> Reply:
    return Reply(body=dump_json(told).encode())


def _key(given: SecretStr) -> bytes | None:
    try:
        key = base64.b64decode(given.get_secret_value() + "=", validate=True)
    except ValueError:
        return None
    return key if len(key) == 32 else None


def _deciphered(sealed: str, key: bytes, start: bytes) -> bytes:
    """AES-256-CBC; what is no cipher text is ``Malformed``."""
    try:
        raw = base64.b64decode(sealed, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("the cipher text is no base64") from error
    if not raw or len(raw) % BLOCK or len(start) != BLOCK:
        raise Malformed("the cipher text is cut")
    opened = Cipher(AES256(key), CBC(start)).decryptor()
    return opened.update(raw) + opened.finalize()
