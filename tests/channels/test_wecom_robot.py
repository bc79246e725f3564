"""The WeCom robot against its simulator over real HTTP, against recorded answers, and against the contract."""

# ruff: noqa: RUF012 - subclassing the contract reads best without annotations
from datetime import timedelta

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_wecom_robot import WecomRobot

from rmabridge.abilities import per_second
from rmabridge.errors import Rejected, Unauthorised, Unavailable
from rmabridge.model import Attachment, Form, SendMessage
from rmabridge.testing.contexts import account, context
from rmabridge.testing.contract import Call, ChannelContract
from rmabridge.testing.simulators.wecom_robot import WecomRobotSim

KEY = "693a91f6-7abc-4bc4-97a0-0ec2aaaa5aaa"
URL = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send"


def alert(text: str = "新的售后单 C1：屏幕碎了", **facts) -> SendMessage:
    given = {"purpose": "staff:case:wecom:1", "form": Form.CHAT, "to": "staff", "audience": "staff"}
    return SendMessage(**given | facts, text=text)


def robot(**settings) -> WecomRobot:
    return account(WecomRobot, "wecom", **{"key": KEY, **settings})


@pytest.fixture
async def ctx():
    lent = context("wecom")
    yield lent
    await lent.http.aclose()


@pytest.fixture
async def sim():
    async with WecomRobotSim(KEY) as made:
        yield made


def at(sim: WecomRobotSim, **settings) -> WecomRobot:
    return robot(url=f"{sim.url}/cgi-bin/webhook/send", **settings)


async def test_an_alert_is_a_text_in_the_group(sim, ctx):
    result = await at(sim).send(alert(), ctx)
    assert (result.id, result.note) == (None, None)
    assert sim.books["messages"] == [{"msgtype": "text", "text": {"content": "新的售后单 C1：屏幕碎了"}}]


async def test_colleagues_are_mentioned_by_phone(sim, ctx):
    await at(sim, mention_mobiles=["13800001111", "@all"]).send(alert("急"), ctx)
    assert sim.books["messages"][0]["text"] == {"content": "急", "mentioned_mobile_list": ["13800001111", "@all"]}


async def test_a_markdown_message_has_the_subject_above_and_the_files_below(sim, ctx):
    files = (Attachment(name="photo.jpg", url="https://files.example/1"), Attachment(name="local.bin", sha256="0" * 64))
    message = alert("**屏幕碎了**", subject="C1", attachments=files)
    await at(sim, format="markdown").send(message, ctx)
    content = "C1\n**屏幕碎了**\nphoto.jpg: https://files.example/1"
    assert sim.books["messages"] == [{"msgtype": "markdown", "markdown": {"content": content}}]


def test_mentions_by_phone_need_the_format_text():
    with pytest.raises(ValidationError, match="mention_mobiles"):
        robot(format="markdown", mention_mobiles=["13800001111"])


async def test_a_buyers_message_never_reaches_the_group(sim, ctx):
    with pytest.raises(Rejected) as caught:
        await at(sim).send(alert(audience="buyer"), ctx)
    assert "staff" in caught.value.hint
    assert sim.books["messages"] == sim.books["refusals"] == []


async def test_an_empty_message_is_not_sent(sim, ctx):
    with pytest.raises(Rejected):
        await at(sim).send(alert("  \n"), ctx)
    assert sim.books["refusals"] == []


@pytest.mark.parametrize(("style", "most"), [("text", 2048), ("markdown", 4096)])
async def test_a_long_message_is_cut_at_a_whole_character(sim, ctx, style, most):
    # The first byte shifts the three-byte characters away from the limit.
    result = await at(sim, format=style).send(alert("a" + "鞋" * 3000), ctx)
    content = sim.books["messages"][0][style]["content"]
    assert most - 3 <= len(content.encode()) <= most
    assert set(content) == {"a", "鞋", "…"}
    assert result.note == f"cut to {most} bytes"


@given(st.text(min_size=1, max_size=80), st.integers(17, 120))
def test_what_is_cut_is_never_longer_than_the_limit_and_begins_like_the_whole(text, most):
    made = robot(text_bytes=most)
    if not text.strip():
        return
    content, note = made._content(alert(text))
    assert len(content.encode()) <= most
    assert content == text if note is None else text.startswith(content.removesuffix("…"))


async def test_a_robot_that_posts_too_often_is_asked_again_after_a_minute(sim, ctx):
    sim.most = 1
    await at(sim).send(alert(), ctx)
    with pytest.raises(Unavailable, match="45009") as caught:
        await at(sim).send(alert("noch eine"), ctx)
    assert caught.value.retry_after == 60
    sim.do_fail_next(-1, "system busy")
    with pytest.raises(Unavailable):
        await at(sim).send(alert(), ctx)


async def test_a_robot_that_was_removed_stops_the_account(sim, ctx):
    sim.do_remove()
    with pytest.raises(Unauthorised, match="93000") as caught:
        await at(sim).send(alert(), ctx)
    assert KEY not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("code", [40008, 40058, 44004, 45002, 12345])
async def test_any_other_code_is_a_refusal_of_this_message(sim, ctx, code):
    sim.do_fail_next(code, "no")
    with pytest.raises(Rejected, match=str(code)):
        await at(sim).send(alert(), ctx)


async def test_what_a_code_means_is_a_setting(sim, ctx):
    sim.do_fail_next(45033, "concurrency limit")
    with pytest.raises(Unavailable):
        await at(sim, busy_codes=[45033]).send(alert(), ctx)


async def test_the_key_travels_in_the_query_and_the_words_as_plain_utf8(ctx):
    with respx.mock(using="httpx") as mock:
        route = mock.post(URL).mock(httpx.Response(200, json={"errcode": 0, "errmsg": "ok"}))
        await robot().send(alert("碎了"), ctx)
    request = route.calls.last.request
    assert request.url.params["key"] == KEY
    assert request.content == '{"msgtype":"text","text":{"content":"碎了"}}'.encode()


def test_the_rate_is_the_published_one_and_the_limit_follows_the_format():
    assert per_second(robot().rate) == pytest.approx(20 / 60)
    assert robot().limit(Form.CHAT).bytes == 2048
    assert robot(format="markdown").limit(Form.CHAT).bytes == 4096
    assert robot().limit(Form.MAIL) is None


async def test_the_simulator_refuses_what_the_vendor_refuses(sim, ctx):
    async def post(body, key=KEY):
        response = await ctx.http.post(f"{sim.url}/cgi-bin/webhook/send", params={"key": key}, json=body)
        assert response.status_code == 200
        return response.json()["errcode"]

    good = {"msgtype": "text", "text": {"content": "ok"}}
    assert await post(good) == 0
    assert await post(good, key="another") == 93000
    assert await post([]) == 40008
    assert await post({"msgtype": "poem"}) == 40008
    assert await post({"msgtype": "text"}) == await post({"msgtype": "text", "text": {"content": " "}}) == 44004
    assert await post({"msgtype": "text", "text": {"content": "鞋" * 683}}) == 45002
    sim.books["messages"].clear()
    assert [await post(good) for _ in range(20)].count(0) == 19
    assert sim.books["refusals"][-1] == 45009
    sim.offset += timedelta(seconds=61)
    assert await post(good) == 0


class TestWecomRobot(ChannelContract):
    plugin = WecomRobot
    settings = {"key": KEY, "mention_mobiles": ["13800001111"]}

    def secrets(self):
        return {KEY}

    def calls(self):
        return [Call("send", alert(), ({"errcode": 0, "errmsg": "ok"},), keyless=True)]
