"""WeCom group robot (企业微信群机器人): alerts to a group of colleagues.

What it does: posts a text (with colleagues mentioned by phone) or a Markdown message to the group that the robot
belongs to. It reaches nobody else: buyers' messages are refused. What is longer than the group takes is cut at a whole
character. The vendor recognises no repeat, and a robot's messages cannot be looked up.

Reference: https://developer.work.weixin.qq.com/document/path/91770

Not verified, and therefore settings: the most bytes of a message (``text_bytes``, ``markdown_bytes``), and which codes
say that the robot is busy (``busy_codes``) or that its key is wrong (``key_codes``). The rate (``rate``) is what the
vendor publishes.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, SecretStr, model_validator

from rmabridge import hookimpl
from rmabridge.abilities import Context, Limit, Plugin, Result, SendsMessages
from rmabridge.errors import DeliveryError, Rejected, Unauthorised, Unavailable
from rmabridge.model import Form, SendMessage
from rmabridge.wire.bodies import dump_json
from rmabridge.wire.texts import cut


class Answer(BaseModel):
    """What the robot answers; the HTTP status is 200 for refusals too."""

    errcode: int
    errmsg: str = ""


class WecomRobot(Plugin, SendsMessages):
    """One robot in one group."""

    title: ClassVar[str] = "WeCom group robot (企业微信群机器人)"
    reference: ClassVar[str] = "https://developer.work.weixin.qq.com/document/path/91770"
    forms: ClassVar[frozenset[Form]] = frozenset({Form.CHAT})

    key: SecretStr = Field(min_length=1, description="key=… of the robot's webhook address; whoever has it can post")
    url: str = Field("https://qyapi.weixin.qq.com/cgi-bin/webhook/send", description="the webhook address, without key")
    format: Literal["text", "markdown"] = Field("text", description="'text', or 'markdown' (a buyer's links turn blue)")
    mention_mobiles: tuple[str, ...] = Field((), description="phones of colleagues to mention, or '@all'; text only")
    text_bytes: int = Field(2048, gt=16, description="most bytes (UTF-8) of a text")
    markdown_bytes: int = Field(4096, gt=16, description="most bytes (UTF-8) of a Markdown message")
    busy_codes: tuple[int, ...] = Field((-1, 45009), description="errcode of a robot that is busy or posts too often")
    key_codes: tuple[int, ...] = Field((93000,), description="errcode of a key that is not a robot's")
    busy_pause: float = Field(60, gt=0, description="seconds to wait after a busy answer")
    rate: str | None = Field("20/min", description="most messages of the robot, e.g. '20/min'")

    @model_validator(mode="after")
    def _mentions_are_of_texts(self) -> Self:
        if self.mention_mobiles and self.format == "markdown":
            raise ValueError("mention_mobiles: only messages of format 'text' mention colleagues by phone")
        return self

    def limit(self, form: Form) -> Limit | None:
        """The longest message."""
        return Limit(bytes=self._most) if self.carries(form) else None

    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Post the message to the group; the vendor gives it no id."""
        if action.audience != "staff":
            raise Rejected("a group robot reaches colleagues only", hint="name this account under staff, not channels")
        content, note = self._content(action)
        key = {"key": self.key.get_secret_value()}
        headers = {"Content-Type": "application/json; charset=utf-8"}
        body = dump_json(self._message(content)).encode()
        response = await ctx.http.post(self.url, params=key, content=body, headers=headers)
        response.raise_for_status()
        answer = Answer.model_validate_json(response.content)
        if answer.errcode:
            raise self._refusal(answer)
        return Result(note=note)

    @property
    def _most(self) -> int:
        return self.text_bytes if self.format == "text" else self.markdown_bytes

    def _content(self, action: SendMessage) -> tuple[str, str | None]:
        """The words, with the subject above them, and a note where they had to be cut."""
        words = "\n".join(filter(None, (action.subject, action.text)))
        links = "\n".join(f"{one.name}: {one.url}" for one in action.attachments if one.url)
        whole = "\n".join(filter(None, (words, links)))
        if not whole.strip():
            raise Rejected("the message is empty")
        shown = cut(whole, self._most)
        return shown, None if shown == whole else f"cut to {self._most} bytes"

    def _message(self, content: str) -> dict[str, Any]:
        inner: dict[str, Any] = {"content": content}
        if self.mention_mobiles:
            inner["mentioned_mobile_list"] = list(self.mention_mobiles)
        return {"msgtype": self.format, self.format: inner}

    def _refusal(self, answer: Answer) -> DeliveryError:
        cause = f"errcode {answer.errcode}: {answer.errmsg[:200]}"
        if answer.errcode in self.busy_codes:
            return Unavailable(cause, retry_after=self.busy_pause)
        if answer.errcode in self.key_codes:
            return Unauthorised(cause, hint="is the robot still in its group? copy its key again")
        return Rejected(cause)


@hookimpl
def register_channels() -> list[type[Plugin]]:
    """The plugin of this module."""
    return [WecomRobot]
