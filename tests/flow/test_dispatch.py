"""The dispatcher: its schedule, its streams, and what it does with what waits, perishes or is taken back."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bank import Bank, a_case, act, banking, later, message, reaches, refund, row, states
from toybox import alerts, command, said, shift, timeline, toybox

from rmabridge.flow.attempt import schedule
from rmabridge.flow.dispatcher import Dispatcher
from rmabridge.store import ops
from rmabridge.store.tables import outbox
from rmabridge.testing.simulators.sink import Sink
from worlds import World, running


def soon(world: World, **span: float) -> str:
    """A time from now on the bridge's clock."""
    return (world.bridge.store.clock.now() + timedelta(**span)).isoformat()


@pytest.fixture
def toys(tmp_path: Path, sink: Sink) -> dict[str, Any]:
    """A bridge without policies but the scripted one; its receivers know a repeated key, and nobody's breaker opens."""
    config = toybox(tmp_path, sink.url, "scripted")
    for one in (*config["channels"].values(), *config["helpdesks"].values()):
        one["breaker"] = 1000
    config["channels"]["mail"]["calls"] = {"message.send": {"repeatable": True}}
    return config


@pytest.mark.row("P16")
async def test_the_schedule_is_sixteen_tries_over_72_hours_with_jitter(toys: dict[str, Any], sink: Sink) -> None:
    sink.do_answer(503, times=100)
    async with running(toys, sink) as world:
        case = await a_case(world)
        await act(world, case, message("m1"))
        start, tried = world.bridge.store.clock.now(), []
        for number in range(1, 17):
            await world.until(
                lambda n=number: row(world, "m1")["attempt"] == n and row(world, "m1")["state"] != "sending"
            )
            tried.append(world.bridge.store.clock.now() - start)
            wait = (row(world, "m1")["due_at"] - world.bridge.store.clock.micros()) / 1e6
            if row(world, "m1")["state"] == "due":
                shift(world, seconds=wait + 0.001)
        print("tries after:", ", ".join(str(one).partition(".")[0] for one in tried))
        last = await reaches(world, "m1", "dead")
        assert (last["tries"], last["attempt"]) == (16, 16)
        assert timedelta(hours=72) * 0.8 <= tried[-1] <= timedelta(hours=72) * 1.2 + timedelta(minutes=1)
        pauses = [(b - a).total_seconds() for a, b in pairwise(tried)]
        planned = schedule(16, timedelta(hours=72))
        assert all(0.79 * plan <= pause <= 1.21 * plan + 2 for plan, pause in zip(planned, pauses, strict=True))
        assert any(abs(pause / plan - 1) > 0.02 for plan, pause in zip(planned, pauses, strict=True)), "no jitter"
        assert len(world.rows("SELECT 1 FROM attempts")) == 16
        await later(world, days=30)
        assert sink.books["refused"] == 16
        assert timeline(world, case).count("action.settled") == 1


@pytest.mark.row("P16")
async def test_the_vendors_wish_for_patience_is_honoured(toys: dict[str, Any], sink: Sink) -> None:
    sink.do_answer(503, headers={"Retry-After": "7200"})
    async with running(toys, sink) as world:
        await act(world, await a_case(world), message("m1"))
        await world.until(lambda: row(world, "m1")["state"] == "due" and row(world, "m1")["tries"] == 1)
        await later(world, minutes=119)
        assert row(world, "m1")["tries"] == 1
        shift(world, minutes=2)
        assert (await reaches(world, "m1", "done"))["tries"] == 2


@pytest.mark.row("P16")
@pytest.mark.parametrize("status", [400, 404, 409, 410, 422])
async def test_what_cannot_succeed_is_not_retried(toys: dict[str, Any], sink: Sink, status: int) -> None:
    sink.do_answer(status, times=50)
    async with running(toys, sink) as world:
        await act(world, await a_case(world), message("m1"))
        assert (await reaches(world, "m1", "dead"))["tries"] == 1
        await later(world, days=4)
        assert sink.books["refused"] == 1


async def test_an_absurd_wish_for_patience_stops_nobody(toys: dict[str, Any], sink: Sink) -> None:
    sink.do_answer(429, headers={"Retry-After": "99999999999999999999"})
    async with running(toys, sink) as world:
        case = await a_case(world)
        await act(world, case, message("m1"))
        await world.until(lambda: row(world, "m1")["tries"] == 1 and row(world, "m1")["state"] == "due")
        other = await a_case(world, 2)
        await act(world, other, message("m2"))
        await reaches(world, "m2", "done")
        shift(world, hours=25)
        await reaches(world, "m1", "done")


