"""What may have happened: recorded before the call, looked up after it, and never blindly repeated when it is money."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from bank import FIND, Bank, a_case, act, banking, held, later, message, reaches, refund, row
from rogue import Rogue
from sqlalchemy import Connection, insert, select
from toybox import alerts, command, requested, shift, taken_over, timeline, toybox

from rmabridge.store.tables import outbox
from rmabridge.testing.simulators.sink import Sink
from serving import Child
from worlds import World, running

KEY = "refund:R1:all"


async def lost(world: World, bank: Bank, case: str, key: str = KEY, **more: Any) -> dict[str, Any]:
    """A refund that the bank pays, and whose answer is an error."""
    bank.answers = [502]
    await act(world, case, refund(**more))
    return await reaches(world, key, "uncertain")


async def test_before_the_call_the_row_says_sending_attempt_and_owner(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url), sink) as world, held(bank):
        await act(world, await a_case(world), refund())
        await world.until(lambda: bank.books["asked"])
        found = row(world, KEY)
        assert (found["state"], found["attempt"], found["owner"]) == ("sending", 1, world.bridge.dispatcher.me)
        assert found["lease_until"] > world.bridge.store.clock.micros() + 300_000_000, "longer than any deadline"
        bank.go.set()
        assert (await reaches(world, KEY, "done"))["owner"] is None


async def test_a_late_answer_settles_the_row_that_became_uncertain_meanwhile(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url), sink) as world:
        case = await a_case(world)
        async with held(bank):
            await act(world, case, refund())
            await world.until(lambda: bank.books["asked"])
            await taken_over(world)
            uncertain = await reaches(world, KEY, "uncertain")
            assert uncertain["cause"] == "the process ended during the call"
        found = await reaches(world, KEY, "done")
        assert found["ref"].startswith("P-")
        assert timeline(world, case).count("action.settled") == 2
        assert world.rows("SELECT flag FROM cases") == [(None,)]
        assert world.rows("SELECT outcome FROM attempts") == [("done",)]
        assert bank.times_paid == 1


async def test_a_late_answer_to_an_older_attempt_is_kept_and_changes_nothing(tmp_path: Path, sink: Sink) -> None:
    async with Bank(remembers=True) as bank:
        config = banking(tmp_path, sink.url, bank.url, call={"repeatable": True})
        async with running(config, sink) as world:
            case = await a_case(world)
            async with held(bank):
                await act(world, case, refund())
                await world.until(lambda: len(bank.books["asked"]) == 1)
                await taken_over(world)
                world.bridge.dispatcher.wake.set()
                await world.until(lambda: len(bank.books["asked"]) == 2)
            found = await reaches(world, KEY, "done")
            await world.until(lambda: world.rows("SELECT count(*) FROM attempts") == [(2,)])
            assert found["attempt"] == 2
            assert timeline(world, case).count("action.settled") == 1
            assert bank.times_paid == 1


async def test_at_start_what_is_repeatable_goes_again_and_the_rest_is_uncertain(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank:
        config = banking(tmp_path, sink.url, bank.url)
        config["channels"]["mail"]["calls"] = {"message.send": {"repeatable": True}}
        async with running(config, sink) as world:
            case = await a_case(world)
            await command(world, "pause", account="bank")
            await command(world, "pause", account="mail")
            await act(world, case, refund())
            await act(world, case, message("m1"))
        async with running(config, sink) as world:
            _as_if_killed_while_sending(world)
        async with running(config, sink) as world:
            assert (await reaches(world, KEY, "uncertain"))["sent_at"] is not None
            assert row(world, "m1")["state"] == "due"
            await command(world, "resume", account="mail")
            await reaches(world, "m1", "done")
            assert "uncertain:bank" in alerts(world)
            assert bank.books["asked"] == []


def _as_if_killed_while_sending(world: World) -> None:
    now = world.bridge.store.clock.micros()
    world.bridge.store.now(
        lambda conn: conn.exec_driver_sql(
            "UPDATE outbox SET state = 'sending', attempt = 1, tries = 1, owner = 'dead:1', "
            f"lease_until = {now + 330_000_000}"
        )
    )


async def test_a_key_that_the_vendor_forgets_is_not_trusted_after_a_long_stop(tmp_path: Path, sink: Sink) -> None:
    """The process died while sending and comes back after the vendor has forgotten the key."""
    async with Bank(remembers=True) as bank:
        config = banking(tmp_path, sink.url, bank.url, call={"repeatable": True, "remembers": "PT2H"})
        async with running(config, sink) as world:
            case = await a_case(world)
            await command(world, "pause", account="bank")
            await act(world, case, refund())
        async with running(config, sink) as world:
            _as_if_killed_while_sending(world)
            ago = "UPDATE outbox SET lease_until = lease_until - 3 * 3600 * CAST(1000000 AS bigint)"
            world.bridge.store.now(lambda conn: conn.exec_driver_sql(ago))
        async with running(config, sink) as world:
            await command(world, "resume", account="bank")
            await reaches(world, KEY, "uncertain")
            assert bank.books["asked"] == []


async def test_tries_stop_when_the_vendor_forgets_a_key_that_it_may_have_used(tmp_path: Path, sink: Sink) -> None:
    async with Bank(remembers=True) as bank:
        call = {"repeatable": True, "remembers": "PT2H"}
        config = banking(tmp_path, sink.url, bank.url, call=call, breaker=100)
        async with running(config, sink) as world:
            bank.answers = [503] * 100
            await act(world, await a_case(world), refund())
            for _ in range(20):
                now = await world.until(lambda: (one := row(world, KEY))["state"] != "sending" and one)
                if now["state"] != "due":
                    break
                shift(world, microseconds=max(0, now["due_at"] - world.bridge.store.clock.micros()) + 1000)
                await world.until(lambda n=now["attempt"]: row(world, KEY)["attempt"] > n)
            found = await reaches(world, KEY, "uncertain")
            assert "no longer knows our key" in found["cause"]
            assert 3 < len(bank.books["asked"]) < 16
            assert bank.times_paid == 1


async def test_what_is_found_is_done_with_the_vendors_reference(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, call={"find": FIND}), sink) as world:
        case = await a_case(world)
        uncertain = await lost(world, bank, case)
        assert "look it up" in uncertain["hint"] or "server error" in uncertain["hint"]
        assert "uncertain:bank" in alerts(world)
        await later(world, seconds=31)
        found = await reaches(world, KEY, "done")
        assert found["ref"].startswith("P-")
        assert (bank.times_paid, found["attempt"]) == (1, 1)
        assert timeline(world, case).count("action.settled") == 2


async def test_absent_counts_only_after_the_vendor_has_settled_and_money_then_waits_for_a_person(
    tmp_path: Path, sink: Sink
) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, call={"find": FIND}), sink) as world:
        case = await a_case(world)
        await lost(world, bank, case)
        bank.books["paid"].clear()
        world.bridge.store.now(
            lambda conn: conn.exec_driver_sql("UPDATE outbox SET due_at = 0 WHERE state = 'uncertain'")
        )
        world.bridge.lookup.wake.set()
        await world.until(lambda: bank.books["looked"] == 1)
        await world.until(lambda: row(world, KEY)["due_at"] > 0)
        assert row(world, KEY)["cause"].startswith("HTTP 502"), "too early to say"
        await later(world, seconds=31)
        await world.until(lambda: "a person decides" in row(world, KEY)["cause"])
        await later(world, days=3)
        assert (row(world, KEY)["state"], bank.books["looked"], len(bank.books["asked"])) == ("uncertain", 2, 1)
        refused = await command(world, "resolve", delivery=row(world, KEY)["id"])
        assert refused[0] == "refused", "an answer that says nothing pays nothing"
        assert (await command(world, "resolve", delivery=row(world, KEY)["id"], happened=False))[0] == "done"
        await reaches(world, KEY, "done")
        assert (bank.times_paid, len(bank.books["asked"])) == (1, 2)
        assert world.rows("SELECT flag FROM cases") == [(None,)]
        assert timeline(world, case).count("action.settled") == 2


async def test_absent_money_goes_again_only_while_the_vendor_would_know_the_key(tmp_path: Path, sink: Sink) -> None:
    async with Bank(remembers=True) as bank:
        call = {"find": FIND, "repeatable": True, "remembers": "PT2H"}
        config = banking(tmp_path, sink.url, bank.url, call=call, tries=1)
        async with running(config, sink) as world:
            case = await a_case(world)
            await lost(world, bank, case)
            bank.books["paid"].clear()
            await later(world, seconds=31)
            await reaches(world, KEY, "done")
            assert (bank.times_paid, len(bank.books["asked"])) == (1, 2)
            await lost(world, bank, case, "refund:R1:rest", part="rest")
            bank.books["paid"].clear()
            shift(world, hours=3)
            world.bridge.lookup.wake.set()
            await world.until(lambda: "a person decides" in str(row(world, "refund:R1:rest")["cause"]))
            assert (bank.times_paid, len(bank.books["asked"])) == (0, 3)


async def test_absent_words_are_sent_again_because_they_are_no_money(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank:
        config = toybox(tmp_path, sink.url)
        find = {"path": f"{bank.url}/payments/{{key}}", "found": "id"}
        config["channels"]["mail"]["calls"] = {"message.send": {"find": find}}
        async with running(config, sink) as world:
            sink.do_answer(502)
            await act(world, await a_case(world), message("m1"))
            await reaches(world, "m1", "uncertain")
            assert sink.books["posts"] == []
            await later(world, seconds=31)
            await reaches(world, "m1", "done")
            assert len(sink.books["posts"]) == 1


async def test_a_vendor_that_cannot_say_is_asked_again_and_after_a_day_a_person_is(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, call={"find": FIND}), sink) as world:
        await lost(world, bank, await a_case(world))
        bank.find_answers = [500] * 1000
        asked = []
        for minutes in (1, 2, 5, 12, 30, 70, 200, 400, 800):
            before = row(world, KEY)["due_at"]
            shift(world, minutes=minutes)
            world.bridge.lookup.wake.set()
            await world.until(lambda before=before: row(world, KEY)["due_at"] != before)
            asked.append(bank.books["looked"])
        assert 6 <= bank.books["looked"] <= 10, asked
        assert row(world, KEY)["due_at"] > 1 << 60
        assert "a person" in row(world, KEY)["hint"]
        looked = bank.books["looked"]
        await later(world, days=5)
        assert bank.books["looked"] == looked
        assert len(bank.books["asked"]) == 1
        assert (await command(world, "resolve", delivery=row(world, KEY)["id"], happened=True, ref="by phone"))[
            0
        ] == "done"
        assert (row(world, KEY)["state"], row(world, KEY)["ref"]) == ("done", "by phone")
        assert (await command(world, "resolve", delivery=row(world, KEY)["id"], happened=False))[0] == "refused"


async def test_a_vendor_that_is_slow_to_be_asked_holds_up_nobody(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, Rogue("hang") as slow:
        find = {"path": f"{slow.url}/{{key}}", "found": "id"}
        async with running(banking(tmp_path, sink.url, bank.url, call={"find": find}), sink) as world:
            case = await a_case(world)
            await lost(world, bank, case)
            shift(world, seconds=31)
            world.bridge.lookup.wake.set()
            await world.until(lambda: slow.requests)
            await act(world, case, message("m1"))
            await reaches(world, "m1", "done")
            assert row(world, KEY)["state"] == "uncertain"


async def test_a_paused_account_is_not_asked_either(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, call={"find": FIND}), sink) as world:
        await lost(world, bank, await a_case(world))
        await command(world, "pause", account="bank")
        await later(world, minutes=5)
        assert bank.books["looked"] == 0
        await command(world, "resume", account="bank")
        world.bridge.lookup.wake.set()
        await reaches(world, KEY, "done")


async def test_the_key_at_the_vendor_outlives_a_merger_of_cases(tmp_path: Path, sink: Sink) -> None:
    """A row that was tried in one case is tried again in the other, by the same key."""
    from toybox import event, send

    async with Bank(remembers=True) as bank:
        config = banking(tmp_path, sink.url, bank.url, call={"repeatable": True})
        async with running(config, sink) as world:
            await send(world, requested(1), requested(2, minutes=1))
            await world.until(lambda: world.rows("SELECT count(*) FROM cases") == [(2,)])
            younger = world.rows("SELECT id FROM cases ORDER BY opened_at DESC")[0][0]
            bank.answers = [503]
            await act(world, younger, refund(2))
            await world.until(lambda: row(world, "refund:R2:all")["tries"] == 1)
            both = {"return": "R1", "refund": "F2"}
            await send(world, event("noted", "n1", 2, {"return": "R2", "refund": "F2"}, text="x"))
            await send(world, event("noted", "n2", 3, both, text="x"))
            await world.until(lambda: world.rows("SELECT count(*) FROM cases WHERE merged_into IS NOT NULL") == [(1,)])
            shift(world, seconds=10)
            await reaches(world, "refund:R2:all", "done")
            assert len({one["key"] for one in bank.books["asked"]}) == 1
            assert bank.times_paid == 1


@pytest.mark.row("P11")
@pytest.mark.parametrize("told", ["found", "happened", "did not happen"])
async def test_kill_9_in_the_middle_of_a_refund_pays_once(tmp_path: Path, sink: Sink, told: str) -> None:
    async with Bank() as bank, aiohttp.ClientSession() as client:
        config = banking(tmp_path, sink.url, bank.url, "payer", call={"find": FIND} if told == "found" else {})
        config["policies"] = {"payer": {"also": []}}
        child = Child(config, tmp_path)
        await child.start()
        try:
            async with held(bank):
                body = json.dumps({"events": [requested(1)]})
                async with client.post(f"{child.url}/hooks/shop", data=body) as answer:
                    assert answer.status == 200
                await _until(lambda: bank.books["asked"])
                await child.kill()
            if told == "did not happen":
                bank.books["paid"].clear()
            assert child.rows("SELECT state, attempt FROM outbox") == [("sending", 1)]
            await child.start()
            if told == "found":
                await child.until("SELECT state FROM outbox", [("done",)])
            else:
                await child.until("SELECT state FROM outbox", [("uncertain",)])
                await child.until("SELECT count(*) FROM alerts WHERE key = 'uncertain:bank'", [(1,)])
                number = child.rows("SELECT id FROM outbox")[0][0]
                child.command("resolve", delivery=number, happened=told == "happened")
                await child.until("SELECT state FROM outbox", [("done",)])
            await child.until("SELECT count(*) FROM inbox WHERE state != 'done'", [(0,)])
            assert child.rows("SELECT flag FROM cases") == [(None,)]
            assert bank.times_paid == 1
            assert len(bank.books["asked"]) == (2 if told == "did not happen" else 1)
        finally:
            await child.stop()


async def _until(check: Any) -> None:
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.01)


async def test_many_uncertain_deliveries_of_a_paused_account_hide_nobody_elses(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, Bank() as down:
        config = banking(tmp_path, sink.url, bank.url, call={"find": FIND})
        config["services"]["down"] = config["services"]["bank"] | {"url": down.url}
        async with running(config, sink) as world:
            one, two = await a_case(world, 1), await a_case(world, 2)
            down.answers = [502]
            await act(world, one, refund(1) | {"account": "down"})
            await reaches(world, "refund:R1:all", "uncertain")
            await command(world, "pause", account="down")

            def more(conn: Connection) -> None:  # the same happened to so many others
                row = dict(conn.execute(select(outbox).where(outbox.c.account == "down")).mappings().one())
                del row["id"]
                for number in range(60):
                    name = f"refund:X{number}:all"
                    conn.execute(insert(outbox), row | {"key": name, "effect": name, "stream": name})

            await world.bridge.store.write(more)
            bank.answers = [502]
            await act(world, two, refund(2))
            await reaches(world, "refund:R2:all", "uncertain")
            await later(world, hours=1)
            await reaches(world, "refund:R2:all", "done")


async def test_a_buyer_is_not_erased_while_a_payment_is_on_its_way(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url), sink) as world:
        case = await a_case(world)
        async with held(bank):
            await act(world, case, refund())
            await world.until(lambda: bank.books["asked"])
            state, told = await command(world, "erase", cases=[case], force=True)
            assert (state, "on its way" in told) == ("refused", True)


@pytest.mark.parametrize(("happened", "state"), [(True, "done"), (False, "cancelled")])
async def test_what_is_uncertain_of_an_erased_buyer_can_still_be_settled(
    tmp_path: Path, sink: Sink, happened: bool, state: str
) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url), sink) as world:
        case = await a_case(world)
        number = (await lost(world, bank, case))["id"]
        assert "nobody knows" in (await command(world, "erase", cases=[case]))[1]
        assert (await command(world, "erase", cases=[case], force=True))[0] == "done"
        assert (await command(world, "resolve", delivery=number, happened=happened, ref="P1"))[0] == "done"
        assert row(world, KEY)["state"] == state


async def test_a_refund_that_is_refused_because_an_earlier_try_paid_it_is_looked_up(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank:
        config = banking(tmp_path, sink.url, bank.url, call={"repeatable": True, "find": FIND})
        async with running(config, sink) as world:
            case = await a_case(world)
            bank.answers = [502, 409]
            await act(world, case, refund())
            await world.until(lambda: row(world, KEY)["tries"] == 1 and row(world, KEY)["state"] == "due")
            shift(world, minutes=5)
            assert "409" in (await reaches(world, KEY, "uncertain"))["cause"]
            await later(world, hours=1)
            await reaches(world, KEY, "done")


async def test_what_is_too_long_ago_for_the_vendor_to_show_is_left_to_a_person(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bridge was off for a weekend; the channel shows a day."""
    async with Bank() as bank:
        config = toybox(tmp_path, sink.url)
        find = {"path": f"{bank.url}/payments/{{key}}", "found": "id"}
        config["channels"]["mail"]["calls"] = {"message.send": {"find": find}}
        async with running(config, sink) as world:
            dispatcher = world.bridge.dispatcher
            known, day = dispatcher.handler_of, timedelta(hours=24)
            monkeypatch.setattr(dispatcher, "handler_of", lambda one: replace(known(one), looks_back=day))
            sink.do_answer(502)
            await act(world, await a_case(world), message("m1"))
            await reaches(world, "m1", "uncertain")
            await later(world, hours=60)
            await world.until(lambda: "too long ago" in str(row(world, "m1")["cause"]))
            assert (row(world, "m1")["state"], sink.books["posts"]) == ("uncertain", [])


