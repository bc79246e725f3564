"""What calls out keep: every way in which a vendor can fail ends as the bridge expects it.

The calls go through ``flow.attempt`` as in production; only the network is replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, cast

import httpx
import pytest
from tenacity import wait_none

from ...abilities import Handler, Plugin
from ...flow import attempt as flow
from ...flow.attempt import Outcome
from ...flow.client import SAFE, Flight
from ...model import Action
from ..contexts import MemoryTokens, context
from .documents import check_events, keys
from .settings import Contract

KEY: Final = "7d7f5d62-93ac-5b56-9d7b-4a4f8e0b1c11"
GARBAGE: Final = httpx.Response(200, html="<html><body>Maintenance, back soon</body></html>")
ELSEWHERE: Final = "https://elsewhere.example"


@dataclass(frozen=True)
class Call:
    """One action of the account, and what the vendor answers to each request of it when all is well.

    An answer is a JSON value or an ``httpx.Response``. ``method`` is the plugin's method. ``keyless``: the vendor takes
    no idempotency key. ``blind``: any 2xx is success, whatever the body says.
    """

    method: str
    action: Action
    answers: tuple[Any, ...]
    keyless: bool = False
    blind: bool = False


@dataclass
class Vendor:
    """Answers the requests of one attempt, in order, and remembers them; past the last answer it repeats it."""

    answers: tuple[Any, ...]
    flight: Flight
    seen: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        answer = self.answers[min(len(self.seen), len(self.answers)) - 1]
        if isinstance(answer, httpx.ConnectError):
            raise answer
        if request.method not in SAFE:
            self.flight.sent = True
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, httpx.Response):
            return httpx.Response(200, json=answer)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


class CallContract(Contract):
    """The checks of calls out; ``calls`` lists them.

    ``statuses`` names the HTTP statuses by which this vendor means something else than the rest of the world, with the
    end that the bridge must come to: done, retry, dead, uncertain or unauthorised.
    """

    statuses: ClassVar[Mapping[int, str]] = {}
    token: ClassVar[dict[str, str] | None] = None

    def calls(self) -> list[Call]:
        """One entry for each action that the account carries out."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each check that takes a ``call`` for each of them."""
        if "call" in metafunc.fixturenames:
            calls = self.calls()
            metafunc.parametrize("call", calls, ids=[one.method for one in calls])

    def handler(self, call: Call, account: Plugin | None = None) -> Handler:
        """What the account routes the action to."""
        found = (account or self.account()).route(call.action)
        assert found is not None, f"the account does not route {call.action.kind}"
        return cast("Handler", found)

    def attempt(self, call: Call, *answers: Any, account: Plugin | None = None) -> tuple[Outcome, Vendor]:
        """The end of one attempt at a vendor that answers this, and the vendor with what it saw."""
        handler, flight = self.handler(call, account), Flight()
        vendor = Vendor(answers, flight)

        async def run() -> Outcome:
            async with httpx.AsyncClient(transport=httpx.MockTransport(vendor)) as http:
                lent = context(http=http, key=KEY, tokens=MemoryTokens(self.token))
                return await flow.attempt(handler, call.action, lent, flight, repeatable=handler.repeatable)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(flow, "wait_random_exponential", lambda **_: wait_none())
            return asyncio.run(run()), vendor

    def ends(self, call: Call, answer: Any) -> Outcome:
        """The end where the first request of the action gets this answer; no secret may be in its words."""
        outcome, _ = self.attempt(call, answer)
        told = f"{outcome.cause} {outcome.hint}"
        assert not [one for one in self.secrets() if one in told], "the reason that an operator reads holds a secret"
        return outcome

    def unsure(self, call: Call, sent: Vendor | None = None) -> str:
        """The end of what may have happened: looked up where a repeat does harm, else tried again."""
        probe = sent or self.attempt(call, httpx.Response(503))[1]
        left = any(one.method not in SAFE for one in probe.seen)
        return "uncertain" if left and not self.handler(call).repeatable else "retry"

    # When all is well

    def test_the_call_is_done_when_all_is_well(self, call: Call) -> None:
        outcome, vendor = self.attempt(call, *call.answers)
        assert outcome.kind == "done", f"{outcome.kind}: {outcome.cause}"
        assert len(vendor.seen) == len(call.answers), f"{len(vendor.seen)} requests, {len(call.answers)} answers listed"

    def test_the_call_is_the_method_that_the_account_routes_to(self, call: Call) -> None:
        assert asyncio.iscoroutinefunction(getattr(self.account(), call.method))
        routed = getattr(self.handler(call).method, "__name__", "")
        assert routed in {call.method, "perform"}, f"{call.action.kind} goes to {routed}, not to {call.method}"

    def test_the_events_of_the_answer_can_be_kept(self, call: Call) -> None:
        check_events(self.attempt(call, *call.answers)[0].result.events)

    def test_the_same_answer_gives_the_same_event_keys(self, call: Call) -> None:
        first, again = (self.attempt(call, *call.answers)[0].result.events for _ in range(2))
        assert keys(first) == keys(again), "a key must not hold the time of the call"

    def test_the_ids_in_the_result_are_texts(self, call: Call) -> None:
        result = self.attempt(call, *call.answers)[0].result
        assert all(one is None or (isinstance(one, str) and one) for one in (result.id, result.url))

    def test_calls_go_where_the_settings_say(self, call: Call) -> None:
        moved = {name: ELSEWHERE for name in self.own_fields() if name == "url" or name.endswith("_url")}
        assert moved, "name the setting of the vendor's address url, or something_url"
        _, vendor = self.attempt(call, *call.answers, account=self.account(**moved))
        strays = {one.url.host for one in vendor.seen} - {"elsewhere.example"}
        assert not strays, f"requests go to {', '.join(strays)}, which no setting changes"

    def test_an_idempotency_key_is_sent_where_a_repeat_would_do_harm(self, call: Call) -> None:
        if self.handler(call).repeatable:
            return
        _, vendor = self.attempt(call, *call.answers)
        sent = any(
            KEY in f"{one.url} {dict(one.headers)} {one.content.decode(errors='replace')}" for one in vendor.seen
        )
        assert sent is not call.keyless, "send ctx.idempotency_key, or say keyless=True where the vendor takes none"

    # When the vendor refuses

    @pytest.mark.parametrize("status", [400, 404, 409, 410, 413, 422])
    def test_a_refusal_waits_for_a_person(self, call: Call, status: int) -> None:
        self.expect(call, httpx.Response(status, json={"error": "no"}), self.statuses.get(status, "dead"))

    @pytest.mark.parametrize("status", [401, 403])
    def test_refused_credentials_stop_the_account(self, call: Call, status: int) -> None:
        self.expect(call, httpx.Response(status), self.statuses.get(status, "unauthorised"))

    def test_a_redirect_is_no_success(self, call: Call) -> None:
        outcome = self.ends(call, httpx.Response(302, headers={"Location": f"{ELSEWHERE}/login"}))
        assert outcome.kind != "done", "a redirect to a sign-in page is taken for success"

    # When the vendor is busy or broken

    @pytest.mark.parametrize("status", [408, 425, 429])
    def test_a_busy_vendor_is_asked_again(self, call: Call, status: int) -> None:
        self.expect(call, httpx.Response(status), self.statuses.get(status, "retry"))

    def test_the_vendors_wish_for_a_pause_is_honoured(self, call: Call) -> None:
        outcome = self.ends(call, httpx.Response(429, headers={"Retry-After": "17"}))
        assert (outcome.kind, outcome.retry_after) == ("retry", 17.0), "Retry-After is lost on the way to the bridge"

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_a_broken_vendor_may_have_done_it(self, call: Call, status: int) -> None:
        self.expect(call, httpx.Response(status), self.statuses.get(status) or self.unsure(call))

    def test_a_vendor_that_breaks_at_the_last_step_may_have_done_it(self, call: Call) -> None:
        outcome, vendor = self.attempt(call, *call.answers[:-1], httpx.Response(500))
        assert outcome.kind in {"done", self.unsure(call, vendor)}, f"ends as {outcome.kind}: {outcome.cause}"

    def test_a_page_in_place_of_an_answer_is_no_success(self, call: Call) -> None:
        outcome = self.ends(call, GARBAGE)
        unsure = self.unsure(call)
        allowed = {"done"} if call.blind else {unsure, "dead"} if unsure == "retry" else {unsure}
        assert outcome.kind in allowed, f"ends as {outcome.kind}: {outcome.cause}"

    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"ok"', b"\xff\xfe", b"{"])
    def test_an_answer_of_another_shape_is_never_repeated_blindly(self, call: Call, body: bytes) -> None:
        outcome = self.ends(call, httpx.Response(200, content=body, headers={"Content-Type": "application/json"}))
        wrong = {"retry", "dead"} if self.unsure(call) == "uncertain" else {"uncertain"}
        assert outcome.kind not in wrong, f"ends as {outcome.kind}: it may have happened"

    # When the line breaks

    def test_a_vendor_that_cannot_be_reached_is_tried_again(self, call: Call) -> None:
        self.expect(call, httpx.ConnectError("refused"), "retry")

    @pytest.mark.parametrize(
        "error",
        [httpx.ReadTimeout("late"), httpx.ReadError("reset"), httpx.RemoteProtocolError("gone")],
        ids=["timeout", "reset", "gone"],
    )
    def test_a_line_that_breaks_after_the_request_left_may_have_done_it(self, call: Call, error: Exception) -> None:
        self.expect(call, error, self.unsure(call))

    @pytest.mark.parametrize("status", [429, 503])
    def test_the_plugin_repeats_nothing_itself(self, call: Call, status: int) -> None:
        _, vendor = self.attempt(call, httpx.Response(status))
        assert len(vendor.seen) == 1, f"{len(vendor.seen)} requests to a vendor that refused the first one"

    def expect(self, call: Call, answer: Any, end: str) -> None:
        """Fail where the attempt ends otherwise."""
        outcome = self.ends(call, answer)
        assert outcome.kind == end, f"ends as {outcome.kind}, not {end}: {outcome.cause}"
