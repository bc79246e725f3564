"""Zendesk: both webhook shapes, the loop guard, and the calls against the simulator over real HTTP."""

import base64
import contextlib
import hashlib
import hmac
import json
from datetime import timedelta

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_zendesk import COMMENT_BODY, TRIGGER_BODY, Zendesk

from rmabridge.abilities import Inbound, WebRequest
from rmabridge.errors import Malformed, Rejected, Unauthorised, Unavailable, Unverified, WrongType
from rmabridge.model import (
    Attachment,
    Author,
    CommentTicket,
    MessageReceived,
    OpenTicket,
    RefKind,
    TicketSeen,
    UpdateTicket,
)
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.simulators.zendesk import ZendeskSim

SECRET = "zendesk-signing-secret"
STAMP = "2026-01-02T12:00:00Z"
EMAIL, TOKEN = "bridge@example.com", "zendesk-token"


def desk(**settings):
    base = {"subdomain": "acme", "email": EMAIL, "token": TOKEN, "secret": SECRET, "bot_ids": ["9001"]}
    return account(Zendesk, "desk", **{**base, **settings})


def signed(body, *, stamp=STAMP, secret=SECRET, **headers):
    mac = hmac.new(secret.encode(), stamp.encode() + body, hashlib.sha256).digest()
    return WebRequest(
        "POST",
        "/hooks/desk",
        {},
        {
            "Content-Type": "application/json; charset=utf-8",
            "X-Zendesk-Webhook-Signature": base64.b64encode(mac).decode(),
            "X-Zendesk-Webhook-Signature-Timestamp": stamp,
            **headers,
        },
        body,
    )


def envelope(topic="comment_added", *, event=None, detail=None, **rest):
    comment = {"id": "77", "body": "Hello", "is_public": True, "author": {"id": "5", "is_staff": True, "name": "Ana"}}
    return json.dumps(
        {
            "type": f"zen:event-type:ticket.{topic}",
            "id": "2b24ef10",
            "time": "2026-01-02T11:59:58.123456789Z",
            "detail": {
                "id": "35436",
                "external_id": "C1",
                "status": "OPEN",
                "priority": "HIGH",
                "tags": ["rma"],
                "actor_id": "5",
                **(detail or {}),
            },
            "event": event if event is not None else {"comment": comment},
            **rest,
        }
    ).encode()


def commented(**changes):
    author = {"id": "5", "is_staff": True, "name": "Ana", **changes.pop("author", {})}
    return envelope(event={"comment": {"id": "77", "body": "Hello", "is_public": True, "author": author, **changes}})


def parse(body, plugin=None):
    return list((plugin or desk()).parse(Inbound("desk", body, {}, NOON)))


def triggered(event="ticket_updated", **values):
    filled = {
        "event": event,
        "ticket_id": "35436",
        "external_id": "C1",
        "status": "Open",
        "priority": "High",
        "tags": "rma vip",
        "updated_at": "2026-01-02T11:58:00Z",
        "requester_email": "li@example.com",
        "current_user": "ana@example.com",
        **values,
    }
    return json.dumps(filled).encode()


# Verification


def test_a_signature_computed_elsewhere_is_accepted():
    request = WebRequest(
        "POST",
        "/hooks/desk",
        {},
        {
            "content-type": "application/json",
            "X-Zendesk-Webhook-Signature-Timestamp": "2026-01-02T12:00:00Z",
            # printf '2026-01-02T12:00:00Z{"a":1}' | openssl dgst -sha256 -hmac zendesk-signing-secret -binary | base64
            "X-Zendesk-Webhook-Signature": "pT2s+889KdxVuQV+yWLXugXN/uXgzXIjhElbBYKnyaA=",
        },
        b'{"a":1}',
    )
    assert desk().verify(request, NOON).lane is None


def test_the_invocation_is_the_id_and_the_ticket_the_lane():
    receipt = desk().verify(signed(envelope(), **{"X-Zendesk-Webhook-Invocation-Id": "01INV"}), NOON)
    assert (receipt.id, receipt.lane) == ("01INV", "35436")
    assert desk().verify(signed(triggered()), NOON).lane == "35436"
    assert desk().verify(signed(b"not json"), NOON).id is None


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_a_flipped_bit_is_refused(position, bit):
    request = signed(envelope())
    body = bytearray(request.body)
    body[position % len(body)] ^= 1 << bit
    with pytest.raises(Unverified):
        desk().verify(WebRequest("POST", "/", {}, request.headers, bytes(body)), NOON)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_time_outside_the_window_is_refused_in_both_directions(minutes):
    request = signed(envelope())
    desk().verify(request, NOON + timedelta(minutes=5))
    with pytest.raises(Unverified):
        desk().verify(request, NOON + timedelta(minutes=minutes))


