"""Chatwoot: verification, both kinds of conversation, the loop guard, and the calls against the simulator over HTTP."""

# ruff: noqa: RUF012 - subclassing the contract reads best without annotations
import hashlib
import hmac
import json
from datetime import timedelta

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from rmabridge_chatwoot import Chatwoot

from rmabridge.abilities import Inbound, WebRequest
from rmabridge.errors import Malformed, Rejected, Unauthorised, Unverified, WrongType
from rmabridge.model import (
    Attachment,
    Author,
    CommentTicket,
    Form,
    OpenTicket,
    RefKind,
    SendMessage,
    TicketSeen,
    UpdateTicket,
)
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.contract import Call, ChannelContract, HelpdeskContract, WebhookContract
from rmabridge.testing.simulators.chatwoot import ChatwootSim

SECRET, TOKEN = "chatwoot-webhook-secret", "chatwoot-token"
SETTINGS = {"account_id": 1, "inbox_id": 4, "token": TOKEN, "secret": SECRET, "bot_ids": ["5"]}
API = "https://app.chatwoot.com/api/v1/accounts/1"


def desk(**settings):
    given = {**SETTINGS, **settings}
    return account(Chatwoot, "desk", **{name: one for name, one in given.items() if one is not None})


def visitor(**changes):
    known = {"id": 9, "name": "Jane", "email": "jane@example.com", "identifier": "cust-1", "type": "contact"}
    return {**known, **changes}


def talk(number=33, inbox=3, **changes):
    return {
        "id": number,
        "inbox_id": inbox,
        "status": "open",
        "priority": None,
        "labels": ["rma"],
        "custom_attributes": {"rma_id": "C1"},
        "additional_attributes": {"browser_language": "zh_CN"},
        "meta": {"sender": visitor(), "assignee": None, "hmac_verified": True},
        "updated_at": 1767355198.25,
        **changes,
    }


def message(conversation=None, **changes):
    return {
        "event": "message_created",
        "id": 71,
        "content": "Where is my refund?",
        "message_type": "incoming",
        "private": False,
        "created_at": "2026-01-02T11:59:58.000Z",
        "account": {"id": 1, "name": "Shop"},
        "inbox": {"id": 3, "name": "Website"},
        "sender": visitor(),
        "conversation": conversation or talk(),
        "attachments": [],
        **changes,
    }


def said_by(sender, **changes):
    return message(message_type="outgoing", content="We look into it.", sender=sender, **changes)


ANA = {"id": 8, "name": "Ana", "email": "ana@example.com", "type": "user"}
BOT = {"id": 5, "name": "Bridge", "email": "bridge@example.com", "type": "user"}


def changed(event="conversation_status_changed", conversation=None, **changes):
    change = [{"status": {"previous_value": "open", "current_value": "resolved"}}]
    return {**(conversation or talk(status="resolved")), "event": event, "changed_attributes": change, **changes}


def parse(body, plugin=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list((plugin or desk()).parse(Inbound("desk", raw, {}, NOON)))


def signed(body, *, now=NOON, secret=SECRET, key=None):
    stamp = str(int(now.timestamp()))
    mac = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-Chatwoot-Timestamp": stamp,
        "X-Chatwoot-Signature": f"sha256={mac}",
        "X-Chatwoot-Delivery": "0b4c",
    }
    return WebRequest("POST", "/hooks/desk", {"key": key} if key else {}, headers, body)


def refs(event):
    return [(one.kind.value, one.value) for one in event.refs]


