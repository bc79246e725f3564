"""Enciphered events: AES-256-CBC under the hash of the Encrypt Key, and the signature over the raw body."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from rmabridge.errors import Malformed
from rmabridge.wire.bodies import read_object

BLOCK: Final = 16


def mark(stamp: str, nonce: str, key: str, body: bytes) -> str:
    """The signature: a plain hash with the key in it, not a keyed one."""
    return sha256(f"{stamp}{nonce}{key}".encode("utf-8", "surrogatepass") + body).hexdigest()


def opened(raw: bytes, keys: Iterable[str]) -> dict[str, Any]:
    """The event, deciphered where it is enciphered; ``Malformed`` where no key opens it."""
    body = read_object(raw)
    if not isinstance(given := body.get("encrypt"), str):
        return body
    for key in keys:
        # A wrong key may leave good padding by chance: what is no JSON was not opened.
        with suppress(Malformed):
            return read_object(deciphered(given, key))
    raise Malformed("the event is enciphered, and encrypt_key does not open it")


def enciphered(raw: bytes) -> bool:
    """Whether the body says so."""
    return isinstance(read_object(raw).get("encrypt"), str)


def deciphered(given: str, key: str) -> bytes:
    """The plain bytes; ``Malformed`` where the key does not fit, which shows by the padding."""
    try:
        raw = base64.b64decode(given, validate=True)
        cipher = Cipher(AES256(_key(key)), CBC(raw[:BLOCK])).decryptor()
        remover = PKCS7(BLOCK * 8).unpadder()
        return remover.update(cipher.update(raw[BLOCK:]) + cipher.finalize()) + remover.finalize()
    except (binascii.Error, ValueError) as error:
        raise Malformed("the cipher text does not fit the key") from error


def sealed(body: bytes, key: str) -> str:
    """The body enciphered; its start is taken from the body, which is good enough for a sample."""
    start, padder = sha256(body).digest()[:BLOCK], PKCS7(BLOCK * 8).padder()
    cipher = Cipher(AES256(_key(key)), CBC(start)).encryptor()
    padded = padder.update(body) + padder.finalize()
    return base64.b64encode(start + cipher.update(padded) + cipher.finalize()).decode()


def _key(key: str) -> bytes:
    return sha256(key.encode()).digest()
