"""eBay: what is signed, what returns, inquiries and cases mean, and what goes out."""

# ruff: noqa: RUF012 - subclassing the contract reads best without annotations
from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import respx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from rmabridge_ebay import Ebay
from rmabridge_ebay.door import read_signature

from rmabridge.abilities import Inbound, WebRequest
from rmabridge.core.reduce import reduce
from rmabridge.errors import KeyNeeded, Rejected, Unauthorised, Unavailable, Unverified
from rmabridge.model import (
    ApproveReturn,
    Case,
    CaseKind,
    CaseRequested,
    DeclineReturn,
    Direction,
    Event,
    FetchOrder,
    Form,
    Issue,
    MessageReceived,
    Money,
    Noted,
    ParcelSeen,
    ParcelStatus,
    PayRefund,
    RefKind,
    RefundSeen,
    RequestChanged,
    RequestStatus,
    SendMessage,
)
from rmabridge.testing.contexts import NOON, MemoryTokens, account, context
from rmabridge.testing.contract import Call, CallContract, LearnContract, MarketplaceContract
from rmabridge.testing.contract.parsing import stored

KEY, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
KID = "9936261a-7d7b-4621-a0f1-96ccb428af49"
SETTINGS = {
    "client_id": "App-ID",
    "client_secret": "PRD-cert-secret",
    "refresh_token": "v^1.1#consent",
    "verification_token": "demo-verification-token-0123456789",
    "endpoint": "https://relay.example.com/ebay",
}
DELETION = {
    "metadata": {"topic": "MARKETPLACE_ACCOUNT_DELETION", "schemaVersion": "1.0", "deprecated": False},
    "notification": {
        "notificationId": "49feeaeb-4982_42d9",
        "eventDate": "2026-01-02T03:04:05.000Z",
        "publishAttemptCount": 1,
        "data": {"username": "test_user", "userId": "ma8vp1jySJC", "eiasToken": "nY+sHZ2PrBmdj6w="},
    },
}
USD = {"currency": "USD"}
SUMMARY = {
    "returnId": "5001234567",
    "orderId": "12-34567-89012",
    "state": "RETURN_REQUESTED",
    "status": "RETURN_REQUESTED",
    "currentType": "MONEY_BACK",
    "buyerLoginName": "test_buyer",
    "creationInfo": {
        "item": {"itemId": "110001", "transactionId": "220002", "returnQuantity": 1},
        "reason": "ARRIVED_DAMAGED",
        "comments": {"content": "It arrived broken"},
        "creationDate": {"value": "2026-01-01T10:00:00.000Z"},
    },
    "sellerTotalRefund": {"estimatedRefundAmount": {"value": 24.00, **USD}},
    "sellerResponseDue": {
        "activityDue": "SELLER_APPROVE_REQUEST",
        "respondByDate": {"value": "2026-01-05T07:59:59.000Z"},
    },
}
PARTS = [
    {"refundFeeType": "PURCHASE_PRICE", "estimatedAmount": {"value": 19.90, **USD}},
    {"refundFeeType": "ORIGINAL_SHIPPING", "estimatedAmount": {"value": 4.10, **USD}},
]
DETAIL = SUMMARY | {
    "itemDetail": {"sku": "MUG-01", "itemTitle": "Mug"},
    "refundInfo": {"estimatedRefundDetail": {"itemizedRefundDetails": PARTS}},
    "responseHistory": [
        {
            "author": "BUYER",
            "notes": "It arrived broken",
            "creationDate": {"value": "2026-01-01T10:00:00.000Z"},
        },
        {"author": "BUYER", "notes": "Any news?", "creationDate": {"value": "2026-01-01T18:00:00.000Z"}},
        {"author": "SELLER", "notes": "Yes", "creationDate": {"value": "2026-01-01T19:00:00.000Z"}},
    ],
    "returnShipmentInfo": {"allShipmentTrackings": [{"trackingNumber": "1Z999AA10123456784", "carrierUsed": "UPS"}]},
}
INQUIRY = {
    "inquiryId": "5007",
    "itemId": "110001",
    "transactionId": "220002",
    "buyer": "test_buyer",
    "claimAmount": {"value": 24.00, **USD},
    "inquiryStatusEnum": "WAITING_SELLER_RESPONSE",
    "creationDate": {"value": "2026-01-01T10:00:00.000Z"},
    "respondByDate": {"value": "2026-01-05T07:59:59.000Z"},
}
CASE = {
    "caseId": "5009",
    "itemId": "110001",
    "transactionId": "220002",
    "caseType": "INR",
    "caseStatusEnum": "OPEN",
    "claimAmount": {"value": 24.00, **USD},
    "creationDate": {"value": "2026-01-03T10:00:00.000Z"},
}


