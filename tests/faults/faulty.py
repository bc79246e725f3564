"""The harness of the fault tests: one plugin, its simulator, the real bridge between them, and one fault at a time.

A vendor gets one file ``test_faults_<vendor>.py`` of about forty lines that fills in two tables and runs them::

    def configure(config, sim):                    # the account and its shop, on top of worlds.document()
        config["carriers"] = {"acme": account(sim, webhook_key="k")}
        config["shops"]["one"]["carrier"] = "acme"

    async def asked(stage):                        # an operator orders the action in the only case
        await stage.act(type="parcel.track", waybill="W1")

    TRACK = Does(AcmeSim, configure, asked, key="parcel:track:W1", settled="again",
                 happened=lambda sim: len(sim.books["subscriptions"]))

    @pytest.mark.parametrize("fault", DOORS)
    async def test_a_subscription_is_made_once_whatever_goes_wrong(fault, tmp_path, sink):
        await survives(TRACK, fault, tmp_path, sink)

    PUSH = Tells(AcmeSim, configure, first, second, shown=lambda case: case.parcels[0].status, after=("…", "…"))

    @pytest.mark.parametrize("fault", HOOKS)
    async def test_a_push_counts_once_and_undoes_nothing_newer(fault, tmp_path, sink):
        await hears(PUSH, fault, tmp_path, sink)

``Does`` is an action of the bridge: ``survives`` switches the fault on at the simulator's doors, lets the action run
to its end with the virtual clock, and checks that the simulator's books hold the effect exactly once, that the
delivery was uncertain where it had to be, and that it was settled as ``settled`` says: ``again`` (repeating does no
harm), ``find`` (the vendor was asked) or ``person`` (nobody can ask; a person looks into the books and says).

``Tells`` is what the vendor tells by webhook: two changes, a minute apart. ``hears`` spoils the first and checks that
the case shows the second in the end, that nothing counted twice, and that nothing is parked. ``dated`` vendors sign
the time: of them a stale webhook is refused with 401. ``undated`` ones tell no time at all: what comes last is newest.

Nothing sleeps: time passes by ``Stage.later`` on both sides at once.
"""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from rmabridge.cli.simulate import account_of
from rmabridge.model import Case, Commanded
from rmabridge.store import inbox as inbox_store
from rmabridge.store.tables import moment
from rmabridge.testing.simulators.server import Simulator
from rmabridge.testing.simulators.sink import Sink
from stores import POSTGRES
from worlds import World, a_return, document, running

# After these nobody can know whether it happened.
DOUBTFUL = frozenset({"reset", "lost answer", "500", "wrong content"})
NEVER = 1 << 60
KEY = b64encode(bytes(32)).decode()
EMPTY: list[bytes] = []
SLOW = 0.03
ROUNDS = 12

Configure = Callable[[dict[str, Any], Any], None]
Step = Callable[["Stage"], Awaitable[Any]]


def account(sim: Simulator, **more: Any) -> dict[str, Any]:
    """Settings of an account at the simulator."""
    return {**account_of(sim)[1], **more}


async def a_buyer_asks(stage: Stage) -> None:
    """The generic shop's buyer asks for a return: the case that most stories play in."""
    assert (await stage.world.post(a_return()))[0] == 200
    await stage.settle()


@dataclass
class Does:
    """One action: how it comes about (``opens`` a case, ``asks``), its ``key``, and how often it ``happened``.

    The key may hold a ``%`` for what nobody knows before.

    ``says`` are words by which the simulator knows the requests that the fault is to strike: a path, a method's name.
    ``money`` of which the vendor has no trace is sent again by a person only.
    ``shown`` is what the case must show at the end. ``definite`` are faults that this vendor's plugin can read as a
    plain refusal, so that nothing is in doubt after them.
    """

    make: Callable[[], Simulator]
    configure: Configure
    asks: Step
    key: str
    happened: Callable[[Any], int]
    settled: Literal["again", "find", "person"]
    says: str = ""
    opens: Step = a_buyer_asks
    shown: Callable[[Case], bool] = lambda _: True
    money: bool = False
    definite: frozenset[str] = field(default_factory=frozenset)
    policies: tuple[str, ...] = ()


