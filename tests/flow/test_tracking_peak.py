"""Everybody asks where the parcel is: the carrier's quota holds, nobody is asked twice, and old news is told as old."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from toybox import event, requested, send, shift, toybox

from rmabridge.testing.simulators.server import Simulator
from rmabridge.testing.simulators.sink import Sink
from worlds import World, ago, running

ASKING, QUOTA = 20, 5
OLD = "暂未查到更新"


class Carrier(Simulator):
    """Answers queries, and keeps a list of them."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def routes(self) -> list[web.RouteDef]:
        """Any path."""
        return [web.post("/{path:.*}", self._query)]

    async def _query(self, request: web.Request) -> web.Response:
        waybill = (await request.json())["waybill"]
        self.asked.append(waybill)
        scan = {"at": ago(minutes=1), "status": "out_for_delivery", "text": "派送中"}
        parcel = {"waybill": waybill, "status": "out_for_delivery", "scans": [scan]}
        return web.json_response({"events": [{"type": "parcel.seen", "parcel": parcel}]})


def an_order(number: int) -> dict[str, Any]:
    """The order of a case, with its parcel on the way for hours."""
    refs = {"return": f"R{number}", "order": f"O{number}"}
    scan = {"at": ago(hours=9), "status": "in_transit", "text": "已发出"}
    parcel = {"waybill": f"YT{number:05}", "carrier": "YTO", "status": "in_transit", "scans": [scan]}
    buyer = {"id": f"B{number}", "email": f"b{number}@example.com", "locale": "zh-CN"}
    return event("order.seen", f"order-{number}", 2, refs, order={"id": f"O{number}"}, buyer=buyer, parcels=[parcel])


def question(world: World, number: int, name: str) -> dict[str, Any]:
    """The buyer asks now."""
    now = world.bridge.store.clock.now().isoformat()
    said = {"id": f"{name}-{number}", "author": "buyer", "form": "mail", "text": "我的快递到哪里了", "at": now}
    asked = event("message.received", f"{name}-{number}", refs={"return": f"R{number}"}, message=said)
    return asked | {"at": now}


def answers(sink: Sink) -> dict[str, list[str]]:
    """What each buyer was told."""
    told: dict[str, list[str]] = {}
    for one in sink.books["posts"]:
        told.setdefault(one["body"]["to"], []).append(one["body"]["text"])
    return told


@pytest.mark.row("S047")
async def test_at_peak_the_quota_holds_a_fresh_answer_is_told_again_and_an_old_one_is_marked(
    tmp_path: Path, sink: Sink
) -> None:
    async with Carrier() as carrier:
        config = toybox(tmp_path, sink.url, "tracking", shop={"carrier": "own", "locale": "zh-CN"})
        config["carriers"] = {
            "own": {"plugin": "http", "url": carrier.url, "allow_private": True, "rate": f"{QUOTA}/hour"}
        }
        async with running(config, sink) as world:
            everybody = range(1, ASKING + 1)
            for one in everybody:
                await send(world, requested(one), an_order(one), question(world, one, "first"))
            await world.until(lambda: len(answers(sink)) == QUOTA, 30)
            told = "SELECT count(*) FROM outbox WHERE type = 'message.send' AND state = 'done'"
            await world.until(lambda: world.rows(told) == [(QUOTA,)])
            await world.until(lambda: world.rows("SELECT count(*) FROM inbox WHERE state = 'new'") == [(0,)])
            shift(world, seconds=2)  # what is asked twice within a second is answered once
            for one in carrier.asked[:]:
                await send(world, question(world, int(one[2:]), "again"))
            await world.until(lambda: sum(map(len, answers(sink).values())) == 2 * QUOTA, 30)
            assert len(carrier.asked) == len(set(carrier.asked)) == QUOTA, "the second question was not passed on"
            shift(world, minutes=6)
            await world.until(lambda: len(answers(sink)) == ASKING, 30)
            expired = "SELECT count(*) FROM outbox WHERE type = 'parcel.query' AND state = 'expired'"
            assert world.rows(expired) == [(ASKING - QUOTA,)]
        assert len(carrier.asked) == QUOTA, "never more than the quota"
        fresh = {f"b{int(one[2:])}@example.com" for one in carrier.asked}
        for buyer, texts in answers(sink).items():
            assert all(("派送中" in one, OLD in one) == (buyer in fresh, buyer not in fresh) for one in texts), texts
