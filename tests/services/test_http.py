"""Any HTTP system by configuration: requests as configured, answers read as configured."""

import tomllib
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import respx
import rmabridge_http
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_http import Http, HttpCarrier
from rmabridge_http.calls import Call, fill, fill_path

from rmabridge.errors import DeliveryError, Rejected, Unavailable
from rmabridge.model import (
    Address,
    CommentTicket,
    Direction,
    FetchOrder,
    Form,
    Forward,
    GiveCredit,
    Money,
    OpenTicket,
    PayRefund,
    PrintLabel,
    RefKind,
    RequestProof,
    Reship,
    SendMessage,
    TagBuyer,
)
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.simulators.sink import Sink

KEY = "7d7f5d62-93ac-5b56-9d7b-4a4f8e0b1c11"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OLDER = "whsec_MzIxMDk4NzY1NGZlZGNiYTMyMTA5ODc2NTRmZWRjYmE="
OPEN = OpenTicket(external="C1", subject="Return of order 1001", text="It's broken", tags=("vip", "return"))
HOME = Address(country="CN", city="杭州市", lines=("文一西路 1 号",))
NOTE = CommentTicket(origin="e1", ticket="T/1?x", text="scanned")
EVENT = Forward(origin="e1", event="case.created", body='{"type":"case.created","data":{"id":"C1"}}')


@pytest.fixture
async def ctx():
    lent = context(now=lambda: datetime.now(UTC))
    yield lent
    await lent.http.aclose()


@pytest.fixture
async def sink():
    async with Sink() as one:
        yield one


@pytest.fixture
def edge():
    with respx.mock(using="httpx", assert_all_called=False) as router:
        yield router


def erp(**settings):
    return account(Http, "erp", **({"url": "https://erp.example/api"} | settings))


def opening(**call):
    return erp(calls={"ticket.open": {"path": "tickets"} | call})


def answers(edge, *args, **kwargs):
    return edge.route(host="erp.example").mock(return_value=httpx.Response(*args, **kwargs))


async def test_without_a_call_the_action_is_posted_as_it_is(sink, ctx):
    result = await erp(url=f"{sink.url}/in", bearer="t0ken").open_ticket(OPEN, ctx)
    (post,) = sink.books["posts"]
    assert (post["method"], post["path"]) == ("POST", "/in")
    assert post["headers"]["idempotency-key"] == KEY
    assert post["headers"]["authorization"] == "Bearer t0ken"
    assert post["body"]["type"] == "ticket.open"
    assert post["body"]["subject"] == "Return of order 1001"
    assert result.id == "S1"


async def test_the_example_of_the_documentation_works(sink, ctx):
    example = rmabridge_http.__doc__.partition("Example::")[2].partition("Reference:")[0]
    settings = tomllib.loads("\n".join(line.strip() for line in example.splitlines()))["services"]["erp"]
    desk = Http.model_validate(settings | {"url": sink.url, "bearer": "t"})
    sink.do_answer(200, '{"data": {"ticket_id": 77}}')
    assert (await desk.open_ticket(OPEN, ctx)).id == "77"
    await desk.comment_ticket(NOTE, ctx)
    opened, noted = sink.books["posts"]
    assert opened["body"] == {
        "title": "Return of order 1001",
        "note": "It's broken",
        "tags": ["vip", "return"],
        "our_id": "C1",
    }
    assert noted["path"] == "/tickets/T%2F1%3Fx/notes"


async def test_templates_keep_types_and_know_the_delivery(edge, ctx):
    route = answers(edge, 200, json={"id": "R9"})
    pay = PayRefund(order="1001", amount=Money.of("12.50 CNY"), lines=(("L1", 2),))
    body = {
        "ref": "{key}",
        "case": "{case}",
        "amount": "{amount.amount}",
        "text": "refund of {amount.amount} {amount.currency} for {{order}}",
        "lines": "{lines}",
        "fixed": [1, True, "{request}"],
    }
    shop = erp(calls={"refund.pay": {"method": "PUT", "path": "refunds/{key}", "body": body}})
    handler = shop.route(pay)
    assert not handler.repeatable
    assert (await handler.method(pay, ctx)).id == "R9"
    request = route.calls.last.request
    assert (request.method, request.url.path) == ("PUT", f"/api/refunds/{KEY}")
    assert httpx.Response(200, content=request.content).json() == {
        "ref": KEY,
        "case": "C1",
        "amount": "12.50",
        "text": "refund of 12.50 CNY for {1001}",
        "lines": [["L1", 2]],
        "fixed": [1, True, None],
    }


