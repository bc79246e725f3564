"""Each check of calls and lookups finds its planted fault, and no other check does."""

import pytest
from test_contract import Toy, planted

VENDOR = '''"""Toy: a shop that can be called. Reference: https://toy.example/api"""

from dataclasses import replace
from itertools import count

import httpx
from pydantic import Field, SecretStr

from rmabridge import hookimpl
from rmabridge.abilities import *
from rmabridge.errors import Rejected, Unauthorised, Unavailable
from rmabridge.model import *
from rmabridge.wire.bodies import read_object, text

COUNT = count()


class Toy(ABILITIES):
    """One toy."""

    secret_word: SecretStr = Field(description="sent with every call")
    url: str = Field("https://api.toy.example", description="address of the API")

    async def _call(self, ctx, method, path, body=None):
        held = await ctx.tokens.get()
        if held is None:
            raise Unauthorised("never connected")
        headers = {
            "Authorization": f"Bearer {held['access']}{self.secret_word.get_secret_value()}",
            "Idempotency-Key": ctx.idempotency_key,
        }
        response = await ctx.http.request(method, f"{self.url}{path}", json=body, headers=headers)
        response.raise_for_status()
        told = read_object(response.content)
        if told.get("code") == "refused":
            raise Rejected("refused")
        if text(told.get("id")) is None:
            raise ValueError("the answer names nothing")
        return told

ABLE

@hookimpl
def register_marketplaces():
    return [Toy]


@hookimpl
def register_services():
    return [Toy]
'''
PAYING = """
    async def pay_refund(self, action, ctx):
        made = await self._call(ctx, "POST", "/refunds", {"amount": str(action.amount)})
        return Result(id=text(made["id"]), events=(self._paid(made, action, ctx),))

    def _paid(self, made, action, ctx):
        refs = (Ref(kind=RefKind.REFUND, value=text(made["id"])),)
        return RefundSeen(
            key=f"refund:{made['id']}", at=ctx.now(), refs=refs, refund=text(made["id"]), amount=action.amount
        )

    async def find_refund(self, action, ctx):
        seen = await self._call(ctx, "GET", f"/refunds/{ctx.idempotency_key}")
        return Finding(seen["paid"] is True, Result(id=text(seen["id"])))

    async def decline_return(self, action, ctx):
        held = await self._call(ctx, "GET", f"/returns/{action.request}")
        return self._decided(await self._call(ctx, "POST", f"/returns/{held['id']}/decline"), ctx)

    async def approve_return(self, action, ctx):
        return self._decided(await self._call(ctx, "POST", f"/returns/{action.request}/approve"), ctx)

    def _decided(self, told, ctx):
        ref = Ref(kind=RefKind.RETURN, value=text(told["id"]))
        changed = RequestChanged(key=f"r:{told['id']}", at=ctx.now(), refs=(ref,), status=told["status"])
        return Result(id=text(told["id"]), events=(changed,))

    async def fetch_order(self, action, ctx):
        told = await self._call(ctx, "GET", f"/orders/{action.order}")
        order = Order(id=text(told["id"]))
        refs = (Ref(kind=RefKind.ORDER, value=order.id),)
        seen = OrderSeen(key=f"order:{order.id}", at=ctx.now(), refs=refs, order=order)
        noted = Noted(key=f"note:{order.id}", at=ctx.now(), refs=refs, text="seen")
        return Result(id=order.id, events=(seen, noted))
"""
ANSWERS = """
from rmabridge.model import *

PAID = {"id": "F1", "paid": True}
REFUSED = {"dead": ({"code": "refused"},)}


class TestToy(CallContract):
    plugin = Toy
    settings = {"secret_word": "word-of-a-test"}
    token = {"access": "access-of-a-test"}

    def calls(self):
        refund = PayRefund(request="R1", amount=Money.of("19.90 EUR"))
        return [
            Call("pay_refund", refund, (PAID,), errors=REFUSED, found=(PAID,), absent=({"id": "F1", "paid": False},)),
            # more
        ]
"""


def vendor(abilities, able, tests=ANSWERS):
    """A toy with these abilities."""
    return Toy("CallContract", VENDOR.replace("ABILITIES", abilities).replace("ABLE", able), tests)


ABLE = "Plugin, PaysRefunds, DecidesReturns, FetchesOrders", PAYING
SHOP = vendor(*ABLE)
DECLINED = 'Call("decline_return", DeclineReturn(request="R1"), ({"id": "R1"}, {"id": "R1", "status": "declined"})),'
SLOW_SHOP = vendor(*ABLE, ANSWERS.replace("# more", DECLINED))
RAISE, PAY = "        response.raise_for_status()\n", "    async def pay_refund"
SEEN = "        told = read_object(response.content)\n"


def status(number, then):
    """The vendor's status means something else."""
    return [(RAISE, f"        if response.status_code == {number}:\n            {then}\n{RAISE}")]


def caught(error, then):
    """A failure of the line is caught."""
    old = '        response = await ctx.http.request(method, f"{self.url}{path}", json=body, headers=headers)\n'
    tried = f"        try:\n    {old}        except httpx.{error} as error:\n            {then}\n"
    return [(old, tried)]


