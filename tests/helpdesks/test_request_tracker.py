"""Request Tracker: against a real RT 5 where it is installed, and its odd answers one by one."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_request_tracker import Posted, RequestTracker
from rmabridge_request_tracker.parsing import events as parsed

from rmabridge.abilities import Inbound
from rmabridge.errors import Malformed, Rejected
from rmabridge.model import (
    Attachment,
    Author,
    CommentTicket,
    MessageReceived,
    OpenTicket,
    Ref,
    RefKind,
    TicketSeen,
    UpdateTicket,
)
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.real_rt import PASSWORD

RT = "https://rt.example"
REST = f"{RT}/REST/2.0"
real = pytest.mark.real("request_tracker")


def desk(url=RT, **settings):
    return account(RequestTracker, "desk", **{"url": url, "user": "bridge", "password": PASSWORD, **settings})


def opening(external, **fields):
    return OpenTicket(external=external, subject="Wrong size", text="Größe 42, 你好\nSecond line", **fields)


def inbound(body):
    return Inbound("desk", body if isinstance(body, bytes) else json.dumps(body).encode(), {}, NOON)


def events(plugin, page):
    return [event for item in page.items for event in plugin.parse(inbound(item.body))]


@pytest.fixture
async def ctx():
    lent = context(now=lambda: datetime.now(UTC))
    yield lent
    await lent.http.aclose()


@pytest.fixture
def rt():
    with respx.mock(using="httpx", base_url=REST, assert_all_called=False) as router:
        yield router


# The real server


@real
@pytest.mark.evidence("request_tracker", "accepted")
async def test_a_ticket_is_opened_found_by_its_field_and_changed(rt_server, ctx):
    plugin = desk(rt_server.url, mail_buyer=True)
    made = await plugin.open_ticket(opening("shop:R-1", requester_email="buyer@example.com", priority="50"), ctx)
    assert made.note is None
    assert made.url == f"{rt_server.url}/Ticket/Display.html?id={made.id}"
    found = await plugin.find_ticket(opening("shop:R-1"), ctx)
    assert (found.happened, found.result.id) == (True, made.id)
    assert (await plugin.find_ticket(opening("shop:R-1'or\\"), ctx)).happened is False

    change = UpdateTicket(origin="1", ticket=made.id, status="pending", priority="high", fields={"nope": "x"})
    done = await plugin.update_ticket(change, ctx)
    assert "not seen on the ticket: nope" in done.note
    ticket = rt_server.call("alice", "GET", f"/ticket/{made.id}").json()
    assert (ticket["Subject"], ticket["Status"], ticket["Priority"]) == ("[shop:R-1] Wrong size", "stalled", "75")
    assert ticket["Requestor"][0]["id"] == "buyer@example.com"
    assert (await plugin.update_ticket(change, ctx)).id == made.id  # a repeat does no harm

    plugin.statuses["solved"] = "nonsense"
    with pytest.raises(Rejected, match="isn't a valid status"):
        await plugin.update_ticket(UpdateTicket(origin="2", ticket=made.id, status="solved"), ctx)


@real
@pytest.mark.evidence("request_tracker", "accepted")
async def test_where_the_field_is_not_applied_the_ticket_is_found_by_its_subject(rt_server, ctx):
    plugin = desk(rt_server.url, queue="Bare")
    made = await plugin.open_ticket(opening("shop:R_2%"), ctx)
    assert "rma_ref" in made.note
    assert "Applies to" in made.note
    assert (await plugin.find_ticket(opening("shop:R_2%"), ctx)).result.id == made.id
    assert (await plugin.find_ticket(opening("shop:R%"), ctx)).happened is False
    (left,) = await plugin.subscribe("https://bridge.example/hooks/desk", ctx)
    assert left.startswith("Bare has no field rma_ref")
    assert await desk(rt_server.url).subscribe("https://bridge.example/hooks/desk", ctx) == ()


@real
@pytest.mark.evidence("request_tracker", "accepted")
async def test_an_agents_reply_is_seen_once_and_our_own_words_are_not(rt_server, ctx):
    plugin = desk(rt_server.url)
    number = (await plugin.open_ticket(opening("shop:R-3", requester_email="buyer@example.com"), ctx)).id
    start = await plugin.poll(ctx, None)
    assert start.items == ()

    photo = Attachment(name="photo", url="https://bridge.example/p.jpg")
    ours = CommentTicket(origin="1", ticket=number, text="Bob's note, 你好\r\n\r\nend ", attachments=(photo,))
    answer = CommentTicket(origin="2", ticket=number, text="We are looking.", public=True)
    assert (await plugin.find_comment(ours, ctx)).happened is False
    noted = await plugin.comment_ticket(ours, ctx)
    await plugin.comment_ticket(answer, ctx)
    assert (await plugin.find_comment(ours, ctx)).result.id == noted.id
    assert (await plugin.find_comment(answer.model_copy(update={"public": False}), ctx)).happened is False
    assert (await plugin.find_comment(answer, ctx)).happened is True

    file = {"FileName": "a b.png", "FileType": "image/png", "FileContent": base64.b64encode(b"\x89PNG").decode()}
    rich = {"Content": "<p>Dear&nbsp;you,</p>send it <b>back</b> ü", "ContentType": "text/html", "Attachments": [file]}
    plain = {"Content": "It is broken", "ContentType": "text/plain"}
    rt_server.call("alice", "POST", f"/ticket/{number}/correspond", json=rich).raise_for_status()
    rt_server.call("buyer@example.com", "POST", f"/ticket/{number}/correspond", json=plain).raise_for_status()
    rt_server.call("alice", "POST", f"/ticket/{number}/comment", json=plain).raise_for_status()

    page = await plugin.poll(ctx, start.cursor)
    seen = events(plugin, page)
    status, reply, buyer, note = seen
    assert isinstance(status, TicketSeen)
    assert status.status == "open"
    assert (reply.message.author, reply.message.public, reply.message.who) == (Author.AGENT, True, "alice")
    assert reply.message.text == "Dear you,\nsend it back ü"
    assert reply.message.attachments[0].name == "a b.png"
    assert abs(reply.at - datetime.now(UTC)) < timedelta(hours=1)
    assert {(ref.kind, ref.value) for ref in reply.refs} == {
        (RefKind.TICKET, number),
        (RefKind.THREAD, number),
        (RefKind.CASE, "shop:R-3"),
    }
    assert (buyer.message.author, buyer.buyer.email) == (Author.BUYER, "buyer@example.com")
    assert (note.message.author, note.message.public) == (Author.AGENT, False)
    assert (await plugin.poll(ctx, page.cursor)).items == ()


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


@real
@pytest.mark.evidence("request_tracker", "accepted")
async def test_stored_and_made_files_lie_on_the_real_ticket(rt_server, ctx):
    plugin, ctx = desk(rt_server.url), context(http=ctx.http, files={FILED[0].sha256: PHOTO})
    number = (await plugin.open_ticket(opening("shop:R-9"), ctx)).id
    note = CommentTicket(origin="f", ticket=number, text="See the files.", attachments=FILED)
    done = await plugin.comment_ticket(note, ctx)
    path = f"/transaction/{done.id}/attachments?fields=Filename,ContentType"
    rows = rt_server.call("alice", "GET", path).json()["items"]
    named = {row["Filename"]: row for row in rows if row.get("Filename")}
    assert set(named) == {"照片.png", "dossier.pdf"}
    photo = rt_server.call("alice", "GET", f"/attachment/{named['照片.png']['id']}").json()
    assert base64.b64decode(photo["Content"]) == PHOTO
    assert (await plugin.find_comment(note, ctx)).result.id == done.id


async def test_stored_and_made_files_go_along_and_what_is_gone_or_too_large_is_told(rt):
    plugin, lent = desk(), context(files={FILED[0].sha256: PHOTO})
    route = rt.post("/ticket/7/comment").respond(201, json=["Comments added"])
    note = CommentTicket(origin="f", ticket="7", text="See the files.", attachments=FILED)
    await plugin.comment_ticket(note, lent)
    sent = route.calls.last.request
    form = BytesParser().parsebytes(f"Content-Type: {sent.headers['Content-Type']}\r\n\r\n".encode() + sent.content)
    words, photo, paper = form.get_payload()
    assert json.loads(words.get_payload(decode=True)) == {"Content": LINES, "ContentType": "text/plain"}
    assert (photo.get_content_type(), photo.get_payload(decode=True)) == ("image/png", PHOTO)
    assert paper.get_payload(decode=True).startswith(b"%PDF-")
    await lent.http.aclose()


@real
async def test_the_servers_refusals_say_what_to_do(rt_server, ctx):
    plugin = desk(rt_server.url, user="", password=None, token=rt_server.token, bot="bridge", queue="Nope")
    assert (await plugin.probe(ctx)).startswith("Request Tracker 5.")
    with pytest.raises(Rejected, match="No permission to create tickets") as refused:
        await plugin.open_ticket(opening("shop:R-4"), ctx)
    assert "does not exist" in refused.value.hint
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        await plugin.comment_ticket(CommentTicket(origin="1", ticket="999", text="x"), ctx)
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        await plugin.update_ticket(UpdateTicket(origin="1", ticket="999", status="open"), ctx)
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        await desk(rt_server.url, password="wrong").probe(ctx)
    gone = rt_server.call("bridge", "GET", "/attachment/999")
    assert gone.status_code == 500


# Answers that the real server gives seldom


def row(number, minutes_ago, **fields):
    made = (NOON - timedelta(minutes=minutes_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    base = {"id": str(number), "Type": "Correspond", "Created": made, "NewValue": "", "ObjectId": "4"}
    return {**base, "Creator": {"id": "alice"}, **fields}


def listed(*rows):
    return httpx.Response(200, json={"items": list(rows), "count": len(rows), "total": None, "pages": None})


def people(rt, *rows, ticket=200, attachment=200):
    coded = base64.b64encode("Grüße".encode()).decode()
    fields = [{"name": "rma_ref", "values": ["C1"]}]
    known = {"id": 4, "Subject": "s", "Requestor": [{"id": "buyer@example.com"}], "CustomFields": fields}
    rt.get("/transactions").mock(return_value=listed(*rows))
    rt.get("/ticket/4").respond(ticket, json=known if ticket == 200 else {"message": "Not Found"})
    rt.get("/user/alice").respond(json={"Privileged": 1})
    rt.get("/user/passer-by@example.com").respond(json={"Privileged": 0})
    body = {"id": "7", "ContentType": "text/plain", "Filename": ""}
    rt.get(path__regex=r"/transaction/\d+/attachments").mock(return_value=listed(body))
    rt.get("/attachment/7").respond(attachment, json={"Content": coded})


async def polled(plugin, cursor):
    lent = context()
    try:
        return await plugin.poll(lent, cursor)
    finally:
        await lent.http.aclose()


async def test_a_transaction_that_was_committed_late_is_still_seen_and_the_others_not_twice(rt):
    people(rt, row(10, 1))
    first = await polled(desk(), "8")
    assert ([item.id for item in first.items], first.cursor) == (["txn:10"], "8,10")
    people(rt, row(9, 1), row(10, 1))
    second = await polled(desk(), first.cursor)
    assert ([item.id for item in second.items], second.cursor) == (["txn:9"], "8,9,10")
    people(rt, row(9, 5), row(10, 5))
    third = await polled(desk(), second.cursor)
    assert (third.items, third.cursor) == ((), "10")


async def test_a_full_page_asks_for_the_next_one(rt):
    people(rt, *(row(number, 0, Type="Status", NewValue="open") for number in range(1, 101)))
    page = await polled(desk(), "0")
    assert (len(page.items), page.more, page.cursor) == (100, True, "100")


async def test_the_query_names_the_queues_and_leaves_our_own_writes_out(rt):
    people(rt)
    plugin = desk(queues={"crisis": "Alice's"})
    assert (await polled(plugin, "5,6")).cursor == "5"
    asked = rt.calls.last.request.url.params["query"]
    assert asked.startswith(
        "ObjectType = 'RT::Ticket' AND id > 5 AND (TicketQueue = 'General' OR TicketQueue = 'Alice\\'s')"
    )
    assert "Creator != 'bridge'" in asked


async def test_an_attachment_that_is_gone_leaves_an_empty_text(rt):
    people(rt, row(10, 5), attachment=500)
    (event,) = events(desk(), await polled(desk(), "8"))
    assert event.message.text == ""


@pytest.mark.parametrize(("minutes", "status"), [(1, 500), (1, 503), (60, 503)])
async def test_an_attachment_of_a_busy_server_is_asked_for_again(rt, minutes, status):
    people(rt, row(10, minutes), attachment=status)
    with pytest.raises(httpx.HTTPStatusError):
        await polled(desk(), "8")


async def test_a_reply_to_a_ticket_that_is_gone_stops_nothing(rt):
    people(rt, row(10, 1), ticket=404)
    (event,) = events(desk(), await polled(desk(), "8"))
    assert event.refs[0] == Ref(kind=RefKind.TICKET, value="4", url=f"{RT}/Ticket/Display.html?id=4")


async def test_a_stranger_who_mails_to_a_ticket_is_no_agent(rt):
    people(rt, row(10, 1, Creator={"id": "passer-by@example.com"}))
    (event,) = events(desk(), await polled(desk(), "8"))
    assert event.message.author is Author.BUYER


async def test_a_ticket_that_cannot_be_read_back_is_still_made_once(rt):
    made = rt.post("/ticket").respond(201, json={"id": "4"})
    rt.get("/ticket/4").respond(500, json={"message": "Internal Server Error"})
    lent = context()
    done = await desk(queues={"crisis": "Crisis"}).open_ticket(
        opening("C1", group="crisis", requester_email="buyer@example.com"), lent
    )
    await lent.http.aclose()
    assert (done.id, made.call_count) == ("4", 1)
    assert "rma_ref" in done.note
    sent = json.loads(made.calls.last.request.content)
    assert (sent["Queue"], "Requestor" in sent) == ("Crisis", False)


async def test_an_update_moves_the_ticket_to_the_queue_of_its_group(rt):
    changed = rt.put("/ticket/4").respond(200, json=["Queue changed"])
    rt.get("/ticket/4").respond(200, json={"id": 4})
    lent = context()
    await desk(queues={"senior": "Senior"}).update_ticket(UpdateTicket(origin="1", ticket="4", group="senior"), lent)
    await lent.http.aclose()
    assert json.loads(changed.calls.last.request.content) == {"Queue": "Senior"}


@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_other_errors_are_left_to_the_bridge(rt, status):
    rt.post("/ticket").respond(status, json={"message": "no"})
    lent = context()
    with pytest.raises(httpx.HTTPStatusError, match=str(status)):
        await desk().open_ticket(opening("C1"), lent)
    await lent.http.aclose()


async def test_what_rt_would_take_for_zero_or_nothing_is_refused_before_it_is_sent(rt):
    lent = context()
    with pytest.raises(Rejected, match="no priority 'asap'"):
        await desk().open_ticket(opening("C1", priority="asap"), lent)
    with pytest.raises(Rejected, match="no RT ticket number"):
        await desk().comment_ticket(CommentTicket(origin="1", text="x"), lent)
    await lent.http.aclose()
    assert not rt.calls


def test_credentials_and_the_bots_name_are_asked_for():
    with pytest.raises(ValidationError, match="give user and password"):
        desk(password=None)
    with pytest.raises(ValidationError, match="bot is missing"):
        desk(user="", password=None, token="1-2-abc")
    assert PASSWORD not in repr(desk())


def posted(**fields):
    base = {"id": 10, "type": "Correspond", "at": "2026-01-02T11:00:00Z", "creator": "alice", "ticket": "4"}
    return {**base, "privileged": True, "text": "hello", **fields}


def test_an_echo_says_nothing_however_its_name_is_written():
    assert desk().parse(inbound(posted(creator="Bridge"))) == []
    assert desk(bot="robot").parse(inbound(posted(creator="robot"))) == []


@pytest.mark.parametrize(
    ("fields", "author"),
    [
        ({}, Author.AGENT),
        ({"requestors": ["alice"]}, Author.BUYER),
        ({"privileged": False}, Author.BUYER),
        ({"privileged": False, "type": "Comment"}, Author.AGENT),
        ({"creator": "RT_System"}, Author.SYSTEM),
    ],
)
def test_the_author_is_told_from_rights_and_requestors(fields, author):
    (event,) = desk().parse(inbound(posted(**fields)))
    assert event.message.author is author


def test_a_rich_text_becomes_lines_without_style_sheets():
    rich = "<STYLE>p {}</style><p>One &lt;two&gt;</p><script>x<br>y</script >three<br/>four <b"
    (event,) = desk().parse(inbound(posted(text=rich, html=True)))
    assert event.message.text == "One <two>\nthree\nfour <b"


TEXT = st.text(max_size=20)
POSTED = st.fixed_dictionaries(
    {
        "id": st.integers(),
        "type": st.sampled_from(["Correspond", "Comment", "Status", "Set"]),
        "at": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat) | st.integers() | TEXT,
        "creator": TEXT,
        "ticket": TEXT,
    },
    optional={"text": TEXT, "html": st.booleans(), "status": TEXT | st.none(), "ref": TEXT | st.none()},
)


@given(st.binary(max_size=200) | POSTED.map(lambda made: json.dumps(made).encode()))
def test_any_bytes_give_events_or_are_malformed(body):
    plugin = desk()
    try:
        first = list(plugin.parse(inbound(body)))
    except Malformed:
        return
    assert list(plugin.parse(inbound(body))) == first
    assert all(isinstance(event, MessageReceived | TicketSeen) for event in first)
    assert all(event.key == f"txn:{Posted.model_validate_json(body).id}" for event in first)


def test_an_answer_that_rt_mails_itself_does_not_name_the_ticket_so_that_nobody_sends_it_again():
    posted = Posted(
        id=1, type="Correspond", at=NOON, creator="anna", privileged=True, ticket="4", ref="C1", text="Yes."
    )
    mailed = posted.model_copy(update={"requestors": ("buyer@example.com",)})
    kinds = [[one.kind for one in event.refs] for given in (posted, mailed) for event in parsed(given)]
    assert kinds == [[RefKind.TICKET, RefKind.THREAD, RefKind.CASE], [RefKind.THREAD, RefKind.CASE]]
    by_buyer = mailed.model_copy(update={"creator": "buyer@example.com", "privileged": False})
    assert [[one.kind for one in event.refs] for event in parsed(by_buyer)] == [kinds[0]]


def test_an_answer_on_a_ticket_that_began_in_rt_names_the_talk_by_which_its_case_is_known():
    by_buyer = posted(creator="buyer@example.com", privileged=False, requestors=["buyer@example.com"])
    answer = posted(requestors=["buyer@example.com"])
    first, second = (desk().parse(inbound(one))[0] for one in (by_buyer, answer))
    assert [one.kind for one in first.refs] == [RefKind.TICKET, RefKind.THREAD]
    assert second.refs == first.refs[1:]


AWAY = "From: Buyer <buyer@example.com>\nSubject: Re: [C1]\n"


@pytest.mark.parametrize(
    ("headers", "author"),
    [
        (AWAY + "RT-Detectedautogenerated: true", Author.SYSTEM),
        (AWAY + "Auto-Submitted: auto-replied", Author.SYSTEM),
        ("Subject: Out of office: Re: [C1]", Author.SYSTEM),
        ("Content-Type: multipart/report; report-type=delivery-status", Author.SYSTEM),
        (AWAY, Author.BUYER),
        ("", Author.BUYER),
        (None, Author.BUYER),
    ],
)
async def test_an_answer_out_of_office_is_nobodys_words(rt, headers, author):
    people(rt, row(10, 5, Creator={"id": "buyer@example.com"}))
    rt.get("/user/buyer@example.com").respond(json={"Privileged": 0})
    body = {"id": "7", "ContentType": "text/plain", "Filename": "", "Headers": headers}
    part = {"id": "8", "ContentType": "text/plain", "Filename": "x", "Headers": "Auto-Submitted: auto-replied"}
    rt.get(path__regex=r"/transaction/\d+/attachments").mock(return_value=listed(part, body))
    (event,) = events(desk(), await polled(desk(), "9"))
    assert event.message.author is author


@real
@pytest.mark.evidence("request_tracker", "accepted")
async def test_rt_marks_an_answer_out_of_office_and_a_persons_mail_it_does_not(rt_server, ctx):
    plugin = desk(rt_server.url)
    number = (await plugin.open_ticket(opening("shop:R-9"), ctx)).id
    start = await plugin.poll(ctx, None)
    for extra in ("Auto-Submitted: auto-replied\n", ""):
        head = f"From: Buyer <buyer@example.com>\nTo: rt@desk.example\nSubject: Away [example.com #{number}]\n{extra}"
        mail = {"SessionType": "REST", "queue": "General", "action": "correspond", "ticket": number}
        gate = f"{rt_server.url}/REST/1.0/NoAuth/mail-gateway"
        httpx.post(gate, data=mail | {"message": f"{head}\nWords.\n"}, timeout=60).raise_for_status()
    seen = [one for one in events(plugin, await plugin.poll(ctx, start.cursor)) if isinstance(one, MessageReceived)]
    assert [one.message.author for one in seen] == [Author.SYSTEM, Author.BUYER]
