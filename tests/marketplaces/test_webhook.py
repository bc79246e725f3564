"""Any webhook by configuration: signature families, formats, mappings, and hostile bodies."""

import base64
import hashlib
import hmac
import json
import tomllib
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
import rmabridge_webhook
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_webhook import Webhook

from rmabridge.abilities import Inbound, WebRequest
from rmabridge.errors import Malformed, Refused, Unverified, WrongType
from rmabridge.model import CaseRequested, MessageReceived, Money, ParcelSeen, Ref, RefKind
from rmabridge.testing.contexts import NOON, account

STANDARD = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OLDER = "whsec_MzIxMDk4NzY1NGZlZGNiYTMyMTA5ODc2NTRmZWRjYmE="
VECTOR_BODY = b'{"type":"rma.created","data":{"id":"r1"}}'
VECTOR_AT = datetime.fromtimestamp(1767294245, UTC)
VECTOR = {
    "webhook-id": "msg_demo1",
    "webhook-timestamp": "1767294245",
    "webhook-signature": "v1,7L6a7Kc248BMKNwXse9ut8OfwjJBsW+t5SUYhyR0LAo=",
}
NOTE = {"type": "noted", "key": "id", "set": {"text": "text"}}
JSON = "application/json"


def door(signature, secret="s3cret", **settings):
    given = {"signature": signature, "secret": secret, "events": [NOTE]}
    return account(Webhook, "shop", **{name: value for name, value in (given | settings).items() if value is not None})


def post(body, headers=None, query=None, kind=JSON, method="POST"):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WebRequest(method, "/hooks/shop", query or {}, {"Content-Type": kind} | (headers or {}), raw)


def mapped(*rules, **settings):
    return door({"family": "none"}, None, events=list(rules), **settings)


def parse(source, body, kind=JSON, **meta):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(source.parse(Inbound("shop", raw, {"content_type": kind} | meta, NOON)))


def hexed(secret, data, algorithm="sha256"):
    return hmac.new(secret.encode(), data, algorithm).hexdigest()


def accepted(source, request, now=NOON):
    return source.verify(request, now)


def refused(source, request, now=NOON):
    with pytest.raises(Unverified):
        source.verify(request, now)


# --- A source without code ------------------------------------------------------------------------------------------

RETURN = {
    "topic": "return.created",
    "return": {"id": 9001, "created_at": "2026-01-02T11:59:00+08:00", "why": "too small", "total": "199.00"},
    "order": {"number": "A-1001"},
    "buyer": {"id": 77, "name": "林"},
}
WORDS = {
    "topic": "message.created",
    "message": {"id": "m-1", "sent_at": "2026-01-02T12:00:00Z", "text": "在吗？😀"},
    "order": {"number": "A-1001"},
    "buyer": {"id": 77, "name": "林"},
}


@pytest.fixture
def example():
    text = rmabridge_webhook.__doc__.partition("Example::")[2].partition("Signature families")[0]
    settings = tomllib.loads("\n".join(line.strip() for line in text.splitlines()))["marketplaces"]["ownshop"]
    return Webhook.model_validate(settings | {"secret": "s3cret"})


def delivered(body, delivery="d-1"):
    raw = json.dumps(body).encode()
    return post(raw, {"X-Shop-Signature": "sha256=" + hexed("s3cret", raw), "X-Shop-Delivery": delivery})


def through(source, request):
    receipt = source.verify(request, NOON)
    return receipt, list(source.parse(Inbound("ownshop", request.body, receipt.meta, NOON)))


@pytest.mark.row("P14")
def test_a_new_shop_system_is_connected_without_code(example):
    receipt, (asked,) = through(example, delivered(RETURN))
    assert receipt.id == "d-1"
    assert isinstance(asked, CaseRequested)
    assert asked.key == "case.requested:9001"
    assert asked.at == datetime(2026, 1, 2, 3, 59, tzinfo=UTC)
    assert asked.kind == "return"
    assert asked.reason == "too small"
    assert asked.amount == Money.of("199.00 CNY")
    assert set(asked.refs) == {
        Ref(kind=RefKind.RETURN, value="9001"),
        Ref(kind=RefKind.ORDER, value="A-1001"),
        Ref(kind=RefKind.BUYER, value="77"),
    }
    _, (said,) = through(example, delivered(WORDS, "d-2"))
    assert isinstance(said, MessageReceived)
    assert (said.message.text, said.message.author, said.buyer.name) == ("在吗？😀", "buyer", "林")
    assert through(example, delivered({"topic": "product.updated"}))[1] == []


