"""Events: what happened, in the bridge's words. ``parse`` of a plugin returns them; only the router applies them.

Every event has a ``key`` (the vendor's id, or stable fields joined: equal on every redelivery, never the delivery
time), ``at`` (the vendor's time of the fact, aware) and ``refs`` (the names by which its case is found).
Classes with ``opener = True`` may create a case; any other event without a match waits as *unmatched*; those with
``waits = False`` are dropped.
"""

from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter

from .message import Message
from .money import Money
from .order import Order
from .parcel import Parcel
from .people import Buyer, Form
from .playing import Incident, PlayStep, Rank, Rights
from .refs import Ref
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


class Line(Value):
    """A part of a request: which order line, how many pieces, and why."""

    id: str
    order_line: str | None = None
    sku: str | None = None
    quantity: int = 1
    reason: str | None = None
    note: str | None = None


class Base(Stored):
    """What all events have. ``shop`` is named only where one account serves several shops."""

    opener: ClassVar[bool] = False
    waits: ClassVar[bool] = True

    schema_: int = Field(1, alias="schema", serialization_alias="schema")
    key: str = Field(min_length=1, max_length=512)
    at: AwareDatetime
    refs: tuple[Ref, ...] = ()
    shop: str | None = None


class CaseRequested(Base):
    """A customer asks for something: a return, a refund, an exchange, a repair, help."""

    opener: ClassVar[bool] = True
    type: Literal["case.requested"] = "case.requested"
    kind: CaseKind
    issue: Issue | None = None
    reason: str | None = None
    note: str | None = None
    lines: tuple[Line, ...] = ()
    amount: Money | None = None
    order: Order | None = None
    buyer: Buyer | None = None


class RequestChanged(Base):
    """The marketplace's request moved: approved, declined, cancelled, closed.

    ``lines`` are the request's lines, where the answer carried them: their ids are what a refund call names.
    """

    type: Literal["request.changed"] = "request.changed"
    status: RequestStatus
    reason: str | None = None
    lines: tuple[Line, ...] = ()
    amount: Money | None = None
    due_at: AwareDatetime | None = None


class MessageReceived(Base):
    """Somebody wrote. A buyer's message opens a case; an agent's or a carrier's joins one."""

    opener: ClassVar[bool] = True
    type: Literal["message.received"] = "message.received"
    message: Message
    buyer: Buyer | None = None
    source: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class OrderSeen(Base):
    """The order as the marketplace shows it now, with the buyer and the parcels on their way."""

    type: Literal["order.seen"] = "order.seen"
    order: Order
    buyer: Buyer | None = None
    parcels: tuple[Parcel, ...] = ()


class ParcelSeen(Base):
    """A parcel as its carrier shows it now: a snapshot or a push; scans are merged by time and code."""

    type: Literal["parcel.seen"] = "parcel.seen"
    parcel: Parcel


class RefundSeen(Base):
    """A refund as the marketplace shows it: ``refund`` is the marketplace's id of it."""

    type: Literal["refund.seen"] = "refund.seen"
    refund: str
    amount: Money | None = None
    status: RefundStatus = RefundStatus.DONE
    method: str | None = None
    lines: tuple[str, ...] = ()


class TicketSeen(Base):
    """A help-desk ticket changed: status in the help desk's words, lower case.

    ``continues`` names the ticket that this one goes on for: it is the case's ticket from now on.
    """

    type: Literal["ticket.seen"] = "ticket.seen"
    continues: str | None = None
    status: str | None = None
    priority: str | None = None
    tags: tuple[str, ...] | None = None
    assignee: str | None = None


class Delivered(Base):
    """A message that we sent arrived, or did not: a receipt of a channel; ``message`` is the channel's id of it.

    ``delivery`` is our own ``idempotency_key``, where the channel brings it back: by it a message is known whose id we
    were never told.
    """

    type: Literal["message.delivered"] = "message.delivered"
    message: str
    ok: bool
    reason: str | None = None
    delivery: str | None = None


