"""Signed calls: Alibaba Cloud's V3 signature (ACS3-HMAC-SHA256) over an RPC call with an empty body."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from rmabridge.wire.signing import digest_hex, hmac_hex

FAMILY: Final = "ACS3-HMAC-SHA256"
VERSION: Final = "2017-05-25"


def query_of(params: Mapping[str, str]) -> str:
    """The parameters as they are signed and sent: sorted, everything but unreserved characters escaped."""
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(params.items()))


def authorisation(key_id: str, secret: str, query: str, headers: Mapping[str, str], *, method: str = "POST") -> str:
    """The Authorization header for a call without a path; all headers given are signed."""
    low = {name.lower(): value.strip() for name, value in headers.items()}
    lines = "".join(f"{name}:{low[name]}\n" for name in sorted(low))
    names = ";".join(sorted(low))
    canonical = "\n".join([method, "/", query, lines, names, low["x-acs-content-sha256"]])
    signature = hmac_hex(secret, f"{FAMILY}\n{digest_hex(canonical.encode(), 'sha256')}".encode())
    return f"{FAMILY} Credential={key_id},SignedHeaders={names},Signature={signature}"


def headers_of(host: str, action: str, now: datetime, nonce: str, token: str | None) -> dict[str, str]:
    """The headers of a call that are signed. ``nonce`` must not come twice: it is made from what tells calls apart."""
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-version": VERSION,
        "x-acs-date": stamp,
        "x-acs-signature-nonce": digest_hex(f"{nonce}:{now.isoformat()}".encode(), "sha256")[:32],
        "x-acs-content-sha256": digest_hex(b"", "sha256"),
    }
    return headers | ({"x-acs-security-token": token} if token else {})
