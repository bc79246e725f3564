"""Lends an account what its methods need, without a running bridge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic_core import from_json, to_json

from ..abilities import Context
from ..errors import CommandError
from ..flow.client import Flight, Sessions, flying
from ..flow.gate import Gate
from ..flow.tokens import LEASE, LOOKED_EVERY, RENEWS
from ..store import ops
from ..store.tables import micros

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .app import App


class PeekTokens:
    """The account's stored token, read and written beside a running bridge."""

    def __init__(self, app: App, account: str) -> None:
        self._app, self._account = app, account

    async def get(self) -> dict[str, str] | None:
        """The stored token, or None where the account was never connected."""
        if not self._app.has_store:
            return None
        row = self._app.read(lambda conn: ops.token(conn, self._account))
        doc = self._app.open(row.key_id, row.value) if row else None
        found: dict[str, str] | None = from_json(doc) if doc else None
        return found

    async def put(self, token: dict[str, str], *, expires: datetime | None = None) -> None:
        """Store a token; it is on disk when this returns."""
        put_token(self._app, self._account, token, expires)

    @asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Alone, among the bridge's processes, too."""
        account, who = self._account, str(uuid4())
        if not self._app.has_store:
            yield
            return
        store = self._app.store

        def take(conn: Connection) -> bool:
            return ops.take(conn, account, RENEWS, who, store.clock.micros(), LEASE)

        while not store.write(take):  # noqa: ASYNC110 - who ends it may be another process
            await asyncio.sleep(LOOKED_EVERY)
        try:
            yield
        finally:
            store.write(lambda conn: ops.leave(conn, account, RENEWS, who))


def put_token(app: App, account: str, token: dict[str, str], expires: datetime | None = None) -> None:
    """Seal a token with the account's key, and store it."""
    from sqlalchemy import insert

    from ..store.tables import buyer_keys

    store, key_id = app.store, f"account:{account}"

    def put(conn: Connection) -> None:
        now = store.clock.micros()
        store.vault.fetch(conn, {key_id})
        if not store.vault.knows(key_id):
            conn.execute(insert(buyer_keys), store.vault.make(key_id, None, now))
        row = {"account": account, "expires": micros(expires) if expires else None, "checked_at": now}
        ops.put_token(conn, {**row, "key_id": key_id, "value": store.vault.seal(key_id, to_json(token))})

    store.write(put)


def now_of(app: App) -> datetime:
    """The bridge's clock, or the system's where there is no database yet."""
    return app.store.clock.now() if app.has_store else datetime.now(UTC)


def base_url(app: App, given: str | None = None) -> str:
    """Where the running bridge answers."""
    settings = app.config.bridge
    if given or settings.public_url:
        return (given or settings.public_url).rstrip("/")
    if settings.port == 0:
        raise CommandError("[bridge] port: is 0, so the running bridge has a port of its own; name it with --url")
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


@asynccontextmanager
async def lent(app: App, name: str, sessions: Sessions) -> AsyncIterator[Context]:
    """What the account is lent for one call; every request counts against its limits."""
    plugin = app.account(name)
    client = sessions.client(plugin, Gate.of(plugin, lambda: now_of(app)))
    public = app.config.bridge.public_url.rstrip("/")
    try:
        with flying(Flight()):
            yield Context(name, client, str(uuid4()), lambda: now_of(app), PeekTokens(app, name), public_url=public)
    finally:
        await client.aclose()


@asynccontextmanager
async def sessions() -> AsyncIterator[Sessions]:
    """Shared HTTP sessions, closed at the end."""
    made = Sessions()
    try:
        yield made
    finally:
        await made.close()


async def probe(app: App, name: str, shared: Sessions) -> dict[str, Any]:
    """Try an account: ``ok`` is None where it has no self-test."""
    from ..abilities import Probes
    from ..core.masking import mask
    from ..flow.attempt import failed

    plugin = app.account(name)
    if not isinstance(plugin, Probes):
        return {"account": name, "ok": None, "answer": "has no self-test", "hint": ""}
    try:
        async with lent(app, name, shared) as ctx:
            return {"account": name, "ok": True, "answer": mask(await plugin.probe(ctx)), "hint": ""}
    except Exception as error:  # noqa: BLE001 - whatever went wrong is the test's result
        outcome = failed(error, Flight(owner=app.account(name)), repeatable=True)
        return {
            "account": name,
            "ok": False,
            "answer": outcome.cause or type(error).__name__,
            "hint": outcome.hint or "",
        }
