"""The EasyPost plugin against recorded forms of its answers and webhooks, and against its simulator over real HTTP."""

# ruff: noqa: RUF012 - subclassing the contract reads best without annotations
from __future__ import annotations

import base64
import hashlib
import hmac
import json
import unicodedata
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
import respx
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_easypost import EasyPost, signature

from rmabridge.abilities import Inbound, Receipt, WebRequest
from rmabridge.errors import Malformed, Refused, Rejected, Unauthorised, Unverified, WrongType
from rmabridge.model import (
    AnswerClaim,
    AppealClaim,
    Attachment,
    ClaimKind,
    ClaimStatus,
    Direction,
    FileClaim,
    Money,
    QueryClaim,
    QueryParcel,
    TrackParcel,
)
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.contract import Call, CallContract, CarrierContract
from rmabridge.testing.simulators.easypost import EasyPostSim
from rmabridge.testing.simulators.easypost_books import HOOK_SECRET, sign

CODE = "9400100208303109500669"
KEY = "7d7f5d62-93ac-5b56-9d7b-4a4f8e0b1c11"
LINE = {
    "object": "TrackingDetail",
    "message": "Arrived at FedEx location",
    "status": "in_transit",
    "status_detail": "arrived_at_facility",
    "datetime": "2024-08-02T18:50:00Z",
    "tracking_location": {
        "object": "TrackingLocation",
        "city": "EDISON",
        "state": "NJ",
        "country": "US",
        "zip": "08817",
    },
}
TRACKER = {
    "id": "trk_1",
    "object": "Tracker",
    "tracking_code": "61290983110001112223",
    "status": "in_transit",
    "status_detail": "arrived_at_facility",
    "updated_at": "2024-08-02T19:26:51Z",
    "weight": 614.4,
    "est_delivery_date": "2024-08-05T00:00:00Z",
    "carrier": "FedEx",
    "tracking_details": [LINE],
    "is_return": False,
    "public_url": "https://track.easypost.com/1",
}
CLAIM = {
    "id": "clm_1",
    "object": "Claim",
    "type": "damage",
    "tracking_code": CODE,
    "insurance_amount": "100.00",
    "requested_amount": "80.00",
    "approved_amount": None,
    "status": "submitted",
    "status_detail": "Claim was created.",
    "status_timestamp": "2025-03-06T19:47:58Z",
    "updated_at": "2025-03-06T19:47:58Z",
}
FILED = FileClaim(
    waybill=CODE,
    carrier="USPS",
    claim=ClaimKind.DAMAGE,
    amount=Money.of("80 USD"),
    external="C1",
    description="The box arrived crushed.",
    contact="shop@example.com",
)
SETTINGS = {"api_key": "EZTK-key-of-a-test", "secret": "hook-sécret"}


def plugin(**settings) -> EasyPost:
    return account(EasyPost, "ep", **{**SETTINGS, **settings})


def webhook(topic: str, result: object, *, secret: str = SETTINGS["secret"], **fields: object) -> WebRequest:
    event = {"id": "evt_1", "object": "Event", "description": topic, "mode": "test", "result": result} | fields
    body = json.dumps(event).encode()
    key = unicodedata.normalize("NFKD", secret).encode()
    mark = "hmac-sha256-hex=" + hmac.new(key, body, hashlib.sha256).hexdigest()
    return WebRequest("POST", "/hooks/ep", {}, {"Content-Type": "application/json", "X-Hmac-Signature": mark}, body)


def events(ep: EasyPost, request: WebRequest) -> list:
    meta = ep.verify(request, NOON).meta
    return list(ep.parse(Inbound("ep", request.body, meta, NOON)))


def seen(topic: str, result: object, **settings) -> list:
    return events(plugin(**settings), webhook(topic, result))


@pytest.fixture
async def sim():
    async with EasyPostSim(SETTINGS["api_key"], SETTINGS["secret"]) as made:
        yield made