async def test_a_form_is_written_as_a_form(sink, ctx):
    sms = account(
        Http,
        url=sink.url,
        carries_forms=["sms"],
        longest={"sms": {"characters": 70}},
        calls={"message.send": {"format": "form", "body": {"mobile": "{to}", "content": "【店】{text}"}}},
    )
    message = SendMessage(purpose="p", form=Form.SMS, to="+8613800000000", text="a&b")
    assert sms.route(message.model_copy(update={"form": Form.MAIL})) is None
    assert sms.limit(Form.SMS).characters == 70
    await sms.route(message).method(message, ctx)
    (post,) = sink.books["posts"]
    assert post["headers"]["content-type"] == "application/x-www-form-urlencoded"
    assert post["body"] == "mobile=%2B8613800000000&content=%E3%80%90%E5%BA%97%E3%80%91a%26b"


async def test_a_get_carries_its_table_in_the_query(edge, ctx):
    route = answers(edge, 200, json={"code": 0})
    gate = opening(method="GET", path="send?v=1", body={"t": "{subject}"}, ok="code == `0`")
    await gate.open_ticket(OPEN, ctx)
    assert str(route.calls.last.request.url) == "https://erp.example/api/send?v=1&t=Return+of+order+1001"


async def test_id_and_link_come_from_where_the_configuration_says(edge, ctx):
    answers(edge, 200, json={"data": [{"no": 35436, "href": "https://erp.example/t/35436"}]})
    result = await opening(id="data[0].no", link="data[0].href").open_ticket(OPEN, ctx)
    assert (result.id, result.url) == ("35436", "https://erp.example/t/35436")


@pytest.mark.parametrize(
    ("call", "answer", "error"),
    [
        ({"error": "error.message"}, {"error": {"message": "no such customer"}}, Rejected),
        ({"ok": "errcode == `0`"}, {"errcode": 40001}, Rejected),
        ({"busy": "errcode == `45009` && 'slow down'"}, {"errcode": 45009}, Unavailable),
    ],
)
async def test_a_refusal_inside_a_200_is_a_refusal(edge, ctx, call, answer, error):
    answers(edge, 200, json=answer)
    with pytest.raises(error):
        await opening(**call).open_ticket(OPEN, ctx)


@pytest.mark.parametrize("call", [{}, {"id": "id"}])
async def test_a_web_page_instead_of_an_answer_settles_nothing(edge, ctx, call):
    answers(edge, 200, html="<h1>Please log in</h1>")
    with pytest.raises(ValueError, match="not JSON"):
        await opening(**call).open_ticket(OPEN, ctx)


async def test_a_missing_id_settles_nothing_where_one_was_asked_for(edge, ctx):
    answers(edge, 200, json={})
    with pytest.raises(ValueError, match=r"data\.id"):
        await opening(id="data.id").open_ticket(OPEN, ctx)


async def test_a_bare_ok_is_enough_where_nothing_was_asked_for(edge, ctx):
    answers(edge, 200, text="OK")
    assert (await opening().open_ticket(OPEN, ctx)).id is None


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_http_errors_speak_for_themselves(edge, ctx, status):
    answers(edge, status, text="no")
    with pytest.raises(httpx.HTTPStatusError):
        await opening().open_ticket(OPEN, ctx)


async def test_no_redirect_is_followed(edge, ctx):
    route = answers(edge, 307, headers={"Location": "https://erp.example/other"})
    with pytest.raises(Rejected, match="307"):
        await opening().open_ticket(OPEN, ctx)
    answers(edge, 302, headers={"Location": "https://erp.example/other"})
    with pytest.raises(Rejected, match="302"):
        await erp().forward(EVENT, ctx)
    with pytest.raises(httpx.HTTPStatusError):
        await opening().open_ticket(OPEN, ctx)
    assert {call.request.url.path for call in route.calls} <= {"/api", "/api/tickets"}


