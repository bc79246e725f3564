"""Actions: what the bridge is to do outside. Policies and operators propose them; plugins carry them out.

An action's ``key`` is computed by its class from what it aims at, never written by hand: proposing the same key again
is a no-op. ``stream`` keeps effects on one object in order; ``effect`` makes a money-moving effect unique at its
account across all cases.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, TypeAdapter

from .acting import Base
from .claiming import AnswerClaim, AppealClaim, AskCarrier, CheckCoverage, FileClaim, QueryClaim, RequestProof
from .giving import GiveCredit, PrintLabel, Reship, TagBuyer
from .message import Attachment, TemplateRef
from .money import Money
from .people import Form
from .reading import ClassifyText


class OpenTicket(Base):
    """Open a ticket for the case: ``external`` is the case id, found again by ``find``."""

    kind: ClassVar[str] = "ticket.open"
    type: Literal["ticket.open"] = "ticket.open"
    external: str
    subject: str
    text: str
    requester_name: str | None = None
    requester_email: str | None = None
    priority: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    fields: dict[str, str] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        return "ticket:open"

    @property
    def stream(self) -> str:
        return "ticket"


class CommentTicket(Base):
    """Add to the ticket: an internal note, or (``public``) words for the customer. ``origin`` names what it tells."""

    kind: ClassVar[str] = "ticket.comment"
    type: Literal["ticket.comment"] = "ticket.comment"
    origin: str
    ticket: str | None = None
    text: str
    public: bool = False
    attachments: tuple[Attachment, ...] = ()

    @property
    def key(self) -> str:
        return f"ticket:comment:{self.origin}"

    @property
    def stream(self) -> str:
        return "ticket"


class UpdateTicket(Base):
    """Set the ticket's status, priority, group or fields; ``origin`` names why, so that each change counts once.

    ``unassign`` takes it from the agent who has it, for whoever of the group is next.
    """

    kind: ClassVar[str] = "ticket.update"
    type: Literal["ticket.update"] = "ticket.update"
    origin: str
    ticket: str | None = None
    status: Literal["open", "pending", "solved"] | None = None
    priority: str | None = None
    group: str | None = None
    unassign: bool = False
    add_tags: tuple[str, ...] = ()
    fields: dict[str, str] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"ticket:update:{self.origin}"

    @property
    def stream(self) -> str:
        return "ticket"


class SendMessage(Base):
    """Tell somebody something. ``purpose`` is the key: ``reply:first:1``, ``progress:approved:1``, ``answer:{id}``.

    ``to`` is where ``form`` reaches them (a mail address, a phone number, a thread or chat id). ``audience`` ``staff``
    goes to colleagues and carriers. ``thread_key`` keeps mails of a case together. ``once`` is what may be told to one
    account only once, in whichever case (a claim filed by mail). ``values`` are the template's plain values, for
    channels that carry only templates which the vendor approved.
    """

    kind: ClassVar[str] = "message.send"
    type: Literal["message.send"] = "message.send"
    purpose: str
    form: Form
    to: str
    text: str
    subject: str | None = None
    name: str | None = None
    locale: str | None = None
    audience: Literal["buyer", "staff"] = "buyer"
    template: TemplateRef | None = None
    values: dict[str, str] = Field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()
    thread_key: str | None = None
    once: str | None = None

    @property
    def key(self) -> str:
        return self.purpose

    @property
    def effect(self) -> str | None:
        return self.once

    @property
    def stream(self) -> str:
        return f"message:{self.audience}:{self.form}"


class TrackParcel(Base):
    """Have the carrier tell us about a parcel from now on: subscribe, or poll where there is no push."""

    kind: ClassVar[str] = "parcel.track"
    type: Literal["parcel.track"] = "parcel.track"
    waybill: str
    carrier: str | None = None
    phone_tail: str | None = None

    @property
    def key(self) -> str:
        return f"parcel:track:{self.waybill}"

    @property
    def stream(self) -> str:
        return f"parcel:{self.waybill}"


class QueryParcel(Base):
    """Ask the carrier where a parcel is, now; ``round`` counts the times asked."""

    kind: ClassVar[str] = "parcel.query"
    type: Literal["parcel.query"] = "parcel.query"
    waybill: str
    carrier: str | None = None
    phone_tail: str | None = None
    round: int = 1

    @property
    def key(self) -> str:
        return f"parcel:query:{self.waybill}:{self.round}"

    @property
    def stream(self) -> str:
        return f"parcel:{self.waybill}"


class FetchOrder(Base):
    """Fetch the order with its buyer and parcels: by ``order`` id or number, by the request, or the buyer's latest."""

    kind: ClassVar[str] = "order.fetch"
    type: Literal["order.fetch"] = "order.fetch"
    order: str | None = None
    request: str | None = None
    buyer: str | None = None

    @property
    def key(self) -> str:
        return f"order:fetch:{self.order or self.request or 'latest'}"  # an address of the buyer's is none of a key's


