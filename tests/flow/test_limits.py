"""Limits, breakers and pauses: one account's trouble stays its own, and nothing is lost meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bank import Bank, a_case, act, banking, message, reaches, refund, row
from clocked import Clocked
from toybox import alerts, command, requested, send, shift, toybox

from rmabridge.testing.simulators.sink import Sink
from worlds import World, running


def two_channels(tmp_path: Path, sink: str, other: str, **settings: Any) -> dict[str, Any]:
    """The toy box with a second account that carries messages."""
    config = toybox(tmp_path, sink)
    again = {"message.send": {"repeatable": True}}
    plain = {"plugin": "http", "allow_private": True, "carries_forms": ["mail"], "calls": again}
    config["channels"] = {"mail": {**plain, "url": sink}}
    config["services"] = {"other": {**plain, "url": other, **settings}}
    return config


async def cases(world: World, number: int) -> list[str]:
    """So many cases."""
    await send(world, *(requested(one) for one in range(1, number + 1)))
    await world.until(lambda: world.rows("SELECT count(*) FROM cases") == [(number,)])
    return [one for (one,) in world.rows("SELECT id FROM cases ORDER BY opened_at")]


@pytest.mark.row("P18")
async def test_at_ten_times_the_limit_nothing_is_lost_and_the_vendor_never_sees_more(
    tmp_path: Path, sink: Sink, vendor: Clocked
) -> None:
    """100 calls become due at once where 10 a second may go, of two kinds of one account."""
    config = two_channels(tmp_path, sink.url, vendor.url, rate="10/s", in_flight=50)
    async with running(config, sink) as world:
        for number, case in enumerate(await cases(world, 50)):
            await act(world, case, message(f"m{number}", account="other"))
            ticket = {"type": "ticket.open", "account": "other", "external": case, "subject": "s", "text": "t"}
            await act(world, case, ticket)
        await world.until(lambda: len(vendor.came) >= 100, 30)
        await world.until(lambda: world.rows("SELECT count(*) FROM outbox WHERE state = 'done'") == [(100,)])
        print(f"100 calls in {vendor.came[-1] - vendor.came[0]:.1f} s, at most {vendor.most_within(1.0)} in any second")
        assert vendor.most_within(0.9) <= 10, "what leaves a second apart may come a tenth closer"
        assert len(vendor.keys) == len(vendor.came) == 100
        assert {one for (one,) in world.rows("SELECT tries FROM outbox")} == {1}, "waiting for the limit is no failure"


async def test_no_more_calls_than_configured_are_under_way_at_once(tmp_path: Path, sink: Sink, vendor: Clocked) -> None:
    async with running(two_channels(tmp_path, sink.url, vendor.url, in_flight=3), sink) as world:
        for number, case in enumerate(await cases(world, 20)):
            await act(world, case, message(f"m{number}", account="other"))
        await world.until(lambda: len(vendor.came) == 20)
        assert 1 <= vendor.most <= 3


@pytest.mark.row("P19")
async def test_an_outage_of_one_account_slows_nothing_else_and_burns_no_tries(tmp_path: Path, sink: Sink) -> None:
    async with Sink() as bad:
        bad.do_answer(503, times=10_000)
        config = two_channels(tmp_path, sink.url, bad.url, breaker=3, in_flight=2)
        async with running(config, sink) as world:
            ids = await cases(world, 20)
            for number, case in enumerate(ids):
                await act(world, case, message(f"bad{number}", account="other"))
                await act(world, case, message(f"good{number}"))
            await world.until(lambda: len(sink.books["posts"]) == 20)
            gate = world.bridge.dispatcher.gates["other"]
            await world.until(lambda: gate.open_until is not None and not gate.busy)
            refused = bad.books["refused"]
            assert 3 <= refused <= 4, "the threshold, and what was under way beside it"
            good = "SELECT count(*) FROM outbox WHERE account = 'mail' AND state = 'done'"
            await world.until(lambda: world.rows(good) == [(20,)])
            tries = dict(world.rows("SELECT tries, count(*) FROM outbox WHERE account = 'other' GROUP BY 1"))
            assert tries[0] >= 16, "behind an open breaker no tries are burnt"
            for number in range(1, 4):  # half open: one alone goes, fails, and the breaker is open again
                shift(world, seconds=31)
                await world.until(lambda n=number: bad.books["refused"] == refused + n)
                await world.until(lambda: gate.open_until > world.bridge.store.clock.now())
                await asyncio.sleep(0.05)
                assert bad.books["refused"] == refused + number
            bad._answers.clear()
            shift(world, seconds=31)
            await world.until(lambda: len(bad.books["posts"]) >= 15)
            assert (gate.open_until, gate.failures) == (None, 0)
            shift(world, hours=1)
            await world.until(lambda: world.rows("SELECT count(*) FROM outbox WHERE state = 'done'") == [(40,)])
            assert {one["times"] for one in bad.books["ids"].values()} == {1}


async def test_while_the_probe_is_under_way_nothing_else_goes(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank:
        config = banking(tmp_path, sink.url, bank.url, call={"repeatable": True}, breaker=1)
        async with running(config, sink) as world:
            bank.answers = [503]
            first, *others = await cases(world, 5)
            await act(world, first, refund(1))
            gate = world.bridge.dispatcher.gates["bank"]
            await world.until(lambda: gate.open_until and not gate.busy)
            for number, case in enumerate(others, 2):
                await act(world, case, refund(number))
            before = len(bank.books["asked"])
            bank.go.clear()
            shift(world, hours=1)
            await world.until(lambda: len(bank.books["asked"]) == before + 1)
            world.bridge.dispatcher.wake.set()
            await asyncio.sleep(0.1)
            assert (len(bank.books["asked"]), gate.busy) == (before + 1, 1)
            bank.go.set()
            await world.until(lambda: world.rows("SELECT count(*) FROM outbox WHERE state = 'done'") == [(5,)])


async def test_a_refusal_is_an_answer_and_opens_no_breaker(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, breaker=2), sink) as world:
        bank.answers = [422] * 5
        for number, case in enumerate(await cases(world, 5), 1):
            await act(world, case, refund(number))
            await reaches(world, f"refund:R{number}:all", "dead")
        assert world.bridge.dispatcher.gates["bank"].open_until is None


@pytest.mark.row("P20")
async def test_a_paused_account_sends_nothing_loses_nothing_and_goes_on_when_resumed(
    tmp_path: Path, sink: Sink
) -> None:
    config = two_channels(tmp_path, sink.url, sink.url)
    async with running(config, sink) as world:
        ids = await cases(world, 10)
        assert await command(world, "pause", account="other", reason="maintenance") == ("done", "other: paused")
        for number, case in enumerate(ids):
            await act(world, case, message(f"p{number}", account="other"))
            await act(world, case, message(f"q{number}"))
        await world.until(lambda: len(sink.books["posts"]) == 10)
        shift(world, days=3)
        await asyncio.sleep(0.1)
        assert {one["body"]["account"] for one in sink.books["posts"]} == {"mail"}
    async with running(config, sink) as world:
        await asyncio.sleep(0.1)
        assert len(sink.books["posts"]) == 10, "a pause outlives a restart"
        assert await command(world, "resume", account="other") == ("done", "other: running")
        await world.until(lambda: world.rows("SELECT count(*) FROM outbox WHERE state = 'done'") == [(20,)])
        assert len(sink.books["ids"]) == len(sink.books["posts"]) == 20
        assert {one for (one,) in world.rows("SELECT tries FROM outbox")} == {1}
        assert (await command(world, "pause", account="nobody"))[0] == "refused"


@pytest.mark.parametrize("status", [401, 403])
async def test_an_account_that_is_not_let_in_is_paused_with_an_alert_and_no_tries_are_burnt(
    tmp_path: Path, sink: Sink, status: int
) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url), sink) as world:
        bank.answers = [status] * 20
        ids = await cases(world, 5)
        for number, case in enumerate(ids, 1):
            await act(world, case, refund(number))
        await world.until(lambda: world.rows("SELECT paused FROM accounts WHERE name = 'bank'") == [(1,)])
        await world.until(lambda: not world.rows("SELECT 1 FROM outbox WHERE state = 'sending'"))
        await asyncio.sleep(0.1)
        assert len(bank.books["asked"]) <= 8
        assert dict(world.rows("SELECT state, tries FROM outbox")) == {"due": 0}
        assert "accounts resume bank" in alerts(world)["unauthorised:bank"]
        bank.answers.clear()
        await command(world, "resume", account="bank")
        await world.until(lambda: world.rows("SELECT count(*) FROM outbox WHERE state = 'done'") == [(5,)])
        assert bank.times_paid == 5
        assert "unauthorised:bank" not in alerts(world)


async def test_a_fault_in_a_plugins_route_ends_its_row_and_nothing_else(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url), sink) as world:
        case = await a_case(world)
        await command(world, "pause", account="bank")
        await act(world, case, refund())
        right, routes = world.bridge.registry.routes["bank"], world.bridge.registry.routes

        def wrong(**_: Any) -> Any:
            raise RuntimeError("the plugin's fault")

        routes["bank"] = wrong
        await command(world, "resume", account="bank")
        found = await reaches(world, "refund:R1:all", "dead")
        assert "fault" in found["cause"]
        assert world.bridge.dispatcher.gates["bank"].busy == 0
        routes["bank"] = right
        await command(world, "retry", delivery=row(world, "refund:R1:all")["id"])
        await reaches(world, "refund:R1:all", "done")