@pytest.mark.row("P06")
def test_any_flipped_byte_of_body_or_signature_is_refused(example):
    request = delivered(RETURN)
    good = request.headers["X-Shop-Signature"]
    for place in range(len(request.body)):
        body = bytearray(request.body)
        body[place] ^= 1
        refused(example, post(bytes(body), {"X-Shop-Signature": good}))
    for place in range(len(good)):
        flipped = good[:place] + chr(ord(good[place]) ^ 1) + good[place + 1 :]
        refused(example, post(request.body, {"X-Shop-Signature": flipped}))


# --- Standard Webhooks ------------------------------------------------------------------------------------------------


def standard(secret=STANDARD, **settings):
    return door({"family": "standard"}, secret, **settings)


@pytest.mark.row("P06")
def test_the_standard_vector_is_accepted_and_a_flipped_byte_refused():
    assert accepted(standard(), post(VECTOR_BODY, VECTOR), VECTOR_AT).id == "msg_demo1"
    assert accepted(standard(), post(VECTOR_BODY, {k.title(): v for k, v in VECTOR.items()}), VECTOR_AT).id
    refused(standard(), post(VECTOR_BODY.replace(b"r1", b"r2"), VECTOR), VECTOR_AT)
    refused(standard(), post(VECTOR_BODY, VECTOR | {"webhook-id": "msg_demo2"}), VECTOR_AT)
    refused(standard(), post(VECTOR_BODY, VECTOR | {"webhook-timestamp": "1767294246"}), VECTOR_AT)


@pytest.mark.parametrize("missing", sorted(VECTOR))
def test_a_missing_standard_header_is_refused(missing):
    refused(standard(), post(VECTOR_BODY, {k: v for k, v in VECTOR.items() if k != missing}), VECTOR_AT)


@pytest.mark.parametrize("given", ["v2,abc", "v1", "v1,", "v1,###", "garbage ,, v1,A", "v1a,7L6a7Kc248BM"])
def test_a_strange_standard_signature_is_refused_and_does_no_harm_beside_a_good_one(given):
    refused(standard(), post(VECTOR_BODY, VECTOR | {"webhook-signature": given}), VECTOR_AT)
    both = f"{given} {VECTOR['webhook-signature']}"
    accepted(standard(), post(VECTOR_BODY, VECTOR | {"webhook-signature": both}), VECTOR_AT)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_standard_time_too_far_from_now_is_refused(minutes):
    refused(standard(), post(VECTOR_BODY, VECTOR), VECTOR_AT + timedelta(minutes=minutes))


@pytest.mark.row("P07")
def test_during_a_rotation_both_secrets_count_and_after_it_only_the_new_one():
    source = standard([OLDER, {"value": STANDARD, "until": VECTOR_AT + timedelta(seconds=60)}])
    accepted(source, post(VECTOR_BODY, VECTOR), VECTOR_AT)
    refused(source, post(VECTOR_BODY, VECTOR), VECTOR_AT + timedelta(seconds=60))
    new = standard(OLDER, sample_body=VECTOR_BODY.decode()).sample("sample", VECTOR_AT)
    accepted(source, new, VECTOR_AT)
    accepted(source, new, VECTOR_AT + timedelta(seconds=60))


# --- The other families ----------------------------------------------------------------------------------------------

