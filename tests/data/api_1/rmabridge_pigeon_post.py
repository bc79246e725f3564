"""Pigeon Post: messages both ways by carrier pigeon, and a policy that reads them over.

Reference: https://pigeon.example/api

A plugin as somebody wrote it for version 1 of the plugin API, which it does not even name. Never changed: what it does
must go on working for as long as version 1 is supported.

Not verified: everything; pigeons do not speak HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import ClassVar

from pydantic import Field, SecretStr

from rmabridge import hookimpl
from rmabridge.abilities import (
    Context,
    Inbound,
    Limit,
    Plugin,
    Policy,
    Proposal,
    Receipt,
    ReceivesWebhooks,
    Result,
    Secrets,
    SendsMessages,
    View,
    WebRequest,
    live,
    performs,
)
from rmabridge.errors import Malformed, Rejected, Unverified
from rmabridge.model import (
    Action,
    Author,
    Buyer,
    Case,
    CommentTicket,
    Event,
    Form,
    Message,
    MessageReceived,
    Ref,
    RefKind,
    SendMessage,
    Verdict,
    hold,
)
from rmabridge.wire.bodies import dig, read_object, text
from rmabridge.wire.signing import any_matches, hmac_hex
from rmabridge.wire.times import instant


class Pigeon(Plugin, ReceivesWebhooks, SendsMessages):
    """One loft."""

    title: ClassVar[str] = "Pigeon Post"
    reference: ClassVar[str] = "https://pigeon.example/api"
    forms: ClassVar[frozenset[Form]] = frozenset({Form.CHAT})
    limits: ClassVar[dict[Form, Limit]] = {Form.CHAT: Limit(characters=2000)}

    secret: Secrets = Field(description="signs what arrives")
    token: SecretStr = Field(description="sent with every call")
    url: str = Field("https://pigeon.example", description="where pigeons start")

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the ring on the pigeon's leg."""
        marks = [hmac_hex(one, request.body) for one in live(self.secret, now)]
        if not any_matches(request.headers.get("X-Pigeon", ""), marks):
            raise Unverified("X-Pigeon does not fit the body")
        return Receipt(id=request.headers.get("X-Flight"))

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """One message for each pigeon."""
        body = read_object(inbound.body)
        loft, id_ = text(dig(body, "loft")), text(dig(body, "id"))
        if not loft or not id_:
            return []
        try:
            at = instant(str(body.get("at")), "UTC")
        except ValueError as error:
            raise Malformed("the time cannot be read") from error
        said = Message(id=id_, author=Author.BUYER, form=Form.CHAT, text=text(body.get("words")) or "", at=at)
        refs = (Ref(kind=RefKind.THREAD, value=loft),)
        return [MessageReceived(key=id_, at=at, refs=refs, message=said, buyer=Buyer(id=loft, chat=loft))]

    @performs(repeatable=True, remembers=timedelta(hours=1))
    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Let one fly."""
        if not action.to:
            raise Rejected("nobody to fly to", hint="the buyer's loft is not known")
        headers = {"Authorization": f"Bearer {self.token.get_secret_value()}", "Idempotency-Key": ctx.idempotency_key}
        words = {"to": action.to, "words": action.text}
        answer = await ctx.http.post(f"{self.url}/fly", json=words, headers=headers)
        answer.raise_for_status()
        return Result(id=text(read_object(answer.content).get("id")))


class Reader(Policy):
    """Tells the staff of what a pigeon brought, ends each message with a greeting, and holds what names a cat."""

    title: ClassVar[str] = "Reader"

    greeting: str = Field("Coo!", description="the last word of each message")

    def decide(self, case: Case, event: Event, view: View) -> Iterable[Proposal]:
        """A note on the ticket for each case."""
        if case.open:
            yield CommentTicket(origin=f"pigeon:{case.round}", text="came by pigeon")

    def amend(self, action: Action, case: Case, view: View) -> Action | None:
        """End with the greeting, once."""
        if isinstance(action, SendMessage) and not action.text.endswith(self.greeting):
            return action.model_copy(update={"text": f"{action.text} {self.greeting}"})
        return None

    def review(self, action: Action, case: Case, view: View) -> Verdict | None:
        """Hold what frightens pigeons."""
        if isinstance(action, SendMessage) and "cat" in action.text.split():
            return hold("pigeon.cat", "names a cat")
        return None


@hookimpl
def register_channels() -> list[type[Plugin]]:
    """What this module offers for [channels.…]."""
    return [Pigeon]


@hookimpl
def register_policies() -> list[type[Policy]]:
    """What this module offers for [policies.…]."""
    return [Reader]
