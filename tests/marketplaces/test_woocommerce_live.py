"""WooCommerce through a running bridge: asked for by a status, answered by a note, paid once, and found when lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rmabridge.model import Case, CaseKind, Commanded, RefundStatus
from rmabridge.store import inbox as inbox_store
from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.woocommerce import WooCommerceSim
from worlds import World, document, running

STATUSES = {"refund-requested": "refund", "refund-approved": "approved"}


class Shop:
    """The bridge with its WooCommerce shop."""

    def __init__(self, world: World, sim: WooCommerceSim) -> None:
        self.world, self.sim = world, sim

    async def settle(self) -> None:
        """Wait until neither side has anything left to tell the other."""
        told = -1
        while told != len(self.sim.books["webhooks"]):
            told = len(self.sim.books["webhooks"])
            await self.world.settle()
            await self.sim.settle()
            await self.world.settle()

    def cases(self) -> list[Case]:
        """All cases, the oldest first."""
        store = self.world.bridge.store
        rows = self.world.rows("SELECT key_id, doc FROM cases ORDER BY created_at, opened_at")
        store.keys_for({key for key, _ in rows})
        return [Case.model_validate_json(store.vault.open(key, doc)) for key, doc in rows]

    def ledger(self) -> dict[str, str]:
        """Key → state of all actions."""
        return dict(self.world.rows("SELECT key, state FROM outbox"))

    def notes(self, order: str) -> list[str]:
        """What the customer was told on the order."""
        return [one["note"] for one in self.sim.books["notes"][order] if one["customer_note"]]

    async def approve(self, key: str) -> None:
        """Approve the held action of this key, as a supervisor does."""
        query = (
            "SELECT a.id FROM approvals a JOIN outbox o ON o.id = a.outbox_id WHERE a.state = 'waiting' AND o.key = "
        )
        ((number,),) = await self.world.until(lambda: self.world.rows(f"{query}'{key}'"))
        router, store = self.world.bridge.router, self.world.bridge.store
        command = Commanded(
            key=f"cmd:approve:{number}", at=store.clock.now(), command="approve", by="tester", args={"approval": number}
        )
        row = router.event_row([command], "bridge", command.key, case_id=None, kind="command")
        await store.write(lambda conn: inbox_store.add(conn, [row]))
        router.wake.set()

    def later(self, **span: float) -> None:
        """Move both clocks."""
        bridge = self.world.bridge
        bridge.store.clock.offset += timedelta(**span)
        self.sim.offset += timedelta(**span)
        for loop in (bridge.timers, bridge.router, bridge.dispatcher, bridge.pollers, bridge.lookup):
            loop.wake.set()


@asynccontextmanager
async def shop(tmp_path: Path, sink: Sink, **settings: Any) -> AsyncIterator[Shop]:
    """A bridge whose marketplace and way to buyers is a simulated WooCommerce; its webhooks are registered by call."""
    async with WooCommerceSim() as sim:
        config = document(tmp_path, sink.url)
        account = {"plugin": "woocommerce", "url": sim.url, "consumer_key": sim.key, "allow_private": True}
        account |= {"consumer_secret": sim.consumer_secret, "secret": sim.secret, "statuses": STATUSES, **settings}
        config["marketplaces"] = {"woo": account}
        config["shops"]["one"] |= {"marketplace": "woo", "channels": ["woo"]}
        async with running(config, sink) as world:
            plugin = world.bridge.registry.accounts["woo"]
            ctx = world.bridge.dispatcher.context("woo", "subscribe", None)
            await plugin.subscribe(f"{world.bridge.url}/hooks/woo", ctx)
            await sim.settle()
            assert sim.books["pings"] == [200, 200, 200]
            yield Shop(world, sim)
            await sim.settle()


async def test_a_status_opens_a_case_that_is_answered_on_the_order_and_refunded_once(
    tmp_path: Path, sink: Sink
) -> None:
    async with shop(tmp_path, sink, whole_order=True) as one:
        order = (await one.sim.do_place_order())["order"]
        assert await one.sim.do_set_status(order, "refund-requested") == 200
        await one.sim.do_redeliver()
        await one.sim.do_touch(order)
        await one.settle()
        (case,) = one.cases()
        assert (case.kind, str(case.request.amount), case.order.number) == (CaseKind.REFUND, "29.35 EUR", order)
        assert len(one.notes(order)) == 1

        await one.sim.do_set_status(order, "refund-approved")
        await one.settle()
        assert one.sim.books["paid"] == {}
        await one.approve(f"refund:{order}:all")
        await one.settle()
        assert one.sim.books["paid"] == {order: ["29.35"]}
        await one.sim.do_touch(order)
        await one.settle()
        (case,) = one.cases()
        assert [(ref.status, str(ref.amount)) for ref in case.refunds] == [(RefundStatus.DONE, "29.35 EUR")]
        assert one.sim.books["paid"] == {order: ["29.35"]}
        assert len(set(one.notes(order))) == len(one.notes(order)), "nothing is said twice"


async def test_a_refund_whose_answer_was_lost_is_found_and_not_paid_twice(tmp_path: Path, sink: Sink) -> None:
    async with shop(tmp_path, sink, whole_order=True) as one:
        order = (await one.sim.do_place_order())["order"]
        await one.sim.do_set_status(order, "refund-requested")
        await one.sim.do_set_status(order, "refund-approved")
        await one.settle()
        one.sim.lost, key = 1, f"refund:{order}:all"
        await one.approve(key)
        await one.world.until(lambda: one.ledger().get(key) == "uncertain")
        one.later(minutes=2)
        await one.world.until(lambda: one.ledger().get(key) == "done")
        await one.settle()
        assert one.sim.books["paid"] == {order: ["29.35"]}
        assert len(one.cases()[0].refunds) == 1


async def test_orders_that_change_in_the_same_second_are_all_heard(tmp_path: Path, sink: Sink) -> None:
    async with shop(tmp_path, sink) as one:
        orders = [(await one.sim.do_place_order(email=f"b{n}@example.com"))["order"] for n in range(3)]
        for order in orders:
            await one.sim.do_set_status(order, "refund-requested")
        await one.settle()
        assert sorted(case.order.id for case in one.cases()) == sorted(orders)


async def test_a_refund_in_the_shops_own_pages_is_found_by_comparison_and_its_webhook_adds_no_second(
    tmp_path: Path, sink: Sink
) -> None:
    async with shop(tmp_path, sink) as one:
        order = (await one.sim.do_place_order())["order"]
        await one.sim.do_set_status(order, "refund-requested")
        one.sim.do_drop_next()
        await one.sim.do_refund(order, "5.00")
        await one.settle()
        assert one.cases()[0].refunds == ()
        await one.world.bridge.pollers.turn("woo", "reconcile")
        await one.settle()
        await one.sim.do_touch(order)
        await one.settle()
        (case,) = one.cases()
        assert [str(ref.amount) for ref in case.refunds] == ["5.00 EUR"]
        assert one.sim.books["paid"] == {order: ["5.00"]}, "the bridge paid nothing of its own"


@pytest.mark.row("P02")
async def test_a_request_that_no_webhook_told_is_found_and_disabled_webhooks_are_mended(
    tmp_path: Path, sink: Sink
) -> None:
    async with shop(tmp_path, sink) as one:
        order = (await one.sim.do_place_order())["order"]
        one.sim.do_drop_next(7)
        for _ in range(7):
            await one.sim.do_touch(order)
        assert await one.sim.do_set_status(order, "refund-requested") == 0
        await one.world.bridge.pollers.turn("woo", "reconcile")
        await one.settle()
        (case,) = one.cases()
        assert await one.sim.do_touch(order) == 200
        await one.settle()
        assert [same.id for same in one.cases()] == [case.id]
        types = [kind for (kind,) in one.world.rows("SELECT type FROM timeline")]
        assert types.count("case.requested") == 1
