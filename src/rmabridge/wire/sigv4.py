"""AWS Signature Version 4: signed headers for one request to an AWS service (SQS, SES …), without an AWS library.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_PLAIN: Final = "-_.~"


@dataclass(frozen=True, slots=True)
class Signer:
    """An access key for one service in one region; ``session`` comes with temporary keys."""

    key_id: str
    secret: str = field(repr=False)
    region: str
    service: str
    session: str | None = field(default=None, repr=False)

    def headers(
        self, method: str, url: str, now: datetime, body: bytes = b"", more: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """``more`` with ``X-Amz-Date`` and ``Authorization``; all of them, and the host, are covered."""
        stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        sent = {**(more or {}), "X-Amz-Date": stamp}
        if self.session:
            sent["X-Amz-Security-Token"] = self.session
        signed = {name.lower(): " ".join(value.split()) for name, value in {**sent, "Host": _host(url)}.items()}
        names = ";".join(sorted(signed))
        scope = f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"
        request = hashlib.sha256(_canonical(method, url, signed, body).encode()).hexdigest()
        mark = hmac.digest(self._key(stamp[:8]), f"{_ALGORITHM}\n{stamp}\n{scope}\n{request}".encode(), "sha256")
        credential = f"{_ALGORITHM} Credential={self.key_id}/{scope}"
        return sent | {"Authorization": f"{credential}, SignedHeaders={names}, Signature={mark.hex()}"}

    def _key(self, day: str) -> bytes:
        key = f"AWS4{self.secret}".encode()
        for part in (day, self.region, self.service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return key


def _host(url: str) -> str:
    parts = urlsplit(url)
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    host = parts.hostname or ""
    return host if parts.port in (None, usual) else f"{host}:{parts.port}"


def _canonical(method: str, url: str, headers: Mapping[str, str], body: bytes) -> str:
    parts = urlsplit(url)
    pairs = sorted(
        (quote(name, safe=_PLAIN), quote(value, safe=_PLAIN)) for name, value in parse_qsl(parts.query, True)
    )
    lines = (
        method.upper(),
        # The path of the address is encoded already; every service but S3 signs it encoded once more.
        quote(parts.path or "/", safe=f"/{_PLAIN}"),
        "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{headers[name]}" for name in sorted(headers)),
        "",
        ";".join(sorted(headers)),
        hashlib.sha256(body).hexdigest(),
    )
    return "\n".join(lines)
