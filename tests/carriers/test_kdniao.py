"""The Kdniao plugin against recorded forms of its answers and pushes, and against its simulator over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

import httpx
import pytest
import respx
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_kdniao import Kdniao, data_sign

from rmabridge.abilities import Inbound, Reply, WebRequest
from rmabridge.errors import Malformed, Refused, Rejected, Unauthorised, Unavailable, Unverified, WrongType
from rmabridge.model import Direction, QueryParcel, TrackParcel
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.simulators.kdniao import KdniaoSim

KEY = "56da2cf8-key"
FORM = {"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"}
ROW = {"AcceptTime": "2025-03-02 18:21:09", "AcceptStation": "快件外包装破损", "Location": "杭州市", "Action": "414"}
TRACK = {
    "EBusinessID": "1234567",
    "ShipperCode": "YTO",
    "LogisticCode": "YT0000000000001",
    "OrderCode": "",
    "Success": True,
    "Reason": "",
    "State": "4",
    "StateEx": "414",
    "Location": "杭州市",
    "CallBack": "case-77",
    "Traces": [ROW],
    "EstimatedDeliveryTime": "2025-03-03",
}


def own_sign(content: str, key: str = KEY) -> str:
    return base64.b64encode(hashlib.md5((content + key).encode()).hexdigest().encode()).decode()


def push_of(*tracks: dict, **fields) -> dict:
    push = {"EBusinessID": "1234567", "PushTime": "2025-03-02 18:30:00", "Count": str(len(tracks)), "Data": tracks}
    return push | fields


def request_of(content: str, *, key: str = KEY, escape=str, kind: str = "102", query=None, headers=FORM) -> WebRequest:
    form = {"RequestData": escape(content), "DataSign": own_sign(content, key), "RequestType": kind}
    return WebRequest("POST", "/hooks/kd", query or {}, headers, urlencode(form).encode())


def plugin(**settings) -> Kdniao:
    return account(Kdniao, "kd", **{"business_id": "1234567", "app_key": KEY, **settings})


def events(kd: Kdniao, request: WebRequest, now: datetime = NOON) -> list:
    meta = kd.verify(request, now).meta
    return list(kd.parse(Inbound("kd", request.body, meta, now)))


def seen(*tracks: dict, **fields) -> list:
    return events(plugin(), request_of(json.dumps(push_of(*tracks, **fields))))


@asynccontextmanager
async def shop(sim: KdniaoSim, case: str | None = "C1", **settings):
    """An account at the simulator, with its context."""
    kd = plugin(url=sim.url, **settings)
    ctx = context("kd", case=case)
    try:
        yield kd, ctx
    finally:
        await ctx.http.aclose()


@pytest.fixture
async def sim():
    async with KdniaoSim("1234567", KEY) as made:
        yield made


@asynccontextmanager
async def door(kd: Kdniao, reply=None):
    """The bridge's door in small: verify, parse, answer."""
    took: list = []

    async def hook(request: web.Request) -> web.Response:
        asked = WebRequest("POST", request.path, dict(request.query), dict(request.headers), await request.read())
        took.append(events(kd, asked))
        answer = reply or kd.reply(asked)
        return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)

    app = web.Application()
    app.router.add_post("/hooks/kd", hook)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/kd", took
    finally:
        await runner.cleanup()


# The signature


@pytest.mark.row("P06")
def test_the_signature_is_the_base64_of_the_hexadecimal_text():
    content = '{"LogisticCode":"YT0000000000001","note":"快件外包装破损"}'
    # md5sum and base64 of the command line made this value.
    assert data_sign(content, "key") == "ZjA0ZTNmN2Q5MDdmYzI4MjViOWQ5ZjYzMDUyNjUwNzM="


@pytest.mark.row("P06")
def test_the_signature_is_what_a_published_client_expects():
    # The test vector of a public Java client (muxfe/kdniao-sdk).
    content = '{"OrderCode":null,"ShipperCode":"SF","LogisticCode":"118650888018"}'
    expected = "YjQ4MmJlMjgzYjA0ZGY4ODUxYjgwMzc4MTY0YzY0MzU="
    assert data_sign(content, "00000000-0000-0000-0000-000000000000") == expected


@given(st.text(), st.text())
def test_a_signature_has_44_characters_and_ends_in_one_equals_sign(content, key):
    signed = data_sign(content, key)
    assert signed == own_sign(content, key)
    assert (len(signed), signed.count("="), signed[-1]) == (44, 1, "=")