async def test_an_unknown_part_of_the_address_is_refused_before_the_call(edge, ctx):
    route = answers(edge, 200)
    desk = erp(calls={"ticket.comment": {"path": "tickets/{ticket}/notes"}})
    for ticket in (None, "", "..", "."):
        with pytest.raises(Rejected, match="ticket"):
            await desk.comment_ticket(NOTE.model_copy(update={"ticket": ticket}), ctx)
    assert not route.called


async def test_an_event_is_forwarded_signed_and_byte_for_byte(ctx):
    async with Sink(secret=SECRET) as sink:
        await account(Http, url=sink.url, secret=SECRET).forward(EVENT, ctx)
        (post,) = sink.books["posts"]
        assert post["body"] == {"type": "case.created", "data": {"id": "C1"}}
        assert post["headers"]["webhook-id"] == KEY
        with pytest.raises(httpx.HTTPStatusError):
            await account(Http, url=sink.url).forward(EVENT, ctx)
        with pytest.raises(httpx.HTTPStatusError):
            await account(Http, url=sink.url, secret=OLDER).forward(EVENT, ctx)


async def test_during_a_rotation_both_secrets_sign(ctx):
    for secret in (SECRET, OLDER):
        async with Sink(secret=secret) as sink:
            await account(Http, url=sink.url, secret=[SECRET, OLDER]).forward(EVENT, ctx)
            assert len(sink.books["posts"]) == 1


async def test_a_retired_secret_signs_no_more(ctx):
    async with Sink(secret=OLDER) as sink:
        retired = {"value": OLDER, "until": NOON - timedelta(days=1)}
        with pytest.raises(httpx.HTTPStatusError):
            await account(Http, url=sink.url, secret=[SECRET, retired]).forward(EVENT, ctx)


async def test_a_repeat_carries_the_same_id(sink, ctx):
    receiver = account(Http, url=sink.url)
    await receiver.forward(EVENT, ctx)
    await receiver.forward(EVENT, ctx)
    assert sink.books["ids"] == {KEY: {"number": 1, "times": 2}}
    assert receiver.route(EVENT).repeatable


async def test_a_receiver_that_is_gone_is_told_as_such(sink, ctx):
    sink.do_answer(410)
    with pytest.raises(Rejected) as caught:
        await account(Http, url=sink.url).forward(EVENT, ctx)
    assert "forwards" in caught.value.hint


async def test_an_uncertain_call_is_looked_up(edge, ctx):
    find = {"path": "tickets?external={external}", "found": "items[0]", "id": "items[0].id"}
    desk = opening(find=find)
    edge.get("https://erp.example/api/tickets?external=C1").mock(
        side_effect=[
            httpx.Response(200, json={"items": [{"id": 5}]}),
            httpx.Response(200, json={"items": []}),
            httpx.Response(404),
            httpx.Response(500),
        ]
    )
    look = desk.route(OPEN).find
    found = await look(OPEN, ctx)
    assert (found.happened, found.result.id) == (True, "5")
    assert (await look(OPEN, ctx)).happened is False
    assert (await look(OPEN, ctx)).happened is False
    with pytest.raises(httpx.HTTPStatusError):
        await look(OPEN, ctx)
    assert (await erp().route(OPEN).find(OPEN, ctx)).happened is None


def test_the_configuration_says_what_may_be_repeated():
    desk = opening(repeatable=True, remembers="PT24H", deadline=5)
    handler = desk.route(OPEN)
    assert (handler.repeatable, handler.remembers, handler.deadline) == (True, timedelta(hours=24), 5)
    assert not erp().route(OPEN).repeatable
    assert erp().route(PayRefund(order="1", amount=Money.of("1 CNY"))) is None
    assert erp().route(FetchOrder(order="1")) is None


