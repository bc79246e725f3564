"""Shopify: signatures, webhooks, calls against the simulator over HTTP, and how its refusals are understood."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from rmabridge_shopify import Shopify
from rmabridge_shopify.connecting import TOPICS
from rmabridge_shopify.orders import order
from rmabridge_shopify.parsing import Reader
from rmabridge_shopify.terms import gid

from rmabridge.abilities import Context, Inbound, Item, WebRequest
from rmabridge.core.reduce import reduce
from rmabridge.errors import Malformed, Rejected, Unauthorised, Unavailable, Unverified
from rmabridge.model import (
    ApproveReturn,
    Case,
    CaseKind,
    CaseRequested,
    DeclineReturn,
    Direction,
    FetchOrder,
    Issue,
    Money,
    OrderSeen,
    ParcelSeen,
    ParcelStatus,
    PayRefund,
    RefKind,
    RefundSeen,
    RefundStatus,
    RequestChanged,
    RequestStatus,
)
from rmabridge.testing.contexts import NOON, MemoryTokens, account, context
from rmabridge.testing.simulators.shopify import ShopifySim
from rmabridge.testing.simulators.shopify_shapes import order_body

SHOP, SECRET, TOKEN = "demo.myshopify.com", "shpss_demo_secret", "shpat_demo"
VECTOR = '{"id":5001,"order_id":9001,"note":"尺码不合适"}'.encode()
VECTOR_HMAC = "N/Qo8wtnRFFq9Zn5xO1fBGIthcGI6LogvQRekXZpCNI="
GRAPHQL = f"https://{SHOP}/admin/api/2026-10/graphql.json"
REFUND = {
    "id": 5001,
    "order_id": 9001,
    "created_at": "2026-01-02T03:04:05-05:00",
    "note": "wrong size",
    "refund_line_items": [{"id": 1, "line_item_id": 11, "quantity": 1, "subtotal": 19.5, "total_tax": 1.5}],
    "transactions": [
        {
            "id": 2,
            "kind": "refund",
            "gateway": "shopify_payments",
            "status": "success",
            "amount": "21.00",
            "currency": "USD",
        }
    ],
}


def shopify(**settings) -> Shopify:
    return account(Shopify, **{"shop": SHOP, "secret": SECRET, "access_token": TOKEN, **settings})


def request(body: bytes = VECTOR, topic: str = "refunds/create", **headers: str) -> WebRequest:
    given = {
        "X-Shopify-Topic": topic,
        "X-Shopify-Hmac-Sha256": VECTOR_HMAC,
        "X-Shopify-Shop-Domain": SHOP,
        "X-Shopify-Webhook-Id": "b54557e4",
    }
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return WebRequest("POST", "/hooks/acc", {}, CIMultiDict(given | named), body)


def inbound(body: object, topic: str, **meta: str) -> Inbound:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Inbound("acc", raw, {"topic": topic, **meta}, NOON)


def parsed(body: object, topic: str, **meta: str) -> list:
    return list(shopify().parse(inbound(body, topic, **meta)))


def refs(event) -> dict[str, str]:
    return {ref.kind: ref.value for ref in event.refs}


def item_events(plugin: Shopify, item: Item) -> list:
    return list(plugin.parse(Inbound("acc", item.body, item.meta, NOON)))


# --- signatures


@pytest.mark.row("P06")
def test_the_vector_of_the_fact_sheet_verifies():
    receipt = shopify().verify(request(), NOON)
    assert (receipt.id, receipt.lane, receipt.meta["topic"]) == ("b54557e4", "9001", "refunds/create")


@pytest.mark.row("P06")
@pytest.mark.parametrize("place", range(0, len(VECTOR), 5))
def test_a_flipped_byte_is_refused(place):
    body = bytearray(VECTOR)
    body[place] ^= 1
    with pytest.raises(Unverified):
        shopify().verify(request(bytes(body)), NOON)


@pytest.mark.row("P07")
def test_two_secrets_verify_until_the_old_one_ends():
    plugin = shopify(secret=["shpss_new", {"value": SECRET, "until": NOON}])
    new = shopify(secret="shpss_new").sample("refunds/create", NOON)
    for old in (request(), new):
        assert plugin.verify(old, NOON - timedelta(seconds=1)).id
    assert plugin.verify(new, NOON).id
    with pytest.raises(Unverified):
        plugin.verify(request(), NOON)


def test_white_space_around_the_signature_is_no_part_of_it():
    assert shopify().verify(request(X_Shopify_Hmac_Sha256=f"{VECTOR_HMAC}\n"), NOON).id


def test_a_webhook_made_by_hand_in_the_shop_verifies_with_the_shops_secret():
    plugin = shopify(secret="shpss_other", store_secret=SECRET)
    assert plugin.verify(request(), NOON).id


@pytest.mark.parametrize(
    "bad",
    [
        request(b""),
        request(X_Shopify_Hmac_Sha256=""),
        request(topic=""),
        request(X_Shopify_Shop_Domain="other.myshopify.com"),
        request(X_Shopify_Shop_Domain=""),
        request(X_Shopify_Hmac_Sha256="ключ"),
        WebRequest("POST", "/hooks/acc", {}, {"shopify-hmac-sha256": VECTOR_HMAC, "shopify-topic": "x"}, VECTOR),
    ],
)
def test_what_is_not_whole_or_not_ours_is_refused(bad):
    with pytest.raises(Unverified):
        shopify().verify(bad, NOON)


def test_an_old_trigger_time_is_refused_only_where_a_window_is_set():
    old = request(X_Shopify_Triggered_At=(NOON - timedelta(hours=6)).isoformat())
    assert shopify().verify(old, NOON).meta["triggered_at"]
    with pytest.raises(Unverified):
        shopify(triggered_window="PT5H").verify(old, NOON)


@given(st.binary(max_size=200), st.text(max_size=60))
def test_verify_refuses_any_other_bytes_and_signatures(body, signature):
    with pytest.raises(Unverified):
        shopify().verify(request(b"x" + body, X_Shopify_Hmac_Sha256=signature), NOON)


@pytest.mark.parametrize("name", shopify().samples())
def test_samples_verify_and_open_or_join_a_case(name):
    plugin = shopify()
    sample = plugin.sample(name, NOON)
    receipt = plugin.verify(sample, NOON)
    assert list(plugin.parse(Inbound("acc", sample.body, receipt.meta, NOON)))
    assert plugin.sample("no/such", NOON) is None


# --- webhooks


def test_a_return_request_opens_a_case_with_reason_and_lines():
    body = {
        "id": 930000111,
        "admin_graphql_api_id": "gid://shopify/Return/930000111",
        "order": {"id": 9001},
        "return_line_items": [{"id": 1, "quantity": 2, "return_reason": "defective", "customer_note": "坏了"}],
    }
    (event,) = parsed(body, "returns/request")
    assert isinstance(event, CaseRequested)
    assert (event.key, event.kind, event.issue, event.reason) == (
        "return:930000111:requested",
        CaseKind.RETURN,
        Issue.QUALITY_DEFECT,
        "DEFECTIVE",
    )
    assert refs(event) == {RefKind.RETURN: "930000111", RefKind.ORDER: "9001"}
    assert (event.note, event.lines[0].id, event.lines[0].quantity, event.at) == ("坏了", "1", 2, NOON)


def test_a_return_request_needs_no_more_than_its_id():
    (event,) = parsed({"id": 930000111}, "returns/request", triggered_at="2026-01-02T08:00:00+00:00")
    assert (event.issue, event.at.hour, refs(event)) == (None, 8, {RefKind.RETURN: "930000111"})


@pytest.mark.parametrize(
    ("reason", "issue"),
    [
        ("wrong_item", Issue.WRONG_ITEM),
        ("NOT_AS_DESCRIBED", Issue.NOT_AS_DESCRIBED),
        ("size-too-large", Issue.RETURN_REQUEST),
        ("unwanted", Issue.RETURN_REQUEST),
        ("other", None),
        ("a new one", None),
    ],
)
def test_reasons_become_issues(reason, issue):
    (event,) = parsed({"id": 1, "return_line_items": [{"id": 2, "return_reason": reason}]}, "returns/request")
    assert event.issue is issue


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("approve", RequestStatus.APPROVED),
        ("decline", RequestStatus.DECLINED),
        ("cancel", RequestStatus.CANCELLED),
        ("close", RequestStatus.CLOSED),
        ("reopen", RequestStatus.APPROVED),
    ],
)
def test_a_return_that_moves_is_a_changed_request(what, status):
    (event,) = parsed({"id": 5, "order": {"id": 9}}, f"returns/{what}")
    assert isinstance(event, RequestChanged)
    assert event.status is status
    assert refs(event) == {RefKind.RETURN: "5", RefKind.ORDER: "9"}


def test_reopening_is_not_mistaken_for_the_approval():
    keys = {parsed({"id": 5}, f"returns/{what}", event_id="e1")[0].key for what in ("approve", "reopen")}
    assert len(keys) == 2


def test_a_refund_is_read_to_the_cent():
    (event,) = parsed(REFUND, "refunds/create")
    assert isinstance(event, RefundSeen)
    assert (event.refund, event.amount, event.status) == ("5001", Money.of("21.00 USD"), RefundStatus.DONE)
    assert (event.lines, event.method, refs(event)) == (
        ("11",),
        "shopify_payments",
        {RefKind.REFUND: "5001", RefKind.ORDER: "9001"},
    )
    assert event.at.replace(microsecond=0) == datetime(2026, 1, 2, 8, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("states", "status", "amount"),
    [
        (["success", "success"], RefundStatus.DONE, "20.20 USD"),
        (["success", "pending"], RefundStatus.PENDING, "20.20 USD"),
        (["success", "failure"], RefundStatus.PENDING, "10.10 USD"),
        (["failure", "error"], RefundStatus.FAILED, "20.20 USD"),
    ],
)
def test_a_refund_is_done_when_all_its_money_moved(states, status, amount):
    moved = [{"kind": "refund", "status": state, "amount": "10.10", "currency": "USD"} for state in states]
    (event,) = parsed(REFUND | {"transactions": moved}, "refunds/create")
    assert (event.status, event.amount) == (status, Money.of(amount))


@pytest.mark.parametrize(
    ("payments", "states", "status", "amount"),
    [
        ((7, 7), ["failure", "success"], RefundStatus.DONE, "10.10 USD"),
        ((7, 7), ["failure", "pending"], RefundStatus.PENDING, "10.10 USD"),
        ((7, 7), ["failure", "failure"], RefundStatus.FAILED, "20.20 USD"),
        ((7, 8), ["failure", "success"], RefundStatus.PENDING, "10.10 USD"),
        ((7, 8, 7), ["failure", "success", "success"], RefundStatus.DONE, "20.20 USD"),
    ],
)
def test_a_failed_try_counts_no_longer_once_its_payment_was_given_back(payments, states, status, amount):
    told = list(zip(payments, states, strict=True))
    moved = [
        {"kind": "refund", "status": state, "amount": "10.10", "currency": "USD", "parent_id": parent}
        for parent, state in told
    ]
    (by_webhook,) = parsed(REFUND | {"transactions": moved}, "refunds/create")
    bag, kind = {"presentmentMoney": {"amount": "10.10", "currencyCode": "USD"}}, "OrderTransaction"
    nodes = [
        {
            "kind": "REFUND",
            "status": state.upper(),
            "amountSet": bag,
            "parentTransaction": {"id": gid(kind, str(parent))},
        }
        for parent, state in told
    ]
    (by_call,) = Reader(SHOP).refund({"id": "gid://shopify/Refund/5001", "transactions": nodes}, "9001", NOON)
    for event in (by_webhook, by_call):
        assert (event.status, event.amount) == (status, Money.of(amount))


@pytest.mark.parametrize("moved", [[], [{"kind": "refund", "status": "success", "amount": "0.00", "currency": "USD"}]])
def test_a_mere_restocking_is_no_refund(moved):
    assert parsed(REFUND | {"transactions": moved}, "refunds/create") == []


def test_two_currencies_in_one_refund_cannot_be_read():
    moved = [{"kind": "refund", "status": "success", "amount": "1", "currency": code} for code in ("USD", "EUR")]
    with pytest.raises(Malformed):
        parsed(REFUND | {"transactions": moved}, "refunds/create")


@pytest.mark.parametrize(
    "label",
    [
        {"shipping_deliverable": {"tracking": {"number": "1Z 999-1", "carrier_name": "UPS"}}},
        {"tracking_number": "1Z9991", "tracking_company": "UPS"},
        {"deliverable": {"tracking_info": [{"number": "1z9991", "company": "UPS", "url": None}]}},
    ],
)
def test_a_return_label_is_a_parcel_on_its_way_back(label):
    (event,) = parsed({"id": 7, "return": {"id": 5}, "order_id": 9, **label}, "reverse_deliveries/attach_deliverable")
    assert isinstance(event, ParcelSeen)
    assert (event.parcel.waybill, event.parcel.direction, event.parcel.carrier_name) == (
        "1Z9991",
        Direction.BACK,
        "UPS",
    )
    assert refs(event) == {RefKind.RETURN: "5", RefKind.ORDER: "9", RefKind.WAYBILL: "1Z9991"}


def test_a_label_without_a_number_says_nothing():
    assert parsed({"id": 7, "return": {"id": 5}}, "reverse_deliveries/attach_deliverable") == []


def test_an_order_shows_buyer_amounts_and_parcels():
    body = {
        "id": 9001,
        "name": "#1001",
        "email": "mei@example.com",
        "customer_locale": "zh-CN",
        "created_at": "2025-12-20T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "currency": "USD",
        "total_price": "30.00",
        "total_price_set": {"presentment_money": {"amount": "27.10", "currency_code": "EUR"}},
        "tags": "gift, rush",
        "customer": {"id": 701, "first_name": "Mei", "last_name": "Lin", "tags": "new, vip", "orders_count": 4},
        "line_items": [{"id": 11, "sku": "TEE", "title": "T", "quantity": 2, "price": "15.00"}],
        "fulfillments": [
            {"shipment_status": "delivered", "updated_at": "2025-12-28T00:00:00Z", "tracking_numbers": ["A1234567"]}
        ],
        "shipping_address": {"name": "Mei Lin", "country_code": "DE", "address1": "Weg 1", "zip": "10115"},
    }
    plugin = shopify(tier_tags=["vip"])
    (event,) = plugin.parse(inbound(body, "orders/updated"))
    assert isinstance(event, OrderSeen)
    assert (event.order.id, event.order.number, event.order.total) == ("9001", "#1001", Money.of("27.10 EUR"))
    assert event.order.lines[0].price == Money.of("15.00 USD")
    assert event.order.delivered_at == datetime(2025, 12, 28, tzinfo=UTC)
    assert event.order.tags == ("gift", "rush")
    assert (event.buyer.name, event.buyer.locale, event.buyer.tier, event.buyer.orders) == (
        "Mei Lin",
        "zh-CN",
        "vip",
        4,
    )
    assert (event.parcels[0].waybill, event.parcels[0].status) == ("A1234567", ParcelStatus.DELIVERED)
    assert event.refs[0].url == f"https://{SHOP}/admin/orders/9001"
    assert [one.key for one in plugin.parse(inbound(body, "orders/fulfilled"))] == [event.key]


def test_the_accounts_language_stands_in_for_a_missing_one():
    (event,) = shopify(locale_default="de").parse(inbound({"id": 1}, "orders/updated"))
    assert event.buyer.locale == "de"


def test_a_dispute_opens_a_complaint_and_names_its_due_date():
    body = {
        "id": 900719925474099301,
        "order_id": 9001,
        "type": "chargeback",
        "amount": "21.00",
        "currency": "USD",
        "reason": "fraudulent",
        "evidence_due_by": "2026-01-20T00:00:00-05:00",
        "initiated_at": "2026-01-02T03:04:05-05:00",
    }
    (event,) = parsed(body, "disputes/create")
    assert (event.kind, event.amount) == (CaseKind.COMPLAINT, Money.of("21.00 USD"))
    assert refs(event) == {RefKind.CLAIM: "900719925474099301", RefKind.ORDER: "9001"}
    assert "chargeback: fraudulent; evidence due by 2026-01-20T05:00:00+00:00" in event.note


@pytest.mark.parametrize("topic", ["app/uninstalled", "returns/update", "customers/redact", "", "no/such"])
def test_other_topics_are_no_events(topic):
    assert parsed({"id": 1}, topic) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
WORDS = """
id name status order order_id return transactions refund_line_items return_line_items kind amount currency number
company tracking fulfillments trackingInfo customer url tags createdAt updated_at nodes returns refunds quantity
totalPriceSet lineItems presentmentMoney currencyCode shippingAddress reverseFulfillmentOrders reverseDeliveries
"""
NAMES = st.sampled_from(WORDS.split())
NAMED = st.recursive(
    JSON | st.sampled_from(["gid://shopify/Return/5", "refund", "SUCCESS", "USD", "1.5", "OPEN", 5, "2026-01-02"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)
ALL_TOPICS = st.sampled_from([*TOPICS, "reconcile/order", "app/uninstalled"])


@given(st.binary(max_size=300), ALL_TOPICS)
def test_parse_is_total_on_any_bytes(raw, topic):
    total(raw, topic)


@given(NAMED, ALL_TOPICS)
def test_parse_is_total_on_any_json(value, topic):
    total(json.dumps(value).encode(), topic)


def total(raw: bytes, topic: str) -> None:
    plugin = shopify()
    try:
        first = list(plugin.parse(inbound(raw, topic)))
    except Malformed:
        return
    assert first == list(plugin.parse(inbound(raw, topic)))


# --- against the simulator


@pytest.fixture
async def sim() -> AsyncIterator[ShopifySim]:
    async with ShopifySim() as running:
        yield running


@pytest.fixture
async def ctx(sim) -> AsyncIterator[Context]:
    made = context(now=sim.now)
    yield made
    await made.http.aclose()


@pytest.fixture
def shop(sim) -> Shopify:
    return shopify(url=sim.url, client_id=sim.client_id)


async def asked(sim: ShopifySim, **order) -> tuple[str, str]:
    id_ = sim.do_place_order(**order)["order"]
    return id_, (await sim.do_request_return(id_, "DEFECTIVE", "坏了"))["return"]


async def test_an_order_is_fetched_through_its_return_with_lines_and_worth(sim, ctx, shop):
    order, back = await asked(sim)
    await sim.do_attach_tracking(back, "1Z999", "UPS")
    result = await shop.fetch_order(FetchOrder(request=back), ctx)
    seen, changed, parcel = result.events
    assert (seen.order.id, seen.order.total, seen.buyer.email) == (order, Money.of("21.00 USD"), "mei@example.com")
    assert (seen.buyer.locale, seen.order.delivered_at is not None, len(seen.parcels)) == ("zh-CN", True, 1)
    assert (changed.status, changed.amount) == (RequestStatus.REQUESTED, Money.of("21.00 USD"))
    assert [(line.id, line.order_line) for line in changed.lines] == [("1", "11")]
    assert (parcel.parcel.waybill, parcel.parcel.direction) == ("1Z999", Direction.BACK)


async def test_what_is_fetched_has_other_keys_than_the_webhooks_so_that_it_counts(sim, ctx, shop):
    _, back = await asked(sim)
    fetched = await shop.fetch_order(FetchOrder(request=back), ctx)
    told = shop.reader.webhook("returns/request", {"id": int(back)}, NOON, "")
    assert not {one.key for one in fetched.events} & {one.key for one in told}


@pytest.mark.parametrize("by", [{"order": "9001"}, {"order": "#1001"}, {"order": "1001"}])
async def test_an_order_is_fetched_by_id_or_number(sim, ctx, shop, by):
    sim.do_place_order()
    result = await shop.fetch_order(FetchOrder(**by), ctx)
    assert (result.id, len(result.events)) == ("9001", 1)


@pytest.mark.parametrize("buyer", ["mei@example.com", "702"])
async def test_the_buyers_newest_order_is_fetched(sim, ctx, shop, buyer):
    sim.do_place_order(email="other@example.com")
    sim.do_place_order(number="1002")
    assert (await shop.fetch_order(FetchOrder(buyer=buyer), ctx)).id == "9002"


@pytest.mark.parametrize("action", [FetchOrder(order="77"), FetchOrder(request="77"), FetchOrder()])
async def test_an_order_that_is_not_there_is_rejected(ctx, shop, action):
    with pytest.raises(Rejected):
        await shop.fetch_order(action, ctx)


async def test_an_approval_is_made_found_and_not_made_twice(sim, ctx, shop):
    _, back = await asked(sim)
    action = ApproveReturn(request=back)
    assert (await shop.find_decision(action, ctx)).happened is False
    result = await shop.approve_return(action, ctx)
    assert sim.books["returns"][back]["status"] == "OPEN"
    assert (result.events[0].status, result.events[0].key) == (RequestStatus.APPROVED, f"return:{back}:approved")
    assert (await shop.find_decision(action, ctx)).happened is True
    with pytest.raises(Rejected, match="INVALID_STATE"):
        await shop.approve_return(action, ctx)


async def test_a_refusal_carries_reason_and_words(sim, ctx, shop):
    _, back = await asked(sim)
    action = DeclineReturn(request=back, reason="period_ended", note="30 天已过")
    result = await shop.decline_return(action, ctx)
    assert sim.books["returns"][back]["decline"] == {"reason": "RETURN_PERIOD_ENDED", "note": "30 天已过"}
    assert (result.events[0].status, result.events[0].reason) == (RequestStatus.DECLINED, "30 天已过")
    assert (await shop.find_decision(action, ctx)).happened is True
    assert (await shop.find_decision(ApproveReturn(request=back), ctx)).happened is False
    assert (await shop.find_decision(ApproveReturn(request="77"), ctx)).happened is None


async def test_a_return_is_refunded_once_whatever_is_tried_again(sim, ctx, shop):
    order, back = await asked(sim)
    await shop.approve_return(ApproveReturn(request=back), ctx)
    action = PayRefund(request=back, order=order, amount=Money.of("21.00 USD"), lines=(("1", 1),))
    assert (await shop.find_refund(action, ctx)).happened is False
    paid = await shop.pay_refund(action, ctx)
    again = await shop.pay_refund(action, ctx)
    found = await shop.find_refund(action, ctx)
    assert [(one["amount"], one["return"]) for one in sim.books["refunds"].values()] == [("21.00", back)]
    assert paid == again == found.result
    assert found.happened is True
    assert (paid.id, paid.events[0].status, paid.events[0].amount) == ("5001", RefundStatus.DONE, Money.of("21.00 USD"))


async def test_a_returns_open_lines_are_taken_where_none_are_named(sim, ctx, shop):
    _, back = await asked(sim)
    await shop.approve_return(ApproveReturn(request=back), ctx)
    await shop.pay_refund(PayRefund(request=back, amount=Money.of("5 USD")), ctx)
    assert sim.books["returns"][back]["processed"]


async def test_the_webhook_of_our_own_refund_is_the_same_event(sim, ctx, shop):
    _, back = await asked(sim)
    await shop.approve_return(ApproveReturn(request=back), ctx)
    result = await shop.pay_refund(PayRefund(request=back, amount=Money.of("21.00 USD")), ctx)
    await sim.settled()
    body, headers = sim._sent
    receipt = shop.verify(WebRequest("POST", "/hooks/acc", {}, headers, body), sim.now())
    (told,) = shop.parse(Inbound("acc", body, receipt.meta, NOON))
    (ours,) = result.events
    assert (told.key, told.amount, told.refs) == (ours.key, ours.amount, ours.refs)


async def test_a_refund_without_a_return_sends_its_key_and_is_made_once(sim, ctx, shop):
    order = sim.do_place_order()["order"]
    action = PayRefund(order=order, amount=Money.of("4.50 USD"), lines=(("11", 1),), note="goodwill")
    first = await shop.pay_refund(action, ctx)
    again = await shop.pay_refund(action, ctx)
    assert first.id == again.id == "5001"
    assert sim.books["refunds"]["5001"]["amount"] == "4.50"
    assert sim.books["refunds"]["5001"]["note"] == f"goodwill [{ctx.idempotency_key}]"
    assert (await shop.find_refund(action, ctx)).happened is True


async def test_a_like_refund_of_the_order_by_somebody_else_leaves_it_open(sim, ctx, shop):
    order = sim.do_place_order()["order"]
    action = PayRefund(order=order, amount=Money.of("4.50 USD"))
    await shop.pay_refund(action, ctx)
    other = context(http=ctx.http, key="another-key", now=sim.now)
    assert (await shop.find_refund(action, other)).happened is None
    bigger = action.model_copy(update={"amount": Money.of("5 USD")})
    assert (await shop.find_refund(bigger, other)).happened is False


@pytest.mark.parametrize("amount", ["21.01 USD", "21 EUR"])
async def test_more_than_was_paid_or_other_money_is_not_asked_for(sim, ctx, shop, amount):
    order = sim.do_place_order()["order"]
    with pytest.raises(Rejected):
        await shop.pay_refund(PayRefund(order=order, amount=Money.of(amount)), ctx)
    assert "refundCreate" not in sim.books["calls"]


async def test_a_refund_without_the_idempotency_key_is_refused_by_this_version(sim, ctx):
    order = sim.do_place_order()["order"]
    with pytest.raises(Rejected, match="@idempotent"):
        await shopify(url=sim.url, idempotent_refunds=False).pay_refund(
            PayRefund(order=order, amount=Money.of("1 USD")), ctx
        )


async def test_the_comparison_finds_what_a_lost_webhook_would_have_told(sim, ctx, shop):
    for number in range(3):
        sim.do_place_order(number=str(1000 + number))
    sim.do_drop_next()
    back = (await sim.do_request_return("9002", "WRONG_ITEM", "不是这个"))["return"]
    raw, headers = sim._sent
    lost = list(
        shop.parse(Inbound("acc", raw, shop.verify(WebRequest("POST", "/", {}, headers, raw), sim.now()).meta, NOON))
    )
    page = await shop.listing(ctx, None)
    (item,) = page.items
    events = item_events(shop, item)
    assert not page.more
    assert item.lane == "9002"
    assert events[0] == lost[0].model_copy(update={"lines": events[0].lines})
    assert [line.id for line in events[0].lines] == [line.id for line in lost[0].lines]
    assert back in events[0].key


async def test_the_comparison_knows_refunds_and_decisions_under_their_webhooks_keys(sim, ctx, shop):
    _, back = await asked(sim)
    approved = await shop.approve_return(ApproveReturn(request=back), ctx)
    paid = await shop.pay_refund(PayRefund(request=back, amount=Money.of("21.00 USD")), ctx)
    (item,) = (await shop.listing(ctx, None)).items
    keys = [one.key for one in item_events(shop, item)]
    assert keys[:3] == [f"return:{back}:requested", approved.events[0].key, paid.events[0].key]
    assert keys[3].startswith("order:9001:")


async def test_the_comparison_goes_page_by_page_and_ids_stand_still(sim, ctx):
    plugin = shopify(url=sim.url, page=1)
    for number in range(3):
        await asked(sim, number=str(number))
    pages, cursor = [], None
    for _ in range(3):
        pages.append(await plugin.listing(ctx, cursor))
        cursor = pages[-1].cursor
    assert [page.more for page in pages] == [True, True, False]
    ids = [item.id for page in pages for item in page.items]
    assert len(set(ids)) == 3
    assert (await plugin.listing(ctx, None)).items[0].id == ids[0]


async def test_the_comparison_finds_a_return_that_was_opened_again(sim, ctx, shop):
    case = Case(id="c", shop="s", opened_at=sim.now(), updated_at=sim.now())
    told: set[str] = set()

    async def compared() -> RequestStatus:
        nonlocal case
        (item,) = (await shop.listing(ctx, None)).items
        for one in item_events(shop, item):
            case = case if one.key in told else reduce(case, one, "acc")
            told.add(one.key)
        return case.request.status

    _, back = await asked(sim)
    await shop.approve_return(ApproveReturn(request=back), ctx)
    assert await compared() is RequestStatus.APPROVED
    await sim.do_close_return(back)
    assert await compared() is RequestStatus.CLOSED
    await sim.do_reopen_return(back)
    assert await compared() is RequestStatus.APPROVED
    await sim.do_close_return(back)
    assert await compared() is RequestStatus.CLOSED


async def test_what_was_refunded_is_not_told_as_approved_once_more(sim, ctx, shop):
    _, back = await asked(sim)
    await shop.approve_return(ApproveReturn(request=back), ctx)
    await shop.pay_refund(PayRefund(request=back, amount=Money.of("21.00 USD")), ctx)
    (item,) = (await shop.listing(ctx, None)).items
    assert not [one for one in item_events(shop, item) if "reopened" in one.key]


def test_a_return_that_is_opened_again_is_dated_by_its_change_and_not_by_its_approval():
    body = {"id": 5, "request_approved_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-09T03:04:05Z"}
    (event,) = parsed(body, "returns/reopen")
    assert event.at.isoformat() == "2026-01-09T03:04:05+00:00"


async def test_all_lines_of_a_return_and_of_its_order_are_read(sim, ctx, shop):
    lines = [{"sku": f"S{number}", "quantity": 1, "price": "1.00"} for number in range(57)]
    order, back = await asked(sim, lines=lines)
    seen, changed = (await shop.fetch_order(FetchOrder(request=back), ctx)).events[:2]
    whole = [str(number) for number in range(1, 58)]
    assert [one.id for one in changed.lines] == whole
    assert changed.amount == Money.of("57.00 USD")
    assert len({one.id for one in seen.order.lines}) == 57
    (by_id,) = (await shop.fetch_order(FetchOrder(order=order), ctx)).events
    assert by_id.order.lines == seen.order.lines
    (item,) = (await shop.listing(ctx, None)).items
    listed = item_events(shop, item)
    assert [one.id for one in listed[0].lines] == whole
    assert listed[-1].order.lines == seen.order.lines
    # What was decided comes with one page of lines, which does not stand for all of them.
    assert [one.lines for one in (await shop.approve_return(ApproveReturn(request=back), ctx)).events] == [()]
    await shop.pay_refund(PayRefund(request=back, amount=Money.of("57.00 USD")), ctx)
    assert len(set(sim.books["returns"][back]["taken"])) == 57


async def test_consent_brings_a_token_that_works(sim, ctx, shop):
    address = httpx.URL(shop.authorise_url("https://bridge.example/oauth", "s1"))
    assert (address.path, address.params["state"], address.params["client_id"]) == (
        "/admin/oauth/authorize",
        "s1",
        sim.client_id,
    )
    token = await shop.exchange(sim.do_callback("s1"), "https://bridge.example/oauth", ctx)
    ctx.tokens = MemoryTokens(token)
    assert await shopify(url=sim.url, access_token=None).probe(ctx) == f"Demo ({SHOP})"


@pytest.mark.parametrize("change", [{"shop": "evil.myshopify.com"}, {"code": "x"}, {"hmac": "00"}, {"hmac": ""}])
async def test_a_changed_callback_is_refused(sim, ctx, shop, change):
    with pytest.raises(Unverified):
        await shop.exchange(sim.do_callback("s1") | change, "https://bridge.example/oauth", ctx)


async def test_a_callback_of_two_minutes_ago_is_refused(sim, ctx, shop):
    query = sim.do_callback("s1")
    sim.offset = timedelta(minutes=2)
    with pytest.raises(Unverified):
        await shop.exchange(query, "https://bridge.example/oauth", ctx)


async def test_webhooks_are_registered_once(sim, ctx, shop):
    url = "https://bridge.example/hooks/acc"
    left = await shop.subscribe(url, ctx)
    await shop.subscribe(url, ctx)
    assert len(sim.books["subscriptions"]) == len(TOPICS)
    assert len(left) == 1
    assert "shop/redact" in left[0]


async def test_without_a_token_nothing_is_asked(sim, ctx):
    with pytest.raises(Unauthorised):
        await shopify(url=sim.url, access_token=None).probe(ctx)
    assert sim.books["calls"] == []


async def test_the_simulator_redelivers_with_the_same_id_and_can_be_late(sim):
    order, _ = await asked(sim)
    _, before = sim._sent
    await sim.do_redeliver()
    assert sim._sent[1] == before
    await sim.do_update_order(order, email="new@example.com")
    newer = sim._sent[0]
    await sim.do_send_old(order)
    events = [next(Reader(SHOP).webhook("orders/updated", json.loads(raw), NOON, "")) for raw in (newer, sim._sent[0])]
    assert events[0].at > events[1].at


# --- refusals

THROTTLED = {"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}
INTERNAL = {"errors": [{"message": "Internal error", "extensions": {"code": "INTERNAL_ERROR"}}]}
DENIED = {"errors": [{"message": "Access denied for order field", "extensions": {"code": "ACCESS_DENIED"}}]}
ODD = {"errors": [{"message": "Field 'x' doesn't exist"}]}


@pytest.fixture
async def edge() -> AsyncIterator[Context]:
    made = context()
    yield made
    await made.http.aclose()


@pytest.mark.parametrize(
    ("answer", "error"), [(THROTTLED, Unavailable), (INTERNAL, Unavailable), (DENIED, Unauthorised), (ODD, Rejected)]
)
@respx.mock(using="httpx")
async def test_errors_in_a_good_answer_are_understood(respx_mock, edge, answer, error):
    respx_mock.post(GRAPHQL).respond(json=answer)
    with pytest.raises(error):
        await shopify().probe(edge)


@respx.mock(using="httpx")
async def test_an_internal_error_of_a_mutation_is_no_refusal(respx_mock, edge):
    respx_mock.post(GRAPHQL).respond(json=INTERNAL)
    with pytest.raises(ValueError, match="may have happened"):
        await shopify().approve_return(ApproveReturn(request="5"), edge)


@respx.mock(using="httpx")
async def test_user_errors_name_field_and_code(respx_mock, edge):
    told = [{"field": ["input", "id"], "message": "Return is not in a requested state.", "code": "INVALID_STATE"}]
    respx_mock.post(GRAPHQL).respond(json={"data": {"returnApproveRequest": {"return": None, "userErrors": told}}})
    with pytest.raises(Rejected, match=r"input\.id: Return is not in a requested state\. \[INVALID_STATE\]"):
        await shopify().approve_return(ApproveReturn(request="5"), edge)


@respx.mock(using="httpx")
async def test_a_field_that_is_withheld_leaves_the_rest_readable(respx_mock, edge):
    order = {"id": "gid://shopify/Order/9001", "name": "#1001", "customer": None}
    respx_mock.post(GRAPHQL).respond(json={"data": {"order": order}} | DENIED)
    result = await shopify().fetch_order(FetchOrder(order="9001"), edge)
    assert result.events[0].order.number == "#1001"


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503, 302])
@respx.mock(using="httpx")
async def test_the_status_speaks_for_itself(respx_mock, edge, status):
    respx_mock.post(GRAPHQL).respond(status, headers={"Retry-After": "7", "Location": "https://x.example"})
    with pytest.raises(httpx.HTTPStatusError) as raised:
        await shopify().probe(edge)
    assert raised.value.response.headers["Retry-After"] == "7"


@pytest.mark.parametrize("answer", [b"<html>busy</html>", b"", b"[]", b"{}", b'{"data": null}'])
@respx.mock(using="httpx")
async def test_a_page_instead_of_an_answer_is_neither_success_nor_refusal(respx_mock, edge, answer):
    respx_mock.post(GRAPHQL).respond(200, content=answer)
    with pytest.raises(ValueError):
        await shopify().approve_return(ApproveReturn(request="5"), edge)


@respx.mock(using="httpx")
async def test_the_request_carries_token_version_and_variables(respx_mock, edge):
    door = respx_mock.post(GRAPHQL).respond(json={"data": {"shop": {"name": "Demo", "myshopifyDomain": SHOP}}})
    await shopify().probe(edge)
    sent = door.calls[0].request
    assert sent.headers["X-Shopify-Access-Token"] == TOKEN
    assert json.loads(sent.content)["variables"] == {}


def test_an_action_of_money_is_never_marked_as_repeatable():
    handler = shopify().route(PayRefund(order="1", amount=Money.of("1 USD")))
    assert handler is not None
    assert (handler.repeatable, handler.find is not None) == (False, True)


@pytest.mark.parametrize(
    ("pieces", "off", "price"),
    [(1, ["50.00"], "50.00 USD"), (2, ["10.00", "20.00"], "85.00 USD"), (3, ["0.01"], None), (1, ["free"], None)],
)
def test_a_line_costs_what_is_left_after_all_discounts_by_webhook_and_by_call(pieces, off, price):
    told = {"id": 11, "sku": "COAT", "quantity": pieces, "price": "100.00"}
    told["discount_allocations"] = [{"amount": one, "discount_application_index": 0} for one in off]
    body = {"id": 9001, "updated_at": "2026-01-01T00:00:00Z", "currency": "USD", "line_items": [told]}
    (by_webhook,) = shopify().parse(inbound(body, "orders/updated"))
    bags = [{"presentmentMoney": {"amount": one, "currencyCode": "USD"}} for one in ("100.00", *off)]
    line = {"id": "gid://shopify/LineItem/11", "quantity": pieces, "originalUnitPriceSet": bags[0]}
    line["discountAllocations"] = [{"allocatedAmountSet": one} for one in bags[1:]]
    by_call = order("9001", {"lineItems": {"nodes": [line]}})
    wanted = Money.of(price) if price else None
    assert [one.lines[0].price for one in (by_webhook.order, by_call)] == [wanted, wanted]


async def test_the_simulators_order_is_the_same_by_webhook_and_by_call(sim, ctx, shop):
    lines = [{"sku": "COAT", "quantity": 2, "price": "100.00", "off": "90.00"}]
    placed = sim.do_place_order(lines=lines)["order"]
    (told,) = shop.parse(inbound(order_body(sim.books["orders"][placed]), "orders/updated"))
    seen = (await shop.fetch_order(FetchOrder(order=placed), ctx)).events[0]
    assert told.order.lines == seen.order.lines
    assert told.order.lines[0].price == Money.of("55.00 USD")
    assert told.order.total == Money.of("110.00 USD")


async def test_a_return_that_somebody_refunded_by_hand_is_not_refunded_again(sim, ctx, shop):
    number, back = await asked(sim)
    await shop.approve_return(ApproveReturn(request=back), ctx)
    sim.books["refunds"]["4999"] = {
        "id": "4999",
        "order": number,
        "return": back,
        "amount": "21.00",
        "currency": "USD",
        "note": "by hand",
        "created_at": sim.now().isoformat(),
    }
    with pytest.raises(Rejected, match=r"21\.00 USD refunded for this return already"):
        await shop.pay_refund(PayRefund(request=back, amount=Money.of("21.00 USD")), ctx)
    assert list(sim.books["refunds"]) == ["4999"]


@pytest.mark.parametrize("status", ["success", "failure"])
@pytest.mark.parametrize("id_", range(5001, 5013))
def test_what_came_of_a_refund_counts_whenever_it_is_heard_of(id_, status):
    """Each state has the time at which the refund was begun."""
    made = Case(id="c", shop="s", opened_at=NOON, updated_at=NOON)
    for state in ("pending", status, "pending"):
        paid = [{"kind": "refund", "status": state, "amount": "21.00", "currency": "USD"}]
        (told,) = parsed(REFUND | {"id": id_, "transactions": paid}, "refunds/create")
        made = reduce(made, told, "acc")
    assert made.refunds[0].status == {"success": "done", "failure": "failed"}[status]


def test_an_order_that_changes_twice_in_one_second_brings_its_parcel():
    body = {"id": 9001, "updated_at": "2026-01-01T00:00:00Z", "currency": "USD", "line_items": []}
    sent = [{"id": 1, "tracking_number": "1Z999AA10123456784", "tracking_company": "UPS"}]
    (first,) = shopify().parse(inbound(body, "orders/updated"))
    (second,) = shopify().parse(inbound(body | {"fulfillments": sent}, "orders/fulfilled"))
    assert first.key != second.key
