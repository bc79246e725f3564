"""What Chatwoot answers, as far as it is read."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """A part of what Chatwoot answers; ids are numbers there and text here."""

    model_config = ConfigDict(coerce_numbers_to_str=True, defer_build=True)


class Contact(Answer):
    """A contact."""

    id: str = Field(min_length=1)
    email: str | None = None
    identifier: str | None = None


class Contacts(Answer):
    """Contacts that a search found."""

    payload: tuple[Contact, ...]


class MadeContact(Answer):
    """The answer to a new contact."""

    class Payload(Answer):
        """Its wrapping."""

        contact: Contact

    payload: Payload


class Conversation(Answer):
    """A conversation; ``id`` is its number in the account."""

    id: str = Field(min_length=1)
    inbox_id: str | None = None
    labels: tuple[str, ...] = ()
    custom_attributes: dict[str, Any] = Field(default_factory=dict)


class Conversations(Answer):
    """A contact's conversations, the newest first."""

    payload: tuple[Conversation, ...]


class Toggled(Answer):
    """The answer to a change of status."""

    class Payload(Answer):
        """Its wrapping."""

        current_status: str

    payload: Payload


class Labels(Answer):
    """The labels of a conversation."""

    payload: tuple[str, ...]


class Attributes(Answer):
    """The custom attributes of a conversation."""

    custom_attributes: dict[str, Any]


class Sender(Answer):
    """Who wrote a message: ids of users, bots and contacts count on their own."""

    id: str | None = None
    type: str | None = None


class Message(Answer):
    """A message; ``message_type`` is 0 for the buyer's, 1 for what agents and the API say."""

    id: str = Field(min_length=1)
    content: str | None = None
    message_type: str | None = None
    private: bool = False
    created_at: AwareDatetime | None = None
    sender: Sender = Sender()


class Messages(Answer):
    """A page of messages, the oldest first."""

    payload: tuple[Message, ...]


class Me(Answer):
    """Who is signed in, and in which accounts."""

    class Account(Answer):
        """One account of the user's."""

        id: str
        role: str | None = None

    id: str = Field(min_length=1)
    name: str | None = None
    accounts: tuple[Account, ...] = ()


class Inbox(Answer):
    """An inbox."""

    id: str
    name: str | None = None
    channel_type: str | None = None


class Webhook(Answer):
    """A webhook of the account."""

    id: str
    url: str | None = None
    subscriptions: tuple[str, ...] = ()