class OptedOut(Base):
    """A buyer wants no more messages of this ``form`` by the account that heard it; dropped where no case is known."""

    waits: ClassVar[bool] = False
    type: Literal["buyer.opted_out"] = "buyer.opted_out"
    form: Form
    words: str | None = None


class OptedIn(Base):
    """A buyer who had opted out wants messages of this ``form`` again; dropped where no case is known."""

    waits: ClassVar[bool] = False
    type: Literal["buyer.opted_in"] = "buyer.opted_in"
    form: Form
    words: str | None = None


class Classified(Base):
    """A policy's or a person's word on what the case is about; ``why`` are the phrases or facts that it rests on."""

    type: Literal["case.classified"] = "case.classified"
    kind: CaseKind | None = None
    issue: Issue | None = None
    also: tuple[Issue, ...] | None = None
    cause: str | None = None
    level: int | None = Field(None, ge=1, le=3)
    liable: str | None = None
    sub: str | None = None
    anger: int | None = Field(None, ge=0, le=2, description="0 calm, 1 displeased, 2 angry")
    language: str | None = None
    confidence: float | None = None
    agent: str | None = None
    why: tuple[str, ...] = ()


class Choice(Value):
    """One of several remedies on the table; ``parts`` are what is given together with it."""

    remedy: RemedyKind
    amount: Money | None = None
    parts: tuple[RemedyKind, ...] = ()
    rule: str | None = None


class RemedyOffered(Base):
    """A remedy is on the table; ``automatic`` names the rule that needs no acceptance.

    ``choices`` are all that the buyer may choose from, the first of them being the one proposed. ``interim`` marks
    what is given while liability is open: it is deducted from the final settlement.
    """

    type: Literal["remedy.offered"] = "remedy.offered"
    remedy: RemedyKind
    amount: Money | None = None
    automatic: str | None = None
    choices: tuple[Choice, ...] = ()
    interim: bool = False


class RemedyAccepted(Base):
    """Both sides agree: from here on the remedy may be carried out."""

    type: Literal["remedy.accepted"] = "remedy.accepted"
    remedy: RemedyKind
    amount: Money | None = None
    by: str = "buyer"


class RemedyDeclined(Base):
    """The buyer does not want what was offered."""

    type: Literal["remedy.declined"] = "remedy.declined"
    by: str = "buyer"


class ClaimSeen(Base):
    """A claim as carrier or insurer shows it now; ``claim`` is their id of it, ``due_at`` ends our time to answer."""

    type: Literal["claim.seen"] = "claim.seen"
    claim: str | None = None
    waybill: str
    carrier: str | None = None
    kind: ClaimKind
    status: ClaimStatus
    amount: Money | None = None
    paid: Money | None = None
    reason: str | None = None
    due_at: AwareDatetime | None = None


class EvidenceAdded(Base):
    """A piece of evidence joins the case: a stored file (by hash), or one that lies at the vendor (by address)."""

    type: Literal["evidence.added"] = "evidence.added"
    evidence: str
    kind: EvidenceKind
    name: str | None = None
    media_type: str | None = None
    size: int | None = None
    sha256: str | None = None
    url: str | None = None
    source: str = "buyer"


class IdentityChecked(Base):
    """Whether the writer is the buyer of the order, and what the answer rests on."""

    type: Literal["identity.checked"] = "identity.checked"
    identity: Identity
    why: tuple[str, ...] = ()


class CoverageSeen(Base):
    """Whether a carrier serves the address of the order."""

    type: Literal["coverage.seen"] = "coverage.seen"
    carrier: str
    served: bool
    reason: str | None = None


class Held(Base):
    """An action waits for a person: ``action`` is its key, ``digest`` names exactly what would be approved."""

    type: Literal["action.held"] = "action.held"
    action: str
    action_type: str
    digest: str
    rules: tuple[str, ...]
    reason: str
    amount: Money | None = None


class Routed(Base):
    """Which rule routed the case, and where to."""

    type: Literal["case.routed"] = "case.routed"
    rule: str
    group: str | None = None
    priority: str | None = None
    tags: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


