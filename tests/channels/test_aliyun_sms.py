"""Alibaba Cloud SMS: signature, approved templates, numbers, answers, receipts, replies, and the contract."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_aliyun_sms import AliyunSms
from rmabridge_aliyun_sms.answers import _data, meaning
from rmabridge_aliyun_sms.calls import authorisation, query_of
from rmabridge_aliyun_sms.phones import dialled, written

from rmabridge.abilities import Inbound, WebRequest
from rmabridge.errors import Malformed, Refused, Rejected, Unauthorised, Unavailable
from rmabridge.model import Delivered, Form, MessageReceived, RefKind, SendMessage, TemplateRef
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.contract import Call, ReceiptContract
from rmabridge.testing.simulators.aliyun_sms import AliyunSmsSim, signature

KEY_ID, SECRET = "LTAI5tExample", "testsecret-of-the-key"
TOKEN = "push-token-9"
RETURN = {"code": "SMS_100000001", "params": ["case"]}
SETTINGS = {
    "access_key_id": KEY_ID,
    "access_key_secret": SECRET,
    "sign": "示例商城",
    "push_token": TOKEN,
    "templates": {"first_reply.return": RETURN},
    "resuming_replies": ["恢复"],
}
HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def plugin(**settings) -> AliyunSms:
    return account(AliyunSms, "sms", **SETTINGS | settings)


def message(to: str = "+8613812345678", template: str | None = "first_reply.return", **facts) -> SendMessage:
    ref = TemplateRef(id=template, version=1, locale="zh-CN") if template else None
    given = {"values": {"case": "C1", "shop": "示例商城", "name": "李雷"}, "template": ref}
    return SendMessage(purpose="reply:first:1", form=Form.SMS, to=to, text="您的退货申请已收到", **given | facts)


@pytest.fixture
async def sim():
    async with AliyunSmsSim(KEY_ID, SECRET) as made:
        yield made


@asynccontextmanager
async def lent(now=None, **facts):
    clock = {"now": now} if now else {}
    ctx = context("sms", **clock, **facts)
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
@pytest.mark.evidence("aliyun_sms", "vendor_sample")
def test_the_signature_is_the_published_example():
    # The fixed example of Alibaba Cloud's page on the V3 signature.
    query = query_of({"RegionId": "cn-shanghai", "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"})
    headers = {
        "host": "ecs.cn-shanghai.aliyuncs.com",
        "x-acs-action": "RunInstances",
        "x-acs-content-sha256": HASH,
        "x-acs-date": "2023-10-26T10:22:32Z",
        "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d",
        "x-acs-version": "2014-05-26",
    }
    expected = "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    assert authorisation("YourAccessKeyId", "YourAccessKeySecret", query, headers) == (
        "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;"
        f"x-acs-signature-nonce;x-acs-version,Signature={expected}"
    )
    params = dict(one.split("=") for one in query.split("&"))
    assert signature("YourAccessKeySecret", "POST", params, headers, b"") == expected


def test_everything_but_unreserved_characters_is_escaped():
    assert query_of({"b": "a b*~+/{}", "A": "【店】"}) == "A=%E3%80%90%E5%BA%97%E3%80%91&b=a%20b%2A~%2B%2F%7B%7D"


async def test_a_call_has_its_parameters_in_the_query_and_an_empty_body():
    async with lent() as ctx:
        with respx.mock(using="httpx") as mock:
            route = mock.post(url__startswith="https://dysmsapi.aliyuncs.com/").mock(
                httpx.Response(200, json={"Code": "OK", "BizId": "9006197469364984^0"})
            )
            result = await plugin(security_token="sts-token").send(message(), ctx)
    request = route.calls.last.request
    assert result.id == "9006197469364984^0"
    assert dict(request.url.params) == {
        "PhoneNumbers": "13812345678",
        "SignName": "示例商城",
        "TemplateCode": "SMS_100000001",
        "TemplateParam": '{"case":"C1"}',
        "OutId": f"rma:C1:{ctx.idempotency_key}",
    }
    assert request.content == b""
    assert request.headers["x-acs-security-token"] == "sts-token"
    assert "x-acs-security-token" in request.headers["authorization"]
    assert (request.headers["x-acs-date"], request.headers["x-acs-content-sha256"]) == ("2026-01-02T12:00:00Z", HASH)


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"access_key_secret": "another"}, "SignatureDoesNotMatch"),
        ({"access_key_id": "LTAIother"}, "InvalidAccessKeyId.NotFound"),
    ],
)
async def test_a_wrong_key_stops_the_account(sim, ctx, settings, code):
    with pytest.raises(Unauthorised, match=code):
        await plugin(url=sim.url, **settings).send(message(), ctx)
    assert sim.books["sent"] == []


async def test_a_clock_that_is_wrong_stops_the_account(sim):
    async with lent(lambda: sim.now() - timedelta(hours=1)) as ctx:
        with pytest.raises(Unauthorised, match="InvalidTimeStamp"):
            await plugin(url=sim.url).send(message(), ctx)


async def test_each_try_has_a_nonce_of_its_own(sim):
    async with lent(lambda: datetime(2026, 1, 2, 12, tzinfo=UTC)) as frozen:
        sim.offset = frozen.now() - datetime.now(UTC)
        await plugin(url=sim.url).send(message(), frozen)
        with pytest.raises(ValueError, match="SignatureNonceUsed"):
            await plugin(url=sim.url).send(message(), frozen)
        frozen.now = lambda: datetime(2026, 1, 2, 12, 0, 5, tzinfo=UTC)
        await plugin(url=sim.url).send(message(), frozen)


# Approved templates


async def test_the_buyer_reads_the_approved_words_with_our_values(sim, ctx):
    result = await plugin(url=sim.url).send(message(), ctx)
    (sent,) = sim.books["sent"]
    assert sent["text"] == "【示例商城】您的退货申请已收到，编号C1，请留意后续消息。"
    assert (result.id, result.note) == (sent["biz_id"], "sent as SMS_100000001")


async def test_parameters_may_be_called_otherwise_at_the_vendor_and_have_defaults(sim, ctx):
    sim.templates["SMS_2"] = "${name}您好，单号${no}。"
    sim.signs.append("示例旗舰店")
    approved = {"code": "SMS_2", "params": {"name": "name", "no": "order"}, "sign": "示例旗舰店"}
    sms = plugin(url=sim.url, templates={"first_reply.return": approved | {"defaults": {"name": "顾客"}}})
    await sms.send(message(values={"order": "#1001"}), ctx)
    assert sim.books["sent"][0]["text"] == "【示例旗舰店】顾客您好，单号#1001。"


async def test_a_locale_may_have_a_template_of_its_own(sim, ctx):
    sim.templates["SMS_3"] = "编号${case}"
    templates = {"first_reply.return": RETURN, "first_reply.return:zh-CN": {"code": "SMS_3", "params": ["case"]}}
    await plugin(url=sim.url, templates=templates).send(message(), ctx)
    assert sim.books["sent"][0]["template"] == "SMS_3"


@pytest.mark.parametrize(
    ("sent", "hint"),
    [
        (message(template="progress.refunded"), '[channels.sms.templates."progress.refunded"]'),
        (message(template=None), "[channels.sms.templates]"),
    ],
    ids=["not mapped", "free text"],
)
async def test_what_has_no_approved_template_is_refused_by_the_settings_name_and_never_sent(sim, ctx, sent, hint):
    with pytest.raises(Rejected) as caught:
        await plugin(url=sim.url).send(sent, ctx)
    assert hint in caught.value.hint
    assert sim.books["sent"] == sim.books["refusals"] == []


async def test_words_that_changed_since_they_were_approved_are_not_sent(sim, ctx):
    sms = plugin(url=sim.url, templates={"first_reply.return": RETURN | {"version": 1}})
    await sms.send(message(), ctx)
    changed = message().model_copy(update={"template": TemplateRef(id="first_reply.return", version=2, locale="zh-CN")})
    with pytest.raises(Rejected, match="version 2"):
        await sms.send(changed, ctx)
    assert len(sim.books["sent"]) == 1


@pytest.mark.parametrize("values", [{}, {"case": ""}, {"case": "C" * 36}])
async def test_a_missing_or_overlong_value_is_refused_before_anything_leaves(sim, ctx, values):
    with pytest.raises(Rejected, match="case"):
        await plugin(url=sim.url).send(message(values=values), ctx)
    assert sim.books["refusals"] == []


def test_a_misspelt_template_setting_is_refused():
    with pytest.raises(ValidationError, match="parms"):
        plugin(templates={"first_reply.return": {"code": "SMS_1", "parms": ["case"]}})


def test_a_text_longer_than_a_message_does_not_fit():
    assert plugin().limit(Form.SMS).characters == 500
    assert not plugin(longest_text=70).limit(Form.SMS).fits("字" * 71)
    assert plugin().limit(Form.MAIL) is None


# Numbers


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("13812345678", "13812345678"),
        ("+86 138-1234-5678", "13812345678"),
        ("008613812345678", "13812345678"),
        ("8613812345678", "13812345678"),
        ("１３８１２３４５６７８", "13812345678"),
        ("+852 9123 4567", "85291234567"),
        ("0044 (0)7911 123456", "447911123456"),
    ],
)
def test_a_number_is_written_as_the_vendor_dials_it(given, number):
    assert dialled(given) == number


@pytest.mark.parametrize(
    "given", ["138****5678", "138＊＊＊＊5678", "138xxxx5678", "+86138****5678", "*", "13812345678*", "1381234•678"]
)
async def test_a_masked_number_is_never_dialled(sim, ctx, given):
    for call in (plugin(url=sim.url).send, plugin(url=sim.url).find_message):
        with pytest.raises(Rejected, match="masked"):
            await call(message(to=given), ctx)
    assert sim.books["sent"] == sim.books["refusals"] == sim.books["queries"] == []


@pytest.mark.parametrize(
    "given",
    ["", "1381234567", "138123456789", "18412345678-1234", "+8618412345678-1234", "18412345678转12", "02112345678",
     "9123 4567", "+862112345678", "+1 415 555 0123", "0014155550123", "buyer@example.com", "+", "00"],
)  # fmt: skip
def test_what_is_no_whole_number_is_refused(given):
    with pytest.raises(Rejected):
        dialled(given)


@given(st.text(max_size=30))
def test_any_text_is_a_number_of_digits_or_refused(given):
    try:
        number = dialled(given)
    except Rejected:
        return
    assert number.isdecimal()
    assert 7 <= len(number) <= 15
    assert dialled(written(number)) == number


# Answers


@pytest.mark.parametrize(
    ("code", "words", "error", "pause"),
    [
        ("isv.BUSINESS_LIMIT_CONTROL", "触发分钟级流控Permits:1", Unavailable, 60),
        ("isv.BUSINESS_LIMIT_CONTROL", "触发小时级流控Permits:5", Unavailable, 3600),
        ("isv.BUSINESS_LIMIT_CONTROL", "触发天级流控Permits:10", Unavailable, 86400),
        ("isv.BUSINESS_LIMIT_CONTROL", "limit", Unavailable, 3600),
        ("isv.AMOUNT_NOT_ENOUGH", "账户余额不足", Unauthorised, None),
        ("isv.OUT_OF_SERVICE", "业务停机", Unauthorised, None),
        ("isp.RAM_PERMISSION_DENY", "RAM", Unauthorised, None),
        ("isv.SMS_TEMPLATE_ILLEGAL", "x", Rejected, None),
        ("isv.SOMETHING_NEW", "x", Rejected, None),
    ],
)
async def test_a_code_in_the_answer_decides_what_the_bridge_does(sim, ctx, code, words, error, pause):
    sim.do_fail_next(code, words)
    with pytest.raises(error, match=code) as caught:
        await plugin(url=sim.url).send(message(), ctx)
    assert caught.value.retry_after == pause


async def test_too_many_calls_are_asked_again(sim, ctx):
    sim.do_fail_next("Throttling.User", "Request was denied due to user flow control.", 400)
    with pytest.raises(Unavailable, match=r"Throttling\.User"):
        await plugin(url=sim.url).send(message(), ctx)


@pytest.mark.parametrize("code", ["isp.SYSTEM_ERROR", "Odd", "ServiceUnavailable"])
async def test_a_code_that_leaves_it_open_is_no_refusal(sim, ctx, code):
    sim.do_fail_next(code)
    with pytest.raises(ValueError, match="may have been sent"):
        await plugin(url=sim.url).send(message(), ctx)


async def test_what_a_code_means_is_a_setting(sim, ctx):
    sim.do_fail_next("isp.SYSTEM_ERROR")
    with pytest.raises(Unavailable):
        await plugin(url=sim.url, codes={"isp.SYSTEM_ERROR": "retry"}).send(message(), ctx)


def test_every_line_of_the_table_can_be_read():
    assert all(meaning(code, {}) for code in _data()["codes"])


async def test_what_the_vendor_refuses_the_simulator_refuses(sim, ctx):
    wrong = {
        "isv.SMS_SIGNATURE_ILLEGAL": plugin(url=sim.url, sign="别家"),
        "isv.SMS_TEMPLATE_ILLEGAL": plugin(url=sim.url, templates={"first_reply.return": {"code": "SMS_0"}}),
        "isv.TEMPLATE_MISSING_PARAMETERS": plugin(
            url=sim.url, templates={"first_reply.return": {"code": "SMS_100000001"}}
        ),
    }
    for code, sms in wrong.items():
        with pytest.raises(Rejected, match=code) as caught:
            await sms.send(message(), ctx)
        assert caught.value.hint
    with pytest.raises(Rejected, match="PARAM_NOT_SUPPORT_URL"):
        await plugin(url=sim.url).send(message(values={"case": "http://a.cn"}), ctx)
    assert (await ctx.http.post(sim.url)).json()["Code"] == "IncompleteSignature"
    assert sim.books["sent"] == []


# What became of it


async def test_a_message_whose_answer_got_lost_is_found_by_our_mark(sim, ctx):
    sms = plugin(url=sim.url)
    sim.do_lose_answer(502)
    with pytest.raises(httpx.HTTPStatusError):
        await sms.send(message(), ctx)
    assert (await sms.find_message(message(), ctx)).happened is True
    async with lent(sim.now, key="another-delivery") as other:
        assert (await sms.find_message(message(), other)).happened is False


async def test_it_is_found_after_midnight_too_and_behind_many_others(sim):
    sms, sent = plugin(url=sim.url), datetime(2026, 1, 2, 15, 59, 50, tzinfo=UTC)
    sim.offset = sent - datetime.now(UTC)
    async with lent(sim.now) as ctx:
        await sms.send(message(), ctx)
        for number in range(60):
            sim.books["sent"].append(sim.books["sent"][0] | {"out_id": f"login-{number}"})
        sim.offset += timedelta(minutes=1)
        assert (await sms.find_message(message(), ctx)).happened is True
    assert [one["SendDate"] for one in sim.books["queries"]] == ["20260103", "20260102", "20260102"]


async def test_more_messages_than_can_be_looked_through_leave_it_open(sim, ctx):
    sms = plugin(url=sim.url)
    await sms.send(message(), ctx)
    sim.books["sent"] = [sim.books["sent"][0] | {"out_id": "x"}] * 200
    assert (await sms.find_message(message(), ctx)).happened is None


async def test_an_answer_without_a_list_is_not_taken_for_nothing_sent():
    async with lent() as ctx:
        with respx.mock(using="httpx") as mock:
            mock.post(url__startswith="https://dysmsapi").mock(httpx.Response(200, json={"Code": "OK"}))
            with pytest.raises(ValueError, match="no list"):
                await plugin().find_message(message(), ctx)


def test_absence_counts_only_after_the_setting():
    assert plugin(settles_after=timedelta(minutes=9)).route(message()).settles_after == timedelta(minutes=9)


async def test_the_probe_needs_a_good_key(sim, ctx):
    assert "1 templates are mapped" in await plugin(url=sim.url).probe(ctx)
    with pytest.raises(Unauthorised):
        await plugin(url=sim.url, access_key_secret="x").probe(ctx)


# Receipts and replies


@asynccontextmanager
async def door(sms: AliyunSms):
    """The bridge's door in small: verify, parse, answer."""
    took: list = []

    async def hook(request: web.Request) -> web.Response:
        asked = WebRequest("POST", request.path, dict(request.query), dict(request.headers), await request.read())
        try:
            sms.verify(asked, NOON)
        except Refused as refused:
            return web.Response(status=refused.status)
        took.extend(sms.parse(Inbound("sms", asked.body, {}, NOON)))
        answer = sms.reply(asked)
        return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)

    app = web.Application()
    app.router.add_post("/hooks/sms", hook)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/sms?token={TOKEN}", took
    finally:
        await runner.cleanup()


