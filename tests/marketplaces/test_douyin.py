"""Douyin: both signatures' vectors, the contract, every call against the simulator over HTTP, and money in fen."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_douyin import Douyin
from rmabridge_douyin.calls import sign
from rmabridge_douyin.terms import canonical, issue, table

from rmabridge.abilities import Context, Inbound, WebRequest
from rmabridge.errors import Malformed, Rejected, Unauthorised, Unavailable, Unverified
from rmabridge.model import (
    ApproveReturn,
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
from rmabridge.testing.contract import Call, CallContract, ConnectContract, Fetch, FetchContract, MarketplaceContract
from rmabridge.testing.simulators.douyin import DouyinSim
from rmabridge.testing.simulators.douyin_doors import mark
from rmabridge.testing.simulators.douyin_doors import sign as vendor_sign

KEY, SECRET = "7000000000000000001", "demo-dd-secret"
SETTINGS = {"app_key": KEY, "app_secret": SECRET, "shop_id": "123456", "receiver_address_id": 95251}
TOKEN = {"access_token": "demo-dd-token", "refresh_token": "demo-dd-refresh"}
ID, ORDER_ID = "7061011234567890123", "4800000000000000001"
DATA = {
    "aftersale_id": int(ID),
    "aftersale_status": 6,
    "aftersale_type": 0,
    "apply_time": 1767294245,
    "p_id": int(ORDER_ID),
    "s_id": 4800000000000000002,
    "shop_id": 123456,
    "reason_code": 8,
    "refund_amount": 1990,
    "refund_post_amount": 0,
    "refund_voucher_num": 0,
    "update_time": 1767294245,
}
INFO = {
    "after_sale_id": int(ID),
    "after_sale_status": 6,
    "after_sale_type": 1,
    "refund_status": 0,
    "refund_total_amount": 1990,
    "apply_time": 1767294245,
    "update_time": 1767294245,
    "status_deadline": 1767467045,
    "reason": "商品破损",
    "reason_remark": "杯子收到就碎了",
    "evidence": ["https://img.example.com/a.png"],
    "after_sale_apply_count": 1,
}
ORDER = {
    "order_id": ORDER_ID,
    "order_status": 3,
    "create_time": 1766889845,
    "update_time": 1766911445,
    "pay_amount": 1990,
    "pay_type": 2,
    "doudian_open_id": "1@#demo",
    "sku_order_list": [{"order_id": ORDER_ID, "item_num": 1, "pay_amount": 1990, "product_name": "马克杯"}],
}
LISTED = {
    "aftersale_info": {
        "aftersale_id": ID,
        "aftersale_type": 0,
        "aftersale_status": 7,
        "apply_time": 1767294245,
        "update_time": 1767294300,
        "refund_amount": 1990,
        "refund_status": 0,
    },
    "order_info": {
        "shop_order_id": ORDER_ID,
        "related_order_info": [{"sku_order_id": ORDER_ID, "shop_sku_code": "MUG"}],
    },
    "text_part": {"reason_text": "七天无理由退货"},
}
PAY = PayRefund(request=ID, amount=Money.of("19.90 CNY"))
OTHER_SHOPS = DATA | {"shop_id": 654321}


def douyin(**settings) -> Douyin:
    return account(Douyin, **{**SETTINGS, **settings})


def batch(*messages: tuple[str, dict]) -> bytes:
    told = [{"tag": tag, "msg_id": f"m{n}", "data": json.dumps(data)} for n, (tag, data) in enumerate(messages)]
    return json.dumps(told).encode()


def parsed(body: object, **settings) -> list:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(douyin(**settings).parse(Inbound("acc", raw, {}, NOON)))


def of(kind: type, events) -> list:
    return [one for one in events if isinstance(one, kind)]


def ok(**data) -> dict:
    return {"code": 10000, "msg": "success", "sub_code": "", "sub_msg": "", "data": data}


def refused(code: int, sub: str = "") -> dict:
    return {"code": code, "msg": "x", "sub_code": sub, "sub_msg": ""}


def detail(**changes) -> dict:
    process = {"after_sale_info": INFO | changes, "logistics_info": {}}
    line = {"sku_order_id": int(ORDER_ID), "shop_sku_code": "MUG-01"}
    order = {"shop_order_id": int(ORDER_ID), "sku_order_infos": [line]}
    return {"process_info": process, "order_info": order}


def pushed(body: bytes, secret: str = SECRET, app: str = KEY) -> WebRequest:
    headers = {"Content-Type": "application/json", "event-sign": mark(KEY, body, secret), "app-id": app}
    return WebRequest("POST", "/hooks/acc", {}, headers, body)


class TestContract(MarketplaceContract, FetchContract, CallContract, ConnectContract):
    plugin = Douyin
    settings = SETTINGS
    secret_field = "app_secret"
    token = TOKEN
    probed = (ok(items=[], has_more=False),)
    exchanged = (ok(access_token="t1", refresh_token="r1", expires_in=604800),)

    def signed(self, account, now):
        paid = DATA | {"aftersale_status": 12, "success_time": 1767294300, "update_time": 1767294300}
        bodies = [batch(("200", DATA)), batch(("206", paid)), batch(("0", {}), ("213", DATA | {"arbitrate_status": 4}))]
        secret = account.app_secret[0].value.get_secret_value()
        return [pushed(one, secret) for one in bodies]

    def inbound(self, account):
        return [*MarketplaceContract.inbound(self, account), *FetchContract.inbound(self, account)]

    def callback(self):
        return {"code": "demo-code", "state": "s"}

    def fetches(self):
        waiting = LISTED | {"aftersale_info": LISTED["aftersale_info"] | {"aftersale_id": "7", "aftersale_status": 6}}
        first, full = ok(items=[LISTED, waiting], has_more=True), ok(**detail(after_sale_id=7))
        return [Fetch("listing", (first, full, ok(items=[], has_more=False)))]

    def calls(self):
        held, going = ok(**detail()), ok(**detail(after_sale_status=12, refund_status=2, update_time=1767294300))
        back = ok(**detail(after_sale_type=0))
        returning = ok(**detail(after_sale_type=0, after_sale_status=7, update_time=1767294300))
        declined = ok(**detail(after_sale_status=27, update_time=1767294300))
        reasons = ok(items=[{"reject_reason_code": 103, "reason": "其他原因", "evidence_need": "N"}])
        done = ok(items=[{"aftersale_id": int(ID), "status_code": 0, "status_msg": "success"}])
        errors = {
            "retry": (refused(60000), refused(20000, "isp.service-error:10002")),
            "dead": (refused(50002, "isv.business-failed:11005"), refused(99)),
            "unauthorised": (refused(40003, "isv.signature-invalid"), refused(30001, "dop.authorization-closed")),
        }
        approve, decline = ApproveReturn(request=ID), DeclineReturn(request=ID)
        return [
            Call("pay_refund", PAY, (held, done, going), True, errors=errors, found=(going,), absent=(held,)),
            Call(
                "approve_return",
                approve,
                (back, done, returning),
                True,
                errors=errors,
                found=(returning,),
                absent=(back,),
            ),
            Call(
                "decline_return",
                decline,
                (held, reasons, done, declined),
                True,
                errors=errors,
                found=(declined,),
                absent=(held,),
            ),
            Call("fetch_order", FetchOrder(order=ORDER_ID, request=ID), (held, ok(shop_order_detail=ORDER))),
        ]


# Signatures


def test_a_call_is_signed_as_the_vector_says_by_plugin_and_simulator() -> None:
    body = canonical({"after_sale_id": ID})
    names = {"app_key": KEY, "method": "afterSale.Detail", "timestamp": "1767294245", "v": "2"}
    wanted = "909236a842d4d202354cd9c77fc0f7a356b5e5e363317448f0ddaee729c80b31"
    assert body == '{"after_sale_id":"7061011234567890123"}'
    assert sign(names | {"param_json": body}, SECRET) == wanted
    assert vendor_sign(names, body, SECRET) == wanted


def test_a_push_is_marked_as_the_vector_says() -> None:
    body = (
        rb'[{"tag":"200","msg_id":"7061011234567890123:0:200:1767294245:0",'
        rb'"data":"{\"aftersale_id\":7061011234567890123}"}]'
    )
    assert mark(KEY, body, SECRET) == "e797437f67022a31723a21386bc6a222"
    assert douyin()._mark(SECRET, body) == "e797437f67022a31723a21386bc6a222"
    assert parsed(body), "and what it says is heard, though it is little"


def test_what_is_signed_has_its_keys_in_order_all_the_way_down_and_no_escapes() -> None:
    assert canonical({"b": [{"d": "您好<&>", "c": 2}], "a": {}}) == '{"a":{},"b":[{"c":2,"d":"您好<&>"}]}'


def test_a_push_of_another_app_or_without_its_mark_is_refused() -> None:
    body = batch(("200", DATA))
    with pytest.raises(Unverified, match="another app"):
        douyin().verify(pushed(body, app="7"), NOON)
    with pytest.raises(Unverified, match="missing"):
        douyin().verify(WebRequest("POST", "/hooks/acc", {}, {"app-id": KEY}, body), NOON)
    with pytest.raises(Unverified, match="not good"):
        douyin(push_signature="hmac-sha256").verify(pushed(body), NOON)
    assert json.loads(douyin().reply(pushed(body)).body) == {"code": 0, "msg": "success"}


# Reading


def test_a_push_is_a_request_with_its_names_and_its_amount_in_fen() -> None:
    asked, changed = parsed(batch(("200", DATA)))
    assert isinstance(asked, CaseRequested) and isinstance(changed, RequestChanged)
    assert (asked.kind, asked.amount, asked.issue) == (CaseKind.RETURN, Money.of("19.90 CNY"), None)
    assert {(one.kind, one.value) for one in asked.refs} == {(RefKind.RETURN, ID), (RefKind.ORDER, ORDER_ID)}
    assert asked.at == datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC)
    assert asked.lines[0].order_line == "4800000000000000002", "ids of nineteen digits are kept whole"


@pytest.mark.parametrize(
    ("tag", "state", "status", "kinds"),
    [
        ("201", 12, "approved", [RequestChanged]),
        ("202", 7, "approved", [RequestChanged]),
        ("203", 11, "approved", [RequestChanged]),
        ("204", 29, "declined", [RequestChanged]),
        ("206", 12, "closed", [RequestChanged, RefundSeen]),
        ("207", 28, "cancelled", [RequestChanged]),
        ("208", 6, "requested", [CaseRequested, RequestChanged]),
        ("209", 6, "requested", [RequestChanged]),
        ("212", 27, "declined", [RequestChanged, Noted]),
    ],
)
def test_each_tag_says_where_the_request_stands(tag: str, state: int, status: str, kinds: list[type]) -> None:
    events = parsed(batch((tag, DATA | {"aftersale_status": state, "status_deadline": 1767467045})))
    assert [type(one) for one in events] == kinds
    assert of(RequestChanged, events)[0].status == status


def test_a_later_deadline_is_heard() -> None:
    changed = parsed(batch(("209", DATA | {"status_deadline": 1767467045, "update_time": "2026-01-02 04:04:05"})))[0]
    assert changed.due_at == datetime(2026, 1, 3, 19, 4, 5, tzinfo=UTC)
    assert changed.at.replace(microsecond=0) == datetime(2026, 1, 1, 20, 4, 5, tzinfo=UTC), "a text is Beijing's time"


def test_tags_that_are_no_matter_of_ours_and_other_shops_mean_nothing() -> None:
    assert parsed(batch(("0", {}), ("101", {"p_id": 1}), ("224", DATA), ("999", DATA))) == []
    assert parsed(batch(("200", OTHER_SHOPS))) == []
    assert of(CaseRequested, parsed(batch(("224", DATA)), tags={"224": "requested"}))


def test_a_batch_gives_each_event_once_in_its_order() -> None:
    events = parsed(batch(("200", DATA), ("200", DATA), ("202", DATA | {"aftersale_status": 7})))
    assert [type(one) for one in events] == [CaseRequested, RequestChanged, RequestChanged]
    assert {one.key for one in parsed(batch(("200", DATA)))} <= {one.key for one in events}


def test_of_two_statuses_in_one_second_the_further_one_is_the_later() -> None:
    asked, paid = (
        of(RequestChanged, parsed(batch((tag, DATA | {"aftersale_status": state}))))[0].at
        for tag, state in (("200", 6), ("206", 12))
    )
    assert asked < paid < asked + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("type_", "kind"), [(0, "return"), (1, "refund"), (2, "refund"), (3, "exchange"), (8, "repair")]
)
def test_the_type_is_the_kind_of_case(type_: int, kind: str) -> None:
    assert of(CaseRequested, parsed(batch(("200", DATA | {"aftersale_type": type_}))))[0].kind == kind
    assert of(CaseRequested, parsed(batch(("200", DATA | {"aftersale_type": 6}))))[0].issue is Issue.PRICE_ADJUSTMENT


def test_the_list_has_reason_and_goods_and_the_detail_words_pictures_and_deadline() -> None:
    listed = of(CaseRequested, parsed(LISTED))[0]
    assert (listed.issue, listed.lines[0].sku) == (Issue.RETURN_REQUEST, "MUG")
    events = parsed(LISTED | {"detail": detail()})
    asked = of(CaseRequested, events)[0]
    assert (asked.key, asked.issue, asked.note) == (
        f"aftersale:{ID}:requested",
        Issue.DAMAGED_IN_TRANSIT,
        "杯子收到就碎了",
    )
    assert of(EvidenceAdded, events)[0].url == INFO["evidence"][0]
    assert of(RequestChanged, events)[0].due_at == datetime(2026, 1, 3, 19, 4, 5, tzinfo=UTC)
    changed = parsed(LISTED | {"detail": detail(update_time=1767294300)})
    assert of(CaseRequested, changed)[0].key != asked.key, "what was changed since is stated anew"


def test_a_parcel_back_is_the_buyers_and_an_ended_request_opens_no_case() -> None:
    sent = {"tracking_no": "sf 123", "company_name": "顺丰", "company_code": "shunfeng", "logistics_time": 1767294400}
    node = detail(after_sale_status=11, after_sale_type=0)
    node["process_info"]["logistics_info"] = {"return": sent}
    parcel = of(ParcelSeen, parsed({"detail": node}))[0].parcel
    assert (parcel.waybill, parcel.carrier, parcel.direction) == ("SF123", "SF", Direction.BACK)
    ended = parsed({"detail": detail(after_sale_status=12, refund_status=3)})
    assert [type(one) for one in ended] == [RequestChanged, RefundSeen]


def test_every_word_of_the_data_file_means_an_issue_and_stands_once() -> None:
    phrases = [phrase for many in table("issues").values() for phrase in many]
    assert len(set(phrases)) == len(phrases)
    assert all(issue(phrase, {}) for phrase in phrases)
    assert issue("破损了", {"破": Issue.QUALITY_DEFECT}) is Issue.QUALITY_DEFECT


@pytest.mark.parametrize("body", [b"{", b"5", b'"x"', b'[{"tag":"200","data":"{"}]', b'[{"tag":"200","data":5}]'])
def test_what_is_no_batch_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        parsed(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["2026-01-02 03:04:05", "12"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(INFO)), inner, max_size=5),
    max_leaves=8,
)


@given(st.sampled_from(sorted(table("tags"))), st.dictionaries(st.sampled_from(sorted(DATA)), JSON), JSON)
def test_any_push_gives_events_or_is_malformed(tag: str, odd: dict, whole) -> None:
    with suppress(Malformed):
        assert all(one.key for one in parsed(batch((tag, DATA | odd))))
    with suppress(Malformed):
        parsed([{"tag": tag, "data": whole}, whole])


@given(st.dictionaries(st.sampled_from(sorted(INFO)), JSON), JSON)
def test_any_listed_request_gives_events_or_is_malformed(odd: dict, whole) -> None:
    with suppress(Malformed):
        assert all(one.key for one in parsed({"detail": detail(**odd)}))
    with suppress(Malformed):
        parsed({"detail": whole, "aftersale_info": whole, "order_info": whole})


# Calls, against the simulator


@pytest.fixture
async def sim() -> AsyncIterator[DouyinSim]:
    async with DouyinSim() as running:
        running.offset = NOON - datetime.now(UTC)
        yield running


@pytest.fixture
async def ctx(sim: DouyinSim) -> AsyncIterator[Context]:
    lent = context(now=sim.now, tokens=MemoryTokens({"access_token": sim.token}))
    yield lent
    await lent.http.aclose()


def at(sim: DouyinSim, **settings) -> Douyin:
    return account(Douyin, **{**sim.account_settings(), **settings})


async def opened(sim: DouyinSim, kind: str = "refund", **asked) -> str:
    return str((await sim.do_open(sim.do_place_order()["order"], kind, **asked))["request"])


def calls(sim: DouyinSim, path: str) -> list[dict]:
    return [one for one in sim.books["calls"] if one["path"] == path]


def pay(id_: str, amount: str = "19.90 CNY") -> PayRefund:
    return PayRefund(request=id_, amount=Money.of(amount))


@pytest.mark.parametrize(
    ("settings", "sub"), [({"app_secret": "wrong"}, "isv.signature"), ({"app_key": "1"}, "isv.app-id")]
)
async def test_refused_credentials_stop_the_account(sim: DouyinSim, ctx: Context, settings: dict, sub: str) -> None:
    with pytest.raises(Unauthorised, match=sub):
        await at(sim, **settings).probe(ctx)


async def test_a_wrong_clock_stops_the_account(sim: DouyinSim, ctx: Context) -> None:
    ctx.now = lambda: sim.now() + timedelta(minutes=11)
    with pytest.raises(Unauthorised, match=r"isv\.timestamp"):
        await at(sim).probe(ctx)


@pytest.mark.parametrize(
    ("code", "sub", "wanted"),
    [
        (60000, "", Unavailable),
        (20000, "isp.service-error:10002", Unavailable),
        (20001, "", Unavailable),
        (30001, "isv.app-permissions-insufficient", Unauthorised),
        (50002, "isv.business-failed:11005", Rejected),
        (99, "", Rejected),
    ],
)
async def test_an_error_inside_a_good_status_is_understood(
    sim: DouyinSim, ctx: Context, code: int, sub: str, wanted: type[Exception]
) -> None:
    sim.do_fail_next(code, sub_code=sub)
    with pytest.raises(wanted, match=str(code)):
        await at(sim).probe(ctx)
    sim.do_fail_next(50002, sub_code="isv.odd-thing")
    with pytest.raises(Unavailable):
        await at(sim, error_meanings={"isv.odd": "busy"}).probe(ctx)


# The token


async def test_the_shops_own_app_gets_its_token_by_itself_and_anew_when_it_is_over(
    sim: DouyinSim, ctx: Context
) -> None:
    ctx.tokens, plugin = MemoryTokens(), at(sim)
    assert "token is good" in await plugin.probe(ctx)
    sim.do_expire_token()
    await plugin.probe(ctx)
    assert sim.books["tokens"] == ["authorization_self"] * 2
    assert (await ctx.tokens.get() or {})["access_token"] == sim.token
    ctx.tokens = MemoryTokens()
    with pytest.raises(Unauthorised, match="code-invalid"):
        await at(sim, shop_id="5").probe(ctx)


async def test_an_app_for_other_shops_needs_consent_and_refreshes(sim: DouyinSim, ctx: Context) -> None:
    page = "https://consent.example/authorize?service_id=7"
    ctx.tokens, plugin = MemoryTokens(), at(sim, self_use=False, consent_url=page)
    assert plugin.authorise_url("https://bridge.example/", "a&b") == f"{page}&state=a%26b"
    assert at(sim).authorise_url("https://bridge.example/", "s") is None
    with pytest.raises(Unauthorised, match="no token yet"):
        await plugin.probe(ctx)
    await ctx.tokens.put(await plugin.exchange({"code": sim.code}, "https://bridge.example/", ctx))
    sim.do_expire_token()
    await plugin.probe(ctx)
    assert sim.books["tokens"] == ["authorization_code", "refresh_token"]
    sim.do_expire_token()
    sim.refresh = "another"
    with pytest.raises(Unauthorised, match="token-expired"):
        await plugin.probe(ctx)


async def test_a_token_that_another_call_renewed_is_taken_as_it_is(sim: DouyinSim, ctx: Context) -> None:
    plugin = at(sim)
    assert await plugin._renewed(ctx, "an older one", "over") == sim.token
    assert sim.books["tokens"] == []


async def test_two_processes_at_once_use_up_one_refresh_token(sim: DouyinSim, ctx: Context) -> None:
    page = "https://consent.example/authorize?service_id=7"
    both = [at(sim, self_use=False, consent_url=page) for _ in range(2)]
    ctx.tokens = MemoryTokens({"access_token": sim.token, "refresh_token": sim.refresh})
    sim.do_expire_token()
    await asyncio.gather(*(one.probe(ctx) for one in both))
    assert sim.books["tokens"] == ["refresh_token"]


# The list


async def test_the_list_finds_what_no_push_told_under_the_same_keys(sim: DouyinSim, ctx: Context) -> None:
    sim.do_drop_next(2)
    first, second = await opened(sim, pictures=["https://img.example.com/1.jpg"]), await opened(sim, "return")
    plugin = at(sim, page=1)
    page = await plugin.listing(ctx, None)
    rest = await plugin.listing(ctx, page.cursor)
    assert (page.more, rest.more) == (True, False)
    assert [one.id for one in (*page.items, *rest.items)] == [f"aftersale:{one}:1767355200" for one in (first, second)]
    events = parsed(page.items[0].body)
    assert of(CaseRequested, events)[0].key == f"aftersale:{first}:requested" and of(EvidenceAdded, events)
    sim.do_fail_next(50002, sub_code="isv.business-failed:1", path="afterSale/Detail")
    alone = await plugin.listing(ctx, None)
    assert of(CaseRequested, parsed(alone.items[0].body))[0].issue is Issue.DAMAGED_IN_TRANSIT


# Orders


async def test_an_order_comes_with_its_parcel_a_masked_buyer_and_amounts_out_of_fen(
    sim: DouyinSim, ctx: Context
) -> None:
    order = sim.do_place_order(paid=3980, pieces=2, received=True)["order"]
    id_ = str((await sim.do_open(order))["request"])
    await sim.do_arbitrate(id_)
    result = await at(sim).fetch_order(FetchOrder(order=order, request=id_), ctx)
    seen = result.events[0]
    assert isinstance(seen, OrderSeen)
    assert (seen.order.id, seen.order.total, seen.order.paid_by) == (order, Money.of("39.80 CNY"), "alipay")
    assert (seen.order.lines[0].price, seen.order.lines[0].sku) == (Money.of("19.90 CNY"), "MUG-01")
    assert seen.order.delivered_at and seen.order.placed_at
    assert (seen.buyer.id, seen.buyer.name, seen.buyer.phone) == ("1@#demo-open-id", None, "138****0000")
    assert [(one.waybill, one.carrier) for one in seen.parcels] == [("YT1234567890123", "YTO")]
    asked = of(CaseRequested, result.events)[0]
    assert asked.reason == "商品破损" and asked.at > datetime.fromtimestamp(
        sim.books["requests"][id_]["apply_time"], UTC
    )
    assert of(Noted, result.events)[0].text == "客服处理中"
    assert (await at(sim).fetch_order(FetchOrder(order=order), ctx)).id == order
    for unknown in (FetchOrder(order="1"), FetchOrder(buyer="x"), FetchOrder(request="5")):
        with pytest.raises(Rejected):
            await at(sim).fetch_order(unknown, ctx)


def test_a_price_that_is_no_whole_number_of_fen_is_not_guessed() -> None:
    line = {"order_id": "1", "item_num": 3, "pay_amount": 1000}
    assert douyin().reader.order(ORDER | {"sku_order_list": [line]}, "k", NOON).order.lines[0].price is None


# Money


@pytest.mark.parametrize(
    ("kind", "fen", "yuan", "operation"),
    [("refund", 1990, "19.90", 201), ("refund", 1, "0.01", 201), ("unshipped", 20000, "200", 401)],
)
async def test_a_refund_in_fen_is_paid_with_the_version_read_right_before(
    sim: DouyinSim, ctx: Context, kind: str, fen: int, yuan: str, operation: int
) -> None:
    id_ = await opened(sim, kind, fen=fen)
    version = sim.books["requests"][id_]["update_time"]
    result = await at(sim).pay_refund(pay(id_, f"{yuan} CNY"), ctx)
    assert sim.books["paid"] == {id_: fen}
    (sent,) = calls(sim, "afterSale/operate")
    assert (sent["type"], sent["items"]) == (operation, [{"aftersale_id": id_, "update_time": version}])
    seen = of(RefundSeen, result.events)[0]
    assert (seen.refund, seen.status, seen.amount) == (id_, RefundStatus.PENDING, Money.of(f"{yuan} CNY").rounded())


@pytest.mark.parametrize("amount", ["1990 CNY", "0.199 CNY", "19.91 CNY", "19.90 USD"])
async def test_an_amount_that_the_buyer_did_not_ask_for_never_leaves(sim: DouyinSim, ctx: Context, amount: str) -> None:
    id_ = await opened(sim)
    with pytest.raises(Rejected):
        await at(sim).pay_refund(pay(id_, amount), ctx)
    assert not calls(sim, "afterSale/operate")


async def test_a_version_overtaken_between_reading_and_paying_is_read_once_more(sim: DouyinSim, ctx: Context) -> None:
    id_ = await opened(sim)
    sim.do_race(id_)
    await at(sim).pay_refund(pay(id_), ctx)
    assert sim.books["paid"] == {id_: 1990} and len(calls(sim, "afterSale/operate")) == 2
    other = await opened(sim)
    sim.do_race(other, 2)
    with pytest.raises(Rejected, match="版本"):
        await at(sim).pay_refund(pay(other), ctx)
    assert other not in sim.books["paid"], "overtaken twice: a person looks"


async def test_an_amount_that_the_buyer_changes_meanwhile_is_not_paid() -> None:
    told = iter(
        [
            ok(**detail()),
            refused(50002, "isv.business-failed:11007"),
            ok(**detail(refund_total_amount=2500, update_time=1767294300)),
        ]
    )
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=next(told)))) as http:
        with pytest.raises(Rejected, match=r"25\.00 CNY"):
            await douyin().pay_refund(PAY, context(http=http, tokens=MemoryTokens(TOKEN)))


async def test_a_refusal_of_the_same_version_is_not_repeated(sim: DouyinSim, ctx: Context) -> None:
    id_ = await opened(sim)
    sim.do_fail_next(50002, sub_code="isv.business-failed:11001", path="afterSale/operate")
    with pytest.raises(Rejected, match="11001"):
        await at(sim).pay_refund(pay(id_), ctx)
    assert len(calls(sim, "afterSale/Detail")) == 2


async def test_what_is_paid_or_on_its_way_is_answered_and_found(sim: DouyinSim, ctx: Context) -> None:
    plugin, id_ = at(sim), await opened(sim)
    assert (await plugin.find_refund(pay(id_), ctx)).happened is False
    await plugin.pay_refund(pay(id_), ctx)
    again = await plugin.pay_refund(pay(id_), ctx)
    assert of(RefundSeen, again.events) and len(calls(sim, "afterSale/operate")) == 1
    await sim.do_arrive(id_)
    found = await plugin.find_refund(pay(id_), ctx)
    assert found.happened and of(RefundSeen, found.result.events)[0].status is RefundStatus.DONE
    taken_back = await opened(sim)
    await sim.do_withdraw(taken_back)
    assert (await plugin.find_refund(pay(taken_back), ctx)).happened is None
    with pytest.raises(Rejected):
        await plugin.pay_refund(PayRefund(order=ORDER_ID, amount=Money.of("1 CNY")), ctx)


async def test_what_may_have_been_paid_is_no_refusal(sim: DouyinSim, ctx: Context) -> None:
    id_ = await opened(sim)
    sim.do_fail_next(20000, sub_code="isp.service-error:1", path="afterSale/operate")
    with pytest.raises(ValueError, match="may have happened"):
        await at(sim).pay_refund(pay(id_), ctx)


@pytest.mark.parametrize(
    ("item", "wanted"), [({"status_code": 7, "status_msg": "售后状态错误"}, Rejected), ({}, ValueError)]
)
async def test_an_answer_that_does_not_say_yes_is_not_taken_for_one(item: dict, wanted: type[Exception]) -> None:
    told = iter([ok(**detail()), ok(items=[{"aftersale_id": int(ID)} | item]), ok(**detail())])
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=next(told)))) as http:
        with pytest.raises(wanted):
            await douyin().pay_refund(PAY, context(http=http, tokens=MemoryTokens(TOKEN)))


async def test_a_payment_stays_done_when_the_look_after_it_fails() -> None:
    done = ok(items=[{"aftersale_id": int(ID), "status_code": 0}])
    told = iter([ok(**detail()), done, refused(60000)])
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=next(told)))) as http:
        result = await douyin().pay_refund(PAY, context(http=http, tokens=MemoryTokens(TOKEN)))
    assert (result.id, result.events) == (ID, ())


# Decisions


async def test_goods_are_agreed_to_come_back_and_the_money_follows_them(sim: DouyinSim, ctx: Context) -> None:
    plugin, id_ = at(sim), await opened(sim, "return")
    approving = ApproveReturn(request=id_)
    with pytest.raises(Rejected, match="no known call to pay"):
        await plugin.pay_refund(pay(id_), ctx)
    assert (await plugin.find_decision(approving, ctx)).happened is False
    result = await plugin.approve_return(approving, ctx)
    assert of(RequestChanged, result.events)[0].status is RequestStatus.APPROVED
    assert (await plugin.find_decision(approving, ctx)).happened is True
    await plugin.approve_return(approving, ctx)
    (sent,) = calls(sim, "afterSale/operate")
    assert (sent["type"], sent["items"][0]["logistics"]) == (101, {"receiver_address_id": 95251})
    await sim.do_send_back(id_)
    result = await plugin.pay_refund(pay(id_), ctx)
    assert of(ParcelSeen, result.events) and sim.books["paid"] == {id_: 1990}
    assert calls(sim, "afterSale/operate")[-1]["type"] == 111


async def test_an_exchange_is_agreed_to_and_its_goods_come_back(sim: DouyinSim, ctx: Context) -> None:
    id_ = await opened(sim, "exchange")
    result = await at(sim).approve_return(ApproveReturn(request=id_), ctx)
    assert of(RequestChanged, result.events)[0].status is RequestStatus.APPROVED
    assert calls(sim, "afterSale/operate")[0]["type"] == 301


async def test_without_goods_to_come_back_the_approval_moves_no_money(sim: DouyinSim, ctx: Context) -> None:
    id_ = await opened(sim)
    result = await at(sim).approve_return(ApproveReturn(request=id_), ctx)
    assert of(RequestChanged, result.events)[0].status is RequestStatus.APPROVED
    assert sim.books["paid"] == {} and not calls(sim, "afterSale/operate")


async def test_what_has_no_call_or_no_address_waits_for_a_person(sim: DouyinSim, ctx: Context) -> None:
    with pytest.raises(Rejected, match="type 8, status 6"):
        await at(sim).approve_return(ApproveReturn(request=await opened(sim, "repair")), ctx)
    with pytest.raises(Rejected, match="no address"):
        await at(sim, receiver_address_id=None).approve_return(ApproveReturn(request=await opened(sim, "return")), ctx)
    with pytest.raises(Rejected, match="decline"):
        await at(sim).decline_return(DeclineReturn(request=await opened(sim, "unshipped")), ctx)
    assert not calls(sim, "afterSale/operate") and not calls(sim, "afterSale/rejectReasonCodeList")


@pytest.mark.parametrize(
    ("kind", "reason", "operation", "chosen"),
    [("refund", "period_ended", 202, 101), ("return", "other", 102, 103), ("exchange", "final_sale", 302, 102)],
)
async def test_a_refusal_carries_words_a_reason_and_its_proof(
    sim: DouyinSim, ctx: Context, kind: str, reason: str, operation: int, chosen: int
) -> None:
    plugin, id_ = at(sim, refuse_pictures=["https://img.example.com/proof.png"]), await opened(sim, kind)
    action = DeclineReturn(request=id_, reason=reason, note="抱歉，已超过七天")
    result = await plugin.decline_return(action, ctx)
    assert of(RequestChanged, result.events)[0].status is RequestStatus.DECLINED
    held = sim.books["requests"][id_]["refused"]
    assert (held["reject_reason_code"], held["remark"]) == (chosen, "抱歉，已超过七天")
    assert bool(held["evidence"]) is (chosen == 102)
    assert calls(sim, "afterSale/operate")[0]["type"] == operation
    assert (await plugin.find_decision(action, ctx)).happened is True
    assert (await plugin.find_decision(ApproveReturn(request=id_), ctx)).happened is None


async def test_a_reason_that_wants_a_proof_is_left_aside_without_one(sim: DouyinSim, ctx: Context) -> None:
    id_ = await opened(sim)
    await at(sim).decline_return(DeclineReturn(request=id_, reason="final_sale"), ctx)
    assert sim.books["requests"][id_]["refused"]["reject_reason_code"] == 101, "the first that wants none"


def test_a_shop_is_named_by_digits() -> None:
    with pytest.raises(ValidationError, match="digits"):
        douyin(shop_id="my shop")


def test_a_message_that_cannot_be_read_takes_no_other_of_its_batch_with_it():
    facts = {"aftersale_id": 7061, "aftersale_status": 6, "aftersale_type": 1, "p_id": 48, "shop_id": 123456}
    facts |= {"refund_amount": 1990, "apply_time": 1767294245, "update_time": 1767294245}
    good = {"tag": "200", "msg_id": "1", "data": json.dumps(facts)}
    bad = {"tag": "216", "msg_id": "2", "data": None}
    plugin = account(Douyin, app_key="k", app_secret="s", shop_id="123456")
    read = [
        [one.key for one in plugin.parse(Inbound("acc", json.dumps(many).encode(), {}, NOON))]
        for many in ([good], [good, bad])
    ]
    assert read[0] == read[1]
    with pytest.raises(Malformed):
        list(plugin.parse(Inbound("acc", json.dumps([bad]).encode(), {}, NOON)))
