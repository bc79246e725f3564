"""Personal data and secrets, blacked out for logs, dead letters and taps."""

from __future__ import annotations

import re
from typing import Any, Final

NAMES: Final = (
    r"name|first_?name|last_?name|e?-?mail|phone|mobile|tel|address1?|address2|street|city|province|region|postcode|zip|"
    r"receiver|sender|buyer|customer_?name|id_?card|[\w-]*(?:token|secret|password|passwd)|api_?key|authorization|"
    r"session|session_?key|app_?key|signature|sign|datasign|cookie|x-shopify-access-token|x-shopify-hmac-sha256"
)
_FIELD: Final = re.compile(rf'("(?:{NAMES})"\s*:\s*)"(?:[^"\\]|\\.)*"', re.IGNORECASE)
_PAIR: Final = re.compile(rf"((?:^|[?&\s,;])(?:{NAMES})=)[^&\s,;]+", re.IGNORECASE)
_KEY: Final = re.compile(r"([?&]key=)[^&\s]+", re.IGNORECASE)  # in an address; elsewhere a key is a name
_AUTH: Final = re.compile(r"\b(Bearer|Basic|Token)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_MAIL: Final = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]+(?:\.[\w-]+)+")
_PHONE: Final = re.compile(r"(?<![\w.:-])(?:\+|00)?\d[\d ().-]{6,17}\d(?![\w:-])")
_CARD: Final = re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)")
_TIME: Final = re.compile(r"^\d{4}-\d\d-\d\d")


def mask(text: str) -> str:
    """The text without e-mail addresses, phone and identity numbers, credentials, and values of personal fields."""
    text = _FIELD.sub(r'\1"***"', text)
    text = _PAIR.sub(r"\1***", text)
    text = _KEY.sub(r"\1***", text)
    text = _AUTH.sub(r"\1 ***", text)
    text = _MAIL.sub("***@***", text)
    return _PHONE.sub(_number, _CARD.sub("***", text))


def _number(found: re.Match[str]) -> str:
    return found[0] if _TIME.match(found[0]) or sum(one.isdigit() for one in found[0]) < 7 else "***"


def masked(value: Any) -> Any:
    """``mask`` for the texts inside a JSON-like value; texts under a personal name go altogether."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {
            name: "***" if isinstance(one, str) and _PERSONAL.fullmatch(str(name)) else masked(one)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(one) for one in value]
    return value


_PERSONAL: Final = re.compile(NAMES, re.IGNORECASE)
