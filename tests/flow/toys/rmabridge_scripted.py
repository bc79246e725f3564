"""Scripted: a policy that says what a note tells it to say, and judges as it was configured."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, Timer, View
from rmabridge.model import Action, Case, DeadlineReached, Event, Form, Noted, SendMessage, Verdict
from rmabridge.model.verdict import deny, hold


class Scripted(Policy):
    """Notes ``say WORDS``, ``say WORDS after WORDS``, ``timer NAME SECONDS``, ``count N`` are orders to this policy."""

    version: ClassVar[str] = "7"

    account_of_words: str = "mail"
    ask_about: str = "ask"
    deny_when: tuple[str, ...] = ()
    window: datetime | None = None
    shows_level: bool = False
    chases: bool = False
    faults: tuple[str, ...] = ()

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        if "decide" in self.faults:
            raise RuntimeError("decide fell over with 13812345678")
        if self.chases and isinstance(event, DeadlineReached):
            yield self._say(f"chase {event.generation}")
        if self.chases:
            yield Timer("chase", view.now)
        if isinstance(event, Noted):
            what, _, rest = event.text.partition(" ")
            if what == "say":
                yield self._say(rest)
            if what == "count" and int(rest):
                yield Noted(key=f"count:{rest}", at=event.at, text=f"count {int(rest) - 1}")
            if what == "timer":
                name, _, seconds = rest.partition(" ")
                yield Timer(name, event.at.fromtimestamp(float(seconds), event.at.tzinfo))

    def amend(self, action: Action, case: Case, view: View) -> Action | None:
        if "amend" in self.faults:
            raise RuntimeError("amend fell over")
        if self.shows_level and isinstance(action, SendMessage):
            return action.model_copy(update={"text": f"{action.purpose} at level {case.level}"})
        return None

    def review(self, action: Action, case: Case, view: View) -> Verdict | None:
        if "review" in self.faults:
            raise RuntimeError("review fell over")
        if case.status in self.deny_when:
            return deny("scripted.status", f"not while it is {case.status}")
        if self.window and view.now < self.window:
            return hold("scripted.window", "outside the window", until=self.window)
        if self.ask_about in getattr(action, "purpose", ""):
            return hold("scripted.ask", "a person decides")
        return None

    def _say(self, order: str) -> SendMessage:
        words, _, needs = order.partition(" after ")
        return SendMessage(
            purpose=f"say:{words}",
            account=self.account_of_words,
            form=Form.MAIL,
            to="x@example.com",
            text=words,
            needs=f"say:{needs}" if needs else None,
        )


@hookimpl
def register_policies() -> list[type[Policy]]:
    return [Scripted]
