"""What Slack's methods answer, as far as it is read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from .parsing import CHANNEL, STAMP


class Answer(BaseModel):
    """What every method answers; the HTTP status is 200 for refusals too."""

    ok: bool
    error: str | None = None


class Posted(Answer):
    """The answer to a posted message."""

    channel: str = Field(pattern=rf"^{CHANNEL}$")
    ts: str = Field(pattern=rf"^{STAMP}$")


class Seen(BaseModel):
    """A message of a channel's history."""

    ts: str
    metadata: dict[str, Any] = Field(default_factory=dict)


class History(Answer):
    """A page of a channel's history."""

    messages: tuple[Seen, ...]
    response_metadata: dict[str, Any] | None = None


class Who(Answer):
    """Whom the token is of."""

    team: str
    user_id: str
