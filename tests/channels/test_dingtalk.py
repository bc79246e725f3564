"""The DingTalk robot against its simulator over real HTTP, against recorded answers, and against the contract."""

# ruff: noqa: RUF012 - subclassing the contract reads best without annotations
from datetime import timedelta

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_dingtalk import DingTalk

from rmabridge.abilities import per_second
from rmabridge.errors import Rejected, Unauthorised, Unavailable
from rmabridge.model import Attachment, Form, SendMessage
from rmabridge.testing.contexts import account, context
from rmabridge.testing.contract import Call, ChannelContract
from rmabridge.testing.simulators.dingtalk import DingTalkSim, signature
from rmabridge.wire.times import unix

TOKEN = "566cc69da782ec33"
SECRET = "SEC240d7bb4c0bafc62"
URL = "https://oapi.dingtalk.com/robot/send"
# printf '1577262236757\nthis is secret' | openssl dgst -sha256 -hmac 'this is secret' -binary | base64
STAMP, VECTOR_KEY, VECTOR = "1577262236757", "this is secret", "hmPWwU+7lVdm3ZZz0r9tSfx0L4Q26jWOZr9+Gs6EZQM="
APP = {"client_id": "dingeqqpkv3fake", "client_secret": "GT-lsu-taDAfakeSecret"}
DENIED = {"status": 1111, "wait": 5, "punish": "deny", "errcode": 130101}


def alert(text: str = "新的售后单 C1：屏幕碎了", **facts) -> SendMessage:
    given = {"purpose": "staff:case:dingtalk:1", "form": Form.CHAT, "to": "staff", "audience": "staff"}
    return SendMessage(**given | facts, text=text)


def robot(**settings) -> DingTalk:
    return account(DingTalk, "ding", **{"access_token": TOKEN, "secret": SECRET, **settings})


@pytest.fixture
async def sim():
    async with DingTalkSim(TOKEN, secret=SECRET) as made:
        yield made


@pytest.fixture
async def ctx(sim):
    lent = context("ding", now=sim.now)
    yield lent
    await lent.http.aclose()


def at(sim: DingTalkSim, **settings) -> DingTalk:
    return robot(url=f"{sim.url}/robot/send", **settings)


async def test_an_alert_is_a_signed_text_in_the_group(sim, ctx):
    result = await at(sim).send(alert(), ctx)
    assert (result.id, result.note) == (None, None)
    assert sim.books["messages"] == [
        {"msgtype": "text", "text": {"content": "新的售后单 C1：屏幕碎了"}, "mentioned": []}
    ]


async def test_the_signature_is_the_one_that_openssl_makes():
    assert signature(VECTOR_KEY, STAMP) == VECTOR
    lent = context("ding", now=lambda: unix(STAMP))
    with respx.mock(using="httpx") as mock:
        route = mock.post(URL).mock(httpx.Response(200, json={"errcode": 0, "errmsg": "ok"}))
        await robot(secret=VECTOR_KEY).send(alert("碎了"), lent)
    request = route.calls.last.request
    assert dict(request.url.params) == {"access_token": TOKEN, "timestamp": STAMP, "sign": VECTOR}
    assert b"+" not in request.url.query, "a plus in a query is a space"
    assert request.content == '{"msgtype":"text","text":{"content":"碎了"}}'.encode()
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    await lent.http.aclose()


async def test_a_robot_without_signatures_gets_none(sim, ctx):
    sim.secret = None
    await at(sim, secret=None).send(alert(), ctx)
    with respx.mock(using="httpx") as mock:
        route = mock.post(URL).mock(httpx.Response(200, json={"errcode": 0}))
        await robot(secret=None).send(alert(), ctx)
    assert dict(route.calls.last.request.url.params) == {"access_token": TOKEN}


@pytest.mark.parametrize("style", ["text", "markdown"])
async def test_colleagues_are_really_mentioned_in_both_formats(sim, ctx, style):
    who = {"mention_mobiles": ["13800001111"], "mention_users": ["manager7"], "mention_all": True}
    await at(sim, format=style, **who).send(alert("急"), ctx)
    (message,) = sim.books["messages"]
    assert message["mentioned"] == ["13800001111", "manager7", "all"]
    assert message["at"] == {"atMobiles": ["13800001111"], "atUserIds": ["manager7"], "isAtAll": True}


async def test_a_markdown_message_has_a_title_and_the_files_below(sim, ctx):
    files = (Attachment(name="photo.jpg", url="https://files.example/1"), Attachment(name="local.bin", sha256="0" * 64))
    await at(sim, format="markdown").send(alert("**屏幕碎了**", subject="C1", attachments=files), ctx)
    text = "C1\n**屏幕碎了**\nphoto.jpg: https://files.example/1"
    assert sim.books["messages"][0]["markdown"] == {"title": "C1", "text": text}


