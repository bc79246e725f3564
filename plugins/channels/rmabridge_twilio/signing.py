"""Twilio's signature: HMAC-SHA1 over the exact address that was called and the form's fields in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from rmabridge.errors import Malformed
from rmabridge.wire.bodies import MAX_FIELDS
from rmabridge.wire.signing import hmac_base64

HEADER: Final = "X-Twilio-Signature"
_PORTS: Final = {"https": 443, "http": 80}


def fields_of(body: bytes) -> list[tuple[str, str]]:
    """All fields of a form, blank ones and repeated names included."""
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Malformed("the body is not a form") from error


def signature(token: str, url: str, fields: Iterable[tuple[str, str]]) -> str:
    """The signature of a form posted to the address; a name's equal values count once."""
    signed = "".join(f"{name}{value}" for name, value in sorted(set(fields)))
    return hmac_base64(token, (url + signed).encode("utf-8", "surrogatepass"), "sha1")


def addresses(url: str) -> Iterator[str]:
    """The address as it is and with its port written out or left out: Twilio was seen to sign either."""
    parts = urlsplit(url)
    yield url
    port = _PORTS.get(parts.scheme)
    if parts.port is None:
        yield parts._replace(netloc=f"{parts.netloc}:{port}").geturl()
    else:
        yield parts._replace(netloc=parts.netloc.removesuffix(f":{parts.port}")).geturl()
