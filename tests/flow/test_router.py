"""The router: order, exactly once, poison, waiting events, deadlines, policies that fail, approvals, forwards."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError
from toybox import (
    alerts,
    all_cases,
    as_event,
    cases,
    command,
    event,
    inbox,
    ledger,
    noted,
    push,
    requested,
    said,
    send,
    shift,
    stop_loop,
    timeline,
    toybox,
)

from rmabridge.config import read
from rmabridge.model import Status
from rmabridge.store import cases as case_store
from rmabridge.store import inbox as inbox_store
from rmabridge.store.store import make
from rmabridge.testing.simulators.sink import Sink
from stores import words
from worlds import World, running


def story(number: int) -> list[dict[str, Any]]:
    """Ten events of one return, the refund paid at the end."""
    mine = {"return": f"R{number}"}
    parcel = {"waybill": f"SF{number:010d}", "direction": "back"}
    return [
        requested(number),
        event("request.changed", f"yes-{number}", 1, mine, status="approved"),
        event("message.received", f"m1-{number}", 2, mine, message=_words(f"m1-{number}", 2)),
        event("parcel.seen", f"p1-{number}", 3, mine, parcel={**parcel, "status": "picked_up"}),
        event("parcel.seen", f"p2-{number}", 4, mine, parcel={**parcel, "status": "in_transit"}),
        event("parcel.seen", f"p3-{number}", 5, mine, parcel={**parcel, "status": "delivered"}),
        event("ticket.seen", f"t1-{number}", 6, mine, status="open"),
        event("ticket.seen", f"t2-{number}", 7, mine, status="pending"),
        event("refund.seen", f"f1-{number}", 8, mine, refund=f"F{number}", status="pending"),
        event("refund.seen", f"f2-{number}", 9, mine, refund=f"F{number}", status="done"),
    ]


def _words(name: str, minutes: float, author: str = "buyer") -> dict[str, Any]:
    at = event("noted", "x", minutes, text="")["at"]
    return {"id": name, "author": author, "form": "chat", "text": "还没收到", "at": at}


def flaky(monkeypatch: pytest.MonkeyPatch, world: World, fails: Callable[[], Exception | None]) -> None:
    """Let the router's transaction end with an exception where ``fails`` gives one."""
    whole = world.bridge.router._write

    def write(conn: Any, batch: Any) -> None:
        whole(conn, batch)
        if error := fails():
            raise error

    monkeypatch.setattr(world.bridge.router, "_write", write)


def disk() -> OperationalError:
    return OperationalError("COMMIT", {}, Exception("disk I/O error"))


