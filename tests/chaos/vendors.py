"""What vendors can do: answer slowly, never, half, wrongly, too often refuse; and be gone for a day."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from statistics import median
from tempfile import mkdtemp
from typing import Any, Final

from herd import load, told
from load import Forked, Senders, Zygote, configuration

from rmabridge.config import read
from rmabridge.store import ops
from rmabridge.store.store import CLOCK, peek
from rmabridge.testing.simulators.proxy import FaultProxy, Link
from stores import let_go

from .counting import COUNTED, Receiver, count, quiet
from .tables import Table

SEED: Final = 20261122
SPOILT: Final = 8.0  # seconds that a fault lasts
DOORS: Final = ("slow", "reset", "lost answer", "429", "500", "wrong content")
WAYS: Final = {"slow drip": ("slow", 0), "reset in the request": ("reset", 30), "half an answer": ("cut", 30)}


class Dicing(FaultProxy):
    """A fault proxy that strikes each connection with a chance."""

    def __init__(self, target: str, chance: float) -> None:
        super().__init__(target)
        self._chance, self._die = chance, Random(SEED)
        self._spared: set[Link] = set()

    def _counts(self, link: Link) -> bool:
        if link in self._spared:
            return False
        if link not in self._struck and self._die.random() >= self._chance:
            self._spared.add(link)
            return False
        return super()._counts(link)


class Shop:
    """A bridge whose mails and refunds go to vendors that can be spoilt; its help desk is well."""

    def __init__(self, child: Forked, desk: Receiver, mail: Receiver, bank: Receiver, proxies: list[Dicing]) -> None:
        self.child, self.desk, self.mail, self.bank, self.proxies = child, desk, mail, bank, proxies
        self.sink = Both(desk, mail)


class Both:
    """Two receivers' books as one."""

    def __init__(self, *receivers: Receiver) -> None:
        self._receivers = receivers

    @property
    def books(self) -> dict[str, Any]:
        """All posts, those of each receiver in order."""
        return {"posts": [post for one in self._receivers for post in one.books["posts"]]}


@asynccontextmanager
async def shop(chance: float, secure: bool = False, over: int = 60, **bridge: Any) -> AsyncIterator[Shop]:
    """One shop, serving."""
    folder = Path(mkdtemp(prefix="vendors"))
    async with (
        Receiver() as desk,
        Receiver() as mail,
        Receiver() as bank,
        Dicing(mail.url, chance) as first,
        Dicing(bank.url, chance) as second,
        Zygote(folder / "serve.log") as zygote,
    ):
        config = configuration(folder, desk.url, second.url, f"sqlite:///{folder / 'bridge.db'}")
        config["bridge"] |= bridge
        config["channels"]["mail"]["url"] = first.url.replace("http:", "https:") if secure else first.url
        for account in (config["channels"]["mail"], config["services"]["bank"]):
            account |= {"tries": 30, "over": over, "breaker": 8, "breaker_pause": 2}
        child = Forked(config, folder, zygote)
        await child.start()
        yield Shop(child, desk, mail, bank, [first, second])
        await child.kill()


async def vendors() -> list[Table]:
    """Each fault at 10 % and at 100 %, and a day without a vendor."""
    table = Table("vendors", ["fault", "of calls", "struck", *COUNTED, "help desk, ms (median / 95 %)"])
    for chance in (0.1, 1.0):
        for name in (*DOORS, *WAYS):
            await _one(table, name, chance)
    await _no_tls(table)
    table.how = "mail (repeatable) and bank (not repeatable) spoilt for 8 s, the help desk well; SQLite"
    return [table]


async def _one(table: Table, name: str, chance: float) -> None:
    async with shop(chance) as one:
        async with load(one.child, at_once=3, pause=0.1) as senders:
            await asyncio.sleep(1)
            _spoil(one, name, chance)
            await asyncio.sleep(SPOILT)
            struck = _mend(one)
        await quiet(one.child)
        found = count(one.child, senders, one.sink, one.bank)  # type: ignore[arg-type]
        lags = _lags(one, senders)
    table.add(name, f"{chance:.0%}", struck, *found.cells(), _ms(lags))