@asynccontextmanager
async def shop(sim: EasyPostSim, key: str = KEY, **settings):
    """An account at the simulator, with its context."""
    ep, ctx = plugin(url=f"{sim.url}/v2", **settings), context("ep", key=key)
    try:
        yield ep, ctx
    finally:
        await ctx.http.aclose()


@asynccontextmanager
async def door(ep: EasyPost):
    """The bridge's door in small: verify and parse."""
    took: list = []

    async def hook(request: web.Request) -> web.Response:
        asked = WebRequest("POST", request.path, {}, request.headers, await request.read())
        try:
            took.extend(events(ep, asked))
        except Unverified:
            return web.Response(status=401)
        return web.json_response({"ok": True})

    app = web.Application()
    app.router.add_post("/hooks/ep", hook)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/ep", took
    finally:
        await runner.cleanup()


class TestEasyPost(CarrierContract):
    plugin = EasyPost
    settings = SETTINGS
    other_secret = "another-secret-of-the-vendor"

    def signed(self, account, now):
        secret = account.secret[0].value.get_secret_value()
        return [webhook("tracker.updated", TRACKER, secret=secret), webhook("claim.submitted", CLAIM, secret=secret)]

    def calls(self):
        listed = {"trackers": [TRACKER], "has_more": False}
        parcel = {"waybill": TRACKER["tracking_code"], "carrier": "FEDEX_GJ"}
        return [
            Call("query", QueryParcel(**parcel), (listed,)),
            Call("track", TrackParcel(**parcel), (TRACKER,)),
            Call("file_claim", FILED, (CLAIM,)),
            Call("query_claim", QueryClaim(claim="clm_1", waybill=CODE), (CLAIM,)),
        ]


class TestAnswers(CallContract):
    """The call that answers questions, where its path is set."""

    plugin = EasyPost
    settings = {**SETTINGS, "message_path": "/claims/{claim}/messages"}

    def calls(self):
        action = AnswerClaim(claim="clm_1", waybill=CODE, origin="q1", text="Here it is.")
        return [Call("answer_claim", action, ({"id": "cmsg_1"},), keyless=True)]


# The signature


def published(name: str) -> bytes:
    """A body that EasyPost publishes for tests of signatures, in the bytes that were signed."""
    held = json.loads((Path(__file__).parents[1] / "data/carriers" / name).read_text(encoding="utf-8"))
    return json.dumps(held["answer"], separators=(",", ":")).encode()


@pytest.mark.row("P06")
@pytest.mark.evidence("easypost", "vendor_sample")
def test_the_signature_is_the_one_that_easypost_publishes():
    # Body, secret and value: the fixtures of EasyPost/examples, as its client libraries check them.
    body = published("easypost_tracker_updated.json")
    expected = "hmac-sha256-hex=38f3f53c103713df81616a0a186d77141957323ec21d5fe9363db93840f527db"
    assert signature("sécret", body) == sign(body, "sécret") == expected
    request = WebRequest(
        "POST", "/hooks/ep", {}, {"Content-Type": "application/json", "X-Hmac-Signature": expected}, body
    )
    (event,) = events(plugin(secret=HOOK_SECRET), request)
    assert event.parcel.status == "in_transit"


def test_a_secret_is_taken_apart_before_it_signs():
    composed, taken_apart = "caf\u00e9-\uff21", "cafe\u0301-A"
    assert signature(composed, b"{}") == signature(taken_apart, b"{}") == sign(b"{}", composed)


@given(st.text(min_size=1).filter(lambda one: unicodedata.normalize("NFKD", one)), st.binary())
def test_any_secret_signs_as_the_simulator_does(secret, body):
    try:
        expected = sign(body, secret)
    except UnicodeEncodeError:
        return
    assert signature(secret, body) == expected


@pytest.mark.row("P07")
def test_two_live_secrets_verify_during_the_overlap_and_only_the_new_one_after():
    until = NOON + timedelta(days=1)
    ep = plugin(secret=["new", {"value": "old", "until": until}])
    old, new = (webhook("tracker.updated", TRACKER, secret=one) for one in ("old", "new"))
    ep.verify(old, NOON)
    ep.verify(new, until)
    with pytest.raises(Unverified):
        ep.verify(old, until)