BODY = b'{"id":"1","text":"hello"}'
SECONDS = str(int(NOON.timestamp()))


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_hmac_in_every_algorithm_and_encoding(algorithm, encoding):
    source = door({"family": "hmac", "sign": "X-Sig", "algorithm": algorithm, "encoding": encoding})
    raw = hmac.new(b"s3cret", BODY, algorithm).digest()
    sign = raw.hex() if encoding == "hex" else base64.b64encode(raw).decode()
    accepted(source, post(BODY, {"x-sig": sign}))
    if encoding == "hex":
        accepted(source, post(BODY, {"X-Sig": sign.upper()}))
    refused(source, post(BODY + b" ", {"X-Sig": sign}))
    refused(source, post(BODY, {"X-Sig": ""}))
    refused(source, post(BODY))


def test_hmac_over_a_signed_time_and_nonce():
    shape = {"family": "hmac", "sign": "X-Sig", "over": "{timestamp}.{nonce}.{body}"}
    source = door(shape | {"timestamp": "X-Time", "nonce": "X-Nonce"})

    def signed(seconds, nonce="n1"):
        sign = hexed("s3cret", f"{seconds}.{nonce}.".encode() + BODY)
        return post(BODY, {"X-Sig": sign, "X-Time": seconds, "X-Nonce": nonce})

    assert accepted(source, signed(SECONDS)).nonce == "n1"
    accepted(source, signed(NOON.isoformat()))
    refused(source, signed(str(int(SECONDS) - 301)))
    refused(source, signed(str(int(SECONDS) + 301)))
    refused(source, signed("yesterday"))
    refused(source, signed(""))
    refused(source, signed(SECONDS, ""))
    moved = signed(SECONDS)
    refused(source, post(BODY, dict(moved.headers) | {"X-Time": str(int(SECONDS) + 1)}))
    refused(source, post(BODY, dict(moved.headers) | {"X-Nonce": "n2"}))


def test_a_plain_digest_with_the_secret_in_it():
    source = door(
        {"family": "hmac", "sign": "query:sign", "over": "{body}{secret}", "digest": True, "algorithm": "md5"}
    )
    sign = hashlib.md5(BODY + b"s3cret").hexdigest()
    accepted(source, post(BODY, query={"sign": sign}))
    refused(source, post(BODY, query={"sign": hashlib.md5(BODY).hexdigest()}))


def test_an_item_of_a_header_and_other_parts_of_the_request():
    over = "{timestamp}.{method}.{path}.{query.shop}.{header.X-Topic}.{body}"
    source = door({"family": "hmac", "sign": "X-Sig#v1", "timestamp": "X-Sig#t", "over": over})
    sign = hexed("s3cret", f"{SECONDS}.POST./hooks/shop.7.order.".encode() + BODY)
    headers = {"X-Sig": f"t={SECONDS}, v1={sign}", "X-Topic": "order"}
    accepted(source, post(BODY, headers, {"shop": "7"}))
    refused(source, post(BODY, headers, {"shop": "8"}))
    refused(source, post(BODY, headers | {"X-Topic": "return"}, {"shop": "7"}))
    refused(source, post(BODY, headers | {"X-Sig": "t=1;v1"}, {"shop": "7"}))


def test_sorted_parameters_of_a_form():
    source = door({"family": "sorted", "sign": "field:sign", "timestamp": "field:ts"})
    fields = {"text": "你好", "id": "1", "ts": SECONDS, "empty": ""}
    line = f"s3cretid1text你好ts{SECONDS}s3cret"
    sign = hashlib.md5(line.encode()).hexdigest().upper()
    kind = "application/x-www-form-urlencoded"
    accepted(source, post(urlencode(fields | {"sign": sign}).encode(), kind=kind))
    refused(source, post(urlencode(fields | {"sign": sign, "id": "2"}).encode(), kind=kind))
    refused(source, post(urlencode(fields | {"sign": sign}).encode(), kind=kind), NOON + timedelta(minutes=6))


