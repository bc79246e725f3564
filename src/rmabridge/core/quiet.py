"""Do not interrupt: automatic chat answers wait until the buyer stops writing, and then use every line.

Pure: which lines belong together follows from their times alone, in whatever order they came. A run of lines ends with
a silence of ``shop.quiet``, or ``shop.quiet_most`` after its first line; what comes later is the next run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ..abilities import Shop, Timer, View
from ..model import Case, DeadlineReached, Event, Form
from ..model.case import Said

QUIET: Final = "quiet"


@dataclass(frozen=True, slots=True)
class Run:
    """Chat lines that were written in one go; ``over`` is when they count as all that was to be said."""

    lines: tuple[Said, ...]
    over: datetime

    @property
    def began(self) -> datetime:
        """When the first line was written."""
        return self.lines[0].at

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(one.text for one in self.lines if one.text)


def run(case: Case, shop: Shop) -> Run | None:
    """The newest run of chat lines; None where the buyer did not write last in a chat."""
    if case.talk.form != Form.CHAT or not case.talk.lines:
        return None
    lines: list[Said] = []
    for one in case.talk.lines:
        if lines and one.at >= _over(lines, shop):
            lines = []
        lines.append(one)
    return Run(tuple(lines), _over(lines, shop))


def wait(case: Case, view: View) -> Timer | None:
    """The clock that an automatic answer waits for; None when the buyer is not writing now."""
    writing = run(case, view.shop)
    return Timer(QUIET, writing.over) if writing and writing.over > view.now else None


def fell_quiet(event: Event) -> bool:
    """Whether the event is the end of a run."""
    return isinstance(event, DeadlineReached) and event.name == QUIET


def words(case: Case, shop: Shop) -> str:
    """What the buyer said last: all lines of a run, or the one message."""
    written = run(case, shop)
    return written.text if written else case.talk.last_text or ""


def asked_at(case: Case, shop: Shop) -> datetime | None:
    """When the buyer began to say it."""
    written = run(case, shop)
    return written.began if written else case.talk.last_in


def _over(lines: list[Said], shop: Shop) -> datetime:
    return min(lines[-1].at + shop.quiet, lines[0].at + shop.quiet_most)
