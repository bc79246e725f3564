"""First reply: greets the buyer in their own language, with understanding, and says what happens next.

Each round of a case has one first reply; later a session's first message is greeted once. A session lasts as long as
the buyer's messages follow each other within ``session``: its clock is a timer of the case. A buyer who is writing in a
chat is not interrupted: the greeting waits until the last line.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar, Final

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, Timer, View
from rmabridge.core.quiet import fell_quiet, run, wait
from rmabridge.core.reach import tell
from rmabridge.model import (
    NEWS,
    Author,
    Case,
    DeadlineReached,
    Event,
    Issue,
    MessageReceived,
    Status,
)

# Past these a greeting would come too late to be true.
GREETED: Final = frozenset({Status.NEW, Status.REQUESTED, Status.APPROVED, Status.RETURNING, Status.RECEIVED})
SESSION: Final = "session"


class FirstReply(Policy):
    """One greeting per session, the first one with what happens next."""

    title: ClassVar[str] = "First reply"
    requires: ClassVar[tuple[str, ...]] = ("order",)
    hears: ClassVar[frozenset[type[Any]]] = NEWS | {DeadlineReached}

    session: timedelta = Field(timedelta(minutes=30), description="silence after which a buyer is greeted again")
    not_after: timedelta = Field(timedelta(hours=24), description="age past which a greeting is not sent any more")
    scripts: dict[Issue, str] = Field(
        default_factory=dict,
        description="templates that are the first words by issue: wrong_item = 'script.wrong_item' says sorry, what "
        "the buyer gets for it and what is changed; the general greeting where left out",
    )
    skip_sources: tuple[str, ...] = Field(
        ("operator", "import"), description="sources of cases that get no automatic greeting"
    )

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """The round's first reply; else a greeting when a new session begins."""
        if not self._greets(case, view):
            return
        first, again = f"reply:first:{case.round}", _greeting(case, event, view)
        writing, running = wait(case, view), _running(case, view)
        if writing and not (view.proposed(first) and running):
            yield writing
        elif not view.proposed(first):
            yield from self._open(case, view, first)
        elif again and not running and not view.proposed(again):
            yield from self._say(case, view, again, "greeting.session")
        elif again:
            yield Timer(SESSION, view.now + self.session)

    def _greets(self, case: Case, view: View) -> bool:
        if not case.open or case.status not in GREETED or case.source in self.skip_sources:
            return False
        if case.round > 1 and case.closings and not (case.talk.last_in and case.talk.last_in > case.closings[-1]):
            return False
        began = max(filter(None, (case.opened_at, case.talk.last_in)))
        by_buyer = case.request is not None or case.talk.first_in is not None
        return by_buyer and view.now - began <= self.not_after

    def _open(self, case: Case, view: View, purpose: str) -> Iterable[Proposal]:
        script = self.scripts.get(case.issue) if case.issue else None
        if script:  # a compensation is named only once it is granted
            yield from self._say(case, view, purpose, script, amount=None)
        else:
            yield from self._say(case, view, purpose, f"first_reply.{case.kind}")

    def _say(self, case: Case, view: View, purpose: str, template: str, **values: Any) -> Iterable[Proposal]:
        message = tell(case, view, purpose, template, **values)
        if message:
            yield message.model_copy(update={"not_after": view.now + self.not_after})
            yield Timer(SESSION, view.now + self.session)


def _greeting(case: Case, event: Event, view: View) -> str | None:
    """The key of the greeting that the event may ask for: by the buyer's message, or by the first line of a run."""
    if isinstance(event, MessageReceived) and event.message.author is Author.BUYER:
        return f"greeting:{event.key}"
    written = run(case, view.shop) if fell_quiet(event) else None
    return f"greeting:{written.lines[0].id}" if written else None


def _running(case: Case, view: View) -> bool:
    """Whether the session lasts; its clock may have run out and not been heard of yet."""
    return any(one.name == SESSION and one.due_at > view.now for one in case.deadlines)


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [FirstReply]