async def test_a_retrying_head_blocks_its_own_stream_only(toys: dict[str, Any], sink: Sink) -> None:
    sink.do_answer(503)
    async with running(toys, sink) as world:
        case, other = await a_case(world), await a_case(world, 2)
        await act(world, case, message("first"))
        await world.until(lambda: row(world, "first")["tries"] == 1 and row(world, "first")["state"] == "due")
        await act(world, case, message("second"))
        await act(world, case, {"type": "ticket.open", "external": case, "subject": "s", "text": "t"})
        await act(world, other, message("elsewhere"))
        await reaches(world, "ticket:open", "done")
        await reaches(world, "elsewhere", "done")
        assert (row(world, "second")["state"], row(world, "second")["attempt"]) == ("due", 0)
        shift(world, seconds=10)
        await reaches(world, "second", "done")
        assert [one["body"]["purpose"] for one in sink.books["posts"] if one["body"].get("to")] == [
            "elsewhere",
            "first",
            "second",
        ]


@pytest.mark.parametrize("state", ["held", "denied", "dead", "expired", "cancelled"])
async def test_what_is_not_going_out_blocks_nothing(toys: dict[str, Any], sink: Sink, state: str) -> None:
    async with running(toys, sink) as world:
        case = await a_case(world)
        if state == "dead":
            sink.do_answer(400)
            await act(world, case, message("first"))
        elif state == "expired":
            await act(world, case, message("first", not_after=soon(world, minutes=-1)))
        else:
            await act(world, case, message("ask first"))
            assert row(world, "ask first")["state"] == "held"
            number = world.rows("SELECT id FROM approvals")[0][0]
            if state == "denied":
                await command(world, "deny", approval=number)
            if state == "cancelled":
                await command(world, "cancel", delivery=row(world, "ask first")["id"])
        key = "first" if state in {"dead", "expired"} else "ask first"
        await reaches(world, key, state)
        await act(world, case, message("second"))
        await reaches(world, "second", "done")
        assert states(world)[key] == state


async def test_an_uncertain_row_blocks_its_own_stream_only(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, "scripted"), sink) as world:
        bank.answers = [500]
        case, other = await a_case(world), await a_case(world, 2)
        await act(world, case, refund())
        await reaches(world, "refund:R1:all", "uncertain")
        await act(world, case, refund(part="rest"))
        await act(world, case, message("words"))
        await act(world, other, refund(2))
        await reaches(world, "words", "done")
        await reaches(world, "refund:R2:all", "done")
        assert row(world, "refund:R1:rest")["state"] == "due"
        shift(world, hours=30)
        await act(world, other, message("much later"))
        await reaches(world, "much later", "done")
        assert row(world, "refund:R1:rest")["state"] == "due"
        said_ = await command(world, "resolve", delivery=row(world, "refund:R1:all")["id"], happened=True)
        assert said_[0] == "done"
        await reaches(world, "refund:R1:rest", "done")
        assert bank.times_paid == 3


async def test_what_another_action_needs_goes_first_and_its_failure_closes_the_other(
    toys: dict[str, Any], sink: Sink
) -> None:
    async with running(toys, sink) as world:
        case = await a_case(world)
        await act(world, case, message("ask base"))
        await act(world, case, message("child", needs="ask base"))
        await act(world, case, message("grandchild", needs="child"))
        assert states(world) == {"ask base": "held", "child": "waiting", "grandchild": "waiting"}
        await command(world, "approve", approval=world.rows("SELECT id FROM approvals")[0][0])
        await reaches(world, "grandchild", "done")
        assert said(world) == ["hello"] * 3
        sink.do_answer(400)
        other = await a_case(world, 2)
        await act(world, other, message("bad"))
        await act(world, other, message("lost", needs="bad"))
        await act(world, other, message("lost too", needs="lost"))
        await reaches(world, "lost too", "cancelled")
        assert row(world, "lost")["cause"] == "bad, which it needs, is dead"
        assert row(world, "lost too")["cause"] == "lost, which it needs, is cancelled"
        assert (await act(world, other, message("too late", needs="bad"))).startswith("too late: cancelled")


async def test_a_newer_message_supersedes_one_that_still_waits_and_what_needed_it_is_closed(
    toys: dict[str, Any], sink: Sink
) -> None:
    async with running(toys, sink) as world:
        case = await a_case(world)
        await act(world, case, message("ask one", replaces="news"))
        await act(world, case, message("follows", needs="ask one"))
        await act(world, case, message("two", replaces="news"))
        await reaches(world, "two", "done")
        assert states(world) == {"ask one": "superseded", "follows": "cancelled", "two": "done"}
        assert (await act(world, case, message("late", needs="ask one"))).startswith("late: cancelled")
        assert not world.rows("SELECT 1 FROM approvals WHERE state = 'waiting'")