def test_sorted_parameters_of_a_json_body_with_a_key_behind():
    shape = {"family": "sorted", "sign": "X-Sign", "pair": "=", "joiner": "&", "wrap": "{pairs}&key={secret}"}
    body = {"b": {"x": 1}, "a": 2, "c": True, "d": None}
    sign = hashlib.md5(b'a=2&b={"x":1}&c=true&key=s3cret').hexdigest()
    accepted(door(shape), post(body, {"X-Sign": sign}))
    refused(door(shape), post(body | {"a": 3}, {"X-Sign": sign}))
    refused(door(shape), post(b"[1]", {"X-Sign": sign}))


@pytest.mark.parametrize("amount", ["28.55", "28", "28.50", "28.00", "0.00000001"])
def test_a_number_is_signed_as_it_was_written(amount):
    shape = {"family": "sorted", "sign": "X-Sign", "pair": "=", "joiner": "&", "wrap": "{pairs}&key={secret}"}
    sign = hashlib.md5(f"a={amount}&key=s3cret".encode()).hexdigest()
    accepted(door(shape), post(f'{{"a": {amount}}}'.encode(), {"X-Sign": sign}))


def test_sorted_parameters_of_xml_and_of_the_query():
    shape = {"family": "sorted", "sign": "field:xml.sign", "keyed": True, "algorithm": "sha256"}
    xml = "<xml><b>2</b><a>1</a><sign>{}</sign></xml>"
    accepted(door(shape), post(xml.format(hexed("s3cret", b"a1b2")).encode(), kind="text/xml"))
    refused(door(shape), post(xml.format(hexed("s3cret", b"a1b3")).encode(), kind="text/xml"))
    query = door({"family": "sorted", "sign": "query:sign", "over": "query", "exclude": ["v"]})
    sign = hashlib.md5(b"s3creta1b2s3cret").hexdigest()
    accepted(query, post(BODY, query={"b": "2", "a": "1", "v": "x", "sign": sign}))
    refused(query, post(BODY, query={"b": "3", "a": "1", "v": "x", "sign": sign}))


def test_a_shared_token():
    source = door({"family": "token", "sign": "Authorization", "prefix": "Bearer "}, ["new", "old"])
    accepted(source, post(BODY, {"Authorization": "Bearer new"}))
    accepted(source, post(BODY, {"Authorization": "Bearer old"}))
    for wrong in ("Bearer newer", "new", "", "Bearer ", "Bearer néw"):
        refused(source, post(BODY, {"Authorization": wrong}))
    refused(source, post(BODY))
    accepted(door({"family": "token", "sign": "query:token"}), post(BODY, query={"token": "s3cret"}))


def test_a_door_without_signature_must_be_asked_for():
    accepted(door({"family": "none"}, None), post(BODY))
    with pytest.raises(ValidationError, match="secret"):
        door({"family": "token", "sign": "X-Token"}, None)


def test_no_secret_alive_lets_nobody_in():
    source = door({"family": "token", "sign": "X-Token"}, {"value": "old", "until": NOON})
    refused(source, post(BODY, {"X-Token": "old"}))
    refused(source, post(BODY, {"X-Token": ""}))


@pytest.mark.parametrize(
    ("signature", "named"),
    [
        ({"family": "hmac", "sign": "X", "over": "{body}", "digest": True}, "secret"),
        ({"family": "hmac", "sign": "X", "over": "{body}{secret}"}, "secret"),
        ({"family": "hmac", "sign": "X", "over": "fixed"}, "nothing of the request"),
        ({"family": "hmac", "sign": "X", "over": "{bodi}{path}"}, "unknown"),
        ({"family": "hmac", "sign": "X", "over": "{timestamp}{body}"}, "timestamp"),
        ({"family": "hmac", "sign": "X", "timestamp": "X-Time"}, "not signed"),
        ({"family": "hmac", "sign": "X", "nonce": "X-Nonce"}, "not signed"),
        ({"family": "hmac", "sign": "a b"}, "place"),
        ({"family": "sorted", "sign": "X", "timestamp": "X-Time"}, "signed parameter"),
        ({"family": "sorted", "sign": "X", "wrap": "{pairs}"}, "wrap"),
        ({"family": "sorted", "sign": "X", "keyed": True, "wrap": "{secret}"}, "wrap"),
        ({"family": "standard"}, "secret"),
        ({"family": "rot13"}, "family"),
    ],
)
def test_a_signature_that_would_prove_nothing_is_refused_at_start(signature, named):
    with pytest.raises(ValidationError, match=named):
        door(signature, "whsec_")


