"""Clarify: one question that names exactly what is missing, a few times at most; then a person reads on.

What a case needs is data: ``needs`` lists the fields by issue or by kind of request. A field counts as there when the
case holds it, or the buyer's words show it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import Policy, Proposal, View
from rmabridge.core.quiet import asked_at, wait, words
from rmabridge.core.reach import tell
from rmabridge.model import NEWS, Case, DeadlineReached, Direction, Event, Issue, RefKind, Status

OPEN: Final = frozenset({Status.NEW, Status.REQUESTED})
VAGUE: Final = frozenset({None, Issue.OTHER})
_NUMBER: Final = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z0-9-]*\d{4})[A-Za-z0-9-]{6,40}")
# What looks like an order number and is none: mail addresses, dates, phone numbers.
_OTHER: Final = re.compile(
    r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]+"
    r"|(?<![A-Za-z0-9-])(?:(?:19|20)[0-9]{2}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:19|20)[0-9]{2}"
    r"|(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:\+?86[ -]?)?1[3-9][0-9](?:[ -]?[0-9]{4}){2}|09[0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}|0[0-9]{2,4}-[0-9]{6,8}"
    r"|\+[1-9][0-9]{0,2}(?:[ .-]?\(?[0-9]{2,5}\)?){2,4}|\(?[2-9][0-9]{2}\)?[ .-][0-9]{3}[ .-][0-9]{4})(?![A-Za-z0-9-])"
)
Need = Literal["order", "item", "problem", "photos", "waybill", "phone", "wish"]
PRESENT: Final[dict[Need, Callable[[Case, View, int], bool]]] = {
    "order": lambda case, view, _: bool(
        case.order or case.ref(RefKind.ORDER) or _NUMBER.search(_OTHER.sub(" ", words(case, view.shop)))
    ),
    "item": lambda case, _, __: (
        bool(case.request and case.request.lines) or (case.order is not None and len(case.order.lines) == 1)
    ),
    "problem": lambda case, view, least: (
        case.issue not in VAGUE
        or bool(case.request and (case.request.reason or case.request.note))
        or len(words(case, view.shop)) >= least
    ),
    "photos": lambda case, _, __: bool(case.evidence),
    "waybill": lambda case, _, __: any(one.direction is Direction.BACK for one in case.parcels),
    "phone": lambda case, _, __: bool(case.buyer and case.buyer.phone),
    "wish": lambda case, _, __: case.request is not None or case.agreed is not None,
}


class Clarify(Policy):
    """Asks the buyer for what nobody can go on without."""

    title: ClassVar[str] = "Clarify"
    requires: ClassVar[tuple[str, ...]] = ("order",)
    hears: ClassVar[frozenset[type[Any]]] = NEWS | {DeadlineReached}

    needs: dict[str, tuple[Need, ...]] = Field(
        {
            "default": ("order", "problem"),
            "tracking_query": ("order",),
            "refund_status": ("order",),
            "wrong_item": ("order", "item"),
            "missing_parts": ("order", "item"),
            "product_question": (),
            "human_agent": (),
            "service_attitude": (),
        },
        description=f"fields by issue, kind of request or ``default``; known are {', '.join(PRESENT)}",
    )
    rounds: int = Field(2, ge=0, description="most questions in one round of a case; after them a person reads on")
    shortest: int = Field(12, ge=0, description="characters from which a buyer's words count as telling the problem")
    patience: timedelta = Field(timedelta(hours=1), description="age past which a message is not asked back about")
    skip_sources: tuple[str, ...] = Field(("operator", "import"), description="sources of cases that are not asked")

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """One question for what the buyer wrote last, unless all is there or enough was asked."""
        began = asked_at(case, view.shop)
        if began is None or not self._asks(case, view):
            return
        missing = self.missing(case, view)
        prefix = f"clarify:{case.round}:"
        key = f"{prefix}{int(began.timestamp())}"
        asked = sum(one.startswith(prefix) for one in view.ledger)
        if not missing or view.proposed(key) or asked >= self.rounds:
            return
        if writing := wait(case, view):
            yield writing
        elif message := tell(case, view, key, "clarify.missing", missing=missing):
            yield message.model_copy(
                update={"not_after": view.now + self.patience, "replaces": f"clarify:{case.round}"}
            )

    def missing(self, case: Case, view: View) -> list[Need]:
        """The fields that the case needs and does not have, in the order of the setting."""
        names = (case.issue, case.kind, "default")
        needed = next((self.needs[one] for one in names if one in self.needs), ())
        return [one for one in needed if not PRESENT[one](case, view, self.shortest)]

    def _asks(self, case: Case, view: View) -> bool:
        if not case.open or case.status not in OPEN or case.source in self.skip_sources or case.talk.last_in is None:
            return False
        return view.now - case.talk.last_in <= self.patience


@hookimpl
def register_policies() -> list[type[Policy]]:
    """The policy of this module."""
    return [Clarify]
