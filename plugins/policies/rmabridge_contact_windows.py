"""Contact windows: holds calls, texts and chat messages to a buyer until an hour that suits, in the buyer's time zone.

The first contact after a bad review goes at once by day. Whoever wrote a moment ago is answered at any hour. Weekends
are those of the shop's calendar: a public holiday counts as one, a make-up workday does not.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Shop, View
from rmabridge.core.calendars import slots, window
from rmabridge.model import Action, Case, Issue, SendMessage, Verdict, allow, hold

RULE = "contact.window"
BY_DAY = ("daily 09:00-21:00", "Hol 09:00-21:00")
CALLS = (
    "Mon-Fri 12:00-13:30, 18:00-20:30",
    "Sat-Sun 10:00-20:30",
    "Hol 10:00-20:30",
)


class ContactWindows(Policy):
    """Outward messages wait for the buyer's hours."""

    title: ClassVar[str] = "Contact windows"

    windows: dict[str, tuple[str, ...]] = Field(
        default_factory=lambda: {"call": CALLS, "sms": BY_DAY, "chat": BY_DAY},
        description="hours in which a form may reach a buyer, by form; a form that is left out goes at any hour",
    )
    at_once: tuple[str, ...] = Field(BY_DAY, description="hours of the first contact after a bad review")
    urgent: tuple[Issue, ...] = Field((Issue.NEGATIVE_REVIEW,), description="issues whose first contact goes at once")
    live: timedelta = Field(timedelta(minutes=30), description="a buyer who wrote within it is answered at any hour")

    @field_validator("windows", "at_once")
    @classmethod
    def _readable(
        cls, given: dict[str, tuple[str, ...]] | tuple[str, ...]
    ) -> dict[str, tuple[str, ...]] | tuple[str, ...]:
        for hours in given.values() if isinstance(given, dict) else (given,):
            slots(hours)
        return given

    def review(self, action: Action, case: Case, view: View) -> Verdict | None:
        """Hold what comes at the wrong hour until the window opens; at the right one it may go until that ends."""
        if not isinstance(action, SendMessage) or action.audience != "buyer":
            return None
        hours = self.windows.get(str(action.form))
        if not hours:
            return None
        urgent = case.issue in self.urgent and _first(action, view)
        zone = timezone_of(case, view.shop)
        calendar = window(self.at_once if urgent else hours, zone, view.shop)
        opens, closes = calendar.next_opening(view.now)
        if opens <= view.now:
            return allow(RULE, f"the buyer's hours for {action.form}", until=closes)
        if (wrote := case.talk.last_in) is not None and view.now - wrote <= self.live:
            return allow(RULE, "the buyer wrote a moment ago", until=wrote + self.live)
        local = opens.astimezone(calendar.zone)
        return hold(RULE, f"the buyer's window for {action.form} opens {local:%Y-%m-%d %H:%M} {zone}", until=opens)


def _first(action: SendMessage, view: View) -> bool:
    """Whether no message of its sort (the first word of its purpose) went out before; a greeting is another sort."""
    sort = action.purpose.partition(":")[0]
    same = (key for key in view.ledger if key != action.key and key.partition(":")[0] == sort)
    return not any(view.ledger[key] == "done" for key in same)


def timezone_of(case: Case, shop: Shop) -> str:
    """The buyer's time zone, or the shop's where it is not known."""
    name = case.buyer.timezone if case.buyer else None
    try:
        return str(ZoneInfo(name)) if name else shop.timezone
    except (ZoneInfoNotFoundError, ValueError):
        return shop.timezone


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [ContactWindows]
