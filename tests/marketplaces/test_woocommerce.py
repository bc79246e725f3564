"""WooCommerce: signatures and pings, orders as events, and the calls against the simulator over HTTP."""

# ruff: noqa: RUF012 - subclassing the contract reads best without annotations
import base64
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_woocommerce import WooCommerce

from rmabridge.abilities import Context, Inbound, WebRequest
from rmabridge.errors import Malformed, Rejected, Unverified, WrongType
from rmabridge.model import (
    Attachment,
    CaseKind,
    CaseRequested,
    FetchOrder,
    Form,
    Money,
    OrderSeen,
    PayRefund,
    RefundSeen,
    RequestChanged,
    RequestStatus,
    SendMessage,
)
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.contract import Call, CallContract, MarketplaceContract
from rmabridge.testing.simulators.woocommerce import WooCommerceSim

SECRET = "wc_demo_secret"
KEYS = {"consumer_key": "ck_demo", "consumer_secret": "cs_demo", "secret": SECRET}
API = "https://shop.example/store/wp-json/wc/v3"
REFUND = PayRefund(order="9001", amount=Money.of("9.35 EUR"), note="坏了")
NOTE = SendMessage(purpose="reply:first:1", form=Form.THREAD, to="9001", text="您好, a < b & c")


def shop(**changes):
    return account(WooCommerce, "woo", **{"url": "https://shop.example/store", **KEYS, **changes})


def order(**changes):
    return {
        "id": 9001,
        "number": "W-1001",
        "status": "processing",
        "currency": "EUR",
        "total": "29.35",
        "date_created_gmt": "2026-01-01T10:00:00",
        "date_modified": "2026-01-02T19:00:00",
        "date_modified_gmt": "2026-01-02T11:00:00",
        "customer_id": 0,
        "customer_note": "ring twice",
        "billing": {"first_name": "Mei", "last_name": "Lin", "email": "mei@example.com", "phone": "+86138"},
        "shipping": {
            "first_name": "Mei",
            "last_name": "",
            "address_1": "Nanjing Rd 1",
            "city": "上海",
            "country": "CN",
        },
        "payment_method": "stripe",
        "line_items": [{"id": 315, "name": "Mug", "quantity": 3, "total": "10.00", "total_tax": "0.00", "sku": "M"}],
        "refunds": [],
        **changes,
    }


def signed(body, *, secret=SECRET, topic="order.updated", **more):
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    headers = {
        "Content-Type": "application/json",
        "X-WC-Webhook-Topic": topic,
        "X-WC-Webhook-Signature": base64.b64encode(hmac.digest(secret.encode(), raw, "sha256")).decode(),
        "X-WC-Webhook-Delivery-ID": "same-second",
        **more,
    }
    return WebRequest("POST", "/hooks/woo", {}, headers, raw)


def events(body, plugin=None, topic="order.updated"):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list((plugin or shop()).parse(Inbound("woo", raw, {"topic": topic}, NOON)))


class TestContract(MarketplaceContract, CallContract):
    plugin = WooCommerce
    settings = {"url": "https://shop.example/store", **KEYS}

    def signed(self, account, now):
        secret = account.secret[0].value.get_secret_value()
        refunds = [{"id": 5001, "reason": "", "total": "-10.00"}]
        bodies = (order(status="refund-requested"), order(refunds=refunds))
        return [signed(one, secret=secret) for one in bodies]

    def calls(self):
        paid = {"id": 5001, "amount": "9.35", "date_created_gmt": "2026-01-02T12:00:00", "refunded_payment": True}
        return [
            Call("fetch_order", FetchOrder(order="9001"), (order(), [])),
            Call("pay_refund", REFUND, (order(), [], httpx.Response(201, json=paid))),
            Call("send", NOTE, (httpx.Response(201, json={"id": 7, "note": "x"}),), keyless=True),
        ]


# --- the door


VECTOR = '{"id":5001,"order_id":9001,"note":"尺码不合适"}'.encode()
MARK = {"X-WC-Webhook-Signature": "Pf6q9Dyb1a22NbYs9W16rjpi7RePxWpubLxiBCWfAaU="}


@pytest.mark.row("P06")
def test_the_vector_of_the_fact_sheet_verifies():
    assert shop().verify(signed(VECTOR, **MARK), NOON).meta == {"topic": "order.updated"}


