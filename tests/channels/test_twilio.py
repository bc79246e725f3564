"""Twilio: the signature's vector, senders, numbers, words, errors, lookups, callbacks, buyers' words, the contract."""

import base64
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, parse_qsl, urlencode

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_twilio import Twilio
from rmabridge_twilio.addresses import dialled, number_of
from rmabridge_twilio.answers import codes
from rmabridge_twilio.signing import addresses, fields_of, signature

from rmabridge.abilities import Inbound, WebRequest
from rmabridge.errors import Malformed, Rejected, Unauthorised, Unavailable, Unverified, WrongType
from rmabridge.model import Attachment, Delivered, Form, MessageReceived, RefKind, SendMessage, TemplateRef
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.contract import Call, ConnectContract, ReceiptContract
from rmabridge.testing.simulators import twilio as simulated
from rmabridge.testing.simulators.twilio import TwilioSim

SID, TOKEN = "AC" + "0a" * 16, "token-of-the-account"
HX, MG, SK = "HX" + "0b" * 16, "MG" + "0c" * 16, "SK" + "0d" * 16
DOOR = "https://bridge.example/hooks/twilio"
SETTINGS = {
    "account_sid": SID,
    "auth_token": TOKEN,
    "sender": "+12025550123",
    "whatsapp_sender": "+12025550147",
    "webhook_url": DOOR,
    "templates": {"first_reply.return": {"sid": HX, "variables": {"1": "case"}}},
}
BUYER = "+8613812345678"
WHATSAPP = f"whatsapp:{BUYER}"
FORM = "application/x-www-form-urlencoded"
# The example of Twilio's page on securing webhooks.
VECTOR_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
VECTOR_FIELDS = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}
VECTOR = "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def plugin(**settings) -> Twilio:
    return account(Twilio, "twilio", **SETTINGS | settings)


def message(to: str = BUYER, form: Form = Form.SMS, **facts) -> SendMessage:
    return SendMessage(
        **{"purpose": "reply:first:1", "form": form, "to": to, "text": "Grüße, 您的申请已收到 😀"} | facts
    )


def templated(**facts) -> SendMessage:
    ref = TemplateRef(id="first_reply.return", version=1, locale="zh-CN")
    return message(form=Form.CHAT, template=ref, **{"values": {"case": "C1"}} | facts)


@pytest.fixture
async def sim():
    async with TwilioSim(SID, TOKEN) as made:
        yield made


@asynccontextmanager
async def lent(now=None, **facts):
    clock = {"now": now} if now else {}
    ctx = context("twilio", **clock, **facts)
    try:
        yield ctx
    finally:
        await ctx.http.aclose()


@pytest.fixture
async def ctx(sim):
    async with lent(sim.now) as made:
        yield made


# The signature


@pytest.mark.row("P06")
@pytest.mark.evidence("twilio", "vendor_sample")
def test_the_signature_is_the_published_example_and_fails_with_one_byte_flipped():
    assert signature("12345", VECTOR_URL, VECTOR_FIELDS.items()) == VECTOR
    assert simulated.signature("12345", VECTOR_URL, VECTOR_FIELDS.items()) == VECTOR
    twilio, body = plugin(auth_token="12345", webhook_url=VECTOR_URL), urlencode(VECTOR_FIELDS).encode()
    good = WebRequest("POST", "/hooks/twilio", {}, {"Content-Type": FORM, "X-Twilio-Signature": VECTOR}, body)
    assert twilio.verify(good, NOON)
    for place in range(len(body)):
        with pytest.raises((Unverified, Malformed)):
            twilio.verify(replace(good, body=flipped(body, place)), NOON)


def flipped(body: bytes, place: int) -> bytes:
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def test_equal_values_of_one_name_are_signed_once_and_others_in_order():
    fields = [("B", "2"), ("A", "z"), ("A", "a"), ("A", "z"), ("C", "")]
    assert signature("t", DOOR, fields) == signature("t", DOOR, [("A", "a"), ("A", "z"), ("B", "2"), ("C", "")])
    assert signature("t", DOOR, fields) == simulated.signature("t", DOOR, fields)