async def test_nothing_stale_is_sent_and_the_operator_learns_of_it(toys: dict[str, Any], sink: Sink) -> None:
    sink.do_answer(503)
    async with running(toys, sink) as world:
        case = await a_case(world)
        await act(world, case, message("late", not_after=soon(world, hours=1)))
        await act(world, case, message("follows", needs="late"))
        await world.until(lambda: row(world, "late")["tries"] == 1)
        shift(world, hours=2)
        expired = await reaches(world, "late", "expired")
        await reaches(world, "follows", "cancelled")
        assert re.fullmatch("its time was over at .*; but a try may have done it", expired["cause"])
        assert "expired:mail" in alerts(world)
        assert timeline(world, case).count("action.settled") == 1
        assert sink.books["posts"] == []
        answer = await command(world, "retry", delivery=expired["id"])
        assert answer[0] == "done"
        await reaches(world, "late", "done")
        await reaches(world, "follows", "done")
        assert timeline(world, case).count("action.settled") == 3, "the case learns of the second ending, too"
        assert world.rows("SELECT flag FROM cases") == [(None,)]


async def test_what_perishes_at_a_paused_account_expires_all_the_same(toys: dict[str, Any], sink: Sink) -> None:
    async with running(toys, sink) as world:
        case = await a_case(world)
        await command(world, "pause", account="mail")
        await act(world, case, message("late", not_after=soon(world, hours=1)))
        shift(world, hours=2)
        await reaches(world, "late", "expired")


async def test_cancelling_what_is_being_sent_says_that_it_may_arrive_and_what_is_done_cannot_be_cancelled(
    tmp_path: Path, sink: Sink
) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url), sink) as world:
        bank.go.clear()
        await act(world, await a_case(world), refund())
        await reaches(world, "refund:R1:all", "sending")
        state, told = await command(world, "cancel", delivery=row(world, "refund:R1:all")["id"])
        assert (state, "a try may have done it" in told) == ("done", True)
        bank.go.set()
        paid = await reaches(world, "refund:R1:all", "done")
        state, told = await command(world, "cancel", delivery=paid["id"])
        assert (state, "is done and cannot be cancelled" in told) == ("refused", True)


async def test_one_accounts_long_queue_hides_nobody_elses(toys: dict[str, Any], sink: Sink) -> None:
    """Many rows of one account are due, and all of them were due before the other's."""
    toys["channels"]["mail"] |= {"in_flight": 2, "rate": "2/min"}
    async with running(toys, sink) as world:
        case = await a_case(world)
        await command(world, "pause", account="mail")
        await act(world, case, message("pattern"))
        _multiply(world, 500)
        await command(world, "resume", account="mail")
        await act(world, case, {"type": "ticket.open", "external": "x", "subject": "s", "text": "t"})
        await reaches(world, "ticket:open", "done")
        assert world.rows("SELECT count(*) FROM outbox WHERE state = 'due'")[0][0] >= 490


async def test_five_thousand_due_rows_are_claimed_a_few_at_a_time(toys: dict[str, Any], sink: Sink) -> None:
    toys["bridge"] |= {"hourly_budget": 10_000, "daily_budget": 10_000}
    async with running(toys, sink) as world:
        case = await a_case(world)
        await command(world, "pause", account="mail")
        await act(world, case, message("pattern"))
        _multiply(world, 5000)
        most, unrecorded, dispatcher = 0, 0, world.bridge.dispatcher
        await command(world, "resume", account="mail")
        async with asyncio.timeout(60):
            while len(sink.books["posts"]) < 300:
                flying = world.rows("SELECT count(*) FROM outbox WHERE state = 'sending'")[0][0]
                most, unrecorded = max(most, dispatcher.gates["mail"].busy), max(unrecorded, flying)
                await asyncio.sleep(0.02)
        assert 1 <= most <= 8
        assert unrecorded <= 64, "and those whose end is on its way to the disk"


def _multiply(world: World, number: int) -> None:
    """Copies of the one due row, each in a stream of its own."""
    names = [one.name for one in outbox.c if one.name not in {"id", "key", "stream"}]
    columns = ", ".join(names)
    query = (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {number}) "
        f"INSERT INTO outbox (key, stream, {columns}) "
        f"SELECT 'copy' || i, 'copy' || i, {columns} FROM outbox, n WHERE key = 'pattern'"
    )
    world.bridge.store.now(lambda conn: conn.exec_driver_sql(query))


