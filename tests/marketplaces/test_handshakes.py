"""Handshakes: each sender's challenge gets its own reply, and nothing else does."""

import base64
import json
import struct
from hashlib import sha1, sha256

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_webhook import Webhook
from rmabridge_webhook.handshakes import Lark, WeCom

from rmabridge.abilities import WebRequest
from rmabridge.errors import Refused, Unverified
from rmabridge.testing.contexts import NOON, account
from rmabridge.wire.sealing import deciphered
from worlds import document, running, shop_webhook

NOTE = {"type": "noted", "key": "id", "set": {"text": "text"}}
EBAY = {
    "family": "ebay",
    "token": "demo-verification-token-0123456789",
    "endpoint": "https://relay.example.com/ebay",
}
# The sample of WeCom's documentation.
WECOM = {
    "family": "wecom",
    "token": "QDG6eK",
    "aes_key": "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C",
    "receiver": "wx5823bf96d3bd56c7",
}
ECHO = {
    "msg_signature": "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3",
    "timestamp": "1409659589",
    "nonce": "263014780",
    "echostr": "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==",
}
LARK = {"family": "lark", "token": "v-token", "encrypt_key": "test key"}


def door(**challenge):
    given = {"signature": {"family": "none"}, "events": [NOTE], "challenge": challenge or None}
    return account(Webhook, "shop", **given)


def get(**query):
    return WebRequest("GET", "/hooks/shop", query, {}, b"")


def post(body):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WebRequest("POST", "/hooks/shop", {}, {"Content-Type": "application/json"}, raw)


def sealed(told, key="test key"):
    """A body as Lark enciphers it."""
    plain = json.dumps(told).encode()
    plain += bytes([16 - len(plain) % 16]) * (16 - len(plain) % 16)
    start = b"0123456789abcdef"
    cipher = Cipher(AES256(sha256(key.encode()).digest()), CBC(start)).encryptor()
    return {"encrypt": base64.b64encode(start + cipher.update(plain) + cipher.finalize()).decode()}


def test_ebay_gets_the_hash_of_code_token_and_address():
    answer = door(**EBAY).handshake(get(challenge_code="demo-challenge"), NOON)
    expected = "e1021c03c79323e774c94bbb51500f97546431e607e82a2f05d81ff52460bea5"
    assert (answer.status, json.loads(answer.body)) == (200, {"challengeResponse": expected})
    assert answer.content_type == "application/json"


def test_wecom_gets_what_was_enciphered_as_plain_text():
    answer = door(**WECOM).handshake(get(**ECHO), NOON)
    assert (answer.status, answer.body, answer.content_type) == (200, b"1616140317555161061", "text/plain")


@pytest.mark.parametrize("wrong", ["msg_signature", "timestamp", "nonce", "echostr"])
def test_wecoms_challenge_is_refused_where_anything_was_changed(wrong):
    with pytest.raises(Unverified):
        door(**WECOM).handshake(get(**{**ECHO, wrong: ECHO[wrong] + "A"}), NOON)


def test_wecoms_challenge_for_another_receiver_is_refused():
    with pytest.raises(Unverified, match="another receiver"):
        door(**{**WECOM, "receiver": "wx0000000000000000"}).handshake(get(**ECHO), NOON)


def test_a_wecom_key_that_is_none_is_told_when_the_configuration_is_read():
    with pytest.raises(ValidationError, match="EncodingAESKey of 43 characters"):
        door(**{**WECOM, "aes_key": "short"})


@pytest.mark.evidence("webhook", "vendor_sample")
def test_the_published_words_of_lark_are_deciphered():
    assert deciphered("P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk=", "test key") == b"hello world"