def test_a_changed_time_is_refused():
    request = signed(envelope())
    request.headers["X-Zendesk-Webhook-Signature-Timestamp"] = "2026-01-02T12:00:01Z"
    with pytest.raises(Unverified):
        desk().verify(request, NOON)


@pytest.mark.parametrize("stamp", ["", "yesterday", "2026-01-02T12:00:00", "\udcff", chr(0xD800)])
def test_a_time_that_cannot_be_read_is_refused(stamp):
    request = signed(envelope())
    headers = {**request.headers, "X-Zendesk-Webhook-Signature-Timestamp": stamp}
    data = stamp.encode("utf-8", "surrogatepass") + request.body
    mac = hmac.new(SECRET.encode(), data, hashlib.sha256).digest()
    headers["X-Zendesk-Webhook-Signature"] = base64.b64encode(mac).decode()
    with pytest.raises(Unverified):
        desk().verify(WebRequest("POST", "/", {}, headers, request.body), NOON)


def test_a_missing_signature_is_refused_and_so_is_all_without_a_secret():
    request = signed(envelope())
    bare = {name: value for name, value in request.headers.items() if not name.endswith("Signature")}
    with pytest.raises(Unverified):
        desk().verify(WebRequest("POST", "/", {}, bare, request.body), NOON)
    with pytest.raises(Unverified):
        account(Zendesk, subdomain="acme", token="t").verify(request, NOON)


def test_another_content_type_is_refused():
    request = signed(envelope())
    with pytest.raises(WrongType):
        desk().verify(WebRequest("POST", "/", {}, {**request.headers, "Content-Type": "text/xml"}, request.body), NOON)


def test_two_secrets_count_while_one_replaces_the_other():
    plugin = desk(secret=["new", {"value": "old", "until": NOON + timedelta(minutes=1)}])
    plugin.verify(signed(envelope(), secret="new"), NOON)
    plugin.verify(signed(envelope(), secret="old"), NOON)
    with pytest.raises(Unverified):
        plugin.verify(signed(envelope(), secret="old"), NOON + timedelta(minutes=2))


def test_samples_are_signed_and_parse():
    plugin = desk()
    kinds = {MessageReceived: "ticket.comment_added", TicketSeen: "ticket.status_changed"}
    assert set(plugin.samples()) == set(kinds.values())
    for kind, name in kinds.items():
        request = plugin.sample(name, NOON)
        plugin.verify(request, NOON)
        (event,) = parse(request.body, plugin)
        assert isinstance(event, kind)
    assert plugin.sample("ticket.deleted", NOON) is None


# Native events


def test_an_agents_public_reply_is_a_message_of_the_case():
    (event,) = parse(envelope())
    assert event.key == "comment:77"
    named = {(RefKind.TICKET, "35436"), (RefKind.THREAD, "35436"), (RefKind.CASE, "C1")}
    assert {(one.kind, one.value) for one in event.refs} == named
    message = event.message
    assert (message.id, message.author, message.who, message.text) == ("zendesk:77", Author.AGENT, "Ana", "Hello")
    assert message.public
    assert event.at.isoformat() == "2026-01-02T11:59:58.123456+00:00"


def test_an_internal_note_is_not_public():
    (event,) = parse(commented(is_public=False))
    assert not event.message.public
    (event,) = parse(commented(is_public=None))
    assert not event.message.public


def test_a_customers_comment_names_the_ticket_only():
    (event,) = parse(commented(author={"id": "6", "is_staff": False, "name": "Li"}))
    assert event.message.author is Author.BUYER
    assert [one.kind for one in event.refs] == [RefKind.TICKET, RefKind.THREAD]
    assert event.buyer.name == "Li"


def test_an_author_of_unknown_kind_is_the_customer_only_as_the_requester():
    body = json.loads(commented(author={"is_staff": None}))
    assert parse(json.dumps(body).encode())[0].message.author is Author.AGENT
    body["detail"]["requester_id"] = "5"
    assert parse(json.dumps(body).encode())[0].message.author is Author.BUYER


def test_what_our_own_user_wrote_is_no_news():
    assert parse(commented(author={"id": "9001"})) == []
    assert parse(commented(author={"id": 9001})) == []
    assert parse(commented(author={"id": 9001}), desk(bot_ids=[9001])) == []
    assert parse(envelope("status_changed", detail={"actor_id": "9001"}, event={"current": "SOLVED"})) == []
    assert parse(triggered("comment_added", current_user="Bridge@example.com", latest_public_comment="x")) == []
    assert parse(triggered(current_user="robot@example.com"), desk(bot_email="robot@example.com")) == []


def test_our_marker_is_known_where_an_agent_shares_the_api_user():
    plugin = desk(bot_ids=[], marker="— rmabridge")
    assert parse(commented(body="Done.\n\n— rmabridge"), plugin) == []
    (seen,) = parse(triggered(current_user=EMAIL, latest_public_comment="Done. — rmabridge"), plugin)
    assert isinstance(seen, TicketSeen)
    assert len(parse(triggered(current_user=EMAIL, latest_public_comment="Done."), plugin)) == 2
    assert len(parse(commented(body="Done."), plugin)) == 1


