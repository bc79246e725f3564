"""A running bridge: the store, the loops and the doors, started and drained together."""

from __future__ import annotations

import asyncio
import gc
import hmac
import json
import sys
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from typing import Any, Final, Self

import structlog
from aiohttp import web
from sqlalchemy import Connection, select

from ..abilities import Context
from ..config import Config
from ..core.templates import Catalogue
from ..registry import Registry, build
from ..store import inbox as inbox_store
from ..store import ops
from ..store import outbox as outbox_store
from ..store.store import make as make_store
from ..store.tables import cursors, inbox
from .client import Sessions
from .dispatcher import Dispatcher
from .intake import Intake
from .lookup import Lookup
from .metrics import Metrics
from .pollers import Pollers
from .router import Router
from .tap import tap_of
from .timers import Timers, Watchdog
from .traces import Traces, traces_of

log = structlog.get_logger("bridge")
# What a process may be told to do alone, where several serve one database.
ROLES: Final = ("intake", "router", "dispatcher", "pollers")
ANSWERS: Final = 2.0
DRAIN: Final = 20.0
LEAST: Final = 1.0
LEAVING: Final = 2.0  # a connection that is silent for so long is closed as it is
SHUTDOWN: Final = 5.0  # a body that is still coming in is read no further, and its sender keeps it
# Documents are trees: cycles are rare, and looking for them at every 700 objects cost an eighth of all CPU.
GC: Final = (20_000, 50, 100)
# SQLite gives the interpreter's lock away at every row it writes; at the default of 5 ms the writer would wait that
# long for each row while the loop is busy.
SWITCH: Final = 0.0003
STATE_LIVES: Final = timedelta(minutes=15)


