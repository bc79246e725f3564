"""Pollers: items and cursor are committed together, and confirmed to the vendor only after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import structlog
from sqlalchemy import Connection

from ..abilities import Connects, Page, Plugin, Polls, Receipt, Reconciles
from ..core.masking import mask
from ..errors import Unauthorised
from ..registry import Registry
from ..store import inbox as inbox_store
from ..store import ops
from ..store.store import Store
from ..store.tables import moment
from .attempt import LONGEST_PAUSE as LONGEST_ASKED
from .attempt import failed
from .client import Flight, flying
from .dispatcher import Dispatcher
from .intake import Intake

log = structlog.get_logger("pollers")
DEADLINE: Final = 60.0
PAGES_AT_ONCE: Final = 20
LEASE: Final = 120_000_000  # of polling one account; longer than a page takes
LONGEST_PAUSE: Final = timedelta(minutes=15)
CHECKED_EVERY: Final = timedelta(days=1)
TOKEN_WARNING: Final = timedelta(days=7)
Kind = Literal["poll", "reconcile"]


class Pollers:
    """One task for each account that polls or can list."""

    def __init__(self, store: Store, registry: Registry, intake: Intake, dispatcher: Dispatcher) -> None:
        self.store, self.registry, self.intake, self.dispatcher = store, registry, intake, dispatcher
        self.on_written: list[Callable[[], None]] = []
        self.wake = asyncio.Event()
        self._turns: dict[tuple[str, Kind], asyncio.Lock] = {}

    async def run(self) -> None:
        """Poll what is due, each account on its own, so that a slow vendor holds up nobody else."""
        under_way: dict[tuple[str, Kind], asyncio.Task[None]] = {}
        try:
            while True:
                self.wake.clear()
                for name, plugin in self.registry.accounts.items():
                    for kind in self._kinds(plugin):
                        before = under_way.get((name, kind))
                        if (before is None or before.done()) and await self._due(name, kind):
                            under_way[name, kind] = asyncio.create_task(self._visit(name, plugin, kind))
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self.wake.wait()
        finally:
            for task in under_way.values():
                task.cancel()
            await asyncio.gather(*under_way.values(), return_exceptions=True)

    def _kinds(self, plugin: Plugin) -> list[Kind]:
        kinds: list[Kind] = ["poll"] if isinstance(plugin, Polls) else []
        if isinstance(plugin, Reconciles) and plugin.reconcile_every is not None:
            kinds.append("reconcile")
        return kinds

    async def _due(self, name: str, kind: Kind) -> bool:
        row, paused = await self.store.ask(lambda conn: (ops.cursor(conn, name, kind), ops.paused(conn)))
        now, due = self.store.clock.micros(), row.due_at if row else 0
        longest = _every(self.registry.accounts[name], kind)
        if row and row.cause is not None:
            longest = max(2 * longest, timedelta(seconds=LONGEST_ASKED))
        if row and due > now + _micros(longest):
            due = now  # it was put off by a clock that was ahead, or by a setting that is shorter now
        by_hand = kind == "reconcile" and row is not None and row.due_at == 0  # before a restored account is resumed
        return due <= now and (by_hand or name not in paused)

    async def _mine(self, name: str, kind: str) -> bool:
        """Whether this process polls the account: one of all that serve the database does, and keeps to it."""
        if not self.store.shared:
            return True
        now, who = self.store.clock.micros(), f"{kind}:owner"
        row = await self.store.ask(lambda conn: ops.cursor(conn, name, who))
        mine = row is not None and row.cursor == self.store.me
        if mine and row.due_at - now > LEASE // 2:
            return True
        if row is not None and not mine and row.cursor and row.due_at > now:
            gone = await self.store.using(lambda: self.store.orphaned([row.cursor]))
            if row.cursor not in gone:
                return False
        values = {"cursor": self.store.me, "due_at": now + LEASE}
        try:
            await self.store.write(lambda conn: ops.move_cursor(conn, name, who, row.version if row else 0, values))
        except inbox_store.Conflict:
            return False
        return True

    async def _visit(self, name: str, plugin: Plugin, kind: Kind) -> None:
        if not await self._mine(name, kind):
            return
        try:
            if kind == "poll" or await self._compares(name, plugin):
                await self.turn(name, kind)
        except Exception as error:  # noqa: BLE001 - told, and tried again later
            try:
                await self._failed(name, kind, error)
            except Exception:
                log.exception("a failed poll could not be noted", account=name, kind=kind)

    async def turn(self, name: str, kind: Kind) -> int:
        """Fetch until there is no more (or enough for now); the number of items."""
        plugin, total = self.registry.accounts[name], 0
        async with self._turns.setdefault((name, kind), asyncio.Lock()):
            for _ in range(PAGES_AT_ONCE):
                row = await self.store.ask(lambda conn: ops.cursor(conn, name, kind))
                page = await self._fetch(name, plugin, kind, row.cursor if row else None)
                await self._store(name, plugin, kind, row, page)
                total += len(page.items)
                if not page.more:
                    break
        return total

    async def _fetch(self, name: str, plugin: Plugin, kind: Kind, cursor: str | None) -> Page:
        ctx, gate = self.dispatcher.context(name, f"{kind}:{name}", None), self.dispatcher.gates[name]
        gate.enter()
        well: bool | None = False
        try:
            async with asyncio.timeout(DEADLINE):
                with flying(Flight()):
                    if kind == "poll" and isinstance(plugin, Polls):
                        page = await plugin.poll(ctx, cursor)
                    elif isinstance(plugin, Reconciles):
                        page = await plugin.listing(ctx, cursor)
                    else:
                        raise TypeError(f"{name} cannot {kind}")
            well = True
        finally:
            gate.leave(well)
        return page

    async def _store(self, name: str, plugin: Plugin, kind: Kind, row: Any, page: Page) -> None:
        now, at = self.store.clock.now(), self.store.clock.micros()
        items = [
            self.intake.row(name, one.body, Receipt(one.id, one.lane, one.meta), now, "poll") for one in page.items
        ]
        for row_ in items:
            row_.pop("_nonce")
        pause = timedelta() if page.more else _every(plugin, kind)
        ended = kind == "reconcile" and not page.more
        values = {"cursor": None if ended else page.cursor, "due_at": at + _micros(pause), "cause": None}

        def commit(conn: Connection) -> None:
            inbox_store.add(conn, items)
            ops.move_cursor(conn, name, kind, row.version if row else 0, values)
            ops.resolve_alert(conn, f"{kind}:{name}", at)

        await self.store.write(commit)
        for one in page.items:
            self.intake.tap.came(name, one.body)
        for tell in self.on_written:
            tell()
        if kind == "poll" and isinstance(plugin, Polls):
            await plugin.confirm(self.dispatcher.context(name, f"confirm:{name}", None), page)

    async def _compares(self, name: str, plugin: Plugin) -> bool:
        """Whether a comparison is due; the first one is a while after the account was set up."""
        async with self._turns.setdefault((name, "reconcile"), asyncio.Lock()):
            if await self.store.ask(lambda conn: ops.cursor(conn, name, "reconcile")):
                return True
            due = self.store.clock.micros() + _micros(_every(plugin, "reconcile"))
            # Whoever asks for a comparison makes the row, too: that must not be put off.
            return not await self.store.write(lambda conn: ops.begin_cursor(conn, name, "reconcile", due))

    async def _failed(self, name: str, kind: Kind, error: Exception) -> None:
        outcome = failed(error, Flight(owner=self.registry.accounts[name]), repeatable=True)
        now, cause = self.store.clock.micros(), mask(outcome.cause or type(error).__name__)
        log.warning("poll failed", account=name, kind=kind, cause=cause)
        row = await self.store.ask(lambda conn: ops.cursor(conn, name, kind))
        pause = timedelta(seconds=outcome.retry_after or 0) or min(
            self.registry.accounts[name].poll_every * 2, LONGEST_PAUSE
        )

        def note(conn: Connection) -> None:
            ops.move_cursor(
                conn, name, kind, row.version if row else 0, {"due_at": now + _micros(pause), "cause": cause}
            )
            ops.alert(conn, f"{kind}:{name}", f"{kind} of {name} failed: {cause}", now, account=name)
            if outcome.kind == "unauthorised" or isinstance(error, Unauthorised):
                ops.set_paused(conn, name, on=True, reason=cause, now=now)

        await self.store.write(note)

    async def watch_connections(self) -> None:
        """Once a day: alert before a stored token dies, and register again the webhooks that a vendor has dropped."""
        while True:
            for name, plugin in self.registry.accounts.items():
                if isinstance(plugin, Connects) and await self._mine(name, "connect"):
                    await self.check_connection(name, plugin)
            await asyncio.sleep(CHECKED_EVERY.total_seconds())

    async def check_connection(self, name: str, plugin: Connects) -> None:
        """One connected account; what was never connected is left alone."""
        row, connected = await self.store.ask(
            lambda conn: (ops.token(conn, name), ops.cursor(conn, name, ops.CONNECTED))
        )
        if row is None and connected is None:
            return
        if row is not None and row.expires is not None:
            await self._check_token(name, moment(row.expires))
        ctx = self.dispatcher.context(name, f"subscribe:{name}", None)
        if not ctx.public_url:
            return
        now, problem = self.store.clock.micros(), None
        try:
            async with asyncio.timeout(DEADLINE):
                with flying(Flight()):
                    await plugin.subscribe(f"{ctx.public_url}/hooks/{name}", ctx)
        except Exception as error:  # noqa: BLE001 - told, and tried again tomorrow
            problem = failed(error, Flight(owner=self.registry.accounts[name]), repeatable=True).cause
        text = f"the webhooks of {name} could not be checked: {problem}; see 'rmabridge accounts connect {name}'"

        def note(conn: Connection) -> None:
            if problem is None:
                ops.resolve_alert(conn, f"webhooks:{name}", now)
            else:
                ops.alert(conn, f"webhooks:{name}", text, now, account=name)

        await self.store.write(note)

    async def _check_token(self, name: str, expires: datetime) -> None:
        left, now = expires - self.store.clock.now(), self.store.clock.micros()
        if left < TOKEN_WARNING:
            when = "is dead" if left < timedelta() else f"dies in {left.days} days"
            text = f"the token of {name} {when}: rmabridge accounts connect {name}"
            await self.store.write(lambda conn: ops.alert(conn, f"token:{name}", text, now, account=name))


def _every(plugin: Plugin, kind: Kind) -> timedelta:
    return plugin.poll_every if kind == "poll" else plugin.reconcile_every or timedelta(hours=6)


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