def test_the_event_id_is_the_deliverys_and_the_object_its_lane():
    assert plugin().verify(webhook("tracker.updated", TRACKER), NOON) == Receipt(id="evt_1", lane="trk_1")
    question = {"id": "cmsg_1", "claim_id": "clm_1"}
    assert plugin().verify(webhook("claim.message", question), NOON).lane == "clm_1"


def test_another_content_type_is_refused():
    request = webhook("tracker.updated", TRACKER)
    with pytest.raises(WrongType):
        plugin().verify(WebRequest("POST", "/", {}, {**request.headers, "Content-Type": "text/xml"}, b"{}"), NOON)


@given(st.binary(), st.text(max_size=90))
def test_verify_refuses_any_bytes(body, mark):
    headers = {"Content-Type": "application/json", "X-Hmac-Signature": mark}
    with pytest.raises(Refused):
        plugin().verify(WebRequest("POST", "/hooks/ep", {}, headers, body), NOON)


# Parcels


def test_a_tracker_becomes_a_snapshot_of_the_parcel():
    (event,) = seen("tracker.updated", TRACKER)
    parcel = event.parcel
    assert event.at == parcel.last.at == datetime(2024, 8, 2, 18, 50, tzinfo=UTC)
    assert [(ref.kind, ref.value) for ref in event.refs] == [("waybill", TRACKER["tracking_code"])]
    assert (parcel.carrier, parcel.carrier_name, parcel.status) == ("FEDEX_GJ", "FedEx", "in_transit")
    assert (parcel.direction, parcel.eta) == (Direction.OUT, datetime(2024, 8, 5, 12, tzinfo=UTC))
    assert parcel.url == TRACKER["public_url"]
    assert (parcel.last.place, parcel.last.code) == ("EDISON, NJ, US", "in_transit:arrived_at_facility")


@pytest.mark.parametrize(
    ("status", "words", "expected"),
    [
        ("unknown", "", ("pending", None)),
        ("pre_transit", "", ("info_received", None)),
        ("in_transit", "", ("in_transit", None)),
        ("out_for_delivery", "", ("out_for_delivery", None)),
        ("delivered", "", ("delivered", None)),
        ("available_for_pickup", "", ("available_for_pickup", None)),
        ("return_to_sender", "", ("returning", "returning")),
        ("failure", "Package damaged at the hub", ("exception", "damaged")),
        ("failure", "Package lost", ("exception", "lost")),
        ("failure", "…", ("exception", None)),
        ("cancelled", "", ("cancelled", "cancelled")),
        ("error", "", ("invalid_number", None)),
        ("something_new", "", ("in_transit", None)),
    ],
)
def test_statuses_map_to_the_bridges_words(status, words, expected):
    (event,) = seen("tracker.updated", TRACKER | {"status": status, "tracking_details": [LINE | {"message": words}]})
    assert (event.parcel.status, event.parcel.exception) == expected


def test_scans_go_by_time_and_a_delivery_has_its_time():
    lines = [
        LINE | {"status": "delivered", "datetime": "2024-08-05T10:00:00Z"},
        LINE,
        LINE | {"datetime": None},
        LINE | {"tracking_location": None, "datetime": "2024-08-01T10:00:00Z"},
    ]
    (event,) = seen("tracker.updated", TRACKER | {"status": "delivered", "tracking_details": lines, "is_return": True})
    assert [scan.at.day for scan in event.parcel.scans] == [1, 2, 5]
    assert event.parcel.delivered_at == datetime(2024, 8, 5, 10, tzinfo=UTC)
    assert (event.parcel.direction, event.parcel.scans[0].place) == (Direction.BACK, None)


