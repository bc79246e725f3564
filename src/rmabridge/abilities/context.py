"""What the bridge lends to a plugin for one call, and what a plugin gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import httpx

from ..model import Event, Ref


class Tokens(Protocol):
    """The account's stored credentials; kept encrypted."""

    async def get(self) -> dict[str, str] | None:
        """The stored token, or None where the account was never connected."""

    async def put(self, token: dict[str, str], *, expires: datetime | None = None) -> None:
        """Store a token; it is on disk when this returns."""

    def renewing(self) -> AbstractAsyncContextManager[None]:
        """Inside, nobody else renews the account's token, in whichever process: a vendor may take a refresh token once.

        Read the stored token again inside: another may have renewed it meanwhile.
        """


async def _no_files(_: object) -> Any:
    raise LookupError("no files are kept here")


@dataclass(slots=True)
class Context:
    """Lent to a plugin's async methods.

    ``http`` is the account's own client: it counts against the account's limits, refuses private networks unless
    allowed and notes when a request has left; a POST that only asks says so with ``extensions={"reads": True}`` and
    may be repeated like a GET. ``idempotency_key`` is the same on every try of one action.
    ``now`` is the bridge's clock. ``sent()`` must be called by a plugin that does not speak HTTP, right before the
    byte that may cause the effect leaves. ``blob(sha256)`` reads a stored file of the action's own case, and of no
    other; ``keep(data)`` stores one for it and answers its hash, for the ``EvidenceAdded`` that names it.
    """

    account: str
    http: httpx.AsyncClient
    idempotency_key: str
    now: Callable[[], datetime]
    tokens: Tokens
    sent: Callable[[], None] = field(default=lambda: None)
    case: str | None = None
    public_url: str = ""
    blob: Callable[[str], Awaitable[bytes]] = _no_files
    keep: Callable[[bytes], Awaitable[str]] = _no_files


@dataclass(frozen=True, slots=True)
class Result:
    """What a carried-out action made: the vendor's ``id`` of it, where to open it, and what else the answer told.

    ``refs`` are names by which what comes later calls the case: the recipient's number for whoever answers a message.
    """

    id: str | None = None
    url: str | None = None
    events: tuple[Event, ...] = ()
    note: str | None = None
    refs: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What ``find`` learned of an uncertain delivery: ``happened`` is True, False, or None for not known."""

    happened: bool | None
    result: Result = Result()


Method = Callable[[Any, Context], Awaitable[Result | None]]
Find = Callable[[Any, Context], Awaitable[Finding]]


@dataclass(frozen=True, slots=True)
class Handler:
    """A bound async method and what may be done with it.

    ``repeatable``: carrying it out twice does no harm (a query, a PUT, or the vendor recognises our idempotency key).
    ``remembers``: how long the vendor recognises the key; past that it is no longer repeatable.
    ``find`` looks up what an uncertain delivery did; ``absent`` counts only ``settles_after`` after the try.
    ``looks_back``: how long after the try ``find`` still finds what it did; later absence says nothing.
    ``deadline``: seconds for one attempt.
    """

    method: Method
    repeatable: bool = False
    remembers: timedelta | None = None
    find: Find | None = None
    settles_after: timedelta = timedelta(seconds=30)
    looks_back: timedelta | None = None
    deadline: float = 30.0