@dataclass
class Tells:
    """Two changes that the vendor tells by webhook, and what the case shows after the first and after the second.

    ``entries`` is the type of the timeline's entries that they make, one each.
    """

    make: Callable[[], Simulator]
    configure: Configure
    first: Step
    second: Step
    shown: Callable[[Case], Any]
    after: tuple[Any, Any]
    entries: str
    dated: bool = False
    undated: bool = False
    opens: Step = a_buyer_asks
    policies: tuple[str, ...] = ()


class Stage:
    """The running bridge and the simulator, with time that passes for both."""

    def __init__(self, world: World, sim: Any) -> None:
        self.world, self.sim = world, sim
        self.person = False

    @property
    def case(self) -> Case:
        """The only case."""
        store = self.world.bridge.store
        ((key, doc),) = self.world.rows("SELECT key_id, doc FROM cases")
        store.keys_for({key})
        return Case.model_validate_json(store.vault.open(key, doc))

    async def act(self, **action: Any) -> None:
        """Order an action as an operator does."""
        await self.command("act", case=self.case.id, action=action)

    async def command(self, name: str, *, case: str | None = None, **args: Any) -> None:
        """Give a command as the command line does."""
        router, store = self.world.bridge.router, self.world.bridge.store
        self.world.number += 1
        key = f"cmd:{name}:{self.world.number}"
        given = Commanded(key=key, at=store.clock.now(), command=name, by="tester", args=args)
        row = router.event_row([given], "bridge", key, case_id=case, kind="command")
        await store.write(lambda conn: inbox_store.add(conn, [row]))
        router.wake.set()

    async def later(self, **span: float) -> None:
        """Time passes here and there."""
        bridge = self.world.bridge
        bridge.store.clock.offset += timedelta(**span)
        self.sim.offset += timedelta(**span)
        for loop in (bridge.timers, bridge.router, bridge.dispatcher, bridge.pollers, bridge.lookup):
            loop.wake.set()

    async def settle(self) -> None:
        """Wait until neither side has anything left to tell the other."""
        told, rest = -1, getattr(self.sim, "settle", None) or getattr(self.sim, "settled", None)
        while told != len(self.sim.books["webhooks"]):
            told = len(self.sim.books["webhooks"])
            await self.world.settle()
            if rest is not None:
                await rest()
                await self.world.settle()

    def row(self, key: str) -> dict[str, Any]:
        """The ledger's row of an action."""
        names = ("id", "state", "attempt", "due_at", "cause", "hint")
        found = self.world.rows(f"SELECT {', '.join(names)} FROM outbox WHERE key LIKE '{key}'")
        return dict(zip(names, found[0], strict=True)) if found else {}

    def outcomes(self, key: str) -> list[str]:
        """How its attempts ended."""
        query = "SELECT a.outcome FROM attempts a JOIN outbox o ON o.id = a.outbox_id"
        return [one for (one,) in self.world.rows(f"{query} WHERE o.key LIKE '{key}' ORDER BY a.attempt, a.at")]

    def parked(self) -> list[tuple[Any, ...]]:
        """What could not be routed."""
        return self.world.rows("SELECT kind, state, stage, note FROM inbox WHERE state NOT IN ('done', 'new')")

    def entries(self, kind: str) -> int:
        """How many entries of a type the timeline has."""
        return int(self.world.rows(f"SELECT count(*) FROM timeline WHERE type = '{kind}'")[0][0])

    async def finish(self, key: str, happened: Callable[[Any], int], *, by_hand: bool = False) -> str:
        """Let time pass until the action has ended; where nobody can look it up, a person does, and says so."""
        await self.world.until(lambda: self.row(key))
        for _ in range(ROUNDS):
            await self.world.until(lambda: self.row(key)["state"] != "sending")
            await self.settle()
            row = self.row(key)
            if row["state"] not in {"due", "uncertain"}:
                break
            if row["state"] == "uncertain" and (by_hand or row["due_at"] > NEVER):
                self.person = True
                await self.command("resolve", delivery=row["id"], happened=happened(self.sim) > 0)
            else:
                wait = moment(row["due_at"]) - self.world.bridge.store.clock.now()
                await self.later(seconds=max(0.0, wait.total_seconds()) + 1)
            await self.world.until(lambda before=row: self.row(key) != before)
        await self.settle()
        return str(self.row(key)["state"])


