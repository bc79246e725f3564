"""What Zendesk answers, as far as it is read."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """A part of what Zendesk answers; ids are numbers there and text here."""

    model_config = ConfigDict(coerce_numbers_to_str=True, defer_build=True)


class Ticket(Answer):
    """A ticket in an answer."""

    id: str = Field(min_length=1)
    external_id: str | None = None
    status: str | None = None
    priority: str | None = None
    tags: tuple[str, ...] = ()
    updated_at: AwareDatetime | None = None
    subject: str | None = None
    requester_id: str | None = None
    group_id: str | None = None
    followup_ids: tuple[str, ...] = ()


class Shown(Answer):
    """One ticket."""

    ticket: Ticket


class Written(Answer):
    """The answer to a create or an update; the audit lists what it did."""

    ticket: Ticket
    audit: dict[str, Any] = Field(default_factory=dict)


class Tickets(Answer):
    """A list of tickets."""

    tickets: tuple[Ticket, ...]


class Comment(Answer):
    """A comment in an answer."""

    id: str
    author_id: str | None = None
    body: str = ""
    public: bool = False


class Comments(Answer):
    """A list of comments, one page of it."""

    comments: tuple[Comment, ...]
    next_page: str | None = None


class Uploaded(Answer):
    """The answer to an upload; the token stands for the files until a comment takes it."""

    class Upload(Answer):
        """Its wrapping."""

        token: str = Field(min_length=1)

    upload: Upload


class Me(Answer):
    """Who is signed in; the anonymous visitor has no id."""

    user: dict[str, Any]
