"""The signature families reproduce known vectors and refuse everything else."""

import base64
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.errors import Unverified
from rmabridge.wire import signing

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
AT = datetime.fromtimestamp(1767294245, UTC)
BODY = b'{"type":"rma.created","data":{"id":"r1"}}'
NOTE = '{"id":5001,"order_id":9001,"note":"尺码不合适"}'.encode()
TOP = {
    "method": "taobao.refund.get",
    "app_key": "12345678",
    "session": "demo-session",
    "timestamp": "2026-01-02 03:04:05",
    "format": "json",
    "v": "2.0",
    "fields": "refund_id,status",
    "refund_id": "987654321",
}


def wrapped_md5(secret: str, **params: str) -> str:
    return signing.digest_hex(f"{secret}{signing.sorted_pairs(params)}{secret}".encode()).upper()


def top(method: str) -> bytes:
    return signing.sorted_pairs(TOP | {"sign_method": method}).encode()


def doudian(body: bytes) -> str:
    return signing.digest_hex(b"7000000000000000001" + body + b"demo-dd-secret")


VECTORS: list[tuple[str, Callable[[], str], str]] = [
    (
        "shopify",
        lambda: signing.hmac_base64("shpss_demo_secret", NOTE),
        "N/Qo8wtnRFFq9Zn5xO1fBGIthcGI6LogvQRekXZpCNI=",
    ),
    (
        "woocommerce",
        lambda: signing.hmac_base64("wc_demo_secret", NOTE),
        "Pf6q9Dyb1a22NbYs9W16rjpi7RePxWpubLxiBCWfAaU=",
    ),
    (
        "ebay challenge",
        lambda: signing.digest_hex(
            b"demo-challengedemo-verification-token-0123456789https://relay.example.com/ebay", "sha256"
        ),
        "e1021c03c79323e774c94bbb51500f97546431e607e82a2f05d81ff52460bea5",
    ),
    (
        "lazada call",
        lambda: signing.hmac_hex(
            "demo-laz-secret",
            b"/order/reverse/return/detail/list"
            + signing.sorted_pairs(
                {
                    "app_key": "100132",
                    "access_token": "tok",
                    "timestamp": "1767294245000",
                    "sign_method": "sha256",
                    "reverse_order_id": "500123",
                }
            ).encode(),
        ).upper(),
        "1C29F4AEAC68F6E74C36B4E4BA20E460140587B272ADD712FE12F2EA0713B6E6",
    ),
    (
        "lazada push",
        lambda: signing.hmac_hex(
            "demo-laz-secret",
            b'100132{"seller_id":"1000001","message_type":10,"data":{"reverse_order_id":"500123"}}',
        ),
        "650e1c2a955caa5997d8870fb27f827ddac5282c969aa745e732ff091b2f459b",
    ),
    (
        "jd call",
        lambda: wrapped_md5(
            "demo-jd-secret",
            **{
                "method": "jingdong.asc.serviceAndRefund.view",
                "app_key": "JDKEY",
                "access_token": "tok",
                "timestamp": "2026-01-02 03:04:05",
                "v": "2.0",
                "360buy_param_json": '{"orderId":123456789,"pageNumber":1,"pageSize":10}',
            },
        ),
        "4F6910BFC54E7D301A5747398BB8772A",
    ),
    (
        "pinduoduo call",
        lambda: wrapped_md5(
            "demo-pdd-secret",
            type="pdd.refund.list.increment.get",
            client_id="pddclient",
            access_token="tok",
            timestamp="1767294245",
            data_type="JSON",
            version="V1",
            after_sales_status="1",
            after_sales_type="1",
            start_updated_at="1767290645",
            end_updated_at="1767292445",
        ),
        "9BCA1A4E718A2EE762D1A2791DBA70A1",
    ),
    (
        "pinduoduo connection",
        lambda: signing.digest_base64(b"pddclient1767294245000demo-pdd-secret"),
        "qQFColn8o8okg+JLv/zR1w==",
    ),
    (
        "taobao connection",
        lambda: wrapped_md5("demo-top-secret", app_key="12345678", group_name="default", timestamp="1767323045000"),
        "089E2107A4469AAF0CB6E8F35287176B",
    ),
    (
        "taobao md5",
        lambda: signing.digest_hex(b"demo-top-secret" + top("md5") + b"demo-top-secret").upper(),
        "CE3BC13264B9741C63B974B36990FCD9",
    ),
    (
        "taobao hmac",
        lambda: signing.hmac_hex("demo-top-secret", top("hmac"), "md5").upper(),
        "14F79C6122967E1BB85395BE8037C1BE",
    ),
    (
        "taobao hmac-sha256",
        lambda: signing.hmac_hex("demo-top-secret", top("hmac-sha256")).upper(),
        "13F325567AB1A452C1A8351AE8DA84A02B43082645591EBF276D828201491A57",
    ),
    (
        "tiktok shop push",
        lambda: signing.hmac_hex(
            "demo-tts-secret",
            b'6abcdemo{"type":12,"shop_id":"7494049642642441621","timestamp":1767294245,'
            b'"data":{"return_id":"4035318504086604004"}}',
        ),
        "3ba5d7c3dc54c79885609f4ea99060ed222df53657fbb9beee437adf7b7e4927",
    ),
    (
        "tiktok shop call",
        lambda: signing.hmac_hex(
            "demo-tts-secret",
            b"demo-tts-secret/return_refund/202309/returns/search"
            + signing.sorted_pairs({"app_key": "6abcdemo", "shop_cipher": "CIPHER", "timestamp": "1767294245"}).encode()
            + b'{"order_ids":["576461413038785752"]}demo-tts-secret',
        ),
        "d2461b3ee2394c8ec89e5ba45c2aaba9795cbd62396b7f720895ae6189db3f20",
    ),
    (
        "doudian push",
        lambda: doudian(
            b'[{"tag":"200","msg_id":"7061011234567890123:0:200:1767294245:0",'
            b'"data":"{\\"aftersale_id\\":7061011234567890123}"}]'
        ),
        "e797437f67022a31723a21386bc6a222",
    ),
    (
        "doudian call",
        lambda: signing.hmac_hex(
            "demo-dd-secret",
            b"demo-dd-secretapp_key7000000000000000001methodafterSale.Detailparam_json"
            b'{"after_sale_id":"7061011234567890123"}timestamp1767294245v2demo-dd-secret',
        ),
        "909236a842d4d202354cd9c77fc0f7a356b5e5e363317448f0ddaee729c80b31",
    ),
    (
        "xiaohongshu call",
        lambda: signing.digest_hex(
            b"afterSale.getAfterSaleInfo?appId=demoapp&timestamp=1767294245&version=2.0demo-xhs-secret"
        ),
        "a24853e496424d57d9bc1c28f2a86fda",
    ),
    (
        "shopee push",
        lambda: signing.hmac_hex(
            "demo-partner-key",
            b'https://relay.example.com/shopee|{"code":29,"shop_id":22222,"timestamp":1767294245,'
            b'"data":{"return_sn":"RTN260102DEMO01"}}',
        ),
        "cde52facc6b202927d0681889f3106f9c924b8acf7e1f9b40967cafcfe52c0aa",
    ),
    (
        "shopee call",
        lambda: signing.hmac_hex(
            "demo-partner-key", b"1000001/api/v2/returns/get_return_detail1767294245access-tok22222"
        ),
        "fd16b2c72fad8f92e4ebb41bf8bf0611318edbcac50ceda3cc6f61bb77541c56",
    ),
    ("RFC 1321", lambda: signing.digest_hex(b"abc"), "900150983cd24fb0d6963f7d28e17f72"),
    ("RFC 1321 in base64", lambda: signing.digest_base64(b"abc"), "kAFQmDzST7DWlj99KOF/cg=="),
    (
        "RFC 2202 sha1",
        lambda: signing.hmac_hex("Jefe", b"what do ya want for nothing?", "sha1"),
        "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
    ),
    (
        "RFC 4231 sha256",
        lambda: signing.hmac_hex("Jefe", b"what do ya want for nothing?"),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
]


@pytest.mark.parametrize(("make", "expected"), [pytest.param(*rest, id=name) for name, *rest in VECTORS])
def test_the_known_vectors_come_out(make: Callable[[], str], expected: str) -> None:
    assert make() == expected


def test_standard_webhooks_come_out_as_the_known_vector() -> None:
    headers = signing.standard_sign(SECRET, "msg_demo1", AT, BODY)
    assert headers == {
        "webhook-id": "msg_demo1",
        "webhook-timestamp": "1767294245",
        "webhook-signature": "v1,7L6a7Kc248BMKNwXse9ut8OfwjJBsW+t5SUYhyR0LAo=",
    }
    assert signing.standard_verify([SECRET], headers, BODY, AT) == "msg_demo1"


def test_kdniao_signs_the_hex_text_and_others_the_raw_digest() -> None:
    hex_text = base64.b64encode(signing.digest_hex(b"abc").encode()).decode()
    assert len(hex_text) == 44
    assert hex_text != signing.digest_base64(b"abc")


def test_a_secret_is_used_as_it_is_given_and_a_normalised_one_signs_differently() -> None:
    composed, decomposed = "schlüssel", unicodedata.normalize("NFKD", "schlüssel")
    assert signing.hmac_hex(composed, b"x") != signing.hmac_hex(decomposed, b"x")


def test_an_empty_secret_signs_nothing() -> None:
    for sign in (signing.hmac_hex, signing.hmac_base64):
        with pytest.raises(ValueError, match="empty secret"):
            sign("", b"x")
    for secret in ("", "whsec_", "whsec_!!!"):
        with pytest.raises(ValueError, match="secret"):
            signing.standard_sign(secret, "a", AT, b"")


def test_old_and_new_secret_both_count_during_a_rotation() -> None:
    new = "whsec_" + base64.b64encode(b"another key of at least 24 bytes").decode()
    headers = signing.standard_sign(SECRET, "m", AT, BODY)
    assert signing.standard_verify([new, SECRET], headers, BODY, AT) == "m"
    with pytest.raises(Unverified):
        signing.standard_verify([new], headers, BODY, AT)


def test_other_versions_and_broken_entries_do_not_hide_a_good_signature() -> None:
    headers = signing.standard_sign(SECRET, "m", AT, BODY)
    headers["webhook-signature"] = f"v2,xx v1a,AAAA v1, , {headers['webhook-signature']}"
    assert signing.standard_verify([SECRET], {k.title(): v for k, v in headers.items()}, BODY, AT) == "m"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, "", "x", "-1", "１７６７２９４２４５", "1e9", "9" * 400, "\udcff"])
