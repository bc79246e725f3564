"""An account's stored token, sealed with the account's own key."""

from __future__ import annotations

from datetime import datetime

from pydantic_core import from_json, to_json

from ..store import ops
from ..store.bulk import ignoring
from ..store.store import Store
from ..store.tables import buyer_keys, micros


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
