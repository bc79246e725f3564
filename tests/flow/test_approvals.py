"""What a person must decide: held, asked for once, bound to the exact action, answered once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bank import Bank, a_case, act, banking, later, reaches, refund, row, states
from toybox import command, send
from toybox import event as told

from rmabridge.testing.simulators.sink import Sink
from worlds import World, running

KEY = "refund:R1:all"


def waiting(world: World) -> list[tuple[Any, ...]]:
    """(id, rules) of what is asked for now."""
    return world.rows("SELECT id, rules FROM approvals WHERE state = 'waiting' ORDER BY id")


async def asked(world: World) -> int:
    """The number of the one open question."""
    ((number, _),) = waiting(world)
    return int(number)


@pytest.mark.evidence("returns", "end_to_end")
async def test_500_passes_and_one_fen_more_waits_for_a_person(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, "returns"), sink) as world:
        first, second = await a_case(world), await a_case(world, 2)
        await act(world, first, refund(1, "500.00"), agreed=True)
        await reaches(world, KEY, "done")
        assert (await act(world, second, refund(2, "500.01"), agreed=True)).startswith("refund:R2:all: held")
        await later(world, days=2)
        assert (bank.times_paid, row(world, "refund:R2:all")["state"]) == (1, "held")
        assert waiting(world)[0][1] == "returns.limit"


async def test_an_approval_pays_exactly_once_and_a_second_one_is_refused(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, "returns"), sink) as world:
        await act(world, await a_case(world), refund(1, "500.01"), agreed=True)
        number = await asked(world)
        assert (await command(world, "approve", approval=number))[0] == "done"
        state, why = await command(world, "approve", approval=number)
        assert (state, why) == ("refused", f"approval {number}: was approved")
        assert (await command(world, "deny", approval=number))[0] == "refused"
        await reaches(world, KEY, "done")
        await later(world, days=2)
        assert bank.times_paid == len(bank.books["asked"]) == 1


async def test_two_approvals_at_the_same_moment_pay_once(tmp_path: Path, sink: Sink) -> None:
    from rmabridge.model import Commanded
    from rmabridge.store import inbox as inbox_store

    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, "returns"), sink) as world:
        await act(world, await a_case(world), refund(1, "500.01"), agreed=True)
        number, router, store = await asked(world), world.bridge.router, world.bridge.store
        rows = []
        for name in ("a", "b", "c"):
            one = Commanded(key=name, at=store.clock.now(), command="approve", by=name, args={"approval": number})
            rows.append(router.event_row([one], "bridge", name, kind="command"))
        await store.write(lambda conn: inbox_store.add(conn, rows))
        router.wake.set()
        await reaches(world, KEY, "done")
        found = world.rows("SELECT state FROM inbox WHERE kind = 'command' ORDER BY id DESC LIMIT 3")
        assert sorted(found) == [("done",), ("refused",), ("refused",)]
        assert bank.times_paid == 1


async def test_what_was_denied_is_not_paid(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, "returns"), sink) as world:
        case = await a_case(world)
        await act(world, case, refund(1, "500.01"), agreed=True)
        number = await asked(world)
        assert (await command(world, "deny", approval=number, note="not ours"))[0] == "done"
        assert (await command(world, "approve", approval=number))[0] == "refused"
        await later(world, days=2)
        assert (row(world, KEY)["state"], bank.books["asked"], waiting(world)) == ("denied", [], [])
        assert "retry" in await act(world, case, refund(1, "500.01"))


async def test_an_action_that_changed_since_it_was_asked_for_loses_its_approval(tmp_path: Path, sink: Sink) -> None:
    """The words show the case's level; when that changes, what was asked for is no longer what would be sent."""
    config = banking(tmp_path, sink.url, "http://127.0.0.1:9", "scripted")
    config["policies"] = {"scripted": {"shows_level": True}}
    async with running(config, sink) as world:
        case = await a_case(world)
        words = {"type": "message.send", "account": "mail", "form": "mail", "to": "b@example.com", "text": "-"}
        await act(world, case, {**words, "purpose": "ask this"})
        first = await asked(world)
        await send(world, told("case.classified", "c1", 2, {"return": "R1"}, level=3))
        await world.settle()
        assert (await command(world, "approve", approval=first))[0] == "done"
        await world.settle()
        found = row(world, "ask this")
        assert found["state"] == "held", "other words than those that were approved"
        second = await asked(world)
        assert second != first
        assert sink.books["posts"] == []
        assert (await command(world, "approve", approval=second))[0] == "done"
        await reaches(world, "ask this", "done")
        assert [one["body"]["text"] for one in sink.books["posts"]] == ["ask this at level 3"]


@pytest.mark.parametrize("ending", ["done", "dead", "denied", "cancelled", "uncertain"])
async def test_money_for_one_thing_moves_in_one_case_only(tmp_path: Path, sink: Sink, ending: str) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, "returns"), sink) as world:
        first, second = await a_case(world), await a_case(world, 2)
        amount = "500.01" if ending in {"denied", "cancelled"} else "20.00"
        bank.answers = [422] if ending == "dead" else [500] if ending == "uncertain" else []
        await act(world, first, refund(1, amount), agreed=True)
        if ending == "denied":
            await command(world, "deny", approval=await asked(world))
        if ending == "cancelled":
            await command(world, "cancel", delivery=row(world, KEY)["id"])
        await reaches(world, KEY, ending)
        before = len(bank.books["asked"])
        said = await act(world, second, refund(1, "20.00"), agreed=True)
        assert "denied" in said
        assert "already proposed" in said
        await later(world, days=1)
        assert len(bank.books["asked"]) == before
        duplicate = row(world, KEY)
        assert (duplicate["state"], duplicate["effect"]) == ("denied", None)
        state, why = await command(world, "retry", delivery=duplicate["id"])
        assert state == "refused", "an operator's retry is no way around it"
        assert "another case" in str(why)
        assert len(bank.books["asked"]) == before


@pytest.mark.parametrize("given", [{}, {"approval": "x"}, {"approval": -1}, {"approval": 1 << 80}, {"approval": 999}])
async def test_a_nonsense_answer_is_refused_and_parks_nothing(
    tmp_path: Path, sink: Sink, given: dict[str, Any]
) -> None:
    async with running(banking(tmp_path, sink.url, "http://127.0.0.1:9"), sink) as world:
        await a_case(world)
        assert (await command(world, "approve", **given))[0] == "refused"
        delivery = {"delivery": given.get("approval")}
        for name in ("retry", "cancel", "resolve"):
            assert (await command(world, name, **delivery))[0] == "refused"


async def test_what_is_no_longer_held_is_no_longer_asked(tmp_path: Path, sink: Sink) -> None:
    async with Bank() as bank, running(banking(tmp_path, sink.url, bank.url, "returns"), sink) as world:
        await act(world, await a_case(world), refund(1, "500.01"), agreed=True)
        number = await asked(world)
        await command(world, "cancel", delivery=row(world, KEY)["id"])
        assert waiting(world) == []
        assert (await command(world, "approve", approval=number))[0] == "refused"
        assert states(world)[KEY] == "cancelled"
