"""An account's stored token, sealed with the account's own key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from uuid import uuid4

from pydantic_core import from_json, to_json
from sqlalchemy import Connection

from ..store import ops
from ..store.bulk import ignoring
from ..store.store import Store
from ..store.tables import buyer_keys, micros

# The kind of cursor that says who renews the account's token, for how long at most, and how often the others look.
RENEWS: Final = "renews"
LEASE: Final = 60_000_000
LOOKED_EVERY: Final = 0.05


class StoredTokens:
    """What plugins see of the ``tokens`` table."""

    def __init__(self, store: Store, account: str) -> None:
        self._store, self._account = store, account

    async def get(self) -> dict[str, str] | None:
        """The stored token, or None where the account was never connected."""
        row = await self._store.ask(lambda conn: ops.token(conn, self._account))
        if row is None:
            return None
        await self._store.using(lambda: self._store.keys_for({row.key_id}))
        found: dict[str, str] = from_json(self._store.vault.open(row.key_id, row.value))
        return found

    async def put(self, token: dict[str, str], *, expires: datetime | None = None) -> None:
        """Store a token; it is on disk when this returns."""
        key_id, now = f"account:{self._account}", self._store.clock.micros()
        await self._store.using(lambda: self._store.keys_for({key_id}))
        if not self._store.vault.knows(key_id):  # in a commit of its own: whoever stores it first, all read it back
            made = self._store.vault.make(key_id, None, now)
            self._store.vault.forget(key_id)
            await self._store.write(lambda conn: conn.execute(ignoring(conn, buyer_keys), made))
            await self._store.using(lambda: self._store.keys_for({key_id}))
        row = {
            "account": self._account,
            "expires": micros(expires) if expires else None,
            "checked_at": now,
            "key_id": key_id,
            "value": self._store.vault.seal(key_id, to_json(token)),
        }
        await self._store.write(lambda conn: ops.put_token(conn, row))

    @asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Alone, among all processes; whoever dies inside is waited for until the lease is over."""
        account, who, store = self._account, str(uuid4()), self._store

        def take(conn: Connection) -> bool:
            return ops.take(conn, account, RENEWS, who, store.clock.micros(), LEASE)

        while not await store.write(take):  # noqa: ASYNC110 - who ends it may be another process
            await asyncio.sleep(LOOKED_EVERY)
        try:
            yield
        finally:
            await store.write(lambda conn: ops.leave(conn, account, RENEWS, who))