async def test_a_claim_that_a_stop_overtakes_is_given_back(toys: dict[str, Any], sink: Sink) -> None:
    async with running(toys, sink) as world:
        from toybox import stop_loop

        await stop_loop(world, "Dispatcher.run")
        case = await a_case_without_dispatch(world)
        await act(world, case, message("m1"))
        turn = asyncio.create_task(world.bridge.dispatcher.turn())
        await asyncio.sleep(0)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        given_back = row(world, "m1")
        assert (given_back["state"], given_back["tries"], given_back["lease_until"]) == ("due", 0, None)
        assert sink.books["posts"] == []
        await world.bridge.dispatcher.turn()
        await reaches(world, "m1", "done")


async def test_what_was_due_by_a_clock_that_was_ahead_goes_when_it_is_set_back_and_a_wished_pause_holds(
    toys: dict[str, Any], sink: Sink
) -> None:
    sink.do_answer(503, headers={"Retry-After": "7200"})
    async with running(toys, sink) as world:
        store = world.bridge.store
        await act(world, await a_case(world, 1), message("patient"))
        await world.until(lambda: row(world, "patient")["tries"] == 1 and row(world, "patient")["state"] == "due")
        await store.write(lambda conn: ops.set_paused(conn, "mail", on=True, reason="", now=1))
        shift(world, hours=1)
        await act(world, await a_case(world, 2), message("ahead"))
        await reaches(world, "ahead", "due")
        wished, ahead = row(world, "patient")["due_at"], row(world, "ahead")["due_at"]
        shift(world, hours=-1)
        assert ahead > store.clock.micros() + 3_000_000_000
        await store.write(lambda conn: ops.set_paused(conn, "mail", on=False, reason="", now=2))
        await reaches(world, "ahead", "done")
        assert (row(world, "patient")["due_at"], row(world, "patient")["tries"]) == (wished, 1)


async def a_case_without_dispatch(world: World) -> str:
    """A case while nothing is sent."""
    from toybox import requested, send

    await send(world, requested())
    await world.until(lambda: world.rows("SELECT 1 FROM cases"))
    return str(world.rows("SELECT id FROM cases")[0][0])


async def test_a_loop_that_starts_again_leaves_calls_under_way_alone(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk may end the dispatcher's loop; the bridge starts it again while calls are in the air."""
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, call={"repeatable": True}), sink) as world:
        bank.go.clear()
        await act(world, await a_case(world), refund())
        await reaches(world, "refund:R1:all", "sending")
        failed, real = asyncio.Event(), Dispatcher.turn

        async def fails(self: Dispatcher) -> int:
            monkeypatch.setattr(Dispatcher, "turn", real)
            failed.set()
            raise OSError("no space left on device")

        monkeypatch.setattr(Dispatcher, "turn", fails)
        world.bridge.dispatcher.wake.set()
        await asyncio.wait_for(failed.wait(), 5)
        await asyncio.sleep(1.2)
        assert row(world, "refund:R1:all")["state"] == "sending"
        bank.go.set()
        await reaches(world, "refund:R1:all", "done")
        assert len(bank.books["asked"]) == 1