class TestContract(HelpdeskContract, WebhookContract, ChannelContract):
    plugin = Chatwoot
    settings = SETTINGS
    kinds = ("helpdesks",)
    stamped = True
    # The plan does not include it, or the record is refused.
    statuses = {402: "dead"}

    def signed(self, account, now):
        secret = account.secret[0].value.get_secret_value()
        bodies = (message(), said_by(ANA, id=72), changed())
        return [signed(json.dumps(one).encode(), now=now, secret=secret) for one in bodies]

    def calls(self):
        opening = OpenTicket(external="C1", subject="Wrong size", text="Größe 42, 你好", requester_email="li@x.com")
        contact = {"payload": {"contact": {"id": 9}, "contact_inbox": {"source_id": "C1"}}}
        made, written = {"id": 33, "inbox_id": 4}, {"id": 71, "content": "x"}
        toggled = {"payload": {"success": True, "current_status": "resolved"}}
        return [
            Call("open_ticket", opening, ({"payload": []}, contact, made, {"payload": ["rmabridge"]}), keyless=True),
            Call("comment_ticket", CommentTicket(origin="e", ticket="33", text="scanned"), (written,), keyless=True),
            Call("update_ticket", UpdateTicket(origin="e", ticket="33", status="solved"), (toggled,)),
            Call("send", SendMessage(purpose="p", form=Form.CHAT, to="33", text="您好"), (written,), keyless=True),
        ]


# Verification


def test_a_signature_computed_elsewhere_is_accepted():
    headers = {
        "content-type": "application/json",
        "x-chatwoot-timestamp": "1767355200",
        # printf '1767355200.{"a":1}' | openssl dgst -sha256 -hmac chatwoot-webhook-secret
        "x-chatwoot-signature": "sha256=fc8a09a59f858f87192a6bac15125a0123689d366c68bfbc1abc41135392ae60",
    }
    receipt = desk().verify(WebRequest("POST", "/hooks/desk", {}, CIMultiDict(headers), b'{"a":1}'), NOON)
    assert receipt.lane is None


def test_the_delivery_and_the_conversation_are_noted():
    plugin = desk()
    receipt = plugin.verify(signed(json.dumps(message()).encode()), NOON)
    assert (receipt.id, receipt.lane) == ("0b4c", "33")
    assert plugin.verify(signed(json.dumps(changed()).encode()), NOON).lane == "33"


def test_a_signature_over_the_body_alone_is_refused():
    request = signed(b"{}")
    request.headers["X-Chatwoot-Signature"] = "sha256=" + hmac.new(SECRET.encode(), b"{}", hashlib.sha256).hexdigest()
    with pytest.raises(Unverified, match="does not fit"):
        desk().verify(request, NOON)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_an_old_webhook_is_refused(minutes):
    with pytest.raises(Unverified, match="outside"):
        desk().verify(signed(b"{}"), NOON + timedelta(minutes=minutes))


def test_a_form_is_refused():
    request = signed(b"{}")
    request.headers["Content-Type"] = "text/plain"
    with pytest.raises(WrongType):
        desk().verify(request, NOON)


def test_a_chatwoot_that_does_not_sign_gives_the_key_of_its_address():
    plugin = desk(secret=None, url_key="long-random-text")
    bare = WebRequest("POST", "/hooks/desk", {"key": "long-random-text"}, {}, b"{}")
    assert plugin.verify(bare, NOON).id is None
    for query in ({}, {"key": "wrong"}, {"key": ""}):
        with pytest.raises(Unverified):
            plugin.verify(WebRequest("POST", "/hooks/desk", query, {}, b"{}"), NOON)
    with pytest.raises(Unverified, match="neither"):
        desk(secret=None).verify(bare, NOON)


def test_where_both_are_set_both_must_fit():
    plugin = desk(url_key="long-random-text")
    plugin.verify(signed(b"{}", key="long-random-text"), NOON)
    for request in (signed(b"{}"), WebRequest("POST", "/", {"key": "long-random-text"}, {}, b"{}")):
        with pytest.raises(Unverified):
            plugin.verify(request, NOON)


# What comes in


def test_a_visitors_line_names_ticket_thread_and_chat():
    [event] = parse(message())
    assert (event.key, event.source) == ("message:71", "chat")
    assert refs(event) == [("ticket", "33"), ("thread", "33")]
    assert (event.message.id, event.message.author, event.message.form) == ("chatwoot:71", Author.BUYER, Form.CHAT)
    assert event.message.text == "Where is my refund?"
    buyer = event.buyer
    assert (buyer.id, buyer.name, buyer.email, buyer.chat) == ("cust-1", "Jane", "jane@example.com", "33")
    assert buyer.locale == "zh-CN"