def header(body: bytes, key: ec.EllipticCurvePrivateKey = KEY, digest: str = "SHA1", kid: str = KID) -> str:
    """``X-EBAY-SIGNATURE``, in the test's own few lines."""
    used = hashes.SHA1() if digest == "SHA1" else hashes.SHA256()
    mark = base64.b64encode(key.sign(body, ec.ECDSA(used))).decode()
    told = {"alg": "ecdsa", "kid": kid, "signature": mark, "digest": digest}
    return base64.b64encode(json.dumps(told).encode()).decode()


def request(told: Any = DELETION, key: ec.EllipticCurvePrivateKey = KEY, digest: str = "SHA1") -> WebRequest:
    body = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json", "X-EBAY-SIGNATURE": header(body, key, digest)}
    return WebRequest("POST", "/hooks/acc", {}, headers, body)


def published(key: ec.EllipticCurvePrivateKey = KEY, digest: str = "SHA1") -> dict[str, str]:
    """The key as eBay publishes it: PEM without its line breaks."""
    raw = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {"key": raw.decode().replace("\n", ""), "algorithm": "ECDSA", "digest": digest}


def knowing(digest: str = "SHA1", **changes: Any) -> Ebay:
    made = account(Ebay, **{**SETTINGS, **changes})
    made._keys.keep(KID, (KEY.public_key(), digest), NOON)
    return made


def parsed(body: Any, **changes: Any) -> list[Event]:
    made = account(Ebay, **{**SETTINGS, **changes})
    return list(made.parse(stored(made, json.dumps(body).encode())))


def by_type(events: list[Event]) -> dict[type[Event], Any]:
    return {type(one): one for one in events}


class Answers:
    """Answers of one path after another."""

    def __init__(self, **by_path: Any) -> None:
        self.by_path: dict[str, Any] = by_path
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        for part, answer in self.by_path.items():
            if part in request.url.path:
                if isinstance(answer, Exception):
                    raise answer
                return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)
        raise AssertionError(request.url)

    def context(self, tokens: MemoryTokens | None = None) -> Any:
        return context(http=httpx.AsyncClient(transport=httpx.MockTransport(self)), tokens=tokens)


TOKEN = {"access_token": "v^1.1#new", "expires_in": 7200, "token_type": "User Access Token"}


