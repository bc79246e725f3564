"""Amazon: what is signed, what notifications and reports mean, and what goes out."""

# ruff: noqa: RUF012 - subclassing the contract reads best without annotations
from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from rmabridge_amazon import Amazon
from rmabridge_amazon.door import signed_text
from rmabridge_amazon.reports import table_of, unpacked

from rmabridge.abilities import Inbound, WebRequest
from rmabridge.errors import KeyNeeded, Malformed, Rejected, Unauthorised, Unavailable, Unverified
from rmabridge.model import (
    CaseKind,
    CaseRequested,
    Direction,
    Event,
    FetchOrder,
    Form,
    Issue,
    Noted,
    OrderSeen,
    ParcelSeen,
    RefKind,
    RefundSeen,
    RequestChanged,
    RequestStatus,
    SendMessage,
)
from rmabridge.testing.contexts import NOON, MemoryTokens, account, context
from rmabridge.testing.contract import Call, CallContract, LearnContract, MarketplaceContract
from rmabridge.testing.contract.parsing import stored

TOPIC = "arn:aws:sns:us-east-1:123456789012:rma"
PEM = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123.pem"
KEY, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
ORDER = "114-0000001-0000002"
SETTINGS = {
    "client_id": "amzn1.application-oa2-client.x",
    "client_secret": "amzn1.oa2-cs.v1.secret",
    "refresh_token": "Atzr|consent",
    "seller_id": "A3TESTSELLER00",
    "marketplace_id": "ATVPDKIKX0DER",
    "topics": [TOPIC],
    "queue_url": "https://sqs.us-east-1.amazonaws.com/123456789012/rma",
    "queue_key_id": "AKIDEXAMPLE",
    "queue_secret": "wJalrXUtnFEMI/queue",
}
HEAD = {"AmazonOrderId": ORDER, "OrderStatus": "Unshipped", "LastUpdateDate": "2026-01-02T03:04:00Z"}
LINE = {"OrderItemId": "70000000000001", "SellerSKU": "SKU-1", "Title": "Mug", "QuantityOrdered": 2}
ITEM = LINE | {"ItemPrice": {"CurrencyCode": "USD", "Amount": "39.80"}}
LINKS = {"_links": {"actions": [{"href": "/x", "name": "unexpectedProblem"}], "self": {"href": "/y"}}}
ROW = {
    "order": ORDER,
    "asked_at": "14-Jul-2025",
    "status": "Approved",
    "rma": "DfqRyqfBRRMA",
    "currency": "USD",
    "carrier": "USPS",
    "waybill": "9202090339598363834190",
    "sku": "MUG-01",
    "quantity": "2",
    "reason": "AMZ-PG-WJ-DEFECTIVE",
    "resolution": "StandardRefund",
}


def change(**summary: Any) -> dict[str, Any]:
    """An ORDER_CHANGE; the buyer asks to cancel unless told otherwise."""
    kind = summary.pop("kind", "BuyerRequestedChange")
    item = {"OrderItemId": "70000000000001", "SellerSKU": "SKU-1", "Quantity": 1, "IsBuyerRequestedCancel": True}
    told = {
        "SellerId": "A3TESTSELLER00",
        "AmazonOrderId": ORDER,
        "OrderChangeType": kind,
        "OrderChangeTrigger": {"ChangeReason": "Buyer Requested Change"},
        "Summary": {"MarketplaceId": "ATVPDKIKX0DER", "OrderStatus": "Unshipped", "OrderItems": [item], **summary},
    }
    return {
        "NotificationType": "ORDER_CHANGE",
        "EventTime": "2026-01-02T03:04:05.123Z",
        "Payload": {"OrderChangeNotification": told},
        "NotificationMetadata": {"NotificationId": "00000000-1111-4222-8333-444444444444"},
    }