async def test_a_note_that_nobody_can_look_up_does_not_keep_the_notes_after_it_from_the_ticket(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(banking(tmp_path, sink.url, sink.url), sink) as world:
        case = await a_case(world)
        note = {"type": "ticket.comment", "account": "desk", "ticket": "T1", "text": "hello"}
        sink.do_answer(500)
        await act(world, case, note | {"origin": "first"})
        await reaches(world, "ticket:comment:first", "uncertain")
        await act(world, case, note | {"origin": "second"})
        await later(world, minutes=30)
        await reaches(world, "ticket:comment:second", "done")
        assert row(world, "ticket:comment:first")["state"] == "uncertain"
        number = row(world, "ticket:comment:first")["id"]
        await command(world, "resolve", delivery=number, happened=False)
        await reaches(world, "ticket:comment:first", "done")


async def test_what_became_uncertain_while_the_clock_was_ahead_is_looked_up_when_it_is_set_back(
    tmp_path: Path, sink: Sink
) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, call={"find": FIND}), sink) as world:
        case = await a_case(world)
        shift(world, days=300)
        bank.answers = [502]
        await act(world, case, refund())
        await reaches(world, KEY, "uncertain")
        shift(world, days=-300)
        await world.until(lambda: row(world, KEY)["due_at"] < world.bridge.store.clock.micros() + 86_400_000_000)
        await later(world, hours=1)
        await reaches(world, KEY, "done")


async def test_what_is_due_at_an_account_that_is_gone_is_told(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank:
        config = banking(tmp_path, sink.url, bank.url, call={"repeatable": True})
        async with running(config, sink) as world:
            case = await a_case(world)
            await command(world, "pause", account="bank")
            await act(world, case, refund())
        config["services"] = {"payments": config["services"].pop("bank")}
        async with running(config, sink) as world:
            told = (await world.until(lambda: alerts(world)))["gone:bank"]
            assert told.startswith("1 deliveries are due at bank, which the configuration does not have")
