"""Words to the buyer: messages in the refund's thread, short ones, with a picture where there is one."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from pydantic import Field

from rmabridge.abilities import Context, Finding, Limit, Result, SendsMessages
from rmabridge.errors import Rejected
from rmabridge.model import Attachment, Form, SendMessage
from rmabridge.wire.bodies import dig

from .calls import Files
from .feeding import Feeding
from .terms import number

_PICTURES: Final = frozenset({"image/jpeg", "image/gif", "image/png"})
_SELLER: Final = "2"


class Talking(Feeding, SendsMessages):
    """Writes in the thread of a refund; ``to`` is the refund's id."""

    forms: ClassVar[frozenset[Form]] = frozenset({Form.THREAD})
    limits: ClassVar[dict[Form, Limit]] = {Form.THREAD: Limit(bytes=400)}

    picture_bytes: int = Field(500_000, gt=0, description="largest picture that Taobao takes in a message")

    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Leave the words in the thread, with the first picture."""
        if not self.limits[Form.THREAD].fits(action.text):
            raise Rejected(
                f"{len(action.text.encode())} bytes; Taobao takes 400 in a message", hint="shorten the words"
            )
        files = await self._picture(action.attachments, ctx)
        told = await self._act(ctx, "taobao.refund.message.add", files=files, refund_id=action.to, content=action.text)
        return Result(id=number(dig(told, "refund_message", "id")))

    async def find_message(self, action: SendMessage, ctx: Context) -> Finding:
        """Whether the seller's own words stand in the thread."""
        held = await self._refund(action.to, ctx)
        for one in await self._messages(action.to, held.get("refund_phase"), ctx):
            if str(one.get("owner_role")) == _SELLER and one.get("content") == action.text:
                return Finding(True, Result(id=number(one.get("id"))))
        return Finding(False)

    async def _picture(self, attachments: tuple[Attachment, ...], ctx: Context) -> Files | None:
        if not attachments:
            return None
        first: Any = attachments[0]
        if len(attachments) > 1 or first.media_type not in _PICTURES or not first.url:
            raise Rejected("Taobao takes one JPG, GIF or PNG in a message", hint="send the rest by hand")
        answer = await ctx.http.get(first.url)
        answer.raise_for_status()
        if len(answer.content) > self.picture_bytes:
            raise Rejected(f"{first.name} is larger than {self.picture_bytes} bytes")
        return {"image": (first.name, answer.content, first.media_type)}