class Running:
    """Everything of one process. ``async with Running(config) as bridge`` serves until the block ends.

    ``traces`` are told of what happens, instead of those that the configuration asks for.
    """

    def __init__(self, config: Config, traces: Traces | None = None, roles: Collection[str] = ROLES) -> None:
        self.config, self.roles = config, frozenset(roles)
        self.registry: Registry = build(config)
        self.metrics = Metrics()
        self.traces = traces or traces_of(config.bridge)
        self.draining = self.leaving = False
        self.port = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        settings = self.config.bridge
        self.store = make_store(settings, roles=self.roles).open()
        self.sessions = Sessions(self.traces)
        self.public_url = settings.public_url.rstrip("/")
        render = Catalogue(settings.templates_dir).render
        self.intake = Intake(
            self.store, self.registry, settings, self.metrics, lambda one: self._lend(one, "learn"), self.traces
        )
        self.router = Router(self.store, self.registry, settings, render, self.metrics, self.traces)
        self.dispatcher = Dispatcher(
            self.store, self.registry, self.sessions, self.metrics, self.public_url, self.traces
        )
        self.lookup = Lookup(self.dispatcher)
        self.timers = Timers(self.store, settings, self.metrics)
        self.pollers = Pollers(self.store, self.registry, self.intake, self.dispatcher)
        self.tap = tap_of(settings, self.store, self.metrics, self.sessions)
        self.intake.tap = self.router.tap = self.dispatcher.tap = self.tap
        self._connect()
        await self.dispatcher.recover()
        await self._listen()
        self._warming = asyncio.create_task(asyncio.to_thread(self._warm))
        self.watchdog = Watchdog()
        gc.freeze()
        gc.set_threshold(*GC)
        gc.enable()
        sys.setswitchinterval(SWITCH)
        for loop in self.loops():
            self._tasks.append(asyncio.create_task(self._kept(loop), name=loop.__qualname__))
        return self

    def _lend(self, account: str, what: str) -> Context:
        return self.dispatcher.context(account, f"{what}:{account}", None)

    def loops(self) -> list[Callable[[], Awaitable[None]]]:
        """What runs until the end."""
        of: dict[str, list[Callable[[], Awaitable[None]]]] = {
            "intake": [],
            "router": [self.router.run, self.timers.run, self.timers.keep_house],
            "dispatcher": [self.dispatcher.run, self.lookup.run],
            "pollers": [self.pollers.run, self.pollers.watch_connections],
        }
        return [
            *(one for role in ROLES if role in self.roles for one in of[role]),
            self.timers.watch,
            self.watchdog.run,
            *([self.tap.run] if self.tap.on else []),
            *([] if "router" in self.roles else [self.router.forgetting.run]),
        ]

    def _warm(self) -> None:
        for one in self.registry.policies:
            one.policy.warm()

    def _connect(self) -> None:
        self.intake.on_written.append(self.router.wake.set)
        self.router.pace.quiet = self.dispatcher.pace.quiet = self.intake.quiet
        self.router.on_written.append(self.timers.wake.set)
        self.router.on_proposed.append(self.dispatcher.wake.set)
        self.dispatcher.on_written.append(self.router.wake.set)
        self.timers.on_written += [one.wake.set for one in (self.router, self.dispatcher, self.lookup, self.pollers)]
        self.pollers.on_written.append(self.router.wake.set)

    async def _listen(self) -> None:
        from ..web.app import make

        self._runner = web.AppRunner(make(self), access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN)
        await self._runner.setup()
        settings = self.config.bridge
        await web.TCPSite(self._runner, settings.host, settings.port, backlog=1024).start()
        self.port = self._runner.addresses[0][1]
        host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104
        self.url = f"http://{host}:{self.port}"
        self.public_url = self.public_url or self.url
        self.router.world.links.base = self.dispatcher.public_url = self.public_url
        log.info("listening", url=self.url, accounts=len(self.registry.accounts), shops=len(self.registry.shops))

    async def _kept(self, loop: Callable[[], Awaitable[None]]) -> None:
        """A loop that fails is told and started again: a full disk or a fault must not stop the others."""
        while True:
            try:
                await loop()
            except Exception:
                log.exception("a loop failed; it goes on in a second", loop=loop.__qualname__)
                await asyncio.sleep(1)
            else:
                return

    async def __aexit__(self, *_: object) -> None:
        if not self.draining:
            await self.drain()

    async def leave(self) -> None:
        """Take no new connections, and let each open one end with its next answer: who keeps connections open, as
        balancers and platforms do, would otherwise send into one that is just being closed."""
        self.leaving = True
        if self._runner is None or self._runner.server is None:
            return
        for site in list(self._runner.sites):
            await site.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING):
                while self._runner.server.connections:  # noqa: ASYNC110 - nothing is told when one ends
                    await asyncio.sleep(0.02)

    async def drain(self) -> None:
        """Take nothing new, finish what is under way, leave the rest in its tables."""
        if self.draining:
            return
        self.draining, began = True, monotonic()
        if self._runner:
            await self._runner.cleanup()
        for task in self._tasks:
            task.cancel()
        ended, _ = await asyncio.wait([*self._tasks, self._warming], timeout=_left(began))
        await asyncio.gather(*ended, return_exceptions=True)
        await self.dispatcher.drain(_left(began))
        for client in self.dispatcher.clients.values():
            await client.aclose()
        await self.tap.close()
        await self.sessions.close()
        await self.store.close(_left(began))
        await asyncio.to_thread(self.traces.close)

    async def problems(self) -> list[str]:
        """Why the bridge should get no webhooks now."""
        found = ["draining"] if self.draining or self.leaving else []
        found += [f"{one.get_name()} has ended" for one in self._tasks if one.done()]
        with suppress(Exception):
            async with asyncio.timeout(ANSWERS):
                await self.store.ask(lambda conn: conn.exec_driver_sql("SELECT 1").scalar())
            return found
        return [*found, "the database does not answer"]

    async def measure(self) -> None:
        """Bring the gauges up to date."""
        waiting, states, counts = await self.store.ask(
            lambda conn: (inbox_store.backlog(conn), _stuck(conn), outbox_store.counts(conn))
        )
        self.metrics.waiting.set(waiting)
        for what in ("parked", "unmatched"):
            self.metrics.stuck.labels(what).set(states.get(what, 0))
        self.metrics.outbox.clear()
        for (account, state), number in counts.items():
            self.metrics.outbox.labels(account or "none", state).set(number)
        for name, gate in self.dispatcher.gates.items():
            self.metrics.breaker.labels(name).set(gate.open_until is not None)
        for asked in self.registry.policies:
            self.metrics.policy_seconds.labels(asked.name).inc(asked.seconds)
            asked.seconds = 0.0

    def take_state(self, account: str, state: str) -> bool:
        """Whether this sign-in was begun by ``accounts connect``, not long ago; it counts once."""
        row = self.store.read(
            lambda conn: conn.execute(
                select(cursors).where(cursors.c.account == account, cursors.c.kind == "oauth")
            ).first()
        )
        if row is None or not row.cursor or not state:
            return False
        begun = json.loads(row.cursor)
        known = hmac.compare_digest(begun["state"], ops.state_mark(state))
        live = bool(known and begun["until"] > self.store.clock.micros())
        if live:
            self.store.write(lambda conn: ops.move_cursor(conn, account, "oauth", row.version, {"cursor": None}))
        return live


def _left(began: float) -> float:
    """What is left of the time to leave in, and a moment where it is over."""
    return max(LEAST, began + DRAIN - monotonic())


def _stuck(conn: Connection) -> dict[str, int]:
    from sqlalchemy import func

    query = select(inbox.c.state, func.count()).where(inbox.c.state.in_(inbox_store.STUCK)).group_by(inbox.c.state)
    return {state: int(number) for state, number in conn.execute(query)}