@pytest.mark.parametrize(
    ("trust", "verified", "believed"),
    [
        ("verified", True, True),
        ("verified", False, False),
        ("everyone", False, True),
        ("nobody", True, False),
    ],
)
def test_what_anybody_could_have_typed_names_nobody(trust, verified, believed):
    spoken = talk(meta={"sender": visitor(), "hmac_verified": verified})
    [event] = parse(message(spoken), desk(trust=trust))
    known = {event.buyer.id, event.buyer.email}
    assert known == ({"cust-1", "jane@example.com"} if believed else {None})
    assert (event.buyer.name, event.buyer.chat) == ("Jane", "33")


def test_a_made_up_name_of_an_unknown_visitor_is_not_used():
    nobody = visitor(name="bold-frost-123", email=None, identifier=None)
    [event] = parse(message(talk(meta={"sender": nobody}), sender=nobody))
    assert event.buyer.name is None


def test_a_visitor_cannot_name_a_case_by_an_attribute():
    [seen] = parse(changed())
    assert refs(seen) == [("ticket", "33")]
    [own] = parse(changed(conversation=talk(inbox=4, status="resolved")))
    assert refs(own) == [("ticket", "33"), ("case", "C1")]


def test_an_agents_words_in_the_chat_were_heard_there():
    [event] = parse(said_by(ANA))
    assert refs(event) == [("thread", "33")]
    assert (event.message.author, event.message.who, event.message.public) == (Author.AGENT, "Ana", True)
    assert event.buyer is None


def test_a_private_note_is_not_for_the_buyer():
    [event] = parse(said_by(ANA, private=True))
    assert refs(event) == [("ticket", "33")]
    assert not event.message.public


def test_an_agents_words_in_our_own_inbox_name_the_ticket():
    [event] = parse(said_by(ANA, conversation=talk(inbox=4), inbox={"id": 4}))
    assert refs(event) == [("ticket", "33")]
    assert event.source is None


def test_a_buyer_in_our_own_inbox_has_no_chat():
    [event] = parse(message(talk(inbox=4), sender=visitor(identifier="rmabridge:C1")))
    assert refs(event) == [("ticket", "33")]
    assert (event.buyer.chat, event.buyer.id, event.buyer.email) == (None, None, "jane@example.com")


def test_our_own_words_are_an_echo():
    assert parse(said_by(BOT)) == []
    assert parse(said_by(BOT, private=True)) == []
    [other] = parse(said_by({**BOT, "type": "agent_bot"}))
    assert other.message.author is Author.SYSTEM


def test_a_contact_with_our_users_number_is_heard_all_the_same():
    [event] = parse(message(sender=visitor(id=5)))
    assert event.message.author is Author.BUYER


@pytest.mark.parametrize("sender", [None, {}, {"type": "captain_assistant", "id": 3}])
def test_what_no_person_said_is_the_systems(sender):
    [event] = parse(said_by(sender))
    assert event.message.author is Author.SYSTEM


@pytest.mark.parametrize(
    "body",
    [
        message(message_type="activity"),
        message(message_type="template"),
        message(content=None),
        message(account={"id": 2}),
        {"event": "contact_created", "id": 1},
        {"event": "conversation_typing_on", "id": 1},
        changed("conversation_updated", changed_attributes=[{"waiting_since": {}}, {"updated_at": {}}]),
    ],
)
def test_what_says_nothing_gives_no_event(body):
    assert parse(body) == []


def test_only_the_named_inboxes_are_read():
    plugin = desk(inboxes=["7"])
    assert parse(message(), plugin) == []
    assert parse(changed(), plugin) == []
    assert parse(message(talk(inbox=7)), plugin)
    assert parse(message(talk(inbox=4)), plugin)


def test_files_come_with_their_names():
    files = [
        {"id": 1, "file_type": "image", "data_url": "https://cw.example.com/rails/b/%E7%9B%92.jpg?x=1"},
        {"id": 2, "file_type": "file", "data_url": "https://cw.example.com/"},
        {"id": 3, "data_url": "http://[bad"},
        {"id": 4},
        "odd",
    ]
    [event] = parse(message(content=None, attachments=files))
    assert event.message.text == ""
    found = [(one.name, one.media_type) for one in event.message.attachments]
    octets = "application/octet-stream"
    assert found == [("盒.jpg", "image/jpeg"), ("file", octets), ("file", octets)]