@pytest.mark.parametrize("escape", [str, quote, quote_plus], ids=["plain", "unquoted", "form"])
def test_every_escaping_of_the_content_is_verified_and_read(escape):
    track = TRACK | {"Traces": [ROW | {"AcceptStation": "100% 破损 +86 a&b"}]}
    (event,) = events(plugin(), request_of(json.dumps(push_of(track), ensure_ascii=False), escape=escape))
    assert event.parcel.last.text == "100% 破损 +86 a&b"


def test_the_reading_that_was_signed_is_the_one_that_is_parsed():
    signed = json.dumps(push_of(TRACK | {"Traces": [ROW | {"AcceptStation": "50%25"}]}), ensure_ascii=False)
    (event,) = events(plugin(), request_of(signed))
    assert event.parcel.last.text == "50%25"
    (event,) = events(plugin(), request_of(signed, escape=quote))
    assert event.parcel.last.text == "50%25"


def test_a_stored_body_is_read_without_its_meta_too():
    request = request_of(json.dumps(push_of(TRACK)), escape=quote)
    (event,) = plugin().parse(Inbound("kd", request.body, {}, NOON))
    assert event.parcel.waybill == "YT0000000000001"


@pytest.mark.row("P06")
@pytest.mark.parametrize("escape", [str, quote])
def test_a_flipped_byte_is_refused(escape):
    request = request_of(json.dumps(push_of(TRACK), ensure_ascii=False), escape=escape)
    kd = plugin()
    kd.verify(request, NOON)
    # Kdniao does not sign the request type, which comes last: parse leaves an unknown one alone.
    for place in range(request.body.index(b"&RequestType=")):
        body = bytearray(request.body)
        body[place] ^= 1
        with pytest.raises(Refused):
            kd.verify(WebRequest("POST", "/hooks/kd", {}, FORM, bytes(body)), NOON)


@pytest.mark.parametrize("form", [{}, {"RequestData": "{}"}, {"DataSign": own_sign("")}, {"DataSign": "é"}])
def test_a_push_without_content_or_signature_is_refused(form):
    request = WebRequest("POST", "/hooks/kd", {}, FORM, urlencode(form).encode())
    with pytest.raises(Refused):
        plugin().verify(request, NOON)


@pytest.mark.row("P07")
def test_two_live_keys_verify_during_the_overlap_and_only_the_new_one_after():
    until = NOON + timedelta(days=1)
    kd = plugin(app_key=["new", {"value": "old", "until": until}])
    content = json.dumps(push_of(TRACK))
    old, new = request_of(content, key="old"), request_of(content, key="new")
    kd.verify(old, NOON)
    kd.verify(new, NOON)
    kd.verify(new, until)
    with pytest.raises(Unverified):
        kd.verify(old, until)


def test_a_push_for_another_account_is_refused():
    content = json.dumps(push_of(TRACK, EBusinessID="7654321"))
    with pytest.raises(Unverified):
        plugin().verify(request_of(content), NOON)


def test_signed_content_that_is_no_json_is_malformed():
    with pytest.raises(Malformed):
        plugin().verify(request_of("hello"), NOON)


@pytest.mark.parametrize("query", [{}, {"token": ""}, {"token": "wrong"}, {"token": "é"}])
def test_a_push_without_the_token_of_the_address_is_refused(query):
    kd = plugin(push_token="long-and-random")
    content = json.dumps(push_of(TRACK))
    kd.verify(request_of(content, query={"token": "long-and-random"}), NOON)
    with pytest.raises(Unverified):
        kd.verify(request_of(content, query=query), NOON)


def test_another_content_type_is_refused():
    request = request_of(json.dumps(push_of(TRACK)), headers={"Content-Type": "application/json"})
    with pytest.raises(WrongType):
        plugin().verify(request, NOON)


def test_a_push_of_one_waybill_keeps_order_with_it():
    other = TRACK | {"LogisticCode": "YT0000000000002"}
    kd = plugin()
    assert kd.verify(request_of(json.dumps(push_of(TRACK))), NOON).lane == "YT0000000000001"
    assert kd.verify(request_of(json.dumps(push_of(TRACK, other))), NOON).lane is None