async def _empty(tmp_path: Path, sink: Sink) -> bytes:
    """The SQLite file of a bridge that has done nothing: to make one takes as long as a whole story."""
    if not EMPTY:
        folder = tmp_path / "empty"
        folder.mkdir()
        async with running(document(folder, sink.url, policies=[], keys=[KEY]), sink):
            pass
        with closing(sqlite3.connect(folder / "bridge.db")) as conn:
            EMPTY.append(conn.serialize())
    return EMPTY[0]


@asynccontextmanager
async def staged(tale: Does | Tells, tmp_path: Path, sink: Sink) -> AsyncIterator[Stage]:
    """A bridge, the simulator that the tale plays with, and its first scene over."""
    async with tale.make() as sim:
        if hasattr(sim, "tries"):
            sim.tries = 1  # a vendor waits before it sends a refused webhook again
        config = document(tmp_path, sink.url, policies=list(tale.policies), keys=[KEY])
        tale.configure(config, sim)
        if not POSTGRES:  # there a database is a copy already
            (tmp_path / "bridge.db").write_bytes(await _empty(tmp_path, sink))
        async with running(config, sink) as world:
            stage = Stage(world, sim)
            if sim.hook:
                sim.hook = sim.hook.format(bridge=world.bridge.url)
            await tale.opens(stage)
            await stage.settle()
            yield stage
            await stage.settle()


async def survives(does: Does, fault: str, tmp_path: Path, sink: Sink) -> Stage:
    """The action under a fault of the simulator's doors: the effect once, and an honest record of it."""
    async with staged(does, tmp_path, sink) as stage:
        before = does.happened(stage.sim)
        stage.sim.faults.add(fault, says=does.says, seconds=SLOW if fault == "slow" else 0)
        await does.asks(stage)
        by_hand = does.settled == "person"
        state = await stage.finish(does.key, lambda sim: does.happened(sim) - before, by_hand=by_hand)
        told = stage.row(does.key), stage.outcomes(does.key), stage.sim.faults.shown()
        assert [one["fault"] for one in stage.sim.faults.struck] == [fault], told
        assert (state, does.happened(stage.sim) - before) == ("done", 1), told
        doubt = fault in DOUBTFUL - does.definite and does.settled != "again"
        assert ("uncertain" in told[1]) is doubt, told
        absent = does.money and fault != "lost answer"
        assert stage.person is (doubt and (does.settled == "person" or absent)), told
        assert stage.entries("action.settled") >= 1 + doubt
        assert stage.parked() == []
        assert does.shown(stage.case), stage.case
    return stage


async def hears(tells: Tells, fault: str, tmp_path: Path, sink: Sink) -> Stage:
    """Two webhooks, the first under a fault: the case ends with the second, and nothing counts twice."""
    async with staged(tells, tmp_path, sink) as stage:
        before, entries = tells.shown(stage.case), stage.entries(tells.entries)
        posted = len(stage.sim.books["webhooks"])
        stage.sim.faults.add(fault)
        await tells.first(stage)
        await stage.settle()
        statuses = [one["status"] for one in stage.sim.books["webhooks"][posted:]]
        refused = fault == "stale" and tells.dated
        arrived = fault == "duplicate" or (fault == "stale" and not refused)
        if fault == "garbled":  # refused at the door, by its signature or because nobody can read it
            assert set(statuses) <= {400, 401, 415}, statuses
        else:
            assert statuses[0] == (200 if arrived else 401 if refused else 0), statuses
        if fault == "duplicate":
            assert statuses[:2] == [200, 200], statuses
            assert tells.shown(stage.case) == tells.after[0]
        elif not arrived:
            assert tells.shown(stage.case) == before
        await stage.later(minutes=1)
        await tells.second(stage)
        await stage.settle()
        assert [one["fault"] for one in stage.sim.faults.struck] == [fault]
        assert tells.shown(stage.case) == tells.after[not (tells.undated and fault == "out of order")]
        count = stage.entries(tells.entries) - entries
        assert count == (2 if arrived or fault == "out of order" else 1), count
        assert stage.parked() == []
    return stage
