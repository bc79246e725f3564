"""Zammad: verification, what agents and customers write, the loop guard, and the calls against the simulator."""

# ruff: noqa: RUF012 - subclassing the contract reads best without annotations
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st
from rmabridge_zammad import Zammad

from rmabridge.abilities import Inbound, WebRequest
from rmabridge.errors import Malformed, Rejected, Unverified, WrongType
from rmabridge.model import Attachment, Author, CommentTicket, OpenTicket, TicketSeen, UpdateTicket
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.contract import Call, HelpdeskContract, WebhookContract
from rmabridge.testing.simulators.zammad import ZammadSim

SECRET, TOKEN = "zammad-signature-token", "zammad-token"
SETTINGS = {"url": "https://desk.example", "token": TOKEN, "secret": SECRET, "bot_ids": [3]}
API = "https://desk.example/api/v1"
EMILY = {"id": 8, "firstname": "Emily", "lastname": "Adams", "email": "emily@example.com", "phone": "0061 2"}
ANNA = {"id": 5, "firstname": "Anna", "lastname": "Lopez", "email": "anna@example.com"}
BOT = {"id": 3, "firstname": "Bridge", "lastname": ""}


def desk(**settings):
    return account(Zammad, "desk", **{**SETTINGS, **settings})


def ticket(**changes):
    return {
        "id": 81,
        "number": "10081",
        "state": "open",
        "priority": {"id": 2, "name": "2 normal"},
        "customer": EMILY,
        "owner_id": 5,
        "updated_by_id": 5,
        "updated_at": "2026-01-02T11:59:58.333Z",
        **changes,
    }


def article(**changes):
    return {
        "id": 104,
        "body": "Hello<br>the box is <b>broken</b>",
        "content_type": "text/html",
        "internal": False,
        "sender": "Customer",
        "type": "web",
        "created_at": "2026-01-02T11:59:58.318Z",
        "created_by": EMILY,
        "created_by_id": 8,
        "attachments": [],
        **changes,
    }


def note(**changes):
    return article(**{"sender": "Agent", "type": "note", "created_by": ANNA, "created_by_id": 5, **changes})


def parse(body, plugin=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list((plugin or desk()).parse(Inbound("desk", raw, {}, NOON)))


def signed(body, *, secret=SECRET, prefix="sha1=", delivery="b7e6"):
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "X-Zammad-Trigger": "rmabridge",
        "X-Zammad-Delivery": delivery,
        "X-Hub-Signature": prefix + hmac.new(secret.encode(), raw, hashlib.sha1).hexdigest(),
    }
    return WebRequest("POST", "/hooks/desk", {}, headers, raw)


def refs(event):
    return [(one.kind.value, one.value) for one in event.refs]


class TestContract(HelpdeskContract, WebhookContract):
    plugin = Zammad
    settings = SETTINGS
    # Zammad answers 403 for a single group, too.
    statuses = {403: "dead"}

    def signed(self, account, now):
        secret = account.secret[0].value.get_secret_value()
        bodies = ({"ticket": ticket(), "article": article()}, {"ticket": ticket(), "article": None})
        return [signed(one, secret=secret, delivery=str(number)) for number, one in enumerate(bodies)]

    def calls(self):
        opening = OpenTicket(external="C1", subject="Wrong size", text="Größe 42, 你好", requester_email="li@x.com")
        shown = {"id": 81, "state": "new", "priority": "2 normal", "updated_at": "2026-01-02T12:00:00Z"}
        written = httpx.Response(201, json={"id": 104, "body": "x"})
        return [
            Call("open_ticket", opening, (httpx.Response(201, json=shown),), keyless=True),
            Call(
                "comment_ticket", CommentTicket(origin="e", ticket="81", text="scanned"), (shown, written), keyless=True
            ),
            Call("update_ticket", UpdateTicket(origin="e", ticket="81", status="solved"), (shown, shown)),
        ]


# --- the door


@pytest.mark.parametrize("prefix", ["sha1=", ""])
def test_the_signature_counts_with_and_without_the_name_of_its_family(prefix):
    receipt = desk().verify(signed({"ticket": ticket(), "article": article()}, prefix=prefix), NOON)
    assert (receipt.id, receipt.lane) == ("b7e6", "81")


@pytest.mark.parametrize("mark", ["", "sha1=", "sha256=00", "sha1=sha1="])
def test_another_signature_does_not(mark):
    request = signed({"ticket": ticket()})
    with pytest.raises(Unverified):
        desk().verify(WebRequest("POST", "/", {}, {**request.headers, "X-Hub-Signature": mark}, request.body), NOON)