# --- Mappings --------------------------------------------------------------------------------------------------------


def test_each_item_of_a_list_is_an_event_and_sees_the_whole_body():
    rule = {
        "type": "parcel.seen",
        "each": "parcels",
        "when": "_.headers.x_topic == 'ship'",
        "key": ["no", "state"],
        "at": "time",
        "zone": "Asia/Shanghai",
        "refs": {"waybill": "no", "order": "_.body.order"},
        "set": {
            "parcel.waybill": "no",
            "parcel.status": "state",
            "parcel.scans": "scans[].{at: t, status: 'in_transit'}",
        },
        "words": {"parcel.status": {"3": "delivered", "*": "in_transit"}},
    }
    scans = [{"t": "2026-01-02 08:00:00"}]
    parcels = [{"no": "sf 1001", "state": 3, "time": "2026-01-02 20:00:00", "scans": scans}]
    parcels.append({"no": "SF1002", "state": 1, "time": 1767355200})
    source = mapped(rule, keep_headers=["X-Topic"])
    request = post({"order": 55, "parcels": parcels}, {"X-Topic": "ship"})
    receipt = source.verify(request, NOON)
    first, second = source.parse(Inbound("shop", request.body, receipt.meta, NOON))
    assert isinstance(first, ParcelSeen)
    assert first.key == "parcel.seen:sf 1001:3"
    assert (first.parcel.waybill, first.parcel.status) == ("SF1001", "delivered")
    assert first.at == datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert first.parcel.scans[0].at == datetime(2026, 1, 2, 0, tzinfo=UTC)
    assert Ref(kind=RefKind.ORDER, value="55") in first.refs
    assert Ref(kind=RefKind.WAYBILL, value="SF1001") in first.refs
    assert second.parcel.status == "in_transit"
    assert parse(source, {"order": 55, "parcels": parcels}, h_x_topic="other") == []


def test_a_list_as_the_whole_body():
    rule = NOTE | {"each": "@"}
    assert [one.text for one in parse(mapped(rule), [{"id": 1, "text": "a"}, {"id": 2, "text": "b"}])] == ["a", "b"]
    assert parse(mapped(NOTE | {"each": "rows"}), {"id": 1}) == []


REFUND = {
    "type": "refund.seen",
    "key": "id",
    "set": {"refund": "id", "amount.amount": "fee", "amount.currency": "'CNY'", "status": "'done'"},
}


@pytest.mark.parametrize(
    ("minor", "fee", "amount"),
    [(False, "12.5", "12.5"), (False, 12, "12"), (True, 1250, "12.50"), (True, "1250", "12.50"), (False, None, None)],
)
def test_amounts_in_major_and_minor_units(minor, fee, amount):
    (seen,) = parse(mapped(REFUND | {"minor": minor}), {"id": 7, "fee": fee})
    assert seen.amount == (amount and Money.of(f"{amount} CNY"))


def test_an_amount_with_decimals_stays_exact():
    (seen,) = parse(mapped(REFUND), b'{"id": 7, "fee": 0.1}')
    assert seen.amount == Money.of("0.1 CNY")


@pytest.mark.parametrize(
    ("rule", "body", "named"),
    [
        (NOTE, {"text": "x"}, "key"),
        (NOTE, {"id": {"a": 1}, "text": "x"}, "name or number"),
        (NOTE, {"id": 1}, "text"),
        (NOTE, {"id": "k" * 600, "text": "x"}, "key"),
        (NOTE | {"at": "when"}, {"id": 1, "text": "x"}, "at"),
        (NOTE | {"at": "when"}, {"id": 1, "text": "x", "when": "2026-01-02 10:00:00"}, "zone"),
        (REFUND, {"id": 1, "fee": "many"}, "amount"),
        (REFUND | {"minor": True}, {"id": 1, "fee": "1.5"}, "amount"),
        (NOTE | {"when": "contains(id, 'x')"}, {"id": 1, "text": "x"}, "contains"),
        (NOTE | {"when": "a < b"}, {"id": 1, "a": "x", "b": 1}, "a < b"),
        ({"type": "case.requested", "key": "id", "set": {"kind": "kind"}}, {"id": 1, "kind": "gift"}, "kind"),
    ],
)
def test_a_mapping_that_fails_names_the_field(rule, body, named):
    with pytest.raises(Malformed, match=named):
        parse(mapped(rule), body)


