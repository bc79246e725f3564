"""The Case: everything the bridge knows of one after-sales matter, in one schema for all marketplaces.

A case is a summary: messages, verdicts, attempts and files are rows of their own. Only ``core.reduce`` makes a new
one. ``docs/case.schema.json`` is its published JSON Schema.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import AwareDatetime, Field

from .event import Choice, Line
from .money import Money
from .order import Order
from .parcel import Parcel
from .people import Buyer, Form
from .playing import Incident, Play
from .refs import Ref, RefKind
from .stored import Stored, Value
from .words import (
    CaseKind,
    ClaimKind,
    ClaimStatus,
    EvidenceKind,
    Identity,
    Issue,
    RefundStatus,
    RemedyKind,
    RequestStatus,
)

# The statuses after which a request may be made again.
ENDED: Final = frozenset({RequestStatus.DECLINED, RequestStatus.CANCELLED, RequestStatus.CLOSED})


class Status(StrEnum):
    """Where a case stands; worked out from its facts, see ``core.lifecycle``."""

    NEW = "new"
    REQUESTED = "requested"
    APPROVED = "approved"
    DECLINED = "declined"
    RETURNING = "returning"
    RECEIVED = "received"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    CANCELLED = "cancelled"
    CLOSED = "closed"


class RequestStep(Value):
    """A status of the request, and when the marketplace says that it came to it."""

    at: AwareDatetime
    status: RequestStatus


class Request(Value):
    """The customer's request as the marketplace keeps it."""

    id: str | None = None
    status: RequestStatus = RequestStatus.REQUESTED
    reason: str | None = None
    note: str | None = None
    lines: tuple[Line, ...] = ()
    amount: Money | None = None
    due_at: AwareDatetime | None = None
    course: tuple[RequestStep, ...] = Field((), description="how its status went, at most 20 steps")

    @property
    def again(self) -> int:
        """How often it was asked for after it had ended."""
        pairs = zip(self.course, self.course[1:], strict=False)
        return sum(one.status in ENDED and after.status is RequestStatus.REQUESTED for one, after in pairs)

    @property
    def asked_at(self) -> datetime | None:
        """When it was last made: asked for, for the first time or after something had become of it."""
        pairs = zip((None, *self.course), self.course, strict=False)
        asked = RequestStatus.REQUESTED
        runs = (
            one.at for before, one in pairs if one.status is asked and (before is None or before.status is not asked)
        )
        return max(runs, default=None)

    @property
    def ended(self) -> RequestStep | None:
        """When it was last declined, cancelled or closed."""
        return next((one for one in reversed(self.course) if one.status in ENDED), None)


class Remedy(Value):
    """What is offered or agreed; it may be carried out once ``accepted_at`` or ``automatic`` is set."""

    kind: RemedyKind
    amount: Money | None = None
    accepted_at: AwareDatetime | None = None
    accepted_by: str | None = None
    automatic: str | None = None
    choices: tuple[Choice, ...] = ()
    interim: bool = False
    declined_at: AwareDatetime | None = None


class Given(Value):
    """Something of value that was given: money, a coupon, a gift; ``action`` is the key of the action that gave it."""

    action: str
    type: str
    amount: Money | None = None
    at: AwareDatetime
    ref: str | None = None


class Refund(Value):
    """One refund of the marketplace."""

    id: str
    status: RefundStatus
    amount: Money | None = None
    method: str | None = None
    at: AwareDatetime


class Ticket(Value):
    """The help-desk ticket of the case."""

    id: str | None = None
    account: str | None = None
    url: str | None = None
    status: str | None = None
    priority: str | None = None
    assignee: str | None = None


class Said(Value):
    """One line that the buyer wrote in a chat; ``id`` is the message's."""

    id: str
    at: AwareDatetime
    text: str


class Sent(Value):
    """A message to the buyer that went out: ``action`` is its key, ``ref`` the channel's id of it.

    ``delivery`` is the key that we sent it with; all that is known of a message that was only looked up.
    """

    action: str
    account: str
    ref: str = ""
    at: AwareDatetime
    delivery: str | None = None
    form: Form | None = None


class Arrival(Value):
    """What a channel says of a message that went out: whether it arrived, and why not."""

    message: str
    ok: bool
    reason: str | None = None
    at: AwareDatetime
    delivery: str | None = None


class Writer(Value):
    """Somebody who wrote in the buyer's name, as the entrance knows them; ``orders`` are those that they named."""

    account: str
    id: str | None = None
    email: str | None = None
    phone: str | None = None
    thread: str | None = None
    chat: str | None = None
    orders: tuple[str, ...] = ()
    at: AwareDatetime


class Talk(Value):
    """The conversation in numbers: the messages themselves are rows."""

    count: int = 0
    first_in: AwareDatetime | None = None
    last_in: AwareDatetime | None = None
    first_out: AwareDatetime | None = None
    last_out: AwareDatetime | None = None
    last_text: str | None = Field(None, description="the buyer's last words, shortened to 500 characters")
    form: str | None = None
    lines: tuple[Said, ...] = Field(
        (), description="the buyer's newest 10 chat lines, shortened, and the times of 50 before them"
    )
    agent: str | None = Field(None, description="the agent who wrote last, as the entrance names them")
    answered: AwareDatetime | None = Field(None, description="when an agent last wrote to the buyer")
    sent: tuple[Sent, ...] = Field((), description="our newest messages to the buyer, at most 10")
    carrier: AwareDatetime | None = Field(None, description="when a carrier wrote last")
    arrivals: tuple[Arrival, ...] = Field((), description="whether messages arrived, as their channels say, at most 10")
    closed: tuple[str, ...] = Field(
        (), description="account/form on which the buyer wants no more messages, at most 10"
    )


