"""Taobao through a running bridge: a polled refund to its case, words, payment; and crashes around the confirmation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rmabridge.model import Case, CaseKind, Form, Issue, RefKind, RefundStatus, Status
from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.taobao import TaobaoSim
from serving import Child
from worlds import World, document, running

CONFIRM = "taobao.tmc.messages.confirm"


@pytest.fixture
async def sim() -> AsyncIterator[TaobaoSim]:
    async with TaobaoSim() as one:
        yield one


def shop(tmp_path: Path, sink: Sink, sim: TaobaoSim, **account: Any) -> dict[str, Any]:
    """One Tmall shop with a help desk."""
    found = document(tmp_path, sink.url)
    given = {"app_key": sim.app_key, "app_secret": sim.secret, "session": sim.session, "return_address_id": 77}
    url = {"url": f"{sim.url}/router/rest", "allow_private": True}
    found["marketplaces"] = {"tmall": {"plugin": "taobao", **given, **url, **account}}
    found["shops"]["one"] |= {"marketplace": "tmall", "title": "示例旗舰店", "locale": "zh-CN", "channels": []}
    return found


def cases(world: World) -> list[Case]:
    """All cases, the oldest first."""
    store = world.bridge.store
    rows = world.rows("SELECT key_id, doc FROM cases ORDER BY created_at, opened_at")
    store.keys_for({key for key, _ in rows})
    return [Case.model_validate_json(store.vault.open(key, doc)) for key, doc in rows]


def ledger(world: World) -> dict[str, str]:
    """Key → state of all actions."""
    return dict(world.rows("SELECT key, state FROM outbox"))


async def poll(world: World) -> None:
    """Take a turn now, and wait until what came in is settled."""
    await world.bridge.pollers.turn("tmall", "poll")
    await world.settle()


async def approve(world: World, key: str) -> None:
    """Approve the held action of this key, as a supervisor does."""
    query = "SELECT a.id FROM approvals a JOIN outbox o ON o.id = a.outbox_id WHERE a.state = 'waiting' AND o.key = "
    ((number,),) = await world.until(lambda: world.rows(f"{query}'{key}'"))
    await command(world, "approve", approval=number)
    await world.settle()


async def command(world: World, name: str, **args: Any) -> None:
    """Give a command as the command line does."""
    from rmabridge.model import Commanded
    from rmabridge.store import inbox as inbox_store

    router, store = world.bridge.router, world.bridge.store
    key = f"cmd:{name}:{len(ledger(world))}:{args}"
    given = Commanded(key=key, at=store.clock.now(), command=name, by="tester", args=args)
    row = router.event_row([given], "bridge", key, case_id=None, kind="command")
    await store.write(lambda conn: inbox_store.add(conn, [row]))
    router.wake.set()


def ours(sim: TaobaoSim, refund: str) -> list[str]:
    """What the seller said in the refund's thread."""
    return [one["content"] for one in sim.books["messages"][refund] if one["owner_role"] == "2"]


async def test_a_polled_refund_becomes_a_case_is_answered_in_its_thread_and_paid_once(
    tmp_path: Path, sink: Sink, sim: TaobaoSim
) -> None:
    order = sim.do_place_order()
    id_ = str(sim.do_open_refund(order["tid"], pictures=["https://img.example.com/broken.jpg"])["refund"])
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await world.until(lambda: cases(world) and cases(world)[0].order)
        await world.settle()
        (case,) = cases(world)
        assert (case.kind, case.issue, case.request.id) == (CaseKind.REFUND, Issue.DAMAGED_IN_TRANSIT, id_)
        assert case.request.due_at and str(case.request.amount) == "19.90 CNY"
        assert (case.order.number, case.parcels[0].waybill) == (order["tid"], "SF1234567890123")
        assert case.talk.form == Form.THREAD and case.ref(RefKind.THREAD) == id_
        await world.until(lambda: ours(sim, id_))
        assert all(len(one.encode()) <= 400 for one in ours(sim, id_))
        await world.until(lambda: not sim.books["queue"])

        await approve(world, f"return:decide:{id_}")
        assert sim.books["paid"] == {}, "an approval moves no money"
        await approve(world, f"refund:{id_}:all")
        assert sim.books["paid"] == {id_: 1990}
        await poll(world)
        await poll(world)
        (case,) = cases(world)
        assert [(one.status, str(one.amount)) for one in case.refunds] == [(RefundStatus.DONE, "19.90 CNY")]
        assert case.status in {Status.REFUNDED, Status.CLOSED}
        assert sim.books["paid"] == {id_: 1990} and not sim.books["queue"]
        assert [one for one in sim.books["calls"] if one["method"] == "taobao.rp.refunds.agree"][1:] == []
        assert len(set(ours(sim, id_))) == len(ours(sim, id_)), "nothing is said twice"


