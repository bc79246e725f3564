"""eBay through a running bridge: a searched return to its case, decided and paid once; keys fetched at the door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rmabridge.model import Case, CaseKind, Form, Issue, ParcelStatus, RefKind, RequestStatus
from rmabridge.testing.simulators.ebay import EbaySim
from rmabridge.testing.simulators.sink import Sink
from worlds import World, document, running

pytestmark = pytest.mark.evidence("ebay", "end_to_end")

TOKEN = "demo-verification-token-0123456789"


@pytest.fixture
async def sim() -> AsyncIterator[EbaySim]:
    async with EbaySim() as one:
        yield one


def shop(tmp_path: Path, sink: Sink, sim: EbaySim, **account: Any) -> dict[str, Any]:
    """One seller with a help desk."""
    found = document(tmp_path, sink.url)
    given = {**sim.account_settings(), "locale": "en-US", "poll_every": "PT10M", "verification_token": TOKEN}
    found["marketplaces"] = {"us": {"plugin": "ebay", **given, **account}}
    found["shops"]["one"] |= {"marketplace": "us", "title": "Example", "channels": [], "refund_limit": "100 USD"}
    return found


def cases(world: World) -> list[Case]:
    """All cases, the oldest first."""
    store = world.bridge.store
    rows = world.rows("SELECT key_id, doc FROM cases ORDER BY created_at, opened_at")
    store.keys_for({key for key, _ in rows})
    return [Case.model_validate_json(store.vault.open(key, doc)) for key, doc in rows]


def types(world: World) -> list[str]:
    """The types of all entries of all timelines."""
    return [one for (one,) in world.rows("SELECT type FROM timeline")]


def rested(world: World, kind: str) -> int:
    """The version of the cursor, once its turn is over."""
    now = world.bridge.store.clock.micros()
    query = f"SELECT version FROM cursors WHERE kind = '{kind}' AND coalesce(cursor, '') = '' AND due_at > {now}"
    return sum(version for (version,) in world.rows(query))


async def poll(world: World, kind: str = "poll") -> None:
    """Let the bridge take its turn now, however many searches that is, and wait until what came in is settled."""
    before = await world.until(lambda: rested(world, kind))
    query = f"UPDATE cursors SET due_at = 0 WHERE kind = '{kind}'"
    await world.bridge.store.write(lambda conn: conn.exec_driver_sql(query))
    world.bridge.pollers.wake.set()
    await world.until(lambda: rested(world, kind) > before)
    await world.settle()


def posts(sim: EbaySim, end: str) -> list[str]:
    """The calls that did something."""
    return [one["path"] for one in sim.books["calls"] if one["method"] == "POST" and one["path"].endswith(end)]


async def test_a_return_is_found_approved_received_and_paid_once(tmp_path: Path, sink: Sink, sim: EbaySim) -> None:
    order = sim.do_place_order()["order"]
    id_ = sim.do_open_return(order, reason="NO_LONGER_NEED_ITEM", comments="I changed my mind")["return"]
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await world.until(lambda: cases(world) and cases(world)[0].order)
        await world.settle()
        (case,) = cases(world)
        assert (case.kind, case.issue, case.request.id) == (CaseKind.RETURN, Issue.RETURN_REQUEST, id_)
        assert case.request.due_at and str(case.request.amount) == "24.0 USD"
        assert (case.order.number, case.parcels[0].waybill) == (order, "9400100208303109500669")
        assert case.buyer.way(Form.THREAD) == id_
        await world.until(lambda: posts(sim, "/send_message"))
        await world.until(lambda: posts(sim, "/decide"))
        assert sim.books["returns"][id_]["state"] == "ITEM_READY_TO_SHIP"
        sim.do_send_back(id_)
        await poll(world)
        sim.do_receive(id_)
        await poll(world)
        (case,) = cases(world)
        back = next(one for one in case.parcels if one.waybill == "1Z999AA10123456784")
        assert (back.status, back.carrier) == (ParcelStatus.DELIVERED, "UPS")
        await world.until(lambda: sim.books["paid"])
        await poll(world)
        await poll(world, "reconcile")
        (case,) = cases(world)
        assert sim.books["paid"] == {id_: "24.00"} and len(posts(sim, "/issue_refund")) == 1
        assert [str(one.amount) for one in case.refunds] == ["24.0 USD"]
        assert case.request.status is RequestStatus.CLOSED
        assert set(sim.books["tokens"]) == {"seller"} and len(sim.books["tokens"]) == 1


@pytest.mark.row("P02")
async def test_what_has_not_changed_is_stored_once_and_a_comparison_adds_no_second_case(
    tmp_path: Path, sink: Sink, sim: EbaySim
) -> None:
    old = sim.do_open_return(sim.do_place_order(days_ago=60)["order"], days_ago=50)["return"]
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await poll(world)
        assert cases(world) == [], "the search does not look that far back"
        await poll(world, "reconcile")
        await poll(world, "reconcile")
        (case,) = cases(world)
        assert case.ref(RefKind.RETURN) == old
        sim.do_say(old, "Hello?")
        await poll(world)
        assert world.rows("SELECT count(*) FROM messages WHERE author = 'buyer'") == [(0,)], "no search shows it"
        await poll(world, "reconcile")
        await poll(world, "reconcile")
        assert types(world).count("case.requested") == 1
        assert world.rows("SELECT count(*) FROM messages WHERE author = 'buyer' AND form = 'thread'") == [(1,)]


async def test_many_returns_are_read_though_no_answer_holds_them_all(tmp_path: Path, sink: Sink, sim: EbaySim) -> None:
    for day in range(7):
        sim.do_open_return(sim.do_place_order(days_ago=20)["order"], days_ago=day + 0.02)
    async with running(shop(tmp_path, sink, sim, page=2), sink) as world:
        await world.until(lambda: len(cases(world)) == 7)
        await world.settle()
        assert types(world).count("case.requested") == 7


async def test_an_item_that_never_came_is_refunded_by_its_inquiry(tmp_path: Path, sink: Sink, sim: EbaySim) -> None:
    id_ = sim.do_open_inquiry(sim.do_place_order()["order"])["inquiry"]
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await world.until(lambda: cases(world) and cases(world)[0].order)
        await world.settle()
        (case,) = cases(world)
        assert (case.kind, case.issue, case.request.id) == (CaseKind.REFUND, Issue.LOST_PARCEL, f"inquiry:{id_}")
        assert case.request.due_at
        await world.until(lambda: sim.books["messages"])
        assert sim.books["messages"][0]["to"] == id_ and sim.books["paid"] == {}


async def test_an_escalated_return_and_its_case_are_one_matter_for_a_person(
    tmp_path: Path, sink: Sink, sim: EbaySim
) -> None:
    id_ = sim.do_open_return(sim.do_place_order()["order"])["return"]
    async with running(shop(tmp_path, sink, sim), sink) as world:
        await world.until(lambda: cases(world))
        await world.settle()
        case_id = sim.do_escalate(id_)["case"]
        await poll(world)
        (case,) = cases(world)
        assert case.kind is CaseKind.COMPLAINT
        assert (case.ref(RefKind.RETURN), case.ref(RefKind.CLAIM)) == (id_, f"case:{case_id}")
        assert sim.books["paid"] == {}


async def test_a_european_sellers_decision_waits_for_a_person(tmp_path: Path, sink: Sink, sim: EbaySim) -> None:
    sim.european = True
    id_ = sim.do_open_return(sim.do_place_order()["order"], reason="NO_LONGER_NEED_ITEM")["return"]
    async with running(shop(tmp_path, sink, sim), sink) as world:
        key = f"return:decide:{id_}"
        await world.until(lambda: world.rows(f"SELECT 1 FROM outbox WHERE key = '{key}' AND state = 'dead'"))
        assert sim.books["returns"][id_]["state"] == "RETURN_REQUESTED"


@pytest.mark.parametrize("digest", ["SHA1", "SHA256"])
async def test_the_door_answers_the_challenge_and_fetches_the_key_once(tmp_path: Path, sink: Sink, digest: str) -> None:
    async with EbaySim(digest=digest) as sim:
        address = "https://relay.example.com/ebay"
        async with running(shop(tmp_path, sink, sim, endpoint=address), sink) as world:
            sim.hook = f"{world.bridge.url}/hooks/us"
            told = await sim.do_challenge()
            assert (told["status"], told["answer"]["challengeResponse"]) == (
                200,
                "e1021c03c79323e774c94bbb51500f97546431e607e82a2f05d81ff52460bea5",
            )
            assert await sim.do_close_account("Zoë_1") == 200
            assert await sim.tell("ITEM_AVAILABILITY", {"title": "你好"}, spaced=True) == 200
            assert sim.books["keys"] == 1
            await world.settle()
            assert world.rows("SELECT count(*) FROM inbox WHERE account = 'us' AND kind = 'hook'") == [(2,)]
            sim.do_renew_key()
            assert await sim.do_close_account() == 200 and sim.books["keys"] == 2


async def test_a_key_that_cannot_be_fetched_now_loses_no_notification(tmp_path: Path, sink: Sink, sim: EbaySim) -> None:
    async with running(shop(tmp_path, sink, sim), sink) as world:
        sim.hook = f"{world.bridge.url}/hooks/us"
        await world.until(lambda: rested(world, "poll"))
        sim.do_fail_next(503)
        assert await sim.do_close_account() == 503
        assert await sim.do_close_account() == 200


async def test_a_key_that_ebay_does_not_have_is_refused(tmp_path: Path, sink: Sink, sim: EbaySim) -> None:
    async with running(shop(tmp_path, sink, sim), sink) as world:
        known, sim.kid = sim.kid, "nobody-knows-this"
        signed, sim.kid = sim.signature(b"{}"), known
        headers = {"Content-Type": "application/json", "X-EBAY-SIGNATURE": signed}
        assert await sim.deliver(b"{}", headers, url=f"{world.bridge.url}/hooks/us") == 401


async def test_the_account_can_be_checked(tmp_path: Path, sink: Sink, sim: EbaySim) -> None:
    async with running(shop(tmp_path, sink, sim), sink) as world:
        ctx = world.bridge.dispatcher.context("us", "probe", None)
        assert "EBAY_US" in await world.bridge.registry.accounts["us"].probe(ctx)