def message(text: str, key: rsa.RSAPrivateKey = KEY, version: str = "2", **more: str) -> dict[str, str]:
    """A message as SNS signs it, in the test's own few lines."""
    told = {"Type": "Notification", "MessageId": "m-1", "TopicArn": TOPIC, "Message": text}
    told |= {"Timestamp": "2026-01-02T12:00:00.000Z", **more}
    names = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    plain = "".join(f"{name}\n{told[name]}\n" for name in names if name in told)
    digest = hashes.SHA1() if version == "1" else hashes.SHA256()
    mark = base64.b64encode(key.sign(plain.encode(), padding.PKCS1v15(), digest)).decode()
    return told | {"SignatureVersion": version, "Signature": mark, "SigningCertURL": PEM}


def request(told: dict[str, str]) -> WebRequest:
    headers = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": told.get("Type", "")}
    return WebRequest("POST", "/hooks/acc", {}, headers, json.dumps(told).encode())


def certificate() -> bytes:
    """The key as Amazon publishes it."""
    named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = x509.CertificateBuilder().subject_name(named).issuer_name(named).public_key(KEY.public_key())
    made = made.serial_number(1).not_valid_before(NOON - timedelta(days=1)).not_valid_after(NOON + timedelta(days=1))
    return made.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def knowing(**changes: Any) -> Amazon:
    """An account that holds the certificate's key."""
    made = account(Amazon, **{**SETTINGS, **changes})
    made._keys.keep(PEM, KEY.public_key(), NOON - timedelta(hours=2))
    return made


def parsed(body: Any, **changes: Any) -> list[Event]:
    made = account(Amazon, **{**SETTINGS, **changes})
    return list(made.parse(stored(made, json.dumps(body).encode())))


class TestAmazon(MarketplaceContract, CallContract, LearnContract):
    plugin = Amazon
    settings = SETTINGS
    # A valid token, so that the calls themselves are looked at; what a token can do wrong has tests of its own.
    token = {
        "access_token": "Atza|t",
        "expires": "2026-01-02T13:00:00+00:00",
        "for": account(Amazon, **SETTINGS).mark(),
    }

    def account(self, name="acc", **changes):
        made = super().account(name, **changes)
        made._keys.keep(PEM, KEY.public_key(), NOON - timedelta(hours=2))
        return made

    def signed(self, account, now):
        return [request(message(json.dumps(change()))), request(message(json.dumps(change()), version="1"))]

    def unsigned(self, one):
        told = {name: value for name, value in json.loads(one.body).items() if name != "Signature"}
        return replace(one, body=json.dumps(told).encode())

    def signed_part(self, one):
        return range(one.body.index(b'"Message"'), one.body.index(b'"Timestamp"'))

    def inbound(self, account):
        order = {"notification": change(), "order": HEAD, "items": [ITEM]}
        rows = {"return": [ROW, ROW | {"sku": "MUG-02", "refunded": "19.90"}], "told_at": "2026-01-02T11:00:00Z"}
        gone = {"notification": change(OrderStatus="Canceled", kind="x"), "order": HEAD, "items": [ITEM]}
        lost = {"notification": change(EasyShipShipmentStatus="Lost", kind="x")}
        return [
            *super().inbound(account),
            *(stored(account, json.dumps(one).encode()) for one in (order, rows, gone, lost)),
        ]

    # The door has no secret: another key takes the place of another secret, and a certificate's end that of a secret's.
    def test_another_secret_is_refused(self):
        assert self.refused(self.account(), request(message(json.dumps(change()), OTHER)))

    def test_the_old_secret_counts_until_its_end(self):
        made, one = self.account(), self.signed(None, NOON)[0]
        made.verify(one, NOON + timedelta(hours=21))
        with pytest.raises(KeyNeeded):
            made.verify(one, NOON + timedelta(hours=22))

    def test_the_new_secret_counts_at_once_and_after(self):
        made = self.account()
        made._keys.keep(PEM, OTHER.public_key(), NOON)
        made.verify(request(message(json.dumps(change()), OTHER)), NOON)
        assert self.refused(made, self.signed(None, NOON)[0])

    def published(self):
        return (httpx.Response(200, content=certificate()),)

    def calls(self):
        order = ({"payload": HEAD}, {"payload": {"AmazonOrderId": ORDER, "OrderItems": [ITEM]}})
        words = SendMessage(purpose="reply:first:1", form=Form.THREAD, to=ORDER, text="We are looking into it.")
        return [
            Call("fetch_order", FetchOrder(order=ORDER), order),
            Call("send", words, (LINKS, httpx.Response(201, json={})), keyless=True),
        ]