def test_a_change_shows_status_priority_labels_and_assignee():
    spoken = talk(inbox=4, status="Resolved", priority="high", meta={"assignee": {"id": 8}})
    [seen] = parse(changed(conversation=spoken))
    assert (seen.status, seen.priority, seen.tags, seen.assignee) == ("resolved", "high", ("rma",), "8")
    assert seen.at.isoformat() == "2026-01-02T11:59:58.250000+00:00"


def test_the_same_change_told_by_two_events_counts_once():
    first, second = parse(changed()), parse(changed("conversation_updated"))
    assert [one.key for one in first] == [one.key for one in second]
    [later] = parse(changed(updated_at=1767355199.0))
    assert later.key != first[0].key


def test_an_older_chatwoot_names_numbers_and_times_otherwise():
    [event] = parse(message(talk(id=None, display_id=12), message_type=0, created_at=1767355198))
    assert refs(event)[0] == ("ticket", "12")
    bare = changed()
    del bare["updated_at"]
    assert parse(bare)[0].at == NOON
    assert parse({**bare, "timestamp": 1767355190})[0].at == NOON - timedelta(seconds=10)


@pytest.mark.parametrize(
    "body",
    [message(created_at=None), message(id="x"), message(talk(id="33/..")), changed(id=None), b"[]", b"no json"],
)
def test_a_body_that_cannot_be_read_is_malformed(body):
    with pytest.raises(Malformed):
        parse(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*message(), *talk()]), inner),
        max_leaves=12,
    ),
    st.sampled_from(["message_created", "conversation_updated", "conversation_created"]),
)
def test_any_shape_gives_events_or_is_malformed(shape, event):
    body = {**(message() if event == "message_created" else talk()), **(shape if isinstance(shape, dict) else {})}
    try:
        parse({**body, "event": event, "conversation": shape})
    except Malformed:
        return


# Calls


@pytest.fixture
async def sim():
    async with ChatwootSim() as one:
        yield one


@pytest.fixture
async def ctx(sim):
    lent = context("desk", now=sim.now)
    yield lent
    await lent.http.aclose()


@pytest.fixture
async def lone():
    lent = context("desk")
    yield lent
    await lent.http.aclose()


def opening(**changes):
    base = {"external": "C1", "subject": "Return", "text": "A customer asks for a return.", "priority": "high"}
    return OpenTicket(**{**base, **changes})


async def test_a_conversation_is_opened_with_all_that_the_settings_know(sim, ctx):
    plugin = desk(url=sim.url, team_ids={"crisis": 7}, fields={"order": "order_number"})
    asked = opening(
        requester_name="Li",
        requester_email="li@example.com",
        group="crisis",
        tags=("VIP buyer",),
        fields={"order": "1"},
    )
    result = await plugin.open_ticket(asked, ctx)
    made = sim.books["conversations"][result.id]
    assert (made["inbox_id"], made["status"], made["priority"], made["team"]) == (4, "open", "high", 7)
    assert made["labels"] == ["rmabridge", "vip-buyer"]
    assert made["custom_attributes"] == {"order_number": "1", "rma_id": "C1"}
    contact = sim.books["contacts"][str(made["contact_id"])]
    assert (contact["name"], contact["email"]) == ("Li", "li@example.com")
    [note] = sim.books["messages"]
    assert note["private"] is True
    assert note["content"] == "Return\n\nA customer asks for a return."
    assert result.url == f"{sim.url}/app/accounts/1/conversations/{result.id}"
    assert result.note is None


async def test_what_the_settings_do_not_know_is_said(sim, ctx):
    result = await desk(url=sim.url).open_ticket(opening(group="crisis", priority="odd"), ctx)
    assert result.note == "not set in Chatwoot: group crisis, priority odd"


async def test_a_known_contact_is_taken_and_a_nameless_one_gets_an_identifier(sim, ctx):
    plugin = desk(url=sim.url)
    await plugin.open_ticket(opening(requester_email="LI@example.com"), ctx)
    await plugin.open_ticket(opening(external="C2", requester_email="li@example.com"), ctx)
    await plugin.open_ticket(opening(external="C3"), ctx)
    first, second, third = sim.books["conversations"].values()
    assert first["contact_id"] == second["contact_id"] != third["contact_id"]
    assert sim.books["contacts"][str(third["contact_id"])]["identifier"] == "rmabridge:C3"


