"""Slack: the signature's vector, the challenge, posting, errors, lookups, replies in threads, and the contract."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_slack import Slack
from rmabridge_slack.parsing import escaped

from rmabridge.abilities import Inbound, WebRequest
from rmabridge.errors import Rejected, Unauthorised, Unavailable, Unverified, WrongType
from rmabridge.model import Attachment, Form, RefKind, SendMessage
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.contract import Call, ChannelContract, ConnectContract, WebhookContract
from rmabridge.testing.simulators import slack as simulated
from rmabridge.testing.simulators.slack import SlackSim

TOKEN, SECRET, CHANNEL = "xoxb-of-the-bot", "8f742231b10e8888abcd99yyyzzz85a5", "C0ALERTS"
SETTINGS = {"token": TOKEN, "channel": CHANNEL, "secret": SECRET}
HOOK = {"webhook": "T0SHOP/B0HOOK/hook-of-the-channel"}
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
# The example of Slack's page on verifying requests.
VECTOR_STAMP = "1531420618"
VECTOR_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
VECTOR = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def plugin(**settings) -> Slack:
    return account(Slack, "slack", **SETTINGS | settings)


def at(sim: SlackSim, **settings) -> Slack:
    return plugin(**sim.account_settings() | settings)


def hooked(sim: SlackSim | None = None, **settings) -> Slack:
    where = {"hooks_url": f"{sim.url}/services"} if sim else {}
    return account(Slack, "slack", **HOOK | where | settings)


def message(text: str = "[C1] 新的退货 <b>R&D</b>", **facts) -> SendMessage:
    given = {"purpose": "staff:c1", "form": Form.CHAT, "to": "staff", "audience": "staff"}
    return SendMessage(**given | {"text": text} | facts)


@pytest.fixture
async def sim():
    async with SlackSim(TOKEN, SECRET) as made:
        yield made


@asynccontextmanager
async def lent(now=None, **facts):
    clock = {"now": now} if now else {}
    ctx = context("slack", **clock, **facts)
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
@pytest.mark.evidence("slack", "vendor_sample")
def test_the_signature_is_the_published_example_and_fails_with_one_byte_flipped():
    assert simulated.signature(SECRET, VECTOR_STAMP, VECTOR_BODY) == VECTOR
    headers = {"Content-Type": FORM, "X-Slack-Request-Timestamp": VECTOR_STAMP, "X-Slack-Signature": VECTOR}
    request = WebRequest("POST", "/hooks/slack", {}, headers, VECTOR_BODY)
    then = datetime.fromtimestamp(int(VECTOR_STAMP), UTC)
    assert plugin().verify(request, then).meta == {"form": "yes"}
    for place in range(len(VECTOR_BODY)):
        changed = VECTOR_BODY[:place] + bytes([VECTOR_BODY[place] ^ 1]) + VECTOR_BODY[place + 1 :]
        with pytest.raises(Unverified):
            plugin().verify(replace(request, body=changed), then)
    with pytest.raises(Unverified, match="window"):
        plugin().verify(request, then + timedelta(minutes=6))


def signed(body: bytes, kind: str = JSON, stamp: str | None = None, secret: str = SECRET) -> WebRequest:
    stamp = stamp or str(int(NOON.timestamp()))
    headers = {"Content-Type": kind, "X-Slack-Request-Timestamp": stamp}
    headers["X-Slack-Signature"] = simulated.signature(secret, stamp, body)
    return WebRequest("POST", "/hooks/slack", {}, headers, body)


@pytest.mark.parametrize("stamp", ["", "soon", "-1"])
def test_a_time_that_cannot_be_read_is_refused(stamp):
    request = signed(b"{}", stamp="0")
    headers = {**request.headers, "X-Slack-Request-Timestamp": stamp}
    headers["X-Slack-Signature"] = simulated.signature(SECRET, stamp, b"{}")
    with pytest.raises(Unverified):
        plugin().verify(replace(request, headers=headers), NOON)


def test_without_a_signing_secret_nothing_is_heard():
    shut = plugin(secret=None)
    with pytest.raises(Unverified):
        shut.verify(signed(b"{}"), NOON)
    with pytest.raises(Unverified):
        shut.handshake(signed(CHALLENGE), NOON)
    assert shut.samples() == ()


def test_other_content_types_are_refused():
    with pytest.raises(WrongType):
        plugin().verify(signed(b"{}", "text/plain"), NOON)


CHALLENGE = json.dumps({"token": "old", "challenge": "3eZbrw1aBm2rZgRN", "type": "url_verification"}).encode()


def test_a_signed_challenge_is_answered_in_plain_text():
    answer = plugin().handshake(signed(CHALLENGE), NOON)
    assert (answer.status, answer.body, answer.content_type) == (200, b"3eZbrw1aBm2rZgRN", "text/plain")


@pytest.mark.parametrize(
    "request_",
    [
        signed(CHALLENGE, FORM),
        signed(b'{"type": "url_verification"}'),
        signed(b'{"type": "event_callback", "challenge": "url_verification"}'),
        signed(b"url_verification"),
    ],
    ids=["form", "empty", "event", "no JSON"],
)
def test_nothing_else_is_taken_for_a_challenge(request_):
    assert plugin().handshake(request_, NOON) is None


def test_a_challenge_that_is_forged_or_of_another_hour_gets_no_echo():
    for request, now in ((signed(CHALLENGE, secret="another"), NOON), (signed(CHALLENGE), NOON + timedelta(hours=1))):
        with pytest.raises(Unverified):
            plugin().handshake(request, now)


def test_a_challenge_under_a_secret_that_was_replaced_gets_no_echo():
    made = plugin(secret=["new", {"value": SECRET, "until": NOON}])
    assert made.handshake(signed(CHALLENGE, stamp=str(int(NOON.timestamp()) - 1)), NOON - timedelta(seconds=1))
    with pytest.raises(Unverified):
        made.handshake(signed(CHALLENGE), NOON)
    assert made.handshake(signed(CHALLENGE, secret="new"), NOON)


# Posting


async def test_an_alert_is_posted_with_the_bots_token_and_our_key():
    async with lent() as ctx:
        with respx.mock(using="httpx") as mock:
            route = mock.post("https://slack.com/api/chat.postMessage").mock(
                httpx.Response(200, json={"ok": True, "channel": CHANNEL, "ts": "1767355200.000100"})
            )
            result = await plugin().send(message(), ctx)
    request = route.calls.last.request
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(request.content) == {
        "channel": CHANNEL,
        "text": "[C1] 新的退货 &lt;b&gt;R&amp;D&lt;/b&gt;",
        "metadata": {"event_type": "rmabridge_message", "event_payload": {"key": ctx.idempotency_key}},
    }
    (event,) = result.events
    assert (result.id, event.message, event.ok) == (f"{CHANNEL}/1767355200.000100", result.id, True)
    assert [(one.kind, one.value) for one in event.refs] == [(RefKind.CASE, "C1"), (RefKind.THREAD, result.id)]


async def test_an_address_may_name_a_channel_and_a_thread(sim, ctx):
    first = await at(sim).send(message(), ctx)
    sim.channel = "C0OTHERS"
    other = await at(sim, channel=CHANNEL).send(message(to="C0OTHERS"), ctx)
    answer = await at(sim).send(message(to=other.id), ctx)
    assert [one["channel"] for one in sim.books["messages"]] == [CHANNEL, "C0OTHERS", "C0OTHERS"]
    assert sim.books["messages"][2]["thread_ts"] == sim.books["messages"][1]["ts"]
    assert answer.events[0].refs[1].value == other.id != answer.id != first.id


async def test_without_a_case_nobody_learns_of_the_thread(sim):
    async with lent(sim.now, case=None) as ctx:
        assert (await at(sim).send(message(), ctx)).events == ()


async def test_subject_and_links_stand_around_the_words(sim, ctx):
    file = Attachment(name="photo", url="https://shop.example/1.jpg")
    await at(sim).send(message("words", subject="New case", attachments=(file,)), ctx)
    assert sim.books["messages"][0]["text"] == "New case\nwords\nphoto: https://shop.example/1.jpg"


async def test_what_is_too_long_is_cut_between_escapes(sim, ctx):
    result = await at(sim, longest_text=20).send(message("x" * 17 + "<<<"), ctx)
    assert sim.books["messages"][0]["text"] == "x" * 17 + "…"
    assert result.note == "cut to 20 characters"
    assert at(sim).limit(Form.CHAT).characters == 40000
    assert at(sim).limit(Form.MAIL) is None


@pytest.mark.parametrize("sent", [message(audience="buyer"), message(" ")])
async def test_buyers_and_empty_words_are_refused_before_anything_leaves(sim, ctx, sent):
    for slack in (at(sim), hooked(sim)):
        with pytest.raises(Rejected):
            await slack.send(sent, ctx)
    assert sim.books["messages"] == sim.books["refusals"] == []


@given(st.text(max_size=30))
def test_escaped_words_hold_no_mark_of_slacks(words):
    assert not set("<>") & set(escaped(words))
    assert escaped(words).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == words


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"channel": None}, "channel"),
        ({"channel": "#alerts"}, "channel"),
        (HOOK, "either token or webhook"),
        ({"token": None}, "either token or webhook"),
        ({"bot_user": "bridge"}, "bot_user"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(settings, named):
    with pytest.raises(ValidationError, match=named):
        plugin(**settings)


# The incoming webhook


async def test_an_incoming_webhook_takes_the_words_alone(sim, ctx):
    result = await hooked(sim).send(message(), ctx)
    assert (result.id, result.events) == (None, ())
    assert sim.books["messages"][0]["text"] == "[C1] 新的退货 &lt;b&gt;R&amp;D&lt;/b&gt;"


async def test_the_whole_address_of_a_webhook_may_be_given(sim, ctx):
    await hooked(sim, webhook=f"https://hooks.slack.com/services/{HOOK['webhook']}").send(message(), ctx)
    assert sim.books["messages"]


async def test_a_webhook_that_is_gone_waits_for_a_person_with_slacks_word(sim, ctx):
    with pytest.raises(Rejected, match="no_service") as caught:
        await hooked(sim, webhook="T0SHOP/B0HOOK/other").send(message(), ctx)
    assert "new webhook" in caught.value.hint


async def test_a_webhook_cannot_be_tried_or_looked_up(sim, ctx):
    with pytest.raises(Rejected, match="without a message"):
        await hooked(sim).probe(ctx)
    assert (await hooked(sim, look_up=True).find_message(message(), ctx)).happened is None


# Errors


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("ratelimited", Unavailable),
        ("invalid_auth", Unauthorised),
        ("token_revoked", Unauthorised),
        ("msg_too_long", Rejected),
        ("something_new", Rejected),
        ("fatal_error", ValueError),
        ("internal_error", ValueError),
    ],
)
async def test_an_error_in_a_200_decides_what_the_bridge_does(sim, ctx, error, raised):
    sim.do_fail_next(error)
    with pytest.raises(raised, match=error):
        await at(sim).send(message(), ctx)


async def test_who_posts_too_fast_waits_as_long_as_slack_says(sim, ctx):
    sim.do_limit(17)
    with pytest.raises(httpx.HTTPStatusError) as caught:
        await at(sim).send(message(), ctx)
    assert caught.value.response.headers["Retry-After"] == "17"
    sim.do_fail_next("ratelimited")
    with pytest.raises(Unavailable) as told:
        await at(sim, busy_pause=60).send(message(), ctx)
    assert told.value.retry_after == 60


async def test_a_bot_that_is_not_in_the_channel_says_what_to_do(sim, ctx):
    with pytest.raises(Rejected, match="channel_not_found") as caught:
        await at(sim, channel="C0OTHERS").send(message(), ctx)
    assert "invite" in caught.value.hint


async def test_what_an_error_means_is_a_setting(sim, ctx):
    sim.do_fail_next("fatal_error")
    with pytest.raises(Unavailable):
        await at(sim, unclear_errors=(), busy_errors=("fatal_error",)).send(message(), ctx)


# What became of it


async def test_a_message_whose_answer_got_lost_is_found_by_our_key(sim, ctx):
    slack = at(sim, look_up=True)
    sim.do_lose_answer(502)
    with pytest.raises(httpx.HTTPStatusError):
        await slack.send(message(), ctx)
    found = await slack.find_message(message(), ctx)
    assert (found.happened, found.result.id) == (True, f"{CHANNEL}/{sim.books['messages'][0]['ts']}")
    assert found.result.events[0].refs[1].value == found.result.id
    async with lent(sim.now, key="another-delivery") as other:
        assert (await slack.find_message(message(), other)).happened is False


async def test_it_is_found_behind_many_others_and_left_open_behind_too_many(sim, ctx):
    slack = at(sim, look_up=True)
    await slack.send(message(), ctx)
    sim.books["messages"] += [{"channel": CHANNEL, "text": "hi", "ts": sim._stamp()} for _ in range(150)]
    assert (await slack.find_message(message(), ctx)).happened is True
    sim.books["messages"] += [sim.books["messages"][1]] * 300
    assert (await slack.find_message(message(), ctx)).happened is None


async def test_nothing_is_looked_up_without_leave_or_in_a_thread(sim, ctx):
    posted = await at(sim).send(message(), ctx)
    assert (await at(sim).find_message(message(), ctx)).happened is None
    assert (await at(sim, look_up=True).find_message(message(to=posted.id), ctx)).happened is None
    assert sim.books["searches"] == 0


def test_absence_counts_only_after_the_setting():
    assert plugin(settles_after=timedelta(minutes=9)).route(message()).settles_after == timedelta(minutes=9)


async def test_the_probe_shows_the_bots_user_id(sim, ctx):
    assert SlackSim.bot in await at(sim).probe(ctx)
    with pytest.raises(Unauthorised):
        await at(sim, token="xoxb-other").probe(ctx)


# Replies


def reply(**more) -> dict:
    event = {"type": "message", "channel": CHANNEL, "user": "U0AGENT", "text": "Ich rufe an &amp; 您好 &lt;3"}
    event |= {"ts": "1767355260.000200", "thread_ts": "1767355200.000100", "parent_user_id": "U0BRIDGE"}
    return {name: value for name, value in (event | more).items() if value is not None}


def parsed(event: dict, slack: Slack | None = None) -> list:
    body = json.dumps({"type": "event_callback", "event_id": "Ev1", "event": event}).encode()
    return list((slack or plugin()).parse(Inbound("slack", body, {}, NOON)))


def test_a_reply_in_a_thread_is_an_internal_note_of_a_colleague():
    (event,) = parsed(reply())
    assert (event.message.author, event.message.public, event.message.who) == ("agent", False, "U0AGENT")
    assert event.message.text == "Ich rufe an & 您好 <3"
    assert event.at == datetime(2026, 1, 2, 12, 1, 0, 200, tzinfo=UTC)
    assert [(one.kind, one.value) for one in event.refs] == [(RefKind.THREAD, f"{CHANNEL}/1767355200.000100")]
    assert parsed(reply(subtype="thread_broadcast"))[0].key == event.key


@pytest.mark.parametrize(
    "event",
    [
        reply(bot_id="B1"),
        reply(subtype="bot_message"),
        reply(subtype="message_changed"),
        reply(thread_ts=None),
        reply(thread_ts=reply()["ts"]),
        reply(text=" "),
        reply(ts="soon"),
        reply(channel="elsewhere"),
        reply(type="app_mention"),
    ],
)
def test_what_is_no_reply_of_a_person_means_nothing(event):
    assert parsed(event) == []


def test_threads_of_others_mean_nothing_where_the_bots_id_is_known():
    slack = plugin(bot_user="U0BRIDGE")
    assert len(parsed(reply(), slack)) == 1
    assert parsed(reply(parent_user_id="U0AGENT"), slack) == []


def test_interactions_and_commands_are_taken_and_mean_nothing():
    request = signed(b"payload=%7B%22type%22%3A%22block_actions%22%7D", FORM)
    receipt = plugin().verify(request, NOON)
    assert list(plugin().parse(Inbound("slack", request.body, receipt.meta, NOON))) == []
    assert plugin().reply(request).body == b""


def test_an_event_is_known_by_its_id_and_its_thread_keeps_its_order():
    body = json.dumps({"type": "event_callback", "event_id": "Ev7", "event": reply()}).encode()
    receipt = plugin().verify(signed(body), NOON)
    assert (receipt.id, receipt.lane) == ("Ev7", f"{CHANNEL}/1767355200.000100")


POSTED = {"ok": True, "channel": CHANNEL, "ts": "1767355200.000100"}
SEEN = {"ts": POSTED["ts"], "text": "words"}


def history(*keys: str) -> dict:
    rows = [SEEN | {"metadata": {"event_type": "rmabridge_message", "event_payload": {"key": one}}} for one in keys]
    return {"ok": True, "messages": [*rows, SEEN], "has_more": False, "response_metadata": None}


class TestSlack(ChannelContract, WebhookContract, ConnectContract):
    plugin = Slack
    settings = SETTINGS | {"look_up": True}
    stamped = True
    probed = ({"ok": True, "team": "Shop", "user_id": "U0BRIDGE"},)

    def calls(self):
        errors = {
            "retry": ({"ok": False, "error": "ratelimited"},),
            "unauthorised": ({"ok": False, "error": "token_revoked"},),
            "dead": ({"ok": False, "error": "msg_too_long"}, {"ok": False}),
            "uncertain": ({"ok": False, "error": "fatal_error"}, {"ok": True}),
        }
        key = "7d7f5d62-93ac-5b56-9d7b-4a4f8e0b1c11"
        found = {"found": (history("other", key),), "absent": (history("other"),)}
        return [Call("send", message(), (POSTED,), errors=errors, **found)]

    def signed(self, account, now):
        secret = account.secret[0].value.get_secret_value()
        body = json.dumps({"type": "event_callback", "event_id": "Ev1", "event": reply()}).encode()
        return [signed(body, stamp=str(int(now.timestamp())), secret=secret)]

    def challenges(self, account, now):
        secret = account.secret[0].value.get_secret_value()
        return [signed(CHALLENGE, stamp=str(int(now.timestamp())), secret=secret)]


class TestSlackWebhook(ChannelContract):
    plugin = Slack
    settings = HOOK

    def calls(self):
        return [Call("send", message(), (httpx.Response(200, text="ok"),), keyless=True)]
