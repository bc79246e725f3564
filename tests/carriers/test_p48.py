"""Published and recorded answers of the carriers map right, and a parcel at the wrong carrier is noticed.

The answers are in ``tests/data/carriers``, each with its source beside it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import respx
from rmabridge_easypost import EasyPost
from rmabridge_kdniao import Kdniao
from rmabridge_tracking import Tracking

from rmabridge.abilities import Context, Inbound, Shop, Timer, View, WebRequest
from rmabridge.core.reduce import reduce
from rmabridge.core.templates import Catalogue
from rmabridge.model import (
    Action,
    Case,
    ClaimKind,
    FileClaim,
    Money,
    Order,
    OrderSeen,
    Parcel,
    ParcelSeen,
    ParcelStatus,
    QueryClaim,
    QueryParcel,
    TrackParcel,
)
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.simulators.easypost import EasyPostSim
from rmabridge.testing.simulators.sink import Sink
from rmabridge.wire.waybills import contradiction, normalise
from worlds import a_return, document, running

DATA = Path(__file__).parents[1] / "data" / "carriers"
FILES = sorted(DATA.glob("*.json"))
CHINA = "+08:00"
KEY = "56da2cf8-key"


def recorded(name: str) -> Any:
    """The answer of a file."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))["answer"]


def kdniao(**settings: Any) -> Kdniao:
    return account(Kdniao, "kd", business_id="1234567", app_key=KEY, **settings)


def easypost() -> EasyPost:
    return account(EasyPost, "ep", api_key="EZTK", secret="s")


def at(text: str, zone: str = CHINA) -> datetime:
    return datetime.fromisoformat(f"{text}{zone}")


async def asked(plugin: Any, call: str, action: Action, answer: Any, status: int = 200) -> Any:
    """What the plugin makes of the vendor's answer."""
    ctx: Context = context(case="C1")
    with respx.mock(using="httpx") as mock:
        mock.route().respond(status, json=answer)
        try:
            return await getattr(plugin, call)(action, ctx)
        finally:
            await ctx.http.aclose()


@pytest.mark.parametrize("path", FILES, ids=lambda one: one.stem)
def test_every_recorded_answer_names_its_source(path: Path) -> None:
    held = json.loads(path.read_text(encoding="utf-8"))
    assert set(held) == {"source", "answer"}
    assert len(held["source"]) > 30
    text = json.dumps(held, ensure_ascii=False)
    assert not re.search(r"(?<![0-9a-z])1[3-9]\d{9}(?![0-9a-z])", text), "a mobile number is left in it"


# Kdniao: what each carrier's parcel looks like


@pytest.mark.row("P48")
@pytest.mark.parametrize(
    ("name", "carrier", "waybill", "status", "scans", "last"),
    [
        ("zto", "ZTO", "638650888018", "delivered", 4, "2014-06-25T10:23:03"),
        ("yto", "YTO", "803606830189712542", "delivered", 3, "2018-12-24T17:19:41"),
        ("sto", "STO", "773061155005903", "delivered", 4, "2020-10-17T17:32:23"),
        ("ems", "EMS", "1199965242414", "delivered", 3, "2018-05-21T23:15:00"),
        ("htky", "HTKY", "71780507241867", "delivered", 3, "2019-10-15T09:08:48"),
        ("hhtt", "HHTT", "667771430898", "delivered", 3, "2017-08-02T08:23:45"),
    ],
)
async def test_an_answer_of_kdniao_maps_right(
    name: str, carrier: str, waybill: str, status: str, scans: int, last: str
) -> None:
    answer = recorded(f"kdniao_query_1002_{name}")
    action = QueryParcel(waybill=waybill, carrier=carrier)
    (event,) = (await asked(kdniao(query_type="1002"), "query", action, answer)).events
    parcel = event.parcel
    assert (parcel.waybill, parcel.carrier, parcel.status) == (waybill, carrier, status)
    assert (len(parcel.scans), parcel.last.at, event.at) == (scans, at(last), at(last))
    assert parcel.delivered_at == at(last)
    assert [one.status for one in parcel.scans[:-1]] == ["in_transit"] * (scans - 1), "only the newest state is told"
    assert all(one.text for one in parcel.scans)


