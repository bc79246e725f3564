"""Enciphered events, and the signature over the raw body."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from typing import Any

from rmabridge.errors import Malformed
from rmabridge.wire.bodies import read_object
from rmabridge.wire.sealing import deciphered


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
