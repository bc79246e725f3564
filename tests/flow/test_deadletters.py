"""Dead letters: readable, editable, replayed without a duplicate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bank import Bank, a_case, act, banking, message, reaches, refund, row
from toybox import command, requested, send, shift, toybox

from rmabridge.model import Commanded
from rmabridge.store import inbox as inbox_store
from rmabridge.testing.simulators.sink import Sink
from worlds import World, running

MANY = 500


async def replay(world: World, rows: list[int], **args: Any) -> None:
    """Ask for many retries, as a bulk command does."""
    router, store = world.bridge.router, world.bridge.store
    lines = []
    for number in rows:
        given = Commanded(
            key=f"retry:{number}", at=store.clock.now(), command="retry", by="tester", args={"delivery": number, **args}
        )
        lines.append(router.event_row([given], "bridge", given.key, kind="command"))
    await store.write(lambda conn: inbox_store.add(conn, lines))
    router.wake.set()


@pytest.mark.row("P17")
async def test_500_dead_letters_of_a_broken_template_are_mended_and_replayed_without_a_duplicate(
    tmp_path: Path, sink: Sink
) -> None:
    """The receiver refuses the broken words; some it had taken before the breakage."""
    config = toybox(tmp_path, sink.url, "scripted")
    config["bridge"] |= {"most_waiting": 10_000}
    async with running(config, sink) as world:
        for start in range(0, MANY, 50):
            await send(world, *(requested(n) for n in range(start, start + 50)))
        await world.until(lambda: world.rows("SELECT count(*) FROM cases") == [(MANY,)], 30)
        ids = [one for (one,) in world.rows("SELECT id FROM cases")]
        sink.do_answer(422, body='{"error": "unknown placeholder {nmae}", "to": "lilei@example.com"}', times=MANY)
        store, router = world.bridge.store, world.bridge.router
        lines = []
        for case in ids:
            args = {"action": message("welcome", "Dear {nmae}, call 13812345678")}
            given = Commanded(key=f"act:{case}", at=store.clock.now(), command="act", by="tester", args=args)
            lines.append(router.event_row([given], "bridge", given.key, case_id=case, kind="command"))
        await store.write(lambda conn: inbox_store.add(conn, lines))
        router.wake.set()
        await world.until(lambda: world.rows("SELECT count(*) FROM outbox WHERE state = 'dead'") == [(MANY,)], 60)
        await world.settle()

        number, cause, hint = world.rows("SELECT id, cause, hint FROM outbox ORDER BY id LIMIT 1")[0]
        assert cause.startswith("HTTP 422")
        assert "read its answer" in hint
        kept = told(world, number)
        assert kept["status"] == 422
        assert "unknown placeholder" in kept["answer"]
        for secret in ("13812345678", "lilei@example.com"):
            assert secret not in json.dumps(kept)

        state, _ = await command(world, "retry", delivery=number, action={"text": "Dear customer"})
        assert state == "done"
        await world.until(lambda: world.rows(f"SELECT state FROM outbox WHERE id = {number}") == [("done",)])
        dead = [one for (one,) in world.rows("SELECT id FROM outbox WHERE state = 'dead' AND cause LIKE 'HTTP 422%'")]
        await replay(world, dead, action={"text": "Dear customer"})
        await world.until(lambda: world.rows("SELECT count(*) FROM outbox WHERE state = 'done'") == [(MANY,)], 60)
        await replay(world, dead)
        await world.settle()
        posts = sink.books["posts"]
        print(f"{MANY} dead, {len(posts)} replayed, {len(posts) - len(sink.books['ids'])} duplicates")
        assert len(posts) == len(sink.books["ids"]) == MANY
        assert {one["body"]["text"] for one in posts} == {"Dear customer"}
        assert world.rows("SELECT count(*) FROM cases WHERE flag IS NOT NULL") == [(0,)]


def told(world: World, number: int) -> dict[str, Any]:
    """The kept exchange of a delivery's last attempt."""
    query = f"SELECT key_id, doc FROM attempts WHERE outbox_id = {number} ORDER BY attempt DESC LIMIT 1"
    ((key, doc),) = world.rows(query)
    world.bridge.store.keys_for({key})
    found: dict[str, Any] = json.loads(world.bridge.store.vault.open(key, doc))
    return found


async def test_an_edit_cannot_turn_one_action_into_another_or_escape_review(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, "returns"), sink) as world:
        bank.answers = [422]
        await act(world, await a_case(world), refund(), agreed=True)
        number = (await reaches(world, "refund:R1:all", "dead"))["id"]
        more = {"amount": {"amount": "500.01", "currency": "CNY"}}
        for edit, why in (({"part": "rest"}, "may not turn"), (more, "not allowed"), ({"amount": "x"}, "amount")):
            state, said = await command(world, "retry", delivery=number, action=edit)
            assert state == "refused", edit
            assert why in str(said)
        assert len(bank.books["asked"]) == 1
        assert (await command(world, "retry", delivery=number, action={"note": "as told"}))[0] == "done"
        await reaches(world, "refund:R1:all", "done")
        assert bank.books["asked"][1]["note"] == "as told"
        assert bank.books["asked"][0]["key"] == bank.books["asked"][1]["key"]


async def test_only_what_has_ended_badly_is_retried(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url), sink) as world:
        await act(world, await a_case(world), refund())
        number = (await reaches(world, "refund:R1:all", "done"))["id"]
        state, why = await command(world, "retry", delivery=number)
        assert (state, "is done" in str(why)) == ("refused", True)
        assert bank.times_paid == 1


async def test_a_retry_starts_a_schedule_of_its_own(tmp_path: Path, sink: Sink) -> None:
    config = toybox(tmp_path, sink.url)
    config["channels"]["mail"] |= {"calls": {"message.send": {"repeatable": True}}, "tries": 2, "over": "PT10S"}
    async with running(config, sink) as world:
        sink.do_answer(503, times=3)
        await act(world, await a_case(world), message("m1"))
        await world.until(lambda: row(world, "m1")["tries"] == 1 and row(world, "m1")["state"] == "due")
        shift(world, seconds=13)
        dead = await reaches(world, "m1", "dead")
        await command(world, "retry", delivery=dead["id"])
        await world.until(lambda: row(world, "m1")["attempt"] == 3 and row(world, "m1")["state"] == "due")
        assert row(world, "m1")["tries"] == 1
        shift(world, seconds=13)
        await reaches(world, "m1", "done")
        assert [one for (one,) in world.rows("SELECT attempt FROM attempts ORDER BY 1")] == [1, 2, 3, 4]


async def test_what_was_given_up_with_a_dead_letter_follows_when_that_is_replayed(tmp_path: Path, sink: Sink) -> None:
    async with running(banking(tmp_path, sink.url, sink.url), sink) as world:
        case = await a_case(world)
        sink.do_answer(422)
        ticket = {"type": "ticket.open", "account": "desk", "external": case, "subject": "a", "text": "b"}
        await act(world, case, ticket)
        number = (await reaches(world, "ticket:open", "dead"))["id"]
        note = {"type": "ticket.comment", "account": "desk", "ticket": "T1", "text": "hello", "needs": "ticket:open"}
        for origin in ("first", "second"):
            await act(world, case, note | {"origin": origin})
        assert row(world, "ticket:comment:first")["cause"] == "ticket:open, which it needs, is dead"
        await command(world, "cancel", delivery=number)
        assert (await command(world, "retry", delivery=number))[0] == "done"
        for key in ("ticket:open", "ticket:comment:first", "ticket:comment:second"):
            await reaches(world, key, "done")