@pytest.mark.parametrize("status", [422, 401, 429, 500])
async def test_a_conversation_that_is_there_is_not_opened_again_for_its_labels(lone, status):
    with respx.mock(using="httpx") as mock:
        mock.get(f"{API}/contacts/search").respond(json={"payload": [{"id": 9, "identifier": "rmabridge:C1"}]})
        mock.post(f"{API}/conversations").respond(json={"id": 33})
        mock.post(f"{API}/conversations/33/labels").respond(status, json={"error": "no"})
        result = await desk().open_ticket(opening(), lone)
    assert result.id == "33"
    assert "labels or priority" in result.note


async def test_the_conversation_is_found_by_the_cases_id(sim, ctx):
    plugin = desk(url=sim.url)
    asked = opening(requester_email="li@example.com")
    assert (await plugin.find_ticket(asked, ctx)).happened is False
    made = await plugin.open_ticket(asked, ctx)
    assert (await plugin.find_ticket(opening(external="C2", requester_email="li@example.com"), ctx)).happened is False
    found = await plugin.find_ticket(asked, ctx)
    assert (found.happened, found.result.id) == (True, made.id)


async def test_among_many_conversations_an_older_one_stays_unknown(sim, ctx):
    plugin = desk(url=sim.url)
    for number in range(20):
        await plugin.open_ticket(opening(external=f"D{number}", requester_email="li@example.com"), ctx)
    assert (await plugin.find_ticket(opening(requester_email="li@example.com"), ctx)).happened is None


async def test_notes_and_public_words_are_written_and_found_again(sim, ctx):
    plugin = desk(url=sim.url)
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    files = (Attachment(name="label.pdf", url="https://files.example.com/1"), Attachment(name="lost.pdf"))
    note = CommentTicket(origin="m1", ticket=ticket, text="The parcel arrived.", attachments=files)
    assert (await plugin.find_comment(note, ctx)).happened is False
    result = await plugin.comment_ticket(note, ctx)
    written = sim.books["messages"][-1]
    assert (written["private"], written["message_type"]) == (True, 1)
    assert written["content"] == (
        "The parcel arrived.\nlabel.pdf: https://files.example.com/1\nlost.pdf: the file was not kept"
    )
    assert result.id == f"chatwoot:{written['id']}"
    assert (await plugin.find_comment(note, ctx)).result.id == result.id
    public = note.model_copy(update={"public": True})
    assert (await plugin.find_comment(public, ctx)).happened is False
    await plugin.comment_ticket(public, ctx)
    assert sim.books["messages"][-1]["private"] is False


PHOTO = b"\x89PNG of a broken kettle"
FILED = (
    Attachment(name="照片.png", media_type="image/png", sha256=hashlib.sha256(PHOTO).hexdigest()),
    Attachment(name="dossier.pdf", media_type="application/pdf", text='{"title": "YT1"}'),
    Attachment(name="gone.png", media_type="image/png", sha256="f" * 64),
    Attachment(name="film.mp4", media_type="video/mp4", sha256="e" * 64, size=30 << 20),
)
LINES = (
    "See the files.\n"
    f"gone.png: the file is not kept here any more (SHA-256 {'f' * 64})\n"
    "film.mp4: too large to attach; see 'rmabridge cases evidence --save'"
)


@pytest.mark.parametrize("public", [True, False])
async def test_stored_and_made_files_go_along_and_what_is_gone_or_too_large_is_told(sim, ctx, public):
    plugin, ctx = desk(url=sim.url), context("desk", http=ctx.http, files={FILED[0].sha256: PHOTO})
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    note = CommentTicket(origin="m1", ticket=ticket, text="See the files.", attachments=FILED, public=public)
    await plugin.comment_ticket(note, ctx)
    written = sim.books["messages"][-1]
    assert (written["content"], written["private"], written["message_type"]) == (LINES, not public, 1)
    photo, paper = written["attachments"]
    assert (photo["name"], photo["content_type"], photo["sha256"]) == ("照片.png", "image/png", FILED[0].sha256)
    assert (paper["name"], paper["content_type"]) == ("dossier.pdf", "application/pdf")
    assert (await plugin.find_comment(note, ctx)).happened