def test_the_reply_is_kdniaos_own():
    request = request_of(json.dumps(push_of(TRACK)), escape=quote)
    reply = plugin().reply(request)
    assert (reply.status, reply.content_type) == (200, "application/json")
    expected = {"EBusinessID": "1234567", "UpdateTime": "2025-03-02 18:30:00", "Success": True, "Reason": ""}
    assert json.loads(reply.body) == expected


# Reading pushes


def test_a_push_becomes_a_snapshot_of_the_parcel():
    (event,) = seen(TRACK)
    at = datetime(2025, 3, 2, 10, 21, 9, tzinfo=UTC)
    assert event.at == event.parcel.last.at == at
    assert {(ref.kind, ref.value) for ref in event.refs} == {("waybill", "YT0000000000001"), ("case", "case-77")}
    parcel = event.parcel
    assert (parcel.carrier, parcel.status, parcel.exception) == ("YTO", "exception", "damaged")
    assert (parcel.direction, parcel.last.place, parcel.last.code) == (Direction.OUT, "杭州市", "414")
    assert parcel.eta == datetime(2025, 3, 2, 16, tzinfo=UTC)


def test_a_redelivery_has_the_same_key_and_news_another():
    news = TRACK | {"StateEx": "301", "Traces": [ROW, ROW | {"AcceptTime": "2025-03-03 09:00:00", "Action": "301"}]}
    first, again, later = seen(TRACK)[0], seen(TRACK, PushTime="2025-03-02 19:30:00")[0], seen(news)[0]
    assert first == again
    assert later.key != first.key
    assert later.at > first.at


def test_one_push_may_tell_of_many_waybills():
    other = TRACK | {"ShipperCode": "ZTO", "LogisticCode": " 7800-0000 0001", "CallBack": ""}
    _, second = seen(TRACK, other)
    assert [ref.value for ref in second.refs] == ["780000000001"]


@pytest.mark.parametrize("callback", ["", None, "a b", "x" * 65, "<script>"])
def test_an_echo_that_is_no_case_id_is_left_out(callback):
    (event,) = seen(TRACK | {"CallBack": callback})
    assert [ref.kind for ref in event.refs] == ["waybill"]


@pytest.mark.parametrize("name", ["Callback", "CallBack", "callback"])
def test_field_names_are_read_in_any_case(name):
    track = {key: value for key, value in TRACK.items() if key != "CallBack"} | {name: "C9"}
    row = {"AcceptTime": "2025-03-02 18:21:09", "acceptStation": "到达", "location": "上海市"}
    (event,) = seen(track | {"Traces": [row]})
    assert event.refs[1].value == "C9"
    assert (event.parcel.last.place, event.parcel.last.text) == ("上海市", "到达")


@pytest.mark.parametrize(
    ("code", "status", "exception"),
    [
        ("1", "picked_up", None),
        ("10", "info_received", None),
        ("2", "in_transit", None),
        ("201", "arrived_destination", None),
        ("202", "out_for_delivery", None),
        ("204", "in_transit", None),
        ("205", "arrived_destination", None),
        ("211", "available_for_pickup", None),
        ("3", "delivered", None),
        ("301", "delivered", None),
        ("304", "delivered", None),
        ("311", "delivered", None),
        ("404", "returning", "refused"),
        ("406", "returned", "returning"),
        ("412", "attempt_failed", "unclaimed"),
        ("413", "on_hold", "intercepted"),
        ("414", "exception", "damaged"),
        ("415", "cancelled", "cancelled"),
        ("416", "attempt_failed", "recipient_unavailable"),
        ("417", "delayed", "delayed_carrier"),
        ("419", "out_for_delivery", None),
        ("420", "attempt_failed", "address_problem"),
        ("5", "forwarded", "intercepted"),
        ("602", "customs", None),
        ("604", "customs", "customs_hold"),
        ("499", "exception", None),
        ("999", "in_transit", None),
    ],
)
def test_kdniaos_codes_map_to_the_bridges_words(code, status, exception):
    row = ROW | {"Action": code, "AcceptStation": "…"}
    (event,) = seen(TRACK | {"State": code[0], "StateEx": code, "Traces": [row]})
    for one in (event.parcel, event.parcel.last):
        assert (one.status, one.exception) == (status, exception)
    delivered = event.at if status == "delivered" else None
    assert event.parcel.delivered_at == delivered


