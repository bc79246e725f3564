"""Words in a conversation: notes for agents, messages for buyers, and whether they arrived."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Final

from pydantic import Field

from rmabridge.abilities import Context, Finding, Result, SendsMessages, performs
from rmabridge.model import CommentTicket, Form, SendMessage
from rmabridge.wire.attached import Bundle, bundle

from . import answers
from .calls import Calls
from .terms import OUTGOING, path_of

FULL: Final = 20  # messages on one page
MOST_PAGES: Final = 10
# An uncertain delivery is looked up for a day; equal words of an earlier day are other words.
RECENT: Final = timedelta(hours=25)


class Speaking(Calls, SendsMessages):
    """Speaks in conversations; a buyer who came through the chat widget reads it in the chat."""

    forms: ClassVar[frozenset[Form]] = frozenset({Form.CHAT})

    most_attached: int = Field(
        20 << 20, ge=0, description="bytes of files in one message; what is beyond is only named"
    )

    @performs(deadline=90)
    async def send(self, action: SendMessage, ctx: Context) -> Result:
        return await self._say(ctx, action.to, action, public=True)

    async def find_message(self, action: SendMessage, ctx: Context) -> Finding:
        """Whether the conversation holds these words by us."""
        return await self._said(ctx, action.to, action, public=True)

    async def _along(self, action: CommentTicket | SendMessage, ctx: Context) -> Bundle:
        return await bundle(action.attachments, ctx.blob, self.most_attached)

    async def _say(
        self, ctx: Context, conversation: str | None, action: CommentTicket | SendMessage, *, public: bool
    ) -> Result:
        path, along = f"{path_of(conversation)}/messages", await self._along(action, ctx)
        body = {"content": along.words(action.text), "message_type": "outgoing", "private": not public}
        if along.files:
            fields: dict[str, Any] = body | {"private": str(not public).lower()}
            files = [("attachments[]", (one.name, data, one.media_type)) for one, data in along.files]
            answer = await self._call(ctx, "POST", path, data=fields, files=files)
        else:
            answer = await self._call(ctx, "POST", path, body)
        made = answers.Message.model_validate_json(answer)
        return Result(id=f"chatwoot:{made.id}", url=self._page(str(conversation)))

    async def _said(
        self, ctx: Context, conversation: str | None, action: CommentTicket | SendMessage, *, public: bool
    ) -> Finding:
        path, since = f"{path_of(conversation)}/messages", ctx.now() - RECENT
        words = (await self._along(action, ctx)).words(action.text).split()
        params: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            answer = await self._call(ctx, "GET", path, params=params)
            page = [one for one in answers.Messages.model_validate_json(answer).payload if one.created_at]
            recent = [one for one in page if one.created_at and one.created_at >= since]
            for one in recent:
                if self._ours(one) and one.private is not public and (one.content or "").split() == words:
                    return Finding(True, Result(id=f"chatwoot:{one.id}", url=self._page(str(conversation))))
            if len(page) < FULL or len(recent) < len(page):
                return Finding(False)
            params = {"before": page[0].id}
        return Finding(None)

    def _ours(self, one: answers.Message) -> bool:
        return one.message_type in OUTGOING and one.sender.id in self.bot_ids and one.sender.type in {None, "user"}