CALL_FAULTS = {
    "test_the_call_is_done_when_all_is_well": [
        (
            "        return Result(id=text(made",
            '        await ctx.http.get(f"{self.url}/log")\n        return Result(id=text(made',
        )
    ],
    "test_the_call_is_the_method_that_the_account_routes_to": [
        (
            PAY,
            """    def route(self, action):
        handler = super().route(action)
        return replace(handler, method=self.another) if isinstance(action, PayRefund) else handler

    async def another(self, action, ctx):
        return await self.pay_refund(action, ctx)

"""
            + PAY,
        )
    ],
    "test_the_events_of_the_answer_can_be_kept": [
        (
            "events=(self._paid(made, action, ctx),)",
            'events=(self._paid(made, action, ctx).model_copy(update={"at": ctx.now().replace(tzinfo=None)}),)',
        )
    ],
    "test_the_same_answer_gives_the_same_event_keys": [("key=f\"refund:{made['id']}\"", 'key=f"refund:{next(COUNT)}"')],
    "test_the_ids_in_the_result_are_texts": [('Result(id=text(made["id"]), ', 'Result(id=text(made["id"]), url="", ')],
    "test_calls_go_where_the_settings_say": [
        ('f"{self.url}{path}"', "f\"{type(self).model_fields['url'].default}{path}\"")
    ],
    "test_an_idempotency_key_is_sent_where_a_repeat_would_do_harm": [
        ('            "Idempotency-Key": ctx.idempotency_key,\n', "")
    ],
    "test_no_secret_is_in_the_result": [
        ('Result(id=text(made["id"]), ', 'Result(id=text(made["id"]), note=self.secret_word.get_secret_value(), ')
    ],
    "test_an_account_that_was_never_connected_says_so": [("if held is None", "if held == {}")],
    "test_the_recorded_answers_hold_no_personal_data": [
        ('{"id": "F1", "paid": True}', '{"id": "F1", "paid": True, "by": "li@qq.com"}')
    ],
    "test_a_refusal_waits_for_a_person": status(404, 'raise Unavailable("later")'),
    "test_refused_credentials_stop_the_account": status(401, 'raise Rejected("no")'),
    "test_a_redirect_is_no_success": status(302, 'return {"id": "1", "status": "declined"}'),
    "test_an_error_in_place_of_an_answer_is_no_success": [
        (SEEN, SEEN + '        if "error" in told:\n            return {"id": "1", "status": "declined"}\n')
    ],
    "test_an_error_in_a_200_ends_as_the_vendor_means_it": [('raise Rejected("refused")', 'raise Unavailable("later")')],
    "test_a_busy_vendor_is_asked_again": status(425, 'raise Rejected("no")'),
    "test_the_vendors_wish_for_a_pause_is_honoured": status(429, 'raise Unavailable("busy")'),
    "test_a_broken_vendor_may_have_done_it": status(502, 'raise Rejected("no")'),
    "test_a_page_in_place_of_an_answer_is_no_success": [
        (
            SEEN,
            '        if b"<html>" in response.content:\n            return {"id": "1", "status": "declined"}\n' + SEEN,
        )
    ],
    "test_an_answer_of_another_shape_is_never_repeated_blindly": [
        (SEEN, '        if response.content == b"null":\n            raise Unavailable("no answer")\n' + SEEN)
    ],
    "test_a_vendor_that_cannot_be_reached_is_tried_again": caught(
        "ConnectTimeout", 'raise Rejected("nobody there") from error'
    ),
    "test_a_line_that_breaks_after_the_request_left_may_have_done_it": caught(
        "ReadTimeout", 'raise Unavailable("late") from error'
    ),
    "test_the_plugin_repeats_nothing_itself": status(
        503, "response = await ctx.http.request(method, self.url + path, json=body, headers=headers)"
    ),
}
FOUND = 'Finding(seen["paid"] is True, Result(id=text(seen["id"])))'
LOOK_FAULTS = {
    "test_what_was_done_is_found": [(FOUND, "Finding(None)")],
    "test_what_is_found_has_the_id_of_what_was_done": [('Result(id=text(seen["id"])))', 'Result(id="another"))')],
    "test_what_was_not_done_is_not_found": [('seen["paid"] is True', '"paid" in seen')],
    "test_a_lookup_without_an_answer_decides_nothing": [
        (
            '        seen = await self._call(ctx, "GET", f"/refunds/{ctx.idempotency_key}")\n',
            """        try:
            seen = await self._call(ctx, "GET", f"/refunds/{ctx.idempotency_key}")
        except httpx.HTTPStatusError:
            return Finding(False)
""",
        )
    ],
}
LAST_FAULTS = {
    "test_a_vendor_that_breaks_at_the_last_step_may_have_done_it": [
        (
            RAISE,
            '        if response.status_code == 500 and path.endswith("/decline"):\n'
            '            raise Rejected("no")\n' + RAISE,
        )
    ],
}
PLANTED = [(SHOP, CALL_FAULTS | LOOK_FAULTS), (SLOW_SHOP, LAST_FAULTS)]
CASES = [pytest.param(toy, faults[check], check, id=check) for toy, faults in PLANTED for check in faults]


@pytest.mark.row("P30")
@pytest.mark.parametrize(("toy", "changes", "check"), CASES)
def test_a_planted_fault_fails_its_check_and_no_other(toy, changes, check, tmp_path):
    assert planted(toy, changes, tmp_path) == {check}