async def test_an_answer_of_kdniao_without_scans_is_a_parcel_that_waits() -> None:
    action = QueryParcel(waybill="YT0000000000002", carrier="YTO")
    answer = recorded("kdniao_query_1002_none")
    (event,) = (await asked(kdniao(query_type="1002"), "query", action, answer)).events
    assert (event.parcel.status, event.parcel.scans, event.at) == ("pending", (), NOON)


def pushed(name: str, kind: str) -> list[Any]:
    """A push of Kdniao's, signed for its account, verified and read."""
    push = recorded(name)
    content = json.dumps(push, ensure_ascii=False)
    mark = base64.b64encode(hashlib.md5((content + KEY).encode()).hexdigest().encode()).decode()
    body = urlencode({"RequestData": content, "DataSign": mark, "RequestType": kind}).encode()
    made = account(Kdniao, "kd", business_id=push["EBusinessID"], app_key=KEY)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    receipt = made.verify(WebRequest("POST", "/hooks/kd", {}, form, body), NOON)
    return list(made.parse(Inbound("kd", body, receipt.meta, NOON)))


@pytest.mark.row("P48")
@pytest.mark.evidence("kdniao", "vendor_sample")
def test_pushes_of_kdniao_map_right() -> None:
    first, second = pushed("kdniao_push_101_ems", "101")
    assert [one.parcel.waybill for one in (first, second)] == ["5042260908504", "5042260943004"]
    assert {one.parcel.status for one in (first, second)} == {"in_transit"}
    assert (first.at, len(first.parcel.scans)) == (at("2015-03-11T09:53:48"), 5)
    yunda, ems = pushed("kdniao_push_101_yd", "101")
    assert (yunda.parcel.carrier, yunda.parcel.status, yunda.at) == ("YD", "in_transit", at("2016-07-21T08:41:22"))
    assert (ems.parcel.carrier, ems.parcel.status, ems.parcel.delivered_at) == ("EMS", "delivered", ems.at)
    (damaged,) = pushed("kdniao_push_102_form", "102")
    assert (damaged.parcel.status, damaged.parcel.exception) == ("exception", "damaged")
    assert [(one.kind, one.value) for one in damaged.refs] == [("waybill", "YT0000000000001"), ("case", "case-77")]


# EasyPost


@pytest.mark.row("P48")
def test_pushes_of_easypost_map_right() -> None:
    def read(name: str) -> Any:
        body = json.dumps(recorded(name)).encode()
        (event,) = easypost().parse(Inbound("ep", body, {}, NOON))
        return event

    fedex = read("easypost_tracker_updated")
    parcel = fedex.parcel
    assert (parcel.waybill, parcel.carrier, parcel.status) == ("1", "FEDEX_GJ", "in_transit")
    assert (len(parcel.scans), fedex.at) == (7, at("2024-08-02T18:50:00", "+00:00"))
    assert [one.status for one in parcel.scans] == ["info_received"] + ["in_transit"] * 6
    assert (parcel.last.place, parcel.last.text) == ("EDISON, NJ, US", "Arrived at FedEx location")
    assert parcel.eta == at("2024-08-05T12:00:00", "+00:00")
    ups = read("easypost_tracker_delivered").parcel
    assert (ups.waybill, ups.carrier, ups.status) == ("EZ4000000004", "UPS", "delivered")
    assert ups.delivered_at == at("2014-08-24T15:33:00", "+00:00")
    expected = ["info_received", "in_transit", "in_transit", "in_transit", "out_for_delivery", "delivered"]
    assert [one.status for one in ups.scans] == expected


@pytest.mark.row("P48")
async def test_answers_of_easypost_map_right() -> None:
    made = await asked(
        easypost(), "track", TrackParcel(waybill="EZ1000000001"), recorded("easypost_tracker_created"), 201
    )
    (event,) = made.events
    assert (made.id, event.parcel.carrier, event.parcel.status) == (
        "trk_e7e8f143f3eb40d38be9562e3767c36a",
        "USPS",
        "info_received",
    )
    assert [one.text for one in event.parcel.scans] == ["Pre-Shipment Info Sent to USPS", "Shipping Label Created"]