def test_a_status_change_is_seen_in_lower_case():
    (event,) = parse(envelope("status_changed", event={"current": "SOLVED", "previous": "OPEN"}))
    assert (event.key, event.status, event.priority, event.tags) == ("event:2b24ef10", "solved", "high", ("rma",))


@pytest.mark.parametrize("topic", ["created", "priority_changed", "tags_changed", "custom_field_changed"])
def test_other_changes_show_the_ticket_as_it_is(topic):
    (event,) = parse(envelope(topic, event={"current": "URGENT"}))
    assert isinstance(event, TicketSeen)
    assert event.status == "open"


@pytest.mark.parametrize("body", [b"{}", b'{"type":"zen:event-type:user.created"}', envelope("merged")])
def test_what_is_not_known_gives_no_events(body):
    assert parse(body) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        envelope(time="soon"),
        envelope(detail={"id": "../users"}),
        envelope("status_changed", id=None),
        envelope("status_changed", id="x" * 600),
        triggered(ticket_id=""),
    ],
)
def test_a_known_event_without_its_facts_is_malformed(body):
    with pytest.raises(Malformed):
        parse(body)


# A trigger's body


def test_a_trigger_tells_the_ticket_and_a_public_comment():
    seen, said = parse(triggered("comment_added", latest_public_comment='She said "no"'))
    assert (seen.status, seen.priority, seen.tags) == ("open", "high", ("rma", "vip"))
    assert (said.message.author, said.message.text) == (Author.AGENT, 'She said "no"')
    assert seen.at.isoformat() == "2026-01-02T11:58:00+00:00"
    assert seen.key != said.key


def test_ids_alone_are_enough_for_a_trigger():
    (seen,) = parse(b'{"event":"ticket_updated","ticket_id":35436}')
    assert seen.at == NOON
    assert seen.refs[0].value == "35436"


def test_a_comment_repeated_by_a_later_trigger_counts_once():
    first = parse(triggered(latest_public_comment="Hello"))
    later = parse(triggered(latest_public_comment="Hello", updated_at="2026-01-02T11:59:00Z", status="Solved"))
    assert first[1].key == later[1].key
    assert first[0].key != later[0].key


def test_equal_words_said_twice_are_two_comments_for_a_trigger_on_comments():
    first = parse(triggered("comment_added", latest_public_comment="OK"))
    later = parse(triggered("comment_added", latest_public_comment="OK", updated_at="2026-01-02T11:59:00Z"))
    assert first[1].key != later[1].key


def test_a_comment_of_nobody_known_is_not_passed_on_and_the_requesters_is_the_customers():
    assert len(parse(triggered(current_user="", latest_public_comment="Hello"))) == 1
    said = parse(triggered(current_user="Li@example.com", latest_public_comment="Hello"))[1]
    assert said.message.author is Author.BUYER


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = ("id", "time", "detail", "event", "ticket_id", "latest_public_comment", "current_user", "updated_at", "tags")
bodies = st.fixed_dictionaries(
    {"type": st.sampled_from(["zen:event-type:ticket.comment_added", "zen:event-type:ticket.status_changed", "x"])},
    optional={
        name: json_values | st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "tags", "comment"), json_values))
        for name in fields
    }
    | {"event": st.just("comment_added") | json_values, "time": st.just(STAMP), "ticket_id": st.just("1")},
)


@given(st.binary() | bodies.map(lambda body: json.dumps(body).encode()))
def test_any_bytes_give_events_or_malformed_and_the_same_ones_twice(body):
    with contextlib.suppress(Malformed):
        assert parse(body) == parse(body)


@given(st.binary(), st.text(), st.text())
def test_any_request_is_refused_or_accepted_without_a_crash(body, stamp, signature):
    headers = {"X-Zendesk-Webhook-Signature-Timestamp": stamp, "X-Zendesk-Webhook-Signature": signature}
    with pytest.raises(Unverified):
        desk().verify(WebRequest("POST", "/", {}, headers, body), NOON)


# Calls, against the simulator


@pytest.fixture
async def sim():
    async with ZendeskSim("acme", EMAIL, TOKEN, SECRET) as running:
        yield running


@pytest.fixture
async def ctx():
    made = context("desk")
    yield made
    await made.http.aclose()


def opening(**changes):
    base = {"external": "C1", "subject": "Return", "text": "A customer asks for a return.", "priority": "high"}
    return OpenTicket(**{**base, **changes})