class PlayMoved(Base):
    """The handling play went on: ``steps`` are newly reached, what is None stays. Turns only rise."""

    type: Literal["play.moved"] = "play.moved"
    play: str
    state: str
    turn: int
    round: int = 1
    steps: tuple[PlayStep, ...] = ()
    next: tuple[str, ...] = ()
    needs: tuple[str, ...] | None = None
    standard: tuple[str, ...] | None = None
    rank: Rank | None = None
    rights: Rights | None = None


class IncidentOpened(Base):
    """The case opened an incident, or turned out to be part of one."""

    type: Literal["incident.opened"] = "incident.opened"
    incident: Incident


class Closed(Base):
    """The case is finished; ``result`` says how."""

    type: Literal["case.closed"] = "case.closed"
    result: str
    by: str = "bridge"


class Reopened(Base):
    """The case goes on after it was closed: the next round."""

    type: Literal["case.reopened"] = "case.reopened"
    reason: str = ""


class Merged(Base):
    """Another case turned out to be this one; ``case`` is the one absorbed."""

    type: Literal["case.merged"] = "case.merged"
    case: str


class Settled(Base):
    """A delivery ended: what became of an action. ``action`` is its key, ``ref`` the vendor's id of what it made.

    ``delivery`` is the ``idempotency_key`` that a message went with, ``form`` how it was written.
    """

    type: Literal["action.settled"] = "action.settled"
    action: str
    action_type: str
    account: str
    outcome: Literal["done", "rejected", "dead", "uncertain", "expired", "cancelled"]
    ref: str | None = None
    url: str | None = None
    cause: str | None = None
    amount: Money | None = None
    delivery: str | None = None
    form: Form | None = None


class DeadlineReached(Base):
    """A timer of the case ran out; an older ``generation`` than the case's own changes nothing."""

    type: Literal["deadline.reached"] = "deadline.reached"
    name: str
    generation: int


class FactMissing(Base):
    """What a policy waits for did not come in time: it goes on without."""

    type: Literal["fact.missing"] = "fact.missing"
    fact: str
    reason: str = ""


class Commanded(Base):
    """An operator's or program's command, by CLI, API or console."""

    type: Literal["commanded"] = "commanded"
    command: str
    by: str
    args: dict[str, Any] = Field(default_factory=dict)


class Noted(Base):
    """A note on the timeline: an operator's words, or a fact that no field holds (amounts, labels)."""

    type: Literal["noted"] = "noted"
    text: str
    by: str = "bridge"
    values: dict[str, str | int | Decimal | bool | None] = Field(default_factory=dict)


class Erased(Base):
    """The buyer's personal data was erased."""

    type: Literal["case.erased"] = "case.erased"


Event = (
    CaseRequested
    | RequestChanged
    | MessageReceived
    | OrderSeen
    | ParcelSeen
    | RefundSeen
    | TicketSeen
    | Delivered
    | OptedIn
    | OptedOut
    | Classified
    | RemedyOffered
    | RemedyAccepted
    | RemedyDeclined
    | ClaimSeen
    | EvidenceAdded
    | IdentityChecked
    | CoverageSeen
    | Held
    | Routed
    | PlayMoved
    | IncidentOpened
    | Closed
    | Reopened
    | Merged
    | Settled
    | DeadlineReached
    | FactMissing
    | Commanded
    | Noted
    | Erased
)
# Built when it is first used: what comes in and what is stored is read by ``flow.batch``, many at once.
EVENTS: TypeAdapter[Event] = TypeAdapter(
    Annotated[Event, Field(discriminator="type")], config=ConfigDict(defer_build=True)
)
# What changes what a case is about; the rest tells how our own actions, clocks and talks with staff went.
NEWS: Final[frozenset[type[Any]]] = frozenset(
    {
        CaseRequested,
        RequestChanged,
        MessageReceived,
        OrderSeen,
        ParcelSeen,
        RefundSeen,
        Classified,
        IdentityChecked,
        FactMissing,
        Closed,
        Reopened,
        Merged,
    }
)