class TestEbay(MarketplaceContract, CallContract, LearnContract):
    plugin = Ebay
    settings = SETTINGS
    # A valid token, so that the calls themselves are looked at; what a token can do wrong has tests of its own.
    token = {
        "seller": "v^1.1#t",
        "seller_until": "2026-01-02T13:00:00+00:00",
        "for": account(Ebay, **SETTINGS).mark(),
    }

    def account(self, name="acc", **changes):
        made = super().account(name, **changes)
        made._keys.keep(KID, (KEY.public_key(), "SHA1"), NOON + timedelta(hours=2))
        return made

    def signed(self, account, now):
        return [request()]

    def inbound(self, account):
        searched = ({"return": SUMMARY, "detail": DETAIL}, {"inquiry": INQUIRY}, {"case": CASE})
        return [*super().inbound(account), *(stored(account, json.dumps(one).encode()) for one in searched)]

    def published(self):
        return (TOKEN, published())

    def foreign(self, request, hosts):
        kids = ("https://elsewhere.example/k", "//elsewhere.example/k", "@elsewhere.example", "../../../k")
        heads = [{**request.headers, "X-EBAY-SIGNATURE": header(request.body, kid=one)} for one in kids]
        return [replace(request, headers=one) for one in heads]

    # The door has no secret: another key takes the place of another secret, and a key's life that of a secret's.
    def test_another_secret_is_refused(self):
        assert self.refused(self.account(), request(key=OTHER))

    def test_the_old_secret_counts_until_its_end(self):
        made = self.account()
        made.verify(request(), NOON + timedelta(minutes=179))
        with pytest.raises(KeyNeeded):
            made.verify(request(), NOON + timedelta(hours=3))

    def test_the_new_secret_counts_at_once_and_after(self):
        made = self.account()
        made._keys.keep(KID, (OTHER.public_key(), "SHA1"), NOON)
        made.verify(request(key=OTHER), NOON)
        assert self.refused(made, request())

    def calls(self):
        approved = {"detail": DETAIL | {"state": "ITEM_READY_TO_SHIP"}}
        declined = {"detail": DETAIL | {"state": "RETURN_REJECTED"}}
        paid = {"sellerTotalRefund": {"actualRefundAmount": {"value": 24.00, **USD}}, "state": "CLOSED"}
        amount = Money.of("24.00 USD")
        words = SendMessage(purpose="reply:first:1", form=Form.THREAD, to="5001234567", text="We are looking into it.")
        order = {"orderId": "12-34567-89012", "lineItems": [{"lineItemId": "1", "quantity": 1}]}
        return [
            Call("fetch_order", FetchOrder(order="12-34567-89012"), (order, {"fulfillments": []})),
            Call(
                "approve_return",
                ApproveReturn(request="5001234567"),
                ({"detail": DETAIL}, {"refundStatus": "OTHER"}, approved),
                keyless=True,
                found=(approved,),
                absent=({"detail": DETAIL},),
            ),
            Call(
                "decline_return",
                DeclineReturn(request="5001234567"),
                ({"detail": DETAIL}, {}, declined),
                keyless=True,
                found=(declined,),
                absent=({"detail": DETAIL},),
            ),
            Call(
                "pay_refund",
                PayRefund(request="5001234567", amount=amount),
                ({"detail": DETAIL}, {"refundStatus": "SUCCESS"}, {"detail": DETAIL | paid}),
                keyless=True,
                found=({"detail": DETAIL | paid},),
                absent=({"detail": DETAIL},),
            ),
            Call(
                "pay_refund",
                PayRefund(order="12-34567-89012", amount=amount),
                ({"refundId": "5010", "refundStatus": "PENDING"},),
                keyless=True,
                absent=(order | {"paymentSummary": {"refunds": []}},),
            ),
            Call(
                "pay_refund",
                PayRefund(request="inquiry:5007", amount=amount),
                (INQUIRY, {"refundResult": "SUCCESS"}),
                keyless=True,
                absent=(INQUIRY,),
            ),
            Call("send", words, ({},), keyless=True, by_status=True),
        ]


# The door


def test_the_challenge_is_answered_as_documented() -> None:
    asked = WebRequest("GET", "/hooks/acc", {"challenge_code": "demo-challenge"}, {}, b"")
    reply = account(Ebay, **SETTINGS).handshake(asked, NOON)
    assert reply is not None and json.loads(reply.body) == {
        "challengeResponse": "e1021c03c79323e774c94bbb51500f97546431e607e82a2f05d81ff52460bea5"
    }


