"""What Zammad answers, as far as it is read; ids are numbers there and text here."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter


class Answer(BaseModel):
    """A part of an answer; custom attributes of tickets are kept beside the known ones."""

    model_config = ConfigDict(coerce_numbers_to_str=True, extra="allow", defer_build=True)


class Ticket(Answer):
    """A ticket, with names in place of ids where it was asked for so."""

    id: str = Field(min_length=1)
    state: str | None = None
    priority: str | None = None
    updated_at: AwareDatetime | None = None

    def has(self, attribute: str) -> bool:
        """Whether Zammad knows the attribute: one that it does not is dropped in silence."""
        return attribute in (self.model_extra or {})


class Article(Answer):
    """An article of a ticket."""

    id: str = Field(min_length=1)
    body: str | None = None
    content_type: str | None = None
    internal: bool = False
    created_by_id: str | None = None
    created_at: AwareDatetime | None = None


class Link(Answer):
    """What a ticket is linked to; ``link_type`` says what the other one is to it."""

    link_type: str
    link_object: str
    link_object_value: str


class Links(Answer):
    """The links of a ticket."""

    links: tuple[Link, ...]


class Me(Answer):
    """Who is signed in."""

    id: str = Field(min_length=1)
    login: str | None = None


TICKETS: TypeAdapter[tuple[Ticket, ...]] = TypeAdapter(tuple[Ticket, ...])
ARTICLES: TypeAdapter[tuple[Article, ...]] = TypeAdapter(tuple[Article, ...])