def test_a_form_is_not_taken():
    with pytest.raises(WrongType):
        desk().verify(WebRequest("POST", "/", {}, {"Content-Type": "text/plain"}, b"x"), NOON)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_malformed(body):
    try:
        parse(body)
    except Malformed:
        return


@given(
    st.fixed_dictionaries(
        {"ticket": st.dictionaries(st.sampled_from([*ticket()]), st.none() | st.integers() | st.text(max_size=9))},
        optional={
            "article": st.none()
            | st.dictionaries(st.sampled_from([*article()]), st.none() | st.text(max_size=9) | st.lists(st.integers()))
        },
    )
)
def test_any_ticket_is_read_or_malformed(body):
    try:
        parse(body)
    except Malformed:
        return


# --- what was written


def test_a_customers_words_name_the_ticket_and_the_talk_on_it():
    said, seen = parse({"ticket": ticket(), "article": article()})
    assert (said.key, said.message.id, said.message.text) == ("article:104", "zammad:104", "Hello\nthe box is broken")
    assert (said.message.author, said.message.who, said.message.public) == (Author.BUYER, "Emily Adams", True)
    assert (said.buyer.email, said.buyer.phone) == ("emily@example.com", "0061 2")
    assert refs(said) == refs(seen) == [("ticket", "81"), ("thread", "81")]
    assert said.at == datetime(2026, 1, 2, 11, 59, 58, 318000, tzinfo=UTC)
    assert (seen.status, seen.priority, seen.assignee) == ("open", "2 normal", "5")


def test_of_a_mail_only_what_its_writer_wrote_is_kept():
    quoted = "Thank you!<br><blockquote>On Monday you wrote: we look into it</blockquote>"
    said, _ = parse({"ticket": ticket(), "article": article(type="email", body=quoted)})
    assert said.message.text == "Thank you!"


def test_an_agents_public_note_is_for_the_buyer_and_an_internal_one_is_not():
    public, _ = parse({"ticket": ticket(), "article": note()})
    internal, _ = parse({"ticket": ticket(), "article": note(internal=True)})
    assert (public.message.author, public.message.who, public.buyer) == (Author.AGENT, "Anna Lopez", None)
    assert (public.message.public, internal.message.public) == (True, False)
    assert refs(public) == refs(internal) == [("ticket", "81"), ("thread", "81")]


@pytest.mark.parametrize("kind", ["email", "sms", "telegram personal-message", "phone"])
def test_what_an_agent_sent_by_zammad_itself_is_not_carried_again(kind):
    said, _ = parse({"ticket": ticket(), "article": note(type=kind)})
    assert refs(said) == [("thread", "81")]
    carried, _ = parse({"ticket": ticket(), "article": note(type=kind)}, desk(carried=[kind]))
    assert refs(carried)[0] == ("ticket", "81")


def test_our_own_article_is_no_news_but_what_became_of_the_ticket_is():
    (seen,) = parse({"ticket": ticket(state="closed"), "article": note(created_by=BOT, created_by_id=3)})
    assert isinstance(seen, TicketSeen)
    assert seen.status == "closed"


def test_an_automatic_reply_is_nobodys():
    said, _ = parse({"ticket": ticket(), "article": article(sender="System", created_by={"id": 1}, created_by_id=1)})
    assert said.message.author is Author.SYSTEM


def test_files_are_named_with_their_address_whatever_host_the_webhook_gives():
    file = {"id": 174, "filename": "照片.jpeg", "size": "35574", "preferences": {"Content-Type": "image/jpeg"}}
    told = article(body="", attachments=[{**file, "url": "https://evil.example/x"}, {"filename": "no id"}])
    said, _ = parse({"ticket": ticket(), "article": told})
    (kept,) = said.message.attachments
    assert kept == Attachment(
        name="照片.jpeg", media_type="image/jpeg", size=35574, url=f"{API}/ticket_attachment/81/104/174"
    )


@pytest.mark.parametrize("told", [None, {}, {"body": "", "id": 1, "created_at": "2026-01-02T11:00:00Z"}])
def test_without_words_only_the_ticket_is_told(told):
    (seen,) = parse({"ticket": ticket(owner_id=1), "article": told})
    assert seen.assignee is None