# https://github.com/eBay/event-notification-nodejs-sdk, test/test.json (Apache-2.0): key, message and signatures
VENDORS_KEY = (
    "-----BEGIN PUBLIC KEY-----MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZhhxXKtR+TOvtDbgTPCkSof02qgBB7IsYOyf76ilExJ/"
    "upAa/vKIKheOoCyOpcLmi4t0b4uepb7LLjmMr90FUg==-----END PUBLIC KEY-----"
)
VENDORS_MESSAGE = {
    "metadata": {"topic": "MARKETPLACE_ACCOUNT_DELETION", "schemaVersion": "1.0", "deprecated": False},
    "notification": {
        "notificationId": "49feeaeb-4982-42d9-a377-9645b8479411_33f7e043-fed8-442b-9d44-791923bd9a6d",
        "eventDate": "2021-03-19T20:43:59.462Z",
        "publishDate": "2021-03-19T20:43:59.679Z",
        "publishAttemptCount": 1,
        "data": {
            "username": "test_user",
            "userId": "ma8vp1jySJC",
            "eiasToken": "nY+sHZ2PrBmdj6wVnY+sEZ2PrA2dj6wJnY+gAZGEpwmdj6x9nY+seQ==",
        },
    },
}
VENDORS_SIGNATURE = (
    "eyJhbGciOiJlY2RzYSIsImtpZCI6Ijk5MzYyNjFhLTdkN2ItNDYyMS1hMGYxLTk2Y2NiNDI4YWY0OSIsInNpZ25hdHVyZSI6Ik1FWUNJUUNm"
    "eGZJV3V4bVdjSUJRSjljNS9YN2lHREpxczJSQ0dzQkVhQWppbnlycmZBSWhBSVY2d0djVGlCdVY1S0pVaWYyaG9reXJMK1E5c3NIa2FkK214"
    "Mm5FRTI1dyIsImRpZ2VzdCI6IlNIQTEifQ=="
)
OF_ANOTHER_MESSAGE = (
    "eyJhbGciOiJlY2RzYSIsImtpZCI6Ijk5MzYyNjFhLTdkN2ItNDYyMS1hMGYxLTk2Y2NiNDI4YWY0OSIsInNpZ25hdHVyZSI6Ik1FWUNJUUNH"
    "Y1NubUFrVGZyK1paMlZnMGJXRW9zOGEvdGVCcWk3UGU2OCtoR21MTUNRSWdlRnZrcnRvKzhkczhSVndJM0dnbjFtTUdDck5NRVpKM1NSbE8y"
    "ZngveHFJPSIsImRpZ2VzdCI6IlNIQTEifQ=="
)


@pytest.mark.row("P06")
@pytest.mark.evidence("ebay", "vendor_sample")
async def test_the_vendors_own_example_passes_and_one_flipped_byte_fails() -> None:
    made = account(Ebay, **SETTINGS)
    ctx = Answers(token=TOKEN, public_key={"key": VENDORS_KEY, "algorithm": "ECDSA", "digest": "SHA1"}).context()
    await made.learn(KID, ctx)
    await ctx.http.aclose()
    headers = {"Content-Type": "application/json", "X-EBAY-SIGNATURE": VENDORS_SIGNATURE}
    for spaces in ((",", ":"), (", ", ": ")):
        body = json.dumps(VENDORS_MESSAGE, separators=spaces).encode()
        receipt = made.verify(WebRequest("POST", "/", {}, headers, body), NOON)
        assert receipt.id == VENDORS_MESSAGE["notification"]["notificationId"]
        assert len(list(made.parse(stored(made, body)))) == 1
    body = json.dumps(VENDORS_MESSAGE, separators=(",", ":")).encode()
    for place in range(len(body)):
        flipped = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        with pytest.raises(Unverified):
            made.verify(WebRequest("POST", "/", {}, headers, flipped), NOON)
    with pytest.raises(Unverified):
        made.verify(WebRequest("POST", "/", {}, {**headers, "X-EBAY-SIGNATURE": OF_ANOTHER_MESSAGE}, body), NOON)


@pytest.mark.parametrize("missing", ["verification_token", "endpoint"])
def test_without_its_settings_the_challenge_is_refused(missing: str) -> None:
    asked = WebRequest("GET", "/hooks/acc", {"challenge_code": "x"}, {}, b"")
    with pytest.raises(Unverified, match="not set"):
        account(Ebay, **{**SETTINGS, missing: None}).handshake(asked, NOON)


@pytest.mark.parametrize("digest", ["SHA1", "SHA256"])
def test_both_digests_that_ebay_uses_are_checked(digest: str) -> None:
    assert knowing(digest).verify(request(digest=digest), NOON).id == "49feeaeb-4982_42d9"
    with pytest.raises(Unverified):
        knowing("SHA256" if digest == "SHA1" else "SHA1").verify(request(digest=digest), NOON)


def test_a_body_written_with_spaces_is_checked_as_ebays_own_libraries_do() -> None:
    compact = request({**DELETION, "name": "Zoë 你好"})
    spaced = replace(compact, body=json.dumps(json.loads(compact.body), indent=1).encode())
    knowing().verify(spaced, NOON)


def test_a_signature_of_plain_numbers_is_no_der_and_refused() -> None:
    told = json.loads(base64.b64decode(header(b"{}")))
    plain = base64.b64encode(json.dumps({**told, "signature": base64.b64encode(bytes(64)).decode()}).encode()).decode()
    with pytest.raises(Unverified):
        knowing().verify(WebRequest("POST", "/", {}, {"X-EBAY-SIGNATURE": plain}, b"{}"), NOON)


