"""On a running bridge: a stranger names an order, is asked, and hears of it only after the right answer."""

import pytest

from worlds import a_return, ago, document, running


def writes(number, text, **buyer):
    data = {"order": "O1", "text": text, "buyer": {"id": "B9", "email": "eve@example.com", **buyer}}
    return {"id": f"m{number}", "type": "message", "time": ago(seconds=30 - number), "data": data}


@pytest.mark.evidence("verification", "end_to_end")
async def test_a_stranger_hears_nothing_of_the_order_before_the_answer(tmp_path, sink):
    config = document(tmp_path, sink.url)
    config["bridge"]["policies"] = ["tracking", "verification"]
    async with running(config, sink) as world:

        def states(like):
            return dict(world.rows(f"SELECT key, state FROM outbox WHERE key LIKE '{like}'"))

        await world.post(a_return())
        await world.settle()
        await world.post(writes(1, "where is my parcel?"))
        await world.settle()
        assert list(states("answer:tracking:%").values()) == ["held"]
        (question,) = [one["body"] for one in sink.books["posts"] if one["body"].get("to") == "eve@example.com"]
        assert "后四位" in question["text"]
        assert world.rows("SELECT count(*) FROM approvals") == [(0,)], "it waits for the buyer, not for a person"
        await world.post(writes(2, "5678"))
        await world.until(lambda: "done" in states("answer:tracking:%").values())
        assert sum(key.startswith("verify:") for key in states("verify:%")) == 2
