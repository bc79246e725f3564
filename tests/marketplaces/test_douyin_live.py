"""Douyin through a running bridge: a pushed request to its case and its payment, goods back, and lost pushes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rmabridge.model import Case, CaseKind, Commanded, Issue, RefundStatus, Status
from rmabridge.store import inbox as inbox_store
from rmabridge.testing.simulators.douyin import DouyinSim
from rmabridge.testing.simulators.sink import Sink
from worlds import World, document, running

pytestmark = pytest.mark.evidence("douyin", "end_to_end")


@pytest.fixture
async def sim() -> AsyncIterator[DouyinSim]:
    async with DouyinSim() as one:
        yield one


def shop(tmp_path: Path, sink: Sink, sim: DouyinSim, **account: Any) -> dict[str, Any]:
    """One shop with a help desk."""
    found = document(tmp_path, sink.url)
    found["marketplaces"] = {"dou": {"plugin": "douyin", **sim.account_settings(), **account}}
    found["shops"]["one"] |= {"marketplace": "dou", "title": "示例小店", "locale": "zh-CN", "channels": []}
    return found


def cases(world: World) -> list[Case]:
    """All cases, the oldest first."""
    store = world.bridge.store
    rows = world.rows("SELECT key_id, doc FROM cases ORDER BY created_at, opened_at")
    store.keys_for({key for key, _ in rows})
    return [Case.model_validate_json(store.vault.open(key, doc)) for key, doc in rows]


async def approve(world: World, key: str) -> None:
    """Approve the held action of this key, as a supervisor does."""
    query = "SELECT a.id FROM approvals a JOIN outbox o ON o.id = a.outbox_id WHERE a.state = 'waiting' AND o.key = "
    ((number,),) = await world.until(lambda: world.rows(f"{query}'{key}'"))
    router, store = world.bridge.router, world.bridge.store
    name = f"cmd:approve:{number}"
    given = Commanded(key=name, at=store.clock.now(), command="approve", by="tester", args={"approval": number})
    row = router.event_row([given], "bridge", name, case_id=None, kind="command")
    await store.write(lambda conn: inbox_store.add(conn, [row]))
    router.wake.set()
    await world.settle()


async def later(world: World, sim: DouyinSim) -> None:
    """Two minutes pass here and there."""
    world.bridge.store.clock.offset += timedelta(minutes=2)
    sim.offset += timedelta(minutes=2)
    for loop in (world.bridge.dispatcher, world.bridge.lookup):
        loop.wake.set()


async def compare(world: World) -> None:
    """Compare with the platform now (after the bridge has set its own time for that)."""
    await world.until(lambda: world.rows("SELECT 1 FROM cursors WHERE account = 'dou' AND kind = 'reconcile'"))
    await world.bridge.pollers.turn("dou", "reconcile")


def decided(sim: DouyinSim) -> list[int]:
    """The decisions that reached Douyin."""
    return [one["type"] for one in sim.books["calls"] if one["path"] == "afterSale/operate"]


async def test_a_pushed_request_becomes_a_case_is_read_in_full_and_paid_once(
    tmp_path: Path, sink: Sink, sim: DouyinSim
) -> None:
    async with running(shop(tmp_path, sink, sim), sink) as world:
        sim.hook = f"{world.bridge.url}/hooks/dou"
        order = sim.do_place_order()["order"]
        made = await sim.do_open(order, pictures=["https://img.example.com/broken.jpg"])
        id_ = str(made["request"])
        assert made["status"] == 200
        await world.until(lambda: cases(world) and cases(world)[0].order)
        await world.settle()
        (case,) = cases(world)
        assert (case.kind, case.request.id, str(case.request.amount)) == (CaseKind.REFUND, id_, "19.90 CNY")
        assert (case.issue, case.request.note) == (Issue.DAMAGED_IN_TRANSIT, "杯子收到就碎了"), "the push had neither"
        assert case.request.due_at and case.evidence[0].url == "https://img.example.com/broken.jpg"
        assert (case.order.number, case.parcels[0].waybill) == (order, "YT1234567890123")

        await approve(world, f"return:decide:{id_}")
        assert sim.books["paid"] == {}, "an approval moves no money"
        await approve(world, f"refund:{id_}:all")
        assert sim.books["paid"] == {id_: 1990}
        assert cases(world)[0].refunds[0].status is RefundStatus.PENDING
        assert await sim.do_arrive(id_) == 200
        await world.until(lambda: cases(world)[0].refunds[0].status is RefundStatus.DONE)
        await world.settle()
        (case,) = cases(world)
        assert [str(one.amount) for one in case.refunds] == ["19.90 CNY"]
        assert case.status in {Status.REFUNDED, Status.CLOSED}
        assert sim.books["paid"] == {id_: 1990} and decided(sim) == [201]
        assert sim.books["tokens"] == ["authorization_self"], "one token for all of it"


async def test_goods_come_back_before_the_money_goes(tmp_path: Path, sink: Sink, sim: DouyinSim) -> None:
    async with running(shop(tmp_path, sink, sim), sink) as world:
        sim.hook = f"{world.bridge.url}/hooks/dou"
        sim.offset = timedelta(minutes=-1)  # each change takes a second of Douyin's clock
        order = sim.do_place_order(received=True)["order"]
        id_ = str((await sim.do_open(order, "return", reason="七天无理由退货"))["request"])
        await world.until(lambda: decided(sim))
        await world.settle()
        assert decided(sim) == [101], "inside the window: approved without a person"
        await world.until(lambda: cases(world)[0].status is Status.APPROVED)
        await sim.do_send_back(id_)
        await world.settle()
        assert sim.books["paid"] == {}
        await compare(world)
        await world.until(lambda: [one for one in cases(world)[0].parcels if one.direction == "back"])
        (case,) = cases(world)
        assert [one.waybill for one in case.parcels if one.direction == "back"] == ["SF1234567890123"]


@pytest.mark.row("P02")
async def test_a_comparison_finds_the_request_that_no_push_told_and_the_push_adds_no_second(
    tmp_path: Path, sink: Sink, sim: DouyinSim
) -> None:
    sim.do_drop_next()
    id_ = str((await sim.do_open(sim.do_place_order()["order"]))["request"])
    async with running(shop(tmp_path, sink, sim), sink) as world:
        sim.hook = f"{world.bridge.url}/hooks/dou"
        assert cases(world) == []
        await compare(world)
        await world.until(lambda: cases(world) and cases(world)[0].order)
        await world.settle()
        told = "SELECT count(*) FROM timeline WHERE type IN ('case.requested', 'request.changed')"
        before = world.rows(told)
        assert await sim._tell("200", sim.books["requests"][id_]) == 200
        assert await sim._tell("200", sim.books["requests"][id_]) == 200
        await compare(world)
        await world.settle()
        assert [one.request.id for one in cases(world)] == [id_]
        assert world.rows(told) == before, "the push tells nothing new"


async def test_a_forged_push_stays_out_and_the_consoles_test_is_answered(
    tmp_path: Path, sink: Sink, sim: DouyinSim
) -> None:
    async with running(shop(tmp_path, sink, sim), sink) as world:
        sim.hook = f"{world.bridge.url}/hooks/dou"
        assert await sim.do_tell("0", {}) == 200
        sim.secret = "of somebody else"
        assert (await sim.do_open(sim.do_place_order()["order"]))["status"] == 401
        await world.settle()
        assert cases(world) == []


@pytest.mark.parametrize("fault", ["lost answer", "429"])
async def test_a_payment_that_goes_wrong_on_the_way_is_made_once(
    tmp_path: Path, sink: Sink, sim: DouyinSim, fault: str
) -> None:
    async with running(shop(tmp_path, sink, sim), sink) as world:
        sim.hook = f"{world.bridge.url}/hooks/dou"
        id_ = str((await sim.do_open(sim.do_place_order()["order"]))["request"])
        await approve(world, f"return:decide:{id_}")
        sim.faults.add(fault, path="afterSale/operate", seconds=1 if fault == "429" else 0)
        await approve(world, f"refund:{id_}:all")
        state = f"SELECT state FROM outbox WHERE key = 'refund:{id_}:all'"
        await world.until(lambda: world.rows(state)[0][0] in {"uncertain", "due", "done"})
        await later(world, sim)
        await world.until(lambda: world.rows(state) == [("done",)])
        await world.settle()
        assert [one["fault"] for one in sim.faults.struck] == [fault]
        assert sim.books["paid"] == {id_: 1990} and decided(sim) == [201]
        assert [str(one.amount) for one in cases(world)[0].refunds] == ["19.90 CNY"]


async def test_pushes_twice_and_out_of_order_leave_the_newest_state(tmp_path: Path, sink: Sink, sim: DouyinSim) -> None:
    async with running(shop(tmp_path, sink, sim), sink) as world:
        sim.hook = f"{world.bridge.url}/hooks/dou"
        sim.offset = timedelta(minutes=-1)
        id_ = str((await sim.do_open(sim.do_place_order()["order"], "exchange"))["request"])
        await world.until(lambda: cases(world) and cases(world)[0].order)
        sim.faults.add("duplicate")
        await sim.do_arbitrate(id_)
        sim.faults.add("out of order")
        await sim.do_modify(id_)
        await sim.do_withdraw(id_)
        await world.until(lambda: cases(world)[0].status is Status.CANCELLED)
        await world.settle()
        assert cases(world)[0].status is Status.CANCELLED
        assert [one["fault"] for one in sim.faults.struck] == ["duplicate", "out of order"]
        assert world.rows("SELECT count(*) FROM timeline WHERE type = 'noted'") == [(1,)]
