"""The SF Express plugin against its contract, the vendor's vector, and its simulator over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_sf_express import SfExpress, digest

from rmabridge.abilities import Inbound, WebRequest
from rmabridge.core.reduce import reduce
from rmabridge.errors import Malformed, Refused, Rejected, Unauthorised, Unavailable, Unverified, WrongType
from rmabridge.model import Case, QueryParcel, TrackParcel
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.contract import Call, CarrierContract
from rmabridge.testing.simulators.sf_express import SfExpressSim
from rmabridge.testing.simulators.sf_express import sign as simulated

WORD, TOKEN = "check-word-of-the-shop", "long-and-random"
CODE = "SF1234567890123"
NODE = {
    "id": "1",
    "mailno": CODE,
    "orderid": "RMA-77",
    "acceptTime": "2025-03-02 18:21:09",
    "acceptAddress": "深圳市",
    "remark": "快件外包装破损",
    "opCode": "33",
    "reasonCode": "",
    "reasonName": "",
}
FORM = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}


def request_of(*nodes: Any, token: str = TOKEN) -> WebRequest:
    body = json.dumps({"Body": {"WaybillRoute": nodes}}, ensure_ascii=False).encode()
    return WebRequest("POST", "/hooks/sf", {"token": token}, {"Content-Type": "application/json"}, body)


def form_of(**fields: str) -> WebRequest:
    return replace(request_of(), headers=FORM, body=urlencode(fields).encode())


def plugin(**settings: Any) -> SfExpress:
    return account(SfExpress, "sf", **{"partner_id": "SHOP001", "check_word": WORD, "push_token": TOKEN, **settings})


def events(sf: SfExpress, request: WebRequest) -> list[Any]:
    return list(sf.parse(Inbound("sf", request.body, sf.verify(request, NOON).meta, NOON)))


def answer(inner: Any = None, **outer: Any) -> dict[str, Any]:
    told = {"success": True, "errorCode": "S0000", "msgData": {"routeResps": [{"mailNo": CODE, "routes": [NODE]}]}}
    data = json.dumps(told if inner is None else inner)
    return {"apiErrorMsg": "", "apiResponseID": "x", "apiResultCode": "A1000", "apiResultData": data} | outer


@asynccontextmanager
async def shop(sim: SfExpressSim, **settings: Any) -> AsyncIterator[tuple[SfExpress, Any]]:
    """An account at the simulator, with its context."""
    ctx = context("sf")
    try:
        yield plugin(**sim.account_settings(), **settings), ctx
    finally:
        await ctx.http.aclose()


@pytest.fixture
async def sim() -> AsyncIterator[SfExpressSim]:
    async with SfExpressSim("SHOP001", WORD) as made:
        yield made


class TestSfExpress(CarrierContract):
    plugin = SfExpress
    settings = {  # noqa: RUF012 - as in the contract's own text
        "partner_id": "SHOP001",
        "check_word": WORD,
        "push_token": TOKEN,
        "register_routes": True,
    }
    secret_field = "push_token"

    def signed(self, account: Any, now: datetime) -> list[WebRequest]:
        token = account.push_token[0].value.get_secret_value()
        return [request_of(NODE, NODE | {"opCode": "80"}, token=token)]

    def signed_part(self, request: WebRequest) -> range:
        return range(0)  # SF signs nothing: the address is what is secret

    def calls(self) -> list[Call]:
        errors = {
            "retry": (answer(apiResultCode="A1009"), answer({"success": False, "errorMsg": "系统繁忙"})),
            "unauthorised": (answer(apiResultCode="A1006"), answer(apiResultCode="A1004")),
            "dead": (answer({"success": False, "errorCode": "8247"}), answer(apiResultCode="A1001"), {}),
        }
        return [
            Call("query", QueryParcel(waybill=CODE, phone_tail="5678"), (answer(),), errors=errors),
            Call("track", TrackParcel(waybill=CODE, phone_tail="5678"), (answer(),), errors=errors),
        ]


# The signature


@pytest.mark.row("P06")
@pytest.mark.evidence("sf_express", "vendor_sample")
def test_the_signature_is_that_of_the_vendors_document() -> None:
    data, word = '{"language":"zh-CN","orderId":"QIAO-20200618-004"}', "fjcg5PGKaNpPSHFAZ4QsCOkV71R3zVci"
    for sign in (digest, simulated):
        assert sign(data, "12312334453453", word) == "IIKJtuLVzoFTu4kHI8M8vA=="


@given(st.text(), st.text())
def test_plugin_and_simulator_escape_as_java_does(data: str, word: str) -> None:
    try:
        assert digest(data, "1", word) == simulated(data, "1", word)
    except UnicodeEncodeError:
        assert any("\ud800" <= one <= "\udfff" for one in data + word)


def test_signs_that_other_languages_escape_otherwise_are_escaped_as_java_does() -> None:
    assert digest("~ !'()*-._é😀", "1", "w") == simulated("~ !'()*-._é😀", "1", "w")


# Pushes


def test_a_push_is_read_into_the_bridges_words() -> None:
    (event,) = events(plugin(), request_of(NODE))
    parcel = event.parcel
    assert (parcel.waybill, parcel.carrier, parcel.carrier_name) == (CODE, "SF", "SF Express")
    assert (parcel.status, parcel.exception, parcel.last.place) == ("attempt_failed", "damaged", "深圳市")
    assert event.at == datetime(2025, 3, 2, 10, 21, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("node", "status", "exception"),
    [
        ({"opCode": "80"}, "delivered", None),
        ({"opCode": "8000", "reasonCode": "6"}, "lost", "lost"),
        ({"opCode": "8000", "reasonCode": "77"}, "delivered", None),
        ({"opCode": "99", "reasonCode": "2"}, "returning", "returning"),
        ({"opCode": "204"}, "out_for_delivery", None),
        ({"opCode": "204", "secondaryStatusCode": "204"}, "customs", None),
        ({"opCode": "9999", "firstStatusName": "派送中"}, "out_for_delivery", None),
        ({"opCode": "9999", "remark": "快件丢失"}, "exception", "lost"),
        ({"opCode": "9999", "remark": "快件退回"}, "returning", "returning"),
        ({"opCode": "9999", "remark": "快件途经深圳"}, "in_transit", None),
        ({"opCode": None, "remark": None}, "in_transit", None),
    ],
)
def test_codes_and_then_words_say_what_a_node_means(node: dict[str, Any], status: str, exception: str | None) -> None:
    (event,) = events(plugin(), request_of(NODE | {"remark": "…"} | node))
    assert (event.parcel.status, event.parcel.exception) == (status, exception)


def test_a_node_that_comes_again_under_a_new_id_is_the_same_event() -> None:
    (first,) = events(plugin(), request_of(NODE))
    (again,) = events(plugin(), request_of(NODE | {"id": "2"}, NODE | {"id": "3"}))
    assert again == first


def test_a_push_may_tell_of_many_parcels_and_leaves_out_what_cannot_be_placed() -> None:
    other = NODE | {"mailno": "SF 1234567890124", "opCode": "80"}
    found = events(plugin(), request_of(NODE, other, NODE | {"mailno": ""}, NODE | {"acceptTime": "yesterday"}))
    assert [one.parcel.waybill for one in found] == [CODE, "SF1234567890124"]


def xml_of(*nodes: str) -> str:
    inner = "".join(nodes)
    return f'<Request service="RoutePushService" lang="zh-CN"><Body>{inner}</Body></Request>'


@pytest.mark.parametrize("escape", [str, quote], ids=["plain", "escaped"])
def test_a_form_with_xml_says_the_same_as_json(escape: Any) -> None:
    node = " ".join(f'{name}="{value}"' for name, value in NODE.items())
    request = form_of(content=escape(xml_of(f"<WaybillRoute {node}/>")))
    sf = plugin()
    assert events(sf, request) == events(sf, request_of(NODE))
    assert sf.reply(request).content_type == "text/xml"
    assert b"<Head>OK</Head>" in sf.reply(request).body
    assert events(sf, form_of(content=escape(xml_of()))) == []


def test_a_digest_must_be_right_where_there_is_one() -> None:
    data = json.dumps({"Body": {"WaybillRoute": NODE}})
    signed = {"partnerID": "SHOP001", "timestamp": "1", "msgData": data, "msgDigest": simulated(data, "1", WORD)}
    sf = plugin(check_word=["new", {"value": WORD}])
    assert events(sf, form_of(**signed)) == events(sf, request_of(NODE))
    assert json.loads(sf.reply(form_of(**signed)).body) == {"return_code": "0000", "return_msg": "成功"}
    for wrong in ({"msgDigest": "AAAA"}, {"timestamp": "2"}, {"msgData": "{}"}):
        with pytest.raises(Unverified):
            sf.verify(form_of(**signed | wrong), NOON)


def test_without_a_token_the_door_stays_shut() -> None:
    for sf, token in ((plugin(push_token=None), ""), (plugin(push_token=None), TOKEN), (plugin(), "guessed")):
        with pytest.raises(Unverified):
            sf.verify(request_of(NODE, token=token), NOON)
    with pytest.raises(WrongType):
        plugin().verify(replace(request_of(NODE), headers={"Content-Type": "text/plain"}), NOON)


@given(st.binary())
def test_verify_refuses_any_bytes_without_the_token(body: bytes) -> None:
    with pytest.raises(Refused):
        plugin().verify(WebRequest("POST", "/hooks/sf", {}, FORM, body), NOON)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["2025-03-02 18:21:09"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*NODE, "Body", "WaybillRoute"]), inner),
    max_leaves=30,
)


@given(JSON, st.booleans())
def test_parse_is_total_over_any_json(value: Any, signed: bool) -> None:
    text = json.dumps({"Body": {"WaybillRoute": [NODE | {"opCode": value}, value]}})
    body = urlencode({"msgData": text}).encode() if signed else text.encode()
    try:
        assert list(plugin().parse(Inbound("sf", body, {}, NOON))) is not None
    except Malformed:
        return


# Calls


async def test_a_query_is_signed_as_it_is_sent() -> None:
    sf, ctx = plugin(check_word=["new", {"value": "old"}]), context("sf")
    with respx.mock(using="httpx") as mock:
        route = mock.post("https://bspgw.sf-express.com/std/service").respond(json=answer())
        result = await sf.query(QueryParcel(waybill="sf 1234 5678 90123", phone_tail="13812345678"), ctx)
    form = dict(parse_qsl(route.calls.last.request.content.decode()))
    about = json.loads(form["msgData"])
    assert (about["trackingType"], about["trackingNumber"], about["checkPhoneNo"]) == ("1", [CODE], "5678")
    assert form["msgDigest"] == simulated(form["msgData"], form["timestamp"], "new")
    assert form["timestamp"] == str(int(NOON.timestamp() * 1000))
    assert (form["partnerID"], form["serviceCode"], form["requestID"]) == (
        "SHOP001",
        "EXP_RECE_SEARCH_ROUTES",
        ctx.idempotency_key,
    )
    assert result.events[0].parcel.exception == "damaged"
    await ctx.http.aclose()


async def test_a_query_shows_all_routes_in_order(sim: SfExpressSim) -> None:
    sim.do_ship(CODE, "5678")
    for hour, (code, words) in enumerate([("50", "已收取"), ("30", "已装车"), ("44", "派送中"), ("80", "已签收")]):
        await sim.do_scan(CODE, code, words, "深圳市", at=f"2026-01-01T0{hour}:00:00+00:00")
    async with shop(sim) as (sf, ctx):
        result = await sf.query(QueryParcel(waybill=CODE, phone_tail="5678"), ctx)
    (event,) = result.events
    assert [one.status for one in event.parcel.scans] == ["picked_up", "in_transit", "out_for_delivery", "delivered"]
    assert (event.at, event.parcel.delivered_at, result.note) == (datetime(2026, 1, 1, 3, tzinfo=UTC),) * 2 + (None,)


WAY_BACK = [("50", "已收件"), ("70", "派件不成功"), ("648", "快件已退回/转寄"), ("44", "派送中"), ("80", "已签收")]


@pytest.mark.parametrize(
    ("way", "settings", "status"),
    [
        (WAY_BACK, {}, "returned"),
        (WAY_BACK, {"turn_round": False}, "delivered"),
        (WAY_BACK[:-1], {}, "out_for_delivery"),
        ([*WAY_BACK[:3], ("99", "快件转寄"), *WAY_BACK[3:]], {}, "delivered"),
        ([*WAY_BACK[:2], *WAY_BACK[3:]], {}, "delivered"),
    ],
)
async def test_a_parcel_that_is_signed_for_on_its_way_back_is_returned_and_not_delivered(
    way: list[tuple[str, str]], settings: dict[str, Any], status: str, sim: SfExpressSim
) -> None:
    sim.do_ship(CODE, "5678")
    for hour, (code, words) in enumerate(way):
        await sim.do_scan(CODE, code, words, "深圳市", at=f"2026-01-01T0{hour}:00:00+00:00")
    async with shop(sim, **settings) as (sf, ctx):
        answered = (await sf.query(QueryParcel(waybill=CODE, phone_tail="5678"), ctx)).events
        pushed = events(sf, request_of(*sim.shipments[CODE]["nodes"]))
    for told in (answered, pushed, pushed[::-1], [*pushed, *answered]):
        case = Case(id="C1", shop="main", opened_at=NOON, updated_at=NOON)
        for event in told:
            case = reduce(case, event, "sf")
        (parcel,) = case.parcels
        assert (parcel.status, parcel.delivered_at is not None) == (status, status == "delivered")


@pytest.mark.parametrize("tail", [None, "0000"])
async def test_a_phone_that_does_not_fit_shows_nothing_and_is_noted(tail: str | None, sim: SfExpressSim) -> None:
    sim.do_ship(CODE, "5678")
    await sim.do_scan(CODE, "50", "已收取")
    async with shop(sim) as (sf, ctx):
        result = await sf.query(QueryParcel(waybill=CODE, phone_tail=tail), ctx)
    assert (result.events[0].parcel.status, "phone" in (result.note or "")) == ("pending", True)


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ({"code": "A1005", "words": "流量控制", "api": True}, Unavailable),
        ({"code": "A1099", "words": "系统异常", "api": True}, Unavailable),
        ({"code": "A1003", "words": "IP无效", "api": True}, Unauthorised),
        ({"code": "A1007", "words": "重复请求", "api": True}, Rejected),
        ({}, Unavailable),
        ({"code": "8247", "words": "运单号不合法"}, Rejected),
    ],
)
async def test_both_levels_of_an_answer_may_refuse(
    refusal: dict[str, Any], error: type[Exception], sim: SfExpressSim
) -> None:
    sim.do_fail_next(**refusal)
    async with shop(sim) as (sf, ctx):
        with pytest.raises(error, match=refusal.get("words", "系统繁忙")):
            await sf.query(QueryParcel(waybill=CODE), ctx)


@pytest.mark.parametrize("settings", [{"check_word": "wrong"}, {"partner_id": "OTHER"}])
async def test_the_simulator_refuses_what_sf_refuses(settings: dict[str, str], sim: SfExpressSim) -> None:
    async with shop(sim, **settings) as (sf, ctx):
        with pytest.raises(Unauthorised):
            await sf.query(QueryParcel(waybill=CODE), ctx)
        with pytest.raises(Unauthorised):
            await sf.probe(ctx)
    assert sim.books["queries"] == []


async def test_a_probe_is_content_with_any_answer_to_good_credentials(sim: SfExpressSim) -> None:
    async with shop(sim) as (sf, ctx):
        assert await sf.probe(ctx) == "SF answers for SHOP001"
        sim.do_fail_next("8247", "运单号不合法")
        assert "运单号不合法" in await sf.probe(ctx)


async def test_a_parcel_is_registered_for_pushes_where_the_settings_say_so(sim: SfExpressSim) -> None:
    sim.do_ship(CODE, "5678")
    async with shop(sim, register_routes=True) as (sf, ctx):
        assert (await sf.track(TrackParcel(waybill=CODE, phone_tail="13812345678"), ctx)).id == CODE
        with pytest.raises(Rejected, match="8018"):
            await sf.track(TrackParcel(waybill=CODE), ctx)
    assert sim.shipments[CODE]["ordered"]


async def test_the_simple_digest_leaves_the_text_as_it_is() -> None:
    sf, ctx = plugin(signing="simple"), context("sf")
    with respx.mock(using="httpx") as mock:
        route = mock.post("https://bspgw.sf-express.com/std/service").respond(json=answer())
        await sf.query(QueryParcel(waybill=CODE), ctx)
    form = dict(parse_qsl(route.calls.last.request.content.decode()))
    plain = form["msgData"] + form["timestamp"] + WORD
    assert form["msgDigest"] == base64.b64encode(hashlib.md5(plain.encode()).digest()).decode()
    await ctx.http.aclose()


async def test_without_registering_there_is_nothing_to_ask_for(sim: SfExpressSim) -> None:
    async with shop(sim) as (sf, ctx):
        result = await sf.track(TrackParcel(waybill=CODE), ctx)
    assert (result.events, sim.books["queries"]) == ((), [])
    assert "poll" in (result.note or "")


async def test_a_call_without_a_live_word_is_not_made(sim: SfExpressSim) -> None:
    async with shop(sim, check_word={"value": "old", "until": NOON}) as (sf, ctx):
        with pytest.raises(Unauthorised, match="no check_word"):
            await sf.query(QueryParcel(waybill=CODE), ctx)
