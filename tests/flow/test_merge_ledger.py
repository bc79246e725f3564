"""What becomes of the actions of two cases that turn out to be one: nothing that was taken back happens, nothing that
was ordered is lost, nothing is done twice, and every row can be settled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bank import Bank, a_case, act, banking, reaches, refund, row
from toybox import START, cases, command, event, noted, requested, said, send, stop_loop, toybox

from rmabridge.model import Commanded
from rmabridge.store import inbox as inbox_store
from rmabridge.testing.simulators.sink import Sink
from worlds import World, running


def both(type_: str = "ticket.seen", key: str = "same", **fields: Any) -> dict[str, Any]:
    """An event that names both returns: they are one."""
    refs = [{"kind": "return", "value": f"R{number}"} for number in (1, 2)]
    return event(type_, key, 30, **({"status": "open"} | fields)) | {"refs": refs}


async def two(world: World) -> None:
    await send(world, requested(1))
    await send(world, requested(2, 5))
    await world.settle()


async def one(world: World) -> Any:
    """The two are one; the case that goes on."""
    await world.until(lambda: len(cases(world)) == 1)
    return cases(world)[0]


def states(world: World) -> list[str]:
    return [str(state) for (state,) in world.rows("SELECT state FROM outbox ORDER BY id")]


async def test_a_refund_that_an_agent_paid_is_not_paid_again_when_the_news_merges_two_cases(
    tmp_path: Path, sink: Sink
) -> None:
    async with Bank() as bank:
        config = banking(tmp_path, sink.url, bank.url, "scripted")
        config["policies"] = {"scripted": {"deny_when": ["refunded"]}}
        async with running(config, sink) as world:
            await a_case(world, 1)
            second = await a_case(world, 2)
            await command(world, "pause", account="bank")
            await act(world, second, refund(2))
            paid = {"refund": "F1", "amount": {"amount": "20.00", "currency": "CNY"}, "status": "done"}
            await send(world, both(), event("refund.seen", "paid", 31, {"return": "R2"}, **paid))
            await one(world)
            await reaches(world, "refund:R2:all", "cancelled")
            await command(world, "resume", account="bank")
            await world.settle()
            assert bank.times_paid == 0


async def test_an_approval_that_comes_with_the_merge_counts(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        await two(world)
        await send(world, noted("say ask", 2))
        await world.settle()
        router = world.bridge.router
        await stop_loop(world, "Router.run")
        await send(world, both())
        given = Commanded(
            key="cmd:1", at=world.bridge.store.clock.now(), command="approve", by="anna", args={"approval": 1}
        )
        asked = router.event_row([given], "bridge", "cmd:1", kind="command")
        await world.bridge.store.write(lambda conn: inbox_store.add(conn, [asked]))
        await router.turn()
        again = asyncio.create_task(router.run())
        await reaches(world, "say:ask", "done")
        assert said(world) == ["ask"]
        again.cancel()


async def test_what_is_asked_for_in_the_batch_of_the_merge_can_be_answered(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        await two(world)
        await send(world, noted("say ask", 2), both())
        await one(world)
        assert row(world, "say:ask")["state"] == "held"
        assert (await command(world, "approve", approval=1))[0] == "done"
        await reaches(world, "say:ask", "done")


async def test_a_refund_of_the_absorbed_case_is_paid_where_the_other_one_was_denied_it(
    tmp_path: Path, sink: Sink
) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, "scripted"), sink) as world:
        await two(world)
        older, younger = [found.id for found in sorted(cases(world), key=lambda found: found.opened_at)]
        await command(world, "pause", account="bank")
        await act(world, younger, refund(1))
        await act(world, older, refund(1))
        assert states(world) == ["due", "denied"]
        await send(world, both())
        await one(world)
        await command(world, "resume", account="bank")
        await world.until(lambda: states(world) == ["done", "denied"])
        assert world.rows("SELECT case_id FROM outbox ORDER BY id") == [(older,), (younger,)]
        assert bank.times_paid == 1


async def test_what_needs_an_action_that_the_other_case_has_done_goes_on(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        await two(world)
        await send(world, noted("say both", 1, "n1"))
        await world.until(lambda: states(world) == ["done"])
        await command(world, "pause", account="mail")
        await send(world, noted("say both", 2, "n2"), noted("say more after both", 2))
        await world.until(lambda: len(states(world)) == 3)
        await send(world, both())
        await one(world)
        await command(world, "resume", account="mail")
        await world.until(lambda: states(world) == ["done", "cancelled", "done"])
        assert said(world) == ["both", "more"]


async def test_what_the_absorbed_case_has_done_is_not_done_again(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        await two(world)
        await send(world, noted("say both", 2, "n2"))
        await world.until(lambda: states(world) == ["done"])
        await command(world, "pause", account="mail")
        await send(world, noted("say both", 1, "n1"), noted("say more after both", 1))
        await world.until(lambda: len(states(world)) == 3)
        await send(world, both())
        await one(world)
        await command(world, "resume", account="mail")
        await world.until(lambda: states(world) == ["done", "cancelled", "done"])
        assert said(world) == ["both", "more"]


@pytest.mark.parametrize("happened", [True, False])
async def test_an_uncertain_double_of_an_absorbed_case_can_be_settled(
    tmp_path: Path, sink: Sink, happened: bool
) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        await two(world)
        await send(world, noted("say both", 1, "n1"))
        await world.until(lambda: states(world) == ["done"])
        sink.do_answer(502)
        await send(world, noted("say both", 2, "n2"))
        await world.until(lambda: states(world) == ["done", "uncertain"])
        await send(world, both())
        winner = await one(world)
        assert (await command(world, "resolve", delivery=2, happened=happened))[0] == "done"
        await world.settle()
        assert states(world) == ["done", "done" if happened else "cancelled"]
        assert world.bridge.router.loader.cache[winner.id].entries["say:both"].state == "done"
        assert said(world) == ["both"]


async def test_a_retry_of_a_dead_double_sends_it_and_not_the_other_ones(tmp_path: Path, sink: Sink) -> None:
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        await two(world)
        sink.do_answer(400, times=2)
        await send(world, noted("say both", 1, "n1"))
        await send(world, noted("say both", 2, "n2"))
        await world.until(lambda: states(world) == ["dead", "dead"])
        await send(world, both())
        winner = await one(world)
        assert (await command(world, "retry", delivery=2))[0] == "done"
        await world.until(lambda: states(world) == ["dead", "done"])
        await world.settle()
        assert world.bridge.router.loader.cache[winner.id].entries["say:both"].state == "dead"
        state, told = await command(world, "cancel", delivery=2)
        assert (state, "which absorbed it, has its own" in told) == ("refused", True)


async def test_after_a_restart_what_came_from_the_absorbed_case_can_be_read(tmp_path: Path, sink: Sink) -> None:
    """It is sealed with the key of its old case."""
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        await two(world)
        await send(world, noted("say ask", 2))
        await world.settle()
        await send(world, both())
        case = await one(world)
        await world.settle()
        store, loader = world.bridge.store, world.bridge.router.loader
        loader.cache.clear()
        for key in store.vault.held:
            store.vault.forget(key)
        assert (await command(world, "close", case.id, result="done"))[0] == "done"
        assert (await command(world, "approve", approval=1))[0] == "done"
        await reaches(world, "say:ask", "done")
        assert said(world) == ["ask"]


@pytest.mark.parametrize(("done", "waits"), [(1, 2), (2, 1)])
async def test_what_waits_for_what_the_other_case_has_done_goes_on(
    tmp_path: Path, sink: Sink, done: int, waits: int
) -> None:
    async with running(banking(tmp_path, sink.url, sink.url), sink) as world:
        await two(world)
        of = {number: one.id for number, one in enumerate(cases(world), 1)}
        ticket = {"type": "ticket.open", "account": "desk", "external": of[done], "subject": "a", "text": "b"}
        await act(world, of[done], ticket)
        note = {"type": "ticket.comment", "account": "desk", "ticket": "T1", "text": "hello", "needs": "ticket:open"}
        await act(world, of[waits], note | {"origin": "one"})
        assert row(world, "ticket:comment:one")["state"] == "waiting"
        await send(world, both())
        await one(world)
        await reaches(world, "ticket:comment:one", "done")


async def test_what_was_written_to_an_absorbed_case_before_its_order_was_known_is_on_the_ticket(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(toybox(tmp_path, sink.url, "helpdesk_sync"), sink) as world:
        await send(world, requested(1), event("order.seen", "o", 1, {"return": "R1"}, order={"id": "O1"}))
        await send(world, requested(2, 5))
        words = {"id": "m1", "author": "buyer", "form": "chat", "text": "the lid is missing", "at": START.isoformat()}
        await send(world, event("message.received", "m1", 6, {"return": "R2"}, message=words))
        await world.until(lambda: world.rows("SELECT 1 FROM messages"))
        await send(world, both())
        await one(world)
        await reaches(world, "ticket:comment:m1", "done")
