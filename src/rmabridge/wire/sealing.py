"""Lark's and Feishu's enciphered bodies: AES-256-CBC under the hash of the app's Encrypt Key, the start in front."""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from rmabridge.errors import Malformed

BLOCK: Final = 16


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
