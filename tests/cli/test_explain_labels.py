"""A label of another carrier than the buyer asked for: refused, then printed for a reason that ``explain`` shows."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from cli_desk import run, write

from rmabridge.config import load
from rmabridge.flow.bridge import Running
from worlds import World, document

TOYS = Path(__file__).parents[1] / "flow" / "toys"
REASON = "圆通不进村"


@pytest.fixture
def doc(tmp_path, sink):
    found = document(tmp_path, sink.url, plugins_dir=str(TOYS), policies=["logistics"])
    found["marketplaces"] = {"shop": {"plugin": "toy", "allow_private": True}}
    found["services"] = {"warehouse": dict(found["helpdesks"]["desk"])}
    found["shops"]["one"]["labels"] = "warehouse"
    return found


def labels(world):
    return [one["body"] for one in world.sink.books["posts"] if one["body"].get("type") == "label.print"]


@pytest.mark.row("S090")
async def test_another_carrier_than_the_notes_is_refused_without_a_reason_and_explain_shows_the_reason(
    tmp_path, sink, doc
):
    path = write(tmp_path / "rmabridge.toml", doc)
    async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
        world = World(bridge, sink, client)

        async def tell(*arguments, **facts):
            told = await asyncio.to_thread(run, path, *arguments, **facts)
            await world.settle()
            return told

        now = datetime.now(UTC).isoformat()
        order = {"id": "O1", "note": "请发圆通"}
        seen = {"type": "order.seen", "key": "o1", "at": now, "order": order, "buyer": {"id": "B1"}}
        asked = {"type": "case.requested", "key": "r1", "at": now, "kind": "exchange"}
        events = [one | {"refs": [{"kind": "order", "value": "O1"}]} for one in (asked, seen)]
        assert (await world.post({"events": events}))[0] == 200
        await world.settle()
        ((case,),) = world.rows("SELECT id FROM cases")
        address = json.dumps({"country": "CN", "city": "杭州市"})
        told = await tell("cases", "act", case, "label.print", "carrier=SF", f"address={address}")
        assert "asked for YTO, not SF" in told.output, told.output
        ((number, state),) = world.rows("SELECT id, state FROM outbox WHERE type = 'label.print'")
        assert (state, labels(world)) == ("denied", [])
        await tell("deliveries", "retry", str(number))
        ((state, cause, hint),) = world.rows("SELECT state, cause, hint FROM outbox WHERE type = 'label.print'")
        assert (state, labels(world)) == ("dead", []) and "asked for YTO, not SF" in cause and "override" in hint
        await tell("deliveries", "retry", str(number), f"override={REASON}")
        assert world.rows("SELECT state FROM outbox WHERE type = 'label.print'") == [("done",)]
        (printed,) = labels(world)
        assert (printed["carrier"], printed["override"], printed["asked"]) == ("SF", REASON, ["YTO"])
        shown = json.loads((await tell("explain", case, json_=True)).stdout)
    (action,) = [one for one in shown["actions"] if one["type"] == "label.print"]
    why = [one["reason"] for one in action["verdicts"]]
    assert why == [f"the buyer asked for YTO, not SF; used all the same: {REASON}"]