def test_the_same_snapshot_has_one_key_and_news_another():
    first, again = seen("tracker.created", TRACKER)[0], seen("tracker.updated", TRACKER)[0]
    touched = seen("tracker.updated", TRACKER | {"updated_at": "2024-08-03T00:00:00Z"})[0]
    moved = [LINE, LINE | {"datetime": "2024-08-03T09:00:00Z"}]
    later = seen("tracker.updated", TRACKER | {"tracking_details": moved})[0]
    assert first == again
    assert len({first.key, touched.key, later.key}) == 3
    assert (touched.at == first.at) and (touched.key > first.key), "an update without a scan is no news of the parcel"
    assert later.at > first.at


def test_a_tracker_without_scans_or_time_dates_from_its_arrival():
    bare = {"id": "trk_2", "tracking_code": "1Z9", "tracking_details": None}
    (event,) = seen("tracker.created", bare)
    assert (event.at, event.parcel.status, event.parcel.scans) == (NOON, "in_transit", ())


@pytest.mark.parametrize(
    "topic", ["batch.created", "batch.updated", "insurance.purchased", "refund.successful", "tracker.deleted", "", None]
)
def test_what_is_no_parcel_or_claim_gives_no_events(topic):
    assert seen(topic, {"id": "x"}) == []


@pytest.mark.parametrize("topic", ["tracker.updated", "claim.approved", "claim.message"])
@pytest.mark.parametrize("result", [None, 7, [], {}, {"id": "x" * 300, "tracking_code": "1"}, {"id": {}, "status": 1}])
def test_results_of_another_shape_are_malformed(topic, result):
    with pytest.raises(Malformed):
        seen(topic, result)


@given(st.binary())
def test_parse_reads_any_bytes_or_calls_them_malformed(body):
    ep, inbound = plugin(), Inbound("ep", body, {}, NOON)
    try:
        assert list(ep.parse(inbound)) == list(ep.parse(inbound))
    except Malformed:
        return


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.just("2024-08-02T18:50:00Z"),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*TRACKER, *LINE, *CLAIM]), inner),
    max_leaves=20,
)


@given(JSON, st.sampled_from(["tracker.updated", "claim.updated", "claim.message"]), st.booleans())
def test_parse_is_total_over_any_json(value, topic, whole):
    over = value if isinstance(value, dict) else {"status": value}
    result = {**TRACKER, **CLAIM, "claim_id": "clm_1", "direction": "outbound", **over} if whole else value
    body = json.dumps({"description": topic, "result": result}).encode()
    ep, inbound = plugin(), Inbound("ep", body, {}, NOON)
    try:
        assert list(ep.parse(inbound)) == list(ep.parse(inbound))
    except Malformed:
        return


# Claims


@pytest.mark.parametrize(
    ("word", "status", "amount", "paid"),
    [
        ("submitted", "submitted", "80.00", None),
        ("in_review", "in_review", "80.00", None),
        ("needs_action", "info_requested", "80.00", None),
        ("approved", "approved", "60.00", None),
        ("approved_partial", "partial", "60.00", None),
        ("rejected", "rejected", "80.00", None),
        ("cancelled", "withdrawn", "80.00", None),
        ("paid", "paid", "60.00", "60.00"),
    ],
)
def test_a_claim_stands_where_easypost_says(word, status, amount, paid):
    (event,) = seen("claim.updated", CLAIM | {"status": word, "approved_amount": "60.00", "status_detail": "why"})
    assert (event.claim, event.waybill, event.kind, event.status) == ("clm_1", CODE, "damage", status)
    assert event.amount == Money(amount=Decimal(amount), currency="USD")
    assert event.paid == (Money(amount=Decimal(paid), currency="USD") if paid else None)
    assert event.reason == "why"
    assert event.at == datetime(2025, 3, 6, 19, 47, 58, tzinfo=UTC)
    assert {(ref.kind, ref.value) for ref in event.refs} == {("claim", "clm_1"), ("waybill", CODE)}


def test_a_grant_without_an_amount_is_of_what_was_asked():
    (event,) = seen("claim.approved", CLAIM | {"status": "approved"})
    assert event.amount == Money.of("80.00 USD")