def test_a_missing_or_unreadable_header_is_refused(name: str, value: str | None) -> None:
    headers = signing.standard_sign(SECRET, "m", AT, BODY)
    headers.pop(name)
    with pytest.raises(Unverified):
        signing.standard_verify([SECRET], headers | ({} if value is None else {name: value}), BODY, AT)


@pytest.mark.parametrize("drift", [timedelta(minutes=5, seconds=1), timedelta(days=400)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_signed_time_outside_the_window_is_refused_in_both_directions(drift: timedelta, sign: int) -> None:
    headers = signing.standard_sign(SECRET, "m", AT, BODY)
    with pytest.raises(Unverified):
        signing.standard_verify([SECRET], headers, BODY, AT + sign * drift)


def test_the_edge_of_the_window_is_inside() -> None:
    signing.fresh(AT, AT + timedelta(minutes=5), timedelta(minutes=5))
    signing.fresh(AT, AT - timedelta(minutes=5), timedelta(minutes=5))


@settings(deadline=None)
@given(body=st.binary(min_size=1, max_size=200), place=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_of_the_body_is_refused(body: bytes, place: int, bit: int) -> None:
    headers = signing.standard_sign(SECRET, "m", AT, body)
    changed = bytearray(body)
    changed[place % len(body)] ^= 1 << bit
    with pytest.raises(Unverified):
        signing.standard_verify([SECRET], headers, bytes(changed), AT)


@settings(deadline=None)
@given(place=st.integers(0), char=st.characters(codec="ascii", exclude_categories=["Zs", "Cc"]))
def test_a_changed_character_of_the_signature_is_refused(place: int, char: str) -> None:
    headers = signing.standard_sign(SECRET, "m", AT, BODY)
    good = headers["webhook-signature"]
    at = place % len(good)
    changed = good[:at] + char + good[at + 1 :]
    if changed == good:
        return
    with pytest.raises(Unverified):
        signing.standard_verify([SECRET], headers | {"webhook-signature": changed}, BODY, AT)


@settings(deadline=None)
@given(signature=st.text(), id_=st.text(), seconds=st.text())
def test_any_headers_are_answered_with_unverified(signature: str, id_: str, seconds: str) -> None:
    headers = {"webhook-id": id_, "webhook-timestamp": seconds, "webhook-signature": signature}
    with pytest.raises(Unverified):
        signing.standard_verify([SECRET], headers, BODY, AT)


@settings(deadline=None)
@given(st.text() | st.binary(), st.text() | st.binary())
def test_comparing_works_on_any_text(a: str | bytes, b: str | bytes) -> None:
    assert signing.same(a, a)
    if isinstance(a, str) and isinstance(b, str):
        assert signing.same(a, b) == (a == b)


def test_texts_that_are_no_utf_8_compare_instead_of_raising() -> None:
    assert not signing.same("\udcff", "ÿ")
    assert not signing.any_matches("\ud800", ["a"])


def test_white_space_around_a_given_signature_does_not_matter() -> None:
    assert signing.any_matches(" abc\n", ["xyz", "abc"])
    assert not signing.any_matches("abc", [])
    assert not signing.any_matches("", ["abc"])


def test_sorted_pairs_are_sorted_by_key_and_drop_what_is_empty() -> None:
    params = {"b": "2", "a": "1", "c": ""}
    assert signing.sorted_pairs(params) == "a1b2"
    assert signing.sorted_pairs(params, pair="=", joiner="&", skip_empty=False) == "a=1&b=2&c="
