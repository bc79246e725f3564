"""What an account can do: one small ABC each. An author writes only the methods."""

from abc import ABC, abstractmethod
from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ..model import (
    ApproveReturn,
    CommentTicket,
    DeclineReturn,
    FetchOrder,
    Form,
    Forward,
    OpenTicket,
    PayRefund,
    QueryParcel,
    SendMessage,
    TemplateRef,
    TrackParcel,
    UpdateTicket,
)
from .context import Context, Finding, Result
from .plugin import performs


class KeepsTickets(ABC):
    """A help desk: one ticket a case. What it can look up by our id, ``find_ticket`` finds."""

    @performs(OpenTicket, find="find_ticket")
    @abstractmethod
    async def open_ticket(self, action: OpenTicket, ctx: Context) -> Result:
        """Open the ticket; ``Result.id`` is its id."""

    @performs(CommentTicket, find="find_comment")
    @abstractmethod
    async def comment_ticket(self, action: CommentTicket, ctx: Context) -> Result:
        """Add a note or public words to ``action.ticket``."""

    @performs(UpdateTicket, repeatable=True)
    @abstractmethod
    async def update_ticket(self, action: UpdateTicket, ctx: Context) -> Result:
        """Set status, priority, tags or fields of ``action.ticket``."""

    async def find_ticket(self, action: OpenTicket, ctx: Context) -> Finding:
        """Look the ticket up by ``action.external``."""
        return Finding(None)

    async def find_comment(self, action: CommentTicket, ctx: Context) -> Finding:
        """Look whether the comment is on the ticket."""
        return Finding(None)


class Limit(BaseModel):
    """The longest text of one form: characters, or bytes in UTF-8."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int | None = None
    characters: int | None = None

    def fits(self, text: str) -> bool:
        """Whether the text is within the limit."""
        if self.bytes is not None and len(text.encode()) > self.bytes:
            return False
        return self.characters is None or len(text) <= self.characters


class SendsMessages(ABC):
    """A channel to buyers or staff; ``forms`` says in which form the words go, ``limits`` how long they may be."""

    forms: ClassVar[frozenset[Form]] = frozenset()
    limits: ClassVar[dict[Form, Limit]] = {}

    def carries(self, form: Form) -> bool:
        """Whether this account sends messages of the form."""
        return form in self.forms

    def limit(self, form: Form) -> Limit | None:
        """The longest text of the form."""
        return self.limits.get(form)

    def knows(self, template: TemplateRef | None) -> bool:
        """Whether this account carries words of the template; None is free text. Most carry any."""
        return True

    @performs(SendMessage, find="find_message")
    @abstractmethod
    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Send the message; ``Result.id`` is the channel's id of it."""

    async def find_message(self, action: SendMessage, ctx: Context) -> Finding:
        """Look whether the message went out."""
        return Finding(None)


class TracksParcels(ABC):
    """A carrier or an aggregator of carriers. Without a push, ``track`` may answer None: then the bridge queries."""

    pushes: ClassVar[bool] = False

    @performs(QueryParcel, repeatable=True)
    @abstractmethod
    async def query(self, action: QueryParcel, ctx: Context) -> Result:
        """Where is the parcel: ``Result.events`` holds one ``ParcelSeen``."""

    @performs(TrackParcel, repeatable=True)
    async def track(self, action: TrackParcel, ctx: Context) -> Result | None:
        """Subscribe to the parcel's scans."""
        return None


class FetchesOrders(ABC):
    """A marketplace that shows its orders."""

    @performs(FetchOrder, repeatable=True)
    @abstractmethod
    async def fetch_order(self, action: FetchOrder, ctx: Context) -> Result:
        """The order with buyer, parcels and request: ``Result.events`` holds an ``OrderSeen`` first."""


class DecidesReturns(ABC):
    """A marketplace whose return requests are approved or declined by call."""

    @performs(ApproveReturn, find="find_decision")
    @abstractmethod
    async def approve_return(self, action: ApproveReturn, ctx: Context) -> Result:
        """Approve; ``Result.events`` holds a ``RequestChanged`` where the answer shows it."""

    @performs(DeclineReturn, find="find_decision")
    @abstractmethod
    async def decline_return(self, action: DeclineReturn, ctx: Context) -> Result:
        """Decline, with the reason."""

    async def find_decision(self, action: ApproveReturn | DeclineReturn, ctx: Context) -> Finding:
        """Look whether the request was decided as asked."""
        return Finding(None)


class PaysRefunds(ABC):
    """A marketplace that pays refunds by call. Money: never sent twice, looked up when in doubt."""

    @performs(PayRefund, find="find_refund")
    @abstractmethod
    async def pay_refund(self, action: PayRefund, ctx: Context) -> Result:
        """Pay; ``Result.id`` is the refund's id and ``Result.events`` holds a ``RefundSeen``."""

    async def find_refund(self, action: PayRefund, ctx: Context) -> Finding:
        """Look whether the refund was made."""
        return Finding(None)


class Forwards(ABC):
    """Sends the bridge's own events to an address of the integrator's."""

    @performs(Forward, repeatable=True)
    @abstractmethod
    async def forward(self, action: Forward, ctx: Context) -> Result:
        """POST the body, signed; the receiver recognises the same id on a repeat."""


class Probes(ABC):
    """Has a cheap call that shows that address and credentials are right."""

    @abstractmethod
    async def probe(self, ctx: Context) -> str:
        """What answered, in a few words; errors as in any call."""


class Connects(ABC):
    """Gets its credentials by the OAuth code flow, or registers its webhooks by call."""

    def authorise_url(self, redirect: str, state: str) -> str | None:
        """Where the operator gives consent; None where the vendor has no such flow."""
        return None

    async def exchange(self, query: dict[str, str], redirect: str, ctx: Context) -> dict[str, str]:
        """Turn the callback's query into a token (checked: an HMAC or state that is wrong raises ``Unverified``)."""
        raise TypeError("this plugin has no code flow")

    async def token_expires(self, ctx: Context) -> datetime | None:
        """When the stored token dies; None for one that does not."""
        return None

    async def subscribe(self, url: str, ctx: Context) -> tuple[str, ...]:
        """Register ``url`` for all events that ``parse`` knows, once; what is left to do by hand."""
        return ()