class Route(Value):
    """Where the routing rules sent the case."""

    rule: str | None = None
    group: str | None = None
    priority: str | None = None
    tags: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


class Deadline(Value):
    """A running clock of the case; a new ``generation`` makes older timers void."""

    name: str
    due_at: AwareDatetime
    generation: int = 1


class ClaimStep(Value):
    """What was reported of a claim, and when."""

    status: ClaimStatus
    at: AwareDatetime


class Claim(Value):
    """A claim against a carrier or insurer: one for each carrier, waybill and kind.

    ``status`` is where the ``steps`` lead (``core.claims``); ``amount`` is what was claimed until it is decided, then
    what was granted; ``due_at`` ends our time to act: to file it, or to answer.
    """

    id: str | None = None
    waybill: str
    carrier: str | None = None
    kind: ClaimKind
    status: ClaimStatus
    account: str | None = None
    amount: Money | None = None
    paid: Money | None = None
    reason: str | None = None
    due_at: AwareDatetime | None = None
    at: AwareDatetime | None = None
    steps: tuple[ClaimStep, ...] = ()


class Enquiry(Value):
    """What a carrier was asked for the buyer: the key of the question, the carrier's number of it, and when."""

    action: str
    ref: str | None = None
    at: AwareDatetime

    @property
    def waybill(self) -> str:
        """The parcel that it is about."""
        return self.action.removeprefix("carrier:ask:").rpartition(":")[0]


class Evidence(Value):
    """A piece of evidence: stored by hash, or at the vendor's address."""

    id: str
    kind: EvidenceKind
    name: str | None = None
    media_type: str | None = None
    size: int | None = None
    sha256: str | None = None
    url: str | None = None
    source: str | None = None
    at: AwareDatetime | None = None


class Case(Stored):
    """One after-sales matter."""

    schema_: int = Field(1, alias="schema", serialization_alias="schema")
    id: str
    shop: str
    marketplace: str | None = None
    source: str | None = None
    kind: CaseKind = CaseKind.QUESTION
    issue: Issue | None = None
    also: tuple[Issue, ...] = ()
    cause: str | None = None
    liable: str | None = None
    sub: str | None = Field(None, description="the finer cause inside an issue, e.g. late_dispatch")
    level: int = Field(1, ge=1, le=3)
    anger: int = Field(0, ge=0, le=2)
    language: str | None = Field(None, description="the language the buyer writes in, as recognised")
    why: tuple[str, ...] = Field((), description="what the classification rests on")
    identity: Identity | None = None
    status: Status = Status.NEW
    round: int = 1
    opened_at: AwareDatetime
    updated_at: AwareDatetime
    closed_at: AwareDatetime | None = None
    result: str | None = None
    order: Order | None = None
    buyer: Buyer | None = None
    request: Request | None = None
    parcels: tuple[Parcel, ...] = ()
    offered: Remedy | None = None
    agreed: Remedy | None = None
    refunds: tuple[Refund, ...] = ()
    given: tuple[Given, ...] = ()
    ticket: Ticket = Ticket()
    talk: Talk = Talk()
    writers: tuple[Writer, ...] = Field((), description="who wrote in the buyer's name, the last one last, at most 10")
    route: Route = Route()
    deadlines: tuple[Deadline, ...] = ()
    play: Play | None = Field(None, description="the handling play and the place in the queue")
    incident: Incident | None = None
    agent: str | None = Field(None, description="the agent whom a service complaint concerns")
    claims: tuple[Claim, ...] = ()
    enquiries: tuple[Enquiry, ...] = Field((), description="what carriers were asked for the buyer, at most 10")
    coverage: dict[str, bool] = Field(default_factory=dict, description="carrier → whether it serves the address")
    evidence: tuple[Evidence, ...] = ()
    previous: tuple[str, ...] = Field((), description="earlier cases of the same buyer, newest first, at most 20")
    refs: tuple[Ref, ...] = ()
    missing: tuple[str, ...] = Field((), description="facts that did not come in time")
    closings: tuple[datetime, ...] = ()
    reopenings: tuple[datetime, ...] = ()
    stamps: dict[str, str] = Field(
        default_factory=dict, description="which event last wrote a group of fields: an older one never undoes it"
    )
    merged_into: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)

    def ref(self, kind: RefKind | str) -> str | None:
        """The value of the first reference of a kind."""
        return next((one.value for one in self.refs if one.kind == kind), None)

    @property
    def open(self) -> bool:
        """Whether the case still goes on."""
        return self.status is not Status.CLOSED and self.merged_into is None

    @property
    def locale(self) -> str:
        """The buyer's language, English where nothing is known."""
        return (self.buyer.locale if self.buyer else None) or "en"
