"""Compensation and approvals on a running bridge: what passes, what waits, who decides, and nothing paid twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from approvers import a_case, approving, command, give, given, later, link, state, told
from rmabridge.model import EVENTS
from rmabridge.testing.simulators.sink import Sink
from worlds import World, a_return, running

pytestmark = [pytest.mark.evidence("compensation", "end_to_end"), pytest.mark.evidence("approvals", "end_to_end")]


async def answer(world: World, url: str, word: str, note: str = "") -> tuple[int, str]:
    """Press a button on the page."""
    async with world.client.post(url, data={"answer": word, "note": note}) as page:
        return page.status, await page.text()


def noted(world: World, type_: str) -> list[dict[str, object]]:
    """The timeline's entries of a type."""
    store = world.bridge.store
    rows = world.rows(f"SELECT key_id, doc FROM timeline WHERE type = '{type_}' ORDER BY seq")
    store.keys_for({key for key, _ in rows})
    return [EVENTS.validate_json(store.vault.open(key, doc)).model_dump() for key, doc in rows]


@pytest.mark.row("S094", "P45")
async def test_500_pass_and_500_01_are_paid_once_after_one_click(tmp_path: Path, sink: Sink) -> None:
    async with running(approving(tmp_path, sink.url), sink) as world:
        assert await give(world, await a_case(world), "500.00") in {"due", "sending", "done"}
        case = await a_case(world, 2)
        assert await give(world, case, "500.01") == "held"
        await later(world, minutes=10)
        assert [one["amount"]["amount"] for one in given(world)] == ["500.00"]
        assert [to for to, _ in told(world)] == ["wang"]
        url = link(world, "wang")
        status, page = await answer(world, url, "approve", "顾客是老客户")
        assert status == 200 and "Approved" in page and "Wang" in page
        await world.settle()
        assert [one["amount"]["amount"] for one in given(world)] == ["500.00", "500.01"]
        assert (await answer(world, url, "approve"))[0] == 409
        assert (await answer(world, url, "deny"))[0] == 409
        await later(world, days=2)
        assert len(given(world)) == 2
        assert world.rows("SELECT state, by, note FROM approvals") == [("approved", "Wang", "顾客是老客户")]


async def test_events_and_commands_told_again_pay_nothing_twice(tmp_path: Path, sink: Sink) -> None:
    async with running(approving(tmp_path, sink.url), sink) as world:
        case = await a_case(world)
        await give(world, case, "20.00")
        await world.post(a_return(1), name="again")
        await give(world, case, "20.00")
        await give(world, case, "25.00")
        await later(world, days=1)
        assert [one["amount"]["amount"] for one in given(world)] == ["20.00"]
    async with running(approving(tmp_path, sink.url), sink) as world:
        await later(world, days=1)
        assert len(given(world)) == 1


@pytest.mark.row("S094")
async def test_one_agents_day_is_counted_over_all_cases_and_starts_again(tmp_path: Path, sink: Sink) -> None:
    config = approving(tmp_path, sink.url)
    config["policies"]["compensation"] = {"daily": "1000 CNY"}
    async with running(config, sink) as world:
        cases = [await a_case(world, number) for number in (1, 2, 3, 4)]
        assert await give(world, cases[0], "450") != "held"
        assert await give(world, cases[1], "450") != "held"
        assert await give(world, cases[2], "100.01") == "held"
        assert world.rows("SELECT rules FROM approvals") == [("compensation.daily",)]
        assert await give(world, cases[3], "100", by="bob") != "held"
        assert await give(world, cases[2], "100", part="b") != "held", "what is held is not given"
        await later(world, hours=25)
        assert await give(world, cases[3], "100.01", part="c") != "held"


@pytest.mark.row("S110", "P45")
async def test_a_delegate_is_asked_after_the_time_out_and_the_first_answer_counts(tmp_path: Path, sink: Sink) -> None:
    async with running(approving(tmp_path, sink.url), sink) as world:
        case = await a_case(world)
        await give(world, case, "900")
        await later(world, minutes=59)
        assert [to for to, _ in told(world)] == ["wang"]
        await later(world, minutes=2)
        assert [to for to, _ in told(world)] == ["wang", "li"]
        assert (await answer(world, link(world, "li"), "approve"))[0] == 200
        await world.settle()
        status, page = await answer(world, link(world, "wang"), "deny")
        assert status == 409 and "Li" in page
        await later(world, days=1)
        assert len(given(world)) == 1 and len(told(world)) == 2
        audit = [json.loads(one) for (one,) in world.rows("SELECT detail FROM audit WHERE what = 'approve'")]
        assert [one["case"] for one in audit] == [case]
        assert world.rows("SELECT who FROM audit WHERE what = 'approve'") == [("Li",)]


async def test_above_an_approvers_limit_the_next_one_is_asked(tmp_path: Path, sink: Sink) -> None:
    async with running(approving(tmp_path, sink.url), sink) as world:
        await give(world, await a_case(world), "2000.01")
        await world.settle()
        assert [to for to, _ in told(world)] == ["li"]