async def test_claims_of_easypost_map_right() -> None:
    action = FileClaim(
        waybill="9400100208303109500669",
        carrier="USPS",
        claim=ClaimKind.DAMAGE,
        amount=Money.of("100 USD"),
        external="C1",
    )
    filed = await asked(easypost(), "file_claim", action, recorded("easypost_claim_created"), 201)
    (event,) = filed.events
    assert (event.status, event.kind, event.amount) == ("submitted", "damage", Money.of("100.00 USD"))
    assert event.at == at("2025-03-06T19:47:58", "+00:00")
    found = await asked(easypost(), "find_claim", action, recorded("easypost_claims_listed"))
    assert (found.happened, found.result.id) == (True, filed.id)
    query = QueryClaim(claim="clm_09cea7c6461a4182a7e05bed24b83717", waybill="9400100208303109500683")
    (ended,) = (await asked(easypost(), "query_claim", query, recorded("easypost_claim_cancelled"))).events
    assert (ended.status, ended.reason) == ("withdrawn", "Claim cancellation was requested.")
    with pytest.raises(Exception, match="No eligible insurance found"):
        await asked(easypost(), "file_claim", action, recorded("easypost_claim_refused"), 404)


# The wrong carrier


@pytest.mark.row("P48")
@pytest.mark.parametrize(
    ("number", "stated", "other"),
    [
        ("SF1234567890123", "YTO", "SF"),
        ("YT0000000000001", "ZTO", "YTO"),
        ("YT0000000000000001", "圆通速递", "yuntrack"),
        ("JT0000000000001", "STO", "JTSD"),
        ("1Z999AA10123456784", "FedEx", "UPS"),
        ("9611020987654312345672", "UPS", "FEDEX_GJ"),
        ("9400111202555842332669", "SF", "USPS"),
        ("yt 0000-0000-00001", "SF", "YTO"),
    ],
)
def test_a_number_that_cannot_be_the_stated_carriers_names_its_own(number: str, stated: str, other: str) -> None:
    found = contradiction(number, stated)
    assert found
    assert found.carrier == other


@pytest.mark.parametrize(
    ("number", "stated"),
    [
        ("SF1234567890123", "SF"),
        ("SF1234567890123", "顺丰速运"),
        ("9611020987654312345672", "FEDEX"),
        ("9400111202555842332669", "UPS"),
        ("780000000001", "YD"),
        ("RR123456785CN", "USPS"),
        ("EZ4000000004", "UPS"),
        ("YT0000000000001", "a courier that nobody lists"),
        ("", "SF"),
    ],
)
def test_a_number_that_may_be_the_stated_carriers_contradicts_nothing(number: str, stated: str) -> None:
    assert contradiction(number, stated) is None


def test_recorded_answers_do_not_contradict_their_carriers() -> None:
    parcels = [one.parcel for one in (*pushed("kdniao_push_101_ems", "101"), *pushed("kdniao_push_101_yd", "101"))]
    parcels += [one.parcel for one in pushed("kdniao_push_102_form", "102")]
    for name in ("zto", "yto", "sto", "ems", "htky", "hhtt"):
        answer = {key.lower(): value for key, value in recorded(f"kdniao_query_1002_{name}").items()}
        parcels.append(Parcel(waybill=normalise(answer["logisticcode"]), carrier=answer["shippercode"]))
    assert not [one.waybill for one in parcels if contradiction(one.waybill, one.carrier or "")]