# The door


def test_the_text_that_is_signed_is_the_documented_one() -> None:
    told = {"Type": "Notification", "MessageId": "m-1", "TopicArn": TOPIC, "Message": "hi", "Subject": "s"}
    told |= {"Timestamp": "2026-01-02T03:04:05.000Z", "SignatureVersion": "1"}
    del told["Subject"]
    assert signed_text(told) == (
        b"Message\nhi\nMessageId\nm-1\nTimestamp\n2026-01-02T03:04:05.000Z\n"
        b"TopicArn\narn:aws:sns:us-east-1:123456789012:rma\nType\nNotification\n"
    )


@pytest.mark.parametrize(
    "address",
    [
        PEM.replace("https", "http"),
        "https://sns.us-east-1.amazonaws.com.evil.example/x.pem",
        "https://evil.example/sns.us-east-1.amazonaws.com/x.pem",
        "https://sns.us-east-1.amazonaws.com:8443/x.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/x.pem",
        "https://sns.us-east-1.amazonaws.com/x.pem?y=.pem",
        "https://sns.us-east-1.amazonaws.com/x.txt",
        "https://s3.amazonaws.com/bucket/x.pem",
        "file:///etc/x.pem",
    ],
)
def test_a_certificate_from_elsewhere_is_never_asked_for(address: str) -> None:
    with pytest.raises(Unverified, match="not Amazon's"):
        knowing().verify(request(message("{}") | {"SigningCertURL": address}), NOON)


@pytest.mark.parametrize("region", ["us-east-1.amazonaws.com", "cn-north-1.amazonaws.com.cn"])
def test_a_certificate_that_is_not_held_is_asked_for_by_its_address(region: str) -> None:
    address = f"https://sns.{region}/SimpleNotificationService-1.pem"
    with pytest.raises(KeyNeeded) as needed:
        account(Amazon, **SETTINGS).verify(request(message("{}") | {"SigningCertURL": address}), NOON)
    assert needed.value.name == address


@pytest.mark.parametrize(
    "wrong",
    [
        {"SignatureVersion": "3"},
        {"SignatureVersion": "1"},
        {"Signature": "no base64"},
        {"TopicArn": TOPIC + "2"},
        {"Subject": "added later"},
    ],
)
def test_what_is_not_signed_so_stays_out(wrong: dict[str, str]) -> None:
    with pytest.raises(Unverified):
        knowing().verify(request(message("{}") | wrong), NOON)


def test_raw_delivery_carries_no_signature_and_is_refused() -> None:
    with pytest.raises(Unverified, match="raw delivery"):
        knowing().verify(request(change()), NOON)


def test_no_topic_is_taken_unless_it_is_listed() -> None:
    with pytest.raises(Unverified, match="topics"):
        knowing(topics=[]).verify(request(message("{}")), NOON)


def test_the_spelling_of_functions_and_a_subject_are_understood() -> None:
    told = message("{}", Subject="News")
    told["SigningCertUrl"] = told.pop("SigningCertURL")
    assert knowing().verify(request(told), NOON).id == "m-1"


def test_a_window_refuses_old_messages_where_one_is_set() -> None:
    made = knowing(window="PT1H")
    made.verify(request(message("{}")), NOON)
    with pytest.raises(Unverified):
        made.verify(request(message("{}")), NOON + timedelta(hours=2))


@pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_what_concerns_the_subscription_means_no_event(kind: str) -> None:
    assert parsed(message("You have chosen …", Type=kind, Token="t", SubscribeURL="https://x")) == []


async def test_a_confirmation_with_a_false_signature_confirms_nothing() -> None:
    url = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=t"
    told = message("yes?", OTHER, Type="SubscriptionConfirmation", Token="t", SubscribeURL=url)
    made = knowing()
    with pytest.raises(KeyNeeded) as needed:
        made.verify(request(told), NOON)
    ctx = context(http=httpx.AsyncClient(transport=httpx.MockTransport(lambda _: pytest.fail("a call was made"))))
    with pytest.raises(Unverified, match="signature"):
        await made.learn(needed.value.name, ctx)
    elsewhere = message("yes?", Type="SubscriptionConfirmation", Token="t", SubscribeURL="https://evil.example/?a")
    with pytest.raises(Unverified, match="confirms"):
        await made.learn(json.dumps(elsewhere), ctx)
    await ctx.http.aclose()


# Notifications


def test_a_buyer_who_asks_to_cancel_opens_a_case_with_the_order_as_it_is() -> None:
    reason = {"BuyerRequestedCancel": {"IsBuyerRequestedCancel": "true", "BuyerCancelReason": "Bought twice"}}
    (asked,) = parsed({"notification": change(), "order": HEAD, "items": [ITEM | reason]})
    assert isinstance(asked, CaseRequested)
    assert (asked.kind, asked.issue, asked.reason) == (CaseKind.REFUND, Issue.CANCEL_ORDER, "Bought twice")
    assert asked.order and str(asked.order.lines[0].price) == "19.90 USD"
    assert asked.buyer and asked.buyer.thread == ORDER
    assert [(one.kind, one.value) for one in asked.refs] == [(RefKind.ORDER, ORDER)]
    assert asked.lines[0].order_line == "70000000000001"


def test_both_spellings_and_both_ways_give_the_same_key() -> None:
    def camel(value: Any) -> Any:
        if isinstance(value, dict):
            return {name[0].lower() + name[1:]: camel(one) for name, one in value.items()}
        return [camel(one) for one in value] if isinstance(value, list) else value

    keys = [[one.key for one in parsed(body)] for body in (change(), camel(change()), message(json.dumps(change())))]
    assert keys == [[f"order:{ORDER}:cancel"]] * 3


def test_a_cancelled_order_is_seen_and_a_shipped_one_means_nothing() -> None:
    gone = change(OrderStatus="Canceled", kind="OrderStatusChange")
    (seen,) = parsed({"notification": gone, "order": HEAD | {"OrderStatus": "Canceled"}, "items": [ITEM]})
    assert isinstance(seen, OrderSeen)
    assert seen.order.cancelled_at
    assert parsed({"notification": change(OrderStatus="Shipped", kind="OrderStatusChange")}) == []


def test_a_parcel_of_easy_ship_that_comes_back_is_noted_on_the_order() -> None:
    (noted,) = parsed(change(EasyShipShipmentStatus="ReturningToSeller", kind="OrderStatusChange"))
    assert isinstance(noted, Noted)
    assert "comes back" in noted.text


# The report of returns


def returned(*rows: dict[str, str], **changes: Any) -> dict[type[Event], Event]:
    events = parsed({"return": list(rows), "told_at": "2025-07-15T08:00:00Z"}, **changes)
    return {type(one): one for one in events}


