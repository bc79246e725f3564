"""Signature families, each once: keyed hashes, plain digests, sorted parameters, Standard Webhooks.

Everything that compares does so in constant time. Nothing here knows a vendor: a plugin says what is signed and how
the result is written.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from rmabridge.errors import Unverified

_PREFIX = "whsec_"
_STANDARD = ("webhook-id", "webhook-timestamp", "webhook-signature")
_SECONDS = re.compile(r"[0-9]{1,11}")


def _bytes(value: str | bytes) -> bytes:
    # Header values may hold lone surrogates (bytes that were no UTF-8); they must compare unequal, not raise.
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


def same(a: str | bytes, b: str | bytes) -> bool:
    """Whether both are equal, in constant time; any text will do."""
    return hmac.compare_digest(_bytes(a), _bytes(b))


def any_matches(given: str, candidates: Iterable[str]) -> bool:
    """Whether ``given`` (white space around it apart) is one of the candidates; all of them are compared."""
    stripped = given.strip()
    return sum(same(stripped, one) for one in candidates) > 0


@lru_cache(maxsize=256)
def _keyed(secret: bytes, algorithm: str) -> hmac.HMAC:
    """What depends on the secret alone: looking the algorithm up costs as much as hashing 2 KB."""
    return hmac.new(secret, digestmod=algorithm)


def _hmac(secret: str | bytes, data: bytes, algorithm: str) -> bytes:
    if not secret:
        raise ValueError("an empty secret signs nothing")
    keyed = _keyed(_bytes(secret), algorithm).copy()
    keyed.update(data)
    return keyed.digest()


def hmac_hex(secret: str | bytes, data: bytes, algorithm: str = "sha256") -> str:
    """HMAC in lower-case hex; an empty secret raises ``ValueError``."""
    return _hmac(secret, data, algorithm).hex()


def hmac_base64(secret: str | bytes, data: bytes, algorithm: str = "sha256") -> str:
    """HMAC in base64; an empty secret raises ``ValueError``."""
    return base64.b64encode(_hmac(secret, data, algorithm)).decode()


def digest_hex(data: bytes, algorithm: str = "md5") -> str:
    """A plain digest in lower-case hex, for vendors that put the secret into the data."""
    return hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()


def digest_base64(data: bytes, algorithm: str = "md5") -> str:
    """The raw digest bytes (not their hex text) in base64."""
    return base64.b64encode(hashlib.new(algorithm, data, usedforsecurity=False).digest()).decode()


def sorted_pairs(params: Mapping[str, str], *, pair: str = "", joiner: str = "", skip_empty: bool = True) -> str:
    """Key, ``pair``, value of each parameter, sorted by key and joined: what the md5-of-parameters family signs."""
    kept = ((key, value) for key, value in sorted(params.items()) if value or not skip_empty)
    return joiner.join(f"{key}{pair}{value}" for key, value in kept)


def fresh(stamp: datetime, now: datetime, window: timedelta) -> None:
    """Refuse a signed time that is further from now than the window, in either direction."""
    if abs(now - stamp) > window:
        raise Unverified("the signed time is outside the accepted window")


@lru_cache(maxsize=64)
def _standard_key(secret: str) -> bytes:
    text = secret.strip().removeprefix(_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("the signing secret is not base64 (whsec_…)") from error
    if not key:
        raise ValueError("an empty secret signs nothing")
    return key


def _standard_text(id: str, seconds: str, body: bytes) -> bytes:  # noqa: A002 - the header is called webhook-id
    return b".".join((_bytes(id), _bytes(seconds), body))


def standard_sign(secret: str, id: str, at: datetime, body: bytes) -> dict[str, str]:  # noqa: A002
    """The three Standard Webhooks headers for this body; ``secret`` is base64 with or without ``whsec_``."""
    seconds = str(int(at.timestamp()))
    signature = hmac_base64(_standard_key(secret), _standard_text(id, seconds, body))
    return {"webhook-id": id, "webhook-timestamp": seconds, "webhook-signature": f"v1,{signature}"}


def standard_verify(
    secrets: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    window: timedelta = timedelta(minutes=5),
) -> str:
    """Check the Standard Webhooks headers and return the ``webhook-id``; raise ``Unverified`` otherwise."""
    id_, seconds, given = map(headers.get, _STANDARD)
    if not (id_ and seconds and given):  # a plain mapping with the names written in another way
        lower = {name.lower(): value for name, value in headers.items()}
        id_, seconds, given = (lower.get(name, "") for name in _STANDARD)
    if not id_ or not given or not _SECONDS.fullmatch(seconds):
        raise Unverified("webhook-id, webhook-timestamp or webhook-signature is missing or unreadable")
    fresh(datetime.fromtimestamp(int(seconds), UTC), now, window)
    signed = _standard_text(id_, seconds, body)
    expected = [f"v1,{hmac_base64(_standard_key(secret), signed)}" for secret in secrets]
    # Versions we do not know are simply unequal; a sender in the middle of a rotation sends several entries.
    if not sum([same(entry, one) for entry in given.split() for one in expected]):
        raise Unverified
    return id_
