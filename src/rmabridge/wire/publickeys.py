"""Public keys that senders name in their webhooks: kept for a while, and not without number."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from rmabridge.errors import KeyNeeded

K = TypeVar("K")
MOST: Final = 64


class PublicKeys(Generic[K]):
    """What an account's ``learn`` fetched, by name; the oldest make room, and each is fetched again after ``life``."""

    def __init__(self, life: timedelta) -> None:
        self._life = life
        self._held: dict[str, tuple[datetime, K]] = {}

    def get(self, name: str, now: datetime) -> K:
        """The key; ``KeyNeeded`` where it is not held, or was held too long."""
        until, key = self._held.get(name, (now, None))
        if key is None or until <= now:
            raise KeyNeeded(name)
        return key

    def keep(self, name: str, key: K, now: datetime) -> None:
        """Hold the key from now on."""
        self._held.pop(name, None)
        while len(self._held) >= MOST:
            del self._held[next(iter(self._held))]
        self._held[name] = (now + self._life, key)
