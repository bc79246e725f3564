"""EasyPost on a running bridge: an insured parcel is lost, and its claim is filed once although the answer is too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rmabridge.model import Case, Claim, Commanded
from rmabridge.store import inbox as inbox_store
from rmabridge.testing.simulators.easypost import EasyPostSim
from rmabridge.testing.simulators.sink import Sink
from worlds import World, a_return, ago, document, running

CODE = "9400100208303109500669"
CLAIM = f"claim:USPS:{CODE}:loss"


@asynccontextmanager
async def insured(tmp_path: Path, sink: Sink, *policies: str, **account: Any) -> AsyncIterator[tuple[World, Any]]:
    """A shop whose parcels EasyPost tracks and insures."""
    async with EasyPostSim() as sim:
        config = document(tmp_path, sink.url, policies=list(policies))
        config["carriers"] = {
            "ep": {
                "plugin": "easypost",
                "api_key": sim.api_key,
                "secret": sim.secret,
                "url": f"{sim.url}/v2",
                "allow_private": True,
                **account,
            }
        }
        config["shops"]["one"] |= {"carrier": "ep", "claims": {"default": "ep"}}
        async with running(config, sink) as world:
            sim.hook = f"{world.bridge.url}/hooks/ep"
            sim.do_ship(CODE, "USPS", insured="100.00")
            await world.post(a_return())
            await world.settle()
            yield world, sim


def the_case(world: World) -> Case:
    """The only case."""
    store = world.bridge.store
    ((key, doc),) = world.rows("SELECT key_id, doc FROM cases")
    store.keys_for({key})
    return Case.model_validate_json(store.vault.open(key, doc))


def the_claim(world: World) -> Claim:
    """The only claim of the only case."""
    (claim,) = the_case(world).claims
    return claim


def row(world: World, key: str) -> tuple[Any, ...]:
    """State, vendor's id and attempts of an action."""
    found = world.rows(f"SELECT state, ref, attempt FROM outbox WHERE key = '{key}'")
    return found[0] if found else ("absent", None, 0)


async def act(world: World, **action: Any) -> None:
    """Order an action as an operator does."""
    store, router = world.bridge.store, world.bridge.router
    world.number += 1
    given = Commanded(
        key=f"cmd:{world.number}", at=store.clock.now(), command="act", by="tester", args={"action": action}
    )
    event = router.event_row([given], "bridge", given.key, case_id=the_case(world).id, kind="command")
    await store.write(lambda conn: inbox_store.add(conn, [event]))
    router.wake.set()


async def file(world: World) -> None:
    """Order the claim for the lost parcel."""
    amount = {"amount": "80.00", "currency": "USD"}
    claim = {"waybill": CODE, "carrier": "USPS", "claim": "loss", "amount": amount, "external": the_case(world).id}
    await act(world, type="claim.file", description="Silent for ten days.", **claim)


async def later(world: World, sim: EasyPostSim, minutes: float) -> None:
    """Time passes here and there."""
    world.bridge.store.clock.offset += timedelta(minutes=minutes)
    sim.offset += timedelta(minutes=minutes)
    world.bridge.lookup.wake.set()
    world.bridge.dispatcher.wake.set()


@pytest.mark.parametrize("how", ["hang", "break"])
async def test_a_claim_whose_answer_never_came_is_looked_up_and_filed_once(
    how: str, tmp_path: Path, sink: Sink
) -> None:
    async with insured(tmp_path, sink, timeout=1.5) as (world, sim):
        sim.do_lose_answer(how)
        await file(world)
        await world.until(lambda: row(world, CLAIM)[0] == "uncertain")
        (booked,) = sim.books["claims"].values()
        await later(world, sim, 5)
        await world.until(lambda: row(world, CLAIM)[0] == "done")
        assert row(world, CLAIM) == ("done", booked["id"], 1)
        await file(world)
        await later(world, sim, 60)
        await world.settle()
        assert list(sim.books["claims"]) == [booked["id"]]
        assert sim.books["requests"].count("POST /v2/claims") == 1
        claim = the_claim(world)
        assert (claim.id, claim.carrier, claim.status, claim.account) == (booked["id"], "USPS", "submitted", "ep")


async def test_a_claim_that_never_arrived_is_filed_again(tmp_path: Path, sink: Sink) -> None:
    async with insured(tmp_path, sink) as (world, sim):
        sim.do_fail_next(502, "BAD_GATEWAY")
        await file(world)
        await world.until(lambda: row(world, CLAIM)[0] == "uncertain")
        assert sim.books["claims"] == {}
        await later(world, sim, 5)
        await world.until(lambda: row(world, CLAIM)[0] == "done")
        assert len(sim.books["claims"]) == 1
        assert row(world, CLAIM)[2] == 2


async def test_the_decision_and_the_money_change_the_cases_claim(tmp_path: Path, sink: Sink) -> None:
    async with insured(tmp_path, sink) as (world, sim):
        await file(world)
        await world.until(lambda: row(world, CLAIM)[0] == "done")
        await later(world, sim, 1)
        assert await sim.do_claim_question("Send proof of purchase.") == 200
        await world.settle()
        assert (the_claim(world).status, the_claim(world).reason) == ("info_requested", "Send proof of purchase.")
        said = world.rows("SELECT count(*) FROM timeline WHERE type = 'message.received'")
        assert said == [(1,)], "the question is in the case, too"

        await later(world, sim, 1)
        await sim.do_claim_decision("partial", amount="60.00")
        await world.settle()
        granted = the_claim(world)
        assert (granted.status, str(granted.amount), granted.paid) == ("partial", "60.00 USD", None)

        await later(world, sim, 1)
        await sim.do_claim_decision("paid")
        assert await sim.do_redeliver() == 200
        await world.settle()
        paid = the_claim(world)
        assert (paid.status, str(paid.amount), str(paid.paid)) == ("paid", "60.00 USD", "60.00 USD")
        assert world.rows("SELECT count(*) FROM inbox WHERE state NOT IN ('done', 'new')") == [(0,)]


