"""Needy: a policy that wants the order and the buyer's history before it speaks; for tests of the engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rmabridge import hookimpl
from rmabridge.abilities import Fact, Policy, Proposal, View
from rmabridge.model import Case, Event, Form, SendMessage


class Needy(Policy):
    """One message a case that shows what was known when it was decided."""

    requires: ClassVar[tuple[str, ...]] = ("order",)
    facts: ClassVar[tuple[Fact, ...]] = (Fact("buyer_history"),)

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        order = case.order.id if case.order else None
        history = view.facts["buyer_history"]
        waybills = ",".join(one.waybill for one in case.parcels)
        text = f"order={order} missing={','.join(case.missing)} history={len(history)} parcels={waybills}"
        yield SendMessage(purpose="known", account="mail", form=Form.MAIL, to="x@example.com", text=text)


@hookimpl
def register_policies() -> list[type[Policy]]:
    return [Needy]
