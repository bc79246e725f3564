"""Links that carry a right: to hand in evidence, to approve one action. Signed, with an end, for one purpose.

A link says what it is for and nothing else: what it opens is looked up when it is used, and what may be done once is
refused by the case itself the second time.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from ..errors import Unverified

MOST: Final = 2048
TAG: Final = 16


@dataclass(frozen=True, slots=True)
class Link:
    """What a token grants: ``purpose`` (``evidence``, ``approve`` …) on a case, to ``who``, until ``expires``."""

    purpose: str
    case: str
    subject: str
    who: str
    expires: datetime


class Links:
    """Makes and reads tokens; ``sign`` is a keyed hash of text, ``base`` the bridge's public address."""

    def __init__(self, sign: Callable[..., bytes], base: str) -> None:
        self._sign, self.base = sign, base.rstrip("/")

    def url(self, link: Link) -> str:
        """The address that opens the link's page."""
        return f"{self.base}/l/{self.token(link)}"

    def token(self, link: Link) -> str:
        """The link as text that survives an address bar and a mail program."""
        until = int(link.expires.timestamp())
        body = json.dumps([link.purpose, link.case, link.subject, link.who, until], ensure_ascii=False).encode()
        return _text(self._tag(body) + body)

    def read(self, token: str, now: datetime) -> Link:
        """What a token grants now; raises ``Unverified`` where it was not made here or its time is over."""
        body = self._body(token)
        try:
            purpose, case, subject, who, until = json.loads(body)
        except ValueError as error:
            raise Unverified("this link was not made here") from error
        link = Link(purpose, case, subject, who, datetime.fromtimestamp(until, UTC))
        if now >= link.expires:
            raise Unverified("the time of this link is over")
        return link

    def _body(self, token: str) -> bytes:
        try:
            raw = base64.urlsafe_b64decode(token.encode("ascii") + b"==") if len(token) <= MOST else b""
        except (binascii.Error, UnicodeEncodeError, ValueError) as error:
            raise Unverified("this link is not whole") from error
        tag, body = raw[:TAG], raw[TAG:]
        if not body or _text(raw) != token or not hmac.compare_digest(tag, self._tag(body)):
            raise Unverified("this link was not made here, or is not whole")
        return body

    def _tag(self, body: bytes) -> bytes:
        return self._sign("link", base64.b64encode(body).decode())[:TAG]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
