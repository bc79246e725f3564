"""Taobao: the signature's vectors, the contract, every call against the simulator over HTTP, and yuan against fen."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_taobao import Taobao
from rmabridge_taobao.calls import sign
from rmabridge_taobao.terms import issue, table

from rmabridge.abilities import Context, Inbound
from rmabridge.core.reduce import reduce
from rmabridge.errors import Malformed, Rejected, Unauthorised, Unavailable
from rmabridge.model import (
    ApproveReturn,
    Attachment,
    Author,
    Case,
    CaseKind,
    CaseRequested,
    DeclineReturn,
    Direction,
    FetchOrder,
    Form,
    Issue,
    MessageReceived,
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
    SendMessage,
)
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.contract import Call, ChannelContract, ParseContract
from rmabridge.testing.simulators.taobao import TaobaoSim
from rmabridge.testing.simulators.taobao_doors import sign as vendor_sign

SETTINGS = {"app_key": "12345678", "app_secret": "demo-top-secret", "session": "demo-session"}
REFUND = {
    "refund_id": "987654321",
    "tid": 2100000000000000001,
    "oid": 2100000000000000002,
    "status": "WAIT_SELLER_AGREE",
    "refund_fee": "19.90",
    "reason": "收到商品破损",
    "desc": "杯子收到就碎了",
    "has_good_return": False,
    "dispute_type": "REFUND",
    "refund_phase": "aftersale",
    "refund_version": 1767294245000,
    "refund_remind_timeout": {"exist_timeout": True, "remind_type": 1, "timeout": "2026-01-04 03:04:05"},
    "num": 1,
    "outer_id": "MUG-01",
    "buyer_nick": "t**1",
    "buyer_open_uid": "AAHd-demo",
    "cs_status": 1,
    "created": "2026-01-02 03:04:05",
    "modified": "2026-01-02 03:04:05",
}
CONTENT = {
    "refund_id": 987654321,
    "tid": 2100000000000000001,
    "oid": 2100000000000000002,
    "bill_type": "return_bill",
    "refund_fee": "19.90",
    "refund_phase": "aftersale",
    "buyer_nick": "t**1",
    "buyer_open_uid": "AAHd-demo",
    "seller_nick": "示例旗舰店",
    "modified": "2026-01-02 03:04:05",
}
MESSAGE = {
    "id": 5000000001,
    "refund_id": "987654321",
    "owner_role": "1",
    "owner_nick": "t**1",
    "content": "杯子收到就碎了😀",
    "created": "2026-01-02 03:04:05",
    "pic_urls": {"pic_url": [{"url": "//img.example.com/a.png"}]},
}
FULL = {
    "message": {"topic": "taobao_refund_RefundCreated", "content": CONTENT},
    "refund": REFUND,
    "messages": [MESSAGE],
}
TRADE = {
    "tid": 2100000000000000001,
    "created": "2025-12-28 03:04:05",
    "modified": "2025-12-28 09:04:05",
    "status": "WAIT_BUYER_CONFIRM_GOODS",
    "payment": "19.90",
    "orders": {"order": [{"oid": 2100000000000000002, "num": 1, "payment": "19.90", "title": "马克杯"}]},
}
PAY = PayRefund(request="987654321", amount=Money.of("19.90 CNY"))


def taobao(**settings) -> Taobao:
    return account(Taobao, **{**SETTINGS, "return_address_id": 77, **settings})


def parsed(body: object, **settings) -> list:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(taobao(**settings).parse(Inbound("acc", raw, {}, NOON)))


def of(kind: type, events) -> list:
    return [one for one in events if isinstance(one, kind)]


class TestContract(ParseContract, ChannelContract):
    plugin = Taobao
    settings = SETTINGS | {"return_address_id": 77}
    kinds = ("marketplaces",)

    def inbound(self, account):
        thin = {"message": {"topic": "taobao_refund_RefundSuccess", "content": CONTENT}}
        bodies = [FULL, {"refund": REFUND | {"status": "SUCCESS", "sid": "YT1", "cs_status": 3}}, thin]
        return [Inbound(account.account, json.dumps(one).encode(), {}, NOON) for one in bodies]

    def calls(self):
        held, back = {"refund_get_response": {"refund": REFUND}}, REFUND | {"dispute_type": "REFUND_AND_RETURN"}
        returning, done = {"refund_get_response": {"refund": back}}, {"is_success": True}
        reasons = {
            "refund_refusereason_get_response": {"reasons": {"reason": [{"reason_id": 1, "reason_text": "其他"}]}}
        }
        agreed = {"rp_refunds_agree_response": {"succ": True, "msg_code": "OP_SUCC"}}
        added = {
            "refund_message_add_response": {"refund_message": {"id": 5000000002, "created": "2026-01-02 03:04:05"}}
        }
        trade = {"trade_fullinfo_get_response": {"trade": TRADE}}
        refuse = {"refund_refuse_response": done}
        return [
            Call("pay_refund", PAY, (held, agreed, held), keyless=True),
            Call(
                "approve_return",
                ApproveReturn(request="987654321"),
                (returning, {"rp_returngoods_agree_response": done}, returning),
                keyless=True,
            ),
            Call("decline_return", DeclineReturn(request="987654321"), (held, reasons, refuse, held), keyless=True),
            Call(
                "send", SendMessage(purpose="p", form=Form.THREAD, to="987654321", text="您好"), (added,), keyless=True
            ),
            Call("fetch_order", FetchOrder(request="987654321"), (held, trade)),
        ]


# The signature


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("md5", "CE3BC13264B9741C63B974B36990FCD9"),
        ("hmac", "14F79C6122967E1BB85395BE8037C1BE"),
        ("hmac-sha256", "13F325567AB1A452C1A8351AE8DA84A02B43082645591EBF276D828201491A57"),
    ],
)
def test_a_call_is_signed_as_the_vectors_say_by_plugin_and_simulator(method: str, wanted: str) -> None:
    params = {
        "method": "taobao.refund.get", "app_key": "12345678", "session": "demo-session", "format": "json", "v": "2.0",
        "timestamp": "2026-01-02 03:04:05", "fields": "refund_id,status", "refund_id": "987654321",
        "sign_method": method,
    }  # fmt: skip
    assert sign(params, "demo-top-secret", method) == wanted == vendor_sign(params, "demo-top-secret")
    assert sign(params | {"empty": ""}, "demo-top-secret", method) == wanted


@pytest.mark.evidence("taobao", "vendor_sample")
def test_the_vendors_own_published_example_is_met() -> None:
    params = {
        "method": "taobao.item.seller.get", "app_key": "12345678", "session": "test", "format": "json", "v": "2.0",
        "timestamp": "2016-01-01 12:00:00", "fields": "num_iid,title,nick,price,num", "num_iid": "11223344",
        "sign_method": "md5",
    }  # fmt: skip
    assert sign(params, "helloworld", "md5") == "66987CB115214E59E6EC978214934FB8"


# Reading


def test_a_message_with_its_refund_is_a_request_with_reason_deadline_words_and_pictures() -> None:
    events = parsed(FULL)
    asked, changed, written = (of(one, events)[0] for one in (CaseRequested, RequestChanged, MessageReceived))
    assert (asked.kind, asked.issue, asked.note) == (CaseKind.REFUND, Issue.DAMAGED_IN_TRANSIT, "杯子收到就碎了")
    assert asked.amount == Money.of("19.90 CNY")
    assert (asked.buyer.id, asked.buyer.name, asked.buyer.thread) == ("AAHd-demo", None, "987654321")
    assert {(one.kind, one.value) for one in asked.refs} == {
        (RefKind.RETURN, "987654321"),
        (RefKind.THREAD, "987654321"),
        (RefKind.ORDER, "2100000000000000001"),
    }
    assert asked.at == datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC), "Beijing's time carries no zone"
    assert changed.due_at == datetime(2026, 1, 3, 19, 4, 5, tzinfo=UTC)
    assert (written.message.text, written.message.form, written.message.author) == (
        "杯子收到就碎了😀",
        Form.THREAD,
        Author.BUYER,
    )
    assert written.message.attachments == (
        Attachment(name="5000000001-1.png", media_type="image/png", url="https://img.example.com/a.png"),
    )


def test_a_redelivered_message_and_the_list_have_the_keys_of_the_first_reading() -> None:
    first = {one.key for one in parsed(FULL)}
    assert {one.key for one in parsed({"refund": REFUND, "messages": [MESSAGE]})} == first
    assert len(first) == 3


def test_an_ended_refund_opens_no_case_but_tells_of_the_money() -> None:
    events = parsed({"refund": REFUND | {"status": "SUCCESS"}})
    assert not of(CaseRequested, events)
    assert of(RequestChanged, events)[0].status is RequestStatus.CLOSED
    assert of(RefundSeen, events)[0].amount == Money.of("19.90 CNY")
    assert [type(one) for one in parsed({"refund": REFUND | {"status": "CLOSED"}})] == [RequestChanged]


@pytest.mark.parametrize(
    ("topic", "kinds"),
    [
        ("taobao_refund_RefundCreated", [CaseRequested, RequestChanged]),
        ("taobao_refund_RefundSellerAgreeAgreement", [RequestChanged]),
        ("taobao_refund_RefundSuccess", [RequestChanged, RefundSeen]),
        ("taobao_refund_RefundCreateMessage", []),
        ("taobao_trade_TradeRated", []),
    ],
)
def test_a_message_alone_tells_what_its_topic_says(topic: str, kinds: list[type]) -> None:
    events = parsed({"message": {"topic": topic, "content": json.dumps(CONTENT)}})
    assert [type(one) for one in events] == kinds
    assert all(one.kind is CaseKind.RETURN for one in of(CaseRequested, events))


@pytest.mark.parametrize(
    ("dispute", "kind"),
    [("REFUND_AND_RETURN", "return"), ("TMALL_EXCHANGE", "exchange"), ("REPAIR", "repair"), ("RESHIPPING", "exchange")],
)
def test_the_type_of_dispute_is_the_kind_of_case(dispute: str, kind: str) -> None:
    assert of(CaseRequested, parsed({"refund": REFUND | {"dispute_type": dispute}}))[0].kind == kind


def test_a_parcel_back_arbitration_and_the_sellers_own_words() -> None:
    sent = {"status": "WAIT_SELLER_CONFIRM_GOODS", "sid": "yt 123", "company_name": "圆通速递", "cs_status": 3}
    own = MESSAGE | {"id": 2, "owner_role": "2"}
    events = parsed({"refund": REFUND | sent, "messages": [own, MESSAGE | {"id": 3, "owner_role": "3"}]})
    parcel = of(ParcelSeen, events)[0].parcel
    assert (parcel.waybill, parcel.carrier, parcel.direction) == ("YT123", "YTO", Direction.BACK)
    assert of(Noted, events)[0].text == "客服已经介入"
    assert [one.message.author for one in of(MessageReceived, events)] == [Author.SYSTEM]


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("收到商品破损", Issue.DAMAGED_IN_TRANSIT),
        ("质量问题", Issue.QUALITY_DEFECT),
        ("7天无理由退换货", Issue.RETURN_REQUEST),
        ("未按约定时间发货", Issue.LATE_DELIVERY),
        ("颜色/款式/图案与描述不符", Issue.NOT_AS_DESCRIBED),
        ("卖家发错货", Issue.WRONG_ITEM),
        ("少件/漏发", Issue.MISSING_PARTS),
        ("快递/物流无跟踪记录", Issue.LOST_PARCEL),
        ("假冒品牌", Issue.COUNTERFEIT),
        ("發錯貨了", Issue.WRONG_ITEM),
        ("嗯", None),
        (None, None),
    ],
)
def test_reasons_are_read_by_their_words(reason: str | None, wanted: Issue | None) -> None:
    assert issue(reason, {}) is wanted
    assert issue("破损了", {"破": Issue.QUALITY_DEFECT}) is Issue.QUALITY_DEFECT


def test_every_word_of_the_data_file_means_an_issue_and_stands_once() -> None:
    phrases = [phrase for many in table("issues").values() for phrase in many]
    assert len(set(phrases)) == len(phrases)
    assert all(issue(phrase, {}) for phrase in phrases)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["SUCCESS", "2026-01-02 03:04:05"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(REFUND)), inner, max_size=5),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted({*REFUND, *CONTENT, "sid"})), JSON), st.lists(JSON, max_size=2))
def test_any_refund_gives_events_or_is_malformed(odd: dict, thread: list) -> None:
    try:
        assert all(one.key for one in parsed({"refund": REFUND | odd, "messages": thread}))
        parsed({"message": {"topic": "taobao_refund_RefundCreated", "content": CONTENT | odd}})
    except Malformed:
        pass


# Calls, against the simulator


@pytest.fixture
async def sim() -> AsyncIterator[TaobaoSim]:
    async with TaobaoSim() as running:
        running.offset = NOON - datetime.now(UTC)
        yield running


@pytest.fixture
async def ctx(sim: TaobaoSim) -> AsyncIterator[Context]:
    lent = context(now=sim.now)
    yield lent
    await lent.http.aclose()


def at(sim: TaobaoSim, **settings) -> Taobao:
    return taobao(url=f"{sim.url}/router/rest", allow_private=True, **settings)


def refund(sim: TaobaoSim, kind: str = "REFUND", **asked) -> str:
    return str(sim.do_open_refund(sim.do_place_order()["tid"], kind, **asked)["refund"])


def calls(sim: TaobaoSim, method: str) -> list[dict]:
    return [one for one in sim.books["calls"] if one["method"] == method]


def pay(id_: str, amount: str = "19.90 CNY") -> PayRefund:
    return PayRefund(request=id_, amount=Money.of(amount))


@pytest.mark.parametrize("method", ["md5", "hmac", "hmac-sha256"])
async def test_the_simulator_takes_each_way_to_sign(sim: TaobaoSim, ctx: Context, method: str) -> None:
    assert "session is good" in await at(sim, sign_method=method).probe(ctx)


@pytest.mark.parametrize(
    ("settings", "code"), [({"app_secret": "wrong"}, "25"), ({"session": "old"}, "27"), ({"app_key": "1"}, "29")]
)
async def test_refused_credentials_stop_the_account(sim: TaobaoSim, ctx: Context, settings: dict, code: str) -> None:
    with pytest.raises(Unauthorised, match=f"^{code} "):
        await at(sim, **settings).probe(ctx)


async def test_a_wrong_clock_and_an_expired_session_stop_the_account(sim: TaobaoSim, ctx: Context) -> None:
    ctx.now = lambda: sim.now() + timedelta(minutes=11)
    with pytest.raises(Unauthorised, match="31"):
        await at(sim).probe(ctx)
    ctx.now = sim.now
    sim.do_expire_session()
    with pytest.raises(Unauthorised, match="27 invalid-sessionkey"):
        await at(sim).probe(ctx)


@pytest.mark.parametrize(
    ("code", "sub", "wanted"),
    [
        (7, "", Unavailable),
        (15, "isv.access-limited-by-app-api-access-count", Unavailable),
        (15, "isp.top-remote-connection-timeout-tmall", Unavailable),
        (10, "", Unavailable),
        (26, "", Unauthorised),
        (15, "isv.refund-not-exist", Rejected),
        (40, "isv.missing-parameter", Rejected),
        (99, "", Rejected),
    ],
)
async def test_an_error_inside_a_good_status_is_understood(
    sim: TaobaoSim, ctx: Context, code: int, sub: str, wanted: type[Exception]
) -> None:
    sim.do_fail_next(code, sub_code=sub)
    with pytest.raises(wanted):
        await at(sim).probe(ctx)


async def test_a_ban_says_how_long_and_an_operator_may_know_better(sim: TaobaoSim, ctx: Context) -> None:
    sim.do_fail_next(
        7, "App Call Limited", "accesscontrol.limited-by-app-access-count", "This ban will last for 41 more seconds"
    )
    with pytest.raises(Unavailable) as caught:
        await at(sim).probe(ctx)
    assert caught.value.retry_after == 42
    sim.do_fail_next(15, sub_code="isv.odd-thing")
    with pytest.raises(Unavailable):
        await at(sim, error_meanings={"isv.odd": "busy"}).probe(ctx)


async def test_messages_are_read_with_their_refund_and_confirmed_only_when_told(sim: TaobaoSim, ctx: Context) -> None:
    plugin, id_ = at(sim), refund(sim, pictures=["https://img.example.com/1.jpg"])
    trade = sim.do_tell_trade()
    page = await plugin.poll(ctx, None)
    assert sim.books["permitted"]
    assert [one.id for one in page.items] == ["tmc:7000000000000000001"]
    assert len(sim.books["queue"]) == 2 and not page.more
    events = list(plugin.parse(Inbound("acc", page.items[0].body, {}, NOON)))
    assert [type(one) for one in events] == [CaseRequested, RequestChanged, MessageReceived]
    assert of(MessageReceived, events)[0].message.attachments[0].url == "https://img.example.com/1.jpg"
    again = await plugin.poll(ctx, page.cursor)
    assert again.items == page.items, "what is not confirmed comes again, the same"
    await plugin.confirm(ctx, again)
    assert sim.books["queue"] == [] and trade in sim.books["confirmed"]
    empty = await plugin.poll(ctx, again.cursor)
    await plugin.confirm(ctx, empty)
    assert (empty.items, empty.more, id_ in sim.books["refunds"]) == ((), False, True)
    assert len(calls(sim, "taobao.tmc.messages.confirm")) == 1 == len(calls(sim, "taobao.tmc.user.permit"))


async def test_messages_of_another_seller_stay_in_the_queue(sim: TaobaoSim, ctx: Context) -> None:
    refund(sim)
    sim.do_tell_trade(seller="别家店")
    plugin = at(sim, seller="示例旗舰店", quantity=10)
    await plugin.confirm(ctx, await plugin.poll(ctx, None))
    assert [one["user_nick"] for one in sim.books["queue"]] == ["别家店"]


async def test_a_full_page_asks_for_the_next_and_reads_each_refund_once(sim: TaobaoSim, ctx: Context) -> None:
    id_ = refund(sim)
    for _ in range(10):
        sim.do_say(id_, "在吗")
    page = await at(sim, quantity=10).poll(ctx, "")
    assert page.more and len(page.items) == 10
    assert len(calls(sim, "taobao.refund.get")) == 1


async def test_a_refund_that_taobao_does_not_show_is_told_by_its_message_alone(sim: TaobaoSim, ctx: Context) -> None:
    refund(sim)
    sim.do_fail_next(15, sub_code="isv.refund-not-exist", method="taobao.refund.get")
    page = await at(sim).poll(ctx, "")
    events = parsed(page.items[0].body)
    assert [type(one) for one in events] == [CaseRequested, RequestChanged]
    sim.do_fail_next(40, sub_code="isv.missing-parameter", method="taobao.refund.messages.get")
    events = parsed((await at(sim).poll(ctx, "")).items[0].body)
    assert of(CaseRequested, events)[0].note == "杯子收到就碎了", "the thread alone is missing"
    sim.do_fail_next(15, sub_code="isp.top-remote-connection-timeout", method="taobao.refund.get")
    with pytest.raises(Unavailable):
        await at(sim).poll(ctx, "")


async def test_the_list_finds_what_no_message_told_under_the_same_keys(sim: TaobaoSim, ctx: Context) -> None:
    sim.do_drop_next()
    plugin, id_ = at(sim, page=1), refund(sim)
    refund(sim, "REFUND_AND_RETURN")
    first = await plugin.listing(ctx, None)
    second = await plugin.listing(ctx, first.cursor)
    assert (first.more, second.more) == (True, False)
    listed = parsed(first.items[0].body)
    assert of(CaseRequested, listed)[0].key == f"refund:{id_}:requested"
    assert of(RequestChanged, listed)[0].due_at and of(MessageReceived, listed)
    told = await plugin.poll(ctx, "")
    assert {one.key for one in parsed(told.items[0].body)} == {one.key for one in parsed(second.items[0].body)}


async def test_an_order_comes_with_a_masked_buyer_its_parcels_and_amounts_in_yuan(sim: TaobaoSim, ctx: Context) -> None:
    order = sim.do_place_order(payment="39.80", pieces=2, finished=True)
    id_ = str(sim.do_open_refund(order["tid"])["refund"])
    result = await at(sim).fetch_order(FetchOrder(order=order["tid"], request=id_), ctx)
    seen = result.events[0]
    assert isinstance(seen, OrderSeen) and of(RequestChanged, result.events)
    assert (seen.order.id, seen.order.total) == (order["tid"], Money.of("39.80 CNY"))
    assert seen.order.lines[0].price == Money.of("19.90 CNY") and seen.order.lines[0].sku == "MUG-01"
    assert seen.order.delivered_at and seen.order.placed_at
    assert (seen.buyer.id, seen.buyer.name, seen.buyer.phone) == ("AAHd-demo", None, "138****0000")
    assert [(one.waybill, one.carrier) for one in seen.parcels] == [("SF1234567890123", "SF")]
    by_number = await at(sim).fetch_order(FetchOrder(order=order["tid"]), ctx)
    assert by_number.id == order["tid"]
    for unknown in (FetchOrder(order="1"), FetchOrder(buyer="AAHd-demo"), FetchOrder(request="5")):
        with pytest.raises(Rejected):
            await at(sim).fetch_order(unknown, ctx)


def test_a_price_that_is_no_whole_number_of_fen_is_not_guessed() -> None:
    line = {"oid": 1, "num": 3, "payment": "10.00"}
    body = TRADE | {"orders": {"order": [line]}}
    assert taobao().reader.trade(body, "k", NOON).order.lines[0].price is None


# Yuan and fen


@pytest.mark.parametrize(("fee", "fen"), [("19.90", "1990"), ("0.01", "1"), ("200.00", "20000"), ("1234.5", "123450")])
async def test_a_refund_in_yuan_is_agreed_to_in_fen_with_its_version_and_phase(
    sim: TaobaoSim, ctx: Context, fee: str, fen: str
) -> None:
    id_ = refund(sim, fee=f"{Money.of(f'{fee} CNY').rounded().amount}")
    version = sim.books["refunds"][id_]["refund_version"]
    result = await at(sim).pay_refund(pay(id_, f"{fee} CNY"), ctx)
    assert calls(sim, "taobao.rp.refunds.agree")[0]["refund_infos"] == f"{id_}|{fen}|{version}|aftersale"
    assert sim.books["paid"] == {id_: int(fen)}
    paid = of(RefundSeen, result.events)[0]
    assert (paid.status, paid.amount) == (RefundStatus.DONE, Money.of(f"{fee} CNY"))


@pytest.mark.parametrize("amount", ["1990 CNY", "0.199 CNY", "19.91 CNY", "19.90 USD"])
async def test_an_amount_that_the_buyer_did_not_ask_for_never_leaves(sim: TaobaoSim, ctx: Context, amount: str) -> None:
    id_ = refund(sim)
    with pytest.raises(Rejected):
        await at(sim).pay_refund(pay(id_, amount), ctx)
    assert not calls(sim, "taobao.rp.refunds.agree")


async def test_the_simulator_refuses_yuan_where_fen_are_wanted(sim: TaobaoSim, ctx: Context) -> None:
    id_, plugin = refund(sim), at(sim)
    version = sim.books["refunds"][id_]["refund_version"]
    told = await plugin._act(ctx, "taobao.rp.refunds.agree", refund_infos=f"{id_}|19|{version}|aftersale")
    assert told["results"]["refund_mapping_result"][0]["message"] == "退款金额不一致"
    with pytest.raises(Rejected, match="41"):
        await plugin._act(ctx, "taobao.rp.refunds.agree", refund_infos=f"{id_}|19.90|{version}|aftersale")


# Versions


async def test_a_version_overtaken_between_reading_and_agreeing_is_read_once_more(sim: TaobaoSim, ctx: Context) -> None:
    id_ = refund(sim)
    sim.do_race(id_)
    await at(sim).pay_refund(pay(id_), ctx)
    assert sim.books["paid"] == {id_: 1990}
    assert len(calls(sim, "taobao.rp.refunds.agree")) == 2


async def test_a_version_overtaken_twice_waits_for_a_person(sim: TaobaoSim, ctx: Context) -> None:
    id_ = refund(sim)
    sim.do_race(id_, 2)
    with pytest.raises(Rejected, match="版本"):
        await at(sim).pay_refund(pay(id_), ctx)
    assert sim.books["paid"] == {} and len(calls(sim, "taobao.rp.refunds.agree")) == 2


async def test_an_amount_that_the_buyer_changes_meanwhile_is_not_paid(sim: TaobaoSim, ctx: Context) -> None:
    id_ = refund(sim)
    sim.do_race(id_)
    sim.do_fail_next(15, sub_code="isv.refund-version-error", method="taobao.rp.refunds.agree")
    changed = REFUND | {"refund_id": id_, "refund_fee": "25.00", "refund_version": 2}
    async with httpx.AsyncClient(transport=httpx.MockTransport(_answers(id_, changed))) as http:
        with pytest.raises(Rejected, match=r"25\.00 CNY"):
            await taobao().pay_refund(pay(id_), context(http=http))


def _answers(id_: str, changed: dict):
    told = iter(
        [
            {"refund_get_response": {"refund": REFUND | {"refund_id": id_}}},
            {"error_response": {"code": 15, "sub_code": "isv.refund-version-error"}},
            {"refund_get_response": {"refund": changed}},
        ]
    )
    return lambda _: httpx.Response(200, json=next(told))


async def test_a_refusal_of_the_same_version_is_not_repeated(sim: TaobaoSim, ctx: Context) -> None:
    id_ = refund(sim, "REFUND_AND_RETURN")
    with pytest.raises(Rejected, match="状态"):
        await at(sim).pay_refund(pay(id_), ctx)
    assert len(calls(sim, "taobao.rp.refunds.agree")) == 1


async def test_a_refund_that_is_paid_already_is_answered_and_found(sim: TaobaoSim, ctx: Context) -> None:
    id_, plugin = refund(sim), at(sim)
    assert (await plugin.find_refund(pay(id_), ctx)).happened is False
    sim.do_agree_by_hand(id_)
    result = await plugin.pay_refund(pay(id_), ctx)
    assert of(RefundSeen, result.events) and not calls(sim, "taobao.rp.refunds.agree")
    found = await plugin.find_refund(pay(id_), ctx)
    assert found.happened and found.result.events == result.events
    with pytest.raises(Rejected):
        await plugin.pay_refund(PayRefund(order="1", amount=Money.of("1 CNY")), ctx)


async def test_a_payment_stays_done_when_the_look_after_it_fails(sim: TaobaoSim, ctx: Context) -> None:
    told = iter(
        [
            {"refund_get_response": {"refund": REFUND}},
            {"rp_refunds_agree_response": {"succ": True}},
            {"error_response": {"code": 7, "msg": "App Call Limited"}},
        ]
    )
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=next(told)))) as http:
        result = await taobao().pay_refund(PAY, context(http=http))
    assert (result.id, result.events) == ("987654321", ())


async def test_what_may_have_been_paid_is_no_refusal(sim: TaobaoSim, ctx: Context) -> None:
    id_ = refund(sim)
    sim.do_fail_next(15, sub_code="isp.top-remote-connection-timeout", method="taobao.rp.refunds.agree")
    with pytest.raises(ValueError, match="may have happened"):
        await at(sim).pay_refund(pay(id_), ctx)


# Decisions


async def test_goods_are_agreed_to_come_back_and_the_money_follows(sim: TaobaoSim, ctx: Context) -> None:
    id_, plugin = refund(sim, "REFUND_AND_RETURN"), at(sim)
    sim.do_race(id_)
    approving = ApproveReturn(request=id_)
    assert (await plugin.find_decision(approving, ctx)).happened is False
    result = await plugin.approve_return(approving, ctx)
    assert of(RequestChanged, result.events)[0].status is RequestStatus.APPROVED
    assert (await plugin.find_decision(approving, ctx)).happened is True
    assert calls(sim, "taobao.rp.returngoods.agree")[-1]["seller_address_id"] == "77"
    before = len(calls(sim, "taobao.rp.returngoods.agree"))
    await plugin.approve_return(approving, ctx)
    assert len(calls(sim, "taobao.rp.returngoods.agree")) == before, "agreed already"
    sim.do_send_back(id_)
    result = await plugin.pay_refund(pay(id_), ctx)
    assert of(ParcelSeen, result.events) and sim.books["paid"] == {id_: 1990}


async def test_without_goods_to_come_back_the_approval_moves_no_money(sim: TaobaoSim, ctx: Context) -> None:
    id_ = refund(sim)
    result = await at(sim).approve_return(ApproveReturn(request=id_), ctx)
    assert of(RequestChanged, result.events)[0].status is RequestStatus.APPROVED
    assert sim.books["paid"] == {} and {one["by"] for one in sim.books["calls"]} == {"GET"}


async def test_what_cannot_be_agreed_to_by_call_waits_for_a_person(sim: TaobaoSim, ctx: Context) -> None:
    with pytest.raises(Rejected, match="exchange"):
        await at(sim).approve_return(ApproveReturn(request=refund(sim, "TMALL_EXCHANGE")), ctx)
    plugin = at(sim, return_address_id=None)
    with pytest.raises(Rejected, match="no address"):
        await plugin.approve_return(ApproveReturn(request=refund(sim, "REFUND_AND_RETURN")), ctx)


@pytest.mark.parametrize(("reason", "id_"), [("period_ended", "101"), ("final_sale", "102"), ("other", "103")])
async def test_a_refusal_carries_words_a_reason_and_the_proof(
    sim: TaobaoSim, ctx: Context, tmp_path, reason: str, id_: str
) -> None:
    proof = tmp_path / "proof.png"
    proof.write_bytes(b"\x89PNG....")
    plugin, asked = at(sim, refuse_proof=proof), refund(sim)
    action = DeclineReturn(request=asked, reason=reason, note="抱歉，已超过七天")
    result = await plugin.decline_return(action, ctx)
    assert of(RequestChanged, result.events)[0].status is RequestStatus.DECLINED
    assert sim.books["refunds"][asked]["refused"] == {"reason": id_, "words": "抱歉，已超过七天"}
    assert (await plugin.find_decision(action, ctx)).happened is True
    assert (await plugin.find_decision(ApproveReturn(request=asked), ctx)).happened is None


async def test_tmall_takes_no_refusal_without_proof_and_some_refunds_none_at_all(
    sim: TaobaoSim, ctx: Context, tmp_path
) -> None:
    asked = refund(sim)
    with pytest.raises(Rejected, match="refuse_proof"):
        await at(sim).decline_return(DeclineReturn(request=asked), ctx)
    big = tmp_path / "big.jpg"
    big.write_bytes(b"\xff\xd8" + bytes(130_000))
    with pytest.raises(Rejected, match="larger"):
        await at(sim, refuse_proof=big).decline_return(DeclineReturn(request=asked), ctx)
    sim.books["refunds"][asked]["operation_contraint"] = "cannot_refuse"
    with pytest.raises(Rejected, match="does not let"):
        await at(sim).decline_return(DeclineReturn(request=asked), ctx)
    with pytest.raises(ValidationError):
        taobao(refuse_text="x")


# Words


def words(id_: str, text: str, *attachments: Attachment) -> SendMessage:
    return SendMessage(purpose="p", form=Form.THREAD, to=id_, text=text, attachments=attachments)


async def test_words_are_left_in_the_refunds_thread_and_found_again(sim: TaobaoSim, ctx: Context) -> None:
    id_, plugin = refund(sim), at(sim)
    assert (await plugin.find_message(words(id_, "您好😀"), ctx)).happened is False
    result = await plugin.send(words(id_, "您好😀"), ctx)
    assert (await plugin.find_message(words(id_, "您好😀"), ctx)).result.id == result.id
    assert (await plugin.find_message(words(id_, "杯子收到就碎了"), ctx)).happened is False, "the buyer said that"


async def test_four_hundred_bytes_are_taken_and_one_more_is_refused_before_it_leaves(
    sim: TaobaoSim, ctx: Context
) -> None:
    id_, plugin = refund(sim), at(sim)
    assert plugin.limit(Form.THREAD).bytes == 400
    await plugin.send(words(id_, "字" * 133 + "x"), ctx)
    with pytest.raises(Rejected, match="402 bytes"):
        await plugin.send(words(id_, "字" * 134), ctx)
    with pytest.raises(Rejected, match="400个字节"):
        await plugin._act(ctx, "taobao.refund.message.add", refund_id=id_, content="字" * 134)
    assert len(calls(sim, "taobao.refund.message.add")) == 2


@respx.mock(using="httpx")
async def test_one_picture_goes_with_the_words(respx_mock: respx.MockRouter) -> None:
    url = "https://files.example/a.png"
    respx_mock.get(url).respond(content=b"\x89PNG")
    answer = {"refund_message_add_response": {"refund_message": {"id": 9}}}
    posted = respx_mock.post(taobao().url).respond(json=answer)
    ctx = context()
    png = Attachment(name="a.png", media_type="image/png", url=url)
    assert (await taobao().send(words("1", "看图", png), ctx)).id == "9"
    assert b'name="image"; filename="a.png"' in posted.calls[0].request.content
    with pytest.raises(Rejected, match="larger"):
        await taobao(picture_bytes=2).send(words("1", "看图", png), ctx)
    for bad in ((png, png), (Attachment(name="a.pdf", media_type="application/pdf", url=url),)):
        with pytest.raises(Rejected, match="one JPG"):
            await taobao().send(words("1", "看图", *bad), ctx)
    await ctx.http.aclose()


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        (["WAIT_BUYER_RETURN_GOODS"], RequestStatus.APPROVED),
        (["WAIT_SELLER_AGREE", "CLOSED"], RequestStatus.CANCELLED),
        (["CLOSED", "WAIT_SELLER_AGREE"], RequestStatus.CANCELLED),
        (["SELLER_REFUSE_BUYER", "WAIT_SELLER_AGREE"], RequestStatus.DECLINED),
    ],
)
@pytest.mark.parametrize("number", range(1000, 1012))
def test_of_several_steps_in_one_second_the_furthest_counts(steps, status, number):
    made, at = Case(id="c", shop="s", opened_at=NOON, updated_at=NOON), "2026-01-02 03:04:05"
    plugin = account(Taobao, app_key="k", app_secret="s", session="x")
    for step in steps:
        told = {"refund_id": number, "tid": 21, "status": step, "refund_fee": "19.90", "created": at, "modified": at}
        for one in plugin.parse(Inbound("acc", json.dumps({"refund": told}).encode(), {}, NOON)):
            made = reduce(made, one, "acc")
    assert made.request.status is status