@pytest.mark.parametrize("kid", ["../../oauth2/token", "a b", "", "x?y", "é"])
def test_a_kid_that_does_not_belong_in_an_address_is_refused(kid: str) -> None:
    with pytest.raises(Unverified):
        read_signature(header(b"{}", kid=kid))


@settings(max_examples=100, deadline=None, database=None)
@given(given=st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: base64.b64encode(raw).decode()))
def test_any_header_is_read_or_refused(given: str) -> None:
    try:
        read_signature(given)
    except Unverified:
        return


async def test_a_key_is_learnt_once_by_the_applications_own_token() -> None:
    made, answers = account(Ebay, **SETTINGS), Answers(token=TOKEN, public_key=published())
    ctx = answers.context()
    with pytest.raises(KeyNeeded) as needed:
        made.verify(request(), NOON)
    await made.learn(needed.value.name, ctx)
    made.verify(request(), NOON)
    assert answers.seen[1].url.path == f"/commerce/notification/v1/public_key/{KID}"
    assert b"client_credentials" in answers.seen[0].content
    assert answers.seen[1].headers["Authorization"] == "Bearer v^1.1#new"
    await ctx.http.aclose()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(404), Unverified),
        (httpx.Response(503), httpx.HTTPStatusError),
        ({"key": "no key", "digest": "SHA1"}, ValueError),
        ({**published(), "digest": "MD5"}, ValueError),
    ],
)
async def test_a_key_that_is_none_is_not_learnt(answer: Any, error: type[Exception]) -> None:
    ctx = Answers(token=TOKEN, public_key=answer).context()
    with pytest.raises(error):
        await account(Ebay, **SETTINGS).learn(KID, ctx)
    await ctx.http.aclose()


def test_the_deletion_of_an_account_is_a_note_for_a_person_and_other_topics_mean_nothing() -> None:
    (noted,) = parsed(DELETION)
    assert isinstance(noted, Noted) and not type(noted).opener
    assert [(one.kind, one.value) for one in noted.refs] == [
        (RefKind.BUYER, "test_user"),
        (RefKind.BUYER, "ma8vp1jySJC"),
    ]
    assert parsed({**DELETION, "metadata": {"topic": "ORDER_RETURN_ACTIVITY"}}) == []


# Returns, inquiries and cases


def test_a_return_opens_a_case_with_its_deadline_and_what_the_buyer_wrote() -> None:
    found = by_type(parsed({"return": SUMMARY, "detail": DETAIL}))
    asked, state, said, back = (found[one] for one in (CaseRequested, RequestChanged, MessageReceived, ParcelSeen))
    assert (asked.kind, asked.issue, asked.note) == (CaseKind.RETURN, Issue.DAMAGED_IN_TRANSIT, "It arrived broken")
    assert (str(asked.amount), asked.lines[0].sku, asked.buyer.thread) == ("24.0 USD", "MUG-01", "5001234567")
    assert (RefKind.ORDER, "12-34567-89012") in [(one.kind, one.value) for one in asked.refs]
    assert (state.status, state.due_at.isoformat()) == (RequestStatus.REQUESTED, "2026-01-05T07:59:59+00:00")
    assert said.message.text == "Any news?"
    assert (back.parcel.direction, back.parcel.carrier) == (Direction.BACK, "UPS")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("ITEM_DELIVERED", RequestStatus.APPROVED),
        ("RETURN_REJECTED", RequestStatus.DECLINED),
        ("PARTIAL_REFUNDED", RequestStatus.CLOSED),
        ("REPLACEMENT_CLOSED", RequestStatus.CLOSED),
        ("RETURN_REQUEST_TIMEOUT", RequestStatus.CLOSED),
        ("SOMETHING_NEW", None),
    ],
)
def test_states_are_read_and_unknown_ones_change_nothing(state: str, status: RequestStatus | None) -> None:
    found = by_type(parsed({"return": SUMMARY | {"state": state}}))
    assert (found[RequestChanged].status if RequestChanged in found else None) is status
    assert (CaseRequested in found) is (status is RequestStatus.APPROVED)
    own = by_type(parsed({"return": SUMMARY | {"state": state}}, states={state: "cancelled"}))
    assert own[RequestChanged].status is RequestStatus.CANCELLED