def test_keys_stay_when_the_webhook_comes_again_and_change_with_the_ticket():
    first, again = (parse({"ticket": ticket(), "article": article()}) for _ in range(2))
    other = parse({"ticket": ticket(state="closed"), "article": article()})
    assert [one.key for one in first] == [one.key for one in again]
    assert (first[0].key, first[1].key != other[1].key) == (other[0].key, True)


@pytest.mark.parametrize("body", [{"title": "custom"}, {"ticket": {"id": "x"}}, {"ticket": ticket(updated_at=None)}])
def test_a_custom_payload_is_malformed(body):
    with pytest.raises(Malformed):
        parse(body)


# --- against the simulator


@pytest.fixture
async def sim():
    async with ZammadSim() as running:
        yield running


@pytest.fixture
async def ctx(sim):
    lent = context("desk", now=sim.now)
    yield lent
    await lent.http.aclose()


def opening(**changes):
    given = {"external": "C1", "subject": "[C1] 太小了", "text": "Largest size\n<b>?</b>", **changes}
    return OpenTicket(**{"requester_name": "Li Lei", "requester_email": "li@example.com", **given})


async def test_a_ticket_is_opened_with_tags_customer_priority_and_fields(sim, ctx):
    plugin = desk(url=sim.url, fields={"result": "rma_result"}, groups={"senior": "Senior"})
    asked = opening(priority="high", group="senior", tags=("vip, gold",), fields={"result": "open"})
    made = await plugin.open_ticket(asked, ctx)
    kept = sim.books["tickets"][made.id]
    assert (kept["title"], kept["group"], kept["priority"], kept["rma_result"]) == (
        "[C1] 太小了",
        "Senior",
        "3 high",
        "open",
    )
    assert sim.books["tags"][made.id] == ["rmabridge", "rmabridge-C1", "vip gold"]
    customer = sim.books["users"][str(kept["customer_id"])]
    assert (customer["email"], customer["firstname"], customer["lastname"]) == ("li@example.com", "Li", "Lei")
    (first,) = sim.books["articles"]
    assert (first["body"], first["internal"], first["content_type"]) == ("Largest size\n<b>?</b>", True, "text/plain")
    assert (made.note, made.url) == (None, f"{sim.url}/#ticket/zoom/{made.id}")
    assert refs(made.events[0]) == [("ticket", made.id), ("thread", made.id)]


async def test_a_buyer_without_an_address_is_our_own_customer_and_what_is_unknown_is_told(sim, ctx):
    asked = opening(requester_email=None, priority="odd", group="odd", fields={"x": "1", "gone": "2"})
    made = await desk(url=sim.url, fields={"gone": "rma_gone"}).open_ticket(asked, ctx)
    assert sim.books["tickets"][made.id]["customer_id"] == 3
    assert made.note == "not set in Zammad: field x, field gone, priority odd, group odd"


async def test_a_ticket_is_found_by_the_cases_tag(sim, ctx):
    plugin = desk(url=sim.url)
    assert (await plugin.find_ticket(opening(), ctx)).happened is False
    made = await plugin.open_ticket(opening(), ctx)
    await plugin.open_ticket(opening(external="C11"), ctx)
    found = await plugin.find_ticket(opening(), ctx)
    assert (found.happened, found.result.id) == (True, made.id)


PHOTO = b"\x89PNG of a broken kettle"
FILED = (
    Attachment(name="照片.png", media_type="image/png", sha256=hashlib.sha256(PHOTO).hexdigest()),
    Attachment(name="dossier.pdf", media_type="application/pdf", text='{"title": "YT1"}'),
    Attachment(name="gone.png", media_type="image/png", sha256="f" * 64),
    Attachment(name="film.mp4", media_type="video/mp4", sha256="e" * 64, size=30 << 20),
)


@pytest.mark.parametrize("public", [True, False])
async def test_notes_are_written_with_their_files_and_found_again(sim, ctx, public):
    plugin, lent = desk(url=sim.url), context("desk", http=ctx.http, now=sim.now, files={FILED[0].sha256: PHOTO})
    id_ = (await plugin.open_ticket(opening(), lent)).id
    asked = CommentTicket(origin="m1", ticket=id_, text="See the files.", attachments=FILED, public=public)
    assert (await plugin.find_comment(asked, lent)).happened is False
    made = await plugin.comment_ticket(asked, lent)
    written = sim.books["articles"][-1]
    photo, paper = written["attachments"]
    assert (photo["filename"], photo["sha256"], paper["filename"]) == ("照片.png", FILED[0].sha256, "dossier.pdf")
    assert written["body"].splitlines()[1:] == [
        f"gone.png: the file is not kept here any more (SHA-256 {'f' * 64})",
        "film.mp4: too large to attach; see 'rmabridge cases evidence --save'",
    ]
    assert (written["internal"], written["type"], written["sender"]) == (not public, "note", "Agent")
    assert (await plugin.find_comment(asked, lent)).result.id == made.id == f"zammad:{written['id']}"
    other = asked.model_copy(update={"public": not public})
    assert (await plugin.find_comment(other, lent)).happened is False
    sim.offset = timedelta(hours=26)
    assert (await plugin.find_comment(asked, lent)).happened is False