@pytest.mark.row("P06")
@pytest.mark.parametrize("place", range(0, len(VECTOR), 5))
def test_a_flipped_byte_is_refused(place):
    body = bytearray(VECTOR)
    body[place] ^= 1
    with pytest.raises(Unverified):
        shop().verify(signed(bytes(body), **MARK), NOON)


@pytest.mark.row("P07")
def test_two_secrets_verify_until_the_old_one_ends():
    plugin = shop(secret=["wc_new", {"value": SECRET, "until": NOON}])
    for secret in (SECRET, "wc_new"):
        assert plugin.verify(signed(order(), secret=secret), NOON - timedelta(seconds=1)).lane
    assert plugin.verify(signed(order(), secret="wc_new"), NOON).lane
    with pytest.raises(Unverified):
        plugin.verify(signed(order()), NOON)


def test_a_delivery_is_known_by_its_body_because_its_id_is_shared_by_all_of_a_second():
    first, second = (shop().verify(signed(order(id=one)), NOON) for one in (9001, 9002))
    assert (first.id, second.id) == (None, None)
    assert (first.lane, second.lane) == ("9001", "9002")


@pytest.mark.parametrize("missing", ["X-WC-Webhook-Topic", "X-WC-Webhook-Signature"])
def test_a_webhook_without_topic_or_signature_is_refused(missing):
    with pytest.raises(Unverified):
        shop().verify(signed(order(), **{missing: ""}), NOON)


def test_a_ping_is_answered_and_everything_else_must_be_signed():
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    ping = WebRequest("POST", "/hooks/woo", {}, form, b"webhook_id=123")
    assert shop().handshake(ping, NOON).status == 200
    for body in (b"webhook_id=123&x=1", b"webhook_id=", b"id=1"):
        other = WebRequest("POST", "/hooks/woo", {}, form, body)
        assert shop().handshake(other, NOON) is None
        with pytest.raises(WrongType):
            shop().verify(other, NOON)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_malformed(body):
    try:
        events(body)
    except Malformed:
        return


@given(
    st.dictionaries(
        st.sampled_from(["id", "status", "total", "currency", "refunds", "line_items", "billing", "date_modified_gmt"]),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=9) | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "total"]), inner),
            max_leaves=8,
        ),
    )
)
def test_any_order_is_read_or_malformed(body):
    try:
        events(body)
    except Malformed:
        return


# --- orders as events


def test_an_order_is_read_with_buyer_lines_and_times_in_utc():
    (seen,) = events(order())
    assert isinstance(seen, OrderSeen)
    told = seen.order
    assert (told.id, told.number, told.total, told.refunded) == (
        "9001",
        "W-1001",
        Money.of("29.35 EUR"),
        Money.of("0 EUR"),
    )
    assert (told.placed_at, seen.at) == (
        datetime(2026, 1, 1, 10, tzinfo=UTC),
        datetime(2026, 1, 2, 11, tzinfo=UTC),
    )
    assert (told.lines[0].sku, told.lines[0].quantity, told.ship_to.city) == ("M", 3, "上海")
    assert (seen.buyer.id, seen.buyer.name, seen.buyer.email) == (None, "Mei Lin", "mei@example.com")
    assert seen.buyer.thread == "9001"


def test_three_pieces_never_cost_more_than_their_line():
    (seen,) = events(order())
    assert seen.order.lines[0].price == Money.of("3.33 EUR")


def test_a_shop_without_decimals_has_prices_without_them():
    line = {"id": 1, "quantity": 2, "total": "1001", "total_tax": "0", "name": "杯"}
    (seen,) = events(order(currency="JPY", total="1001", line_items=[line]))
    assert (seen.order.total, seen.order.lines[0].price) == (Money.of("1001 JPY"), Money.of("500 JPY"))


def test_a_refund_shows_in_the_order_and_keeps_its_key_when_the_order_changes_again():
    refunds = [{"id": 5001, "reason": "x", "total": "-10.00"}]
    refund, seen = events(order(refunds=refunds))
    again, _ = events(order(refunds=refunds, date_modified_gmt="2026-01-02T11:30:00"))
    assert isinstance(refund, RefundSeen)
    assert (refund.refund, refund.amount, refund.method) == ("5001", Money.of("10.00 EUR"), "stripe")
    assert [(one.kind.value, one.value) for one in refund.refs] == [("refund", "5001"), ("order", "9001")]
    assert refund.key == again.key
    assert seen.order.refunded == Money.of("10.00 EUR")