async def test_the_buyer_writes_on_and_every_message_reaches_the_case_once(
    tmp_path: Path, sink: Sink, sim: TaobaoSim
) -> None:
    id_ = str(sim.do_open_refund(sim.do_place_order()["tid"])["refund"])
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await world.until(lambda: cases(world))
        sim.offset += timedelta(seconds=5)
        sim.do_say(id_, "请尽快处理", ["https://img.example.com/2.jpg"])
        await poll(world)
        sim.offset += timedelta(seconds=5)
        sim.do_say(id_, "在吗？")
        await poll(world)
        (case,) = cases(world)
        assert case.talk.last_text == "在吗？"
        assert world.rows("SELECT count(*) FROM messages WHERE author = 'buyer'") == [(3,)]


@pytest.mark.row("P02")
async def test_a_comparison_finds_the_refund_that_no_message_told_and_the_message_adds_no_second(
    tmp_path: Path, sink: Sink, sim: TaobaoSim
) -> None:
    sim.do_drop_next()
    id_ = str(sim.do_open_refund(sim.do_place_order()["tid"])["refund"])
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await poll(world)
        assert cases(world) == []
        await world.bridge.pollers.turn("tmall", "reconcile")
        await world.until(lambda: cases(world))
        sim._tell("RefundCreated", sim.books["refunds"][id_])
        await poll(world)
        await world.bridge.pollers.turn("tmall", "reconcile")
        await world.settle()
        (case,) = cases(world)
        types = [one for (one,) in world.rows(f"SELECT type FROM timeline WHERE case_id = '{case.id}'")]
        assert (types.count("case.requested"), types.count("message.received")) == (1, 1)


async def test_a_confirmation_that_fails_is_told_and_the_message_counts_once(
    tmp_path: Path, sink: Sink, sim: TaobaoSim
) -> None:
    sim.do_fail_next(10, "Service Currently Unavailable", method=CONFIRM)
    sim.do_open_refund(sim.do_place_order()["tid"])
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await world.until(lambda: world.rows("SELECT 1 FROM alerts WHERE key = 'poll:tmall' AND resolved_at IS NULL"))
        assert len(sim.books["queue"]) == 1
        await poll(world)
        assert sim.books["queue"] == [] and len(cases(world)) == 1
        assert world.rows("SELECT count(*) FROM inbox WHERE kind = 'poll'") == [(1,)]


@pytest.mark.slow
async def test_a_crash_between_commit_and_confirmation_has_the_message_again_and_counts_it_once(
    tmp_path: Path, sink: Sink, sim: TaobaoSim
) -> None:
    id_ = str(sim.do_open_refund(sim.do_place_order()["tid"])["refund"])
    sim.do_stall(CONFIRM)
    child = Child(shop(tmp_path, sink, sim, poll_every="PT1S"), tmp_path)
    await child.start()
    try:
        await child.until("SELECT count(*) FROM inbox WHERE kind = 'poll'", [(1,)])
        await child.until("SELECT count(*) FROM cases", [(1,)])
        assert sim.books["confirmed"] == [] and len(sim.books["queue"]) == 1
        await child.kill()
        sim.do_stall(CONFIRM, on=False)
        await child.start()
        await child.until("SELECT count(*) FROM cursors WHERE kind = 'poll' AND cause IS NULL AND version > 1", [(1,)])
        async with asyncio.timeout(20):
            while sim.books["queue"]:  # it is confirmed right after the commit
                await asyncio.sleep(0.05)
    finally:
        await child.stop()
    assert sim.books["queue"] == [] and len(sim.books["confirmed"]) == 1
    assert sim.books["delivered"]["7000000000000000001"] >= 2
    assert child.rows("SELECT count(*) FROM inbox WHERE kind = 'poll'") == [(1,)]
    assert child.rows("SELECT count(*) FROM cases") == [(1,)]
    assert child.rows("SELECT count(*) FROM timeline WHERE type = 'case.requested'") == [(1,)]
    assert len(ours(sim, id_)) <= 1
