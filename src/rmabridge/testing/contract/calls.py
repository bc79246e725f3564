"""What calls out keep: every way in which a vendor can fail ends as the bridge expects it."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import httpx
import pytest

from ...flow.client import SAFE
from .calling import ELSEWHERE, GARBAGE, KEY, UNSENT, Call
from .documents import check_events, keys
from .effects import ClaimContract, DecisionContract, GivingContract, OrderContract, ReadingContract, RefundContract
from .finding import LookupContract
from .personal import personal

# How vendors say in a 200 that nothing came of it, all at once.
REFUSAL: Final = {
    "error": {"code": "invalid_request", "message": "no"},
    "errors": [{"message": "no"}],
    "error_response": {"code": 15, "msg": "no"},
    "success": False,
    "Success": False,
    "ok": False,
    "errcode": 40001,
    "code": 50000,
    "Code": "isv.REFUSED",
}


class CallContract(
    LookupContract,
    RefundContract,
    DecisionContract,
    OrderContract,
    ClaimContract,
    GivingContract,
    ReadingContract,
):
    """The checks of calls out, and of what each ability promises; ``calls`` lists the account's calls."""

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
        check_events(self.result(call).events)

    def test_the_same_answer_gives_the_same_event_keys(self, call: Call) -> None:
        first, again = (self.result(call).events for _ in range(2))
        assert keys(first) == keys(again), "a key must not hold the time of the call"

    def test_the_ids_in_the_result_are_texts(self, call: Call) -> None:
        result = self.result(call)
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
        if all(one.method in SAFE for one in vendor.seen):
            return
        sent = any(
            KEY in f"{one.url} {dict(one.headers)} {one.content.decode(errors='replace')}" for one in vendor.seen
        )
        assert sent is not call.keyless, "send ctx.idempotency_key, or say keyless=True where the vendor takes none"

    def test_no_secret_is_in_the_result(self, call: Call) -> None:
        shown = repr(self.result(call))
        assert not [one for one in self.secrets() if one in shown], "the ledger and the timeline would show a secret"

    def test_an_account_that_was_never_connected_says_so(self, call: Call) -> None:
        if self.token is not None:
            outcome, _ = self.attempt(call, *call.answers, connected=False)
            assert outcome.kind != "dead", f"raise Unauthorised where ctx.tokens holds nothing: {outcome.cause}"

    def test_the_recorded_answers_hold_no_personal_data(self, call: Call) -> None:
        found = [one for answer in (*call.answers, *call.found) for one in personal(written(answer))]
        assert not found, f"scrub what may be somebody's: {', '.join(found)}"

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

    def test_an_error_in_place_of_an_answer_is_no_success(self, call: Call) -> None:
        outcome = self.ends(call, REFUSAL)
        assert call.blind or call.by_status or outcome.kind != "done", (
            "a 200 that tells of an error is taken for success"
        )

    def test_an_error_in_a_200_ends_as_the_vendor_means_it(self, call: Call) -> None:
        for end, bodies in call.errors.items():
            for body in bodies:
                self.expect(call, body, end)

    # When the vendor is busy or broken

    @pytest.mark.parametrize("status", [408, 425, 429])
    def test_a_busy_vendor_is_asked_again(self, call: Call, status: int) -> None:
        self.expect(call, httpx.Response(status), self.statuses.get(status, "retry"))

    @pytest.mark.parametrize("status", [429, 503])
    def test_the_vendors_wish_for_a_pause_is_honoured(self, call: Call, status: int) -> None:
        outcome = self.ends(call, httpx.Response(status, headers={"Retry-After": "17"}))
        if outcome.kind == "retry":
            assert outcome.retry_after == 17.0, "Retry-After is lost on the way to the bridge"

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_a_broken_vendor_may_have_done_it(self, call: Call, status: int) -> None:
        self.expect(call, httpx.Response(status), self.statuses.get(status) or self.unsure(call))

    def test_a_vendor_that_breaks_at_the_last_step_may_have_done_it(self, call: Call) -> None:
        outcome, vendor = self.attempt(call, *call.answers[:-1], httpx.Response(500))
        assert outcome.kind in {"done", self.unsure(call, vendor)}, f"ends as {outcome.kind}: {outcome.cause}"

    def test_a_page_in_place_of_an_answer_is_no_success(self, call: Call) -> None:
        outcome = self.ends(call, GARBAGE)
        unsure = self.unsure(call)
        allowed = {unsure, "done"} if call.blind else {unsure, "dead"} if unsure == "retry" else {unsure}
        assert outcome.kind in allowed, f"ends as {outcome.kind}: {outcome.cause}"

    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"ok"', b"\xff\xfe", b"{"])
    def test_an_answer_of_another_shape_is_never_repeated_blindly(self, call: Call, body: bytes) -> None:
        outcome = self.ends(call, httpx.Response(200, content=body, headers={"Content-Type": "application/json"}))
        wrong = {"retry", "dead"} if self.unsure(call) == "uncertain" else {"uncertain"}
        assert outcome.kind not in wrong, f"ends as {outcome.kind}: it may have happened"

    # When the line breaks

    @pytest.mark.parametrize("error", [one("no way") for one in UNSENT], ids=["refused", "timeout", "pool"])
    def test_a_vendor_that_cannot_be_reached_is_tried_again(self, call: Call, error: Exception) -> None:
        self.expect(call, error, "retry")

    @pytest.mark.parametrize(
        "error",
        [
            httpx.ReadTimeout("late"),
            httpx.WriteTimeout("stuck"),
            httpx.ReadError("reset"),
            httpx.RemoteProtocolError("gone"),
        ],
        ids=["timeout", "stuck", "reset", "gone"],
    )
    def test_a_line_that_breaks_after_the_request_left_may_have_done_it(self, call: Call, error: Exception) -> None:
        self.expect(call, error, self.unsure(call))

    @pytest.mark.parametrize("status", [429, 503])
    def test_the_plugin_repeats_nothing_itself(self, call: Call, status: int) -> None:
        _, vendor = self.attempt(call, httpx.Response(status))
        assert len(vendor.seen) == 1, f"{len(vendor.seen)} requests to a vendor that refused the first one"


def written(answer: Any) -> str:
    """An answer as text."""
    return answer.text if isinstance(answer, httpx.Response) else json.dumps(answer, ensure_ascii=False, default=str)