@pytest.mark.parametrize("state", ["3", 3])
def test_a_plain_state_counts_for_the_newest_row_only(state):
    rows = [{"AcceptTime": f"2025-03-0{day} 08:00:00", "AcceptStation": "…"} for day in (3, 1, 2)]
    track = {"Success": True, "ShipperCode": "YTO", "LogisticCode": "YT1", "State": state, "Traces": rows}
    (event,) = seen(track)
    assert [scan.status for scan in event.parcel.scans] == ["in_transit", "in_transit", "delivered"]
    assert event.parcel.delivered_at == datetime(2025, 3, 3, tzinfo=UTC)


@pytest.mark.parametrize(("words", "exception"), [("快件遗失", "lost"), ("快件外包装破损", "damaged"), ("其他", None)])
def test_the_bare_problem_state_takes_its_exception_from_the_words(words, exception):
    row = {"AcceptTime": "2025-03-02 18:21:09", "AcceptStation": words}
    (event,) = seen({**TRACK, "State": 4, "StateEx": None, "Traces": [row]})
    assert (event.parcel.status, event.parcel.exception) == ("exception", exception)


def test_without_any_state_the_newest_row_speaks():
    (event,) = seen({**TRACK, "State": "0", "StateEx": "0", "Traces": [ROW | {"Action": "211"}]})
    assert event.parcel.status == "available_for_pickup"


def test_old_rows_have_slashes_in_their_dates_and_unreadable_times_are_left_out():
    rows = [ROW | {"AcceptTime": "2025/03/02 18:21:09"}, ROW | {"AcceptTime": "yesterday"}]
    (event,) = seen(TRACK | {"Traces": rows})
    assert [scan.at for scan in event.parcel.scans] == [datetime(2025, 3, 2, 10, 21, 9, tzinfo=UTC)]


def test_a_push_without_rows_dates_from_its_own_time():
    (event,) = seen(TRACK | {"State": "0", "StateEx": "0", "Traces": []})
    assert (event.at, event.parcel.status) == (datetime(2025, 3, 2, 10, 30, tzinfo=UTC), "pending")


def test_failed_entries_and_the_push_about_cash_give_no_event():
    failed = TRACK | {"Success": False, "Reason": "三天无轨迹"}
    assert [event.parcel.waybill for event in seen(failed, TRACK)] == ["YT0000000000001"]
    request = request_of(json.dumps(push_of({"Traces": 7})), kind="107")
    assert events(plugin(), request) == []
    assert json.loads(plugin().reply(request).body)["Success"] is True


def test_values_that_are_no_parcels_are_malformed():
    for track in (7, TRACK | {"Traces": 7}, TRACK | {"ShipperCode": "Y" * 600}):
        with pytest.raises(Malformed):
            seen(track)


@given(st.binary())
def test_parse_reads_any_bytes_or_calls_them_malformed(body):
    kd, inbound = plugin(), Inbound("kd", body, {}, NOON)
    try:
        assert list(kd.parse(inbound)) == list(kd.parse(inbound))
    except Malformed:
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["2025-03-02 18:21:09", "4"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*TRACK, *ROW, "Data", "PushTime"]), inner),
    max_leaves=30,
)


@given(JSON, st.sampled_from(["", "plain", "unquoted", "form", "other"]))
def test_parse_is_total_over_any_json(value, reading):
    form = {"RequestType": "102", "RequestData": json.dumps({"Data": [TRACK | {"Traces": [value]}, value]})}
    inbound = Inbound("kd", urlencode(form).encode(), {"reading": reading}, NOON)
    try:
        assert list(plugin().parse(inbound)) == list(plugin().parse(inbound))
    except Malformed:
        return


@given(st.binary(), st.text(max_size=50))
def test_verify_refuses_any_bytes(body, token):
    request = WebRequest("POST", "/hooks/kd", {"token": token}, FORM, body)
    with pytest.raises(Refused):
        plugin(push_token="long-and-random").verify(request, NOON)


@pytest.mark.parametrize("name", ["101", "102"])
def test_a_sample_is_signed_and_tells_of_damage(name):
    kd = plugin(push_token="long-and-random")
    (event,) = events(kd, kd.sample(name, NOON))
    assert (event.at, event.parcel.status, event.parcel.exception) == (NOON, "exception", "damaged")
    assert kd.sample("103", NOON) is None


