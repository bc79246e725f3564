"""Payer: a policy that tells the buyer of each request that came, and pays it back at once; for tests of the engine."""

from __future__ import annotations

from collections.abc import Iterable

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, View
from rmabridge.model import Case, Event, Form, Money, OpenTicket, PayRefund, RefKind, SendMessage


class Payer(Policy):
    """A ticket and a mail (of ``also``), and 20 CNY from the account ``bank``."""

    also: tuple[str, ...] = ("ticket", "mail")

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        request = case.ref(RefKind.RETURN)
        if request is None:
            return
        if "ticket" in self.also:
            yield OpenTicket(external=case.id, subject=request, text="a return")
        if "mail" in self.also:
            yield SendMessage(purpose="welcome", account="mail", form=Form.MAIL, to="b@example.com", text=request)
        yield PayRefund(account="bank", request=request, amount=Money.of("20 CNY"))


@hookimpl
def register_policies() -> list[type[Policy]]:
    return [Payer]
