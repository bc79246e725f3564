"""Amazon through a running bridge: a real queue that is emptied only after the commit, SNS's door, reports, words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from amazon_queue import KEYS, Queue, a_queue

from rmabridge.model import Case, CaseKind, Form, Issue, ParcelStatus, RefKind, RequestStatus
from rmabridge.testing.simulators.amazon import AmazonSim
from rmabridge.testing.simulators.sink import Sink
from serving import Child
from worlds import World, document, running

pytestmark = pytest.mark.evidence("amazon", "end_to_end")


@pytest.fixture(scope="module")
def server() -> Iterator[Queue]:
    with a_queue() as one:
        yield one


@pytest.fixture
def queue(server: Queue, tmp_path: Path) -> Queue:
    return Queue(server.root, tmp_path.name)


@pytest.fixture
async def sim(queue: Queue) -> AsyncIterator[AmazonSim]:
    async with AmazonSim(queue_url=queue.url, queue_key=KEYS) as one:
        yield one


def shop(tmp_path: Path, sink: Sink, sim: AmazonSim, **account: Any) -> dict[str, Any]:
    """One seller with a help desk."""
    found = document(tmp_path, sink.url)
    given = {**sim.account_settings(), "locale": "en-US", "wait": 0, "poll_every": "PT10M"}
    found["marketplaces"] = {"us": {"plugin": "amazon", **given, **account}}
    found["shops"]["one"] |= {"marketplace": "us", "title": "Example", "channels": []}
    return found


def cases(world: World) -> list[Case]:
    """All cases, the oldest first."""
    store = world.bridge.store
    rows = world.rows("SELECT key_id, doc FROM cases ORDER BY created_at, opened_at")
    store.keys_for({key for key, _ in rows})
    return [Case.model_validate_json(store.vault.open(key, doc)) for key, doc in rows]


async def poll(world: World, kind: Any = "poll") -> None:
    """Take a turn now, and wait until what came in is settled."""
    await world.until(lambda: world.rows(f"SELECT 1 FROM cursors WHERE kind = '{kind}'"))
    await world.bridge.pollers.turn("us", kind)
    await world.settle()


async def test_a_buyer_who_asks_to_cancel_is_a_case_and_is_answered_by_message(
    tmp_path: Path, sink: Sink, sim: AmazonSim, queue: Queue
) -> None:
    order = sim.do_place_order(status="Unshipped", lines=2)["order"]
    await sim.do_ask_to_cancel(order, "Bought twice")
    await sim.do_ship(sim.do_place_order()["order"])
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await world.until(lambda: cases(world) and cases(world)[0].order)
        await world.settle()
        (case,) = cases(world)
        assert (case.kind, case.issue, case.ref(RefKind.ORDER)) == (CaseKind.REFUND, Issue.CANCEL_ORDER, order)
        assert case.buyer.way(Form.THREAD) == order and len(case.order.lines) == 2
        await world.until(lambda: sim.books["messages"])
        assert {one["order"] for one in sim.books["messages"]} == {order}
        assert queue.left() == 0
        assert sim.books["tokens"] == 1, "one token serves polls and messages"


async def test_what_is_not_deleted_comes_again_and_counts_once(
    tmp_path: Path, sink: Sink, sim: AmazonSim, queue: Queue
) -> None:
    await sim.do_ask_to_cancel(sim.do_place_order()["order"])
    async with running(shop(tmp_path, sink, sim, queue_secret="another"), sink) as world:
        await world.until(lambda: cases(world))
        await sim.do_tell_again()
        await poll(world)
        assert world.rows("SELECT count(*) FROM inbox WHERE kind = 'poll'") == [(1,)]
        types = [one for (one,) in world.rows("SELECT type FROM timeline")]
        assert types.count("case.requested") == 1 and queue.left() == 0


async def test_a_notification_is_deleted_only_after_it_is_on_disk(
    tmp_path: Path, sink: Sink, sim: AmazonSim, queue: Queue
) -> None:
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await world.until(lambda: world.rows("SELECT 1 FROM cursors WHERE kind = 'poll'"))
        await sim.do_ask_to_cancel(sim.do_place_order()["order"])
        sim.do_fail_next(503, "ServiceUnavailable")
        with pytest.raises(Exception, match="503"):
            await poll(world)
        assert queue.left() == 1 and world.rows("SELECT count(*) FROM inbox WHERE kind = 'poll'") == [(0,)]
        queue.show_again()
        await poll(world)
        assert queue.left() == 0 and len(cases(world)) == 1


@pytest.mark.slow
@pytest.mark.row("P03")
async def test_a_crash_before_the_commit_has_the_queue_deliver_again_and_no_event_is_lost(
    tmp_path: Path, sink: Sink, sim: AmazonSim, queue: Queue
) -> None:
    orders = [sim.do_place_order()["order"] for _ in range(3)]
    for order in orders:
        await sim.do_ask_to_cancel(order)
    sim.faults.add("slow", times=0, path="/orders/v0", seconds=10)
    child = Child(shop(tmp_path, sink, sim), tmp_path)
    await child.start()
    try:
        async with asyncio.timeout(20):
            while not sim.faults.struck:
                await asyncio.sleep(0.01)
        assert child.rows("SELECT count(*) FROM inbox WHERE kind = 'poll'") == [(0,)] and queue.left() == 3
        await child.kill()
        sim.faults.clear()
        queue.show_again()
        await child.start()
        await child.until("SELECT count(*) FROM inbox WHERE kind = 'poll' AND state = 'done'", [(3,)])
        await child.until("SELECT count(*) FROM cursors WHERE kind = 'poll' AND cause IS NULL AND version > 0", [(1,)])
    finally:
        await child.stop()
    assert queue.left() == 0
    assert child.rows("SELECT count(*) FROM timeline WHERE type = 'case.requested'") == [(3,)]


async def test_another_sellers_notifications_stay_and_nonsense_waits_for_a_person(
    tmp_path: Path, sink: Sink, sim: AmazonSim, queue: Queue
) -> None:
    await sim.do_tell_other_seller()
    await sim.do_tell_nonsense()
    await sim.do_ask_to_cancel(sim.do_place_order()["order"])
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await world.until(lambda: cases(world))
        await world.settle()
        assert queue.left() == 1
        assert world.rows("SELECT state FROM inbox WHERE kind = 'poll' ORDER BY state") == [("done",), ("parked",)]


async def test_what_amazon_does_not_show_any_more_keeps_nothing_else_waiting(
    tmp_path: Path, sink: Sink, sim: AmazonSim, queue: Queue
) -> None:
    gone, there = (sim.do_place_order()["order"] for _ in range(2))
    await sim.do_ask_to_cancel(gone)
    del sim.books["orders"][gone]
    sim.do_open_return(there)
    await sim.do_finish_report(scheduled=True)
    sim.books["documents"].clear()
    await sim.do_ask_to_cancel(there)
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await world.until(lambda: len(cases(world)) == 2)
        await world.settle()
        assert {case.ref(RefKind.ORDER) for case in cases(world)} == {gone, there}
        assert queue.left() == 0


@pytest.mark.parametrize("told", [True, False], ids=["by notification", "by comparison"])
async def test_a_return_comes_with_the_report_and_its_parcel_comes_back(
    tmp_path: Path, sink: Sink, sim: AmazonSim, told: bool
) -> None:
    order = sim.do_place_order()["order"]
    rma = sim.do_open_return(order)["return"]
    sim.do_send_back(rma)
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await poll(world, "reconcile")
        assert [one["processingStatus"] for one in sim.books["reports"].values()] == ["IN_QUEUE"]
        await sim.do_finish_report(tell=told)
        await poll(world, "poll" if told else "reconcile")
        (case,) = cases(world)
        assert (case.kind, case.issue, case.request.status) == (
            CaseKind.RETURN,
            Issue.QUALITY_DEFECT,
            RequestStatus.APPROVED,
        )
        assert (case.ref(RefKind.RETURN), case.ref(RefKind.ORDER), case.order.number) == (rma, order, order)
        assert case.parcels[0].carrier == "USPS"
        sim.offset += timedelta(hours=6)
        sim.do_receive(rma)
        sim.do_refund(rma)
        await sim.do_finish_report(scheduled=True)
        await poll(world)
        await poll(world, "reconcile")
        (case,) = cases(world)
        assert case.parcels[0].status is ParcelStatus.DELIVERED
        assert [str(one.amount) for one in case.refunds] == ["19.90 USD"]


async def test_the_door_of_sns_confirms_its_topic_and_takes_each_message_once(
    tmp_path: Path, sink: Sink, sim: AmazonSim
) -> None:
    sim.queue_url = None
    async with running(shop(tmp_path, sink, sim, queue_url=None), sink) as world:
        sim.hook = f"{world.bridge.url}/hooks/us"
        assert await sim.do_subscribe() == 200
        assert len(sim.books["confirmed"]) == 1
        order = sim.do_place_order()["order"]
        assert await sim.do_ask_to_cancel(order) == 200
        assert await sim.do_tell_again() == 200
        assert await sim.do_unsubscribe() == 200
        await world.until(lambda: cases(world) and cases(world)[0].order)
        assert cases(world)[0].ref(RefKind.ORDER) == order
        assert sim.books["certificates"] == 1, "the certificate is kept"
        types = [one for (one,) in world.rows("SELECT type FROM timeline")]
        assert types.count("case.requested") == 1
        sim.do_renew_certificate()
        assert await sim.do_ask_to_cancel(sim.do_place_order()["order"]) == 401


async def test_a_certificate_that_cannot_be_fetched_loses_no_message(
    tmp_path: Path, sink: Sink, sim: AmazonSim
) -> None:
    sim.queue_url = None
    broken = {"certificates": "http://127[.]0[.]0[.]1:1/.*", "queue_url": None}
    async with running(shop(tmp_path, sink, sim, **broken), sink) as world:
        sim.hook = f"{world.bridge.url}/hooks/us"
        told = sim.message("Notification", "{}") | {"SigningCertURL": "http://127.0.0.1:1/x.pem"}
        status, answer = await world.post(str(told).replace("'", '"').encode(), "us", **{"Content-Type": "text/plain"})
        assert (status, answer["title"]) == (503, "Not now")


async def test_a_queue_that_checks_signatures_takes_ours_and_refuses_anothers(
    tmp_path: Path, sink: Sink, sim: AmazonSim, queue: Queue
) -> None:
    await sim.do_ask_to_cancel(sim.do_place_order()["order"])
    good, bad = queue.user(), (KEYS[0], "no secret of AWS's")
    for (key, secret), kinds in ((bad, 0), (good, 1)):
        keys, place = {"queue_key_id": key, "queue_secret": secret}, tmp_path / key
        place.mkdir()
        async with running(shop(place, sink, sim, **keys), sink) as world:
            with queue.strict():
                await world.until(lambda: world.rows("SELECT 1 FROM cursors WHERE kind = 'poll'"))
                await world.settle()
            assert len(cases(world)) == kinds
            assert bool(world.rows("SELECT 1 FROM accounts WHERE paused")) is not bool(kinds)


async def test_the_account_can_be_checked(tmp_path: Path, sink: Sink, sim: AmazonSim) -> None:
    async with running(shop(tmp_path, sink, sim), sink) as world:
        ctx = world.bridge.dispatcher.context("us", "probe", None)
        assert "so does the queue" in await world.bridge.registry.accounts["us"].probe(ctx)
