"""A simulator's webhooks on their way out, as far as its faults let them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import aiohttp

from .faults import HOOKS, Faults

LONGEST_PAUSE: Final = 2.0


def accepted(status: int, _: bytes) -> bool:
    """Whether a good status is good enough, as most vendors say."""
    return 200 <= status < 300


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook: posted up to ``tries`` times, until ``taken`` is content with status and body of the answer."""

    target: str
    body: bytes
    headers: dict[str, str]
    tries: int = 1
    taken: Callable[[int, bytes], bool] = accepted
    pause: float = 0.4


class Post:
    """Sends webhooks and has each noted; those held back are ``held``."""

    def __init__(self, faults: Faults, note: Callable[[dict[str, Any]], None]) -> None:
        self.faults, self.note = faults, note
        self.held: list[Webhook] = []
        self._client: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Be ready to send."""
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15))

    async def close(self) -> None:
        """Send nothing more."""
        if self._client:
            await self._client.close()

    async def send(self, webhook: Webhook) -> int:
        """Send it, or what the faults make of it; the status of the answer, 0 where there is none."""
        fault = self.faults.take(HOOKS, webhook.target, webhook.body)
        name = fault.name if fault else ""
        if name in {"lost", "out of order"}:
            self.note({"status": 0, "bytes": len(webhook.body), "fault": name})
            self.held += [webhook] if name == "out of order" else []
            return 0
        if fault is not None and name == "garbled":
            webhook = replace(webhook, body=fault.content.encode())
        status = await self._deliver(webhook)
        if name == "duplicate":
            await self._deliver(webhook)
        await self.release()
        return status

    async def release(self) -> None:
        """Send what was held back, the newest first."""
        while self.held:
            await self._deliver(self.held.pop())

    async def _deliver(self, webhook: Webhook) -> int:
        status = 0
        for attempt in range(webhook.tries):
            if attempt:
                await asyncio.sleep(min(webhook.pause * 2 ** (attempt - 1), LONGEST_PAUSE))
            status, said = await self._once(webhook)
            self.note({"status": status, "bytes": len(webhook.body)})
            if webhook.taken(status, said):
                break
        return status

    async def _once(self, webhook: Webhook) -> tuple[int, bytes]:
        if self._client is None:
            return 0, b""
        try:
            async with self._client.post(
                webhook.target, data=webhook.body, headers=webhook.headers, allow_redirects=False
            ) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            return 0, b""