def test_an_amount_that_comes_later_is_news():
    approved = CLAIM | {"status": "approved", "approved_amount": "60.00"}
    first, again, changed = (
        seen("claim.approved", one)[0] for one in (approved, approved, approved | {"approved_amount": "70.00"})
    )
    assert first == again
    assert first.key != changed.key


@pytest.mark.parametrize("fields", [{"status": "mystery"}, {"type": "delay"}, {"status": None}])
def test_a_claim_in_words_that_nobody_knows_gives_no_event(fields):
    assert seen("claim.updated", CLAIM | fields) == []


def test_an_operator_can_teach_a_status_and_the_meaning_of_theft():
    (event,) = seen("claim.updated", CLAIM | {"status": "sent_to_wallet"}, statuses={"sent_to_wallet": "paid"})
    assert event.status == "paid"
    kinds = [seen("claim.updated", CLAIM | {"type": "theft"}, theft=one)[0].kind for one in ("loss", "partial_loss")]
    assert kinds == ["loss", "partial_loss"]


def test_a_question_becomes_the_carriers_words_and_our_own_answer_nothing():
    asked = {
        "id": "cmsg_1",
        "claim_id": "clm_1",
        "direction": "outbound",
        "body": "Send proof of purchase.",
        "created_at": "2026-01-02T03:04:05Z",
        "attachments": ["https://files.example/a/form.pdf", "javascript:alert(1)", 7],
    }
    (event,) = seen("claim.message", asked)
    assert (event.message.author, event.message.public) == ("carrier", False)
    assert (event.message.text, event.message.at) == (asked["body"], datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert [(one.name, one.url) for one in event.message.attachments] == [("form.pdf", asked["attachments"][0])]
    assert [(ref.kind, ref.value) for ref in event.refs] == [("claim", "clm_1")]
    assert seen("claim.message", asked | {"direction": "inbound"}) == []


# Calls


async def test_a_claim_is_sent_with_our_key_as_its_reference():
    ep, ctx = plugin(), context("ep", key=KEY)
    with respx.mock(using="httpx") as mock:
        route = mock.post("https://api.easypost.com/v2/claims").respond(201, json=CLAIM)
        result = await ep.file_claim(FILED, ctx)
    sent = route.calls.last.request
    assert sent.headers["Authorization"] == "Basic " + base64.b64encode(b"EZTK-key-of-a-test:").decode()
    assert json.loads(sent.content) == {
        "type": "damage",
        "tracking_code": CODE,
        "amount": "80.00",
        "description": "The box arrived crushed.",
        "reference": KEY,
        "contact_email": "shop@example.com",
    }
    (event,) = result.events
    assert (result.id, event.carrier, event.status) == ("clm_1", "USPS", "submitted")
    await ctx.http.aclose()


async def test_files_go_along_where_they_belong_and_others_by_address(sim):
    dossier = json.dumps({"title": "Claim", "amount": "80.00 USD"})
    files = (
        Attachment(name="claim.pdf", media_type="application/pdf", text=dossier),
        Attachment(name="Invoice 7.pdf", media_type="application/pdf", text=dossier),
        Attachment(name="box.jpg", media_type="image/jpeg", url="https://cdn.example/box.jpg"),
        Attachment(name="claim.json", media_type="application/json", text=dossier),
        Attachment(name="label.png", media_type="image/png", sha256="ab12"),
    )
    sim.do_ship(CODE)
    with respx.mock(using="httpx") as mock:
        route = mock.post("https://api.easypost.com/v2/claims").respond(201, json=CLAIM)
        ctx = context("ep", files={"ab12": b"a label"})
        await plugin().file_claim(FILED.model_copy(update={"attachments": files}), ctx)
        await ctx.http.aclose()
    sent = json.loads(route.calls.last.request.content)
    assert sent["description"].splitlines() == ["The box arrived crushed.", "box.jpg: https://cdn.example/box.jpg"]
    (invoice,), (claimed, label) = (sent[f"{one}_attachments"] for one in ("invoice", "supporting_documentation"))
    assert label == "data:image/png;base64," + base64.b64encode(b"a label").decode()
    for data in (invoice, claimed):
        head, _, raw = data.partition(",")
        assert head == "data:application/pdf;base64"
        assert base64.b64decode(raw).startswith(b"%PDF")
    async with shop(sim) as (ep, ctx):
        await ep.file_claim(FILED.model_copy(update={"attachments": files[:-1]}), ctx)
    (claim,) = sim.books["claims"].values()
    assert len(claim["attachments"]) == 2


@pytest.mark.parametrize(
    ("amount", "insured", "sent", "noted"),
    [
        ("80 USD", None, "80.00", False),
        ("80.005 USD", None, "80.00", False),
        ("180 USD", "100 USD", "100.00", True),
        ("80 USD", "100 USD", "80.00", False),
        (None, "100 USD", "100.00", False),
    ],
)
async def test_no_claim_asks_for_more_than_the_insured_value(amount, insured, sent, noted, sim):
    sim.do_ship(CODE)
    action = FILED.model_copy(update={"amount": Money.of(amount) if amount else None})
    async with shop(sim, insured=insured) as (ep, ctx):
        result = await ep.file_claim(action, ctx)
    (claim,) = sim.books["claims"].values()
    assert claim["requested_amount"] == sent
    assert bool(result.note) is noted


@pytest.mark.parametrize("amount", [None, Money.of("500 CNY")])
async def test_a_claim_without_dollars_is_not_sent(amount, sim):
    async with shop(sim) as (ep, ctx):
        with pytest.raises(Rejected) as refused:
            await ep.file_claim(FILED.model_copy(update={"amount": amount}), ctx)
    assert refused.value.hint
    assert sim.books["requests"] == []


def test_the_insured_value_is_set_in_dollars():
    with pytest.raises(ValidationError, match="100 USD"):
        plugin(insured="500 CNY")


def test_what_easypost_does_not_take_has_no_handler():
    delay, partial = (FILED.model_copy(update={"claim": one}) for one in (ClaimKind.DELAY, ClaimKind.PARTIAL_LOSS))
    answer = AnswerClaim(claim="clm_1", waybill=CODE, origin="q", text="x")
    ep = plugin()
    for action in (delay, partial, answer, AppealClaim(claim="clm_1", waybill=CODE, text="x")):
        assert ep.route(action) is None
    assert plugin(theft="partial_loss").route(partial)
    assert plugin(message_path="/claims/{claim}/messages").route(answer)
    filing = ep.route(FILED)
    assert not filing.repeatable
    assert filing.find
    assert filing.deadline < filing.settles_after.total_seconds()


async def test_what_is_called_all_the_same_is_rejected_before_anything_is_sent(sim):
    async with shop(sim) as (ep, ctx):
        with pytest.raises(Rejected, match="delay"):
            await ep.file_claim(FILED.model_copy(update={"claim": ClaimKind.DELAY}), ctx)
        with pytest.raises(Rejected, match="not set"):
            await ep.answer_claim(AnswerClaim(claim="clm_1", waybill=CODE, origin="q", text="x"), ctx)
    assert sim.books["requests"] == []


async def test_a_parcel_that_is_not_insured_is_refused_in_easyposts_words(sim):
    sim.do_ship(CODE, insured=None)
    async with shop(sim) as (ep, ctx):
        with pytest.raises(Rejected, match="No eligible insurance found"):
            await ep.file_claim(FILED, ctx)
    assert sim.books["claims"] == {}


async def test_too_high_a_claim_is_refused_with_the_field(sim):
    sim.do_ship(CODE, insured="50.00")
    async with shop(sim) as (ep, ctx):
        with pytest.raises(Rejected, match="amount: must be"):
            await ep.file_claim(FILED, ctx)


async def test_a_refusal_that_is_no_json_is_told_by_its_status(sim):
    ctx = context("ep")
    with respx.mock(using="httpx") as mock:
        mock.get("https://api.easypost.com/v2/claims/clm_1").respond(404, html="<html>gone</html>")
        with pytest.raises(Rejected, match="404"):
            await plugin().query_claim(QueryClaim(claim="clm_1", waybill=CODE), ctx)
    await ctx.http.aclose()


@pytest.mark.parametrize("how", ["hang", "break", 504])
async def test_a_claim_whose_answer_was_lost_is_found_by_its_reference(how, sim):
    sim.do_ship(CODE)
    async with shop(sim, timeout=1.5) as (ep, ctx):
        sim.do_lose_answer(how)
        with pytest.raises(httpx.HTTPError):
            await ep.file_claim(FILED, ctx)
        found = await ep.find_claim(FILED, ctx)
    assert found.happened
    (claim,) = sim.books["claims"].values()
    assert (found.result.id, found.result.events[0].claim) == (claim["id"], claim["id"])


async def test_a_claim_that_was_filed_by_hand_is_found_by_its_parcel_and_kind(sim):
    sim.do_ship(CODE)
    by_hand = await sim.do_claim_by_hand(CODE, "damage")
    async with shop(sim) as (ep, ctx):
        assert (await ep.find_claim(FILED, ctx)).result.id == by_hand
        lost = FILED.model_copy(update={"claim": ClaimKind.LOSS})
        assert (await ep.find_claim(lost, ctx)).happened is False
        await sim.do_claim_decision("rejected")
        assert (await ep.find_claim(FILED, ctx)).happened is False


async def test_a_long_list_is_read_page_by_page_and_no_further_than_set(sim):
    sim.do_ship(CODE)
    sim.do_ship("EZ1000000001")
    ours = await sim.do_claim_by_hand(CODE, "damage")
    for _ in range(200):
        await sim.do_claim_by_hand("EZ1000000001")
    async with shop(sim) as (ep, ctx):
        assert (await ep.find_claim(FILED, ctx)).result.id == ours
    async with shop(sim, look_back=2) as (ep, ctx):
        assert (await ep.find_claim(FILED, ctx)).happened is None


async def test_a_claim_is_asked_for_and_its_question_answered(sim):
    sim.do_ship(CODE)
    async with shop(sim, message_path="/claims/{claim}/messages") as (ep, ctx):
        filed = await ep.file_claim(FILED, ctx)
        await sim.do_claim_question("Send proof of purchase.")
        (event,) = (await ep.query_claim(QueryClaim(claim=filed.id, waybill=CODE), ctx)).events
        assert (event.status, event.reason) == (ClaimStatus.INFO_REQUESTED, "Send proof of purchase.")
        answer = AnswerClaim(claim=filed.id, waybill=CODE, origin="q1", text="Here it is.")
        result = await ep.answer_claim(answer, ctx)
    assert sim.books["messages"][-1]["id"] == result.id
    assert sim.books["messages"][-1]["body"] == "Here it is."


async def test_a_tracker_is_made_once_and_then_pushed(sim):
    sim.do_ship(CODE)
    async with shop(sim) as (ep, ctx), door(ep) as (sim.hook, took):
        action = TrackParcel(waybill="9400 1002 0830 3109 5006 69", carrier="USPS")
        first, again = await ep.track(action, ctx), await ep.track(action, ctx)
        assert await sim.do_scan(CODE, "out_for_delivery", "Out for delivery", "HOUSTON") == 200
        (shown,) = (await ep.query(QueryParcel(waybill=CODE, carrier="USPS"), ctx)).events
    assert first.id == again.id
    assert len(sim.books["trackers"]) == 1
    (event,) = took
    assert event == shown
    assert event.parcel.status == "out_for_delivery"


async def test_a_query_makes_the_tracker_that_is_missing_and_says_when_the_carrier_is_another(sim):
    sim.do_ship(CODE, carrier="USPS")
    async with shop(sim) as (ep, ctx):
        result = await ep.query(QueryParcel(waybill=CODE, carrier="UPS"), ctx)
        assert (result.events[0].parcel.carrier, result.events[0].parcel.status) == ("USPS", "pending")
        assert "UPS" in result.note
        assert "USPS" in result.note
        assert (await ep.query(QueryParcel(waybill=CODE), ctx)).note is None
    assert sim.books["requests"] == ["GET /v2/trackers", "POST /v2/trackers", "GET /v2/trackers"]


@pytest.mark.parametrize(
    ("carrier", "sent"), [("USPS", "USPS"), ("FedEx", "FedEx"), ("ONTRAC", "OnTrac"), ("YTO", None), (None, None)]
)
async def test_a_carrier_is_named_as_easypost_names_it_or_left_to_easypost(carrier, sent):
    ep, ctx = plugin(carrier_names={"ONTRAC": "OnTrac"}), context("ep")
    with respx.mock(using="httpx") as mock:
        route = mock.post("https://api.easypost.com/v2/trackers").respond(201, json=TRACKER)
        await ep.track(TrackParcel(waybill="1Z9", carrier=carrier), ctx)
    assert json.loads(route.calls.last.request.content)["tracker"].get("carrier") == sent
    await ctx.http.aclose()


async def test_webhooks_are_registered_once_and_switched_on_again(sim):
    sim.do_ship(CODE)
    async with shop(sim) as (ep, ctx), door(ep) as (url, took):
        assert await ep.subscribe(url, ctx) == await ep.subscribe(url, ctx) == ()
        (hook,) = sim.books["hooks"].values()
        assert (hook["url"], hook["secret"]) == (url, SETTINGS["secret"])
        await ep.track(TrackParcel(waybill=CODE), ctx)
        sim.do_disable_hooks()
        assert await sim.do_scan(CODE, "in_transit") == 0
        await ep.subscribe(url, ctx)
        assert await sim.do_scan(CODE, "delivered") == 200
        assert await sim.do_batch() == 200
        sim.do_disable_hooks()
    assert [one.parcel.status for one in took] == ["delivered"]


async def test_registering_without_a_live_secret_is_refused(sim):
    async with shop(sim, secret={"value": "old", "until": NOON}) as (ep, ctx):
        with pytest.raises(Unauthorised):
            await ep.subscribe("https://bridge.example/hooks/ep", ctx)
    assert ep.sample("claim.approved", NOON).headers["X-Hmac-Signature"] == ""


async def test_a_probe_tells_the_mode_or_what_is_wrong(sim):
    async with shop(sim) as (ep, ctx):
        assert "no trackers" in await ep.probe(ctx)
        await ep.track(TrackParcel(waybill=CODE), ctx)
        assert "test mode" in await ep.probe(ctx)
    async with shop(sim, api_key="wrong-key") as (ep, ctx):
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            await ep.probe(ctx)
    assert sim.books["refusals"] == ["APIKEY.INACTIVE"]


async def test_the_simulator_refuses_what_easypost_refuses(sim):
    sim.do_ship(CODE)
    async with shop(sim) as (ep, ctx):
        for path, body in [
            ("/claims", {}),
            ("/claims", {"type": "delay", "tracking_code": CODE, "amount": "1.00"}),
            ("/claims", {"type": "loss", "tracking_code": CODE, "amount": 1.0}),
            ("/claims", {"type": "loss", "tracking_code": CODE, "amount": "1", "invoice_attachments": ["http://x"]}),
            ("/trackers", {}),
            ("/webhooks", {}),
        ]:
            with pytest.raises(Rejected, match="422"):
                await ep._call(ctx, "POST", path, json=body)
        with pytest.raises(Rejected, match="404"):
            await ep._call(ctx, "GET", "/trackers/trk_none")
        claim = await sim.do_claim_by_hand(CODE)
        await sim.do_claim_review()
        assert (await ep._call(ctx, "POST", f"/claims/{claim}/cancel"))["status"] == "cancelled"
        with pytest.raises(Rejected, match="422"):
            await ep._call(ctx, "POST", f"/claims/{claim}/cancel")
        sim.do_fail_next(after=3)
        with pytest.raises(httpx.HTTPStatusError, match="429"):
            await ep._call(ctx, "GET", "/claims")