@pytest.mark.parametrize(
    ("url", "other"),
    [
        ("https://a.example/x?y=1", "https://a.example:443/x?y=1"),
        ("http://a.example:8080/x", "http://a.example/x"),
    ],
)
def test_the_port_may_be_signed_or_left_out(url, other):
    assert list(addresses(url)) == [url, other]


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_malformed(body):
    try:
        fields = fields_of(body)
    except Malformed:
        return
    assert signature("t", DOOR, fields) == signature("t", DOOR, fields[::-1])


def posted(fields: dict, url: str = DOOR, query: dict | None = None) -> WebRequest:
    mark = simulated.signature(TOKEN, url, fields.items())
    headers = {"Content-Type": FORM, "X-Twilio-Signature": mark}
    return WebRequest("POST", "/hooks/twilio", query or {}, headers, urlencode(fields).encode())


def test_the_public_address_counts_and_not_what_a_proxy_calls():
    fields = {"MessageSid": "SM1", "Body": "hi", "From": BUYER}
    assert plugin().verify(posted(fields), NOON).meta == {}
    assert plugin().verify(posted(fields, "https://bridge.example:443/hooks/twilio"), NOON)
    with pytest.raises(Unverified):
        plugin().verify(posted(fields, "http://127.0.0.1:8080/hooks/twilio"), NOON)
    with pytest.raises(Unverified, match="webhook_url"):
        plugin(webhook_url=None).verify(posted(fields), NOON)


def test_the_mark_in_the_address_is_signed_too():
    fields = {"MessageSid": "SM1", "MessageStatus": "delivered"}
    good = posted(fields, f"{DOOR}?rma=C1.k", {"rma": "C1.k"})
    assert plugin().verify(good, NOON).meta == {"rma": "C1.k"}
    for query in ({"rma": "C2.k"}, {}):
        with pytest.raises(Unverified):
            plugin().verify(replace(good, query=query), NOON)


def test_an_address_with_a_query_of_its_own_keeps_it():
    url = f"{DOOR}?shop=one"
    fields = {"MessageSid": "SM1", "MessageStatus": "delivered"}
    request = posted(fields, f"{url}&rma=C1.k", {"shop": "one", "rma": "C1.k"})
    assert plugin(webhook_url=url).verify(request, NOON).meta == {"rma": "C1.k"}


def test_what_is_no_form_is_refused():
    with pytest.raises(WrongType):
        plugin().verify(WebRequest("POST", "/hooks/twilio", {}, {"Content-Type": "application/json"}, b"{}"), NOON)


# Sending


async def test_a_text_message_is_a_form_with_a_callback_that_bears_the_case():
    async with lent() as ctx:
        with respx.mock(using="httpx") as mock:
            route = mock.post(f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json").mock(
                httpx.Response(201, json={"sid": "SM" + "1" * 32, "status": "queued"})
            )
            result = await plugin().send(message(), ctx)
    request = route.calls.last.request
    assert result.id == "SM" + "1" * 32
    assert request.headers["Content-Type"] == FORM
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(f"{SID}:{TOKEN}".encode()).decode()
    assert dict(parse_qsl(request.content.decode())) == {
        "To": BUYER,
        "From": "+12025550123",
        "Body": "Grüße, 您的申请已收到 😀",
        "StatusCallback": f"{DOOR}?rma=C1.{ctx.idempotency_key}",
    }


async def test_a_messaging_service_picks_the_sender_and_an_api_key_signs_in(sim, ctx):
    sim.keys[SK] = "secret-of-the-key"
    keyed = {"api_key_sid": SK, "api_key_secret": "secret-of-the-key"}
    await plugin(url=sim.url, sender=None, messaging_service_sid=MG, **keyed).send(message(), ctx)
    (sent,) = sim.books["messages"]
    assert (sent["from"], sent["fields"]["MessagingServiceSid"]) == ("+12025550123", MG)
    assert "From" not in sent["fields"]
    assert sent["body"] == "Grüße, 您的申请已收到 😀"


