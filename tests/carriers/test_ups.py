"""The UPS plugin against its contract, the forms of UPS's own description, and its simulator over real HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_ups import Ups
from rmabridge_ups.reading import Package, snapshot

from rmabridge.abilities import Inbound, WebRequest
from rmabridge.core.reduce import reduce
from rmabridge.errors import Malformed, Refused, Rejected, Unauthorised, Unavailable, Unverified, WrongType
from rmabridge.model import Case, QueryParcel, TrackParcel
from rmabridge.testing.contexts import NOON, MemoryTokens, account, context
from rmabridge.testing.contract import Call, CarrierContract
from rmabridge.testing.simulators.ups import UpsSim

CODE = "1Z999AA10123456784"
WORD = "credential-of-the-shop"
STATUS = {"type": "I", "code": "OT", "description": "Out for Delivery", "descriptionCode": "021"}
# After the examples of UPS-API/api-documentation.
ALERT = {
    "trackingNumber": f" {CODE}",
    "localActivityDate": "20240423",
    "localActivityTime": "091519",
    "activityLocation": {"city": "Charlotte", "stateProvince": "NC", "postalCode": "", "country": "US"},
    "activityStatus": STATUS,
    "scheduledDeliveryDate": "20240423",
    "actualDeliveryDate": "",
    "gmtActivityDate": "20240423",
    "gmtActivityTime": "131519",
}
ACTIVITY = {
    "location": {"address": {"city": "CHARLOTTE", "stateProvince": "NC", "countryCode": "US"}},
    "status": {"type": "D", "code": "FS", "description": "DELIVERED", "statusCode": "011"},
    "date": "20240423",
    "time": "024700",
    "gmtDate": "20240423",
    "gmtTime": "74700",
    "gmtOffset": "-05:00",
}
SETTINGS = {"client_id": "client", "client_secret": "secret-of-the-app", "credential": WORD}


def found(*activities: dict[str, Any]) -> dict[str, Any]:
    package = {"trackingNumber": CODE, "activity": list(activities), "deliveryDate": [{"type": "DEL"}]}
    return {"trackResponse": {"shipment": [{"inquiryNumber": CODE, "package": [package]}]}}


def request_of(alert: Any, **headers: str) -> WebRequest:
    sent = {"Content-Type": "application/json", **(headers or {"credential": WORD})}
    return WebRequest("POST", "/hooks/up", {}, sent, json.dumps(alert).encode())


def plugin(**settings: Any) -> Ups:
    return account(Ups, "up", **{**SETTINGS, **settings})


def token(**more: str) -> dict[str, str]:
    """A stored token of the application."""
    mark = plugin()._mark()
    return {"access_token": "held", "expires": (NOON + timedelta(hours=4)).isoformat(), "for": mark, **more}


def events(up: Ups, request: WebRequest) -> list[Any]:
    return list(up.parse(Inbound("up", request.body, up.verify(request, NOON).meta, NOON)))


@asynccontextmanager
async def shop(sim: UpsSim, tokens: MemoryTokens | None = None, **settings: Any) -> AsyncIterator[tuple[Ups, Any]]:
    """An account at the simulator, with its context."""
    ctx = context("up", tokens=tokens, now=sim.now)
    try:
        yield plugin(**sim.account_settings(), **settings), ctx
    finally:
        await ctx.http.aclose()


@pytest.fixture
async def sim() -> AsyncIterator[UpsSim]:
    async with UpsSim("client", "secret-of-the-app", WORD) as made:
        yield made


class TestUps(CarrierContract):
    plugin = Ups
    settings = SETTINGS
    secret_field = "credential"
    token = token()

    def signed(self, account: Any, now: datetime) -> list[WebRequest]:
        return [request_of(ALERT, credential=account.credential[0].value.get_secret_value())]

    def signed_part(self, request: WebRequest) -> range:
        return range(0)  # UPS signs nothing: a header holds a word that both know

    def calls(self) -> list[Call]:
        taken = {"validTrackingNumbers": [CODE]}
        return [
            Call("query", QueryParcel(waybill=CODE), (found(ACTIVITY),), errors={"retry": ({"trackResponse": {}},)}),
            Call(
                "track",
                TrackParcel(waybill=CODE),
                (taken,),
                errors={"dead": ({"invalidTrackingNumbers": [CODE]}, {})},
            ),
        ]


# Pushes


def test_a_push_is_read_into_the_bridges_words() -> None:
    (event,) = events(plugin(), request_of(ALERT))
    parcel = event.parcel
    assert (parcel.waybill, parcel.carrier, parcel.status) == (CODE, "UPS", "out_for_delivery")
    assert event.at == datetime(2024, 4, 23, 13, 15, 19, tzinfo=UTC)
    assert (parcel.last.place, parcel.last.code) == ("Charlotte, NC, US", "I:OT")
    assert parcel.eta == datetime(2024, 4, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "means", "exception"),
    [
        ({"type": "M", "code": "MP", "descriptionCode": "003"}, "info_received", None),
        ({"type": "I", "code": "DP", "descriptionCode": "005"}, "in_transit", None),
        ({"type": "I", "code": "OT", "descriptionCode": 21}, "out_for_delivery", None),
        ({"type": "D", "code": "FS", "descriptionCode": "011"}, "delivered", None),
        ({"type": "X", "code": "HR", "descriptionCode": "013"}, "exception", "damaged"),
        ({"type": "X", "code": "GJ"}, "lost", "lost"),
        ({"type": "X", "code": "ZZ", "description": "The package was damaged"}, "exception", "damaged"),
        ({"type": "X", "code": "ZZ", "description": "A railroad strike"}, "exception", None),
        ({"type": "MV"}, "cancelled", "cancelled"),
        ({"type": "RS"}, "returning", "returning"),
        ({"type": "new", "code": 7}, "in_transit", None),
        ({}, "in_transit", None),
    ],
)
def test_codes_details_and_types_say_what_an_activity_means(
    status: dict[str, Any], means: str, exception: str | None
) -> None:
    (event,) = events(plugin(), request_of(ALERT | {"activityStatus": status}))
    assert (event.parcel.status, event.parcel.exception) == (means, exception)


# The seven messages that UPSTrackAlert.yaml of UPS-API/api-documentation shows, shortened to what tells them apart.
EXAMPLES = [
    ("M", "MP", "Shipment Ready for UPS", "003", "20240422", "041230", "info_received"),
    ("I", "OR", "On the Way", "005", "20240423", "012901", "in_transit"),
    ("I", "DP", "On the Way", "005", "20240423", "025400", "in_transit"),
    ("I", "YP", "Preparing for Delivery", "071", "20240423", "043052", "in_transit"),
    ("I", "YP", "Preparing for Delivery", "071", "20240423", "103936", "in_transit"),
    ("I", "OT", "Out for Delivery", "021", "20240423", "131519", "out_for_delivery"),
    ("D", "FS", "Delivered", "011", "20240423", "135004", "delivered"),
]


@pytest.mark.row("P48")
@pytest.mark.evidence("ups", "vendor_sample")
def test_the_examples_of_upss_own_description_map_right() -> None:
    for kind, code, words, detail, day, time, status in EXAMPLES:
        told = {"type": kind, "code": code, "description": words, "descriptionCode": detail}
        alert = ALERT | {"activityStatus": told, "gmtActivityDate": day, "gmtActivityTime": time}
        (event,) = events(plugin(), request_of(alert))
        assert (event.parcel.status, event.parcel.exception, event.parcel.last.text) == (status, None, words)
        assert f"{event.at:%Y%m%d%H%M%S}" == day + time


def test_without_greenwichs_time_the_local_one_counts_and_without_any_the_arrival() -> None:
    gone = {"gmtActivityDate": "", "gmtActivityTime": ""}
    (event,) = events(plugin(), request_of(ALERT | gone))
    assert event.at == datetime(2024, 4, 23, 9, 15, 19, tzinfo=UTC)
    (event,) = events(plugin(), request_of(ALERT | gone | {"localActivityTime": "soon"}))
    assert (event.at, event.parcel.scans, event.parcel.status) == (NOON, (), "pending")


@pytest.mark.parametrize("header", ["credential", "authorization"])
def test_the_credential_may_come_in_either_header(header: str) -> None:
    for value in (WORD, f"Bearer {WORD}"):
        assert plugin().verify(request_of(ALERT, **{header: value}), NOON).lane == CODE


def test_without_a_credential_the_door_stays_shut() -> None:
    for up, word in ((plugin(credential=None), ""), (plugin(credential=None), WORD), (plugin(), "guessed")):
        with pytest.raises(Unverified):
            up.verify(request_of(ALERT, credential=word), NOON)
    with pytest.raises(Unverified):
        plugin(credential_headers=["x-word"]).verify(request_of(ALERT), NOON)
    with pytest.raises(WrongType):
        plugin().verify(replace(request_of(ALERT), headers={"Content-Type": "text/plain"}), NOON)


@given(st.binary(), st.text(max_size=30))
def test_verify_refuses_any_bytes_and_words(body: bytes, word: str) -> None:
    request = WebRequest("POST", "/hooks/up", {}, {"credential": word, "authorization": word}, body)
    with pytest.raises(Refused):
        plugin().verify(request, NOON)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["20240423", "131519"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*ALERT, *STATUS]), inner),
    max_leaves=30,
)


@given(JSON)
def test_parse_is_total_over_any_json(value: Any) -> None:
    for name in ALERT:
        body = json.dumps(ALERT | {name: value}).encode()
        try:
            assert list(plugin().parse(Inbound("up", body, {}, NOON))) is not None
        except Malformed:
            continue


# Calls


async def test_a_query_shows_all_activities_in_order() -> None:
    early = ACTIVITY | {"gmtDate": "20240422", "gmtTime": "231500", "status": {"type": "I", "code": "DP"}}
    bare = {"date": "20240421", "time": "10:00:00", "gmtOffset": "-05:00", "status": {"type": "M"}}
    up, ctx = plugin(), context("up", tokens=MemoryTokens(token()))
    with respx.mock(using="httpx") as mock:
        route = mock.get(f"https://onlinetools.ups.com/api/track/v1/details/{CODE}").respond(
            json=found(ACTIVITY, early, bare)
        )
        (event,) = (await up.query(QueryParcel(waybill="1z 999 aa1 0123456784"), ctx)).events
    sent = route.calls.last.request
    assert (sent.headers["Authorization"], sent.headers["transactionSrc"]) == ("Bearer held", "rmabridge")
    assert sent.headers["transId"] == ctx.idempotency_key.replace("-", "")
    assert [one.status for one in event.parcel.scans] == ["info_received", "in_transit", "delivered"]
    assert [one.at.isoformat() for one in event.parcel.scans] == [
        "2024-04-21T15:00:00+00:00",
        "2024-04-22T23:15:00+00:00",
        "2024-04-23T07:47:00+00:00",
    ]
    assert event.parcel.delivered_at == event.at
    await ctx.http.aclose()


WAY_BACK = [("P", "XD"), ("X", "AA"), ("RS", "UF"), ("I", "OT"), ("D", "FS")]


@pytest.mark.parametrize(
    ("way", "settings", "status"),
    [
        (WAY_BACK, {}, "returned"),
        (WAY_BACK, {"turn_round": False}, "delivered"),
        ([*WAY_BACK[:2], *WAY_BACK[3:]], {}, "delivered"),
    ],
)
async def test_a_package_that_is_delivered_on_its_way_back_is_returned(
    way: list[tuple[str, str]], settings: dict[str, Any], status: str, sim: UpsSim
) -> None:
    sim.do_ship(CODE)
    for hour, (kind, code) in enumerate(way):
        await sim.do_scan(CODE, kind, code, "", "", at=f"2026-01-01T0{hour}:00:00+00:00")
    async with shop(sim, **settings) as (up, ctx):
        answered = list((await up.query(QueryParcel(waybill=CODE), ctx)).events)
        scans = [(one["status"], one["gmtDate"], one["gmtTime"]) for one in sim.packages[CODE]]
        alerts = [{"activityStatus": told, "gmtActivityDate": day, "gmtActivityTime": at} for told, day, at in scans]
        pushed = [event for one in alerts for event in events(up, request_of(ALERT | one))]
    for told in (answered, pushed, pushed[::-1], [*pushed, *answered]):
        case = Case(id="C1", shop="main", opened_at=NOON, updated_at=NOON)
        for event in told:
            case = reduce(case, event, "up")
        (parcel,) = case.parcels
        assert (parcel.status, parcel.delivered_at is not None) == (status, status == "delivered")


@pytest.mark.parametrize(
    ("days", "day"),
    [
        ([("SDD", "20260102"), ("RDD", "20260105")], 5),
        ([("RDD", "20260105"), ("SDD", "20260102")], 5),
        ([("SDD", "20260102"), ("RDD", "")], 2),
        ([("DEL", "20260103"), ("SDD", "20260102")], 2),
    ],
)
def test_the_day_that_a_delivery_was_put_off_to_counts_before_the_planned_one(
    days: list[tuple[str, str]], day: int
) -> None:
    told = {"trackingNumber": CODE, "deliveryDate": [{"type": kind, "date": date} for kind, date in days]}
    seen = snapshot(CODE, Package.model_validate(told), NOON)
    assert seen.parcel.eta == datetime(2026, 1, day, 12, tzinfo=UTC)


async def test_a_number_that_ups_has_not_seen_is_a_parcel_that_waits(sim: UpsSim) -> None:
    async with shop(sim) as (up, ctx):
        result = await up.query(QueryParcel(waybill=CODE), ctx)
        assert (result.events[0].parcel.status, result.note) == ("pending", "UPS: Tracking Information Not Found")
        sim.do_fail_next(404, "TW0001", "Tracking Information Not Found")
        result = await up.query(QueryParcel(waybill=CODE), ctx)
        assert result.events[0].parcel.status == "pending"
        sim.do_fail_next(404, "TV1001", "No such path")
        with pytest.raises(Rejected, match="TV1001"):
            await up.query(QueryParcel(waybill=CODE), ctx)


async def test_a_refusal_is_told_in_upss_words(sim: UpsSim) -> None:
    async with shop(sim) as (up, ctx):
        with pytest.raises(Rejected, match="400: TV1002 Invalid inquiry number"):
            await up.query(QueryParcel(waybill="1Z"), ctx)
        sim.do_fail_next(503)
        with pytest.raises(httpx.HTTPStatusError):
            await up.query(QueryParcel(waybill=CODE), ctx)


async def test_a_subscription_names_the_package(sim: UpsSim) -> None:
    async with shop(sim, alert_type="enhanced") as (up, ctx):
        assert (await up.track(TrackParcel(waybill="1z999aa1 0123456784"), ctx)).id == CODE
        with pytest.raises(Rejected, match="VSS210"):
            await up.track(TrackParcel(waybill="999999999"), ctx)
    held = sim.books["subscriptions"][CODE]
    assert (held["version"], held["eventPreferences"], "destination" in held) == ("v2", ["D", "I", "M"], False)


async def test_version_1_hands_address_and_credential_over(sim: UpsSim) -> None:
    async with shop(sim, alert_version="v1") as (up, ctx):
        await up.track(TrackParcel(waybill=CODE), ctx)
        ctx.public_url = ""
        with pytest.raises(Rejected) as refused:
            await up.track(TrackParcel(waybill=CODE), ctx)
    assert "public_url" in refused.value.hint
    assert sim.books["subscriptions"][CODE]["destination"] == {
        "url": "http://127.0.0.1:8080/hooks/up",
        "credentialType": "Bearer",
        "credential": WORD,
    }


# Tokens


async def test_a_token_is_kept_and_renewed_half_an_hour_before_its_end(sim: UpsSim) -> None:
    tokens = MemoryTokens()
    async with shop(sim, tokens) as (up, ctx):
        for _ in range(2):
            await up.query(QueryParcel(waybill=CODE), ctx)
        assert sim.books["tokens"] == ["token-1"]
        assert tokens.expires is not None
        assert timedelta(seconds=14390) < tokens.expires - sim.now() < timedelta(seconds=14400)
        sim.offset += timedelta(seconds=14399 - 29 * 60)
        await up.query(QueryParcel(waybill=CODE), ctx)
    assert sim.books["tokens"] == ["token-1", "token-2"]
    assert sim.books["refusals"] == []


async def test_a_token_that_ups_has_forgotten_is_replaced(sim: UpsSim) -> None:
    async with shop(sim, MemoryTokens()) as (up, ctx):
        await up.query(QueryParcel(waybill=CODE), ctx)
        sim.do_forget_tokens()
        await up.query(QueryParcel(waybill=CODE), ctx)
    assert (sim.books["tokens"], len(sim.books["queries"])) == (["token-1", "token-2"], 2)


async def test_the_token_of_another_application_is_not_used(sim: UpsSim) -> None:
    async with shop(sim, MemoryTokens(token(**{"for": "another"}))) as (up, ctx):
        await up.query(QueryParcel(waybill=CODE), ctx)
    assert (sim.books["tokens"], sim.books["refusals"]) == (["token-1"], [])


async def test_a_wrong_secret_stops_the_account(sim: UpsSim) -> None:
    async with shop(sim, client_secret="wrong") as (up, ctx):
        for call in (up.query(QueryParcel(waybill=CODE), ctx), up.probe(ctx)):
            with pytest.raises(Unauthorised, match="ClientId is Invalid"):
                await call


@pytest.mark.parametrize("answer", [{}, {"access_token": "t", "expires_in": "soon"}, {"expires_in": "60"}])
async def test_an_answer_without_a_token_is_asked_again(answer: dict[str, str]) -> None:
    up, ctx = plugin(merchant_id="1Z2345"), context("up")
    with respx.mock(using="httpx") as mock:
        route = mock.post("https://onlinetools.ups.com/security/v1/oauth/token").respond(json=answer)
        with pytest.raises(Unavailable, match="no token"):
            await up.probe(ctx)
    assert route.calls.last.request.headers["x-merchant-id"] == "1Z2345"
    await ctx.http.aclose()


async def test_a_probe_asks_for_a_token(sim: UpsSim) -> None:
    async with shop(sim) as (up, ctx):
        assert await up.probe(ctx) == "UPS grants a token to client"