def answer(to, text="Your refund is on its way."):
    return SendMessage(purpose="reply:first:1", form=Form.CHAT, to=str(to), text=text)


async def test_an_answer_goes_into_the_buyers_chat_and_is_found_there(sim, ctx):
    plugin = desk(url=sim.url)
    chat = await sim.do_buyer_says("Where is my refund?")
    await sim.do_agent_replies(chat, answer(chat).text)
    assert (await plugin.find_message(answer(chat), ctx)).happened is False
    result = await plugin.send(answer(chat), ctx)
    said = sim.books["messages"][-1]
    assert (said["conversation_id"], said["private"], said["sender"]["id"]) == (chat, False, 5)
    assert (await plugin.find_message(answer(chat), ctx)).result.id == result.id


async def test_equal_words_of_another_day_are_other_words(sim, ctx):
    plugin = desk(url=sim.url)
    chat = await sim.do_buyer_says("Hello")
    await plugin.send(answer(chat), ctx)
    sim.offset += timedelta(hours=26)
    assert (await plugin.find_message(answer(chat), ctx)).happened is False


async def test_words_are_looked_for_on_older_pages_up_to_a_point(sim, ctx):
    plugin = desk(url=sim.url)
    chat = await sim.do_buyer_says("Hello")
    await plugin.send(answer(chat), ctx)
    await sim.do_buyer_says([f"Line {number}" for number in range(30)], conversation=chat)
    assert (await plugin.find_message(answer(chat), ctx)).happened is True
    assert (await plugin.find_message(answer(chat, "Other words."), ctx)).happened is False
    await sim.do_buyer_says([f"Line {number}" for number in range(180)], conversation=chat)
    assert (await plugin.find_message(answer(chat), ctx)).happened is None


async def test_an_update_keeps_what_is_there(sim, ctx):
    plugin = desk(url=sim.url)
    ticket = (await plugin.open_ticket(opening(tags=("a",)), ctx)).id
    action = UpdateTicket(
        origin="u1", ticket=ticket, status="solved", priority="urgent", add_tags=("a", "b c"), fields={"result": "ok"}
    )
    assert (await plugin.update_ticket(action, ctx)).note is None
    kept = sim.books["conversations"][ticket]
    assert (kept["status"], kept["priority"]) == ("resolved", "urgent")
    assert kept["labels"] == ["rmabridge", "a", "b-c"]
    assert kept["custom_attributes"] == {"rma_id": "C1", "result": "ok"}
    reopened = UpdateTicket(origin="u2", ticket=ticket, status="open", priority="odd")
    assert (await plugin.update_ticket(reopened, ctx)).note == "not set in Chatwoot: priority odd"
    assert kept["status"] == "open"


async def test_an_update_moves_the_conversation_to_another_team(sim, ctx):
    plugin = desk(url=sim.url, team_ids={"senior": 9})
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    assert (await plugin.update_ticket(UpdateTicket(origin="u1", ticket=ticket, group="senior"), ctx)).note is None
    assert sim.books["conversations"][ticket]["team"] == 9
    odd = await plugin.update_ticket(UpdateTicket(origin="u2", ticket=ticket, group="odd"), ctx)
    assert odd.note == "not set in Chatwoot: group odd"


@pytest.mark.parametrize("ticket", [None, "", "1/../2", "999"])
async def test_a_conversation_that_is_none_is_rejected(sim, ctx, ticket):
    with pytest.raises(Rejected) as refused:
        await desk(url=sim.url).comment_ticket(CommentTicket(origin="m1", ticket=ticket, text="x"), ctx)
    assert refused.value.hint


async def test_words_that_chatwoot_refuses_are_rejected_with_its_reason(sim, ctx):
    plugin = desk(url=sim.url)
    chat = await sim.do_buyer_says("Hello")
    with pytest.raises(Rejected, match="Content can't be blank"):
        await plugin.send(answer(chat, " "), ctx)