def test_what_changes_within_one_second_is_another_event():
    keys = {
        events(one)[-1].key
        for one in (order(), order(status="completed"), order(refunds=[{"id": 1, "total": "-1.00"}]))
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("status", "kind"), [("return-requested", CaseKind.RETURN), ("refund-requested", CaseKind.REFUND)]
)
def test_a_status_of_a_returns_extension_opens_a_case_once(status, kind):
    asked, _ = events(order(status=status))
    again, _ = events(order(status=status, date_modified_gmt="2026-01-02T11:30:00"))
    assert isinstance(asked, CaseRequested)
    assert (asked.kind, asked.reason, asked.amount, asked.order.id) == (kind, status, None, "9001")
    assert asked.key == again.key


def test_the_whole_order_is_asked_for_where_the_shop_says_so():
    refunds = [{"id": 5001, "total": "-10.00"}]
    asked = events(order(status="refund-requested", refunds=refunds), shop(whole_order=True))[0]
    assert asked.amount == Money.of("19.35 EUR")


def test_the_extensions_answer_is_understood_too():
    told, _ = events(order(status="rma-ok"), shop(statuses={"rma-ok": "approved"}))
    assert isinstance(told, RequestChanged)
    assert told.status is RequestStatus.APPROVED


@pytest.mark.parametrize("topic", ["customer.updated", "product.created", "order.deleted", "action.woocommerce_x", ""])
def test_other_topics_give_nothing(topic):
    assert events({"id": 9001}, topic=topic) == []


def test_an_order_without_an_id_is_malformed():
    with pytest.raises(Malformed):
        events({"status": "processing"})


# --- against the simulator


@pytest.fixture
async def sim() -> AsyncIterator[WooCommerceSim]:
    async with WooCommerceSim() as running:
        yield running


@pytest.fixture
async def ctx(sim) -> AsyncIterator[Context]:
    made = context("woo", now=sim.now)
    yield made
    await made.http.aclose()


@pytest.fixture
def woo(sim) -> WooCommerce:
    return shop(url=sim.url)


@pytest.mark.parametrize("by", [{"order": "9001"}, {"order": "#9001"}, {"order": "W-1001"}])
async def test_an_order_is_fetched_by_id_or_number(sim, ctx, woo, by):
    await sim.do_place_order(number="W-1001")
    result = await woo.fetch_order(FetchOrder(**by), ctx)
    assert (result.id, type(result.events[0])) == ("9001", OrderSeen)


@pytest.mark.parametrize("buyer", ["Mei@example.com", "12"])
async def test_the_buyers_newest_order_is_fetched(sim, ctx, woo, buyer):
    await sim.do_place_order(email="mei@example.com", customer=12)
    newest = await sim.do_place_order(email="mei@example.com", customer=12)
    await sim.do_place_order(email="not-mei@example.com", customer=13)
    wanted = FetchOrder(buyer=buyer.lower())
    assert (await woo.fetch_order(wanted, ctx)).id == newest["order"]


async def test_what_is_fetched_tells_of_refunds_under_their_webhooks_key_and_opens_no_case(sim, ctx, woo):
    id_ = (await sim.do_place_order())["order"]
    refund = (await sim.do_refund(id_, "10.00"))["refund"]
    await sim.do_set_status(id_, "return-requested")
    seen, paid = (await woo.fetch_order(FetchOrder(order=id_), ctx)).events
    assert (type(seen), paid.key) == (OrderSeen, f"refund:{refund}")
    assert ctx.idempotency_key in seen.key


@pytest.mark.parametrize("action", [FetchOrder(order="77"), FetchOrder(order="W-77"), FetchOrder()])
async def test_an_order_that_is_not_there_is_rejected(ctx, woo, action):
    with pytest.raises(Rejected):
        await woo.fetch_order(action, ctx)


async def test_a_refund_is_paid_once_whatever_is_tried_again(sim, ctx, woo):
    await sim.do_place_order()
    assert (await woo.find_refund(REFUND, ctx)).happened is False
    paid = await woo.pay_refund(REFUND, ctx)
    again = await woo.pay_refund(REFUND, ctx)
    found = await woo.find_refund(REFUND, ctx)
    assert sim.books["paid"] == {"9001": ["9.35"]}
    assert paid == again == found.result
    assert (found.happened, paid.note, paid.events[0].amount) == (True, None, Money.of("9.35 EUR"))
    assert sim.books["refunds"]["9001"][0]["reason"] == "坏了"