@pytest.mark.row("P12")
async def test_a_thousand_shuffled_events_of_a_hundred_cases_end_in_the_right_states(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        told = [one for number in range(100) for one in story(number)]
        random.Random(7).shuffle(told)
        for start in range(0, len(told), 4):
            await send(world, *told[start : start + 4])
        await world.settle(40)
        found = cases(world)
        assert len(found) == 100
        assert not world.rows("SELECT * FROM inbox WHERE state != 'done'")
        for one in found:
            assert (one.status, one.ticket.status, one.talk.count) == (Status.REFUNDED, "pending", 1)
            assert [parcel.status for parcel in one.parcels] == ["delivered"]
            assert len(timeline(world, one.id)) == 10
            assert world.bridge.store.read(lambda conn, case=one.id: case_store.broken_links(conn, case)) == []


async def test_events_of_one_lane_are_routed_in_the_order_of_their_arrival(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, requested())
        for number in range(30):
            await send(world, noted(f"n{number}"), **{"X-Lane": "O1"})
        await world.settle()
        store = world.bridge.store
        rows = world.rows("SELECT key_id, doc FROM timeline WHERE type = 'noted' ORDER BY seq")
        texts = [json.loads(store.vault.open(key, doc))["text"] for key, doc in rows]
        assert texts == [f"n{number}" for number in range(30)]


@pytest.mark.row("P10")
async def test_the_same_event_three_times_is_one_timeline_entry(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        assert [await send(world, requested(), **{"X-Id": name}) for name in ("a", "a", "b")] == [200, 200, 200]
        assert await send(world, requested(), requested()) == 200
        await world.settle()
        (case,) = cases(world)
        assert timeline(world, case.id) == ["case.requested"]


async def test_a_crash_between_compute_and_write_counts_nothing_twice(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        errors = [disk(), disk()]
        flaky(monkeypatch, world, lambda: errors.pop() if errors else None)
        assert await send(world, requested(), noted("say hello")) == 200
        await world.until(lambda: ledger(world).get("say:hello") == "done", 30)
        await world.settle()
        (case,) = cases(world)
        assert timeline(world, case.id) == ["case.requested", "noted", "action.settled"]
        assert said(world) == ["hello"]
        assert [one[1] for one in inbox(world)] == ["done", "done"]


async def test_a_case_that_was_changed_meanwhile_is_read_again(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, requested())
        await world.settle()
        errors = [inbox_store.Conflict("a case was changed by somebody else")]
        flaky(monkeypatch, world, lambda: errors.pop() if errors else None)
        await world.bridge.store.write(
            lambda conn: conn.exec_driver_sql("UPDATE cases SET flag = 'seen', version = version + 1")
        )
        await send(world, noted("one"))
        await world.settle()
        (case,) = cases(world)
        assert timeline(world, case.id) == ["case.requested", "noted"]
        assert world.rows("SELECT flag, version FROM cases") == [("seen", 3)]


async def test_one_bad_write_does_not_stop_the_others(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        whole = world.bridge.router._write

        def write(conn: Any, batch: Any) -> None:
            if any(one["k"] == bad for one in batch.changes.keys):
                raise ValueError("this one cannot be written for 13812345678")
            whole(conn, batch)

        bad = world.bridge.store.vault.mark("account:shop", "return", "R5")
        monkeypatch.setattr(world.bridge.router, "_write", write)
        await stop_loop(world, "Router.run")
        for number in range(12):
            await send(world, requested(number))
        assert await world.bridge.router.turn() == 12
        assert len(cases(world)) == 11
        (row,) = world.rows("SELECT stage, note FROM inbox WHERE state = 'parked'")
        assert row == ("write", "ValueError: this one cannot be written for ***")
        assert "parked:shop" in alerts(world)


async def test_a_fault_in_parse_parks_the_row_and_later_events_go_on(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        assert await push(world, {"explode": "cannot read buyer mei@example.com"}) == 200
        assert await push(world, {"events": [{"type": "noted", "key": "k", "at": "李雷 13812345678"}]}) == 200
        assert await send(world, requested()) == 200
        await world.settle()
        states = inbox(world)
        assert states[0][1:] == ("parked", "parse", "RuntimeError: cannot read buyer ***@***")
        assert states[1][1:3] == ("parked", "parse")
        assert "李雷" not in states[1][3] and "13812345678" not in states[1][3]
        assert len(cases(world)) == 1
        ((key, trace),) = world.rows("SELECT key_id, trace FROM inbox WHERE id = 1")
        assert b"rmabridge_toy.py" in world.bridge.store.vault.open(key, trace)


async def test_a_failure_while_routing_parks_the_row_and_flags_its_case_until_it_is_replayed(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, requested())
        await world.settle()
        with monkeypatch.context() as patch:
            patch.setattr("rmabridge.flow.work.reduce", lambda *_: 1 / 0)
            await send(world, noted("one"))
            await world.until(lambda: world.rows("SELECT 1 FROM inbox WHERE state = 'parked'"))
        assert inbox(world)[1][1:] == ("parked", "route", "ZeroDivisionError: division by zero")
        assert world.rows("SELECT flag FROM cases") == [("inbox row 2 is parked",)]
        await send(world, noted("two"))
        await world.settle()
        (case,) = cases(world)
        assert timeline(world, case.id) == ["case.requested", "noted"]
        assert await command(world, "replay", rows=[2]) == ("done", "1 of 1 rows queued again")
        await world.settle()
        assert timeline(world, case.id) == ["case.requested", "noted", "noted"]
        assert world.rows("SELECT flag FROM cases") == [(None,)]


async def test_a_row_claimed_three_times_is_routed_alone_and_from_five_on_it_is_parked(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await stop_loop(world, "Router.run")
        for number in range(4):
            await send(world, requested(number))
        for died_with in ([2, 3], [2, 3], [2, 3], [3], [3], [3], [3], [3]):
            await world.bridge.store.write(lambda conn, ids=died_with: inbox_store.claim(conn, ids))
        assert [await world.bridge.router.turn() for _ in range(4)] == [1, 1, 2, 0]
        assert [one[1] for one in inbox(world)] == ["done", "done", "parked", "done"]
        assert inbox(world)[2][3] == "routing it did not end 8 times"
        assert len(cases(world)) == 3


async def test_rows_that_a_process_died_with_are_counted_at_the_next_start(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url)
    async with running(config, sink) as world:
        await stop_loop(world, "Router.run")
        await send(world, requested())
        await world.bridge.store.note_routing([1])
    store = make(read(config).bridge).open()
    counted = store.read(lambda conn: [tuple(one) for one in conn.exec_driver_sql("SELECT state, claims FROM inbox")])
    await store.close()
    assert counted == [("new", 1)]
    async with running(config, sink) as world:
        await world.settle()
        assert world.rows("SELECT state FROM inbox") == [("done",)]


async def test_what_came_first_stays_first_when_another_process_changed_its_case(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, requested())
        await world.settle()
        await stop_loop(world, "Router.run")
        # The batch fails, then its first half alone; the other half must not overtake it.
        errors = [inbox_store.Conflict("changed"), inbox_store.Conflict("changed")]
        flaky(monkeypatch, world, lambda: errors.pop() if errors else None)
        for text in ("one", "two"):
            await send(world, noted(text))
        while await world.bridge.router.turn():
            pass
        assert [one[1] for one in inbox(world)] == ["done"] * 3
        said_ = world.rows("SELECT inbox_id FROM timeline WHERE type = 'noted' ORDER BY seq")
        assert said_ == sorted(said_)


async def test_an_answer_on_a_ticket_that_is_not_known_yet_waits_for_the_commit_that_names_it(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        told = event("message.received", "a1", 5, {"ticket": "T9"}, message=_words("a1", 5, "agent"))
        await send(world, told)
        await send(world, event("message.received", "a2", 5, {}, message=_words("a2", 5, "agent")))
        await world.until(lambda: [one[1] for one in inbox(world)] == ["unmatched", "unmatched"])
        assert inbox(world)[0][3] == "no case knows ticket yet"
        await send(world, requested())
        await world.settle()
        assert inbox(world)[0][1] == "unmatched"
        await send(world, event("ticket.seen", "t1", 6, {"return": "R1", "ticket": "T9"}, status="open"))
        await world.until(lambda: inbox(world)[0][1] == "done")
        (case,) = cases(world)
        assert timeline(world, case.id) == ["case.requested", "ticket.seen", "message.received"]
        assert inbox(world)[1][1] == "unmatched"
        assert await command(world, "replay", rows=[2]) == ("done", "1 of 1 rows queued again")
        await world.until(lambda: inbox(world)[1][1] == "unmatched")


async def test_one_of_several_events_of_a_body_waits_alone(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, event("parcel.seen", "p", 1, {}, parcel={"waybill": "SF77"}), requested())
        await world.until(lambda: [one[1] for one in inbox(world)] == ["done", "unmatched"])
        assert len(cases(world)) == 1
        await send(world, event("parcel.seen", "q", 2, {"return": "R1"}, parcel={"waybill": "SF77"}))
        await world.settle()
        assert timeline(world, cases(world)[0].id) == ["case.requested", "parcel.seen", "parcel.seen"]


async def test_what_waited_too_long_for_a_case_is_parked_with_an_alert(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, event("ticket.seen", "t1", 6, {"ticket": "T9"}, status="open"))
        await world.until(lambda: inbox(world)[0][1] == "unmatched")
        await world.bridge.timers.clean()
        assert inbox(world)[0][1] == "unmatched"
        shift(world, hours=73)
        await world.bridge.timers.clean()
        assert inbox(world)[0][1] == "parked"
        assert "unmatched:shop" in alerts(world)


async def test_a_message_that_may_be_our_own_ticket_waits_only_as_long_as_that_is_open(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, requested())
        await world.settle()
        await world.bridge.store.write(lambda conn: _creating(conn, cases(world)[0].id))
        await send(world, event("message.received", "m", 5, {"ticket": "T5"}, message=_words("m", 5)))
        await world.until(lambda: world.rows("SELECT 1 FROM inbox WHERE id = 2 AND due_at > 0"))
        assert len(cases(world)) == 1
        await world.bridge.store.write(lambda conn: conn.exec_driver_sql("UPDATE outbox SET state = 'dead'"))
        shift(world, seconds=3)
        await world.until(lambda: len(cases(world)) == 2)


def _creating(conn: Any, case_id: str) -> None:
    empty = words("x''")
    conn.exec_driver_sql(
        "INSERT INTO outbox (case_id, shop, account, type, key, stream, state, due_at, money, digest, depth, proposer, "
        "created_at, verdicts, key_id, doc) SELECT id, shop, 'shop', 'ticket.open', 'x', 'x', 'uncertain', "
        f"9000000000000000, false, {empty}, 0, 'test', 0, '[]', key_id, {empty} FROM cases WHERE id = '{case_id}'"
    )


async def test_a_deadline_of_an_older_generation_changes_nothing(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        soon, later = ((datetime.now(UTC) + timedelta(hours=one)).timestamp() for one in (1, 5))
        await send(world, requested(), noted(f"timer remind {soon}"))
        await world.settle()
        (case,) = cases(world)
        (old,) = case.deadlines
        await send(world, noted(f"timer remind {later}"))
        await world.settle()
        stale = event("deadline.reached", "old", 2, {"return": "R1"}, name="remind", generation=old.generation)
        await send(world, stale)
        shift(world, hours=2)
        await world.settle()
        assert timeline(world, case.id) == ["case.requested", "noted", "noted"]
        shift(world, hours=4)
        await world.until(lambda: timeline(world, case.id)[3:] == ["deadline.reached"])
        assert not cases(world)[0].deadlines


@pytest.mark.parametrize(("length", "told"), [(39, False), (40, True)])
async def test_a_chain_of_events_is_cut_off_and_told_only_where_something_was_left(
    tmp_path: Path, sink: Sink, length: int, told: bool
) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        await send(world, requested(1))
        await send(world, noted(f"count {length}"))
        await world.settle()
        (case,) = cases(world)
        assert timeline(world, case.id).count("noted") == length + 1
        assert ("bridge.derived" in "".join(alerts(world))) is told


async def test_events_that_follow_from_each_other_are_held_in_the_end(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url, "scripted", hourly_budget=1000)
    config["policies"] = {"scripted": {"chases": True}}
    async with running(config, sink) as world:
        await send(world, requested())
        await world.until(lambda: "held" in ledger(world).values())
        (verdicts,) = world.rows("SELECT verdicts FROM outbox WHERE state = 'held' ORDER BY id LIMIT 1")[0]
        assert json.loads(verdicts)[0]["rule"] == "bridge.depth"


async def test_a_case_past_its_budget_is_held_with_an_alert(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted", hourly_budget=5), sink) as world:
        await send(world, requested(), *(noted(f"say {number}") for number in range(7)))
        await world.settle()
        (case,) = cases(world)
        assert list(ledger(world).values()).count("done") == 5
        assert {"say:5": "held", "say:6": "held"}.items() <= ledger(world).items()
        assert f"budget:{case.id}" in alerts(world)
        shift(world, hours=2)
        await send(world, noted("say later"))
        await world.until(lambda: ledger(world).get("say:later") == "done")


@pytest.mark.parametrize("hook", ["amend", "review"])
async def test_an_action_that_a_failing_policy_cannot_judge_is_held(tmp_path: Path, sink: Sink, hook: str) -> None:
    config = toybox(tmp_path, sink.url, "scripted", "faulty")
    config["policies"] = {"faulty": {"plugin": "scripted", "faults": [hook]}}
    async with running(config, sink) as world:
        await send(world, requested(), noted("say hello"))
        await world.settle()
        assert ledger(world) == {"say:hello": "held"}
        ((rules, reason),) = world.rows("SELECT rules, reason FROM approvals")
        assert rules == "faulty.error" and f"the policy's {hook} failed: RuntimeError" in reason
        assert await command(world, "approve", approval=1) == ("done", "say:hello: due")
        await world.until(lambda: said(world) == ["hello"])


async def test_a_policy_whose_decide_raises_is_told_and_the_others_are_heard(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url, "faulty", "scripted")
    config["policies"] = {"faulty": {"plugin": "scripted", "faults": ["decide"]}}
    async with running(config, sink) as world:
        await send(world, requested(), noted("say hello"))
        await world.until(lambda: said(world) == ["hello"])
        assert alerts(world)["policy:faulty"] == "decide failed: RuntimeError: decide fell over with ***"
        assert world.rows("SELECT flag FROM cases") == [("policy faulty failed",)]


async def test_facts_are_supplied_and_a_missing_one_is_waited_for_only_so_long(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "needy"), sink) as world:
        buyer = {"id": "B1"}
        await send(world, requested(1, buyer=buyer))
        await world.settle()
        assert list(ledger(world).values()) == ["due"]
        assert said(world) == []
        shift(world, minutes=11)
        await world.until(lambda: len(said(world)) == 1)
        assert said(world) == ["order=None missing=order history=0 parcels="]
        order = {"id": "O2", "placed_at": "2026-01-01T00:00:00Z"}
        await send(world, requested(2, buyer=buyer, order=order))
        await world.until(lambda: len(said(world)) == 2)
        assert said(world)[1] == "order=O2 missing= history=1 parcels="


async def test_what_is_held_until_its_window_is_reviewed_again_when_it_opens(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url, "scripted")
    config["policies"] = {
        "scripted": {"window": (datetime.now(UTC) + timedelta(hours=8)).isoformat(), "deny_when": ["declined"]}
    }
    async with running(config, sink) as world:
        await send(
            world,
            requested(1),
            noted("say one", 1),
            requested(2),
            noted("say two", 2),
            requested(3),
            noted("say three", 3),
        )
        await world.settle()
        assert ledger(world) == {"say:one": "held", "say:two": "held", "say:three": "held"}
        assert world.rows("SELECT count(*) FROM approvals") == [(0,)]
        await send(world, event("request.changed", "no", 3, {"return": "R2"}, status="declined"))
        await world.settle()
        assert ledger(world) == {"say:one": "held", "say:two": "cancelled", "say:three": "held"}
        shift(world, hours=9)
        await world.until(lambda: sorted(said(world)) == ["one", "three"])
        await world.settle()
        assert ledger(world) == {"say:one": "done", "say:two": "cancelled", "say:three": "done"}


async def test_an_approval_names_the_exact_words_and_changed_words_are_asked_for_again(
    tmp_path: Path, sink: Sink
) -> None:
    config = toybox(tmp_path, sink.url, "scripted")
    config["policies"] = {"scripted": {"shows_level": True}}
    async with running(config, sink) as world:
        await send(world, requested(), noted("say ask first"))
        await world.settle()
        assert world.rows("SELECT state FROM approvals") == [("waiting",)]
        await send(world, event("case.classified", "c", 4, {"return": "R1"}, level=3))
        await world.settle()
        assert await command(world, "approve", approval=1) == (
            "done",
            "say:ask first: held: scripted.ask: a person decides",
        )
        assert world.rows("SELECT state FROM approvals ORDER BY id") == [("approved",), ("waiting",)]
        assert said(world) == []
        assert await command(world, "approve", approval=2) == ("done", "say:ask first: due")
        await world.until(lambda: said(world) == ["say:ask first at level 3"])
        state, why = await command(world, "approve", approval=2)
        assert (state, why) == ("refused", "approval 2: was approved")


async def test_nobody_is_asked_any_more_about_what_was_cancelled(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url, "scripted")
    config["policies"] = {"scripted": {"deny_when": ["declined"]}}
    async with running(config, sink) as world:
        await send(world, requested(), noted("say ask"))
        await world.settle()
        assert world.rows("SELECT state FROM approvals") == [("waiting",)]
        await send(world, event("request.changed", "no", 3, {"return": "R1"}, status="declined"))
        await world.settle()
        assert ledger(world) == {"say:ask": "cancelled"}
        assert world.rows("SELECT state FROM approvals") == [("void",)]


async def test_what_was_approved_stays_approved_after_a_restart(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url, "scripted")
    async with running(config, sink) as world:
        await send(world, requested(), noted("say first ask"), noted("say second ask after first ask"))
        await world.settle()
        assert await command(world, "approve", approval=2) == ("done", "say:second ask: waiting")
    async with running(config, sink) as world:
        assert await command(world, "approve", approval=1) == ("done", "say:first ask: due")
        await world.until(lambda: ledger(world) == {"say:first ask": "done", "say:second ask": "done"})


async def test_a_command_that_fits_nothing_is_refused_with_its_reason(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        await send(world, requested())
        await world.settle()
        (case,) = cases(world)
        assert await command(world, "close", case.id) == ("done", "closed")
        state, why = await command(world, "close", case.id)
        assert state == "refused" and "cannot be closed" in (why or "")
        assert cases(world)[0].status is Status.CLOSED
        assert await command(world, "reopen", case.id) == ("done", "reopened, round 2")
        assert (await command(world, "reopen", case.id))[0] == "refused"
        assert (await command(world, "close", "C000"))[0] == "refused"
        assert (await command(world, "dance", case.id))[0] == "refused"


async def test_every_change_of_a_case_is_forwarded_once_and_signed(tmp_path: Path) -> None:
    secret = "whsec_" + base64.b64encode(b"x" * 32).decode()
    async with Sink(secret=secret) as sink:
        config = toybox(tmp_path, sink.url, shop={"forwards": ["erp"], "helpdesk": None, "channels": []})
        del config["helpdesks"], config["channels"]
        config["services"] = {"erp": {"plugin": "http", "url": sink.url, "secret": secret, "allow_private": True}}
        async with running(config, sink) as world:
            await send(world, requested())
            await world.settle()
            await send(world, event("request.changed", "yes", 3, {"return": "R1"}, status="approved"))
            await world.settle()
            (case,) = cases(world)
            await command(world, "close", case.id)
            await world.settle()
            assert sink.books["refused"] == 0
            bodies = [one["body"] for one in sink.books["posts"]]
            assert [one["type"] for one in bodies] == ["case.updated", "case.updated", "case.closed"]
            assert [one["data"]["status"] for one in bodies] == ["requested", "approved", "closed"]
            assert {one["times"] for one in sink.books["ids"].values()} == {1}
            assert timeline(world, case.id).count("action.settled") == 3


async def test_an_event_about_a_case_that_was_erased_meanwhile_opens_no_other(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        soon = (datetime.now(UTC) + timedelta(hours=1)).timestamp()
        await send(world, requested(), noted(f"timer remind {soon}"))
        await world.settle()
        ((key,),) = world.rows("SELECT key_id FROM cases")
        await world.bridge.store.write(lambda conn: conn.exec_driver_sql(f"DELETE FROM buyer_keys WHERE id = '{key}'"))
        world.bridge.store.vault.forget(key)
        world.bridge.router.loader.cache.clear()
        shift(world, hours=2)
        await world.until(lambda: len(inbox(world)) == 2)
        await world.settle()
        assert [one[1] for one in inbox(world)] == ["done", "done"]
        assert world.rows("SELECT count(*) FROM cases") == [(1,)]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_order_with_repeats_ends_in_the_same_case(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    told = story(1)
    order = data.draw(st.permutations(range(len(told))))
    again = data.draw(st.lists(st.sampled_from(range(len(told))), max_size=5))
    async with Sink() as sink:
        folder = tmp_path_factory.mktemp("order")
        async with running(toybox(folder, sink.url), sink) as world:
            for number in [*order, *again]:
                await send(world, told[number], **{"X-Id": f"{number}-{world.number}"})
                world.number += 1
            await world.settle()
            (case,) = all_cases(world)
            facts = case.model_dump(exclude={"id"})
    assert facts == _in_order(told)
    assert len({as_event(one).key for one in told}) == len(told)


def _in_order(told: list[dict[str, Any]]) -> dict[str, Any]:
    """The case as the pure reducer makes it of the events in their order."""
    from rmabridge.core.reduce import reduce
    from rmabridge.model import Case

    case = Case(
        id="C1",
        shop="one",
        marketplace="shop",
        source="shop",
        opened_at=as_event(told[0]).at,
        updated_at=as_event(told[0]).at,
    )
    for one in told:
        case = reduce(case, as_event(one), "shop")
    return case.model_dump(exclude={"id"})


async def test_between_the_events_of_one_body_others_have_their_turn(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rmabridge.flow.pace.SLICE", 0.0)
    async with running(toybox(tmp_path, sink.url), sink) as world:
        router, turns, seen = world.bridge.router, 0, []
        route = router._route_event

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        def routed(*given: Any) -> str | None:
            seen.append(turns)
            return route(*given)

        monkeypatch.setattr(router, "_route_event", routed)
        task = asyncio.create_task(others())
        await send(world, *(requested(number) for number in range(20)))
        await world.until(lambda: len(cases(world)) == 20)
        task.cancel()
        assert len(set(seen)) == 20


async def test_the_key_of_a_day_goes_with_its_raw_bodies_unless_something_of_it_still_waits(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(toybox(tmp_path, sink.url), sink) as world:
        days = "SELECT id FROM buyer_keys WHERE id LIKE 'day:%' ORDER BY id"
        await send(world, requested())
        await world.settle()
        [first] = world.rows(days)
        shift(world, days=1)
        await send(world, event("ticket.seen", "t1", 6, {"ticket": "T9"}, status="open"))
        await world.until(lambda: ("unmatched",) in world.rows("SELECT state FROM inbox"))
        [_, second] = world.rows(days)
        shift(world, days=32)
        await world.bridge.timers.clean()
        assert first in world.rows(days)
        shift(world, days=3)
        await world.bridge.timers.clean()
        assert (first in world.rows(days), second in world.rows(days)) == (False, True)