async def test_the_probe_tells_who_answers(sink, edge, ctx):
    edge.route(host="127.0.0.1").pass_through()
    assert await account(Http, url=sink.url).probe(ctx) == "127.0.0.1 answers 200"
    answers(edge, 405)
    assert await erp().probe(ctx) == "erp.example answers 405"
    with pytest.raises(httpx.HTTPStatusError):
        await erp(probe_path="health").probe(ctx)
    answers(edge, 401)
    with pytest.raises(httpx.HTTPStatusError):
        await erp().probe(ctx)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"url": "erp.example"}, "url"),
        ({"secret": "whsec_"}, "secret"),
        ({"calls": {"ticket.paint": {}}}, "ticket.paint"),
        ({"calls": {"order.fetch": {}}}, "order.fetch"),
        ({"calls": {"ticket.open": {"body": {"a": "{subjekt}"}}}}, "subjekt"),
        ({"calls": {"ticket.open": {"path": "t/{ticket}"}}}, "ticket"),
        ({"calls": {"ticket.open": {"id": "data["}}}, "id"),
        ({"calls": {"ticket.open": {"format": "form", "body": ["{text}"]}}}, "body"),
        ({"calls": {"ticket.open": {"verb": "POST"}}}, "verb"),
    ],
)
def test_settings_that_cannot_work_are_named(settings, named):
    with pytest.raises(ValidationError, match=named):
        erp(**settings)


@given(value=st.text())
def test_no_value_becomes_a_template(value):
    fields = {"text": value, "secret": "s"}
    assert fill("{text}", fields) == value
    assert fill("<{text}>", fields) == f"<{value}>"
    assert fill("{text.__class__}", fields) is None


@given(value=st.text(min_size=1))
def test_no_value_leaves_its_place_in_the_address(value):
    try:
        path = fill_path("tickets/{ticket}/notes", {"ticket": value})
    except (Rejected, UnicodeEncodeError):
        return
    assert path.count("/") == 2
    assert not set(path) & set("?#\\ \r\n")


@given(body=st.binary(), kind=st.sampled_from(["application/json", "text/html", "text/plain"]))
def test_any_answer_gives_a_result_a_refusal_or_an_open_question(body, kind):
    call = Call(error="error", ok="ok || id")
    try:
        call.result(httpx.Response(200, content=body, headers={"Content-Type": kind}))
    except (DeliveryError, ValueError):
        return


@pytest.mark.parametrize(
    "action",
    [
        GiveCredit(credit="coupon", external="C1", amount=Money.of("20 CNY"), buyer="B1"),
        Reship(external="C1", order="O1", lines=(("RAKE", 1),)),
        TagBuyer(buyer="B1", tag="priority"),
        PrintLabel(external="C1", order="O1", carrier="SF", address=HOME),
        RequestProof(waybill="SF1"),
    ],
    ids=lambda one: one.kind,
)
async def test_what_is_given_to_a_buyer_goes_to_the_shops_own_system_signed(ctx, action):
    async with Sink(secret=SECRET) as sink:
        crm = account(Http, url=sink.url, secret=SECRET)
        assert (await crm.route(action).method(action, ctx)).id == "S1"
        (post,) = sink.books["posts"]
        assert post["body"]["type"] == action.kind
        assert post["headers"]["idempotency-key"] == KEY
        assert crm.route(action).repeatable is not (action.moves_money or isinstance(action, PrintLabel))


async def test_a_printed_label_is_a_parcel_of_the_case(ctx):
    async with Sink() as sink:
        warehouse = account(Http, url=sink.url)
        made = await warehouse.print_label(PrintLabel(external="C1", carrier="SF", address=HOME), ctx)
    (seen,) = made.events
    assert (seen.parcel.waybill, seen.parcel.carrier, seen.parcel.direction) == (made.id, "SF", Direction.OUT)
    assert [(one.kind, one.value) for one in seen.refs] == [(RefKind.WAYBILL, made.id)]


@pytest.mark.row("S090")
@pytest.mark.parametrize("plugin", [Http, HttpCarrier])
async def test_a_label_of_a_carrier_that_was_not_asked_for_is_refused_without_a_reason(ctx, plugin):
    async with Sink() as sink:
        warehouse = account(plugin, url=sink.url, calls={"label.print": {"path": "labels"}})
        other = PrintLabel(external="C1", carrier="SF", asked=("YTO",), address=HOME)
        with pytest.raises(Rejected, match="asked for YTO, not SF") as refused:
            await warehouse.route(other).method(other, ctx)
        assert "override" in refused.value.hint and sink.books["posts"] == []
        for good in ({"override": "YTO does not serve the village"}, {"carrier": "圆通速递"}, {"asked": ()}):
            action = other.model_copy(update=good)
            assert (await warehouse.route(action).method(action, ctx)).id
        assert sink.books["posts"][0]["body"]["override"] == "YTO does not serve the village"