async def test_a_ticket_is_opened_with_all_that_the_settings_know(sim, ctx):
    plugin = desk(url=sim.url, fields={"order": 360}, group_ids={"crisis": 7}, mail_buyer=True)
    action = opening(
        requester_name="Li",
        requester_email="li@example.com",
        group="crisis",
        tags=("VIP buyer",),
        fields={"order": "1001", "size": "XL"},
    )
    result = await plugin.open_ticket(action, ctx)
    ticket = sim.books["tickets"][result.id]
    assert ticket["tags"] == ["rmabridge", "vip_buyer"]
    assert (ticket["external_id"], ticket["priority"], ticket["group_id"]) == ("C1", "high", 7)
    assert ticket["custom_fields"] == [{"id": 360, "value": "1001"}]
    assert ticket["requester"] == {"name": "Li", "email": "li@example.com"}
    assert ticket["comments"][0]["public"] is False
    assert result.url == f"{sim.url}/agent/tickets/{result.id}"
    assert result.note == "not set in Zendesk, no id known: field size"
    assert [event.status for event in result.events] == ["new"]


async def test_the_same_key_opens_one_ticket_and_other_words_are_refused(sim, ctx):
    plugin = desk(url=sim.url)
    first = await plugin.open_ticket(opening(), ctx)
    again = await plugin.open_ticket(opening(), ctx)
    assert first.id == again.id
    assert len(sim.books["tickets"]) == 1
    with pytest.raises(Rejected, match="IdempotentRequestError") as refused:
        await plugin.open_ticket(opening(text="Other words."), ctx)
    assert "external id" in refused.value.hint


async def test_the_oldest_ticket_with_our_tag_is_found(sim, ctx):
    plugin = desk(url=sim.url)
    assert (await plugin.find_ticket(opening(), ctx)).happened is False
    made = await plugin.open_ticket(opening(), ctx)
    other = context("desk", http=ctx.http, key="another")
    await plugin.open_ticket(opening(), other)
    found = await plugin.find_ticket(opening(), ctx)
    assert found.happened
    assert found.result.id == made.id
    for ticket in sim.books["tickets"].values():
        ticket["tags"] = []
    assert (await plugin.find_ticket(opening(), ctx)).happened is None


async def test_a_comment_is_written_and_found_again(sim, ctx):
    plugin = desk(url=sim.url, marker="#bridge")
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    files = (Attachment(name="label.pdf", url="https://files.example.com/1"), Attachment(name="lost.pdf"))
    action = CommentTicket(origin="m1", ticket=ticket, text="The parcel arrived.", public=True, attachments=files)
    assert (await plugin.find_comment(action, ctx)).happened is False
    result = await plugin.comment_ticket(action, ctx)
    comment = sim.books["tickets"][ticket]["comments"][-1]
    assert comment["body"] == (
        "The parcel arrived.\nlabel.pdf: https://files.example.com/1\nlost.pdf: the file was not kept\n\n#bridge"
    )
    assert comment["public"] is True
    assert result.id == f"zendesk:{comment['id']}"
    assert (await plugin.find_comment(action, ctx)).result.id == result.id
    note = action.model_copy(update={"public": False})
    assert (await plugin.find_comment(note, ctx)).happened is False


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


async def test_stored_and_made_files_go_along_and_what_is_gone_or_too_large_is_told(sim, ctx):
    plugin, ctx = desk(url=sim.url), context("desk", http=ctx.http, files={FILED[0].sha256: PHOTO})
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    action = CommentTicket(origin="m1", ticket=ticket, text="See the files.", attachments=FILED)
    await plugin.comment_ticket(action, ctx)
    comment = sim.books["tickets"][ticket]["comments"][-1]
    photo, paper = comment["attachments"]
    assert (photo["file_name"], photo["content_type"], photo["sha256"]) == ("照片.png", "image/png", FILED[0].sha256)
    assert (paper["file_name"], paper["content_type"]) == ("dossier.pdf", "application/pdf")
    assert (comment["body"], sim.books["uploads"]) == (LINES, {})
    assert (await plugin.find_comment(action, ctx)).happened


async def test_an_upload_counts_for_one_comment(sim, ctx):
    plugin = desk(url=sim.url)
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    refused = {"ticket": {"comment": {"body": "x", "uploads": ["made-up"]}}}
    with pytest.raises(Rejected, match="token is invalid"):
        await plugin._call(ctx, "PUT", f"/tickets/{ticket}.json", refused)


async def test_an_agents_equal_words_are_not_our_comment(sim, ctx):
    plugin = desk(url=sim.url)
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    await sim.do_agent_reply(ticket, "Done.")
    action = CommentTicket(origin="m1", ticket=ticket, text="Done.", public=True)
    assert (await plugin.find_comment(action, ctx)).happened is False


async def test_a_comment_beyond_the_newest_page_stays_unknown(sim, ctx):
    plugin = desk(url=sim.url)
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    for number in range(100):
        await sim.do_agent_reply(ticket, f"Word {number}")
    action = CommentTicket(origin="m1", ticket=ticket, text=opening().text)
    assert (await plugin.find_comment(action, ctx)).happened is None


