"""Phone numbers in E.164, with the prefix of their channel; a masked number is never dialled."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from rmabridge.errors import Rejected
from rmabridge.model import Form
from rmabridge.wire.phones import unspaced

WHATSAPP: Final = "whatsapp:"
SHORTEST: Final = 10
E164: Final = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)


def dialled(to: str, form: Form, country: str | None) -> str:
    """The address as Twilio takes it; a number for text messages without its country's code gets the one given."""
    written = unicodedata.normalize("NFKC", to).strip()
    number = written.removeprefix(WHATSAPP) if form is Form.CHAT else written
    if form is Form.CHAT and not number.startswith("+"):
        # Another system's chat may be called by a mere number: that is nobody's phone.
        raise Rejected("this is no WhatsApp address", hint="'whatsapp:+', the country's code and the number")
    digits = unspaced(number)
    if digits.startswith("00"):
        digits = f"+{digits.removeprefix('00')}"
    elif country and not digits.startswith(("+", "0")):
        # Many write the country's code without a plus: what is left behind it is a whole number then.
        whole = digits.startswith(country) and len(digits) - len(country) >= SHORTEST
        digits = f"+{digits}" if whole else f"+{country}{digits}"
    if not E164.fullmatch(digits):
        raise Rejected(
            "this is no phone number that can be dialled",
            hint="'+', the country's code and the number; or set country_code",
        )
    return f"{WHATSAPP}{digits}" if form is Form.CHAT else digits


def number_of(address: str | None) -> str | None:
    """The phone number in an address of Twilio's; None for anything else, such as a short code."""
    number = (address or "").strip().removeprefix(WHATSAPP)
    return number if E164.fullmatch(number) else None