# Calls


@pytest.mark.row("S084")
async def test_a_query_is_signed_as_it_is_sent():
    kd, ctx = plugin(app_key=["new", {"value": "old"}]), context()
    answer = {"Success": True, "Reason": "暂无轨迹信息", "State": 0, "Traces": None}
    with respx.mock(using="httpx") as mock:
        route = mock.post("https://api.kdniao.com/Ebusiness/EbusinessOrderHandle.aspx").respond(json=answer)
        result = await kd.query(QueryParcel(waybill="yt0000 0000 00001", carrier="圆通速递"), ctx)
    sent = route.calls.last.request
    form = dict(parse_qsl(sent.content.decode()))
    assert sent.headers["Content-Type"] == FORM["Content-Type"]
    assert json.loads(form["RequestData"]) == {"ShipperCode": "YTO", "LogisticCode": "YT0000000000001"}
    assert form["DataSign"] == own_sign(form["RequestData"], "new")
    assert (form["EBusinessID"], form["RequestType"], form["DataType"]) == ("1234567", "8001", "2")
    (event,) = result.events
    assert (event.parcel.status, event.at, event.parcel.scans) == ("pending", NOON, ())
    await ctx.http.aclose()


CODES = "ZTO YTO STO YD JTSD JD EMS YZPY DBL HTKY ZJS UPS DHL FEDEX_GJ USPS UC GTO ANE QFKD NEW_ONE"


@pytest.mark.row("S084")
@pytest.mark.parametrize("code", CODES.split())
async def test_a_parcel_of_each_carrier_is_queried_and_put_into_the_bridges_words(code, sim):
    sim.do_ship("YT0000000000001", code)
    await sim.do_scan("YT0000000000001", "1", "已揽收", "上海市", "2026-01-01T01:00:00+00:00")
    await sim.do_scan("YT0000000000001", "414", "快件外包装破损", "杭州市", "2026-01-02T01:00:00+00:00")
    async with shop(sim) as (kd, ctx):
        (event,) = (await kd.query(QueryParcel(waybill="YT0000000000001", carrier=code), ctx)).events
    assert sim.books["queries"] == [{"type": "8001", "ShipperCode": code, "LogisticCode": "YT0000000000001"}]
    assert (event.parcel.carrier, event.parcel.status, event.parcel.exception) == (code, "exception", "damaged")
    assert [scan.status for scan in event.parcel.scans] == ["picked_up", "exception"]
    assert event.at == datetime(2026, 1, 2, 1, tzinfo=UTC)
    assert {(ref.kind, ref.value) for ref in event.refs} == {("waybill", "YT0000000000001"), ("case", "C1")}


async def test_a_plain_query_knows_the_newest_state_only(sim):
    sim.do_ship("YT1", "YTO")
    await sim.do_scan("YT1", "202", "派送中")
    await sim.do_scan("YT1", "301", "已签收")
    async with shop(sim, query_type="1002") as (kd, ctx):
        (event,) = (await kd.query(QueryParcel(waybill="YT1", carrier="yuantong"), ctx)).events
    assert [(scan.status, scan.code) for scan in event.parcel.scans] == [("in_transit", None), ("delivered", "3")]


@pytest.mark.row("S084")
@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("系统繁忙，请稍后再试", Unavailable),
        ("请求超时", Unavailable),
        ("验证数据签名失败", Unauthorised),
        ("商户ID(EBusinessID)不存在", Unauthorised),
        ("查询次数已超出限制", Unavailable),
        ("单号长度超过限制", Rejected),
        ("今日查询次数已用完，请稍后再试", Unavailable),
        ("没有可用套餐", Unavailable),
        ("快递单号有特殊字符", Rejected),
        ("不支持的快递公司编码", Rejected),
        ("", Rejected),
    ],
)
async def test_a_refusal_in_a_good_answer_is_told_by_its_words(reason, error, sim):
    sim.do_fail_next(reason)
    async with shop(sim) as (kd, ctx):
        with pytest.raises(error, match=re.escape(reason or "without a reason")):
            await kd.query(QueryParcel(waybill="YT1", carrier="YTO"), ctx)