def parsed(*entries: dict) -> list:
    return list(plugin().parse(Inbound("sms", json.dumps(entries).encode(), {}, NOON)))


async def test_a_receipt_says_that_the_message_arrived(sim, ctx):
    async with door(plugin()) as (sim.hook, took):
        result = await plugin(url=sim.url).send(message(), ctx)
        assert await sim.do_receipt() == 200
        assert await sim.do_receipt(err_code="MK:0001") == 200
    arrived, failed = took
    assert (type(arrived), arrived.ok, arrived.message, arrived.reason) == (Delivered, True, result.id, None)
    assert (failed.ok, failed.reason) == (False, "MK:0001: 用户未接收")
    assert [(one.kind, one.value) for one in arrived.refs] == [
        (RefKind.CASE, "C1"),
        (RefKind.BUYER, "+8613812345678"),
    ]


async def test_receipts_for_other_systems_of_the_account_mean_nothing(sim):
    async with door(plugin()) as (sim.hook, took):
        assert await sim.do_foreign_receipt() == 200
    assert took == []


def test_times_are_those_of_beijing_and_a_redelivery_has_the_same_key():
    report = {"out_id": "rma:C1:k", "biz_id": "1", "success": True, "report_time": "2026-01-02 19:59:03"}
    (event,) = parsed(report)
    assert event.at == datetime(2026, 1, 2, 11, 59, 3, tzinfo=UTC)
    assert parsed(report | {"report_time": "2026-01-02 20:07:00"})[0].key == event.key
    assert parsed(report | {"success": False})[0].key != event.key
    assert parsed(report | {"report_time": None})[0].at == NOON


