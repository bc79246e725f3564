"""An app's robot: messages to one colleague or one group, with a token that is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import httpx
from pydantic import Field, SecretStr

from rmabridge.abilities import Context, Result, held_token, keep_token, token_mark
from rmabridge.errors import Malformed, Rejected, Unauthorised, Unavailable
from rmabridge.model import SendMessage
from rmabridge.wire.bodies import dump_json, read_object, text
from rmabridge.wire.texts import cut

from .words import Worded, title, whole

EARLY: Final = timedelta(minutes=5)
GROUP: Final = "cid"
TYPE: Final = {"Content-Type": "application/json; charset=utf-8"}


class App(Worded):
    """What an app's robot is called with."""

    client_id: str | None = Field(None, min_length=1, description="Client ID (AppKey) of an app with a robot")
    client_secret: SecretStr | None = Field(None, min_length=1, description="Client Secret (AppSecret) of that app")
    robot_code: str | None = Field(None, min_length=1, description="robotCode; the client_id where left out")
    api_url: str = Field("https://api.dingtalk.com", description="address of the API for apps")
    app_bytes: int = Field(12_000, ge=400, description="most bytes (UTF-8) of the words in an app's message")
    token_codes: tuple[str, ...] = Field(("InvalidAuthentication",), description="code of a token that is not known")
    limited_codes: tuple[str, ...] = Field(
        ("Forbidden.AccessDenied.QpsLimitForApi", "Forbidden.AccessDenied.QpsLimitForAppkeyAndApi"),
        description="code of an answer to too many calls",
    )
    limited_pause: float = Field(60, gt=0, description="seconds to wait after such an answer")

    async def tell(self, action: SendMessage, ctx: Context) -> Result:
        """Send to the colleague or the group; the id is the vendor's processQueryKey."""
        words = whole(action)
        shown = cut(words, self.app_bytes)
        path, receiver = _receiver(action.to)
        body = {"robotCode": self.robot_code or self.client_id, **receiver, **self._template(action, shown)}
        told = await self._ask(path, dump_json(body).encode(), ctx)
        if action.to in _listed(told, "invalidStaffIdList"):
            raise Rejected(f"DingTalk knows no colleague {action.to[:40]!r}", hint="see the shop's staff_to")
        if action.to in _listed(told, "flowControlledStaffIdList"):
            raise Unavailable("this colleague got too many messages", retry_after=self.limited_pause)
        if not (id_ := text(told.get("processQueryKey"))):
            raise ValueError("the answer names no message: it may have been sent")
        return Result(id=id_, note=None if shown == words else f"cut to {self.app_bytes} bytes")

    def _template(self, action: SendMessage, words: str) -> dict[str, str]:
        if self.format == "markdown":
            return {"msgKey": "sampleMarkdown", "msgParam": dump_json({"title": title(action, words), "text": words})}
        return {"msgKey": "sampleText", "msgParam": dump_json({"content": words})}

    async def _ask(self, path: str, body: bytes, ctx: Context) -> dict[str, Any]:
        """The answer; a stored token that the vendor has forgotten is replaced, and the call made with the new."""
        held = await held_token(ctx, self.mark(), early=EARLY)
        response = await self._call(path, body, held or await self._renewed(ctx), ctx)
        if held and _object(response).get("code") in self.token_codes:
            response = await self._call(path, body, await self._renewed(ctx), ctx)
        self._refuse(response)
        response.raise_for_status()
        return read_object(response.content)

    async def _call(self, path: str, body: bytes, token: str, ctx: Context) -> httpx.Response:
        headers = {**TYPE, "x-acs-dingtalk-access-token": token}
        return await ctx.http.post(f"{self.api_url.rstrip('/')}/v1.0/robot/{path}", content=body, headers=headers)

    def _refuse(self, response: httpx.Response) -> None:
        """Raise what the code says, whatever the HTTP status of a refusal is."""
        told = _object(response)
        code = told.get("code")
        if not isinstance(code, str) or response.status_code >= 500:
            return
        cause = f"{code}: {(text(told.get('message')) or '')[:200]}"
        if code in self.limited_codes:
            raise Unavailable(cause, retry_after=self.limited_pause)
        if code in self.token_codes or response.status_code in (401, 403):
            raise Unauthorised(cause, hint="may the app's robot send messages? see its permissions in the console")
        if response.status_code not in (408, 425, 429):
            raise Rejected(cause)

    async def _renewed(self, ctx: Context) -> str:
        """A new token, which is stored before it is used."""
        secret = self.client_secret.get_secret_value() if self.client_secret else ""
        body = dump_json({"appKey": self.client_id, "appSecret": secret}).encode()
        address = f"{self.api_url.rstrip('/')}/v1.0/oauth2/accessToken"
        try:
            response = await ctx.http.post(address, content=body, headers=TYPE, extensions={"reads": True})
        except httpx.TransportError as error:
            # Nothing but a token was asked for, so a line that breaks here is no doubt about the message.
            raise Unavailable(f"no token: {type(error).__name__}") from error
        told = _object(response)
        token, seconds = text(told.get("accessToken")), told.get("expireIn")
        if 400 <= response.status_code < 500 and response.status_code not in (408, 425, 429):
            raise Unauthorised(
                f"no token: {told.get('code')}", hint="compare client_id and client_secret with the console"
            )
        if not response.is_success or not token or not isinstance(seconds, int):
            raise Unavailable(f"no token: HTTP {response.status_code}")
        return await keep_token(ctx, self.mark(), token, seconds)

    def mark(self) -> str:
        """Which app the stored token belongs to."""
        return token_mark(self.api_url, self.client_id)


def _receiver(to: str) -> tuple[str, dict[str, Any]]:
    """The call and its receiver: a group's id begins with ``cid``, all else is a colleague's."""
    if to.startswith(GROUP):
        return "groupMessages/send", {"openConversationId": to}
    return "oToMessages/batchSend", {"userIds": [to]}


def _listed(told: dict[str, Any], name: str) -> list[Any]:
    found = told.get(name)
    return found if isinstance(found, list) else []


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        return read_object(response.content)
    except Malformed:
        return {}