async def test_a_like_refund_by_somebody_else_leaves_it_open(sim, ctx, woo):
    id_ = (await sim.do_place_order())["order"]
    await sim.do_refund(id_, "9.35")
    assert (await woo.find_refund(REFUND, ctx)).happened is None
    assert (await woo.find_refund(REFUND.model_copy(update={"amount": Money.of("1 EUR")}), ctx)).happened is False


@pytest.mark.parametrize("amount", ["29.36 EUR", "29.35 USD"])
async def test_more_than_was_paid_or_other_money_is_not_asked_for(sim, ctx, woo, amount):
    await sim.do_place_order()
    with pytest.raises(Rejected):
        await woo.pay_refund(PayRefund(order="9001", amount=Money.of(amount)), ctx)
    assert not [one for one in sim.books["calls"] if one.startswith("POST")]


async def test_a_gateway_that_fails_leaves_it_open_whether_money_moved(sim, ctx, woo):
    await sim.do_place_order()
    sim.gateway_works = False
    with pytest.raises(httpx.HTTPStatusError, match="500"):
        await woo.pay_refund(REFUND, ctx)


async def test_a_refund_that_is_only_recorded_says_so(sim, ctx):
    await sim.do_place_order()
    by_hand = shop(url=sim.url, through_gateway=False)
    assert "by hand" in (await by_hand.pay_refund(REFUND, ctx)).note
    assert sim.books["paid"] == {}


@respx.mock(using="httpx")
async def test_a_refusal_of_a_mere_record_is_definite(respx_mock):
    told = {"code": "woocommerce_rest_cannot_create_order_refund", "message": "Invalid refund amount."}
    respx_mock.get(f"{API}/orders/9001").respond(json=order())
    respx_mock.get(f"{API}/orders/9001/refunds").respond(json=[])
    respx_mock.post(f"{API}/orders/9001/refunds").respond(500, json=told)
    lent = context("woo")
    with pytest.raises(Rejected, match="Invalid refund amount"):
        await shop(through_gateway=False).pay_refund(REFUND, lent)
    with pytest.raises(httpx.HTTPStatusError):
        await shop().pay_refund(REFUND, lent)
    await lent.http.aclose()


@respx.mock(using="httpx")
async def test_named_lines_go_back_into_stock_where_the_shop_wants_that(respx_mock):
    respx_mock.get(f"{API}/orders/9001").respond(json=order())
    respx_mock.get(f"{API}/orders/9001/refunds").respond(json=[])
    door = respx_mock.post(f"{API}/orders/9001/refunds").respond(201, json={"id": 1, "amount": "9.35"})
    lent = context("woo")
    await shop(restock=True).pay_refund(REFUND.model_copy(update={"lines": (("315", 2),)}), lent)
    await lent.http.aclose()
    sent = json.loads(door.calls[0].request.content)
    assert sent["line_items"] == [{"id": "315", "quantity": 2, "refund_total": 0}]
    assert (sent["amount"], sent["api_restock"]) == ("9.35", True)


async def test_a_note_for_the_customer_is_written_and_found_again(sim, ctx, woo):
    await sim.do_place_order()
    assert (await woo.find_message(NOTE, ctx)).happened is False
    sent = await woo.send(NOTE, ctx)
    (kept,) = sim.books["notes"]["9001"]
    assert (kept["note"], kept["customer_note"]) == (NOTE.text, True)
    kept["note"] = "您好, a &lt; b\n&amp; c"
    assert (await woo.find_message(NOTE, ctx)).result.id == sent.id
    sim.offset = timedelta(hours=26)
    assert (await woo.find_message(NOTE, ctx)).happened is False


async def test_files_are_named_in_the_note_because_it_carries_none(sim, ctx, woo):
    await sim.do_place_order()
    file = Attachment(name="label.pdf", url="https://files.example.com/1")
    await woo.send(NOTE.model_copy(update={"attachments": (file,)}), ctx)
    assert sim.books["notes"]["9001"][0]["note"].endswith("\nlabel.pdf: https://files.example.com/1")


@pytest.mark.parametrize("to", ["", "9001/../1", "77"])
async def test_an_order_that_is_none_takes_no_note(ctx, woo, to):
    with pytest.raises(Rejected):
        await woo.send(NOTE.model_copy(update={"to": to}), ctx)


async def listed(woo, ctx):
    found, cursor, more = [], None, True
    while more:
        page = await woo.listing(ctx, cursor)
        found, cursor, more = [*found, *page.items], page.cursor, page.more
    return found


