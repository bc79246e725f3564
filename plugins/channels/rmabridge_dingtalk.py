"""DingTalk custom group robot (钉钉自定义机器人): alerts to a group of colleagues.

What it does: posts a text or a Markdown message to the group that the robot belongs to, signed where the robot asks
for it (加签), with its keyword (自定义关键词) added where the words lack it, and with colleagues mentioned by phone or
user id. It reaches nobody else: buyers' messages are refused. What is longer than the group takes is cut at a whole
character. The vendor recognises no repeat, and a robot's messages cannot be looked up.

Reference: https://open.dingtalk.com/document/robots/custom-robot-access

Not verified, and therefore settings: the most bytes of a message (``most_bytes``), and what the codes mean
(``muted_codes``, ``busy_codes``, ``gone_codes``). The rate is kept below the published 20 a minute, because a robot
that posts more is muted for ten minutes (``muted_pause``). Not built, because nothing of it is verified: messages of an
enterprise app to single colleagues, and what colleagues say to a robot.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, Field, SecretStr, model_validator

from rmabridge import hookimpl
from rmabridge.abilities import Context, Limit, Plugin, Result, SendsMessages
from rmabridge.errors import DeliveryError, Rejected, Unauthorised, Unavailable
from rmabridge.model import Form, SendMessage
from rmabridge.wire.bodies import dump_json
from rmabridge.wire.signing import hmac_base64

# One code for three refusals: the keyword is missing, the signature is wrong, the address is not on the list.
UNSAFE: Final = 310000
TITLE: Final = 64
CUT: Final = "…"


class Answer(BaseModel):
    """What the robot answers; the HTTP status is 200 for refusals too, and a muted robot is told no reason."""

    errcode: int
    errmsg: str = ""


class DingTalk(Plugin, SendsMessages):
    """One robot in one group."""

    title: ClassVar[str] = "DingTalk group robot (钉钉自定义机器人)"
    reference: ClassVar[str] = "https://open.dingtalk.com/document/robots/custom-robot-access"
    forms: ClassVar[frozenset[Form]] = frozenset({Form.CHAT})

    access_token: SecretStr = Field(
        min_length=1, description="access_token=… of the robot's webhook address; whoever has it can post"
    )
    secret: SecretStr | None = Field(
        None, min_length=1, description="the SEC… of a robot that asks for signatures (安全设置 → 加签)"
    )
    keyword: str | None = Field(
        None, min_length=1, description="a keyword of a robot that asks for one; added where a message lacks it"
    )
    url: str = Field("https://oapi.dingtalk.com/robot/send", description="the webhook address, without its query")
    format: Literal["text", "markdown"] = Field("text", description="'text', or 'markdown' (a buyer's links turn blue)")
    mention_mobiles: tuple[str, ...] = Field((), description="phones of colleagues to mention")
    mention_users: tuple[str, ...] = Field((), description="user ids of colleagues to mention")
    mention_all: bool = Field(False, description="mention everybody in the group")
    most_bytes: int = Field(18_000, ge=400, description="most bytes (UTF-8) of the words in a message")
    muted_codes: tuple[int, ...] = Field((130101, 410100), description="errcode of a robot that posts too often")
    muted_pause: float = Field(600, gt=0, description="seconds for which a robot that posted too often is muted")
    busy_codes: tuple[int, ...] = Field((-1,), description="errcode of a vendor that is busy")
    gone_codes: tuple[int, ...] = Field(
        (300001, 300005, 400013, 400101, 400102, 400106), description="errcode of a robot that is gone or stopped"
    )
    rate: str | None = Field("18/min", description="most messages of the robot; 20 a minute is the vendor's limit")

    @model_validator(mode="after")
    def _room_for_words(self) -> Self:
        if len(f"{self.keyword or ''}{self._named()}".encode()) > self.most_bytes // 2:
            raise ValueError("most_bytes: keyword and mentions leave no room for words")
        return self

    def limit(self, form: Form) -> Limit | None:
        """The longest message."""
        return Limit(bytes=self.most_bytes) if self.carries(form) else None

    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Post the message to the group; the vendor gives it no id."""
        if action.audience != "staff":
            raise Rejected("a group robot reaches colleagues only", hint="name this account under staff, not channels")
        content, note = self._content(action)
        body = dump_json(self._message(content, action.subject)).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        response = await ctx.http.post(self.url, params=self._query(ctx), content=body, headers=headers)
        response.raise_for_status()
        answer = Answer.model_validate_json(response.content)
        if answer.errcode:
            raise self._refusal(answer)
        return Result(note=note)

    def _query(self, ctx: Context) -> dict[str, str]:
        query = {"access_token": self.access_token.get_secret_value()}
        if self.secret is None:
            return query
        key, stamp = self.secret.get_secret_value(), str(int(ctx.now().timestamp() * 1000))
        return query | {"timestamp": stamp, "sign": hmac_base64(key, f"{stamp}\n{key}".encode())}

    def _content(self, action: SendMessage) -> tuple[str, str | None]:
        """The words between keyword and mentions, and a note where they had to be cut."""
        links = (f"{one.name}: {one.url}" for one in action.attachments if one.url)
        words = "\n".join(filter(None, (action.subject, action.text, *links)))
        if not words.strip():
            raise Rejected("the message is empty")
        head, tail = "", self._named()
        shown = _cut(words, self.most_bytes - len(tail.encode()))
        if self.keyword and self.keyword not in shown:
            head = f"{self.keyword}\n"
            shown = _cut(words, self.most_bytes - len((head + tail).encode()))
        return head + shown + tail, None if shown == words else f"cut to {self.most_bytes} bytes"

    def _named(self) -> str:
        """The colleagues by name: in Markdown only they whose phone or id stands in the words are mentioned."""
        who = (*self.mention_mobiles, *self.mention_users) if self.format == "markdown" else ()
        return "\n\n" + " ".join(f"@{one}" for one in who) if who else ""

    def _message(self, content: str, subject: str | None) -> dict[str, Any]:
        if self.format == "text":
            inner = {"content": content}
        else:
            lines = (subject or "", *content.splitlines())
            title = next(line.strip() for line in lines if line.strip())
            inner = {"title": title[:TITLE], "text": content}
        message: dict[str, Any] = {"msgtype": self.format, self.format: inner}
        if self.mention_mobiles or self.mention_users or self.mention_all:
            mobiles, users = list(self.mention_mobiles), list(self.mention_users)
            message["at"] = {"atMobiles": mobiles, "atUserIds": users, "isAtAll": self.mention_all}
        return message

    def _refusal(self, answer: Answer) -> DeliveryError:
        cause = f"errcode {answer.errcode}: {answer.errmsg[:200]}"
        if answer.errcode in self.muted_codes:
            return Unavailable(cause, hint="the robot posts too often", retry_after=self.muted_pause)
        if answer.errcode in self.busy_codes:
            return Unavailable(cause)
        if answer.errcode in self.gone_codes:
            return Unauthorised(cause, hint="is the robot still in its group? copy its webhook address again")
        if answer.errcode == UNSAFE:
            return _unsafe(cause)
        return Rejected(cause)


def _unsafe(cause: str) -> DeliveryError:
    """What the robot's safety settings refused: these words, or whoever sends them."""
    if "keyword" in cause.lower():
        return Rejected(cause, hint="set keyword to one of the robot's keywords (安全设置 → 自定义关键词)")
    hint = "compare secret, this machine's clock and its address with the robot's safety settings (安全设置)"
    return Unauthorised(cause, hint=hint)


def _cut(words: str, most: int) -> str:
    raw = words.encode()
    return words if len(raw) <= most else raw[: most - len(CUT.encode())].decode(errors="ignore") + CUT


@hookimpl
def register_channels() -> list[type[Plugin]]:
    """The plugin of this module."""
    return [DingTalk]