def test_a_paid_return_tells_what_was_paid_and_a_parcel_that_arrived_is_delivered() -> None:
    paid = {"sellerTotalRefund": {"actualRefundAmount": {"value": "24.00", **USD}}, "state": "CLOSED"}
    track = {"trackingNumber": "1Z999AA10123456784", "actualDeliveryDate": {"value": "2026-01-04T10:00:00Z"}}
    detail = DETAIL | {"returnShipmentInfo": {"allShipmentTrackings": [track]}}
    found = by_type(parsed({"return": SUMMARY | paid, "detail": detail}))
    assert str(found[RefundSeen].amount) == "24.00 USD"
    assert found[ParcelSeen].parcel.status is ParcelStatus.DELIVERED


def test_an_inquiry_asks_for_money_and_a_case_is_a_complaint_that_nothing_pays() -> None:
    asked = by_type(parsed({"inquiry": INQUIRY}))[CaseRequested]
    assert (asked.kind, asked.issue, asked.refs[0].value) == (CaseKind.REFUND, Issue.LOST_PARCEL, "inquiry:5007")
    assert (RefKind.ORDER, "110001-220002") in [(one.kind, one.value) for one in asked.refs]
    complaint = by_type(parsed({"case": CASE}))[CaseRequested]
    assert (complaint.kind, complaint.refs[0].kind) == (CaseKind.COMPLAINT, RefKind.CLAIM)
    closed = parsed({"inquiry": INQUIRY | {"inquiryStatusEnum": "CS_CLOSED"}})
    assert [type(one) for one in closed] == [RequestChanged]


def test_a_return_that_ebay_took_over_carries_the_cases_name_and_is_not_asked_for_again() -> None:
    events = parsed({"return": SUMMARY | {"state": "ESCALATED", "escalationInfo": {"caseId": "5009"}}})
    assert [type(one) for one in events] == [Noted]
    assert (RefKind.CLAIM, "case:5009") in [(one.kind, one.value) for one in events[0].refs]


# Calls


async def pay(detail: dict[str, Any], amount: str = "24.00 USD", request: str = "5001234567") -> Any:
    answers = Answers(token=TOKEN, issue_refund={}, **{"/return/": {"detail": detail}, "/inquiry/": INQUIRY})
    ctx = answers.context()
    try:
        await account(Ebay, **SETTINGS).pay_refund(PayRefund(request=request, amount=Money.of(amount)), ctx)
    finally:
        await ctx.http.aclose()
    sent = [one for one in answers.seen if one.url.path.endswith("issue_refund")]
    return json.loads(sent[0].content)


async def test_a_refund_is_paid_in_the_parts_that_ebay_reckons_with() -> None:
    body = await pay(DETAIL, "22.00 USD")
    parts = body["refundDetail"]["itemizedRefundDetail"]
    assert [(one["refundFeeType"], one["refundAmount"]["value"]) for one in parts] == [
        ("PURCHASE_PRICE", "19.90"),
        ("ORIGINAL_SHIPPING", "2.10"),
    ]
    assert body["refundDetail"]["totalAmount"] == {"value": "22.00", "currency": "USD"}
    plain = await pay({name: one for name, one in DETAIL.items() if name != "refundInfo"})
    assert plain["refundDetail"]["itemizedRefundDetail"][0]["refundFeeType"] == "PURCHASE_PRICE"


@pytest.mark.parametrize(
    ("detail", "amount", "request_"),
    [
        (DETAIL, "24.01 USD", "5001234567"),
        (DETAIL | {"sellerTotalRefund": {"actualRefundAmount": {"value": 1, **USD}}}, "23.00 USD", "5001234567"),
        (DETAIL, "5.00 USD", "inquiry:5007"),
        (DETAIL, "24.00 USD", "case:5009"),
    ],
    ids=["too much", "paid already", "a part of an inquiry", "a case"],
)
async def test_a_refund_that_ebay_would_not_take_never_leaves(detail: Any, amount: str, request_: str) -> None:
    with pytest.raises(Rejected):
        await pay(detail, amount, request_)


