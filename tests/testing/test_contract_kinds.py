"""Each check of a kind finds the fault that is planted in its skeleton, and no other check does."""

import pytest
from test_contract import planted, skeleton

CARRIER = skeleton("carrier", "CarrierContract")
CHANNEL = skeleton("channel", "ChannelContract")
HELPDESK = skeleton("helpdesk", "HelpdeskContract")
MARKETPLACE = skeleton("marketplace", "MarketplaceContract")
SERVICE = skeleton("service", "ServiceContract")

QUERY, SEND, OPEN = "    async def query", "    async def send", "    async def open_ticket"
ROUTE = """    def route(self, action):
        from rmabridge.model import ACTION

        return None if isinstance(action, ACTION) else super().route(action)

"""
BLIND = """    def route(self, action):
        from dataclasses import replace

        handler = super().route(action)
        return replace(handler, find=None) if isinstance(action, CommentTicket) else handler

"""
REPEATABLE = "    @performs(repeatable=True)\n"
MARKED = (
    "from rmabridge import hookimpl\n",
    "from rmabridge import hookimpl\nfrom rmabridge.abilities import performs\n",
)
CARRIER_FAULTS = {
    "test_the_account_tracks_parcels": [(QUERY, ROUTE.replace("ACTION", "TrackParcel") + QUERY)],
    "test_a_query_may_be_repeated": [MARKED, (QUERY, REPEATABLE.replace("True", "False") + QUERY)],
    "test_a_push_shows_parcels_by_their_number": [
        ('[_seen(body.get("parcel"))]', '[_seen(body.get("parcel")).model_copy(update={"refs": ()})]')
    ],
    "test_an_answered_query_shows_the_parcel": [
        ("return Result(events=(_seen(read_object(response.content)),))", "_seen(read_object(response.content))\n"),
        ("_seen(read_object(response.content))\n", "_seen(read_object(response.content))\n        return Result()"),
    ],
    "test_a_plugin_that_receives_pushes_says_so": [("    pushes: ClassVar[bool] = True\n", "")],
}
CHANNEL_FAULTS = {
    "test_the_account_says_what_it_carries": [
        ("frozenset({Form.SMS})", "frozenset()"),
        ("{Form.SMS: Limit(characters=500)}", "{}"),
    ],
    "test_limits_are_for_forms_that_are_carried": [("{Form.SMS: Limit(", "{Form.MAIL: Limit(")],
    "test_a_message_is_not_repeated_unless_the_vendor_knows_our_key": [
        MARKED,
        (SEND, REPEATABLE + SEND),
        ('            "Idempotency-Key": ctx.idempotency_key,\n', ""),
        ('({"id": "m-1"},))]', '({"id": "m-1"},), keyless=True)]'),
    ],
    "test_the_words_arrive_as_they_are": [
        ('"text": action.text}', '"text": action.text.encode("gb2312").decode("gb2312")}')
    ],
}
HELPDESK_FAULTS = {
    "test_the_account_keeps_tickets": [
        (OPEN, ROUTE.replace("ACTION", "UpdateTicket") + OPEN),
        (
            '            Call("update_ticket", UpdateTicket(origin="2", ticket="77", status="solved"), (MADE,)),\n',
            "",
        ),
    ],
    "test_opening_and_commenting_can_be_looked_up": [(OPEN, BLIND + OPEN)],
    "test_an_opened_ticket_has_an_id": [
        ('return _made(await self._call(ctx, "POST", "/tickets", ticket))', "OPENED"),
        ("OPENED", '_made(await self._call(ctx, "POST", "/tickets", ticket))\n        return Result()'),
    ],
    "test_opening_is_not_repeated_blindly": [MARKED, (OPEN, REPEATABLE + OPEN)],
}
MARKETPLACE_FAULTS = {
    "test_something_opens_a_case": [
        ("return [request]", "from rmabridge.model import RequestChanged\n        return [CHANGED]"),
        ("CHANGED", 'RequestChanged(key=request.key, at=request.at, refs=request.refs, status="requested")'),
    ],
    "test_a_request_has_a_reference_by_which_its_case_is_found": [("refs=tuple(refs)", "refs=()")],
}
SERVICE_FAULTS = {
    "test_the_account_carries_something_out": [
        ("class Toy(Plugin, Forwards)", "class Toy(Plugin)"),
        ('[Call("forward", EVENT, ({},), blind=True)]', "[]"),
    ],
}
PLANTED = [
    (CARRIER, CARRIER_FAULTS),
    (CHANNEL, CHANNEL_FAULTS),
    (HELPDESK, HELPDESK_FAULTS),
    (MARKETPLACE, MARKETPLACE_FAULTS),
    (SERVICE, SERVICE_FAULTS),
]
CASES = [pytest.param(toy, faults[check], check, id=check) for toy, faults in PLANTED for check in faults]


@pytest.mark.row("P30")
@pytest.mark.parametrize(("toy", "changes", "check"), CASES)
def test_a_fault_of_a_skeleton_fails_its_check_and_no_other(toy, changes, check, tmp_path):
    assert planted(toy, changes, tmp_path) == {check}