async def test_the_words_of_an_agent_are_not_taken_for_ours(sim, ctx):
    plugin = desk(url=sim.url)
    id_ = (await plugin.open_ticket(opening(), ctx)).id
    await sim.do_agent_writes(id_, "scanned", internal=True)
    assert (await plugin.find_comment(CommentTicket(origin="m", ticket=id_, text="scanned"), ctx)).happened is False


async def test_an_update_sets_state_priority_group_owner_tags_and_fields(sim, ctx):
    plugin = desk(url=sim.url, fields={"result": "rma_result"}, groups={"senior": "Senior"})
    id_ = (await plugin.open_ticket(opening(), ctx)).id
    sim.books["tickets"][id_]["owner_id"] = 5
    asked = UpdateTicket(origin="u", ticket=id_, status="solved", priority="urgent", group="senior", unassign=True)
    result = await plugin.update_ticket(asked.model_copy(update={"add_tags": ("x",), "fields": {"result": "ok"}}), ctx)
    kept = sim.books["tickets"][id_]
    assert (kept["state"], kept["priority"], kept["group"], kept["owner_id"]) == ("closed", "3 high", "Senior", 1)
    assert (kept["rma_result"], sim.books["tags"][id_][-1], result.note) == ("ok", "x", None)
    assert result.events[0].status == "closed"


async def test_a_pending_ticket_reminds_after_a_while_and_tags_alone_need_no_further_call(sim, ctx):
    plugin = desk(url=sim.url, pending_for="P1D")
    id_ = (await plugin.open_ticket(opening(), ctx)).id
    await plugin.update_ticket(UpdateTicket(origin="u", ticket=id_, status="pending"), ctx)
    kept = sim.books["tickets"][id_]
    assert kept["state"] == "pending reminder"
    assert abs(datetime.fromisoformat(kept["pending_time"]) - sim.now() - timedelta(days=1)) < timedelta(minutes=1)
    calls = len(sim.books["calls"])
    await plugin.update_ticket(UpdateTicket(origin="u2", ticket=id_, add_tags=("a", "b")), ctx)
    assert sim.books["calls"][calls:] == [f"GET /tickets/{id_}", *["POST /tags/add"] * 2]


async def test_what_is_for_a_merged_ticket_goes_to_its_parent_and_the_case_with_it(sim, ctx):
    plugin = desk(url=sim.url)
    id_, other = [(await plugin.open_ticket(opening(external=one), ctx)).id for one in ("C1", "C2")]
    await sim.do_merge(id_, other)
    said = CommentTicket(origin="m", ticket=id_, text="Any news?")
    made = await plugin.comment_ticket(said, ctx)
    assert [one["body"] for one in sim.books["articles"] if one["ticket_id"] == int(id_)] == ["merged"]
    assert sim.books["articles"][-1]["ticket_id"] == int(other)
    (moved,) = made.events
    assert (moved.continues, refs(moved)) == (id_, [("ticket", other), ("thread", other)])
    found = await plugin.find_comment(said, ctx)
    assert (found.happened, found.result.id, found.result.events[0].continues) == (True, made.id, id_)
    changed = await plugin.update_ticket(UpdateTicket(origin="u", ticket=id_, status="solved"), ctx)
    assert [sim.books["tickets"][one]["state"] for one in (id_, other)] == ["merged", "closed"]
    assert (changed.id, changed.events[0].continues) == (other, id_)


async def test_a_merged_ticket_whose_parent_is_not_known_is_left_to_a_person(sim, ctx):
    plugin = desk(url=sim.url)
    id_ = (await plugin.open_ticket(opening(), ctx)).id
    await sim.do_set_state(id_, "merged")
    with pytest.raises(Rejected, match="merged into another one") as refused:
        await plugin.comment_ticket(CommentTicket(origin="m", ticket=id_, text="x"), ctx)
    assert "by hand" in refused.value.hint


