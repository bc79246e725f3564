"""Patience: whatever is sent to a buyer by itself waits while they are writing in the chat.

Policies that answer a buyer's words wait with their answer anyway, so that it uses every line; this one holds the rest
(news of a refund, a reminder) until the buyer is quiet. How long is set for the shop: ``quiet`` and ``quiet_most``.
"""

from __future__ import annotations

from typing import ClassVar, Final

from rmabridge import hookimpl
from rmabridge.abilities import Policy, View
from rmabridge.core.quiet import wait
from rmabridge.model import Action, Case, Form, SendMessage, Verdict, hold

WRITING: Final = "patience.writing"


class Patience(Policy):
    """Nothing automatic interrupts a buyer."""

    title: ClassVar[str] = "Patience"

    def review(self, action: Action, case: Case, view: View) -> Verdict | None:
        """Hold an automatic chat message until the buyer has stopped writing."""
        if not isinstance(action, SendMessage) or action.audience != "buyer" or action.template is None:
            return None
        clock = wait(case, view) if action.form is Form.CHAT else None
        return hold(WRITING, "the buyer is writing", until=clock.due_at) if clock else None


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [Patience]