async def test_wrong_credentials_and_the_throttle_speak_for_themselves(sim, ctx):
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        await desk(url=sim.url, token="wrong").probe(ctx)
    sim.rate = 0
    with pytest.raises(httpx.HTTPStatusError) as refused:
        await desk(url=sim.url).probe(ctx)
    assert refused.value.response.status_code == 429
    assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 60


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"errors":["Sign in first"]}', "Sign in first"),
        ('{"message":"Email is taken","attributes":["email"]}', "Email is taken"),
        ('{"error":"Resource could not be found"}', "Resource could not be found"),
        ('{"description":"Bad","errors":[null,{"x":1}]}', "Bad"),
        ('{"odd":1}', "odd"),
        ("plain words", "plain words"),
        ("", "no reason given"),
    ],
)
async def test_every_form_of_a_refusal_is_told_to_the_operator(lone, body, reason):
    with respx.mock(using="httpx") as mock:
        mock.post(f"{API}/conversations/33/messages").respond(422, text=body)
        with pytest.raises(Rejected, match=reason):
            await desk().send(answer(33), lone)


# Connecting


async def test_the_probe_names_user_and_inbox_and_what_is_wrong(sim, ctx):
    assert await desk(url=sim.url).probe(ctx) == f"signed in to {sim.url} as Bridge (user 5), inbox RMA"
    told = await desk(url=sim.url, bot_ids=[6], inbox_id=3).probe(ctx)
    assert 'set bot_ids = ["5"]' in told
    assert "Channel::WebWidget" in told
    with pytest.raises(Rejected):
        await desk(url=sim.url, inbox_id=99).probe(ctx)


async def test_a_mere_agent_and_a_stranger_to_the_account_are_told(lone):
    with respx.mock(using="httpx") as mock:
        profile = mock.get("https://app.chatwoot.com/api/v1/profile")
        mock.get(f"{API}/inboxes/4").respond(json={"id": 4, "name": "RMA", "channel_type": "Channel::Api"})
        profile.respond(json={"id": 5, "name": "B", "accounts": [{"id": 1, "role": "agent"}]})
        assert "mere agent" in await desk().probe(lone)
        profile.respond(json={"id": 5, "name": "B", "accounts": [{"id": 2}]})
        with pytest.raises(Unauthorised, match="account 1"):
            await desk().probe(lone)


async def test_the_webhook_is_registered_once_with_all_topics(sim, ctx):
    plugin, url = desk(url=sim.url), "https://bridge.example.com/hooks/desk"
    assert await plugin.subscribe(url, ctx) == ()
    assert await plugin.subscribe(url, ctx) == ()
    [hook] = sim.books["hooks"].values()
    assert hook["url"] == url
    assert "message_created" in hook["subscriptions"]
    assert [one["attribute_key"] for one in sim.books["attributes"]] == ["rma_id"]
    hook["subscriptions"] = ["message_created"]
    await plugin.subscribe(url, ctx)
    [hook] = sim.books["hooks"].values()
    assert len(hook["subscriptions"]) == 4


async def test_without_a_secret_the_steps_say_where_to_find_it(sim, ctx):
    url = "https://bridge.example.com/hooks/desk"
    steps = await desk(url=sim.url, secret=None).subscribe(url, ctx)
    assert "secret" in " ".join(steps)
    assert not [one for one in steps if SECRET in one]
    assert await desk(url=sim.url, secret=None, url_key="a b").subscribe(url, ctx) == ()
    assert [one["url"] for one in sim.books["hooks"].values()] == [url, f"{url}?key=a%20b"]


async def test_a_bare_list_of_webhooks_is_read_too(lone):
    with respx.mock(using="httpx") as mock:
        mock.get(f"{API}/custom_attribute_definitions").respond(json=[{"attribute_key": "rma_id"}])
        topics = ["message_created", "conversation_created", "conversation_status_changed", "conversation_updated"]
        mock.get(f"{API}/webhooks").respond(json=[{"id": 1, "url": "https://b.example/h", "subscriptions": topics}])
        assert await desk().subscribe("https://b.example/h", lone) == ()


# What webhooks have missed


