"""Pinduoduo: the signature's vector, the contract, every call against the simulator over HTTP, and yuan against fen."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_pinduoduo import Pinduoduo
from rmabridge_pinduoduo.calls import sign
from rmabridge_pinduoduo.terms import amount, issue, table

from rmabridge.abilities import Context, Inbound
from rmabridge.core.reduce import reduce
from rmabridge.errors import Malformed, Rejected, Unauthorised, Unavailable
from rmabridge.model import (
    ApproveReturn,
    Case,
    CaseKind,
    CaseRequested,
    DeclineReturn,
    Direction,
    EvidenceAdded,
    FetchOrder,
    Issue,
    Money,
    Noted,
    OrderSeen,
    ParcelSeen,
    PayRefund,
    RefKind,
    RefundSeen,
    RefundStatus,
    RequestChanged,
    RequestStatus,
)
from rmabridge.testing.contexts import NOON, MemoryTokens, account, context
from rmabridge.testing.contract import Call, CallContract, ConnectContract, Fetch, FetchContract
from rmabridge.testing.simulators.pinduoduo import PinduoduoSim
from rmabridge.testing.simulators.pinduoduo_doors import sign as vendor_sign

SETTINGS = {
    "client_id": "pddclient",
    "client_secret": "demo-pdd-secret",
    "access_token": "demo-pdd-token",
    "return_address_id": "77",
}
SN = "260102-339507970000001"
REQUEST = f"{SN}/7381700001"
LISTED = {
    "id": 7381700001,
    "order_sn": SN,
    "after_sales_status": 2,
    "after_sales_type": 2,
    "after_sale_reason": "商品破损",
    "refund_amount": "19.90",
    "goods_number": "1",
    "sku_id": "6001",
    "outer_id": "MUG-01",
    "created_time": "2026-01-02 03:04:05",
    "updated_time": "2026-01-02 03:04:05",
}
DETAIL = {
    "id": 7381700001,
    "order_sn": SN,
    "after_sales_status": 2,
    "after_sales_type": 1,
    "after_sales_reason": "商品破损",
    "refund_amount": 1990,
    "remark": "杯子收到就碎了",
    "images": ["https://img.example.com/a.png", "https://img.example.com/b.png"],
    "express_no": "",
    "join_or_not": "0",
    "updated_time": "2026-01-02 03:04:05",
    "expire_time": 1767467045000,
}
ORDER = {
    "order_sn": SN,
    "confirm_status": 1,
    "created_time": "2025-12-28 03:04:05",
    "updated_at": "2025-12-28 09:04:05",
    "pay_amount": "19.90",
    "item_list": [{"sku_id": 6001, "goods_count": 1, "goods_price": "19.90", "goods_name": "马克杯"}],
}
PAY = PayRefund(request=REQUEST, amount=Money.of("19.90 CNY"))


def pinduoduo(**settings) -> Pinduoduo:
    return account(Pinduoduo, **{**SETTINGS, **settings})


def parsed(body: object, **settings) -> list:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(pinduoduo(**settings).parse(Inbound("acc", raw, {}, NOON)))


def of(kind: type, events) -> list:
    return [one for one in events if isinstance(one, kind)]


def refusal(code: int, msg: str = "x") -> dict:
    return {"error_response": {"error_code": code, "error_msg": msg, "sub_code": None, "sub_msg": ""}}


class TestContract(FetchContract, CallContract, ConnectContract):
    plugin = Pinduoduo
    settings = SETTINGS | {"statuses": (2, 10)}
    kinds = ("marketplaces",)
    probed = ({"refund_increment_get_response": {"total_count": 0, "refund_list": []}},)
    exchanged = ({"access_token": "t1", "refresh_token": "r1", "expires_in": 86399},)

    def callback(self):
        return {"code": "demo-code", "state": "s"}

    def fetches(self):
        page = {"refund_increment_get_response": {"total_count": 1, "refund_list": [LISTED]}}
        none = {"refund_increment_get_response": {"total_count": 0, "refund_list": []}}
        return [Fetch("poll", (page, DETAIL, none))]

    def inbound(self, account):
        sent = DETAIL | {"after_sales_type": 2, "express_no": "SF1", "shipping_name": "顺丰速运", "join_or_not": "1"}
        ended = {"refund": LISTED | {"after_sales_status": 10}}
        bodies = [{"refund": LISTED, "detail": DETAIL}, {"refund": LISTED, "detail": sent}, ended]
        return [*super().inbound(account), *(Inbound("acc", json.dumps(one).encode(), {}, NOON) for one in bodies)]

    def calls(self):
        agreed = {"response": {"result": {"succ": True, "message": "退款操作成功"}}}
        returned = {"response": {"success": True, "error_code": 0, "result": {"success": True, "message": "ok"}}}
        back, going = DETAIL | {"after_sales_status": 3, "after_sales_type": 2}, DETAIL | {"after_sales_status": 4}
        errors = {
            "retry": (refusal(70031), refusal(52101)),
            "dead": (refusal(45001), refusal(50001)),
            "unauthorised": (refusal(10019),),
        }
        return [
            Call(
                "pay_refund",
                PAY,
                (DETAIL, agreed, going),
                keyless=True,
                errors=errors,
                found=(DETAIL | {"after_sales_status": 10},),
                absent=(DETAIL,),
            ),
            Call(
                "approve_return",
                ApproveReturn(request=REQUEST),
                (back, returned, back | {"after_sales_status": 7}),
                keyless=True,
                errors=errors,
                found=(back | {"after_sales_status": 7},),
                absent=(back,),
            ),
            Call("fetch_order", FetchOrder(order=SN), ({"order_info_get_response": {"order_info": ORDER}},)),
        ]


# The signature


def test_a_call_is_signed_as_the_vector_says_by_plugin_and_simulator() -> None:
    params = {
        "type": "pdd.refund.list.increment.get", "client_id": "pddclient", "access_token": "tok", "data_type": "JSON",
        "timestamp": "1767294245", "version": "V1", "after_sales_status": "1", "after_sales_type": "1",
        "start_updated_at": "1767290645", "end_updated_at": "1767292445",
    }  # fmt: skip
    assert sign(params, "demo-pdd-secret") == "9BCA1A4E718A2EE762D1A2791DBA70A1"
    assert vendor_sign(params, "demo-pdd-secret") == "9BCA1A4E718A2EE762D1A2791DBA70A1"


# Reading


def test_a_listed_request_with_its_detail_is_a_request_with_reason_words_pictures_and_deadline() -> None:
    events = parsed({"refund": LISTED, "detail": DETAIL})
    asked, changed = of(CaseRequested, events)[0], of(RequestChanged, events)[0]
    assert (asked.kind, asked.issue, asked.note) == (CaseKind.REFUND, Issue.DAMAGED_IN_TRANSIT, "杯子收到就碎了")
    assert asked.amount == changed.amount == Money.of("19.90 CNY")
    assert {(one.kind, one.value) for one in asked.refs} == {(RefKind.RETURN, REQUEST), (RefKind.ORDER, SN)}
    assert asked.at == datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC), "Beijing's time carries no zone"
    assert changed.due_at == datetime(2026, 1, 3, 19, 4, 5, tzinfo=UTC)
    assert [one.url for one in of(EvidenceAdded, events)] == DETAIL["images"]
    assert asked.lines[0].sku == "MUG-01"


def test_the_list_alone_gives_the_keys_of_the_full_reading() -> None:
    full = {one.key for one in parsed({"refund": LISTED, "detail": DETAIL})}
    assert {one.key for one in parsed({"refund": LISTED})} <= full


@pytest.mark.parametrize(
    ("state", "status", "opens", "money"),
    [
        (2, "requested", True, None),
        (3, "requested", True, None),
        (4, "approved", True, "pending"),
        (6, "declined", True, None),
        (7, "approved", True, None),
        (9, "cancelled", False, None),
        (10, "closed", False, "done"),
        (11, "cancelled", False, None),
        (16, "closed", False, None),
        (21, "requested", True, None),
    ],
)
def test_a_status_says_where_request_and_money_stand(state: int, status: str, opens: bool, money: str | None) -> None:
    events = parsed({"refund": LISTED | {"after_sales_status": state}})
    assert of(RequestChanged, events)[0].status == status
    assert bool(of(CaseRequested, events)) is opens
    assert [one.status for one in of(RefundSeen, events)] == ([money] if money else [])


def test_of_two_statuses_in_one_second_the_further_one_is_the_later() -> None:
    seen = [of(RefundSeen, parsed({"refund": LISTED | {"after_sales_status": one}}))[0].at for one in (4, 10)]
    assert seen[0] < seen[1] and seen[1].replace(microsecond=0) == seen[0].replace(microsecond=0)


def test_the_platform_looking_into_it_is_noted_and_changes_no_status() -> None:
    events = parsed({"refund": LISTED | {"after_sales_status": 8}})
    assert [type(one) for one in events] == [CaseRequested, Noted]
    assert not parsed({"refund": LISTED | {"after_sales_status": 0}})


@pytest.mark.parametrize(
    ("listed", "detail", "kind"), [(2, 1, "refund"), (3, 2, "return"), (4, 3, "exchange"), (6, 5, "repair")]
)
def test_list_and_detail_number_the_types_differently(listed: int, detail: int, kind: str) -> None:
    full = {"refund": LISTED | {"after_sales_type": listed}, "detail": DETAIL | {"after_sales_type": detail}}
    assert of(CaseRequested, parsed(full))[0].kind == kind
    if listed < 5:
        assert of(CaseRequested, parsed({"refund": LISTED | {"after_sales_type": listed}}))[0].kind == kind


def test_a_parcel_back_is_the_details_and_not_the_parcel_of_the_list() -> None:
    sent = DETAIL | {"express_no": "sf 123", "shipping_name": "顺丰速运"}
    parcel = of(ParcelSeen, parsed({"refund": LISTED | {"tracking_number": "YT9"}, "detail": sent}))[0].parcel
    assert (parcel.waybill, parcel.carrier, parcel.direction) == ("SF123", "SF", Direction.BACK)
    assert not of(ParcelSeen, parsed({"refund": LISTED | {"tracking_number": "YT9"}}))


def test_every_word_of_the_data_file_means_an_issue_and_stands_once() -> None:
    phrases = [phrase for many in table("issues").values() for phrase in many]
    assert len(set(phrases)) == len(phrases)
    assert all(issue(phrase, {}) for phrase in phrases)
    assert issue("破损了", {"破": Issue.QUALITY_DEFECT}) is Issue.QUALITY_DEFECT
    assert issue(None, {}) is None


@pytest.mark.parametrize(
    ("value", "unit", "wanted"),
    [
        (1990, "fen", "19.90 CNY"),
        ("1990", "fen", "19.90 CNY"),
        ("19.90", "yuan", "19.90 CNY"),
        ("19.90", "fen", None),
        (None, "fen", None),
        (True, "fen", None),
        (-5, "fen", None),
    ],
)
def test_an_amount_of_the_detail_is_read_in_its_unit_or_not_at_all(value, unit, wanted: str | None) -> None:
    assert amount(value, unit) == (Money.of(wanted) if wanted else None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["2026-01-02 03:04:05", "10"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(DETAIL)), inner, max_size=5),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted({*LISTED, *DETAIL})), JSON))
def test_any_request_gives_events_or_is_malformed(odd: dict) -> None:
    with suppress(Malformed):
        assert all(one.key for one in parsed({"refund": LISTED | odd, "detail": DETAIL | odd}))


# Calls, against the simulator


@pytest.fixture
async def sim() -> AsyncIterator[PinduoduoSim]:
    async with PinduoduoSim() as running:
        running.offset = NOON - datetime.now(UTC)
        yield running


@pytest.fixture
async def ctx(sim: PinduoduoSim) -> AsyncIterator[Context]:
    lent = context(now=sim.now)
    yield lent
    await lent.http.aclose()


def at(sim: PinduoduoSim, **settings) -> Pinduoduo:
    return account(Pinduoduo, **{**sim.account_settings(), **settings})


def refund(sim: PinduoduoSim, kind: str = "refund", **asked) -> tuple[str, str]:
    made = sim.do_open_refund(sim.do_place_order()["order"], kind, **asked)
    return str(made["refund"]), str(made["request"])


def calls(sim: PinduoduoSim, method: str) -> list[dict]:
    return [one for one in sim.books["calls"] if one["type"] == method]


def pay(request: str, amount: str = "19.90 CNY") -> PayRefund:
    return PayRefund(request=request, amount=Money.of(amount))


@pytest.mark.parametrize(
    ("settings", "code"), [({"client_secret": "wrong"}, "20004"), ({"client_id": "other"}, "10002")]
)
async def test_what_the_gateway_refuses_is_told(sim: PinduoduoSim, ctx: Context, settings: dict, code: str) -> None:
    with pytest.raises(Rejected, match=f"^{code}"):
        await at(sim, **settings).probe(ctx)
    with pytest.raises(Unauthorised, match=code):
        await at(sim, **settings, error_meanings={code: "credentials"}).probe(ctx)


@pytest.mark.parametrize(
    ("code", "wanted"),
    [(52101, Unavailable), (52102, Unavailable), (70031, Unavailable), (50000, Unavailable), (50001, Rejected)],
)
async def test_an_error_inside_a_good_status_is_understood(
    sim: PinduoduoSim, ctx: Context, code: int, wanted: type[Exception]
) -> None:
    sim.do_fail_next(code)
    with pytest.raises(wanted, match=str(code)):
        await at(sim).probe(ctx)
    assert "token is good" in await at(sim).probe(ctx)


# The token


async def test_a_token_is_had_by_consent_and_renewed_when_it_is_over(sim: PinduoduoSim, ctx: Context) -> None:
    plugin = at(sim, access_token=None)
    where = plugin.authorise_url("https://bridge.example/connect/acc", "st4te")
    assert parse_qs(urlsplit(where or "").query)["state"] == ["st4te"]
    with pytest.raises(Unauthorised, match="never connected"):
        await plugin.probe(ctx)
    await ctx.tokens.put(await plugin.exchange({"code": sim.code}, "https://bridge.example/connect/acc", ctx))
    await plugin.probe(ctx)
    sim.do_expire_token()
    await plugin.probe(ctx)
    assert sim.books["tokens"] == ["authorization_code", "refresh_token"]
    assert (await ctx.tokens.get() or {})["access_token"] == sim.token
    with pytest.raises(Unauthorised, match="no token"):
        await plugin.exchange({"code": "old"}, "https://bridge.example/connect/acc", ctx)


async def test_two_calls_that_find_the_token_over_renew_it_once(sim: PinduoduoSim, ctx: Context) -> None:
    plugin = at(sim, access_token=None)
    await ctx.tokens.put({"access_token": "old", "refresh_token": sim.refresh})
    over = Exception("10019")
    first = await plugin._renewed(ctx, "old", over)
    assert await plugin._renewed(ctx, "old", over) == first
    assert sim.books["tokens"] == ["refresh_token"]


async def test_a_token_that_cannot_be_renewed_stops_the_account(sim: PinduoduoSim, ctx: Context) -> None:
    sim.do_expire_token()
    with pytest.raises(Unauthorised, match="10019"):
        await at(sim, access_token="demo-pdd-token").probe(ctx)
    ctx.tokens = MemoryTokens({"access_token": "old", "refresh_token": "dead"})
    with pytest.raises(Unauthorised, match="授权信息无效"):
        await at(sim, access_token=None).probe(ctx)


async def test_a_payment_goes_on_with_the_new_token_and_pays_once(sim: PinduoduoSim, ctx: Context) -> None:
    id_, request = refund(sim)
    ctx.tokens = MemoryTokens({"access_token": "old", "refresh_token": sim.refresh})
    await at(sim, access_token=None).pay_refund(pay(request), ctx)
    assert sim.books["paid"] == {id_: "19.90"}


# The list


async def test_changed_requests_are_read_in_full_and_found_again_by_the_overlap(
    sim: PinduoduoSim, ctx: Context
) -> None:
    _, request = refund(sim, pictures=["https://img.example.com/1.jpg"])
    plugin = at(sim)
    page = await plugin.poll(ctx, None)
    assert [one.id for one in page.items] == [f"refund:{request}:2:2026-01-02 20:00:00"]
    events = list(plugin.parse(Inbound("acc", page.items[0].body, {}, NOON)))
    assert [type(one) for one in events] == [CaseRequested, EvidenceAdded, RequestChanged]
    end = await plugin.poll(ctx, page.cursor)
    assert (end.items, end.more) == ((), False)
    sim.offset += timedelta(minutes=1)
    again = await plugin.poll(ctx, end.cursor)
    assert [one.id for one in again.items] == [one.id for one in page.items], "the same thing keeps its id"


async def test_a_standstill_is_made_up_for_window_by_window(sim: PinduoduoSim, ctx: Context) -> None:
    plugin = at(sim, statuses=(1,))
    start = (await plugin.poll(ctx, None)).cursor
    sim.offset += timedelta(minutes=40)
    _, first = refund(sim)
    sim.offset += timedelta(minutes=50)
    _, second = refund(sim)
    cursor, seen = start, []
    for _ in range(12):
        page = await plugin.poll(ctx, cursor)
        seen += [one.id.split(":")[1] for one in page.items]
        cursor = page.cursor
        if not page.more:
            break
    assert not page.more and list(dict.fromkeys(seen)) == [first, second]
    spans = [
        int(one["end_updated_at"]) - int(one["start_updated_at"]) for one in calls(sim, "pdd.refund.list.increment.get")
    ]
    assert max(spans) <= 1800 and not sim.books["refusals"]


async def test_pages_are_read_from_the_last_so_that_nothing_slips_through(sim: PinduoduoSim, ctx: Context) -> None:
    made = [refund(sim)[1] for _ in range(5)]
    plugin = at(sim, page=2, statuses=(1,))
    first = await plugin.poll(ctx, None)
    sim.offset += timedelta(seconds=5)
    sim.do_withdraw(made[0].partition("/")[2])  # leaves the window, and the others move forward
    cursor, seen = first.cursor, [one.id.split(":")[1] for one in first.items]
    while True:
        page = await plugin.poll(ctx, cursor)
        seen += [one.id.split(":")[1] for one in page.items]
        cursor = page.cursor
        if not page.more:
            break
    assert set(seen) >= set(made[1:])


async def test_a_request_whose_detail_is_not_shown_is_told_by_the_list_alone(sim: PinduoduoSim, ctx: Context) -> None:
    refund(sim)
    sim.do_fail_next(45001, method="pdd.refund.information.get")
    page = await at(sim).poll(ctx, None)
    assert of(CaseRequested, parsed(page.items[0].body))[0].amount == Money.of("19.90 CNY")
    sim.do_fail_next(52101, method="pdd.refund.information.get")
    with pytest.raises(Unavailable):
        await at(sim).poll(ctx, None)


async def test_an_ended_request_is_not_read_in_full(sim: PinduoduoSim, ctx: Context) -> None:
    id_, _ = refund(sim)
    sim.do_pay_by_hand(id_)
    page = await at(sim).poll(ctx, None)
    assert of(RefundSeen, parsed(page.items[0].body))[0].status is RefundStatus.DONE
    assert not calls(sim, "pdd.refund.information.get")


# Orders


async def test_an_order_comes_with_its_parcel_a_masked_buyer_and_amounts_in_yuan(
    sim: PinduoduoSim, ctx: Context
) -> None:
    sn = sim.do_place_order(paid="39.80", pieces=2, received=True)["order"]
    request = sim.do_open_refund(sn)["request"]
    result = await at(sim).fetch_order(FetchOrder(order=sn, request=request), ctx)
    seen = result.events[0]
    assert isinstance(seen, OrderSeen) and of(RequestChanged, result.events)
    assert (seen.order.id, seen.order.total, seen.order.paid_by) == (sn, Money.of("39.80 CNY"), "weixin")
    assert (seen.order.lines[0].price, seen.order.lines[0].quantity) == (Money.of("19.9 CNY"), 2)
    assert seen.order.delivered_at and seen.order.placed_at
    assert (seen.buyer.id, seen.buyer.name, seen.buyer.phone) == (None, None, "138****0000")
    assert [(one.waybill, one.carrier) for one in seen.parcels] == [("YT1234567890123", "YTO")]
    assert (await at(sim).fetch_order(FetchOrder(request=request), ctx)).id == sn
    for unknown in (FetchOrder(order="1"), FetchOrder(buyer="x"), FetchOrder(request="5"), FetchOrder(request="1/5")):
        with pytest.raises(Rejected):
            await at(sim).fetch_order(unknown, ctx)


# Money


@pytest.mark.parametrize("fee", ["19.90", "0.01", "200.00"])
async def test_a_refund_is_paid_after_its_amount_in_fen_was_read_again(
    sim: PinduoduoSim, ctx: Context, fee: str
) -> None:
    id_, request = refund(sim, fee=fee)
    result = await at(sim).pay_refund(pay(request, f"{fee} CNY"), ctx)
    assert sim.books["paid"] == {id_: fee}
    seen = of(RefundSeen, result.events)[0]
    assert (seen.refund, seen.status, seen.amount) == (id_, RefundStatus.PENDING, Money.of(f"{fee} CNY"))
    assert [one["type"] for one in sim.books["calls"]] == [
        "pdd.refund.information.get",
        "pdd.refund.agree",
        "pdd.refund.information.get",
    ]


@pytest.mark.parametrize("amount", ["1990 CNY", "0.199 CNY", "19.91 CNY", "19.90 USD"])
async def test_an_amount_that_the_buyer_did_not_ask_for_never_leaves(
    sim: PinduoduoSim, ctx: Context, amount: str
) -> None:
    _, request = refund(sim)
    with pytest.raises(Rejected):
        await at(sim).pay_refund(pay(request, amount), ctx)
    assert not calls(sim, "pdd.refund.agree")


async def test_a_wrong_unit_of_the_detail_pays_nothing_and_says_which_setting(sim: PinduoduoSim, ctx: Context) -> None:
    _, request = refund(sim)
    with pytest.raises(Rejected) as caught:
        await at(sim, detail_unit="yuan").pay_refund(pay(request), ctx)
    assert "1990 CNY" in caught.value.cause and "detail_unit" in caught.value.hint
    assert sim.books["paid"] == {}


async def test_an_amount_changed_meanwhile_and_a_request_taken_back_are_not_paid(
    sim: PinduoduoSim, ctx: Context
) -> None:
    id_, request = refund(sim)
    sim.do_change_refund(id_, "15.00")
    with pytest.raises(Rejected, match=r"15\.00 CNY"):
        await at(sim).pay_refund(pay(request), ctx)
    sim.do_withdraw(id_)
    with pytest.raises(Rejected, match="status 11"):
        await at(sim).pay_refund(pay(request), ctx)
    assert sim.books["paid"] == {}


async def test_what_is_paid_or_on_its_way_is_answered_and_found(sim: PinduoduoSim, ctx: Context) -> None:
    plugin, (id_, request) = at(sim), refund(sim)
    assert (await plugin.find_refund(pay(request), ctx)).happened is False
    await plugin.pay_refund(pay(request), ctx)
    again = await plugin.pay_refund(pay(request), ctx)
    assert of(RefundSeen, again.events) and len(calls(sim, "pdd.refund.agree")) == 1
    sim.do_arrive(id_)
    found = await plugin.find_refund(pay(request), ctx)
    assert found.happened and of(RefundSeen, found.result.events)[0].status is RefundStatus.DONE
    sim.do_withdraw(id_)
    assert (await plugin.find_refund(pay(request), ctx)).happened is None
    with pytest.raises(Rejected):
        await plugin.pay_refund(PayRefund(order=SN, amount=Money.of("1 CNY")), ctx)


async def test_what_may_have_been_paid_is_no_refusal(sim: PinduoduoSim, ctx: Context) -> None:
    _, request = refund(sim)
    sim.do_fail_next(50000, method="pdd.refund.agree")
    with pytest.raises(ValueError, match="may have happened"):
        await at(sim).pay_refund(pay(request), ctx)
    sim.do_fail_next(50001, "业务服务错误", "售后单已关闭", method="pdd.refund.agree")
    with pytest.raises(Rejected, match="售后单已关闭"):
        await at(sim).pay_refund(pay(request), ctx)


async def test_a_refusal_inside_the_answer_is_one(sim: PinduoduoSim, ctx: Context) -> None:
    id_, request = refund(sim, "exchange")
    assert sim.books["refunds"][id_]["status"] == 14
    with pytest.raises(Rejected, match="状态"):
        await at(sim, payable=(14,)).pay_refund(pay(request), ctx)


async def test_a_payment_stays_done_when_the_look_after_it_fails() -> None:
    told = iter([DETAIL, {"response": {"result": {"succ": True}}}, refusal(70031)])
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=next(told)))) as http:
        result = await pinduoduo().pay_refund(PAY, context(http=http))
    assert (result.id, result.events) == ("7381700001", ())


# Decisions


async def test_goods_are_agreed_to_come_back_and_the_money_follows(sim: PinduoduoSim, ctx: Context) -> None:
    plugin, (id_, request) = at(sim), refund(sim, "return")
    approving = ApproveReturn(request=request)
    assert (await plugin.find_decision(approving, ctx)).happened is False
    result = await plugin.approve_return(approving, ctx)
    assert of(RequestChanged, result.events)[0].status is RequestStatus.APPROVED
    assert (await plugin.find_decision(approving, ctx)).happened is True
    await plugin.approve_return(approving, ctx)
    (sent,) = calls(sim, "pdd.refund.returngoods.agree")
    assert json.loads(sent["request"])["return_address_id"] == "77"
    sim.do_send_back(id_)
    again = await plugin.approve_return(approving, ctx)
    assert of(RequestChanged, again.events)[0].status is RequestStatus.APPROVED, "it waits anew, but was agreed to"
    assert len(calls(sim, "pdd.refund.returngoods.agree")) == 1
    result = await plugin.pay_refund(pay(request), ctx)
    assert of(ParcelSeen, result.events) and sim.books["paid"] == {id_: "19.90"}
    sim.do_withdraw(id_)
    assert (await plugin.find_decision(approving, ctx)).happened is None


async def test_without_goods_to_come_back_the_approval_moves_no_money(sim: PinduoduoSim, ctx: Context) -> None:
    _, request = refund(sim)
    result = await at(sim).approve_return(ApproveReturn(request=request), ctx)
    assert of(RequestChanged, result.events)[0].status is RequestStatus.APPROVED
    assert sim.books["paid"] == {} and not calls(sim, "pdd.refund.agree")


async def test_what_cannot_be_agreed_to_by_call_waits_for_a_person(sim: PinduoduoSim, ctx: Context) -> None:
    with pytest.raises(Rejected, match="exchange"):
        await at(sim).approve_return(ApproveReturn(request=refund(sim, "exchange")[1]), ctx)
    with pytest.raises(Rejected, match="no address"):
        await at(sim, return_address_id=None).approve_return(ApproveReturn(request=refund(sim, "return")[1]), ctx)
    id_, request = refund(sim, "return")
    sim.do_withdraw(id_)
    with pytest.raises(Rejected, match="状态"):
        await at(sim).approve_return(ApproveReturn(request=request), ctx)


def test_a_refusal_has_no_call_and_is_not_offered() -> None:
    assert pinduoduo().route(DeclineReturn(request=REQUEST)) is None
    assert pinduoduo().route(ApproveReturn(request=REQUEST)).find is not None


@respx.mock
async def test_a_detail_that_counts_in_another_unit_changes_no_amount_on_the_case_and_pays_nothing() -> None:
    """The list says 1990.00 yuan, the detail 1990, and the account reads that as fen."""
    order, at = "260102-339507970000001", "2026-01-02 03:04:05"
    held = {"id": 7381700001, "order_sn": order, "after_sales_status": 2, "updated_time": at}
    listed = held | {"after_sales_type": 2, "refund_amount": "1990.00", "created_time": at}
    detail = held | {"after_sales_type": 1, "refund_amount": 1990, "express_no": ""}
    called = respx.post(url__regex=".*").respond(json=detail)
    plugin = account(Pinduoduo, client_id="a", client_secret="b", access_token="c", return_address_id="77")
    body = json.dumps({"refund": listed, "detail": detail}).encode()
    ctx = context(http=httpx.AsyncClient())
    approved = await plugin.approve_return(ApproveReturn(request=f"{order}/7381700001"), ctx)
    made = Case(id="c", shop="s", opened_at=NOON, updated_at=NOON)
    for one in (*plugin.parse(Inbound("acc", body, {}, NOON)), *approved.events):
        made = reduce(made, one, "acc")
    assert made.request.amount == Money.of("1990.00 CNY")
    with pytest.raises(Rejected, match=r"asks for 19\.90 CNY"):
        await plugin.pay_refund(PayRefund(request=f"{order}/7381700001", amount=made.request.amount), ctx)
    assert not [one for one in called.calls if b"pdd.refund.agree" in one.request.content]