def test_two_kinds_of_event_under_one_id_have_two_keys():
    other = {"type": "order.seen", "key": "id", "set": {"order.id": "id"}}
    first, second = parse(mapped(NOTE, other), {"id": 1, "text": "x"})
    assert first.key != second.key
    assert second.order.id == "1"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"events": []}, "events"),
        ({"events": [NOTE | {"key": "a["}]}, "key"),
        ({"events": [NOTE | {"key": []}]}, "key"),
        ({"events": [NOTE | {"set": {"txet": "a"}}]}, "txet"),
        ({"events": [{"type": "message.received", "key": "id", "set": {"message.txet": "a"}}]}, "message.txet"),
        ({"events": [{"type": "case.requested", "key": "id", "set": {"lines.id": "a"}}]}, "lines.id"),
        ({"events": [NOTE | {"set": {"key": "a"}}]}, "key"),
        ({"events": [NOTE | {"words": {"by": {"a": "b"}}}]}, "words"),
        ({"events": [{"type": "commanded", "key": "id"}]}, "type"),
        ({"id": "("}, "id"),
    ],
)
def test_settings_that_cannot_work_are_named(settings, named):
    with pytest.raises(ValidationError, match=named):
        door({"family": "none"}, None, **settings)


def test_id_lane_and_reply_are_as_configured():
    settings = {
        "id": "delivery",
        "lane": "order",
        "reply_status": 202,
        "reply_body": "success",
        "reply_type": "text/plain",
    }
    source = door({"family": "none"}, None, **settings)
    receipt = accepted(source, post({"delivery": 5, "order": "A1"}))
    assert (receipt.id, receipt.lane) == ("5", "A1")
    reply = source.reply(post(BODY))
    assert (reply.status, reply.body, reply.content_type) == (202, b"success", "text/plain")


@pytest.mark.parametrize(
    ("signature", "secret"),
    [
        ({"family": "standard"}, STANDARD),
        (
            {"family": "hmac", "sign": "X-Sig", "timestamp": "X-T", "nonce": "X-N", "over": "{timestamp}{nonce}{body}"},
            "s",
        ),
        ({"family": "sorted", "sign": "query:sign"}, "s"),
        ({"family": "token", "sign": "X-Token"}, "s"),
        ({"family": "none"}, None),
    ],
)
def test_the_sample_is_signed_as_the_sender_would(signature, secret):
    source = door(signature, secret, sample_body=BODY.decode(), id_header="X-Id")
    assert source.samples() == ("sample",)
    request = source.sample("sample", NOON)
    receipt = accepted(source, request)
    assert receipt.id
    assert parse(source, request.body)[0].text == "hello"
    assert source.sample("other", NOON) is None


def test_there_is_no_sample_where_none_can_be_signed():
    assert door({"family": "none"}, None).samples() == ()
    assert door({"family": "sorted", "sign": "field:sign"}, sample_body="{}").samples() == ()


# --- Formats and hostile bodies ---------------------------------------------------------------------------------------

MULTIPART = (
    b'--xx\r\nContent-Disposition: form-data; name="id"\r\n\r\n7\r\n'
    b'--xx\r\nContent-Disposition: form-data; name="text"\r\n\r\nhello\r\n'
    b'--xx\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n\xff\x00\r\n'
    b"--xx--\r\n"
)


