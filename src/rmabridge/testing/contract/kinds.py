"""The contract of each kind of plugin: what it keeps beside the checks of settings, doors and calls."""

from __future__ import annotations

from typing import ClassVar

from ...abilities import KeepsTickets, SendsMessages, TracksParcels
from ...model import (
    CaseRequested,
    CommentTicket,
    Event,
    Form,
    OpenTicket,
    ParcelSeen,
    QueryParcel,
    RefKind,
    SendMessage,
    TrackParcel,
    UpdateTicket,
)
from ...wire.waybills import normalise
from .calls import CallContract
from .webhooks import WebhookContract


class CarrierContract(WebhookContract, CallContract):
    """A carrier with a push; for one that only answers queries derive from ``CallContract``."""

    kinds: ClassVar[tuple[str, ...]] = ("carriers",)

    def test_the_account_tracks_parcels(self) -> None:
        assert issubclass(self.plugin, TracksParcels)
        assert self.account().route(QueryParcel(waybill="A1")) is not None
        assert self.account().route(TrackParcel(waybill="A1")) is not None

    def test_a_query_may_be_repeated(self) -> None:
        assert self.account().route(QueryParcel(waybill="A1")).repeatable

    def test_a_push_shows_parcels_by_their_number(self) -> None:
        account = self.account()
        for one in self.inbound(account):
            check_parcels(list(account.parse(one)))

    def test_an_answered_query_shows_the_parcel(self) -> None:
        for call in self.calls():
            if isinstance(call.action, QueryParcel):
                events = self.result(call).events
                assert events, "the answer to a query gives no ParcelSeen"
                check_parcels(list(events))

    def test_a_plugin_that_receives_pushes_says_so(self) -> None:
        assert getattr(self.plugin, "pushes", False), "pushes = True, or the bridge will poll beside the pushes"


def check_parcels(events: list[Event]) -> None:
    """Fail where a parcel is not found by its number, or its scans are out of order."""
    for event in events:
        if isinstance(event, ParcelSeen):
            waybill = event.parcel.waybill
            assert waybill == normalise(waybill) != "", f"{waybill!r}: use wire.waybills.normalise"
            assert (RefKind.WAYBILL, waybill) in [(one.kind, one.value) for one in event.refs], "no Ref to the waybill"
            times = [one.at for one in event.parcel.scans]
            assert times == sorted(times), "scans go from the oldest to the newest"


class ChannelContract(CallContract):
    """A channel that sends messages over HTTP."""

    kinds: ClassVar[tuple[str, ...]] = ("channels",)

    def test_the_account_says_what_it_carries(self) -> None:
        account = self.account()
        assert issubclass(self.plugin, SendsMessages)
        carried = [form for form in Form if account.carries(form)]
        assert carried, "forms is empty: no message would ever take this way"
        for form in carried:
            assert account.route(SendMessage(purpose="p", form=form, to="x", text="x")) is not None

    def test_limits_are_for_forms_that_are_carried(self) -> None:
        account = self.account()
        assert all(account.carries(form) for form in Form if account.limit(form) is not None)

    def test_a_message_is_not_repeated_unless_the_vendor_knows_our_key(self) -> None:
        for call in self.calls():
            if isinstance(call.action, SendMessage) and self.handler(call).repeatable:
                assert not call.keyless, "repeatable without an idempotency key: the buyer would read it twice"

    def test_the_words_arrive_as_they_are(self) -> None:
        words = "Grüße, 您好 😀 & <b>100 %</b>"
        for call in self.calls():
            if isinstance(call.action, SendMessage):
                said = call.action.model_copy(update={"text": words})
                outcome, _ = self.attempt(type(call)(call.method, said, call.answers), *call.answers)
                assert outcome.kind == "done", outcome.cause


class HelpdeskContract(CallContract):
    """A help desk; where it has webhooks derive from ``WebhookContract`` as well."""

    kinds: ClassVar[tuple[str, ...]] = ("helpdesks",)

    def test_the_account_keeps_tickets(self) -> None:
        account = self.account()
        assert issubclass(self.plugin, KeepsTickets)
        opening = OpenTicket(external="C1", subject="s", text="t")
        for action in (opening, CommentTicket(origin="1", text="t"), UpdateTicket(origin="1")):
            assert account.route(action) is not None

    def test_opening_and_commenting_can_be_looked_up(self) -> None:
        account = self.account()
        for action in (OpenTicket(external="C1", subject="s", text="t"), CommentTicket(origin="1", text="t")):
            assert account.route(action).find is not None

    def test_an_opened_ticket_has_an_id(self) -> None:
        for call in self.calls():
            if isinstance(call.action, OpenTicket):
                assert self.result(call).id, "Result.id is the ticket's id"

    def test_opening_is_not_repeated_blindly(self) -> None:
        handler = self.account().route(OpenTicket(external="C1", subject="s", text="t"))
        assert not handler.repeatable or handler.remembers, "say how long the vendor remembers the key"


class MarketplaceContract(WebhookContract):
    """A marketplace with webhooks; derive from ``CallContract`` as well where it is called."""

    kinds: ClassVar[tuple[str, ...]] = ("marketplaces",)

    def test_something_opens_a_case(self) -> None:
        account = self.account()
        events = [event for one in self.inbound(account) for event in account.parse(one)]
        assert any(type(one).opener for one in events), "none of the webhooks would ever open a case"

    def test_a_request_has_a_reference_by_which_its_case_is_found(self) -> None:
        account = self.account()
        for one in self.inbound(account):
            for event in account.parse(one):
                assert event.refs or not isinstance(event, CaseRequested), "a request without refs joins no case"


class ServiceContract(CallContract):
    """A system of the shop that takes forwarded events or other actions."""

    kinds: ClassVar[tuple[str, ...]] = ("services",)

    def test_the_account_carries_something_out(self) -> None:
        assert self.plugin.performs(), "the plugin performs no action"