async def test_a_ticket_is_updated(sim, ctx):
    plugin = desk(url=sim.url, fields={"result": 361})
    ticket = (await plugin.open_ticket(opening(tags=("a",)), ctx)).id
    action = UpdateTicket(
        origin="u1", ticket=ticket, status="solved", priority="urgent", add_tags=("a", "b c"), fields={"result": "ok"}
    )
    result = await plugin.update_ticket(action, ctx)
    kept = sim.books["tickets"][ticket]
    assert (kept["status"], kept["priority"], kept["tags"]) == ("solved", "urgent", ["rmabridge", "a", "b_c"])
    assert kept["custom_fields"] == [{"id": 361, "value": "ok"}]
    assert [event.status for event in result.events] == ["solved"]
    only_tags = await plugin.update_ticket(UpdateTicket(origin="u2", ticket=ticket, add_tags=("d",)), ctx)
    assert only_tags.events == ()
    assert kept["tags"][-1] == "d"


async def test_an_update_moves_the_ticket_to_another_group(sim, ctx):
    plugin = desk(url=sim.url, group_ids={"senior": 9})
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    moved = await plugin.update_ticket(UpdateTicket(origin="u1", ticket=ticket, group="senior"), ctx)
    assert (sim.books["tickets"][ticket]["group_id"], moved.note) == (9, None)
    odd = await plugin.update_ticket(UpdateTicket(origin="u2", ticket=ticket, group="odd"), ctx)
    assert "group odd" in odd.note


async def test_another_word_for_a_status_can_be_set(sim, ctx):
    plugin = desk(url=sim.url, statuses={"pending": "hold"})
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    await plugin.update_ticket(UpdateTicket(origin="u1", ticket=ticket, status="pending"), ctx)
    assert sim.books["tickets"][ticket]["status"] == "hold"


def keyed(ctx, key):
    return context("desk", http=ctx.http, key=key)


async def test_words_for_a_ticket_that_is_closed_for_good_open_one_follow_up_which_takes_what_comes_later(sim, ctx):
    plugin = desk(url=sim.url)
    ticket = (await plugin.open_ticket(opening(group="crisis", tags=("vip",)), ctx)).id
    await sim.do_set_status(ticket, "closed")
    first, second = (CommentTicket(origin=one, ticket=ticket, text=f"{one}: Late.") for one in ("m1", "m2"))
    made = await plugin.comment_ticket(first, keyed(ctx, "k1"))
    (moved,) = made.events
    follow_up = moved.refs[0].value
    assert (moved.continues, moved.refs[0].url) == (ticket, f"{sim.url}/agent/tickets/{follow_up}")
    kept = sim.books["tickets"][follow_up]
    assert (kept["external_id"], kept["subject"], kept["requester"]["email"]) == ("C1", "Return", EMAIL)
    assert kept["tags"] == ["rmabridge", "vip", f"rmabridge_follow_up_of_{ticket}"]
    assert [(one["body"], one["public"]) for one in kept["comments"]] == [("m1: Late.", False)]
    later = await plugin.comment_ticket(second, keyed(ctx, "k2"))
    assert later.events[0].continues == ticket
    assert [one["body"] for one in kept["comments"]] == ["m1: Late.", "m2: Late."]
    for said, told in ((first, made), (second, later)):
        found = await plugin.find_comment(said, ctx)
        assert (found.happened, found.result.id, found.result.events[0].continues) == (True, told.id, ticket)
    absent = CommentTicket(origin="m3", ticket=ticket, text="Never said.")
    assert (await plugin.find_comment(absent, ctx)).happened is False


async def test_a_follow_up_that_is_closed_for_good_too_has_one_of_its_own(sim, ctx):
    plugin = desk(url=sim.url)
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    seen = [ticket]
    for origin in ("m1", "m2"):
        await sim.do_set_status(seen[-1], "closed")
        said = CommentTicket(origin=origin, ticket=ticket, text=origin)
        seen.append((await plugin.comment_ticket(said, keyed(ctx, origin))).events[0].refs[0].value)
    assert len(set(seen)) == len(sim.books["tickets"]) == 3
    assert (await plugin.find_comment(CommentTicket(origin="m1", ticket=ticket, text="m1"), ctx)).happened


async def test_a_customers_own_follow_up_is_not_taken_for_ours(sim, ctx):
    plugin = desk(url=sim.url)
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    await sim.do_set_status(ticket, "closed")
    theirs = await sim.do_customer_writes("It broke again")
    sim.books["tickets"][theirs]["tags"] = list(sim.books["tickets"][ticket]["tags"])
    sim.books["tickets"][ticket]["followup_ids"].append(int(theirs))
    said = CommentTicket(origin="m1", ticket=ticket, text="Late.")
    assert (await plugin.comment_ticket(said, keyed(ctx, "k1"))).events[0].refs[0].value not in {ticket, theirs}


