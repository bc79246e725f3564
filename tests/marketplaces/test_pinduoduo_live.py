"""Pinduoduo through a running bridge: a listed refund to its case and its payment, goods back, and a standstill."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rmabridge.model import Case, CaseKind, Commanded, Issue, RefKind, RefundStatus, Status
from rmabridge.store import inbox as inbox_store
from rmabridge.testing.simulators.pinduoduo import PinduoduoSim
from rmabridge.testing.simulators.sink import Sink
from worlds import World, document, running

pytestmark = pytest.mark.evidence("pinduoduo", "end_to_end")


@pytest.fixture
async def sim() -> AsyncIterator[PinduoduoSim]:
    async with PinduoduoSim() as one:
        yield one


def shop(tmp_path: Path, sink: Sink, sim: PinduoduoSim, **account: Any) -> dict[str, Any]:
    """One shop with a help desk."""
    found = document(tmp_path, sink.url)
    found["marketplaces"] = {
        "pdd": {"plugin": "pinduoduo", "rate": "900/s", "poll_every": "PT0.5S", **sim.account_settings(), **account}
    }
    found["shops"]["one"] |= {"marketplace": "pdd", "title": "示例旗舰店", "locale": "zh-CN", "channels": []}
    return found


def cases(world: World) -> list[Case]:
    """All cases, the oldest first."""
    store = world.bridge.store
    rows = world.rows("SELECT key_id, doc FROM cases ORDER BY created_at, opened_at")
    store.keys_for({key for key, _ in rows})
    return [Case.model_validate_json(store.vault.open(key, doc)) for key, doc in rows]


async def poll(world: World, sim: PinduoduoSim) -> None:
    """Wait until the bridge has listed everything anew, and what came in is settled."""
    listed = "pdd.refund.list.increment.get"
    before = sum(one["type"] == listed for one in sim.books["calls"])
    every = 2 * len(world.bridge.registry.accounts["pdd"].statuses)
    await world.until(lambda: sum(one["type"] == listed for one in sim.books["calls"]) > before + every)
    await world.settle()


async def later(world: World, sim: PinduoduoSim) -> None:
    """Two minutes pass here and there."""
    world.bridge.store.clock.offset += timedelta(minutes=2)
    sim.offset += timedelta(minutes=2)
    for loop in (world.bridge.dispatcher, world.bridge.lookup):
        loop.wake.set()


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


def agreed(sim: PinduoduoSim) -> list[str]:
    """The decisions that reached Pinduoduo."""
    return [one["type"] for one in sim.books["calls"] if one["type"].endswith(".agree")]


async def test_a_listed_refund_becomes_a_case_with_its_order_and_is_paid_once(
    tmp_path: Path, sink: Sink, sim: PinduoduoSim
) -> None:
    sn = sim.do_place_order()["order"]
    made = sim.do_open_refund(sn, minutes_ago=2, pictures=["https://img.example.com/broken.jpg"])
    id_, request = str(made["refund"]), str(made["request"])
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await world.until(lambda: cases(world) and cases(world)[0].order)
        await world.settle()
        (case,) = cases(world)
        assert (case.kind, case.issue, case.request.id) == (CaseKind.REFUND, Issue.DAMAGED_IN_TRANSIT, request)
        assert case.request.due_at and str(case.request.amount) == "19.90 CNY"
        assert (case.order.number, case.parcels[0].waybill) == (sn, "YT1234567890123")
        assert case.ref(RefKind.ORDER) == sn and case.evidence[0].url == "https://img.example.com/broken.jpg"

        await approve(world, f"return:decide:{request}")
        assert sim.books["paid"] == {}, "an approval moves no money"
        await approve(world, f"refund:{request}:all")
        assert sim.books["paid"] == {id_: "19.90"}
        assert cases(world)[0].refunds[0].status is RefundStatus.PENDING
        sim.do_arrive(id_)
        await poll(world, sim)
        (case,) = cases(world)
        assert [(one.status, str(one.amount)) for one in case.refunds] == [(RefundStatus.DONE, "19.90 CNY")]
        assert case.status in {Status.REFUNDED, Status.CLOSED}
        assert sim.books["paid"] == {id_: "19.90"} and agreed(sim) == ["pdd.refund.agree"]


async def test_goods_come_back_before_the_money_goes(tmp_path: Path, sink: Sink, sim: PinduoduoSim) -> None:
    made = sim.do_open_refund(
        sim.do_place_order(received=True)["order"], "return", reason="七天无理由退货", minutes_ago=2
    )
    id_, request = str(made["refund"]), str(made["request"])
    async with running(shop(tmp_path, sink, sim, statuses=[1]), sink) as world:
        await world.until(lambda: agreed(sim))
        await world.settle()
        assert agreed(sim) == ["pdd.refund.returngoods.agree"], "inside the window: approved without a person"
        assert cases(world)[0].status is Status.APPROVED
        sim.do_send_back(id_)
        await poll(world, sim)
        (case,) = cases(world)
        assert [one.waybill for one in case.parcels if one.direction == "back"] == ["SF1234567890123"]
        assert sim.books["paid"] == {} and case.request.id == request
        assert case.status is Status.APPROVED and case.request.due_at, "waits for the seller again, and was agreed to"


async def test_what_happened_during_a_standstill_is_heard_and_counts_once(
    tmp_path: Path, sink: Sink, sim: PinduoduoSim
) -> None:
    async with running(shop(tmp_path, sink, sim, statuses=[1]), sink) as world:
        await poll(world, sim)
    sim.do_open_refund(sim.do_place_order()["order"])
    async with running(shop(tmp_path, sink, sim, statuses=[1]), sink) as world:
        await poll(world, sim)
        (case,) = cases(world)
        types = [one for (one,) in world.rows(f"SELECT type FROM timeline WHERE case_id = '{case.id}'")]
        assert types.count("case.requested") == 1
        assert world.rows("SELECT count(*) FROM inbox WHERE kind = 'poll'") == [(1,)]


@pytest.mark.parametrize("fault", ["lost answer", "429"])
async def test_a_payment_that_goes_wrong_on_the_way_is_made_once(
    tmp_path: Path, sink: Sink, sim: PinduoduoSim, fault: str
) -> None:
    made = sim.do_open_refund(sim.do_place_order()["order"], minutes_ago=2)
    id_, request = str(made["refund"]), str(made["request"])
    async with running(shop(tmp_path, sink, sim, statuses=[1]), sink) as world:
        await approve(world, f"return:decide:{request}")
        sim.faults.add(fault, says="pdd.refund.agree", seconds=1 if fault == "429" else 0)
        await approve(world, f"refund:{request}:all")
        state = f"SELECT state FROM outbox WHERE key = 'refund:{request}:all'"
        await world.until(lambda: world.rows(state)[0][0] in {"uncertain", "due", "done"})
        await later(world, sim)
        await world.until(lambda: world.rows(state) == [("done",)])
        await world.settle()
        assert [one["fault"] for one in sim.faults.struck] == [fault]
        assert sim.books["paid"] == {id_: "19.90"} and agreed(sim) == ["pdd.refund.agree"]
        assert [(one.status, str(one.amount)) for one in cases(world)[0].refunds] == [
            (RefundStatus.PENDING, "19.90 CNY")
        ]