def test_a_row_of_the_report_is_a_return_with_its_parcel() -> None:
    found = returned(ROW)
    asked, parcel, state = found[CaseRequested], found[ParcelSeen], found[RequestChanged]
    assert isinstance(asked, CaseRequested) and isinstance(parcel, ParcelSeen) and isinstance(state, RequestChanged)
    assert (asked.kind, asked.issue, asked.at.date().isoformat()) == (
        CaseKind.RETURN,
        Issue.QUALITY_DEFECT,
        "2025-07-14",
    )
    assert (RefKind.RETURN, "DfqRyqfBRRMA") in [(one.kind, one.value) for one in asked.refs]
    assert (parcel.parcel.direction, parcel.parcel.carrier) == (Direction.BACK, "USPS")
    assert state.status is RequestStatus.APPROVED


def test_several_lines_of_one_return_are_one_request() -> None:
    asked = returned(ROW, ROW | {"sku": "MUG-02", "quantity": "1"})[CaseRequested]
    assert isinstance(asked, CaseRequested)
    assert [(one.sku, one.quantity) for one in asked.lines] == [("MUG-01", 2), ("MUG-02", 1)]


def test_an_ended_return_opens_no_case_but_tells_what_was_paid() -> None:
    found = returned(ROW | {"status": "Completed", "refunded": "21.38"})
    assert CaseRequested not in found
    paid = found[RefundSeen]
    assert isinstance(paid, RefundSeen)
    assert str(paid.amount) == "21.38 USD"


def test_words_of_the_operator_come_before_the_shipped_ones() -> None:
    own = {"return_statuses": {"Approved": "declined"}, "reasons": {"defective": "safety_crisis"}}
    state = returned(ROW, **own)[RequestChanged]
    assert isinstance(state, RequestChanged)
    assert state.status is RequestStatus.DECLINED
    asked = returned(ROW | {"status": "Pending"}, **own)[CaseRequested]
    assert isinstance(asked, CaseRequested)
    assert asked.issue is Issue.SAFETY_CRISIS


def test_a_packed_report_is_read_in_its_own_charset() -> None:
    plain = "Order ID\tItem Name\r\n1\tGläser\r\n\r\n"
    for name, fallback in (("Cp1252", "utf-8"), ("", "cp1252"), ("no-such-charset", "cp1252")):
        packed = gzip.compress(plain.encode("cp1252"))
        assert table_of(unpacked(packed, "GZIP"), name, fallback) == [{"order id": "1", "item name": "Gläser"}]


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"no gzip", gzip.compress(b"x" * 99, mtime=0)[:-9]])
def test_a_report_that_cannot_be_unpacked_is_malformed(content: bytes) -> None:
    for algorithm in ("GZIP", "BROTLI"):
        with pytest.raises(Malformed):
            unpacked(content, algorithm)


@settings(max_examples=60, deadline=None, database=None)
@given(content=st.binary(max_size=200), charset=st.sampled_from(["", "utf-8", "utf-16", "idna", "x"]))
def test_any_bytes_are_a_table_or_malformed(content: bytes, charset: str) -> None:
    try:
        table_of(content, charset, "cp1252")
    except Malformed:
        return


# Calls


class Answers:
    """Answers of one path after another."""

    def __init__(self, **by_path: Any) -> None:
        self.by_path, self.seen = by_path, []  # type: ignore[var-annotated]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        for part, answer in self.by_path.items():
            if part in request.url.path:
                if isinstance(answer, Exception):
                    raise answer
                return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)
        raise AssertionError(request.url)


async def ask(answers: Answers, tokens: MemoryTokens | None = None) -> Any:
    ctx = context(http=httpx.AsyncClient(transport=httpx.MockTransport(answers)), tokens=tokens)
    try:
        return await account(Amazon, **SETTINGS).fetch_order(FetchOrder(order=ORDER), ctx)
    finally:
        await ctx.http.aclose()


TOKEN = {"access_token": "Atza|new", "expires_in": 3600, "token_type": "bearer"}