async def test_the_comparison_finds_what_a_lost_webhook_would_have_told(sim, ctx, woo):
    for _ in range(60):
        await sim.do_place_order()
    id_ = (await sim.do_place_order())["order"]
    refund = (await sim.do_refund(id_, "10.00"))["refund"]
    (item,) = await listed(woo, ctx)
    paid, seen = woo.parse(Inbound("woo", item.body, item.meta, NOON))
    (hooked, other) = events(json.dumps(sim.books["orders"][id_]).encode())
    assert (item.lane, paid.key) == (id_, f"refund:{refund}")
    assert (paid, seen) == (hooked, other)
    sim.offset = timedelta(days=4)
    assert await listed(woo, ctx) == []


async def test_webhooks_are_registered_once_and_pinged(sim, ctx, woo):
    url = "https://bridge.example/hooks/woo"
    assert await woo.subscribe(url, ctx) == ()
    await woo.subscribe(url, ctx)
    topics = [one["topic"] for one in sim.books["hooks"].values()]
    assert topics == ["order.created", "order.updated", "order.restored"]
    assert {one["secret"] for one in sim.books["hooks"].values()} == {SECRET}


async def test_a_webhook_that_was_disabled_is_told_by_the_probe_and_mended_by_the_comparison(sim, ctx, woo):
    await woo.subscribe(f"{ctx.public_url}/hooks/woo", ctx)
    hook = next(one for one in sim.books["hooks"].values() if one["topic"] == "order.updated")
    assert "3 active webhooks" in await woo.probe(ctx)
    id_ = (await sim.do_place_order())["order"]
    sim.do_drop_next(7)
    for _ in range(7):
        await sim.do_touch(id_)
    assert hook["status"] == "disabled"
    assert "order.updated is disabled" in await woo.probe(ctx)
    await shop(url=sim.url, mend_webhooks=False).listing(ctx, None)
    assert hook["status"] == "disabled"
    await woo.listing(ctx, None)
    assert (hook["status"], hook["failures"]) == ("active", 0)
    hook["status"] = "paused"
    await woo.listing(ctx, None)
    assert hook["status"] == "paused", "a person paused it"
    await woo.subscribe(f"{ctx.public_url}/hooks/woo", ctx)
    assert hook["status"] == "active"


async def test_the_probe_names_topics_without_a_webhook(ctx, woo):
    assert "no webhook order.updated" in await woo.probe(ctx)


async def test_wrong_keys_stop_the_account(sim, ctx):
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        await shop(url=sim.url, consumer_key="ck_wrong").probe(ctx)


async def test_the_simulator_gives_all_deliveries_of_a_second_one_id(sim):
    sim.hook = "http://127.0.0.1:9/"
    await sim.do_place_order()
    before = sim._sent
    sim.now = lambda: NOON
    await sim.do_place_order()
    first = sim._sent
    await sim.do_place_order()
    assert first[1]["X-WC-Webhook-Delivery-ID"] == sim._sent[1]["X-WC-Webhook-Delivery-ID"]
    assert before[1]["X-WC-Webhook-Delivery-ID"] != first[1]["X-WC-Webhook-Delivery-ID"]


def test_an_action_of_money_is_never_marked_as_repeatable():
    handler = shop().route(REFUND)
    assert (handler.repeatable, handler.find is not None) == (False, True)


async def test_where_an_orders_number_is_anothers_id_it_is_the_buyers_that_is_meant(sim, ctx, woo):
    other = (await sim.do_place_order(email="stranger@example.com", number="500"))["order"]
    mine = (await sim.do_place_order(email="mei@example.com", number=other))["order"]
    await sim.do_place_order(email="eve@example.com", number="501", customer=int(mine))
    found = {}
    for buyer in ("mei@example.com", "stranger@example.com"):
        found[buyer] = (await woo.fetch_order(FetchOrder(order=other, buyer=buyer), ctx)).id
    assert found == {"mei@example.com": mine, "stranger@example.com": other}
    with pytest.raises(Rejected):
        await woo.fetch_order(FetchOrder(order=other), ctx)
    assert (await woo.fetch_order(FetchOrder(order=mine, buyer="mei@example.com"), ctx)).id == mine
    assert (await woo.fetch_order(FetchOrder(order="500"), ctx)).id == other
    third = (await sim.do_place_order(email="stranger@example.com", number="502"))["order"]
    with pytest.raises(Rejected):  # a number that was mistyped is nobody's, though it is somebody's id
        await woo.fetch_order(FetchOrder(order=third, buyer="mei@example.com"), ctx)