def test_the_note_of_a_merge_is_nobodys_words():
    merge = {"ticket": ticket(state="merged"), "article": note(body="merged", content_type="text/plain")}
    assert [event.type for event in parse(merge)] == ["ticket.seen"]
    assert len(parse(merge | {"ticket": ticket()})) == 2


@pytest.mark.parametrize("id_", [None, "", "81/../82", "999"])
async def test_a_ticket_that_is_none_is_rejected(sim, ctx, id_):
    with pytest.raises(Rejected):
        await desk(url=sim.url).comment_ticket(CommentTicket(origin="m", ticket=id_, text="x"), ctx)


async def test_a_refusal_has_zammads_words(sim, ctx):
    with pytest.raises(Rejected, match="No lookup value found for 'group'"):
        await desk(url=sim.url, group="Nowhere").open_ticket(opening(), ctx)


@pytest.mark.parametrize(
    ("body", "reason"), [('{"error":"x"}', "x"), ("{}", "no reason"), ("plain", "plain"), ("", "no r")]
)
@respx.mock(using="httpx")
async def test_every_form_of_a_refusal_is_told(respx_mock, body, reason):
    respx_mock.get(f"{API}/users/me").respond(422, text=body)
    lent = context("desk")
    with pytest.raises(Rejected, match=reason):
        await desk().probe(lent)
    await lent.http.aclose()


async def test_the_probe_names_the_user_and_the_missing_setting(sim, ctx):
    assert await desk(url=sim.url).probe(ctx) == f"signed in to {sim.url} as bridge (user 3)"
    assert 'set bot_ids = ["3"]' in await desk(url=sim.url, bot_ids=["4"]).probe(ctx)
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        await desk(url=sim.url, token="wrong").probe(ctx)


async def test_the_steps_by_hand_name_the_address_and_no_secret(ctx):
    steps = await desk().subscribe("https://bridge.example/hooks/desk", ctx)
    assert "https://bridge.example/hooks/desk" in steps[0]
    assert SECRET not in " ".join(steps)


# --- what webhooks have missed


async def listed(plugin, ctx):
    cursor, events, more = None, [], True
    while more:
        page = await plugin.listing(ctx, cursor)
        events += [event for one in page.items for event in parse(one.body, plugin)]
        cursor, more = page.cursor, page.more
    return events


async def test_what_was_missed_on_our_tickets_is_found_under_the_webhooks_keys(sim, ctx, listening):
    plugin = desk(url=sim.url)
    async with listening(sim, plugin, parse) as (_, told, _receipts):
        id_ = (await plugin.open_ticket(opening(), ctx)).id
        await sim.do_agent_writes(id_, "We take them back.")
        await sim.do_agent_writes(id_, "By mail.", kind="email", state="closed")
        await sim.do_customer_writes("Unrelated")
    found = await listed(plugin, ctx)
    said = [one for one in found if not isinstance(one, TicketSeen)]
    heard = [one for one in told if not isinstance(one, TicketSeen)][:2]
    assert [(one.key, one.refs, one.message.text) for one in said] == [
        (one.key, one.refs, one.message.text) for one in heard
    ]
    assert found[-1].status == "closed"
    assert found[-1].key in {one.key for one in told}
    sim.offset = timedelta(hours=13)
    assert await listed(plugin, ctx) == []


async def test_the_comparison_goes_page_by_page(sim, ctx):
    plugin = desk(url=sim.url)
    for number in range(60):
        await plugin.open_ticket(opening(external=f"C{number}"), ctx)
    assert len({refs(one)[0] for one in await listed(plugin, ctx)}) == 60


# --- both directions, over real HTTP


async def test_our_own_writing_gives_no_message_back(sim, ctx, listening):
    plugin = desk(url=sim.url)
    async with listening(sim, plugin, parse) as (_, events, receipts):
        id_ = (await plugin.open_ticket(opening(), ctx)).id
        await plugin.comment_ticket(CommentTicket(origin="m1", ticket=id_, text="Hello.", public=True), ctx)
        await plugin.update_ticket(UpdateTicket(origin="u1", ticket=id_, status="solved"), ctx)
        await sim.settle()
        assert {one.lane for one in receipts} == {id_}
        assert {type(one) for one in events} == {TicketSeen}
        assert events[-1].status == "closed"


async def test_a_retry_keeps_the_delivery_id(sim, listening):
    async with listening(sim, desk(url=sim.url), parse) as (_, events, receipts):
        await sim.do_customer_writes("Hello")
        await sim.do_redeliver()
        assert receipts[0].id == receipts[1].id
        assert events[0].key == events[2].key
