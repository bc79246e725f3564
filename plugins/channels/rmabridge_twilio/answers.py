"""What Twilio's answers mean for the bridge."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal

import httpx
import tomli
from pydantic import BaseModel, ConfigDict, Field

from rmabridge.errors import DeliveryError, Malformed, Rejected, Unauthorised, Unavailable
from rmabridge.wire.bodies import read_object, text

Means = Literal["retry", "stop", "reject"]


class Meaning(BaseModel):
    """What one code means, and what an operator can do."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    means: Means
    hint: str = ""


class Made(BaseModel):
    """The answer to a message: Twilio's id of it."""

    sid: str = Field(pattern=r"^(SM|MM)[0-9a-fA-F]{32}$")
    status: str


class Listed(BaseModel):
    """A message in a list."""

    sid: str
    body: str | None
    direction: str
    date_created: str | None


class Listing(BaseModel):
    """A page of messages; ``next_page_uri`` is a path, None on the last one."""

    messages: tuple[Listed, ...]
    next_page_uri: str | None = Field(pattern="^/")


@cache
def codes() -> dict[str, Meaning]:
    """The codes that are known."""
    rows = tomli.loads((files(__package__) / "answers.toml").read_text("utf-8"))["codes"]
    return {code: Meaning.model_validate(row) for code, row in rows.items()}


def complain(response: httpx.Response, own: dict[str, Means]) -> None:
    """Raise what an error means: by the operator's own word, by its code, else by its status."""
    if 400 <= response.status_code < 500:
        code, said = _error(response)
        meaning = Meaning(means=own[code]) if code in own else codes().get(code)
        if meaning:
            raise _refusal(f"{code}: {said}", meaning, response.headers.get("Retry-After"))
        if code and response.status_code in {400, 404}:
            raise Rejected(f"{code}: {said}", hint=f"see https://www.twilio.com/docs/api/errors/{code}")
    response.raise_for_status()


def _refusal(cause: str, meaning: Meaning, pause: str | None) -> DeliveryError:
    match meaning.means:
        case "retry":
            seconds = float(pause) if pause and pause.isdecimal() else None
            return Unavailable(cause, hint=meaning.hint, retry_after=seconds)
        case "stop":
            return Unauthorised(cause, hint=meaning.hint)
        case _:
            return Rejected(cause, hint=meaning.hint)


def _error(response: httpx.Response) -> tuple[str, str]:
    """Code and message; empty where the body is not an error of Twilio's."""
    try:
        body = read_object(response.content)
    except Malformed:
        return "", ""
    code = text(body.get("code")) or ""
    return (code if code.isdecimal() else ""), (text(body.get("message")) or "")[:200]