async def test_a_token_is_fetched_once_and_kept_until_it_is_nearly_dead() -> None:
    tokens = MemoryTokens()
    answers = Answers(token=TOKEN, orderItems={"payload": {"OrderItems": [ITEM]}}, orders={"payload": HEAD})
    await ask(answers, tokens)
    await ask(answers, tokens)
    assert [one.url.path for one in answers.seen].count("/auth/o2/token") == 1
    assert answers.seen[1].headers["x-amz-access-token"] == "Atza|new"
    assert tokens.token is not None
    tokens.token["expires"] = (NOON + timedelta(minutes=1)).isoformat()
    await ask(answers, tokens)
    assert [one.url.path for one in answers.seen].count("/auth/o2/token") == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(400, json={"error": "invalid_grant"}), Unauthorised),
        (httpx.Response(401, json={"error": "invalid_client"}), Unauthorised),
        (httpx.Response(503), Unavailable),
        (httpx.ReadTimeout("late"), Unavailable),
    ],
)
async def test_without_a_token_nothing_was_done(answer: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await ask(Answers(token=answer))


async def test_the_rate_that_amazon_names_becomes_the_pause() -> None:
    refused = httpx.Response(429, headers={"x-amzn-RateLimit-Limit": "0.0167"}, json={"errors": []})
    with pytest.raises(Unavailable) as caught:
        await ask(Answers(token=TOKEN, orders=refused))
    assert caught.value.retry_after == pytest.approx(59.88, abs=0.01)


async def test_refused_credentials_make_the_stored_token_void() -> None:
    tokens = MemoryTokens()
    with pytest.raises(httpx.HTTPStatusError):
        await ask(Answers(token=TOKEN, orders=httpx.Response(403, json={"errors": []})), tokens)
    assert tokens.token == {}


@pytest.mark.parametrize("names", [[], ["confirmServiceDetails"]])
async def test_a_message_that_amazon_does_not_allow_waits_for_a_person(names: list[str]) -> None:
    listed = {"_links": {"actions": [{"name": one} for one in names]}}
    answers = Answers(token=TOKEN, messaging=listed)
    ctx = context(http=httpx.AsyncClient(transport=httpx.MockTransport(answers)))
    words = SendMessage(purpose="p", form=Form.THREAD, to=ORDER, text="x")
    with pytest.raises(Rejected, match="message_kinds"):
        await account(Amazon, **SETTINGS).send(words, ctx)
    await ctx.http.aclose()


def test_a_queue_needs_its_key() -> None:
    with pytest.raises(ValueError, match="queue_secret"):
        account(Amazon, **{**SETTINGS, "queue_secret": None})


def test_a_body_that_is_no_notification_is_malformed() -> None:
    made = account(Amazon, **SETTINGS)
    with pytest.raises(Malformed):
        list(made.parse(Inbound("acc", b"not a notification", {}, NOON)))


@pytest.mark.parametrize(("seller", "heard"), [("MINE", True), ("OTHER", False)])
def test_a_notification_by_sns_about_another_seller_tells_nothing(seller, heard):
    items = [{"OrderItemId": "1", "SellerSKU": "A", "Quantity": 1, "IsBuyerRequestedCancel": True}]
    summary = {"MarketplaceId": "ATVPDKIKX0DER", "OrderStatus": "Unshipped", "OrderItems": items}
    change = {
        "SellerId": seller,
        "AmazonOrderId": "111-1",
        "OrderChangeType": "BuyerRequestedChange",
        "Summary": summary,
    }
    note = {"EventTime": "2026-01-02T03:04:05Z", "Payload": {"OrderChangeNotification": change}}
    body = {"Type": "Notification", "TopicArn": "arn:x", "MessageId": "m", "Message": json.dumps(note)}
    settings = {"client_id": "a", "client_secret": "b", "refresh_token": "c", "topics": ("arn:x",)}
    plugin = account(Amazon, seller_id="MINE", marketplace_id="ATVPDKIKX0DER", **settings)
    assert bool(list(plugin.parse(Inbound("acc", json.dumps(body).encode(), {}, NOON)))) is heard