@pytest.mark.parametrize("subject", [None, " "])
async def test_a_markdown_message_without_a_subject_is_named_by_its_first_line(sim, ctx, subject):
    await at(sim, format="markdown").send(alert("\n 第一行\n第二行", subject=subject), ctx)
    assert sim.books["messages"][0]["markdown"]["title"] == "第一行"


async def test_the_keyword_is_added_where_the_words_lack_it(sim, ctx):
    sim.keywords = ("监控", "售后")
    await at(sim, keyword="售后").send(alert("屏幕碎了"), ctx)
    await at(sim, keyword="售后").send(alert("售后单 C1"), ctx)
    assert [one["text"]["content"] for one in sim.books["messages"]] == ["售后\n屏幕碎了", "售后单 C1"]


async def test_a_keyword_that_was_cut_off_is_added_again(sim, ctx):
    sim.keywords = ("售后",)
    await at(sim, keyword="售后", most_bytes=400).send(alert("鞋" * 300 + "售后"), ctx)
    content = sim.books["messages"][0]["text"]["content"]
    assert content.startswith("售后\n鞋")
    assert len(content.encode()) <= 400


async def test_a_buyers_message_never_reaches_the_group(sim, ctx):
    with pytest.raises(Rejected) as caught:
        await at(sim).send(alert(audience="buyer"), ctx)
    assert "staff" in caught.value.hint
    assert sim.books["messages"] == sim.books["refusals"] == []


async def test_an_empty_message_is_not_sent(sim, ctx):
    with pytest.raises(Rejected):
        await at(sim).send(alert("  \n"), ctx)
    assert sim.books["refusals"] == []


@pytest.mark.parametrize(("style", "part"), [("text", "content"), ("markdown", "text")])
async def test_a_long_message_is_cut_at_a_whole_character_and_mentions_stay(sim, ctx, style, part):
    result = await at(sim, format=style, mention_mobiles=["13800001111"]).send(alert("a" + "鞋" * 9000), ctx)
    (message,) = sim.books["messages"]
    content = message[style][part]
    assert 17_990 <= len(content.encode()) <= 18_000
    assert "�" not in content
    assert message["mentioned"] == ["13800001111"]
    assert result.note == "cut to 18000 bytes"


@given(st.text(min_size=1, max_size=600), st.booleans(), st.sampled_from(["text", "markdown"]))
def test_what_is_sent_is_never_longer_than_the_limit_and_holds_the_keyword(text, named, style):
    made = robot(most_bytes=400, format=style, keyword="售后", mention_mobiles=["13800001111"] if named else [])
    if not text.strip():
        return
    content, note = made._content(alert(text))
    assert len(content.encode()) <= 400
    assert "售后" in content
    assert (text in content) is (note is None)


async def test_a_muted_robot_is_asked_again_when_its_ten_minutes_are_over(sim, ctx):
    sim.most = 1
    await at(sim).send(alert(), ctx)
    for _ in range(2):
        with pytest.raises(Unavailable, match="130101") as caught:
            await at(sim).send(alert("noch eine"), ctx)
        assert caught.value.retry_after == 600
    sim.offset += timedelta(seconds=601)
    await at(sim).send(alert("noch eine"), ctx)
    assert len(sim.books["messages"]) == 2


@pytest.mark.parametrize("code", [130101, 410100])
async def test_both_codes_for_too_many_messages_pause_for_ten_minutes(sim, ctx, code):
    sim.do_fail_next(code, "send too fast")
    with pytest.raises(Unavailable) as caught:
        await at(sim).send(alert(), ctx)
    assert caught.value.retry_after == 600


async def test_a_busy_vendor_is_asked_again_soon(sim, ctx):
    sim.do_fail_next()
    with pytest.raises(Unavailable, match="-1") as caught:
        await at(sim).send(alert(), ctx)
    assert caught.value.retry_after is None


async def test_a_missing_keyword_is_a_refusal_of_this_message(sim, ctx):
    sim.keywords = ("监控",)
    with pytest.raises(Rejected, match="keywords not in content") as caught:
        await at(sim).send(alert(), ctx)
    assert "keyword" in caught.value.hint


async def test_a_wrong_secret_stops_the_account(sim, ctx):
    with pytest.raises(Unauthorised, match="sign not match") as caught:
        await at(sim, secret="SECanother").send(alert(), ctx)
    assert "clock" in caught.value.hint
    assert "SECanother" not in str(caught.value) + caught.value.hint