@pytest.mark.parametrize(
    ("kind", "body", "prefix"),
    [
        ("application/json; charset=utf-8", b'{"id":7,"text":"hello"}', ""),
        ("application/cloudevents+json", b'{"id":7,"text":"hello"}', ""),
        ("", b'{"id":7,"text":"hello"}', ""),
        ("application/x-www-form-urlencoded", b"id=7&text=hello", ""),
        ("text/xml", b"<r><id>7</id><text>hello</text></r>", "r."),
        ("application/soap+xml", b"<r><id>7</id><text>hello</text></r>", "r."),
        ("multipart/form-data; boundary=xx", MULTIPART, ""),
    ],
)
def test_every_format_is_read_by_its_content_type(kind, body, prefix):
    source = mapped({"type": "noted", "key": f"{prefix}id", "set": {"text": f"{prefix}text"}})
    receipt = accepted(source, post(body, kind=kind))
    (note,) = source.parse(Inbound("shop", body, receipt.meta, NOON))
    assert (note.key, note.text) == ("noted:7", "hello")


@pytest.mark.parametrize(
    ("kind", "sent", "key"),
    [
        ("application/json", '{"id":7,"text":"退货"}', ""),
        ("text/xml", '<?xml version="1.0" encoding="GBK"?><r><id>7</id><text>退货</text></r>', "r."),
        ("text/xml", "<r><id>7</id><text>退货</text></r>", "r."),
    ],
)
def test_json_and_xml_in_an_older_charset(kind, sent, key):
    rule = NOTE | {"key": f"{key}id", "set": {"text": f"{key}text"}}
    (note,) = parse(mapped(rule), sent.encode("gbk"), f"{kind}; charset=GBK")
    assert note.text == "退货"


def test_a_form_in_an_older_charset():
    body = urlencode({"id": "7", "text": "退货"}, encoding="gbk").encode()
    (note,) = parse(mapped(NOTE), body, "application/x-www-form-urlencoded; charset=GBK")
    assert note.text == "退货"


def test_a_fixed_format_does_not_ask_for_the_content_type():
    source = mapped(NOTE, format="json")
    accepted(source, post(BODY, kind="text/plain"))
    assert parse(source, BODY, "text/plain")[0].text == "hello"


def test_an_unknown_content_type_is_told_so():
    with pytest.raises(WrongType):
        mapped(NOTE).verify(post(BODY, kind="text/html"), NOON)
    with pytest.raises(Malformed):
        parse(mapped(NOTE), BODY, "text/html")


