"""The 17TRACK plugin against its contract, the vendor's own forms, and its simulator over real HTTP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_seventeentrack import SeventeenTrack, signature

from rmabridge.abilities import Inbound, WebRequest
from rmabridge.errors import Malformed, Refused, Rejected, Unauthorised, Unavailable, WrongType
from rmabridge.model import QueryParcel, TrackParcel
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.contract import Call, CarrierContract
from rmabridge.testing.simulators.seventeentrack import SeventeenTrackSim
from rmabridge.testing.simulators.seventeentrack import sign as simulated

KEY = "0123456789ABCDEF"
CODE = "RR123456785CN"
LINE = {
    "time_iso": "2025-03-02T18:21:09+08:00",
    "time_utc": "2025-03-02T10:21:09Z",
    "time_raw": {"date": "2025-03-02", "time": "18:21:09", "timezone": "+08:00"},
    "description": "Package damaged",
    "location": "HANGZHOU",
    "stage": None,
    "sub_status": "Exception_Damage",
}
INFO = {
    "latest_status": {"status": "Exception", "sub_status": "Exception_Damage", "sub_status_descr": None},
    "latest_event": LINE,
    "time_metrics": {"estimated_delivery_date": {"source": "Official", "from": None, "to": "2025-03-05T00:00:00Z"}},
    "tracking": {"providers_hash": 1, "providers": [{"provider": {"key": 3011}, "events_hash": 1, "events": [LINE]}]},
}
DATA = {"number": CODE, "carrier": 3011, "param": None, "tag": "case-77", "track_info": INFO}
UPDATED = {"event": "TRACKING_UPDATED", "data": DATA}


def request_of(body: Any, key: str = KEY) -> WebRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    mark = hashlib.sha256(raw + b"/" + key.encode()).hexdigest()
    return WebRequest("POST", "/hooks/st", {}, {"Content-Type": "application/json", "sign": mark}, raw)


def plugin(**settings: Any) -> SeventeenTrack:
    return account(SeventeenTrack, "st", **{"api_key": KEY, **settings})


def read(**info: Any) -> Any:
    """The parcel of a webhook with these changes."""
    body = json.dumps(UPDATED | {"data": DATA | {"track_info": INFO | info}}).encode()
    (event,) = plugin().parse(Inbound("st", body, {}, NOON))
    return event.parcel


def lines(*events: dict[str, Any]) -> dict[str, Any]:
    """A history of one carrier, the newest line first."""
    return {"providers_hash": 2, "providers": [{"events": list(events)}]}


@asynccontextmanager
async def shop(sim: SeventeenTrackSim, **settings: Any) -> AsyncIterator[tuple[SeventeenTrack, Any]]:
    """An account at the simulator, with its context."""
    ctx = context("st")
    try:
        yield plugin(**sim.account_settings(), **settings), ctx
    finally:
        await ctx.http.aclose()


@pytest.fixture
async def sim() -> AsyncIterator[SeventeenTrackSim]:
    async with SeventeenTrackSim(KEY) as made:
        yield made


def rejected(code: int) -> dict[str, Any]:
    return {"code": 0, "data": {"accepted": [], "rejected": [{"number": CODE, "error": {"code": code}}]}}


class TestSeventeenTrack(CarrierContract):
    plugin = SeventeenTrack
    settings = {"api_key": KEY}  # noqa: RUF012 - as in the contract's own text
    secret_field = "api_key"

    def signed(self, account: Any, now: datetime) -> list[WebRequest]:
        return [request_of(UPDATED, account.api_key[0].value.get_secret_value())]

    def calls(self) -> list[Call]:
        errors = {
            "retry": (rejected(-18010003), {"code": -18010003, "data": {"errors": []}}),
            "unauthorised": ({"code": -18010002, "data": {}}, rejected(-18010004)),
            "dead": (rejected(-18010012), {}),
        }
        accepted = {"code": 0, "data": {"accepted": [DATA], "rejected": []}}
        return [
            Call("query", QueryParcel(waybill=CODE, carrier="YZPY"), (accepted,), errors=errors),
            Call("track", TrackParcel(waybill=CODE, carrier="YZPY"), (accepted,), errors=errors),
        ]


# The signature


@pytest.mark.row("P06")
def test_the_signature_is_a_plain_sha256_over_body_slash_and_key() -> None:
    body = b'{"event":"TRACKING_UPDATED","data":{"number":"RR123456789CN","carrier":3011,"tag":null}}'
    # The strings are those of the vendor's document; sha256sum of the command line made this value.
    expected = "45acb4a6f4a194a6ac1f0f712182c4e314b1ae9399941ea086987408f3166994"
    assert signature(body, "123456ABCDEF") == simulated(body, "123456ABCDEF") == expected


@given(st.binary(), st.text())
def test_plugin_simulator_and_test_sign_alike(body: bytes, key: str) -> None:
    assert signature(body, key) == simulated(body, key) == hashlib.sha256(body + b"/" + key.encode()).hexdigest()


def test_a_body_that_was_written_again_is_refused() -> None:
    request = request_of(UPDATED)
    spaced = replace(request, body=json.dumps(json.loads(request.body), indent=1).encode())
    with pytest.raises(Refused):
        plugin().verify(spaced, NOON)
    assert plugin().verify(request, NOON).lane == CODE


def test_only_json_is_taken() -> None:
    with pytest.raises(WrongType):
        plugin().verify(replace(request_of(UPDATED), headers={"Content-Type": "text/xml"}), NOON)


@given(st.binary())
def test_verify_refuses_any_bytes(body: bytes) -> None:
    with pytest.raises(Refused):
        plugin().verify(WebRequest("POST", "/hooks/st", {}, {"sign": "0" * 64}, body), NOON)


# Webhooks


def test_a_webhook_is_read_into_the_bridges_words() -> None:
    (event,) = plugin().parse(Inbound("st", request_of(UPDATED).body, {}, NOON))
    parcel = event.parcel
    assert (parcel.waybill, parcel.carrier, parcel.status, parcel.exception) == (CODE, "YZPY", "exception", "damaged")
    assert event.at == datetime(2025, 3, 2, 10, 21, 9, tzinfo=UTC)
    assert parcel.eta == datetime(2025, 3, 5, 12, tzinfo=UTC)
    assert {(ref.kind, ref.value) for ref in event.refs} == {("waybill", CODE), ("case", "case-77")}


@pytest.mark.parametrize(
    ("code", "status", "exception"),
    [
        ("InTransit_CustomsRequiringInformation", "customs", "customs_hold"),
        ("AvailableForPickup_Other", "available_for_pickup", None),
        ("DeliveryFailure_NoBody", "attempt_failed", "recipient_unavailable"),
        ("Exception_Lost", "lost", "lost"),
        ("Exception_Returned", "returned", "returning"),
        ("Exception_Held", "exception", "damaged"),
        ("Teleported_Other", "in_transit", None),
    ],
)
def test_a_status_means_what_the_vendor_says_and_a_new_one_what_its_family_means(
    code: str, status: str, exception: str | None
) -> None:
    latest = {"status": code.partition("_")[0], "sub_status": code}
    parcel = read(latest_status=latest, tracking=lines(LINE | {"sub_status": code}))
    for one in (parcel, parcel.last):
        assert (one.status, one.exception) == (status, exception)


def test_the_scans_of_both_carriers_are_in_the_order_of_their_times() -> None:
    early = LINE | {"time_utc": "2025-03-01T10:00:00Z", "sub_status": "InTransit_PickedUp"}
    late = LINE | {"time_utc": "2025-03-03T10:00:00Z", "sub_status": "OutForDelivery_Other"}
    parcel = read(tracking={"providers": [{"events": [late]}, {"events": [LINE, early]}]})
    assert [one.status for one in parcel.scans] == ["picked_up", "exception", "out_for_delivery"]


@pytest.mark.parametrize(
    ("times", "at"),
    [
        ({"time_utc": None}, "2025-03-02T10:21:09+00:00"),
        ({"time_utc": None, "time_iso": None}, "2025-03-02T10:21:09+00:00"),
        (
            {"time_utc": None, "time_iso": None, "time_raw": {"date": "2025-03-02", "time": None, "timezone": None}},
            "2025-03-02T00:00:00+00:00",
        ),
    ],
)
def test_a_delivery_with_the_carriers_own_time_only_is_dated(times: dict[str, Any], at: str) -> None:
    parcel = read(tracking=lines(LINE | {"sub_status": "Delivered_Other"} | times))
    assert parcel.delivered_at == datetime.fromisoformat(at)


def test_a_line_without_any_time_is_left_out() -> None:
    bare = LINE | {"time_utc": None, "time_iso": None, "time_raw": None}
    assert read(tracking=lines(bare)).scans == ()


def test_the_end_of_a_registration_and_unknown_events_tell_nothing() -> None:
    for body in (UPDATED | {"event": "TRACKING_STOPPED"}, UPDATED | {"event": 7}, {}):
        assert list(plugin().parse(Inbound("st", json.dumps(body).encode(), {}, NOON))) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["2025-03-02T18:21:09Z"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*DATA, *INFO, *LINE, "events"]), inner),
    max_leaves=30,
)


@given(JSON)
def test_parse_is_total_over_any_json(value: Any) -> None:
    body = json.dumps(UPDATED | {"data": DATA | {"track_info": value, "tag": value}}).encode()
    try:
        assert list(plugin().parse(Inbound("st", body, {}, NOON))) is not None
    except Malformed:
        return


# Calls


async def test_a_registration_names_the_carriers_number_and_the_case() -> None:
    st_, ctx = plugin(api_key=["new", {"value": "old"}], language="en"), context("st")
    answer = {"code": 0, "data": {"accepted": [{"number": CODE, "carrier": 3011}], "rejected": []}}
    with respx.mock(using="httpx") as mock:
        route = mock.post("https://api.17track.net/track/v2.2/register").respond(json=answer)
        result = await st_.track(TrackParcel(waybill="rr 1234 5678 5cn", carrier="邮政快递包裹"), ctx)
    sent = route.calls.last.request
    wanted = {"number": CODE, "carrier": 3011, "auto_detection": True, "tag": "C1", "lang": "en"}
    assert (json.loads(sent.content), sent.headers["17token"]) == ([wanted], "new")
    assert result.id == f"{CODE}:3011"
    await ctx.http.aclose()


async def test_an_unknown_carrier_is_left_to_17track(sim: SeventeenTrackSim) -> None:
    sim.do_ship(CODE, 3011)
    async with shop(sim) as (st_, ctx):
        assert (await st_.track(TrackParcel(waybill=CODE, carrier="某某"), ctx)).id == f"{CODE}:3011"
        assert (await st_.track(TrackParcel(waybill=CODE), ctx)).id == f"{CODE}:auto", "registered before"
        with pytest.raises(Rejected, match="cannot be detected") as refused:
            await st_.track(TrackParcel(waybill="UNKNOWN123"), ctx)
    assert "name the parcel's carrier" in refused.value.hint
    assert sim.books["refusals"] == [-18019901, -18019903]


async def test_a_phone_is_told_only_where_the_settings_say_so(sim: SeventeenTrackSim) -> None:
    asked = {"carrier": "SF", "phone_tail": "13812345678"}
    async with shop(sim) as (st_, ctx):
        await st_.track(TrackParcel(waybill="SF1234567890123", **asked), ctx)
    async with shop(sim, phone_tail_for=["100012"]) as (st_, ctx):
        await st_.track(TrackParcel(waybill="SF1234567890124", **asked), ctx)
    assert [one["param"] for one in sim.books["registered"].values()] == [None, "5678"]


async def test_a_query_shows_all_scans_and_has_the_key_of_the_webhook(sim: SeventeenTrackSim) -> None:
    sim.do_ship(CODE, 3011)
    async with shop(sim) as (st_, ctx):
        await st_.track(TrackParcel(waybill=CODE, carrier="YZPY"), ctx)
        await sim.do_scan(CODE, "InTransit_PickedUp", "Accepted", "SHANGHAI", "2026-01-01T01:00:00+00:00")
        await sim.do_scan(CODE, "Delivered_Other", "Delivered", "PARIS", "2026-01-02T01:00:00+00:00")
        (event,) = (await st_.query(QueryParcel(waybill=CODE, carrier="YZPY"), ctx)).events
        assert [scan.status for scan in event.parcel.scans] == ["picked_up", "delivered"]
        (pushed,) = st_.parse(Inbound("st", sim._sent, {}, NOON))
    assert pushed == event


async def test_a_number_that_was_never_registered_is_registered_by_a_query(sim: SeventeenTrackSim) -> None:
    sim.do_ship(CODE, 3011)
    async with shop(sim) as (st_, ctx):
        result = await st_.query(QueryParcel(waybill=CODE), ctx)
        assert (result.events[0].parcel.status, result.events[0].parcel.carrier) == ("pending", "YZPY")
        assert "just now" in (result.note or "")
        again = await st_.query(QueryParcel(waybill=CODE), ctx)
    assert (again.events[0].parcel.status, again.note) == ("pending", None)
    assert [one["call"] for one in sim.books["calls"]] == ["gettrackinfo", "register", "gettrackinfo"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (-18010003, Unavailable),
        (-18019815, Unavailable),
        (-18010001, Unauthorised),
        (-18010005, Unauthorised),
        (-18010012, Rejected),
        (-18010020, Rejected),
        (-18019908, Unavailable),
        (-18019910, Rejected),
    ],
)
async def test_a_rejected_number_is_told_by_its_code(code: int, error: type[Exception], sim: SeventeenTrackSim) -> None:
    async with shop(sim) as (st_, ctx):
        for call in (st_.query, st_.track):
            sim.do_fail_next(code, "no such luck")
            with pytest.raises(error, match=f"no such luck .{code}"):
                await call(TrackParcel(waybill=CODE), ctx)


async def test_the_credits_run_out_with_a_hint() -> None:
    async with SeventeenTrackSim(KEY, quota=0) as sim, shop(sim) as (st_, ctx):
        with pytest.raises(Unavailable) as refused:
            await st_.track(TrackParcel(waybill=CODE, carrier="YZPY"), ctx)
    assert "credits" in refused.value.hint


@pytest.mark.parametrize("answer", [{"code": 0, "data": {}}, {"code": 0, "data": {"accepted": [7]}}])
async def test_an_answer_without_the_number_is_asked_again(answer: dict[str, Any]) -> None:
    st_, ctx = plugin(), context("st")
    with respx.mock(using="httpx") as mock:
        mock.post("https://api.17track.net/track/v2.2/register").respond(json=answer)
        with pytest.raises(Unavailable):
            await st_.track(TrackParcel(waybill=CODE), ctx)
    await ctx.http.aclose()


async def test_a_probe_tells_the_credits(sim: SeventeenTrackSim) -> None:
    async with shop(sim) as (st_, ctx):
        assert "100 credits" in await st_.probe(ctx)


async def test_a_call_without_a_live_key_is_not_made(sim: SeventeenTrackSim) -> None:
    async with shop(sim, api_key={"value": "old", "until": NOON}) as (st_, ctx):
        with pytest.raises(Unauthorised, match="no api_key"):
            await st_.probe(ctx)