@pytest.mark.parametrize("request_", ["5001234567", "inquiry:5007", "case:5009"])
async def test_an_order_is_found_by_its_return_too_and_by_nothing_that_is_none(request_: str) -> None:
    order = {"orderId": "12-34567-89012", "lineItems": [{"lineItemId": "1", "quantity": 1}]}
    found = {"shipping_fulfillment": {"fulfillments": []}, "/order/": order, "/return/": {"detail": DETAIL}}
    ctx = Answers(token=TOKEN, **found).context()
    made = account(Ebay, **SETTINGS)
    if request_ != "5001234567":
        with pytest.raises(Rejected):
            await made.fetch_order(FetchOrder(request=request_), ctx)
    result = await made.fetch_order(FetchOrder(request=request_, order="12-34567-89012"), ctx)
    assert (RequestChanged in {type(one) for one in result.events}) is (request_ == "5001234567")
    await ctx.http.aclose()


async def test_an_inquiry_is_paid_in_full() -> None:
    assert await pay(DETAIL, request="inquiry:5007") == {}


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
    ctx = Answers(token=answer).context()
    with pytest.raises(error):
        await account(Ebay, **SETTINGS).approve_return(ApproveReturn(request="5001234567"), ctx)
    await ctx.http.aclose()


async def test_the_two_tokens_are_kept_beside_each_other_and_void_when_refused() -> None:
    tokens, made = MemoryTokens(), account(Ebay, **SETTINGS)
    ctx = Answers(token=TOKEN, public_key=published(), order=httpx.Response(403)).context(tokens)
    await made.learn(KID, ctx)
    with pytest.raises(httpx.HTTPStatusError):
        await made.fetch_order(FetchOrder(order="12-34567-89012"), ctx)
    assert tokens.token == {}
    await ctx.http.aclose()


async def test_a_search_with_more_in_it_than_one_answer_is_cut_in_two() -> None:
    many = {"members": [SUMMARY], "paginationOutput": {"totalEntries": 2}}
    answers = Answers(token=TOKEN, search=many)
    ctx, made = answers.context(), account(Ebay, **SETTINGS)
    page = await made.poll(ctx, None)
    assert page.more and not page.items
    spans = page.cursor.split()
    assert [one.split("|")[0] for one in spans] == ["return", "return", "inquiry", "case"]
    assert spans[0].split("|")[2] == spans[1].split("|")[1], "nothing falls between the halves"
    assert answers.seen[1].headers["Authorization"] == "IAF v^1.1#new"
    await ctx.http.aclose()


@pytest.mark.parametrize("number", range(5001, 5013))
def test_what_ebay_approved_in_the_moment_of_asking_is_approved(number):
    asked = {"value": "2026-01-02T03:04:05.000Z"}
    creation = {"creationDate": asked, "reason": "WRONG_SIZE"}
    node = {"returnId": number, "orderId": "1-1", "state": "READY_FOR_SHIPPING", "creationInfo": creation}
    detail = {"returnId": number, "responseHistory": [{"author": "BUYER", "creationDate": asked}]}
    made = Case(id="c", shop="s", opened_at=NOON, updated_at=NOON)
    plugin = account(Ebay, client_id="a", client_secret="b", refresh_token="c")
    body = json.dumps({"return": node, "detail": detail}).encode()
    for one in plugin.parse(Inbound("acc", body, {}, NOON)):
        made = reduce(made, one, "acc")
    assert made.request.status is RequestStatus.APPROVED


def test_another_amount_or_deadline_in_the_same_state_is_news():
    plugin = account(Ebay, client_id="a", client_secret="b", refresh_token="c")
    made = Case(id="c", shop="s", opened_at=NOON, updated_at=NOON)
    keys = set()
    for day, amount, due in ((2, "24.00", "2026-02-01"), (3, "14.00", "2026-02-01"), (4, "14.00", "2026-01-20")):
        node = {"returnId": 5001, "orderId": "1-1", "state": "RETURN_REQUESTED"}
        node["sellerTotalRefund"] = {"estimatedRefundAmount": {"value": amount, "currency": "USD"}}
        node["sellerResponseDue"] = {"respondByDate": {"value": f"{due}T00:00:00.000Z"}}
        history = [{"author": "SELLER", "creationDate": {"value": f"2026-01-0{day}T00:00:00.000Z"}}]
        body = json.dumps({"return": node, "detail": {"returnId": 5001, "responseHistory": history}}).encode()
        for one in plugin.parse(Inbound("acc", body, {}, NOON)):
            if one.key not in keys:
                keys.add(one.key)
                made = reduce(made, one, "acc")
    assert made.request.amount == Money.of("14.00 USD")
    assert made.request.due_at == datetime(2026, 1, 20, tzinfo=UTC)


