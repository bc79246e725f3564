"""A custom robot: posts to its group, within its safety settings."""

from __future__ import annotations

from typing import Any, Final, Self

from pydantic import BaseModel, Field, SecretStr, model_validator

from rmabridge.abilities import Context, Result
from rmabridge.errors import DeliveryError, Rejected, Unauthorised, Unavailable
from rmabridge.model import SendMessage
from rmabridge.wire.bodies import dump_json
from rmabridge.wire.signing import hmac_base64
from rmabridge.wire.texts import cut

from .words import Worded, title, whole

# One code for three refusals: the keyword is missing, the signature is wrong, the address is not on the list.
UNSAFE: Final = 310000


class Answer(BaseModel):
    """What the robot answers; the HTTP status is 200 for refusals too, and a muted robot is told no reason."""

    errcode: int
    errmsg: str = ""


class Robot(Worded):
    """What a custom robot is called with."""

    access_token: SecretStr | None = Field(
        None, min_length=1, description="access_token=… of the robot's webhook address; whoever has it can post"
    )
    secret: SecretStr | None = Field(
        None, min_length=1, description="the SEC… of a robot that asks for signatures (安全设置 → 加签)"
    )
    keyword: str | None = Field(
        None, min_length=1, description="a keyword of a robot that asks for one; added where a message lacks it"
    )
    url: str = Field("https://oapi.dingtalk.com/robot/send", description="the webhook address, without its query")
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

    async def post(self, action: SendMessage, ctx: Context) -> Result:
        """Post the message to the group; the vendor gives it no id."""
        content, note = self._content(action)
        body = dump_json(self._message(content, action)).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        response = await ctx.http.post(self.url, params=self._query(ctx), content=body, headers=headers)
        response.raise_for_status()
        answer = Answer.model_validate_json(response.content)
        if answer.errcode:
            raise self._refusal(answer)
        return Result(note=note)

    def _query(self, ctx: Context) -> dict[str, str]:
        query = {"access_token": self.access_token.get_secret_value() if self.access_token else ""}
        if self.secret is None:
            return query
        key, stamp = self.secret.get_secret_value(), str(int(ctx.now().timestamp() * 1000))
        return query | {"timestamp": stamp, "sign": hmac_base64(key, f"{stamp}\n{key}".encode())}

    def _content(self, action: SendMessage) -> tuple[str, str | None]:
        """The words between keyword and mentions, and a note where they had to be cut."""
        words = whole(action)
        head, tail = "", self._named()
        shown = cut(words, self.most_bytes - len(tail.encode()))
        if self.keyword and self.keyword not in shown:
            head = f"{self.keyword}\n"
            shown = cut(words, self.most_bytes - len((head + tail).encode()))
        return head + shown + tail, None if shown == words else f"cut to {self.most_bytes} bytes"

    def _named(self) -> str:
        """The colleagues by name: in Markdown only they whose phone or id stands in the words are mentioned."""
        who = (*self.mention_mobiles, *self.mention_users) if self.format == "markdown" else ()
        return "\n\n" + " ".join(f"@{one}" for one in who) if who else ""

    def _message(self, content: str, action: SendMessage) -> dict[str, Any]:
        named = {"title": title(action, content), "text": content}
        inner = {"content": content} if self.format == "text" else named
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
