"""One attempt: every way in which a call can end, and what the bridge makes of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
import pytest
import respx
from rmabridge_http import Http
from rogue import OK, Rogue, answer
from sqlalchemy.exc import OperationalError

from rmabridge.abilities import Context, Handler, Result
from rmabridge.errors import Rejected, Unauthorised, Unavailable
from rmabridge.flow.attempt import LONGEST_PAUSE, Outcome, attempt, failed, next_pause, retry_after, schedule
from rmabridge.flow.client import Flight, Sessions, exchange
from rmabridge.flow.gate import Gate, limit
from rmabridge.model import UpdateTicket
from rmabridge.testing.contexts import account, context

ACTION = UpdateTicket(origin="x", ticket="1")
HTML = answer("200 OK", b"<html>back soon</html>", "text/html")
Make = Callable[..., Context]


@pytest.fixture
async def lend() -> AsyncIterator[Make]:
    """A context as the dispatcher lends it: gated, noting what has left."""
    sessions, clients = Sessions(), []

    def make(**settings: Any) -> Context:
        plugin = account(Http, url="http://127.0.0.1", allow_private=True, **settings)
        clients.append(sessions.client(plugin, Gate.of(plugin, lambda: datetime.now(UTC))))
        return context(http=clients[-1])

    yield make
    for one in clients:
        await one.aclose()
    await sessions.close()


def calling(url: str, method: str = "POST", **facts: Any) -> Handler:
    """A handler that makes one call and reads an id out of the answer."""

    async def call(_: Any, ctx: Context) -> Result:
        response = await ctx.http.request(method, url, content=b"{}")
        response.raise_for_status()
        return Result(id=response.json()["id"])

    return Handler(call, **facts)


def raising(error: Exception, *, sent: bool = False) -> Handler:
    """A handler that fails, after something has left or before."""

    async def call(_: Any, ctx: Context) -> Result:
        if sent:
            ctx.sent()
        raise error

    return Handler(call)


async def tried(handler: Handler, ctx: Context) -> tuple[Outcome, Flight]:
    """The outcome and what the flight noted."""
    flight = Flight()
    return await attempt(handler, ACTION, ctx, flight, repeatable=handler.repeatable), flight


# What the other side does → the outcome where repeating may do harm, and where it does none.
ENDINGS: dict[str, tuple[bytes | str, str, str]] = {
    "success": (OK, "done", "done"),
    "reset before the answer": ("reset", "uncertain", "retry"),
    "reset within the answer": ("half", "uncertain", "retry"),
    "silence": ("hang", "uncertain", "retry"),
    "a slow drip": ("drip", "uncertain", "retry"),
    "garbage": (answer("200 OK", b"\xff\x00{]"), "uncertain", "retry"),
    "a page instead of JSON": (HTML, "uncertain", "retry"),
    "JSON of another shape": (answer("200 OK", b"[]"), "uncertain", "retry"),
    "no HTTP at all": (b"220 mail.example ESMTP\r\n\r\n", "uncertain", "retry"),
    "500": (answer("500 Oops", b"{}"), "uncertain", "retry"),
    "503": (answer("503 Busy", b"{}"), "uncertain", "retry"),
    "429": (answer("429 Slow down", b"{}"), "retry", "retry"),
    "408": (answer("408 Timeout", b"{}"), "retry", "retry"),
    "425": (answer("425 Early", b"{}"), "retry", "retry"),
    "400": (answer("400 Bad", b"{}"), "dead", "dead"),
    "404": (answer("404 No", b"{}"), "dead", "dead"),
    "409": (answer("409 Conflict", b"{}"), "dead", "dead"),
    "422": (answer("422 No", b"{}"), "dead", "dead"),
    "401": (answer("401 Who", b"{}"), "unauthorised", "unauthorised"),
    "403": (answer("403 You", b"{}"), "unauthorised", "unauthorised"),
    "302 may follow a success": (answer("302 There", b"", Location="/x"), "uncertain", "dead"),
    "303 may follow a success": (answer("303 There", b"", Location="/x"), "uncertain", "dead"),
    "307 says nothing was done": (answer("307 There", b"", Location="/x"), "dead", "dead"),
}


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("repeatable", [False, True])
async def test_every_ending_has_its_outcome(name: str, repeatable: bool, lend: Make) -> None:
    step, harmful, harmless = ENDINGS[name]
    async with Rogue(step, step, step) as server:
        endless = step in {"hang", "drip"}
        handler = calling(server.url, repeatable=repeatable, deadline=1.5 if endless else 20)
        outcome, flight = await tried(handler, lend())
        assert outcome.kind == (harmless if repeatable else harmful), outcome
        assert flight.sent
        assert outcome.cause or outcome.kind == "done"
        if not repeatable:
            assert len(server.requests) == 1, "what may do harm leaves once"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_safe_request_that_left_is_not_noted_as_sent(method: str, lend: Make) -> None:
    async with Rogue("reset", "reset", "reset") as server:
        outcome, flight = await tried(calling(server.url, method), lend())
        assert (outcome.kind, flight.sent) == ("retry", False)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_request_that_may_have_an_effect_is_noted_when_it_left(method: str, lend: Make) -> None:
    async with Rogue(answer("400 Bad", b"{}")) as server:
        assert (await tried(calling(server.url, method), lend()))[1].sent


async def test_a_refused_connection_has_sent_nothing_and_is_tried_quickly_three_times(lend: Make) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    calls = []
    handler = calling(f"http://127.0.0.1:{port}/")

    async def counted(action: Any, ctx: Context) -> Result | None:
        calls.append(1)
        return await handler.method(action, ctx)

    outcome, flight = await tried(replace(handler, method=counted), lend())
    assert (outcome.kind, flight.sent, len(calls)) == ("retry", False, 3)
    assert "ConnectError" in (outcome.cause or "")
    assert not outcome.doubtful


async def test_quick_tries_go_on_until_one_succeeds_where_that_is_harmless(lend: Make) -> None:
    async with Rogue("reset", "half", OK) as server:
        outcome, _ = await tried(calling(server.url, repeatable=True), lend())
        assert (outcome.kind, outcome.result.id, len(server.requests)) == ("done", "42", 3)


async def test_a_bad_answer_is_not_tried_again_at_once(lend: Make) -> None:
    async with Rogue(answer("503 Busy", b"{}")) as server:
        await tried(calling(server.url, repeatable=True), lend())
        assert len(server.requests) == 1


async def test_a_refusal_after_a_lost_quick_try_leaves_a_doubt(lend: Make) -> None:
    async with Rogue("reset", answer("429 Slow", b"{}")) as server:
        outcome, _ = await tried(calling(server.url, repeatable=True), lend())
        assert (outcome.kind, outcome.doubtful) == ("retry", True)


async def test_a_definite_refusal_leaves_no_doubt(lend: Make) -> None:
    async with Rogue(answer("429 Slow", b"{}")) as server:
        outcome, _ = await tried(calling(server.url, repeatable=True), lend())
        assert (outcome.kind, outcome.doubtful) == ("retry", False)


async def test_the_deadline_ends_an_attempt_and_says_so(lend: Make) -> None:
    async with Rogue("hang") as server:
        outcome, _ = await tried(calling(server.url, deadline=0.05), lend())
        assert outcome.cause == "no answer before the attempt's deadline"


async def test_200_with_an_error_inside_is_what_the_configuration_says(lend: Make) -> None:
    plugin = account(
        Http, url="http://x.example", calls={"ticket.update": {"error": "error", "busy": "wait", "ok": "ok"}}
    )
    handler = plugin.route(ACTION)
    assert handler
    with respx.mock(using="httpx") as mock:
        route = mock.post("http://x.example")
        for body, kind in (
            ({"error": "no such ticket"}, "dead"),
            ({"wait": "busy hour"}, "retry"),
            ({"ok": False}, "dead"),
            ({"ok": True, "id": 7}, "done"),
        ):
            route.respond(200, json=body)
            async with httpx.AsyncClient() as client:
                outcome, _ = await tried(handler, context(http=client))
            assert outcome.kind == kind, (body, outcome)


async def test_an_explicit_raise_says_that_nothing_happened_even_after_the_request_left() -> None:
    expected = {
        Unavailable("down", retry_after=7): "retry",
        Rejected("no"): "dead",
        Unauthorised("who"): "unauthorised",
        ValueError("odd answer"): "uncertain",
        ConnectionError("gone"): "uncertain",
    }
    ctx = context()
    for error, kind in expected.items():
        assert (await tried(raising(error, sent=True), ctx))[0].kind == kind
    await ctx.http.aclose()


async def test_a_plugins_own_fault_before_anything_left_is_dead_and_told_as_such() -> None:
    ctx = context()
    outcome, _ = await tried(raising(KeyError("wrong")), ctx)
    await ctx.http.aclose()
    assert outcome.kind == "dead"
    assert "fault to report" in (outcome.hint or "")


async def test_a_page_in_place_of_a_queried_order_is_asked_for_again_later(lend: Make) -> None:
    async with Rogue(HTML) as server:
        outcome, flight = await tried(calling(server.url, "GET"), lend())
        assert (outcome.kind, flight.sent) == ("retry", False)


async def test_causes_show_no_personal_data() -> None:
    ctx = context()
    outcome, _ = await tried(raising(ValueError("lilei@example.com 13812345678"), sent=True), ctx)
    await ctx.http.aclose()
    assert "lilei" not in (outcome.cause or "")
    assert "138123" not in (outcome.cause or "")


async def test_the_exchange_is_kept_for_the_operator(lend: Make) -> None:
    async with Rogue(answer("422 No", b'{"why": "closed"}')) as server:
        _, flight = await tried(calling(server.url), lend())
        told = exchange(flight)
    assert (told["status"], told["answer"], told["body"]) == (422, '{"why": "closed"}', "{}")


async def test_a_private_address_is_refused_before_anything_leaves(lend: Make) -> None:
    async with Rogue() as server:
        outcome, flight = await tried(calling(server.url), lend())
        assert outcome.kind == "done"
        sessions = Sessions()
        plugin = account(Http, url=server.url)
        async with sessions.client(plugin, Gate.of(plugin, lambda: datetime.now(UTC))) as client:
            outcome, flight = await tried(calling(server.url), context(http=client))
        await sessions.close()
    assert (outcome.kind, flight.sent, len(server.requests)) == ("dead", False, 1)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("1.5", 1.5),
        ("-3", 0),
        ("Fri, 02 Jan 2026 12:02:00 GMT", 120),
        ("Fri, 02 Jan 2026 11:00:00 GMT", 0),
        ("inf", LONGEST_PAUSE),
        ("1e999", LONGEST_PAUSE),
        ("999999999999999999", LONGEST_PAUSE),
        ("Fri, 02 Jan 9999 12:00:00 GMT", LONGEST_PAUSE),
        ("nan", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_from_seconds_and_dates_and_is_never_absurd(
    header: str | None, seconds: float | None
) -> None:
    assert retry_after(header, datetime(2026, 1, 2, 12, tzinfo=UTC)) == seconds


@pytest.mark.parametrize("value", ["17", "date"])
async def test_retry_after_reaches_the_outcome(value: str, lend: Make) -> None:
    later = (datetime.now(UTC) + timedelta(seconds=17)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    step = answer("503 Busy", b"{}", Retry_After=later if value == "date" else value)
    async with Rogue(step) as server:
        outcome, _ = await tried(calling(server.url, repeatable=True), lend())
    assert 14 <= (outcome.retry_after or 0) <= 17


async def test_a_plugin_that_asks_for_endless_patience_gets_a_day() -> None:
    ctx = context()
    outcome, _ = await tried(raising(Unavailable("down", retry_after=float("inf"))), ctx)
    await ctx.http.aclose()
    assert outcome.retry_after == LONGEST_PAUSE


def test_the_schedule_fills_its_time_with_growing_pauses() -> None:
    pauses = schedule(16, timedelta(hours=72))
    assert len(pauses) == 15
    assert sum(pauses) == pytest.approx(72 * 3600, rel=1e-6)
    assert pauses[0] == pytest.approx(5)
    assert pauses == sorted(pauses)
    assert schedule(1, timedelta(hours=1)) == []
    assert schedule(5, timedelta(seconds=8)) == [2, 2, 2, 2]


def test_a_pause_has_jitter_and_honours_a_longer_wish() -> None:
    chance, pauses = Random(1), [100.0, 200.0]
    found = [next_pause(pauses, 1, None, chance) or 0 for _ in range(200)]
    assert 80 <= min(found) < 85
    assert 115 < max(found) <= 120
    assert next_pause(pauses, 1, 500, chance) == 500
    assert (next_pause(pauses, 1, 1, chance) or 0) >= 80
    assert next_pause(pauses, 3, None, chance) is None


def test_a_rate_is_so_many_calls_in_so_much_time() -> None:
    assert limit("10/s") == (10, 1)
    assert limit("200/min") == (200, pytest.approx(60))
    assert limit("0.5/s") == (1, 2)
    assert limit("100/day") == (100, pytest.approx(86400))


async def test_a_waiting_call_is_let_through_in_the_order_it_came() -> None:
    gate = Gate.of(account(Http, url="http://x.example", rate="50/s"), lambda: datetime.now(UTC))
    gate.left.extend([asyncio.get_running_loop().time() - 1] * 50)
    order: list[int] = []

    async def one(number: int) -> None:
        await gate.turn()
        order.append(number)

    await asyncio.gather(*(one(number) for number in range(60)))
    assert order == list(range(60))
    assert gate.queued == 0


def test_a_database_of_ours_that_does_not_answer_is_no_fault_of_the_vendor_and_tried_again():
    error = OperationalError("SELECT", None, Exception("closed"))
    assert failed(error, Flight(), repeatable=False).kind == "retry"
    assert failed(error, Flight(), repeatable=False).healthy is None
    assert failed(error, Flight(sent=True), repeatable=False).kind == "uncertain"