async def test_a_buyers_reply_is_a_message(sim):
    async with door(plugin()) as (sim.hook, took):
        assert await sim.do_reply("13812345678", "什么时候退款？") == 200
    (event,) = took
    assert isinstance(event, MessageReceived)
    assert (event.message.text, event.message.form, event.message.author) == ("什么时候退款？", "sms", "buyer")
    assert (event.buyer.phone, event.refs[0].value) == ("+8613812345678", "+8613812345678")


def test_a_number_abroad_that_looks_like_one_of_the_mainland_keeps_its_country():
    assert (written("+14155550123"), written("14155550123")) == ("+14155550123", "+8614155550123")


def test_a_masked_number_names_nobody():
    (event,) = parsed({"phone_number": "1381111****", "content": "你好", "sequence_id": 7})
    assert (event.refs, event.buyer.phone) == ((), "1381111****")
    assert parsed({"phone_number": "1381111****", "out_id": "rma::k", "success": "true"})[0].refs == ()


@pytest.mark.parametrize("words", ["R", "r", " TD ", "退订", "ＴＤ", "td。", "【退订】"])
def test_who_opts_out_opens_no_case_and_closes_the_way(words):
    (event,) = parsed({"phone_number": "13812345678", "content": words, "sequence_id": 7})
    assert (event.type, event.opener, event.form, event.words) == ("buyer.opted_out", False, "sms", words.strip())
    assert [one.value for one in event.refs] == ["+8613812345678"]