async def test_an_update_follows_a_closed_ticket_and_opens_another_one_only_where_it_shall_be_open(sim, ctx):
    plugin = desk(url=sim.url)
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    await sim.do_set_status(ticket, "closed")
    for change in ({"status": "solved"}, {"add_tags": ("x",)}):
        left = await plugin.update_ticket(UpdateTicket(origin="u1", ticket=ticket, **change), ctx)
        assert (left.id, left.events, left.note) == (ticket, (), "closed for good in Zendesk, left as it is")
    reopened = UpdateTicket(origin="u2", ticket=ticket, status="open", add_tags=("back",))
    for _ in range(2):
        made = await plugin.update_ticket(reopened, keyed(ctx, "k2"))
    assert (made.events[0].continues, made.events[0].status) == (ticket, "open")
    assert len(sim.books["tickets"]) == 2
    assert "back" in sim.books["tickets"][made.id]["tags"]
    again = await plugin.update_ticket(UpdateTicket(origin="u3", ticket=ticket, status="solved"), ctx)
    assert (again.id, sim.books["tickets"][made.id]["status"]) == (made.id, "solved")


async def test_words_for_a_merged_ticket_go_to_the_one_it_was_merged_into(sim, ctx):
    plugin = desk(url=sim.url)
    ticket, other = (await plugin.open_ticket(opening(), ctx)).id, await sim.do_customer_writes("My kettle")
    await sim.do_merge(ticket, other)
    said = CommentTicket(origin="m1", ticket=ticket, text="Late.")
    made = await plugin.comment_ticket(said, keyed(ctx, "k1"))
    assert (made.events[0].continues, made.events[0].refs[0].value) == (ticket, other)
    assert sim.books["tickets"][other]["comments"][-1]["body"] == "Late."
    assert (await plugin.find_comment(said, ctx)).result.id == made.id


async def test_a_merged_ticket_whose_other_half_is_not_found_has_a_follow_up(sim, ctx):
    plugin = desk(url=sim.url)
    ticket, other = (await plugin.open_ticket(opening(), ctx)).id, await sim.do_customer_writes("My kettle")
    await sim.do_merge(ticket, other)
    sim.books["tickets"][other]["comments"].pop()
    made = await plugin.comment_ticket(CommentTicket(origin="m1", ticket=ticket, text="Late."), keyed(ctx, "k1"))
    follow_up = made.events[0].refs[0].value
    assert follow_up not in {ticket, other}
    assert "closed_by_merge" not in sim.books["tickets"][follow_up]["tags"]


async def test_without_follow_ups_a_closed_ticket_takes_nothing_and_the_hint_says_so(sim, ctx):
    plugin = desk(url=sim.url, follow_ups=False)
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    await sim.do_set_status(ticket, "closed")
    said = CommentTicket(origin="m1", ticket=ticket, text="Late.")
    with pytest.raises(Rejected, match="closed prevents ticket update") as refused:
        await plugin.comment_ticket(said, ctx)
    assert "follow-up" in refused.value.hint
    assert (await plugin.find_comment(said, ctx)).happened is False
    with pytest.raises(Rejected, match="closed"):
        await plugin.update_ticket(UpdateTicket(origin="u1", ticket=ticket, status="solved"), ctx)


async def test_an_open_tickets_refusal_stands(sim, ctx):
    plugin = desk(url=sim.url)
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    with pytest.raises(Rejected, match="Comment: cannot be blank"):
        await plugin.comment_ticket(CommentTicket(origin="m1", ticket=ticket, text=" "), ctx)


def test_a_ticket_that_a_merge_closed_is_merged_and_not_solved():
    tags = {"tags": ["rma", "closed_by_merge"]}
    (event,) = parse(envelope("status_changed", detail=tags, event={"current": "CLOSED", "previous": "OPEN"}))
    assert event.status == "merged"
    assert parse(triggered(status="Closed", tags="rma closed_by_merge"))[0].status == "merged"
    assert parse(triggered(status="Closed"))[0].status == "closed"


@pytest.mark.parametrize(
    ("settings", "requester", "carried"),
    [
        ({}, "6", False),
        ({}, "9001", True),
        ({}, None, True),
        ({"mails_requester": False}, "6", True),
        ({"bot_ids": [], "marker": "--"}, "6", True),
    ],
)
def test_what_zendesk_mails_to_a_customer_itself_is_not_carried_again(settings, requester, carried):
    body = json.loads(envelope())
    body["detail"]["requester_id"] = requester
    said = [parse(json.dumps(body).encode(), desk(**settings))[0]]
    if settings.get("bot_ids") is None:
        email = {"6": "li@example.com", "9001": EMAIL}.get(requester, "")
        given = triggered("comment_added", requester_email=email, latest_public_comment="Hello")
        said.append(parse(given, desk(**settings))[1])
    for event in said:
        named = [one.kind for one in event.refs]
        assert named == [RefKind.TICKET, RefKind.THREAD, RefKind.CASE][0 if carried else 1 :]