@pytest.mark.parametrize("at_last", ["hold", "deny"])
async def test_what_nobody_answers_stays_held_with_an_alert_or_is_denied(
    tmp_path: Path, sink: Sink, at_last: str
) -> None:
    async with running(approving(tmp_path, sink.url, at_last=at_last), sink) as world:
        case = await a_case(world)
        await give(world, case, "900")
        await later(world, hours=1, minutes=1)
        await later(world, hours=1, minutes=1)
        await later(world, minutes=1)
        assert state(world, f"credit:coupon:{case}:all") == ("held" if at_last == "hold" else "denied")
        assert [to for to, _ in told(world)] == ["wang", "li", "wang", "li"]
        assert any("nobody decided" in str(one["text"]) for one in noted(world, "noted"))
        await later(world, days=3)
        assert given(world) == [] and len(told(world)) == 4


@pytest.mark.row("S079")
async def test_who_decided_when_why_and_what_had_been_said_is_kept(tmp_path: Path, sink: Sink) -> None:
    async with running(approving(tmp_path, sink.url), sink) as world:
        case = await a_case(world)
        said = {"id": "m1", "type": "message", "time": a_return()["time"]}
        await world.post(said | {"data": {"order": "O1", "buyer": {"id": "B1"}, "text": "已经等了三周，请破例处理"}})
        await world.settle()
        await give(world, case, "900")
        await world.settle()
        number = world.rows("SELECT id FROM approvals")[0][0]
        assert (await command(world, "approve", by="Zhang", approval=number, note="loyal customer"))[0] == "done"
        (kept,) = [one for one in noted(world, "noted") if "approved" in str(one["text"])]
        assert kept["by"] == "Zhang" and kept["at"] is not None
        text = str(kept["text"])
        assert "loyal customer" in text and "已经等了三周" in text and "900" in text
        assert kept["values"]["rules"] == "compensation.limit"  # type: ignore[index]


@pytest.mark.row("S029")
async def test_a_wrong_item_on_a_running_bridge_brings_new_goods_a_coupon_and_priority(
    tmp_path: Path, sink: Sink
) -> None:
    config = approving(tmp_path, sink.url)
    events = config["marketplaces"]["shop"]["events"]
    events[0]["set"] |= {"kind": "'complaint'", "lines": "data.lines"}
    events[0]["refs"].pop("return")
    async with running(config, sink) as world:
        case = await a_case(world, lines=[{"id": "1", "order_line": "L1", "sku": "SHOVEL"}])
        mails = [one["body"] for one in sink.books["posts"] if one["body"].get("purpose") == "offer:1"]
        assert len(mails) == 1
        yes = {"id": "m2", "type": "message", "time": a_return()["time"]}
        await world.post(yes | {"data": {"order": "O1", "buyer": {"id": "B1"}, "text": "1"}})
        await world.settle()
        kinds = {one["type"]: one for one in given(world)}
        assert kinds["goods.reship"]["lines"] == [["S-1", 1]]
        assert kinds["credit.give"]["amount"] == {"amount": "20.00", "currency": "CNY"}
        assert kinds["credit.give"].get("floor") is None
        assert (kinds["buyer.tag"]["buyer"], kinds["buyer.tag"]["tag"]) == ("B1", "priority")
        assert any(one["body"].get("purpose", "").startswith("code:") for one in sink.books["posts"])
        assert state(world, f"reship:{case}:all") == "done"


TOYS = Path(__file__).parents[1] / "flow" / "toys"


@pytest.mark.row("S083")
async def test_a_part_of_the_price_agreed_in_words_is_paid_once_whatever_the_marketplace_does(
    tmp_path: Path, sink: Sink
) -> None:
    config = approving(tmp_path, sink.url, "returns")
    config["bridge"]["plugins_dir"] = str(TOYS)
    config["marketplaces"] = {"shop": {"plugin": "toy", "allow_private": True}}
    async with running(config, sink) as world:

        async def tell(type_: str, key: str, **facts: object) -> None:
            at = world.bridge.store.clock.now().isoformat()
            refs = [{"kind": "return", "value": "R1"}, {"kind": "order", "value": "O1"}]
            await world.post({"events": [{"type": type_, "key": key, "at": at, "refs": refs, **facts}]})
            await world.settle()

        data = a_return()["data"]
        asked = {"kind": "refund", "issue": "late_delivery", "buyer": data["buyer"], "order": data["order_doc"]}
        await tell("case.requested", "asked", **asked, amount={"amount": "120.00", "currency": "CNY"})
        words = {"id": "m1", "author": "buyer", "form": "chat", "text": "2", "at": a_return()["time"]}
        await tell("message.received", "yes", message=words)
        await tell("request.changed", "approved", status="approved")
        await tell("message.received", "again", message=words | {"id": "m2"})
        await later(world, days=1)
        paid = world.rows("SELECT key, state, amount FROM outbox WHERE type = 'refund.pay'")
        assert paid == [("refund:R1:all", "done", "12.00")]
        assert world.rows("SELECT status FROM cases") == [("closed",)]
        assert not [one for one in sink.books["posts"] if one["body"]["type"] == "return.approve"]
