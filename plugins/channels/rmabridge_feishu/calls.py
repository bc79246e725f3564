"""The account's settings, its requests to robots and to the message API, and what the answers mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, Literal, Self
from urllib.parse import quote

import httpx
from pydantic import Field, SecretStr, model_validator

from rmabridge.abilities import Context, Plugin, held_token, keep_token, token_mark
from rmabridge.errors import DeliveryError, Malformed, Rejected, Unauthorised, Unavailable
from rmabridge.model import SendMessage
from rmabridge.wire.bodies import dump_json, read_object, text
from rmabridge.wire.signing import hmac_base64

from .posts import Post

EARLY: Final = timedelta(minutes=5)
TOKEN: Final = "tenant_access_token"  # noqa: S105 - a name
KEYWORDS: Final = 19024
LONGEST_UUID: Final = 50
KINDS: Final = {"ou_": "open_id", "oc_": "chat_id", "on_": "union_id"}
TYPE: Final = {"Content-Type": "application/json; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Receiver:
    """A person or a chat, and what kind of id names it."""

    id: str
    kind: str


@dataclass(frozen=True, slots=True)
class Request:
    """What is posted, and where."""

    url: str
    body: bytes


class Calls(Plugin):
    """What a robot or an app is called with."""

    url: str = Field("https://open.feishu.cn", description="address of the API; for Lark https://open.larksuite.com")
    robot: SecretStr | None = Field(
        None, min_length=1, description="what follows /hook/ in the webhook address of a group's custom robot"
    )
    secret: SecretStr | None = Field(
        None, min_length=1, description="the secret of a robot that asks for signatures (签名校验)"
    )
    app_id: str | None = Field(None, min_length=1, description="App ID (cli_…) of an app that may send messages")
    app_secret: SecretStr | None = Field(None, min_length=1, description="App Secret of that app")
    alerts_to: str | None = Field(
        None, min_length=1, description="where an app's alerts go if the shop's staff_to is no address in Feishu"
    )
    receive_id_type: Literal["open_id", "user_id", "union_id", "chat_id", "email"] | None = Field(
        None, description="what an address is whose first letters (ou_, oc_, on_) do not tell, for example 'user_id'"
    )
    limited_codes: tuple[int, ...] = Field(
        (11232, 99991400, 230020), description="code of an answer to too many messages"
    )
    limited_pause: float = Field(60, gt=0, description="seconds to wait then, where the answer names no time")
    token_codes: tuple[int, ...] = Field((99991661, 99991663), description="code of a token that is not known")
    app_codes: tuple[int, ...] = Field((10003, 10014), description="code of an app or App Secret that is not known")
    refused_codes: tuple[int, ...] = Field(
        (19001, 19021, 19022), description="code of a robot that is gone, or that refuses our signature or address"
    )
    rate: str | None = Field(
        "1/s", description="most requests; a robot may post 5 in a second and 100 in a minute, an app sends more"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        app = self.app_id is not None, self.app_secret is not None
        if any(app) != all(app) or all(app) == (self.robot is not None):
            raise ValueError("give either robot, or app_id and app_secret")
        if self.secret and not self.robot:
            raise ValueError("secret: it is a robot's; an app's is app_secret")
        return self

    def to_robot(self, post: Post, ctx: Context) -> Request:
        """The robot's request, signed where the robot has a secret."""
        robot, message = self.robot.get_secret_value() if self.robot else "", {}
        if self.secret:
            stamp = str(int(ctx.now().timestamp()))
            # Time and secret are the key, and nothing is what is signed.
            message = {"timestamp": stamp, "sign": hmac_base64(f"{stamp}\n{self.secret.get_secret_value()}", b"")}
        body = message | {"msg_type": "post", "content": {"post": post.content()}}
        return Request(f"{self._api}/bot/v2/hook/{quote(robot, safe='')}", dump_json(body).encode())

    def receiver(self, action: SendMessage) -> Receiver:
        """Whom a message goes to; an alert whose address is none of Feishu's goes to ``alerts_to``."""
        for to in (action.to, self.alerts_to if action.audience == "staff" else None):
            if to and (kind := KINDS.get(to[:3]) or ("email" if "@" in to else None)):
                return Receiver(to, kind)
        if self.receive_id_type:
            return Receiver(action.to, self.receive_id_type)
        raise Rejected(
            f"{action.to[:40]!r} is no address in Feishu",
            hint="give an open id (ou_…), a chat id (oc_…) or a mail address; for alerts as alerts_to",
        )

    def to_person(self, post: Post, to: Receiver, ctx: Context) -> Request:
        """The message API's request; ``uuid`` makes a repeat harmless."""
        key = ctx.idempotency_key
        uuid = key if len(key) <= LONGEST_UUID else sha256(key.encode()).hexdigest()[:LONGEST_UUID]
        body = {"receive_id": to.id, "msg_type": "post", "content": dump_json(post.content()), "uuid": uuid}
        return Request(f"{self._api}/im/v1/messages?receive_id_type={to.kind}", dump_json(body).encode())

    async def ask_robot(self, request: Request, ctx: Context) -> dict[str, Any]:
        """The robot's answer where it took the message; else the error that it means."""
        return self._read(await ctx.http.post(request.url, content=request.body, headers=TYPE))

    async def ask_app(self, request: Request, ctx: Context) -> dict[str, Any]:
        """The API's answer; a stored token that it has forgotten is replaced, and the call made with the new."""
        held = await held_token(ctx, self.mark(), TOKEN, EARLY)
        response = await self._send(request, held or await self._renewed(ctx), ctx)
        if held and _object(response).get("code") in self.token_codes:
            response = await self._send(request, await self._renewed(ctx), ctx)
        return self._read(response)

    async def _send(self, request: Request, token: str, ctx: Context) -> httpx.Response:
        headers = {**TYPE, "Authorization": f"Bearer {token}"}
        return await ctx.http.post(request.url, content=request.body, headers=headers)

    async def _renewed(self, ctx: Context) -> str:
        """A new token, which is stored before it is used."""
        secret = self.app_secret.get_secret_value() if self.app_secret else ""
        body = dump_json({"app_id": self.app_id, "app_secret": secret}).encode()
        address = f"{self._api}/auth/v3/tenant_access_token/internal"
        response = await ctx.http.post(address, content=body, headers=TYPE, extensions={"reads": True})
        told = self._granted(response)
        token, seconds = text(told.get(TOKEN)), told.get("expire")
        if not token or not isinstance(seconds, int):
            raise Unavailable("the answer holds no token")
        return await keep_token(ctx, self.mark(), token, seconds, TOKEN)

    def _granted(self, response: httpx.Response) -> dict[str, Any]:
        """The answer with a token. To ask for one again does no harm, so what is not plainly refused is tried later."""
        told = _object(response)
        code = told.get("code")
        if code in self.app_codes:
            cause, hint = _cause(code, told), "compare app_id and app_secret with the app's page in the console"
            raise Unauthorised(cause, hint=hint)
        if response.is_success and code != 0:
            raise Unavailable(_cause(code, told), retry_after=_pause(response))
        response.raise_for_status()
        return told

    def mark(self) -> str:
        """Which app the stored token belongs to."""
        return token_mark(self.url, self.app_id)

    @property
    def _api(self) -> str:
        return f"{self.url.rstrip('/')}/open-apis"

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        """The answer where it says 0; codes go before the HTTP status, which is 200 or 400 for most refusals."""
        told = _object(response)
        code = told.get("code", told.get("StatusCode"))
        if response.is_success and code == 0:
            return told
        if isinstance(code, int) and code and response.status_code < 500:
            raise self._refusal(code, _cause(code, told), response)
        response.raise_for_status()
        raise ValueError("the answer says neither 0 nor a refusal: it may have been sent")

    def _refusal(self, code: int, cause: str, response: httpx.Response) -> DeliveryError:
        if code in self.limited_codes or response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            return Unavailable(cause, retry_after=_pause(response) or self.limited_pause)
        if code in self.token_codes or response.status_code in (401, 403):
            return Unauthorised(cause, hint="see the app's rights in the console")
        if code in self.refused_codes:
            hint = "compare robot and secret, this machine's clock and its address with the robot's settings"
            return Unauthorised(cause, hint=hint)
        if code == KEYWORDS:
            return Rejected(cause, hint="set keyword to one of the robot's keywords (自定义关键词)")
        return Rejected(cause)


def _cause(code: Any, told: dict[str, Any]) -> str:
    return f"code {code}: {(text(told.get('msg')) or '')[:200]}"


def _pause(response: httpx.Response) -> float | None:
    given = response.headers.get("x-ogw-ratelimit-reset", "") or response.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else None


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        return read_object(response.content)
    except Malformed:
        return {}
