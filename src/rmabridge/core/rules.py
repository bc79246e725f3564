"""Which ways may reach a marketplace's buyers: ``data/reach.toml``, and what holds everywhere."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Final

import tomli
from pydantic import BaseModel, ConfigDict, Field

from ..abilities.effects import Limit
from ..model import Form

NONE: Final = "none"
BY_NUMBER: Final = frozenset({Form.SMS, Form.CALL})
ADDRESSED: Final = BY_NUMBER | {Form.MAIL}
MASKED: Final = re.compile(r"[*＊•●×]")
BLANKED: Final = re.compile(r"x{3,}", re.IGNORECASE)
MAIL: Final = re.compile(r"^[^@\s]+@([^@\s]+)$")
# Digits as people write them; what is said behind them (an extension of a virtual number) takes no text message.
PHONE: Final = re.compile(r"^\+?[\d ().-]{5,}$")
EXTENSION: Final = re.compile(r"^1\d{10}-\d{1,6}$")


class Rules(BaseModel):
    """The rules of one marketplace; an empty field forbids nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    forms: frozenset[Form] = frozenset()
    mail: tuple[str, ...] = ()
    limits: dict[Form, Limit] = Field(default_factory=dict)


FREE: Final = Rules()


@cache
def tables() -> dict[str, Rules]:
    """The rules by marketplace."""
    text = (resources.files("rmabridge.core") / "data" / "reach.toml").read_text(encoding="utf-8")
    return {name: Rules.model_validate(one) for name, one in tomli.loads(text).items()}


def rules(platform: str) -> Rules:
    """A marketplace's rules; none where it has no table."""
    return tables().get(platform, FREE)


def forbidden(platform: str, form: Form, address: str) -> str | None:
    """Why this address must not or cannot be used on this way."""
    found = rules(platform)
    if found.forms and form not in found.forms:
        return f"{platform} lets nobody reach its buyers by {form}"
    if form in ADDRESSED and MASKED.search(address):
        return "the address is masked"
    if form in BY_NUMBER and BLANKED.search(address):
        return "the address is masked"
    if form is Form.SMS and (not PHONE.match(address) or EXTENSION.match(address)):
        return "it is no number that takes text messages"
    if form is Form.CALL and not PHONE.match(address):
        return "it is no number that can be called"
    if form is not Form.MAIL:
        return None
    mail = MAIL.match(address)
    if mail is None:
        return "it is no mail address"
    if found.mail and mail[1].casefold() not in found.mail:
        return f"{platform} takes mails to its own relay addresses only"
    return None


def tightest(first: Limit | None, second: Limit | None) -> Limit | None:
    """The limit that keeps both."""
    if first is None or second is None:
        return first or second
    return Limit(bytes=_least(first.bytes, second.bytes), characters=_least(first.characters, second.characters))


def _least(*given: int | None) -> int | None:
    return min((one for one in given if one is not None), default=None)
