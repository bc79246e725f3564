"""Words to the buyer, in the thread of a return or an inquiry."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from rmabridge.abilities import Context, Limit, Result, SendsMessages
from rmabridge.errors import Rejected
from rmabridge.model import Form, SendMessage

from .calls import Calls
from .terms import INQUIRY, id_of


class Talking(Calls, SendsMessages):
    """Writes in the thread; ``to`` is the return's id, or ``inquiry:`` and an inquiry's."""

    forms: ClassVar[frozenset[Form]] = frozenset({Form.THREAD})

    message_characters: int = Field(1000, gt=0, description="longest message that eBay takes")

    def limit(self, form: Form) -> Limit | None:
        """The longest text of the form."""
        return Limit(characters=self.message_characters) if form is Form.THREAD else None

    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Leave the words in the thread; eBay answers no id of them."""
        kind, id_ = ("inquiry" if action.to.startswith(INQUIRY) else "return"), id_of(action.to.removeprefix(INQUIRY))
        if not id_:
            raise Rejected(f"{action.to} is neither a return nor an inquiry")
        if not action.text or len(action.text) > self.message_characters:
            raise Rejected(f"{len(action.text)} characters; eBay takes 1 to {self.message_characters}")
        if action.attachments:
            raise Rejected("eBay takes no files with these messages", hint="send them by hand in the Seller Hub")
        words = {"message": {"content": action.text}}
        await self._post_order(ctx, "POST", f"/{kind}/{id_}/send_message", json=words)
        return Result()