@pytest.mark.parametrize("number", range(5001, 5013))
def test_of_several_steps_in_one_moment_the_furthest_counts_and_a_state_may_come_again(number):
    plugin = account(Ebay, client_id="a", client_secret="b", refresh_token="c")

    def told(*steps: tuple[int, str]) -> RequestStatus:
        made, keys = Case(id="c", shop="s", opened_at=NOON, updated_at=NOON), set()
        for day, state in steps:
            at = {"value": f"2026-01-0{day}T00:00:00.000Z"}
            detail = {"returnId": number, "state": state, "responseHistory": [{"creationDate": at}]}
            node = detail | {"orderId": "1-1", "creationInfo": SUMMARY["creationInfo"]}
            body = json.dumps({"return": node, "detail": detail}).encode()
            for one in plugin.parse(Inbound("acc", body, {}, NOON)):
                if one.key not in keys:
                    keys.add(one.key)
                    made = reduce(made, one, "acc")
        assert made.request is not None
        return made.request.status

    assert told((2, "RETURN_REQUESTED"), (2, "CLOSED")) is RequestStatus.CLOSED
    assert told((2, "CLOSED"), (2, "ITEM_READY_TO_SHIP"), (2, "RETURN_REQUESTED")) is RequestStatus.CLOSED
    assert told((2, "ITEM_SHIPPED"), (3, "CLOSED"), (4, "ITEM_SHIPPED")) is RequestStatus.APPROVED


@pytest.mark.parametrize("id_", range(5001, 5013))
def test_an_inquiry_closed_in_the_moment_of_its_last_change_is_closed(id_):
    made = Case(id="c", shop="s", opened_at=NOON, updated_at=NOON)
    plugin = account(Ebay, client_id="a", client_secret="b", refresh_token="c")
    for state in ("CLOSED", "WAITING_SELLER_RESPONSE"):
        node = INQUIRY | {
            "inquiryId": str(id_),
            "inquiryStatusEnum": state,
            "lastModifiedDate": INQUIRY["creationDate"],
        }
        for one in plugin.parse(Inbound("acc", json.dumps({"inquiry": node}).encode(), {}, NOON)):
            made = reduce(made, one, "acc")
    assert made.request.status is RequestStatus.CLOSED


@respx.mock
@pytest.mark.parametrize("thorough", [False, True])
async def test_a_page_that_takes_too_long_is_stored_in_parts_and_goes_on_where_it_stopped(thorough):
    clock = [NOON]

    def slow(_: httpx.Request) -> httpx.Response:
        clock[0] += timedelta(seconds=20)
        return httpx.Response(200, json={"detail": {}})

    listed = [{"returnId": str(number), "state": "ITEM_DELIVERED", "orderId": "1-1"} for number in range(7)]
    respx.post(url__regex=".*token").respond(json={"access_token": "t", "expires_in": 7200})
    respx.get(url__regex=".*/return/search").respond(json={"members": listed, "total": 7})
    respx.get(url__regex=".*/search").respond(json={"members": [], "total": 0})
    read = respx.get(url__regex=r".*/return/\d").mock(side_effect=slow)
    plugin = account(Ebay, client_id="a", client_secret="b", refresh_token="c")
    ctx, cursor, pages = context(http=httpx.AsyncClient(), tokens=MemoryTokens(), now=lambda: clock[0]), None, []
    for _ in range(20):
        page = await (plugin.listing(ctx, cursor) if thorough else plugin.poll(ctx, cursor))
        await plugin.confirm(ctx, page)
        pages.append([json.loads(one.body)["return"]["returnId"] for one in page.items])
        cursor = page.cursor
        if not page.more:
            break
    assert [one for one in pages if one] == [["0", "1"], ["2", "3"], ["4", "5"], ["6"]]
    assert len(read.calls) == 7