def hold(world: World, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Tries wait before their call until the event is set."""
    gate, dispatcher = asyncio.Event(), world.bridge.dispatcher
    attempt = dispatcher._try

    async def slow(*given: Any) -> Any:
        await gate.wait()
        return await attempt(*given)

    monkeypatch.setattr(dispatcher, "_try", slow)
    return gate


@pytest.mark.parametrize("known", ["while it was at hand", "after it was read again"])
@pytest.mark.parametrize("answer", [200, 429])
async def test_what_is_taken_back_during_a_try_counts_if_it_arrives_and_is_not_tried_again_if_not(
    toys: dict[str, Any], sink: Sink, monkeypatch: pytest.MonkeyPatch, known: str, answer: int
) -> None:
    async with running(toys, sink) as world:
        case, gate = await a_case(world), hold(world, monkeypatch)
        await act(world, case, message("one", replaces="news"))
        await world.until(lambda: row(world, "one")["state"] == "sending")
        if known == "after it was read again":
            world.bridge.router.loader.cache.clear()
        await act(world, case, message("two", replaces="news"))
        if answer != 200:
            sink.do_answer(answer)
        gate.set()
        taken = await reaches(world, "one", "done" if answer == 200 else "cancelled")
        await reaches(world, "two", "done")
        assert taken["tries"] == 1
        assert answer == 200 or taken["cause"] == "a newer two says it"
        await later(world, days=4)
        assert len(sink.books["posts"]) == (2 if answer == 200 else 1)


@pytest.mark.parametrize(("answer", "state", "paid"), [(503, "done", 1), (429, "cancelled", 0)])
async def test_money_taken_back_during_a_try_that_may_have_paid_it_is_looked_up(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch, answer: int, state: str, paid: int
) -> None:
    find = {"path": "payments/{key}", "found": "id"}
    async with Bank(remembers=True) as bank:
        config = banking(tmp_path, sink.url, bank.url, call={"repeatable": True, "find": find})
        async with running(config, sink) as world:
            case, gate = await a_case(world), hold(world, monkeypatch)
            bank.answers = [answer]
            await act(world, case, refund(replaces="remedy"))
            await world.until(lambda: row(world, "refund:R1:all")["state"] == "sending")
            await act(world, case, message("news", replaces="remedy"))
            gate.set()
            if paid:
                found = await reaches(world, "refund:R1:all", "uncertain", "done")
                assert found["state"] == "done" or "it was taken back" in found["cause"]
                await later(world, minutes=30)
            await reaches(world, "refund:R1:all", state)
            await later(world, days=4)
            assert (len(bank.books["asked"]), bank.times_paid) == (1, paid)


@pytest.mark.parametrize("how", ["superseded", "cancelled", "too late"])
@pytest.mark.parametrize(("answer", "paid"), [(503, 1), (429, 0)])
async def test_money_that_an_earlier_try_may_have_paid_is_looked_up_when_it_is_not_to_be_tried_again(
    tmp_path: Path, sink: Sink, answer: int, paid: int, how: str
) -> None:
    find = {"path": "payments/{key}", "found": "id"}
    async with Bank(remembers=True) as bank:
        config = banking(tmp_path, sink.url, bank.url, call={"repeatable": True, "find": find})
        async with running(config, sink) as world:
            case = await a_case(world)
            bank.answers = [answer]
            await act(world, case, refund(replaces="remedy", not_after=soon(world, hours=1)))
            await world.until(lambda: (row(world, "refund:R1:all")["state"], len(bank.books["asked"])) == ("due", 1))
            if how == "superseded":
                await act(world, case, message("news", replaces="remedy"))
            elif how == "cancelled":
                _, told = await command(world, "cancel", delivery=row(world, "refund:R1:all")["id"])
                assert ("a try may have done it" in told) == bool(paid)
            else:
                shift(world, hours=1, minutes=1)
            if paid:
                found = await reaches(world, "refund:R1:all", "uncertain", "done")  # it may be looked up at once
                assert found["state"] == "done" or "a try may have done it" in found["cause"]
                await later(world, minutes=30)
            await reaches(world, "refund:R1:all", "done" if paid else {"too late": "expired"}.get(how, how))
            await later(world, days=4)
            assert (len(bank.books["asked"]), bank.times_paid) == (1, paid)


async def test_what_was_taken_back_during_a_try_is_sent_when_a_person_says_so(
    toys: dict[str, Any], sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(toys, sink) as world:
        case, gate = await a_case(world), hold(world, monkeypatch)
        await act(world, case, message("one", replaces="news"))
        await world.until(lambda: row(world, "one")["state"] == "sending")
        await act(world, case, message("two", replaces="news"))
        sink.do_answer(429)
        gate.set()
        taken = await reaches(world, "one", "cancelled")
        await command(world, "retry", delivery=taken["id"])
        assert (await reaches(world, "one", "done"))["attempt"] == 2


async def test_a_retry_and_an_open_breaker_of_a_clock_that_was_ahead_wait_no_longer_when_it_is_set_back(
    toys: dict[str, Any], sink: Sink
) -> None:
    toys["channels"]["mail"] |= {
        "breaker": 1,
        "breaker_pause": "PT30S",
        "calls": {"message.send": {"repeatable": True}},
    }
    async with running(toys, sink) as world:
        case = await a_case(world)
        shift(world, days=300)
        sink.do_answer(503)
        await act(world, case, message("one"))
        await world.until(lambda: (row(world, "one")["state"], row(world, "one")["tries"]) == ("due", 1))
        shift(world, days=-300)
        await act(world, case, message("two"))
        await reaches(world, "one", "done", seconds=30)
        await reaches(world, "two", "done", seconds=30)
        assert world.bridge.dispatcher.gates["mail"].open_until is None
