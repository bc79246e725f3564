"""Words to the buyer, in one of the kinds of message that Amazon allows for the order at that moment."""

from __future__ import annotations

from typing import Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field

from rmabridge.abilities import Context, Limit, Result, SendsMessages
from rmabridge.errors import Rejected
from rmabridge.model import Form, SendMessage
from rmabridge.wire.bodies import dig

from .calls import Calls

Kind = Literal["unexpectedProblem", "confirmOrderDetails", "confirmDeliveryDetails", "confirmServiceDetails"]


class Talking(Calls, SendsMessages):
    """Writes about an order; ``to`` is its number. Amazon shows no messages, so none can be looked up."""

    forms: ClassVar[frozenset[Form]] = frozenset({Form.THREAD})
    limits: ClassVar[dict[Form, Limit]] = {Form.THREAD: Limit(characters=2000)}

    message_kinds: tuple[Kind, ...] = Field(
        ("unexpectedProblem", "confirmOrderDetails"),
        description="kinds of message, in order of preference; the first that Amazon allows for the order is taken",
        min_length=1,
    )

    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Send the words as plain text; Amazon answers nothing but that it has them."""
        if not action.text or not self.limits[Form.THREAD].fits(action.text):
            raise Rejected(f"{len(action.text)} characters; Amazon takes 1 to 2000", hint="shorten the words")
        if action.attachments:
            raise Rejected("these kinds of message take no files", hint="send them by hand in Seller Central")
        path, asked = f"/messaging/v1/orders/{quote(action.to, safe='')}", {"marketplaceIds": self.marketplace_id}
        kind = self._allowed(await self._ask(ctx, path, asked))
        answer = await self._call(ctx, "POST", f"{path}/messages/{kind}", asked, {"text": action.text})
        if answer.status_code != 201:
            raise ValueError(f"HTTP {answer.status_code} does not say whether the message was taken")
        return Result(note=f"sent as {kind}")

    def _allowed(self, told: dict[str, Any]) -> Kind:
        listed = dig(told, "_links", "actions")
        if not isinstance(listed, list):
            raise ValueError("the answer does not say which messages are allowed")
        names = {dig(one, "name") for one in listed}
        if (kind := next((one for one in self.message_kinds if one in names), None)) is None:
            raise Rejected("Amazon allows none of message_kinds for this order now", hint="write in Seller Central")
        return kind