async def test_without_a_public_address_no_callback_is_asked_for(sim, ctx):
    await plugin(url=sim.url, webhook_url=None).send(message(), ctx)
    assert sim.books["messages"][0]["callback"] is None


async def test_a_mapped_template_goes_by_whatsapp_as_a_content_template(sim, ctx):
    await plugin(url=sim.url).send(templated(), ctx)
    (sent,) = sim.books["messages"]
    assert (sent["to"], sent["from"]) == (WHATSAPP, "whatsapp:+12025550147")
    assert (sent["body"], sent["fields"]["ContentSid"]) == ("Your request C1 has come in.", HX)
    assert json.loads(sent["fields"]["ContentVariables"]) == {"1": "C1"}
    assert "Body" not in sent["fields"]


async def test_other_words_go_by_whatsapp_as_they_are_and_links_below_them(sim, ctx):
    file = Attachment(name="label.pdf", url="https://shop.example/label.pdf")
    await plugin(url=sim.url).send(message(WHATSAPP, Form.CHAT, attachments=(file,)), ctx)
    assert sim.books["messages"][0]["body"].endswith("😀\nlabel.pdf: https://shop.example/label.pdf")


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (message(text=" "), "empty"),
        (message(text="字" * 1601), "1600"),
        (templated(values={}), "no value for case"),
        (message(form=Form.MAIL), "no sender for mail"),
    ],
)
async def test_what_cannot_go_is_refused_before_anything_leaves(sim, ctx, sent, why):
    with pytest.raises(Rejected, match=why):
        await plugin(url=sim.url).send(sent, ctx)
    assert sim.books["messages"] == sim.books["refusals"] == []