async def test_a_clock_that_is_an_hour_off_stops_the_account(sim, ctx):
    sim.offset += timedelta(hours=2)
    ctx.now = lambda: sim.now() - timedelta(hours=2)
    with pytest.raises(Unauthorised, match="310000"):
        await at(sim).send(alert(), ctx)


async def test_an_address_that_is_not_on_the_list_stops_the_account(sim, ctx):
    sim.addresses = ("192.0.2.1",)
    with pytest.raises(Unauthorised, match="whitelist") as caught:
        await at(sim).send(alert(), ctx)
    assert "address" in caught.value.hint


async def test_a_robot_that_was_removed_stops_the_account(sim, ctx):
    sim.do_remove()
    with pytest.raises(Unauthorised, match="300005") as caught:
        await at(sim).send(alert(), ctx)
    assert TOKEN not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("code", [40035, 400105, 430101, 460101, 12345])
async def test_any_other_code_is_a_refusal_of_this_message(sim, ctx, code):
    sim.do_fail_next(code, "no")
    with pytest.raises(Rejected, match=str(code)):
        await at(sim).send(alert(), ctx)


async def test_what_a_code_means_is_a_setting(sim, ctx):
    sim.do_fail_next(42, "too much of it")
    with pytest.raises(Unavailable) as caught:
        await at(sim, muted_codes=[42], muted_pause=30).send(alert(), ctx)
    assert caught.value.retry_after == 30


@pytest.mark.parametrize("given", [{"most_bytes": 399}, {"most_bytes": 400, "keyword": "鞋" * 70}])
def test_a_limit_that_leaves_no_room_for_words_is_refused(given):
    with pytest.raises(ValidationError, match="most_bytes"):
        robot(**given)


def test_the_rate_is_below_the_published_one():
    assert per_second(robot().rate) < 20 / 60
    assert robot().limit(Form.CHAT).bytes == 18_000
    assert robot().limit(Form.MAIL) is None


async def test_the_simulator_refuses_what_the_vendor_refuses(sim, ctx):
    async def post(body, **query):
        response = await ctx.http.post(f"{sim.url}/robot/send", params={"access_token": TOKEN, **query}, json=body)
        assert response.status_code == 200
        return response.json()["errcode"]

    good = {"msgtype": "text", "text": {"content": "ok"}}
    assert await post(good) == await post(good, timestamp="x", sign="y") == 310000
    stamp = str(int(sim.now().timestamp() * 1000))
    assert await post(good, timestamp=stamp, sign=signature(SECRET, stamp)) == 0
    sim.secret = None
    assert await post(good, access_token="") == 40035
    assert await post(good, access_token="another") == 300005
    assert await post([]) == await post({"msgtype": "poem"}) == await post({"msgtype": "text"}) == 400105
    assert await post({"msgtype": "text", "text": {}}) == 40035
    assert await post({"msgtype": "text", "text": {"content": "鞋" * 6667}}) == 460101
    plain = await ctx.http.post(f"{sim.url}/robot/send", params={"access_token": TOKEN}, content=b"{}")
    assert plain.json()["errcode"] == 43004
    assert [await post(good) for _ in range(20)].count(0) == 19
    muted = await ctx.http.post(f"{sim.url}/robot/send", params={"access_token": TOKEN}, json=good)
    assert muted.json() == DENIED
    sim.offset += timedelta(seconds=601)
    assert await post(good) == 0


# The app


def app(sim: DingTalkSim, **settings) -> DingTalk:
    return account(DingTalk, "ding", **{**APP, "api_url": sim.url, **settings})


@pytest.mark.parametrize("to", ["manager1234", "cid6KeBBLoveMOCKidd=="])
async def test_the_app_sends_to_a_colleague_or_a_group(sim, ctx, to):
    result = await app(sim).send(alert("急", to=to), ctx)
    assert result.id == "processQueryKey1"
    assert sim.books["sent"] == [{"to": to, "kind": "sampleText", "content": "急"}]


async def test_the_app_writes_markdown_with_a_title(sim, ctx):
    await app(sim, format="markdown").send(alert("**急**", to="manager1234", subject="C1"), ctx)
    assert sim.books["sent"] == [{"to": "manager1234", "kind": "sampleMarkdown", "title": "C1", "text": "C1\n**急**"}]


async def test_the_apps_long_message_is_cut(sim, ctx):
    result = await app(sim).send(alert("鞋" * 9000, to="cid6KeBBLoveMOCKidd=="), ctx)
    assert sim.books["sent"][0]["content"].endswith("鞋…")
    assert result.note == "cut to 12000 bytes"


