"""What a channel keeps that says by webhook what became of messages: no message is lost from sight, or sent twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from ...abilities import Inbound, WebRequest
from ...model import Delivered, Event, OptedIn, OptedOut, RefKind, SendMessage
from ..contexts import NOON
from .calling import KEY
from .kinds import ChannelContract
from .webhooks import WebhookContract

CASE = "C1"


class ReceiptContract(ChannelContract, WebhookContract):
    """A channel with receipts.

    ``receipt`` is the webhook by which the vendor reports on the message that this request sent; take what the vendor
    would bring back out of the request. ``opt_outs`` are buyers' answers that they want no more messages, ``opt_ins``
    those that they want them again, where the vendor has such.
    """

    def receipt(self, account: Any, sent: httpx.Request, *, ok: bool) -> WebRequest:
        """The vendor's report: the message arrived, or it did not."""
        self.unwritten("receipt(account, sent, ok): the vendor's report on the message that was sent")

    def opt_outs(self, account: Any) -> list[WebRequest]:
        """Answers of buyers who opt out, each as the vendor signs it."""
        self.unwritten("opt_outs(account): answers of buyers who opt out, or [] where the vendor has no such")

    def opt_ins(self, account: Any) -> list[WebRequest]:
        """Answers of buyers who had opted out and want messages again, each as the vendor signs it."""
        return []

    def told(self, account: Any, request: WebRequest) -> list[Event]:
        """The events of a webhook."""
        receipt = account.verify(request, NOON)
        return list(account.parse(Inbound(account.account, request.body, receipt.meta, NOON)))

    def reported(self, *, ok: bool) -> Iterator[tuple[str | None, list[Event]]]:
        """The id of each sent message, and what its receipt says."""
        account = self.account()
        for call, _ in self.listed(SendMessage):
            outcome, vendor = self.attempt(call, *call.answers)
            yield outcome.result.id, self.told(account, self.receipt(account, vendor.seen[-1], ok=ok))

    def test_a_receipt_is_about_the_message_that_was_sent(self) -> None:
        for id_, events in self.reported(ok=True):
            found = [one.message for one in events if isinstance(one, Delivered)]
            assert found == [id_], f"the receipt is about {found}, and the message that was sent is {id_}"

    def test_a_receipt_says_whether_it_arrived_and_why_not(self) -> None:
        for ok in (True, False):
            for _, events in self.reported(ok=ok):
                for one in events:
                    assert not isinstance(one, Delivered) or one.ok is ok, f"ok is {one.ok}, the vendor said {ok}"
                    assert ok or not isinstance(one, Delivered) or one.reason, "a failure without its reason"

    def test_a_receipt_finds_its_case(self) -> None:
        for _, events in self.reported(ok=True):
            for one in events:
                assert (RefKind.CASE, CASE) in [(ref.kind, ref.value) for ref in one.refs], "the receipt joins no case"

    def test_a_message_whose_answer_was_lost_is_known_by_its_receipt(self) -> None:
        for _, events in self.reported(ok=True):
            found = [one.delivery for one in events if isinstance(one, Delivered)]
            assert set(found) <= {KEY}, "send ctx.idempotency_key along and read it back, or it may be sent twice"

    def test_who_opts_out_opens_no_case_and_closes_the_way(self) -> None:
        account = self.account()
        for request in self.opt_outs(account):
            events = self.told(account, request)
            assert [type(one) for one in events] == [OptedOut], f"opting out is {[one.type for one in events]}"
            assert [one for one in events if one.refs], "nobody knows who opted out: name the buyer in refs"

    def test_who_opts_in_again_opens_no_case_and_reopens_the_way(self) -> None:
        account = self.account()
        for request in self.opt_ins(account):
            events = self.told(account, request)
            assert [type(one) for one in events] == [OptedIn], f"opting in is {[one.type for one in events]}"
            assert [one for one in events if one.refs], "nobody knows who opted in again: name the buyer in refs"