class Watch:
    """The tracking policy on one case, with its ledger."""

    def __init__(self, **settings: Any) -> None:
        self.policy = account(Tracking, **settings)
        self.case = Case(id="C1", shop="acme", opened_at=NOON, updated_at=NOON)
        self.shop = Shop(name="acme", helpdesk="desk", carrier="ep", locale="en")
        self.actions: dict[str, Any] = {}

    def hear(self, event: Any) -> None:
        """Fold the event, and keep what the policy proposes."""
        self.case = reduce(self.case, event, "shop")
        ledger = dict.fromkeys(self.actions, "done")
        view = View(now=NOON, shop=self.shop, ledger=ledger, render=Catalogue().render, actions=self.actions.get)
        for one in self.policy.decide(self.case, event, view):
            if not isinstance(one, Timer):
                self.actions.setdefault(one.key, one)

    def ordered(self, waybill: str, carrier: str | None) -> None:
        """The order says which carrier has the parcel."""
        parcel = Parcel(waybill=waybill, carrier=carrier, status=ParcelStatus.IN_TRANSIT)
        order = Order(id="O1", number="1", placed_at=NOON)
        self.hear(OrderSeen(key="o1", at=NOON, order=order, parcels=(parcel,)))

    def found(self, waybill: str, carrier: str | None, minutes: int = 5) -> None:
        """The carrier's or aggregator's answer."""
        parcel = Parcel(waybill=waybill, carrier=carrier, status=ParcelStatus.IN_TRANSIT)
        self.hear(ParcelSeen(key=f"p{minutes}", at=NOON + timedelta(minutes=minutes), parcel=parcel))

    @property
    def notes(self) -> list[str]:
        """What colleagues are told."""
        return [one.text for key, one in self.actions.items() if key.startswith("ticket:comment:carrier:")]


@pytest.mark.row("P48")
def test_colleagues_are_told_once_when_the_number_contradicts_the_carrier() -> None:
    watch = Watch()
    watch.ordered("SF1234567890123", "YTO")
    watch.found("SF1234567890123", "YTO")
    (note,) = watch.notes
    assert "SF1234567890123 is said to be with YTO" in note
    assert "by its number it belongs to SF" in note


@pytest.mark.row("P48")
def test_colleagues_are_told_once_when_the_parcel_is_found_at_another_carrier() -> None:
    watch = Watch()
    watch.ordered("EZ1000000001", "UPS")
    assert watch.notes == []
    for minutes in (5, 6):
        watch.found("EZ1000000001", "USPS", minutes)
    (note,) = watch.notes
    assert "its scans are found at USPS" in note


@pytest.mark.parametrize(
    ("stated", "answered"), [("USPS", "USPS"), (None, "USPS"), ("FedEx", "FEDEX_GJ"), ("UPS", None)]
)
def test_nothing_is_said_of_a_parcel_that_is_where_it_should_be(stated: str | None, answered: str | None) -> None:
    watch = Watch()
    watch.ordered("EZ1000000001", stated)
    watch.found("EZ1000000001", answered)
    assert watch.notes == []


def test_the_check_can_be_switched_off() -> None:
    watch = Watch(check_carrier=False)
    watch.ordered("SF1234567890123", "YTO")
    assert watch.notes == []


@pytest.mark.row("P48")
async def test_a_running_bridge_notices_that_easypost_finds_the_parcel_elsewhere(tmp_path: Path, sink: Sink) -> None:
    async with EasyPostSim() as sim:
        config = document(tmp_path, sink.url, policies=["tracking", "helpdesk_sync"])
        settings = {"api_key": sim.api_key, "secret": sim.secret, "url": f"{sim.url}/v2"}
        config["carriers"] = {"ep": {"plugin": "easypost", "allow_private": True, **settings}}
        config["shops"]["one"] |= {"carrier": "ep"}
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
        sim.do_ship("9400100208303109500669", "USPS")
        async with running(config, sink) as world:
            asked_for = a_return()
            await world.post(asked_for)
            await world.settle()
            parcels = [{"waybill": "9400100208303109500669", "carrier": "UPS", "status": "in_transit"}]
            shown = {**asked_for, "id": "evt-2", "type": "order", "time": datetime.now().astimezone().isoformat()}
            shown["data"] = {"order": "O1", "order_doc": asked_for["data"]["order_doc"], "parcels": parcels}
            assert (await world.post(shown))[0] == 200
            await world.settle()
            told = world.rows("SELECT state FROM outbox WHERE key = 'ticket:comment:carrier:9400100208303109500669'")
            assert told == [("done",)]
            texts = [one["body"].get("text", "") for one in sink.books["posts"]]
            assert any("found at USPS" in one for one in texts)