def _decision(request: str, turn: int) -> str:
    return f"return:decide:{request}" + (f":{turn}" if turn else "")


class ApproveReturn(Base):
    """Approve the marketplace's return request."""

    kind: ClassVar[str] = "return.approve"
    type: Literal["return.approve"] = "return.approve"
    request: str
    turn: int = Field(0, ge=0, description="how often it was decided before: what was declined may be asked for again")

    @property
    def key(self) -> str:
        return _decision(self.request, self.turn)

    @property
    def stream(self) -> str:
        return f"request:{self.request}"


class DeclineReturn(Base):
    """Decline the marketplace's return request, with a reason the marketplace knows and words for the buyer."""

    kind: ClassVar[str] = "return.decline"
    type: Literal["return.decline"] = "return.decline"
    request: str
    reason: Literal["final_sale", "period_ended", "other"] = "other"
    note: str | None = None
    turn: int = Field(0, ge=0, description="how often it was decided before")

    @property
    def key(self) -> str:
        return _decision(self.request, self.turn)

    @property
    def stream(self) -> str:
        return f"request:{self.request}"


class PayRefund(Base):
    """Pay a refund by the marketplace's own call; ``request`` is its return or refund request where there is one.

    ``lines`` are (request line or order line id, pieces). ``part`` tells several refunds of one object apart.
    """

    kind: ClassVar[str] = "refund.pay"
    moves_money: ClassVar[bool] = True
    type: Literal["refund.pay"] = "refund.pay"
    order: str | None = None
    request: str | None = None
    amount: Money
    lines: tuple[tuple[str, int], ...] = ()
    part: str = "all"
    note: str | None = None

    @property
    def key(self) -> str:
        return f"refund:{self.request or self.order}:{self.part}"

    @property
    def stream(self) -> str:
        return f"request:{self.request or self.order}"

    @property
    def effect(self) -> str | None:
        return self.key


class Forward(Base):
    """Send a case change or an event to the integrator's own address, signed."""

    kind: ClassVar[str] = "event.forward"
    type: Literal["event.forward"] = "event.forward"
    origin: str
    event: str
    body: str

    @property
    def key(self) -> str:
        return f"forward:{self.account}:{self.origin}"

    @property
    def stream(self) -> str:
        return f"forward:{self.account}"


Action = (
    OpenTicket
    | CommentTicket
    | UpdateTicket
    | SendMessage
    | TrackParcel
    | QueryParcel
    | FetchOrder
    | ApproveReturn
    | DeclineReturn
    | PayRefund
    | GiveCredit
    | Reship
    | PrintLabel
    | TagBuyer
    | FileClaim
    | AnswerClaim
    | AppealClaim
    | QueryClaim
    | RequestProof
    | AskCarrier
    | CheckCoverage
    | ClassifyText
    | Forward
)
ACTIONS: TypeAdapter[Action] = TypeAdapter(Annotated[Action, Field(discriminator="type")])
