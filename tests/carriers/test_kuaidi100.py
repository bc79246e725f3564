"""The Kuaidi100 plugin against its contract, the vendor's own forms, and its simulator over real HTTP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_kuaidi100 import Kuaidi100, signature

from rmabridge.abilities import Inbound, WebRequest
from rmabridge.errors import Malformed, Refused, Rejected, Unauthorised, Unavailable, Unverified, WrongType
from rmabridge.model import (
    AnswerClaim,
    AppealClaim,
    Attachment,
    ClaimKind,
    FileClaim,
    Money,
    QueryClaim,
    QueryParcel,
    TrackParcel,
)
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.contract import Call, CarrierContract
from rmabridge.testing.simulators.kuaidi100 import Kuaidi100Sim
from rmabridge.testing.simulators.kuaidi100 import sign as simulated

KEY, SALT, SECRET = "key-of-the-shop", "salt-of-the-shop", "secret-of-the-account"
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
ROW = {
    "time": "2025-03-02 18:21:09",
    "ftime": "2025-03-02 18:21:09",
    "context": "快件外包装破损",
    "status": "破损",
    "statusCode": "209",
    "areaName": "浙江,杭州市",
}
TRACK = {"message": "ok", "nu": "YT0000000000001", "com": "yuantong", "status": "200", "state": "209", "data": [ROW]}
OPENED = {"code": 200, "success": True, "message": "", "data": {"id": 1, "status": 0}}
CLAIM = FileClaim(
    waybill="YT0000000000001",
    carrier="YTO",
    claim=ClaimKind.DAMAGE,
    amount=Money.of("80 CNY"),
    external="C1",
    description="外包装破损",
    attachments=(
        Attachment(name="box.jpg", media_type="image/jpeg", url="https://rma.example.com/box.jpg"),
        Attachment(name="dossier.json", media_type="application/json", text="{}"),
    ),
)
PUSH = {"status": "polling", "message": "", "autoCheck": "0", "comOld": "", "comNew": "", "lastResult": TRACK}


def own_sign(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest().upper()


def request_of(push: Any, *, salt: str = SALT, query: dict[str, str] | None = None) -> WebRequest:
    param = push if isinstance(push, str) else json.dumps(push, ensure_ascii=False)
    body = urlencode({"param": param, "sign": own_sign(param + salt)}).encode()
    return WebRequest("POST", "/hooks/kd", query or {}, FORM, body)


def plugin(**settings: Any) -> Kuaidi100:
    return account(Kuaidi100, "kd", **{"customer": "CUSTOMER", "api_key": KEY, "salt": SALT, **settings})


def events(kd: Kuaidi100, request: WebRequest) -> list[Any]:
    return list(kd.parse(Inbound("kd", request.body, kd.verify(request, NOON).meta, NOON)))


@asynccontextmanager
async def shop(sim: Kuaidi100Sim, **settings: Any) -> AsyncIterator[tuple[Kuaidi100, Any]]:
    """An account at the simulator, with its context."""
    ctx = context("kd")
    try:
        yield plugin(**sim.account_settings(), **settings), ctx
    finally:
        await ctx.http.aclose()


@pytest.fixture
async def sim() -> AsyncIterator[Kuaidi100Sim]:
    async with Kuaidi100Sim("CUSTOMER", KEY) as made:
        yield made


class TestKuaidi100(CarrierContract):
    plugin = Kuaidi100
    settings = {  # noqa: RUF012 - as in the contract's own text
        "customer": "CUSTOMER",
        "api_key": KEY,
        "salt": SALT,
        "secret": SECRET,
        "ticket_types": {"damage": 901},
    }
    secret_field = "salt"

    def signed(self, account: Any, now: datetime) -> list[WebRequest]:
        salt = account.salt[0].value.get_secret_value()
        over = {"status": "abort", "lastResult": TRACK | {"state": "0", "data": []}}
        return [request_of(push, salt=salt) for push in (PUSH, over)]

    def unsigned(self, request: WebRequest) -> WebRequest:
        form = {name: value[0] for name, value in parse_qs(request.body.decode()).items() if name != "sign"}
        return replace(request, body=urlencode(form).encode())

    def signed_part(self, request: WebRequest) -> range:
        return range(request.body.index(b"&sign="))

    def calls(self) -> list[Call]:
        refused = {"result": False, "message": "…"}
        errors = {
            "retry": (refused | {"returnCode": "502"},),
            "unauthorised": (refused | {"returnCode": "601"},),
            "dead": (refused | {"returnCode": "400"}, {}),
        }
        ok = {"result": True, "returnCode": "200", "message": "提交成功"}
        return [
            Call("query", QueryParcel(waybill="YT0000000000001", carrier="YTO"), (TRACK,), errors=errors),
            Call(
                "track",
                TrackParcel(waybill="YT0000000000001", carrier="YTO"),
                (ok,),
                errors=errors | {"retry": (refused | {"returnCode": "500"},)},
            ),
            Call(
                "file_claim",
                CLAIM,
                (OPENED,),
                keyless=True,
                errors={"dead": ({"success": False, "code": 400},), "uncertain": ({}, {"success": True, "data": {}})},
            ),
            Call(
                "answer_claim",
                AnswerClaim(claim="1", waybill="YT0000000000001", origin="m1", text="…"),
                ({"success": True, "code": 200},),
                keyless=True,
                errors={"dead": ({"success": False},), "uncertain": ({},)},
            ),
        ]


# The signature


@pytest.mark.row("P06")
def test_the_signature_is_the_md5_in_capitals() -> None:
    # md5sum of the command line made this value.
    expected = "6F633E6B017FECB3287540FA2B521C79"
    param = '{"com":"yuantong","num":"YT0000000000001"}'
    assert signature(param, "key", "customer") == simulated(param + "key" + "customer") == expected


@given(st.text(), st.text())
def test_plugin_simulator_and_test_sign_alike(param: str, salt: str) -> None:
    assert signature(param, salt) == simulated(param + salt) == own_sign(param + salt)


def test_a_signature_in_small_letters_is_good_too() -> None:
    request = request_of(PUSH)
    mark = own_sign(json.dumps(PUSH, ensure_ascii=False) + SALT)
    small = replace(request, body=request.body.replace(mark.encode(), mark.lower().encode()))
    assert plugin().verify(small, NOON).lane == "YT0000000000001"


def test_only_forms_are_taken() -> None:
    with pytest.raises(WrongType):
        plugin().verify(replace(request_of(PUSH), headers={"Content-Type": "application/json"}), NOON)


# Pushes


def test_a_push_is_read_into_the_bridges_words() -> None:
    (event,) = events(plugin(), request_of(PUSH))
    assert (event.parcel.carrier, event.parcel.carrier_name) == ("YTO", "YTO Express")
    assert (event.parcel.status, event.parcel.exception) == ("exception", "damaged")
    assert event.at == datetime(2025, 3, 2, 10, 21, 9, tzinfo=UTC)
    assert (event.parcel.last.place, event.parcel.last.code) == ("浙江,杭州市", "209")


def test_rows_of_one_second_keep_their_order() -> None:
    rows = [ROW | {"statusCode": "5", "context": "派送中"}, ROW | {"statusCode": "1001", "context": "到达"}]
    (event,) = events(plugin(), request_of(PUSH | {"lastResult": TRACK | {"state": "5", "data": rows}}))
    assert [one.status for one in event.parcel.scans] == ["arrived_destination", "out_for_delivery"]
    assert event.parcel.status == "out_for_delivery"


def test_a_plain_state_counts_for_the_newest_row_only() -> None:
    rows = [{"time": f"2025-03-0{day} 08:00:00", "context": "…"} for day in (3, 2, 1)]
    (event,) = events(plugin(), request_of(PUSH | {"lastResult": TRACK | {"state": "3", "data": rows}}))
    assert [one.status for one in event.parcel.scans] == ["in_transit", "in_transit", "delivered"]
    assert event.parcel.delivered_at == datetime(2025, 3, 3, tzinfo=UTC)


@pytest.mark.parametrize(("words", "exception"), [("快件破损", "damaged"), ("快件丢失", "lost"), ("其他", None)])
def test_the_bare_problem_state_takes_its_exception_from_the_words(words: str, exception: str | None) -> None:
    row = {"time": "2025-03-02 18:21:09", "context": words}
    (event,) = events(plugin(), request_of(PUSH | {"lastResult": TRACK | {"state": "2", "data": [row]}}))
    assert (event.parcel.status, event.parcel.exception) == ("on_hold", exception)


def test_a_bare_state_keeps_what_its_newest_row_says() -> None:
    row = ROW | {"statusCode": "14", "context": "拒签"}
    (event,) = events(plugin(), request_of(PUSH | {"lastResult": TRACK | {"state": "4", "data": [row]}}))
    assert (event.parcel.status, event.parcel.exception) == ("returned", "returning")


def test_a_number_that_is_given_up_is_expired_and_its_scans_stay() -> None:
    (event,) = events(plugin(), request_of(PUSH | {"status": "abort"}))
    assert (event.parcel.status, event.parcel.exception, event.at) == ("expired", None, NOON)
    assert len(event.parcel.scans) == 1


def test_another_carrier_takes_the_parcel_over() -> None:
    assert events(plugin(), request_of(PUSH | {"status": "abort", "comNew": "zhongtong"})) == []
    (event,) = events(plugin(), request_of(PUSH | {"comNew": "zhongtong"}))
    assert event.parcel.carrier == "ZTO"


def test_a_push_without_a_result_tells_nothing() -> None:
    for last in (None, TRACK | {"nu": ""}):
        assert events(plugin(), request_of(PUSH | {"lastResult": last})) == []


def test_values_that_are_no_parcels_are_malformed() -> None:
    for last in (7, TRACK | {"data": 7}, TRACK | {"com": "y" * 600}):
        with pytest.raises(Malformed):
            events(plugin(), request_of(PUSH | {"lastResult": last}))


async def test_the_case_counts_only_in_an_address_that_the_account_made(sim: Kuaidi100Sim) -> None:
    async with shop(sim) as (kd, ctx):
        assert (await kd.track(TrackParcel(waybill="YT0000000000001", carrier="YTO"), ctx)).id == (
            "yuantong:YT0000000000001"
        )
        address = urlsplit(sim.books["subscriptions"]["YT0000000000001"]["callbackurl"])
        assert (address.netloc, address.path) == ("127.0.0.1:8080", "/hooks/kd")
        query = dict(parse_qsl(address.query))
        (event,) = events(kd, request_of(PUSH, query=query))
        assert ("case", "C1") in [(ref.kind, ref.value) for ref in event.refs]
        for wrong in ({"case": "C2"}, {"mark": "0" * 32}, {"mark": ""}):
            (event,) = events(kd, request_of(PUSH, query=query | wrong))
            assert [ref.kind for ref in event.refs] == ["waybill"]


@given(st.binary())
def test_verify_refuses_any_bytes(body: bytes) -> None:
    with pytest.raises(Refused):
        plugin().verify(WebRequest("POST", "/hooks/kd", {}, FORM, body), NOON)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["2025-03-02 18:21:09", "2"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*TRACK, *ROW, *PUSH]), inner),
    max_leaves=30,
)


@given(JSON)
def test_parse_is_total_over_any_json(value: Any) -> None:
    body = urlencode({"param": json.dumps(PUSH | {"lastResult": TRACK | {"data": [value]}, "x": value})}).encode()
    inbound = Inbound("kd", body, {"case": "\x00"}, NOON)
    try:
        assert list(plugin().parse(inbound)) == list(plugin().parse(inbound))
    except Malformed:
        return


def test_the_reply_is_what_kuaidi100_waits_for() -> None:
    assert json.loads(plugin().reply(request_of(PUSH)).body) == {
        "result": True,
        "returnCode": "200",
        "message": "成功",
    }


# Calls


async def test_a_query_is_signed_as_it_is_sent() -> None:
    kd, ctx = plugin(api_key=["new", {"value": "old"}]), context()
    with respx.mock(using="httpx") as mock:
        route = mock.post("https://poll.kuaidi100.com/poll/query.do").respond(json=TRACK)
        result = await kd.query(QueryParcel(waybill="yt0000 0000 00001", carrier="圆通速递"), ctx)
    form = dict(parse_qsl(route.calls.last.request.content.decode()))
    about = json.loads(form["param"])
    assert (about["com"], about["num"], about["resultv2"]) == ("yuantong", "YT0000000000001", "4")
    assert (form["customer"], form["sign"]) == ("CUSTOMER", own_sign(form["param"] + "new" + "CUSTOMER"))
    assert result.events[0].parcel.exception == "damaged"
    await ctx.http.aclose()


async def test_a_query_shows_all_scans(sim: Kuaidi100Sim) -> None:
    sim.do_ship("YT1", "yuantong")
    await sim.do_scan("YT1", "103", "已揽收", "上海市", "2026-01-01T01:00:00+00:00")
    await sim.do_scan("YT1", "301", "已签收", "杭州市", "2026-01-02T01:00:00+00:00")
    async with shop(sim) as (kd, ctx):
        (event,) = (await kd.query(QueryParcel(waybill="YT1", carrier="YTO"), ctx)).events
    assert [scan.status for scan in event.parcel.scans] == ["picked_up", "delivered"]
    assert (event.at, event.parcel.delivered_at) == (datetime(2026, 1, 2, 1, tzinfo=UTC),) * 2
    assert {(ref.kind, ref.value) for ref in event.refs} == {("waybill", "YT1"), ("case", "C1")}


async def test_a_number_of_which_nothing_is_known_is_a_parcel_that_waits(sim: Kuaidi100Sim) -> None:
    async with shop(sim, carrier="yuantong") as (kd, ctx):
        (event,) = (await kd.query(QueryParcel(waybill="YT1"), ctx)).events
    assert (event.parcel.status, event.parcel.scans, event.parcel.carrier) == ("pending", (), "YTO")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("501", Unavailable),
        ("502", Unavailable),
        ("504", Unavailable),
        ("503", Unauthorised),
        ("601", Unauthorised),
        ("400", Rejected),
        ("408", Rejected),
        ("999", Rejected),
    ],
)
async def test_a_refused_query_is_told_by_its_code(code: str, error: type[Exception], sim: Kuaidi100Sim) -> None:
    sim.do_fail_next(code, "没有成功")
    async with shop(sim) as (kd, ctx):
        with pytest.raises(error, match="没有成功"):
            await kd.query(QueryParcel(waybill="YT1", carrier="YTO"), ctx)


async def test_a_number_that_was_asked_for_too_often_waits_half_an_hour(sim: Kuaidi100Sim) -> None:
    sim.do_fail_next("504", "请求过于频繁")
    async with shop(sim) as (kd, ctx):
        with pytest.raises(Unavailable) as refused:
            await kd.query(QueryParcel(waybill="YT1", carrier="YTO"), ctx)
    assert refused.value.retry_after == 1800


@pytest.mark.parametrize(
    ("settings", "error"), [({"api_key": "wrong"}, Unauthorised), ({"customer": "OTHER"}, Unauthorised)]
)
async def test_the_simulator_refuses_what_kuaidi100_refuses(
    settings: dict[str, str], error: type[Exception], sim: Kuaidi100Sim
) -> None:
    async with shop(sim, **settings) as (kd, ctx):
        with pytest.raises(error):
            await kd.query(QueryParcel(waybill="YT1", carrier="YTO"), ctx)
        with pytest.raises(error):
            await kd.probe(ctx)


async def test_a_subscription_hands_over_address_salt_and_key(sim: Kuaidi100Sim) -> None:
    async with shop(sim, salt=["new", {"value": SALT}]) as (kd, ctx):
        await kd.track(TrackParcel(waybill="YT1", carrier="YTO"), ctx)
        again = await kd.track(TrackParcel(waybill="YT1", carrier="YTO"), ctx)
    held = sim.books["subscriptions"]["YT1"]
    assert (held["salt"], held["resultv2"], held["times"], again.id) == ("new", "4", 1, "yuantong:YT1")
    assert sim.books["refusals"] == ["501"], "a number that is subscribed already is no failure"


@pytest.mark.parametrize(("code", "error"), [("500", Unavailable), ("600", Unauthorised), ("700", Rejected)])
async def test_a_refused_subscription_is_told_by_its_code(code: str, error: type[Exception], sim: Kuaidi100Sim) -> None:
    sim.do_fail_next(code, "没有成功")
    async with shop(sim) as (kd, ctx):
        with pytest.raises(Rejected if code == "700" else error):
            await kd.track(TrackParcel(waybill="YT1", carrier="YTO"), ctx)


async def test_a_subscription_needs_an_address_and_a_live_salt(sim: Kuaidi100Sim) -> None:
    async with shop(sim) as (kd, ctx):
        ctx.public_url = ""
        with pytest.raises(Rejected) as refused:
            await kd.track(TrackParcel(waybill="YT1", carrier="YTO"), ctx)
        assert "public_url" in refused.value.hint
    async with shop(sim, salt={"value": "old", "until": NOON}) as (kd, ctx):
        with pytest.raises(Unauthorised, match="no salt"):
            await kd.track(TrackParcel(waybill="YT1", carrier="YTO"), ctx)


@pytest.mark.parametrize(("carrier", "company"), [("SF", "shunfeng"), ("ZTO", "zhongtong")])
async def test_some_carriers_are_asked_with_a_phone(carrier: str, company: str, sim: Kuaidi100Sim) -> None:
    sim.do_ship("700000000001", company, phone_tail="5678")
    await sim.do_scan("700000000001", "1", "已揽收")
    async with shop(sim) as (kd, ctx):
        asked = {"waybill": "700000000001", "carrier": carrier}
        (event,) = (await kd.query(QueryParcel(**asked, phone_tail="13812345678"), ctx)).events
        assert event.parcel.status == "picked_up"
        await kd.track(TrackParcel(**asked, phone_tail="5678"), ctx)
        with pytest.raises(Rejected, match="last 4 digits"):
            await kd.query(QueryParcel(**asked), ctx)
        with pytest.raises(Rejected, match="408"):
            await kd.query(QueryParcel(**asked, phone_tail="0000"), ctx)
    assert sim.books["queries"][0]["phone"] == sim.books["subscriptions"]["700000000001"]["phone"] == "5678"


async def test_an_unknown_carrier_is_recognised_and_the_other_guesses_are_noted(sim: Kuaidi100Sim) -> None:
    sim.do_ship("780000000001", ["shentong", "yunda"])
    async with shop(sim) as (kd, ctx):
        result = await kd.query(QueryParcel(waybill="780000000001"), ctx)
        assert (result.events[0].parcel.carrier, "yunda" in (result.note or "")) == ("STO", True)
        assert (await kd.track(TrackParcel(waybill="780000000001", carrier="某某"), ctx)).id == "shentong:780000000001"
        with pytest.raises(Rejected, match="no carrier"):
            await kd.query(QueryParcel(waybill="0000"), ctx)
    async with shop(sim, api_key="wrong") as (kd, ctx):
        with pytest.raises(Rejected, match="no carrier"):
            await kd.query(QueryParcel(waybill="780000000001"), ctx)


async def test_a_code_of_kuaidi100s_that_no_list_names_passes_through(sim: Kuaidi100Sim) -> None:
    async with shop(sim) as (kd, ctx):
        assert (await kd.track(TrackParcel(waybill="X1", carrier="brandnewexpress"), ctx)).id == "brandnewexpress:X1"


async def test_a_probe_is_content_with_any_answer_to_good_credentials(sim: Kuaidi100Sim) -> None:
    async with shop(sim) as (kd, ctx):
        assert "查询无结果" in await kd.probe(ctx)
        sim.do_fail_next("502")
        with pytest.raises(Unavailable):
            await kd.probe(ctx)


def test_a_sample_is_signed() -> None:
    kd = plugin()
    for name, status in (("polling", "exception"), ("abort", "expired")):
        (event,) = events(kd, kd.sample(name, NOON))
        assert event.parcel.status == status
    with pytest.raises(Unverified):
        plugin(salt="another").verify(kd.sample("polling", NOON), NOON)


# Tickets

TICKETS: dict[str, Any] = {"secret": SECRET, "ticket_types": {"damage": 901, "delay": 902}}


async def test_a_ticket_names_parcel_kind_value_and_pictures(sim: Kuaidi100Sim) -> None:
    sim.do_ship("YT0000000000001", "yuantong", ordered=True)
    async with shop(sim, **TICKETS) as (kd, ctx):
        result = await kd.file_claim(CLAIM, ctx)
        late = FileClaim(waybill="YT0000000000001", claim=ClaimKind.DELAY, external="C1")
        assert (await kd.file_claim(late, ctx)).id == "2"
    (seen,) = result.events
    assert (result.id, seen.claim, seen.status, seen.kind, seen.carrier) == ("1", "1", "submitted", "damage", "YTO")
    assert "dossier.json" in (result.note or "")
    first, second = sim.books["tickets"].values()
    assert (first["secondType"], first["modityValue"], first["kuaidinum"]) == (901, "80.00", "YT0000000000001")
    assert first["desc"] == {
        "content": "外包装破损",
        "attach": [{"type": 0, "uri": "https://rma.example.com/box.jpg"}],
    }
    assert (second["secondType"], "modityValue" in second) == (902, False)


async def test_words_are_added_to_a_ticket(sim: Kuaidi100Sim) -> None:
    sim.do_ship("YT0000000000001", "yuantong", ordered=True)
    answer = AnswerClaim(claim="1", waybill="YT0000000000001", origin="m1", text="附上照片")
    async with shop(sim, **TICKETS) as (kd, ctx):
        with pytest.raises(Rejected, match="工单不存在"):
            await kd.answer_claim(answer, ctx)
        await kd.file_claim(CLAIM, ctx)
        await kd.answer_claim(answer, ctx)
    assert [one["content"] for one in sim.books["tickets"]["1"]["replies"]] == ["附上照片"]


@pytest.mark.parametrize("amount", [None, Money.of("80 USD")])
async def test_a_ticket_without_a_value_in_yuan_is_not_opened(amount: Money | None, sim: Kuaidi100Sim) -> None:
    sim.do_ship("YT0000000000001", "yuantong", ordered=True)
    async with shop(sim, **TICKETS) as (kd, ctx):
        with pytest.raises(Rejected, match="CNY"):
            await kd.file_claim(CLAIM.model_copy(update={"amount": amount}), ctx)
    assert sim.books["tickets"] == {}


@pytest.mark.parametrize(("settings", "words"), [({}, "商家寄件"), ({"secret": "wrong"}, "签名")])
async def test_a_ticket_that_kuaidi100_refuses_waits_for_a_person(
    settings: dict[str, str], words: str, sim: Kuaidi100Sim
) -> None:
    async with shop(sim, **TICKETS | settings) as (kd, ctx):
        with pytest.raises(Rejected, match=words):
            await kd.file_claim(CLAIM, ctx)


def test_what_no_setting_names_is_left_to_another_way() -> None:
    answer = AnswerClaim(claim="1", waybill="YT1", origin="m1", text="…")
    loss = CLAIM.model_copy(update={"claim": ClaimKind.LOSS})
    ready, bare = plugin(**TICKETS), plugin(ticket_types={"damage": 901})
    assert (ready.route(CLAIM) is None, ready.route(answer) is None, ready.route(loss) is None) == (False, False, True)
    assert [bare.route(one) for one in (CLAIM, answer)] == [None, None]
    for action in (QueryClaim(claim="1", waybill="YT1"), AppealClaim(claim="1", waybill="YT1", text="…")):
        assert ready.route(action) is None


async def test_the_settings_say_what_a_tickets_status_means(sim: Kuaidi100Sim) -> None:
    sim.do_ship("YT0000000000001", "yuantong", ordered=True)
    async with shop(sim, **TICKETS, ticket_statuses={"0": "in_review"}) as (kd, ctx):
        (seen,) = (await kd.file_claim(CLAIM, ctx)).events
    assert seen.status == "in_review"