@pytest.mark.parametrize("wrap", [lambda told: told, sealed], ids=["plain", "enciphered"])
def test_lark_gets_its_challenge_back(wrap):
    asked = {"challenge": "ajls384kdjx98XX", "token": "v-token", "type": "url_verification"}
    answer = door(**LARK).handshake(post(wrap(asked)), NOON)
    assert json.loads(answer.body) == {"challenge": "ajls384kdjx98XX"}
    with pytest.raises(Unverified):
        door(**LARK).handshake(post(wrap({**asked, "token": "another"})), NOON)
    assert door(**LARK).handshake(post(wrap({**asked, "type": "event_callback"})), NOON) is None


@pytest.mark.parametrize("challenge", [EBAY, WECOM, LARK, {}], ids=["ebay", "wecom", "lark", "none"])
def test_an_ordinary_webhook_is_no_handshake(challenge):
    for request in (post({"id": "1", "text": "x"}), post(b"\xff"), get(), get(page="1")):
        assert door(**challenge).handshake(request, NOON) is None


@pytest.mark.row("P04")
async def test_each_gets_its_own_reply_at_the_door_and_nothing_is_stored(tmp_path, sink):
    config = document(tmp_path, sink.url)
    for one in (EBAY, WECOM, LARK):
        config["marketplaces"][one["family"]] = shop_webhook(challenge=one)
    config["carriers"] = {"kdniao": {"plugin": "kdniao", "business_id": "1", "app_key": "k", "push_token": "p"}}
    async with running(config, sink) as world:

        async def ask(method, account, **parts):
            async with world.client.request(method, f"{world.bridge.url}/hooks/{account}", **parts) as answer:
                return answer.status, answer.content_type, await answer.text()

        status, kind, text = await ask("GET", "ebay", params={"challenge_code": "demo-challenge"})
        assert (status, kind, set(json.loads(text))) == (200, "application/json", {"challengeResponse"})
        assert await ask("GET", "wecom", params=ECHO) == (200, "text/plain", "1616140317555161061")
        asked = {"challenge": "c1", "token": "v-token", "type": "url_verification"}
        status, _, text = await ask("POST", "lark", json=asked)
        assert (status, json.loads(text)) == (200, {"challenge": "c1"})
        assert world.rows("SELECT count(*) FROM inbox") == [(0,)]
        kdniao = world.bridge.registry.accounts["kdniao"]
        push = kdniao.sample(kdniao.samples()[0], world.bridge.store.clock.now())
        status, _, text = await ask("POST", "kdniao", params=push.query, data=push.body, headers=push.headers)
        told = json.loads(text)
        assert (status, told["EBusinessID"], told["Success"]) == (200, "1", True)
        assert (await ask("GET", "wecom", params={**ECHO, "nonce": "1"}))[0] == 401


@given(st.binary(max_size=200), st.text(max_size=80))
def test_any_bytes_are_answered_refused_or_passed_on(body, text):
    for one in (EBAY, WECOM, LARK):
        mark = sha1("".join(sorted(["QDG6eK", text, "1", "2"])).encode(errors="surrogatepass")).hexdigest()
        query = {"challenge_code": text, "echostr": text, "timestamp": "1", "nonce": "2", "msg_signature": mark}
        for request in (
            get(**query),
            post(body),
            post({"encrypt": text}),
            post({"encrypt": base64.b64encode(body).decode()}),
        ):
            try:
                door(**one).handshake(request, NOON)
            except Refused:
                continue


def test_a_length_beyond_the_words_is_refused():
    key = base64.b64decode(WECOM["aes_key"] + "=")
    plain = b"r" * 16 + struct.pack(">I", 1 << 31) + b"x" * 12
    cipher = Cipher(AES256(key), CBC(key[:16])).encryptor()
    echo = base64.b64encode(cipher.update(plain) + cipher.finalize()).decode()
    mark = sha1("".join(sorted(["QDG6eK", echo, "1", "2"])).encode()).hexdigest()
    with pytest.raises(Unverified):
        door(**WECOM).handshake(get(echostr=echo, timestamp="1", nonce="2", msg_signature=mark), NOON)


def test_secrets_of_a_handshake_are_not_shown():
    assert "v-token" not in repr(Lark(**LARK))
    assert "QDG6eK" not in repr(WeCom(**WECOM))