TOLD = {
    "claim.seen": (
        {"waybill": "no", "carrier": "by", "kind": "'loss'", "status": "state", "claim": "id", "due_at": "until",
         "amount": "{amount: sum, currency: 'CNY'}"},
        {"no": "yt 0000-1", "by": "YTO", "state": "APPROVED", "sum": "20.00", "until": "2026-01-09T12:00:00Z"},
        {"waybill": "YT00001", "carrier": "YTO", "kind": "loss", "status": "approved", "claim": "7",
         "amount": Money.of("20.00 CNY"), "due_at": datetime(2026, 1, 9, 12, tzinfo=UTC)},
    ),
    "evidence.added": (
        {"kind": "'photo'", "name": "name", "url": "url", "source": "'buyer'", "size": "size"},
        {"name": "a.jpg", "url": "https://a.example/a.jpg", "size": 12},
        {"kind": "photo", "evidence": "evidence.added:7", "url": "https://a.example/a.jpg", "size": 12},
    ),
    "coverage.seen": ({"carrier": "by", "served": "ok"}, {"by": "HHTT", "ok": False}, {"served": False}),
    "case.classified": (
        {"issue": "issue", "level": "level", "also": "also", "why": "why"},
        {"issue": "lost_parcel", "level": 2, "also": ["other"], "why": ["said so"]},
        {"issue": "lost_parcel", "level": 2, "also": ("other",), "why": ("said so",)},
    ),
    "remedy.accepted": (
        {"remedy": "what", "amount": "{amount: sum, currency: 'CNY'}", "by": "who"},
        {"what": "partial_refund", "sum": "5", "who": "ann"},
        {"remedy": "partial_refund", "amount": Money.of("5 CNY"), "by": "ann"},
    ),
    "remedy.declined": ({"by": "who"}, {"who": "buyer"}, {"by": "buyer"}),
    "identity.checked": ({"identity": "is"}, {"is": "verified"}, {"identity": "verified"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(TOLD))
def test_a_system_of_the_shop_tells_what_it_knows_of_a_case(kind):
    fields, body, expected = TOLD[kind]
    rule = {"type": kind, "key": "id", "refs": {"order": "order"}, "set": fields}
    if kind == "claim.seen":
        rule["words"] = {"status": {"APPROVED": "approved"}}
    (event,) = parse(mapped(rule), json.dumps({"id": 7, "order": "O1", **body}).encode())
    assert (event.type, event.key) == (kind, f"{kind}:7")
    assert {name: getattr(event, name) for name in expected} == expected


@pytest.mark.parametrize("kind", ["case.closed", "action.settled", "commanded", "remedy.offered", "case.erased"])
def test_what_the_bridge_does_is_not_for_others_to_tell(kind):
    with pytest.raises(ValidationError, match="type"):
        mapped({"type": kind, "key": "id"})


BOMB = b'<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><r><id>&b;</id></r>'


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b""),
        (JSON, b'{"id": 7, "tex'),
        (JSON, b"[" * 100_000),
        (JSON, b'{"a":' * 500 + b"1" + b"}" * 500),
        (JSON, b'{"id":"\xff"}'),
        (JSON, '{"id":"退"}'.encode("gbk")),
        (JSON, b'{"id":NaN,"text":"x"}'),
        (JSON, b'{"id":1e99999,"text":"x"}'),
        ("text/xml", b"<r><id>7</r>"),
        ("text/xml", b"<r>" * 10_000),
        ("text/xml", BOMB),
        ("text/xml", b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>'),
        ("application/x-www-form-urlencoded", b"id=%ff&text=%fe"),
        ("application/x-www-form-urlencoded; charset=klingon", b"id=7&text=x"),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % i for i in range(5000))),
        ("multipart/form-data", MULTIPART),
        ("multipart/form-data; boundary=yy", MULTIPART),
        ("multipart/form-data; boundary=xx", MULTIPART[:-20]),
    ],
)
def test_a_broken_or_hostile_body_is_malformed_and_nothing_worse(kind, body):
    with pytest.raises(Malformed):
        parse(mapped(NOTE), body, kind)


KINDS = [JSON, "text/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=xx", "text/html", ""]
SIGNATURES = [
    {"family": "standard"},
    {"family": "hmac", "sign": "X-Sig#v1", "over": "{timestamp}.{body}", "timestamp": "X-Time"},
    {"family": "sorted", "sign": "field:sign", "timestamp": "field:ts"},
    {"family": "token", "sign": "field:token"},
]
DOORS = [door(one, STANDARD, id="id", lane="text") for one in SIGNATURES]
SOURCE = mapped(NOTE, NOTE | {"each": "rows", "when": "n > `1`", "at": "ts"}, REFUND)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "text", "rows", "n", "ts", "fee"]), inner),
)


@given(
    source=st.sampled_from(DOORS), body=st.binary(), kind=st.sampled_from(KINDS), header=st.text(), seconds=st.text()
)
def test_verify_lets_nobody_in_by_chance_and_never_breaks(source, body, kind, header, seconds):
    names = ["X-Sig", "X-Time", "webhook-id", "webhook-timestamp", "webhook-signature"]
    headers = dict(zip(names, ["v1=" + header, seconds, header, seconds, "v1," + header], strict=True))
    with pytest.raises(Refused):
        source.verify(post(body, headers, kind=kind), NOON)


@given(body=st.binary() | ANY.map(lambda one: json.dumps(one).encode()), kind=st.sampled_from(KINDS))
def test_parse_gives_the_same_events_twice_or_malformed(body, kind):
    try:
        first = parse(SOURCE, body, kind)
    except Malformed:
        return
    assert parse(SOURCE, body, kind) == first