def _spoil(one: Shop, name: str, chance: float) -> None:
    for receiver, proxy in zip((one.mail, one.bank), one.proxies, strict=True):
        if name in WAYS:
            proxy.seconds, proxy.size = 0.02, 20
            fault, proxy.after = WAYS[name]
            proxy.fault = fault
        else:
            receiver.faults.chance = Random(SEED)
            receiver.faults.add(name, times=0, chance=chance)


def _mend(one: Shop) -> int:
    struck = sum(proxy.struck for proxy in one.proxies) + sum(len(each.faults.struck) for each in (one.mail, one.bank))
    for proxy in one.proxies:
        proxy.fault = None
    for receiver in (one.mail, one.bank):
        receiver.faults.clear()
    return struck


async def _no_tls(table: Table) -> None:
    """The mail's address says https, and nobody there speaks TLS; nothing leaves, so nothing is uncertain."""
    async with shop(1.0, secure=True) as one:
        async with load(one.child, at_once=3, pause=0.1) as senders:
            await asyncio.sleep(SPOILT)
        await one.child.until("SELECT count(*) FROM inbox WHERE state = 'new'", [(0,)], 120)
        waiting = one.child.rows("SELECT count(*) FROM outbox WHERE type = 'message.send' AND state = 'due'")[0][0]
        done = told(one.mail, "message.send", "text")
        lags = _lags(one, senders)
        uncertain = one.child.rows("SELECT count(*) FROM outbox WHERE state = 'uncertain'")[0][0]
    number = len(senders.acknowledged)
    table.add(
        f"no TLS at an https address ({waiting} of {number} mails wait)",
        "100%",
        "all",
        number,
        number,
        len(done),
        0,
        0,
        uncertain,
        _ms(lags),
    )


def _lags(one: Shop, senders: Senders) -> list[float]:
    """Seconds from each acknowledgement to the ticket."""
    arrived = one.desk.arrived
    return [arrived[f"R{number}"] - at for number, at in senders.at.items() if f"R{number}" in arrived]


def _ms(lags: list[float]) -> str:
    ordered = sorted(lags)
    return f"{median(ordered) * 1000:.0f} / {ordered[int(len(ordered) * 0.95)] * 1000:.0f}" if ordered else "-"


async def day() -> list[Table]:
    """One vendor refuses every connection for a virtual day, in which others go on; by turns, so that the machine's
    own weather concerns both alike."""
    table = Table("day", ["mail", "webhooks", "help desk, ms (median / 95 %)", "acknowledged in, ms (median / 95 %)"])
    async with shop(1.0, over=259200, virtual_clock=True) as one:
        lags: dict[bool, list[float]] = {True: [], False: []}
        answers: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(8):
            down = turn % 2 == 1
            one.proxies[0].fault = "refuse" if down else None
            async with load(one.child, at_once=2, pause=0.1, first=turn * 10_000) as senders:
                for _ in range(6):
                    await asyncio.sleep(1)
                    if down:
                        _advance(one.child, timedelta(hours=1))
            await one.child.until("SELECT count(*) FROM inbox WHERE state = 'new'", [(0,)], 120)
            lags[down] += _lags(one, senders)
            answers[down] += senders.took
        one.proxies[0].fault = None
        for _ in range(100):
            if one.child.rows("SELECT count(*) FROM outbox WHERE state = 'due'") == [(0,)]:
                break
            _advance(one.child, timedelta(minutes=15))
            await asyncio.sleep(0.3)
        mails = told(one.mail, "message.send", "text")
        left = one.child.rows("SELECT count(*) FROM outbox WHERE type = 'message.send' AND state != 'done'")[0][0]
        for down, word in ((False, "up"), (True, "down")):
            table.add(word, len(lags[down]), _ms(lags[down]), _ms(answers[down]))
    change = median(lags[True]) / median(lags[False]) - 1
    table.how = (
        f"by turns of 6 s, each hour of the virtual day a second; median of the help desk {change:+.0%}; "
        f"afterwards {len(mails)} mails had come, {sum(mails.values()) - len(mails)} twice, {left} were missing"
    )
    return [table]


def _advance(child: Forked, span: timedelta) -> None:
    """What ``rmabridge clock advance`` does."""
    store = peek(read(child.config).bridge)
    try:
        row = store.read(lambda conn: ops.cursor(conn, *CLOCK))
        values = {"cursor": str((store.clock.offset + span).total_seconds())}
        store.write(lambda conn: ops.move_cursor(conn, *CLOCK, row.version if row else 0, values))
    finally:
        let_go(store)