async def test_the_token_is_asked_for_once_and_replaced_when_it_was_forgotten(sim, ctx):
    made = app(sim)
    for _ in range(2):
        await made.send(alert(to="manager1234"), ctx)
    assert sim.books["tokens"] == 1
    sim.do_forget_tokens()
    await made.send(alert(to="manager1234"), ctx)
    assert (sim.books["tokens"], sim.books["errors"]) == (2, ["InvalidAuthentication"])
    sim.offset += timedelta(minutes=116)
    await made.send(alert(to="manager1234"), ctx)
    assert (sim.books["tokens"], len(sim.books["errors"])) == (3, 1)


async def test_a_colleague_whom_nobody_knows_is_a_refusal(sim, ctx):
    with pytest.raises(Rejected, match="staff") as caught:
        await app(sim).send(alert(), ctx)
    assert "staff_to" in caught.value.hint


async def test_a_colleague_who_got_too_much_is_told_later(sim, ctx):
    sim.do_throttle()
    with pytest.raises(Unavailable) as caught:
        await app(sim).send(alert(to="manager1234"), ctx)
    assert caught.value.retry_after == 60
    assert sim.books["sent"] == []


@pytest.mark.parametrize("wrong", [{"client_id": "another"}, {"client_secret": "another"}])
async def test_a_wrong_app_stops_the_account(sim, ctx, wrong):
    with pytest.raises(Unauthorised, match="invalidClientIdOrSecret") as caught:
        await app(sim, **wrong).send(alert(to="manager1234"), ctx)
    assert "another" not in str(caught.value) + caught.value.hint


async def test_another_robots_code_is_a_refusal(sim, ctx):
    with pytest.raises(Rejected, match="robotCode"):
        await app(sim, robot_code="another").send(alert(to="manager1234"), ctx)


@pytest.mark.parametrize("answer", [httpx.ReadError("reset"), httpx.Response(500), httpx.Response(200, json={})])
async def test_a_token_that_did_not_come_leaves_no_doubt_about_the_message(ctx, sim, answer):
    with respx.mock(using="httpx") as mock:
        mock.post(path="/v1.0/oauth2/accessToken").mock(side_effect=[answer])
        with pytest.raises(Unavailable, match="no token"):
            await account(DingTalk, "ding", **APP).send(alert(to="manager1234"), ctx)


@pytest.mark.parametrize(
    "given", [{}, {"access_token": TOKEN, **APP}, {"client_id": "k"}, {"client_secret": "s"}, {"access_token": ""}]
)
def test_an_account_is_a_custom_robot_or_an_app(given):
    with pytest.raises(ValidationError):
        account(DingTalk, "ding", **given)


class TestDingTalk(ChannelContract):
    plugin = DingTalk
    settings = {"access_token": TOKEN, "secret": SECRET, "keyword": "售后", "mention_mobiles": ["13800001111"]}

    def calls(self):
        errors = {
            "retry": (DENIED, {"errcode": 410100, "errmsg": "x"}, {"errcode": -1, "errmsg": "x"}),
            "dead": ({"errcode": 310000, "errmsg": "keywords not in content"}, {"errcode": 400105, "errmsg": "x"}),
            "unauthorised": (
                {"errcode": 310000, "errmsg": "sign not match"},
                {"errcode": 310000, "errmsg": "ip 192.0.2.1 not in whitelist"},
                {"errcode": 300001, "errmsg": "token is not exist"},
            ),
        }
        return [Call("send", alert(), ({"errcode": 0, "errmsg": "ok"},), keyless=True, errors=errors)]


class TestMarkdown(TestDingTalk):
    settings = {"access_token": TOKEN, "format": "markdown", "mention_all": True}


class TestApp(ChannelContract):
    plugin = DingTalk
    settings = APP
    token = {
        "access_token": "fw8ef8we8f76e6f7s8d",
        "expires": "2099-01-01T00:00:00+00:00",
        "for": account(DingTalk, **APP).mark(),
    }

    def calls(self):
        sent = {"processQueryKey": "w1", "invalidStaffIdList": [], "flowControlledStaffIdList": []}
        errors = {
            "retry": ({**sent, "flowControlledStaffIdList": ["manager1234"]},),
            "dead": ({**sent, "invalidStaffIdList": ["manager1234"]},),
        }
        person, group = alert(to="manager1234"), alert(to="cid6KeBBLoveMOCKidd==")
        return [
            Call("send", person, (sent,), keyless=True, errors=errors),
            Call("send", group, ({"processQueryKey": "w2"},), keyless=True),
        ]
