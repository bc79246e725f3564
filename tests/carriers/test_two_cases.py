"""One parcel, two cases: the open one hears of it, whichever of them subscribed or asked first."""

from __future__ import annotations

from typing import Any

from rmabridge.model import Case, Commanded
from rmabridge.store import inbox as inbox_store
from rmabridge.testing.simulators.seventeentrack import SeventeenTrackSim
from worlds import a_return, ago

CODE = "RR123456785CN"
PARCEL = {"waybill": CODE, "carrier": "YZPY"}


def cases(carried: Any) -> list[Case]:
    """The oldest first."""
    store = carried.world.bridge.store
    rows = carried.world.rows("SELECT key_id, doc FROM cases")
    store.keys_for({key for key, _ in rows})
    found = [Case.model_validate_json(store.vault.open(key, doc)) for key, doc in rows]
    return sorted(found, key=lambda one: one.opened_at)


async def order(carried: Any, case: Case, name: str, **args: Any) -> None:
    """An operator's command, carried out."""
    world, router = carried.world, carried.world.bridge.router
    world.number += 1
    given = Commanded(key=f"cmd:{world.number}", at=world.bridge.store.clock.now(), command=name, by="x", args=args)
    row = router.event_row([given], "bridge", given.key, case_id=case.id, kind="command")
    await world.bridge.store.write(lambda conn: inbox_store.add(conn, [row]))
    router.wake.set()
    await world.settle()


async def second(carried: Any) -> Case:
    """The buyer comes back about the same order after the first case was closed."""
    await order(carried, cases(carried)[0], "close", result="done")
    body = a_return(2)
    body["data"] |= {"order": "O1", "order_doc": body["data"]["order_doc"] | {"id": "O1"}}
    body["data"]["buyer"]["id"] = "B1"
    body["time"] = ago(seconds=1)
    await carried.world.post(body)
    await carried.world.settle()
    found = cases(carried)[1]
    assert found.open
    return found


async def test_pushes_reach_the_open_case_though_a_closed_one_subscribed_first(carried: Any) -> None:
    async with SeventeenTrackSim() as sim, carried(sim, "seventeentrack", api_key=sim.api_key) as one:
        sim.do_ship(CODE, 3011)
        await order(one, cases(one)[0], "act", action={"type": "parcel.track", **PARCEL})
        assert await sim.do_scan(CODE, "InTransit_PickedUp", "Accepted", "SHANGHAI") == 200
        await one.world.settle()
        case = await second(one)
        await order(one, case, "act", action={"type": "parcel.query", **PARCEL})
        await one.later(60)
        assert await sim.do_scan(CODE, "Delivered_Other", "Delivered", "PARIS") == 200
        await one.world.settle()
        assert [str(parcel.status) for parcel in cases(one)[1].parcels] == ["delivered"]


async def test_a_case_hears_the_answer_to_its_own_question_though_another_one_heard_the_same(carried: Any) -> None:
    async with SeventeenTrackSim() as sim, carried(sim, "seventeentrack", api_key=sim.api_key) as one:
        sim.do_ship(CODE, 3011)
        sim.books["registered"][CODE] = {"carrier": 3011, "tag": None, "param": None, "lang": None}
        sim.faults.add("lost")
        await sim.do_scan(CODE, "Delivered_Other", "Delivered", "PARIS")
        await order(one, cases(one)[0], "act", action={"type": "parcel.query", **PARCEL})
        assert cases(one)[0].parcels[0].status == "delivered"
        case = await second(one)
        await order(one, case, "act", action={"type": "parcel.query", **PARCEL})
        assert [str(parcel.status) for parcel in cases(one)[1].parcels] == ["delivered"]