def usd(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "USD"}


async def shipped(world: World) -> None:
    """The marketplace shows the order, paid in dollars, and its parcel."""
    line = {"id": "L1", "sku": "S-1", "title": "Kettle", "quantity": 1, "price": usd("80.00")}
    order = {"id": "O1", "number": "#1", "placed_at": ago(days=14), "total": usd("80.00"), "lines": [line]}
    parcels = [{"waybill": CODE, "carrier": "USPS", "status": "in_transit", "shipped_at": ago(days=13)}]
    data = {"order": "O1", "order_doc": order, "parcels": parcels}
    assert (await world.post({"id": "evt-o", "type": "order", "time": ago(minutes=1), "data": data}))[0] == 200
    await world.settle()


@pytest.mark.evidence("tracking", "end_to_end")
async def test_an_insured_parcel_that_is_silent_for_ten_days_is_claimed_once_and_paid(
    tmp_path: Path, sink: Sink
) -> None:
    async with EasyPostSim() as sim:
        config = document(tmp_path, sink.url, policies=["tracking", "logistics", "claims"])
        account = {"plugin": "easypost", "api_key": sim.api_key, "secret": sim.secret, "timeout": 0.3}
        config["carriers"] = {"ep": {**account, "url": f"{sim.url}/v2", "allow_private": True}}
        config["shops"]["one"] |= {"carrier": "ep", "claims": {"default": "ep"}}
        insurance = {"carriers": ["USPS"], "kinds": ["loss"], "days": 60, "earliest": 10}
        config["policies"] = {"logistics": {"silences": [{"days": 10}]}, "claims": {"rules": [insurance]}}
        config["marketplaces"]["shop"]["events"].append(
            {
                "when": "type == 'order'",
                "type": "order.seen",
                "key": "id",
                "at": "time",
                "refs": {"order": "data.order"},
                "set": {"order": "data.order_doc", "parcels": "data.parcels"},
            }
        )
        sim.do_ship(CODE, "USPS", insured="100.00")
        await sim.do_scan(CODE, "in_transit", "Departed facility", "HOUSTON", at=ago(days=11))
        sim.do_lose_answer("hang")
        async with running(config, sink) as world:
            sim.hook = f"{world.bridge.url}/hooks/ep"
            asked = a_return()
            asked["data"].pop("order_doc")
            await world.post(asked)
            await shipped(world)
            await world.until(lambda: row(world, CLAIM)[0] == "uncertain")
            assert the_case(world).parcels[0].status == "lost"
            await later(world, sim, 5)
            await world.until(lambda: row(world, CLAIM)[0] == "done")
            (booked,) = sim.books["claims"].values()
            assert (booked["requested_amount"], booked["type"]) == ("80.00", "loss")
            assert (the_claim(world).id, the_claim(world).status) == (booked["id"], "submitted")
            for decision in ("approved", "paid"):
                await later(world, sim, 5)
                await sim.do_claim_decision(decision)
                await world.settle()
            claim = the_claim(world)
            assert (claim.status, str(claim.paid)) == ("paid", "80.00 USD")
            assert sim.books["requests"].count("POST /v2/claims") == 1


async def test_a_refused_claim_waits_for_a_person_with_easyposts_words(tmp_path: Path, sink: Sink) -> None:
    async with insured(tmp_path, sink) as (world, sim):
        sim.do_ship(CODE, "USPS", insured=None)
        await file(world)
        await world.until(lambda: row(world, CLAIM)[0] == "dead")
        ((cause,),) = world.rows(f"SELECT cause FROM outbox WHERE key = '{CLAIM}'")
        assert "No eligible insurance found" in cause


async def test_a_claim_that_somebody_filed_by_hand_joins_the_case(tmp_path: Path, sink: Sink) -> None:
    async with insured(tmp_path, sink) as (world, sim):
        await act(world, type="parcel.track", waybill=CODE, carrier="USPS")
        await world.until(lambda: the_case(world).parcels)
        by_hand = await sim.do_claim_by_hand(CODE)
        await world.settle()
        assert (the_claim(world).id, the_claim(world).status) == (by_hand, "submitted")


async def test_scans_are_pushed_into_the_case(tmp_path: Path, sink: Sink) -> None:
    async with insured(tmp_path, sink) as (world, sim):
        await act(world, type="parcel.track", waybill=CODE, carrier="USPS")
        await world.until(lambda: the_case(world).parcels)
        await later(world, sim, 1)
        assert await sim.do_scan(CODE, "in_transit", "Arrived at facility", "HOUSTON") == 200
        await later(world, sim, 1)
        assert await sim.do_scan(CODE, "failure", "Package lost", "HOUSTON") == 200
        assert await sim.do_batch() == 200
        await world.settle()
        (parcel,) = the_case(world).parcels
        assert (parcel.carrier, parcel.status, parcel.exception) == ("USPS", "exception", "lost")
        assert [scan.status for scan in parcel.scans] == ["in_transit", "exception"]
        entries = world.rows("SELECT count(*) FROM timeline WHERE type = 'parcel.seen'")
        assert entries == [(3,)], "the first snapshot and two scans"


async def test_a_webhook_with_another_secret_stays_outside(tmp_path: Path, sink: Sink) -> None:
    async with insured(tmp_path, sink) as (world, sim):
        sim.secret = "guessed"
        assert await sim.do_batch() == 401
        assert world.rows("SELECT count(*) FROM inbox WHERE account = 'ep'") == [(0,)]