def test_an_internal_note_on_a_customers_ticket_names_the_ticket():
    body = json.loads(commented(is_public=False))
    body["detail"]["requester_id"] = "6"
    assert parse(json.dumps(body).encode())[0].refs[0].kind is RefKind.TICKET


async def test_the_buyer_is_the_requester_only_where_zendesk_shall_mail(sim, ctx):
    action = opening(requester_name="Li", requester_email="li@example.com")
    opened = await desk(url=sim.url).open_ticket(action, ctx)
    assert sim.books["tickets"][opened.id]["requester"]["email"] == EMAIL


@pytest.mark.parametrize("ticket", [None, "", "1/../2", "999"])
async def test_a_ticket_that_is_none_is_rejected(sim, ctx, ticket):
    with pytest.raises(Rejected) as refused:
        await desk(url=sim.url).comment_ticket(CommentTicket(origin="m1", ticket=ticket, text="x"), ctx)
    assert refused.value.hint


async def test_words_that_zendesk_refuses_are_rejected_with_its_reason(sim, ctx):
    with pytest.raises(Rejected, match="base Description: cannot be blank"):
        await desk(url=sim.url).open_ticket(opening(text=" "), ctx)


async def test_wrong_credentials_speak_as_401(sim, ctx):
    with pytest.raises(httpx.HTTPStatusError) as refused:
        await desk(url=sim.url, token="wrong").open_ticket(opening(), ctx)
    assert refused.value.response.status_code == 401


async def test_an_oauth_token_needs_no_address(sim, ctx):
    plugin = account(Zendesk, "desk", subdomain="acme", url=sim.url, token=TOKEN)
    assert "user 9001" in await plugin.probe(ctx)


async def test_the_accounts_limit_is_told_with_a_time_to_come_back(sim, ctx):
    sim.rate = 1
    plugin = desk(url=sim.url)
    await plugin.probe(ctx)
    with pytest.raises(httpx.HTTPStatusError) as refused:
        await plugin.probe(ctx)
    assert refused.value.response.status_code == 429
    assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 60


async def test_the_probe_names_the_user_whose_id_guards_against_loops(sim, ctx):
    assert await desk(url=sim.url).probe(ctx) == f"signed in to {sim.url} as Bridge (user 9001)"
    assert 'set bot_ids = ["9001"]' in await desk(url=sim.url, bot_ids=[]).probe(ctx)


async def test_the_steps_to_subscribe_hold_the_address_and_both_bodies(ctx):
    steps = "\n".join(await desk().subscribe("https://bridge.example.com/hooks/desk", ctx))
    assert "https://bridge.example.com/hooks/desk" in steps
    assert TRIGGER_BODY in steps
    assert COMMENT_BODY in steps
    assert set(json.loads(COMMENT_BODY)) - set(json.loads(TRIGGER_BODY)) == {"latest_public_comment"}


# Both directions, over real HTTP


@pytest.fixture
async def door(sim, listening):
    async with listening(sim, desk(url=sim.url), parse) as opened:
        yield opened


async def test_our_own_writing_comes_back_and_changes_nothing(sim, ctx, door):
    plugin, events, receipts = door
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    await plugin.comment_ticket(CommentTicket(origin="m1", ticket=ticket, text="Hello.", public=True), ctx)
    await plugin.update_ticket(UpdateTicket(origin="u1", ticket=ticket, status="pending", add_tags=("x",)), ctx)
    await sim.settle()
    assert len(receipts) == 5
    assert {one.lane for one in receipts} == {ticket}
    assert events == []


async def test_an_agents_reply_arrives_once_however_often_it_is_sent(sim, ctx, door):
    plugin, events, receipts = door
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    await sim.settle()
    assert await sim.do_agent_reply(ticket, "We send a new one.") == 200
    sim.offset += timedelta(seconds=90)
    assert await sim.do_redeliver() == 200
    assert receipts[-1].id == receipts[-2].id
    assert [one.message.text for one in events] == ["We send a new one."] * 2
    assert events[0].key == events[1].key


async def test_notes_customers_and_status_come_in(sim, ctx, door):
    plugin, events, _ = door
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    await sim.settle()
    await sim.do_agent_reply(ticket, "Look at this.", public=False)
    await sim.do_customer_reply(ticket, "Thank you!")
    await sim.do_set_status(ticket, "solved")
    note, thanks, solved = events
    assert not note.message.public
    assert thanks.message.author is Author.BUYER
    assert (solved.status, solved.tags) == ("solved", ("rmabridge",))