async def listed(plugin, ctx):
    cursor, events, more = None, [], True
    while more:
        page = await plugin.listing(ctx, cursor)
        events += [event for one in page.items for event in parse(one.body, plugin)]
        cursor, more = page.cursor, page.more
    return events


async def test_lines_that_wait_for_an_answer_are_found_again_with_the_same_keys(sim, ctx, door):
    plugin, told, _ = door
    answered = await sim.do_buyer_says("Hello", identifier="other", email=None)
    await sim.do_agent_replies(answered, "Hello!")
    told.clear()
    await sim.do_buyer_says(["Hello", "Anyone?"], email="li@example.com")
    lines = [one for one in told if not isinstance(one, TicketSeen)]
    found = await listed(plugin, ctx)
    assert [one.message.text for one in found] == ["Hello", "Anyone?"]
    assert [(one.key, one.refs, one.buyer) for one in found] == [(one.key, one.refs, one.buyer) for one in lines]


async def test_on_our_own_tickets_agents_words_and_the_status_are_found(sim, ctx):
    plugin = desk(url=sim.url)
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    await sim.do_agent_replies(ticket, "We take them back.")
    await sim.do_set_status(ticket, "resolved")
    said, seen = await listed(plugin, ctx)
    assert (said.message.author, said.message.text) == (Author.AGENT, "We take them back.")
    assert (seen.status, refs(seen)) == ("resolved", [("ticket", ticket), ("case", "C1")])


async def test_a_comparison_reads_page_by_page_and_not_for_ever(sim, ctx):
    plugin = desk(url=sim.url)
    for number in range(30):
        await sim.do_buyer_says(f"Line {number}", identifier=f"b{number}", email=None)
    assert len(await listed(plugin, ctx)) == 30
    sim.offset += timedelta(hours=13)
    assert await listed(plugin, ctx) == []


@pytest.mark.parametrize("body", [{}, {"data": {"payload": [7, {}, {"id": "x", "last_activity_at": 1767355200}]}}])
async def test_an_odd_list_gives_nothing(lone, body):
    with respx.mock(using="httpx") as mock:
        mock.get(f"{API}/conversations").respond(json=body)
        assert (await desk().listing(lone, None)).items == ()


# Both directions, over real HTTP


@pytest.fixture
async def door(sim, listening):
    async with listening(sim, desk(url=sim.url), parse) as opened:
        yield opened


async def test_our_own_writing_gives_no_message_back(sim, ctx, door):
    plugin, events, receipts = door
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    await plugin.comment_ticket(CommentTicket(origin="m1", ticket=ticket, text="Hello.", public=True), ctx)
    await plugin.update_ticket(UpdateTicket(origin="u1", ticket=ticket, status="solved", add_tags=("x",)), ctx)
    await sim.settle()
    assert {one.lane for one in receipts} == {ticket}
    assert {type(one) for one in events} == {TicketSeen}
    assert events[-1].status == "resolved"
    assert RefKind.CASE in {one.kind for one in events[-1].refs}


async def test_an_agents_reply_arrives_once_however_often_it_is_sent(sim, door):
    _, events, receipts = door
    chat = await sim.do_buyer_says("Hello")
    events.clear()
    assert await sim.do_agent_replies(chat, "We send a new one.") == 200
    sim.offset += timedelta(seconds=90)
    assert await sim.do_redeliver() == 200
    assert receipts[-1].id == receipts[-2].id
    assert [one.message.text for one in events] == ["We send a new one."] * 2
    assert events[0].key == events[1].key


async def test_lines_notes_bots_assignment_and_status_come_in(sim, door):
    _, events, _ = door
    chat = await sim.do_buyer_says(["Hello", "Anyone?"])
    await sim.do_agent_replies(chat, "Look at this.", private=True)
    await sim.do_bot_replies(chat, "An agent will be with you.")
    await sim.do_assign(chat)
    await sim.do_set_status(chat, "resolved")
    created, hello, anyone, note, bot, assigned, solved, again = events
    assert isinstance(created, TicketSeen)
    assert [one.message.author for one in (hello, anyone)] == [Author.BUYER] * 2
    assert not note.message.public
    assert bot.message.author is Author.SYSTEM
    assert assigned.assignee
    assert solved.status == "resolved"
    assert solved.key == again.key
