"""Receiving webhooks: verify, answer, parse."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ..errors import Unverified
from ..model import Event
from .context import Context


@dataclass(frozen=True, slots=True)
class WebRequest:
    """A webhook as it came in. Header names are looked up case-insensitively; ``body`` is the raw bytes."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    remote: str = ""

    @property
    def content_type(self) -> str:
        """The media type without its parameters, lower case."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What ``verify`` found.

    ``id`` is the sender's id of this delivery (the same when it is sent again; left out, the body's hash counts).
    ``lane`` is what must stay in order with it (an order or ticket id), where that is cheap to read.
    ``meta`` is what ``parse`` needs beside the body, such as the topic header.
    ``nonce`` is refused when it comes a second time with another body.
    """

    id: str | None = None
    lane: str | None = None
    meta: dict[str, str] = field(default_factory=dict)
    nonce: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer of the vendor's own form."""

    status: int = 200
    body: bytes = b'{"ok":true}'
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inbound:
    """Something stored in the inbox, on its way to ``parse``: a webhook's body, or one item of a poll."""

    account: str
    body: bytes
    meta: Mapping[str, str]
    received_at: datetime


class Parses(ABC):
    """Turns stored bytes into events. Pure and total: the same bytes give the same events, or ``Malformed``."""

    @abstractmethod
    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """The events in one stored body; none for what does not concern after-sales."""


class ReceivesWebhooks(Parses):
    """The account has a door at ``POST /hooks/{account}``."""

    def handshake(self, request: WebRequest, now: datetime) -> Reply | None:
        """Answer a vendor's challenge (a GET echo, a challenge code) without storing anything.

        A secret counts as it does for ``verify``: one that was replaced gets no echo after its end.
        """
        return None

    @abstractmethod
    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the signature over the raw body, in constant time; raise ``Unverified`` or ``WrongType``.

        Where it takes a public key that the account does not hold, raise ``KeyNeeded``: the door asks ``learn`` for it
        and calls again, once. A name that is no address of the vendor is ``Unverified`` at once.
        """

    async def learn(self, name: str, ctx: Context) -> None:
        """Fetch the public key that ``verify`` needs and keep it; ``Unverified`` where the vendor has no such key."""
        raise Unverified("this account fetches no keys")

    def reply(self, request: WebRequest) -> Reply:
        """The success answer, sent after the event is on disk."""
        return Reply()

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A signed sample request for ``rmabridge trigger ACCOUNT NAME``; None for a name not known."""
        return None

    def samples(self) -> tuple[str, ...]:
        """The names that ``sample`` knows."""
        return ()