async def test_a_used_up_plan_is_asked_again_after_hours(sim):
    sim.do_fail_next("今日查询次数已用完，请稍后再试")
    async with shop(sim) as (kd, ctx):
        with pytest.raises(Unavailable) as refused:
            await kd.query(QueryParcel(waybill="YT1", carrier="YTO"), ctx)
    assert refused.value.retry_after == 6 * 3600
    assert "console" in refused.value.hint


@pytest.mark.row("S084")
@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"app_key": "wrong"}, Unauthorised),
        ({"business_id": "7654321"}, Unauthorised),
        ({"query_path": "/api/dist"}, Rejected),
        ({"query_path": "/elsewhere"}, httpx.HTTPStatusError),
    ],
)
async def test_the_simulator_refuses_what_kdniao_refuses(settings, error, sim):
    async with shop(sim, **settings) as (kd, ctx):
        with pytest.raises(error):
            await kd.query(QueryParcel(waybill="YT1", carrier="YTO"), ctx)
    assert sim.books["queries"] == []


@pytest.mark.parametrize("number", ["", "YT1/2"])
async def test_a_number_that_kdniao_cannot_read_is_rejected(number, sim):
    async with shop(sim) as (kd, ctx):
        with pytest.raises(Rejected):
            await kd.query(QueryParcel(waybill=number, carrier="YTO"), ctx)


async def test_missing_fields_are_named_by_the_simulator(sim):
    async with shop(sim) as (_, ctx):
        answer = await ctx.http.post(f"{sim.url}/api/dist", data={"RequestType": "8008"})
    assert answer.json()["Success"] is False
    assert "RequestData、EBusinessID、DataSign、DataType" in answer.json()["Reason"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 502}, httpx.HTTPStatusError),
        ({"status": 200, "text": "<html>维护中</html>"}, ValueError),
        ({"status": 200, "text": '{"Reason":"系统繁忙"}', "charset": "gbk"}, ValueError),
        ({"status": 200, "text": "[]"}, ValueError),
    ],
)
async def test_an_answer_that_is_not_kdniaos_speaks_for_itself(answer, error, sim):
    sim.do_break_next(**answer)
    async with shop(sim) as (kd, ctx):
        with pytest.raises(error):
            await kd.query(QueryParcel(waybill="YT1", carrier="YTO"), ctx)


async def test_sf_is_asked_with_the_last_four_digits_of_a_phone(sim):
    sim.do_ship("SF1234567890123", "SF", phone_tail="5678")
    await sim.do_scan("SF1234567890123", "1", "已揽收")
    async with shop(sim) as (kd, ctx):
        action = QueryParcel(waybill="SF1234567890123", carrier="shunfeng", phone_tail="13812345678")
        (event,) = (await kd.query(action, ctx)).events
        assert event.parcel.status == "picked_up"
        with pytest.raises(Rejected, match="last 4 digits") as refused:
            await kd.query(QueryParcel(waybill="SF1234567890123", carrier="SF"), ctx)
        assert "phone" in refused.value.hint
    assert [one["CustomerName"] for one in sim.books["queries"]] == ["5678"]
    async with shop(sim, phone_tail_for=()) as (kd, ctx):
        with pytest.raises(Rejected, match="手机号"):
            await kd.query(QueryParcel(waybill="SF1234567890123", carrier="SF"), ctx)


async def test_a_fixed_customer_name_goes_with_its_carrier(sim):
    async with shop(sim, customer_names={"JD": "M001"}) as (kd, ctx):
        await kd.track(TrackParcel(waybill="JDV001", carrier="JD"), ctx)
        await kd.track(TrackParcel(waybill="YT1", carrier="YTO"), ctx)
    assert [one["customer"] for one in sim.books["subscriptions"].values()] == ["M001", ""]


async def test_an_unknown_carrier_is_recognised_and_the_other_guesses_are_noted(sim):
    sim.do_ship("780000000001", ["ZTO", "SF", "STO"])
    sim.do_ship("YT1", "YTO")
    async with shop(sim) as (kd, ctx):
        result = await kd.query(QueryParcel(waybill="780000000001"), ctx)
        assert result.events[0].parcel.carrier == "ZTO"
        assert "ZTO" in result.note
        assert "SF, STO" in result.note
        for carrier in ("某某快递", "100mexpress"):
            assert (await kd.track(TrackParcel(waybill="YT1", carrier=carrier), ctx)).id == "YTO:YT1"
        with pytest.raises(Rejected):
            await kd.query(QueryParcel(waybill="0000"), ctx)
    assert [one["type"] for one in sim.books["queries"]] == ["2002", "8001", "2002", "2002", "2002"]


