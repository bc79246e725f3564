"""The wire tap: what came in, what it meant and what went out, without anything personal, to a file or an address.

It is told and never asked: what it cannot write away in time is dropped and counted, and holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import uuid4

import httpx
import structlog
from pydantic_core import to_json

from ..core.shapes import Mark, shape, shape_of
from ..model import Action, Event
from ..wire.signing import standard_sign
from .messages import question

if TYPE_CHECKING:
    from ..config import Bridge
    from ..store.store import Store
    from .client import Flight, Sessions
    from .metrics import Metrics

log = structlog.get_logger("tap")
MOST: Final = 10_000
TOGETHER: Final = 200
PAUSE: Final = 0.5
AWAY: Final = 5.0
FILE: Final = "file:"
Entry = tuple[datetime, str, str, Any, dict[str, Any]]


class Writes(Protocol):
    """Where lines go."""

    async def write(self, lines: Sequence[bytes]) -> None:
        """All of them, or raise."""

    async def close(self) -> None:
        """Nothing more comes."""


class Tap:
    """Takes copies in memory, and writes them away beside everything else."""

    def __init__(
        self, to: Writes | None, mark: Mark, now: Callable[[], datetime], dropped: Callable[[int], None]
    ) -> None:
        self._to, self._mark, self._now, self._dropped = to, mark, now, dropped
        self._queue: deque[Entry] = deque()
        self._turn: asyncio.Future[float] | None = None
        self.on = to is not None

    def came(self, account: str, body: bytes) -> None:
        """A webhook, or an item that was polled, is on disk."""
        self._tell("received", account, body, {})

    def meant(self, account: str, event: Event, case: str) -> None:
        """An event is on its case."""
        self._tell("event", account, event, {"case": case})

    def went(self, account: str, action: Action | None, flight: Flight, **facts: Any) -> None:
        """An action was carried out, or was not; of the last call the method, the host and the answer's status."""
        if self.on and flight.request is not None:
            facts |= {"method": flight.request.method, "host": flight.request.url.host}
            facts["status"] = flight.response.status_code if flight.response else None
        self._tell("call", account, action, facts)

    def _tell(self, what: str, account: str, content: Any, facts: dict[str, Any]) -> None:
        if not self.on:
            return
        if len(self._queue) >= MOST:
            self._dropped(1)
        else:
            self._queue.append((self._now(), what, account, content, facts))

    async def run(self) -> None:
        """Write away what was told, until the end; who is cancelled while writing leaves that to `close`."""
        while self._to is not None:
            self._turn = asyncio.ensure_future(self._some())
            await asyncio.sleep(await asyncio.shield(self._turn))

    async def _some(self) -> float:
        """Write some away; how long to wait now, in seconds."""
        taken = [self._queue.popleft() for _ in range(min(TOGETHER, len(self._queue)))]
        if not taken or self._to is None:
            return PAUSE
        lines = await asyncio.to_thread(lambda: [self._line(*one) for one in taken])
        try:
            await self._to.write(lines)
        except Exception as error:  # noqa: BLE001 - whatever it is, the bridge goes on without its tap
            self._dropped(len(lines))
            log.warning("the tap could not be written; what comes meanwhile is dropped", cause=type(error).__name__)
            return AWAY
        return 0

    def _line(self, at: datetime, what: str, account: str, content: Any, facts: dict[str, Any]) -> bytes:
        shown = {} if content is None else {"body": _shown(content, self._mark)}
        return to_json({"at": at, "what": what, "account": account, **facts, **shown})

    async def close(self) -> None:
        """Write what is left, if that works at once."""
        if self._to is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(AWAY / 2):
                wait = await self._turn if self._turn else 0
                while self._queue and wait < AWAY:
                    wait = await self._some()
        self._dropped(len(self._queue))
        self._queue.clear()
        await self._to.close()


def _shown(content: Any, mark: Mark) -> Any:
    if isinstance(content, bytes):
        return shape_of(content, mark)
    return shape(content.model_dump(mode="json", by_alias=True, exclude_none=True), mark)


class Rotated:
    """A file that is put aside (``tap.jsonl.1`` and so on) when it has grown to its size."""

    def __init__(self, path: Path, most: int, kept: int) -> None:
        self.path, self.most, self.kept = path, most, kept

    async def write(self, lines: Sequence[bytes]) -> None:
        """In a thread."""
        await asyncio.to_thread(self._write, b"".join(one + b"\n" for one in lines))

    def _write(self, text: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and self.path.stat().st_size + len(text) > self.most:
            for number in range(self.kept, 0, -1):
                older = self._older(number - 1)
                if older.exists():
                    older.replace(self._older(number))
        with self.path.open("ab") as file:
            file.write(text)

    def _older(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    async def close(self) -> None:
        """It is closed after each writing."""


class Posted:
    """An address that gets lines as a body of JSON lines, signed as Standard Webhooks are."""

    def __init__(self, url: str, secret: str, now: Callable[[], datetime], sessions: Sessions) -> None:
        self.url, self._secret, self._now, self._sessions = httpx.URL(url), secret, now, sessions

    async def write(self, lines: Sequence[bytes]) -> None:
        """One request."""
        body = b"\n".join(lines) + b"\n"
        headers = standard_sign(self._secret, f"tap_{uuid4().hex}", self._now(), body)
        headers["Content-Type"] = "application/x-ndjson"
        asked = question("POST", self.url, headers, body, {})
        async with asyncio.timeout(AWAY):
            answer = await self._sessions.get(private=True).send(asked, _at_once)
        if answer.status_code >= 300:
            raise ConnectionError(f"HTTP {answer.status_code}")

    async def close(self) -> None:
        """The connections are shared."""


async def _at_once() -> None:
    """No turn is waited for."""


NO_TAP: Final = Tap(None, str, datetime.now, lambda _: None)


def tap_of(settings: Bridge, store: Store, metrics: Metrics, sessions: Sessions) -> Tap:
    """As the settings say."""
    if not settings.tap:
        return NO_TAP

    def mark(text: str) -> str:
        return f"#{store.vault.mark('tap', '', text).hex()[:12]}"

    to: Writes
    if settings.tap.startswith(FILE):
        to = Rotated(settings.home / settings.tap.removeprefix(FILE), settings.tap_size, settings.tap_files)
    else:
        secret = settings.tap_secret.get_secret_value() if settings.tap_secret else ""
        to = Posted(settings.tap, secret, store.clock.now, sessions)
    return Tap(to, mark, store.clock.now, metrics.tap_dropped.inc)