def test_who_says_nothing_opens_no_case():
    assert parsed({"phone_number": "13812345678", "content": "", "sequence_id": 7}) == []


def test_the_vendor_hears_the_answer_it_wants():
    answer = plugin().reply(plugin().sample("receipt", NOON))
    assert json.loads(answer.body) == {"code": 0, "msg": "接收成功"}


def test_without_a_token_the_door_stays_shut():
    request = plugin().sample("receipt", NOON)
    shut = plugin(push_token=None)
    for query in (dict(request.query), {}, {"token": ""}):
        with pytest.raises(Refused):
            shut.verify(WebRequest("POST", request.path, query, request.headers, request.body), NOON)


@pytest.mark.parametrize("body", [b"{}", b"null", b"x", b""])
def test_a_push_that_is_no_list_is_malformed(body):
    with pytest.raises(Malformed):
        list(plugin().parse(Inbound("sms", body, {}, NOON)))


class TestAliyunSms(ReceiptContract):
    plugin = AliyunSms
    settings = SETTINGS
    secret_field = "push_token"

    def signed_part(self, request):
        # The vendor signs nothing: the token stands in the address.
        return range(0)

    def calls(self):
        return [Call("send", message(), ({"Code": "OK", "Message": "OK", "BizId": "9^0", "RequestId": "A"},))]

    def receipt(self, account, sent, *, ok):
        told = {
            "phone_number": "13800138000",
            "success": ok,
            "err_code": "DELIVERED" if ok else "MOBILE_NOT_ON_SERVICE",
        }
        return self.pushed(account, told | {"biz_id": "9^0", "out_id": sent.url.params["OutId"]})

    def opt_outs(self, account):
        up = {"phone_number": "13800138000", "send_time": "2026-01-02 19:59:30", "sequence_id": 7}
        return [self.pushed(account, up | {"content": words}) for words in ("TD", "退订")]

    def opt_ins(self, account):
        up = {"phone_number": "13800138000", "send_time": "2026-01-02 19:59:30", "sequence_id": 8}
        return [self.pushed(account, up | {"content": "恢复"})]

    def pushed(self, account, entry):
        return replace(account.sample("receipt", NOON), body=json.dumps([entry]).encode())


def test_it_knows_what_was_approved_in_that_version_and_no_free_text():
    templates = {"a": {"code": "SMS_1"}, "b:zh-CN": {"code": "SMS_2"}, "c": {"code": "SMS_3", "version": 2}}
    plugin = account(AliyunSms, "sms", access_key_id="k", access_key_secret="s", sign="示例", templates=templates)
    asked = [("a", 1, "en"), ("b", 1, "zh-CN"), ("b", 1, "en"), ("c", 1, "en"), ("c", 2, "en"), ("d", 1, "en")]
    known = [plugin.knows(TemplateRef(id=id_, version=version, locale=tag)) for id_, version, tag in asked]
    assert (known, plugin.knows(None)) == ([True, True, False, False, True, False], False)