async def test_a_trigger_with_our_bodies_comes_in(sim, ctx, door):
    plugin, events, _ = door
    ticket = (await plugin.open_ticket(opening(), ctx)).id
    await sim.settle()
    await sim.do_agent_reply(ticket, "We send a new one.")
    events.clear()
    await sim.do_fire_trigger(ticket, TRIGGER_BODY)
    await sim.do_fire_trigger(ticket, COMMENT_BODY)
    await sim.do_fire_trigger(ticket, COMMENT_BODY, current_user=EMAIL)
    assert [type(one) for one in events] == [TicketSeen, TicketSeen, MessageReceived]
    assert events[0].key == events[1].key
    assert events[2].message.text == "We send a new one."


# What the vendor says when it refuses


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"error":"RecordInvalid","description":"Bad","details":{"email":[{"description":"taken"}]}}', "email taken"),
        ('{"error":"RecordInvalid","details":{"email":"taken"}}', "email taken"),
        ('{"error":{"title":"Forbidden","message":"Not you"}}', "Forbidden: Not you"),
        ('{"details":{"base":[null,7,{"x":1}]}}', "base 7"),
        ('{"errors":["odd"]}', "odd"),
        ("plain words", "plain words"),
        ("", "no reason given"),
    ],
)
async def test_every_form_of_a_refusal_is_told_to_the_operator(ctx, body, reason):
    with respx.mock(using="httpx") as mock:
        mock.post("https://acme.zendesk.com/api/v2/tickets").respond(422, text=body)
        with pytest.raises(Rejected, match=reason):
            await desk().open_ticket(opening(), ctx)


@pytest.mark.parametrize("audit", [{}, {"events": None}, {"events": [7, {"type": "Change", "id": 1}]}])
async def test_a_comment_without_an_id_in_the_answer_is_done_all_the_same(ctx, audit):
    with respx.mock(using="httpx") as mock:
        mock.put("https://acme.zendesk.com/api/v2/tickets/1").respond(json={"ticket": {"id": 1}, "audit": audit})
        result = await desk().comment_ticket(CommentTicket(origin="m1", ticket="1", text="x"), ctx)
    assert (result.id, result.url) == (None, "https://acme.zendesk.com/agent/tickets/1")


async def test_an_update_in_conflict_may_be_tried_again(ctx):
    with respx.mock(using="httpx") as mock:
        mock.put("https://acme.zendesk.com/api/v2/tickets/1").respond(409, json={"error": "UpdateConflict"})
        with pytest.raises(Unavailable, match="UpdateConflict"):
            await desk().comment_ticket(CommentTicket(origin="m1", ticket="1", text="x"), ctx)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_vendor_speaks_for_itself(ctx, status):
    with respx.mock(using="httpx") as mock:
        route = mock.put("https://acme.zendesk.com/api/v2/tickets/1")
        route.respond(status, text="Slow down", headers={"Retry-After": "17"})
        with pytest.raises(httpx.HTTPStatusError) as refused:
            await desk().update_ticket(UpdateTicket(origin="u1", ticket="1", status="open"), ctx)
    assert refused.value.response.headers["Retry-After"] == "17"


async def test_a_success_that_cannot_be_read_is_no_refusal(ctx):
    with respx.mock(using="httpx") as mock:
        mock.post("https://acme.zendesk.com/api/v2/tickets").respond(200, html="<html>Maintenance</html>")
        with pytest.raises(ValidationError):
            await desk().open_ticket(opening(), ctx)


async def test_an_anonymous_answer_to_the_probe_is_unauthorised(ctx):
    with respx.mock(using="httpx") as mock:
        anonymous = {"user": {"id": None, "name": "Anonymous user"}}
        mock.get("https://acme.zendesk.com/api/v2/users/me.json").respond(json=anonymous)
        with pytest.raises(Unauthorised):
            await desk().probe(ctx)


async def test_the_request_carries_credentials_and_key_and_no_mail_by_itself(ctx):
    with respx.mock(using="httpx") as mock:
        route = mock.post("https://acme.zendesk.com/api/v2/tickets").respond(201, json={"ticket": {"id": 1}})
        result = await desk().open_ticket(opening(), ctx)
    sent = route.calls.last.request
    assert sent.headers["Authorization"] == "Basic " + base64.b64encode(f"{EMAIL}/token:{TOKEN}".encode()).decode()
    assert sent.headers["Idempotency-Key"] == ctx.idempotency_key
    assert "requester" not in json.loads(sent.content)["ticket"]
    assert result.url == "https://acme.zendesk.com/agent/tickets/1"
    assert result.events[0].at == NOON


def test_what_may_be_repeated_is_known():
    plugin = desk()
    made = plugin.route(opening())
    assert not made.repeatable
    assert made.remembers == timedelta(hours=1)
    assert made.find == plugin.find_ticket
    comment = plugin.route(CommentTicket(origin="m", ticket="1", text="x"))
    assert not comment.repeatable
    assert comment.find == plugin.find_comment
    assert plugin.route(UpdateTicket(origin="u", ticket="1")).repeatable