def test_an_account_carries_only_what_it_has_senders_for():
    assert plugin().carries(Form.SMS)
    assert not plugin(whatsapp_sender=None).carries(Form.CHAT)
    assert not plugin(sender=None).carries(Form.SMS)
    assert plugin(whatsapp_sender=None).limit(Form.CHAT) is None
    assert not plugin().limit(Form.SMS).fits("x" * 1601)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"sender": None, "whatsapp_sender": None}, "messaging_service_sid"),
        ({"api_key_sid": SK}, "api_key_secret"),
        ({"webhook_url": f"{DOOR}#rc=2"}, "webhook_url"),
        ({"templates": {"a": {"sid": HX, "vars": {}}}}, "vars"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(settings, named):
    with pytest.raises(ValidationError, match=named):
        plugin(**settings)


@pytest.mark.parametrize(
    ("given", "country", "number"),
    [
        ("+86 138-1234-5678", None, BUYER),
        ("008613812345678", None, BUYER),
        ("13812345678", "86", BUYER),
        ("202-555-0188", "1", "+12025550188"),
        ("1-202-555-0188", "1", "+12025550188"),
        ("86-138 1234 5678", "86", BUYER),
        ("447911123456", "44", "+447911123456"),
        ("＋４４ (0)7911 123456", None, "+447911123456"),
    ],
)
def test_a_number_is_written_in_e164(given, country, number):
    assert dialled(given, Form.SMS, country) == number


def test_only_what_is_a_whatsapp_address_is_written_to_by_whatsapp():
    assert dialled("whatsapp:+86 138 1234 5678", Form.CHAT, None) == dialled(BUYER, Form.CHAT, None) == WHATSAPP
    for other in ("13812345678", "1234567890", "33", "whatsapp:13812345678", "whatsapp:+138****5678"):
        with pytest.raises(Rejected):
            dialled(other, Form.CHAT, "86")


@pytest.mark.parametrize("given", ["", "138****5678", "13812345678", "02112345678", "+", "buyer@example.com", "+12"])
def test_what_is_no_whole_number_is_never_dialled(given):
    with pytest.raises(Rejected):
        dialled(given, Form.SMS, None)


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_refused(given):
    try:
        number = dialled(given, Form.SMS, "1")
    except Rejected:
        return
    assert number_of(number) == number


# Errors


@pytest.mark.parametrize(
    ("code", "error"),
    [(21211, Rejected), (21408, Rejected), (21610, Rejected), (21611, Unavailable), (20429, Unavailable)],
)
async def test_an_error_code_decides_what_the_bridge_does(sim, ctx, code, error):
    sim.do_fail_next(code)
    with pytest.raises(error, match=str(code)) as caught:
        await plugin(url=sim.url).send(message(), ctx)
    assert caught.value.hint


async def test_a_code_that_is_not_listed_waits_for_a_person_with_its_page(sim, ctx):
    with pytest.raises(Rejected, match="21606") as caught:
        await plugin(url=sim.url, sender="+12025550100").send(message(), ctx)
    assert caught.value.hint.endswith("/21606")


async def test_what_a_code_means_is_a_setting(sim, ctx):
    sim.do_fail_next(21408)
    with pytest.raises(Unauthorised):
        await plugin(url=sim.url, codes={"21408": "stop"}).send(message(), ctx)


async def test_a_region_that_is_switched_off_does_not_stop_the_account():
    async with lent() as ctx:
        with respx.mock(using="httpx") as mock:
            mock.post(url__startswith="https://api.twilio.com/").mock(httpx.Response(403, json={"code": 21408}))
            with pytest.raises(Rejected, match="21408"):
                await plugin().send(message(), ctx)


async def test_a_wrong_token_stops_the_account(sim, ctx):
    with pytest.raises(Unauthorised, match="20003"):
        await plugin(url=sim.url, auth_token="another").send(message(), ctx)
    with pytest.raises(Unauthorised, match="past its time"):
        await plugin(auth_token=[{"value": TOKEN, "until": "2020-01-01T00:00Z"}]).send(message(), ctx)


async def test_who_opted_out_is_not_written_to(sim, ctx):
    await sim.do_write(BUYER, "Stop")
    with pytest.raises(Rejected, match="21610") as caught:
        await plugin(url=sim.url).send(message(), ctx)
    assert "opted out" in caught.value.hint


def test_every_line_of_the_table_can_be_read():
    assert all(one.hint for one in codes().values())


# What became of it


async def test_a_message_whose_answer_got_lost_is_found_by_its_words(sim, ctx):
    twilio = plugin(url=sim.url)
    sim.do_lose_answer(502)
    with pytest.raises(httpx.HTTPStatusError):
        await twilio.send(message(), ctx)
    found = await twilio.find_message(message(), ctx)
    assert (found.happened, found.result.id) == (True, sim.books["messages"][0]["sid"])
    assert (await twilio.find_message(message(text="other words"), ctx)).happened is False
    assert (await twilio.find_message(message("+8613900000000"), ctx)).happened is False


async def test_a_message_is_found_though_twilio_replaced_its_signs(sim, ctx):
    twilio = plugin(url=sim.url)
    sim.do_encode_smartly()
    sent = message(text="Your parcel “1001” — it’s on its way…\u00a0¥1.50")
    await twilio.send(sent, ctx)
    assert "“" not in sim.books["messages"][0]["body"]
    assert (await twilio.find_message(sent, ctx)).happened is True
    for other in ("Your parcel “1002” — it’s on its way… ¥1.50", "Your parcel “1001” — it’s on its way… ¥150"):
        assert (await twilio.find_message(message(text=other), ctx)).happened is False
    await twilio.send(message(text="👍"), ctx)
    assert (await twilio.find_message(message(text="👎"), ctx)).happened is False


async def test_the_same_words_of_an_older_day_are_not_taken_for_it(sim, ctx):
    twilio = plugin(url=sim.url)
    await twilio.send(message(), ctx)
    async with lent(lambda: sim.now() + timedelta(hours=25)) as later:
        assert (await twilio.find_message(message(), later)).happened is False


async def test_it_is_found_behind_many_others_and_left_open_behind_too_many(sim, ctx):
    twilio = plugin(url=sim.url)
    await twilio.send(message(), ctx)
    sim.books["messages"] += [sim.books["messages"][0] | {"body": f"code {number}"} for number in range(150)]
    assert (await twilio.find_message(message(), ctx)).happened is True
    sim.books["messages"] += [sim.books["messages"][1]] * 300
    assert (await twilio.find_message(message(), ctx)).happened is None


async def test_a_content_template_is_left_open_where_something_went_and_absent_where_nothing_did(sim, ctx):
    twilio = plugin(url=sim.url)
    assert (await twilio.find_message(templated(), ctx)).happened is False
    await twilio.send(templated(), ctx)
    assert (await twilio.find_message(templated(), ctx)).happened is None


def test_absence_counts_only_after_the_setting():
    assert plugin(settles_after=timedelta(minutes=9)).route(message()).settles_after == timedelta(minutes=9)


async def test_the_probe_needs_a_good_token(sim, ctx):
    assert SID in await plugin(url=sim.url).probe(ctx)
    with pytest.raises(Unauthorised):
        await plugin(url=sim.url, auth_token="x").probe(ctx)


# Callbacks and buyers' words


def parsed(fields: dict, mark: str | None = "C1.k") -> list:
    meta = {"rma": mark} if mark else {}
    return list(plugin().parse(Inbound("twilio", urlencode(fields).encode(), meta, NOON)))


def status(name: str, **more) -> dict:
    return {"MessageSid": "SM1", "MessageStatus": name, "From": "+12025550123", "To": BUYER, **more}


@pytest.mark.parametrize(
    ("name", "ok"),
    [("delivered", True), ("read", True), ("undelivered", False), ("failed", False), ("canceled", False)],
)
def test_the_end_of_a_message_is_told(name, ok):
    (event,) = parsed(status(name))
    assert (type(event), event.ok, event.message, event.at) == (Delivered, ok, "SM1", NOON)
    assert [(one.kind, one.value) for one in event.refs] == [(RefKind.CASE, "C1"), (RefKind.BUYER, BUYER)]


@pytest.mark.parametrize("name", ["queued", "sending", "sent", "accepted", "scheduled", "something new"])
def test_a_step_on_the_way_means_nothing_whenever_it_comes(name):
    assert parsed(status(name)) == []


def test_a_failure_says_why():
    (event,) = parsed(status("undelivered", ErrorCode="63016", ChannelStatusMessage="outside the window"))
    assert event.reason == "undelivered 63016 outside the window"


def test_a_callback_without_our_mark_is_of_another_system():
    assert parsed(status("delivered"), None) == []
    (event,) = parsed(status("delivered", To=WHATSAPP), ".k")
    assert [one.kind for one in event.refs] == [RefKind.BUYER]


def words(sender: str = BUYER, body: str = "什么时候退款？", **more) -> dict:
    return {"MessageSid": "SM2", "SmsStatus": "received", "From": sender, "Body": body, "NumMedia": "0", **more}


def test_a_buyers_text_message_is_a_message():
    (event,) = parsed(words(), None)
    assert isinstance(event, MessageReceived)
    assert (event.message.text, event.message.form, event.message.author) == ("什么时候退款？", "sms", "buyer")
    assert (event.buyer.phone, event.buyer.chat, event.refs[0].value) == (BUYER, None, BUYER)


def test_a_buyers_whatsapp_message_is_a_chat_that_can_be_answered():
    media = {"MediaUrl0": "https://api.twilio.com/m/0", "MediaContentType0": "image/jpeg"}
    (event,) = parsed(words(WHATSAPP, "", **media), None)
    assert (event.message.form, event.buyer.chat, event.buyer.phone) == ("chat", WHATSAPP, BUYER)
    assert [(one.url, one.media_type) for one in event.message.attachments] == [
        ("https://api.twilio.com/m/0", "image/jpeg")
    ]
    assert event.refs[0].value == BUYER


@pytest.mark.parametrize("body", ["", "  "])
def test_who_says_nothing_opens_no_case(body):
    assert parsed(words(body=body), None) == []


@pytest.mark.parametrize("body", ["STOP", " stop ", "Unsubscribe"])
@pytest.mark.parametrize(("sender", "form"), [(BUYER, "sms"), (WHATSAPP, "chat")])
def test_who_opts_out_opens_no_case_and_closes_the_way(body, sender, form):
    (event,) = parsed(words(sender, body=body), None)
    assert (event.type, event.opener, event.form, event.words) == ("buyer.opted_out", False, form, body.strip())
    assert event.refs[0].value == BUYER


@pytest.mark.parametrize(("sender", "form"), [(BUYER, "sms"), (WHATSAPP, "chat")])
def test_who_wants_messages_again_opens_no_case_and_an_answer_stays_one(sender, form):
    (event,) = parsed(words(sender, body="Start"), None)
    assert (event.type, event.opener, event.form, event.refs[0].value) == ("buyer.opted_in", False, form, BUYER)
    (event,) = parsed(words(sender, body="YES"), None)
    assert event.type == "message.received"


def test_what_twilio_took_for_an_opt_out_by_a_keyword_of_its_own_closes_the_way():
    (event,) = parsed(words(body="BASTA", OptOutType="STOP"), None)
    assert (event.type, event.words, event.refs[0].value) == ("buyer.opted_out", "BASTA", BUYER)
    opted, said = parsed(words(body="yes", OptOutType="START"), None)
    assert (opted.type, said.type, said.message.text) == ("buyer.opted_in", "message.received", "yes")
    assert opted.key != said.key
    assert [one.type for one in parsed(words(body="START", OptOutType="START"), None)] == ["buyer.opted_in"]
    assert [one.type for one in parsed(words(body="help", OptOutType="HELP"), None)] == ["message.received"]


def test_the_words_that_opt_out_are_a_setting():
    twilio = plugin(ignored_replies=["退订", "ARRET"])
    bodies = [urlencode(words(body=body)).encode() for body in ("退订", "arret", "STOP")]
    found = [one.type for body in bodies for one in twilio.parse(Inbound("twilio", body, {}, NOON))]
    assert found == ["buyer.opted_out", "buyer.opted_out", "message.received"]


def test_a_short_code_names_no_buyer():
    (event,) = parsed(words("32665"), None)
    assert (event.refs, event.buyer.phone) == ((), "32665")


def test_twilio_hears_an_empty_document():
    answer = plugin().reply(plugin().sample("message", NOON))
    assert (answer.status, answer.body, answer.content_type) == (200, b"<Response/>", "text/xml")


MADE = {"sid": "SM" + "1" * 32, "status": "queued", "error_code": None}
LISTED = MADE | {"direction": "outbound-api", "date_created": "Fri, 02 Jan 2026 11:59:00 +0000", "to": "+12025550188"}


def listing(*bodies: str) -> dict:
    return {"messages": [LISTED | {"body": body} for body in bodies], "next_page_uri": None}


class TestTwilio(ReceiptContract, ConnectContract):
    plugin = Twilio
    settings = SETTINGS
    secret_field = "auth_token"
    probed = (listing(),)

    def calls(self):
        found = {"found": (listing("other", "words"),), "absent": (listing("other"),)}
        made = (httpx.Response(201, json=MADE),)
        return [
            Call("send", message("+12025550188", text="words"), made, keyless=False, **found),
            Call("send", message("+12025550188", Form.CHAT, text="words"), made, **found),
        ]

    def signed(self, account, now):
        called = self.posted(account, {"rma": "C1.k"}, f"{DOOR}?rma=C1.k", status("failed"))
        return [called, self.posted(account, {}, DOOR, words(body="hello"))]

    def receipt(self, account, sent, *, ok):
        (called,) = parse_qs(sent.content.decode())["StatusCallback"]
        fields = status("delivered" if ok else "failed") | {"MessageSid": MADE["sid"]}
        return self.posted(account, {"rma": called.partition("?rma=")[2]}, called, fields)

    def opt_outs(self, account):
        return [self.posted(account, {}, DOOR, words(sender, body="Stop")) for sender in (BUYER, WHATSAPP)]

    def opt_ins(self, account):
        return [self.posted(account, {}, DOOR, words(sender, body="Start")) for sender in (BUYER, WHATSAPP)]

    def posted(self, account, query, address, fields):
        token = account.auth_token[0].value.get_secret_value()
        headers = {"Content-Type": FORM, "X-Twilio-Signature": simulated.signature(token, address, fields.items())}
        return WebRequest("POST", "/hooks/acc", query, headers, urlencode(fields).encode())
