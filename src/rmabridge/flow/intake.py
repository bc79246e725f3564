"""The doors' way into the inbox: verify, seal, commit together, then answer."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from ..abilities import Context, Item, Plugin, Receipt, ReceivesWebhooks, Reply, WebRequest, per_second
from ..config import Bridge
from ..errors import KeyNeeded, Overloaded, Refused, TooLarge, TooMany, UnknownAccount, Unverified
from ..registry import Registry
from ..store import inbox as inbox_store
from ..store import ops
from ..store.store import Store
from ..store.tables import micros
from .metrics import Metrics
from .tap import NO_TAP
from .traces import OFF, Traces

if TYPE_CHECKING:

    class Door(Plugin, ReceivesWebhooks):
        """An account that receives webhooks."""


log = structlog.get_logger("intake")
Add = Callable[[Connection, dict[str, Any]], None]
MOST_AT_ONCE: Final = 2_000
RETRY_AFTER: Final = 5
COUNTED_EVERY: Final = 0.5
COUNTING: Final = 100  # times as long as it took passes before the backlog is counted again
LEARNS_PER_SECOND: Final = 2.0  # made-up key names must not make the bridge call the vendor as often as they come
LEARNING: Final = 10.0
FULL: Final = "full"
CROWD: Final = 8  # webhooks in one commit make a burst
BURST: Final = 0.02  # seconds that it lasts at least
LULL: Final = 0.002
TOLD_EVERY: Final = 60.0


class Intake:
    """Accepts webhooks and fetched items; rows that come while a commit is under way share the next one."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        settings: Bridge,
        metrics: Metrics,
        lend: Callable[[str], Context],
        traces: Traces = OFF,
    ) -> None:
        self.store, self.registry, self.settings, self.metrics = store, registry, settings, metrics
        self.lend, self.traces, self.tap = lend, traces, NO_TAP
        self._learning: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._learned: dict[str, _Rate] = {}
        self.on_written: list[Callable[[], None]] = []
        self._rows: list[tuple[dict[str, Any], asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._backlog, self._count_at, self._told, self._living = 0, 0.0, -TOLD_EVERY, 1
        self._counting: asyncio.Task[None] | None = None
        self._crowded = 0.0
        self._doors = {
            name: cast("Door", one) for name, one in registry.accounts.items() if isinstance(one, ReceivesWebhooks)
        }
        self._rates = {
            name: _Rate(per_second(one.intake_rate)) for name, one in registry.accounts.items() if one.intake_rate
        }

    def door(self, account: str) -> Door:
        """The account, if it receives webhooks."""
        if (plugin := self._doors.get(account)) is None:
            raise UnknownAccount(f"no account {account!r} receives webhooks")
        return plugin

    async def webhook(self, account: str, request: WebRequest) -> Reply:
        """One webhook: on disk when this returns; every refusal is a ``Refused``."""
        plugin = self.door(account)
        self.admit()
        if len(request.body) > plugin.max_body:
            raise TooLarge(f"more than {plugin.max_body} bytes")
        now = self.store.clock.now()
        if (answer := plugin.handshake(request, now)) is not None:
            return answer
        try:
            receipt = plugin.verify(request, now)
        except KeyNeeded as needed:
            await self._learn(account, plugin, needed.name)
            receipt = _verified(plugin, request, now)
        rate = self._rates.get(account)  # what is unsigned got no further than here, and does not use it up
        if rate is not None and not rate.take(self._living):
            raise TooMany(f"[{account}] intake_rate is reached", retry_after=1)
        with self.traces.webhook(account, request.headers):  # verified: noise makes no traces
            await self.accept(account, request.body, receipt, now)
        return plugin.reply(request)

    async def _learn(self, account: str, plugin: Door, name: str) -> None:
        """Let the account fetch a public key; who needs the same one waits for the same call."""
        task = self._learning.get((account, name))
        if task is None:
            if not self._learned.setdefault(account, _Rate(LEARNS_PER_SECOND)).take():
                raise Overloaded("too many unknown keys at once", retry_after=RETRY_AFTER)
            task = asyncio.create_task(plugin.learn(name, self.lend(account)))
            self._learning[account, name] = task
            task.add_done_callback(lambda _: self._learning.pop((account, name), None))
        try:
            await asyncio.wait_for(asyncio.shield(task), LEARNING)
        except Refused:
            raise
        except Exception as error:  # whatever it is, the sender keeps the event
            cause = f"the sender's public key could not be fetched: {type(error).__name__}"
            raise Overloaded(cause, retry_after=RETRY_AFTER) from error

    def admit(self) -> None:
        """Refuse what the queue cannot take; what comes from inside is never refused."""
        if len(self._rows) >= MOST_AT_ONCE or self._waiting() >= self.settings.most_waiting:
            self._tell_full()
            raise Overloaded("the queue is full", retry_after=RETRY_AFTER)

    def _tell_full(self) -> None:
        """An alert, as long as anything was refused in the last minutes; nobody waits for it."""
        if monotonic() - self._told > TOLD_EVERY:
            self._told = monotonic()
            text = "the queue is full: webhooks are refused with 503, and their senders come again"
            now = self.store.clock.micros()
            self.store.write(lambda conn: ops.alert(conn, FULL, text, now)).add_done_callback(_seen)

    def _waiting(self) -> int:
        began = monotonic()
        if began > self._count_at:
            self._count_at = began + COUNTED_EVERY
            if self.store.shared:  # a database that is slow to answer must not hold up the doors
                self._counting = asyncio.create_task(self._count())
            else:  # each row is looked at: a backlog of a million must not keep the doors busy
                self._backlog = self.store.read(inbox_store.backlog)
                self._count_at += COUNTING * (monotonic() - began)
        return self._backlog

    async def _count(self) -> None:
        with suppress(OperationalError):
            self._backlog, self._living = await self.store.ask(
                lambda conn: (inbox_store.backlog(conn), self.store.living(conn, "intake"))
            )

    async def accept(self, account: str, body: bytes, receipt: Receipt, now: datetime, kind: str = "hook") -> None:
        """Put one body into the inbox; it is on disk when this returns."""
        row = self.row(account, body, receipt, now, kind)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rows.append((row, future))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await future
        self.tap.came(account, body)

    def row(self, account: str, body: bytes, receipt: Receipt | Item, now: datetime, kind: str) -> dict[str, Any]:
        """The inbox row of a body."""
        at = micros(now)
        key_id = self.store.day_key(at)
        digest = inbox_store.digest(body)
        nonce = receipt.nonce if isinstance(receipt, Receipt) else None
        name = receipt.id or nonce
        dedupe = inbox_store.digest(f"id:{name}".encode(errors="surrogatepass")) if name else digest
        return {
            "account": account,
            "dedupe": dedupe,
            "digest": digest,
            "lane": inbox_store.lane_of(account, receipt.lane),
            "kind": kind,
            "received_at": at,
            "due_at": 0,
            "depth": 0,
            "key_id": key_id,
            "body": self.store.vault.seal(key_id, inbox_store.pack(receipt.meta, body, self.traces.here())),
            "case_id": None,
            "_nonce": nonce is not None,
        }

    async def quiet(self, until: float) -> None:
        """In a burst wait until no webhook is on its way to the disk and no more come; but no longer than ``until``, of
        the clock that ``monotonic`` reads. Single ones find their turns between the slices of the others' work.
        """
        self._count_heads(len(self._rows))
        while (left := until - (now := monotonic())) > 0:
            if now - self._crowded > (LULL if self._flushing is None else BURST):
                return
            if self._flushing is None:
                await asyncio.sleep(LULL)
            else:
                await asyncio.wait([self._flushing], timeout=left)

    def _count_heads(self, waiting: int) -> None:
        if waiting >= CROWD:
            self._crowded = monotonic()

    async def _flush(self) -> None:
        await asyncio.sleep(0)  # what else arrived in this turn of the loop comes along
        try:
            while self._rows:
                taken, self._rows = self._rows, []
                self._count_heads(len(taken))
                await self._commit(taken)
                self._count_heads(len(taken))
                for tell in self.on_written:
                    tell()
        finally:
            self._flushing = None

    async def _commit(self, taken: list[tuple[dict[str, Any], asyncio.Future[None]]]) -> None:
        careful = [(row, future) for row, future in taken if row.pop("_nonce")]
        single = {id(row) for row, _ in careful}
        plain = [(row, future) for row, future in taken if id(row) not in single]
        self._backlog += len(taken)
        try:
            await self.store.write(lambda conn: inbox_store.add(conn, [row for row, _ in plain]), first=True)
        except Exception as error:  # noqa: BLE001 - nothing is on disk: every sender keeps its event
            if isinstance(error, OperationalError) or len(plain) == 1:
                for _, future in taken:
                    _refuse(future, error)
                return
            for row, future in plain:  # one of them, that another process is just writing, must not hold up the others
                await self._one(_add, row, future)
        for row, future in careful:
            await self._one(inbox_store.add_once, row, future)
        stored = Tally(row["account"] for row, future in taken if not _refused(future))
        for account, number in stored.items():
            self.metrics.accepted.labels(account).inc(number)
        for _, future in taken:
            if not future.done():
                future.set_result(None)

    async def _one(self, add: Add, row: dict[str, Any], future: asyncio.Future[None]) -> None:
        try:
            await self.store.write(lambda conn: add(conn, row), first=True)
        except Exception as error:  # noqa: BLE001 - handed to the door that waits
            _refuse(future, error)


def _add(conn: Connection, row: dict[str, Any]) -> None:
    inbox_store.add(conn, [row])


def _seen(future: asyncio.Future[None]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("an alert could not be recorded", cause=type(error).__name__)


def _refused(future: asyncio.Future[None]) -> bool:
    """Whether the sender was told that nothing is stored; one that went away before it was told does not count."""
    return future.done() and not future.cancelled() and future.exception() is not None


def _refuse(future: asyncio.Future[None], error: Exception) -> None:
    if future.done():
        return
    if not isinstance(error, Refused):
        cause = "the database cannot be written" if isinstance(error, OperationalError) else "not stored"
        error = Overloaded(cause, retry_after=RETRY_AFTER)
    future.set_exception(error)


def _verified(plugin: Door, request: WebRequest, now: datetime) -> Receipt:
    try:
        return plugin.verify(request, now)
    except KeyNeeded as needed:
        raise Unverified(f"the key {needed.name!r} is not known") from needed


class _Rate:
    """A small bucket: one second's worth of webhooks at most."""

    def __init__(self, per_second_: float) -> None:
        self._rate, self._left, self._at = per_second_, max(1.0, per_second_), monotonic()

    def take(self, among: int = 1) -> bool:
        """Whether one more is within the rate, of which so many processes have an equal share."""
        here, rate = monotonic(), self._rate / among
        self._left = min(max(1.0, rate), self._left + (here - self._at) * rate)
        self._at = here
        if self._left < 1:
            return False
        self._left -= 1
        return True