async def test_the_accounts_own_carrier_saves_the_recognition(sim):
    async with shop(sim, carrier="ZTO") as (kd, ctx):
        result = await kd.query(QueryParcel(waybill="780000000001"), ctx)
    assert (result.events[0].parcel.carrier, result.events[0].parcel.status) == ("ZTO", "pending")
    assert [one["type"] for one in sim.books["queries"]] == ["8001"]


@pytest.mark.parametrize(("kind", "status"), [("8008", "out_for_delivery"), ("1008", "in_transit")])
@pytest.mark.parametrize("twice", [False, True])
async def test_a_subscription_brings_pushes_that_name_the_case(kind, status, twice, sim):
    sim.do_escape_twice(twice)
    sim.do_ship("YT1", "YTO")
    async with shop(sim, subscribe_type=kind) as (kd, ctx), door(kd) as (sim.hook, took):
        assert (await kd.track(TrackParcel(waybill="YT1", carrier="YTO"), ctx)).id == "YTO:YT1"
        assert await sim.do_scan("YT1", "202", "派送中", "杭州市")
    ((event,),) = took
    assert {(ref.kind, ref.value) for ref in event.refs} == {("waybill", "YT1"), ("case", "C1")}
    assert event.parcel.status == status


async def test_only_kdniaos_own_reply_ends_the_pushing(sim):
    sim.do_ship("YT1", "YTO")
    async with shop(sim) as (kd, ctx):
        await kd.track(TrackParcel(waybill="YT1", carrier="YTO"), ctx)
        async with door(kd, Reply()) as (sim.hook, took):
            assert not await sim.do_scan("YT1", "1", "已揽收")
        async with door(kd) as (sim.hook, more):
            assert await sim.do_redeliver("YT1")
    assert [push["accepted"] for push in sim.books["pushes"]] == [False, False, False, True]
    assert {event.key for many in took + more for event in many} == {took[0][0].key}


async def test_a_late_older_snapshot_is_dated_before_the_newer_one(sim):
    sim.do_ship("YT1", "YTO")
    async with shop(sim) as (kd, ctx), door(kd) as (sim.hook, took):
        await kd.track(TrackParcel(waybill="YT1", carrier="YTO"), ctx)
        await sim.do_scan("YT1", "202", "派送中", at="2026-01-01T01:00:00+00:00")
        await sim.do_scan("YT1", "301", "已签收", at="2026-01-01T02:00:00+00:00")
        await sim.do_push_out_of_order("YT1")
    (first,), (newest,), (late,) = took
    assert late == first
    assert late.at < newest.at


async def test_pushes_that_nobody_takes_are_repeated_and_counted():
    async with KdniaoSim("1234567", KEY) as sim, shop(sim) as (kd, ctx):
        sim.do_ship("YT1", "YTO")
        await kd.track(TrackParcel(waybill="YT1", carrier="YTO"), ctx)
        assert not await sim.do_scan("YT1", "1", "已揽收")
        sim.hook = "http://127.0.0.1:9/"
        assert not await sim.do_redeliver("YT1")
    assert [push["status"] for push in sim.books["pushes"]] == [0] * 6


@pytest.mark.parametrize(("reason", "shown"), [("", "没有识别到快递公司"), ("没有可用套餐", "没有可用套餐")])
async def test_a_probe_is_content_with_any_answer_to_good_credentials(reason, shown, sim):
    if reason:
        sim.do_fail_next(reason)
    async with shop(sim) as (kd, ctx):
        assert shown in await kd.probe(ctx)


async def test_a_probe_tells_wrong_credentials_and_a_busy_vendor(sim):
    async with shop(sim, app_key="wrong") as (kd, ctx):
        with pytest.raises(Unauthorised):
            await kd.probe(ctx)
    sim.do_fail_next()
    async with shop(sim) as (kd, ctx):
        with pytest.raises(Unavailable):
            await kd.probe(ctx)


async def test_a_call_without_a_live_key_is_not_made(sim):
    async with shop(sim, app_key={"value": "old", "until": NOON}) as (kd, ctx):
        with pytest.raises(Unauthorised, match="no app_key"):
            await kd.query(QueryParcel(waybill="YT1", carrier="YTO"), ctx)
